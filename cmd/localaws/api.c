#include "cmd/localaws/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/world.h"
#include "net/ws_parse.h"

void api_xml_text(struct buf *b, const char *text)
{
	for (; *text; text++) {
		const char *as = *text == '&'   ? "&amp;"
				 : *text == '<' ? "&lt;"
				 : *text == '>' ? "&gt;"
						: NULL;

		if (buf_add(b, as ? as : text, as ? strlen(as) : 1, NULL) != 0)
			log_error("http", "out of memory");
	}
}

void api_xml(struct buf *b, const char *name, const char *text)
{
	int failed = buf_addf(b, NULL, "<%s>", name);

	api_xml_text(b, text);
	failed = failed || buf_addf(b, NULL, "</%s>", name);
	if (failed)
		log_error("http", "out of memory");
}

static void xml_error(struct api_call *c, const char *code, const char *text)
{
	struct buf *b = &c->reply->body;
	bool sts = c->protocol == API_STS;
	int failed =
		buf_addf(b, NULL, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n%s",
			 sts ? "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
			       "<Error><Type>Sender</Type>"
			     : "<Response><Errors><Error>");

	c->reply->type = "text/xml;charset=UTF-8";
	api_xml(b, "Code", code);
	api_xml(b, "Message", text);
	failed = failed || buf_addf(b, NULL, "</Error>%s", sts ? "" : "</Errors>");
	api_xml(b, sts ? "RequestId" : "RequestID", c->request->id);
	failed = failed || buf_addf(b, NULL, sts ? "</ErrorResponse>" : "</Response>");
	if (failed)
		log_error("http", "out of memory");
}

/* What was cut to length may end inside a character, which neither JSON nor XML may hold. */
static void mend_utf8(char *text)
{
	size_t left = strlen(text);

	while (left) {
		size_t n = 1;

		while (n < left && n < 4 && !ws_utf8_valid((const uint8_t *)text, n))
			n++;
		if (!ws_utf8_valid((const uint8_t *)text, n)) {
			*text = '?';
			n = 1;
		}
		text += n;
		left -= n;
	}
}

void api_error(struct api_call *c, int status, const char *code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	cJSON *root;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mend_utf8(text);
	buf_clear(&c->reply->body);
	if (c->protocol == API_JSON) {
		root = cJSON_CreateObject();
		cJSON_AddStringToObject(root, "__type", code);
		/* Both spellings of the key occur; the SDKs do not mind (ssm-protocol 1). */
		cJSON_AddStringToObject(root, status >= 500 ? "Message" : "message", text);
		api_json(c, root);
	} else {
		xml_error(c, code, text);
	}
	c->reply->status = status;
}

void api_json(struct api_call *c, cJSON *root)
{
	char *text = cJSON_PrintUnformatted(root);

	c->reply->type = "application/x-amz-json-1.1";
	c->reply->json_id = true;
	if (!text || buf_add(&c->reply->body, text, strlen(text), NULL) != 0) {
		log_error("http", "out of memory");
		c->reply->status = 500;
	}
	cJSON_free(text);
	cJSON_Delete(root);
}

bool api_sees(const struct api_call *c, const struct instance *in)
{
	return strcmp(in->account, c->caller->account) == 0 &&
	       (!in->region[0] || strcmp(in->region, c->region) == 0);
}

struct instance *api_instance(const struct api_call *c, const char *id)
{
	struct instance *in = instances_find(&c->w->instances, id);

	return in && api_sees(c, in) ? in : NULL;
}
