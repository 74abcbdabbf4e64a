#include "credentials/form.h"

#include <string.h>

#include "base/str.h"

int form_add(struct buf *b, const char *name, const char *value, struct err *e)
{
	size_t n = strlen(value);
	uint8_t *to;

	if (buf_addf(b, e, "%s%s=", buf_len(b) ? "&" : "", name) != 0)
		return -1;
	to = buf_reserve(b, 3 * n + 1, e);
	if (!to)
		return -1;
	buf_commit(b, str_uri_encode(value, n, false, (char *)to));
	return 0;
}
