/*
 * EC2 Instance Connect: SendSSHPublicKey (AWS JSON 1.1, AWSEC2InstanceConnectService.*). Source:
 * EC2 Instance Connect API Reference, version 2018-04-02.
 */
#include "cmd/localaws/api.h"

#include <ctype.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/str.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/world.h"

enum { KEY_MIN = 80, KEY_MAX = 4096, USER_MAX = 32, ZONE_MIN = 6, ZONE_MAX = 32 };

static const char *text_of(const struct api_call *c, const char *name)
{
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(c->input, name);

	return cJSON_IsString(m) ? m->valuestring : NULL;
}

static void invalid(struct api_call *c, const char *what)
{
	api_error(c, 400, "InvalidArgsException", "%s", what);
}

/* ^[A-Za-z_][A-Za-z0-9\@\._-]{0,30}[A-Za-z0-9\$_-]?$ */
static bool user_ok(const char *user)
{
	size_t n = strlen(user), middle;

	if (n == 0 || n > USER_MAX || !(isalpha((unsigned char)*user) || *user == '_'))
		return false;
	middle = 1 + strspn(user + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789@._-");
	return middle == n || (middle == n - 1 && user[middle] == '$');
}

static bool key_ok(const char *key)
{
	static const char *const types[] = { "ssh-ed25519 ", "ssh-rsa " };
	size_t n = strlen(key);

	if (n < KEY_MIN || n > KEY_MAX || strcspn(key, "\r\n") != n)
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (str_starts(key, types[i]))
			return true;
	return false;
}

static bool arguments_ok(struct api_call *c)
{
	const char *id = text_of(c, "InstanceId"), *user = text_of(c, "InstanceOSUser");
	const char *key = text_of(c, "SSHPublicKey"), *zone = text_of(c, "AvailabilityZone");

	if (!id || !str_starts(id, "i-"))
		invalid(c, "One or more of the parameters is not valid: InstanceId");
	else if (!user || !user_ok(user))
		invalid(c, "One or more of the parameters is not valid: InstanceOSUser");
	else if (!key || !key_ok(key))
		invalid(c, "One or more of the parameters is not valid: SSHPublicKey");
	else if (zone && (strlen(zone) < ZONE_MIN || strlen(zone) > ZONE_MAX))
		invalid(c, "One or more of the parameters is not valid: AvailabilityZone");
	else
		return true;
	return false;
}

static void send_ssh_public_key(struct api_call *c)
{
	const struct instance *in;
	const char *zone = text_of(c, "AvailabilityZone");
	cJSON *root;

	if (!arguments_ok(c))
		return;
	in = api_instance(c, text_of(c, "InstanceId"));
	if (fault_take(&c->w->faults, FAULT_REFUSE_KEY)) {
		api_error(c, 400, "AccessDeniedException",
			  "User: %s is not authorized to perform: "
			  "ec2-instance-connect:SendSSHPublicKey on resource: "
			  "arn:aws:ec2:us-east-1:%s:instance/%s",
			  c->caller->arn, c->caller->account, text_of(c, "InstanceId"));
	} else if (!in || (zone && strcmp(zone, in->zone) != 0)) {
		api_error(c, 400, "EC2InstanceNotFoundException",
			  "Instance not found in the specified Availability Zone.");
	} else if (in->state != INSTANCE_RUNNING) {
		api_error(c, 400, "EC2InstanceStateInvalidException",
			  "The instance state does not allow connecting: %s",
			  instance_state_name(in->state));
	} else if (ssh_keys_push(&c->w->ssh_keys, in->id, text_of(c, "InstanceOSUser"),
				 text_of(c, "SSHPublicKey")) != 0) {
		api_error(c, 500, "ServiceException", "the key could not be kept");
	} else {
		root = cJSON_CreateObject();
		cJSON_AddStringToObject(root, "RequestId", c->request->id);
		cJSON_AddBoolToObject(root, "Success", true);
		api_json(c, root);
	}
}

const struct api_op api_eic_ops[] = {
	{ "SendSSHPublicKey", send_ssh_public_key },
	{ NULL, NULL },
};
