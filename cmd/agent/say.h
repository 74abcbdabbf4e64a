#ifndef CMD_AGENT_SAY_H
#define CMD_AGENT_SAY_H
/* The agent's log: LOG frames while there is a link to the host; before that the kernel's log (and,
 * of errors, the console), or standard error of a process. */
#include <stdbool.h>

#include "base/log.h"

struct link;

struct say {
	int fd;            /* before there is a link */
	bool kernel;       /* fd is /dev/kmsg */
	unsigned level;    /* of base/log.h: this and what is worse */
	struct link *link; /* NULL: none */
};

void say_at(const struct say *, unsigned level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define say_error(s, ...) say_at(s, LOG_ERROR, __VA_ARGS__)
#define say_warn(s, ...)  say_at(s, LOG_WARN, __VA_ARGS__)
#define say_info(s, ...)  say_at(s, LOG_INFO, __VA_ARGS__)
#define say_debug(s, ...) say_at(s, LOG_DEBUG, __VA_ARGS__)
#endif
