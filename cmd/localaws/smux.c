#include "cmd/localaws/smux.h"

enum { UPD_PAYLOAD = 8 };

static uint32_t get_le(const uint8_t *p, size_t n)
{
	uint32_t x = 0;

	while (n--)
		x = x << 8 | p[n];
	return x;
}

enum smux_step smux_decode(const uint8_t *p, size_t n, struct smux_frame *f)
{
	size_t len;

	if (n < SMUX_HEAD)
		return SMUX_MORE;
	if (p[0] != SMUX_VERSION || p[1] > SMUX_UPD)
		return SMUX_BAD;
	len = get_le(p + 2, 2);
	*f = (struct smux_frame){ .cmd = (enum smux_cmd)p[1], .id = get_le(p + 4, 4) };
	if (f->cmd == SMUX_PSH)
		f->len = len;
	else if (f->cmd == SMUX_UPD)
		f->len = UPD_PAYLOAD;
	f->used = SMUX_HEAD + f->len;
	f->payload = p + SMUX_HEAD;
	return n < f->used ? SMUX_MORE : SMUX_DONE;
}

void smux_head(enum smux_cmd cmd, uint32_t id, size_t len, uint8_t out[static SMUX_HEAD])
{
	out[0] = SMUX_VERSION;
	out[1] = (uint8_t)cmd;
	out[2] = (uint8_t)len;
	out[3] = (uint8_t)(len >> 8);
	for (size_t i = 0; i < 4; i++)
		out[4 + i] = (uint8_t)(id >> 8 * i);
}
