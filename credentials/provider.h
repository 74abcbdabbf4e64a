#ifndef CREDENTIALS_PROVIDER_H
#define CREDENTIALS_PROVIDER_H
/*
 * Where credentials come from: one file per source behind this contract, the
 * whole chain and its cache behind it too.
 */
#include <stdbool.h>

#include "credentials/creds.h"

struct provider;
struct provider_call;
struct loop;
struct http;
struct sso_renewals;

/* c: borrowed, creds_ref() it to keep it. NULL: *why tells. Once, from the loop. */
typedef void creds_fn(void *arg, struct creds *c, const struct err *why);

/* NULL: *e tells and the callback never comes. */
struct provider_call *provider_get(struct provider *, creds_fn *, void *arg, struct err *e);
void provider_cancel(struct provider_call *); /* then the callback never comes */
void provider_close(struct provider *);       /* cancels what is under way; NULL allowed */

/* AWS said that `bad`, which came from this provider, is expired or unknown: the next
 * provider_get() asks the source again. */
void provider_expire(struct provider *, const struct creds *bad);
/* Others than before are served from now on (from the loop); told to one watcher. */
typedef void provider_changed_fn(void *arg, struct creds *);
void provider_watch(struct provider *, provider_changed_fn *, void *arg);
/* The files it reads have changed: asked again beside, while the old ones serve. */
void provider_reload(struct provider *);
/* Those that are served now; NULL: none. Borrowed until the next turn. For status. */
const struct creds *provider_kept(const struct provider *);
/* Why the last fetch failed, NULL after a good one or before the first; until the next
 * fetch ends. For status. */
const struct err *provider_error(const struct provider *);

/* A profile's whole chain (environment, assume role, static keys,
 * credential_process, in the order of the AWS CLI v2), with a cache in front:
 * one fetch at a time serves all who wait; credentials in use are fetched again
 * when less than the smaller of 10 min and a fifth of their lifetime is left, and
 * the old ones serve until they really expire if that fails. Who finds none then
 * waits for the next tries, at most 20 s, if the cause may pass. */
/* Asks a person for the one-time code of a device, on a terminal or otherwise. */
struct mfa_ask;
/* code == NULL: *why tells. Once, from the loop. */
typedef void mfa_code_fn(void *arg, const char *code, const struct err *why);
struct mfa_asker {
	struct mfa_ask *(*ask)(void *arg, const char *profile, const char *serial, mfa_code_fn *,
			       void *to, struct err *);
	void (*cancel)(struct mfa_ask *);
	void *arg;
};
enum { MFA_LIMIT_MS = 300000 }; /* a person has so long */
struct chain_opts {
	struct loop *loop;
	struct http *http;
	const char *profile;      /* NULL: AWS_PROFILE, AWS_DEFAULT_PROFILE, "default" */
	bool profile_explicit;    /* named by the user: environment keys do not count */
	const char *region;       /* for STS; NULL: the profile's */
	const char *sts_endpoint; /* NULL: resolved (endpoint.h) */
	const char *ca_file;      /* NULL: AWS_CA_BUNDLE, the profile's ca_bundle, SSL_CERT_FILE */
	/* What the process was given: "NAME=value" ..., NULL at the end. Borrowed until
	 * the loop is freed; also what a credential_process is given. */
	const char *const *environ;
	struct sso_renewals *renewals; /* of all chains of the loop (sso.h); NULL: its own */
	const struct mfa_asker *mfa;   /* NULL: nobody can be asked; lives as long as the chain */
};
/* The files of ~/.aws are read at each fetch, on the thread pool, so that what `aws
 * configure` writes counts without a restart. */
struct provider *chain_new(const struct chain_opts *, struct err *);
/* Which step of the chain answered last, in words; for --explain. */
const char *provider_describe(const struct provider *);
#endif
