/* OpenSSH's command line, its complaints, and a key that it can read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/ssm/ssh_command.h"
#include "backend/ssm/ssh_key.h"

static const struct ssh_login plain = {
	.instance = "i-0123456789abcdef0",
	.user = "ec2-user",
	.identity = "/run/x/1.k",
	.no_agent = true,
	.known_hosts = "/home/me/.local/state/awsocks/known_hosts",
	.control = "/run/x/1.c",
	.helper = "/usr/local/bin/awsocks",
	.carrier = "/run/x/1.s",
};

static const struct ssh_bounds bounds = {
	.helper = "/usr/local/bin/awsocks",
	.dir = "/run/x",
	.known_hosts = "/home/me/.local/state/awsocks/known_hosts",
};

static bool has(const struct ssh_args *a, const char *word)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->argv[i], word) == 0)
			return true;
	return false;
}

static void what_matters_is_fixed(void **state)
{
	struct ssh_args a;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(ssh_command(&a, &plain, &e), 0);
	assert_string_equal(a.argv[0], "ssh");
	assert_null(a.argv[a.count]);
	assert_string_equal(a.argv[a.count - 1], "i-0123456789abcdef0");
	assert_string_equal(a.argv[a.count - 2], "--");
	assert_true(has(&a, "StrictHostKeyChecking=accept-new"));
	assert_true(has(&a, "HostKeyAlias=i-0123456789abcdef0"));
	assert_true(has(&a, "PermitLocalCommand=no"));
	assert_true(has(&a, "ProxyCommand='/usr/local/bin/awsocks' ssh-pass '/run/x/1.s'"));
	assert_true(has(&a, "UserKnownHostsFile=\"/home/me/.local/state/awsocks/known_hosts\""));
	assert_true(has(&a, "IdentityFile=\"/run/x/1.k\""));
	assert_true(has(&a, "IdentityAgent=none"));
	assert_true(has(&a, "Compression=no"));
	assert_true(has(&a, "-F"));
	assert_int_equal(ssh_command_check(a.argv, &bounds, &e), 0);
}

static void own_keys_leave_the_users_config(void **state)
{
	struct ssh_login l = plain;
	struct ssh_args a;
	struct err e;

	(void)state;
	l.own_keys = true;
	l.no_agent = false;
	l.identity = l.user = NULL;
	l.compression = true;
	assert_int_equal(ssh_command(&a, &l, &e), 0);
	assert_false(has(&a, "-F"));
	assert_false(has(&a, "-l"));
	assert_false(has(&a, "IdentitiesOnly=yes"));
	assert_true(has(&a, "Compression=yes"));
	assert_int_equal(ssh_command_check(a.argv, &bounds, &e), 0);
}

static void names_that_ssh_would_read_otherwise(void **state)
{
	static const struct {
		size_t field;
		const char *value;
		bool good;
	} rows[] = {
		{ offsetof(struct ssh_login, user), "-oProxyCommand=x", false },
		{ offsetof(struct ssh_login, user), "a b", false },
		{ offsetof(struct ssh_login, user), "", false },
		{ offsetof(struct ssh_login, instance), "i-0;x", false },
		{ offsetof(struct ssh_login, helper), "/it's/awsocks", false },
		{ offsetof(struct ssh_login, helper), "/with a blank/awsocks", true },
		{ offsetof(struct ssh_login, carrier), "/$(x)/s", false },
		{ offsetof(struct ssh_login, control), "/a\"b", false },
		{ offsetof(struct ssh_login, control), "~/b", false },
		{ offsetof(struct ssh_login, identity), "/k\n", false },
		{ offsetof(struct ssh_login, known_hosts), "/with a blank/h", true },
		{ offsetof(struct ssh_login, known_hosts), "/${HOME}/h", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ssh_login l = plain;
		struct ssh_args a;
		struct err e = { 0 };
		int r;

		memcpy((uint8_t *)&l + rows[i].field, &rows[i].value, sizeof(rows[i].value));
		r = ssh_command(&a, &l, &e);
		if ((r == 0) != rows[i].good)
			fail_msg("'%s': %d %s", rows[i].value, r, e.msg);
		if (!rows[i].good)
			assert_int_equal(e.code, ERR_CONFIG);
	}
}

static void a_percent_is_doubled(void **state)
{
	struct ssh_login l = plain;
	struct ssh_args a;
	struct err e;

	(void)state;
	l.control = "/run/50%C/c";
	l.helper = "/opt/100%/awsocks";
	assert_int_equal(ssh_command(&a, &l, &e), 0);
	assert_true(has(&a, "ControlPath=\"/run/50%%C/c\""));
	assert_true(has(&a, "ProxyCommand='/opt/100%%/awsocks' ssh-pass '/run/x/1.s'"));
}

static void too_long_is_refused(void **state)
{
	static char path[3000];
	struct ssh_login l = plain;
	struct ssh_args a;
	struct err e;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	l.control = path;
	assert_int_equal(ssh_command(&a, &l, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
}

/* What somebody who has taken over the main process might ask the spawner for. */
static void other_command_lines_are_refused(void **state)
{
	struct ssh_args a;
	struct err e;

	(void)state;
	for (int i = 0; i < 14; i++) {
		const char *argv[SSH_ARGS_MAX + 4];
		struct ssh_login l = plain;
		size_t n;

		assert_int_equal(ssh_command(&a, &plain, &e), 0);
		n = a.count;
		memcpy(argv, a.argv, (n + 1) * sizeof(*argv));
		switch (i) {
		case 0: argv[0] = "/bin/sh"; break;
		case 1: argv[1] = "-NTMv"; break;
		case 2: argv[3] = "PermitLocalCommand=yes"; break;
		case 3: /* a fixed one is not there */
			memmove(argv + 2, argv + 4, (n - 3) * sizeof(*argv));
			break;
		case 4: /* a command behind the host */
			argv[n] = "rm -rf /";
			argv[n + 1] = NULL;
			break;
		case 5: argv[n - 2] = "-v"; break;
		case 6: /* another one in front */
			memmove(argv + 4, argv + 2, (n - 1) * sizeof(*argv));
			argv[2] = "-o";
			argv[3] = "ProxyCommand='/x' ssh-pass '/y'; touch /tmp/z; : ''";
			break;
		case 7:
			memmove(argv + 4, argv + 2, (n - 1) * sizeof(*argv));
			argv[2] = "-F";
			argv[3] = "/tmp/config";
			break;
		case 8: l.helper = "/usr/bin/python3"; break;
		case 9: l.carrier = "/run/x/../y"; break;
		case 10: l.carrier = "/tmp/y"; break;
		case 11: l.control = "/home/me/.profile"; break;
		case 12: l.known_hosts = "/home/me/.bashrc"; break;
		default: argv[1] = NULL;
		}
		if (i >= 8 && i < 13) {
			assert_int_equal(ssh_command(&a, &l, &e), 0);
			memcpy(argv, a.argv, (a.count + 1) * sizeof(*argv));
		}
		if (ssh_command_check(argv, &bounds, &e) == 0)
			fail_msg("%d was taken", i);
		assert_int_equal(e.code, ERR_DENIED);
	}
}

/* ssh would put the alias in the place of %k, and the user's shell reads the outcome. */
static void nothing_reaches_a_shell(void **state)
{
	static const struct {
		const char *from, *to;
	} rows[] = {
		{ "HostKeyAlias=", "HostKeyAlias=\"'$(touch /tmp/z)'\"" },
		{ "ProxyCommand=", "ProxyCommand='/usr/local/bin/awsocks' ssh-pass '/run/x/%k'" },
		{ "ProxyCommand=", "Compression=no" }, /* it would connect by itself */
		{ "ControlPath=", "ControlPath=\"/run/x/..\"" },
		{ "ControlPath=", "ControlPath=\"/run/x/${A}\"" },
		{ "UserKnownHostsFile=", "Compression=no" },
		{ "PermitLocalCommand=", "BatchMode=yes" }, /* twice, for one that is missing */
		{ "i-0", "';touch /tmp/z;'" },
		{ "ec2-user", "';touch /tmp/z;'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ssh_args a;
		struct err e;
		size_t k = 0;

		assert_int_equal(ssh_command(&a, &plain, &e), 0);
		while (a.argv[k] && strncmp(a.argv[k], rows[i].from, strlen(rows[i].from)) != 0)
			k++;
		assert_non_null(a.argv[k]);
		a.argv[k] = rows[i].to;
		if (ssh_command_check(a.argv, &bounds, &e) == 0)
			fail_msg("%s was taken", rows[i].to);
		assert_int_equal(e.code, ERR_DENIED);
	}
}

static void complaints(void **state)
{
	static const struct {
		const char *text, *want;
		enum err_code code;
		bool known; /* by sshd's own words */
	} rows[] = {
		{ "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nHost key verification "
		  "failed.\n",
		  "is not the one seen first", ERR_TARGET, true },
		{ "ec2-user@i-0: Permission denied (publickey).\r\n", "accepts none of our keys",
		  ERR_CREDS, true },
		{ "Received disconnect: 2: Too many authentication failures\n", "too many keys",
		  ERR_CREDS, true },
		{ "kex_exchange_identification: Connection closed by remote host\nConnection "
		  "closed",
		  "no SSH server answers", ERR_TARGET, false },
		{ "Connection timed out during banner exchange\n", "does not answer", ERR_TIMEOUT,
		  true },
		{ "Timeout, server i-0 not responding.\n", "any more", ERR_TIMEOUT, true },
		{ "Unable to negotiate: no matching host key type found.", "no algorithm",
		  ERR_UNSUPPORTED, true },
		{ "one\nsomething else\n\n", "ssh ended: something else", ERR_CLOSED, false },
		{ "", "without a word", ERR_CLOSED, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct err e;

		bool known = ssh_complaint(rows[i].text, strlen(rows[i].text), &plain, &e);

		if (!strstr(e.msg, rows[i].want) || e.code != rows[i].code ||
		    known != rows[i].known)
			fail_msg("%s: %s", rows[i].text, e.msg);
		assert_null(strstr(e.msg, "\r"));
	}
}

/* ssh-keygen -y reads the private half and prints the public one. */
static void keys_that_openssh_reads(void **state)
{
	char dir[] = "/tmp/awsocks-key-XXXXXX", file[64], command[128], text[SSH_PUBLIC_TEXT];
	char before[SSH_PUBLIC_TEXT] = "", got[256] = "";
	struct stat st;
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/k", dir);
	snprintf(command, sizeof(command), "ssh-keygen -y -f %s", file);
	for (int i = 0; i < 3; i++) {
		FILE *p;

		assert_int_equal(ssh_key_make(file, text, &e), 0);
		assert_int_equal(stat(file, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		p = popen(command, "r");
		assert_non_null(p);
		assert_non_null(fgets(got, sizeof(got), p));
		if (pclose(p) != 0)
			skip();
		got[strcspn(got, "\n")] = '\0';
		assert_string_equal(got, text);
		assert_string_not_equal(text, before);
		memcpy(before, text, sizeof(before));
		assert_int_equal(ssh_key_make(file, text, &e), -1); /* never over another */
		ssh_key_remove(file);
		assert_int_not_equal(stat(file, &st), 0);
	}
	ssh_key_remove(file);
	rmdir(dir);
	assert_int_equal(ssh_key_make("/nonexistent/k", text, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_matters_is_fixed),
		cmocka_unit_test(own_keys_leave_the_users_config),
		cmocka_unit_test(names_that_ssh_would_read_otherwise),
		cmocka_unit_test(a_percent_is_doubled),
		cmocka_unit_test(too_long_is_refused),
		cmocka_unit_test(other_command_lines_are_refused),
		cmocka_unit_test(nothing_reaches_a_shell),
		cmocka_unit_test(complaints),
		cmocka_unit_test(keys_that_openssh_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
