/*
 * `awsocks credentials`: what the chain resolves to, as credential_process
 * JSON for other programs; with --explain, which step answered and for how
 * long, nothing secret in it. Asks only the source that the configuration
 * means. The status tells the cause when there are none to be had: 77, say, when they are missing,
 * expired or refused.
 */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/mfa.h"
#include "cmd/awsocks/own.h"
#include "cmd/awsocks/setup.h"
#include "credentials/egress_env.h"
#include "credentials/creds.h"
#include "credentials/env.h"
#include "credentials/json_secret.h"
#include "credentials/profile.h"
#include "credentials/provider.h"
#include "credentials/region.h"
#include "net/http.h"
#include "net/loop.h"

extern char **environ;

struct ask {
	const char *profile; /* --profile; NULL: not given */
	bool explain;
	const struct options *options;
	struct loop *loop;
	struct http *http;
	struct egress *egress;
	struct provider *provider;
	struct mfa *mfa;
	struct creds *creds; /* the answer */
	char region[64];     /* "": none */
	const char *region_from;
	int status;
};

static const char *const *environment(void)
{
	return (const char *const *)environ;
}

static const char *wanted_profile(const struct ask *a)
{
	return a->profile ? a->profile : a->options->aws_profile;
}

/* --- printing --- */

static bool add_text(cJSON *to, const char *name, const char *text)
{
	return !text || cJSON_AddStringToObject(to, name, text);
}

static int print_json(const struct creds *c)
{
	cJSON *o = cJSON_CreateObject();
	char until[25], *text = NULL;

	clock_iso(c->expires_ms, until);
	(void)str_fmt(until + 19, 2, "Z"); /* whole seconds: not every reader takes fractions */
	if (o && cJSON_AddNumberToObject(o, "Version", 1) &&
	    add_text(o, "AccessKeyId", c->access_key_id) &&
	    add_text(o, "SecretAccessKey", c->secret_access_key.text) &&
	    add_text(o, "SessionToken", c->session_token.text) &&
	    add_text(o, "Expiration", c->expires_ms ? until : NULL) &&
	    add_text(o, "AccountId", c->account_id))
		text = cJSON_PrintUnformatted(o);
	if (text)
		puts(text);
	if (text)
		mem_wipe(text, strlen(text));
	cJSON_free(text);
	json_secret_free(o);
	return text ? 0 : err_exit_status(ERR_NOMEM);
}

/* An access key id is no secret, but enough of it to be recognised will do. */
static void print_masked(const char *id)
{
	size_t n = strlen(id);

	printf("access key  %.4s", id);
	for (size_t i = 4; i + 4 < n; i++)
		putchar('*');
	printf("%s\n", n > 8 ? id + n - 4 : "");
}

static void print_expiry(const struct ask *a, const struct creds *c)
{
	int64_t left = (c->expires_ms - clock_wall_ms(loop_clock(a->loop))) / 1000;
	char until[25];

	if (!c->expires_ms) {
		printf("expires     never\n");
		return;
	}
	clock_iso(c->expires_ms, until);
	printf("expires     %.19sZ (in %lld min %lld s)\n", until, (long long)(left / 60),
	       (long long)(left % 60));
}

static const char *profile_origin(const struct ask *a)
{
	if (a->profile)
		return "--profile";
	if (a->options->aws_profile)
		return a->options->origin[OPT_ID_aws_profile].text;
	if (env_get(environment(), "AWS_PROFILE"))
		return "AWS_PROFILE";
	return env_get(environment(), "AWS_DEFAULT_PROFILE") ? "AWS_DEFAULT_PROFILE" : "by default";
}

static void print_explained(const struct ask *a, const struct creds *c)
{
	printf("source      %s\n", provider_describe(a->provider));
	printf("profile     %s (%s)\n", profile_name(wanted_profile(a), environment()),
	       profile_origin(a));
	printf("region      %s%s\n", *a->region ? a->region : "none (give --region or AWS_REGION)",
	       a->region_from);
	print_masked(c->access_key_id);
	printf("secret      hidden, %zu characters\n", c->secret_access_key.len);
	printf("token       ");
	if (c->session_token.text)
		printf("hidden, %zu characters\n", c->session_token.len);
	else
		printf("none\n");
	if (c->account_id)
		printf("account     %s\n", c->account_id);
	print_expiry(a, c);
}

/* --- asking --- */

static void on_region(void *arg, const char *region, const struct err *why)
{
	struct ask *a = arg;

	(void)why; /* that none is known is what is printed */
	if (region) {
		(void)str_fmt(a->region, sizeof(a->region), "%s", region);
		a->region_from = " (instance metadata)";
	}
	loop_stop(a->loop);
}

static void find_region(struct ask *a)
{
	const char *profile = profile_name(wanted_profile(a), environment()), *known;
	struct aws_files *files = NULL;

	a->region_from = "";
	if (aws_files_load(environment(), &files, NULL) != 0)
		return;
	known = profile_region(files, profile, a->options->region, environment());
	if (known)
		(void)str_fmt(a->region, sizeof(a->region), "%s", known);
	else if (region_ask(&(struct region_opts){ .loop = a->loop,
						   .http = a->http,
						   .environ = environment(),
						   .files = files,
						   .profile = profile },
			    on_region, a, NULL))
		loop_run(a->loop);
	aws_files_free(files);
}

static void on_creds(void *arg, struct creds *c, const struct err *why)
{
	struct ask *a = arg;

	loop_stop(a->loop);
	if (c)
		a->creds = creds_ref(c);
	else
		a->status = command_fail(why);
}

static void answer(struct ask *a)
{
	if (a->explain) {
		find_region(a);
		print_explained(a, a->creds);
	} else {
		a->status = print_json(a->creds);
	}
}

static int make_provider(struct ask *a, struct err *e)
{
	const char *profile = wanted_profile(a);

	a->mfa = mfa_new(a->loop, false, NULL);
	if (egress_from_env(a->loop, environment(), NULL, NULL, &a->egress, e) == 0)
		a->http = http_new(a->loop, e);
	if (a->http)
		http_set_egress(a->http, a->egress);
	if (a->http)
		a->provider = chain_new(&(struct chain_opts){ .loop = a->loop,
							      .http = a->http,
							      .profile = profile,
							      .profile_explicit = profile != NULL,
							      .region = a->options->region,
							      .ca_file = a->options->ca_bundle,
							      .environ = environment(),
							      .mfa = mfa_asker_of(a->mfa) },
					e);
	return a->provider ? 0 : -1;
}

static int fetch(struct ask *a)
{
	struct err e;

	if (loop_new(&a->loop, &e) != 0)
		return command_fail(&e);
	if (make_provider(a, &e) == 0 && provider_get(a->provider, on_creds, a, &e))
		loop_run(a->loop);
	else
		a->status = command_fail(&e);
	if (a->creds)
		answer(a);
	creds_unref(a->creds);
	provider_close(a->provider);
	mfa_free(a->mfa);
	http_free(a->http);
	egress_free(a->egress);
	if (!loop_free(a->loop))
		command_leave(a->status);
	return a->status;
}

const struct arg_opt credentials_options[] = {
	{ "profile", 0, "AWS_PROFILE", NULL, NULL,
	  "Profile of ~/.aws to take; otherwise as aws-profile, AWS_PROFILE say." },
	{ "explain", 0, NULL, NULL, NULL,
	  "Say which step answered and when it expires, secrets masked, instead of the JSON." },
	{ 0 },
};

int cmd_credentials(int argc, char **argv)
{
	struct ask a = { 0 };
	struct arg_opt own[] = { credentials_options[0], credentials_options[1], { 0 } };
	struct setup s;
	struct err e;

	own[0].value = &a.profile;
	own[1].flag = &a.explain;
	if (setup_load(&s, argc, argv, own, NULL, NULL, &e) != 0)
		return command_fail(&e);
	if (s.args.help) {
		a.status = command_help("credentials");
	} else if (s.args.count > 1) {
		(void)err_set(&e, ERR_USAGE, "credentials: unknown argument '%s'",
			      s.args.positional[1]);
		a.status = command_fail(&e);
	} else if (setup_profiles(&s, s.args.positional, s.args.count, &e) != 0) {
		a.status = command_fail(&e);
	} else {
		a.options = &s.profile[0].options;
		a.status = fetch(&a);
	}
	setup_free(&s);
	return a.status;
}
