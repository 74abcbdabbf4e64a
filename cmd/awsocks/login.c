/*
 * `awsocks login`: signs in to IAM Identity Center with a code that the user
 * confirms in a browser. No browser is opened from here: the proxy often runs
 * where none is.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/own.h"
#include "cmd/awsocks/setup.h"
#include "credentials/device_login.h"
#include "credentials/egress_env.h"
#include "credentials/endpoint.h"
#include "credentials/profile.h"
#include "credentials/sso_config.h"
#include "net/http.h"
#include "net/loop.h"

extern char **environ;

enum { SOURCES_MAX = 16 };

struct login {
	const char *profile; /* --profile */
	bool no_browser;
	const struct options *options;
	struct loop *loop;
	bool again; /* a code was shown before */
	int status;
};

const struct arg_opt login_options[] = {
	{ "profile", 0, "AWS_PROFILE", NULL, NULL,
	  "Profile of ~/.aws to sign in for; otherwise as aws-profile, AWS_PROFILE say." },
	{ "no-browser", 0, NULL, NULL, NULL, "As it is: only print the address. For scripts." },
	{ 0 },
};

static const char *const *environment(void)
{
	return (const char *const *)environ;
}

/* --- what the sign-in says --- */

static void show(void *arg, const struct device_code *code)
{
	struct login *l = arg;

	if (l->again)
		printf("\nThat code has expired. The next one:\n");
	l->again = true;
	printf("Open this address in a browser, on any machine, and confirm the code %s:\n\n"
	       "    %s\n\n"
	       "(or %s, and type the code). It is good for %lld min. Waiting ...\n",
	       code->user_code, code->url_with_code, code->url, (long long)(code->life_s / 60));
	(void)fflush(stdout);
}

static void done(void *arg, int64_t expires_ms, const struct err *why)
{
	struct login *l = arg;
	char until[25];

	loop_stop(l->loop);
	if (why) {
		l->status = command_fail(why);
		return;
	}
	clock_iso(expires_ms, until);
	printf("Signed in until %.19sZ.\n", until);
}

/* --- which sign-in is meant --- */

static bool has_sso(const struct aws_files *files, const char *profile)
{
	return sso_configured(files, profile) || profile_get(files, profile, "sso_session") ||
	       profile_get(files, profile, "sso_start_url");
}

/* The profile itself, or the source behind its role that signs in; SSO first, as in the chain. */
static const char *signing_profile(const struct aws_files *files, const char *profile)
{
	const char *at = profile;

	for (int i = 0; at && i < SOURCES_MAX; i++) {
		if (has_sso(files, at) || profile_get(files, at, "login_session"))
			return at;
		at = profile_get(files, at, "source_profile");
	}
	return profile;
}

static int config_of(const struct aws_files *files, const char *profile, struct sso_config *c,
		     const char **signing, struct err *e)
{
	if (!profile_exists(files, profile))
		return err_set(e, ERR_CONFIG, "the profile '%.60s' could not be found in %s or %s",
			       profile, aws_files_config_path(files),
			       aws_files_credentials_path(files));
	*signing = signing_profile(files, profile);
	if (!has_sso(files, *signing) && profile_get(files, *signing, "login_session"))
		return err_set(e, ERR_CONFIG,
			       "profile '%.60s' signs in by login_session: run aws login "
			       "--profile %.60s",
			       *signing, *signing);
	if (!has_sso(files, *signing))
		return err_set(e, ERR_CONFIG,
			       "profile '%.60s' does not sign in by IAM Identity Center: it has "
			       "neither sso_session nor sso_start_url",
			       profile);
	return sso_config(files, *signing, false, c, e);
}

static const char *wanted(const struct login *l)
{
	return profile_name(l->profile ? l->profile : l->options->aws_profile, environment());
}

/* --- the sign-in --- */

static int sign_in(struct login *l, const struct aws_files *files, const struct sso_config *c,
		   const char *url, const char *profile)
{
	const char *ca = l->options->ca_bundle;
	struct device_login *d = NULL;
	struct egress *egress = NULL;
	struct http *http = NULL;
	struct aws_retry retry;
	struct err e;

	if (aws_retry_read(files, profile, environment(), &retry, &e) != 0 ||
	    loop_new(&l->loop, &e) != 0)
		return command_fail(&e);
	if (egress_from_env(l->loop, environment(), NULL, NULL, &egress, &e) == 0)
		http = http_new(l->loop, &e);
	if (http)
		http_set_egress(http, egress);
	if (http)
		d = device_login_start(
			&(struct device_login_opts){
				.loop = l->loop,
				.http = http,
				.where = c->where,
				.scopes = c->scopes,
				.oidc_url = url,
				.ca_file = ca ? ca : profile_ca_file(files, profile, environment()),
				.retry = retry,
				.environ = environment(),
				.show = show,
				.done = done,
				.arg = l },
			&e);
	if (d)
		loop_run(l->loop);
	else
		l->status = command_fail(&e);
	device_login_free(d);
	http_free(http);
	egress_free(egress);
	if (!loop_free(l->loop))
		command_leave(l->status);
	return l->status;
}

static int with_files(struct login *l, const struct aws_files *files)
{
	struct sso_config c;
	const char *profile = NULL;
	char *url = NULL;
	struct err e;
	int status;

	if (config_of(files, wanted(l), &c, &profile, &e) != 0 ||
	    endpoint_url(&(struct endpoint_opts){ .service = "sso-oidc",
						  .region = c.where.region,
						  .files = files,
						  .profile = profile,
						  .environ = environment() },
			 &url, &e) != 0)
		return command_fail(&e);
	status = sign_in(l, files, &c, url, profile);
	mem_free(url);
	return status;
}

/* A name of config.yaml, otherwise one of ~/.aws. */
static int choose(struct login *l, struct setup *s, struct err *e)
{
	const char *const *names = s->args.positional;
	size_t n = s->args.count;

	if (n > 1)
		return err_set(e, ERR_USAGE, "login: unknown argument '%s'", names[1]);
	if (n == 1 && !config_profile(s->config, names[0])) {
		if (l->profile)
			return err_set(e, ERR_USAGE, "login: '%s' and --profile say two profiles",
				       names[0]);
		l->profile = names[0];
		n = 0;
	}
	if (setup_profiles(s, names, n, e) != 0)
		return -1;
	l->options = &s->profile[0].options;
	return 0;
}

static int run(struct login *l, struct setup *s)
{
	struct aws_files *files = NULL;
	struct err e;
	int status;

	if (choose(l, s, &e) != 0 || aws_files_load(environment(), &files, &e) != 0)
		return command_fail(&e);
	status = with_files(l, files);
	aws_files_free(files);
	return status;
}

int cmd_login(int argc, char **argv)
{
	struct login l = { 0 };
	struct arg_opt own[] = { login_options[0], login_options[1], { 0 } };
	struct setup s;
	struct err e;
	int status;

	own[0].value = &l.profile;
	own[1].flag = &l.no_browser;
	if (setup_load(&s, argc, argv, own, NULL, NULL, &e) != 0)
		return command_fail(&e);
	status = s.args.help ? command_help("login") : run(&l, &s);
	setup_free(&s);
	return status;
}
