#include "cmd/agent/resolver.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/agent/lookup.h"

enum {
	THREADS = 8,
	THREADS_MOST = 32, /* with those whose look-up nobody waits for any longer */
	QUEUE_MAX = 256,
	STACK = 256 * 1024
};

enum job_state { JOB_QUEUED = 0, JOB_RUNNING, JOB_DONE };

struct job {
	struct list asked; /* the loop's: not forgotten */
	struct list node;  /* queue or done; under the lock */
	struct ev_timer limit;
	struct resolver *resolver;
	uint32_t id;
	enum job_state state; /* under the lock */
	bool forgotten;       /* under the lock */
	char name[FRAME_NAME_MAX + 1];
	struct resolved result;
};

/* What threads and loop share; whoever leaves last frees it. */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list queue, done;
	unsigned threads, idle, lost; /* lost: of threads, whose job is forgotten */
	bool closing;
	int wake; /* eventfd */
};

struct resolver {
	struct ev *ev;
	struct pool *pool;
	struct ev_watch watch;
	struct list asked;
	unsigned count, limit_ms;
	void (*resolved)(void *arg, uint32_t id, const struct resolved *);
	void *arg;
};

/* ---- threads ---- */

static void free_jobs(struct list *jobs)
{
	struct list *node;

	while ((node = list_pop(jobs)) != NULL)
		mem_free(CONTAINER_OF(node, struct job, node));
}

static void pool_free(struct pool *p)
{
	free_jobs(&p->queue);
	free_jobs(&p->done);
	(void)pthread_mutex_destroy(&p->lock);
	(void)pthread_cond_destroy(&p->work);
	close(p->wake);
	mem_free(p);
}

/* With the lock. */
static void finish(struct pool *p, struct job *j)
{
	const uint64_t one = 1;

	if (j->forgotten) {
		p->lost--;
		mem_free(j);
		return;
	}
	j->state = JOB_DONE;
	list_add_tail(&p->done, &j->node);
	if (write(p->wake, &one, sizeof(one)) < 0)
		(void)0; /* only if it is full: then it is read */
}

/* With the lock. NULL: the thread is to end. */
static struct job *next_job(struct pool *p)
{
	while (list_empty(&p->queue) && !p->closing && p->threads - p->lost <= THREADS) {
		p->idle++;
		(void)pthread_cond_wait(&p->work, &p->lock);
		p->idle--;
	}
	if (p->closing || list_empty(&p->queue))
		return NULL;
	return CONTAINER_OF(list_pop(&p->queue), struct job, node);
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;
	struct job *j;
	bool last;

	(void)pthread_mutex_lock(&p->lock);
	while ((j = next_job(p)) != NULL) {
		j->state = JOB_RUNNING;
		(void)pthread_mutex_unlock(&p->lock);
		lookup(j->name, &j->result);
		(void)pthread_mutex_lock(&p->lock);
		finish(p, j);
	}
	last = --p->threads == 0 && p->closing;
	(void)pthread_mutex_unlock(&p->lock);
	if (last)
		pool_free(p);
	return NULL;
}

/* With the lock. Without one more, those that are there have to do. */
static void more_threads(struct pool *p)
{
	pthread_attr_t attr;
	pthread_t t;

	if (p->idle || p->threads - p->lost >= THREADS || p->threads >= THREADS_MOST)
		return;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK);
	if (pthread_create(&t, &attr, thread_main, p) == 0)
		p->threads++;
	(void)pthread_attr_destroy(&attr);
}

/* ---- the loop's side ---- */

/* It is out of `asked`. A thread that has it keeps it until it returns. */
static void drop(struct resolver *r, struct job *j)
{
	struct pool *p = r->pool;
	bool running;

	list_del(&j->asked);
	ev_disarm(r->ev, &j->limit);
	r->count--;
	(void)pthread_mutex_lock(&p->lock);
	running = j->state == JOB_RUNNING;
	j->forgotten = true;
	if (running) {
		p->lost++;
		if (!list_empty(&p->queue))
			more_threads(p);
	} else {
		list_del(&j->node);
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (!running)
		mem_free(j);
}

static void too_long(void *arg)
{
	struct job *j = arg;
	struct resolver *r = j->resolver;
	struct resolved late = { .why.cause = FRAME_CAUSE_RESOLVER };
	uint32_t id = j->id;

	(void)str_fmt(late.why.text, sizeof(late.why.text),
		      "%s: the resolver did not answer in %u ms", j->name, r->limit_ms);
	drop(r, j);
	r->resolved(r->arg, id, &late);
}

static struct job *take_done(struct pool *p)
{
	struct list *node;

	(void)pthread_mutex_lock(&p->lock);
	node = list_pop(&p->done);
	(void)pthread_mutex_unlock(&p->lock);
	return node ? CONTAINER_OF(node, struct job, node) : NULL;
}

static void on_done(void *arg, unsigned what)
{
	struct resolver *r = arg;
	uint64_t n;
	struct job *j;

	(void)what;
	if (read(r->pool->wake, &n, sizeof(n)) < 0)
		return;
	while ((j = take_done(r->pool)) != NULL) {
		list_del(&j->asked);
		ev_disarm(r->ev, &j->limit);
		r->count--;
		r->resolved(r->arg, j->id, &j->result);
		mem_free(j);
	}
}

int resolver_ask(struct resolver *r, uint32_t id, const char *name, struct err *e)
{
	struct job *j;

	if (r->count == QUEUE_MAX)
		return err_set(e, ERR_LIMIT, "%d look-ups are under way", QUEUE_MAX);
	j = mem_alloc(sizeof(*j));
	if (!j)
		return err_set(e, ERR_NOMEM, "look-up");
	j->resolver = r;
	j->id = id;
	(void)str_fmt(j->name, sizeof(j->name), "%s", name);
	list_add_tail(&r->asked, &j->asked);
	r->count++;
	ev_arm(r->ev, &j->limit, r->limit_ms, too_long, j);
	(void)pthread_mutex_lock(&r->pool->lock);
	list_add_tail(&r->pool->queue, &j->node);
	more_threads(r->pool);
	(void)pthread_cond_signal(&r->pool->work);
	(void)pthread_mutex_unlock(&r->pool->lock);
	return 0;
}

void resolver_forget(struct resolver *r, uint32_t id)
{
	LIST_EACH (it, &r->asked) {
		struct job *j = CONTAINER_OF(it, struct job, asked);

		if (j->id == id) {
			drop(r, j);
			return;
		}
	}
}

static struct pool *pool_new(struct err *e)
{
	struct pool *p = mem_alloc(sizeof(*p));

	if (!p) {
		(void)err_set(e, ERR_NOMEM, "resolver");
		return NULL;
	}
	p->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->wake < 0) {
		(void)err_sys(e, errno, "resolver");
		mem_free(p);
		return NULL;
	}
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->work, NULL);
	list_init(&p->queue);
	list_init(&p->done);
	return p;
}

int resolver_new(struct resolver **out, struct ev *ev, unsigned limit_ms,
		 void (*resolved)(void *arg, uint32_t id, const struct resolved *), void *arg,
		 struct err *e)
{
	struct resolver *r = mem_alloc(sizeof(*r));

	if (!r)
		return err_set(e, ERR_NOMEM, "resolver");
	*r = (struct resolver){ .ev = ev, .limit_ms = limit_ms, .resolved = resolved, .arg = arg };
	list_init(&r->asked);
	r->pool = pool_new(e);
	if (!r->pool || ev_watch(ev, &r->watch, r->pool->wake, EV_READ, on_done, r, e) != 0) {
		if (r->pool)
			pool_free(r->pool);
		mem_free(r);
		return -1;
	}
	*out = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	struct pool *p;
	bool last;

	if (!r)
		return;
	LIST_EACH (it, &r->asked)
		drop(r, CONTAINER_OF(it, struct job, asked));
	ev_unwatch(r->ev, &r->watch);
	p = r->pool;
	mem_free(r);
	(void)pthread_mutex_lock(&p->lock);
	p->closing = true;
	(void)pthread_cond_broadcast(&p->work);
	last = p->threads == 0;
	(void)pthread_mutex_unlock(&p->lock);
	if (last)
		pool_free(p);
}
