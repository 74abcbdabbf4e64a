/*
 * Totals are atomic counters: taken by compare and swap, so that the limit is
 * never passed, not even for a moment. Peers are in a hash table behind a
 * mutex, which exists only where a limit for peers was asked for; an entry
 * lives as long as its peer has clients, so there are never more of them
 * than clients.
 */
#include "proxy/limits.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "net/addr.h"

enum { BUCKETS = 4096, CLIENTS_AUTO_MAX = 65536, SPARE = 64 };

struct limits_peer {
	struct limits_peer *next; /* in its bucket */
	struct peers *of;
	uint8_t key[LIMITS_KEY];
	bool said; /* in the log */
	size_t count;
};

struct peers {
	pthread_mutex_t lock;
	size_t most;
	uint64_t seed; /* so that nobody can choose addresses of one bucket */
	struct limits_peer *bucket[BUCKETS];
};

/* A counter with a ceiling. */
struct places {
	_Atomic size_t taken;
	_Atomic bool said; /* in the log, for this shortage */
	size_t most;       /* 0: no limit */
};

struct limits {
	struct places places;
	struct peers *peers; /* NULL: not limited */
};

struct limits_listener {
	char name[64];
	struct limits *limits;
	struct places places;
	struct peers *peers; /* NULL: those of `limits` */
};

/* ---- places ---- */

static bool place_take(struct places *p)
{
	size_t n = atomic_load_explicit(&p->taken, memory_order_relaxed);

	do
		if (p->most && n >= p->most)
			return false;
	while (!atomic_compare_exchange_weak_explicit(&p->taken, &n, n + 1, memory_order_relaxed,
						      memory_order_relaxed));
	/* A shortage is over when an eighth is free again: while clients wait, every place that
	 * becomes free is taken at once, and that is no new shortage. */
	if (atomic_load_explicit(&p->said, memory_order_relaxed) && n + 1 < p->most - p->most / 8)
		atomic_store_explicit(&p->said, false, memory_order_relaxed);
	return true;
}

static void place_give(struct places *p)
{
	atomic_fetch_sub_explicit(&p->taken, 1, memory_order_relaxed);
}

static void say_full(struct limits_listener *l, struct places *p, const char *option)
{
	if (!atomic_exchange(&p->said, true))
		log_warn("listen", "%s: %zu clients are served, which is the limit (%s): more wait",
			 l->name, p->most, option);
}

bool limits_enter(struct limits_listener *l)
{
	if (!l)
		return true;
	if (!place_take(&l->places)) {
		say_full(l, &l->places, "max-connections: of the listener");
		return false;
	}
	if (place_take(&l->limits->places))
		return true;
	place_give(&l->places);
	say_full(l, &l->limits->places, "--max-connections");
	return false;
}

void limits_leave(struct limits_listener *l)
{
	if (!l)
		return;
	place_give(&l->places);
	place_give(&l->limits->places);
}

/* ---- peers ---- */

static int peers_new(struct peers **out, size_t most, struct err *e)
{
	struct peers *t = NULL;
	int sys;

	*out = NULL;
	if (!most)
		return 0;
	t = mem_alloc(sizeof(*t));
	if (!t)
		return err_set(e, ERR_NOMEM, "limits");
	sys = pthread_mutex_init(&t->lock, NULL);
	if (sys) {
		mem_free(t);
		return err_sys(e, sys, "limits");
	}
	t->most = most;
	random_bytes(&t->seed, sizeof(t->seed));
	*out = t;
	return 0;
}

static void peers_free(struct peers *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	mem_free(t);
}

/* A tag for the kind, then what tells peers of that kind apart. */
void limits_key(const struct addr *a, long uid, uint8_t key[static LIMITS_KEY])
{
	const struct sockaddr_in *v4 = (const void *)&a->ss;
	const struct sockaddr_in6 *v6 = (const void *)&a->ss;
	int64_t id = uid;

	memset(key, 0, LIMITS_KEY);
	if (a->ss.ss_family == AF_INET) {
		key[0] = 4;
		memcpy(key + 1, &v4->sin_addr, 4);
	} else if (a->ss.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		key[0] = 4;
		memcpy(key + 1, v6->sin6_addr.s6_addr + 12, 4);
	} else if (a->ss.ss_family == AF_INET6) {
		key[0] = 6; /* one host has a /64 at least, RFC 7934 */
		memcpy(key + 1, v6->sin6_addr.s6_addr, 8);
	} else {
		key[0] = 1;
		memcpy(key + 1, &id, 8);
	}
}

/* FNV-1a from a secret start, then a multiply that carries it into all bits. */
static struct limits_peer **bucket_of(struct peers *t, const uint8_t key[static LIMITS_KEY])
{
	uint64_t h = t->seed;

	for (size_t i = 0; i < LIMITS_KEY; i++)
		h = (h ^ key[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h = (h ^ t->seed) * 0x9e3779b97f4a7c15u;
	return &t->bucket[(h >> 32) % BUCKETS];
}

static struct limits_peer *peer_of(struct peers *t, const uint8_t key[static LIMITS_KEY])
{
	struct limits_peer **bucket = bucket_of(t, key), *p;

	for (p = *bucket; p; p = p->next)
		if (memcmp(p->key, key, sizeof(p->key)) == 0)
			return p;
	p = mem_alloc(sizeof(*p));
	if (!p)
		return NULL;
	memcpy(p->key, key, sizeof(p->key));
	p->of = t;
	p->next = *bucket;
	*bucket = p;
	return p;
}

/* Under the lock. *say: nobody was told yet. */
static struct limits_peer *count_one(struct peers *t, const uint8_t key[static LIMITS_KEY],
				     bool *say, struct err *e)
{
	struct limits_peer *p = peer_of(t, key);

	if (!p) {
		(void)err_set(e, ERR_NOMEM, "limits");
		return NULL;
	}
	if (p->count < t->most) {
		p->count++;
		return p;
	}
	*say = !p->said;
	p->said = true;
	(void)err_set(e, ERR_LIMIT, "%zu connections of this peer are served, which is its limit",
		      t->most);
	return NULL;
}

int limits_peer_take(struct limits_listener *l, const struct addr *a, long uid,
		     struct limits_peer **out, struct err *e)
{
	struct peers *t = !l ? NULL : l->peers ? l->peers : l->limits->peers;
	uint8_t key[LIMITS_KEY];
	char text[ADDR_TEXT];
	bool say = false;

	*out = NULL;
	if (!t)
		return 0;
	limits_key(a, uid, key);
	pthread_mutex_lock(&t->lock);
	*out = count_one(t, key, &say, e);
	pthread_mutex_unlock(&t->lock);
	if (*out)
		return 0;
	if (say) {
		addr_format(a, text);
		log_warn("listen",
			 "%s: %s: %zu connections of this peer are served, which is its limit: "
			 "more are refused",
			 l->name, text, t->most);
	}
	return -1;
}

void limits_peer_give(struct limits_peer *p)
{
	struct limits_peer **at;
	struct peers *t;

	if (!p)
		return;
	t = p->of;
	pthread_mutex_lock(&t->lock);
	if (--p->count == 0) {
		for (at = bucket_of(t, p->key); *at != p; at = &(*at)->next)
			;
		*at = p->next;
		mem_free(p);
	}
	pthread_mutex_unlock(&t->lock);
}

/* ---- birth and end ---- */

int limits_new(struct limits **out, const struct limits_opts *o, struct err *e)
{
	struct limits *l = mem_alloc(sizeof(*l));

	*out = l;
	if (!l)
		return err_set(e, ERR_NOMEM, "limits");
	l->places.most = o->total;
	if (peers_new(&l->peers, o->per_peer, e) == 0)
		return 0;
	mem_free(l);
	*out = NULL;
	return -1;
}

void limits_free(struct limits *l)
{
	if (!l)
		return;
	peers_free(l->peers);
	mem_free(l);
}

static struct limits_count count_of(const struct places *p, const struct peers *t)
{
	return (struct limits_count){
		.served = atomic_load_explicit(&p->taken, memory_order_relaxed),
		.most = p->most,
		.per_peer = t ? t->most : 0,
	};
}

struct limits_count limits_count(const struct limits *l)
{
	return count_of(&l->places, l->peers);
}

struct limits_count limits_listener_count(const struct limits_listener *l)
{
	return count_of(&l->places, l->peers);
}

int limits_listener_new(struct limits_listener **out, struct limits *of,
			const struct limits_listener_opts *o, struct err *e)
{
	struct limits_listener *l = mem_alloc(sizeof(*l));

	*out = l;
	if (!l)
		return err_set(e, ERR_NOMEM, "limits");
	l->limits = of;
	l->places.most = o->most;
	(void)str_fmt(l->name, sizeof(l->name), "%s", o->name);
	if (peers_new(&l->peers, o->per_peer, e) == 0)
		return 0;
	mem_free(l);
	*out = NULL;
	return -1;
}

void limits_listener_free(struct limits_listener *l)
{
	if (!l)
		return;
	peers_free(l->peers);
	mem_free(l);
}

size_t limits_auto(size_t descriptors)
{
	size_t spare = descriptors / 4 < SPARE ? descriptors / 4 : SPARE;
	size_t n = (descriptors - spare) / 2;

	return n < 1 ? 1 : n > CLIENTS_AUTO_MAX ? CLIENTS_AUTO_MAX : n;
}
