#include "backend/ssm/message.h"

#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"

/*
 * HeaderLength is the offset of PayloadLength. What we write has 116; the
 * service's own channel_closed has 112 (no PayloadType field) and pads its type
 * with NULs instead of spaces. So the reader goes by HeaderLength and trims
 * both. All integers are big-endian; the two halves of the id are swapped.
 */
enum {
	AT_TYPE = 4,
	AT_SCHEMA = 36,
	AT_CREATED = 40,
	AT_SEQ = 48,
	AT_FLAGS = 56,
	AT_ID = 64,
	AT_DIGEST = 80,
	AT_PAYLOAD_TYPE = 112,
	AT_PAYLOAD_LEN = 116,
	TYPE_LEN = 32,
	DIGEST_LEN = 32,
	HEADER_LEN = 116,
	HEADER_LEN_SHORT = 112,
	HEADER_LEN_MAX = 4096,
	IDS_AT_ONCE = 64
};

static const char *const type_names[] = {
	[MESSAGE_UNKNOWN] = "",
	[MESSAGE_INPUT] = "input_stream_data",
	[MESSAGE_OUTPUT] = "output_stream_data",
	[MESSAGE_ACK] = "acknowledge",
	[MESSAGE_CLOSED] = "channel_closed",
	[MESSAGE_START] = "start_publication",
	[MESSAGE_PAUSE] = "pause_publication",
};

struct message_codec {
	EVP_MD_CTX *digest;
	EVP_MD *sha256;
	uint8_t ids[IDS_AT_ONCE][MESSAGE_ID];
	unsigned ids_left;
};

struct message_codec *message_codec_new(struct err *e)
{
	struct message_codec *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "message codec");
		return NULL;
	}
	c->digest = EVP_MD_CTX_new();
	c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (c->digest && c->sha256)
		return c;
	(void)err_set(e, ERR_INTERNAL, "the TLS library has no SHA-256");
	message_codec_free(c);
	return NULL;
}

void message_codec_free(struct message_codec *c)
{
	if (!c)
		return;
	EVP_MD_CTX_free(c->digest);
	EVP_MD_free(c->sha256);
	mem_free(c);
}

void message_random_id(struct message_codec *c, uint8_t id[static MESSAGE_ID])
{
	if (c->ids_left == 0) {
		random_bytes(c->ids, sizeof(c->ids));
		c->ids_left = IDS_AT_ONCE;
	}
	memcpy(id, c->ids[--c->ids_left], MESSAGE_ID);
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

void message_id_text(const uint8_t id[static MESSAGE_ID], char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < MESSAGE_ID; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = digits[id[i] >> 4];
		*out++ = digits[id[i] & 15];
	}
	*out = '\0';
}

static void put(uint8_t *p, unsigned bytes, uint64_t v)
{
	while (bytes--) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

static void swap_halves(uint8_t *to, const uint8_t *from)
{
	memcpy(to, from + 8, 8);
	memcpy(to + 8, from, 8);
}

static int digest_of(struct message_codec *c, const void *p, size_t n, uint8_t *out, struct err *e)
{
	if (EVP_DigestInit_ex2(c->digest, c->sha256, NULL) == 1 &&
	    EVP_DigestUpdate(c->digest, p, n) == 1 && EVP_DigestFinal_ex(c->digest, out, NULL) == 1)
		return 0;
	return err_set(e, ERR_INTERNAL, "SHA-256 failed");
}

int message_encode(struct message_codec *c, const struct message *m,
		   uint8_t out[static MESSAGE_HEADER], struct err *e)
{
	const char *name = type_names[m->type];

	put(out, 4, HEADER_LEN);
	memset(out + AT_TYPE, ' ', TYPE_LEN);
	memcpy(out + AT_TYPE, name, strlen(name));
	put(out + AT_SCHEMA, 4, 1);
	put(out + AT_CREATED, 8, m->created_ms);
	put(out + AT_SEQ, 8, (uint64_t)m->seq);
	put(out + AT_FLAGS, 8, m->flags);
	swap_halves(out + AT_ID, m->id);
	put(out + AT_PAYLOAD_TYPE, 4, m->payload_type);
	put(out + AT_PAYLOAD_LEN, 4, m->payload_len);
	return digest_of(c, m->payload ? m->payload : out, m->payload_len, out + AT_DIGEST, e);
}

static bool is_pad(uint8_t byte)
{
	return byte == '\0' || byte == ' ';
}

/* As it stands in almost every message. */
static bool is_padded(const uint8_t *p, enum message_type t)
{
	static const char blanks[TYPE_LEN + 1] = "                                ";
	size_t n = strlen(type_names[t]);

	return memcmp(p, type_names[t], n) == 0 && memcmp(p + n, blanks, TYPE_LEN - n) == 0;
}

static enum message_type type_of(const uint8_t *p)
{
	size_t from = 0, to = TYPE_LEN;

	if (is_padded(p, MESSAGE_OUTPUT))
		return MESSAGE_OUTPUT;
	if (is_padded(p, MESSAGE_ACK))
		return MESSAGE_ACK;

	while (from < to && is_pad(p[from]))
		from++;
	while (to > from && is_pad(p[to - 1]))
		to--;
	for (int t = MESSAGE_INPUT; t < MESSAGE_TYPE_COUNT; t++)
		if (strlen(type_names[t]) == to - from &&
		    memcmp(type_names[t], p + from, to - from) == 0)
			return (enum message_type)t;
	return MESSAGE_UNKNOWN;
}

static bool is_strict(enum message_type t)
{
	return t == MESSAGE_INPUT || t == MESSAGE_OUTPUT || t == MESSAGE_ACK;
}

/* PayloadLength is not asked how long the payload is: AWS's own readers take all that follows it,
 * and the digest is of that. Where it is 0 they do not ask for the digest either. */
static int check(struct message_codec *c, const uint8_t *p, const struct message *m, struct err *e)
{
	uint8_t digest[DIGEST_LEN];

	if (m->created_ms == 0)
		return err_set(e, ERR_PROTO, "message without a date");
	if (m->seq < 0 || m->seq == INT64_MAX) /* none could follow the last */
		return err_set(e, ERR_PROTO, "message with the impossible sequence number %lld",
			       (long long)m->seq);
	if (get(m->payload - 4, 4) == 0)
		return 0;
	if (digest_of(c, m->payload, m->payload_len, digest, e) != 0)
		return -1;
	if (memcmp(digest, p + AT_DIGEST, DIGEST_LEN) != 0)
		return err_set(e, ERR_PROTO, "digest of message %lld does not match its payload",
			       (long long)m->seq);
	return 0;
}

int message_decode(struct message_codec *c, const uint8_t *p, size_t n, struct message *m,
		   struct err *e)
{
	uint64_t header;

	*m = (struct message){ 0 };
	if (n < HEADER_LEN_SHORT + 4)
		return err_set(e, ERR_PROTO, "message of only %zu bytes", n);
	header = get(p, 4);
	if ((header != HEADER_LEN_SHORT && header < HEADER_LEN) || header > HEADER_LEN_MAX ||
	    header + 4 > n)
		return err_set(e, ERR_PROTO, "header length %llu in a message of %zu bytes",
			       (unsigned long long)header, n);
	m->type = type_of(p + AT_TYPE);
	m->schema = (uint32_t)get(p + AT_SCHEMA, 4);
	m->created_ms = get(p + AT_CREATED, 8);
	m->seq = (int64_t)get(p + AT_SEQ, 8);
	m->flags = get(p + AT_FLAGS, 8);
	swap_halves(m->id, p + AT_ID);
	if (header >= HEADER_LEN)
		m->payload_type = (uint32_t)get(p + AT_PAYLOAD_TYPE, 4);
	m->payload = p + header + 4;
	m->payload_len = n - (size_t)header - 4;
	if (m->payload_len > MESSAGE_PAYLOAD_MAX)
		return err_set(e, ERR_LIMIT, "message of %zu bytes", n);
	if (!is_strict(m->type))
		return 0;
	return check(c, p, m, e);
}

/* The four parts of an acknowledgement as both of AWS' ends write it; the id stands behind the
 * second, the number behind the third. */
#define ACK_OF   "{\"AcknowledgedMessageType\":\""
#define ACK_ID   "\",\"AcknowledgedMessageId\":\""
#define ACK_SEQ  "\",\"AcknowledgedMessageSequenceNumber\":"
#define ACK_LAST ",\"IsSequentialMessage\":true}"
enum { ID_TEXT = 36, DIGITS_MAX = 20 };

static char *append(char *to, const char *text, size_t n)
{
	memcpy(to, text, n);
	return to + n;
}

/* v >= 0; by hand, because this is done for every message. */
static char *append_number(char *to, int64_t v)
{
	char digits[DIGITS_MAX];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	return append(to, digits + at, sizeof(digits) - at);
}

size_t message_ack_json(const struct message *of, char out[static MESSAGE_ACK_MAX])
{
	static const char head[] = ACK_OF "output_stream_data" ACK_ID;
	char *to = append(out, head, sizeof(head) - 1);

	message_id_text(of->id, to);
	to = append(to + ID_TEXT, ACK_SEQ, sizeof(ACK_SEQ) - 1);
	to = append_number(to, of->seq < 0 ? 0 : of->seq);
	to = append(to, ACK_LAST, sizeof(ACK_LAST)); /* with the NUL */
	return (size_t)(to - out) - 1;
}

static bool skip(const char **p, const char *end, const char *text, size_t n)
{
	if ((size_t)(end - *p) < n || memcmp(*p, text, n) != 0)
		return false;
	*p += n;
	return true;
}

/* Exactly the usual text; anything else is for the JSON parser. */
static bool usual_ack(const char *p, size_t n, int64_t *seq)
{
	static const char head[] = ACK_OF "input_stream_data" ACK_ID;
	const char *end = p + n;
	const char *number;
	unsigned digits = 0;

	if (!skip(&p, end, head, sizeof(head) - 1) || end - p < ID_TEXT ||
	    memchr(p, '"', ID_TEXT) || memchr(p, '\\', ID_TEXT))
		return false;
	p += ID_TEXT;
	if (!skip(&p, end, ACK_SEQ, sizeof(ACK_SEQ) - 1))
		return false;
	number = p;
	for (*seq = 0; p < end && *p >= '0' && *p <= '9' && digits < 15; p++, digits++)
		*seq = *seq * 10 + (*p - '0');
	if (digits == 0 || (*number == '0' && digits > 1))
		return false;
	return skip(&p, end, ACK_LAST, sizeof(ACK_LAST) - 1) && p == end;
}

int message_ack_parse(const uint8_t *p, size_t n, int64_t *seq, struct err *e)
{
	const cJSON *number;
	double value;
	cJSON *root;

	if (usual_ack((const char *)p, n, seq))
		return 0;
	root = cJSON_ParseWithLength((const char *)p, n);
	number = cJSON_GetObjectItemCaseSensitive(root, "AcknowledgedMessageSequenceNumber");
	value = cJSON_IsNumber(number) ? number->valuedouble : -1;
	cJSON_Delete(root);
	if (!(value >= 0 && value < 9007199254740992.0)) /* 2^53: exact in a double */
		return err_set(e, ERR_PROTO, "acknowledgement without a sequence number");
	*seq = (int64_t)value;
	return 0;
}

int message_closed_parse(const uint8_t *p, size_t n, char *out, size_t size, struct err *e)
{
	cJSON *root = cJSON_ParseWithLength((const char *)p, n);
	const cJSON *output = cJSON_GetObjectItemCaseSensitive(root, "Output");

	out[0] = '\0';
	if (!cJSON_IsObject(root)) {
		cJSON_Delete(root);
		return err_set(e, ERR_PROTO, "channel_closed whose payload is not JSON");
	}
	if (cJSON_IsString(output))
		snprintf(out, size, "%s", output->valuestring);
	cJSON_Delete(root);
	return 0;
}
