/* Sources behind a sign-in: what they need from files and environment. */
#include "base/mem.h"
#include "credentials/chain_impl.h"
#include "credentials/endpoint.h"
#include "credentials/login_session.h"
#include "credentials/plan.h"
#include "credentials/profile.h"
#include "credentials/sso.h"
#include "credentials/sso_config.h"

static const char *trusted(const struct chain *c, const struct aws_files *files)
{
	return c->ca_file ? c->ca_file
			  : profile_ca_file(files, profile_name(c->profile, c->env), c->env);
}

static char *url_of(const struct chain *c, const struct aws_files *files, const char *profile,
		    const char *service, const char *region, struct err *e)
{
	char *url;

	return endpoint_url(&(struct endpoint_opts){ .service = service,
						     .region = region,
						     .files = files,
						     .profile = profile,
						     .environ = c->env },
			    &url, e) == 0
		       ? url
		       : NULL;
}

struct provider *chain_sso(struct chain *c, const struct aws_files *files, const struct plan *p,
			   struct err *e)
{
	struct provider *sso = NULL;
	struct sso_config config;
	char *portal, *oidc;

	if (sso_config(files, p->profile, true, &config, e) != 0)
		return NULL;
	portal = url_of(c, files, p->profile, "sso", config.where.region, e);
	oidc = portal ? url_of(c, files, p->profile, "sso-oidc", config.where.region, e) : NULL;
	if (oidc)
		sso = sso_new(&(struct sso_opts){ .loop = c->loop,
						  .http = c->http,
						  .profile = p->profile,
						  .where = config.where,
						  .account = config.account,
						  .role = config.role,
						  .portal_url = portal,
						  .oidc_url = oidc,
						  .ca_file = trusted(c, files),
						  .refused = c->refused,
						  .renewals = c->renewals,
						  .rest = &c->rest,
						  .environ = c->env },
			      e);
	mem_free(portal);
	mem_free(oidc);
	return sso;
}

struct provider *chain_login(struct chain *c, const struct aws_files *files, const struct plan *p,
			     struct err *e)
{
	char *url = url_of(c, files, p->profile, "signin", chain_region(c, files, p->profile), e);
	struct provider *login;

	if (!url)
		return NULL;
	login = login_new(
		&(struct login_opts){ .loop = c->loop,
				      .http = c->http,
				      .profile = p->profile,
				      .session = profile_get(files, p->profile, "login_session"),
				      .url = url,
				      .ca_file = trusted(c, files),
				      .refused = c->refused,
				      .rest = &c->rest,
				      .environ = c->env },
		e);
	mem_free(url);
	return login;
}
