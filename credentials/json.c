#include "credentials/json.h"

#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/evp.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"

bool json_number(const cJSON *object, const char *name, int64_t *out)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
	const double most = 9007199254740992.0;

	if (!cJSON_IsNumber(item) || !(item->valuedouble >= -most && item->valuedouble <= most))
		return false;
	*out = (int64_t)item->valuedouble;
	return true;
}

int json_set(cJSON *object, const char *name, const char *text, struct err *e)
{
	json_secret_free(cJSON_DetachItemFromObjectCaseSensitive(object, name));
	if (text && !cJSON_AddStringToObject(object, name, text))
		return err_set(e, ERR_NOMEM, "JSON");
	return 0;
}

int json_set_creds(cJSON *object, const struct creds *c, const char *expiration)
{
	if (json_set(object, "AccessKeyId", c->access_key_id, NULL) != 0 ||
	    json_set(object, "SecretAccessKey", c->secret_access_key.text, NULL) != 0 ||
	    json_set(object, "SessionToken", c->session_token.text, NULL) != 0 ||
	    json_set(object, "Expiration", expiration, NULL) != 0)
		return -1;
	return json_set(object, "AccountId", c->account_id, NULL);
}

char *json_print(const cJSON *root)
{
	return cJSON_PrintUnformatted(root);
}

void json_text_free(char *text)
{
	if (text)
		mem_wipe(text, strlen(text));
	cJSON_free(text);
}

/* One character of UTF-8; what is not UTF-8 counts byte by byte. */
static uint32_t next_char(const unsigned char **at)
{
	const unsigned char *p = *at;
	size_t more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
	uint32_t c = more ? *p & (0x3fu >> more) : *p;

	for (size_t i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			*at = p + 1;
			return *p;
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	*at = p + more + 1;
	return c;
}

static int add_char(struct buf *b, uint32_t c, struct err *e)
{
	static const char named[] = "\b\f\n\r\t\"\\", as[] = "bfnrt\"\\";
	const char *found = c && c < 0x80 ? strchr(named, (int)c) : NULL;

	if (found)
		return buf_addf(b, e, "\\%c", as[found - named]);
	if (c >= 0x20 && c < 0x80)
		return buf_addf(b, e, "%c", (int)c);
	if (c < 0x10000)
		return buf_addf(b, e, "\\u%04x", (unsigned)c);
	c -= 0x10000;
	return buf_addf(b, e, "\\u%04x\\u%04x", 0xd800u + (unsigned)(c >> 10),
			0xdc00u + (unsigned)(c & 0x3ff));
}

int json_add_quoted(struct buf *b, const char *text, struct err *e)
{
	const unsigned char *at = (const unsigned char *)text;

	if (buf_add(b, "\"", 1, e) != 0)
		return -1;
	while (*at)
		if (add_char(b, next_char(&at), e) != 0)
			return -1;
	return buf_add(b, "\"", 1, e);
}

int json_sha1(const void *p, size_t n, char out[41], struct err *e)
{
	uint8_t digest[20];

	if (EVP_Digest(p, n, digest, NULL, EVP_sha1(), NULL) != 1)
		return err_set(e, ERR_INTERNAL, "OpenSSL cannot compute SHA-1");
	str_hex(digest, sizeof(digest), out);
	return 0;
}
