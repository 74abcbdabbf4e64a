/*
 * `awsocks passwd [NAME]`: a password, asked for twice on the terminal without echo or read as
 * one line of standard input, becomes the line for users: or --users. The terminal gives
 * single keys meanwhile, Ctrl-C among them, so that no signal leaves it without echo.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/passwd.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"

/* One more than a password may have: too long a one must not be cut. */
struct typed {
	char text[PASSWD_MAX + 1];
	size_t n;
};

static int too_long(struct err *e)
{
	return err_set(e, ERR_USAGE, "a password has at most %d bytes", PASSWD_MAX);
}

/* ---- the terminal ---- */

enum { KEY_INTERRUPT = 3, KEY_END = 4, KEY_KILL = 21, KEY_ERASE = 127 };

/* 1: the line is whole; 0: goes on. */
static int take_key(struct typed *t, char key, struct err *e)
{
	switch (key) {
	case '\r':
	case '\n':
	case KEY_END: return 1;
	case KEY_INTERRUPT: return err_set(e, ERR_USAGE, "passwd: broken off");
	case KEY_KILL: t->n = 0; return 0;
	case '\b':
	case KEY_ERASE:
		while (t->n && (t->text[t->n - 1] & 0xc0) == 0x80) /* the rest of a character */
			t->n--;
		t->n -= t->n > 0;
		return 0;
	default: break;
	}
	if (t->n == sizeof(t->text))
		return too_long(e);
	t->text[t->n++] = key;
	return 0;
}

static int take_keys(int tty, struct typed *t, struct err *e)
{
	int got = 0;
	ssize_t n;
	char key;

	while (got == 0) {
		n = read(tty, &key, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ERR_IO, "passwd: the terminal has gone");
		got = take_key(t, key, e);
	}
	mem_wipe(&key, 1);
	return got > 0 ? 0 : -1;
}

/* Nothing to be done where the terminal takes no text. */
static void say(int tty, const char *text)
{
	ssize_t n = write(tty, text, strlen(text));

	(void)n;
}

static int ask(int tty, const char *prompt, struct typed *t, struct err *e)
{
	struct termios before, quiet;
	sigset_t ends, old;
	int result;

	t->n = 0;
	if (tcgetattr(tty, &before) != 0)
		return err_sys(e, errno, "passwd: terminal");
	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM); /* until the terminal is as it was */
	(void)sigaddset(&ends, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &ends, &old);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
	quiet.c_cc[VMIN] = 1;
	quiet.c_cc[VTIME] = 0;
	if (tcsetattr(tty, TCSAFLUSH, &quiet) == 0) {
		say(tty, prompt);
		result = take_keys(tty, t, e);
	} else {
		result = err_sys(e, errno, "passwd: terminal");
	}
	(void)tcsetattr(tty, TCSAFLUSH, &before);
	say(tty, "\n");
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return result;
}

static int ask_twice(const char *name, struct typed *t, struct err *e)
{
	int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	char prompt[PASSWD_MAX + 40];
	struct typed again;
	int result;

	if (tty < 0)
		return err_sys(e, errno, "passwd: /dev/tty");
	(void)str_fmt(prompt, sizeof(prompt), "Password of %s: ", name);
	result = ask(tty, prompt, t, e);
	if (result == 0)
		result = ask(tty, "The same again: ", &again, e);
	if (result == 0 && (t->n != again.n || memcmp(t->text, again.text, t->n) != 0))
		result = err_set(e, ERR_USAGE, "passwd: the two are not the same");
	mem_wipe(&again, sizeof(again));
	close(tty);
	return result;
}

/* ---- standard input ---- */

static int read_line(struct typed *t, struct err *e)
{
	ssize_t n = 1;

	while (n > 0 && t->n < sizeof(t->text)) {
		n = read(STDIN_FILENO, t->text + t->n, 1);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			return err_sys(e, errno, "passwd: standard input");
		else if (n > 0 && t->text[t->n] == '\n')
			break;
		else
			t->n += (size_t)n;
	}
	if (t->n && t->text[t->n - 1] == '\r')
		t->n--;
	return t->n > PASSWD_MAX ? too_long(e) : 0;
}

/* ---- the command ---- */

static void print_line(const char *name, const char *hash)
{
	printf("- { name: \"");
	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			putchar('\\');
		putchar(*name);
	}
	printf("\", hash: \"%s\" }\n", hash);
}

static int make_line(const char *name, struct err *e)
{
	struct typed t = { .n = 0 };
	char hash[PASSWD_LINE];
	int result;

	result = isatty(STDIN_FILENO) ? ask_twice(name, &t, e) : read_line(&t, e);
	if (result == 0 && t.n > PASSWD_MAX)
		result = too_long(e);
	if (result == 0)
		result = passwd_make(t.text, t.n, hash, e);
	if (result == 0)
		print_line(name, hash);
	mem_wipe(&t, sizeof(t));
	return result;
}

int cmd_passwd(int argc, char **argv)
{
	const char *name = getenv("USER");
	struct args a;
	struct err e;
	int status = 0;

	if (args_parse(&a, argc, argv, NULL, &e) != 0)
		return command_fail(&e);
	if (a.count)
		name = a.positional[0];
	if (a.help) {
		status = command_help("passwd");
	} else if (a.count > 1) {
		(void)err_set(&e, ERR_USAGE,
			      "usage: awsocks passwd [NAME]; the password is asked for");
		status = command_fail(&e);
	} else if (!name || !passwd_is_name(name, strlen(name))) {
		(void)err_set(&e, ERR_USAGE,
			      "passwd: a user's name has 1 to %d bytes, without ':' and control "
			      "bytes",
			      PASSWD_MAX);
		status = command_fail(&e);
	} else if (make_line(name, &e) != 0) {
		status = command_fail(&e);
	}
	args_free(&a);
	return status;
}
