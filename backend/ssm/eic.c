#include "backend/ssm/eic.h"

#include <cjson/cJSON.h>

#include "base/mem.h"
#include "credentials/aws.h"

struct eic_call {
	struct aws_call *call;
	eic_fn *fn;
	void *arg;
};

static void on_reply(void *arg, const struct aws_reply *reply, const char *aws_code,
		     const struct err *why)
{
	struct eic_call *c = arg;
	eic_fn *fn = c->fn;
	void *fn_arg = c->arg;
	cJSON *root = reply ? cJSON_ParseWithLength(reply->body, reply->body_len) : NULL;
	bool good = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "Success"));
	struct err e;

	(void)aws_code;
	cJSON_Delete(root);
	mem_free(c);
	if (reply && !good) {
		(void)err_set(&e, ERR_PROTO, "SendSSHPublicKey: reply without success");
		fn(fn_arg, &e);
	} else {
		fn(fn_arg, why);
	}
}

static char *body_of(const struct eic_key *k)
{
	cJSON *root = cJSON_CreateObject();
	bool good = cJSON_AddStringToObject(root, "InstanceId", k->instance) &&
		    cJSON_AddStringToObject(root, "InstanceOSUser", k->user) &&
		    cJSON_AddStringToObject(root, "SSHPublicKey", k->public_text) &&
		    (!k->zone || cJSON_AddStringToObject(root, "AvailabilityZone", k->zone));
	char *text = good ? cJSON_PrintUnformatted(root) : NULL;

	cJSON_Delete(root);
	return text;
}

struct eic_call *eic_send(struct aws_client *aws, const struct eic_key *k, unsigned limit_ms,
			  eic_fn *fn, void *arg, struct err *e)
{
	struct eic_call *c = mem_alloc(sizeof(*c));
	char *body = body_of(k);
	struct aws_request r = { .protocol = AWS_JSON11,
				 .service = "ec2-instance-connect",
				 .endpoint = k->endpoint,
				 .target = "AWSEC2InstanceConnectService.SendSSHPublicKey",
				 .body = body,
				 .limit_ms = limit_ms };

	if (c && body) {
		c->fn = fn;
		c->arg = arg;
		c->call = aws_send(aws, &r, on_reply, c, e);
	} else {
		(void)err_set(e, ERR_NOMEM, "SendSSHPublicKey");
	}
	cJSON_free(body);
	if (c && c->call)
		return c;
	mem_free(c);
	return NULL;
}

void eic_cancel(struct eic_call *c)
{
	if (!c)
		return;
	aws_cancel(c->call);
	mem_free(c);
}
