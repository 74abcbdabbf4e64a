/* Which command lines are those of the AWS files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "credentials/command_known.h"

enum { ARGS = 4, PATH_SIZE = 128 };

static char folder[64], config[PATH_SIZE], credentials[PATH_SIZE];
static char env_config[PATH_SIZE + 32], env_credentials[PATH_SIZE + 32];
static const char *const env[] = { env_config, env_credentials, "HOME=/nonexistent", NULL };

static int write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	return !out || fputs(text, out) < 0 || fclose(out) != 0 ? -1 : 0;
}

static int make(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/awsocks-known-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(config, sizeof(config), "%s/config", folder);
	snprintf(credentials, sizeof(credentials), "%s/credentials", folder);
	snprintf(env_config, sizeof(env_config), "AWS_CONFIG_FILE=%s", config);
	snprintf(env_credentials, sizeof(env_credentials), "AWS_SHARED_CREDENTIALS_FILE=%s",
		 credentials);
	return write_file(config, "[default]\nregion = x\n"
				  "[profile a]\ncredential_process = /bin/give 'an argument' --x\n"
				  "[profile b]\ncredential_process = bare\n") ||
	       write_file(credentials, "[c]\ncredential_process = /bin/other\n");
}

static int clean(void **state)
{
	(void)state;
	(void)unlink(config);
	(void)unlink(credentials);
	return rmdir(folder);
}

static void only_the_very_words(void **state)
{
	static const struct {
		const char *argv[ARGS];
		enum err_code code;
	} rows[] = {
		{ { "/bin/give", "an argument", "--x", NULL }, ERR_NONE },
		{ { "bare", NULL }, ERR_NONE },
		{ { "/bin/other", NULL }, ERR_NONE },
		{ { "/bin/give", "an argument", NULL }, ERR_DENIED },
		{ { "/bin/give", NULL }, ERR_DENIED },
		{ { "/bin/give", "an", "argument", NULL }, ERR_DENIED },
		{ { "/bin/give", "an argument", "--y", NULL }, ERR_DENIED },
		{ { "bare", "more", NULL }, ERR_DENIED },
		{ { "/bin/bare", NULL }, ERR_DENIED },
		{ { "", NULL }, ERR_DENIED },
		{ { "sh", "-c", "id", NULL }, ERR_DENIED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = { 0 };
		int result = command_known(env, rows[i].argv, &e);

		assert_int_equal(e.code, rows[i].code);
		assert_int_equal(result, rows[i].code ? -1 : 0);
	}
}

static void files_are_read_anew(void **state)
{
	const char *argv[] = { "/bin/later", NULL };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(command_known(env, argv, &e), -1);
	assert_string_equal(e.msg, "'/bin/later' with these arguments is no credential_process of "
				   "the AWS files");
	assert_int_equal(write_file(credentials, "[d]\ncredential_process = /bin/later\n"), 0);
	assert_int_equal(command_known(env, argv, &e), 0);
	assert_int_equal(write_file(credentials, "[d\n"), 0);
	assert_int_equal(command_known(env, argv, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_very_words),
		cmocka_unit_test(files_are_read_anew),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
