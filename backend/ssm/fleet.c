#include "backend/ssm/fleet.h"

#include <cjson/cJSON.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/aws.h"

enum { PAGES_MAX = 200 };

struct fleet_call {
	struct aws_client *client;
	char *endpoint, *id;
	fleet_fn *fn;
	void *arg;
	struct fleet_list list;
	unsigned pages;
};

static const char *text_of(const cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : "";
}

static int add(struct fleet_list *l, const cJSON *item, struct err *e)
{
	struct fleet_node *n;

	if (l->count == FLEET_MAX)
		return err_set(e, ERR_LIMIT, "SSM has more than %d nodes", FLEET_MAX);
	n = mem_resize(l->at, (l->count + 1) * sizeof(*n));
	if (!n)
		return err_set(e, ERR_NOMEM, "list of nodes");
	l->at = n;
	n = &l->at[l->count++];
	*n = (struct fleet_node){ 0 };
	(void)str_fmt(n->id, sizeof(n->id), "%s", text_of(item, "InstanceId"));
	(void)str_fmt(n->ping, sizeof(n->ping), "%s", text_of(item, "PingStatus"));
	(void)str_fmt(n->agent, sizeof(n->agent), "%s", text_of(item, "AgentVersion"));
	(void)str_fmt(n->name, sizeof(n->name), "%s", text_of(item, "ComputerName"));
	(void)str_fmt(n->ip, sizeof(n->ip), "%s", text_of(item, "IPAddress"));
	return 0;
}

int fleet_parse(const char *json, size_t n, struct fleet_list *l, char **next, struct err *e)
{
	cJSON *root = cJSON_ParseWithLength(json, n);
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "InstanceInformationList");
	const char *token = text_of(root, "NextToken");
	int result = 0;

	*next = NULL;
	if (!cJSON_IsArray(list))
		result = err_set(e, ERR_PROTO, "SSM's answer has no InstanceInformationList");
	for (const cJSON *it = list ? list->child : NULL; it && result == 0; it = it->next)
		result = add(l, it, e);
	if (result == 0 && *token && !(*next = mem_strdup(token)))
		result = err_set(e, ERR_NOMEM, "list of nodes");
	cJSON_Delete(root);
	return result;
}

static void end(struct fleet_call *c, const char *code, const struct err *why)
{
	static const struct fleet_node none;

	c->fn(c->arg,
	      why          ? NULL
	      : c->list.at ? c->list.at
			   : &none,
	      why ? 0 : c->list.count, code, why);
	mem_free(c->list.at);
	mem_free(c->endpoint);
	mem_free(c->id);
	mem_free(c);
}

static void on_page(void *arg, const struct aws_reply *, const char *code, const struct err *why);

static cJSON *body_of(const char *id, const char *token)
{
	cJSON *root = cJSON_CreateObject(), *filters, *filter, *values;

	cJSON_AddNumberToObject(root, "MaxResults", 50);
	if (token)
		cJSON_AddStringToObject(root, "NextToken", token);
	if (!id)
		return root;
	filters = cJSON_AddArrayToObject(root, "Filters");
	filter = cJSON_CreateObject();
	cJSON_AddStringToObject(filter, "Key", "InstanceIds");
	values = cJSON_AddArrayToObject(filter, "Values");
	cJSON_AddItemToArray(values, cJSON_CreateString(id));
	cJSON_AddItemToArray(filters, filter);
	return root;
}

static int ask(struct fleet_call *c, const char *token, struct err *e)
{
	cJSON *root = body_of(c->id, token);
	char *text = cJSON_PrintUnformatted(root);
	struct aws_request r = { .protocol = AWS_JSON11,
				 .service = "ssm",
				 .endpoint = c->endpoint,
				 .target = "AmazonSSM.DescribeInstanceInformation",
				 .body = text };
	int result = -1;

	cJSON_Delete(root);
	if (!text)
		(void)err_set(e, ERR_NOMEM, "list of nodes");
	else if (c->pages++ == PAGES_MAX)
		(void)err_set(e, ERR_LIMIT, "ssm: more than %d pages of nodes", PAGES_MAX);
	else if (aws_send(c->client, &r, on_page, c, e))
		result = 0;
	cJSON_free(text);
	return result;
}

static void on_page(void *arg, const struct aws_reply *reply, const char *code,
		    const struct err *why)
{
	struct fleet_call *c = arg;
	char *next = NULL;
	struct err e;
	int result;

	if (!reply) {
		end(c, code, why);
		return;
	}
	result = fleet_parse(reply->body, reply->body_len, &c->list, &next, &e);
	if (result == 0 && next)
		result = ask(c, next, &e);
	if (result != 0)
		end(c, "", &e);
	else if (!next)
		end(c, "", NULL);
	mem_free(next);
}

int fleet_ask(struct aws_client *client, const char *endpoint, const char *id, fleet_fn *fn,
	      void *arg, struct err *e)
{
	struct fleet_call *c = mem_alloc(sizeof(*c));

	if (!c)
		return err_set(e, ERR_NOMEM, "list of nodes");
	c->client = client;
	c->fn = fn;
	c->arg = arg;
	c->endpoint = mem_strdup(endpoint);
	c->id = mem_strdup(id);
	if (!c->endpoint || (id && !c->id))
		(void)err_set(e, ERR_NOMEM, "list of nodes");
	else if (ask(c, NULL, e) == 0)
		return 0;
	mem_free(c->endpoint);
	mem_free(c->id);
	mem_free(c);
	return -1;
}
