#ifndef CREDENTIALS_SSO_IMPL_H
#define CREDENTIALS_SSO_IMPL_H
/* The inside of sso.h: sso.c walks a fetch through its steps, sso_renew.c renews the token. */
#include "base/clock.h"
#include "credentials/provider_impl.h"
#include "credentials/sso.h"

struct file_job;
struct rest_call;

struct sso {
	struct source base;
	struct loop *loop;
	struct http *http;
	struct sso_where where;
	char *profile, *session, *start_url, *region, *account, *role;
	char *portal_url, *oidc_url, *ca_file, *token_path, *role_path, *refused;
	struct sso_renewal *renewal; /* of the file at token_path */
	struct rest_shared *rest;
};

struct sso_call {
	struct source_call base;
	struct file_job *job;
	struct rest_call *rest;
	struct list waiting; /* for what another one renews */
	struct loop_timer pause;
	struct sso_token token;
	unsigned rereads;
	struct err why; /* of the renewal that failed */
	struct creds *creds;
};

static inline struct sso *sso_of(const struct sso_call *sc)
{
	return (struct sso *)sc->base.base.provider;
}

static inline int64_t sso_now_ms(const struct sso *s)
{
	return clock_wall_ms(loop_clock(s->loop));
}

/* Is the token still one? */
static inline bool sso_token_good(const struct sso_call *sc)
{
	return sc->token.expires_ms > sso_now_ms(sso_of(sc));
}

/* Why the token cannot be renewed; NULL: it can. Static. */
const char *sso_unrenewable(const struct sso_call *);
/* Then goes on with the token, the new one or what is left of the old; or fails. */
void sso_renew(struct sso_call *);
/* The way on: the role's credentials for the call's token. */
void sso_ask_role(struct sso_call *);
/* May a token that still serves be renewed now? Not again so soon. */
bool sso_may_renew(const struct sso *);
/* The one of that file; it lives as long as the renewals. NULL: out of memory. */
struct sso_renewal *sso_renewal_of(struct sso_renewals *, const char *token_path);
/* It ends: out of the renewal; another one that waits takes its place. */
void sso_leave_renewal(struct sso_call *);
/* "the sign-in in FILE expired at TIME" */
void sso_expired_words(const struct sso_call *, char *out, size_t size);
#endif
