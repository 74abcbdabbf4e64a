/*
 * kqueue. It tells of signals besides what they do, so they are ignored meanwhile; who sent one it
 * does not tell: what a terminal can send is taken for the terminal's while we are in its
 * foreground. A child cannot ask for being killed: the bridge does that when it ends itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>
#include <unistd.h>

#include "cmd/bridge/signals_impl.h"

static void watch(struct signals *s, uintptr_t id, short filter, unsigned flags)
{
	struct kevent change;

	EV_SET(&change, id, filter, EV_ADD, flags, 0, NULL);
	(void)kevent(s->fd, &change, 1, NULL, 0, NULL);
}

int signals_open(struct signals *s, bool with_command, bool watch_parent, struct err *e)
{
	s->parent = getppid();
	(void)sigprocmask(SIG_SETMASK, NULL, &s->mask);
	(void)sigemptyset(&s->taken);
	s->fd = kqueue();
	if (s->fd < 0)
		return err_sys(e, errno, "signals");
	(void)fcntl(s->fd, F_SETFD, FD_CLOEXEC);
	signals_ignore(s);
	for (const int *n = signals_wanted; *n; n++) {
		if (!signals_is_wanted(*n, with_command))
			continue;
		watch(s, (uintptr_t)*n, EVFILT_SIGNAL, 0);
		(void)sigaddset(&s->taken, *n);
		if (*n != SIGCHLD)
			(void)signal(*n, SIG_IGN);
	}
	if (watch_parent)
		watch(s, (uintptr_t)s->parent, EVFILT_PROC, NOTE_EXIT);
	return 0;
}

static bool in_foreground(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (tcgetpgrp(fd) == getpgrp())
			return true;
	return false;
}

static bool is_of_terminals(int number)
{
	return number == SIGINT || number == SIGQUIT || number == SIGTSTP || number == SIGWINCH;
}

bool signals_next(struct signals *s, struct signal_seen *seen)
{
	const struct timespec at_once = { 0, 0 };
	struct kevent got;

	if (kevent(s->fd, NULL, 0, &got, 1, &at_once) != 1)
		return false;
	seen->number = got.filter == EVFILT_PROC ? SIGNALS_PARENT_DIED : (int)got.ident;
	seen->from_terminal = is_of_terminals(seen->number) && in_foreground();
	return true;
}

void signals_restore(const struct signals *s)
{
	signals_unignore(s);
	for (const int *n = signals_wanted; *n; n++)
		if (*n != SIGCHLD && sigismember(&s->taken, *n))
			(void)signal(*n, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

void signals_die_with(pid_t parent)
{
	(void)parent;
}
