#include "backend/ssm/handshake.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_SUCCESS = 1, STATUS_FAILED = 2, STATUS_UNSUPPORTED = 3, ACTIONS_MAX = 64 };

static unsigned long component(const char **p)
{
	unsigned long v = 0;

	while (isdigit((unsigned char)**p)) {
		if (v < 100000000)
			v = v * 10 + (unsigned long)(**p - '0');
		(*p)++;
	}
	if (**p == '.')
		(*p)++;
	else
		*p += strlen(*p);
	return v;
}

int version_compare(const char *a, const char *b)
{
	while (*a || *b) {
		unsigned long x = component(&a), y = component(&b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

int handshake_gate(const char *v, enum handshake_use use, struct err *e)
{
	if (!isdigit((unsigned char)v[0]) || use == HANDSHAKE_RAW)
		return 0; /* an agent that does not say: let it show what it can */
	if (version_compare(v, "3.0.196.0") <= 0)
		return err_set(
			e, ERR_UNSUPPORTED,
			"the instance's SSM agent %s is too old: it cannot multiplex "
			"connections (needs 3.1.1374.0 or newer); update it, for example with "
			"the document AWS-UpdateSSMAgent",
			v);
	if (use == HANDSHAKE_REMOTE && version_compare(v, "3.1.1374.0") < 0)
		return err_set(
			e, ERR_UNSUPPORTED,
			"the instance's SSM agent %s is too old to forward to other hosts "
			"(needs 3.1.1374.0 or newer); update it, for example with the document "
			"AWS-UpdateSSMAgent",
			v);
	return 0;
}

static const char *text_of(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

/* Status and error text for one action. */
static int judge(const cJSON *action, struct err *why)
{
	const char *type = text_of(action, "ActionType");
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(action, "ActionParameters");

	why->code = ERR_NONE;
	why->msg[0] = '\0';
	if (strcmp(type, "SessionType") == 0) {
		const char *kind = text_of(params, "SessionType");

		if (strcmp(kind, "Port") == 0)
			return STATUS_SUCCESS;
		(void)err_set(why, ERR_UNSUPPORTED, "session type '%.40s': only Port is supported",
			      kind);
		return STATUS_FAILED;
	}
	if (strcmp(type, "KMSEncryption") == 0)
		(void)err_set(why, ERR_UNSUPPORTED,
			      "the agent asks for KMS encryption, which port sessions do not have");
	else
		(void)err_set(why, ERR_UNSUPPORTED, "the agent asks for the unknown action '%.60s'",
			      type);
	return STATUS_UNSUPPORTED;
}

static bool add_answer(cJSON *done, const cJSON *action, struct handshake *h)
{
	cJSON *answer = cJSON_CreateObject();
	struct err why;
	int status = judge(action, &why);

	if (!answer || !cJSON_AddItemToArray(done, answer)) {
		cJSON_Delete(answer);
		return false;
	}
	if (why.code != ERR_NONE && h->refused.code == ERR_NONE)
		h->refused = why;
	return cJSON_AddStringToObject(answer, "ActionType", text_of(action, "ActionType")) &&
	       cJSON_AddNumberToObject(answer, "ActionStatus", status) &&
	       cJSON_AddNullToObject(answer, "ActionResult") &&
	       cJSON_AddStringToObject(answer, "Error", why.msg);
}

static cJSON *make_answer(const cJSON *actions, struct handshake *h)
{
	cJSON *root = cJSON_CreateObject(), *done;
	const cJSON *action;
	bool good;
	int n = 0;

	good = cJSON_AddStringToObject(root, "ClientVersion", HANDSHAKE_CLIENT_VERSION) != NULL;
	done = cJSON_AddArrayToObject(root, "ProcessedClientActions");
	good = good && done;
	cJSON_ArrayForEach(action, actions)
	{
		if (good && n++ < ACTIONS_MAX)
			good = add_answer(done, action, h);
	}
	if (good && cJSON_AddNullToObject(root, "Errors"))
		return root;
	cJSON_Delete(root);
	return NULL;
}

int handshake_answer(const uint8_t *p, size_t n, struct handshake *h, struct buf *response,
		     struct err *e)
{
	cJSON *root = cJSON_ParseWithLength((const char *)p, n), *answer;
	const cJSON *actions = cJSON_GetObjectItemCaseSensitive(root, "RequestedClientActions");
	char *text;
	int r;

	*h = (struct handshake){ 0 };
	if (!cJSON_IsObject(root)) {
		cJSON_Delete(root);
		return err_set(e, ERR_PROTO, "HandshakeRequest that is not a JSON object");
	}
	snprintf(h->agent_version, sizeof(h->agent_version), "%s", text_of(root, "AgentVersion"));
	h->wants_nop = isdigit((unsigned char)h->agent_version[0]) &&
		       version_compare(h->agent_version, "3.1.1511.0") <= 0;
	h->hears_end = !isdigit((unsigned char)h->agent_version[0]) ||
		       version_compare(h->agent_version, "2.3.722.0") > 0;
	answer = make_answer(actions, h);
	cJSON_Delete(root);
	text = answer ? cJSON_PrintUnformatted(answer) : NULL;
	cJSON_Delete(answer);
	if (!text)
		return err_set(e, ERR_NOMEM, "HandshakeResponse");
	r = buf_add(response, text, strlen(text), e);
	cJSON_free(text);
	return r;
}

void handshake_complete(const uint8_t *p, size_t n, char *out, size_t size)
{
	cJSON *root = cJSON_ParseWithLength((const char *)p, n);

	snprintf(out, size, "%s", text_of(root, "CustomerMessage"));
	cJSON_Delete(root);
}
