#include "proxy/udp_rules.h"

#include <string.h>

#include "net/addr.h"
#include "proxy/attempt.h"
#include "proxy/proxy_impl.h"
#include "proxy/socks.h"
#include "routing/host.h"

int udp_rules_judge(const struct decision *d, enum audit_action *action, struct err *e)
{
	char route[80];

	*action = AUDIT_BLOCK;
	if (d->route.kind == ROUTE_BLOCK) {
		attempt_blocked(d, e);
		return -1;
	}
	*action = AUDIT_REFUSE;
	route_format(&d->route, route);
	if (d->route.kind != ROUTE_DIRECT)
		return err_set(e, ERR_UNSUPPORTED, "%s (%s) cannot carry UDP: only direct can",
			       route, d->origin);
	*action = AUDIT_ALLOW;
	return 0;
}

bool udp_rules_may(const struct proxy *p, const struct decision *d, const struct addr *to,
		   struct err *e)
{
	const struct proxy_opts *o = &p->opts;
	const char *kind = addr_not_one_host(to);

	if (kind) {
		(void)err_set(e, ERR_DENIED, "UDP does not go to %s addresses", kind);
		return false;
	}
	if (d->allow_host)
		return !o->allow_opened || o->allow_opened(o->allow_arg, to, e);
	return !o->allow || o->allow(o->allow_arg, to, e);
}

/* Of the client itself, or not said. */
static bool is_clients_own(const struct addr *client, const struct addr *addr)
{
	const char *kind = addr_not_one_host(addr);

	return addr_same_host(addr, client) || (kind && strcmp(kind, "unspecified") == 0);
}

static void note_refusal(struct audit_record *rec, const char *host, const struct decision *d)
{
	char route[80];

	audit_text(&rec->host, host);
	if (!d)
		return;
	route_format(&d->route, route);
	audit_text(&rec->route, route);
	audit_text(&rec->rule, d->origin);
}

int udp_rules_request(const struct proxy *p, const struct socks_dest *dest, struct addr *client,
		      struct audit_record *rec, struct err *e)
{
	const struct proxy_opts *o = &p->opts;
	const char *text = dest->name ? dest->name : dest->literal;
	size_t n = dest->name ? dest->name_len : strlen(text);
	char shown[HOST_MAX];
	struct decision d;
	struct host host;
	struct addr addr;

	rec->port = dest->port;
	if (host_normalize(text, n, &host, e)) {
		attempt_show_host(text, n, shown);
		note_refusal(rec, shown, NULL);
		return -1;
	}
	if (addr_from_literal(host.text, 0, &addr) && is_clients_own(client, &addr)) {
		addr_set_port(client, dest->port);
		return 0;
	}
	router_decide(o->router(o->arg), host.text, dest->port, &d);
	if (!udp_rules_judge(&d, &rec->action, e))
		return 0;
	note_refusal(rec, host.text, &d);
	return -1;
}
