#include "cmd/awsocks/in_process.h"

#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/awsocks/connect.h"
#include "cmd/awsocks/setup.h"

static int log_level(const struct options *o, struct err *e)
{
	return log_set_level(
		o->origin[OPT_ID_log_level].level > LEVEL_BUILTIN ? o->log_level : "warn", e);
}

int in_process(const struct connect_args *a,
	       int (*serve)(const struct setup *, const struct connect_args *, struct err *),
	       struct err *e)
{
	char **argv = mem_alloc(((size_t)a->rest_count + 2) * sizeof(*argv));
	struct setup setup = { 0 };
	int result = -1;

	if (!argv)
		return err_set(e, ERR_NOMEM, "connect");
	argv[0] = (char[]){ "connect" };
	memcpy(argv + 1, a->rest, (size_t)a->rest_count * sizeof(*argv));
	if (setup_load(&setup, a->rest_count + 1, argv, NULL, NULL, NULL, e) == 0) {
		if (setup_profiles(&setup, setup.args.positional, setup.args.count, e) == 0 &&
		    log_level(&setup.profile[0].options, e) == 0)
			result = serve(&setup, a, e);
		setup_free(&setup);
	}
	mem_free(argv);
	return result;
}

void end_signals_open(struct end_signals *s, struct loop *loop, loop_fn *fn, void *arg)
{
	static const int signum[END_SIGNALS] = { SIGHUP, SIGINT, SIGTERM };

	for (size_t i = 0; i < END_SIGNALS; i++)
		s->at[i] = signal_open(loop, signum[i], fn, arg, NULL);
}

void end_signals_close(struct end_signals *s)
{
	for (size_t i = 0; i < END_SIGNALS; i++)
		if (s->at[i])
			signal_close(s->at[i]);
}
