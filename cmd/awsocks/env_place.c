#include "cmd/awsocks/env_place.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/awsocks/control.h"
#include "cmd/awsocks/json_member.h"
#include "cmd/awsocks/listener_pick.h"
#include "cmd/awsocks/setup.h"

static void note(const char *text)
{
	fprintf(stderr, "awsocks: %s\n", text);
}

/* ---- an address as text ---- */

/* "http://H:P/", "socks5h://H:P", "H:P", "unix:/path": without scheme and final slash. */
static bool bare(const char *text, char *out, size_t size)
{
	const char *at = strstr(text, "://");

	if (!str_fmt(out, size, "%s", at ? at + 3 : text))
		return false;
	if (!str_starts(out, "unix:") && str_ends(out, "/"))
		out[strlen(out) - 1] = '\0';
	return true;
}

static int take_unix(const char *path, struct env_place *p, struct err *e)
{
	if (*path != '/')
		return err_set(e, ERR_USAGE,
			       "unix:%.80s: only an absolute path means the same everywhere", path);
	p->host[0] = '\0';
	return str_fmt(p->unix_path, sizeof(p->unix_path), "%s", path)
		       ? 0
		       : err_set(e, ERR_USAGE, "unix:%.80s...: path too long", path);
}

/* Nobody can connect to "any address". */
static void make_usable(struct env_place *p)
{
	struct addr at;
	const char *odd;

	if (!addr_from_literal(p->host, p->port, &at))
		return;
	odd = addr_not_one_host(&at);
	if (odd && strcmp(odd, "unspecified") == 0)
		(void)str_fmt(p->host, sizeof(p->host), "%s",
			      at.ss.ss_family == AF_INET6 ? "::1" : "127.0.0.1");
}

static int take_address(const char *text, struct env_place *p, struct err *e)
{
	char plain[HOST_MAX + 16], host[HOST_MAX];
	struct host canonical;

	if (!bare(text, plain, sizeof(plain)))
		return err_set(e, ERR_USAGE, "'%.80s...' is too long for an address", text);
	if (str_starts(plain, "unix:"))
		return take_unix(plain + strlen("unix:"), p, e);
	if (strchr(plain, '@'))
		return err_set(e, ERR_USAGE,
			       "an address with a user or password in it cannot be "
			       "used here: HOST:PORT or unix:/PATH");
	if (str_host_port(plain, host, sizeof(host), &p->port, e) != 0)
		return -1;
	if (p->port == 0)
		return err_set(e, ERR_USAGE, "'%.80s': port 0 is no port to connect to", plain);
	if (host_normalize(*host ? host : "127.0.0.1", *host ? strlen(host) : 9, &canonical, e) !=
	    0) {
		e->code = ERR_USAGE;
		return -1;
	}
	(void)str_fmt(p->host, sizeof(p->host), "%s", canonical.text);
	make_usable(p);
	return 0;
}

void env_place_format(const struct env_place *p, char out[static HOST_MAX + 16])
{
	if (!*p->host)
		(void)str_fmt(out, HOST_MAX + 16, "unix:%s", p->unix_path);
	else
		(void)str_fmt(out, HOST_MAX + 16, strchr(p->host, ':') ? "[%s]:%u" : "%s:%u",
			      p->host, p->port);
}

/* ---- the running awsocks ---- */

/* Whether that listener is at the address of $AWSOCKS, as this program wrote it there. */
static bool is_at(const struct cJSON *listener, const char *address)
{
	struct env_place p = { 0 };
	char text[HOST_MAX + 16];

	if (take_address(member_text(listener, "address"), &p, NULL) != 0)
		return false;
	env_place_format(&p, text);
	return strcmp(text, address) == 0;
}

static const struct cJSON *by_name(const struct cJSON *all, const char *wanted)
{
	const struct cJSON *l;

	cJSON_ArrayForEach(l, all)
	{
		if (strcmp(member_text(l, "name"), wanted) == 0 ||
		    strcmp(member_text(l, "address"), wanted) == 0)
			return l;
	}
	return NULL;
}

static const struct cJSON *preferred(const struct cJSON *all)
{
	const char *marker = getenv("AWSOCKS");
	const struct cJSON *l;

	if (marker && *marker)
		cJSON_ArrayForEach(l, all)
		{
			if (is_at(l, marker))
				return l;
		}
	cJSON_ArrayForEach(l, all)
	{
		if (!str_starts(member_text(l, "address"), "unix:"))
			return l;
	}
	return cJSON_GetArrayItem(all, 0);
}

/* What the variables cannot say about it. */
static void note_listener(const struct cJSON *l)
{
	const struct cJSON *users = cJSON_GetObjectItemCaseSensitive(l, "users");
	char text[HOST_MAX + 320];

	if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(l, "open"))) {
		(void)str_fmt(text, sizeof(text),
			      "%s is not open yet: this host has no such address now",
			      member_text(l, "address"));
		note(text);
	}
	if (cJSON_IsNumber(users) && users->valuedouble > 0) {
		(void)str_fmt(
			text, sizeof(text),
			"%s asks for a user and password, which are not in these variables: "
			"write USER:PASSWORD@ before the address yourself, or know the clients "
			"by allow-from or a Unix socket",
			member_text(l, "address"));
		note(text);
	}
}

static int take_running(const struct env_where *w, const struct cJSON *all, struct env_place *p,
			struct err *e)
{
	const struct cJSON *l = w->listener ? by_name(all, w->listener) : preferred(all);

	if (!l && w->listener)
		return err_set(e, ERR_USAGE,
			       "the running awsocks has no listener '%.60s': awsocks status lists "
			       "them",
			       w->listener);
	if (!l)
		return err_set(e, ERR_USAGE, "the running awsocks has no listener");
	if (take_address(member_text(l, "address"), p, e) != 0)
		return err_wrap(e, "listener %.60s", member_text(l, "name"));
	p->running = true;
	(void)str_fmt(p->name, sizeof(p->name), "%s", member_text(l, "name"));
	(void)str_fmt(p->from, sizeof(p->from), "the running awsocks");
	note_listener(l);
	return 0;
}

/* 1: none runs, *e says how that was seen. */
static int ask_running(const struct env_where *w, struct env_place *p, struct err *e)
{
	char path[PATH_TEXT];
	struct cJSON *reply = NULL;
	int rc;

	if (setup_control_path(w->control, path, e) != 0 ||
	    control_ask(path, "status", &reply, e) != 0)
		return w->control ? -1 : 1;
	rc = take_running(w,
			  cJSON_GetObjectItemCaseSensitive(
				  cJSON_GetObjectItemCaseSensitive(reply, "status"), "listeners"),
			  p, e);
	cJSON_Delete(reply);
	return rc;
}

/* ---- none runs ---- */

static int take_configured(const struct setup *s, const struct env_where *w, struct env_place *p,
			   struct err *e)
{
	const struct opt_origin *origin;
	struct listener_pick pick;

	if (listener_pick(s, w->listener, &pick, e) != 0)
		return -1;
	if (take_address(pick.address, p, e) != 0)
		return err_wrap(e, "no awsocks is running, and of the listener %.60s",
				pick.address);
	if (pick.config && pick.config->name)
		(void)str_fmt(p->name, sizeof(p->name), "%s", pick.config->name);
	origin = &s->profile[0].options.origin[OPT_ID_listen];
	(void)str_fmt(p->from, sizeof(p->from), "%s",
		      pick.config                      ? s->config_path
		      : origin->level == LEVEL_BUILTIN ? "the default"
						       : origin->text);
	return 0;
}

static int from_config(const struct env_where *w, struct env_place *p, struct err *e)
{
	char *argv[] = { (char[]){ "awsocks" }, NULL };
	struct setup s;
	int rc = -1;

	if (setup_load(&s, 1, argv, NULL, NULL, NULL, e) != 0)
		return -1;
	if (setup_profiles(&s, NULL, 0, e) == 0)
		rc = take_configured(&s, w, p, e);
	setup_free(&s);
	return rc;
}

static int without_running(const struct env_where *w, const struct err *why, struct env_place *p,
			   struct err *e)
{
	const char *marker = w->listener ? NULL : getenv("AWSOCKS");
	char at[HOST_MAX + 16], text[sizeof(at) + sizeof(p->from) + 400];

	if (marker && *marker) {
		(void)str_fmt(p->from, sizeof(p->from), "$AWSOCKS");
		return take_address(marker, p, e) == 0 ? 0 : err_wrap(e, "$AWSOCKS");
	}
	if (from_config(w, p, e) != 0)
		return -1;
	env_place_format(p, at);
	(void)str_fmt(text, sizeof(text), "%s: taking %s (%s)", why->msg, at, p->from);
	note(text);
	return 0;
}

int env_place_find(const struct env_where *w, struct env_place *p, struct err *e)
{
	struct err why = { 0 };
	int rc;

	*p = (struct env_place){ 0 };
	if (w->to && w->listener)
		return err_set(e, ERR_USAGE, "--to and --listener both say where the proxy is");
	if (w->to) {
		(void)str_fmt(p->from, sizeof(p->from), "--to");
		return take_address(w->to, p, e) == 0 ? 0 : err_wrap(e, "--to");
	}
	rc = ask_running(w, p, &why);
	if (rc > 0)
		return without_running(w, &why, p, e);
	if (rc < 0)
		*e = why;
	return rc;
}
