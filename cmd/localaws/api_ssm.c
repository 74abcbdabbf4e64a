/*
 * SSM: sessions (AWS JSON 1.1, AmazonSSM.*).
 * What is checked, and in which order: the input's shape, the document, its
 * parameters, and only then whether the target is there.
 */
#include "cmd/localaws/api_ssm.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/world.h"

enum { TARGET_MAX = 400, REASON_MAX = 256 };

/* --- StartSession --- */

struct doc_param {
	const char *name, *def; /* def NULL: must be given */
	bool port;
};
static const struct document {
	const char *name;
	enum session_kind kind;
	struct doc_param param[4];
} documents[] = {
	{ "AWS-StartSSHSession", SESSION_SSH, { { "portNumber", "22", true } } },
	{ "AWS-StartPortForwardingSession",
	  SESSION_PORT,
	  { { "portNumber", "80", true }, { "localPortNumber", "0", true } } },
	{ "AWS-StartPortForwardingSessionToRemoteHost",
	  SESSION_REMOTE_HOST,
	  { { "portNumber", "80", true },
	    { "localPortNumber", "0", true },
	    { "host", "localhost", false } } },
};

static const struct document *find_document(const char *name)
{
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
		if (strcmp(name, documents[i].name) == 0)
			return &documents[i];
	return NULL;
}

static const struct doc_param *find_param(const struct document *d, const char *name)
{
	for (size_t i = 0; i < 4 && d->param[i].name; i++)
		if (strcmp(name, d->param[i].name) == 0)
			return &d->param[i];
	return NULL;
}

/* The documents' own patterns: a host of less than three characters is refused. */
static bool value_ok(const struct doc_param *p, const char *value)
{
	uint64_t n, low = strcmp(p->name, "portNumber") == 0 ? 1 : 0;

	if (p->port)
		return strlen(value) <= 5 && *value != '+' && (*value != '0' || !value[1]) &&
		       str_number(value, low, 65535, &n, NULL) == 0;
	return ssm_characters(value) >= 3 && strlen(value) < SESSION_HOST &&
	       !strpbrk(value, ",$^&()!;'\"<>`{}[]|#=");
}

static bool check_parameters(struct api_call *c, const struct document *d, const cJSON *given)
{
	const cJSON *it;

	if (given && !cJSON_IsNull(given) && !cJSON_IsObject(given)) {
		api_error(c, 400, "SerializationException", "Parameters is not a map");
		return false;
	}
	cJSON_ArrayForEach(it, given)
	{
		const struct doc_param *p = find_param(d, it->string);
		const cJSON *value = cJSON_GetArrayItem(it, 0);

		if (!cJSON_IsArray(it) || cJSON_GetArraySize(it) != 1 || !cJSON_IsString(value)) {
			api_error(c, 400, "SerializationException",
				  "Parameter %.60s is not a list of one string", it->string);
			return false;
		}
		if (!p) {
			api_error(c, 400, "InvalidParameters",
				  "Parameter \"%.60s\" is not defined in document %s", it->string,
				  d->name);
			return false;
		}
		if (!value_ok(p, value->valuestring)) {
			api_error(c, 400, "InvalidParameters",
				  "Parameter \"%s\" has value \"%.80s\" not matching \"%s\".",
				  p->name, value->valuestring,
				  p->port ? "^([1-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|"
					    "65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
					  : "^[^,$^&\\(\\)!;'\"<>\\`{}\\[\\]\\|#=]{3,}$");
			return false;
		}
	}
	return true;
}

static void take_parameter(const struct document *d, const cJSON *given, const char *name, char *to,
			   size_t size)
{
	const struct doc_param *p = find_param(d, name);
	const cJSON *value = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(given, name), 0);

	if (p)
		(void)str_fmt(to, size, "%s", value ? value->valuestring : p->def);
}

static void take_parameters(const struct document *d, const cJSON *given, struct session_params *p)
{
	p->kind = d->kind;
	p->document = d->name;
	(void)str_fmt(p->host, sizeof(p->host), "localhost");
	take_parameter(d, given, "host", p->host, sizeof(p->host));
	take_parameter(d, given, "portNumber", p->port, sizeof(p->port));
	take_parameter(d, given, "localPortNumber", p->local_port, sizeof(p->local_port));
}

/* NULL: the error is written. */
static const struct document *read_document(struct api_call *c)
{
	const cJSON *m = ssm_member(c, "DocumentName");
	const char *name = cJSON_IsString(m) ? m->valuestring : "SSM-SessionManagerRunShell";
	const struct document *d = find_document(name);
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				"_-.:/");

	if (name[n] || n < 3 || n > 128) {
		ssm_invalid(c, "documentName", name,
			    "Member must satisfy regular expression pattern: "
			    "^[a-zA-Z0-9_\\-.:/]{3,128}$");
		return NULL;
	}
	if (!d || (d->kind == SESSION_REMOTE_HOST &&
		   fault_take(&c->w->faults, FAULT_REFUSE_REMOTE_HOST))) {
		api_error(c, 400, "InvalidDocument", "Document with name %s does not exist.", name);
		return NULL;
	}
	return check_parameters(c, d, ssm_member(c, "Parameters")) ? d : NULL;
}

static bool is_early(const struct world *w)
{
	double seconds = fault_value(&w->faults, FAULT_NOT_CONNECTED_FOR, 0);

	return (double)(world_now_ms(w) - w->not_connected_ms) < seconds * 1000;
}

/* By itself, or by a fault. true: refused, and the error is written. */
static bool refused(struct api_call *c, const struct document *d, const char *target)
{
	const struct instance *in = api_instance(c, target);

	if (fault_take(&c->w->faults, FAULT_REFUSE_SESSION)) {
		api_error(c, 400, "AccessDeniedException",
			  "User: %s is not authorized to perform: ssm:StartSession on resource: "
			  "arn:aws:ec2:us-east-1:%s:instance/%s because no "
			  "identity-based policy allows the ssm:StartSession action",
			  c->caller->arn, c->caller->account, target);
		return true;
	}
	if (d->kind == SESSION_SSH && fault_take(&c->w->faults, FAULT_REFUSE_SSH)) {
		api_error(c, 400, "AccessDeniedException",
			  "User: %s is not authorized to perform: ssm:StartSession on resource: "
			  "arn:aws:ssm:us-east-1::document/%s because no identity-based policy "
			  "allows the ssm:StartSession action",
			  c->caller->arn, d->name);
		return true;
	}
	if (!in || !instance_is_connected(in, world_now_ms(c->w)) ||
	    fault_take(&c->w->faults, FAULT_NOT_CONNECTED) || is_early(c->w)) {
		api_error(c, 400, "TargetNotConnected", "%s is not connected.", target);
		return true;
	}
	return false;
}

static void reply_session(struct api_call *c, const struct session *s)
{
	cJSON *root = cJSON_CreateObject();
	char url[512];

	session_url(s, url, sizeof(url));
	cJSON_AddStringToObject(root, "SessionId", s->id);
	cJSON_AddStringToObject(root, "StreamUrl", url);
	cJSON_AddStringToObject(root, "TokenValue", s->token);
	api_json(c, root);
}

static void start_session(struct api_call *c)
{
	const char *target = ssm_text_member(c, "Target", "target", TARGET_MAX), *owner;
	const cJSON *why = ssm_member(c, "Reason");
	const char *reason = "";
	struct session_params params = { 0 };
	const struct document *d;
	struct session *s;
	struct err e = { 0 };

	if (!target)
		return;
	if (why && !cJSON_IsNull(why))
		reason = ssm_text_member(c, "Reason", "reason", REASON_MAX);
	if (!reason)
		return;
	d = read_document(c);
	if (!d || refused(c, d, target))
		return;
	take_parameters(d, ssm_member(c, "Parameters"), &params);
	(void)str_fmt(params.target, sizeof(params.target), "%s", target);
	(void)str_fmt(params.account, sizeof(params.account), "%s", c->caller->account);
	(void)str_fmt(params.owner, sizeof(params.owner), "%s", c->caller->arn);
	(void)str_fmt(params.reason, sizeof(params.reason), "%s", reason);
	owner = strrchr(c->caller->arn, '/');
	s = session_start(c->w, &params, owner ? owner + 1 : "demo", &e);
	if (s)
		reply_session(c, s);
	else
		api_error(c, 500, "InternalServerError", "%s", e.msg);
}

/* --- the other session calls --- */

/* Those of other accounts do not exist. */
static struct session *own_session(const struct api_call *c, const char *id)
{
	struct session *s = session_find(c->w, id);

	return s && strcmp(s->params.account, c->caller->account) == 0 ? s : NULL;
}

static void resume_session(struct api_call *c)
{
	const char *id = ssm_text_member(c, "SessionId", "sessionId", SESSION_ID - 1);
	struct session *s = id ? own_session(c, id) : NULL;
	cJSON *root;

	if (!id)
		return;
	if (s && !fault_take(&c->w->faults, FAULT_REFUSE_RESUME)) {
		session_new_token(s);
		reply_session(c, s);
		return;
	}
	if (!s && !session_is_over(c->w, id)) {
		api_error(c, 400, "DoesNotExistException", "Session %.96s does not exist", id);
		return;
	}
	/* No token: that is how a client learns that the session is over. */
	root = cJSON_CreateObject();
	cJSON_AddStringToObject(root, "SessionId", id);
	api_json(c, root);
}

static void terminate_session(struct api_call *c)
{
	const char *id = ssm_text_member(c, "SessionId", "sessionId", SESSION_ID - 1);
	struct session *s = id ? own_session(c, id) : NULL;
	cJSON *root;

	if (!id)
		return;
	if (s) {
		session_end(s, "");
	} else if (!session_is_over(c->w, id)) {
		api_error(c, 400, "DoesNotExistException", "Session %.96s does not exist", id);
		return;
	}
	root = cJSON_CreateObject();
	cJSON_AddStringToObject(root, "SessionId", id);
	api_json(c, root);
}

static void get_connection_status(struct api_call *c)
{
	const char *target = ssm_text_member(c, "Target", "target", TARGET_MAX);
	const struct instance *in;
	cJSON *root;

	if (!target || ssm_denied(c, "GetConnectionStatus"))
		return;
	in = api_instance(c, target);
	root = cJSON_CreateObject();
	cJSON_AddStringToObject(root, "Target", target);
	cJSON_AddStringToObject(
		root, "Status",
		in && instance_is_connected(in, world_now_ms(c->w)) ? "connected" : "notconnected");
	api_json(c, root);
}

const struct api_op api_ssm_ops[] = {
	{ "StartSession", start_session },
	{ "ResumeSession", resume_session },
	{ "TerminateSession", terminate_session },
	{ "GetConnectionStatus", get_connection_status },
	{ "DescribeInstanceInformation", ssm_describe_instance_information },
	{ "DescribeSessions", ssm_describe_sessions },
	{ NULL, NULL },
};
