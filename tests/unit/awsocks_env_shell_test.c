/* How each shell and file says a value. Real shells read the same in test_env.py. */
#include <string.h>

#include "cmd/awsocks/env_shell.h"
#include "tests/support/cmocka_all.h"

#define NASTY "a'b \"c\" \\ $(d) `e` %h [::1] * !"

static const char *said(struct buf *b, enum env_shell shell, const char *value)
{
	struct err e = { 0 };

	buf_clear(b);
	if (env_shell_begin(b, shell, &e) != 0 || env_shell_set(b, shell, "N", value, &e) != 0 ||
	    env_shell_end(b, shell, &e) != 0 || buf_add(b, "", 1, &e) != 0)
		fail_msg("%s", e.msg);
	return (const char *)buf_ptr(b);
}

static void each_quotes_in_its_own_way(void **state)
{
	static const char *const want[ENV_SHELL_COUNT] = {
		[ENV_SH] = "export N='a'\\''b \"c\" \\ $(d) `e` %h [::1] * !';\n",
		[ENV_FISH] = "set -gx N 'a\\'b \"c\" \\\\ $(d) `e` %h [::1] * !';\n",
		[ENV_CSH] = ("setenv N a\\'b\\ \\\"c\\\"\\ \\\\\\ \\$\\(d\\)\\ \\`e\\`\\ \\%h\\ "
			     "\\[::1\\]\\ \\*\\ \\!;\n"),
		[ENV_POWERSHELL] = "$env:N = 'a''b \"c\" \\ $(d) `e` %h [::1] * !'\n",
		[ENV_LAUNCHCTL] = "launchctl setenv N 'a'\\''b \"c\" \\ $(d) `e` %h [::1] * !';\n",
		[ENV_JSON] = "{\"N\":\"a'b \\\"c\\\" \\\\ $(d) `e` %h [::1] * !\"}\n",
		[ENV_DOTENV] = "N=\"a'b \\\"c\\\" \\\\ \\$(d) `e` %h [::1] * !\"\n",
		[ENV_SYSTEMD] =
			"[Service]\nEnvironment=\"N=a'b \\\"c\\\" \\\\ $(d) `e` %%h [::1] * !\"\n",
		[ENV_DOCKER] = "N=a'b \"c\" \\ $(d) `e` %h [::1] * !\n",
	};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	for (int s = 0; s < ENV_SHELL_COUNT; s++)
		assert_string_equal(said(&b, (enum env_shell)s, NASTY), want[s]);
	assert_string_equal(said(&b, ENV_DOTENV, "plain:1"), "N=plain:1\n");
	assert_string_equal(said(&b, ENV_DOTENV, "a $b"), "N='a $b'\n");
	assert_string_equal(said(&b, ENV_CSH, ""), "setenv N \"\";\n");
	/* what PowerShell takes for a quote: U+2019 */
	assert_string_equal(said(&b, ENV_POWERSHELL, "a\xe2\x80\x99; b"),
			    "$env:N = 'a\xe2\x80\x99\xe2\x80\x99; b'\n");
	buf_free(&b);
}

static void line_ends_are_said_or_refused(void **state)
{
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, 4096);
	assert_string_equal(said(&b, ENV_SH, "a\nb"), "export N='a\nb';\n");
	assert_string_equal(said(&b, ENV_DOTENV, "a\nb"), "N=\"a\\nb\"\n");
	assert_string_equal(said(&b, ENV_JSON, "a\n\x01"), "{\"N\":\"a\\n\\ufffd\"}\n");
	assert_string_equal(said(&b, ENV_SYSTEMD, "a\nb"), "[Service]\nEnvironment=\"N=a\\nb\"\n");
	assert_int_equal(env_shell_set(&b, ENV_DOCKER, "N", "a\nb", &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_int_equal(env_shell_set(&b, ENV_CSH, "N", "a\nb", &e), -1);
	buf_free(&b);
}

static void unset_is_for_shells(void **state)
{
	static const char *const want[ENV_SHELL_COUNT] = {
		[ENV_SH] = "unset N;\n",
		[ENV_FISH] = "set -e N;\n",
		[ENV_CSH] = "unsetenv N;\n",
		[ENV_POWERSHELL] = "Remove-Item Env:N -ErrorAction SilentlyContinue\n",
		[ENV_LAUNCHCTL] = "launchctl unsetenv N;\n",
	};
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, 4096);
	for (int s = 0; s < ENV_SHELL_COUNT; s++) {
		buf_clear(&b);
		assert_int_equal(env_shell_unset(&b, (enum env_shell)s, "N", &e), 0);
		assert_int_equal(env_shell_is_file((enum env_shell)s), want[s] == NULL);
		assert_int_equal(buf_len(&b), want[s] ? strlen(want[s]) : 0);
		if (want[s])
			assert_memory_equal(buf_ptr(&b), want[s], buf_len(&b));
	}
	buf_free(&b);
}

static void names_and_guesses(void **state)
{
	enum env_shell s;
	struct err e;

	(void)state;
	assert_int_equal(env_shell_find("zsh", &s, &e), 0);
	assert_int_equal(s, ENV_SH);
	assert_int_equal(env_shell_find("tcsh", &s, &e), 0);
	assert_int_equal(s, ENV_CSH);
	assert_int_equal(env_shell_find("fihs", &s, &e), -1);
	assert_non_null(strstr(e.msg, "perhaps fish"));
	assert_true(env_shell_guess("/usr/local/bin/fish", &s));
	assert_int_equal(s, ENV_FISH);
	assert_true(env_shell_guess("bash", &s));
	assert_int_equal(s, ENV_SH);
	assert_false(env_shell_guess("/bin/nu", &s));
	assert_false(env_shell_guess("/bin/json", &s));
	assert_false(env_shell_guess("", &s));
	assert_false(env_shell_guess(NULL, &s));
}

static void words_of_sh(void **state)
{
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(env_shell_word(&b, "/a/b-c.d:1", &e), 0);
	assert_int_equal(env_shell_word(&b, "a b", &e), 0);
	assert_int_equal(env_shell_word(&b, "", &e), 0);
	assert_int_equal(env_shell_word(&b, "it's", &e), 0);
	assert_int_equal(buf_add(&b, "", 1, &e), 0);
	assert_string_equal((const char *)buf_ptr(&b), "/a/b-c.d:1'a b''''it'\\''s'");
	buf_free(&b);
}

static void a_full_buffer_is_an_error(void **state)
{
	struct buf b;
	struct err e;

	(void)state;
	for (int s = 0; s < ENV_SHELL_COUNT; s++)
		for (size_t room = 0; room < 20; room++) {
			buf_init(&b, room);
			assert_int_equal(
				env_shell_set(&b, (enum env_shell)s, "NAME", "a 'long' value", &e),
				-1);
			assert_int_equal(e.code, ERR_LIMIT);
			buf_free(&b);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_quotes_in_its_own_way),
		cmocka_unit_test(line_ends_are_said_or_refused),
		cmocka_unit_test(unset_is_for_shells),
		cmocka_unit_test(names_and_guesses),
		cmocka_unit_test(words_of_sh),
		cmocka_unit_test(a_full_buffer_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
