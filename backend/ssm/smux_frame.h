#ifndef SSM_SMUX_FRAME_H
#define SSM_SMUX_FRAME_H
/*
 * smux version 1 frames. Pure. Eight bytes of header, little-endian (unlike
 * everything else on the data channel), then the payload: docs/PROTOCOL.ssm, 6.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SMUX_HEADER = 8, SMUX_FRAME_MAX = 65535 };

enum smux_cmd { SMUX_SYN = 0, SMUX_FIN = 1, SMUX_PSH = 2, SMUX_NOP = 3 };

void smux_header(uint8_t out[static SMUX_HEADER], enum smux_cmd, uint16_t len, uint32_t id);

/* Zeroed to begin with. */
struct smux_parser {
	uint8_t head[SMUX_HEADER];
	unsigned have; /* header bytes so far */
	uint32_t left; /* payload bytes of the current PSH still to come */
	uint32_t id;
};

struct smux_frame {
	enum smux_cmd cmd;
	uint32_t id;
	const uint8_t *p; /* PSH: a piece of its payload, n > 0, inside the input */
	size_t n;
};

/* Takes bytes off *p. 1: *f is the next frame, or the next piece of a PSH;
 * 0: all bytes are used up; -1: ERR_PROTO, the byte stream is spoilt for good
 * (wrong version, unknown command, a payload where none may be). */
MUST_CHECK int smux_parse(struct smux_parser *, const uint8_t **p, size_t *n, struct smux_frame *f,
			  struct err *);
#endif
