#ifndef SSM_SSH_WIRE_H
#define SSM_SSH_WIRE_H
/*
 * What is said on the control socket of an OpenSSH master in its proxy mode.
 * Pure. Every packet is a length (4 bytes, big-endian) and so many bytes.
 *
 *   first the mux protocol (OpenSSH, PROTOCOL.mux, version 4):
 *     length | type 4 | fields                     HELLO both ways, then PROXY and its answer
 *   then SSH's own channel messages (RFC 4254, 5):
 *     length | 0 | type 1 | fields                 the master changes our channel numbers for its
 * own
 *
 * The put functions fill `to` (SSH_PUT_MAX bytes are enough for each) and return the length.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	SSH_MUX_HELLO = 1,
	SSH_MUX_PROXY = 0x1000000f,
	SSH_MUX_VERSION = 4,
	SSH_PACKET_MAX = 32 * 1024, /* data of one packet, each way */
	SSH_FRAME_MAX = 256 * 1024, /* as OpenSSH's own packets */
	SSH_PUT_MAX = 512,
	SSH_DATA_HEAD = 14 /* what stands before the bytes of a data packet */
};

enum ssh_type {
	SSH_OPEN = 90,
	SSH_OPENED = 91,
	SSH_REFUSED = 92,
	SSH_WINDOW = 93,
	SSH_DATA = 94,
	SSH_EXTENDED_DATA = 95,
	SSH_EOF = 96,
	SSH_CLOSE = 97,
	SSH_REQUEST = 98,
	SSH_REQUEST_DONE = 99,
	SSH_REQUEST_FAILED = 100
};

/* RFC 4254, 5.1 */
enum ssh_reason { SSH_PROHIBITED = 1, SSH_CONNECT_FAILED, SSH_UNKNOWN_TYPE, SSH_SHORTAGE };

struct ssh_msg {
	unsigned type;
	uint32_t id;      /* the receiver's channel; of OPEN: the sender's */
	uint32_t peer;    /* OPENED: the sender's channel */
	uint32_t window;  /* OPENED, WINDOW */
	uint32_t packet;  /* OPENED: the most that one packet may carry */
	uint32_t reason;  /* REFUSED */
	bool want_reply;  /* REQUEST */
	const uint8_t *p; /* DATA, EXTENDED_DATA: bytes; REFUSED: text */
	size_t n;
};

/* 1: *len bytes at p are a whole packet; 0: more is needed; -1: ERR_PROTO. */
MUST_CHECK int ssh_frame(const uint8_t *p, size_t n, size_t *len, struct err *);
/* The bytes of a channel message behind its length. An unknown type is no error: its number is
 * in type, and nothing else is set. -1: ERR_PROTO, cut short. */
MUST_CHECK int ssh_parse(const uint8_t *p, size_t n, struct ssh_msg *, struct err *);
/* The same for the master's two answers. */
MUST_CHECK int ssh_parse_hello(const uint8_t *p, size_t n, struct err *);
MUST_CHECK int ssh_parse_proxied(const uint8_t *p, size_t n, uint32_t request, struct err *);

size_t ssh_put_hello(uint8_t *to);
size_t ssh_put_proxy(uint8_t *to, uint32_t request);
/* A direct-tcpip channel (RFC 4254, 7.2); host: at most 255 bytes. */
size_t ssh_put_open(uint8_t *to, uint32_t id, uint32_t window, const char *host, uint16_t port);
size_t ssh_put_refused(uint8_t *to, uint32_t id);
size_t ssh_put_window(uint8_t *to, uint32_t id, uint32_t more);
/* Only the SSH_DATA_HEAD bytes: n bytes of data follow. */
size_t ssh_put_data(uint8_t *to, uint32_t id, size_t n);
size_t ssh_put_plain(uint8_t *to, enum ssh_type, uint32_t id); /* EOF, CLOSE, REQUEST_FAILED */

/* What a refused open means. text is the server's, of n bytes, not trusted. */
void ssh_refusal(uint32_t reason, const uint8_t *text, size_t n, const char *host, uint16_t port,
		 struct err *);
#endif
