/*
 * Clients of a listener that asks for names and passwords: SOCKS5 (RFC 1929)
 * and HTTP Basic (RFC 7617) before anything they ask for is looked at. While a password is
 * checked the client's bytes wait in `in`, the password among them covered.
 *
 * HTTP says it with every request, and every request is judged by what it says.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "proxy/auth.h"
#include "proxy/client.h"
#include "proxy/http_session.h"
#include "proxy/socks.h"

enum { SAY_AGAIN_MS = 60000 };
enum { BASIC_MAX = 4 * ((2 * 255 + 1 + 2) / 3) }; /* base64 of two names of 255 bytes and ':' */

bool client_logs_in(const struct client *c)
{
	return c->ask.job != NULL;
}

/* The name of a user is no secret, and stands in the audit line; anything else may be one. */
static void note_name(struct client *c, const char *name, size_t n)
{
	mem_free(c->user);
	c->user = mem_strndup(name, n);
	if (c->user && !auth_users_has(c->proxy->opts.users, c->user)) {
		mem_free(c->user);
		c->user = NULL;
	}
	audit_text(&c->rec.user, c->user);
}

static void forget_name(struct client *c)
{
	mem_free(c->user);
	c->user = NULL;
	audit_text(&c->rec.user, NULL);
}

/* Of what was read and is not used any more: it stays as long as the buffer. */
static void cover(struct client *c, const void *p, size_t n)
{
	size_t at = (size_t)((const uint8_t *)p - buf_ptr(&c->in));

	memset(c->in.mem + c->in.start + at, '*', n);
}

/* ---- the verdict ---- */

/* The audit log has all of them. */
static void say_guessing(struct client *c, const struct err *why)
{
	struct proxy *p = c->proxy;
	uint64_t now = loop_now_ms(p->opts.loop);

	if (why->code != ERR_LIMIT || why->passes ||
	    (p->guessed_ms && now - p->guessed_ms < SAY_AGAIN_MS))
		return;
	p->guessed_ms = now ? now : 1;
	log_warn("listen", "%s: %s: %s", p->opts.listener, c->peer, why->msg);
}

/* By SOCKS5: RFC 1929, 2: any status but 0 is a refusal. */
static void refuse(struct client *c, const struct err *why)
{
	int status = why->code == ERR_DENIED  ? 407
		     : why->passes            ? 503
		     : why->code == ERR_LIMIT ? 429
					      : 0;

	say_guessing(c, why);
	client_refuse(c, status, why);
}

static void socks_let_in(struct client *c)
{
	static const uint8_t yes[] = { 1, 0 };
	struct err e;

	if (buf_add(&c->out, yes, sizeof(yes), &e)) {
		client_refuse(c, 0, &e);
		return;
	}
	client_go(c, CLIENT_REQUEST);
	(void)client_flush(c); /* the rest follows when writable */
	client_resume(c);
}

static void let_in(struct client *c)
{
	if (c->state == CLIENT_LOGIN) {
		socks_let_in(c);
		return;
	}
	c->admitted = true;
	if (c->state == CLIENT_HTTP)
		http_session_input(c->http);
	else
		client_resume(c);
}

static void checked(void *arg, const struct err *why)
{
	struct client *c = arg;

	if (why)
		refuse(c, why);
	else
		let_in(c);
}

static enum auth_answer check(struct client *c, const char *name, size_t n, const char *password,
			      size_t password_n, struct err *e)
{
	struct auth_question q = { .users = c->proxy->opts.users,
				   .name = name,
				   .name_n = n,
				   .password = password,
				   .password_n = password_n };

	memcpy(q.peer, c->peer_key, sizeof(q.peer));
	note_name(c, name, n);
	return auth_check(c->proxy->opts.auth, &q, &c->ask, checked, c, e);
}

/* ---- SOCKS5 ---- */

void client_login(struct client *c)
{
	struct socks_login l;
	enum auth_answer answer = AUTH_NO;
	size_t used;
	struct err e;
	enum socks_step step = socks5_login(buf_ptr(&c->in), buf_len(&c->in), &used, &l, &e);

	if (step == SOCKS_MORE || client_logs_in(c))
		return;
	if (step == SOCKS_DONE) {
		answer = check(c, l.name, l.name_n, l.password, l.password_n, &e);
		cover(c, buf_ptr(&c->in), used);
		buf_drop(&c->in, used);
	}
	if (answer == AUTH_YES)
		socks_let_in(c);
	else if (answer == AUTH_NO)
		refuse(c, &e);
}

/* ---- HTTP ---- */

/* "Basic dXNlcjpwYXNzd29yZA==" */
static enum auth_answer check_basic(struct client *c, struct http1_text value, struct err *e)
{
	static const char scheme[] = "basic ";
	const size_t skip = sizeof(scheme) - 1;
	char text[BASIC_MAX + 4];
	const char *colon;
	enum auth_answer answer = AUTH_NO;
	long n = -1;

	if (value.n > skip && http1_text_is_nocase((struct http1_text){ value.p, skip }, scheme) &&
	    value.n - skip <= BASIC_MAX)
		n = str_unbase64(value.p + skip, value.n - skip, text);
	colon = n > 0 ? memchr(text, ':', (size_t)n) : NULL;
	if (colon)
		answer = check(c, text, (size_t)(colon - text), colon + 1,
			       (size_t)(text + n - colon - 1), e);
	else
		(void)err_set(e, ERR_DENIED, "Proxy-Authorization is not Basic with NAME:PASSWORD");
	mem_wipe(text, sizeof(text));
	return answer;
}

bool client_admit(struct client *c, const struct http1_head *h)
{
	const struct http1_field *f;
	enum auth_answer answer = AUTH_NO;
	struct err e;

	if (!c->proxy->opts.users)
		return true;
	if (client_logs_in(c))
		return false;
	if (c->admitted) {
		c->admitted = false;
		return true;
	}
	forget_name(c);
	f = http1_find(h, "proxy-authorization");
	if (!f) {
		(void)err_set(&e, ERR_DENIED, "this listener asks for a user name and a password");
	} else {
		answer = check_basic(c, f->value, &e);
		cover(c, f->value.p, f->value.n);
	}
	if (answer == AUTH_NO)
		refuse(c, &e);
	return answer == AUTH_YES;
}
