/*
 * Drives credentials/ and ec2/ from the outside, for the integration tests;
 * everything comes from the environment, as in awsocks.
 *
 *   aws_cli creds [PROFILE]     what the chain gives: one line a field
 *   aws_cli identity COUNT      so many GetCallerIdentity calls, one after the other
 *   aws_cli name NAME | id ID   DescribeInstances: "id state" a line
 *
 * Status 0, or that of the error, whose text is on standard error, behind its
 * name and AWS's code.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "credentials/aws.h"
#include "credentials/egress_env.h"
#include "credentials/endpoint.h"
#include "credentials/profile.h"
#include "credentials/provider.h"
#include "ec2/instance.h"
#include "net/http.h"
#include "net/loop.h"

extern char **environ;

struct cli {
	struct loop *loop;
	struct http *http;
	struct egress *egress;
	struct provider *provider;
	struct aws_client *aws;
	char *sts, *ec2, *region; /* region NULL: none is configured */
	int left, status;
};

static int fail(const struct err *e, const char *code)
{
	fprintf(stderr, "%s %s: %s\n", err_name(e->code), code && *code ? code : "-", e->msg);
	return err_exit_status(e->code);
}

static void on_creds(void *arg, struct creds *c, const struct err *why)
{
	struct cli *x = arg;

	loop_stop(x->loop);
	if (!c)
		x->status = fail(why, NULL);
	else
		printf("region %s\nid %s\ntoken %s\nexpires %lld\naccount %s\nsource %s\n",
		       x->region ? x->region : "-", c->access_key_id,
		       c->session_token.text ? c->session_token.text : "-",
		       (long long)c->expires_ms, c->account_id ? c->account_id : "-", c->source);
}

static void identity(struct cli *x);

static void on_identity(void *arg, const struct aws_reply *reply, const char *code,
			const struct err *why)
{
	struct cli *x = arg;

	if (!reply)
		x->status = fail(why, code);
	else
		printf("%d\n", reply->status);
	if (reply && --x->left > 0)
		identity(x);
	else
		loop_stop(x->loop);
}

static void identity(struct cli *x)
{
	struct err e;

	if (!aws_send(x->aws,
		      &(struct aws_request){ .protocol = AWS_QUERY,
					     .service = "sts",
					     .endpoint = x->sts,
					     .body = "Action=GetCallerIdentity&Version=2011-06-15",
					     .limit_ms = 20000 },
		      on_identity, x, &e)) {
		x->status = fail(&e, NULL);
		loop_stop(x->loop);
	}
}

static void on_instances(void *arg, const struct ec2_instance *list, size_t n,
			 const struct err *why)
{
	struct cli *x = arg;

	loop_stop(x->loop);
	if (!list)
		x->status = fail(why, NULL);
	for (size_t i = 0; i < n; i++)
		printf("%s %s\n", list[i].id, list[i].state);
}

static int begin(struct cli *x, int argc, char **argv, struct err *e)
{
	if (strcmp(argv[1], "creds") == 0)
		return provider_get(x->provider, on_creds, x, e) ? 0 : -1;
	if (strcmp(argv[1], "identity") == 0 && argc > 2) {
		x->left = (int)strtol(argv[2], NULL, 10);
		identity(x);
		return x->status ? -1 : 0;
	}
	if (strcmp(argv[1], "name") == 0 && argc > 2)
		return ec2_find(x->aws, x->ec2, &(struct ec2_query){ .name = argv[2] },
				on_instances, x, e)
			       ? 0
			       : -1;
	if (strcmp(argv[1], "id") == 0 && argc > 2)
		return ec2_by_id(x->aws, x->ec2, argv[2], on_instances, x, e) ? 0 : -1;
	return err_set(e, ERR_USAGE, "creds | identity COUNT | name NAME | id ID");
}

static int set_up(struct cli *x, const char *profile, struct err *e)
{
	const char *const *env = (const char *const *)environ;
	struct aws_files *files;
	struct aws_retry retry;
	const char *region;
	int result = -1;

	if (loop_new(&x->loop, e) != 0 || aws_files_load(env, &files, e) != 0)
		return -1;
	region = profile_region(files, profile_name(profile, env), NULL, env);
	if (egress_from_env(x->loop, env, NULL, NULL, &x->egress, e) == 0)
		x->region = mem_strdup(region);
	x->http = http_new(x->loop, e);
	if (x->http)
		http_set_egress(x->http, x->egress);
	if (x->http)
		x->provider = chain_new(&(struct chain_opts){ .loop = x->loop,
							      .http = x->http,
							      .profile = profile,
							      .profile_explicit = profile != NULL,
							      .environ = env },
					e);
	if (x->provider && aws_retry_read(files, profile_name(profile, env), env, &retry, e) == 0)
		x->aws = aws_client_new(
			&(struct aws_client_opts){ .loop = x->loop,
						   .http = x->http,
						   .provider = x->provider,
						   .region = region ? region : "us-east-1",
						   .retry = retry },
			e);
	if (x->aws &&
	    endpoint_url(&(struct endpoint_opts){ .service = "sts",
						  .region = aws_region(x->aws),
						  .environ = env },
			 &x->sts, e) == 0 &&
	    endpoint_url(&(struct endpoint_opts){ .service = "ec2",
						  .region = aws_region(x->aws),
						  .environ = env },
			 &x->ec2, e) == 0)
		result = 0;
	aws_files_free(files);
	return result;
}

int main(int argc, char **argv)
{
	struct cli x = { 0 };
	struct err e;
	bool creds = argc > 2 && strcmp(argv[1], "creds") == 0;

	if (argc < 2)
		return 64;
	if (set_up(&x, creds ? argv[2] : NULL, &e) != 0 || begin(&x, argc, argv, &e) != 0)
		x.status = fail(&e, NULL);
	else
		loop_run(x.loop);
	aws_client_free(x.aws);
	provider_close(x.provider);
	if (x.http)
		http_free(x.http);
	egress_free(x.egress);
	loop_free(x.loop);
	mem_free(x.sts);
	mem_free(x.ec2);
	mem_free(x.region);
	return x.status;
}
