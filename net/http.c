/*
 * A request lives in a struct http_call:
 *
 *     http_send() -- egress_dial() --> connected fd -- curl --> reply or error
 *
 * curl never resolves nor connects: it is sent to a fixed literal address
 * (CURLOPT_CONNECT_TO), asks for a socket, gets the dialled one and is told
 * that it is connected. Every request has a connection of its own, so that
 * none waits for another and nothing outlives its reply. From the moment curl
 * has taken the descriptor it is curl's to close.
 *
 * The body is bounded by HTTP_REPLY_MAX, the head by HEAD_MAX, the whole by
 * the request's limit. What held the request or the reply is wiped.
 */
#include "net/http.h"

#include <curl/curl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/egress.h"
#include "net/http_multi.h"
#include "net/loop.h"
#include "net/url.h"

enum { HEAD_MAX = 256 * 1024, LIMIT_MS = 30000 };

struct http {
	struct loop *loop;
	struct http_multi multi; /* opened by the first request */
	struct list calls;
	struct egress *egress; /* NULL: straight */
};

struct http_reply_impl {
	struct buf head; /* name NUL value NUL, for each field */
};

struct http_call {
	struct list node;
	struct http *http;
	http_fn *fn;
	void *arg;
	struct url url;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	char *body;
	size_t body_len;
	struct egress_dial *dial;
	int fd; /* dialled and not yet curl's; -1 */
	bool in_multi, failed;
	struct loop_timer limit;
	unsigned limit_ms;
	struct loop_post post;
	struct err err;
	int status;
	struct http_reply_impl impl;
	struct buf reply;
	char curl_says[CURL_ERROR_SIZE];
};

/* ---- the reply ---- */

const char *http_reply_header(const struct http_reply *r, const char *name)
{
	const char *p = (const char *)buf_ptr(&r->impl->head), *end = p + buf_len(&r->impl->head);
	const char *found = NULL, *value;

	while (p < end) {
		value = p + strlen(p) + 1;
		if (str_eq_nocase(p, name))
			found = value;
		p = value + strlen(value) + 1;
	}
	return found;
}

static int keep_field(struct http_call *c, const char *p, size_t n)
{
	const char *colon = memchr(p, ':', n), *end = p + n, *value;
	struct buf *head = &c->impl.head;

	if (!colon || memchr(p, '\0', n))
		return 0;
	value = colon + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value &&
	       (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == '\n'))
		end--;
	if (buf_add(head, p, (size_t)(colon - p), &c->err) != 0 ||
	    buf_add(head, "", 1, &c->err) != 0 ||
	    buf_add(head, value, (size_t)(end - value), &c->err) != 0 ||
	    buf_add(head, "", 1, &c->err) != 0)
		return err_wrap(&c->err, "reply head");
	return 0;
}

/* One line of a head. A status line begins a new head: that of an interim
 * (1xx) reply is forgotten. */
static size_t on_head(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;

	n *= size;
	if (n >= 5 && memcmp(p, "HTTP/", 5) == 0)
		buf_clear(&c->impl.head);
	else if (keep_field(c, p, n) != 0)
		return n + 1; /* curl stops with CURLE_WRITE_ERROR */
	return n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;

	n *= size;
	if (buf_len(&c->reply) + n > HTTP_REPLY_MAX) {
		(void)err_set(&c->err, ERR_LIMIT, "reply longer than %d bytes", HTTP_REPLY_MAX);
		return n + 1;
	}
	return buf_add(&c->reply, p, n, &c->err) == 0 ? n : n + 1;
}

/* ---- its end ---- */

static void headers_free(struct curl_slist *list)
{
	for (struct curl_slist *it = list; it; it = it->next)
		mem_wipe(it->data, strlen(it->data));
	curl_slist_free_all(list);
}

/* Takes it out of everything; it is only memory afterwards. */
static void stop(struct http_call *c)
{
	struct loop *l = c->http->loop;

	list_del(&c->node);
	loop_unpost(&c->post);
	timer_disarm(l, &c->limit);
	egress_cancel(c->dial);
	c->dial = NULL;
	if (c->in_multi)
		curl_multi_remove_handle(c->http->multi.curl, c->easy);
	c->in_multi = false;
	if (c->easy)
		curl_easy_cleanup(c->easy);
	c->easy = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void call_free(struct http_call *c)
{
	headers_free(c->headers);
	curl_slist_free_all(c->connect_to);
	if (c->body)
		mem_wipe(c->body, c->body_len);
	mem_free(c->body);
	buf_free(&c->impl.head);
	buf_free(&c->reply);
	mem_free(c);
}

/* From the loop, outside of any curl call. */
static void deliver(void *arg)
{
	struct http_call *c = arg;
	struct http_reply r = { .status = c->status, .impl = &c->impl };

	stop(c);
	if (!c->failed && buf_add(&c->reply, "", 1, &c->err) != 0)
		c->failed = true;
	if (c->failed) {
		(void)err_wrap(&c->err, "%s", c->url.authority);
		c->fn(c->arg, NULL, &c->err);
	} else {
		r.body = (const char *)buf_ptr(&c->reply);
		r.body_len = buf_len(&c->reply) - 1;
		c->fn(c->arg, &r, NULL);
	}
	call_free(c);
}

static void on_limit(void *arg)
{
	struct http_call *c = arg;

	c->failed = true;
	(void)err_set(&c->err, ERR_TIMEOUT, "no %s within %u ms", c->dial ? "connection" : "answer",
		      c->limit_ms);
	deliver(c);
}

static enum err_code code_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT: return ERR_TIMEOUT;
	case CURLE_OUT_OF_MEMORY: return ERR_NOMEM;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_USE_SSL_FAILED: return ERR_TLS;
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR: return ERR_RESET;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE: return ERR_CLOSED;
	case CURLE_URL_MALFORMAT: return ERR_USAGE;
	default: return ERR_PROTO;
	}
}

/* Tells why, unless one of our own callbacks already has. */
static void fail(struct http_call *c, CURLcode code)
{
	c->failed = true;
	if (c->err.code == ERR_NONE)
		(void)err_set(&c->err, code_of(code), "%s",
			      c->curl_says[0] ? c->curl_says : curl_easy_strerror(code));
}

static struct http_call *call_of(CURL *easy)
{
	char *private = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
	return (struct http_call *)(void *)private;
}

static void on_ended(void *arg, CURL *easy, CURLcode code)
{
	struct http_call *c = call_of(easy);
	long status = 0;

	(void)arg;
	c->in_multi = false;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	c->status = (int)status;
	if (code != CURLE_OK)
		fail(c, code);
	loop_post(c->http->loop, &c->post, deliver, c);
}

static void on_lost(void *arg, CURL *easy, CURLcode code)
{
	struct http_call *c = call_of(easy);

	(void)arg;
	if (!c)
		return; /* curl's own: a connection that is being closed */
	fail(c, code);
	loop_post(c->http->loop, &c->post, deliver, c);
}

/* ---- its way out ---- */

/* curl takes the dialled socket, once. */
static curl_socket_t give_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct http_call *c = arg;
	int fd = c->fd;

	(void)purpose;
	(void)to;
	c->fd = -1;
	return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

static int say_connected(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	(void)arg;
	(void)fd;
	(void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

static void on_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct http_call *c = arg;

	(void)to;
	c->dial = NULL;
	c->fd = fd;
	if (fd < 0) {
		c->failed = true;
		c->err = *why;
		deliver(c);
		return;
	}
	if (curl_multi_add_handle(c->http->multi.curl, c->easy) != CURLM_OK) {
		fail(c, CURLE_OUT_OF_MEMORY);
		deliver(c);
		return;
	}
	c->in_multi = true;
}

static bool add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer)
		*list = longer;
	return longer != NULL;
}

static bool plain_text(const char *s)
{
	return s[strcspn(s, "\r\n")] == '\0';
}

/* curl has its own notation for a field without a value. */
static int add_field(struct http_call *c, const struct http_header *h, struct err *e)
{
	size_t n = strlen(h->name) + strlen(h->value) + 3;
	char *line;
	bool ok;

	if (!h->name[0] || !plain_text(h->name) || !plain_text(h->value) || strchr(h->name, ':'))
		return err_set(e, ERR_USAGE, "header \"%s\" would break the request", h->name);
	line = mem_alloc(n);
	if (!line)
		return err_set(e, ERR_NOMEM, "request head");
	ok = str_fmt(line, n, h->value[0] ? "%s: %s" : "%s;", h->name, h->value) &&
	     add_line(&c->headers, line);
	mem_wipe(line, n);
	mem_free(line);
	return ok ? 0 : err_set(e, ERR_NOMEM, "request head");
}

static bool has_field(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (str_eq_nocase(r->headers[i].name, name))
			return true;
	return false;
}

static int set_headers(struct http_call *c, const struct http_request *r, struct err *e)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (add_field(c, &r->headers[i], e) != 0)
			return -1;
	/* Those that curl would add by itself to a request with a body. */
	if ((!has_field(r, "Content-Type") && !add_line(&c->headers, "Content-Type:")) ||
	    (!has_field(r, "Expect") && !add_line(&c->headers, "Expect:")))
		return err_set(e, ERR_NOMEM, "request head");
	if (curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers) != CURLE_OK)
		return err_set(e, ERR_NOMEM, "request head");
	return 0;
}

static int set_body(struct http_call *c, const struct http_request *r, struct err *e)
{
	bool bare = r->body_len == 0 &&
		    (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0 ||
		     strcmp(r->method, "DELETE") == 0);
	CURLcode code;

	if (bare) {
		code = curl_easy_setopt(c->easy,
					r->method[0] == 'H' ? CURLOPT_NOBODY : CURLOPT_HTTPGET, 1L);
	} else {
		c->body = mem_alloc(r->body_len + 1);
		if (!c->body)
			return err_set(e, ERR_NOMEM, "request body");
		if (r->body_len)
			memcpy(c->body, r->body, r->body_len);
		c->body_len = r->body_len;
		(void)curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				       (curl_off_t)r->body_len);
		code = curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->body);
	}
	if (code == CURLE_OK)
		code = curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, r->method);
	return code == CURLE_OK ? 0 : err_set(e, ERR_NOMEM, "request");
}

static int set_target(struct http_call *c, const struct http_request *r, struct err *e)
{
	char *target = url_target(&c->url);
	bool ok = target != NULL;

	/* Any host and port: to a literal, so that nothing is resolved. */
	ok = ok && add_line(&c->connect_to, "::127.0.0.1:9");
	ok = ok && curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to) == CURLE_OK;
	ok = ok && curl_easy_setopt(c->easy, CURLOPT_URL, r->url) == CURLE_OK;
	ok = ok && curl_easy_setopt(c->easy, CURLOPT_REQUEST_TARGET, target) == CURLE_OK;
	mem_free_str(target);
	return ok ? 0 : err_set(e, ERR_NOMEM, "request");
}

static int set_tls(struct http_call *c, const char *ca_file, struct err *e)
{
	CURLcode code = curl_easy_setopt(c->easy, CURLOPT_SSLVERSION,
					 (long)CURL_SSLVERSION_TLSv1_2);

	if (code == CURLE_OK && ca_file) { /* instead of the system store, both its forms */
		code = curl_easy_setopt(c->easy, CURLOPT_CAINFO, ca_file);
		(void)curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
	}
	return code == CURLE_OK ? 0 : err_set(e, ERR_TLS, "%s", curl_easy_strerror(code));
}

static void set_common(struct http_call *c)
{
	CURL *h = c->easy;

	(void)curl_easy_setopt(h, CURLOPT_PRIVATE, (void *)c);
	(void)curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->curl_says);
	(void)curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
	(void)curl_easy_setopt(h, CURLOPT_FORBID_REUSE, 1L);
	(void)curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, give_socket);
	(void)curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, c);
	(void)curl_easy_setopt(h, CURLOPT_SOCKOPTFUNCTION, say_connected);
	(void)curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_head);
	(void)curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
	(void)curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
}

static int prepare(struct http_call *c, const struct http_request *r, struct err *e)
{
	if (url_parse(r->url, "http", "https", &c->url, e) != 0)
		return -1;
	if (!plain_text(r->method) || strchr(r->method, ' '))
		return err_set(e, ERR_USAGE, "method with a blank");
	c->easy = curl_easy_init();
	if (!c->easy)
		return err_set(e, ERR_NOMEM, "request");
	set_common(c);
	if (set_body(c, r, e) != 0 || set_headers(c, r, e) != 0 || set_target(c, r, e) != 0)
		return -1;
	return c->url.tls ? set_tls(c, r->ca_file, e) : 0;
}

struct http_call *http_send(struct http *h, const struct http_request *r, http_fn *fn, void *arg,
			    struct err *e)
{
	struct http_call *c;
	struct egress_target to = { .ca_file = r->ca_file,
				    .limit_ms = r->limit_ms ? r->limit_ms : LIMIT_MS };

	if (!h->multi.curl && http_multi_open(&h->multi, h->loop, on_ended, on_lost, h, e) != 0)
		return NULL;
	c = mem_alloc(sizeof(*c));
	if (!c) {
		(void)err_set(e, ERR_NOMEM, "request");
		return NULL;
	}
	c->http = h;
	c->fn = fn;
	c->arg = arg;
	c->fd = -1;
	c->limit_ms = to.limit_ms + (r->no_proxy ? 0 : egress_patience_ms(h->egress));
	buf_init(&c->impl.head, HEAD_MAX);
	buf_init(&c->reply, HTTP_REPLY_MAX + 1);
	list_add_tail(&h->calls, &c->node);
	if (prepare(c, r, e) == 0) {
		to.tls = c->url.tls;
		to.host = c->url.host;
		to.port = c->url.port;
		c->dial = egress_dial(h->loop, r->no_proxy ? NULL : h->egress, &to, on_dialed, c,
				      e);
	}
	if (!c->dial) {
		stop(c);
		call_free(c);
		return NULL;
	}
	timer_arm(h->loop, &c->limit, c->limit_ms, on_limit, c);
	return c;
}

void http_cancel(struct http_call *c)
{
	stop(c);
	call_free(c);
}

struct http *http_new(struct loop *l, struct err *e)
{
	struct http *h = mem_alloc(sizeof(*h));

	if (!h) {
		(void)err_set(e, ERR_NOMEM, "HTTP client");
		return NULL;
	}
	h->loop = l;
	list_init(&h->calls);
	return h;
}

void http_set_egress(struct http *h, struct egress *g)
{
	h->egress = g;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	while (!list_empty(&h->calls))
		http_cancel(CONTAINER_OF(h->calls.next, struct http_call, node));
	http_multi_close(&h->multi);
	mem_free(h);
}
