/* `awsocks doctor`: EC2 is asked whether it would start and stop the instance; it does neither. */
#include <string.h>

#include "base/str.h"
#include "cmd/awsocks/doctor_impl.h"
#include "config/options.h"
#include "credentials/aws.h"
#include "ec2/instance.h"

static void on_reply(void *arg, const struct aws_reply *reply, const char *code,
		     const struct err *why)
{
	struct doctor *d = arg;

	(void)reply;
	aws_side_done(&d->aws, code, why);
}

/* DryRunOperation is the good answer; a state that does not fit came after the permission. */
static bool would(const struct doctor *d)
{
	return strcmp(d->aws.code, "DryRunOperation") == 0 ||
	       strcmp(d->aws.code, "IncorrectInstanceState") == 0;
}

static int may(struct doctor *d, const char *action)
{
	char body[300], text[80];
	struct aws_request r = {
		.protocol = AWS_QUERY, .service = "ec2", .endpoint = d->aws.ec2, .body = body
	};
	struct err e;

	(void)str_fmt(body, sizeof(body),
		      "Action=%s&DryRun=true&InstanceId.1=%.64s&Version=2016-11-15", action,
		      d->target);
	(void)str_fmt(text, sizeof(text), "ec2:%s", action);
	if (!aws_send(d->aws.aws, &r, on_reply, d, &e))
		return doctor_broken(d, "permissions", &e, "see awsocks credentials --explain");
	if (aws_side_wait(&d->aws) != 0 && !would(d)) {
		if (!doctor_denied(d->aws.code))
			return doctor_no_answer(d, "instance", "AWS_ENDPOINT_URL_EC2");
		(void)str_fmt(body, sizeof(body),
			      "allow %s, which --auto-start or --auto-stop needs", text);
		return doctor_broken(d, "permissions", &d->aws.err, body);
	}
	doctor_good("permissions", text);
	return 0;
}

int doctor_power(struct doctor *d)
{
	const struct options *o = d->aws.options;

	if (!ec2_is_id(d->target) || ec2_is_foreign(d->target))
		return 0;
	if (o->auto_start && may(d, "StartInstances") != 0)
		return -1;
	return o->auto_stop ? may(d, "StopInstances") : 0;
}
