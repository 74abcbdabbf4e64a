#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct yaml *parse(const char *text)
{
	struct yaml *y;
	struct err e;

	if (yaml_parse(text, strlen(text), "f", &y, &e) != 0)
		fail_msg("%s", e.msg);
	return y;
}

static void tree_with_places(void **state)
{
	struct yaml *y = parse("a: 1\nlist:\n  - x\n  - \"2\"\n  - {k: [v, w]}\nempty:\n");
	const struct yaml *list = yaml_get(y, "list");

	(void)state;
	assert_int_equal(y->kind, YAML_MAP);
	assert_int_equal(y->count, 3);
	assert_string_equal(yaml_get(y, "a")->text, "1");
	assert_false(yaml_get(y, "a")->quoted);
	assert_int_equal(yaml_get(y, "a")->line, 1);
	assert_int_equal(yaml_get(y, "a")->column, 4);
	assert_int_equal(list->kind, YAML_LIST);
	assert_int_equal(list->count, 3);
	assert_true(list->item[1]->quoted);
	assert_int_equal(list->item[1]->line, 4);
	assert_int_equal(list->item[1]->column, 5);
	assert_string_equal(yaml_get(list->item[2], "k")->item[1]->text, "w");
	assert_string_equal(yaml_get(y, "empty")->text, "");
	assert_null(yaml_get(y, "nothing"));
	yaml_tree_free(y);
}

static void nothing_is_an_empty_map(void **state)
{
	static const char *const rows[] = { "", "\n\n", "# only a remark\n", "---\n",
					    "---\n...\n" };

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct yaml *y = parse(rows[i]);

		assert_int_equal(y->kind, YAML_MAP);
		assert_int_equal(y->count, 0);
		yaml_tree_free(y);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "a: 1\na: 2\n", "f:2:1: 'a' is given twice" },
		{ "a: 1\nb: {c: 1, 'c': 2}\n", "f:2:11: 'c' is given twice" },
		{ "a: &x 1\nb: *x\n", "f:1:4: anchors" },
		{ "b: *x\n", "f:1:4: aliases" },
		{ "b: [*.example.com]\n", "must be in quotes" },
		{ "a: !!str 1\n", "f:1:4: anchors (&) and tags" },
		{ "a: !x 1\n", "tags" },
		{ "a: !!binary aGk=\n", "tags" },
		{ "<<: {a: 1}\n", "f:1:1: merge keys" },
		{ "a: 1\n---\nb: 1\n", "only one document" },
		{ "[a, b]: 1\n", "a key must be plain text" },
		{ "? {a: 1}\n: 2\n", "a key must be plain text" },
		{ "a: [1, 2\n", "f:" },
		{ "a: 1\n  b: 2\n", "f:2:" },
		{ "a:\n\t- x\n", "blanks instead of tabs" },
		{ "a: \"x\n", "f:" },
		{ "a: \"\\0\"\n", "NUL" },
		{ "\xff\xfe\x01", "f:" },
		{ "a: \xc3\x28\n", "not UTF-8" },
		{ "%YAML 9.9\n---\na: 1\n", "f:" },
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
		  "f:1:33: nested too deeply" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct yaml *y = NULL;
		struct err e = { 0 };

		if (yaml_parse(rows[i].text, strlen(rows[i].text), "f", &y, &e) == 0)
			fail_msg("accepted: %s", rows[i].text);
		assert_null(y);
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, rows[i].want))
			fail_msg("'%s': '%s' does not say '%s'", rows[i].text, e.msg, rows[i].want);
	}
}

static void size_is_bounded(void **state)
{
	size_t n = 1024 * 1024 + 1;
	char *text = mem_alloc(n + 8);
	struct yaml *y;
	struct err e;

	(void)state;
	memset(text, ' ', n);
	assert_int_equal(yaml_parse(text, n, "f", &y, &e), -1);
	assert_non_null(strstr(e.msg, "1 MiB"));
	assert_int_equal(yaml_parse(text, n - 1, "f", &y, &e), 0);
	yaml_tree_free(y);
	for (size_t i = 0; i + 2 < n; i += 2) /* [a,a,a ... */
		memcpy(text + i, i ? "a," : " [", 2);
	assert_int_equal(yaml_parse(text, n - 1, "f", &y, &e), -1);
	assert_non_null(strstr(e.msg, "too many values"));
	mem_free(text);
}

static void depth_32_is_allowed(void **state)
{
	struct yaml *y = parse("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");

	(void)state;
	assert_int_equal(y->kind, YAML_LIST);
	yaml_tree_free(y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_with_places),
		cmocka_unit_test(nothing_is_an_empty_map),
		cmocka_unit_test(refused),
		cmocka_unit_test(size_is_bounded),
		cmocka_unit_test(depth_32_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
