#include "credentials/egress_env.h"

#include <string.h>

/* An empty one is set all the same: it says that there is no proxy. */
static const char *raw(const char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

static const char *either(const char *const *env, const char *lower, const char *upper,
			  const char **name)
{
	const char *value = raw(env, lower);

	*name = value ? lower : upper;
	return value ? value : raw(env, upper);
}

int egress_from_env(struct loop *l, const char *const *env, egress_own_fn *own, void *own_arg,
		    struct egress **out, struct err *e)
{
	struct egress_opts o = { .loop = l, .own = own, .own_arg = own_arg };
	const char *ignored;

	*out = NULL;
	o.https_proxy = either(env, "https_proxy", "HTTPS_PROXY", &o.https_name);
	o.http_proxy = either(env, "http_proxy", "HTTP_PROXY", &o.http_name);
	o.no_proxy = either(env, "no_proxy", "NO_PROXY", &ignored);
	if (!(o.https_proxy && *o.https_proxy) && !(o.http_proxy && *o.http_proxy))
		return 0;
	*out = egress_new(&o, e);
	return *out ? 0 : -1;
}
