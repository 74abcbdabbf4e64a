/*
 * uv_spawn(), or the loop's spawner, with two pipes. The result is due when the program has exited
 * and both pipes have ended; a grandchild that keeps a pipe open is waited for
 * only GRACE_MS. The memory lives until libuv has let go of its three handles,
 * and the process handle until the exit was seen: no zombie stays behind.
 */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/loop_impl.h"
#include "net/spawner.h"

enum {
	OUT_MAX = 1024 * 1024,
	ERR_MAX = 64 * 1024,
	LIMIT_MS = 60000,
	GRACE_MS = 1000,
	PIECE = 4096
};

struct output {
	struct process *of;
	uv_pipe_t pipe;
	struct buf buf; /* ceiling: max + 1 for a byte too many or the NUL */
	bool ended;
};

struct process {
	struct loop *loop;
	uv_process_t uv;
	bool uses_uv;        /* and no spawner */
	struct spawn *spawn; /* while it runs under one */
	struct output out, err;
	struct loop_timer timer; /* the limit, then the grace */
	process_fn *done;
	void (*said)(void *arg, int which, const char *bytes, size_t n);
	void *arg;
	pid_t pid;
	bool own_group, service, exited, told;
	unsigned handles; /* that libuv still holds */
	unsigned limit_ms;
	int status, signal;
	bool failed;
	struct err why;
};

/* ---- the end ---- */

static void handle_gone(uv_handle_t *h)
{
	struct process *p = h->data;

	if (--p->handles)
		return;
	buf_free(&p->out.buf);
	buf_free(&p->err.buf);
	mem_free(p);
}

static void let_go(uv_handle_t *h)
{
	if (!uv_is_closing(h))
		uv_close(h, handle_gone);
}

/* Nobody is to be told any more; only the exit may still be waited for. */
static void retire(struct process *p)
{
	p->told = true;
	timer_disarm(p->loop, &p->timer);
	let_go((uv_handle_t *)&p->out.pipe);
	let_go((uv_handle_t *)&p->err.pipe);
	if (p->uses_uv && p->exited)
		let_go((uv_handle_t *)&p->uv);
	if (p->spawn)
		spawn_forget(p->spawn);
	p->spawn = NULL;
}

static const char *text_of(struct buf *b)
{
	return buf_add(b, "", 1, NULL) == 0 ? (const char *)buf_ptr(b) : NULL;
}

static void tell(struct process *p)
{
	struct process_result r = { .status = p->status,
				    .signal = p->signal,
				    .out_len = buf_len(&p->out.buf),
				    .err_len = buf_len(&p->err.buf) };

	r.out = text_of(&p->out.buf);
	r.err_text = text_of(&p->err.buf);
	if ((!r.out || !r.err_text) && !p->failed) {
		p->failed = true;
		(void)err_set(&p->why, ERR_NOMEM, "output of a program");
	}
	if (!r.out || !r.err_text) {
		r.out = r.err_text = "";
		r.out_len = r.err_len = 0;
	}
	r.why = p->failed ? &p->why : NULL;
	p->told = true;
	p->done(p->arg, &r);
	buf_free(&p->out.buf);
	buf_free(&p->err.buf);
	retire(p);
}

static void tell_if_over(struct process *p)
{
	if (!p->told && p->exited && p->out.ended && p->err.ended)
		tell(p);
}

/* Someone else holds a pipe; or its end is not seen yet: then it is what was sent that ends it. */
static void grace_over(void *arg)
{
	struct process *p = arg;

	if (!p->exited)
		p->signal = SIGKILL;
	tell(p);
}

static void kill_it(struct process *p)
{
	if (p->exited) /* its number may be someone else's by now */
		return;
	if (p->spawn)
		spawn_kill(p->spawn);
	else if (!p->uses_uv)
		return;
	else if (p->own_group)
		(void)kill(-p->uv.pid, SIGKILL); /* with all that it has started */
	else
		(void)uv_process_kill(&p->uv, SIGKILL);
}

static void fail(struct process *p, enum err_code code, const char *what)
{
	if (!p->failed)
		(void)err_set(&p->why, code, "%s", what);
	p->failed = true;
	kill_it(p);
	timer_arm(p->loop, &p->timer, GRACE_MS, grace_over, p);
}

/* ---- events ---- */

static void limit_over(void *arg)
{
	struct process *p = arg;

	if (!p->failed)
		(void)err_set(&p->why, ERR_TIMEOUT, "the program did not end within %u ms",
			      p->limit_ms);
	p->failed = true;
	kill_it(p);
	timer_arm(p->loop, &p->timer, GRACE_MS, grace_over, p);
}

static void ended(struct process *p, int status, int sig)
{
	p->exited = true;
	p->status = status;
	p->signal = sig;
	timer_arm(p->loop, &p->timer, GRACE_MS, grace_over, p);
	tell_if_over(p);
}

static void exited(uv_process_t *uv, int64_t status, int sig)
{
	struct process *p = uv->data;

	p->loop->working--;
	if (!p->told) {
		ended(p, (int)status, sig);
		return;
	}
	p->exited = true;
	let_go((uv_handle_t *)&p->uv);
}

static void on_spawn(void *arg, const struct spawn_event *event)
{
	struct process *p = arg;

	if (event->what == SPAWN_STARTED) {
		p->pid = event->pid;
		return;
	}
	p->spawn = NULL;
	if (event->what == SPAWN_FAILED && !p->failed) {
		p->failed = true;
		p->why = *event->why;
	}
	ended(p, event->status, event->signal);
}

static void give_room(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	struct output *o = CONTAINER_OF(h, struct output, pipe);
	size_t room = buf_room(&o->buf), n = room < PIECE ? room : PIECE;
	uint8_t *p = n ? buf_reserve(&o->buf, n, NULL) : NULL;

	(void)suggested;
	*b = uv_buf_init((char *)p, p ? (unsigned)n : 0);
}

static void came(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct output *o = CONTAINER_OF(s, struct output, pipe);
	struct process *p = o->of;

	(void)b;
	if (p->told || n == 0)
		return;
	if (n > 0 && p->said) {
		p->said(p->arg, o == &p->out ? 1 : 2, b->base, (size_t)n);
		return;
	}
	if (n > 0)
		buf_commit(&o->buf, (size_t)n);
	if (n > 0 && p->service && buf_room(&o->buf) == 0)
		buf_drop(&o->buf, (buf_len(&o->buf) + 1) / 2);
	if (n > 0 && buf_room(&o->buf) > 0)
		return;
	if (n > 0)
		fail(p, ERR_LIMIT, "the program wrote more than it may");
	else if (n == UV_ENOBUFS)
		fail(p, ERR_NOMEM, "output of a program");
	if (n > 0) /* the byte too many makes room for the NUL */
		o->buf.len--;
	uv_read_stop(s);
	o->ended = true;
	tell_if_over(p);
}

/* ---- public ---- */

static void output_init(struct output *o, struct process *p, size_t max)
{
	o->of = p;
	buf_init(&o->buf, max + 1);
	(void)uv_pipe_init(&p->loop->uv, &o->pipe, 0); /* allocates nothing */
	o->pipe.data = p;
	p->handles++;
}

static int start_with_uv(struct process *p, const struct process_opts *o, struct err *e)
{
	/* These pipes are sockets. */
	uv_stdio_container_t io[3] = {
		{ .flags = o->inherit_stdin || o->has_in ? UV_INHERIT_FD : UV_IGNORE,
		  .data.fd = o->has_in ? o->in_fd : 0 },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&p->out.pipe },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&p->err.pipe },
	};
	uv_process_options_t opts = {
		.exit_cb = exited,
		.file = o->argv[0],
		.args = (char **)(uintptr_t)o->argv, /* not written to */
		.env = (char **)(uintptr_t)o->env,
		.cwd = o->cwd,
		.flags = p->own_group ? UV_PROCESS_DETACHED : 0,
		.stdio_count = 3,
		.stdio = io,
	};
	int r;

	p->handles++; /* uv_spawn() leaves a handle to be closed also when it fails */
	p->uses_uv = true;
	p->uv.data = p;
	r = uv_spawn(&p->loop->uv, &p->uv, &opts);
	if (r != 0)
		return err_sys(e, -r, "run '%s'", o->argv[0]);
	p->loop->working++;
	p->pid = p->uv.pid;
	return 0;
}

/* A pipe whose reading end is ours. *theirs: to be closed, also when it fails; -1: none. */
static int open_pipe(struct output *o, int *theirs)
{
	int pair[2], r;

	if (o->of->said)
		r = uv_socketpair(SOCK_STREAM, 0, pair, UV_NONBLOCK_PIPE, 0);
	else
		r = uv_pipe(pair, UV_NONBLOCK_PIPE, 0); /* both are closed on exec */
	*theirs = -1;
	if (r != 0)
		return r;
	*theirs = pair[1];
	r = uv_pipe_open(&o->pipe, pair[0]);
	if (r != 0)
		close(pair[0]);
	return r;
}

static int start_with_spawner(struct process *p, const struct process_opts *o, struct err *e)
{
	const struct spawn_request q = {
		.kind = o->kind, .argv = o->argv, .cwd = o->cwd, .own_group = p->own_group
	};
	int fd[SPAWN_STDIO] = { -1, -1, -1 }, r;

	fd[0] = o->has_in          ? o->in_fd
		: o->inherit_stdin ? STDIN_FILENO
				   : open("/dev/null", O_RDONLY | O_CLOEXEC);
	r = fd[0] < 0 ? -errno : open_pipe(&p->out, &fd[1]);
	if (r == 0)
		r = open_pipe(&p->err, &fd[2]);
	if (r == 0)
		p->spawn = spawn_start(p->loop->spawner, &q, fd, on_spawn, p, e);
	else
		(void)err_sys(e, -r, "run '%s'", o->argv[0]);
	for (int i = o->inherit_stdin || o->has_in; i < SPAWN_STDIO; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return p->spawn ? 0 : -1;
}

struct process *process_start(struct loop *l, const struct process_opts *o, process_fn *done,
			      void *arg, struct err *e)
{
	struct process *p = mem_alloc(sizeof(*p));

	if (!p) {
		(void)err_set(e, ERR_NOMEM, "run '%s'", o->argv[0]);
		return NULL;
	}
	p->loop = l;
	p->done = done;
	p->said = o->said;
	p->arg = arg;
	p->own_group = !o->inherit_stdin;
	p->service = o->service;
	p->limit_ms = o->limit_ms ? o->limit_ms : LIMIT_MS;
	output_init(&p->out, p, o->out_max ? o->out_max : OUT_MAX);
	output_init(&p->err, p, o->err_max ? o->err_max : ERR_MAX);
	if ((l->spawner ? start_with_spawner : start_with_uv)(p, o, e) != 0) {
		p->exited = true;
		retire(p);
		return NULL;
	}
	if (!p->service)
		timer_arm(l, &p->timer, p->limit_ms, limit_over, p);
	(void)uv_read_start((uv_stream_t *)&p->out.pipe, give_room, came);
	(void)uv_read_start((uv_stream_t *)&p->err.pipe, give_room, came);
	return p;
}

pid_t process_pid(const struct process *p)
{
	return p->pid;
}

void process_kill(struct process *p)
{
	if (p->told)
		return;
	kill_it(p);
	timer_arm(p->loop, &p->timer, GRACE_MS, grace_over, p);
}

void process_cancel(struct process *p)
{
	if (!p || p->told)
		return;
	kill_it(p);
	retire(p);
}
