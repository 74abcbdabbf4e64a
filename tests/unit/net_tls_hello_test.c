/* Hellos as clients send them, in any cut and any records, and what is none. */
#include <openssl/ssl.h>
#include <string.h>

#include "net/tls_hello.h"
#include "tests/support/cmocka_all.h"

enum { BYTES_MAX = 32 * 1024 };

struct bytes {
	uint8_t p[BYTES_MAX];
	size_t n;
};

static void add(struct bytes *b, const void *p, size_t n)
{
	assert_true(b->n + n <= sizeof(b->p));
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

/* OpenSSL's own, for this name (NULL: none). */
static struct bytes openssl_hello(const char *name)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	struct bytes b = { .n = 0 };
	int n;

	if (name)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
	SSL_set_bio(ssl, in, out);
	assert_int_equal(SSL_connect(ssl), -1);
	n = BIO_read(out, b.p, sizeof(b.p));
	assert_true(n > 0);
	b.n = (size_t)n;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return b;
}

/* A hello of our own with these extensions, in records of `piece` bytes. */
static struct bytes built(const void *extensions, size_t n, size_t piece)
{
	struct bytes message = { .n = 0 }, out = { .n = 0 };
	uint8_t size[2] = { (uint8_t)(n >> 8), (uint8_t)n };
	size_t length;

	add(&message, "\1\0\0\0\3\3", 6);
	add(&message, "01234567890123456789012345678901", 32);
	add(&message, "\0\0\2\x13\1\1\0", 7);
	add(&message, size, 2);
	add(&message, extensions, n);
	length = message.n - 4;
	message.p[2] = (uint8_t)(length >> 8);
	message.p[3] = (uint8_t)length;
	for (size_t at = 0; at < message.n; at += piece) {
		size_t part = message.n - at < piece ? message.n - at : piece;
		uint8_t head[5] = { 22, 3, 1, (uint8_t)(part >> 8), (uint8_t)part };

		add(&out, head, sizeof(head));
		add(&out, message.p + at, part);
	}
	return out;
}
#define BUILT(text, piece) built(text, sizeof(text) - 1, piece)
#define SNI_A              "\0\0\0\6\0\4\0\0\1a" /* "a" */

/* The outcome, which is the same however it arrives. */
static enum tls_hello_step parse(const struct bytes *b, struct tls_hello *h, struct err *e)
{
	enum tls_hello_step whole = tls_hello_parse(b->p, b->n, h, e), got = TLS_HELLO_MORE;
	struct tls_hello part;
	struct err e2;
	size_t cut;

	for (cut = 0; cut <= b->n && got == TLS_HELLO_MORE; cut++)
		got = tls_hello_parse(b->p, cut, &part, &e2);
	assert_int_equal(got, whole);
	if (whole == TLS_HELLO_DONE) {
		assert_int_equal(cut - 1, h->used);
		assert_string_equal(part.name, h->name);
	}
	return whole;
}

static void of_openssl(void **state)
{
	struct bytes b = openssl_hello("api.example.com"), none = openssl_hello(NULL);
	struct tls_hello h;
	struct err e;

	(void)state;
	assert_int_equal(parse(&b, &h, &e), TLS_HELLO_DONE);
	assert_string_equal(h.name, "api.example.com");
	assert_false(h.ech);
	assert_int_equal(h.used, b.n);
	assert_int_equal(parse(&none, &h, &e), TLS_HELLO_DONE);
	assert_string_equal(h.name, "");
	/* early data and the like behind it is not looked at */
	add(&b, "\x17\3\3\0\1x", 6);
	assert_int_equal(parse(&b, &h, &e), TLS_HELLO_DONE);
	assert_int_equal(h.used, b.n - 6);
}

static void in_pieces(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 70; piece++) {
		struct bytes b = BUILT("\xfe\x0d\0\1x" SNI_A "\0\x10\0\0", piece);
		struct tls_hello h;
		struct err e;

		assert_int_equal(parse(&b, &h, &e), TLS_HELLO_DONE);
		assert_string_equal(h.name, "a");
		assert_true(h.ech);
	}
}

static void bad_hellos(void **state)
{
	static const struct {
		const char *extensions;
		size_t n;
		const char *why;
	} cases[] = {
#define CASE(text, why) { text, sizeof(text) - 1, why }
		CASE(SNI_A SNI_A, "two server names"),
		CASE("\0\0\0\6\0\4\0\0\1\0", "bad byte"),
		CASE("\0\0\0\6\0\4\0\0\1%", "bad byte"),
		CASE("\0\0\0\6\0\4\1\0\1a", "not one name"),          /* of another type */
		CASE("\0\0\0\6\0\5\0\0\1a", "not one name"),          /* a longer list */
		CASE("\0\0\0\6\0\4\0\0\2a", "not one name"),          /* a longer name */
		CASE("\0\0\0\5\0\3\0\0\0", "not one name"),           /* an empty name */
		CASE("\0\0\0\0", "not one name"),                     /* as a server answers */
		CASE("\0\0\0\xa\0\x8\0\0\1a\0\0\1b", "not one name"), /* two names */
		CASE("\0\x10\0\1", "cut"),
		CASE("\0\x10\0", "cut"),
		CASE("\0", "cut"),
	};
	struct tls_hello h;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct bytes b = built(cases[i].extensions, cases[i].n, 1000);

		if (parse(&b, &h, &e) != TLS_HELLO_BAD || !strstr(e.msg, cases[i].why))
			fail_msg("case %zu: %s", i, e.msg);
	}
}

static void what_is_none(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		enum tls_hello_step step;
	} cases[] = {
#define NONE(text, step) { text, sizeof(text) - 1, step }
		NONE("", TLS_HELLO_MORE),
		NONE("\x16", TLS_HELLO_MORE),
		NONE("\x16\3\1\0\5\1\0\0", TLS_HELLO_MORE),
		NONE("S", TLS_HELLO_BAD), /* SSH-2.0- */
		NONE("GET / HTTP/1.1", TLS_HELLO_BAD),
		NONE("\x80\x2e\1\3\1", TLS_HELLO_BAD), /* SSL 2's */
		NONE("\x16\2", TLS_HELLO_BAD),
		NONE("\x17\3\3\0\1", TLS_HELLO_BAD),         /* data before a handshake */
		NONE("\x16\3\1\0\0", TLS_HELLO_BAD),         /* an empty record */
		NONE("\x16\3\1\0\1\2", TLS_HELLO_BAD),       /* a server's hello */
		NONE("\x16\3\1\0\4\1\1\0\0", TLS_HELLO_BAD), /* 64 KiB */
		NONE("\x16\3\1\xff\xff", TLS_HELLO_BAD),
		NONE("\x16\3\1\0\4\1\0\0\0", TLS_HELLO_BAD),  /* nothing in it */
		NONE("\x16\3\1\0\5\1\0\0\0x", TLS_HELLO_BAD), /* more in its record */
	};
	struct tls_hello h;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct bytes b = { .n = 0 };

		add(&b, cases[i].bytes, cases[i].n);
		if (parse(&b, &h, &e) != cases[i].step)
			fail_msg("case %zu", i);
	}
}

static void too_long(void **state)
{
	struct bytes b;
	struct tls_hello h;
	struct err e;
	uint8_t big[16 * 1024] = { 0, 0x10, 0x3f, 0 };

	(void)state;
	b = built(big, 4 + 0x3f00, 8000);
	assert_int_equal(tls_hello_parse(b.p, b.n, &h, &e), TLS_HELLO_DONE);
	big[2] = 0x3f;
	big[3] = 0xf0;
	b = built(big, 4 + 0x3ff0, 8000);
	assert_int_equal(parse(&b, &h, &e), TLS_HELLO_BAD);
	assert_non_null(strstr(e.msg, "too long"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_openssl), cmocka_unit_test(in_pieces),
		cmocka_unit_test(bad_hellos), cmocka_unit_test(what_is_none),
		cmocka_unit_test(too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
