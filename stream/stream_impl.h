#ifndef STREAM_STREAM_IMPL_H
#define STREAM_STREAM_IMPL_H
/* For files that implement streams. Everyone else includes stream.h. */
#include "stream/stream.h"

struct stream_ops {
	void (*credit)(struct stream *, size_t n);
	size_t (*write)(struct stream *, const uint8_t *p, size_t n);
	void (*shutdown)(struct stream *);
	void (*close)(struct stream *);
	void (*abort)(struct stream *);     /* NULL: as close */
	int (*release_fd)(struct stream *); /* NULL: not a socket */
};
struct stream { /* first member of the real one */
	const struct stream_ops *ops;
	const struct stream_handler *handler;
	void *arg;
};
#endif
