/* From a plan to a source: one function for each kind, and what they need from files and
 * environment. */
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "credentials/aws.h"
#include "credentials/chain_impl.h"
#include "credentials/endpoint.h"
#include "credentials/env.h"
#include "credentials/metadata.h"
#include "credentials/plan.h"
#include "credentials/profile.h"

const char *chain_region(const struct chain *c, const struct aws_files *files, const char *profile)
{
	const char *region = profile_region(files, profile, c->region, c->env);

	if (!region)
		region = c->found_region;
	return region ? region : "us-east-1";
}

static const char *ca_file(const struct chain *c, const struct aws_files *files)
{
	return c->ca_file ? c->ca_file
			  : profile_ca_file(files, profile_name(c->profile, c->env), c->env);
}

static struct aws_client *sts_client(struct chain *c, const struct aws_files *files,
				     struct provider *source, struct err *e)
{
	const char *profile = profile_name(c->profile, c->env);
	struct aws_retry retry;

	if (aws_retry_read(files, profile, c->env, &retry, e) != 0)
		return NULL;
	return aws_client_new(&(struct aws_client_opts){ .retry = retry,
							 .loop = c->loop,
							 .http = c->http,
							 .provider = source,
							 .region = chain_region(c, files, profile),
							 .ca_file = ca_file(c, files) },
			      e);
}

static char *sts_url(struct chain *c, const struct aws_files *files, struct err *e)
{
	const char *profile = profile_name(c->profile, c->env);
	char *url = NULL;

	if (!c->sts_endpoint)
		return endpoint_url(
			       &(struct endpoint_opts){ .service = "sts",
							.region = chain_region(c, files, profile),
							.files = files,
							.profile = profile,
							.environ = c->env },
			       &url, e) == 0
			       ? url
			       : NULL;
	url = mem_strdup(c->sts_endpoint);
	if (!url)
		(void)err_set(e, ERR_NOMEM, "credentials");
	return url;
}

/* The profile's own, or one that tells CloudTrail's reader who it was. */
static const char *session_name(const struct chain *c, const struct plan *p, char out[65])
{
	const char *user = env_get(c->env, "USER");
	char host[256] = "";

	if (p->session_name)
		return p->session_name;
	(void)gethostname(host, sizeof(host) - 1);
	role_session_name(user ? user : env_get(c->env, "LOGNAME"), host, out);
	return out;
}

/* What the AWS CLI's key is made of: what stands in the files, no names of our own. */
static struct provider *cached(const struct chain *c, const struct plan *p, struct provider *inner,
			       struct err *e)
{
	if (!inner)
		return NULL;
	return cli_cache_new(&(struct cli_cache_opts){ .loop = c->loop,
						       .inner = inner,
						       .key = { .arn = p->role_arn,
								.external_id = p->external_id,
								.session_name = p->session_name,
								.mfa_serial = p->mfa_serial,
								.duration_s = p->duration_s },
						       .refused = c->refused,
						       .environ = c->env },
			     e);
}

static struct provider *role_of(struct chain *c, const struct aws_files *files,
				const struct plan *p, struct err *e)
{
	struct provider *source = chain_source(c, files, p->source, e), *role = NULL;
	struct aws_client *client = source ? sts_client(c, files, source, e) : NULL;
	char *url = client ? sts_url(c, files, e) : NULL;
	char session[65];

	if (!url) {
		aws_client_free(client);
		provider_close(source);
		return NULL;
	}
	role = role_new(&(struct role_opts){ .client = client,
					     .source = source,
					     .endpoint = url,
					     .arn = p->role_arn,
					     .external_id = p->external_id,
					     .session_name = session_name(c, p, session),
					     .duration_s = p->duration_s,
					     .profile = p->profile,
					     .mfa_serial = p->mfa_serial,
					     .mfa = c->mfa },
			e);
	mem_free(url);
	return cached(c, p, role, e);
}

static struct provider *web_of(struct chain *c, const struct aws_files *files, const struct plan *p,
			       struct err *e)
{
	struct aws_client *client = sts_client(c, files, NULL, e);
	char *url = client ? sts_url(c, files, e) : NULL;
	struct provider *web;
	char session[65];

	if (!url) {
		aws_client_free(client);
		return NULL;
	}
	web = web_new(&(struct web_opts){ .loop = c->loop,
					  .client = client,
					  .endpoint = url,
					  .arn = p->role_arn,
					  .session_name = session_name(c, p, session),
					  .token_file = p->token_file,
					  .profile = p->from_environment ? NULL : p->profile },
		      e);
	mem_free(url);
	return cached(c, p, web, e);
}

static struct provider *container_of(struct chain *c, const struct aws_files *files, struct err *e)
{
	return container_new(&(struct container_opts){ .loop = c->loop,
						       .http = c->http,
						       .environ = c->env,
						       .ca_file = ca_file(c, files) },
			     e);
}

static struct provider *instance_of(struct chain *c, const struct aws_files *files,
				    const struct plan *p, struct err *e)
{
	struct imds_opts o = { .loop = c->loop, .http = c->http, .otherwise = p->otherwise };

	return imds_find(c->env, files, p->profile, &o.at, e) == 0 ? imds_new(&o, e) : NULL;
}

/* Roles nest at most as deep as plan.c lets them. */
struct provider *chain_source(struct chain *c, const struct aws_files *files, const struct plan *p,
			      struct err *e)
{
	switch (p->step) {
	case PLAN_STATIC: return static_new(c->loop, p->creds, e);
	case PLAN_PROCESS:
		return command_new(&(struct command_opts){ .loop = c->loop,
							   .command = p->command,
							   .profile = p->profile,
							   .environ = c->env },
				   e);
	case PLAN_ROLE: return role_of(c, files, p, e);
	case PLAN_SSO: return chain_sso(c, files, p, e);
	case PLAN_LOGIN: return chain_login(c, files, p, e);
	case PLAN_WEB_IDENTITY: return web_of(c, files, p, e);
	case PLAN_CONTAINER: return container_of(c, files, e);
	case PLAN_INSTANCE: return instance_of(c, files, p, e);
	}
	(void)err_set(e, ERR_INTERNAL, "credentials: no such step");
	return NULL;
}
