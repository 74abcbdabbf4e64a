/*
 * Signature Version 4 in the four steps of the IAM User Guide:
 *
 *   request -> canonical request -> string to sign -> signature -> Authorization
 *
 * Canonical means: path percent-encoded once more (but for S3), query sorted
 * by encoded name, then value; header names lower-cased and sorted, values
 * trimmed with inner runs of blanks made one, repeated fields joined with
 * commas in the order given. Everything is held in buffers with a ceiling;
 * the derived keys live on the stack and are wiped.
 */
#include "credentials/sigv4.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"

enum { DIGEST = 32, TEXT_MAX = 4 * 1024 * 1024, PARTS_MAX = 4096 };

/* A header field or a query parameter on its way into sorted order. */
struct pair {
	char *name, *value;
	size_t order;
};

struct pairs {
	struct pair *at;
	size_t count;
};

static void pairs_free(struct pairs *p)
{
	for (size_t i = 0; i < p->count; i++) {
		mem_free_str(p->at[i].name);
		mem_free_str(p->at[i].value);
	}
	mem_free(p->at);
	*p = (struct pairs){ 0 };
}

static int pairs_init(struct pairs *p, size_t room, struct err *e)
{
	if (room > PARTS_MAX)
		return err_set(e, ERR_LIMIT, "sigv4: more than %d fields", PARTS_MAX);
	p->at = mem_alloc((room ? room : 1) * sizeof(*p->at));
	return p->at ? 0 : err_set(e, ERR_NOMEM, "sigv4");
}

/* Takes both texts, also when it fails (because one of them is NULL). */
static int pairs_add(struct pairs *p, char *name, char *value, struct err *e)
{
	if (!name || !value) {
		mem_free_str(name);
		mem_free_str(value);
		return err_set(e, ERR_NOMEM, "sigv4");
	}
	p->at[p->count] = (struct pair){ name, value, p->count };
	p->count++;
	return 0;
}

/* Header fields: by name; those of one name stay in the order given. */
static int by_name(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int way = strcmp(x->name, y->name);

	return way ? way : (x->order > y->order) - (x->order < y->order);
}

/* Parameters: by encoded name, then by encoded value. */
static int by_name_value(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int way = strcmp(x->name, y->name);

	return way ? way : strcmp(x->value, y->value);
}

/* --- path --- */

/* Empty and "." segments go, ".." takes its parent away; a slash at the end
 * stays. As AWS's SDKs do it, which is RFC 3986, 5.2.4, but for the slash
 * after a final "." or "..". `out` has room for strlen(path) + 2. */
static void normalize(const char *path, char *out)
{
	size_t n = strlen(path), o = 0;

	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");

		if (len == 2 && memcmp(at, "..", 2) == 0) {
			while (o && out[o - 1] != '/')
				o--;
			o -= o > 0;
		} else if (len && !(len == 1 && *at == '.')) {
			out[o++] = '/';
			memcpy(out + o, at, len);
			o += len;
		}
		at += len + (at[len] == '/');
	}
	if (o == 0 || (n && path[n - 1] == '/'))
		out[o++] = '/';
	out[o] = '\0';
}

/* What is not allowed in a URL at all is encoded; what is encoded stays so. */
static size_t encode_raw(const char *s, char *out)
{
	size_t o = 0;

	for (; *s; s++) {
		if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
			o += str_uri_encode(s, 1, true, out + o);
		else
			out[o++] = *s;
	}
	out[o] = '\0';
	return o;
}

static int add_path(struct buf *b, const struct sigv4_request *r, struct err *e)
{
	const char *path = r->path && *r->path ? r->path : "/";
	size_t n = strlen(path);
	char *clean = mem_alloc(n + 2), *encoded = mem_alloc(3 * (n + 2) + 1);
	int result = -1;

	if (!clean || !encoded) {
		(void)err_set(e, ERR_NOMEM, "sigv4");
		goto out;
	}
	if (r->normalize_path)
		normalize(path, clean);
	else
		memcpy(clean, path, n + 1);
	n = r->double_encode_path ? str_uri_encode(clean, strlen(clean), true, encoded)
				  : encode_raw(clean, encoded);
	result = buf_add(b, encoded, n, e);
out:
	mem_free(clean);
	mem_free(encoded);
	return result;
}

/* --- query --- */

/* s[0..n) decoded and encoded again, so that every spelling of a parameter has
 * one form. The caller's; NULL: out of memory. */
static char *canonical_part(const char *s, size_t n, bool form)
{
	char *raw = mem_alloc(n + 1), *out = mem_alloc(3 * n + 1), hex[3] = "";
	size_t o = 0;

	if (!raw || !out) {
		mem_free(raw);
		mem_free(out);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '%' && i + 2 < n && isxdigit((unsigned char)s[i + 1]) &&
		    isxdigit((unsigned char)s[i + 2])) {
			memcpy(hex, s + i + 1, 2);
			if (str_unhex(hex, raw + o, 1))
				o++;
			i += 2;
		} else {
			raw[o++] = form && s[i] == '+' ? ' ' : s[i];
		}
	}
	str_uri_encode(raw, o, false, out);
	mem_wipe(raw, n);
	mem_free(raw);
	return out;
}

static int split_query(const char *query, bool form, struct pairs *p, struct err *e)
{
	size_t room = 1;

	for (const char *at = query; *at; at++)
		room += *at == '&';
	if (pairs_init(p, room, e) != 0)
		return -1;
	for (const char *at = query; *at;) {
		size_t len = strcspn(at, "&");
		const char *eq = memchr(at, '=', len);
		size_t name = eq ? (size_t)(eq - at) : len;
		const char *value = eq ? eq + 1 : at + len;

		if (len &&
		    pairs_add(p, canonical_part(at, name, form),
			      canonical_part(value, (size_t)(at + len - value), form), e) != 0)
			return -1;
		at += len + (at[len] == '&');
	}
	qsort(p->at, p->count, sizeof(*p->at), by_name_value);
	return 0;
}

static int add_query(struct buf *b, const struct sigv4_request *r, struct err *e)
{
	struct pairs p = { 0 };
	int result = split_query(r->query ? r->query : "", r->query_as_form, &p, e);

	for (size_t i = 0; result == 0 && i < p.count; i++)
		result = buf_addf(b, e, "%s%s=%s", i ? "&" : "", p.at[i].name, p.at[i].value);
	pairs_free(&p);
	return result;
}

/* --- header fields --- */

/* Lower-cased copy. */
static char *lowered(const char *s)
{
	char *out = mem_strdup(s);

	if (out)
		str_lower(out);
	return out;
}

/* Copy without blanks at the ends, inner runs of blanks made one. */
static char *trimmed(const char *s)
{
	char *out = mem_alloc(strlen(s) + 1);
	size_t o = 0;

	for (; out && *s; s++) {
		if (!isspace((unsigned char)*s))
			out[o++] = *s;
		else if (o && out[o - 1] != ' ')
			out[o++] = ' ';
	}
	if (o && out[o - 1] == ' ')
		out[o - 1] = '\0';
	return out;
}

static bool has(const struct sigv4_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (str_eq_nocase(r->headers[i].name, name))
			return true;
	return false;
}

static int collect_headers(const struct sigv4_request *r, const struct creds *c,
			   const char *amz_date, struct pairs *p, struct err *e)
{
	if (!has(r, "host"))
		return err_set(e, ERR_INTERNAL, "sigv4: no host among the header fields");
	if (pairs_init(p, r->header_count + 2, e) != 0)
		return -1;
	for (size_t i = 0; i < r->header_count; i++)
		if (pairs_add(p, lowered(r->headers[i].name), trimmed(r->headers[i].value), e) != 0)
			return -1;
	if (!has(r, "x-amz-date") &&
	    pairs_add(p, mem_strdup("x-amz-date"), mem_strdup(amz_date), e) != 0)
		return -1;
	if (c->session_token.text && !has(r, "x-amz-security-token") &&
	    pairs_add(p, mem_strdup("x-amz-security-token"), mem_strdup(c->session_token.text),
		      e) != 0)
		return -1;
	qsort(p->at, p->count, sizeof(*p->at), by_name);
	return 0;
}

static bool same_name(const struct pairs *p, size_t i)
{
	return i > 0 && i < p->count && strcmp(p->at[i].name, p->at[i - 1].name) == 0;
}

static int add_headers(struct buf *b, const struct pairs *p, struct err *e)
{
	for (size_t i = 0; i < p->count; i++)
		if (buf_addf(b, e, "%s%s%s%s", same_name(p, i) ? "" : p->at[i].name,
			     same_name(p, i) ? "," : ":", p->at[i].value,
			     same_name(p, i + 1) ? "" : "\n") != 0)
			return -1;
	return 0;
}

static int add_names(struct buf *b, const struct pairs *p, struct err *e)
{
	for (size_t i = 0; i < p->count; i++)
		if (!same_name(p, i) && buf_addf(b, e, "%s%s", i ? ";" : "", p->at[i].name) != 0)
			return -1;
	return 0;
}

/* --- digests --- */

static int sha256_hex(const void *p, size_t n, char out[2 * DIGEST + 1], struct err *e)
{
	uint8_t digest[DIGEST];

	if (EVP_Digest(n ? p : "", n, digest, NULL, EVP_sha256(), NULL) != 1)
		return err_set(e, ERR_INTERNAL, "sigv4: SHA-256 is not available");
	str_hex(digest, DIGEST, out);
	return 0;
}

static int hmac(const void *key, size_t key_len, const char *text, uint8_t out[DIGEST],
		struct err *e)
{
	unsigned n = DIGEST;

	if (!HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), out, &n))
		return err_set(e, ERR_INTERNAL, "sigv4: HMAC-SHA-256 is not available");
	return 0;
}

/* HMAC chain over date, region, service, "aws4_request", and last the text. */
static int signature(const struct sigv4_request *r, const struct creds *c,
		     const struct sigv4_result *res, char out[2 * DIGEST + 1], struct err *e)
{
	struct buf first;
	char date[9];
	uint8_t a[DIGEST], b[DIGEST];
	int result = -1;

	memcpy(date, res->amz_date, 8);
	date[8] = '\0';
	buf_init(&first, 8192);
	if (buf_addf(&first, e, "AWS4%s", c->secret_access_key.text) == 0 &&
	    hmac(buf_ptr(&first), buf_len(&first), date, a, e) == 0 &&
	    hmac(a, DIGEST, r->region, b, e) == 0 && hmac(b, DIGEST, r->service, a, e) == 0 &&
	    hmac(a, DIGEST, "aws4_request", b, e) == 0 &&
	    hmac(b, DIGEST, res->string_to_sign, a, e) == 0) {
		str_hex(a, DIGEST, out);
		result = 0;
	}
	mem_wipe(a, sizeof(a));
	mem_wipe(b, sizeof(b));
	buf_free(&first);
	return result;
}

/* --- the steps --- */

static int take_text(struct buf *b, char **out, struct err *e)
{
	*out = mem_strndup((const char *)buf_ptr(b), buf_len(b));
	return *out ? 0 : err_set(e, ERR_NOMEM, "sigv4");
}

static int canonical(const struct sigv4_request *r, const struct pairs *headers, char **out,
		     struct err *e)
{
	struct buf b;
	char digest[2 * DIGEST + 1];
	int result = -1;

	buf_init(&b, TEXT_MAX);
	if (buf_addf(&b, e, "%s\n", r->method) == 0 && add_path(&b, r, e) == 0 &&
	    buf_add(&b, "\n", 1, e) == 0 && add_query(&b, r, e) == 0 &&
	    buf_add(&b, "\n", 1, e) == 0 && add_headers(&b, headers, e) == 0 &&
	    buf_add(&b, "\n", 1, e) == 0 && add_names(&b, headers, e) == 0 &&
	    sha256_hex(r->body, r->body_len, digest, e) == 0 &&
	    buf_addf(&b, e, "\n%s", digest) == 0)
		result = take_text(&b, out, e);
	buf_free(&b);
	return result;
}

static int string_to_sign(const struct sigv4_request *r, struct sigv4_result *res, struct err *e)
{
	struct buf b;
	char digest[2 * DIGEST + 1];
	int result = -1;

	buf_init(&b, 4096);
	if (sha256_hex(res->canonical, strlen(res->canonical), digest, e) == 0 &&
	    buf_addf(&b, e, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", res->amz_date,
		     res->amz_date, r->region, r->service, digest) == 0)
		result = take_text(&b, &res->string_to_sign, e);
	buf_free(&b);
	return result;
}

static int authorization(const struct sigv4_request *r, const struct creds *c,
			 const struct pairs *headers, struct sigv4_result *res, struct err *e)
{
	struct buf b;
	int result = -1;

	buf_init(&b, TEXT_MAX);
	if (buf_addf(&b, e,
		     "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=",
		     c->access_key_id, res->amz_date, r->region, r->service) == 0 &&
	    add_names(&b, headers, e) == 0 &&
	    buf_addf(&b, e, ", Signature=%s", res->signature) == 0)
		result = take_text(&b, &res->authorization, e);
	buf_free(&b);
	return result;
}

int sigv4_sign(const struct sigv4_request *r, const struct creds *c, struct sigv4_result *out,
	       struct err *e)
{
	struct pairs headers = { 0 };
	int result = -1;

	*out = (struct sigv4_result){ 0 };
	clock_amz_date(r->wall_ms, out->amz_date);
	if (collect_headers(r, c, out->amz_date, &headers, e) == 0 &&
	    canonical(r, &headers, &out->canonical, e) == 0 && string_to_sign(r, out, e) == 0 &&
	    signature(r, c, out, out->signature, e) == 0)
		result = authorization(r, c, &headers, out, e);
	pairs_free(&headers);
	if (result != 0)
		sigv4_result_free(out);
	return result;
}

void sigv4_result_free(struct sigv4_result *r)
{
	mem_free_str(r->canonical); /* it may hold a session token */
	mem_free(r->string_to_sign);
	mem_free(r->authorization);
	*r = (struct sigv4_result){ 0 };
}
