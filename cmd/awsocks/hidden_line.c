/*
 * A signal must not leave the terminal without an echo. So those that end or stop a program are
 * kept back while one is typed at; when one comes, the terminal is put right, the signal does what
 * it does, and should we still be there the line begins anew.
 */
#include "cmd/awsocks/hidden_line.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"

enum { LOOK_MS = 100 }; /* for a signal */

static const int kept_back[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
enum { KEPT_BACK = sizeof(kept_back) / sizeof(*kept_back) };

static bool signal_waits(void)
{
	sigset_t waiting;

	if (sigpending(&waiting) != 0)
		return false;
	for (size_t i = 0; i < KEPT_BACK; i++)
		if (sigismember(&waiting, kept_back[i]) == 1)
			return true;
	return false;
}

/* A terminal gives a whole line at a time. -1: *e; 0: a signal waits; otherwise what was read. */
static ssize_t typed(char *out, size_t size, struct err *e)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	ssize_t n;

	while (poll(&p, 1, LOOK_MS) == 0)
		if (signal_waits())
			return 0;
	if (signal_waits())
		return 0;
	n = read(STDIN_FILENO, out, size - 1);
	if (n > 0)
		return n;
	return n == 0 ? err_set(e, ERR_USAGE, "nothing was typed")
		      : err_sys(e, errno, "standard input");
}

/* The prompt last: what is typed before is thrown away. */
static ssize_t ask_quietly(const char *prompt, const struct termios *quiet, char *out, size_t size,
			   struct err *e)
{
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, quiet) != 0)
		return err_sys(e, errno, "the terminal");
	fprintf(stderr, "%s", prompt);
	return typed(out, size, e);
}

static ssize_t from_terminal(const char *prompt, char *out, size_t size, struct err *e)
{
	struct termios was, quiet;
	sigset_t signals, before;
	ssize_t n;

	if (tcgetattr(STDIN_FILENO, &was) != 0)
		return err_sys(e, errno, "the terminal");
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	sigemptyset(&signals);
	for (size_t i = 0; i < KEPT_BACK; i++)
		sigaddset(&signals, kept_back[i]);
	do {
		(void)sigprocmask(SIG_BLOCK, &signals, &before);
		n = ask_quietly(prompt, &quiet, out, size, e);
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
		fprintf(stderr, "\n");
		(void)sigprocmask(SIG_SETMASK, &before, NULL); /* now it does what it does */
	} while (n == 0);
	return n;
}

static ssize_t from_elsewhere(char *out, size_t size, struct err *e)
{
	size_t n = 0;
	ssize_t got;

	while (n < size - 1 && !memchr(out, '\n', n)) {
		got = read(STDIN_FILENO, out + n, size - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, errno, "standard input");
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return n ? (ssize_t)n : err_set(e, ERR_USAGE, "standard input is empty");
}

int hidden_line(const char *prompt, char *out, size_t size, struct err *e)
{
	ssize_t n = isatty(STDIN_FILENO) ? from_terminal(prompt, out, size, e)
					 : from_elsewhere(out, size, e);

	if (n < 0)
		return -1;
	out[n] = '\0';
	if (strlen(out) == size - 1 && !strchr(out, '\n')) {
		mem_wipe(out, size);
		return err_set(e, ERR_USAGE, "the line is too long");
	}
	out[strcspn(out, "\r\n")] = '\0';
	return 0;
}
