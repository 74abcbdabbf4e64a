/* The link in `awsocks status`. What the guest says of itself is shown as text, never trusted. */
#include <cjson/cJSON.h>

#include "vm/conn_impl.h"

static void add_number(struct cJSON *into, const char *name, uint64_t n)
{
	cJSON_AddNumberToObject(into, name, (double)n);
}

static void add_address(struct cJSON *into, const char *name, const struct addr *a)
{
	char text[ADDR_TEXT];

	if (!a->len)
		return;
	addr_format_host(a, text);
	cJSON_AddStringToObject(into, name, text);
}

static void add_network(const struct vm_conn *c, struct cJSON *into)
{
	const struct frame_network *n = &c->network;
	char text[ADDR_TEXT];
	struct cJSON *dns;

	cJSON_AddBoolToObject(into, "network", c->up);
	if (!c->up && n->why[0])
		cJSON_AddStringToObject(into, "network_reason", n->why);
	if (!c->up)
		return;
	add_address(into, "address", &n->address);
	add_address(into, "gateway", &n->gateway);
	dns = cJSON_AddArrayToObject(into, "dns");
	for (size_t i = 0; dns && i < n->dns_count && i < FRAME_DNS_MAX; i++) {
		addr_format_host(&n->dns[i], text);
		cJSON_AddItemToArray(dns, cJSON_CreateString(text));
	}
}

static void add_metrics(const struct vm_conn *c, struct cJSON *into)
{
	const struct frame_metrics *m = &c->metrics;
	struct cJSON *guest;

	if (!c->has_metrics)
		return;
	guest = cJSON_AddObjectToObject(into, "guest");
	if (!guest)
		return;
	add_number(guest, "memory_total", m->memory_total);
	add_number(guest, "memory_available", m->memory_available);
	add_number(guest, "bytes_up", m->bytes_up);
	add_number(guest, "bytes_down", m->bytes_down);
	add_number(guest, "streams", m->streams);
	add_number(guest, "dials", m->dials);
	add_number(guest, "failed", m->failed);
	add_number(guest, "uptime_ms", m->uptime_ms);
}

void vm_conn_describe(const struct vm_conn *c, struct cJSON *into)
{
	if (c->welcomed)
		cJSON_AddStringToObject(into, "agent", c->agent);
	add_network(c, into);
	add_number(into, "streams", link_streams(c->link));
	add_number(into, "dials", c->dial_count);
	add_number(into, "held_bytes", link_held(c->link));
	add_number(into, "link_in", c->bytes_in);
	add_number(into, "link_out", c->bytes_out);
	add_number(into, "ping_ms", c->rtt_ms);
	add_metrics(c, into);
}
