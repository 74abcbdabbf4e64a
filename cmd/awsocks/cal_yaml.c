#include "cmd/awsocks/cal_yaml.h"

#include <string.h>

int cal_yaml_quote(struct buf *b, const char *text, struct err *e)
{
	if (buf_addf(b, e, "\"") != 0)
		return -1;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		int rc = c == '"' || c == '\\'  ? buf_addf(b, e, "\\%c", c)
			 : c < 0x20 || c == 127 ? buf_addf(b, e, "\\x%02x", c)
						: buf_add(b, text, 1, e);

		if (rc != 0)
			return -1;
	}
	return buf_addf(b, e, "\"");
}

/* What had no quotes may be a number, a bool or null, and stays without where that is safe. */
static int scalar(struct buf *b, const struct yaml *y, struct err *e)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

	if (!y->quoted && strspn(y->text, plain) == strlen(y->text))
		return buf_addf(b, e, "%s", *y->text ? y->text : "null");
	return cal_yaml_quote(b, y->text, e);
}

int cal_yaml_write(struct buf *b, const struct yaml *y, struct err *e)
{
	bool map = y->kind == YAML_MAP;

	if (y->kind == YAML_SCALAR)
		return scalar(b, y, e);
	if (buf_addf(b, e, map ? "{" : "[") != 0)
		return -1;
	for (size_t i = 0; i < y->count; i++) {
		if ((i && buf_addf(b, e, ", ") != 0) ||
		    (map && (scalar(b, y->key[i], e) != 0 || buf_addf(b, e, ": ") != 0)) ||
		    cal_yaml_write(b, y->item[i], e) != 0)
			return -1;
	}
	return buf_addf(b, e, map ? "}" : "]");
}
