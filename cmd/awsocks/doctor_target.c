/* `awsocks doctor`: the instance that is meant, and its agent. */
#include <stdio.h>
#include <string.h>

#include "backend/ssm/fleet.h"
#include "backend/ssm/handshake.h"
#include "backend/ssm/note.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/doctor_impl.h"
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/target_query.h"
#include "config/options.h"

static void on_instances(void *arg, const struct ec2_instance *list, size_t n,
			 const struct err *why)
{
	struct doctor *d = arg;

	d->count = n;
	if (list && n)
		d->instance = list[0];
	if (list)
		memcpy(d->candidate, list,
		       (n < DOCTOR_CANDIDATES ? n : DOCTOR_CANDIDATES) * sizeof(*list));
	aws_side_done(&d->aws,
		      why && strstr(why->msg, "UnauthorizedOperation") ? "UnauthorizedOperation"
								       : "",
		      why);
}

static bool is_left_behind(const struct doctor *d)
{
	char notes[PATH_TEXT];

	return path_state_file(STARTED_DIR, notes, NULL) == 0 &&
	       note_look(notes, d->target) == NOTE_LEFT;
}

static int several(struct doctor *d, const char *who)
{
	struct err e;
	int result;

	(void)err_set(&e, ERR_TARGET, "%zu instances in %s are %s", d->count, d->aws.region, who);
	result = doctor_broken(d, "instance", &e,
			       "name one of these by --instance-id, or narrow it by --filter");
	for (size_t i = 0; i < d->count && i < DOCTOR_CANDIDATES; i++) {
		const struct ec2_instance *c = &d->candidate[i];
		char line[400];

		(void)str_fmt(line, sizeof(line), "%s %s %s %s %s", c->id, c->name, c->state,
			      c->private_ip, c->zone);
		str_printable(line);
		printf("        %-12s %s\n", "", line);
	}
	if (d->count > DOCTOR_CANDIDATES)
		printf("        %-12s ... (awsocks targets lists all)\n", "");
	return result;
}

/* Nothing is started for a look. */
static int started_when_needed(struct doctor *d)
{
	char text[200];

	(void)str_fmt(text, sizeof(text), "%s %.64s, stopped; --auto-start starts it when needed",
		      d->instance.id, d->instance.name);
	(void)str_fmt(d->target, sizeof(d->target), "%s", d->instance.id);
	doctor_good("permissions", "ec2:DescribeInstances");
	doctor_good("instance", text);
	if (doctor_power(d) == 0)
		printf("        %-12s agent, document and data channel: it has to run for that\n",
		       "not tried:");
	return -1;
}

static int judge_instance(struct doctor *d, const struct ec2_query *q)
{
	char who[EC2_QUERY_TEXT], text[300];
	struct err e;

	ec2_query_text(q, who);
	if (d->count == 0) {
		(void)err_set(&e, ERR_TARGET, "no instance in %s is %s", d->aws.region, who);
		return doctor_broken(
			d, "instance", &e,
			"is it the right region and account? awsocks targets lists them");
	}
	if (d->count > 1)
		return several(d, who);
	if (d->options->auto_start && strcmp(d->instance.state, "stopped") == 0)
		return started_when_needed(d);
	if (strcmp(d->instance.state, "running") != 0) {
		(void)err_set(&e, ERR_TARGET, "instance %s is %s", d->instance.id,
			      d->instance.state);
		return doctor_broken(d, "instance", &e, "start it, or give --auto-start");
	}
	(void)str_fmt(d->target, sizeof(d->target), "%s", d->instance.id);
	(void)str_fmt(text, sizeof(text), "%s %.64s, running in %s%s", d->target, d->instance.name,
		      d->instance.zone,
		      is_left_behind(d) ? "; started by an awsocks that was killed before it could "
					  "stop it: --auto-stop takes it over"
					: "");
	doctor_good("permissions", "ec2:DescribeInstances");
	doctor_good("instance", text);
	return 0;
}

static int look(struct doctor *d, const struct ec2_query *q)
{
	struct err e;

	if (!ec2_find(d->aws.aws, d->aws.ec2, q, on_instances, d, &e))
		return doctor_broken(d, "instance", &e, "see awsocks credentials --explain");
	if (aws_side_wait(&d->aws) == 0)
		return judge_instance(d, q);
	if (!doctor_denied(d->aws.code))
		return doctor_no_answer(d, "instance", "AWS_ENDPOINT_URL_EC2");
	if (!q->id)
		return doctor_broken(
			d, "permissions", &d->aws.err,
			"allow ec2:DescribeInstances, or name the instance by --instance-id");
	(void)str_fmt(d->target, sizeof(d->target), "%s", q->id);
	doctor_good("permissions", "without ec2:DescribeInstances, which an id does not need");
	return 0;
}

int doctor_instance(struct doctor *d)
{
	const struct options *o = d->aws.options;
	const char **filter = NULL;
	struct ec2_query q;
	struct err e;
	int result;

	if (!options_name_target(o)) {
		(void)err_set(&e, ERR_CONFIG, "no instance is named");
		return doctor_broken(
			d, "instance", &e,
			"give --instance-id or --name; awsocks targets lists what there is");
	}
	if (target_query(o, &q, &filter, &e) != 0) {
		result = doctor_broken(d, "instance", &e, "correct that option");
	} else if (q.id && ec2_is_foreign(q.id)) {
		(void)str_fmt(d->target, sizeof(d->target), "%s", q.id);
		doctor_good("instance", "not EC2's: SSM's own target");
		result = 0;
	} else {
		result = look(d, &q);
	}
	mem_free(filter);
	return result;
}

static void on_nodes(void *arg, const struct fleet_node *list, size_t n, const char *code,
		     const struct err *why)
{
	struct doctor *d = arg;
	struct err e;

	if (list && n)
		(void)str_fmt(d->agent, sizeof(d->agent), "%s", list[0].agent);
	if (list && n && strcmp(list[0].ping, "Online") != 0) {
		(void)err_set(&e, ERR_TARGET, "SSM has lost the agent of %.64s (%s)", d->target,
			      list[0].ping);
		why = &e;
	} else if (list && n == 0) {
		(void)err_set(&e, ERR_TARGET, "SSM knows no agent of %.64s", d->target);
		why = &e;
	}
	aws_side_done(&d->aws, code, why);
}

const char doctor_agent_cure[] = "is the agent installed and running there (systemctl status "
				 "amazon-ssm-agent), has the instance a "
				 "role with AmazonSSMManagedInstanceCore, and a way to ssm and "
				 "ssmmessages (NAT or VPC endpoints)?";

int doctor_agent(struct doctor *d)
{
	struct err e;
	char text[200];

	if (str_starts(d->target, "ecs:"))
		return 0;
	if (fleet_ask(d->aws.aws, d->aws.ssm, d->target, on_nodes, d, &e) != 0)
		return doctor_broken(d, "agent", &e, "see awsocks credentials --explain");
	if (aws_side_wait(&d->aws) != 0 && doctor_denied(d->aws.code)) {
		doctor_good("agent", "not asked: ssm:DescribeInstanceInformation is not allowed");
		return 0;
	}
	if (d->aws.err.code == ERR_TARGET)
		return doctor_broken(d, "agent", &d->aws.err, doctor_agent_cure);
	if (d->aws.err.code != ERR_NONE)
		return doctor_no_answer(d, "agent", "AWS_ENDPOINT_URL_SSM");
	if (d->options->transport == TRANSPORT_PORT &&
	    handshake_gate(d->agent, HANDSHAKE_REMOTE, &e) != 0)
		return doctor_broken(
			d, "agent", &e,
			"aws ssm send-command --document-name AWS-UpdateSSMAgent "
			"--targets Key=InstanceIds,Values=ID; or take --transport ssh");
	(void)str_fmt(text, sizeof(text), "online, version %s", d->agent);
	doctor_good("agent", text);
	return 0;
}
