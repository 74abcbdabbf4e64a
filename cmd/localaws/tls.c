/*
 *   inner --data--> rbio --SSL_read--> handler        (credit)
 *   inner <--write-- out <-- wbio <--SSL_write-- stream_write()
 *
 * OpenSSL works on memory BIOs and never sees the socket. Ciphertext that has
 * come is at most WINDOW bytes, because the inner stream gets more credit only
 * when all of it was used; ciphertext to go is at most OUT_HIGH and a record.
 */
#include "cmd/localaws/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "stream/stream_impl.h"

enum {
	WINDOW = 64 * 1024,
	OUT_HIGH = 128 * 1024,
	OUT_MAX = 1024 * 1024,
	RECORD = 16 * 1024,
	CLOSE_MS = 2000,
};

struct tls {
	struct stream stream;
	struct loop *loop;
	struct stream *inner;
	SSL *ssl;
	BIO *rbio, *wbio; /* owned by ssl */
	struct buf out;
	size_t credit, granted;
	bool open, peer_ended, eof, eof_told, want_write, shut, closing, inner_closing;
	struct err broken; /* code ERR_NONE: whole */
	struct loop_post post;
	struct loop_timer limit;
};

static void step(void *arg);

static struct tls *tls_of(struct stream *s)
{
	return (struct tls *)(void *)s;
}

static void later(struct tls *t)
{
	loop_post(t->loop, &t->post, step, t);
}

static void end_inner(struct tls *t, bool abort)
{
	t->inner_closing = true;
	if (abort)
		stream_abort(t->inner);
	else
		stream_close(t->inner);
}

static void fail(struct tls *t, const char *what)
{
	char text[160];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	if (t->broken.code == ERR_NONE)
		(void)err_set(&t->broken, ERR_TLS, "TLS %s: %s", what, text);
	if (!t->inner_closing)
		end_inner(t, true);
}

/* wbio -> out -> inner. */
static void flush(struct tls *t)
{
	size_t n;

	while ((n = BIO_ctrl_pending(t->wbio)) > 0) {
		uint8_t *to = buf_reserve(&t->out, n, NULL);
		int got = to ? BIO_read(t->wbio, to, (int)n) : -1;

		if (got <= 0) {
			fail(t, "output");
			return;
		}
		buf_commit(&t->out, (size_t)got);
	}
	buf_drop(&t->out, stream_write(t->inner, buf_ptr(&t->out), buf_len(&t->out)));
	if (buf_len(&t->out) || t->inner_closing)
		return;
	if (t->closing)
		end_inner(t, false);
	else if (t->shut)
		stream_shutdown(t->inner);
}

/* What SSL_get_error() says when nothing more can be done now. false: it is over. */
static bool only_waits(struct tls *t, int ret, const char *what)
{
	int why = SSL_get_error(t->ssl, ret);

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return true;
	if (why == SSL_ERROR_ZERO_RETURN)
		t->eof = true;
	else
		fail(t, what);
	return false;
}

static void handshake(struct tls *t)
{
	int ret = SSL_do_handshake(t->ssl);

	if (ret == 1)
		t->open = true;
	else
		(void)only_waits(t, ret, "handshake");
}

static void read_plain(struct tls *t)
{
	uint8_t bytes[RECORD];

	while (t->credit && !t->closing && !t->eof && !t->inner_closing) {
		size_t want = t->credit < sizeof(bytes) ? t->credit : sizeof(bytes);
		int n = SSL_read(t->ssl, bytes, (int)want);

		if (n <= 0) {
			(void)only_waits(t, n, "read");
			break;
		}
		t->credit -= (size_t)n;
		t->stream.handler->data(t->stream.arg, bytes, (size_t)n);
	}
	/* A peer that just closes TCP ends its direction too (SSM's ends do that). */
	if (t->peer_ended && t->credit && BIO_ctrl_pending(t->rbio) == 0)
		t->eof = true;
	if (t->eof && !t->eof_told && !t->closing) {
		t->eof_told = true;
		if (t->stream.handler->eof)
			t->stream.handler->eof(t->stream.arg);
	}
}

static void ask_for_more(struct tls *t)
{
	if (t->inner_closing || t->peer_ended || t->granted > WINDOW / 2 ||
	    BIO_ctrl_pending(t->rbio) || (t->open && !t->credit && !t->closing))
		return;
	stream_credit(t->inner, WINDOW - t->granted);
	t->granted = WINDOW;
}

static void step(void *arg)
{
	struct tls *t = arg;

	ERR_clear_error();
	if (!t->open && !t->inner_closing)
		handshake(t);
	if (t->open)
		read_plain(t);
	if (!t->inner_closing)
		flush(t);
	if (t->want_write && t->open && !t->closing && buf_len(&t->out) < OUT_HIGH / 2) {
		t->want_write = false;
		if (t->stream.handler->writable)
			t->stream.handler->writable(t->stream.arg);
	}
	ask_for_more(t);
}

/* --- the inner stream's handler --- */

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct tls *t = arg;

	t->granted -= n;
	if (BIO_write(t->rbio, p, (int)n) != (int)n)
		fail(t, "input");
	step(t);
}

static void on_eof(void *arg)
{
	struct tls *t = arg;

	t->peer_ended = true;
	if (!t->open)
		fail(t, "peer left during the handshake");
	step(t);
}

static void on_writable(void *arg)
{
	step(arg);
}

static void on_closed(void *arg, const struct err *why)
{
	struct tls *t = arg;

	timer_disarm(t->loop, &t->limit);
	if (t->broken.code != ERR_NONE)
		why = &t->broken;
	if (t->stream.handler && t->stream.handler->closed)
		t->stream.handler->closed(t->stream.arg, t->closing ? NULL : why);
	loop_unpost(&t->post);
	SSL_free(t->ssl);
	buf_free(&t->out);
	mem_free(t);
}

static const struct stream_handler inner_handler = { on_data, on_eof, on_writable, on_closed };

/* --- the stream's operations --- */

static void tls_credit(struct stream *s, size_t n)
{
	struct tls *t = tls_of(s);

	t->credit += n;
	later(t);
}

static size_t tls_write(struct stream *s, const uint8_t *p, size_t n)
{
	struct tls *t = tls_of(s);
	size_t taken = 0;

	if (t->shut || t->closing || t->inner_closing)
		return n; /* dropped: the end is on its way */
	while (t->open && taken < n && buf_len(&t->out) < OUT_HIGH) {
		size_t part = n - taken < RECORD ? n - taken : RECORD;
		int got = SSL_write(t->ssl, p + taken, (int)part);

		if (got <= 0) {
			(void)only_waits(t, got, "write");
			break;
		}
		taken += (size_t)got;
		flush(t);
	}
	if (taken < n) {
		t->want_write = true;
		later(t);
	}
	return t->inner_closing ? n : taken;
}

static void say_goodbye(struct tls *t)
{
	if (t->open && !t->shut)
		(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
}

static void tls_shutdown(struct stream *s)
{
	struct tls *t = tls_of(s);

	if (t->shut || t->closing)
		return;
	say_goodbye(t);
	t->shut = true;
	later(t);
}

static void close_late(void *arg)
{
	struct tls *t = arg;

	end_inner(t, true);
}

static void tls_close(struct stream *s)
{
	struct tls *t = tls_of(s);

	if (t->closing)
		return;
	say_goodbye(t);
	t->closing = true;
	timer_arm(t->loop, &t->limit, CLOSE_MS, close_late, t);
	later(t);
}

static void tls_abort(struct stream *s)
{
	struct tls *t = tls_of(s);

	t->closing = true;
	end_inner(t, true);
}

static const struct stream_ops ops = {
	.credit = tls_credit,
	.write = tls_write,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.abort = tls_abort,
};

struct stream *tls_stream_new(struct loop *loop, SSL_CTX *ctx, struct stream *inner, struct err *e)
{
	struct tls *t = mem_alloc(sizeof(*t));
	SSL *ssl = t ? SSL_new(ctx) : NULL;
	BIO *rbio = BIO_new(BIO_s_mem()), *wbio = BIO_new(BIO_s_mem());

	if (!ssl || !rbio || !wbio) {
		BIO_free(rbio);
		BIO_free(wbio);
		SSL_free(ssl);
		mem_free(t);
		stream_close(inner);
		(void)err_set(e, ERR_NOMEM, "TLS");
		return NULL;
	}
	BIO_set_mem_eof_return(rbio, -1);
	SSL_set_bio(ssl, rbio, wbio);
	SSL_set_accept_state(ssl);
	t->stream.ops = &ops;
	t->loop = loop;
	t->inner = inner;
	t->ssl = ssl;
	t->rbio = rbio;
	t->wbio = wbio;
	buf_init(&t->out, OUT_MAX);
	stream_attach(inner, &inner_handler, t);
	t->granted = WINDOW;
	stream_credit(inner, WINDOW);
	return &t->stream;
}
