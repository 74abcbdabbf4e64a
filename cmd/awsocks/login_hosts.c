#include "cmd/awsocks/login_hosts.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/endpoint.h"
#include "credentials/plan.h"
#include "credentials/profile.h"
#include "credentials/sso_config.h"
#include "routing/host.h"

extern char **environ;

struct finder {
	struct router *router;
	const struct aws_files *files;
	const char *profile; /* of ~/.aws, that signs in */
	struct err *e;
};

static const char *const *environment(void)
{
	return (const char *const *)environ;
}

/* The host of a URL, or a host. Addresses are left out: they are somebody's endpoint for tests. */
static int add(const struct finder *f, const char *url)
{
	const char *host = strstr(url, "://");
	struct host h;
	char origin[160];
	struct err odd;

	host = host ? host + 3 : url;
	if (host_normalize(host, strcspn(host, ":/?#"), &h, &odd) != 0 || h.is_address ||
	    !strchr(h.text, '.'))
		return 0;
	(void)str_fmt(origin, sizeof(origin), "login hosts of profile %.80s (--no-login-hosts)",
		      f->profile);
	return router_add_login_host(f->router, h.text, origin, f->e);
}

static int add_endpoint(const struct finder *f, const char *service, const char *region)
{
	struct err odd;
	char *url;
	int result;

	if (endpoint_url(&(struct endpoint_opts){ .service = service,
						  .region = region,
						  .files = f->files,
						  .profile = f->profile,
						  .environ = environment() },
			 &url, &odd) != 0)
		return 0;
	result = add(f, url);
	mem_free(url);
	return result;
}

/* Sign-in pages of a region: "REGION.signin.aws" is where the user types a password. */
static int add_pages(const struct finder *f, const char *region)
{
	char host[160];

	(void)str_fmt(host, sizeof(host), "%.60s.signin.aws", region);
	if (add(f, host) != 0 || add_endpoint(f, "signin", region) != 0)
		return -1;
	return 0;
}

static int add_sso(const struct finder *f)
{
	struct sso_config c;
	char host[160];
	struct err odd;

	if (sso_config(f->files, f->profile, false, &c, &odd) != 0)
		return 0;
	(void)str_fmt(host, sizeof(host), "device.sso.%.60s.%s", c.where.region,
		      endpoint_suffix(c.where.region));
	if (add(f, c.where.start_url) != 0 || add(f, host) != 0 ||
	    add_endpoint(f, "sso-oidc", c.where.region) != 0 ||
	    add_endpoint(f, "sso", c.where.region) != 0)
		return -1;
	return add_pages(f, c.where.region);
}

static int add_console(const struct finder *f)
{
	const char *region = profile_region(f->files, f->profile, NULL, environment());

	if (add(f, "signin.aws.amazon.com") != 0)
		return -1;
	return add_pages(f, region ? region : "us-east-1");
}

/* A plan's last source is who really asks AWS to be let in. */
static int add_profile(struct finder *f, const struct options *o)
{
	const struct plan *last;
	struct plan *plan;
	int result = 0;
	struct err odd;

	if (plan_make(&(struct plan_opts){ .files = f->files,
					   .environ = environment(),
					   .profile = o->aws_profile,
					   .profile_explicit = o->aws_profile != NULL },
		      &plan, &odd) != 0)
		return 0;
	for (last = plan; last->source; last = last->source)
		;
	f->profile = last->profile;
	if (last->step == PLAN_SSO)
		result = add_sso(f);
	else if (last->step == PLAN_LOGIN)
		result = add_console(f);
	plan_free(plan);
	return result;
}

int login_hosts_add(struct router *r, const struct setup *s, struct err *e)
{
	struct finder f = { .router = r, .e = e };
	struct aws_files *files = NULL;
	int result = 0;

	if (aws_files_load(environment(), &files, NULL) != 0)
		return 0;
	f.files = files;
	for (size_t i = 0; result == 0 && i < s->count; i++)
		if (s->profile[i].options.login_hosts)
			result = add_profile(&f, &s->profile[i].options);
	aws_files_free(files);
	return result;
}
