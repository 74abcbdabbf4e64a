#ifndef LOCALAWS_SMUX_H
#define LOCALAWS_SMUX_H
/*
 * smux v1 frames (ssm-protocol 8): version, command, length and stream id,
 * little-endian, then the payload. Pure; the agent's own reading of the page.
 */
#include <stddef.h>
#include <stdint.h>

enum { SMUX_HEAD = 8, SMUX_VERSION = 1, SMUX_PAYLOAD_MAX = 65535 };
enum smux_cmd { SMUX_SYN = 0, SMUX_FIN = 1, SMUX_PSH = 2, SMUX_NOP = 3, SMUX_UPD = 4 };
enum smux_step { SMUX_BAD = -1, SMUX_MORE = 0, SMUX_DONE = 1 };

struct smux_frame {
	enum smux_cmd cmd;
	uint32_t id;
	const uint8_t *payload;
	size_t len;  /* of the payload; 0 for SYN, FIN, NOP: a length there is not consumed */
	size_t used; /* bytes of the frame that the reader consumes */
};

/* A whole frame, or MORE. BAD: a version or command that ends the mux. */
enum smux_step smux_decode(const uint8_t *p, size_t n, struct smux_frame *);
void smux_head(enum smux_cmd, uint32_t id, size_t len, uint8_t out[static SMUX_HEAD]);
#endif
