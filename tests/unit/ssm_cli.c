/*
 * Makes one call of SSM or EC2 Instance Connect, for the tests that look at what is sent;
 * everything else comes from the environment.
 *
 *   ssm_cli start TARGET HOST PORT | port TARGET PORT | ssh TARGET PORT
 *   ssm_cli resume ID | terminate ID | status TARGET | key INSTANCE USER ZONE TEXT
 *
 * Status 0 when it was sent and answered, whatever the answer was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ssm/api.h"
#include "backend/ssm/eic.h"
#include "base/mem.h"
#include "credentials/aws.h"
#include "credentials/endpoint.h"
#include "credentials/profile.h"
#include "credentials/provider.h"
#include "net/http.h"
#include "net/loop.h"

extern char **environ;

struct cli {
	struct loop *loop;
	struct http *http;
	struct provider *provider;
	struct aws_client *aws;
	char *ssm, *eic;
};

static void on_session(void *arg, const struct api_session *s, const char *code,
		       const struct err *why)
{
	struct cli *x = arg;

	(void)code;
	if (!s)
		fprintf(stderr, "%s\n", why->msg);
	loop_stop(x->loop);
}

static void on_status(void *arg, bool connected, const char *code, const struct err *why)
{
	struct cli *x = arg;

	(void)code;
	(void)why;
	printf("%s\n", connected ? "connected" : "not connected");
	loop_stop(x->loop);
}

static void on_done(void *arg, const struct err *why)
{
	struct cli *x = arg;

	if (why)
		fprintf(stderr, "%s\n", why->msg);
	loop_stop(x->loop);
}

static uint16_t port_of(const char *text)
{
	return (uint16_t)strtoul(text, NULL, 10);
}

static int begin(struct cli *x, int argc, char **argv, struct err *e)
{
	struct api api = {
		.aws = x->aws, .endpoint = x->ssm, .region = aws_region(x->aws), .overridden = true
	};
	const char *op = argv[1];
	const unsigned limit = 20000;

	if (strcmp(op, "start") == 0 && argc == 5)
		return api_start(&api, argv[2], API_REMOTE_HOST, argv[3], port_of(argv[4]), limit,
				 on_session, x, e)
			       ? 0
			       : -1;
	if ((strcmp(op, "port") == 0 || strcmp(op, "ssh") == 0) && argc == 4)
		return api_start(&api, argv[2], *op == 'p' ? API_PORT : API_SSH, "localhost",
				 port_of(argv[3]), limit, on_session, x, e)
			       ? 0
			       : -1;
	if (strcmp(op, "resume") == 0 && argc == 3)
		return api_resume(&api, argv[2], limit, on_session, x, e) ? 0 : -1;
	if (strcmp(op, "terminate") == 0 && argc == 3)
		return api_terminate(&api, argv[2], limit, on_done, x, e) ? 0 : -1;
	if (strcmp(op, "status") == 0 && argc == 3)
		return api_status(&api, argv[2], limit, on_status, x, e) ? 0 : -1;
	if (strcmp(op, "key") == 0 && argc == 6)
		return eic_send(x->aws,
				&(struct eic_key){ .endpoint = x->eic,
						   .instance = argv[2],
						   .user = argv[3],
						   .zone = *argv[4] ? argv[4] : NULL,
						   .public_text = argv[5] },
				limit, on_done, x, e)
			       ? 0
			       : -1;
	return err_set(e, ERR_USAGE, "see the head of tests/unit/ssm_cli.c");
}

static int endpoint(struct cli *x, const char *service, char **url, struct err *e)
{
	return endpoint_url(&(struct endpoint_opts){ .service = service,
						     .region = aws_region(x->aws),
						     .environ = (const char *const *)environ },
			    url, e);
}

static int set_up(struct cli *x, struct err *e)
{
	const char *const *env = (const char *const *)environ;
	const char *region = profile_region(NULL, NULL, NULL, env);

	if (loop_new(&x->loop, e) != 0)
		return -1;
	x->http = http_new(x->loop, e);
	if (x->http)
		x->provider = chain_new(
			&(struct chain_opts){ .loop = x->loop, .http = x->http, .environ = env },
			e);
	if (x->provider)
		x->aws = aws_client_new(&(struct aws_client_opts){ .loop = x->loop,
								   .http = x->http,
								   .provider = x->provider,
								   .region = region },
					e);
	return x->aws && endpoint(x, "ssm", &x->ssm, e) == 0 &&
			       endpoint(x, "ec2-instance-connect", &x->eic, e) == 0
		       ? 0
		       : -1;
}

int main(int argc, char **argv)
{
	struct cli x = { 0 };
	struct err e;
	int status = 0;

	if (argc < 2)
		return 64;
	if (set_up(&x, &e) != 0 || begin(&x, argc, argv, &e) != 0) {
		fprintf(stderr, "%s\n", e.msg);
		status = err_exit_status(e.code);
	} else {
		loop_run(x.loop);
	}
	aws_client_free(x.aws);
	provider_close(x.provider);
	if (x.http)
		http_free(x.http);
	loop_free(x.loop);
	mem_free(x.ssm);
	mem_free(x.eic);
	return status;
}
