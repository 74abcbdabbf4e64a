#ifndef CMD_AWSOCKS_NOTIFY_H
#define CMD_AWSOCKS_NOTIFY_H
/*
 * Tells the service manager how far we are (sd_notify(3), without its library): datagrams of
 * "KEY=value" lines to the Unix socket that NOTIFY_SOCKET names.
 */
#include "base/clock.h"

struct notify {
	int fd; /* -1: nobody wants to know */
};

/* Takes the variable out of the environment. Before the fence, which would be in the way. */
void notify_open(struct notify *);
void notify_ready(const struct notify *);
/* Type=notify-reload wants the time of it; then notify_ready() again. */
void notify_reloading(const struct notify *, const struct clock *);
void notify_stopping(const struct notify *);
void notify_close(struct notify *);
#endif
