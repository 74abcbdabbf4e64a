/*
 * Reads go into the caller's buffer, the loop's shared one; over TLS OpenSSL
 * reads ahead, so that one system call brings several records. Writes are one
 * writev() of many blocks, or one SSL_write() for each, which is one record.
 *
 * The watch is an edge one. A plain read that brought less than asked for has
 * emptied the socket; over TLS only WANT_READ says so.
 */
#include "net/ws_io.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/tls_trust.h"
#include "net/ws_frame.h"

enum {
	PIECES = 16,
	READ_AHEAD = 64 * 1024, /* freed again when it is empty */
};

/* ---- opening ---- */

static int set_host(SSL *ssl, const char *host)
{
	struct addr literal;

	if (addr_from_literal(host, 1, &literal))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, host);
}

static SSL *make_ssl(int fd, struct tls_trust *trust, const char *host)
{
	static const uint8_t alpn[] = "\x08http/1.1";
	SSL *ssl = SSL_new(tls_trust_ctx(trust));

	if (!ssl)
		return NULL;
	SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	SSL_set_read_ahead(ssl, 1);
	SSL_set_default_read_buffer_len(ssl, READ_AHEAD);
	SSL_set_connect_state(ssl);
	if (set_host(ssl, host) == 1 && SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1) == 0 &&
	    SSL_set_fd(ssl, fd) == 1)
		return ssl;
	SSL_free(ssl);
	return NULL;
}

int ws_io_open(struct ws_io *io, struct loop *l, int fd, struct tls_trust *trust, const char *host,
	       watch_fn *fn, void *arg, struct err *e)
{
	*io = (struct ws_io){
		.loop = l, .readable = true, .writable = true, .watch = { .fd = -1 }
	};
	ERR_clear_error();
	if (trust)
		io->ssl = make_ssl(fd, trust, host);
	if (trust && !io->ssl) {
		close(fd);
		return err_set(e, ERR_NOMEM, "TLS");
	}
	if (watch_add(l, &io->watch, fd, WATCH_EDGE, fn, arg, e) == 0)
		return 0;
	SSL_free(io->ssl);
	close(fd);
	*io = (struct ws_io){ 0 };
	return -1;
}

void ws_io_ready(struct ws_io *io, unsigned ready)
{
	if (ready & WATCH_READ)
		io->readable = true;
	if (ready & WATCH_WRITE)
		io->writable = true;
	if (ready & WATCH_HUP)
		io->hup = true;
}

void ws_io_want(struct ws_io *io, bool read, bool write)
{
	watch_set(io->loop, &io->watch, (read ? WATCH_READ : 0u) | (write ? WATCH_WRITE : 0u));
}

/* ---- how it ended ---- */

static int clean_end(struct err *e)
{
	return err_set(e, ERR_CLOSED, "connection closed by the peer");
}

static int sys_end(struct ws_io *io, struct err *e)
{
	int sys = errno;

	io->broken = true;
	return err_sys(e, sys, "connection");
}

static int tls_end(struct ws_io *io, struct err *e)
{
	long verified = SSL_get_verify_result(io->ssl);
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	io->broken = true;
	ERR_clear_error();
	if (verified != X509_V_OK)
		return err_set(e, ERR_TLS, "TLS: certificate not accepted: %s",
			       X509_verify_cert_error_string(verified));
	return err_set(e, ERR_TLS, "TLS: %s", reason ? reason : "OpenSSL failed");
}

/* After an SSL_ call returned n <= 0. 0: it waits, and for what is noted; -1: *e. */
static int tls_waits(struct ws_io *io, int n, struct err *e)
{
	switch (SSL_get_error(io->ssl, n)) {
	case SSL_ERROR_WANT_READ: io->readable = false; return 0;
	case SSL_ERROR_WANT_WRITE: io->writable = false; return 0;
	case SSL_ERROR_ZERO_RETURN: return clean_end(e);
	case SSL_ERROR_SYSCALL:
		if (errno)
			return sys_end(io, e);
		io->broken = true;
		return clean_end(e);
	default:
		/* Many peers just close: a websocket's end is told by its own frames. */
		if (ERR_GET_REASON(ERR_peek_last_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return tls_end(io, e);
		io->broken = true;
		ERR_clear_error();
		return clean_end(e);
	}
}

int ws_io_handshake(struct ws_io *io, struct err *e)
{
	int r;

	if (!io->ssl || io->open)
		return 1;
	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(io->ssl);
	if (r == 1) {
		io->open = true;
		return 1;
	}
	return tls_waits(io, r, e);
}

/* ---- reading and writing ---- */

static long read_plain(struct ws_io *io, uint8_t *to, size_t n, struct err *e)
{
	ssize_t got;

	do
		got = recv(io->watch.fd, to, n, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		if ((size_t)got < n)
			io->readable = io->hup;
		return got;
	}
	if (got == 0)
		return clean_end(e);
	io->readable = false;
	return errno == EAGAIN ? 0 : sys_end(io, e);
}

static long read_tls(struct ws_io *io, uint8_t *to, size_t n, struct err *e)
{
	size_t all = 0, got = 0;
	int r = 1;

	while (r == 1 && all < n && !io->ended) { /* one record at a time */
		ERR_clear_error();
		errno = 0;
		r = SSL_read_ex(io->ssl, to + all, n - all, &got);
		if (r == 1)
			all += got;
		else if (tls_waits(io, r, &io->how) != 0)
			io->ended = true;
	}
	if (all || !io->ended)
		return (long)all;
	*e = io->how;
	return -1;
}

long ws_io_read(struct ws_io *io, uint8_t *to, size_t n, struct err *e)
{
	return io->ssl ? read_tls(io, to, n, e) : read_plain(io, to, n, e);
}

long ws_io_peek(struct ws_io *io, uint8_t *to, size_t n, struct err *e)
{
	size_t got = 0;
	ssize_t plain;
	int r;

	if (io->ssl) {
		ERR_clear_error();
		errno = 0;
		r = SSL_peek_ex(io->ssl, to, n, &got);
		return r == 1 ? (long)got : tls_waits(io, r, e);
	}
	do
		plain = recv(io->watch.fd, to, n, MSG_DONTWAIT | MSG_PEEK);
	while (plain < 0 && errno == EINTR);
	if (plain > 0)
		return plain;
	if (plain == 0)
		return clean_end(e);
	io->readable = false;
	return errno == EAGAIN ? 0 : sys_end(io, e);
}

static int write_plain(struct ws_io *io, struct ws_out *out, struct err *e)
{
	struct iovec v[PIECES];
	size_t count = ws_out_pieces(out, v, PIECES), want = 0;
	ssize_t sent;

	for (size_t i = 0; i < count; i++)
		want += v[i].iov_len;
	do
		sent = writev(io->watch.fd, v, (int)count);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN && errno != ENOBUFS)
		return sys_end(io, e);
	if (sent > 0)
		ws_out_sent(out, (size_t)sent);
	if (sent < (ssize_t)want)
		io->writable = false;
	return 0;
}

static int write_tls(struct ws_io *io, struct ws_out *out, struct err *e)
{
	struct iovec v;
	size_t sent = 0;
	int r;

	(void)ws_out_pieces(out, &v, 1);
	ERR_clear_error();
	errno = 0;
	r = SSL_write_ex(io->ssl, v.iov_base, v.iov_len, &sent);
	if (r != 1)
		return tls_waits(io, r, e);
	ws_out_sent(out, sent);
	return 0;
}

int ws_io_write(struct ws_io *io, struct ws_out *out, struct err *e)
{
	size_t before = 0;

	while (out->len && io->writable && out->len != before) {
		before = out->len; /* TLS may have to read before it can write */
		if ((io->ssl ? write_tls(io, out, e) : write_plain(io, out, e)) != 0)
			return -1;
	}
	return 0;
}

void ws_io_close(struct ws_io *io)
{
	if (!io->loop)
		return;
	if (io->ssl && io->open && !io->broken) {
		ERR_clear_error();
		(void)SSL_shutdown(io->ssl); /* says good-bye, and waits for no answer */
		ERR_clear_error();
	}
	SSL_free(io->ssl);
	watch_close(io->loop, &io->watch);
	*io = (struct ws_io){ 0 };
}

int ws_io_release(struct ws_io *io)
{
	int fd = io->watch.fd;

	watch_del(io->loop, &io->watch);
	*io = (struct ws_io){ 0 };
	return fd;
}

void ws_io_move(struct ws_io *from, struct ws_io *to, watch_fn *fn, void *arg)
{
	*to = *from;
	to->watch = (struct loop_watch){ .fd = -1 };
	watch_move(from->loop, &from->watch, &to->watch, 0, fn, arg);
	*from = (struct ws_io){ 0 };
}
