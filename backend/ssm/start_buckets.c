#include "backend/ssm/start_buckets.h"

#include <inttypes.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"

struct entry {
	struct list node;
	struct start_bucket bucket;
	char owner[START_OWNER], region[32];
};

struct start_buckets {
	struct list entries;
	size_t count;
};

struct start_buckets *start_buckets_new(struct err *e)
{
	struct start_buckets *b = mem_alloc(sizeof(*b));

	if (b)
		list_init(&b->entries);
	else
		(void)err_set(e, ERR_NOMEM, "StartSession buckets");
	return b;
}

void start_buckets_free(struct start_buckets *b)
{
	struct list *it;

	while (b && (it = list_pop(&b->entries)) != NULL)
		mem_free(CONTAINER_OF(it, struct entry, node));
	mem_free(b);
}

/* --- whose they are --- */

static int base32(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

enum { KEY_ID = 20, KEY_PREFIX = 4, ACCOUNT_LETTERS = 9, ACCOUNT_BITS = 40 };

static bool account_in(const char *key_id, uint64_t *account)
{
	uint64_t bits = 0;

	if (strlen(key_id) != KEY_ID || key_id[KEY_PREFIX] < 'Q')
		return false; /* issued before 2019: they hold none */
	for (size_t i = 0; i < ACCOUNT_LETTERS; i++) {
		int v = base32(key_id[KEY_PREFIX + i]);

		if (v < 0)
			return false;
		bits = bits << 5 | (uint64_t)v;
	}
	/* 45 bits: one in front, 40 of the account, and what we do not need */
	*account = bits >> (ACCOUNT_LETTERS * 5 - 1 - ACCOUNT_BITS) & ((1ull << ACCOUNT_BITS) - 1);
	return true;
}

void start_owner(const struct creds *c, char out[static START_OWNER])
{
	uint64_t account;

	if (c->account_id)
		(void)str_fmt(out, START_OWNER, "%s", c->account_id);
	else if (account_in(c->access_key_id, &account))
		(void)str_fmt(out, START_OWNER, "%012" PRIu64, account);
	else
		(void)str_fmt(out, START_OWNER, "%s", c->access_key_id);
}

/* --- finding --- */

static struct entry *find(struct start_buckets *b, const char *owner, const char *region)
{
	for (struct list *it = b->entries.next; it != &b->entries; it = it->next) {
		struct entry *one = CONTAINER_OF(it, struct entry, node);

		if (strcmp(one->owner, owner) == 0 && strcmp(one->region, region) == 0)
			return one;
	}
	return NULL;
}

struct start_bucket *start_buckets_of(struct start_buckets *b, const struct creds *c,
				      const char *region)
{
	char owner[START_OWNER], where[32];
	struct entry *one;

	start_owner(c, owner);
	(void)str_fmt(where, sizeof(where), "%s", region);
	one = find(b, owner, where);
	if (one)
		return &one->bucket;
	if (b->count == START_BUCKETS_MAX)
		return &CONTAINER_OF(b->entries.prev, struct entry, node)->bucket;
	one = mem_alloc(sizeof(*one));
	if (!one)
		return NULL;
	memcpy(one->owner, owner, sizeof(owner));
	memcpy(one->region, where, sizeof(where));
	list_add_tail(&b->entries, &one->node);
	b->count++;
	return &one->bucket;
}
