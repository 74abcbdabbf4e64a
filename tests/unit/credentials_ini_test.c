/* credentials/ini.c, words.c: the ~/.aws format and its quirks. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "credentials/ini.h"
#include "credentials/words.h"
#include "tests/support/cmocka_all.h"

/* "[section]key=value{k=v;}..." of all there is. */
static void flatten(const struct ini *ini, struct buf *b)
{
	buf_clear(b);
	for (size_t i = 0; i < ini->count; i++) {
		const struct ini_section *s = &ini->sections[i];

		assert_int_equal(buf_addf(b, NULL, "[%s]", s->name), 0);
		for (size_t j = 0; j < s->count; j++) {
			assert_int_equal(
				buf_addf(b, NULL, "%s=%s|", s->keys[j].name, s->keys[j].value), 0);
			for (size_t k = 0; k < s->keys[j].map_count; k++)
				assert_int_equal(buf_addf(b, NULL, "{%s=%s}",
							  s->keys[j].map[k].name,
							  s->keys[j].map[k].value),
						 0);
		}
	}
	assert_int_equal(buf_add(b, "", 1, NULL), 0);
}

static void reads(void **state)
{
	static const struct {
		const char *name, *text, *want;
		size_t warnings;
	} cases[] = {
		{ "nothing", "", "", 0 },
		{ "only comments", "# a\n; b\n\n   # c\n", "", 0 },
		{ "plain", "[default]\nregion = eu-west-1\n", "[default]region=eu-west-1|", 0 },
		{ "no end of line", "[a]\nb=c", "[a]b=c|", 0 },
		{ "key case, value case", "[A]\nReGion=EU\n", "[A]region=EU|", 0 },
		{ "colon", "[a]\nb: c=d\n", "[a]b=c=d|", 0 },
		{ "no blanks", "[a]\nb=c=d\n", "[a]b=c=d|", 0 },
		{ "CRLF", "[a]\r\nb = c\r\nd = e\r\n", "[a]b=c|d=e|", 0 },
		{ "byte order mark", "\xef\xbb\xbf[a]\nb=c\n", "[a]b=c|", 1 },
		{ "empty value", "[a]\nb =\nc = d\n", "[a]b=|c=d|", 0 },
		{ "map", "[a]\ns3 =\n  x = 1\n\tY = 2\nc=d\n", "[a]s3=|{x=1}{y=2}c=d|", 0 },
		{ "map, blank and comment inside", "[a]\ns3 =\n  x = 1\n\n  # no\n  y = 2\n",
		  "[a]s3=|{x=1}{y=2}", 0 },
		{ "continued value", "[a]\nb = c\n  d\n", "[a]b=c\nd|", 0 },
		{ "indented first key", "[a]\n  b = c\n  d = e\n", "[a]b=c|d=e|", 0 },
		{ "indented section after a key is its value", "[a]\nb = c\n  [d]\n",
		  "[a]b=c\n[d]|", 0 },
		{ "comment behind a value", "[a]\nregion = x # y\nz = a;b\n", "[a]region=x|z=a;b|",
		  1 },
		{ "no comment in a secret", "[a]\naws_secret_access_key = x #y ;z\n",
		  "[a]aws_secret_access_key=x #y ;z|", 0 },
		{ "no comment in a command", "[a]\ncredential_process = x '#' ; y\n",
		  "[a]credential_process=x '#' ; y|", 0 },
		{ "no comment in the older name of a token", "[a]\naws_security_token = x ;z\n",
		  "[a]aws_security_token=x ;z|", 0 },
		{ "comment in a map", "[a]\ns3 =\n  x = 1 # no\n", "[a]s3=|{x=1}", 1 },
		{ "only a comment for a value", "[a]\nb = # no\nc = d\n", "[a]b=|c=d|", 1 },
		{ "CRLF in a map", "[a]\r\ns3 =\r\n  x = 1\r\nc = d\r\n", "[a]s3=|{x=1}c=d|", 0 },
		{ "byte order mark and CRLF", "\xef\xbb\xbf[a]\r\nb=c\r\n", "[a]b=c|", 1 },
		{ "comment behind a section", "[a] # b\nc=d\n", "[a]c=d|", 0 },
		{ "blanks in brackets", "[  profile   x ]\nc=d\n", "[profile   x]c=d|", 1 },
		{ "quoted bracket", "[profile \"a]b\"]\nc=d\n", "[profile \"a]b\"]c=d|", 0 },
		{ "apostrophe", "[profile it's]\nc=d\n", "[profile it's]c=d|", 0 },
		{ "key twice", "[a]\nb=1\nB=2\n", "[a]b=2|", 1 },
		{ "section twice", "[a]\nb=1\nc=3\n[x]\n[a]\nb=2\n", "[a]b=2|c=3|[x]", 2 },
		{ "map then value", "[a]\ns3 =\n  x=1\ns3 = y\n", "[a]s3=y|", 1 },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ini *ini;
		struct err e = { 0 };

		print_message("%s\n", cases[i].name);
		assert_int_equal(
			ini_parse(cases[i].text, strlen(cases[i].text), "config", &ini, &e), 0);
		flatten(ini, &b);
		assert_string_equal((const char *)buf_ptr(&b), cases[i].want);
		assert_int_equal(ini->warning_count, cases[i].warnings);
		ini_free(ini);
	}
	buf_free(&b);
}

static void refuses(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} cases[] = {
		{ "key before a section", "\nregion = x\n", "config:2: a key before" },
		{ "no delimiter", "[a]\n\n# x\nnonsense\n", "config:4: 'key = value' expected" },
		{ "no name", "[a]\n= x\n", "config:2: a name is missing" },
		{ "open section", "[a\nb=c\n", "config:1: ']' is missing" },
		{ "text behind section", "[a] b\n", "config:1: text behind" },
		{ "bad map", "[a]\ns3 =\n  x\n", "config:3: 'key = value' expected" },
	};
	struct ini *ini;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(
			ini_parse(cases[i].text, strlen(cases[i].text), "config", &ini, &e), -1);
		assert_null(ini);
		assert_int_equal(e.code, ERR_CONFIG);
		assert_memory_equal(e.msg, cases[i].want, strlen(cases[i].want));
	}
	assert_int_equal(ini_parse("[a]\0b", 5, "config", &ini, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
}

static void sizes_are_bounded(void **state)
{
	struct buf b;
	struct ini *ini;
	struct err e;

	(void)state;
	buf_init(&b, 4 * INI_FILE_MAX);
	assert_int_equal(buf_add(&b, "[a]\n", 4, NULL), 0);
	for (int i = 0; i <= INI_KEYS_MAX; i++)
		assert_int_equal(buf_addf(&b, NULL, "k%d=v\n", i), 0);
	assert_int_equal(ini_parse((const char *)buf_ptr(&b), buf_len(&b), "f", &ini, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_clear(&b);
	for (int i = 0; i <= INI_SECTIONS_MAX; i++)
		assert_int_equal(buf_addf(&b, NULL, "[k%d]\n", i), 0);
	assert_int_equal(ini_parse((const char *)buf_ptr(&b), buf_len(&b), "f", &ini, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_non_null(buf_reserve(&b, INI_FILE_MAX, NULL));
	assert_int_equal(ini_parse((const char *)buf_ptr(&b), INI_FILE_MAX + 1, "f", &ini, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_free(&b);
}

static void splits_words(void **state)
{
	static const struct {
		const char *name, *text, *want; /* words, each ended by '|' */
	} cases[] = {
		{ "nothing", " \t ", "" },
		{ "plain", "a  b\tc", "a|b|c|" },
		{ "single quotes", "'a b' c", "a b|c|" },
		{ "double quotes", "\"a 'b\" c", "a 'b|c|" },
		{ "joined", "a'b'\"c\"d", "abcd|" },
		{ "empty word", "a '' \"\"", "a|||" },
		{ "backslash", "a\\ b \\\\ \\\"", "a b|\\|\"|" },
		{ "backslash in double quotes", "\"\\\"\\\\\\n\"", "\"\\\\n|" },
		{ "backslash in single quotes", "'\\n\\'", "\\n\\|" },
		{ "no expansion", "$HOME `x` *.c ; a|b >c", "$HOME|`x`|*.c|;|a|b|>c|" },
	};
	static const char *const broken[] = { "'a", "a \"b", "a\\" };
	char **words, text[256];
	size_t count;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(words_split(cases[i].text, &words, &count, &e), 0);
		text[0] = '\0';
		for (size_t j = 0; j < count; j++) {
			strncat(text, words[j], sizeof(text) - strlen(text) - 1);
			strncat(text, "|", sizeof(text) - strlen(text) - 1);
		}
		assert_null(words[count]);
		assert_string_equal(text, cases[i].want);
		mem_free(words);
	}
	for (size_t i = 0; i < COUNT(broken); i++) {
		assert_int_equal(words_split(broken[i], &words, &count, &e), -1);
		assert_int_equal(e.code, ERR_CONFIG);
		assert_null(words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(refuses),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(splits_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
