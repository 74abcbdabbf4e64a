/*
 * What a SOCKS5 proxy answers, byte by byte. Laws: what is needed grows by what has come, and never
 * beyond the longest answer; no more than three messages lead to a connection or an error; an error
 * says why. Input: user and password or not, then the proxy's bytes.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "net/http_connect.h"
#include "net/socks_connect.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* How long the next message is; 0: it is not all there. */
static size_t length(enum socks_connect_phase phase, const uint8_t *p, size_t n)
{
	size_t need = 0, more;

	for (size_t have = 0; have <= n; have = more) {
		more = socks_connect_needs(phase, p, have);
		assert(more >= need && more > 0 && more <= SOCKS_CONNECT_ANSWER);
		need = more;
		if (need <= have)
			return need;
	}
	return 0;
}

static void talk(const struct http_connect_proxy *x, const uint8_t *p, size_t n)
{
	enum socks_connect_phase phase = SOCKS_CONNECT_METHOD;
	struct err e = { 0 };
	struct buf out;
	size_t len;
	int r = 0;

	buf_init(&out, 4096);
	assert(socks_connect_greet(x, &out, &e) == 0 && buf_len(&out) >= 3);
	for (int i = 0; r == 0 && (len = length(phase, p, n)) > 0; i++) {
		assert(i < 3);
		r = socks_connect_take(&phase, x, "far.example", 443, p, &out, &e);
		assert(r >= 0 || (e.code != ERR_NONE && *e.msg));
		p += len;
		n -= len;
	}
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct http_connect_proxy x;
	struct err e;

	if (n == 0)
		return 0;
	assert(http_connect_parse(*p & 1 ? "socks5h://user:pass@p:1080" : "socks5://p", "P", &x,
				  &e) == 0);
	talk(&x, p + 1, n - 1);
	http_connect_free(&x);
	return 0;
}
