/*
 * `awsocks doctor [PROFILE]`: the chain from the files of ~/.aws to an open data channel, link by
 * link, until one is broken; then what is wrong and what mends it. The last link is tried for real:
 * a session is started, its data channel opened, and it is terminated again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/doctor_impl.h"
#include "cmd/awsocks/setup.h"
#include "config/options.h"
#include "credentials/aws.h"
#include "credentials/aws_error.h"
#include "credentials/profile.h"
#include "credentials/provider.h"

enum { REACH_MS = 20000 };

/* --- what each link says --- */

void doctor_good(const char *link, const char *text)
{
	char line[400];

	(void)str_fmt(line, sizeof(line), "%s", text);
	str_printable(line);
	printf("ok      %-12s %s\n", link, line);
}

int doctor_broken(struct doctor *d, const char *link, const struct err *why, const char *cure)
{
	printf("BROKEN  %-12s %s\n        %-12s %s\n", link, why->msg, "cure:", cure);
	d->status = err_exit_status(why->code);
	return -1;
}

int doctor_no_answer(struct doctor *d, const char *link, const char *variable)
{
	const struct err *why = &d->aws.err;
	char cure[200];

	if (why->code == ERR_CREDS)
		return doctor_broken(d, "credentials", why,
				     "sign in again, or see awsocks credentials --explain");
	if (why->code == ERR_AWS)
		return doctor_broken(d, link, why,
				     "AWS's message says what it misses; is the region enabled for "
				     "the account?");
	(void)str_fmt(cure, sizeof(cure),
		      "is that host reached? Look at the network, the proxy (HTTPS_PROXY, "
		      "NO_PROXY) and %s",
		      variable);
	return doctor_broken(d, "endpoints", why, cure);
}

bool doctor_denied(const char *code)
{
	return str_starts(code, "AccessDenied") || strcmp(code, "UnauthorizedOperation") == 0;
}

/* --- files, profile, credentials --- */

static int link_files(struct doctor *d)
{
	static const char missing[] = " (not there)";
	struct err e;
	char text[400];

	if (aws_side_files(&d->aws, d->options, &e) != 0)
		return doctor_broken(d, "files", &e,
				     "correct that file; awsocks check names every mistake");
	(void)str_fmt(text, sizeof(text), "%.170s%s, %.170s%s", aws_files_config_path(d->aws.files),
		      aws_files_config(d->aws.files) ? "" : missing,
		      aws_files_credentials_path(d->aws.files),
		      aws_files_credentials(d->aws.files) ? "" : missing);
	doctor_good("files", text);
	return 0;
}

static int link_profile(struct doctor *d)
{
	const char *name = d->aws.profile;
	struct err e;
	char text[200];

	if (strcmp(name, "default") != 0 && !profile_exists(d->aws.files, name)) {
		(void)err_set(&e, ERR_CONFIG, "the AWS profile '%.80s' is in neither file", name);
		return doctor_broken(
			d, "profile", &e,
			"name another by --aws-profile or AWS_PROFILE, or make it: aws "
			"configure --profile NAME");
	}
	if (aws_side_region(&d->aws, &e) != 0)
		return doctor_broken(d, "profile", &e,
				     "say which region the instance is in, by --region");
	(void)str_fmt(text, sizeof(text), "%.80s, region %.40s", name, d->aws.region);
	doctor_good("profile", text);
	return 0;
}

static void on_creds(void *arg, struct creds *c, const struct err *why)
{
	struct doctor *d = arg;

	(void)c;
	aws_side_done(&d->aws, "", why);
}

static int link_credentials(struct doctor *d)
{
	struct err e;

	if (aws_side_net(&d->aws, &e) != 0)
		return doctor_broken(d, "proxy", &e, "correct HTTPS_PROXY, HTTP_PROXY or NO_PROXY");
	if (aws_side_client(&d->aws, &e) != 0 ||
	    !provider_get(aws_provider(d->aws.aws), on_creds, d, &e))
		return doctor_broken(d, "credentials", &e, "see awsocks credentials --explain");
	if (aws_side_wait(&d->aws) != 0)
		return doctor_broken(
			d, "credentials", &d->aws.err,
			"sign in again (awsocks login, aws login, or what gives the keys), or see "
			"awsocks credentials --explain");
	doctor_good("credentials", provider_describe(d->aws.provider));
	return 0;
}

/* --- the clock and the way to AWS: one call that every identity may make --- */

static void on_identity(void *arg, const struct aws_reply *reply, const char *code,
			const struct err *why)
{
	struct doctor *d = arg;
	const char *at = reply ? strstr(reply->body, "<Arn>") : NULL;

	if (at)
		(void)str_fmt(d->account, sizeof(d->account), "%.*s", (int)strcspn(at + 5, "<"),
			      at + 5);
	aws_side_done(&d->aws, code, why);
}

static bool is_of_clock(const struct doctor *d)
{
	return aws_error_verdict(400, d->aws.code) == AWS_CLOCK &&
	       (strstr(d->aws.err.msg, "expired") || strstr(d->aws.err.msg, "not yet current"));
}

static int identity_failed(struct doctor *d)
{
	if (!d->aws.code[0])
		return doctor_broken(
			d, "endpoints", &d->aws.err,
			"is there a way out to that host? Look at the network, the proxy "
			"(HTTPS_PROXY, NO_PROXY), --ca-bundle, and the endpoint (AWS_ENDPOINT_URL, "
			"endpoint_url)");
	if (is_of_clock(d))
		return doctor_broken(d, "clock", &d->aws.err,
				     "set this machine's clock (timedatectl, sntp)");
	return doctor_broken(
		d, "credentials", &d->aws.err,
		"AWS does not take these keys: make new ones, or sign in again; awsocks "
		"credentials --explain says where they come from");
}

static int link_endpoints(struct doctor *d)
{
	struct aws_request r = { .protocol = AWS_QUERY,
				 .service = "sts",
				 .endpoint = d->aws.sts,
				 .body = "Action=GetCallerIdentity&Version=2011-06-15",
				 .limit_ms = REACH_MS };
	int64_t skew_s;
	struct err e;
	char text[300];

	if (!aws_send(d->aws.aws, &r, on_identity, d, &e))
		return doctor_broken(d, "credentials", &e, "see awsocks credentials --explain");
	if (aws_side_wait(&d->aws) != 0 && !doctor_denied(d->aws.code))
		return identity_failed(d);
	if (d->aws.code[0]) /* by a VPC endpoint's policy, for one; what counts comes behind */
		(void)str_fmt(d->account, sizeof(d->account), "nobody may ask who");
	skew_s = aws_skew_ms(d->aws.aws) / 1000;
	(void)str_fmt(text, sizeof(text),
		      skew_s ? "it is %" PRId64 " s off AWS's, which is allowed for"
			     : "as AWS's, to some minutes",
		      skew_s < 0 ? -skew_s : skew_s);
	doctor_good("clock", text);
	(void)str_fmt(text, sizeof(text), "%.120s as %.150s", d->aws.sts, d->account);
	doctor_good("endpoints", text);
	return 0;
}

/* --- the walk --- */

/* The log would say the same again, and less clearly. */
static int quiet(const struct options *o, struct err *e)
{
	bool asked = o->origin[OPT_ID_log_level].level > LEVEL_BUILTIN;

	return log_set_level(asked ? o->log_level : "error", e);
}

static int walk(struct doctor *d)
{
	static int (*const links[])(struct doctor *) = { link_files,       link_profile,
							 link_credentials, link_endpoints,
							 doctor_instance,  doctor_power,
							 doctor_agent,     doctor_session };
	int status;

	for (size_t i = 0; i < sizeof(links) / sizeof(*links) && links[i](d) == 0; i++)
		(void)fflush(stdout);
	(void)fflush(stdout);
	status = d->status;
	if (!aws_side_free(&d->aws))
		command_leave(status);
	return status;
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor d = { 0 };
	struct setup s;
	struct err e;
	int status;

	if (setup_load(&s, argc, argv, NULL, NULL, NULL, &e) != 0)
		return command_fail(&e);
	if (s.args.help) {
		status = command_help("doctor");
	} else if (s.args.count > 1) {
		(void)err_set(&e, ERR_USAGE, "doctor: unknown argument '%s'", s.args.positional[1]);
		status = command_fail(&e);
	} else if (setup_profiles(&s, s.args.positional, s.args.count, &e) != 0 ||
		   quiet(&s.profile[0].options, &e) != 0) {
		status = command_fail(&e);
	} else {
		d.options = &s.profile[0].options;
		status = walk(&d);
	}
	setup_free(&s);
	return status;
}
