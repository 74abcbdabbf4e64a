#include "cmd/awsocks/upstream.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/http_connect.h"

struct upstream {
	const char *url, *name; /* url NULL: none; name: where it stands, for messages */
	char *no_proxy;         /* as in net/no_proxy.h; NULL: none */
};

static const char *first_of(const char *const *names, const char **name)
{
	for (; *names; names++) {
		const char *value = getenv(*names);

		if (value && *value) {
			*name = *names;
			return value;
		}
	}
	return NULL;
}

/* "a,b,c"; NULL: out of memory. */
static char *join(const struct opt_list *list)
{
	size_t size = 1, at = 0;
	char *text;

	for (size_t i = 0; i < list->count; i++)
		size += strlen(list->item[i].text) + 1;
	text = mem_alloc(size);
	for (size_t i = 0; text && i < list->count; i++) {
		size_t n = strlen(list->item[i].text);

		memcpy(text + at, list->item[i].text, n);
		at += n;
		text[at++] = ',';
	}
	return text;
}

static int read_upstream(const struct options *o, struct upstream *u, struct err *e)
{
	static const char *const proxies[] = { "all_proxy", "ALL_PROXY", "https_proxy",
					       "HTTPS_PROXY", NULL };
	static const char *const excepted[] = { "no_proxy", "NO_PROXY", NULL };
	bool env = o->upstream_proxy && strcmp(o->upstream_proxy, "env") == 0;
	const char *ignored, *no_proxy = env ? first_of(excepted, &ignored) : NULL;

	*u = (struct upstream){ .url = o->upstream_proxy, .name = "upstream-proxy" };
	if (env)
		u->url = first_of(proxies, &u->name);
	if (!u->url || !*u->url) {
		u->url = NULL;
		return 0;
	}
	if (o->no_proxy.count)
		u->no_proxy = join(&o->no_proxy);
	else
		u->no_proxy = mem_strdup(no_proxy ? no_proxy : "");
	return u->no_proxy ? 0 : err_set(e, ERR_NOMEM, "upstream-proxy");
}

static int check_url(const struct options *o, const struct upstream *u, struct err *e)
{
	const struct opt_origin *from = &o->origin[OPT_ID_upstream_proxy];
	struct http_connect_proxy x;
	int r;

	if (!u->url)
		return 0;
	if (from->level == LEVEL_ARGV && u->url == o->upstream_proxy &&
	    http_connect_has_password(u->url))
		return err_set(e, ERR_USAGE,
			       "--upstream-proxy: others on this host can read a password that "
			       "stands on the command line: put it into config.yaml "
			       "(upstream-proxy: in defaults:) or AWSOCKS_UPSTREAM_PROXY");
	r = http_connect_parse(u->url, u->name, &x, e);
	http_connect_free(&x);
	if (r != 0 && u->url == o->upstream_proxy)
		(void)err_wrap(e, "%s", from->text);
	return r;
}

int upstream_check(const struct options *o, struct err *e)
{
	struct upstream u;
	int r = read_upstream(o, &u, e);

	if (r == 0)
		r = check_url(o, &u, e);
	mem_free(u.no_proxy);
	return r;
}

int upstream_open(const struct options *o, struct loop *loop, egress_own_fn *own, void *own_arg,
		  struct egress **out, struct err *e)
{
	struct upstream u;

	*out = NULL;
	if (read_upstream(o, &u, e) != 0)
		return -1;
	if (u.url) {
		const struct egress_opts opts = { .loop = loop,
						  .https_proxy = u.url,
						  .https_name = u.name,
						  .no_proxy = u.no_proxy,
						  .own = own,
						  .own_arg = own_arg,
						  .strict = true };

		*out = egress_new(&opts, e);
	}
	mem_free(u.no_proxy);
	return *out || !u.url ? 0 : -1;
}

int upstream_of(const struct options *o, const char *host, uint16_t port, char out[static 264],
		struct err *e)
{
	const struct egress_target to = { .tls = true, .host = host, .port = port };
	const char *proxy;
	struct egress *g;

	*out = '\0';
	if (upstream_open(o, NULL, NULL, NULL, &g, e) != 0)
		return -1;
	proxy = g ? egress_proxy_for(g, &to) : NULL;
	if (proxy)
		(void)str_fmt(out, 264, "%s", proxy);
	egress_free(g);
	return 0;
}
