/*
 * A line is written at once or not at all: a pipe or terminal that takes nothing now (its reader
 * stands still) must not hold up who logs. What was lost is counted, and said once there is room.
 * Threads take turns: two that find the same last room would both write, and one would wait in
 * there for a reader.
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

enum { AREAS = 16, LINE = 2048 };

static const char *const level_names[LOG_LEVEL_COUNT] = { "error", "warn", "info", "debug" };

/* The log's own settings: the exception to "no mutable globals". */
static struct {
	enum log_level level;
	enum log_format format;
	size_t count;
	struct {
		char name[16];
		enum log_level level;
	} area[AREAS];
	int tee;              /* -1: none */
	atomic_uint lost;     /* lines since the last that was written */
	pthread_mutex_t turn; /* of who writes */
} settings = { .level = LOG_INFO, .tee = -1, .turn = PTHREAD_MUTEX_INITIALIZER };

static bool parse_level(const char *s, size_t n, enum log_level *out)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++)
		if (strlen(level_names[i]) == n && memcmp(level_names[i], s, n) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	return false;
}

int log_set_level(const char *spec, struct err *e)
{
	const char *at = spec;

	settings.count = 0;
	while (*at) {
		size_t n = strcspn(at, ",");
		const char *eq = memchr(at, '=', n);
		size_t name = eq ? (size_t)(eq - at) : 0;
		enum log_level level;

		if (!parse_level(eq ? eq + 1 : at, eq ? n - name - 1 : n, &level))
			return err_set(e, ERR_USAGE,
				       "log level '%.*s': error, warn, info or debug expected",
				       (int)n, at);
		if (!eq) {
			settings.level = level;
		} else if (name >= sizeof(settings.area[0].name) || settings.count == AREAS) {
			return err_set(e, ERR_USAGE, "log level '%.*s': area too long or too many",
				       (int)n, at);
		} else {
			memcpy(settings.area[settings.count].name, at, name);
			settings.area[settings.count].name[name] = '\0';
			settings.area[settings.count++].level = level;
		}
		at += n + (at[n] == ',');
	}
	return 0;
}

void log_set_format(enum log_format format)
{
	settings.format = format;
}

void log_tee(int fd)
{
	(void)pthread_mutex_lock(&settings.turn);
	settings.tee = fd;
	(void)pthread_mutex_unlock(&settings.turn);
}

bool log_wants(enum log_level level, const char *area)
{
	for (size_t i = 0; i < settings.count; i++)
		if (strcmp(settings.area[i].name, area) == 0)
			return level <= settings.area[i].level;
	return level <= settings.level;
}

/* Copies text, control bytes and what JSON needs escaped; always terminates. */
static void escape(char *out, size_t size, const char *text, bool json)
{
	size_t o = 0;

	for (; *text && o + 7 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (json && (c == '"' || c == '\\')) {
			out[o++] = '\\';
			out[o++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			o += (size_t)snprintf(out + o, size - o, json ? "\\u%04x" : "\\x%02x", c);
		} else {
			out[o++] = (char)c;
		}
	}
	out[o] = '\0';
}

/* PIPE_BUF bytes fit where poll() says that there is room, and a line is shorter. */
_Static_assert(LINE + 128 <= 4096, "a line fits into a pipe that has room");

/* For who has the turn. */
static ssize_t write_now(int fd, const void *p, size_t n)
{
	struct pollfd out = { .fd = fd, .events = POLLOUT };
	ssize_t done;

	if (poll(&out, 1, 0) == 0) { /* a file is always ready */
		errno = EAGAIN;
		return -1;
	}
	do
		done = write(fd, p, n);
	while (done < 0 && errno == EINTR);
	return done;
}

ssize_t log_write(int fd, const void *p, size_t n)
{
	ssize_t done;
	int sys;

	(void)pthread_mutex_lock(&settings.turn);
	done = write_now(fd, p, n);
	sys = errno;
	(void)pthread_mutex_unlock(&settings.turn);
	errno = sys;
	return done;
}

static void put_tee(const char *line, size_t n)
{
	(void)pthread_mutex_lock(&settings.turn);
	if (settings.tee >= 0)
		(void)write_now(settings.tee, line, n);
	(void)pthread_mutex_unlock(&settings.turn);
}

/* False: there is no room. When it fails otherwise there is nobody left to tell. */
static bool put(enum log_level level, const char *area, const char *text)
{
	char line[LINE + 128], when[25];
	int n;

	clock_iso(clock_wall_ms(&clock_system), when);
	if (settings.format == LOG_JSON)
		n = snprintf(line, sizeof(line),
			     "{\"ts\":\"%s\",\"level\":\"%s\",\"area\":\"%s\",\"msg\":\"%s\"}\n",
			     when, level_names[level], area, text);
	else
		n = snprintf(line, sizeof(line), "%.19sZ %-5s %s: %s\n", when, level_names[level],
			     area, text);
	if (n > 0)
		put_tee(line, (size_t)n);
	return n <= 0 || log_write(STDERR_FILENO, line, (size_t)n) >= 0 || errno != EAGAIN;
}

static bool put_lost(unsigned n)
{
	char text[64];

	if (!n)
		return true;
	snprintf(text, sizeof(text), "%u lines were lost: nobody read them", n);
	return put(LOG_WARN, "log", text);
}

void log_at(enum log_level level, const char *area, const char *fmt, ...)
{
	char raw[LINE], text[LINE];
	unsigned lost;
	va_list ap;

	if (!log_wants(level, area))
		return;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	escape(text, sizeof(text), raw, settings.format == LOG_JSON);
	lost = atomic_exchange(&settings.lost, 0);
	if (!put_lost(lost))
		atomic_fetch_add(&settings.lost, lost + 1);
	else if (!put(level, area, text))
		atomic_fetch_add(&settings.lost, 1);
}
