/*
 * Two pipes: the first carries texts for the parent's standard error, the second one byte that
 * says "ready". Both end with the child, and with the first bytes of a ready one. The parent may be
 * ended by any signal: the child sees it when it is ready, at the latest.
 */
#include "cmd/awsocks/background.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

enum { READ_END = 0, WRITE_END = 1, READY = 'R' };

static int open_log(const char *path, struct err *e)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		      0600);

	return fd < 0 ? err_sys(e, errno, "--log-file %s", path) : fd;
}

/* fd becomes standard error and is closed; that one is for children too. */
static int become_stderr(int fd, struct err *e)
{
	int failed = dup2(fd, STDERR_FILENO) < 0;

	if (failed)
		(void)err_sys(e, errno, "--log-file");
	close(fd);
	return failed ? -1 : 0;
}

int background_reopen(const struct background *b, struct err *e)
{
	int fd = b->log_file ? open_log(b->log_file, e) : 0;

	if (!b->log_file)
		return 0;
	return fd < 0 ? -1 : become_stderr(fd, e);
}

/* ---- the parent ---- */

/* What has come for standard error; false: the end. */
static bool pass_on(int fd)
{
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n > 0)
		(void)file_write_all(STDERR_FILENO, text, (size_t)n);
	return n > 0;
}

/* Until the child is ready (true), or has ended. */
static bool watch(int texts, int ready)
{
	struct pollfd on[] = { { .fd = texts, .events = POLLIN },
			       { .fd = ready, .events = POLLIN } };
	char is_ready = 0;

	for (;;) {
		if (poll(on, 2, -1) < 0)
			continue; /* EINTR */
		if (on[0].revents && !pass_on(texts))
			on[0].fd = -1;
		if (on[1].revents)
			break;
	}
	if (read(ready, &is_ready, 1) != 1 || is_ready != READY)
		return false;
	/* What was said before that is there now, though not perhaps when poll() looked. */
	while (poll(on, 1, 0) > 0 && pass_on(texts))
		;
	return true;
}

static int wait_for(pid_t child, int texts, int ready)
{
	int status = 0;
	bool is_ready = watch(texts, ready);

	while (!is_ready && pass_on(texts))
		;
	close(texts);
	close(ready);
	if (is_ready)
		return 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		return WEXITSTATUS(status);
	/* Stopped before it was ready, or killed. */
	fprintf(stderr, "awsocks: ended before it was ready\n");
	return err_exit_status(ERR_CLOSED);
}

/* ---- the child ---- */

/* The standard descriptors lead nowhere, but for the log. */
static int leave_terminal(bool has_log, struct err *e)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || setsid() < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || (!has_log && dup2(null, STDERR_FILENO) < 0)) {
		(void)err_sys(e, errno, "--daemon");
		if (null >= 0)
			close(null);
		return -1;
	}
	if (null > STDERR_FILENO)
		close(null);
	return 0;
}

static int detach(struct background *b, int log, int *status, struct err *e)
{
	int texts[2], ready[2];
	pid_t child;

	if (pipe(texts) != 0)
		return err_sys(e, errno, "--daemon");
	if (pipe(ready) != 0 || (child = fork()) < 0) {
		close(texts[READ_END]);
		close(texts[WRITE_END]);
		return err_sys(e, errno, "--daemon");
	}
	if (child) {
		close(texts[WRITE_END]);
		close(ready[WRITE_END]);
		b->is_parent = true;
		*status = wait_for(child, texts[READ_END], ready[READ_END]);
		return 0;
	}
	close(texts[READ_END]);
	close(ready[READ_END]);
	b->told = texts[WRITE_END];
	b->ready = ready[WRITE_END];
	(void)fcntl(b->told, F_SETFD, FD_CLOEXEC);
	(void)fcntl(b->ready, F_SETFD, FD_CLOEXEC);
	return leave_terminal(log >= 0, e);
}

int background_begin(struct background *b, bool daemon, const char *log_file, int *status,
		     struct err *e)
{
	int log = -1;

	*b = (struct background){ .log_file = log_file, .told = -1, .ready = -1 };
	if (log_file && (log = open_log(log_file, e)) < 0)
		return -1;
	if (!daemon && log >= 0)
		b->told = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (daemon && detach(b, log, status, e) != 0) {
		if (log >= 0)
			close(log);
		background_fail(b, e); /* in the child: the parent says it */
		return -1;
	}
	if (b->is_parent || log < 0) {
		if (log >= 0)
			close(log);
	} else if (become_stderr(log, e) != 0) {
		return -1;
	}
	log_tee(b->told);
	return 0;
}

static void tell_no_more(struct background *b)
{
	log_tee(-1);
	if (b->told >= 0)
		close(b->told);
	if (b->ready >= 0)
		close(b->ready);
	b->told = b->ready = -1;
}

bool background_ready(struct background *b)
{
	bool wanted = b->ready < 0 || file_write_all(b->ready, (char[]){ READY }, 1) == 0;

	tell_no_more(b);
	return wanted;
}

void background_fail(struct background *b, const struct err *why)
{
	if (b->told >= 0)
		(void)dprintf(b->told, "awsocks: %s\n", why->msg);
	tell_no_more(b);
}
