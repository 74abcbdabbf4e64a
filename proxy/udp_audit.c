/* The entries are few: a list, searched from what was met last. */
#include "proxy/udp_audit.h"

#include <string.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/loop.h"
#include "proxy/proxy_impl.h"

struct entry {
	struct list node;
	enum audit_action action;
	bool failed;
	uint16_t port;
	char host[];
};

void udp_audit_init(struct udp_audit *a)
{
	*a = (struct udp_audit){ 0 };
	list_init(&a->seen);
}

void udp_audit_free(struct udp_audit *a)
{
	LIST_EACH (it, &a->seen) {
		list_del(it);
		mem_free(CONTAINER_OF(it, struct entry, node));
	}
}

static struct entry *find(struct udp_audit *a, const char *host, uint16_t port)
{
	LIST_EACH (it, &a->seen) {
		struct entry *en = CONTAINER_OF(it, struct entry, node);

		if (en->port != port || strcmp(en->host, host) != 0)
			continue;
		if (a->seen.next != it) {
			list_del(it);
			list_add_head(&a->seen, it);
		}
		return en;
	}
	return NULL;
}

static void forget_oldest(struct udp_audit *a)
{
	struct list *oldest = a->seen.prev;

	list_del(oldest);
	mem_free(CONTAINER_OF(oldest, struct entry, node));
	a->count--;
}

static struct entry *add(struct udp_audit *a, const char *host, uint16_t port)
{
	size_t n = strlen(host) + 1;
	struct entry *en = mem_alloc(sizeof(*en) + n);

	if (!en)
		return NULL;
	if (a->count == UDP_AUDIT_SEEN)
		forget_oldest(a);
	a->count++;
	memcpy(en->host, host, n);
	en->port = port;
	list_add_head(&a->seen, &en->node);
	return en;
}

static void write_line(struct proxy *p, const struct audit_record *of, const struct udp_verdict *v)
{
	const struct clock *clock = loop_clock(p->opts.loop);
	struct audit_record r = { .id = of->id,
				  .wall_ms = clock_wall_ms(clock),
				  .mono_ms = clock_mono_ms(clock),
				  .listener = of->listener,
				  .proto = of->proto,
				  .action = v->action,
				  .port = v->port };
	char text[ADDR_TEXT];

	audit_text(&r.peer, of->peer);
	audit_text(&r.user, of->user);
	audit_text(&r.host, v->host);
	if (v->decision) {
		char route[80];

		route_format(&v->decision->route, route);
		audit_text(&r.rule, v->decision->origin);
		audit_text(&r.route, route);
	}
	if (v->address) {
		addr_format(v->address, text);
		audit_text(&r.address, text);
	}
	if (v->why)
		audit_text(&r.error, v->why->msg);
	proxy_record(p, &r);
}

/* Takes one line of this kind. */
static bool take_line(struct udp_audit *a, bool failed, uint64_t now_ms)
{
	unsigned *used = &a->lines[failed].used;
	uint64_t *since = &a->lines[failed].since_ms;
	uint64_t back = (now_ms - *since) / UDP_AUDIT_EVERY_MS;

	if (back >= *used) {
		*used = 0;
		*since = now_ms;
	} else {
		*used -= (unsigned)back;
		*since += back * UDP_AUDIT_EVERY_MS;
	}
	if (*used == UDP_AUDIT_LINES)
		return false;
	++*used;
	return true;
}

bool udp_audit_due(struct udp_audit *a, const struct udp_verdict *v, uint64_t now_ms)
{
	struct entry *en = find(a, v->host, v->port);
	bool failed = v->why != NULL;

	if (en && en->action == v->action && en->failed == failed)
		return false;
	/* An entry is made only where a line is written: what has none is not "seen". */
	if (!take_line(a, failed, now_ms) || (!en && !(en = add(a, v->host, v->port)))) {
		a->unlisted++;
		return false;
	}
	en->action = v->action;
	en->failed = failed;
	return true;
}

void udp_audit_note(struct udp_audit *a, struct proxy *p, const struct audit_record *of,
		    const struct udp_verdict *v)
{
	if (udp_audit_due(a, v, loop_now_ms(p->opts.loop)))
		write_line(p, of, v);
}
