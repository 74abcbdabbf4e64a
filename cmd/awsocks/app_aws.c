/* The AWS side of one profile, made when the first connection needs it. */
#include <string.h>

#include "backend/ssm.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/choose.h"
#include "config/options.h"
#include "credentials/aws.h"
#include "credentials/endpoint.h"
#include "credentials/profile.h"
#include "credentials/provider.h"
#include "net/http.h"
#include "net/ws.h"

extern char **environ;

static const char *const *environment(void)
{
	return (const char *const *)environ;
}

/* curl's context and the websockets' serve all profiles. */
static int make_net(struct app *a, struct err *e)
{
	if (!a->http)
		a->http = http_new(a->loop, e);
	if (a->http && !a->ws)
		a->ws = ws_context_new(a->loop, e);
	return a->ws ? 0 : -1;
}

static int make_client(struct app *a, struct app_profile *p, const struct aws_files *files,
		       struct err *e)
{
	const struct options *o = p->options;
	const char *aws_profile = profile_name(o->aws_profile, environment());
	const char *region = profile_region(files, aws_profile, o->region, environment());
	const char *ca = o->ca_bundle ? o->ca_bundle
				      : profile_ca_file(files, aws_profile, environment());
	struct chain_opts chain = {
		.loop = a->loop,
		.http = a->http,
		.profile = o->aws_profile,
		.profile_explicit = o->aws_profile != NULL,
		.region = region,
		.ca_file = ca,
		.environ = environment(),
	};
	struct aws_client_opts client = { .loop = a->loop, .http = a->http };

	if (!region)
		return err_set(e, ERR_CONFIG,
			       "no AWS region: give --region, AWS_REGION, or region in the AWS "
			       "profile '%s'",
			       aws_profile);
	p->region = mem_strdup(region);
	p->ca_file = mem_strdup(ca);
	if (!p->region || (ca && !p->ca_file))
		return err_set(e, ERR_NOMEM, "AWS client");
	p->provider = chain_new(&chain, e);
	if (!p->provider)
		return -1;
	client.provider = p->provider;
	client.region = p->region;
	client.ca_file = p->ca_file;
	p->aws = aws_client_new(&client, e);
	return p->aws ? 0 : -1;
}

static int find_endpoint(const struct app_profile *p, const struct aws_files *files,
			 const char *service, char **url, bool *overridden, struct err *e)
{
	struct endpoint_opts o = {
		.service = service,
		.region = p->region,
		.files = files,
		.profile = profile_name(p->options->aws_profile, environment()),
		.environ = environment(),
	};

	*overridden = endpoint_overridden(&o);
	return endpoint_url(&o, url, e);
}

static int make_backend(struct app *a, struct app_profile *p, const struct aws_files *files,
			struct err *e)
{
	const struct options *o = p->options;
	char *ssm = NULL, *ec2 = NULL;
	struct ssm_opts opts = { 0 };
	int result = -1;
	bool elsewhere;

	if (find_endpoint(p, files, "ssm", &ssm, &opts.endpoint_overridden, e) != 0 ||
	    find_endpoint(p, files, "ec2", &ec2, &elsewhere, e) != 0)
		goto out;
	opts.loop = a->loop;
	opts.ws = a->ws;
	opts.aws = p->aws;
	opts.profile = *p->name ? p->name : NULL;
	opts.ssm_endpoint = ssm;
	opts.ec2_endpoint = ec2;
	opts.instance_id = o->instance_id;
	opts.name = o->name;
	opts.region = p->region;
	opts.ca_file = p->ca_file;
	opts.sessions = (unsigned)o->sessions;
	opts.sessions_total = (unsigned)o->sessions_total;
	opts.payload_size = (size_t)o->payload_size;
	opts.session_idle_ms = (unsigned)o->session_idle;
	opts.stream_idle_ms = (unsigned)o->idle_stream_timeout;
	opts.dial_ms = (unsigned)o->connect_timeout;
	opts.no_sign = !o->sign_data_channel;
	opts.choose = a->chooser ? chooser_ask : NULL;
	opts.choose_arg = a->chooser;
	p->backend = ssm_backend_new(&opts, e);
	result = p->backend ? 0 : -1;
out:
	mem_free(ssm);
	mem_free(ec2);
	return result;
}

struct backend *app_aws_backend(struct app *a, struct app_profile *p, struct err *e)
{
	struct aws_files *files = NULL;
	const struct options *o = p->options;
	bool ok;

	if (!o->instance_id && !o->name) {
		(void)err_set(e, ERR_CONFIG,
			      "no instance is named: give --instance-id or --name (or say "
			      "instance-id or name in the profile)");
		return NULL;
	}
	ok = make_net(a, e) == 0 && aws_files_load(environment(), &files, e) == 0 &&
	     make_client(a, p, files, e) == 0 && make_backend(a, p, files, e) == 0;
	aws_files_free(files);
	if (ok)
		return p->backend;
	app_aws_free(p);
	return NULL;
}

void app_aws_free(struct app_profile *p)
{
	aws_client_free(p->aws);
	p->aws = NULL;
	provider_close(p->provider);
	p->provider = NULL;
	mem_free(p->region);
	p->region = NULL;
	mem_free(p->ca_file);
	p->ca_file = NULL;
}
