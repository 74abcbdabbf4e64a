#ifndef BASE_LOG_H
#define BASE_LOG_H
/*
 * One log, lines of `level area: text` to stderr, one write each, never waiting for room. The one
 * exception to "no globals" (its level, format and descriptor). What a peer
 * sent is escaped; secrets are `struct secret`, which no format prints.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVEL_COUNT };
enum log_format { LOG_TEXT = 0, LOG_JSON };

/* "info", "debug", or per area: "info,ssm=debug,proxy=warn". */
MUST_CHECK int log_set_level(const char *spec, struct err *);
void log_set_format(enum log_format);
/* Lines go to fd too, as far as there is room; -1: no more (nobody writes to
 * it any longer when this returns). */
void log_tee(int fd);
bool log_wants(enum log_level, const char *area);
void log_at(enum log_level, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As write(2), but never waits for a pipe's or terminal's reader (-1, EAGAIN), for at most 4096
 * bytes. For lines of others on a descriptor that may be the log's own: one thread writes at a
 * time, so that nobody fills the room that another one has found. */
ssize_t log_write(int fd, const void *, size_t n);

#define log_error(area, ...) log_at(LOG_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_at(LOG_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_at(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)                                  \
	do {                                                  \
		if (log_wants(LOG_DEBUG, area))               \
			log_at(LOG_DEBUG, area, __VA_ARGS__); \
	} while (0)
#endif
