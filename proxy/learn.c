/* A table of chains behind a mutex. Nobody holds it for long: learn_take() copies. */
#include "proxy/learn.h"

#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "proxy/audit.h"

enum { BUCKETS = 1024, OTHER_LISTENERS = LEARN_LISTENERS - 1 };

struct entry {
	struct entry *next;
	struct learned it;
};

struct learn {
	pthread_mutex_t turn;
	struct entry *bucket[BUCKETS];
	size_t count;
	char listener[LEARN_LISTENERS][64];
	size_t listeners;
	uint64_t requests, beyond;
};

int learn_new(struct learn **out, struct err *e)
{
	struct learn *l = mem_alloc(sizeof(*l));

	*out = l;
	if (!l || pthread_mutex_init(&l->turn, NULL) != 0) {
		mem_free(l);
		*out = NULL;
		return err_set(e, ERR_NOMEM, "--learn");
	}
	return 0;
}

void learn_free(struct learn *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (l->bucket[i]) {
			struct entry *next = l->bucket[i]->next;

			mem_free(l->bucket[i]->it.host);
			mem_free(l->bucket[i]);
			l->bucket[i] = next;
		}
	(void)pthread_mutex_destroy(&l->turn);
	mem_free(l);
}

/* FNV-1a. Who wants long chains has LEARN_MOST entries to make them of. */
static uint32_t hash(const char *host, uint16_t port)
{
	uint32_t h = 2166136261U ^ port;

	for (; *host; host++)
		h = (h ^ (unsigned char)*host) * 16777619U;
	return h % BUCKETS;
}

/* With more of them than there is room for, the last name stands for all others. */
static unsigned listener_of(struct learn *l, const char *name)
{
	for (unsigned i = 0; i < l->listeners; i++)
		if (strcmp(l->listener[i], name) == 0)
			return i;
	if (l->listeners == OTHER_LISTENERS)
		name = "(others)";
	else if (l->listeners > OTHER_LISTENERS)
		return OTHER_LISTENERS;
	(void)str_fmt(l->listener[l->listeners], sizeof(l->listener[0]), "%s", name);
	return (unsigned)l->listeners++;
}

static bool same(const struct learned *a, const struct learned *b)
{
	return a->port == b->port && a->verdict == b->verdict && a->listener == b->listener &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->by, b->by) == 0;
}

static struct entry *add(struct learn *l, struct entry **bucket, const struct learned *it)
{
	struct entry *en = l->count < LEARN_MOST ? mem_alloc(sizeof(*en)) : NULL;

	if (en && !(en->it.host = mem_strdup(it->host))) {
		mem_free(en);
		en = NULL;
	}
	if (!en) {
		if (l->beyond++ == 0)
			log_warn("learn",
				 "%zu destinations are remembered, which is the most: others are "
				 "only counted",
				 l->count);
		return NULL;
	}
	en->it.port = it->port;
	en->it.verdict = it->verdict;
	en->it.listener = it->listener;
	memcpy(en->it.by, it->by, sizeof(en->it.by));
	en->next = *bucket;
	*bucket = en;
	l->count++;
	return en;
}

static void note(struct learn *l, const struct learned *it, bool reached)
{
	struct entry **bucket = &l->bucket[hash(it->host, it->port)], *en = *bucket;

	l->requests++;
	while (en && !same(&en->it, it))
		en = en->next;
	if (!en && !(en = add(l, bucket, it)))
		return;
	en->it.count++;
	en->it.reached += reached;
}

void learn_note(struct learn *l, struct audit_record *r)
{
	struct learned it = { .host = r->host, .port = r->port };
	bool denied = r->action != AUDIT_ALLOW;
	const char *by;

	if (!l || r->learned || !r->host || !r->rule)
		return;
	r->learned = true;
	it.verdict = denied ? LEARN_DENIED : LEARN_ALLOWED;
	if (denied)
		by = r->action == AUDIT_BLOCK ? r->rule : r->error;
	else
		by = r->first_route ? r->first_route : r->route;
	(void)str_fmt(it.by, sizeof(it.by), "%s", by ? by : "");
	(void)pthread_mutex_lock(&l->turn);
	it.listener = listener_of(l, r->listener ? r->listener : "");
	note(l, &it, !denied && !r->error);
	(void)pthread_mutex_unlock(&l->turn);
}

uint64_t learn_version(struct learn *l)
{
	uint64_t n;

	(void)pthread_mutex_lock(&l->turn);
	n = l->requests;
	(void)pthread_mutex_unlock(&l->turn);
	return n;
}

static int copy(const struct learn *l, struct learn_taken *t)
{
	t->item = mem_alloc((l->count + 1) * sizeof(*t->item));
	for (size_t i = 0; t->item && i < BUCKETS; i++)
		for (const struct entry *en = l->bucket[i]; en; en = en->next) {
			t->item[t->count] = en->it;
			t->item[t->count].host = mem_strdup(en->it.host);
			if (!t->item[t->count++].host)
				return -1;
		}
	memcpy(t->listener, l->listener, sizeof(t->listener));
	t->listeners = l->listeners;
	t->requests = t->version = l->requests;
	t->beyond = l->beyond;
	return t->item ? 0 : -1;
}

int learn_take(struct learn *l, struct learn_taken *t, struct err *e)
{
	int rc;

	memset(t, 0, sizeof(*t));
	(void)pthread_mutex_lock(&l->turn);
	rc = copy(l, t);
	(void)pthread_mutex_unlock(&l->turn);
	if (rc == 0)
		return 0;
	learn_taken_free(t);
	return err_set(e, ERR_NOMEM, "--learn");
}

void learn_taken_free(struct learn_taken *t)
{
	for (size_t i = 0; i < t->count; i++)
		mem_free(t->item[i].host);
	mem_free(t->item);
	t->item = NULL;
	t->count = 0;
}
