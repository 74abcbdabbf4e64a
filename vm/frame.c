/* Heads of frames, and what may stand in them. The payloads: frame_body.c. */
#include "vm/frame.h"

enum whose { OF_LINK = 0, OF_STREAM };

struct kind {
	const char *name; /* NULL: no such type */
	uint32_t least, most;
	enum whose whose;
};

enum {
	HELLO_FIXED = 2 + 2 + 4 + 4 + 4 + FRAME_NONCE,
	ADDRESS_MOST = 1 + 16,
	NETWORK_FIXED = 1 + 1 + 1 + 1 + 1,
	NETWORK_MOST = 3 + (2 + FRAME_DNS_MAX) * ADDRESS_MOST + 255,
	METRICS_SIZE = 4 * 8 + 3 * 4 + 8,
	ADDRESSES_LEAST = 1 + 2 + 1 + 1 + 4,
	ADDRESSES_MOST = 1 + 2 + 1 + FRAME_ADDRESSES_MAX * ADDRESS_MOST
};

static const struct kind kinds[] = {
	[FRAME_HELLO] = { "HELLO", HELLO_FIXED, HELLO_FIXED + 63, OF_LINK },
	[FRAME_WELCOME] = { "WELCOME", 10, 10, OF_LINK },
	[FRAME_NETWORK] = { "NETWORK", NETWORK_FIXED, NETWORK_MOST, OF_LINK },
	[FRAME_PING] = { "PING", 8, 8, OF_LINK },
	[FRAME_PONG] = { "PONG", 8, 8, OF_LINK },
	[FRAME_LOG] = { "LOG", 1, 1 + FRAME_TEXT_MAX, OF_LINK },
	[FRAME_METRICS] = { "METRICS", METRICS_SIZE, METRICS_SIZE, OF_LINK },
	[FRAME_SHUTDOWN] = { "SHUTDOWN", 0, 0, OF_LINK },
	[FRAME_GOODBYE] = { "GOODBYE", 0, FRAME_TEXT_MAX, OF_LINK },
	[FRAME_RESOLVE] = { "RESOLVE", 1, FRAME_NAME_MAX, OF_STREAM },
	[FRAME_ADDRESSES] = { "ADDRESSES", ADDRESSES_LEAST, ADDRESSES_MOST, OF_STREAM },
	[FRAME_OPEN] = { "OPEN", ADDRESSES_LEAST, ADDRESSES_MOST, OF_STREAM },
	[FRAME_OPENED] = { "OPENED", ADDRESSES_LEAST, 1 + 2 + 1 + ADDRESS_MOST, OF_STREAM },
	[FRAME_FAILED] = { "FAILED", 1, 1 + FRAME_TEXT_MAX, OF_STREAM },
	[FRAME_DATA] = { "DATA", 1, FRAME_DATA_MAX, OF_STREAM },
	[FRAME_WINDOW] = { "WINDOW", 4, 4, OF_STREAM },
	[FRAME_EOF] = { "EOF", 0, 0, OF_STREAM },
	[FRAME_RESET] = { "RESET", 0, 0, OF_STREAM },
	[FRAME_STOP] = { "STOP", 0, 0, OF_STREAM },
};

static const struct kind *kind_of(uint8_t type)
{
	static const struct kind none = { 0 };

	return type < sizeof(kinds) / sizeof(kinds[0]) ? &kinds[type] : &none;
}

const char *frame_name(uint8_t type)
{
	const char *name = kind_of(type)->name;

	return name ? name : "unknown";
}

uint32_t frame_u32(const uint8_t p[4])
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t frame_u64(const uint8_t p[8])
{
	return (uint64_t)frame_u32(p) << 32 | frame_u32(p + 4);
}

void frame_put_u32(uint8_t to[4], uint32_t v)
{
	to[0] = (uint8_t)(v >> 24);
	to[1] = (uint8_t)(v >> 16);
	to[2] = (uint8_t)(v >> 8);
	to[3] = (uint8_t)v;
}

void frame_put_u64(uint8_t to[8], uint64_t v)
{
	frame_put_u32(to, (uint32_t)(v >> 32));
	frame_put_u32(to + 4, (uint32_t)v);
}

int frame_head_read(struct frame_head *h, const uint8_t p[FRAME_HEAD], struct err *e)
{
	const struct kind *k = kind_of(p[0]);

	h->type = p[0];
	h->length = frame_u32(p) & 0xffffff;
	h->stream = frame_u32(p + 4);
	if (!k->name)
		return err_set(e, ERR_PROTO, "there is no frame of type 0x%02x", h->type);
	if (h->length < k->least || h->length > k->most)
		return err_set(e, ERR_PROTO, "%s of %u bytes, it has %u to %u", k->name, h->length,
			       k->least, k->most);
	if ((h->stream == 0) != (k->whose == OF_LINK))
		return err_set(e, ERR_PROTO, "%s of stream %u", k->name, h->stream);
	return 0;
}

void frame_head_write(uint8_t to[FRAME_HEAD], enum frame_type type, uint32_t length,
		      uint32_t stream)
{
	frame_put_u32(to, (uint32_t)type << 24 | (length & 0xffffff));
	frame_put_u32(to + 4, stream);
}

/* --- why a question failed --- */

static const enum err_code causes[] = {
	[FRAME_CAUSE_REFUSED] = ERR_REFUSED,
	[FRAME_CAUSE_NETUNREACH] = ERR_NETUNREACH,
	[FRAME_CAUSE_HOSTUNREACH] = ERR_HOSTUNREACH,
	[FRAME_CAUSE_TIMEOUT] = ERR_TIMEOUT,
	[FRAME_CAUSE_NO_NAME] = ERR_RESOLVE,
	[FRAME_CAUSE_RESOLVER] = ERR_RESOLVE,
	[FRAME_CAUSE_FORBIDDEN] = ERR_DENIED,
	[FRAME_CAUSE_LIMIT] = ERR_LIMIT,
	[FRAME_CAUSE_OTHER] = ERR_DIAL,
};
enum { CAUSES = sizeof(causes) / sizeof(causes[0]) };

enum err_code frame_cause_err(uint8_t cause)
{
	return cause > 0 && cause < CAUSES ? causes[cause] : ERR_DIAL;
}

uint8_t frame_cause_of(enum err_code code)
{
	if (code == ERR_NOMEM)
		return FRAME_CAUSE_LIMIT;
	for (size_t i = 1; i < CAUSES; i++)
		if (causes[i] == code)
			return (uint8_t)i;
	return FRAME_CAUSE_OTHER;
}
