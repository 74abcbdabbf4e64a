#ifndef CMD_AGENT_WIRE_H
#define CMD_AGENT_WIRE_H
/*
 * The byte pipe to the host, and the link that it carries. A virtio-serial port gives at most a
 * page a read and takes half a block a write, and answers "ended" for a moment after it was opened,
 * until the system has heard that the host's end is open: that counts as an end only when something
 * has come before, or after 10 s.
 */
#include <stdbool.h>

#include "base/err.h"
#include "cmd/bridge/ev.h"

struct link;
struct stream;
struct wire;

MUST_CHECK int wire_new(struct wire **, struct ev *, struct link *, int fd,
			/* once; why NULL: the host has gone. ERR_PROTO: it broke the protocol, and
			 * a GOODBYE waits to be pumped out */
			void (*ended)(void *arg, const struct err *why), void *arg, struct err *);
void wire_free(struct wire *); /* fd too; NULL is allowed */
/* Writes what the link has to say, as far as there is room. */
void wire_pump(struct wire *);
/* Bytes of a stream of this link; the FRAME_HEAD bytes before them are the wire's to write on. They
 * go into the pipe at once when nothing waits to go before them, and as with stream_write()
 * otherwise: it returns how many were taken, fewer than n means: wait for writable(). */
size_t wire_send(struct wire *, struct stream *, uint8_t *p, size_t n);
bool wire_idle(const struct wire *); /* nothing waits to be written */
#endif
