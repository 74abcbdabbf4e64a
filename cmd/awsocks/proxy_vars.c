/* The table of variables; proxy_vars_merge.c has those that share their place with the user's. */
#include "cmd/awsocks/proxy_vars.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* What a value is made of: one %s each. */
enum part { HTTP_URL, ALL_URL, HOST_PORT, MARKER, BARE_HOST, PORT, GIT_SSH, JAVA, FIXED };

struct var {
	const char *name;
	enum part part;
	bool extra;
	const char *fixed;
};

static const struct var vars[] = {
	{ "HTTP_PROXY", HTTP_URL, false, NULL },
	{ "HTTPS_PROXY", HTTP_URL, false, NULL },
	{ "http_proxy", HTTP_URL, false, NULL },
	{ "https_proxy", HTTP_URL, false, NULL },
	{ "ALL_PROXY", ALL_URL, false, NULL },
	{ "all_proxy", ALL_URL, false, NULL },
	{ "NO_PROXY", FIXED, false, PROXY_VARS_NO_PROXY },
	{ "no_proxy", FIXED, false, PROXY_VARS_NO_PROXY },
	{ "NODE_USE_ENV_PROXY", FIXED, false, "1" },
	{ "JAVA_TOOL_OPTIONS", JAVA, false, NULL },
	{ "GIT_SSH_COMMAND", GIT_SSH, false, NULL },
	{ "AWSOCKS", MARKER, false, NULL },
	{ "RSYNC_PROXY", HOST_PORT, true, NULL },
	{ "FTP_PROXY", HTTP_URL, true, NULL },
	{ "ftp_proxy", HTTP_URL, true, NULL },
	{ "GRPC_PROXY", HTTP_URL, true, NULL },
	{ "grpc_proxy", HTTP_URL, true, NULL },
	{ "DOCKER_HTTP_PROXY", HTTP_URL, true, NULL },
	{ "DOCKER_HTTPS_PROXY", HTTP_URL, true, NULL },
	{ "CLOUDSDK_PROXY_TYPE", FIXED, true, "http" },
	{ "CLOUDSDK_PROXY_ADDRESS", BARE_HOST, true, NULL },
	{ "CLOUDSDK_PROXY_PORT", PORT, true, NULL },
	{ "npm_config_proxy", HTTP_URL, true, NULL },
	{ "npm_config_https_proxy", HTTP_URL, true, NULL },
	{ "CARGO_HTTP_PROXY", HTTP_URL, true, NULL },
	{ "PIP_PROXY", HTTP_URL, true, NULL },
	{ NULL, FIXED, false, NULL },
};

const char *proxy_vars_name(size_t i)
{
	return i < sizeof(vars) / sizeof(vars[0]) ? vars[i].name : NULL;
}

int proxy_vars_all_find(const char *word, enum proxy_vars_all *out, struct err *e)
{
	if (!word || strcmp(word, "http") == 0)
		*out = PROXY_VARS_ALL_HTTP;
	else if (strcmp(word, "socks5h") == 0)
		*out = PROXY_VARS_ALL_SOCKS5H;
	else if (strcmp(word, "none") == 0)
		*out = PROXY_VARS_ALL_NONE;
	else
		return err_set(e, ERR_USAGE, "--all-proxy '%.40s': http, socks5h or none expected",
			       word);
	return 0;
}

/* What both Git's shell and ssh's leave as it is. */
static bool is_plain(const char *path)
{
	return *path && path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789/._-+,@:=")] == '\0';
}

/* A path that would need quoting in a quote is left to PATH. */
static const char *program_word(const struct proxy_vars_opts *o)
{
	const char *slash;

	if (!o->program || !*o->program)
		return "awsocks";
	if (is_plain(o->program))
		return o->program;
	slash = strrchr(o->program, '/');
	return slash && is_plain(slash + 1) ? slash + 1 : "awsocks";
}

static bool format_tcp(const struct proxy_vars_opts *o, const struct var *v,
		       char out[static PROXY_VAR_VALUE])
{
	const char *open = strchr(o->host, ':') ? "[" : "", *close = *open ? "]" : "";
	const char *h = o->host;
	unsigned p = o->port;

	switch (v->part) {
	case FIXED: return str_fmt(out, PROXY_VAR_VALUE, "%s", v->fixed);
	case BARE_HOST: return str_fmt(out, PROXY_VAR_VALUE, "%s", h);
	case PORT: return str_fmt(out, PROXY_VAR_VALUE, "%u", p);
	case MARKER:
	case HOST_PORT: return str_fmt(out, PROXY_VAR_VALUE, "%s%s%s:%u", open, h, close, p);
	case ALL_URL:
	case HTTP_URL:
		return str_fmt(out, PROXY_VAR_VALUE, "%s://%s%s%s:%u",
			       v->part == ALL_URL && o->all_proxy == PROXY_VARS_ALL_SOCKS5H
				       ? "socks5h"
				       : "http",
			       open, h, close, p);
	case JAVA:
		return str_fmt(out, PROXY_VAR_VALUE,
			       "-Dhttp.proxyHost=%s -Dhttp.proxyPort=%u -Dhttps.proxyHost=%s "
			       "-Dhttps.proxyPort=%u -Dhttp.nonProxyHosts=localhost|127.*|[::1]",
			       h, p, h, p);
	case GIT_SSH:
	default:
		return str_fmt(out, PROXY_VAR_VALUE, "ssh -o ProxyCommand='%s connect %%h %%p'",
			       program_word(o));
	}
}

static bool format_unix(const struct proxy_vars_opts *o, const struct var *v,
			char out[static PROXY_VAR_VALUE])
{
	if (v->part == ALL_URL)
		return str_fmt(out, PROXY_VAR_VALUE, "socks5h://localhost%s", o->unix_path);
	if (v->part == MARKER)
		return str_fmt(out, PROXY_VAR_VALUE, "unix:%s", o->unix_path);
	if (v->part == GIT_SSH)
		return str_fmt(out, PROXY_VAR_VALUE, "ssh -o ProxyCommand='%s connect %%h %%p'",
			       program_word(o));
	return str_fmt(out, PROXY_VAR_VALUE, "%s", v->fixed);
}

static bool is_wanted(const struct proxy_vars_opts *o, const struct var *v)
{
	if (v->extra && !o->extra)
		return false;
	if (v->part == GIT_SSH)
		return !o->no_ssh;
	if (v->part == ALL_URL)
		return o->all_proxy != PROXY_VARS_ALL_NONE;
	if (o->host)
		return true;
	return v->part == MARKER || (v->part == FIXED && !v->extra);
}

static int check(const struct proxy_vars_opts *o, struct err *e)
{
	if (o->host && (!*o->host || o->host[strspn(o->host, "abcdefghijklmnopqrstuvwxyz"
							     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
							     "0123456789.:-_")] != '\0'))
		return err_set(e, ERR_USAGE, "'%.80s' is no host for a proxy variable", o->host);
	if (!o->host && (!o->unix_path || *o->unix_path != '/' || !is_plain(o->unix_path)))
		return err_set(e, ERR_USAGE,
			       "'%.110s' cannot stand in a proxy variable: an absolute path of "
			       "letters, digits and /._-+,@:= can",
			       o->unix_path ? o->unix_path : "");
	return 0;
}

int proxy_vars_each(const struct proxy_vars_opts *o, proxy_var_fn *fn, void *arg, struct err *e)
{
	char value[PROXY_VAR_VALUE];

	if (check(o, e) != 0)
		return -1;
	for (const struct var *v = vars; v->name; v++) {
		enum proxy_var_kind kind = v->part == JAVA || v->part == GIT_SSH ? PROXY_VAR_MERGE
										 : PROXY_VAR_SET;
		int rc;

		if (!is_wanted(o, v))
			continue;
		if (!(o->host ? format_tcp(o, v, value) : format_unix(o, v, value)))
			return err_set(e, ERR_USAGE, "%s would be longer than %d bytes", v->name,
				       PROXY_VAR_VALUE - 1);
		rc = fn(arg, v->name, value, kind, e);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int export_one(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
		      struct err *e)
{
	char merged[16 * 1024];

	(void)arg;
	if (kind == PROXY_VAR_MERGE) {
		if (proxy_vars_merge(name, getenv(name), value, merged, sizeof(merged), e) != 0)
			return -1;
		value = merged;
	}
	return setenv(name, value, 1) == 0 ? 0 : err_sys(e, errno, "%s", name);
}

int proxy_vars_export(const struct proxy_vars_opts *o, struct err *e)
{
	return proxy_vars_each(o, export_one, NULL, e);
}
