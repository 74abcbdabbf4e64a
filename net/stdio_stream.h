#ifndef NET_STDIO_STREAM_H
#define NET_STDIO_STREAM_H
/*
 * Two descriptors of any kind (pipes, a terminal, files, sockets) as one
 * stream: what is read from `in` is its data, what is written goes to `out`.
 * For `awsocks connect` as an ssh ProxyCommand.
 */
#include "base/err.h"

struct loop;
struct stream;

/* The descriptors stay the caller's: they are not closed, nor are their flags
 * changed (other processes may share them), but for stream_shutdown(), which closes
 * `out` so that a pipe's reader sees the end. in != out. NULL: *e tells. */
struct stream *stdio_stream_new(struct loop *, int in, int out, struct err *);
/* From now on stream_shutdown() ends its reading too: eof() follows. For a far end that takes
 * nothing any more once it has ended: whoever holds `in` open may never find out. */
void stdio_stream_end_together(struct stream *);
#endif
