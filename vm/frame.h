#ifndef VM_FRAME_H
#define VM_FRAME_H
/*
 * What host and guest say to each other, byte by byte: docs/PROTOCOL.vm, which is the law where
 * the two differ. Pure: bytes in, bytes out, no memory of its own. Numbers are big-endian.
 *
 *     type u8 | length u24 | stream u32 | payload (length bytes)
 *
 * Texts are UTF-8 by intention, never trusted: whoever shows them replaces control bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

enum {
	FRAME_HEAD = 8,
	FRAME_DATA_MAX = 32 * 1024,   /* payload of a DATA frame */
	FRAME_CONTROL_MAX = 4 * 1024, /* of any other */
	FRAME_NONCE = 32,
	FRAME_NAME_MAX = 255, /* bytes of a host name */
	FRAME_TEXT_MAX = 1024,
	FRAME_LOG_LEVEL_MAX = 3, /* LOG_DEBUG of base/log.h */
	FRAME_ADDRESSES_MAX = 16,
	FRAME_DNS_MAX = 4,
	FRAME_WINDOW_MAX = 1 << 30, /* bytes that may ever be granted and not be sent yet */
	FRAME_VERSION = 1
};

enum frame_type {
	/* of the link (stream 0) */
	FRAME_HELLO = 0x01,    /* guest, first */
	FRAME_WELCOME = 0x02,  /* host's answer */
	FRAME_NETWORK = 0x03,  /* guest: what DHCP gave; may come again */
	FRAME_PING = 0x04,     /* either */
	FRAME_PONG = 0x05,     /* the same token */
	FRAME_LOG = 0x06,      /* guest */
	FRAME_METRICS = 0x07,  /* guest, about every 10 s */
	FRAME_SHUTDOWN = 0x08, /* host: power off */
	FRAME_GOODBYE = 0x09,  /* either, before it ends the link: why */
	/* questions and their answers */
	FRAME_RESOLVE = 0x20,   /* host */
	FRAME_ADDRESSES = 0x21, /* guest */
	FRAME_OPEN = 0x22,      /* host */
	FRAME_OPENED = 0x23,    /* guest */
	FRAME_FAILED = 0x24,    /* guest: to RESOLVE or OPEN */
	/* of an open stream; 0x40..0x4f are kept for UDP: whoever gets one now ends the link */
	FRAME_DATA = 0x30,
	FRAME_WINDOW = 0x31, /* so many bytes more may be sent */
	FRAME_EOF = 0x32,    /* the sender's direction has ended */
	FRAME_RESET = 0x33,  /* both directions have, at once; also takes a question back */
	FRAME_STOP = 0x34    /* the receiver's direction has: the sender reads no more */
};

struct frame_head {
	uint8_t type;
	uint32_t length, stream;
};
/* ERR_PROTO: a type that there is none of, or a length beyond that type's limits, or a stream
 * that does not fit it. */
MUST_CHECK int frame_head_read(struct frame_head *, const uint8_t p[FRAME_HEAD], struct err *);
void frame_head_write(uint8_t to[FRAME_HEAD], enum frame_type, uint32_t length, uint32_t stream);
const char *frame_name(uint8_t type); /* "HELLO"; "0x7f"-like ones are "unknown"; static */

enum { FRAME_CAP_IPV6 = 1, FRAME_CAP_UDP = 2 /* not yet */ };
struct frame_hello {
	uint16_t least, most; /* versions that it speaks */
	uint32_t caps;
	uint32_t window; /* that each new stream may send to the guest */
	uint32_t streams_max;
	uint8_t nonce[FRAME_NONCE];
	char agent[64]; /* "0.1.0 x86_64", NUL-terminated */
};
struct frame_welcome {
	uint16_t version; /* chosen */
	uint32_t caps;    /* of both */
	uint32_t window;  /* that each new stream may send to the host */
};
struct frame_network {
	bool up;                      /* false: no address (yet); `why` tells */
	struct addr address, gateway; /* len 0: none */
	uint8_t prefix;               /* bits of the network */
	struct addr dns[FRAME_DNS_MAX];
	uint8_t dns_count;
	char why[256];
};
struct frame_metrics {
	uint64_t memory_total, memory_available; /* bytes */
	uint64_t bytes_up, bytes_down;           /* TCP bytes to and from the outside */
	uint32_t streams, dials, failed;         /* open now; ever; ever */
	uint64_t uptime_ms;
};
/* Of OPEN; others are kept, and 0. */
enum { FRAME_OPEN_SIBLINGS = 1 /* a rule opened them: vm/guard.h */ };
struct frame_addresses { /* ADDRESSES: port 0; OPEN: all have the same port; OPENED: one */
	uint8_t flags;   /* before the addresses; 0 in ADDRESSES */
	struct addr list[FRAME_ADDRESSES_MAX];
	size_t count;
};
/* Causes of FAILED. Numbers are the protocol's; frame_cause_err() gives ours. */
enum frame_cause {
	FRAME_CAUSE_REFUSED = 1,     /* ECONNREFUSED */
	FRAME_CAUSE_NETUNREACH = 2,  /* no route, or the guest has no network */
	FRAME_CAUSE_HOSTUNREACH = 3, /* EHOSTUNREACH */
	FRAME_CAUSE_TIMEOUT = 4,
	FRAME_CAUSE_NO_NAME = 5,   /* the resolver says that there is no such name */
	FRAME_CAUSE_RESOLVER = 6,  /* it did not answer, or not to any use */
	FRAME_CAUSE_FORBIDDEN = 7, /* the guest's own guard */
	FRAME_CAUSE_LIMIT = 8,     /* of the guest's: streams, look-ups, memory */
	FRAME_CAUSE_OTHER = 9
};
enum err_code frame_cause_err(uint8_t cause); /* of an unknown one: ERR_DIAL */
uint8_t frame_cause_of(enum err_code);
struct frame_failed {
	uint8_t cause;
	char text[FRAME_TEXT_MAX + 1];
};

/* Payloads. Readers: 0, or ERR_PROTO naming the field. Writers fill `to`, of FRAME_CONTROL_MAX
 * bytes, and return the length; texts that are too long are cut. */
MUST_CHECK int frame_hello_read(struct frame_hello *, const uint8_t *p, size_t n, struct err *);
MUST_CHECK int frame_welcome_read(struct frame_welcome *, const uint8_t *p, size_t n, struct err *);
MUST_CHECK int frame_network_read(struct frame_network *, const uint8_t *p, size_t n, struct err *);
MUST_CHECK int frame_metrics_read(struct frame_metrics *, const uint8_t *p, size_t n, struct err *);
MUST_CHECK int frame_addresses_read(struct frame_addresses *, const uint8_t *p, size_t n,
				    struct err *);
MUST_CHECK int frame_failed_read(struct frame_failed *, const uint8_t *p, size_t n, struct err *);
/* LOG: a level of base/log.h, then text. GOODBYE, RESOLVE: the text alone. cap includes the NUL. */
MUST_CHECK int frame_text_read(char *to, size_t cap, const uint8_t *p, size_t n, struct err *);
uint32_t frame_u32(const uint8_t p[4]); /* WINDOW */
uint64_t frame_u64(const uint8_t p[8]); /* PING, PONG */
void frame_put_u32(uint8_t to[4], uint32_t);
void frame_put_u64(uint8_t to[8], uint64_t);
size_t frame_hello_write(uint8_t *to, const struct frame_hello *);
size_t frame_welcome_write(uint8_t *to, const struct frame_welcome *);
size_t frame_network_write(uint8_t *to, const struct frame_network *);
size_t frame_metrics_write(uint8_t *to, const struct frame_metrics *);
size_t frame_addresses_write(uint8_t *to, const struct frame_addresses *);
size_t frame_failed_write(uint8_t *to, const struct frame_failed *);
#endif
