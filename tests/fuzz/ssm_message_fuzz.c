/*
 * Laws: what decodes with our header length encodes to the same 120 bytes but
 * for what the encoder fixes (padding, schema, length, and a digest where the length is 0,
 * which nobody asks for then); a message that decodes does so
 * with its payload inside the input; a flipped payload bit is always noticed
 * where the digest counts.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ssm/message.h"

enum { AT_CREATED = 40, AT_DIGEST = 80, AT_TYPE = 112, AT_LENGTH = 116 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void again(struct message_codec *c, const struct message *m, const uint8_t *p)
{
	uint8_t head[MESSAGE_HEADER];
	struct message back;
	uint8_t *whole = malloc(MESSAGE_HEADER + m->payload_len);

	assert(message_encode(c, m, head, NULL) == 0);
	assert(memcmp(head + AT_CREATED, p + AT_CREATED, AT_DIGEST - AT_CREATED) == 0);
	assert(memcmp(p + AT_LENGTH, "\0\0\0", 4) == 0 ||
	       memcmp(head + AT_DIGEST, p + AT_DIGEST, AT_TYPE - AT_DIGEST) == 0);
	assert(memcmp(head + AT_TYPE, p + AT_TYPE, AT_LENGTH - AT_TYPE) == 0);
	memcpy(whole, head, MESSAGE_HEADER);
	memcpy(whole + MESSAGE_HEADER, m->payload, m->payload_len);
	assert(message_decode(c, whole, MESSAGE_HEADER + m->payload_len, &back, NULL) == 0);
	assert(back.type == m->type && back.seq == m->seq && back.flags == m->flags);
	assert(memcmp(back.id, m->id, MESSAGE_ID) == 0);
	if (m->payload_len) {
		whole[MESSAGE_HEADER] ^= 1;
		assert(message_decode(c, whole, MESSAGE_HEADER + m->payload_len, &back, NULL) ==
		       -1);
	}
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct message_codec *c = message_codec_new(NULL);
	struct message m;
	char text[64];
	int64_t seq;

	assert(c);
	if (message_decode(c, p, n, &m, NULL) == 0) {
		assert(m.payload >= p && m.payload + m.payload_len == p + n);
		if ((m.type == MESSAGE_INPUT || m.type == MESSAGE_OUTPUT ||
		     m.type == MESSAGE_ACK) &&
		    m.payload == p + MESSAGE_HEADER)
			again(c, &m, p);
		if (m.type == MESSAGE_ACK &&
		    message_ack_parse(m.payload, m.payload_len, &seq, NULL) == 0)
			assert(seq >= 0);
		if (message_closed_parse(m.payload, m.payload_len, text, sizeof(text), NULL) == 0)
			assert(memchr(text, '\0', sizeof(text)));
	}
	message_codec_free(c);
	return 0;
}
