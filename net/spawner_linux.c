/*
 * The main process's side: requests out, answers in, matched by a number.
 * Nothing waits: a request that the socket has no room for is an error, a
 * killing that it has none for is sent when it has.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop_impl.h"
#include "net/spawner_impl.h"

enum { ANSWERS_A_TURN = 32 };

struct spawner {
	struct loop *loop; /* NULL: not attached */
	struct loop_watch watch;
	int fd;
	pid_t pid;
	bool gone;
	uint32_t last_id;
	struct list spawns;
};

struct spawn {
	struct list node;
	struct spawner *of;
	uint32_t id;
	spawn_fn *fn; /* NULL: forgotten */
	void *arg;
	bool kill_due;
};

/* ---- birth and death ---- */

int spawner_new(struct spawner **out, const struct spawner_opts *o, struct err *e)
{
	struct spawner *s = mem_alloc(sizeof(*s));
	pid_t parent = getpid();
	int pair[2];

	*out = NULL;
	if (!s)
		return err_set(e, ERR_NOMEM, "spawner");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		mem_free(s);
		return err_sys(e, errno, "spawner");
	}
	list_init(&s->spawns);
	s->fd = pair[0];
	s->pid = _Fork(); /* libuv's pthread_atfork(3) handlers are not for it */
	if (s->pid == 0) {
		close(pair[0]);
		mem_free(s);
		spawner_child(pair[1], parent, o);
	}
	close(pair[1]);
	if (s->pid < 0 || fcntl(s->fd, F_SETFL, O_NONBLOCK) != 0) {
		(void)err_sys(e, errno, "spawner");
		spawner_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

pid_t spawner_pid(const struct spawner *s)
{
	return s->pid;
}

/* Its end shows as the socket's, and comes at once unless a file system hangs. */
static void wait_for_end(const struct spawner *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	char rest[sizeof(struct spawn_answer)];
	ssize_t n;

	(void)shutdown(s->fd, SHUT_WR);
	do
		n = poll(&p, 1, SPAWN_END_MS) == 1 ? recv(s->fd, rest, sizeof(rest), 0) : -1;
	while (n > 0);
	if (n == 0 || s->gone)
		(void)waitpid(s->pid, NULL, 0);
}

void spawner_free(struct spawner *s)
{
	struct list *node;

	if (!s)
		return;
	if (s->loop) {
		watch_del(s->loop, &s->watch);
		s->loop->spawner = NULL;
	}
	while ((node = list_pop(&s->spawns)))
		mem_free(CONTAINER_OF(node, struct spawn, node));
	if (s->pid > 0)
		wait_for_end(s);
	close(s->fd);
	mem_free(s);
}

/* ---- answers ---- */

static void spawn_free(struct spawn *p)
{
	list_del(&p->node);
	mem_free(p);
}

static void tell_end(struct spawn *p, const struct spawn_event *event)
{
	spawn_fn *fn = p->fn;
	void *arg = p->arg;

	spawn_free(p);
	if (fn)
		fn(arg, event);
}

static void tell_failed(struct spawn *p, const struct err *why)
{
	tell_end(p, &(struct spawn_event){ .what = SPAWN_FAILED, .why = why });
}

static struct spawn *find(struct spawner *s, uint32_t id)
{
	LIST_EACH (node, &s->spawns) {
		struct spawn *p = CONTAINER_OF(node, struct spawn, node);

		if (p->id == id)
			return p;
	}
	return NULL;
}

static void on_answer(struct spawner *s, struct spawn_answer *a)
{
	struct spawn *p = find(s, a->id);
	struct err why;

	a->text[sizeof(a->text) - 1] = '\0';
	if (!p)
		return;
	switch (a->reply) {
	case SPAWN_REPLY_STARTED:
		if (p->fn)
			p->fn(p->arg, &(struct spawn_event){ .what = SPAWN_STARTED,
							     .pid = (pid_t)a->value });
		return;
	case SPAWN_REPLY_ENDED:
		tell_end(p, &(struct spawn_event){
				    .what = SPAWN_ENDED, .status = a->value, .signal = a->signal });
		return;
	case SPAWN_REPLY_FAILED:
		(void)err_sys(&why, a->value, "%s", a->text);
		tell_failed(p, &why);
		return;
	default: (void)err_set(&why, ERR_DENIED, "%s", a->text); tell_failed(p, &why);
	}
}

static void went(struct spawner *s)
{
	struct err why;

	log_error("spawner", "has ended: no further program can be started");
	s->gone = true;
	watch_set(s->loop, &s->watch, 0);
	(void)err_set(&why, ERR_CLOSED, "the process that starts programs has ended");
	while (!list_empty(&s->spawns))
		tell_failed(CONTAINER_OF(s->spawns.next, struct spawn, node), &why);
}

/* ---- requests ---- */

static bool send_kill(struct spawn *p)
{
	struct spawn_head head = { .op = SPAWN_OP_KILL, .id = p->id };
	ssize_t n = send(p->of->fd, &head, sizeof(head), MSG_NOSIGNAL);

	p->kill_due = n < 0 && (errno == EAGAIN || errno == ENOBUFS);
	return !p->kill_due;
}

static void on_writable(struct spawner *s)
{
	LIST_EACH (node, &s->spawns) {
		struct spawn *p = CONTAINER_OF(node, struct spawn, node);

		if (p->kill_due && !send_kill(p))
			return;
	}
	watch_set(s->loop, &s->watch, WATCH_READ);
}

static void on_ready(void *arg, unsigned ready)
{
	struct spawner *s = arg;
	struct spawn_answer a;
	ssize_t n = -1;

	if (s->gone)
		return;
	for (int i = 0; (ready & WATCH_READ) && i < ANSWERS_A_TURN; i++) {
		n = recv(s->fd, &a, sizeof(a), 0);
		if (n != (ssize_t)sizeof(a))
			break;
		on_answer(s, &a);
	}
	if (n == 0 || (n < 0 && (ready & WATCH_READ) && errno != EAGAIN && errno != EINTR))
		went(s);
	else if (ready & WATCH_WRITE)
		on_writable(s);
}

int spawner_attach(struct spawner *s, struct loop *l, struct err *e)
{
	if (watch_add(l, &s->watch, s->fd, WATCH_READ, on_ready, s, e) != 0)
		return err_wrap(e, "spawner");
	s->loop = l;
	l->spawner = s;
	return 0;
}

/* The message of a request; its length, 0: too long. */
static size_t write_request(char *to, struct spawn_head *head, const struct spawn_request *q)
{
	size_t n = sizeof(*head);

	for (size_t i = q->cwd ? 0 : 1; i == 0 || q->argv[i - 1]; i++) {
		const char *text = i == 0 ? q->cwd : q->argv[i - 1];
		size_t size = strlen(text) + 1;

		if (size > SPAWN_MESSAGE_MAX - n || head->argc == SPAWN_ARGS_MAX)
			return 0;
		memcpy(to + n, text, size);
		n += size;
		head->argc += i > 0;
	}
	memcpy(to, head, sizeof(*head));
	return n;
}

static int send_request(struct spawner *s, void *message, size_t n, const int fd[SPAWN_STDIO])
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(SPAWN_STDIO * sizeof(int))] = { 0 };
	struct iovec io = { message, n };
	struct msghdr m = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(SPAWN_STDIO * sizeof(int));
	memcpy(CMSG_DATA(c), fd, SPAWN_STDIO * sizeof(int));
	return sendmsg(s->fd, &m, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

static int ask(struct spawn *p, const struct spawn_request *q, const int fd[SPAWN_STDIO],
	       struct err *e)
{
	struct spawn_head head = { .op = SPAWN_OP_START,
				   .id = p->id,
				   .kind = (uint32_t)q->kind,
				   .own_group = q->own_group,
				   .has_cwd = q->cwd != NULL };
	char *message = mem_alloc(SPAWN_MESSAGE_MAX);
	int result = 0;
	size_t n;

	if (!message)
		return err_set(e, ERR_NOMEM, "run '%s'", q->argv[0]);
	n = write_request(message, &head, q);
	if (!n)
		result = err_set(e, ERR_LIMIT, "run '%.80s': its command line is too long",
				 q->argv[0]);
	else if (send_request(p->of, message, n, fd) != 0)
		result = err_sys(e, errno, "run '%s'", q->argv[0]);
	mem_wipe(message, SPAWN_MESSAGE_MAX); /* an argument may be a secret */
	mem_free(message);
	return result;
}

struct spawn *spawn_start(struct spawner *s, const struct spawn_request *q,
			  const int fd[SPAWN_STDIO], spawn_fn *fn, void *arg, struct err *e)
{
	struct spawn *p = s->gone ? NULL : mem_alloc(sizeof(*p));

	if (!p) {
		(void)err_set(e, s->gone ? ERR_CLOSED : ERR_NOMEM, "run '%s'%s", q->argv[0],
			      s->gone ? ": the process that starts programs has ended" : "");
		return NULL;
	}
	*p = (struct spawn){ .of = s, .id = ++s->last_id, .fn = fn, .arg = arg };
	if (ask(p, q, fd, e) != 0) {
		mem_free(p);
		return NULL;
	}
	list_add_tail(&s->spawns, &p->node);
	return p;
}

void spawn_kill(struct spawn *p)
{
	if (!p->of->gone && !send_kill(p))
		watch_set(p->of->loop, &p->of->watch, WATCH_READ | WATCH_WRITE);
}

void spawn_forget(struct spawn *p)
{
	p->fn = NULL;
	spawn_kill(p);
}
