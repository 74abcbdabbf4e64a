#ifndef SSM_MESSAGE_H
#define SSM_MESSAGE_H
/*
 * The binary message of the data channel, and the small JSON texts in it.
 * Pure: bytes in, struct out, and back. Layout: docs/PROTOCOL.ssm, 2.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	MESSAGE_HEADER = 120,          /* bytes before the payload of what we send */
	MESSAGE_ACK_MAX = 320,         /* JSON of an acknowledgement, NUL included */
	MESSAGE_PAYLOAD_MAX = 2 << 20, /* more is refused */
	MESSAGE_ID = 16
};

enum message_type {
	MESSAGE_UNKNOWN = 0, /* to be ignored */
	MESSAGE_INPUT,       /* input_stream_data: client to agent */
	MESSAGE_OUTPUT,      /* output_stream_data: agent to client */
	MESSAGE_ACK,
	MESSAGE_CLOSED, /* channel_closed */
	MESSAGE_START,  /* start_publication */
	MESSAGE_PAUSE,  /* pause_publication */
	MESSAGE_TYPE_COUNT
};

enum payload_type {
	PAYLOAD_NONE = 0,
	PAYLOAD_OUTPUT = 1,
	PAYLOAD_HANDSHAKE_REQUEST = 5,
	PAYLOAD_HANDSHAKE_RESPONSE = 6,
	PAYLOAD_HANDSHAKE_COMPLETE = 7,
	PAYLOAD_ENC_CHALLENGE = 8,
	PAYLOAD_FLAG = 10
};

enum payload_flag { FLAG_DISCONNECT = 1, FLAG_TERMINATE = 2, FLAG_CONNECT_ERROR = 3 };

struct message {
	enum message_type type;
	uint32_t schema;
	uint64_t created_ms; /* wall clock */
	int64_t seq;
	uint64_t flags;
	uint8_t id[MESSAGE_ID]; /* in the order of its text form */
	uint32_t payload_type;  /* 0 where the header has no such field */
	const uint8_t *payload;
	size_t payload_len;
};

/* Keeps what is dear to make: a digest context, and random bytes for ids. */
struct message_codec;
struct message_codec *message_codec_new(struct err *);
void message_codec_free(struct message_codec *); /* NULL allowed */

void message_random_id(struct message_codec *, uint8_t id[static MESSAGE_ID]); /* UUID v4 */
/* "01234567-89ab-..."; needs 37 bytes. */
void message_id_text(const uint8_t id[static MESSAGE_ID], char *out);

/* Writes the header for m (schema, digest and lengths are filled in) to out;
 * the payload goes behind it, unchanged. Fails only if the digest does. */
MUST_CHECK int message_encode(struct message_codec *, const struct message *,
			      uint8_t out[static MESSAGE_HEADER], struct err *);

/* m->payload points into p. ERR_PROTO names the field that is wrong: header
 * length, digest, date, sequence number. The payload is all that follows the header, whatever
 * PayloadLength says; digest and date of channel_closed and the publications mean nothing and are
 * not looked at. */
MUST_CHECK int message_decode(struct message_codec *, const uint8_t *p, size_t n, struct message *m,
			      struct err *);

/* JSON that acknowledges an output_stream_data; returns its length. */
size_t message_ack_json(const struct message *of, char out[static MESSAGE_ACK_MAX]);
/* The sequence number that an acknowledgement names. */
MUST_CHECK int message_ack_parse(const uint8_t *p, size_t n, int64_t *seq, struct err *);
/* Output of a channel_closed: copied to out, cut to size; "" for a plain end. */
MUST_CHECK int message_closed_parse(const uint8_t *p, size_t n, char *out, size_t size,
				    struct err *);
#endif
