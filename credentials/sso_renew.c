/*
 * Renewing the token of a sign-in: see sso.c for where it stands in a fetch. A refresh token counts
 * once, and several profiles have the same one: whoever comes first asks, the others wait, and go
 * on with the same token, or the same cause.
 */
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/file_job.h"
#include "credentials/json.h"
#include "credentials/rest.h"
#include "credentials/sso_impl.h"

enum { PACE_MS = 60 * 1000, REREADS = 3, REREAD_MS = 500 };

struct sso_renewal {
	struct list node;
	char *path;
	uint64_t next_ms; /* no sooner, while the token serves */
	struct sso_call *leader;
	struct list waiting;
};
struct sso_renewals {
	struct list all;
};

/* --- who renews --- */

struct sso_renewals *sso_renewals_new(struct err *e)
{
	struct sso_renewals *all = mem_alloc(sizeof(*all));

	if (all)
		list_init(&all->all);
	else
		(void)err_set(e, ERR_NOMEM, "credentials");
	return all;
}

void sso_renewals_free(struct sso_renewals *all)
{
	struct list *node;

	if (!all)
		return;
	while ((node = list_pop(&all->all))) {
		struct sso_renewal *r = CONTAINER_OF(node, struct sso_renewal, node);

		mem_free(r->path);
		mem_free(r);
	}
	mem_free(all);
}

struct sso_renewal *sso_renewal_of(struct sso_renewals *all, const char *token_path)
{
	struct sso_renewal *r;

	LIST_EACH (node, &all->all) {
		r = CONTAINER_OF(node, struct sso_renewal, node);
		if (strcmp(r->path, token_path) == 0)
			return r;
	}
	r = mem_alloc(sizeof(*r));
	if (!r || !(r->path = mem_strdup(token_path))) {
		mem_free(r);
		return NULL;
	}
	list_init(&r->waiting);
	list_add_tail(&all->all, &r->node);
	return r;
}

bool sso_may_renew(const struct sso *s)
{
	return loop_now_ms(s->loop) >= s->renewal->next_ms;
}

static void take_over(void *arg)
{
	sso_renew(arg);
}

void sso_leave_renewal(struct sso_call *sc)
{
	struct sso_renewal *r = sso_of(sc)->renewal;
	struct list *node;
	struct sso_call *next;

	list_del(&sc->waiting);
	if (!r || r->leader != sc)
		return;
	r->leader = NULL;
	node = list_pop(&r->waiting);
	if (!node)
		return;
	next = CONTAINER_OF(node, struct sso_call, waiting);
	timer_arm(sso_of(next)->loop, &next->pause, 0, take_over, next);
}

static void not_renewed(struct sso_call *);

/* good: they go on with the leader's token; otherwise with its cause. */
static void tell_waiting(struct sso_call *leader, bool good)
{
	struct sso_renewal *r = sso_of(leader)->renewal;
	struct list *node, told;

	if (r->leader != leader)
		return;
	r->leader = NULL;
	list_init(&told); /* who comes to wait from now on is not of them */
	while ((node = list_pop(&r->waiting)))
		list_add_tail(&told, node);
	while ((node = list_pop(&told))) {
		struct sso_call *sc = CONTAINER_OF(node, struct sso_call, waiting);

		sc->why = leader->why;
		if (good && sso_token_copy(&leader->token, &sc->token, &sc->why) == 0)
			sso_ask_role(sc);
		else
			not_renewed(sc);
	}
}

static void go_on(struct sso_call *sc)
{
	tell_waiting(sc, true);
	sso_ask_role(sc);
}

/* --- how --- */

void sso_expired_words(const struct sso_call *sc, char *out, size_t size)
{
	const char *name = strrchr(sso_of(sc)->token_path, '/');
	char until[25];

	sso_date(sc->token.expires_ms, until);
	(void)str_fmt(out, size, "the sign-in in ~/.aws/sso/cache%s expired at %s", name, until);
}

const char *sso_unrenewable(const struct sso_call *sc)
{
	const struct sso_token *t = &sc->token;

	if (!sso_of(sc)->session)
		return "a profile without sso_session cannot renew its sign-in";
	if (!t->refresh || !t->client_id || !t->client_secret)
		return "its token file has no refreshToken or no client";
	if (t->client_expires_ms && t->client_expires_ms <= sso_now_ms(sso_of(sc)))
		return "the registration of the client has expired";
	return NULL;
}

static void not_renewed(struct sso_call *sc)
{
	struct err e = sc->why;
	char words[200];

	tell_waiting(sc, false);
	if (sso_token_good(sc)) {
		log_warn("creds", "%s: the sign-in could not be renewed, it still serves: %s",
			 sso_of(sc)->base.words, sc->why.msg);
		sso_ask_role(sc);
		return;
	}
	sso_expired_words(sc, words, sizeof(words));
	if (e.code == ERR_CREDS)
		(void)err_wrap(&e, "%s: run awsocks login %s", words, sso_of(sc)->profile);
	else /* a new sign-in would not get through either; whoever waits for it tries again */
		(void)err_wrap(&e, "%s, and could not be renewed", words);
	source_fail(&sc->base, &e);
}

static void read_again(void *arg);

/* The file once more, after a refusal: is there another token in it? */
static void on_reread(void *arg, const char *text, size_t n, const struct err *why)
{
	struct sso_call *sc = arg;
	struct sso *s = sso_of(sc);
	struct sso_token fresh;
	struct err e;

	(void)why;
	sc->job = NULL;
	if (text && sso_token_parse(text, n, s->token_path, &fresh, &e) == 0) {
		/* None: out of memory while the answer was taken. */
		bool other = (!sc->token.access || strcmp(fresh.access, sc->token.access) != 0) &&
			     fresh.expires_ms > sso_now_ms(s);

		if (other) {
			sso_token_free(&sc->token);
			sc->token = fresh;
			go_on(sc);
			return;
		}
		sso_token_free(&fresh);
	}
	if (++sc->rereads < REREADS)
		timer_arm(s->loop, &sc->pause, REREAD_MS, read_again, sc);
	else
		not_renewed(sc);
}

static void read_again(void *arg)
{
	struct sso_call *sc = arg;
	struct err e;

	sc->job = file_job_read(sso_of(sc)->loop, sso_of(sc)->token_path, on_reread, sc, &e);
	if (!sc->job)
		not_renewed(sc);
}

static void on_written(void *arg, const char *text, size_t n, const struct err *why)
{
	struct sso_call *sc = arg;

	(void)n;
	sc->job = NULL;
	if (!text)
		log_warn("creds",
			 "%s: the renewed sign-in could not be kept for other programs: %s",
			 sso_of(sc)->base.words, why->msg);
	go_on(sc);
}

static void write_back(struct sso_call *sc)
{
	struct sso *s = sso_of(sc);
	char *text = sso_token_print(&sc->token);
	struct err e;

	if (text)
		sc->job = file_job_write(s->loop, s->token_path, text, on_written, sc, &e);
	json_text_free(text);
	if (!sc->job)
		go_on(sc);
}

/* Another program has used this refresh token, or it is over. */
static bool token_refused(const struct rest_error *error)
{
	return strcmp(error->code, "InvalidGrantException") == 0 ||
	       strcmp(error->kind, "invalid_grant") == 0 ||
	       strcmp(error->code, "ExpiredTokenException") == 0;
}

static void on_renewed(void *arg, const char *body, size_t n, const struct rest_error *error,
		       const struct err *why)
{
	struct sso_call *sc = arg;
	struct sso *s = sso_of(sc);

	sc->rest = NULL;
	if (body && sso_token_renew(&sc->token, body, n, sso_now_ms(s), &sc->why) == 0) {
		log_info("creds", "%s: sign-in renewed", s->base.words);
		write_back(sc);
		return;
	}
	if (body)
		(void)err_wrap(&sc->why, "oidc: CreateToken (request %s)", error->request_id);
	else
		sc->why = *why;
	if (strcmp(error->code, "SlowDownException") == 0)
		sc->why.code = ERR_LIMIT; /* OIDC's throttling comes as HTTP 400 */
	else if (rest_refused(error))
		sc->why.code = ERR_CREDS;
	if (token_refused(error) || body)
		read_again(sc);
	else
		not_renewed(sc);
}

static int token_body(const struct sso_token *t, struct buf *b, struct err *e)
{
	if (buf_addf(b, e, "{\"grantType\":\"refresh_token\",\"clientId\":") != 0 ||
	    json_add_quoted(b, t->client_id, e) != 0 || buf_addf(b, e, ",\"clientSecret\":") != 0 ||
	    json_add_quoted(b, t->client_secret, e) != 0 ||
	    buf_addf(b, e, ",\"refreshToken\":") != 0 || json_add_quoted(b, t->refresh, e) != 0)
		return -1;
	return buf_add(b, "}", 2, e); /* with its NUL */
}

void sso_renew(struct sso_call *sc)
{
	struct sso *s = sso_of(sc);
	char url[512];
	struct buf b;

	if (s->renewal->leader) {
		list_add_tail(&s->renewal->waiting, &sc->waiting);
		return;
	}
	s->renewal->leader = sc;
	s->renewal->next_ms = loop_now_ms(s->loop) + PACE_MS;
	buf_init(&b, 64 * 1024);
	if (!str_fmt(url, sizeof(url), "%s/token", s->oidc_url))
		(void)err_set(&sc->why, ERR_CONFIG, "endpoint too long: %.60s...", s->oidc_url);
	else if (token_body(&sc->token, &b, &sc->why) == 0)
		sc->rest = rest_send(s->loop, s->http,
				     &(struct rest_request){ .op = "oidc: CreateToken",
							     .url = url,
							     .body = (const char *)buf_ptr(&b),
							     .ca_file = s->ca_file,
							     .shared = s->rest },
				     on_renewed, sc, &sc->why);
	buf_free(&b);
	if (!sc->rest)
		not_renewed(sc);
}
