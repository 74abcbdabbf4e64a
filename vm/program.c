/*
 * posix_spawn() with two pipes, which are read until both have ended; then its end is waited for.
 * One whose pipes a grandchild keeps open is waited for until the limit, too.
 */
#include "vm/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

extern char **environ;

enum { LIMIT_MS = 60000, PIECE = 64 * 1024, WORDS = 1024, LOOK_MS = 5 };

struct run {
	const struct program *program;
	pid_t pid;
	int out, err; /* ends of the pipes; -1: ended */
	uint64_t until_ms;
	char words[WORDS]; /* the last of standard error */
	size_t words_len;
};

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int open_pipe(int fd[2], struct err *e)
{
	if (pipe(fd) != 0) {
		fd[0] = fd[1] = -1;
		return err_sys(e, errno, "pipe");
	}
	(void)fcntl(fd[0], F_SETFD, FD_CLOEXEC);
	(void)fcntl(fd[1], F_SETFD, FD_CLOEXEC);
	return 0;
}

static int spawn(struct run *r, int out, int err, struct err *e)
{
	const struct program *p = r->program;
	posix_spawn_file_actions_t files;
	int failed = posix_spawn_file_actions_init(&files);

	if (failed)
		return err_sys(e, failed, "start %s", p->argv[0]);
	failed = posix_spawn_file_actions_addopen(&files, STDIN_FILENO,
						  p->input ? p->input : "/dev/null", O_RDONLY, 0);
	if (!failed)
		failed = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	if (!failed)
		failed = posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
	if (!failed && p->cwd)
		failed = posix_spawn_file_actions_addchdir_np(&files, p->cwd);
	if (!failed)
		failed = posix_spawnp(&r->pid, p->argv[0], &files, NULL,
				      (char *const *)(uintptr_t)p->argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (failed == ENOENT)
		return err_set(e, ERR_UNSUPPORTED, "there is no program %.60s here", p->argv[0]);
	return failed ? err_sys(e, failed, "start %.60s", p->argv[0]) : 0;
}

static int start(struct run *r, struct err *e)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 };
	int rc = -1;

	if (open_pipe(out, e) == 0 && open_pipe(err, e) == 0)
		rc = spawn(r, out[1], err[1], e);
	shut(&out[1]);
	shut(&err[1]);
	if (rc != 0) {
		shut(&out[0]);
		shut(&err[0]);
	}
	r->out = out[0];
	r->err = err[0];
	return rc;
}

static void keep_words(struct run *r, const char *p, size_t n)
{
	size_t drop;

	if (n > WORDS - 1) {
		p += n - (WORDS - 1);
		n = WORDS - 1;
	}
	drop = r->words_len + n > WORDS - 1 ? r->words_len + n - (WORDS - 1) : 0;
	memmove(r->words, r->words + drop, r->words_len - drop);
	memcpy(r->words + r->words_len - drop, p, n);
	r->words_len += n - drop;
	r->words[r->words_len] = '\0';
}

static int take(struct run *r, int *fd, bool words, struct err *e)
{
	char piece[PIECE];
	ssize_t n = read(*fd, piece, sizeof(piece));

	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0)
		return err_sys(e, errno, "read from %.60s", r->program->argv[0]);
	if (n == 0)
		shut(fd);
	else if (words)
		keep_words(r, piece, (size_t)n);
	else if (r->program->out)
		return r->program->out(r->program->arg, piece, (size_t)n, e);
	return 0;
}

static int too_late(const struct run *r, struct err *e)
{
	return err_set(e, ERR_TIMEOUT, "%.60s took too long, and was ended", r->program->argv[0]);
}

static int read_all(struct run *r, struct err *e)
{
	while (r->out >= 0 || r->err >= 0) {
		struct pollfd fds[] = { { .fd = r->out, .events = POLLIN },
					{ .fd = r->err, .events = POLLIN } };
		uint64_t now = clock_mono_ms(&clock_system);

		if (now >= r->until_ms)
			return too_late(r, e);
		if (poll(fds, 2, (int)(r->until_ms - now)) < 0 && errno != EINTR)
			return err_sys(e, errno, "poll");
		if (r->out >= 0 && fds[0].revents && take(r, &r->out, false, e) != 0)
			return -1;
		if (r->err >= 0 && fds[1].revents && take(r, &r->err, true, e) != 0)
			return -1;
	}
	return 0;
}

static int wait_end(struct run *r, int *status, struct err *e)
{
	for (;;) {
		pid_t ended = waitpid(r->pid, status, WNOHANG);

		if (ended == r->pid) {
			r->pid = 0;
			return 0;
		}
		if (ended < 0 && errno != EINTR)
			return err_sys(e, errno, "wait for %.60s", r->program->argv[0]);
		if (clock_mono_ms(&clock_system) >= r->until_ms)
			return too_late(r, e);
		(void)poll(NULL, 0, LOOK_MS);
	}
}

static int judge(struct run *r, int status, struct err *e)
{
	const char *line, *name = r->program->argv[0];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		return err_set(e, ERR_IO, "%.60s was ended by signal %d", name, WTERMSIG(status));
	line = str_trim(r->words);
	line = strrchr(line, '\n') ? strrchr(line, '\n') + 1 : line;
	return err_set(e, ERR_IO, "%.60s failed (status %d)%s%.160s", name, WEXITSTATUS(status),
		       *line ? ": " : "", line);
}

int program_run(const struct program *p, struct err *e)
{
	struct run r = { .program = p };
	int status, rc;

	r.until_ms = clock_mono_ms(&clock_system) + (p->limit_ms ? p->limit_ms : LIMIT_MS);
	if (start(&r, e) != 0)
		return -1;
	rc = read_all(&r, e) == 0 ? wait_end(&r, &status, e) : -1;
	shut(&r.out);
	shut(&r.err);
	if (rc != 0 && r.pid) {
		(void)kill(r.pid, SIGKILL);
		while (waitpid(r.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return rc == 0 ? judge(&r, status, e) : -1;
}
