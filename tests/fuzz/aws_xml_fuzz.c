/*
 * Law: a reply that is read, written out from its tree and read again gives
 * the same tree. And whatever the bytes: an error's two forms, a page of
 * instances, a role's answer and a process's JSON are a value or an error.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "credentials/aws_error.h"
#include "credentials/aws_xml.h"
#include "credentials/provider_impl.h"
#include "ec2/describe.h"

static int write_text(struct buf *b, const char *text)
{
	for (; *text; text++)
		if (buf_addf(b, NULL, strchr("<>&\r", *text) ? "&#%d;" : "%c", *text) != 0)
			return -1;
	return 0;
}

static int write_out(struct buf *b, const struct xml *x)
{
	if (buf_addf(b, NULL, "<%s>", x->name) != 0 || write_text(b, x->text) != 0)
		return -1;
	for (size_t i = 0; i < x->count; i++)
		if (write_out(b, x->child[i]) != 0)
			return -1;
	return buf_addf(b, NULL, "</%s>", x->name);
}

static void same(const struct xml *a, const struct xml *b)
{
	assert(!strcmp(a->name, b->name) && !strcmp(a->text, b->text) && a->count == b->count);
	for (size_t i = 0; i < a->count; i++)
		same(a->child[i], b->child[i]);
}

static void round_trip(const char *p, size_t n)
{
	struct xml *first, *second;
	struct err e = { 0 };
	struct buf b;

	if (xml_parse(p, n, &first, &e) != 0) {
		assert(e.code != ERR_NONE && !first);
		return;
	}
	buf_init(&b, 1 << 22);
	if (write_out(&b, first) == 0) {
		int result = xml_parse((const char *)buf_ptr(&b), buf_len(&b), &second, &e);

		assert(result == 0);
		same(first, second);
		xml_free(second);
	}
	buf_free(&b);
	xml_free(first);
}

static void readers(const char *p, size_t n)
{
	struct ec2_list list = { 0 };
	struct aws_error error;
	struct err e = { 0 };
	struct creds *c;
	char *next, before[EC2_STATE_TEXT];

	aws_error_read(AWS_JSON11, p, n, NULL, &error);
	aws_error_read(AWS_QUERY, p, n, NULL, &error);
	if (describe_parse(p, n, &list, &next, &e) != 0)
		assert(e.code != ERR_NONE && !next);
	mem_free(next);
	e = (struct err){ 0 };
	if (power_parse(p, n, before, &e) != 0)
		assert(e.code != ERR_NONE);
	ec2_list_sort(&list);
	ec2_list_free(&list);
	e = (struct err){ 0 };
	c = role_parse(p, n, "fuzz", &e);
	assert((c == NULL) == (e.code != ERR_NONE));
	creds_unref(c);
	e = (struct err){ 0 };
	c = command_parse(p, n, "fuzz", &e);
	assert((c == NULL) == (e.code != ERR_NONE));
	creds_unref(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 20000)
		return 0;
	round_trip((const char *)data, size);
	readers((const char *)data, size);
	return 0;
}
