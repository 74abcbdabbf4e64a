/*
 * EC2: DescribeInstances and DescribeInstanceStatus (Query protocol, version
 * 2016-11-15), with ids, filters and pages; StartInstances and StopInstances. NextToken is the
 * place in the table, written so that nobody takes it for a number.
 */
#include "cmd/localaws/api.h"

#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/world.h"

#define EC2_NS "http://ec2.amazonaws.com/doc/2016-11-15/"
#define TOKEN  "localaws-page-"
/* Its names are older than those of other regions. */
#define FIRST_REGION "us-east-1"
enum { PAGE_MAX = 1000, PAGE_MIN = 5, FILTERS_MAX = 50, VALUES_MAX = 200 };

static void put(struct buf *b, const char *text)
{
	if (buf_add(b, text, strlen(text), NULL) != 0)
		log_error("ec2", "out of memory");
}

/* --- selection --- */

static void private_dns(const struct instance *in, char out[static 64])
{
	char dashed[32];
	size_t region;

	(void)str_fmt(dashed, sizeof(dashed), "%.31s", in->ip);
	for (char *p = dashed; *p; p++)
		if (*p == '.')
			*p = '-';
	region = strlen(in->zone) ? strlen(in->zone) - 1 : 0; /* "us-east-1a" */
	if (region == strlen(FIRST_REGION) && strncmp(in->zone, FIRST_REGION, region) == 0)
		(void)str_fmt(out, 64, "ip-%s.ec2.internal", dashed);
	else
		(void)str_fmt(out, 64, "ip-%s.%.*s.compute.internal", dashed, (int)region,
			      in->zone);
}

/* '*' and '?' are wildcards, and '\\' takes that from them. */
static bool glob(const char *want, const char *have)
{
	for (; *want; want++, have++) {
		if (*want == '*') {
			for (;; have++) {
				if (glob(want + 1, have))
					return true;
				if (!*have)
					return false;
			}
		}
		if (*want == '?' && *have)
			continue;
		if (*want == '\\' && want[1])
			want++;
		if (*want != *have)
			return false;
	}
	return !*have;
}

/* NULL: there is no such filter. */
static const char *field_of(const struct instance *in, const char *filter, char dns[static 64])
{
	const struct {
		const char *filter, *value;
	} fields[] = {
		{ "instance-id", in->id },
		{ "instance-state-name", instance_state_name(in->state) },
		{ "private-ip-address", in->ip },
		{ "private-dns-name", dns },
		{ "availability-zone", in->zone },
		{ "instance-type", "t3.nano" },
		{ "image-id", "ami-0123456789abcdef0" },
		{ "vpc-id", "vpc-0123456789abcdef0" },
		{ "ip-address", "" },
		{ "dns-name", "" },
		{ "network-interface.ipv6-addresses.ipv6-address", "" },
		{ "tag-key", "" }, /* see tag_key_matches() */
	};

	private_dns(in, dns);
	if (str_starts(filter, "tag:"))
		return instance_tag(in, filter + 4);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcmp(filter, fields[i].filter) == 0)
			return fields[i].value;
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
		if (*have && glob(want, have))
			return true;
	return false;
}

static bool tag_key_matches(const struct form *f, size_t i, const struct instance *in)
{
	bool any = in->name[0] && filter_matches(f, i, "Name");

	for (size_t t = 0; t < in->tag_count && !any; t++)
		any = filter_matches(f, i, in->tag[t].key);
	return any;
}

static bool selected(const struct form *f, const struct instance *in)
{
	const char *name, *id;
	char dns[64];
	bool listed = true;

	for (size_t i = 1; (id = id_at(f, i)); i++) {
		listed = strcmp(id, in->id) == 0;
		if (listed)
			break;
	}
	if (!listed)
		return false;
	for (size_t i = 1; i <= FILTERS_MAX && (name = filter_at(f, i)); i++) {
		const char *have = field_of(in, name, dns);

		if (strcmp(name, "tag-key") == 0 ? !tag_key_matches(f, i, in)
						 : !have || !filter_matches(f, i, have))
			return false;
	}
	return true;
}

/* Every id must exist and every filter be one that is known. */
static bool check(struct api_call *c)
{
	const char *id, *name;
	char dns[64];

	for (size_t i = 1; (id = id_at(c->form, i)); i++) {
		if (!str_starts(id, "i-")) {
			api_error(c, 400, "InvalidInstanceID.Malformed", "Invalid id: \"%.40s\"",
				  id);
			return false;
		}
		if (!api_instance(c, id)) {
			api_error(c, 400, "InvalidInstanceID.NotFound",
				  "The instance ID '%.40s' does not exist", id);
			return false;
		}
	}
	for (size_t i = 1; (name = filter_at(c->form, i)); i++) {
		if (i > FILTERS_MAX || !field_of(&c->w->instances.at[0], name, dns)) {
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

static void write_tag(struct buf *b, const char *key, const char *value)
{
	put(b, "<item>");
	api_xml(b, "key", key);
	api_xml(b, "value", value);
	put(b, "</item>");
}

static void write_instance(struct api_call *c, const struct instance *in)
{
	struct buf *b = &c->reply->body;
	char dns[64];

	put(b, "<item><reservationId>r-0");
	put(b, in->id + 2);
	put(b, "</reservationId>");
	api_xml(b, "ownerId", c->caller->account);
	put(b, "<groupSet/><instancesSet><item>");
	api_xml(b, "instanceId", in->id);
	put(b, "<imageId>ami-0123456789abcdef0</imageId>");
	write_state(b, "instanceState", in);
	private_dns(in, dns);
	api_xml(b, "privateDnsName", dns);
	put(b, "<instanceType>t3.nano</instanceType>");
	api_xml(b, "launchTime", in->launch);
	put(b, "<placement>");
	api_xml(b, "availabilityZone", in->zone);
	put(b,
	    "<tenancy>default</tenancy></placement><platformDetails>Linux/UNIX</platformDetails>");
	api_xml(b, "privateIpAddress", in->ip);
	put(b, "<architecture>x86_64</architecture><tagSet>");
	if (in->name[0])
		write_tag(b, "Name", in->name);
	for (size_t i = 0; i < in->tag_count; i++)
		write_tag(b, in->tag[i].key, in->tag[i].value);
	put(b, "</tagSet></item></instancesSet></item>");
}

static void write_status(struct api_call *c, const struct instance *in)
{
	struct buf *b = &c->reply->body;

	put(b, "<item>");
	api_xml(b, "instanceId", in->id);
	api_xml(b, "availabilityZone", in->zone);
	write_state(b, "instanceState", in);
	put(b, "<systemStatus><status>ok</status></systemStatus>"
	       "<instanceStatus><status>ok</status></instanceStatus></item>");
}

static void describe(struct api_call *c, const char *op, const char *set, bool only_running,
		     void (*write)(struct api_call *, const struct instance *))
{
	const struct instances *all = &c->w->instances;
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

		if (!api_sees(c, in) || !selected(c->form, in) ||
		    (only_running && in->state != INSTANCE_RUNNING))
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

/* --- power --- */

/* What a state's instance does when it is told to; via == the state itself: nothing. */
struct move {
	enum instance_state via, to;
	bool allowed;
};
static const struct move starts[INSTANCE_STATE_COUNT] = {
	[INSTANCE_PENDING] = { INSTANCE_PENDING, INSTANCE_PENDING, true },
	[INSTANCE_RUNNING] = { INSTANCE_RUNNING, INSTANCE_RUNNING, true },
	[INSTANCE_STOPPED] = { INSTANCE_PENDING, INSTANCE_RUNNING, true },
};
static const struct move stops[INSTANCE_STATE_COUNT] = {
	[INSTANCE_RUNNING] = { INSTANCE_STOPPING, INSTANCE_STOPPED, true },
	[INSTANCE_STOPPING] = { INSTANCE_STOPPING, INSTANCE_STOPPING, true },
	[INSTANCE_STOPPED] = { INSTANCE_STOPPED, INSTANCE_STOPPED, true },
};

static bool may_move(struct api_call *c, const struct move *moves, const char *done)
{
	const char *dry = form_get(c->form, "DryRun"), *id;

	if (!id_at(c->form, 1)) {
		api_error(c, 400, "MissingParameter",
			  "The request must contain the parameter InstanceId");
		return false;
	}
	if (!check(c))
		return false;
	for (size_t i = 1; (id = id_at(c->form, i)); i++)
		if (!moves[api_instance(c, id)->state].allowed) {
			api_error(c, 400, "IncorrectInstanceState",
				  "The instance '%.40s' is not in a state from which it can be %s.",
				  id, done);
			return false;
		}
	if (dry && strcmp(dry, "true") == 0) {
		api_error(c, 412, "DryRunOperation",
			  "Request would have succeeded, but DryRun flag is set.");
		return false;
	}
	return true;
}

static void launched_now(const struct api_call *c, struct instance *in)
{
	char date[25];

	clock_iso(world_wall_ms(c->w), date);
	(void)str_fmt(in->launch, sizeof(in->launch), "%s", date);
}

static void move(struct api_call *c, const char *op, const struct move *moves, uint64_t delay_ms)
{
	struct buf *b = &c->reply->body;
	const char *id;

	c->reply->type = "text/xml;charset=UTF-8";
	if (buf_addf(b, NULL,
		     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%sResponse xmlns=\"" EC2_NS "\">"
		     "<requestId>%s</requestId><instancesSet>",
		     op, c->request->id) != 0)
		log_error("ec2", "out of memory");
	for (size_t i = 1; (id = id_at(c->form, i)); i++) {
		struct instance *in = api_instance(c, id), before = *in;
		const struct move *m = &moves[in->state];

		if (m->via == INSTANCE_PENDING && in->state == INSTANCE_STOPPED)
			launched_now(c, in);
		if (m->via != in->state)
			instance_change(in, m->via, m->to, world_now_ms(c->w), delay_ms);
		put(b, "<item>");
		api_xml(b, "instanceId", id);
		write_state(b, "currentState", in);
		write_state(b, "previousState", &before);
		put(b, "</item>");
	}
	if (buf_addf(b, NULL, "</instancesSet></%sResponse>", op) != 0)
		log_error("ec2", "out of memory");
}

static void start_instances(struct api_call *c)
{
	if (!may_move(c, starts, "started"))
		return;
	if (fault_take(&c->w->faults, FAULT_REFUSE_START)) {
		api_error(
			c, 500, "InsufficientInstanceCapacity",
			"We currently do not have sufficient t3.nano capacity in the Availability "
			"Zone you requested.");
		return;
	}
	move(c, "StartInstances", starts,
	     (uint64_t)fault_value(&c->w->faults, FAULT_START_DELAY, 0));
}

static void stop_instances(struct api_call *c)
{
	const char *id;

	if (!may_move(c, stops, "stopped"))
		return;
	for (size_t i = 1; (id = id_at(c->form, i)); i++)
		sessions_end_of(c->w, id);
	move(c, "StopInstances", stops, (uint64_t)fault_value(&c->w->faults, FAULT_STOP_DELAY, 0));
}

const struct api_op api_ec2_ops[] = {
	{ "DescribeInstances", describe_instances },
	{ "DescribeInstanceStatus", describe_instance_status },
	{ "StartInstances", start_instances },
	{ "StopInstances", stop_instances },
	{ NULL, NULL },
};
