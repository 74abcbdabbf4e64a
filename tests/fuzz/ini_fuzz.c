/*
 * Law: a file that is read, written out from its tree and read again gives
 * the same tree; and with CRLF for LF it gives the same tree, too.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "credentials/ini.h"

static int add_key(struct buf *b, const struct ini_key *k, const char *indent)
{
	if (buf_addf(b, NULL, "%s%s = ", indent, k->name) != 0)
		return -1;
	for (const char *at = k->value; *at; at++)
		if (buf_addf(b, NULL, *at == '\n' ? "\n   " : "%c", *at) != 0)
			return -1;
	if (buf_addf(b, NULL, "\n") != 0)
		return -1;
	for (size_t i = 0; i < k->map_count; i++)
		if (add_key(b, &k->map[i], "  ") != 0)
			return -1;
	return 0;
}

static int write_out(const struct ini *ini, struct buf *b)
{
	for (size_t i = 0; i < ini->count; i++) {
		if (buf_addf(b, NULL, "[%s]\n", ini->sections[i].name) != 0)
			return -1;
		for (size_t j = 0; j < ini->sections[i].count; j++)
			if (add_key(b, &ini->sections[i].keys[j], "") != 0)
				return -1;
	}
	return 0;
}

static void same_keys(const struct ini_key *a, size_t na, const struct ini_key *b, size_t nb)
{
	assert(na == nb);
	for (size_t i = 0; i < na; i++) {
		assert(!strcmp(a[i].name, b[i].name) && !strcmp(a[i].value, b[i].value));
		same_keys(a[i].map, a[i].map_count, b[i].map, b[i].map_count);
	}
}

static void same(const struct ini *a, const struct ini *b)
{
	assert(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		assert(!strcmp(a->sections[i].name, b->sections[i].name));
		same_keys(a->sections[i].keys, a->sections[i].count, b->sections[i].keys,
			  b->sections[i].count);
	}
}

static void again(const struct ini *first, const uint8_t *p, size_t n)
{
	struct ini *second;
	struct err e;
	int result = ini_parse((const char *)p, n, "again", &second, &e);

	assert(result == 0);
	same(first, second);
	ini_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b;
	struct ini *ini;
	struct err e;
	int fits = 0;

	if (size > 20000 || ini_parse((const char *)data, size, "fuzz", &ini, &e) != 0)
		return 0;
	buf_init(&b, INI_FILE_MAX);
	if (write_out(ini, &b) == 0)
		again(ini, buf_ptr(&b), buf_len(&b));
	buf_clear(&b);
	for (size_t i = 0; i < size && fits == 0; i++)
		fits = buf_addf(&b, NULL, data[i] == '\n' ? "\r\n" : "%c", data[i]);
	if (fits == 0)
		again(ini, buf_ptr(&b), buf_len(&b));
	buf_free(&b);
	ini_free(ini);
	return 0;
}
