/*
 * The answer is reservationSet/item/instancesSet/item, and in each of the
 * latter the fields by name; whatever is missing stays "".
 */
#include "ec2/describe.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws_xml.h"

void ec2_list_free(struct ec2_list *l)
{
	mem_free(l->at);
	*l = (struct ec2_list){ 0 };
}

static int by_use(const void *a, const void *b)
{
	const struct ec2_instance *x = a, *y = b;
	int running = (strcmp(y->state, "running") == 0) - (strcmp(x->state, "running") == 0);
	int state = strcmp(x->state, y->state), launch = strcmp(y->launch_time, x->launch_time);

	return running ? running : state ? state : launch ? launch : strcmp(x->id, y->id);
}

void ec2_list_sort(struct ec2_list *l)
{
	if (l->count)
		qsort(l->at, l->count, sizeof(*l->at), by_use);
}

static void copy(char *out, size_t size, const struct xml *at, const char *path)
{
	const char *text = xml_text(at, path);

	(void)str_fmt(out, size, "%s", text ? text : "");
}

static void copy_name(struct ec2_instance *i, const struct xml *tags)
{
	for (size_t k = 0; tags && k < tags->count; k++) {
		const char *key = xml_text(tags->child[k], "key");

		if (key && strcmp(key, "Name") == 0)
			copy(i->name, sizeof(i->name), tags->child[k], "value");
	}
}

static int add(struct ec2_list *l, const struct xml *item, struct err *e)
{
	struct ec2_instance *i;

	if (!xml_text(item, "instanceId"))
		return err_set(e, ERR_PROTO, "EC2's answer has an instance without an id");
	if (l->count == EC2_LIST_MAX)
		return err_set(e, ERR_LIMIT, "more than %d instances match", EC2_LIST_MAX);
	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 4;

		i = mem_resize(l->at, room * sizeof(*i));
		if (!i)
			return err_set(e, ERR_NOMEM, "list of instances");
		l->at = i;
		l->room = room;
	}
	i = &l->at[l->count++];
	*i = (struct ec2_instance){ 0 };
	copy(i->id, sizeof(i->id), item, "instanceId");
	copy(i->state, sizeof(i->state), item, "instanceState/name");
	copy(i->private_ip, sizeof(i->private_ip), item, "privateIpAddress");
	copy(i->private_dns, sizeof(i->private_dns), item, "privateDnsName");
	copy(i->launch_time, sizeof(i->launch_time), item, "launchTime");
	copy(i->zone, sizeof(i->zone), item, "placement/availabilityZone");
	copy_name(i, xml_at(item, "tagSet"));
	return 0;
}

static int add_all(struct ec2_list *l, const struct xml *reservations, struct err *e)
{
	for (size_t r = 0; r < reservations->count; r++) {
		const struct xml *set = xml_at(reservations->child[r], "instancesSet");

		for (size_t i = 0; set && i < set->count; i++)
			if (add(l, set->child[i], e) != 0)
				return -1;
	}
	return 0;
}

int describe_parse(const char *text, size_t n, struct ec2_list *l, char **next, struct err *e)
{
	struct xml *root;
	const struct xml *reservations;
	const char *token;
	int result;

	*next = NULL;
	if (xml_parse(text, n, &root, e) != 0)
		return -1;
	reservations = xml_at(root, "reservationSet");
	token = xml_text(root, "nextToken");
	result = reservations ? add_all(l, reservations, e)
			      : err_set(e, ERR_PROTO, "EC2's answer has no reservationSet");
	if (result == 0 && token && *token) {
		*next = mem_strdup(token);
		if (!*next)
			result = err_set(e, ERR_NOMEM, "list of instances");
	}
	xml_free(root);
	return result;
}

int power_parse(const char *text, size_t n, char before[static EC2_STATE_TEXT], struct err *e)
{
	struct xml *root;
	const struct xml *set;
	const char *state = NULL;
	int result = 0;

	if (xml_parse(text, n, &root, e) != 0)
		return -1;
	set = xml_at(root, "instancesSet");
	if (set && set->count)
		state = xml_text(set->child[0], "previousState/name");
	if (!state || !str_fmt(before, EC2_STATE_TEXT, "%s", state))
		result = err_set(e, ERR_PROTO, "EC2's answer tells no previous state");
	xml_free(root);
	return result;
}
