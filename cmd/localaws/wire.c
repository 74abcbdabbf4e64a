#include "cmd/localaws/wire.h"

#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/evp.h>

#include "base/mem.h"

struct wire_hash {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

struct wire_hash *wire_hash_new(struct err *e)
{
	struct wire_hash *h = mem_alloc(sizeof(*h));

	if (h) {
		h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
		h->ctx = EVP_MD_CTX_new();
	}
	if (h && h->md && h->ctx)
		return h;
	wire_hash_free(h);
	(void)err_set(e, ERR_NOMEM, "no SHA-256");
	return NULL;
}

void wire_hash_free(struct wire_hash *h)
{
	if (!h)
		return;
	EVP_MD_free(h->md);
	EVP_MD_CTX_free(h->ctx);
	mem_free(h);
}

void wire_digest(struct wire_hash *h, const void *p, size_t n, uint8_t out[static 32])
{
	unsigned len = 32;

	if (EVP_DigestInit_ex(h->ctx, h->md, NULL) != 1 || EVP_DigestUpdate(h->ctx, p, n) != 1 ||
	    EVP_DigestFinal_ex(h->ctx, out, &len) != 1)
		memset(out, 0, 32);
}

static uint64_t get_be(const uint8_t *p, size_t n)
{
	uint64_t x = 0;

	while (n--)
		x = x << 8 | *p++;
	return x;
}

static void put_be(uint8_t *p, uint64_t x, size_t n)
{
	for (; n; x >>= 8)
		p[--n] = (uint8_t)x;
}

/* NULs at both ends go first, then blanks: so both paddings are understood. */
static void read_type(const uint8_t *p, char out[static WIRE_TYPE + 1])
{
	size_t from = 0, to = WIRE_TYPE;

	while (from < to && p[from] == 0)
		from++;
	while (to > from && p[to - 1] == 0)
		to--;
	while (from < to && p[from] == ' ')
		from++;
	while (to > from && p[to - 1] == ' ')
		to--;
	memcpy(out, p + from, to - from);
	out[to - from] = '\0';
}

int wire_decode(const uint8_t *p, size_t n, struct wire_msg *m, struct err *e)
{
	uint64_t header;

	*m = (struct wire_msg){ 0 };
	if (n < WIRE_HEADER_CLOSED + 4)
		return err_set(e, ERR_PROTO, "message of %zu bytes is too short", n);
	header = get_be(p, 4);
	if (header < WIRE_HEADER_CLOSED || header > n - 4)
		return err_set(e, ERR_PROTO, "message header of %llu bytes in a message of %zu",
			       (unsigned long long)header, n);
	read_type(p + 4, m->type);
	m->schema = (uint32_t)get_be(p + 36, 4);
	m->created_ms = get_be(p + 40, 8);
	m->seq = (int64_t)get_be(p + 48, 8);
	m->flags = get_be(p + 56, 8);
	memcpy(m->id, p + 72, 8);
	memcpy(m->id + 8, p + 64, 8);
	memcpy(m->digest, p + 80, 32);
	if (header >= WIRE_HEADER)
		m->payload_type = (uint32_t)get_be(p + 112, 4);
	m->payload = p + header + 4;
	m->payload_len = n - (size_t)header - 4;
	return 0;
}

size_t wire_size(enum wire_form form, size_t payload_len)
{
	return (form == WIRE_SHORT_NUL ? WIRE_HEADER_CLOSED + 4u : WIRE_HEADER + 4u) + payload_len;
}

void wire_encode(const struct wire_msg *m, enum wire_form form, struct wire_hash *h, uint8_t *out)
{
	uint32_t header = form == WIRE_SHORT_NUL ? WIRE_HEADER_CLOSED : WIRE_HEADER;

	put_be(out, header, 4);
	memset(out + 4, form == WIRE_SHORT_NUL ? 0 : ' ', WIRE_TYPE);
	memcpy(out + 4, m->type, strlen(m->type));
	put_be(out + 36, m->schema, 4);
	put_be(out + 40, m->created_ms, 8);
	put_be(out + 48, (uint64_t)m->seq, 8);
	put_be(out + 56, m->flags, 8);
	memcpy(out + 64, m->id + 8, 8);
	memcpy(out + 72, m->id, 8);
	wire_digest(h, m->payload, m->payload_len, out + 80);
	if (header == WIRE_HEADER)
		put_be(out + 112, m->payload_type, 4);
	put_be(out + header, m->payload_len, 4);
	if (m->payload_len)
		memcpy(out + header + 4, m->payload, m->payload_len);
}

void wire_uuid_text(const uint8_t id[static 16], char out[static WIRE_UUID_TEXT])
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = digit[id[i] >> 4];
		*out++ = digit[id[i] & 15];
	}
	*out = '\0';
}

size_t wire_ack_text(const struct wire_msg *m, char out[static WIRE_ACK_MAX])
{
	char id[WIRE_UUID_TEXT];
	int n;

	wire_uuid_text(m->id, id);
	n = snprintf(out, WIRE_ACK_MAX,
		     "{\"AcknowledgedMessageType\":\"%s\",\"AcknowledgedMessageId\":\"%s\","
		     "\"AcknowledgedMessageSequenceNumber\":%lld,\"IsSequentialMessage\":true}",
		     m->type, id, (long long)m->seq);
	return n < 0 ? 0 : (size_t)n;
}

int wire_ack_seq(const uint8_t *json, size_t n, int64_t *seq, struct err *e)
{
	cJSON *root = cJSON_ParseWithLength((const char *)json, n);
	const cJSON *number = cJSON_GetObjectItem(root, "AcknowledgedMessageSequenceNumber");
	bool ok = cJSON_IsNumber(number) && number->valuedouble >= 0 &&
		  number->valuedouble < 9007199254740992.0;

	if (ok)
		*seq = (int64_t)number->valuedouble;
	cJSON_Delete(root);
	return ok ? 0 : err_set(e, ERR_PROTO, "acknowledge without a sequence number");
}
