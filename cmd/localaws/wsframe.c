#include "cmd/localaws/wsframe.h"

#include <string.h>

#include <openssl/evp.h>

#include "base/str.h"

static uint64_t get_be(const uint8_t *p, size_t n)
{
	uint64_t x = 0;

	while (n--)
		x = x << 8 | *p++;
	return x;
}

static int check(const struct wsframe *f, uint64_t len, size_t ext, size_t max, struct err *e)
{
	if (f->op >= WSFRAME_CLOSE && (!f->fin || len > WSFRAME_CONTROL_MAX))
		return err_set(e, ERR_PROTO, "control frame in fragments or over 125 bytes");
	if ((ext == 2 && len < 126) || (ext == 8 && len < 65536))
		return err_set(e, ERR_PROTO, "frame length not in its shortest form");
	if (len > max)
		return err_set(e, ERR_LIMIT, "frame of %llu bytes, at most %zu are taken",
			       (unsigned long long)len, max);
	return 0;
}

static bool known_op(unsigned op)
{
	return op <= WSFRAME_BINARY || (op >= WSFRAME_CLOSE && op <= WSFRAME_PONG);
}

enum wsframe_step wsframe_decode(const uint8_t *p, size_t n, size_t max, struct wsframe *f,
				 struct err *e)
{
	size_t ext;
	uint64_t len;

	if (n < 2)
		return WSFRAME_MORE;
	if (p[0] & 0x70 || !known_op(p[0] & 15u)) {
		(void)err_set(e, ERR_PROTO, "websocket frame 0x%02x is not known", p[0]);
		return WSFRAME_BAD;
	}
	if (!(p[1] & 0x80)) {
		(void)err_set(e, ERR_PROTO, "client's frame is not masked");
		return WSFRAME_BAD;
	}
	f->op = (enum wsframe_op)(p[0] & 15);
	f->fin = p[0] & 0x80;
	len = p[1] & 0x7f;
	ext = len == 126 ? 2 : len == 127 ? 8 : 0;
	if (n < 2 + ext)
		return WSFRAME_MORE;
	if (ext)
		len = get_be(p + 2, ext);
	if (check(f, len, ext, max, e) != 0)
		return WSFRAME_BAD;
	if (n < 2 + ext + 4 + len)
		return WSFRAME_MORE;
	memcpy(f->mask, p + 2 + ext, 4);
	f->payload = p + 2 + ext + 4;
	f->len = (size_t)len;
	f->used = 2 + ext + 4 + f->len;
	return WSFRAME_DONE;
}

void wsframe_unmask(const struct wsframe *f, uint8_t *out)
{
	uint64_t mask8, word;
	size_t i = 0;

	memcpy(&mask8, f->mask, 4);
	memcpy((uint8_t *)&mask8 + 4, f->mask, 4);
	for (; i + 8 <= f->len; i += 8) {
		memcpy(&word, f->payload + i, 8);
		word ^= mask8;
		memcpy(out + i, &word, 8);
	}
	for (; i < f->len; i++)
		out[i] = f->payload[i] ^ f->mask[i & 3];
}

size_t wsframe_head(enum wsframe_op op, bool fin, size_t len, uint8_t out[static WSFRAME_HEAD_MAX])
{
	size_t ext = len < 126 ? 0 : len < 65536 ? 2 : 8;
	uint64_t x = len;

	out[0] = (uint8_t)((fin ? 0x80u : 0u) | (unsigned)op);
	out[1] = (uint8_t)(ext == 0 ? len : ext == 2 ? 126 : 127);
	for (size_t i = ext; i; x >>= 8)
		out[1 + i--] = (uint8_t)x;
	return 2 + ext;
}

void wsframe_accept(const char *key, size_t n, char out[static 29])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[64 + sizeof(guid)];
	uint8_t digest[20];
	unsigned len = 20;

	out[0] = '\0';
	if (n > 64)
		return;
	memcpy(text, key, n);
	memcpy(text + n, guid, sizeof(guid) - 1);
	if (EVP_Digest(text, n + sizeof(guid) - 1, digest, &len, EVP_sha1(), NULL) == 1)
		str_base64(digest, 20, out);
}
