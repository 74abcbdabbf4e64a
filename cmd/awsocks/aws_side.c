#include "cmd/awsocks/aws_side.h"

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/mfa.h"
#include "config/options.h"
#include "credentials/aws.h"
#include "credentials/egress_env.h"
#include "credentials/endpoint.h"
#include "credentials/profile.h"
#include "credentials/provider.h"
#include "credentials/region.h"
#include "net/http.h"
#include "net/loop.h"

extern char **environ;

static const char *const *environment(void)
{
	return (const char *const *)environ;
}

int aws_side_files(struct aws_side *a, const struct options *o, struct err *e)
{
	*a = (struct aws_side){ .options = o };
	a->profile = profile_name(o->aws_profile, environment());
	if (loop_new(&a->loop, e) != 0)
		return -1;
	return aws_files_load(environment(), &a->files, e);
}

static int endpoint(const struct aws_side *a, const char *service, char **url, bool *overridden,
		    struct err *e)
{
	struct endpoint_opts o = {
		.service = service,
		.region = a->region,
		.files = a->files,
		.profile = a->profile,
		.environ = environment(),
	};

	*overridden = endpoint_overridden(&o);
	return endpoint_url(&o, url, e);
}

static int make_http(struct aws_side *a, struct err *e)
{
	if (!a->http)
		a->http = http_new(a->loop, e);
	return a->http ? 0 : -1;
}

static void on_region(void *arg, const char *region, const struct err *why)
{
	struct aws_side *a = arg;

	a->region = mem_strdup(region);
	aws_side_done(a, "", why);
}

/* The last place to look. */
static int region_of_instance(struct aws_side *a, struct err *e)
{
	if (make_http(a, e) != 0 || !region_ask(&(struct region_opts){ .loop = a->loop,
								       .http = a->http,
								       .environ = environment(),
								       .files = a->files,
								       .profile = a->profile },
						on_region, a, e))
		return -1;
	if (aws_side_wait(a) == 0)
		return a->region ? 0 : err_set(e, ERR_NOMEM, "region");
	*e = a->err;
	return -1;
}

static int find_region(struct aws_side *a, struct err *e)
{
	const char *known = profile_region(a->files, a->profile, a->options->region, environment());

	if (!known)
		return region_of_instance(a, e);
	a->region = mem_strdup(known);
	return a->region ? 0 : err_set(e, ERR_NOMEM, "region");
}

int aws_side_region(struct aws_side *a, struct err *e)
{
	bool unused;

	if (find_region(a, e) != 0)
		return -1;
	if (endpoint(a, "sts", &a->sts, &unused, e) != 0 ||
	    endpoint(a, "ec2", &a->ec2, &unused, e) != 0)
		return -1;
	return endpoint(a, "ssm", &a->ssm, &a->ssm_overridden, e);
}

const char *aws_side_ca(const struct aws_side *a)
{
	if (a->options->ca_bundle)
		return a->options->ca_bundle;
	return profile_ca_file(a->files, a->profile, environment());
}

int aws_side_net(struct aws_side *a, struct err *e)
{
	if (egress_from_env(a->loop, environment(), NULL, NULL, &a->egress, e) != 0)
		return -1;
	a->mfa = mfa_new(a->loop, false, NULL);
	if (make_http(a, e) != 0)
		return -1;
	http_set_egress(a->http, a->egress);
	return 0;
}

int aws_side_client(struct aws_side *a, struct err *e)
{
	const struct options *o = a->options;
	const char *ca = aws_side_ca(a);
	struct chain_opts chain = {
		.loop = a->loop,
		.http = a->http,
		.profile = o->aws_profile,
		.profile_explicit = o->aws_profile != NULL,
		.region = a->region,
		.ca_file = ca,
		.environ = environment(),
		.mfa = mfa_asker_of(a->mfa),
	};
	struct aws_client_opts client = {
		.loop = a->loop, .http = a->http, .region = a->region, .ca_file = ca
	};

	if (aws_retry_read(a->files, a->profile, environment(), &client.retry, e) != 0)
		return -1;
	a->provider = chain_new(&chain, e);
	client.provider = a->provider;
	if (a->provider)
		a->aws = aws_client_new(&client, e);
	return a->aws ? 0 : -1;
}

bool aws_side_free(struct aws_side *a)
{
	aws_client_free(a->aws);
	provider_close(a->provider);
	mfa_free(a->mfa);
	if (a->http)
		http_free(a->http);
	egress_free(a->egress);
	mem_free(a->region);
	mem_free(a->sts);
	mem_free(a->ec2);
	mem_free(a->ssm);
	aws_files_free(a->files);
	return !a->loop || loop_free(a->loop);
}

void aws_side_done(struct aws_side *a, const char *code, const struct err *why)
{
	a->err = why ? *why : (struct err){ 0 };
	(void)str_fmt(a->code, sizeof(a->code), "%s", code);
	loop_stop(a->loop);
}

int aws_side_wait(struct aws_side *a)
{
	loop_run(a->loop);
	return a->err.code == ERR_NONE ? 0 : -1;
}
