/* What is taken out of the environment of children that have no use for secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net/child_env.h"

static void taken_out(void **state)
{
	char *env[] = { "HOME=/h",
			"AWS_SECRET_ACCESS_KEY=k",
			"PATH=/bin",
			"AWS_SESSION_TOKEN=",
			"AWSOCKS_PASSWORD=p",
			"HTTPS_PROXY=http://u:p@proxy",
			"https_proxy=http://u:p@proxy",
			"All_Proxy=x",
			"MY_AWS_THING=stays",
			"PROXY=stays",
			"_PROXY",
			"TMPDIR=/t=_proxy",
			NULL };
	static const char *const left[] = { "HOME=/h", "PATH=/bin", "MY_AWS_THING=stays",
					    "PROXY=stays", "TMPDIR=/t=_proxy" };
	size_t n = 0;

	(void)state;
	child_env_strip(env);
	for (; env[n]; n++)
		assert_string_equal(env[n], left[n]);
	assert_int_equal(n, sizeof(left) / sizeof(left[0]));
	child_env_strip(env);
	assert_string_equal(env[0], "HOME=/h");
	env[0] = NULL;
	child_env_strip(env);
	assert_null(env[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(taken_out) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
