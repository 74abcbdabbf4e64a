/* No fence on this system, and so nothing that programs would have to be started around. */
#include "net/spawner.h"

int spawner_new(struct spawner **out, const struct spawner_opts *o, struct err *e)
{
	(void)o;
	*out = NULL;
	return err_set(e, ERR_UNSUPPORTED, "spawner: only on Linux");
}

int spawner_attach(struct spawner *s, struct loop *l, struct err *e)
{
	(void)s;
	(void)l;
	return err_set(e, ERR_UNSUPPORTED, "spawner: only on Linux");
}

pid_t spawner_pid(const struct spawner *s)
{
	(void)s;
	return -1;
}

void spawner_free(struct spawner *s)
{
	(void)s;
}

struct spawn *spawn_start(struct spawner *s, const struct spawn_request *q,
			  const int fd[SPAWN_STDIO], spawn_fn *fn, void *arg, struct err *e)
{
	(void)s;
	(void)q;
	(void)fd;
	(void)fn;
	(void)arg;
	(void)err_set(e, ERR_UNSUPPORTED, "spawner: only on Linux");
	return NULL;
}

void spawn_kill(struct spawn *p)
{
	(void)p;
}

void spawn_forget(struct spawn *p)
{
	(void)p;
}
