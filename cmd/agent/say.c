#include "cmd/agent/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "vm/link.h"

/* Nobody is left to tell that it failed. */
static void put(int fd, const char *text)
{
	ssize_t n = write(fd, text, strlen(text));

	(void)n;
}

static void put_local(const struct say *s, unsigned level, const char *text)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	static const char priority[] = "3467"; /* of syslog(3) */
	char line[FRAME_TEXT_MAX + 64];

	(void)str_fmt(line, sizeof(line), "awsocks-agent: %s: %s\n", names[level], text);
	if (!s->kernel || level == LOG_ERROR)
		put(STDERR_FILENO, line);
	if (!s->kernel)
		return;
	(void)str_fmt(line, sizeof(line), "<%c>awsocks-agent: %s\n", priority[level], text);
	put(s->fd, line);
}

void say_at(const struct say *s, unsigned level, const char *fmt, ...)
{
	char text[FRAME_TEXT_MAX + 1];
	va_list ap;

	if (level > s->level || level > LOG_DEBUG)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	str_printable(text);
	if (s->link)
		link_log(s->link, level, text);
	else
		put_local(s, level, text);
}
