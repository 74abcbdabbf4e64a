#include "cmd/awsocks/cal_host.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cal_yaml.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/text_file.h"
#include "net/addr.h"
#include "routing/router.h"

enum { FIRST_PORT = 1080, FIRST_SSH_PORT = 11080, PORTS = 1000, FILE_MAX = 256 * 1024 };

static int listener_path(const char *dir, const char *vm, char out[static PATH_TEXT], struct err *e)
{
	if (str_fmt(out, PATH_TEXT, "%s/listeners.d/cal-%s.yaml", dir, vm))
		return 0;
	return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
}

static int rules_path(const char *dir, const char *vm, char out[static PATH_TEXT], struct err *e)
{
	if (str_fmt(out, PATH_TEXT, "%s/cal/%s.rules.yaml", dir, vm))
		return 0;
	return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
}

/* ---- the last set-up ---- */

static int take_listen(struct cal_host *h, const char *listen, struct err *e)
{
	const char *colon = strrchr(listen, ':');

	if (colon && str_fmt(h->listen, sizeof(h->listen), "%s", listen) &&
	    str_fmt(h->port, sizeof(h->port), "%s", colon + 1))
		return 0;
	return err_set(e, ERR_CONFIG, "'%.60s' is no address with a port", listen);
}

int cal_host_find(struct cal_host *h, const char *vm, const char *dir, bool *found, struct err *e)
{
	char path[PATH_TEXT], *text;
	struct config_file *f;
	size_t n;
	int rc;

	*h = (struct cal_host){ .changed = false };
	*found = false;
	if (listener_path(dir, vm, path, e) != 0)
		return -1;
	if (text_file_read(path, &text, &n, e) != 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
	rc = config_parse(text, n, path, &f, NULL, NULL, e);
	mem_free(text);
	if (rc != 0)
		return -1;
	if (f->listener_count == 1) {
		rc = take_listen(h, f->listener[0].address, e);
		(void)str_fmt(h->name, sizeof(h->name), "%s",
			      f->listener[0].name ? f->listener[0].name : "");
		*found = rc == 0;
	}
	config_free(f);
	return rc;
}

/* ---- an address ---- */

static bool same_address(const char *a, const char *b)
{
	struct addr x, y;
	struct err e;

	return addr_parse(a, &x, &e) == 0 && addr_parse(b, &y, &e) == 0 &&
	       addr_port(&x) == addr_port(&y) && addr_same_host(&x, &y);
}

/* Does a listener of config.yaml, or of another VM, stand there? */
static bool is_taken(const struct setup *s, const char *own, const char *address)
{
	for (size_t i = 0; s->config && i < s->config->listener_count; i++) {
		const struct config_listener *l = &s->config->listener[i];

		if (!(l->file && strcmp(l->file, own) == 0) && same_address(l->address, address))
			return true;
	}
	return false;
}

/* As setup_load() would say when all is written, and nothing starts any more. */
static int check_name(const char *name, const struct setup *s, const char *own, struct err *e)
{
	for (size_t i = 0; s->config && i < s->config->listener_count; i++) {
		const struct config_listener *l = &s->config->listener[i];

		if (l->name && strcmp(l->name, name) == 0 &&
		    !(l->file && strcmp(l->file, own) == 0))
			return err_set(e, ERR_CONFIG, "name: another listener has the name '%s'",
				       name);
	}
	return 0;
}

static int free_address(struct cal_host *h, const struct setup *s, const char *own,
			const char *host, int first, struct err *e)
{
	char address[128];

	for (int i = 0; i < PORTS; i++) {
		if (!str_fmt(address, sizeof(address), strchr(host, ':') ? "[%s]:%d" : "%s:%d",
			     host, first + i))
			return err_set(e, ERR_CONFIG, "address too long: %.60s", host);
		if (!is_taken(s, own, address))
			return take_listen(h, address, e);
	}
	return err_set(e, ERR_LIMIT, "no port is left at %s", host);
}

static bool is_at(const char *listen, const char *host)
{
	char address[128];

	return str_fmt(address, sizeof(address), strchr(host, ':') ? "[%s]%s" : "%s%s", host,
		       strrchr(listen, ':')) &&
	       same_address(listen, address);
}

static int choose(struct cal_host *h, const struct cal_conf *c, const char *own,
		  const struct setup *s, struct err *e)
{
	const char *given = c->value[CAL_LISTEN];
	bool ssh = strcmp(c->value[CAL_WAY], "ssh") == 0;
	const char *host = ssh ? "127.0.0.1" : c->value[CAL_GATEWAY];

	if (given && ssh && !cal_is_loopback(given))
		return err_set(e, ERR_CONFIG,
			       "listen: %s: with --way ssh the listener is a loopback one: only "
			       "the VM's key leads there",
			       given);
	if (given && is_taken(s, own, given))
		return err_set(e, ERR_CONFIG, "listen: %s has another listener already", given);
	if (given)
		return take_listen(h, given, e);
	if (*h->listen && is_at(h->listen, host) && !is_taken(s, own, h->listen))
		return 0;
	return free_address(h, s, own, host, ssh ? FIRST_SSH_PORT : FIRST_PORT, e);
}

/* ---- the files ---- */

/* Only when there is something else in it: then nothing that watches it is woken for nothing. */
static int put(const char *path, const struct buf *b, bool *changed, struct err *e)
{
	char *old;
	size_t n;
	struct err none;
	bool same = false;

	if (text_file_read(path, &old, &n, &none) == 0) {
		same = n == buf_len(b) && memcmp(old, buf_ptr(b), n) == 0;
		mem_free(old);
	}
	*changed = !same;
	if (same)
		return 0;
	if (path_make_parents(path, e) != 0)
		return -1;
	return file_replace(path, buf_ptr(b), buf_len(b), e);
}

static int add_head(struct buf *b, const char *vm, struct err *e)
{
	return buf_addf(b, e,
			"# Written by `awsocks cal setup --vm %s`, and again by the next one;\n"
			"# `awsocks cal uninstall --vm %s` removes it.\n",
			vm, vm);
}

static int add_allow_from(struct buf *b, const struct cal_conf *c, struct err *e)
{
	const char *address = c->value[CAL_ADDRESS], *gateway = c->value[CAL_GATEWAY], *dot;

	if (strcmp(c->value[CAL_WAY], "ssh") == 0)
		return buf_addf(b, e, ", guard: on");
	if (address)
		return buf_addf(b, e, ", guard: on, allow-from: [\"%s\"]", address);
	dot = strrchr(gateway, '.');
	if (!dot) /* IPv6 */
		return buf_addf(b, e, ", guard: on, allow-from: [\"%s/64\"]", gateway);
	return buf_addf(b, e, ", guard: on, allow-from: [\"%.*s.0/24\"]", (int)(dot - gateway),
			gateway);
}

static int write_listener(struct cal_host *h, const struct cal_conf *c, const char *path,
			  const char *rules, struct err *e)
{
	struct buf b;
	int rc;

	buf_init(&b, FILE_MAX);
	rc = add_head(&b, c->vm, e);
	if (rc == 0)
		rc = buf_addf(&b, e, "listeners:\n  - { address: \"%s\", name: \"%s\"", h->listen,
			      h->name);
	if (rc == 0)
		rc = add_allow_from(&b, c, e);
	if (rc == 0 && *rules && (rc = buf_addf(&b, e, ", rules: ")) == 0)
		rc = cal_yaml_quote(&b, rules, e);
	if (rc == 0)
		rc = buf_addf(&b, e, " }\n");
	if (rc == 0)
		rc = put(path, &b, &h->changed, e);
	buf_free(&b);
	return rc;
}

static int rules_given_as_file(const struct cal_conf *c, char out[static PATH_TEXT], struct err *e)
{
	const char *path = c->rules->text, *home = getenv("HOME"), *from = c->rules_from;
	const char *slash = strrchr(from, '/');
	struct router_opts o = { .mode_vm = true };
	struct router *r;
	char *text;
	size_t n;
	bool fits;
	int rc;

	if (str_starts(path, "~/") && home)
		fits = str_fmt(out, PATH_TEXT, "%s%s", home, path + 1);
	else if (path[0] == '/')
		fits = str_fmt(out, PATH_TEXT, "%s", path);
	else
		fits = str_fmt(out, PATH_TEXT, "%.*s/%s", (int)(slash - from), from, path);
	if (!fits)
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
	if (text_file_read(out, &text, &n, e) != 0)
		return err_wrap(e, "%s:%u:%u: rules", from, c->rules->line, c->rules->column);
	rc = router_new(&r, &o, e);
	if (rc == 0) {
		rc = router_add_yaml(r, text, n, out, RULES_ALLOW_HOST, NULL, NULL, e);
		router_free(r);
	}
	mem_free(text);
	return rc;
}

static int write_rules(const struct cal_conf *c, const char *dir, char out[static PATH_TEXT],
		       struct err *e)
{
	struct buf b;
	bool changed;
	int rc;

	if (c->rules && c->rules->kind == YAML_SCALAR)
		return rules_given_as_file(c, out, e);
	if (rules_path(dir, c->vm, out, e) != 0)
		return -1;
	if (!c->rules) {
		(void)unlink(out);
		*out = '\0';
		return 0;
	}
	buf_init(&b, FILE_MAX);
	rc = add_head(&b, c->vm, e);
	if (rc == 0)
		rc = cal_yaml_write(&b, c->rules, e);
	if (rc == 0)
		rc = buf_addf(&b, e, "\n");
	if (rc == 0)
		rc = put(out, &b, &changed, e);
	buf_free(&b);
	return rc;
}

/* What config.yaml and listeners.d say now. */
static int load(struct setup *s, const char *dir, struct err *e)
{
	char config[PATH_TEXT];
	char *argv[] = { (char[]){ "awsocks" }, (char[]){ "--config" }, config, NULL };

	if (!str_fmt(config, sizeof(config), "%s/config.yaml", dir))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
	return setup_load(s, access(config, F_OK) == 0 ? 3 : 1, argv, NULL, NULL, NULL, e);
}

int cal_host_write(struct cal_host *h, const struct cal_conf *c, const char *dir, struct err *e)
{
	char path[PATH_TEXT], rules[PATH_TEXT];
	struct setup s;
	bool found;
	int rc;

	if (listener_path(dir, c->vm, path, e) != 0 || load(&s, dir, e) != 0)
		return -1;
	rc = cal_host_find(h, c->vm, dir, &found, e);
	if (rc == 0)
		rc = choose(h, c, path, &s, e);
	if (c->value[CAL_NAME])
		(void)str_fmt(h->name, sizeof(h->name), "%s", c->value[CAL_NAME]);
	else
		(void)str_fmt(h->name, sizeof(h->name), "cal-%s", c->vm);
	if (rc == 0)
		rc = check_name(h->name, &s, path, e);
	setup_free(&s);
	if (rc != 0)
		return -1;
	if (write_rules(c, dir, rules, e) != 0)
		return -1;
	return write_listener(h, c, path, rules, e);
}

static int remove_one(const char *path, bool *found, struct err *e)
{
	if (unlink(path) == 0)
		*found = true;
	else if (errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, errno, "remove %s", path);
	return 0;
}

int cal_host_remove(const char *vm, const char *dir, bool *found, struct err *e)
{
	char path[PATH_TEXT];

	*found = false;
	if (listener_path(dir, vm, path, e) != 0 || remove_one(path, found, e) != 0 ||
	    rules_path(dir, vm, path, e) != 0)
		return -1;
	return remove_one(path, found, e);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

int cal_host_list(const char *dir, char names[][64], size_t max, size_t *count, struct err *e)
{
	char folder[PATH_TEXT];
	const struct dirent *d;
	DIR *open;

	*count = 0;
	if (!str_fmt(folder, sizeof(folder), "%s/listeners.d", dir))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
	open = opendir(folder);
	if (!open)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, errno, "%s", folder);
	while (*count < max && (d = readdir(open)) != NULL) {
		size_t n = strlen(d->d_name);

		if (str_starts(d->d_name, "cal-") && str_ends(d->d_name, ".yaml") && n > 9 &&
		    str_fmt(names[*count], 64, "%.*s", (int)(n - 9), d->d_name + 4))
			(*count)++;
	}
	closedir(open);
	qsort(names, *count, sizeof(names[0]), by_name);
	return 0;
}
