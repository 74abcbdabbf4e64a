/*
 * EC2: DescribeInstances and DescribeInstanceStatus (Query protocol, version
 * 2016-11-15), with ids, filters and pages. NextToken is the place in the
 * table, written so that nobody takes it for a number.
 */
#include "cmd/localaws/api.h"

#include <fnmatch.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/world.h"

#define EC2_NS "http://ec2.amazonaws.com/doc/2016-11-15/"
#define TOKEN  "localaws-page-"
enum { PAGE_MAX = 1000, PAGE_MIN = 5, FILTERS_MAX = 50, VALUES_MAX = 200 };

static void put(struct buf *b, const char *text)
{
	if (buf_add(b, text, strlen(text), NULL) != 0)
		log_error("ec2", "out of memory");
}

/* --- selection --- */

static const char *field_of(const struct instance *in, const char *filter)
{
	if (strcmp(filter, "tag:Name") == 0)
		return in->name;
	if (strcmp(filter, "instance-id") == 0)
		return in->id;
	if (strcmp(filter, "instance-state-name") == 0)
		return instance_state_name(in->state);
	if (strcmp(filter, "private-ip-address") == 0)
		return in->ip;
	if (str_starts(filter, "tag:"))
		return ""; /* instances here have no other tags */
	return NULL;
}

static const char *id_at(const struct form *f, size_t i)
{
	char name[64];

	(void)str_fmt(name, sizeof(name), "InstanceId.%zu", i);
	return form_get(f, name);
}

static const char *filter_at(const struct form *f, size_t i)
{
	char name[64];

	(void)str_fmt(name, sizeof(name), "Filter.%zu.Name", i);
	return form_get(f, name);
}

static const char *value_at(const struct form *f, size_t i, size_t j)
{
	char name[64];

	(void)str_fmt(name, sizeof(name), "Filter.%zu.Value.%zu", i, j);
	return form_get(f, name);
}

static bool filter_matches(const struct form *f, size_t i, const char *have)
{
	const char *want;

	for (size_t j = 1; j <= VALUES_MAX && (want = value_at(f, i, j)); j++)
		if (*have && fnmatch(want, have, 0) == 0)
			return true;
	return false;
}

static bool selected(const struct form *f, const struct instance *in)
{
	const char *name, *id;
	bool listed = true;

	for (size_t i = 1; (id = id_at(f, i)); i++) {
		listed = strcmp(id, in->id) == 0;
		if (listed)
			break;
	}
	if (!listed)
		return false;
	for (size_t i = 1; i <= FILTERS_MAX && (name = filter_at(f, i)); i++) {
		const char *have = field_of(in, name);

		if (!have || !filter_matches(f, i, have))
			return false;
	}
	return true;
}

/* Every id must exist and every filter be one that is known. */
static bool check(struct api_call *c)
{
	const char *id, *name;

	for (size_t i = 1; (id = id_at(c->form, i)); i++) {
		if (!str_starts(id, "i-")) {
			api_error(c, 400, "InvalidInstanceID.Malformed", "Invalid id: \"%.40s\"",
				  id);
			return false;
		}
		if (!instances_find(&c->w->opts->instances, id)) {
			api_error(c, 400, "InvalidInstanceID.NotFound",
				  "The instance ID '%.40s' does not exist", id);
			return false;
		}
	}
	for (size_t i = 1; (name = filter_at(c->form, i)); i++) {
		if (i > FILTERS_MAX || !field_of(&c->w->opts->instances.at[0], name)) {
			api_error(c, 400, "InvalidParameterValue", "The filter '%.40s' is invalid",
				  name);
			return false;
		}
	}
	return true;
}

/* --- pages --- */

struct page {
	size_t from, most;
};

static bool read_page(struct api_call *c, struct page *p)
{
	const char *most = form_get(c->form, "MaxResults"), *token = form_get(c->form, "NextToken");
	const struct options *o = c->w->opts;
	uint64_t n = PAGE_MAX, from = 0;

	if (most && id_at(c->form, 1)) {
		api_error(
			c, 400, "InvalidParameterCombination",
			"The parameter instancesSet cannot be used with the parameter maxResults");
		return false;
	}
	if (most && str_number(most, PAGE_MIN, PAGE_MAX, &n, NULL) != 0) {
		api_error(c, 400, "InvalidParameterValue",
			  "Value ( %.20s ) for parameter maxResults is invalid. Expecting a value "
			  "between 5 and 1000.",
			  most);
		return false;
	}
	if (token && *token &&
	    (!str_starts(token, TOKEN) ||
	     str_number(token + strlen(TOKEN), 0, INSTANCES_MAX, &from, NULL) != 0)) {
		api_error(c, 400, "InvalidParameterValue", "Unable to parse pagination token");
		return false;
	}
	p->most = o->page_size && o->page_size < n ? o->page_size : (size_t)n;
	p->from = (size_t)from;
	return true;
}

static void write_state(struct buf *b, const char *name, const struct instance *in)
{
	if (buf_addf(b, NULL, "<%s><code>%d</code><name>%s</name></%s>", name,
		     instance_state_code(in->state), instance_state_name(in->state), name) != 0)
		log_error("ec2", "out of memory");
}

static void write_instance(struct api_call *c, const struct instance *in)
{
	struct buf *b = &c->reply->body;

	put(b, "<item><reservationId>r-0");
	put(b, in->id + 2);
	put(b,
	    "</reservationId><ownerId>" KEYS_ACCOUNT "</ownerId><groupSet/><instancesSet><item>");
	api_xml(b, "instanceId", in->id);
	put(b, "<imageId>ami-0123456789abcdef0</imageId>");
	write_state(b, "instanceState", in);
	put(b,
	    "<instanceType>t3.nano</instanceType><launchTime>2026-01-01T00:00:00.000Z</launchTime>"
	    "<placement><availabilityZone>us-east-1a</availabilityZone><tenancy>default</tenancy>"
	    "</placement><platformDetails>Linux/UNIX</platformDetails>");
	api_xml(b, "privateIpAddress", in->ip);
	put(b, "<architecture>x86_64</architecture><tagSet>");
	if (in->name[0]) {
		put(b, "<item><key>Name</key>");
		api_xml(b, "value", in->name);
		put(b, "</item>");
	}
	put(b, "</tagSet></item></instancesSet></item>");
}

static void write_status(struct api_call *c, const struct instance *in)
{
	struct buf *b = &c->reply->body;

	put(b, "<item>");
	api_xml(b, "instanceId", in->id);
	put(b, "<availabilityZone>us-east-1a</availabilityZone>");
	write_state(b, "instanceState", in);
	put(b, "<systemStatus><status>ok</status></systemStatus>"
	       "<instanceStatus><status>ok</status></instanceStatus></item>");
}

static void describe(struct api_call *c, const char *op, const char *set, bool only_running,
		     void (*write)(struct api_call *, const struct instance *))
{
	const struct instances *all = &c->w->opts->instances;
	struct buf *b = &c->reply->body;
	struct page p;
	size_t i, written = 0;

	if (!check(c) || !read_page(c, &p))
		return;
	c->reply->type = "text/xml;charset=UTF-8";
	if (buf_addf(b, NULL,
		     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%sResponse xmlns=\"" EC2_NS "\">"
		     "<requestId>%s</requestId><%s>",
		     op, c->request->id, set) != 0)
		log_error("ec2", "out of memory");
	for (i = p.from; i < all->count && written < p.most; i++) {
		const struct instance *in = &all->at[i];

		if (!selected(c->form, in) || (only_running && in->state != INSTANCE_RUNNING))
			continue;
		write(c, in);
		written++;
	}
	if (buf_addf(b, NULL, "</%s>", set) != 0)
		log_error("ec2", "out of memory");
	if (i < all->count && buf_addf(b, NULL, "<nextToken>" TOKEN "%zu</nextToken>", i) != 0)
		log_error("ec2", "out of memory");
	if (buf_addf(b, NULL, "</%sResponse>", op) != 0)
		log_error("ec2", "out of memory");
}

static void describe_instances(struct api_call *c)
{
	describe(c, "DescribeInstances", "reservationSet", false, write_instance);
}

static void describe_instance_status(struct api_call *c)
{
	const char *all = form_get(c->form, "IncludeAllInstances");

	describe(c, "DescribeInstanceStatus", "instanceStatusSet",
		 !(all && strcmp(all, "true") == 0), write_status);
}

const struct api_op api_ec2_ops[] = {
	{ "DescribeInstances", describe_instances },
	{ "DescribeInstanceStatus", describe_instance_status },
	{ NULL, NULL },
};
