#ifndef TESTS_SOAK_SOAK_H
#define TESTS_SOAK_SOAK_H
/*
 * soakload: mixed traffic through one proxy for a while, from one thread (Linux).
 *
 *   main.c     options, the loop, pace, the report
 *   kinds.c    what kinds of client there are, and what lines of the audit log each owes
 *   client.c   runs one client's script, step by step
 *   target.c   the far side that the clients ask for
 *
 * Every byte that arrives is compared with what must arrive; the streams of no two
 * connections are alike. Anything else than what a script says is a failure.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

enum {
	PERIOD = 65521, /* the pattern repeats with this prime period */
	IO_SIZE = 64 * 1024,
	TARGETS = 32, /* far addresses 127.0.1.1..., so that no side runs out of ports */
	SOURCES = 32, /* client addresses 127.0.2.1... */
	TICK_MS = 20
};

/* Something in the epoll set. */
struct source {
	void (*ready)(struct source *);
	int fd;
	unsigned interest; /* of EPOLLIN, EPOLLOUT */
};

struct node {
	struct node *next, *prev;
};

/* What a client owes the audit log: one line, of a protocol, an action and an outcome. */
enum proto { SOCKS5, SOCKS4, UDP, CONNECT, HTTP, PROTOS };
enum action { ALLOW, BLOCK, REFUSE, ACTIONS };
enum outcome { FINE, REFUSED, CLIENT_RESET, REMOTE_RESET, ABORTED, MALFORMED, TOO_SLOW, OUTCOMES };

struct load {
	int epoll;
	struct sockaddr_in proxy;
	struct sockaddr_un proxy_unix;
	bool has_unix;
	unsigned rate, conc, seconds, handshake_ms;
	uint64_t seed, rng, now_ms;
	uint16_t port, closed_port; /* of the far side; where nobody listens */
	struct node clients, fars;
	unsigned open, peak;
	uint64_t started, failures, bytes;
	uint64_t lines[PROTOS][ACTIONS][OUTCOMES];
	uint64_t by_kind[32];
	unsigned next_source;
	uint8_t pattern[PERIOD + IO_SIZE], io[IO_SIZE];
};

/* main.c */
uint64_t load_random(struct load *, uint64_t below);
void load_fail(struct load *, const char *who, const char *what); /* counted; the first are shown */
void load_fatal(const char *what);                                /* ends the program */
void source_watch(struct load *, struct source *, unsigned interest);
void source_close(struct load *, struct source *, bool reset);
void node_add(struct node *list, struct node *);
void node_del(struct node *);

/* target.c: listens at TARGETS addresses, ::1 and 127.0.0.1, on one port. */
void target_open(struct load *);
void target_tick(struct load *);

/* client.c */
enum what {
	SEND,   /* text[off], n bytes */
	DRIP,   /* the same one byte at a time, arg ms apart */
	EXPECT, /* exactly text[off], n bytes */
	HEAD,   /* an HTTP head with status arg */
	BODY,   /* as many bytes as the head's Content-Length said, unseen */
	UP,     /* n bytes of the pattern */
	DOWN,   /* n bytes of the pattern, compared */
	BOTH,   /* n bytes up, and the same down again meanwhile */
	SHUT,   /* our end of file */
	END,    /* theirs, or a reset when arg is set */
	PAUSE,  /* arg ms in which nothing is read or written */
	CLOSE,
	RESET,
	RELAY,   /* what comes is a UDP association's address */
	DATAGRAM /* n bytes of the pattern by UDP, behind the header at text[off], and back again;
		  * arg: nothing comes back */
};

struct step {
	enum what what;
	unsigned off, arg;
	uint64_t n;
};

struct client {
	struct source src;
	struct node node;
	struct load *load;
	const char *kind;
	bool local; /* by the Unix socket */
	struct step steps[48];
	unsigned count, at;
	uint8_t text[1400];
	unsigned text_len;
	uint8_t ahead[2048]; /* read, not yet used: ahead[from..to) */
	unsigned from, to;
	uint64_t sent, got; /* of the present step */
	uint64_t phase, body;
	int udp;                      /* -1: none */
	uint64_t due_ms, deadline_ms; /* of the present step; of the client */
};

void client_step(struct client *, enum what, unsigned off, uint64_t n, unsigned arg);
unsigned client_text(struct client *, const void *, size_t n); /* where it is */
void client_start(struct load *, struct client *);             /* takes it */
void client_tick(struct load *);

/* kinds.c: a client with its script; its lines are counted. */
struct client *kinds_next(struct load *);
const char *kinds_name(unsigned i); /* NULL: there are no more */
#endif
