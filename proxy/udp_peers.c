/* A hash table of chains, and a list in the order of use through the same entries. */
#include "proxy/udp_peers.h"

#include <stdint.h>

#include "base/mem.h"

struct entry {
	struct list chain, lru;
	struct addr addr;
};

void udp_peers_init(struct udp_peers *p)
{
	list_init(&p->lru);
	for (size_t i = 0; i < UDP_PEERS_BUCKETS; i++)
		list_init(&p->bucket[i]);
	p->count = 0;
}

static void drop(struct udp_peers *p, struct entry *en)
{
	list_del(&en->chain);
	list_del(&en->lru);
	mem_free(en);
	p->count--;
}

void udp_peers_free(struct udp_peers *p)
{
	LIST_EACH (it, &p->lru)
		drop(p, CONTAINER_OF(it, struct entry, lru));
}

/* FNV-1a over address and port; what the address struct has besides is left out. */
static size_t bucket_of(const struct addr *a)
{
	uint16_t port = addr_port(a);
	uint8_t ip[16];
	size_t n = addr_bytes(a, ip);
	uint32_t h = (2166136261u ^ (port & 0xff)) * 16777619u;

	h = (h ^ (port >> 8)) * 16777619u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ ip[i]) * 16777619u;
	return (h ^ h >> 16) % UDP_PEERS_BUCKETS;
}

static struct entry *find(const struct udp_peers *p, size_t bucket, const struct addr *a)
{
	const struct list *head = &p->bucket[bucket];

	for (struct list *it = head->next; it != head; it = it->next) {
		struct entry *en = CONTAINER_OF(it, struct entry, chain);

		if (addr_port(&en->addr) == addr_port(a) && addr_same_host(&en->addr, a))
			return en;
	}
	return NULL;
}

int udp_peers_add(struct udp_peers *p, const struct addr *a, struct err *e)
{
	size_t bucket = bucket_of(a);
	struct entry *en = find(p, bucket, a);

	if (en) {
		list_del(&en->lru);
		list_add_tail(&p->lru, &en->lru);
		return 0;
	}
	en = mem_alloc(sizeof(*en));
	if (!en)
		return err_set(e, ERR_NOMEM, "UDP destination");
	if (p->count == UDP_PEERS_MAX)
		drop(p, CONTAINER_OF(p->lru.next, struct entry, lru));
	en->addr = *a;
	list_add_tail(&p->bucket[bucket], &en->chain);
	list_add_tail(&p->lru, &en->lru);
	p->count++;
	return 0;
}

bool udp_peers_has(const struct udp_peers *p, const struct addr *a)
{
	return find(p, bucket_of(a), a) != NULL;
}
