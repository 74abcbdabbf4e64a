#include "config/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "config/doc.h"
#include "config/settings.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Options from one command line, the words parted by blanks. */
static int parse(const char *line, struct args *a, struct err *e)
{
	static char words[512];
	char *argv[32] = { (char[]){ "start" } };
	int argc = 1;

	snprintf(words, sizeof(words), "%s", line);
	for (char *at = words, *word; (word = strsep(&at, " ")) != NULL;)
		if (*word)
			argv[argc++] = word;
	return args_parse(a, argc, argv, NULL, e);
}

static int build(const char *line, struct options *o, struct err *e)
{
	struct args a;
	const struct settings *layer = &a.settings;
	int rc;

	if (parse(line, &a, e) != 0)
		return -1;
	rc = options_build(o, &layer, 1, e);
	args_free(&a);
	return rc;
}

static void every_default_is_valid(void **state)
{
	struct options o;
	struct err e;

	(void)state;
	if (options_build(&o, NULL, 0, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(o.mode, MODE_DIRECT);
	assert_true(o.lazy && o.sign_data_channel && o.project_file);
	assert_int_equal(o.connect_timeout, 30000);
	assert_int_equal(o.handshake_timeout, 10000);
	assert_int_equal(o.idle_timeout, 0);             /* never */
	assert_int_equal(o.max_connections, 0);          /* auto */
	assert_int_equal(o.max_connections_per_peer, 0); /* no limit */
	assert_int_equal(o.idle_stream_timeout, 60000);
	assert_int_equal(o.session_idle, 900000);
	assert_int_equal(o.payload_size, 1024);
	assert_int_equal(o.sessions, 4);
	assert_int_equal(o.gap_limit, 60000);
	assert_int_equal(o.sessions_total, 16);
	assert_int_equal(o.listen.count, 1);
	assert_string_equal(o.listen.item[0].text, "127.0.0.1:1080");
	assert_null(o.region);
	assert_string_equal(o.origin[OPT_ID_region].text, "built-in");
	assert_int_equal(options_unbuilt(&o, &e), 0);
	options_free(&o);
}

/* The names and letters that the original and the design fix. */
static void the_contracts_names(void **state)
{
	static const char names[] = "config mode instance-id name aws-profile region ssh-user "
				    "ssh-key listen lazy auto-start "
				    "auto-stop route-default route-proxy route-direct "
				    "route-vm-direct route-block rules "
				    "transport sessions workers fallback while-initializing "
				    "allow-from sessions-total learn "
				    "no-sandbox log-level log-format audit-log pid-file daemon";
	static const char letters[] =
		"c:config m:mode i:instance-id n:name r:region u:ssh-user k:ssh-key "
		"l:listen";
	char copy[600], *at = copy, *word;
	bool negated;

	(void)state;
	snprintf(copy, sizeof(copy), "%s", names);
	while ((word = strsep(&at, " ")) != NULL)
		if (!opt_find(word, &negated))
			fail_msg("no option %s", word);
	snprintf(copy, sizeof(copy), "%s", letters);
	for (at = copy; (word = strsep(&at, " ")) != NULL;)
		assert_int_equal(opt_find(word + 2, &negated)->ch, word[0]);
}

static void forms_on_the_command_line(void **state)
{
	struct options o;
	struct args a;
	struct err e;

	(void)state;
	assert_int_equal(build("--region=a -r b --no-lazy -l :1 -l127.0.0.1:2 --listen unix:/x "
			       "--connect-timeout 500ms --payload-size 16k --fallback all "
			       "--sessions 7 --log-level info,ssm=debug",
			       &o, &e),
			 0);
	assert_string_equal(o.region, "b"); /* the last one counts */
	assert_string_equal(o.origin[OPT_ID_region].text, "-r");
	assert_false(o.lazy);
	assert_int_equal(o.listen.count, 3);
	assert_string_equal(o.listen.item[1].text, "127.0.0.1:2");
	assert_int_equal(o.connect_timeout, 500);
	assert_int_equal(o.payload_size, 16384);
	assert_int_equal(o.fallback, FALLBACK_ALL);
	options_free(&o);

	assert_int_equal(build("--lazy=false --sign-data-channel=no --no-no-lazy", &o, &e), -1);
	assert_int_equal(build("--lazy=false --lazy", &o, &e), 0);
	assert_true(o.lazy);
	options_free(&o);

	assert_int_equal(parse("one --region x two -- --three -4", &a, &e), 0);
	assert_int_equal(a.count, 4);
	assert_string_equal(a.positional[2], "--three");
	assert_false(a.help);
	args_free(&a);
	assert_int_equal(parse("one --help --nonsense", &a, &e), 0);
	assert_true(a.help);
	args_free(&a);
}

static void refused(void **state)
{
	static const struct {
		const char *line, *why;
	} rows[] = {
		{ "--regoin x", "did you mean --region?" },
		{ "--xyzzy", "unknown option --xyzzy" },
		{ "-z", "unknown option -z" },
		{ "--region", "--region needs a value" },
		{ "-r", "-r needs a value" },
		{ "--region=", "--region: empty" },
		{ "--vm-setting mtu", "--vm-setting: 'mtu': KEY=VALUE expected, as in mtu=1400" },
		{ "--vm-setting nonce=1", "--vm-setting: 'nonce=1': nonce is not yours to set" },
		{ "--vm-memory 64", "--vm-memory: '64' is not between 96 and 4096" },
		{ "--mode both", "--mode: 'both': one of direct|vm expected" },
		{ "--lazy=maybe", "true or false" },
		{ "--no-lazy=true", "takes no value" },
		{ "--no-region", "unknown option --no-region" },
		{ "--connect-timeout 30", "a time, as in 500ms" },
		{ "--connect-timeout 3d", "a time, as in" },
		{ "--connect-timeout 2h", "not between 1ms and 1h" },
		{ "--connect-timeout 99999999999999999999h", "a time" },
		{ "--connect-timeout 999999999999999999h", "a time" },
		{ "--connect-timeout -1s", "a time" },
		{ "--sessions 0", "not between 1 and 64" },
		{ "--sessions 65", "not between 1 and 64" },
		{ "--sessions four", "a number expected" },
		{ "--sessions auto", "a number expected" },
		{ "--max-connections many", "'many': a number or auto expected" },
		{ "--max-connections 0", "'0' is not between 1 and 1000000" },
		{ "--max-connections Auto", "a number or auto expected" },
		{ "--payload-size 1x", "a size" },
		{ "--payload-size 1M", "not between 1k and 64k" },
		{ "--payload-size 1023", "not between 1k and 64k" },
		{ "--listen 1080", "is a port only: write 127.0.0.1:1080" },
		{ "--listen localhost", "HOST:PORT or unix:/PATH" },
		{ "--listen unix:relative", "a full path" },
		{ "--allow-from 192.168.64.0/33", "a network expected" },
		{ "--allow-from host", "a network expected" },
		{ "--allow-from ::1/129", "a network expected" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct options o;
		struct err e = { 0 };

		if (build(rows[i].line, &o, &e) == 0)
			fail_msg("accepted: %s", rows[i].line);
		assert_int_equal(e.code, ERR_USAGE);
		if (!strstr(e.msg, rows[i].why))
			fail_msg("%s: '%s' does not say '%s'", rows[i].line, e.msg, rows[i].why);
	}
}

static void what_is_not_built_says_so(void **state)
{
	static const struct {
		const char *line, *want; /* NULL: fine */
	} rows[] = {
		{ "--mode direct", NULL },    { "--transport port", NULL },
		{ "--workers 1", NULL },      { "--no-sandbox", NULL },
		{ "--no-daemon", NULL },      { "--auto-start=false", NULL },
		{ "--mode vm", NULL },        { "--transport ssh", NULL },
		{ "--transport auto", NULL }, { "-k id_ed25519", NULL },
		{ "--workers 2", NULL },      { "--workers auto", NULL },
		{ "--daemon", NULL },         { "--sandbox", NULL },
		{ "--learn f", NULL },        { "--auto-start", NULL },
		{ "-u ec2-user", NULL },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct options o;
		struct err e = { 0 };

		if (build(rows[i].line, &o, &e) != 0)
			fail_msg("%s: %s", rows[i].line, e.msg);
		if (options_unbuilt(&o, &e) == 0)
			assert_null(rows[i].want);
		else if (!rows[i].want || strcmp(e.msg, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].line, e.msg);
		options_free(&o);
	}
}

static void note(void *arg, const char *text)
{
	snprintf(arg, 200, "%s", text);
}

static void environment(void **state)
{
	char *env[] = { (char[]){ "AWSOCKS_REGION=eu-west-1" },
			(char[]){ "AWSOCKS_ROUTE_DIRECT=a.x, b.x\tc.x" },
			(char[]){ "AWSOCKS_ROUTE_BLOCK=re:a{1,2} d.x" },
			(char[]){ "AWSOCKS_LAZY=off" },
			(char[]){ "AWSOCKS_RULSE=x" },
			(char[]){ "AWSOCKS=127.0.0.1:1" },
			(char[]){ "AWSOCKS_BUILD=y" },
			(char[]){ "AWSOCKS_" },
			(char[]){ "PATH=z" },
			NULL };
	char *wrong[] = { (char[]){ "AWSOCKS_SESSIONS=many" }, NULL };
	char *negated[] = { (char[]){ "AWSOCKS_NO_LAZY=1" }, NULL };
	struct settings s;
	const struct settings *layer = &s;
	struct options o;
	struct err e;
	char warned[200] = "";

	(void)state;
	assert_int_equal(settings_from_env(&s, env, note, warned, &e), 0);
	assert_non_null(strstr(warned, "AWSOCKS_RULSE is no option"));
	assert_int_equal(options_build(&o, &layer, 1, &e), 0);
	settings_free(&s);
	assert_string_equal(o.region, "eu-west-1");
	assert_string_equal(o.origin[OPT_ID_region].text, "AWSOCKS_REGION");
	assert_int_equal(o.route_direct.count, 3);
	assert_string_equal(o.route_direct.item[2].text, "c.x");
	assert_int_equal(o.route_block.count, 2);
	assert_string_equal(o.route_block.item[0].text, "re:a{1,2}");
	assert_false(o.lazy);
	options_free(&o);
	assert_int_equal(settings_from_env(&s, wrong, NULL, NULL, &e), -1);
	assert_string_equal(e.msg, "AWSOCKS_SESSIONS: 'many': a number expected");
	assert_int_equal(settings_from_env(&s, negated, NULL, NULL, &e), -1);
	assert_string_equal(e.msg, "AWSOCKS_NO_LAZY: write AWSOCKS_LAZY=false");
}

static void add(struct settings *s, const char *name, const char *text, const char *origin)
{
	bool negated;
	struct err e;

	assert_int_equal(settings_add(s, opt_find(name, &negated), text, origin, &e), 0);
}

/* argv over environment over profile over defaults over built-in; a list replaces. */
static void layers(void **state)
{
	struct settings s[4] = { { .level = LEVEL_DEFAULTS },
				 { .level = LEVEL_PROFILE },
				 { .level = LEVEL_ENV },
				 { .level = LEVEL_ARGV } };
	static const char *const at[] = { "d", "p", "e", "a" };

	(void)state;
	for (unsigned from = 0; from < 4; from++) {
		const struct settings *use[4] = { NULL, NULL, NULL, NULL };
		struct options o;
		struct err e;

		for (unsigned i = 0; i <= from; i++) {
			if (s[i].count == 0) {
				add(&s[i], "region", at[i], at[i]);
				add(&s[i], "listen", ":1", at[i]);
				add(&s[i], "listen", ":2", at[i]);
			}
			use[i] = &s[i];
		}
		assert_int_equal(options_build(&o, use, 4, &e), 0);
		assert_string_equal(o.region, at[from]);
		assert_string_equal(o.origin[OPT_ID_region].text, at[from]);
		assert_int_equal(o.origin[OPT_ID_region].level, LEVEL_DEFAULTS + from);
		assert_int_equal(o.listen.count, 2);
		assert_string_equal(o.listen.item[1].origin, at[from]);
		options_free(&o);
	}
	for (unsigned i = 0; i < 4; i++)
		settings_free(&s[i]);
}

static void routing_keeps_the_order_given(void **state)
{
	static const enum opt_id ids[] = { OPT_ID_rules, OPT_ID_route_default, OPT_ID_route_direct,
					   OPT_ID_route_block };
	static const char *const want[] = { "b.x", "one.yaml", "direct", "a.x", "c.x", "two.yaml" };
	struct settings low = { .level = LEVEL_DEFAULTS };
	struct args a;
	const struct settings *use[2] = { &low, &a.settings };
	struct opt_given given[16];
	struct options o;
	struct err e;

	(void)state;
	add(&low, "rules", "two.yaml", "config.yaml:1");
	add(&low, "route-direct", "replaced", "config.yaml:2");
	assert_int_equal(parse("--route-block b.x --route-direct a.x --route-direct c.x", &a, &e),
			 0);
	args_free(&a);
	assert_int_equal(parse("--route-block b.x --route-default proxy --route-block one.yaml "
			       "--route-default direct --route-direct a.x --route-direct c.x",
			       &a, &e),
			 0);
	assert_int_equal(options_build(&o, use, 2, &e), 0);
	assert_int_equal(options_in_order(&o, ids, LEN(ids), given, 16), LEN(want));
	for (size_t i = 0; i < LEN(want); i++)
		assert_string_equal(given[i].text, want[i]);
	assert_int_equal(given[5].level, LEVEL_DEFAULTS);
	assert_int_equal(options_in_order(&o, ids, LEN(ids), given, 2), 2);
	options_free(&o);
	args_free(&a);
	settings_free(&low);
}

static void a_subcommands_own_options(void **state)
{
	bool json = false;
	const char *listener = NULL;
	const struct arg_opt own[] = { { "json", 'j', NULL, NULL, &json, "" },
				       { "listener", 0, "NAME", &listener, NULL, "" },
				       { NULL, 0, NULL, NULL, NULL, NULL } };
	char *argv[] = { (char[]){ "route" }, (char[]){ "--listener" },
			 (char[]){ "cal" },   (char[]){ "x" },
			 (char[]){ "-j" },    (char[]){ "-r" },
			 (char[]){ "eu" },    NULL };
	char *wrong[] = { (char[]){ "route" }, (char[]){ "--json=perhaps" }, NULL };
	struct args a;
	struct err e;

	(void)state;
	assert_int_equal(args_parse(&a, 7, argv, own, &e), 0);
	assert_true(json);
	assert_string_equal(listener, "cal");
	assert_string_equal(settings_get(&a.settings, OPT_ID_region), "eu");
	assert_int_equal(a.count, 1);
	args_free(&a);
	assert_int_equal(args_parse(&a, 2, wrong, own, &e), -1);
}

/* Each option that is not hidden is in the help and in the manual, and no line of the help is too
 * wide. */
static void help_and_manual_are_complete(void **state)
{
	struct buf help, man;
	struct err e;
	char word[64];

	(void)state;
	buf_init(&help, 1 << 20);
	buf_init(&man, 1 << 20);
	assert_int_equal(doc_help(&help, NULL, true, &e), 0);
	assert_int_equal(doc_man(&man, &e), 0);
	assert_int_equal(buf_add(&help, "", 1, &e), 0);
	assert_int_equal(buf_add(&man, "", 1, &e), 0);
	for (size_t i = 0; i < OPT_ID_COUNT; i++) {
		snprintf(word, sizeof(word), "--%s", opt_table[i].name);
		assert_int_equal(strstr((const char *)buf_ptr(&help), word) != NULL,
				 opt_table[i].help != NULL);
		snprintf(word, sizeof(word), "Fl -%s", opt_table[i].name);
		assert_int_equal(strstr((const char *)buf_ptr(&man), word) != NULL,
				 opt_table[i].help != NULL);
	}
	for (const char *at = (const char *)buf_ptr(&help); *at; at++) {
		size_t n = strcspn(at, "\n");

		assert_true(n <= 100);
		at += n;
		if (!*at)
			break;
	}
	buf_free(&help);
	buf_free(&man);
}

static void suggestions(void **state)
{
	static const char *const known[] = { "region", "rules", "route-default", "name", NULL };

	(void)state;
	assert_string_equal(suggest_of("regoin", known), "region");
	assert_string_equal(suggest_of("rule", known), "rules");
	assert_string_equal(suggest_of("route_default", known), "route-default");
	assert_null(suggest_of("zzz", known));
	assert_null(suggest_of("a-word-that-is-much-longer-than-any-name-could-ever-be", known));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_default_is_valid),
		cmocka_unit_test(the_contracts_names),
		cmocka_unit_test(forms_on_the_command_line),
		cmocka_unit_test(refused),
		cmocka_unit_test(what_is_not_built_says_so),
		cmocka_unit_test(environment),
		cmocka_unit_test(layers),
		cmocka_unit_test(routing_keeps_the_order_given),
		cmocka_unit_test(a_subcommands_own_options),
		cmocka_unit_test(help_and_manual_are_complete),
		cmocka_unit_test(suggestions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
