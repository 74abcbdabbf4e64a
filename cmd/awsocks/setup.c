#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/suggest.h"
#include "cmd/awsocks/text_file.h"

extern char **environ;

static void warn(void *arg, const char *text)
{
	(void)arg;
	log_warn("config", "%s", text);
}

static int default_path(char out[static PATH_TEXT], struct err *e)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	bool fits = true;

	out[0] = '\0';
	if (base && base[0] == '/')
		fits = str_fmt(out, PATH_TEXT, "%s/awsocks/config.yaml", base);
	else if (home && home[0] == '/')
		fits = str_fmt(out, PATH_TEXT, "%s/.config/awsocks/config.yaml", home);
	return fits ? 0 : err_set(e, ERR_CONFIG, "the path of config.yaml is too long");
}

int setup_config_dir(const char *named, char out[static PATH_TEXT], struct err *e)
{
	char *slash;

	if (!named)
		named = getenv("AWSOCKS_CONFIG");
	if (!named || !*named) {
		if (default_path(out, e) != 0)
			return -1;
		if (!*out)
			return err_set(e, ERR_CONFIG, "HOME is not set");
	} else if (!str_fmt(out, PATH_TEXT, "%s%s", strchr(named, '/') ? "" : "./", named)) {
		return err_set(e, ERR_USAGE, "--config: path too long");
	}
	slash = strrchr(out, '/');
	slash[slash == out] = '\0';
	return 0;
}

static int read_drop_ins(struct setup *s, const char *named, problem_fn *report, void *arg,
			 struct err *e)
{
	char dir[PATH_TEXT];
	struct err none;

	if (setup_config_dir(named, dir, &none) != 0)
		return 0;
	return setup_drop_ins(s, dir, report, arg, e);
}

static int read_config(struct setup *s, const char *named, problem_fn *report, void *arg,
		       struct err *e)
{
	char *text;
	size_t n;
	int rc;

	if (named && !str_fmt(s->config_path, sizeof(s->config_path), "%s", named))
		return err_set(e, ERR_USAGE, "--config: path too long");
	if (!named && default_path(s->config_path, e) != 0)
		return -1;
	if (!*s->config_path)
		return 0;
	if (text_file_read(s->config_path, &text, &n, e) != 0) {
		if (!named && (e->sys == ENOENT || e->sys == ENOTDIR)) {
			s->config_path[0] = '\0';
			return 0;
		}
		return err_wrap(e, "config");
	}
	rc = config_parse(text, n, s->config_path, &s->config, report, arg, e);
	mem_free(text);
	return rc;
}

static const char *named_config(const struct setup *s)
{
	const char *named = settings_get(&s->args.settings, OPT_ID_config);

	return named ? named : settings_get(&s->env, OPT_ID_config);
}

int setup_load(struct setup *s, int argc, char *const *argv, const struct arg_opt *own,
	       problem_fn *report, void *arg, struct err *e)
{
	memset(s, 0, sizeof(*s));
	if (args_parse(&s->args, argc, argv, own, e) != 0)
		return -1;
	if (s->args.help)
		return 0;
	if (settings_from_env(&s->env, environ, warn, NULL, e) == 0) {
		const char *named = named_config(s);

		if (read_config(s, named, report, arg, e) == 0 &&
		    read_drop_ins(s, named, report, arg, e) == 0)
			return 0;
	}
	setup_free(s);
	return -1;
}

int setup_files_now(const struct setup *s, struct setup *now, struct err *e)
{
	const char *named = named_config(s);

	memset(now, 0, sizeof(*now));
	if (read_config(now, named, NULL, NULL, e) == 0 &&
	    read_drop_ins(now, named, NULL, NULL, e) == 0)
		return 0;
	setup_free(now);
	return -1;
}

size_t setup_own_listeners(const struct setup *s)
{
	return s->config ? s->config->listener_count - s->dropped_in : 0;
}

static const char *next_profile(const void *arg, size_t i)
{
	const struct config_file *f = arg;

	return i < f->profile_count ? f->profile[i].name : NULL;
}

static int no_profile(const struct setup *s, const char *name, struct err *e)
{
	const char *near = s->config ? suggest(name, next_profile, s->config) : NULL;

	if (near)
		return err_set(e, ERR_USAGE, "no profile '%.60s' in %s: did you mean '%s'?", name,
			       s->config_path, near);
	return err_set(
		e, ERR_USAGE,
		"no profile '%.60s' in %s (a profile of ~/.aws/config is --aws-profile %.60s)",
		name, *s->config_path ? s->config_path : "config.yaml, which does not exist", name);
}

/* name == "": the nameless one. */
static int add_profile(struct setup *s, const char *name, struct err *e)
{
	struct setup_profile *p = &s->profile[s->count];
	const struct config_profile *c = *name ? config_profile(s->config, name) : NULL;
	const struct settings *layers[] = { s->config ? &s->config->defaults : NULL,
					    c ? &c->settings : NULL, &s->env, &s->args.settings };

	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->profile[i].name, name) == 0)
			return 0;
	if (*name && !c)
		return no_profile(s, name, e);
	if (options_build(&p->options, layers, sizeof(layers) / sizeof(layers[0]), e) != 0)
		return -1;
	(void)str_fmt(p->name, sizeof(p->name), "%s", name);
	p->routing = c && c->routing ? c->routing : s->config ? s->config->routing : NULL;
	s->count++;
	return 0;
}

int setup_profiles(struct setup *s, const char *const *names, size_t n, struct err *e)
{
	size_t others = s->config ? s->config->profile_count : 0;

	s->profile = mem_alloc((n + others + 1) * sizeof(*s->profile));
	if (!s->profile)
		return err_set(e, ERR_NOMEM, "profiles");
	for (size_t i = 0; i < n; i++)
		if (add_profile(s, names[i], e) != 0)
			return -1;
	if (n == 0 && add_profile(s, config_profile(s->config, "default") ? "default" : "", e) != 0)
		return -1;
	s->asked = s->count;
	if (upstream_check(&s->profile[0].options, e) != 0)
		return -1;
	for (size_t i = 0; i < others; i++)
		if (add_profile(s, s->config->profile[i].name, e) != 0)
			return -1;
	return 0;
}

int setup_unbuilt(const struct setup *s, struct err *e)
{
	for (size_t i = 0; i < s->asked; i++)
		if (options_unbuilt(&s->profile[i].options, e) != 0)
			return -1;
	return 0;
}

int setup_path(const struct setup *s, const char *path, char out[static PATH_TEXT], struct err *e)
{
	const char *slash = strrchr(s->config_path, '/'), *home = getenv("HOME");
	bool fits;

	if (str_starts(path, "~/") && home)
		fits = str_fmt(out, PATH_TEXT, "%s%s", home, path + 1);
	else if (path[0] == '/' || !slash)
		fits = str_fmt(out, PATH_TEXT, "%s", path);
	else
		fits = str_fmt(out, PATH_TEXT, "%.*s%s", (int)(slash - s->config_path + 1),
			       s->config_path, path);
	return fits ? 0 : err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
}

int setup_control_path(const char *given, char out[static PATH_TEXT], struct err *e)
{
	char *argv[] = { (char[]){ "awsocks" }, NULL };
	struct setup s;
	int rc;

	if (given || setup_load(&s, 1, argv, NULL, NULL, NULL, e) != 0)
		return path_control(given, out, e);
	if (setup_profiles(&s, NULL, 0, e) == 0)
		given = s.profile[0].options.control;
	rc = path_control(given, out, e);
	setup_free(&s);
	return rc;
}

void setup_free(struct setup *s)
{
	for (size_t i = 0; i < s->count; i++)
		options_free(&s->profile[i].options);
	mem_free(s->profile);
	config_free(s->config);
	settings_free(&s->env);
	args_free(&s->args);
	memset(s, 0, sizeof(*s));
}
