#include "cmd/awsocks/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"

static const int watched[] = { SIGCONT, SIGTSTP, SIGQUIT, SIGINT, SIGTERM, SIGHUP };
enum { WATCHED = sizeof(watched) / sizeof(*watched), LINE = 64 };

struct watched_signal {
	struct terminal *terminal;
	int signum;
	struct loop_signal *open; /* NULL: somebody else sees to it */
};

struct terminal {
	int fd;
	bool asked, left, hidden;
	struct termios before; /* while it is hidden */
	struct loop *loop;
	struct terminal_user user;
	struct loop_watch input;
	struct watched_signal signal[WATCHED];
};

struct terminal *terminal_open(void)
{
	struct terminal *t = mem_alloc(sizeof(*t));

	if (!t)
		return NULL;
	t->fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (t->fd >= 0)
		return t;
	mem_free(t);
	return NULL;
}

void terminal_free(struct terminal *t)
{
	if (!t)
		return;
	terminal_done(t);
	close(t->fd);
	mem_free(t);
}

bool terminal_is_ours(const struct terminal *t)
{
	return t && tcgetpgrp(t->fd) == getpgrp();
}

void terminal_say(const struct terminal *t, const char *text)
{
	/* A terminal that takes no more shows nothing: `awsocks mfa` still works. */
	if (t->input.added && write(t->fd, text, strlen(text)) < 0)
		log_debug("mfa", "the terminal takes no text");
}

/* --- the echo; never waiting for a terminal that is held (^S) --- */

static void hide(struct terminal *t)
{
	struct termios quiet;

	if (t->hidden || tcgetattr(t->fd, &t->before) != 0)
		return;
	quiet = t->before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ECHONL;
	t->hidden = tcsetattr(t->fd, TCSANOW, &quiet) == 0;
}

/* In the background it is somebody else's, who has set it as he wants it. */
static void show(struct terminal *t)
{
	if (t->hidden && terminal_is_ours(t))
		(void)tcsetattr(t->fd, TCSANOW, &t->before);
	t->hidden = false;
}

/* --- lines --- */

static void rest(struct terminal *t)
{
	if (t->input.added)
		watch_del(t->loop, &t->input);
	show(t);
}

/* It gives a whole line at a time (canonical mode), so one read does. */
static void on_line(void *arg, unsigned ready)
{
	struct terminal *t = arg;
	struct terminal_user user = t->user;
	char line[LINE];
	ssize_t n;

	(void)ready;
	if (!terminal_is_ours(t)) {
		rest(t);
		return;
	}
	n = read(t->fd, line, sizeof(line) - 1);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		rest(t);
		user.line(user.arg, NULL);
		return;
	}
	line[n] = '\0';
	user.line(user.arg, line);
	mem_wipe(line, sizeof(line));
}

static bool begin(struct terminal *t)
{
	if (t->input.added || !terminal_is_ours(t))
		return false;
	if (watch_add(t->loop, &t->input, t->fd, WATCH_READ, on_line, t, NULL) != 0) {
		log_debug("mfa", "the terminal cannot be watched");
		return false;
	}
	hide(t);
	return true;
}

/* --- signals --- */

/* It does now what it does by default; should we still be there, the question goes on. */
static void on_signal(void *arg)
{
	const struct watched_signal *s = arg;
	struct terminal *t = s->terminal;
	struct sigaction usual = { .sa_handler = SIG_DFL }, ours;

	if (s->signum != SIGCONT) {
		rest(t);
		(void)sigaction(s->signum, &usual, &ours);
		(void)raise(s->signum);
		(void)sigaction(s->signum, &ours, NULL);
	}
	if (begin(t))
		t->user.again(t->user.arg);
}

static void watch_signals(struct terminal *t)
{
	struct sigaction now;

	for (size_t i = 0; i < WATCHED; i++) {
		struct watched_signal *s = &t->signal[i];

		*s = (struct watched_signal){ t, watched[i], NULL };
		if (sigaction(s->signum, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			s->open = signal_open(t->loop, s->signum, on_signal, s, NULL);
	}
}

void terminal_ask(struct terminal *t, struct loop *loop, const struct terminal_user *user)
{
	if (!t || t->asked || t->left)
		return;
	t->asked = true;
	t->loop = loop;
	t->user = *user;
	watch_signals(t); /* first, so that none finds it hidden */
	(void)begin(t);
}

void terminal_done(struct terminal *t)
{
	if (!t || !t->asked)
		return;
	t->asked = false;
	rest(t);
	for (size_t i = 0; i < WATCHED; i++)
		if (t->signal[i].open)
			signal_release(t->signal[i].open);
}

void terminal_leave(struct terminal *t)
{
	if (!t)
		return;
	terminal_done(t);
	t->left = true;
}
