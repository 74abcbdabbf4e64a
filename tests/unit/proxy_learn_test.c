/* What --learn makes of what was asked for. Each file is read by the router, and must decide as
 * it says. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proxy/audit.h"
#include "proxy/learn.h"
#include "proxy/learn_rules.h"
#include "routing/router.h"

struct fixture {
	struct learn *learn;
	struct buf text;
	char *lines; /* the text with a NUL */
};

static void begin(struct fixture *f)
{
	struct err e;

	memset(f, 0, sizeof(*f));
	assert_int_equal(learn_new(&f->learn, &e), 0);
	buf_init(&f->text, LEARN_FILE_MAX);
}

struct request {
	const char *listener, *host;
	uint16_t port;
	const char *route;      /* NULL: blocked */
	const char *rule, *why; /* why: the error */
	enum audit_action action;
};

static void ask(struct fixture *f, const struct request *q)
{
	struct audit_record r = { .listener = q->listener ? q->listener : "default",
				  .port = q->port,
				  .action = q->action };

	audit_text(&r.host, q->host);
	audit_text(&r.rule, q->rule ? q->rule : "r.yaml:1");
	audit_text(&r.route, q->route);
	audit_text(&r.error, q->why);
	learn_note(f->learn, &r);
	learn_note(f->learn, &r); /* once is enough */
	audit_record_free(&r);
}

static void ask_for(struct fixture *f, const char *host, uint16_t port, const char *route)
{
	ask(f, &(struct request){ .host = host, .port = port, .route = route });
}

static void ask_at(struct fixture *f, const char *listener, const char *host, uint16_t port,
		   const char *route)
{
	ask(f,
	    &(struct request){ .listener = listener, .host = host, .port = port, .route = route });
}

static void deny(struct fixture *f, const char *host, const char *rule)
{
	ask(f, &(struct request){ .host = host, .port = 443, .rule = rule, .action = AUDIT_BLOCK });
}

static void write_text(struct fixture *f)
{
	struct learn_taken t;
	struct err e;

	buf_clear(&f->text);
	assert_int_equal(learn_take(f->learn, &t, &e), 0);
	assert_int_equal(learn_rules(&t, 1795316645678, &f->text, &e), 0);
	learn_taken_free(&t);
	free(f->lines);
	f->lines = strndup((const char *)buf_ptr(&f->text), buf_len(&f->text));
	assert_non_null(f->lines);
}

static void end(struct fixture *f)
{
	learn_free(f->learn);
	buf_free(&f->text);
	free(f->lines);
}

static void complain(void *arg, const char *text)
{
	(void)arg;
	print_error("%s\n", text);
}

static struct router *rules_of(const struct fixture *f)
{
	struct router_opts o = { 0 };
	struct router *r;
	struct err e;

	assert_int_equal(router_new(&r, &o, &e), 0);
	if (router_add_yaml(r, f->lines, strlen(f->lines), "learned", 0, complain, NULL, &e))
		fail_msg("%s\n%s", e.msg, f->lines);
	return r;
}

static const char *route_of(const struct router *r, const char *host, uint16_t port)
{
	static char text[80];
	struct decision d;

	router_decide(r, host, port, &d);
	route_format(&d.route, text);
	return text;
}

static void has(const struct fixture *f, const char *line)
{
	if (!strstr(f->lines, line))
		fail_msg("not there: %s\n%s", line, f->lines);
}

static void has_not(const struct fixture *f, const char *line)
{
	if (strstr(f->lines, line))
		fail_msg("there: %s\n%s", line, f->lines);
}

static void nothing_learned(void **state)
{
	struct fixture f;
	struct router *r;

	(void)state;
	begin(&f);
	write_text(&f);
	has(&f, LEARN_MARK " (--learn) until 2026-11-22T03:04:05Z: 0 requests.\n");
	has(&f, "\ndefault: block\n\nrules: []\n");
	r = rules_of(&f);
	assert_string_equal(route_of(r, "a.test", 1), "block");
	router_free(r);
	end(&f);
}

static void sorted_and_merged(void **state)
{
	struct fixture f;
	struct router *r;

	(void)state;
	begin(&f);
	ask_for(&f, "z.test", 443, "proxy");
	ask_for(&f, "z.test", 80, "proxy");
	ask_for(&f, "z.test", 443, "proxy");
	ask_for(&f, "10.0.0.7", 22, "direct");
	ask_for(&f, "2001:db8::1", 22, "proxy:staging");
	ask_for(&f, "b.test", 8001, "direct");
	ask_for(&f, "b.test", 8000, "direct");
	ask_for(&f, "b.test", 8002, "direct");
	ask(&f,
	    &(struct request){ .host = "a.test", .port = 25, .route = "direct", .why = "no way" });
	write_text(&f);
	has(&f, "until 2026-11-22T03:04:05Z: 9 requests.\n");
	has(&f,
	    "rules:\n"
	    "  # names\n"
	    "  - { match: \"a.test\", port: [25], route: \"direct\" } # 1 request, never reached\n"
	    "  - { match: \"b.test\", port: [\"8000-8002\"], route: \"direct\" } # 3 requests\n"
	    "  - { match: \"z.test\", port: [80, 443], route: \"proxy\" } # 3 requests\n"
	    "  # addresses\n"
	    "  - { match: \"10.0.0.7\", port: [22], route: \"direct\" } # 1 request\n"
	    "  - { match: \"2001:db8::1\", port: [22], route: \"proxy:staging\" } # 1 request\n");
	has_not(&f, "denied");
	r = rules_of(&f);
	assert_string_equal(route_of(r, "z.test", 80), "proxy");
	assert_string_equal(route_of(r, "z.test", 81), "block");
	assert_string_equal(route_of(r, "2001:db8::1", 22), "proxy:staging");
	assert_string_equal(route_of(r, "10.0.0.8", 22), "block");
	router_free(r);
	end(&f);
}

static void denied_are_comments(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	deny(&f, "evil.test", "r.yaml:7\nroute: direct");
	deny(&f, "evil.test", "r.yaml:7\nroute: direct");
	ask(&f, &(struct request){ .host = "127.0.0.1",
				   .port = 22,
				   .route = "direct",
				   .why = "the host guard refuses 127.0.0.1",
				   .action = AUDIT_REFUSE });
	write_text(&f);
	has(&f, "rules: []\n\n"
		"# denied, and by what:\n"
		"#   \"evil.test\" port 443, 2 requests, by \"r.yaml:7\\x0aroute: direct\"\n"
		"#   \"127.0.0.1\" port 22, 1 request, by \"the host guard refuses 127.0.0.1\"\n");
	router_free(rules_of(&f));
	end(&f);
}

static void ask_siblings(struct fixture *f, const char *domain, const char *route)
{
	char host[64];

	for (char c = 'a'; c < 'a' + LEARN_SIBLINGS; c++) {
		snprintf(host, sizeof(host), "%c.%s", c, domain);
		ask_for(f, host, 443, route);
	}
}

static void siblings_become_one(void **state)
{
	struct fixture f;
	struct router *r;

	(void)state;
	begin(&f);
	ask_siblings(&f, "cdn.test", "proxy");
	ask_for(&f, "f.cdn.test", 80, "proxy"); /* another port */
	ask_for(&f, "g.cdn.test", 443, "direct");
	ask_siblings(&f, "denied.test", "proxy");
	deny(&f, "x.y.denied.test", "r.yaml:1");
	ask_siblings(&f, "test", "proxy");             /* a top level */
	ask_siblings(&f, "co.uk", "proxy");            /* as good as one */
	ask_siblings(&f, "eu.amazonaws.com", "proxy"); /* of many owners */
	ask_siblings(&f, "two.test", "proxy");         /* one of them by another route as well */
	ask_for(&f, "a.two.test", 80, "direct");
	write_text(&f);
	has(&f, "  # 5 names of one domain, asked for alike: \"a.cdn.test\", \"b.cdn.test\", "
		"\"c.cdn.test\", \"d.cdn.test\", \"e.cdn.test\"\n"
		"  - { match: \"*.cdn.test\", port: [443], route: \"proxy\" } # 5 requests\n");
	assert_ptr_equal(strstr(strstr(f.lines, "\"*.") + 1, "\"*."), NULL);
	assert_true(strstr(f.lines, "\"g.cdn.test\"") < strstr(f.lines, "\"*.cdn.test\""));
	r = rules_of(&f);
	assert_string_equal(route_of(r, "e.cdn.test", 443), "proxy");
	assert_string_equal(route_of(r, "g.cdn.test", 443), "direct");
	assert_string_equal(route_of(r, "x.y.denied.test", 443), "block");
	assert_string_equal(route_of(r, "z.co.uk", 443), "block");
	assert_string_equal(route_of(r, "c.co.uk", 443), "proxy");
	router_free(r);
	end(&f);
}

/* One host by two routes: the one of most requests decides; what it leaves stays. */
static void two_routes(void **state)
{
	struct fixture f;
	struct router *r;

	(void)state;
	begin(&f);
	ask_at(&f, "cal \"1\"", "a.test", 443, "direct");
	ask_at(&f, "cal \"1\"", "a.test", 80, "direct");
	for (int i = 0; i < 3; i++)
		ask_at(&f, "box", "a.test", 443, "proxy");
	ask_at(&f, "cal \"1\"", "b.test", 443, "direct");
	ask_at(&f, "box", "b.test", 443, "proxy");
	write_text(&f);
	has(&f, ": 7 requests at \"cal \\\"1\\\"\", \"box\".\n");
	has(&f, "{ match: \"a.test\", port: [443], route: \"proxy\" } # 3 requests at \"box\"\n"
		"  - { match: \"a.test\", port: [80, 443], route: \"direct\" } # 2 requests at "
		"\"cal \\\"1\\\"\"\n");
	has(&f,
	    "{ match: \"b.test\", port: [443], route: \"direct\" } # 1 request at \"cal "
	    "\\\"1\\\"\"\n"
	    "  # by another route too: \"b.test\" port 443 by \"proxy\", 1 request at \"box\"\n");
	r = rules_of(&f);
	assert_string_equal(route_of(r, "a.test", 443), "proxy");
	assert_string_equal(route_of(r, "a.test", 80), "direct");
	router_free(r);
	end(&f);
}

/* Whatever a client may call a host: never a rule for more than that, never broken YAML. */
static void hostile_names(void **state)
{
	static const char *const names[] = {
		"*",
		"*.test",
		".test",
		"a?.test",
		"re:.*",
		"0.0.0.0/0",
		"a.test:1-65535",
		"a\" }\n  - { match: \"*\", route: direct } #",
		"a\\",
		"\xc3\xbc.test",
		"\xff\xfe",
		"a #b",
		"!!binary x",
		"&a",
		"",
		"{{",
		"\t",
		"x.test\nrules: []",
	};
	struct fixture f;
	struct router *r;

	(void)state;
	begin(&f);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask_for(&f, names[i], 443, "direct");
		deny(&f, names[i], names[i]);
	}
	ask_for(&f, "true", 443, "direct");
	ask_for(&f, "_a-b.test", 443, "direct");
	write_text(&f);
	r = rules_of(&f);
	assert_int_equal(router_size(r), 2);
	assert_string_equal(route_of(r, "true", 443), "direct");
	assert_string_equal(route_of(r, "_a-b.test", 443), "direct");
	assert_string_equal(route_of(r, "aa.test", 443), "block");
	router_free(r);
	end(&f);
}

static void many_ports(void **state)
{
	struct fixture f;
	struct router *r;

	(void)state;
	begin(&f);
	for (unsigned i = 0; i < 150; i++)
		ask_for(&f, "a.test", (uint16_t)(1000 + 2 * i), "direct");
	ask_for(&f, "a.test", 65535, "direct");
	write_text(&f);
	r = rules_of(&f);
	assert_string_equal(route_of(r, "a.test", 1298), "direct");
	assert_string_equal(route_of(r, "a.test", 1299), "block");
	assert_string_equal(route_of(r, "a.test", 65535), "direct");
	router_free(r);
	end(&f);
}

/* The longest names there can be, and as many as there is room for, still make a file that can be
 * read. */
static void no_more_than_there_is_room_for(void **state)
{
	struct fixture f;
	struct router *r;
	char host[254];

	(void)state;
	begin(&f);
	for (int i = 0; i < LEARN_MOST + 10; i++) {
		for (size_t k = 0; k < 253; k++)
			host[k] = k % 60 == 59 ? '.' : 'a';
		host[253] = 0;
		memcpy(host,
		       (char[]){ (char)('a' + i % 26), (char)('a' + i / 26 % 26),
				 (char)('a' + i / 676) },
		       3);
		ask_for(&f, host, (uint16_t)(1 + i % 3), "proxy:a-profile-of-some-length");
	}
	write_text(&f);
	has(&f, "# NOT ALL IS HERE: 10 requests came when 2048 destinations were remembered "
		"already.\n");
	assert_true(buf_len(&f.text) < LEARN_FILE_MAX / 2 * 2);
	r = rules_of(&f);
	assert_true(router_size(r) > 0);
	router_free(r);
	end(&f);
}

/* A bypass or a fallback: what the rules decided counts. What never came to a decision does not. */
static void what_counts(void **state)
{
	struct audit_record r = { .listener = "default", .port = 1 };
	struct fixture f;

	(void)state;
	begin(&f);
	audit_text(&r.host, "a.test");
	learn_note(f.learn, &r);
	assert_int_equal(learn_version(f.learn), 0);
	audit_text(&r.rule, "default (built-in)");
	audit_text(&r.route, "direct");
	audit_text(&r.first_route, "proxy");
	learn_note(f.learn, &r);
	audit_record_free(&r);
	learn_note(NULL, &r);
	write_text(&f);
	has(&f, "{ match: \"a.test\", port: [1], route: \"proxy\" } # 1 request\n");
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_learned),
		cmocka_unit_test(sorted_and_merged),
		cmocka_unit_test(denied_are_comments),
		cmocka_unit_test(siblings_become_one),
		cmocka_unit_test(two_routes),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(many_ports),
		cmocka_unit_test(no_more_than_there_is_room_for),
		cmocka_unit_test(what_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
