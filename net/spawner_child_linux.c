/*
 * The spawner's own side: one thread, one poll(2) loop, no allocation after it
 * has begun.
 *
 *   socket    --> a request: judged by the table, then fork and exec
 *   signalfd  --> SIGCHLD: who ended; SIGUSR2: the main process has gone
 *   pipes     --> one for each child that has not reached its exec yet
 *
 * When the socket ends, the children's groups are killed and it ends too. What
 * comes over the socket is not trusted: every length is checked, everything
 * has a ceiling, and what a bad request brought along is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/child_env.h"
#include "net/spawner_impl.h"

enum {
	SOCKET_FD = 3, /* where the socket is put, so that all above it can be closed */
	FDS_TAKEN = 8, /* room for more descriptors than a request may bring: they are closed */
	LAST_SIGNAL = 31
};

struct seat {
	bool taken, own_group;
	uint32_t id;
	pid_t pid;
	int exec; /* its pipe: an errno comes, or its end when exec has worked; -1: done with */
	char name[256];
};

struct box {
	int fd, signals;
	bool over;
	const struct spawner_opts *opts;
	struct seat seat[SPAWN_CHILDREN_MAX];
	char message[SPAWN_MESSAGE_MAX];
	const char *argv[SPAWN_ARGS_MAX + 1];
};

/* A request that has been read: texts in box->message, descriptors ours to close. */
struct asked {
	struct spawn_head head;
	struct spawn_request request;
	int fd[FDS_TAKEN];
	size_t fds;
};

/* ---- answers ---- */

static void answer(struct box *b, const struct spawn_answer *a)
{
	/* Blocks while the main process does not read; then it is the one who waits. */
	if (send(b->fd, a, sizeof(*a), MSG_NOSIGNAL) != (ssize_t)sizeof(*a))
		b->over = true;
}

static void answer_failed(struct box *b, uint32_t id, int sys, const char *name)
{
	struct spawn_answer a = { .reply = SPAWN_REPLY_FAILED, .id = id, .value = sys };

	(void)str_fmt(a.text, sizeof(a.text), "run '%s'", name);
	answer(b, &a);
}

static void refuse(struct box *b, const struct asked *q, const struct err *why)
{
	struct spawn_answer a = { .reply = SPAWN_REPLY_NO, .id = q->head.id };

	(void)str_fmt(a.text, sizeof(a.text), "%s", why->msg);
	log_warn("spawner", "not started: %s", why->msg);
	answer(b, &a);
}

/* ---- children ---- */

static void kill_child(const struct seat *s)
{
	if (s->taken && s->pid > 1)
		(void)kill(s->own_group ? -s->pid : s->pid, SIGKILL);
}

/* What became of its exec; false: it did not work, and that has been told. */
static bool settle_exec(struct box *b, struct seat *s)
{
	int sys = 0;
	ssize_t n;

	if (s->exec < 0)
		return true;
	do
		n = read(s->exec, &sys, sizeof(sys));
	while (n < 0 && errno == EINTR);
	close(s->exec);
	s->exec = -1;
	if (n == (ssize_t)sizeof(sys)) {
		answer_failed(b, s->id, sys, s->name);
		s->taken = false; /* its exit, which follows, is nobody's */
		return false;
	}
	answer(b, &(struct spawn_answer){
			  .reply = SPAWN_REPLY_STARTED, .id = s->id, .value = s->pid });
	return true;
}

static void ended(struct box *b, struct seat *s, int status)
{
	struct spawn_answer a = { .reply = SPAWN_REPLY_ENDED, .id = s->id };

	if (!settle_exec(b, s))
		return;
	if (WIFSIGNALED(status))
		a.signal = WTERMSIG(status);
	else
		a.value = WEXITSTATUS(status);
	s->taken = false;
	answer(b, &a);
}

static void reap(struct box *b)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++)
			if (b->seat[i].taken && b->seat[i].pid == pid)
				ended(b, &b->seat[i], status);
}

static struct seat *seat_of(struct box *b, uint32_t id)
{
	for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++)
		if (b->seat[i].taken && b->seat[i].id == id)
			return &b->seat[i];
	return NULL;
}

static struct seat *free_seat(struct box *b)
{
	for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++)
		if (!b->seat[i].taken)
			return &b->seat[i];
	return NULL;
}

/* A terminal that this process belongs to. In a group of its own a child could not ask there:
 * it would be stopped by SIGTTIN. */
static bool has_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* In the child: becomes the program, or tells errno. */
static void become(const struct asked *q, bool own_group, int tell)
{
	sigset_t none;
	int sys;

	for (int i = 1; i <= LAST_SIGNAL; i++)
		(void)signal(i, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the spawner be killed */
	if (q->request.kind == SPAWN_QEMU)      /* a guest may take it over */
		child_env_strip(environ);
	if ((!own_group || setpgid(0, 0) == 0) && dup2(q->fd[0], 0) == 0 &&
	    dup2(q->fd[1], 1) == 1 && dup2(q->fd[2], 2) == 2 &&
	    (!q->request.cwd || chdir(q->request.cwd) == 0))
		execvp(q->request.argv[0], (char *const *)(uintptr_t)q->request.argv);
	sys = errno;
	while (write(tell, &sys, sizeof(sys)) < 0 && errno == EINTR)
		;
	_exit(127);
}

static void start(struct box *b, const struct asked *q, struct seat *s)
{
	const char *name = q->request.argv[0];
	bool own_group = q->request.own_group || !has_terminal();
	int pipe_fd[2];
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
		answer_failed(b, q->head.id, errno, name);
		return;
	}
	pid = _Fork(); /* pthread_atfork(3): libuv would close descriptors that are ours now */
	if (pid == 0)
		become(q, own_group, pipe_fd[1]);
	close(pipe_fd[1]);
	if (pid < 0) {
		answer_failed(b, q->head.id, errno, name);
		close(pipe_fd[0]);
		return;
	}
	if (own_group)
		(void)setpgid(pid, pid); /* also here: it may be killed before it gets that far */
	*s = (struct seat){ .taken = true,
			    .own_group = own_group,
			    .id = q->head.id,
			    .pid = pid,
			    .exec = pipe_fd[0] };
	(void)str_fmt(s->name, sizeof(s->name), "%.250s", name);
}

/* ---- requests ---- */

static int judge(const struct box *b, const struct spawn_request *q, struct err *e)
{
	const struct spawner_opts *o = b->opts;
	struct err why = { 0 };

	for (size_t i = 0; i < o->rules; i++) {
		const struct spawn_rule *r = &o->rule[i];

		if (r->kind != q->kind || (r->program && strcmp(r->program, q->argv[0]) != 0))
			continue;
		if (r->decide ? r->decide(r->arg, q, &why) == 0 : r->program != NULL)
			return 0;
	}
	if (!why.code)
		return err_set(e, ERR_DENIED,
			       "'%.80s' is not a program that awsocks was set up to run",
			       q->argv[0]);
	*e = why;
	return -1;
}

/* Cuts the texts behind the head into argv and cwd. */
static int take_texts(struct box *b, struct asked *q, size_t n, struct err *e)
{
	const char *at = b->message + sizeof(q->head), *end = b->message + n;

	if (q->head.argc == 0 || q->head.argc > SPAWN_ARGS_MAX || q->head.has_cwd > 1 ||
	    q->head.own_group > 1)
		return err_set(e, ERR_PROTO, "bad request");
	for (size_t i = 0; i < q->head.argc + q->head.has_cwd; i++) {
		const char *nul = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;

		if (!nul)
			return err_set(e, ERR_PROTO, "bad request: a text is missing");
		if (i == 0 && q->head.has_cwd)
			q->request.cwd = at;
		else
			b->argv[i - q->head.has_cwd] = at;
		at = nul + 1;
	}
	b->argv[q->head.argc] = NULL;
	if (at != end)
		return err_set(e, ERR_PROTO, "bad request: a text too many");
	if (!*b->argv[0])
		return err_set(e, ERR_PROTO, "bad request: no program");
	q->request.kind = (enum spawn_kind)q->head.kind;
	q->request.own_group = q->head.own_group;
	return 0;
}

static int check(struct box *b, struct asked *q, size_t n, struct err *e)
{
	if (q->fds != SPAWN_STDIO)
		return err_set(e, ERR_PROTO, "bad request: %zu descriptors", q->fds);
	if (seat_of(b, q->head.id))
		return err_set(e, ERR_PROTO, "bad request: that number is taken");
	if (!free_seat(b))
		return err_set(e, ERR_LIMIT, "%d programs run already", SPAWN_CHILDREN_MAX);
	return take_texts(b, q, n, e) == 0 && judge(b, &q->request, e) == 0 ? 0 : -1;
}

static void on_start(struct box *b, struct asked *q, size_t n)
{
	struct err e = { 0 };

	if (check(b, q, n, &e) == 0)
		start(b, q, free_seat(b));
	else
		refuse(b, q, &e);
}

/* Descriptors that came along. */
static void take_fds(struct msghdr *m, struct asked *q)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n && q->fds < FDS_TAKEN; i++)
			memcpy(&q->fd[q->fds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
}

static void on_message(struct box *b)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_TAKEN * sizeof(int))];
	struct iovec io = { b->message, sizeof(b->message) };
	struct msghdr m = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct asked q = { .request.argv = b->argv };
	ssize_t n = recvmsg(b->fd, &m, MSG_CMSG_CLOEXEC);
	struct err e = { 0 };

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		b->over = true;
		return;
	}
	take_fds(&m, &q);
	if ((size_t)n >= sizeof(q.head))
		memcpy(&q.head, b->message, sizeof(q.head));
	if ((size_t)n < sizeof(q.head) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		(void)err_set(&e, ERR_PROTO, "bad request: %zd bytes", n);
	else if (q.head.op == SPAWN_OP_START)
		on_start(b, &q, (size_t)n);
	else if (q.head.op == SPAWN_OP_KILL && seat_of(b, q.head.id))
		kill_child(seat_of(b, q.head.id));
	else if (q.head.op != SPAWN_OP_KILL) /* one that has just ended may be asked to end */
		(void)err_set(&e, ERR_PROTO, "bad request: unknown");
	if (e.code)
		refuse(b, &q, &e);
	while (q.fds)
		close(q.fd[--q.fds]);
	mem_wipe(b->message, (size_t)n);
}

/* ---- life ---- */

static void on_signals(struct box *b)
{
	struct signalfd_siginfo got;

	while (read(b->signals, &got, sizeof(got)) == (ssize_t)sizeof(got)) {
		if (got.ssi_signo == SIGUSR2)
			b->over = true;
		else
			reap(b);
	}
}

static void turn(struct box *b)
{
	struct pollfd p[2 + SPAWN_CHILDREN_MAX] = { { .fd = b->fd, .events = POLLIN },
						    { .fd = b->signals, .events = POLLIN } };

	for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++) {
		p[2 + i].fd = b->seat[i].taken ? b->seat[i].exec : -1;
		p[2 + i].events = POLLIN;
	}
	if (poll(p, sizeof(p) / sizeof(p[0]), -1) < 0)
		return; /* EINTR, or no memory just now */
	for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++)
		if (p[2 + i].revents && b->seat[i].taken)
			(void)settle_exec(b, &b->seat[i]);
	if (p[1].revents)
		on_signals(b);
	if (p[0].revents)
		on_message(b);
}

/* The terminal's signals go to the whole group: the main process decides when this one ends. */
static int take_signals(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGPIPE };
	sigset_t set;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	/* Ignored, as some starters leave it, the kernel would reap children without a word. */
	(void)signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGUSR2);
	if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Keeps standard error, for what it refuses, and the socket. */
static void drop_descriptors(int fd)
{
	int null;

	(void)dup2(fd, SOCKET_FD);
	if (fd != SOCKET_FD)
		close(fd);
	(void)fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC);
	(void)close_range(SOCKET_FD + 1, ~0U, 0);
	/* All three are open afterwards, so that what comes over the socket lies above them. */
	do
		null = open("/dev/null", O_RDWR);
	while (null >= 0 && null <= STDERR_FILENO);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	close(null);
}

void spawner_child(int fd, pid_t parent, const struct spawner_opts *opts)
{
	struct box *b = mem_alloc(sizeof(*b));

	drop_descriptors(fd);
	(void)prctl(PR_SET_NAME, "awsocks-spawner");
	(void)prctl(PR_SET_DUMPABLE, 0);
	if (!b)
		_exit(1);
	b->fd = SOCKET_FD;
	b->opts = opts;
	b->signals = take_signals();
	/* Besides the socket's end: somebody may hold a copy of that. */
	if (b->signals < 0 || prctl(PR_SET_PDEATHSIG, SIGUSR2) != 0)
		_exit(1);
	b->over = getppid() != parent;
	while (!b->over)
		turn(b);
	for (size_t i = 0; i < SPAWN_CHILDREN_MAX; i++)
		kill_child(&b->seat[i]);
	if (opts->at_end)
		opts->at_end(opts->arg);
	mem_free(b);
	_exit(0);
}
