#include "stream/stream.h"

#include "stream/stream_impl.h"

void stream_attach(struct stream *s, const struct stream_handler *h, void *arg)
{
	s->handler = h;
	s->arg = arg;
}

void stream_credit(struct stream *s, size_t n)
{
	if (n)
		s->ops->credit(s, n);
}

size_t stream_write(struct stream *s, const uint8_t *p, size_t n)
{
	return n ? s->ops->write(s, p, n) : 0;
}

void stream_shutdown(struct stream *s)
{
	s->ops->shutdown(s);
}

void stream_close(struct stream *s)
{
	s->ops->close(s);
}

void stream_abort(struct stream *s)
{
	if (s->ops->abort)
		s->ops->abort(s);
	else
		s->ops->close(s);
}

int stream_release_fd(struct stream *s)
{
	return s->ops->release_fd ? s->ops->release_fd(s) : -1;
}
