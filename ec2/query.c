/*
 * What the user says about an instance, as the filters of DescribeInstances.
 * Which filters there are: Amazon EC2 API Reference, DescribeInstances.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/str.h"
#include "credentials/form.h"
#include "ec2/describe.h"

enum { VALUE_MAX_BYTES = 1024, FILTER_NAME_MAX = 200 };

#define NAME_FILTER  "tag:Name"
#define GROUP_FILTER "tag:aws:autoscaling:groupName"

bool ec2_is_id(const char *text)
{
	size_t n;

	if (str_starts(text, "mi-"))
		text++;
	if (!str_starts(text, "i-"))
		return false;
	text += 2;
	n = strspn(text, "0123456789abcdef");
	return !text[n] && (n == 8 || n == 17);
}

bool ec2_is_foreign(const char *target)
{
	return str_starts(target, "mi-") || str_starts(target, "ecs:");
}

static const char *address_filter(const char *address)
{
	unsigned char raw[16];

	if (inet_pton(AF_INET, address, raw) == 1)
		return "private-ip-address";
	if (inet_pton(AF_INET6, address, raw) == 1)
		return "network-interface.ipv6-addresses.ipv6-address";
	return "private-dns-name";
}

/* --- for people --- */

static void say(char *out, const char *before, const char *text, const char *after)
{
	size_t used = strlen(out);

	(void)str_fmt(out + used, EC2_QUERY_TEXT - used, "%s%s%.64s%s", used ? ", " : "", before,
		      text, after);
}

void ec2_query_text(const struct ec2_query *q, char out[static EC2_QUERY_TEXT])
{
	out[0] = '\0';
	if (q->id)
		say(out, "with the id ", q->id, "");
	if (q->name)
		say(out, "named '", q->name, "'");
	if (q->group)
		say(out, "in Auto Scaling group '", q->group, "'");
	if (q->address)
		say(out, "at ", q->address, "");
	for (size_t i = 0; i < q->filter_count; i++)
		say(out, "with ", q->filter[i], "");
	if (!*out)
		say(out, "", "at all", "");
}

/* --- the form --- */

struct form_filters {
	struct buf *form;
	unsigned count;
};

static int add_field(struct buf *b, unsigned number, const char *field, const char *value,
		     struct err *e)
{
	char key[40];

	(void)str_fmt(key, sizeof(key), "Filter.%u.%s", number, field);
	return form_add(b, key, value, e);
}

static int add_filter(struct form_filters *f, const char *name, const char *value, struct err *e)
{
	f->count++;
	if (add_field(f->form, f->count, "Name", name, e) != 0)
		return -1;
	return add_field(f->form, f->count, "Value.1", value, e);
}

/* EC2 reads '*' and '?' in a filter as wildcards. */
static int add_literal(struct form_filters *f, const char *name, const char *value, struct err *e)
{
	char escaped[2 * VALUE_MAX_BYTES + 1], *to = escaped;

	if (strlen(value) > VALUE_MAX_BYTES)
		return err_set(e, ERR_CONFIG, "'%.40s...' is longer than %d bytes", value,
			       VALUE_MAX_BYTES);
	for (; *value; value++) {
		if (strchr("*?\\", *value))
			*to++ = '\\';
		*to++ = *value;
	}
	*to = '\0';
	return add_filter(f, name, escaped, e);
}

/* Where the value of "NAME=VALUE" begins. NULL: *e tells. */
static const char *split(const char *text, char name[static FILTER_NAME_MAX], struct err *e)
{
	const char *eq = strchr(text, '=');

	if (!eq || eq == text || !eq[1]) {
		(void)err_set(e, ERR_CONFIG,
			      "filter '%.80s' is not NAME=VALUE, as in tag:Role=bastion", text);
		return NULL;
	}
	if (strlen(eq + 1) > VALUE_MAX_BYTES ||
	    !str_fmt(name, FILTER_NAME_MAX, "%.*s", (int)(eq - text), text)) {
		(void)err_set(e, ERR_CONFIG, "filter '%.40s...' is too long", text);
		return NULL;
	}
	return eq + 1;
}

static int add_own_filters(struct form_filters *f, const struct ec2_query *q, bool *states,
			   struct err *e)
{
	char name[FILTER_NAME_MAX];

	for (size_t i = 0; i < q->filter_count; i++) {
		const char *value = split(q->filter[i], name, e);

		if (!value || add_filter(f, name, value, e) != 0)
			return -1;
		*states = *states || strcmp(name, "instance-state-name") == 0;
	}
	return 0;
}

/* What is gone for good is not meant. */
static int add_states(struct form_filters *f, struct err *e)
{
	static const char *const states[] = { "pending", "running", "stopping", "stopped" };
	char field[16];

	f->count++;
	if (add_field(f->form, f->count, "Name", "instance-state-name", e) != 0)
		return -1;
	for (unsigned i = 0; i < sizeof(states) / sizeof(*states); i++) {
		(void)str_fmt(field, sizeof(field), "Value.%u", i + 1);
		if (add_field(f->form, f->count, field, states[i], e) != 0)
			return -1;
	}
	return 0;
}

static int add_query(struct buf *b, const struct ec2_query *q, struct err *e)
{
	struct form_filters f = { .form = b };
	bool states = false;

	if (q->name && add_literal(&f, NAME_FILTER, q->name, e) != 0)
		return -1;
	if (q->group && add_literal(&f, GROUP_FILTER, q->group, e) != 0)
		return -1;
	if (q->address && add_literal(&f, address_filter(q->address), q->address, e) != 0)
		return -1;
	if (add_own_filters(&f, q, &states, e) != 0)
		return -1;
	return states ? 0 : add_states(&f, e);
}

static int begin(struct buf *b, const char *action, struct err *e)
{
	if (form_add(b, "Action", action, e) != 0)
		return -1;
	return form_add(b, "Version", "2016-11-15", e);
}

int describe_form(struct buf *b, const struct ec2_query *q, const char *token, struct err *e)
{
	if (begin(b, "DescribeInstances", e) != 0)
		return -1;
	if ((q->id ? form_add(b, "InstanceId.1", q->id, e) : add_query(b, q, e)) != 0)
		return -1;
	return token ? form_add(b, "NextToken", token, e) : 0;
}

int power_form(struct buf *b, const char *action, const char *id, struct err *e)
{
	if (begin(b, action, e) != 0)
		return -1;
	return form_add(b, "InstanceId.1", id, e);
}

int ec2_query_check(const struct ec2_query *q, struct err *e)
{
	char name[FILTER_NAME_MAX];

	if (q->id && (!*q->id || strlen(q->id) >= sizeof(((struct ec2_instance *)0)->id)) &&
	    !ec2_is_foreign(q->id))
		return err_set(e, ERR_CONFIG, "'%.80s' is not an instance id", q->id);
	for (size_t i = 0; i < q->filter_count; i++)
		if (!split(q->filter[i], name, e))
			return -1;
	return 0;
}
