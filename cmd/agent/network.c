#include "cmd/agent/network.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/agent/boot.h"
#include "cmd/agent/dhcp_client.h"
#include "cmd/agent/iface.h"
#include "cmd/agent/say.h"

enum { LOOK_MS = 50, LOOKS = 100, RESOLV_MAX = 8192 };
#define RESOLV_CONF "/etc/resolv.conf"

struct network {
	struct ev *ev;
	const struct say *say;
	const struct agent_conf *conf;
	void (*changed)(void *arg, const struct frame_network *);
	void *arg;
	char interface[IFACE_NAME];
	uint8_t mac[6];
	struct ev_timer look;
	unsigned looks;
	struct dhcp_client *dhcp;
	struct frame_network now;
	struct iface_setup setup;  /* as it was last set */
	struct frame_network told; /* when it was up last */
};

static void tell_down(struct network *n, const char *why)
{
	n->now = (struct frame_network){ .up = false };
	(void)str_fmt(n->now.why, sizeof(n->now.why), "%s", why);
	say_warn(n->say, "network: %s", why);
	n->changed(n->arg, &n->now);
}

/* ---- name servers ---- */

static void write_resolv(struct network *n)
{
	int fd = open(RESOLV_CONF, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	char text[512] = "options timeout:5 attempts:3\n", name[ADDR_TEXT];
	bool ok;

	for (size_t i = 0; i < n->now.dns_count; i++) {
		size_t at = strlen(text);

		addr_format_host(&n->now.dns[i], name);
		(void)str_fmt(text + at, sizeof(text) - at, "nameserver %s\n", name);
	}
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (!ok)
		say_error(n->say, RESOLV_CONF ": %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void read_resolv(struct frame_network *to)
{
	static const char word[] = "nameserver ";
	char text[RESOLV_MAX], *line = text;
	size_t len;

	if (boot_read(RESOLV_CONF, text, sizeof(text), &len, NULL) != 0)
		return;
	while (*line && to->dns_count < FRAME_DNS_MAX) {
		size_t n = strcspn(line, "\n");
		bool more = line[n] != '\0';

		line[n] = '\0';
		if (str_starts(line, word) &&
		    addr_from_literal(str_trim(line + strlen(word)), 0, &to->dns[to->dns_count]))
			to->dns_count++;
		line += n + more;
	}
}

/* ---- setting it ---- */

static bool same(const struct iface_setup *a, const struct iface_setup *b)
{
	return a->prefix == b->prefix && a->mtu == b->mtu && a->address.len == b->address.len &&
	       a->gateway.len == b->gateway.len && addr_same_host(&a->address, &b->address) &&
	       (!a->gateway.len || addr_same_host(&a->gateway, &b->gateway));
}

static bool same_dns(const struct frame_network *a, const struct frame_network *b)
{
	for (size_t i = 0; i < a->dns_count && i < b->dns_count; i++)
		if (!addr_same_host(&a->dns[i], &b->dns[i]))
			return false;
	return a->dns_count == b->dns_count;
}

/* What n->now says; the settings' words go before the server's. A lease that is renewed as it was
 * is no news, and the resolver does not find half a file. */
static void apply(struct network *n, unsigned mtu)
{
	struct iface_setup s = { .address = n->now.address,
				 .gateway = n->now.gateway,
				 .prefix = n->now.prefix,
				 .mtu = n->conf->mtu ? n->conf->mtu : mtu };
	char name[ADDR_TEXT];
	struct err e;

	if (same(&s, &n->setup) && same_dns(&n->now, &n->told))
		return;
	if (!same(&s, &n->setup) && iface_set(n->interface, &s, &e) != 0) {
		n->setup = (struct iface_setup){ 0 };
		tell_down(n, e.msg);
		return;
	}
	n->setup = s;
	n->told = n->now;
	write_resolv(n);
	addr_format_host(&n->now.address, name);
	say_info(n->say, "network: %s is %s/%u", n->interface, name, n->now.prefix);
	n->changed(n->arg, &n->now);
}

static void use_given_dns(struct network *n)
{
	const struct frame_network *given = &n->conf->given;

	if (!given->dns_count)
		return;
	memcpy(n->now.dns, given->dns, sizeof(n->now.dns));
	n->now.dns_count = given->dns_count;
}

/* ---- DHCP ---- */

static struct addr from_bytes(const uint8_t ip[4])
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct addr a = { .len = sizeof(in) };

	memcpy(&in.sin_addr, ip, 4);
	if (in.sin_addr.s_addr == 0)
		return (struct addr){ .len = 0 };
	memcpy(&a.ss, &in, sizeof(in));
	return a;
}

static void on_bound(void *arg, const struct dhcp_answer *a)
{
	struct network *n = arg;

	n->now = (struct frame_network){ .up = true, .prefix = a->prefix };
	n->now.address = from_bytes(a->address);
	n->now.gateway = from_bytes(a->router);
	for (size_t i = 0; i < a->dns_count && i < FRAME_DNS_MAX; i++)
		n->now.dns[n->now.dns_count++] = from_bytes(a->dns[i]);
	use_given_dns(n);
	apply(n, a->mtu);
}

static void on_lost(void *arg, const char *why)
{
	struct network *n = arg;

	if (n->setup.address.len)
		iface_clear(n->interface);
	n->setup = (struct iface_setup){ 0 };
	tell_down(n, why);
}

static const struct dhcp_handler dhcp_handler = { .bound = on_bound, .lost = on_lost };

/* ---- beginning ---- */

static void with_interface(struct network *n)
{
	struct err e;

	if (n->conf->net == AGENT_CONF_STATIC) {
		n->now = n->conf->given;
		n->now.up = true;
		apply(n, 0);
		return;
	}
	if (iface_up(n->interface, &e) != 0 ||
	    dhcp_client_new(&n->dhcp, n->ev, n->say, n->interface, n->mac, &dhcp_handler, n, &e) !=
		    0)
		tell_down(n, e.msg);
}

/* Its module has been loaded; that it shows is the kernel's business. */
static void look_for_interface(void *arg)
{
	struct network *n = arg;

	if (iface_find(n->conf->interface, n->interface, n->mac)) {
		with_interface(n);
		return;
	}
	if (++n->looks == LOOKS)
		tell_down(n, "there is no network interface");
	else
		ev_arm(n->ev, &n->look, LOOK_MS, look_for_interface, n);
}

/* It is not ours: only told of. Without any way out there is at least the loopback. */
static void tell_what_is_there(void *arg)
{
	struct network *n = arg;
	const struct frame_network *given = &n->conf->given;

	n->now = (struct frame_network){ .up = true };
	if (given->address.len) {
		n->now = *given;
		n->now.up = true;
	} else if (!iface_of_default(&n->now)) {
		(void)addr_from_literal("127.0.0.1", 0, &n->now.address);
		n->now.prefix = 8;
	}
	if (given->gateway.len)
		n->now.gateway = given->gateway;
	if (!given->dns_count)
		read_resolv(&n->now);
	use_given_dns(n);
	n->changed(n->arg, &n->now);
}

int network_new(struct network **out, struct ev *ev, const struct say *say,
		const struct agent_conf *conf,
		void (*changed)(void *arg, const struct frame_network *), void *arg, struct err *e)
{
	struct network *n = mem_alloc(sizeof(*n));

	if (!n)
		return err_set(e, ERR_NOMEM, "network");
	*n = (struct network){ .ev = ev, .say = say, .conf = conf, .changed = changed, .arg = arg };
	ev_arm(ev, &n->look, 0,
	       conf->net == AGENT_CONF_NONE ? tell_what_is_there : look_for_interface, n);
	*out = n;
	return 0;
}

void network_free(struct network *n)
{
	if (!n)
		return;
	ev_disarm(n->ev, &n->look);
	dhcp_client_free(n->dhcp);
	mem_free(n);
}
