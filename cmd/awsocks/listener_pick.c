#include "cmd/awsocks/listener_pick.h"

#include <string.h>

#include "base/str.h"

/* As start has it: --listen counts when it was given, or when config.yaml has no listeners;
 * the very first listener is the default one. */
static const char *given_listener(const struct setup *s, const char *wanted)
{
	const struct opt_list *listen = &s->profile[0].options.listen;

	if (setup_own_listeners(s) &&
	    s->profile[0].options.origin[OPT_ID_listen].level == LEVEL_BUILTIN)
		return NULL;
	if (!wanted || strcmp(wanted, "default") == 0)
		return listen->item[0].text;
	for (size_t i = 0; i < listen->count; i++)
		if (strcmp(listen->item[i].text, wanted) == 0)
			return listen->item[i].text;
	return NULL;
}

static const struct config_listener *configured_listener(const struct config_file *f,
							 const char *wanted)
{
	if (!f || !f->listener_count)
		return NULL;
	if (!wanted || (!f->listener[0].name && strcmp(wanted, "default") == 0))
		return &f->listener[0];
	for (size_t i = 0; i < f->listener_count; i++)
		if ((f->listener[i].name && strcmp(f->listener[i].name, wanted) == 0) ||
		    strcmp(f->listener[i].address, wanted) == 0)
			return &f->listener[i];
	return NULL;
}

static int no_listener(const struct setup *s, const char *wanted, struct err *e)
{
	char all[200] = "";
	const struct config_file *f = s->config;

	for (size_t i = 0; f && f->listener && i < f->listener_count; i++) {
		const struct config_listener *l = &f->listener[i];
		size_t n = strlen(all);

		(void)str_fmt(all + n, sizeof(all) - n, "%s%s", n ? ", " : "",
			      l->name ? l->name : l->address);
	}
	return err_set(e, ERR_USAGE, "no listener '%.60s': there is %s", wanted,
		       *all ? all : s->profile[0].options.listen.item[0].text);
}

int listener_pick(const struct setup *s, const char *wanted, struct listener_pick *out,
		  struct err *e)
{
	*out = (struct listener_pick){ .address = given_listener(s, wanted) };
	if (out->address)
		return 0;
	out->config = configured_listener(s->config, wanted);
	if (!out->config)
		return no_listener(s, wanted ? wanted : "default", e);
	out->address = out->config->address;
	return 0;
}
