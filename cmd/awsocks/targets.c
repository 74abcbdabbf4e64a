/*
 * `awsocks targets`: the instances of the region with what SSM says of their agents. What SSM knows
 * and EC2 does not (managed nodes, mi-...) stands behind them. One of the two may be forbidden:
 * then the other's half is shown, with a warning.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "backend/ssm/fleet.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/aws_side.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/own.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/target_query.h"
#include "ec2/instance.h"

enum { COLUMNS = 7 };

struct targets {
	struct aws_side aws;
	struct ec2_instance *instance;
	size_t count;
	struct fleet_node *node;
	size_t node_count;
	bool json, all_nodes;
};

static void on_instances(void *arg, const struct ec2_instance *list, size_t n,
			 const struct err *why)
{
	struct targets *t = arg;

	if (list && n && (t->instance = mem_alloc(n * sizeof(*list))) != NULL) {
		memcpy(t->instance, list, n * sizeof(*list));
		t->count = n;
	}
	aws_side_done(&t->aws, "", why);
}

static void on_nodes(void *arg, const struct fleet_node *list, size_t n, const char *code,
		     const struct err *why)
{
	struct targets *t = arg;

	if (list && n && (t->node = mem_alloc(n * sizeof(*list))) != NULL) {
		memcpy(t->node, list, n * sizeof(*list));
		t->node_count = n;
	}
	aws_side_done(&t->aws, code, why);
}

static const struct fleet_node *node_of(const struct targets *t, const char *id)
{
	for (size_t i = 0; i < t->node_count; i++)
		if (strcmp(t->node[i].id, id) == 0)
			return &t->node[i];
	return NULL;
}

static bool is_instance(const struct targets *t, const char *id)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->instance[i].id, id) == 0)
			return true;
	return false;
}

static void print_row(const char *const text[static COLUMNS])
{
	static const int width[COLUMNS] = { 20, 24, 10, 15, 14, 14, 0 };
	char cell[260];

	for (size_t k = 0; k < COLUMNS; k++) {
		(void)str_fmt(cell, sizeof(cell), "%s", *text[k] ? text[k] : "-");
		str_printable(cell); /* anybody may have written the tag */
		printf("%-*s%c", width[k], cell, k + 1 < COLUMNS ? ' ' : '\n');
	}
}

static void print_one(const struct targets *t, const struct ec2_instance *i,
		      const struct fleet_node *n)
{
	static const char *const key[COLUMNS] = { "id",   "name", "state", "private_ip",
						  "zone", "ssm",  "agent" };
	const char *const text[COLUMNS] = { i->id,   i->name, i->state, i->private_ip,
					    i->zone, n->ping, n->agent };
	cJSON *o;
	char *line;

	if (!t->json) {
		print_row(text);
		return;
	}
	o = cJSON_CreateObject();
	for (size_t k = 0; k < COLUMNS; k++)
		cJSON_AddStringToObject(o, key[k], text[k]);
	line = cJSON_PrintUnformatted(o);
	if (line)
		puts(line);
	cJSON_free(line);
	cJSON_Delete(o);
}

static void print(const struct targets *t)
{
	static const struct ec2_instance head = { .id = "ID",
						  .name = "NAME",
						  .state = "STATE",
						  .private_ip = "ADDRESS",
						  .zone = "ZONE" };
	static const struct fleet_node head_node = { .ping = "SSM", .agent = "AGENT" }, no_node;

	if (!t->json)
		print_one(t, &head, &head_node);
	for (size_t i = 0; i < t->count; i++) {
		const struct fleet_node *n = node_of(t, t->instance[i].id);

		print_one(t, &t->instance[i], n ? n : &no_node);
	}
	for (size_t i = 0; t->all_nodes && i < t->node_count; i++) {
		const struct fleet_node *n = &t->node[i];
		struct ec2_instance known = { 0 };

		if (is_instance(t, n->id))
			continue;
		(void)str_fmt(known.id, sizeof(known.id), "%s", n->id);
		(void)str_fmt(known.name, sizeof(known.name), "%s", n->name);
		(void)str_fmt(known.private_ip, sizeof(known.private_ip), "%s", n->ip);
		print_one(t, &known, n);
	}
}

static int ask(struct targets *t, struct err *e)
{
	const struct options *o = t->aws.options;
	struct ec2_query query;
	const char **filter;
	int result = target_query(o, &query, &filter, e), failed = 0;

	t->all_nodes = !options_name_target(o);
	if (result == 0 && (!query.id || !ec2_is_foreign(query.id))) {
		if (!ec2_find(t->aws.aws, t->aws.ec2, &query, on_instances, t, e))
			result = -1;
		else if (aws_side_wait(&t->aws) != 0 && ++failed)
			fprintf(stderr, "awsocks: %s\n", t->aws.err.msg);
	}
	if (result == 0 && query.id) /* then SSM is asked for that one alone */
		t->all_nodes = true;
	mem_free(filter);
	if (result != 0)
		return -1;
	if (fleet_ask(t->aws.aws, t->aws.ssm, query.id, on_nodes, t, e) != 0)
		return -1;
	if (aws_side_wait(&t->aws) == 0)
		return 0;
	*e = t->aws.err;
	if (failed)
		return -1;
	fprintf(stderr, "awsocks: %s\n", e->msg);
	return 0;
}

static int run(struct targets *t, const struct options *o)
{
	struct err e;
	int status = 0;

	if (aws_side_files(&t->aws, o, &e) != 0 || aws_side_region(&t->aws, &e) != 0 ||
	    aws_side_net(&t->aws, &e) != 0 || aws_side_client(&t->aws, &e) != 0 || ask(t, &e) != 0)
		status = command_fail(&e);
	else
		print(t);
	mem_free(t->instance);
	mem_free(t->node);
	if (!aws_side_free(&t->aws))
		command_leave(status);
	return status;
}

const struct arg_opt targets_options[] = {
	{ "json", 0, NULL, NULL, NULL, "One JSON object a line." },
	{ 0 },
};

int cmd_targets(int argc, char **argv)
{
	struct targets t = { 0 };
	struct arg_opt own[] = { targets_options[0], { 0 } };
	struct setup s;
	struct err e;
	int status;

	own[0].flag = &t.json;
	if (setup_load(&s, argc, argv, own, NULL, NULL, &e) != 0)
		return command_fail(&e);
	if (s.args.help) {
		status = command_help("targets");
	} else if (s.args.count > 1) {
		(void)err_set(&e, ERR_USAGE, "targets: unknown argument '%s'",
			      s.args.positional[1]);
		status = command_fail(&e);
	} else if (setup_profiles(&s, s.args.positional, s.args.count, &e) != 0) {
		status = command_fail(&e);
	} else {
		status = run(&t, &s.profile[0].options);
	}
	setup_free(&s);
	return status;
}
