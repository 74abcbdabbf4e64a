#include "cmd/bridge/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_FOUND = 127, NOT_RUNNABLE = 126 };

static _Noreturn void become(char **argv, const struct signals *s, const struct rlimit *files,
			     pid_t parent, int tell)
{
	int sys;

	signals_die_with(parent);
	(void)setrlimit(RLIMIT_NOFILE, files);
	signals_restore(s);
	(void)execvp(argv[0], argv);
	sys = errno;
	if (write(tell, &sys, sizeof(sys)) != (ssize_t)sizeof(sys))
		_exit(NOT_RUNNABLE);
	_exit(sys == ENOENT ? NOT_FOUND : NOT_RUNNABLE);
}

/* A pipe whose ends no command gets. */
static int private_pipe(int fd[static 2])
{
	if (pipe(fd) != 0)
		return -1;
	(void)fcntl(fd[0], F_SETFD, FD_CLOEXEC);
	(void)fcntl(fd[1], F_SETFD, FD_CLOEXEC);
	return 0;
}

int child_start(struct child *c, char **argv, const struct signals *s, const struct rlimit *files,
		struct err *e)
{
	pid_t me = getpid();
	int tell[2], sys = 0;
	ssize_t n;

	if (private_pipe(tell) != 0)
		return err_sys(e, errno, "%s", argv[0]);
	c->pid = fork();
	if (c->pid == 0)
		become(argv, s, files, me, tell[1]);
	sys = errno;
	close(tell[1]);
	if (c->pid < 0) {
		close(tell[0]);
		c->pid = 0;
		c->status = NOT_RUNNABLE;
		return err_sys(e, sys, "%.200s", argv[0]);
	}
	do /* closed by exec */
		n = read(tell[0], &sys, sizeof(sys));
	while (n < 0 && errno == EINTR);
	close(tell[0]);
	if (n <= 0)
		return 0;
	(void)waitpid(c->pid, NULL, 0);
	c->pid = 0;
	c->status = sys == ENOENT ? NOT_FOUND : NOT_RUNNABLE;
	return err_sys(e, sys, "%.200s", argv[0]);
}

static bool on_terminal(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (tcgetpgrp(fd) >= 0)
			return true;
	return false;
}

/* The shell waits for us, and must see that the job has stopped. The first process of a name space
 * cannot be stopped: there nobody waits so. Returns when we go on. */
static void stop_too(struct child *c)
{
	if (!on_terminal() || getpid() == 1)
		return;
	c->stopped = true;
	(void)raise(SIGSTOP);
}

static bool note(struct child *c, int status)
{
	if (WIFSTOPPED(status)) {
		stop_too(c);
		return false;
	}
	c->stopped = false;
	if (WIFCONTINUED(status))
		return false;
	c->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	c->pid = 0;
	return true;
}

bool child_ended(struct child *c)
{
	bool ended = false;
	int status;
	pid_t pid;

	/* As the first process of a name space we have children that nobody else waits for. */
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0)
		if (pid == c->pid && note(c, status))
			ended = true;
	/* We go on, and it does not: it is in a group of its own, or only we were told to. */
	if (c->stopped && c->pid)
		(void)kill(c->pid, SIGCONT);
	c->stopped = false;
	return ended;
}

void child_signal(const struct child *c, int number)
{
	if (c->pid > 0)
		(void)kill(c->pid, number);
}
