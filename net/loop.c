/*
 * The loop turns like this, and the poller (poller_epoll.c, poller_uvpoll.c)
 * does the middle two:
 *
 *     wait until the next timer, or not at all while posts are pending
 *     call the watches that are ready; run libuv (curl, signals, pool)
 *     timers that are due
 *     posts that were there when this step began
 *     the same with those that gather a turn's work, and with those that go on for long
 *
 * What is armed or posted from a callback waits for a later turn: nobody can
 * starve the descriptors.
 */
#include "net/loop.h"

#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/loop_impl.h"

static const char POOL_THREADS[] = "32";
enum { CORES_MAX = 64 };

enum { FDS_KEPT = 16 };

/* ---- time ---- */

void loop_renew_time(struct loop *l)
{
	l->now_ms = clock_mono_ms(&clock_system);
	l->wall_ms = clock_wall_ms(&clock_system);
	l->time_passes = false;
}

uint64_t loop_now_ms(struct loop *l)
{
	if (l->time_passes)
		loop_renew_time(l);
	return l->now_ms;
}

static uint64_t turn_mono_ms(const struct clock *c)
{
	return loop_now_ms(CONTAINER_OF(c, struct loop, turn_clock));
}

static int64_t turn_wall_ms(const struct clock *c)
{
	struct loop *l = CONTAINER_OF(c, struct loop, turn_clock);

	(void)loop_now_ms(l);
	return l->wall_ms;
}

const struct clock *loop_clock(struct loop *l)
{
	(void)l;
	return &clock_system;
}

const struct clock *loop_turn_clock(struct loop *l)
{
	return &l->turn_clock;
}

/* ---- posts ---- */

static void post(struct loop *l, enum loop_round round, struct loop_post *p, loop_fn *fn, void *arg)
{
	if (list_linked(&p->node))
		return;
	p->group = l->group;
	p->fn = fn;
	p->arg = arg;
	list_add_tail(&l->posts[round], &p->node);
}

void loop_post(struct loop *l, struct loop_post *p, loop_fn *fn, void *arg)
{
	post(l, LOOP_POSTS, p, fn, arg);
}

void loop_post_last(struct loop *l, struct loop_post *p, loop_fn *fn, void *arg)
{
	post(l, LOOP_LAST, p, fn, arg);
}

void loop_post_more(struct loop *l, struct loop_post *p, loop_fn *fn, void *arg)
{
	post(l, LOOP_MORE, p, fn, arg);
}

void loop_unpost(struct loop_post *p)
{
	list_del(&p->node);
}

/* One is enough of what goes on for long, when others wait. */
static size_t run_one(struct loop *l, struct list *round)
{
	struct list *node = list_pop(round);
	struct loop_post *p = node ? CONTAINER_OF(node, struct loop_post, node) : NULL;

	if (!p)
		return 0;
	l->group = p->group;
	p->fn(p->arg);
	return 1;
}

static size_t run_round(struct loop *l, struct list *round)
{
	struct list now, *node;
	struct loop_post *p;
	size_t n = 0;

	if (list_empty(round))
		return 0;
	now = *round; /* what is posted from here on waits for the next turn */
	now.next->prev = now.prev->next = &now;
	list_init(round);
	while ((node = list_pop(&now))) {
		p = CONTAINER_OF(node, struct loop_post, node);
		l->group = p->group;
		p->fn(p->arg);
		n++;
	}
	return n;
}

/* How many. */
static size_t run_posts(struct loop *l)
{
	size_t n = 0;

	for (int i = 0; i < LOOP_ROUNDS; i++)
		n += i == LOOP_MORE && loop_is_contended(l) ? run_one(l, &l->posts[i])
							    : run_round(l, &l->posts[i]);
	l->group = 0;
	return n;
}

static bool has_posts(const struct loop *l)
{
	for (int i = 0; i < LOOP_ROUNDS; i++)
		if (!list_empty(&l->posts[i]))
			return true;
	return false;
}

/* ---- groups ---- */

unsigned loop_group_new(struct loop *l)
{
	return poller_group_new(l->poller);
}

unsigned loop_group_enter(struct loop *l, unsigned group)
{
	unsigned before = l->group;

	l->group = (uint8_t)group;
	return before;
}

bool loop_is_contended(const struct loop *l)
{
	return poller_is_contended(l->poller);
}

/* ---- watches ---- */

int watch_add(struct loop *l, struct loop_watch *w, int fd, unsigned events, watch_fn *fn,
	      void *arg, struct err *e)
{
	assert(!w->added);
	*w = (struct loop_watch){ .fd = fd,
				  .events = events & (WATCH_READ | WATCH_WRITE),
				  .edge = (events & WATCH_EDGE) != 0,
				  .fn = fn,
				  .arg = arg };
	if (poller_add(l->poller, w, e) != 0)
		return -1;
	w->added = true;
	return 0;
}

void watch_set(struct loop *l, struct loop_watch *w, unsigned events)
{
	assert(w->added);
	events &= WATCH_READ | WATCH_WRITE;
	if (w->events == events)
		return;
	w->events = events;
	poller_set(l->poller, w);
}

void watch_del(struct loop *l, struct loop_watch *w)
{
	if (w->added)
		poller_del(l->poller, w, false);
	w->added = false;
}

void watch_close(struct loop *l, struct loop_watch *w)
{
	if (w->added)
		poller_del(l->poller, w, true);
	w->added = false;
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

void watch_move(struct loop *l, struct loop_watch *from, struct loop_watch *to, unsigned events,
		watch_fn *fn, void *arg)
{
	assert(from->added && !to->added);
	*to = *from;
	to->fn = fn;
	to->arg = arg;
	from->added = false;
	from->impl = NULL;
	from->fd = -1;
	poller_move(l->poller, from, to);
	watch_set(l, to, events);
}

/* ---- signals ---- */

struct loop_signal {
	uv_signal_t uv;
	loop_fn *fn;
	void *arg;
};

static void signal_came(uv_signal_t *h, int signum)
{
	struct loop_signal *s = h->data;

	(void)signum;
	s->fn(s->arg);
}

static void signal_gone(uv_handle_t *h)
{
	mem_free(h->data);
}

struct loop_signal *signal_open(struct loop *l, int signum, loop_fn *fn, void *arg, struct err *e)
{
	struct loop_signal *s = mem_alloc(sizeof(*s));
	int r;

	if (!s) {
		(void)err_set(e, ERR_NOMEM, "signal %d", signum);
		return NULL;
	}
	s->fn = fn;
	s->arg = arg;
	r = uv_signal_init(&l->uv, &s->uv);
	if (r != 0) {
		mem_free(s);
		(void)err_sys(e, -r, "signal %d", signum);
		return NULL;
	}
	s->uv.data = s;
	r = uv_signal_start(&s->uv, signal_came, signum);
	if (r == 0)
		return s;
	uv_close((uv_handle_t *)&s->uv, signal_gone);
	(void)err_sys(e, -r, "signal %d", signum);
	return NULL;
}

void signal_release(struct loop_signal *s)
{
	if (s && !uv_is_closing((uv_handle_t *)&s->uv))
		uv_close((uv_handle_t *)&s->uv, signal_gone);
}

void signal_close(struct loop_signal *s)
{
	int signum = s ? s->uv.signum : 0;

	if (!s || uv_is_closing((uv_handle_t *)&s->uv))
		return;
	signal_release(s);
	/* Someone who asks twice for the end must not turn a clean one into a death. */
	(void)signal(signum, SIG_IGN);
}

/* ---- work on the pool ---- */

struct loop_work {
	uv_work_t uv;
	struct loop *loop;
	loop_fn *run;
	work_done_fn *done;
	void *arg;
	bool cancelled;
};

static void work_run(uv_work_t *req)
{
	struct loop_work *w = req->data;

	w->run(w->arg);
}

static void work_done(uv_work_t *req, int status)
{
	struct loop_work *w = req->data;

	w->loop->working--;
	w->done(w->arg, w->cancelled || status == UV_ECANCELED);
	mem_free(w);
}

struct loop_work *work_start(struct loop *l, loop_fn *run, work_done_fn *done, void *arg,
			     struct err *e)
{
	struct loop_work *w = mem_alloc(sizeof(*w));
	int r;

	if (!w) {
		(void)err_set(e, ERR_NOMEM, "thread pool job");
		return NULL;
	}
	*w = (struct loop_work){ .loop = l, .run = run, .done = done, .arg = arg };
	w->uv.data = w;
	r = uv_queue_work(&l->uv, &w->uv, work_run, work_done);
	if (r != 0) {
		mem_free(w);
		(void)err_sys(e, -r, "thread pool job");
		return NULL;
	}
	l->working++;
	return w;
}

void work_cancel(struct loop_work *w)
{
	w->cancelled = true;
	(void)uv_cancel(
		(uv_req_t *)&w->uv); /* fails when it has begun: done() tells all the same */
}

/* ---- the loop ---- */

/* A peer that goes away is an error of the write, not the end of the program. */
static void ignore_sigpipe(void)
{
	struct sigaction old;

	if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		(void)signal(SIGPIPE, SIG_IGN);
}

/* Of a loop without a poller. */
static void abandon(struct loop *l)
{
	mail_close(l);
	(void)uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_loop_close(&l->uv);
	mem_free(l->shared);
	mem_free(l);
}

/* Of the limit as it is when the loop is made. */
static int fds_for_clients(void)
{
	struct rlimit files;
	rlim_t kept;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > INT_MAX)
		return INT_MAX;
	kept = files.rlim_cur / 4 < FDS_KEPT ? files.rlim_cur / 4 : FDS_KEPT;
	return (int)(files.rlim_cur - kept);
}

bool loop_may_use_fd(const struct loop *l, int fd)
{
	return fd < l->fds;
}

int loop_new(struct loop **out, struct err *e)
{
	struct loop *l = mem_alloc(sizeof(*l));
	int r;

	*out = NULL;
	if (!l)
		return err_set(e, ERR_NOMEM, "event loop");
	ignore_sigpipe();
	(void)setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 0); /* read at the pool's first use */
	for (int i = 0; i < LOOP_ROUNDS; i++)
		list_init(&l->posts[i]);
	l->shared = mem_alloc(LOOP_SHARED);
	if (!l->shared) {
		mem_free(l);
		return err_set(e, ERR_NOMEM, "event loop");
	}
	l->fds = fds_for_clients();
	l->turn_clock = (struct clock){ turn_mono_ms, turn_wall_ms };
	loop_renew_time(l);
	r = uv_loop_init(&l->uv);
	if (r != 0) {
		mem_free(l->shared);
		mem_free(l);
		return err_sys(e, -r, "event loop");
	}
	if (mail_open(l, e) != 0 || poller_new(l, &l->poller, e) != 0) {
		abandon(l);
		return -1;
	}
	*out = l;
	return 0;
}

static void count_handle(uv_handle_t *h, void *arg)
{
	size_t *n = arg;

	*n += !uv_is_closing(h);
}

static void waited_enough(uv_timer_t *t)
{
	uv_close((uv_handle_t *)t, NULL);
}

/* false: some of it goes on. */
static bool wait_for_work(struct loop *l)
{
	uv_timer_t limit;

	if (!l->working)
		return true;
	if (uv_timer_init(&l->uv, &limit) != 0)
		return false;
	uv_update_time(&l->uv);
	(void)uv_timer_start(&limit, waited_enough, LOOP_WORK_MS, 0);
	while (l->working && !uv_is_closing((uv_handle_t *)&limit))
		uv_run(&l->uv, UV_RUN_ONCE);
	if (!uv_is_closing((uv_handle_t *)&limit))
		uv_close((uv_handle_t *)&limit, NULL);
	uv_run(&l->uv, UV_RUN_NOWAIT); /* the timer is gone, too */
	return l->working == 0;
}

bool loop_free(struct loop *l)
{
	enum { DRAIN_ROUNDS = 64 };
	size_t left = 0;
	int i;

	if (!l)
		return true;
	for (i = 0; i < DRAIN_ROUNDS && mail_run(l) + run_posts(l) > 0; i++)
		;
	mail_close(l);
	poller_close(l->poller);
	resolver_close(l);
	if (!wait_for_work(l)) {
		log_info("loop", "%zu jobs go on and are left behind", (size_t)l->working);
		return false;
	}
	for (i = 0; i < DRAIN_ROUNDS && uv_run(&l->uv, UV_RUN_NOWAIT) != 0; i++)
		(void)run_posts(l);
	for (i = 0; i < DRAIN_ROUNDS && mail_run(l) + run_posts(l) > 0; i++)
		;
	resolver_free(l);
	if (l->bulk_free)
		l->bulk_free(l->bulk);
	mem_wipe(l->shared, LOOP_SHARED);
	mem_free(l->shared);
	poller_free(l->poller);
	uv_walk(&l->uv, count_handle, &left);
	if (uv_loop_close(&l->uv) != 0) { /* freeing it would crash whoever is left */
		log_error("loop", "%zu handles are still open", left);
		return true;
	}
	mem_free(l);
	return true;
}

/* How long the poller may wait: -1 for ever. */
static int wait_ms(struct loop *l)
{
	uint64_t now = loop_now_ms(l);

	if (l->stop || has_posts(l))
		return 0;
	if (!l->timers)
		return -1;
	if (l->timers->at_ms <= now)
		return 0;
	return l->timers->at_ms - now < INT_MAX ? (int)(l->timers->at_ms - now) : INT_MAX;
}

void loop_run(struct loop *l)
{
	loop_renew_time(l);
	while (!l->stop) {
		poller_turn(l->poller, wait_ms(l));
		timers_run(l);
		(void)run_posts(l);
	}
	l->stop = false;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

size_t loop_cores(void)
{
	unsigned n = uv_available_parallelism();

	return n < 1 ? 1 : n > CORES_MAX ? CORES_MAX : n;
}

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}
