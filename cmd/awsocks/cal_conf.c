#include "cmd/awsocks/cal_conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/text_file.h"
#include "net/addr.h"
#include "routing/pattern.h"
#include "routing/router.h"

static const char word_chars[] = "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* ---- what a value must be ---- */

int cal_check_word(const char *text, struct err *e)
{
	if (*text && strlen(text) < 64 && text[strspn(text, word_chars)] == '\0' && *text != '-')
		return 0;
	return err_set(e, ERR_USAGE, "letters, digits, - _ . expected, not '%.40s'", text);
}

static int check_way(const char *text, struct err *e)
{
	if (!strcmp(text, "gateway") || !strcmp(text, "bridge") || !strcmp(text, "ssh"))
		return 0;
	return err_set(e, ERR_USAGE, "gateway, bridge or ssh expected, not '%.40s'", text);
}

static int check_socks(const char *text, struct err *e)
{
	if (!strcmp(text, "auto") || !strcmp(text, "on") || !strcmp(text, "off"))
		return 0;
	return err_set(e, ERR_USAGE, "auto, on or off expected, not '%.40s'", text);
}

static int check_listen(const char *text, struct err *e)
{
	struct addr at;

	if (addr_parse(text, &at, e) != 0)
		return -1;
	if (at.ss.ss_family == AF_UNIX)
		return err_set(e, ERR_USAGE, "a TCP address expected: a VM cannot use a socket");
	return addr_port(&at) ? 0 : err_set(e, ERR_USAGE, "a port is needed, as in :1080");
}

static int check_network(const char *text, struct err *e)
{
	struct pattern p;

	if (pattern_parse(&p, text, e) != 0)
		return -1;
	pattern_free(&p);
	if (strspn(text, "0123456789.") == strlen(text) || strchr(text, '/') || strchr(text, ':'))
		return 0;
	return err_set(e, ERR_USAGE, "an address or network expected, not '%.40s'", text);
}

static int check_port(const char *text, struct err *e)
{
	uint64_t port;

	return str_number(text, 1, 65535, &port, e);
}

static int check_literal(const char *text, struct err *e)
{
	struct addr at;

	if (addr_from_literal(text, 0, &at))
		return 0;
	return err_set(e, ERR_USAGE, "an IP address expected, not '%.40s'", text);
}

static const struct key {
	const char *name, *variable, *builtin;
	int (*check)(const char *text, struct err *);
} keys[CAL_KEY_COUNT] = {
	[CAL_WAY] = { "way", "SOCKS_WAY", "gateway", check_way },
	[CAL_SOCKS] = { "socks", "SOCKS_MODE", "auto", check_socks },
	[CAL_LISTEN] = { "listen", NULL, NULL, check_listen },
	[CAL_NAME] = { "name", NULL, NULL, cal_check_word },
	[CAL_ADDRESS] = { "vm-address", NULL, NULL, check_network },
	[CAL_SOCKS_PORT] = { "socks-port", "SOCKS_PORT", "1080", check_port },
	[CAL_HTTP_PORT] = { "http-port", "HTTP_PROXY_PORT", "8080", check_port },
	[CAL_GATEWAY] = { "gateway", "HOST_GATEWAY", "192.168.64.1", check_literal },
	[CAL_HOST_USER] = { "host-user", "HOST_USER", NULL, cal_check_word },
	[CAL_SSH_PORT] = { "ssh-port", "HOST_SSH_PORT", "22", check_port },
};

int cal_check_vm(const char *name, struct err *e)
{
	if (cal_check_word(name, e) == 0 && *name != '.')
		return 0;
	return err_set(e, ERR_USAGE, "'%.40s' is no name for a VM: letters, digits, - _ . only",
		       name);
}

bool cal_is_loopback(const char *listen)
{
	struct addr at;
	struct err e;

	return addr_parse(listen, &at, &e) == 0 && addr_is_loopback(&at);
}

/* ---- CAL's files ---- */

static void report_rule(void *arg, const char *text)
{
	struct problems *p = arg;

	if (p->first.code == ERR_NONE)
		(void)err_set(&p->first, ERR_CONFIG, "%s", text);
	if (p->report)
		p->report(p->arg, text);
}

/* As the listener's own file will be read. */
static void check_rules(struct problems *p, const struct yaml *y, struct cal_conf *c)
{
	struct router_opts o = { .mode_vm = true };
	struct router *r;
	struct err e = { 0 };

	c->rules = y;
	c->rules_from = p->name;
	if (y->kind == YAML_SCALAR && *y->text)
		return;
	if (y->kind != YAML_MAP) {
		problem(p, y, "rules: a file's path, or rules, as in { default: direct }");
	} else if (router_new(&r, &o, &e) != 0) {
		problem_err(p, y, &e);
	} else {
		(void)!router_add_tree(r, y, p->name, RULES_ALLOW_HOST, report_rule, p, &e);
		router_free(r);
	}
}

static void read_key(struct problems *p, const struct yaml *key, const struct yaml *y,
		     struct cal_conf *c)
{
	const char *known[CAL_KEY_COUNT + 2] = { [CAL_KEY_COUNT] = "rules" };
	struct err e;

	for (size_t i = 0; i < CAL_KEY_COUNT; i++) {
		known[i] = keys[i].name;
		if (strcmp(key->text, keys[i].name) != 0)
			continue;
		if (p->name == c->path[0] && (i == CAL_NAME || i == CAL_LISTEN || i == CAL_ADDRESS))
			problem(p, key, "%s: not of all VMs: it belongs into a vm.yaml", key->text);
		else if (y->kind != YAML_SCALAR || !*y->text)
			problem(p, y, "%s: one value expected", key->text);
		else if (keys[i].check(y->text, &e) != 0)
			problem(p, y, "%s: %s", key->text, e.msg);
		else
			c->value[i] = y->text;
		return;
	}
	if (strcmp(key->text, "rules") == 0)
		check_rules(p, y, c);
	else
		problem_unknown_key(p, key, "awsocks", known);
}

static void read_section(struct problems *p, const struct yaml *y, struct cal_conf *c)
{
	if (!y || yaml_is_null(y))
		return;
	if (y->kind != YAML_MAP) {
		problem(p, y, "awsocks: a map expected, as in { way: gateway }");
		return;
	}
	for (size_t i = 0; i < y->count; i++)
		read_key(p, y->key[i], y->item[i], c);
}

/* The map behind keys, each in the one before; NULL: not there. */
static const struct yaml *below(const struct yaml *y, const char *const *names)
{
	for (; y && *names; names++)
		y = y->kind == YAML_MAP ? yaml_get(y, *names) : NULL;
	return y;
}

/* A file that is not there says nothing. */
static int read_file(struct cal_conf *c, size_t which, const char *const *section,
		     struct problems *p, struct err *e)
{
	char *text;
	size_t n;
	int rc;

	p->name = c->path[which];
	if (text_file_read(c->path[which], &text, &n, e) != 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
	rc = yaml_parse(text, n, c->path[which], &c->tree[which], e);
	mem_free(text);
	if (rc != 0) {
		if (p->report)
			p->report(p->arg, e->msg);
		return -1;
	}
	read_section(p, below(c->tree[which], section), c);
	return 0;
}

static int read_files(struct cal_conf *c, struct problems *p, struct err *e)
{
	static const char *const of_all[] = { "isolation", "defaults", "awsocks", NULL };
	static const char *const of_vm[] = { "awsocks", NULL };
	const char *home = getenv("HOME");

	if (!home || home[0] != '/')
		return err_set(e, ERR_CONFIG, "HOME is not set");
	if (!str_fmt(c->path[0], PATH_TEXT, "%s/.cal/config.yaml", home) ||
	    !str_fmt(c->path[1], PATH_TEXT, "%s/.cal/isolation/vms/%s/vm.yaml", home, c->vm))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", home);
	if (read_file(c, 0, of_all, p, e) != 0)
		return -1;
	return read_file(c, 1, of_vm, p, e);
}

/* ---- all sources ---- */

static int take_given(struct cal_conf *c, const char *const *given, struct err *e)
{
	for (size_t i = 0; i < CAL_KEY_COUNT; i++) {
		const char *text = keys[i].variable ? getenv(keys[i].variable) : NULL;

		if (text && *text) {
			if (keys[i].check(text, e) != 0)
				return err_wrap(e, "%s", keys[i].variable);
			c->value[i] = text;
		}
		if (given[i]) {
			if (keys[i].check(given[i], e) != 0)
				return err_wrap(e, "--%s", keys[i].name);
			c->value[i] = given[i];
		}
		if (!c->value[i])
			c->value[i] = keys[i].builtin;
	}
	return 0;
}

int cal_conf_load(struct cal_conf *c, const char *vm, const char *const given[CAL_KEY_COUNT],
		  problem_fn *report, void *arg, struct err *e)
{
	struct problems p = { .report = report, .arg = arg };

	*c = (struct cal_conf){ .rules = NULL };
	if (cal_check_vm(vm, e) != 0)
		return -1;
	(void)str_fmt(c->vm, sizeof(c->vm), "%s", vm);
	if (read_files(c, &p, e) != 0)
		return -1;
	if (p.first.code != ERR_NONE) {
		*e = p.first;
		return -1;
	}
	return take_given(c, given, e);
}

void cal_conf_free(struct cal_conf *c)
{
	yaml_tree_free(c->tree[0]);
	yaml_tree_free(c->tree[1]);
}
