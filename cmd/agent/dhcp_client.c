/*
 * An ordinary UDP socket, bound to the interface: the system sends from 0.0.0.0 while there is no
 * address, and takes what is broadcast, as the BROADCAST flag asks servers to do.
 */
#include "cmd/agent/dhcp_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/agent/say.h"
#include "net/sock.h"

enum {
	CLIENT_PORT = 68,
	SERVER_PORT = 67,
	FIRST_MS = 500,
	MOST_MS = 8000,
	AGAIN_MS = 1000,    /* after a NAK */
	REQUESTS = 4,       /* of an offer */
	SILENT = 3,         /* DISCOVERs, before it is said that nobody answers */
	RENEW_PAUSE_S = 60, /* RFC 2131, 4.4.5: at least so long between tries to renew */
	TURN_S = 3600,      /* no timer runs longer at once */
	NEVER_BLOCK = 4     /* GRND_INSECURE: an xid is no secret, and a guest has little entropy */
};

enum state { SELECTING = 0, REQUESTING, BOUND, RENEWING, REBINDING };

struct dhcp_client {
	struct ev *ev;
	const struct say *say;
	const struct dhcp_handler *handler;
	void *arg;
	struct ev_watch watch;
	struct ev_timer timer;
	int fd;
	enum state state;
	uint8_t mac[6];
	uint32_t xid;
	unsigned pause_ms, tries;
	uint64_t began_ms, leased_ms; /* leased: when the REQUEST of the lease was sent */
	struct dhcp_answer lease;     /* or offer */
};

static void on_time(void *arg);
static void begin(struct dhcp_client *c, unsigned after_ms);

static uint32_t random_xid(const struct dhcp_client *c)
{
	uint32_t x = 0;

	if (syscall(SYS_getrandom, &x, sizeof(x), NEVER_BLOCK) != (long)sizeof(x))
		x = (uint32_t)ev_now(c->ev) * 2654435761u ^ (uint32_t)c->mac[5] << 24;
	return x;
}

/* ---- sending ---- */

static void send_to(struct dhcp_client *c, const struct dhcp_question *q, const uint8_t ip[4])
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(SERVER_PORT) };
	uint8_t p[DHCP_REQUEST_BYTES];

	memcpy(&to.sin_addr, ip, 4);
	dhcp_write(p, q);
	if (sendto(c->fd, p, sizeof(p), MSG_DONTWAIT, (const struct sockaddr *)&to, sizeof(to)) < 0)
		say_debug(c->say, "DHCP: %s", strerror(errno)); /* it is sent again */
}

static struct dhcp_question question(const struct dhcp_client *c, enum dhcp_type type)
{
	uint64_t s = (ev_now(c->ev) - c->began_ms) / 1000;
	struct dhcp_question q = { .type = type, .xid = c->xid };

	q.secs = s > UINT16_MAX ? UINT16_MAX : (uint16_t)s;
	memcpy(q.mac, c->mac, 6);
	return q;
}

static void ask(struct dhcp_client *c)
{
	static const uint8_t everybody[4] = { 255, 255, 255, 255 };
	struct dhcp_question q;

	c->tries++;
	q = question(c, c->state == SELECTING ? DHCP_DISCOVER : DHCP_REQUEST);
	if (c->state == REQUESTING) {
		memcpy(q.requested, c->lease.address, 4);
		memcpy(q.server, c->lease.server, 4);
	}
	if (c->state == RENEWING || c->state == REBINDING)
		memcpy(q.own, c->lease.address, 4);
	send_to(c, &q, c->state == RENEWING ? c->lease.server : everybody);
}

/* ---- time ---- */

static void arm_s(struct dhcp_client *c, uint64_t s)
{
	ev_arm(c->ev, &c->timer, (unsigned)(s > TURN_S ? TURN_S : s) * 1000, on_time, c);
}

static void ask_again_later(struct dhcp_client *c)
{
	ask(c);
	ev_arm(c->ev, &c->timer, c->pause_ms, on_time, c);
	c->pause_ms = 2 * c->pause_ms > MOST_MS ? MOST_MS : 2 * c->pause_ms;
}

static void enter(struct dhcp_client *c, enum state s)
{
	c->state = s;
	c->tries = 0;
	c->pause_ms = FIRST_MS;
}

static void begin(struct dhcp_client *c, unsigned after_ms)
{
	enter(c, SELECTING);
	c->began_ms = ev_now(c->ev);
	c->xid = random_xid(c);
	ev_arm(c->ev, &c->timer, after_ms, on_time, c);
}

static void give_up(struct dhcp_client *c, const char *why, unsigned after_ms)
{
	bool had = c->state >= BOUND;

	begin(c, after_ms);
	if (had)
		c->handler->lost(c->arg, why);
	else
		say_warn(c->say, "DHCP: %s", why);
}

/* Half of what is left until `until`, as RFC 2131 has it, but not more often than once a minute. */
static void renew(struct dhcp_client *c, enum state s, uint64_t until, uint64_t age)
{
	uint64_t half = (until - age) / 2;

	if (c->state != s) {
		c->xid = random_xid(c);
		enter(c, s);
	}
	ask(c);
	if (half < RENEW_PAUSE_S)
		half = until - age < RENEW_PAUSE_S ? until - age : RENEW_PAUSE_S;
	arm_s(c, half ? half : 1);
}

static void mind_lease(struct dhcp_client *c)
{
	uint64_t age = (ev_now(c->ev) - c->leased_ms) / 1000;

	if (c->lease.lease_s == DHCP_FOR_EVER)
		ev_disarm(c->ev, &c->timer);
	else if (age < c->lease.renew_s)
		arm_s(c, c->lease.renew_s - age);
	else if (age < c->lease.rebind_s)
		renew(c, RENEWING, c->lease.rebind_s, age);
	else if (age < c->lease.lease_s)
		renew(c, REBINDING, c->lease.lease_s, age);
	else
		give_up(c, "the address's lease has ended: nobody renewed it", 0);
}

static void on_time(void *arg)
{
	struct dhcp_client *c = arg;

	if (c->state >= BOUND) {
		mind_lease(c);
		return;
	}
	if (c->state == REQUESTING && c->tries == REQUESTS) {
		give_up(c, "no answer to a REQUEST", 0);
		return;
	}
	ask_again_later(c);
	if (c->state == SELECTING && c->tries == SILENT)
		c->handler->lost(c->arg, "no DHCP server answers");
}

/* ---- answers ---- */

static void take_lease(struct dhcp_client *c, const struct dhcp_answer *a)
{
	c->lease = *a;
	enter(c, BOUND);
	c->leased_ms = ev_now(c->ev);
	mind_lease(c);
	c->handler->bound(c->arg, &c->lease);
}

static void take_offer(struct dhcp_client *c, const struct dhcp_answer *a)
{
	c->lease = *a;
	enter(c, REQUESTING);
	ask_again_later(c);
}

static void take(struct dhcp_client *c, const struct dhcp_answer *a)
{
	if (c->state == SELECTING && a->type == DHCP_OFFER)
		take_offer(c, a);
	else if (c->state == SELECTING || c->state == BOUND || a->type == DHCP_OFFER)
		return;
	else if (a->type == DHCP_NAK)
		give_up(c, "the server refuses the address", AGAIN_MS);
	else if (c->state != REQUESTING || memcmp(a->server, c->lease.server, 4) == 0)
		take_lease(c, a);
}

static void on_packet(void *arg, unsigned what)
{
	struct dhcp_client *c = arg;
	uint8_t p[DHCP_MOST + 1];
	struct dhcp_answer a;
	struct err e;
	ssize_t n;

	(void)what;
	n = recv(c->fd, p, sizeof(p), MSG_DONTWAIT);
	if (n < 0)
		return;
	if (dhcp_read(&a, p, (size_t)n, c->xid, c->mac, &e) != 0)
		say_debug(c->say, "%s", e.msg);
	else
		take(c, &a);
}

static int open_socket(const char *interface, struct err *e)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(CLIENT_PORT) };
	int fd = sock_open_udp(AF_INET), one = 1;

	if (fd < 0)
		return err_sys(e, errno, "DHCP");
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface,
		       (socklen_t)strlen(interface) + 1) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	(void)err_sys(e, errno, "DHCP: port %d of %s", CLIENT_PORT, interface);
	close(fd);
	return -1;
}

int dhcp_client_new(struct dhcp_client **out, struct ev *ev, const struct say *say,
		    const char *interface, const uint8_t mac[static 6],
		    const struct dhcp_handler *handler, void *arg, struct err *e)
{
	struct dhcp_client *c = mem_alloc(sizeof(*c));

	if (!c)
		return err_set(e, ERR_NOMEM, "DHCP");
	*c = (struct dhcp_client){ .ev = ev, .say = say, .handler = handler, .arg = arg };
	memcpy(c->mac, mac, 6);
	c->fd = open_socket(interface, e);
	if (c->fd < 0 || ev_watch(ev, &c->watch, c->fd, EV_READ, on_packet, c, e) != 0) {
		if (c->fd >= 0)
			close(c->fd);
		mem_free(c);
		return -1;
	}
	begin(c, 0);
	*out = c;
	return 0;
}

void dhcp_client_free(struct dhcp_client *c)
{
	if (!c)
		return;
	ev_unwatch(c->ev, &c->watch);
	ev_disarm(c->ev, &c->timer);
	close(c->fd);
	mem_free(c);
}
