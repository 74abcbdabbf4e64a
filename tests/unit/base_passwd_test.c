/* Stored passwords: our texts, those of others, and texts that ask for too much. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "base/passwd.h"

static int check(const char *text, const char *password)
{
	struct passwd_hash h;
	struct err e = { 0 };

	if (passwd_parse(text, &h, &e) != 0)
		fail_msg("%s: %s", text, e.msg);
	return passwd_check(&h, password, strlen(password), &e);
}

static void what_is_made_is_checked(void **state)
{
	char one[PASSWD_LINE], two[PASSWD_LINE];
	struct err e;

	(void)state;
	assert_int_equal(passwd_make("correct horse", 13, one, &e), 0);
	assert_int_equal(passwd_make("correct horse", 13, two, &e), 0);
	assert_string_not_equal(one, two);
	assert_null(strstr(one, "horse"));
	assert_int_equal(check(one, "correct horse"), 1);
	assert_int_equal(check(two, "correct horse"), 1);
	assert_int_equal(check(one, "correct hors"), 0);
	assert_int_equal(check(one, "correct horse "), 0);
	assert_int_equal(check(one, ""), 0);
	assert_int_equal(passwd_make("", 0, one, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
}

/* RFC 7914, 12: the third vector (N = 16384, r = 8, p = 1), its salt "SodiumChloride". */
static void a_published_vector_holds(void **state)
{
	(void)state;
	assert_int_equal(check("$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$"
			       "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylV"
			       "YT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
			       "pleaseletmein"),
			 1);
}

static void bad_texts_are_told(void **state)
{
#define SALT_KEY "$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+"
	static const char *const texts[] = {
		"",
		"secret",
		"$2b$12$abcdefghijklmnopqrstuv",
		"$scrypt$",
		"$scrypt$ln=14,r=8,p=1",
		"$scrypt$ln=14,r=8" SALT_KEY,
		"$scrypt$ln=14,r=8,p=1,x=1" SALT_KEY,
		"$scrypt$r=8,ln=14,p=1" SALT_KEY,
		"$scrypt$ln=0,r=8,p=1" SALT_KEY,
		"$scrypt$ln=-1,r=8,p=1" SALT_KEY,
		"$scrypt$ln=17,r=8,p=1" SALT_KEY, /* 128 MiB */
		"$scrypt$ln=63,r=8,p=1" SALT_KEY,
		"$scrypt$ln=16,r=8,p=64" SALT_KEY,
		"$scrypt$ln=16,r=1,p=1" SALT_KEY, /* OpenSSL refuses to compute it */
		"$scrypt$ln=14,r=4294967304,p=1" SALT_KEY,
		"$scrypt$ln=14,r=8,p=1" SALT_KEY "$",
		"$scrypt$ln=14,r=8,p=1$U29$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+",
		"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9",
		"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+A",
		"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$!CO9yzr9c0hGHAbNgf046/2o+7qQT44+",
	};
	struct passwd_hash h;
	struct err e;
	char longest[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(passwd_parse(texts[i], &h, &e), -1);
		assert_int_equal(e.code, ERR_CONFIG);
		assert_non_null(strstr(e.msg, "awsocks passwd"));
	}
	memset(longest, 'A', sizeof(longest) - 1);
	memcpy(longest, "$scrypt$ln=14,r=8,p=1$", 22);
	longest[100] = '$';
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(passwd_parse(longest, &h, &e), -1);
}

static void names(void **state)
{
	(void)state;
	assert_true(passwd_is_name("alice", 5));
	assert_true(passwd_is_name("J\303\266rg", 5));
	assert_false(passwd_is_name("", 0));
	assert_false(passwd_is_name("a:b", 3));
	assert_false(passwd_is_name("a\nb", 3));
	assert_false(passwd_is_name("a\0b", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_is_checked),
		cmocka_unit_test(a_published_vector_holds),
		cmocka_unit_test(bad_texts_are_told),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
