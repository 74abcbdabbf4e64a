/* awsocks cal's pure parts: settings of all sources, the key's line and file, YAML, the script. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cal_conf.h"
#include "cmd/awsocks/cal_keys.h"
#include "cmd/awsocks/cal_script.h"
#include "cmd/awsocks/cal_yaml.h"
#include "cmd/awsocks/text_file.h"
#include "tests/support/cmocka_all.h"

#define BLOB "AAAAC3NzaC1lZDI1NTE5AAAAIEaABtAJNmVAcA0nL7vcrf426MepFtj+8EyUjn4aQRKl"
#define KEY  "ssh-ed25519 " BLOB
#define LINE(port)                                                    \
	"restrict,port-forwarding,permitopen=\"127.0.0.1:" port "\"," \
	"permitlisten=\"127.0.0.1:1\",command=\"/usr/bin/true\" " KEY " cal-vm-socks:work"

static const char *const none[CAL_KEY_COUNT];
static char home[64];

static const char *in_home(const char *name)
{
	static char path[4][256];
	static size_t turn;

	turn = (turn + 1) % 4;
	if (!str_fmt(path[turn], sizeof(path[turn]), "%s/%s", home, name))
		fail_msg("path too long");
	return path[turn];
}

static void write_file(const char *name, const char *text)
{
	struct err e;

	if (text_file_write(in_home(name), text, &e) != 0)
		fail_msg("%s", e.msg);
}

static void assert_file(const char *name, const char *want)
{
	struct err e;
	char *text;
	size_t n;

	if (text_file_read(in_home(name), &text, &n, &e) != 0)
		fail_msg("%s", e.msg);
	assert_string_equal(text, want);
	mem_free(text);
}

static int make_home(void **state)
{
	static const char *const folders[] = { ".cal", ".cal/isolation", ".cal/isolation/vms",
					       ".cal/isolation/vms/box" };
	static const char *const variables[] = { "SOCKS_WAY",       "SOCKS_MODE",   "SOCKS_PORT",
						 "HTTP_PROXY_PORT", "HOST_GATEWAY", "HOST_USER",
						 "HOST_SSH_PORT" };

	(void)state;
	(void)str_fmt(home, sizeof(home), "/tmp/awsocks-cal-XXXXXX");
	if (!mkdtemp(home) || setenv("HOME", home, 1) != 0)
		return -1;
	for (size_t i = 0; i < COUNT(variables); i++)
		(void)unsetenv(variables[i]);
	for (size_t i = 0; i < COUNT(folders); i++)
		if (mkdir(in_home(folders[i]), 0700) != 0)
			return -1;
	return 0;
}

static int remove_home(void **state)
{
	char command[128];

	(void)state;
	/* Made by mkdtemp above: nothing in it is for a shell. */
	return str_fmt(command, sizeof(command), "rm -rf %s", home) ? system(command) : -1;
}

/* ---- settings ---- */

static void each_source_counts_before_the_next(void **state)
{
	const char *given[CAL_KEY_COUNT] = { [CAL_SOCKS_PORT] = "4" };
	struct cal_conf c;
	struct err e;

	(void)state;
	write_file(".cal/config.yaml",
		   "isolation: {defaults: {awsocks: {socks-port: 1, http-port: 1, "
		   "ssh-port: 1, gateway: 10.0.0.1}}}\n");
	write_file(".cal/isolation/vms/box/vm.yaml",
		   "awsocks: {socks-port: 2, http-port: 2, ssh-port: 2}\n");
	setenv("SOCKS_PORT", "3", 1);
	setenv("HTTP_PROXY_PORT", "3", 1);
	setenv("HOST_USER", "", 1); /* as if it were not there */
	assert_int_equal(cal_conf_load(&c, "box", given, NULL, NULL, &e), 0);
	assert_string_equal(c.value[CAL_SOCKS_PORT], "4");
	assert_string_equal(c.value[CAL_HTTP_PORT], "3");
	assert_string_equal(c.value[CAL_SSH_PORT], "2");
	assert_string_equal(c.value[CAL_GATEWAY], "10.0.0.1");
	assert_string_equal(c.value[CAL_WAY], "gateway");
	assert_string_equal(c.value[CAL_SOCKS], "auto");
	assert_null(c.value[CAL_HOST_USER]);
	assert_null(c.value[CAL_LISTEN]);
	cal_conf_free(&c);
}

static void files_that_are_not_there_say_nothing(void **state)
{
	struct cal_conf c;
	struct err e;

	(void)state;
	assert_int_equal(cal_conf_load(&c, "other", none, NULL, NULL, &e), 0);
	assert_string_equal(c.value[CAL_GATEWAY], "192.168.64.1");
	assert_null(c.rules);
	cal_conf_free(&c);
}

static void wrong_values_are_told_with_their_source(void **state)
{
	static const struct {
		const char *variable, *value;
	} wrong[] = { { "SOCKS_PORT", "0" },      { "SOCKS_PORT", "65536" },
		      { "SOCKS_PORT", "1 " },     { "HTTP_PROXY_PORT", "-1" },
		      { "SOCKS_MODE", "ON" },     { "SOCKS_WAY", "tcp" },
		      { "HOST_GATEWAY", "a.b" },  { "HOST_GATEWAY", "10.0.0.1:1" },
		      { "HOST_USER", "-oProxy" }, { "HOST_USER", "a b" },
		      { "HOST_USER", "a\nb" },    { "HOST_SSH_PORT", "22;id" } };
	struct cal_conf c;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		setenv(wrong[i].variable, wrong[i].value, 1);
		assert_int_equal(cal_conf_load(&c, "box", none, NULL, NULL, &e), -1);
		assert_non_null(strstr(e.msg, wrong[i].variable));
		cal_conf_free(&c);
		unsetenv(wrong[i].variable);
	}
}

static void what_is_of_one_vm_is_not_for_all(void **state)
{
	struct cal_conf c;
	struct err e;

	(void)state;
	write_file(".cal/config.yaml", "isolation:\n  defaults:\n    awsocks: {name: x}\n");
	assert_int_equal(cal_conf_load(&c, "box", none, NULL, NULL, &e), -1);
	assert_non_null(strstr(e.msg, "config.yaml:3:15: name: not of all VMs"));
	cal_conf_free(&c);
	write_file(".cal/config.yaml", "isolation: [1]\n"); /* CAL's own business */
	assert_int_equal(cal_conf_load(&c, "box", none, NULL, NULL, &e), 0);
	cal_conf_free(&c);
}

static void names_are_words(void **state)
{
	static const char *const wrong[] = { "",     ".",     "..",       ".x",   "-x",
					     "a/b",  "../x",  "a b",      "a\nb", "a'b",
					     "a\"b", "$(id)", "\xc3\xa4", "a\\b" };
	char longest[65];
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(cal_check_vm(wrong[i], &e), -1);
	memset(longest, 'a', 64);
	longest[64] = '\0';
	assert_int_equal(cal_check_vm(longest, &e), -1);
	longest[63] = '\0';
	assert_int_equal(cal_check_vm(longest, &e), 0);
	assert_int_equal(cal_check_vm("a.b_c-1", &e), 0);
	assert_true(cal_is_loopback("127.0.0.9:1") && cal_is_loopback("[::1]:1"));
	assert_false(cal_is_loopback("192.168.64.1:1") || cal_is_loopback("1270.0.0.1:1"));
}

/* ---- the key ---- */

static void a_key_becomes_one_restricted_line(void **state)
{
	static const char *const good[] = { KEY, KEY "\n", KEY " me@vm", KEY "\r\nssh-rsa AAAA x" };
	static const char *const wrong[] = { "",
					     "ssh-ed25519",
					     "ssh-ed25519 ",
					     "ssh-ed25519 AAAA",
					     "ssh-ed25519\t" BLOB,
					     " " KEY,
					     "ssh-ed2551 " BLOB,
					     "command=\"id\" " KEY,
					     KEY "\"",
					     KEY ",x",
					     "ssh-ed25519  " BLOB,
					     "ssh-dss " BLOB };
	char out[CAL_KEY_LINE], *huge;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(cal_key_line(out, good[i], "11080", "work", &e), 0);
		assert_string_equal(out, LINE("11080"));
	}
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(cal_key_line(out, wrong[i], "11080", "work", &e), -1);
	huge = mem_alloc(CAL_KEY_LINE + 20);
	memset(huge, 'A', CAL_KEY_LINE + 19);
	huge[CAL_KEY_LINE + 19] = '\0';
	memcpy(huge, "ssh-rsa ", 8);
	assert_int_equal(cal_key_line(out, huge, "1", "work", &e), -1);
	mem_free(huge);
}

static void the_file_keeps_all_other_lines(void **state)
{
	static const char others[] = "# mine\n" KEY " cal-vm-socks:work\n" /* not restricted */
				     "restrict,port-forwarding,x " KEY " cal-vm-socks:work2\n"
				     "restrict,port-forwarding,x " KEY " xcal-vm-socks:work\n";
	char want[4096];
	struct err e;
	struct stat st;
	bool changed, found;

	(void)state;
	assert_int_equal(cal_keys_remove("work", &changed, &e), 0);
	assert_int_equal(cal_keys_repin("1", "work", &found, &e), 0);
	assert_false(changed || found);
	assert_int_equal(access(in_home(".ssh"), F_OK), -1); /* nothing was made for nothing */
	assert_int_equal(cal_keys_install(LINE("1"), "work", &changed, &e), 0);
	assert_true(changed);
	assert_int_equal(cal_keys_install(LINE("1"), "work", &changed, &e), 0);
	assert_false(changed);
	(void)str_fmt(want, sizeof(want), "%s%s\n%s\n", others, LINE("1"), LINE("2"));
	write_file(".ssh/authorized_keys", want);
	assert_int_equal(chmod(in_home(".ssh/authorized_keys"), 0644), 0);
	assert_int_equal(cal_keys_install(LINE("3"), "work", &changed, &e), 0); /* of two, one */
	(void)str_fmt(want, sizeof(want), "%s%s\n", others, LINE("3"));
	assert_file(".ssh/authorized_keys", want);
	assert_int_equal(cal_keys_repin("4", "work", &found, &e), 0);
	assert_true(found);
	(void)str_fmt(want, sizeof(want), "%s%s\n", others, LINE("4"));
	assert_file(".ssh/authorized_keys", want);
	assert_int_equal(stat(in_home(".ssh/authorized_keys"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(cal_keys_remove("work", &changed, &e), 0);
	assert_true(changed);
	assert_file(".ssh/authorized_keys", others);
}

static void another_name_of_the_file_keeps_what_it_had(void **state)
{
	struct err e;
	bool changed;

	(void)state;
	write_file(".ssh/authorized_keys", "one\n");
	assert_int_equal(link(in_home(".ssh/authorized_keys"), in_home("copy")), 0);
	assert_int_equal(cal_keys_install(LINE("1"), "work", &changed, &e), 0);
	assert_file("copy", "one\n");
	assert_file(".ssh/authorized_keys", "one\n" LINE("1") "\n");
	/* A link into a loop, and a directory: told, not replaced. */
	assert_int_equal(unlink(in_home(".ssh/authorized_keys")), 0);
	assert_int_equal(symlink("authorized_keys", in_home(".ssh/authorized_keys")), 0);
	assert_int_equal(cal_keys_install(LINE("1"), "work", &changed, &e), -1);
	assert_int_equal(unlink(in_home(".ssh/authorized_keys")), 0);
	assert_int_equal(mkdir(in_home(".ssh/authorized_keys"), 0700), 0);
	assert_int_equal(cal_keys_install(LINE("1"), "work", &changed, &e), -1);
	assert_int_equal(rmdir(in_home(".ssh/authorized_keys")), 0);
}

/* ---- YAML ---- */

static void a_section_reads_the_same_again(void **state)
{
	static const char text[] =
		"{a: [1, \"2\", ~, 'it''s', \"q\\\"\\\\\\n\"], 'yes': \"no\", e: {}, "
		"f: [], \"x: y\": \"re:^a\\\\.b$\", '': ''}";
	struct yaml *one, *two;
	struct buf first, second;
	struct err e;

	(void)state;
	buf_init(&first, 4096);
	buf_init(&second, 4096);
	assert_int_equal(yaml_parse(text, strlen(text), "a", &one, &e), 0);
	assert_int_equal(cal_yaml_write(&first, one, &e), 0);
	if (yaml_parse((const char *)buf_ptr(&first), buf_len(&first), "b", &two, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(cal_yaml_write(&second, two, &e), 0);
	assert_int_equal(buf_len(&first), buf_len(&second));
	assert_memory_equal(buf_ptr(&first), buf_ptr(&second), buf_len(&first));
	assert_string_equal(yaml_get(two, "a")->item[4]->text, "q\"\\\n");
	assert_string_equal(yaml_get(two, "x: y")->text, "re:^a\\.b$");
	assert_true(yaml_get(two, "yes")->quoted && yaml_get(two, "a")->item[1]->quoted);
	yaml_tree_free(one);
	yaml_tree_free(two);
	buf_free(&first);
	buf_free(&second);
}

/* ---- the script ---- */

static const char *script(struct buf *b, const char *const given[CAL_KEY_COUNT], const char *key,
			  struct err *e)
{
	struct cal_host h = { .listen = "127.0.0.1:11081", .port = "11081" };
	struct cal_conf c;
	int rc;

	buf_clear(b);
	if (cal_conf_load(&c, "other", given, NULL, NULL, e) != 0)
		fail_msg("%s", e->msg);
	rc = cal_script(b, &c, &h, key, e);
	cal_conf_free(&c);
	return rc == 0 && buf_add(b, "", 1, e) == 0 ? (const char *)buf_ptr(b) : NULL;
}

static void the_script_says_what_was_set(void **state)
{
	const char *given[CAL_KEY_COUNT] = {
		[CAL_WAY] = "ssh", [CAL_HOST_USER] = "claude", [CAL_SSH_PORT] = "2222"
	};
	const char *text;
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, CAL_SCRIPT_MAX);
	write_file("key.pub", KEY " root@host\n");
	text = script(&b, given, in_home("key.pub"), &e);
	assert_non_null(text);
	assert_non_null(strstr(text, "\nHOST_USER=claude\nSOCKS_WAY=ssh\nHOST_PROXY_PORT=11081\n"
				     "HOST_SSH_PORT=2222'\n"));
	assert_non_null(strstr(text, "\n[192.168.64.1]:2222 " KEY " cal-vm-socks-host\n"));
	assert_non_null(strstr(text, "\ncal_bridge_to() { return 1; }\n"));
	given[CAL_SSH_PORT] = "22";
	text = script(&b, given, in_home("key.pub"), &e);
	assert_non_null(text);
	assert_non_null(strstr(text, "\n192.168.64.1 " KEY " cal-vm-socks-host\n"));
	write_file("key.pub", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
	assert_null(script(&b, given, in_home("key.pub"), &e));
	assert_non_null(strstr(e.msg, "is no public key of OpenSSH"));
	given[CAL_WAY] = "gateway"; /* which has no use for it */
	assert_non_null(script(&b, given, in_home("key.pub"), &e));
	buf_free(&b);
	buf_init(&b, 100);
	assert_null(script(&b, given, NULL, &e));
	buf_free(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_that_are_not_there_say_nothing),
		cmocka_unit_test(each_source_counts_before_the_next),
		cmocka_unit_test(wrong_values_are_told_with_their_source),
		cmocka_unit_test(what_is_of_one_vm_is_not_for_all),
		cmocka_unit_test(names_are_words),
		cmocka_unit_test(a_key_becomes_one_restricted_line),
		cmocka_unit_test(the_file_keeps_all_other_lines),
		cmocka_unit_test(another_name_of_the_file_keeps_what_it_had),
		cmocka_unit_test(a_section_reads_the_same_again),
		cmocka_unit_test(the_script_says_what_was_set),
	};
	return cmocka_run_group_tests(tests, make_home, remove_home);
}
