#ifndef LOCALAWS_WIRE_H
#define LOCALAWS_WIRE_H
/*
 * The binary message of a data channel, as the agent and the message gateway
 * write and read it. Pure. This is deliberately not the codec of backend/ssm:
 * two implementations of one page check each other.
 *
 *   0 HeaderLength(4) 4 MessageType(32) 36 SchemaVersion(4) 40 CreatedDate(8)
 *  48 SequenceNumber(8) 56 Flags(8) 64 MessageId(16, halves swapped)
 *  80 PayloadDigest(32) 112 PayloadType(4) 116 PayloadLength(4) 120 payload
 *
 * All big-endian. HeaderLength is the offset of PayloadLength: 116, or 112 in
 * the gateway's channel_closed, which has no PayloadType.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { WIRE_HEADER = 116, WIRE_HEADER_CLOSED = 112, WIRE_PAYLOAD_AT = 120, WIRE_TYPE = 32 };
enum wire_payload {
	WIRE_NONE = 0,
	WIRE_OUTPUT = 1,
	WIRE_ERROR = 2,
	WIRE_SIZE = 3,
	WIRE_PARAMETER = 4,
	WIRE_HANDSHAKE_REQUEST = 5,
	WIRE_HANDSHAKE_RESPONSE = 6,
	WIRE_HANDSHAKE_COMPLETE = 7,
	WIRE_CHALLENGE_REQUEST = 8,
	WIRE_CHALLENGE_RESPONSE = 9,
	WIRE_FLAG = 10,
};
enum wire_flag { WIRE_DISCONNECT = 1, WIRE_TERMINATE = 2, WIRE_CONNECT_ERROR = 3 };

struct wire_msg {
	char type[WIRE_TYPE + 1]; /* without padding */
	uint32_t schema;
	uint64_t created_ms;
	int64_t seq;
	uint64_t flags;
	uint8_t id[16]; /* in UUID order */
	uint8_t digest[32];
	uint32_t payload_type; /* 0 when the header has none */
	const uint8_t *payload;
	size_t payload_len;
};

/* The hash state is made once, because fetching it costs more than a digest. */
struct wire_hash;
struct wire_hash *wire_hash_new(struct err *);
void wire_hash_free(struct wire_hash *);
void wire_digest(struct wire_hash *, const void *p, size_t n, uint8_t out[static 32]);

/* Texts point into p. As the agent's reader: the payload is all that follows
 * HeaderLength + 4, PayloadLength and the digest are not checked. */
MUST_CHECK int wire_decode(const uint8_t *p, size_t n, struct wire_msg *, struct err *);

/* MessageType padding and the header's length. */
enum wire_form { WIRE_SPACES = 0, WIRE_SHORT_NUL };
size_t wire_size(enum wire_form, size_t payload_len);
/* Writes wire_size() bytes; the digest is computed. */
void wire_encode(const struct wire_msg *, enum wire_form, struct wire_hash *, uint8_t *out);

enum { WIRE_UUID_TEXT = 37, WIRE_ACK_MAX = 300 };
void wire_uuid_text(const uint8_t id[static 16], char out[static WIRE_UUID_TEXT]);
/* The acknowledge payload for m; returns its length. */
size_t wire_ack_text(const struct wire_msg *m, char out[static WIRE_ACK_MAX]);
/* The sequence number an acknowledge payload names; both AWS ends use nothing else, and read keys
 * in any case. */
MUST_CHECK int wire_ack_seq(const uint8_t *json, size_t n, int64_t *seq, struct err *);
#endif
