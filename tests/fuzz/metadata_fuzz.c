/* Law: what is taken for credentials has all its parts, and none that could break a header. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "credentials/creds.h"
#include "credentials/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e;
	struct creds *c = metadata_parse((const char *)data, size, "fuzz", &e);
	char text[64];

	metadata_message((const char *)data, size, text, sizeof(text));
	assert(strlen(text) < sizeof(text));
	if (c) {
		assert(*c->access_key_id && c->secret_access_key.len);
		assert(!c->session_token.text || !strpbrk(c->session_token.text, "\r\n"));
	}
	creds_unref(c);
	return 0;
}
