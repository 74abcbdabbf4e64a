#ifndef NET_LWS_LOG_H
#define NET_LWS_LOG_H
/*
 * libwebsockets has one log for the whole process; this sends its errors and
 * warnings to ours, area "lws", at debug level: whatever matters in them also
 * reaches the owner of the connection as its reason. May be called again.
 */
void lws_log_init(void);
#endif
