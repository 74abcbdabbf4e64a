#include "backend/ssm/smux_frame.h"

#include <string.h>

enum { VERSION = 1 };

void smux_header(uint8_t out[static SMUX_HEADER], enum smux_cmd cmd, uint16_t len, uint32_t id)
{
	out[0] = VERSION;
	out[1] = (uint8_t)cmd;
	out[2] = (uint8_t)len;
	out[3] = (uint8_t)(len >> 8);
	for (unsigned i = 0; i < 4; i++)
		out[4 + i] = (uint8_t)(id >> (8 * i));
}

static uint32_t id_of(const uint8_t *head)
{
	return (uint32_t)head[4] | (uint32_t)head[5] << 8 | (uint32_t)head[6] << 16 |
	       (uint32_t)head[7] << 24;
}

/* The header is complete: 1 a frame without payload, 0 go on, -1 wrong. */
static int begin(struct smux_parser *ps, struct smux_frame *f, struct err *e)
{
	uint32_t len = (uint32_t)ps->head[2] | (uint32_t)ps->head[3] << 8;

	ps->have = 0;
	if (ps->head[0] != VERSION)
		return err_set(e, ERR_PROTO, "smux version %u", ps->head[0]);
	if (ps->head[1] > SMUX_NOP)
		return err_set(e, ERR_PROTO, "smux command %u", ps->head[1]);
	ps->id = id_of(ps->head);
	if (ps->head[1] == SMUX_PSH) {
		ps->left = len;
		return 0;
	}
	if (len)
		return err_set(e, ERR_PROTO, "smux command %u with %u bytes", ps->head[1], len);
	*f = (struct smux_frame){ (enum smux_cmd)ps->head[1], ps->id, NULL, 0 };
	return 1;
}

static void take(const uint8_t **p, size_t *n, size_t used)
{
	*p += used;
	*n -= used;
}

int smux_parse(struct smux_parser *ps, const uint8_t **p, size_t *n, struct smux_frame *f,
	       struct err *e)
{
	while (*n) {
		size_t part;

		if (ps->left) {
			part = *n < ps->left ? *n : ps->left;
			*f = (struct smux_frame){ SMUX_PSH, ps->id, *p, part };
			ps->left -= (uint32_t)part;
			take(p, n, part);
			return 1;
		}
		part = SMUX_HEADER - ps->have;
		if (part > *n)
			part = *n;
		memcpy(ps->head + ps->have, *p, part);
		ps->have += (unsigned)part;
		take(p, n, part);
		if (ps->have == SMUX_HEADER) {
			int r = begin(ps, f, e);

			if (r != 0)
				return r;
		}
	}
	return 0;
}
