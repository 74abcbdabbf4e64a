/*
 * Credentials while the program runs: the files they come from are watched, so
 * that what `aws configure` or `aws sso login` writes counts at once, and the
 * backend is told when others are served (it makes new sessions with them, and
 * lets old ones drain).
 */
#include <cjson/cJSON.h>
#include <string.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/awsocks/app_impl.h"
#include "config/options.h"
#include "credentials/creds.h"
#include "credentials/login_file.h"
#include "credentials/profile.h"
#include "credentials/provider.h"
#include "credentials/sso_config.h"
#include "net/file_watch.h"

/* One `aws configure` writes both files, and each some times. */
enum { SETTLE_MS = 200 };

static void reload(void *arg)
{
	struct app_profile *p = arg;

	log_info("creds", "the files of ~/.aws have changed");
	provider_reload(p->provider);
}

static void on_file(void *arg)
{
	struct app_profile *p = arg;

	timer_arm(p->loop, &p->settle, SETTLE_MS, reload, p);
}

static void on_changed(void *arg, struct creds *c)
{
	struct app_profile *p = arg;

	log_info("creds", "new credentials of %s", c->source);
	if (p->backend)
		backend_set_creds(p->backend, c);
}

/* A convenience: without it they count at the next refresh. */
static void watch(struct app_profile *p, const char *path)
{
	struct err e;

	if (p->watches == APP_WATCHES)
		return;
	p->watch[p->watches] = file_watch_open(p->loop, path, on_file, p, &e);
	if (p->watch[p->watches])
		p->watches++;
	else
		log_debug("creds", "not watched: %s", e.msg);
}

static void watch_sso(struct app_profile *p, const struct aws_files *files, const char *profile,
		      const char *const *env)
{
	struct sso_config c;
	char name[SSO_NAME], *path;

	if (!sso_configured(files, profile) || sso_config(files, profile, false, &c, NULL) != 0 ||
	    sso_token_name(&c.where, name, NULL) != 0)
		return;
	path = sso_file_path(env, SSO_TOKENS, name, NULL);
	if (path)
		watch(p, path);
	mem_free(path);
}

/* What `aws login` wrote. */
static void watch_login(struct app_profile *p, const struct aws_files *files, const char *profile,
			const char *const *env)
{
	const char *session = profile_get(files, profile, "login_session");
	char *path = session ? login_file_path(env, session, NULL) : NULL;

	if (path)
		watch(p, path);
	mem_free(path);
}

void app_creds_watch(struct app *a, struct app_profile *p, const struct aws_files *files,
		     const char *const *env)
{
	const char *profile = profile_name(p->options->aws_profile, env);

	p->loop = a->loop;
	watch(p, aws_files_config_path(files));
	watch(p, aws_files_credentials_path(files));
	/* The sign-in of a role is that of its source. */
	for (int depth = 0; profile && depth < 8; depth++) {
		watch_sso(p, files, profile, env);
		watch_login(p, files, profile, env);
		profile = profile_get(files, profile, "source_profile");
	}
	provider_watch(p->provider, on_changed, p);
}

void app_creds_unwatch(struct app_profile *p)
{
	if (p->loop)
		timer_disarm(p->loop, &p->settle);
	while (p->watches)
		file_watch_close(p->watch[--p->watches]);
}

void app_creds_describe(const struct app_profile *p, struct cJSON *into)
{
	const struct creds *c = p->provider ? provider_kept(p->provider) : NULL;
	const struct err *why = p->provider ? provider_error(p->provider) : NULL;
	struct cJSON *o;
	char until[25];

	if (!c && !why)
		return;
	o = cJSON_AddObjectToObject(into, "credentials");
	if (c) {
		cJSON_AddStringToObject(o, "source", c->source);
		clock_iso(c->expires_ms, until);
		if (c->expires_ms)
			cJSON_AddStringToObject(o, "expires", until);
	}
	if (why)
		cJSON_AddStringToObject(o, "error", why->msg);
}
