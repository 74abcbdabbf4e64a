#include "cmd/localaws/auth.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/world.h"

enum { SKEW_MS = 5 * 60 * 1000, CANONICAL_MAX = 256 * 1024, PAIRS_MAX = 64, SCOPE_TEXT = 256 };

struct claim { /* what the Authorization header says */
	struct http1_text key_id, date, region, service, headers, signature;
	char amz_date[17];
	int64_t wall_ms;
};

/* plus: what a '+' stands for. */
static size_t decode(const char *p, size_t n, char plus, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '%' && i + 2 < n &&
		    str_unhex((char[]){ p[i + 1], p[i + 2], 0 }, out + len, 1)) {
			len++;
			i += 2;
		} else {
			out[len++] = p[i] == '+' ? plus : p[i];
		}
	}
	out[len] = '\0';
	return len;
}

size_t auth_form_decode(const char *p, size_t n, char *out)
{
	return decode(p, n, ' ', out);
}

/* --- canonical query --- */

struct pair {
	char *name, *value; /* encoded */
};

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : strcmp(x->value, y->value);
}

/* n raw bytes, decoded and encoded again. NULL: out of memory. */
static char *recode(const char *p, size_t n, char plus)
{
	char *plain = mem_alloc(n + 1), *out = mem_alloc(3 * n + 1);

	if (plain && out)
		str_uri_encode(plain, decode(p, n, plus, plain), false, out);
	mem_free(plain);
	return out;
}

static size_t split_pairs(const char *p, size_t n, char plus, struct pair *pair)
{
	size_t count = 0;

	while (n && count < PAIRS_MAX) {
		const char *amp = memchr(p, '&', n);
		size_t len = amp ? (size_t)(amp - p) : n;
		const char *eq = memchr(p, '=', len);
		size_t name = eq ? (size_t)(eq - p) : len;

		if (len) {
			pair[count].name = recode(p, name, plus);
			pair[count].value = eq ? recode(eq + 1, len - name - 1, plus)
					       : mem_strdup("");
			count++;
		}
		p += len + (amp ? 1 : 0);
		n -= len + (amp ? 1 : 0);
	}
	return n ? PAIRS_MAX + 1 : count;
}

static int add_query(struct buf *b, const char *p, size_t n, char plus, struct err *e)
{
	struct pair pair[PAIRS_MAX] = { 0 };
	size_t count = split_pairs(p, n, plus, pair);
	int failed = count > PAIRS_MAX ? -1 : 0;

	for (size_t i = 0; i < count && !failed; i++)
		failed = pair[i].name && pair[i].value ? 0 : -1;
	if (!failed)
		qsort(pair, count, sizeof(pair[0]), compare_pairs);
	for (size_t i = 0; i < count && !failed; i++)
		failed = buf_addf(b, e, "%s%s=%s", i ? "&" : "", pair[i].name, pair[i].value);
	for (size_t i = 0; i < PAIRS_MAX; i++) {
		mem_free(pair[i].name);
		mem_free(pair[i].value);
	}
	return failed;
}

bool auth_canonical_query(const char *p, size_t n, char *out, size_t size)
{
	struct buf b;
	bool ok;

	buf_init(&b, size);
	ok = add_query(&b, p, n, ' ', NULL) == 0 && buf_len(&b) < size;
	if (ok) {
		memcpy(out, buf_ptr(&b), buf_len(&b));
		out[buf_len(&b)] = '\0';
	}
	buf_free(&b);
	return ok;
}

/* --- canonical headers --- */

/* Runs of blanks become one (AWS: "sequential spaces"). */
static int add_value(struct buf *b, struct http1_text v, struct err *e)
{
	for (size_t i = 0; i < v.n; i++) {
		bool blank = v.p[i] == ' ' || v.p[i] == '\t';

		if (blank && i + 1 < v.n && (v.p[i + 1] == ' ' || v.p[i + 1] == '\t'))
			continue;
		if (buf_add(b, blank ? " " : &v.p[i], 1, e) != 0)
			return -1;
	}
	return 0;
}

static int add_header(struct buf *b, const struct http1_head *h, const char *name, struct err *e)
{
	bool found = false;

	if (buf_addf(b, e, "%s:", name) != 0)
		return -1;
	for (size_t i = 0; i < h->fields; i++) {
		if (!http1_text_is_nocase(h->field[i].name, name))
			continue;
		if ((found && buf_add(b, ",", 1, e) != 0) ||
		    add_value(b, h->field[i].value, e) != 0)
			return -1;
		found = true;
	}
	if (!found)
		return err_set(e, ERR_PROTO, "signed header %s is not there", name);
	return buf_add(b, "\n", 1, e);
}

static int add_headers(struct buf *b, const struct http1_head *h, struct http1_text names,
		       bool *host, struct err *e)
{
	char name[128];

	while (names.n) {
		const char *semi = memchr(names.p, ';', names.n);
		size_t n = semi ? (size_t)(semi - names.p) : names.n;

		if (n == 0 || n >= sizeof(name))
			return err_set(e, ERR_PROTO, "SignedHeaders is malformed");
		memcpy(name, names.p, n);
		name[n] = '\0';
		*host = *host || strcmp(name, "host") == 0;
		if (add_header(b, h, name, e) != 0)
			return -1;
		names.p += n + (semi ? 1 : 0);
		names.n -= n + (semi ? 1 : 0);
	}
	return 0;
}

/* --- hashes --- */

static void sha256_hex(const void *p, size_t n, char out[static 65])
{
	uint8_t digest[32] = { 0 };
	unsigned len = 32;

	(void)EVP_Digest(p, n, digest, &len, EVP_sha256(), NULL);
	str_hex(digest, 32, out);
}

static void hmac(uint8_t key[static 32], size_t key_len, const void *p, size_t n)
{
	unsigned len = 32;
	uint8_t out[32] = { 0 };

	(void)HMAC(EVP_sha256(), key, (int)key_len, p, n, out, &len);
	memcpy(key, out, 32);
}

static void sign(const struct key *key, const struct claim *c, const char *to_sign,
		 char out[static 65])
{
	uint8_t k[4 + 256];
	size_t n = key->secret.len < 250 ? key->secret.len : 250;

	memcpy(k, "AWS4", 4);
	memcpy(k + 4, key->secret.text, n);
	hmac(k, n + 4, c->date.p, c->date.n);
	hmac(k, 32, c->region.p, c->region.n);
	hmac(k, 32, c->service.p, c->service.n);
	hmac(k, 32, "aws4_request", 12);
	hmac(k, 32, to_sign, strlen(to_sign));
	str_hex(k, 32, out);
	mem_wipe(k, sizeof(k));
}

static int canonical(const struct auth_request *r, const struct claim *c, char plus, struct buf *b,
		     struct err *e)
{
	const struct http1_head *h = r->head;
	char *path = mem_alloc(3 * r->path.n + 1), body[65];
	bool host = false;
	int failed = -1;

	if (!path)
		return err_set(e, ERR_NOMEM, "signature");
	str_uri_encode(r->path.p, r->path.n, true,
		       path); /* encoded once by the sender, once here */
	sha256_hex(r->body, r->body_len, body);
	if (buf_addf(b, e, "%.*s\n%s\n", (int)h->method.n, h->method.p, path) == 0 &&
	    add_query(b, r->query.p, r->query.n, plus, e) == 0 && buf_add(b, "\n", 1, e) == 0 &&
	    add_headers(b, h, c->headers, &host, e) == 0 &&
	    buf_addf(b, e, "\n%.*s\n%s", (int)c->headers.n, c->headers.p, body) == 0)
		failed = host ? 0 : err_set(e, ERR_PROTO, "'Host' must be a 'SignedHeader'");
	mem_free(path);
	return failed;
}

/* --- the claim --- */

/* Finds name=VALUE in the comma-separated rest of the Authorization header. */
static bool part(struct http1_text from, const char *name, struct http1_text *out)
{
	size_t len = strlen(name);

	while (from.n) {
		const char *comma = memchr(from.p, ',', from.n);
		size_t n = comma ? (size_t)(comma - from.p) : from.n;
		const char *p = from.p;
		size_t left = n;

		for (; left && *p == ' '; p++)
			left--;
		if (left > len && memcmp(p, name, len) == 0 && p[len] == '=') {
			*out = (struct http1_text){ p + len + 1, left - len - 1 };
			return true;
		}
		from.p += n + (comma ? 1 : 0);
		from.n -= n + (comma ? 1 : 0);
	}
	return false;
}

/* The text before the last '/', which is cut off into *last. */
static bool cut_last(struct http1_text *t, struct http1_text *last)
{
	for (size_t i = t->n; i--;)
		if (t->p[i] == '/') {
			*last = (struct http1_text){ t->p + i + 1, t->n - i - 1 };
			t->n = i;
			return true;
		}
	return false;
}

static bool parse_date(const struct http1_head *h, struct claim *c)
{
	const struct http1_field *f = http1_find(h, "x-amz-date");
	char iso[32];

	if (!f || f->value.n != 16)
		return false;
	memcpy(c->amz_date, f->value.p, 16);
	c->amz_date[16] = '\0';
	(void)str_fmt(iso, sizeof(iso), "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", c->amz_date,
		      c->amz_date + 4, c->amz_date + 6, c->amz_date + 9, c->amz_date + 11,
		      c->amz_date + 13);
	return clock_parse_iso(iso, &c->wall_ms, NULL) == 0;
}

static enum auth_result parse_claim(const struct http1_head *h, struct claim *c)
{
	static const char scheme[] = "AWS4-HMAC-SHA256 ";
	const struct http1_field *f = http1_find(h, "authorization");
	struct http1_text rest, credential, last;

	if (!f)
		return AUTH_MISSING;
	if (f->value.n < sizeof(scheme) || memcmp(f->value.p, scheme, sizeof(scheme) - 1) != 0)
		return AUTH_INCOMPLETE;
	rest = (struct http1_text){ f->value.p + sizeof(scheme) - 1,
				    f->value.n - sizeof(scheme) + 1 };
	if (!part(rest, "Credential", &credential) || !part(rest, "SignedHeaders", &c->headers) ||
	    !part(rest, "Signature", &c->signature) || !parse_date(h, c))
		return AUTH_INCOMPLETE;
	if (!cut_last(&credential, &last) || !http1_text_is(last, "aws4_request") ||
	    !cut_last(&credential, &c->service) || !cut_last(&credential, &c->region) ||
	    !cut_last(&credential, &c->date))
		return AUTH_INCOMPLETE;
	c->key_id = credential;
	return AUTH_OK;
}

static enum auth_result check_key(struct world *w, const struct auth_request *r,
				  const struct key *key)
{
	const struct http1_field *f = http1_find(r->head, "x-amz-security-token");
	struct http1_text token = f ? f->value : (struct http1_text){ "", 0 };

	if (!key)
		return AUTH_UNKNOWN_KEY;
	if (!secret_equal(token.p, token.n, key->token.text ? key->token.text : "", key->token.len))
		return AUTH_BAD_TOKEN;
	if (key->expires_ms && world_wall_ms_of(w, r->service) >= key->expires_ms)
		return AUTH_EXPIRED;
	return AUTH_OK;
}

static enum auth_result check_scope(struct world *w, const struct auth_request *r,
				    const struct claim *c, char *text, size_t size)
{
	int64_t service_ms = world_wall_ms_of(w, r->service), off = c->wall_ms - service_ms;
	char now[17];

	clock_amz_date(service_ms, now);
	if (off > SKEW_MS || off < -SKEW_MS) {
		(void)str_fmt(
			text, size,
			off < 0 ? "Signature expired: %s is now earlier than %s - 5 min."
				: "Signature not yet current: %s is still later than %s + 5 min.",
			c->amz_date, now);
		return AUTH_SKEWED;
	}
	if (!http1_text_is(c->service, r->service))
		(void)str_fmt(text, size, "Credential should be scoped to correct service: '%s'. ",
			      r->service);
	else if (*w->opts->region && !http1_text_is(c->region, w->opts->region))
		(void)str_fmt(text, size,
			      "Credential should be scoped to a valid region, not '%.*s'. ",
			      (int)c->region.n, c->region.p);
	else if (c->date.n != 8 || memcmp(c->date.p, c->amz_date, 8) != 0)
		(void)str_fmt(text, size,
			      "Date in Credential scope does not match that of "
			      "X-Amz-Date.");
	else
		return AUTH_OK;
	return AUTH_SCOPE;
}

/* plus: how the signer has read a '+' in the query. */
static enum auth_result compare(const struct auth_request *r, const struct claim *c,
				const struct key *key, char plus, struct err *e)
{
	struct buf b;
	char hash[65], want[65], to_sign[SCOPE_TEXT + 128];
	bool same;

	buf_init(&b, CANONICAL_MAX);
	if (canonical(r, c, plus, &b, e) != 0) {
		buf_free(&b);
		return AUTH_MISMATCH;
	}
	sha256_hex(buf_ptr(&b), buf_len(&b), hash);
	buf_free(&b);
	same = str_fmt(to_sign, sizeof(to_sign),
		       "AWS4-HMAC-SHA256\n%s\n%.*s/%.*s/%.*s/aws4_request\n%s", c->amz_date,
		       (int)c->date.n, c->date.p, (int)c->region.n, c->region.p, (int)c->service.n,
		       c->service.p, hash);
	sign(key, c, to_sign, want);
	if (same && secret_equal(want, 64, c->signature.p, c->signature.n))
		return AUTH_OK;
	(void)err_set(e, ERR_CREDS,
		      "The request signature we calculated does not match the signature you "
		      "provided. Check your AWS Secret Access Key and signing method. Consult the "
		      "service documentation for details.");
	return AUTH_MISMATCH;
}

static enum auth_result check_signature(const struct auth_request *r, const struct claim *c,
					const struct key *key, char *text, size_t size)
{
	enum auth_result result;
	struct err e = { 0 };

	result = compare(r, c, key, ' ', &e);
	if (result != AUTH_OK && r->query.n && memchr(r->query.p, '+', r->query.n))
		result = compare(r, c, key, '+', &e);
	if (result != AUTH_OK)
		(void)str_fmt(text, size, "%s", e.msg);
	return result;
}

static enum auth_result verify(struct world *w, const struct auth_request *r,
			       struct auth_caller *caller, char *text, size_t size)
{
	struct claim c = { 0 };
	enum auth_result result = parse_claim(r->head, &c);

	if (result == AUTH_INCOMPLETE)
		(void)str_fmt(text, size,
			      "Authorization header requires 'Credential', "
			      "'SignedHeaders' and 'Signature' parameters, and an "
			      "X-Amz-Date header.");
	if (result == AUTH_MISSING)
		(void)str_fmt(text, size, "Missing Authentication Token");
	if (result != AUTH_OK)
		return result;
	caller->key = keys_find(&w->keys, c.key_id.p, c.key_id.n);
	(void)str_fmt(caller->region, sizeof(caller->region), "%.*s", (int)c.region.n, c.region.p);
	result = check_key(w, r, caller->key);
	if (result == AUTH_EXPIRED && c.wall_ms >= caller->key->expires_ms)
		w->stats.expired_when_signed++;
	if (result != AUTH_OK) {
		(void)str_fmt(text, size, "The security token included in the request is %s",
			      result == AUTH_EXPIRED ? "expired" : "invalid.");
		return result;
	}
	result = check_scope(w, r, &c, text, size);
	return result == AUTH_OK ? check_signature(r, &c, caller->key, text, size) : result;
}

enum auth_result auth_verify(struct world *w, const struct auth_request *r,
			     struct auth_caller *caller, char *text, size_t size)
{
	enum auth_result result;

	*caller = (struct auth_caller){ 0 };
	result = verify(w, r, caller, text, size);
	if (result == AUTH_EXPIRED)
		w->stats.expired_credentials++;
	if (result == AUTH_OK)
		w->stats.signatures_good++;
	else if (result != AUTH_MISSING)
		w->stats.signatures_bad++;
	return result;
}
