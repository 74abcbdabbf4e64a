/*
 * getaddrinfo() blocks, so it runs on the loop's pool and touches nothing but
 * its own look-up. It cannot be interrupted: a look-up that nobody waits for
 * any more leaves the pool's queue if it has not begun, otherwise its answer
 * is kept like any other.
 *
 *     net_resolve --name is known--> posted to itself ------------> done()
 *         |                                                          ^
 *         +---> struct lookup (one for each name) --work--> looked_up()
 *
 * A look-up stays in the table until its answer is too old, or until it is the
 * one that was used longest ago. While askers hold it (refs) it is at most
 * taken out of the table, and freed by the last of them. There is no timer: what
 * is old is noticed by the next one who asks, or makes room.
 */
#include "net/resolve.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "net/loop_impl.h"
#include "net/sock.h"

enum { KEEP_MS = 5000, KEEP_FAILED_MS = 1000, NAMES = 256, UNDER_WAY = 128, BUCKETS = 64 };

/* The look-ups of one loop. */
struct resolver {
	struct loop *loop;
	struct resolve_opts opts;
	struct list bucket[BUCKETS];
	struct list used; /* those of the table, the one used longest ago first */
	size_t names, under_way;
	bool closing;
};

struct lookup {
	struct list node, used; /* in the table; not linked: taken out of it */
	struct resolver *of;
	struct loop_work *work; /* NULL: there is an answer */
	struct list waiting;
	size_t refs; /* struct net_resolve that point here */
	uint64_t until_ms;
	char *host;
	/* The pool's, while `work` runs. */
	lookup_fn *fn;
	void *fn_arg;
	bool ran;
	int gai, sys; /* as getaddrinfo(), and errno */
	size_t n;
	struct addr *list; /* [RESOLVE_MAX], or [n] when there is an answer */
};

struct net_resolve {
	struct list node; /* among those that wait */
	struct lookup *lookup;
	struct loop_post post; /* known at once */
	struct loop *loop;
	unsigned group; /* of who asked */
	resolved_fn *done;
	void *arg;
	uint16_t port;
};

/* ---- on the pool ---- */

static int by_system(void *arg, const char *host, struct addr *list, size_t *n)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *first = NULL, *ai;
	int gai;

	(void)arg;
	errno = 0;
	gai = getaddrinfo(host, NULL, &hints, &first);
	if (gai != 0)
		return gai;
	for (ai = first; ai && *n < RESOLVE_MAX; ai = ai->ai_next) {
		if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
			continue;
		memcpy(&list[*n].ss, ai->ai_addr, ai->ai_addrlen);
		list[(*n)++].len = ai->ai_addrlen;
	}
	freeaddrinfo(first);
	return 0;
}

static bool is_shortage(int sys)
{
	return sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
}

/* Resolvers that get no descriptor for their files or sockets say many things, also that there
 * is no such host. */
static int shortage(int sys)
{
	int fd;

	if (is_shortage(sys))
		return sys;
	fd = sock_open(AF_UNIX);
	if (fd < 0 && is_shortage(errno))
		return errno;
	if (fd >= 0)
		close(fd);
	return 0;
}

static void look_up(void *arg)
{
	struct lookup *u = arg;
	int short_of;

	u->n = 0;
	u->gai = u->fn(u->fn_arg, u->host, u->list, &u->n);
	u->sys = errno;
	u->ran = true;
	if (u->gai == 0)
		return;
	short_of = shortage(u->sys);
	if (short_of) {
		u->gai = EAI_SYSTEM;
		u->sys = short_of;
	}
}

/* ---- answers ---- */

void resolve_interleave(struct addr *list, size_t n)
{
	struct addr out[RESOLVE_MAX];
	sa_family_t want = n ? list[0].ss.ss_family : 0;
	bool used[RESOLVE_MAX] = { false };
	size_t i, k;

	for (k = 0; k < n; k++) {
		size_t pick = n;

		for (i = 0; i < n; i++) {
			if (used[i] || (pick < n && list[i].ss.ss_family != want))
				continue;
			if (pick == n || list[pick].ss.ss_family != want)
				pick = i;
		}
		used[pick] = true;
		out[k] = list[pick];
		want = list[pick].ss.ss_family == AF_INET ? AF_INET6 : AF_INET;
	}
	memcpy(list, out, n * sizeof(*list));
}

static void explain(const struct lookup *u, struct err *e)
{
	switch (u->gai) {
	case 0:
	case EAI_NONAME:
		(void)err_set(e, ERR_RESOLVE, "resolve '%.200s': no such host", u->host);
		break;
	case EAI_AGAIN:
		(void)err_set(e, ERR_RESOLVE,
			      "resolve '%.200s': temporary failure, the name servers do not answer",
			      u->host);
		break;
	case EAI_MEMORY: (void)err_set(e, ERR_NOMEM, "resolve '%.200s'", u->host); break;
	case EAI_SYSTEM:
		(void)err_sys(e, u->sys, "resolve '%.200s'", u->host);
		if (!is_shortage(u->sys))
			e->code = ERR_RESOLVE;
		break;
	default:
		(void)err_set(e, ERR_RESOLVE, "resolve '%.200s': %s", u->host,
			      gai_strerror(u->gai));
	}
}

static void set_port(struct addr *a, uint16_t port)
{
	if (a->ss.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&a->ss)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)(void *)&a->ss)->sin6_port = htons(port);
}

/* How long the answer is good for; 0: for those who wait for it now. */
static unsigned keep_ms(const struct lookup *u)
{
	const struct resolve_opts *o = &u->of->opts;

	if (u->gai == EAI_MEMORY || u->gai == EAI_SYSTEM)
		return 0;
	return u->n ? o->keep_ms : o->keep_failed_ms;
}

/* ---- the table ---- */

static struct list *bucket_of(struct resolver *r, const char *host)
{
	uint32_t h = 2166136261u; /* FNV-1a; the table is small, and so is what a collision costs */

	for (; *host; host++)
		h = (h ^ (uint8_t)*host) * 16777619u;
	return &r->bucket[(h ^ h >> 16) % BUCKETS];
}

static void free_if_unused(struct lookup *u)
{
	if (u->refs || u->work || list_linked(&u->node))
		return;
	mem_free(u->host);
	mem_free(u->list);
	mem_free(u);
}

static void take_out(struct lookup *u)
{
	if (!list_linked(&u->node))
		return;
	list_del(&u->node);
	list_del(&u->used);
	u->of->names--;
	free_if_unused(u);
}

/* Makes room, as far as nobody waits for what is there. */
static void trim(struct resolver *r)
{
	LIST_EACH (it, &r->used) {
		struct lookup *u = CONTAINER_OF(it, struct lookup, used);

		if (r->names <= r->opts.names)
			return;
		if (!u->refs && !u->work)
			take_out(u);
	}
}

static struct lookup *find(struct resolver *r, const char *host)
{
	LIST_EACH (it, bucket_of(r, host)) {
		struct lookup *u = CONTAINER_OF(it, struct lookup, node);

		if (strcmp(u->host, host) != 0)
			continue;
		if (u->work || u->until_ms > loop_now_ms(r->loop)) {
			list_del(&u->used);
			list_add_tail(&r->used, &u->used);
			return u;
		}
		take_out(u);
		return NULL;
	}
	return NULL;
}

/* ---- one look-up ---- */

static void resolve_end(struct net_resolve *q)
{
	struct lookup *u = q->lookup;

	loop_unpost(&q->post);
	list_del(&q->node);
	mem_free(q);
	u->refs--;
	free_if_unused(u);
}

static void tell(void *arg)
{
	struct net_resolve *q = arg;
	struct lookup *u = q->lookup;
	struct addr list[RESOLVE_MAX];
	resolved_fn *done = q->done;
	void *to_whom = q->arg;
	struct loop *loop = q->loop;
	unsigned group = loop_group_enter(loop, q->group);
	size_t n = u->n;
	struct err e;

	for (size_t i = 0; i < n; i++) {
		list[i] = u->list[i];
		set_port(&list[i], q->port);
	}
	if (n == 0)
		explain(u, &e);
	resolve_end(q);
	done(to_whom, n ? list : NULL, n, n ? NULL : &e);
	(void)loop_group_enter(loop, group);
}

static int begin(struct lookup *u, struct err *e);

/* All who wait; they may ask again, or cancel each other, meanwhile. */
static void tell_all(struct lookup *u)
{
	struct list *node;

	while ((node = list_pop(&u->waiting)))
		tell(CONTAINER_OF(node, struct net_resolve, node));
}

static void settle(struct lookup *u)
{
	unsigned ms = keep_ms(u);
	struct addr *less;

	resolve_interleave(u->list, u->n);
	less = mem_resize(u->list, (u->n ? u->n : 1) * sizeof(*u->list));
	if (less)
		u->list = less;
	u->until_ms = loop_now_ms(u->of->loop) + ms;
	u->refs++; /* mine, until all are told */
	if (!ms || u->of->closing)
		take_out(u);
	tell_all(u);
	u->refs--;
	free_if_unused(u);
}

static void looked_up(void *arg, bool cancelled)
{
	struct lookup *u = arg;
	struct resolver *r = u->of;
	struct err e;

	u->work = NULL;
	r->under_way--;
	if (cancelled && !u->ran) { /* nobody waited; somebody may again */
		if (u->refs && !r->closing && begin(u, &e) == 0)
			return;
		u->gai = EAI_MEMORY;
		u->n = 0;
	}
	settle(u);
	trim(r);
}

static int begin(struct lookup *u, struct err *e)
{
	struct resolver *r = u->of;

	if (r->under_way >= r->opts.under_way)
		return err_set(e, ERR_LIMIT,
			       "resolve '%.200s': too many look-ups are under way (%zu)", u->host,
			       r->under_way);
	u->ran = false;
	u->work = work_start(r->loop, look_up, looked_up, u, e);
	if (!u->work)
		return -1;
	r->under_way++;
	return 0;
}

static struct lookup *lookup_new(struct resolver *r, const char *host, struct err *e)
{
	struct lookup *u = mem_alloc(sizeof(*u));

	if (u) {
		u->host = mem_strdup(host);
		u->list = mem_alloc(RESOLVE_MAX * sizeof(*u->list));
	}
	if (!u || !u->host || !u->list) {
		if (u) {
			mem_free(u->host);
			mem_free(u->list);
		}
		mem_free(u);
		(void)err_set(e, ERR_NOMEM, "resolve '%.200s'", host);
		return NULL;
	}
	u->of = r;
	u->fn = r->opts.lookup;
	u->fn_arg = r->opts.arg;
	list_init(&u->waiting);
	if (begin(u, e) != 0) {
		free_if_unused(u);
		return NULL;
	}
	list_add_tail(bucket_of(r, host), &u->node);
	list_add_tail(&r->used, &u->used);
	r->names++;
	trim(r);
	return u;
}

/* ---- the loop's resolver ---- */

int resolve_set_opts(struct loop *l, const struct resolve_opts *o, struct err *e)
{
	struct resolver *r = mem_alloc(sizeof(*r));

	assert(!l->resolver);
	if (!r)
		return err_set(e, ERR_NOMEM, "resolver");
	r->loop = l;
	r->opts = *o;
	if (!o->lookup)
		r->opts.lookup = by_system;
	if (!o->keep_ms)
		r->opts.keep_ms = KEEP_MS;
	if (!o->keep_failed_ms)
		r->opts.keep_failed_ms = KEEP_FAILED_MS;
	if (!o->names)
		r->opts.names = NAMES;
	if (!o->under_way)
		r->opts.under_way = UNDER_WAY;
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&r->bucket[i]);
	list_init(&r->used);
	l->resolver = r;
	return 0;
}

void resolver_close(struct loop *l)
{
	struct resolver *r = l->resolver;

	if (!r)
		return;
	r->closing = true;
	LIST_EACH (it, &r->used) {
		struct lookup *u = CONTAINER_OF(it, struct lookup, used);

		if (u->work)
			work_cancel(u->work);
		else
			take_out(u);
	}
}

void resolver_free(struct loop *l)
{
	mem_free(l->resolver);
	l->resolver = NULL;
}

/* ---- public ---- */

struct net_resolve *net_resolve(struct loop *l, const char *host, uint16_t port, resolved_fn *done,
				void *arg, struct err *e)
{
	struct resolve_opts defaults = { 0 };
	struct net_resolve *q;
	struct lookup *u;

	if (!l->resolver && resolve_set_opts(l, &defaults, e) != 0)
		return NULL;
	q = mem_alloc(sizeof(*q));
	if (!q) {
		(void)err_set(e, ERR_NOMEM, "resolve '%.200s'", host);
		return NULL;
	}
	u = find(l->resolver, host);
	if (!u)
		u = lookup_new(l->resolver, host, e);
	if (!u) {
		mem_free(q);
		return NULL;
	}
	*q = (struct net_resolve){
		.lookup = u, .done = done, .arg = arg, .port = port, .loop = l, .group = l->group
	};
	u->refs++;
	if (u->work)
		list_add_tail(&u->waiting, &q->node);
	else
		loop_post(l, &q->post, tell, q);
	return q;
}

void net_resolve_cancel(struct net_resolve *q)
{
	struct lookup *u;

	if (!q)
		return;
	u = q->lookup;
	u->refs++;
	resolve_end(q);
	u->refs--;
	if (u->work && !u->refs)
		work_cancel(u->work);
	free_if_unused(u);
}
