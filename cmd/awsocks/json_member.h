#ifndef CMD_AWSOCKS_JSON_MEMBER_H
#define CMD_AWSOCKS_JSON_MEMBER_H
/* Members of an answer of the control socket, for commands that print them. o NULL: as if it had
 * none. */
struct cJSON;

const char *member_text(const struct cJSON *o, const char *key); /* "": none, or no text */
double member_number(const struct cJSON *o, const char *key);    /* 0: none, or no number */
#endif
