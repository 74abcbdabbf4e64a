/* SSM's lists: which instances are online, and which sessions there are and were. */
#include "cmd/localaws/api_ssm.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/str.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/world.h"

#define TOKEN "localaws-page-"
enum { PAGE_MIN = 5, PAGE_MAX = 50, PAGE_DEFAULT = 10 };

/* --- DescribeInstanceInformation --- */

static const char *ping_status(const struct api_call *c, const struct instance *in)
{
	return instance_is_connected(in, world_now_ms(c->w)) ? "Online" : "ConnectionLost";
}

static const char *info_field(const struct api_call *c, const struct instance *in, const char *key)
{
	const struct {
		const char *key, *value;
	} fields[] = {
		{ "InstanceIds", in->id },
		{ "PingStatus", ping_status(c, in) },
		{ "PlatformTypes", "Linux" },
		{ "AgentVersion", c->w->opts->agent_version },
		{ "ResourceType", "EC2Instance" },
		{ "tag:Name", in->name },
		{ "tag-key", "Name" },
		{ "AssociationStatus", "Success" },
		{ "ActivationIds", "" },
		{ "IamRole", "" },
		{ "SourceIds", "" },
		{ "SourceTypes", "AWS::EC2::Instance" },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcmp(key, fields[i].key) == 0)
			return fields[i].value;
	return str_starts(key, "tag:") ? instance_tag(in, key + 4) : NULL;
}

/* Filters, and the older InstanceInformationFilterList, name the same two things differently. */
static const cJSON *filter_key(const cJSON *filter)
{
	const cJSON *key = cJSON_GetObjectItemCaseSensitive(filter, "Key");

	return key ? key : cJSON_GetObjectItemCaseSensitive(filter, "key");
}

static const cJSON *filter_values(const cJSON *filter)
{
	const cJSON *values = cJSON_GetObjectItemCaseSensitive(filter, "Values");

	return values ? values : cJSON_GetObjectItemCaseSensitive(filter, "valueSet");
}

static bool info_selected(const struct api_call *c, const struct instance *in, const cJSON *filters)
{
	const cJSON *filter, *value;

	if (in->state == INSTANCE_TERMINATED)
		return false;
	cJSON_ArrayForEach(filter, filters)
	{
		const cJSON *key = filter_key(filter);
		const cJSON *values = filter_values(filter);
		const char *have = info_field(c, in, key->valuestring);
		bool any = false;

		cJSON_ArrayForEach(value, values) any =
			any || (cJSON_IsString(value) && strcmp(have, value->valuestring) == 0);
		if (!any)
			return false;
	}
	return true;
}

static bool info_check(struct api_call *c, const cJSON *filters)
{
	const cJSON *filter, *value;

	cJSON_ArrayForEach(filter, filters)
	{
		const cJSON *key = filter_key(filter);
		const cJSON *values = filter_values(filter);

		if (!cJSON_IsString(key) || !cJSON_IsArray(values) || !values->child) {
			ssm_invalid(c, "filters", NULL, "Member must not be null");
			return false;
		}
		if (!info_field(c, &c->w->instances.at[0], key->valuestring)) {
			api_error(c, 400, "InvalidFilterKey", "%.60s is not a filter key",
				  key->valuestring);
			return false;
		}
		if (strcmp(key->valuestring, "InstanceIds") != 0)
			continue;
		cJSON_ArrayForEach(value, values) if (!cJSON_IsString(value) ||
						      (!str_starts(value->valuestring, "i-") &&
						       !str_starts(value->valuestring, "mi-")))
		{
			api_error(c, 400, "InvalidInstanceId", "The instance ID is not valid");
			return false;
		}
	}
	return true;
}

static cJSON *info_entry(const struct api_call *c, const struct instance *in)
{
	cJSON *entry = cJSON_CreateObject();

	cJSON_AddStringToObject(entry, "InstanceId", in->id);
	cJSON_AddStringToObject(entry, "PingStatus", ping_status(c, in));
	cJSON_AddNumberToObject(entry, "LastPingDateTime", (double)world_wall_ms(c->w) / 1000.0);
	cJSON_AddStringToObject(entry, "AgentVersion", c->w->opts->agent_version);
	cJSON_AddBoolToObject(entry, "IsLatestVersion", true);
	cJSON_AddStringToObject(entry, "PlatformType", "Linux");
	cJSON_AddStringToObject(entry, "PlatformName", "Amazon Linux");
	cJSON_AddStringToObject(entry, "PlatformVersion", "2023");
	cJSON_AddStringToObject(entry, "ResourceType", "EC2Instance");
	cJSON_AddStringToObject(entry, "IPAddress", in->ip);
	cJSON_AddStringToObject(entry, "ComputerName", in->name[0] ? in->name : in->id);
	return entry;
}

static bool info_page(struct api_call *c, size_t *from, size_t *most)
{
	const cJSON *max = ssm_member(c, "MaxResults"), *token = ssm_member(c, "NextToken");
	const struct options *o = c->w->opts;
	uint64_t at = 0;

	*most = PAGE_DEFAULT;
	if (max && !cJSON_IsNull(max)) {
		if (!cJSON_IsNumber(max) || max->valueint < PAGE_MIN || max->valueint > PAGE_MAX) {
			ssm_invalid(c, "maxResults", NULL, "Member must be between 5 and 50");
			return false;
		}
		*most = (size_t)max->valueint;
	}
	if (o->page_size && o->page_size < *most)
		*most = o->page_size;
	if (cJSON_IsString(token) && *token->valuestring &&
	    (!str_starts(token->valuestring, TOKEN) ||
	     str_number(token->valuestring + strlen(TOKEN), 0, INSTANCES_MAX, &at, NULL) != 0)) {
		api_error(c, 400, "InvalidNextToken", "The specified token is not valid.");
		return false;
	}
	*from = (size_t)at;
	return true;
}

void ssm_describe_instance_information(struct api_call *c)
{
	const struct instances *all = &c->w->instances;
	const cJSON *filters = ssm_member(c, "Filters");
	const cJSON *older = ssm_member(c, "InstanceInformationFilterList");
	size_t i = 0, most = 0, written = 0;
	char token[64] = "";
	cJSON *root, *list;

	if (ssm_denied(c, "DescribeInstanceInformation") || !info_check(c, filters) ||
	    !info_check(c, older) || !info_page(c, &i, &most))
		return;
	root = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(root, "InstanceInformationList");
	for (; i < all->count && written < most; i++)
		if (api_sees(c, &all->at[i]) && info_selected(c, &all->at[i], filters) &&
		    info_selected(c, &all->at[i], older)) {
			cJSON_AddItemToArray(list, info_entry(c, &all->at[i]));
			written++;
		}
	if (i < all->count)
		(void)str_fmt(token, sizeof(token), TOKEN "%zu", i);
	cJSON_AddStringToObject(root, "NextToken", token);
	api_json(c, root);
}

/* --- DescribeSessions --- */

enum { SESSIONS_PAGE_MAX = 200 };

struct listing {
	struct api_call *c;
	const cJSON *filters;
	cJSON *out;
	size_t from, most, seen;
};

static const char *session_field(const struct session_note *n, const char *key)
{
	const struct {
		const char *key, *value;
	} fields[] = {
		{ "SessionId", n->id },          { "Status", n->status },
		{ "Target", n->params->target }, { "Owner", n->params->owner },
		{ "AccessType", "Standard" },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcmp(key, fields[i].key) == 0)
			return fields[i].value;
	return NULL;
}

static bool session_selected(const struct listing *l, const struct session_note *n)
{
	const cJSON *filter;

	if (strcmp(n->params->account, l->c->caller->account) != 0)
		return false;
	cJSON_ArrayForEach(filter, l->filters)
	{
		const char *key = cJSON_GetStringValue(filter_key(filter));
		const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(filter, "value"));
		const char *have = session_field(n, key);
		int64_t when = 0;

		if (have && strcmp(have, value) != 0)
			return false;
		if (have || clock_parse_iso(value, &when, NULL) != 0)
			continue;
		if (strcmp(key, "InvokedAfter") == 0 ? n->began_ms < when : n->began_ms > when)
			return false;
	}
	return true;
}

static void list_session(void *arg, const struct session_note *n)
{
	struct listing *l = arg;
	const struct session_params *p = n->params;
	cJSON *entry;

	if (!session_selected(l, n) || l->seen++ < l->from || l->seen > l->from + l->most)
		return;
	entry = cJSON_CreateObject();
	cJSON_AddStringToObject(entry, "SessionId", n->id);
	cJSON_AddStringToObject(entry, "Target", p->target);
	cJSON_AddStringToObject(entry, "Status", n->status);
	cJSON_AddNumberToObject(entry, "StartDate", (double)n->began_ms / 1000.0);
	if (n->ended_ms)
		cJSON_AddNumberToObject(entry, "EndDate", (double)n->ended_ms / 1000.0);
	cJSON_AddStringToObject(entry, "DocumentName", p->document);
	cJSON_AddStringToObject(entry, "Owner", p->owner);
	if (*p->reason)
		cJSON_AddStringToObject(entry, "Reason", p->reason);
	cJSON_AddStringToObject(entry, "AccessType", "Standard");
	cJSON_AddItemToArray(l->out, entry);
}

static bool session_filters_ok(struct api_call *c, const cJSON *filters)
{
	static const struct session_params none;
	static const struct session_note nobody = { "", "", &none, 0, 0 };
	const cJSON *filter;
	int64_t when;

	cJSON_ArrayForEach(filter, filters)
	{
		const char *key = cJSON_GetStringValue(filter_key(filter));
		const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(filter, "value"));
		bool date = key &&
			    (strcmp(key, "InvokedAfter") == 0 || strcmp(key, "InvokedBefore") == 0);

		if (!key || !value) {
			ssm_invalid(c, "filters", NULL, "Member must not be null");
			return false;
		}
		if (!date && !session_field(&nobody, key)) {
			api_error(c, 400, "InvalidFilterKey", "%.60s is not a filter key", key);
			return false;
		}
		if (date && clock_parse_iso(value, &when, NULL) != 0) {
			ssm_invalid(c, "filters", value, "Member must be a date");
			return false;
		}
	}
	return true;
}

static bool session_page(struct api_call *c, struct listing *l)
{
	const cJSON *max = ssm_member(c, "MaxResults"), *token = ssm_member(c, "NextToken");
	uint64_t at = 0;

	l->most = SESSIONS_PAGE_MAX;
	if (max && !cJSON_IsNull(max)) {
		if (!cJSON_IsNumber(max) || max->valueint < 1 ||
		    max->valueint > SESSIONS_PAGE_MAX) {
			ssm_invalid(c, "maxResults", NULL, "Member must be between 1 and 200");
			return false;
		}
		l->most = (size_t)max->valueint;
	}
	if (cJSON_IsString(token) && *token->valuestring &&
	    (!str_starts(token->valuestring, TOKEN) ||
	     str_number(token->valuestring + strlen(TOKEN), 0, UINT32_MAX, &at, NULL) != 0)) {
		api_error(c, 400, "InvalidNextToken", "The specified token is not valid.");
		return false;
	}
	l->from = (size_t)at;
	return true;
}

void ssm_describe_sessions(struct api_call *c)
{
	const char *state = ssm_text_member(c, "State", "state", sizeof("History"));
	struct listing l = { .c = c, .filters = ssm_member(c, "Filters") };
	char token[64];
	cJSON *root;

	if (!state)
		return;
	if (strcmp(state, "Active") != 0 && strcmp(state, "History") != 0) {
		ssm_invalid(c, "state", state,
			    "Member must satisfy enum value set: [Active, History]");
		return;
	}
	if (!session_filters_ok(c, l.filters) || !session_page(c, &l))
		return;
	root = cJSON_CreateObject();
	l.out = cJSON_AddArrayToObject(root, "Sessions");
	sessions_list(c->w, strcmp(state, "Active") == 0, list_session, &l);
	if (l.seen > l.from + l.most) {
		(void)str_fmt(token, sizeof(token), TOKEN "%zu", l.from + l.most);
		cJSON_AddStringToObject(root, "NextToken", token);
	}
	api_json(c, root);
}
