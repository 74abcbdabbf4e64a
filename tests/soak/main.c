/*
 * soakload --proxy ADDR:PORT [--unix PATH] [--seconds N] [--rate N] [--conc N] [--seed N]
 *          [--handshake-ms N]
 *
 * Starts up to --rate clients a second, as long as fewer than --conc are open, and waits
 * for all of them at the end. Prints one JSON object: what was done, what the audit log
 * must have, and how many failures there were. The same seed makes the same sequence of
 * clients. Exit status 0: none failed.
 */
#include "tests/soak/soak.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, SHOWN = 20 };

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* xorshift64* */
uint64_t load_random(struct load *l, uint64_t below)
{
	l->rng ^= l->rng >> 12;
	l->rng ^= l->rng << 25;
	l->rng ^= l->rng >> 27;
	return (l->rng * 2685821657736338717u >> 11) % below;
}

void load_fail(struct load *l, const char *who, const char *what)
{
	if (l->failures++ < SHOWN)
		fprintf(stderr, "soakload: %s: %s\n", who, what);
}

void load_fatal(const char *what)
{
	fprintf(stderr, "soakload: %s: %s\n", what, strerror(errno));
	exit(2);
}

void source_watch(struct load *l, struct source *s, unsigned interest)
{
	struct epoll_event e = { .events = interest, .data.ptr = s };

	if (s->interest == interest)
		return;
	/* without interest it leaves the set: a hang-up is always told otherwise */
	if (epoll_ctl(l->epoll,
		      !interest      ? EPOLL_CTL_DEL
		      : !s->interest ? EPOLL_CTL_ADD
				     : EPOLL_CTL_MOD,
		      s->fd, &e))
		load_fatal("epoll_ctl");
	s->interest = interest;
}

void source_close(struct load *l, struct source *s, bool reset)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	source_watch(l, s, 0);
	if (reset)
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s->fd);
}

void node_add(struct node *list, struct node *n)
{
	n->next = list;
	n->prev = list->prev;
	list->prev->next = n;
	list->prev = n;
}

void node_del(struct node *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
}

static void pattern_init(struct load *l)
{
	uint32_t x = 2463534242u;

	for (int i = 0; i < PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		l->pattern[i] = (uint8_t)x;
	}
	for (int i = PERIOD; i < PERIOD + IO_SIZE; i++)
		l->pattern[i] = l->pattern[i - PERIOD];
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t v = strtoull(s, &end, 10);

	if (end == s || *end)
		load_fatal(s);
	return v;
}

static void parse_proxy(struct load *l, const char *s)
{
	const char *colon = strrchr(s, ':');
	char host[INET_ADDRSTRLEN] = "";

	l->proxy.sin_family = AF_INET;
	if (!colon || (size_t)(colon - s) >= sizeof(host))
		load_fatal(s);
	memcpy(host, s, (size_t)(colon - s));
	l->proxy.sin_port = htons((uint16_t)number(colon + 1));
	if (inet_pton(AF_INET, host, &l->proxy.sin_addr) != 1 ||
	    ntohl(l->proxy.sin_addr.s_addr) >> 24 != 127)
		load_fatal("--proxy: a loopback address");
}

static void parse(struct load *l, int argc, char **argv)
{
	static const struct option longs[] = { { "proxy", 1, 0, 'p' },        { "unix", 1, 0, 'u' },
					       { "seconds", 1, 0, 't' },      { "rate", 1, 0, 'r' },
					       { "conc", 1, 0, 'c' },         { "seed", 1, 0, 's' },
					       { "handshake-ms", 1, 0, 'h' }, { 0, 0, 0, 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'p': parse_proxy(l, optarg); break;
		case 'u':
			l->has_unix = true;
			l->proxy_unix.sun_family = AF_UNIX;
			snprintf(l->proxy_unix.sun_path, sizeof(l->proxy_unix.sun_path), "%s",
				 optarg);
			break;
		case 't': l->seconds = (unsigned)number(optarg); break;
		case 'r': l->rate = (unsigned)number(optarg); break;
		case 'c': l->conc = (unsigned)number(optarg); break;
		case 's': l->seed = number(optarg); break;
		case 'h': l->handshake_ms = (unsigned)number(optarg); break;
		default: exit(2);
		}
	if (!l->proxy.sin_port || !l->rate || !l->conc)
		load_fatal("--proxy, --rate, --conc");
}

static void turn(struct load *l, int wait_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(l->epoll, events, EVENTS, wait_ms);

	l->now_ms = clock_ms();
	for (int i = 0; i < n; i++) {
		struct source *s = events[i].data.ptr;

		s->ready(s);
	}
}

static void run(struct load *l)
{
	uint64_t begun, last = 0, until;

	l->now_ms = begun = clock_ms();
	until = begun + (uint64_t)l->seconds * 1000;
	while (l->now_ms < until || l->open) {
		uint64_t due = (l->now_ms - begun) * l->rate / 1000;

		/* what could not be started in time is not made up for in a rush */
		for (unsigned burst = 0;
		     l->now_ms < until && l->started < due && l->open < l->conc && burst < 64;
		     burst++)
			client_start(l, kinds_next(l));
		turn(l, l->started < due && l->open < l->conc && l->now_ms < until ? 0 : 1);
		if (l->now_ms - last >= TICK_MS) {
			last = l->now_ms;
			client_tick(l);
			target_tick(l);
		}
		if (l->failures > 1000)
			break;
	}
}

static void report(const struct load *l)
{
	static const char *const protos[] = { "socks5", "socks4", "socks5-udp", "connect", "http" };
	static const char *const actions[] = { "allow", "block", "refuse" };
	static const char *const outcomes[] = { "fine",         "refused", "client-reset",
						"remote-reset", "aborted", "malformed",
						"too-slow" };
	const char *comma = "";

	printf("{\"seed\":%" PRIu64 ",\"clients\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"peak\":%u,\"failures\":%" PRIu64 ",\"lines\":{",
	       l->seed, l->started, l->bytes, l->peak, l->failures);
	for (int p = 0; p < PROTOS; p++)
		for (int a = 0; a < ACTIONS; a++)
			for (int o = 0; o < OUTCOMES; o++)
				if (l->lines[p][a][o]) {
					printf("%s\"%s %s %s\":%" PRIu64, comma, protos[p],
					       actions[a], outcomes[o], l->lines[p][a][o]);
					comma = ",";
				}
	printf("},\"kinds\":{");
	for (unsigned i = 0; kinds_name(i); i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", kinds_name(i), l->by_kind[i]);
	puts("}}");
}

int main(int argc, char **argv)
{
	static struct load load = {
		.seconds = 10, .rate = 1000, .conc = 500, .seed = 1, .handshake_ms = 2000
	};
	struct load *l = &load;
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	parse(l, argc, argv);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	l->rng = l->seed * 2654435761u + 88172645463325252u;
	l->clients.next = l->clients.prev = &l->clients;
	l->fars.next = l->fars.prev = &l->fars;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	pattern_init(l);
	target_open(l);
	run(l);
	report(l);
	return l->failures ? 1 : 0;
}
