/* The first message on the websocket, a text: it carries the session's token. */
#include <cjson/cJSON.h>
#include <string.h>

#include "backend/ssm/api.h"
#include "backend/ssm/handshake.h"
#include "base/mem.h"
#include "base/random.h"

static cJSON *build(const char *token, const char *client_id)
{
	cJSON *root = cJSON_CreateObject();
	char request_id[37];

	random_uuid(request_id);
	if (cJSON_AddStringToObject(root, "MessageSchemaVersion", "1.0") &&
	    cJSON_AddStringToObject(root, "RequestId", request_id) &&
	    cJSON_AddStringToObject(root, "TokenValue", token) &&
	    cJSON_AddStringToObject(root, "ClientId", client_id) &&
	    cJSON_AddStringToObject(root, "ClientVersion", HANDSHAKE_CLIENT_VERSION))
		return root;
	cJSON_Delete(root);
	return NULL;
}

int api_open_message(const char *token, const char *client_id, char **text, struct err *e)
{
	cJSON *root = build(token, client_id);
	const cJSON *copy = cJSON_GetObjectItemCaseSensitive(root, "TokenValue");
	char *printed = root ? cJSON_PrintUnformatted(root) : NULL;

	*text = printed ? mem_strdup(printed) : NULL;
	if (printed)
		mem_wipe(printed, strlen(printed));
	cJSON_free(printed);
	if (cJSON_IsString(copy))
		mem_wipe(copy->valuestring, strlen(copy->valuestring));
	cJSON_Delete(root);
	return *text ? 0 : err_set(e, ERR_NOMEM, "open message");
}
