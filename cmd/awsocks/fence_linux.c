/*
 * Core dumps first (prctl(2) is one of the calls that go), then files, then
 * system calls. no_new_privs comes with both and is asked for by itself, so that
 * it holds where neither does.
 *
 * A container may forbid any of them. What does not hold is told in one line and
 * in `awsocks status`, unless --sandbox was given: then it is an error.
 */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/awsocks/fence.h"

static void miss(struct fence_report *r, const char *what, const char *why)
{
	char before[sizeof(r->missing)];

	(void)str_fmt(before, sizeof(before), "%s", r->missing);
	(void)str_fmt(r->missing, sizeof(r->missing), "%s%s%s (%s)", before, *before ? ", " : "",
		      what, why);
}

/* Memory of ours has credentials in it: it is neither written to a file nor shown to other
 * processes of the same user. */
static void forbid_core_dumps(struct fence_report *r)
{
	r->core_dumps = setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) != 0 ||
			prctl(PR_SET_DUMPABLE, 0) != 0;
	if (r->core_dumps)
		miss(r, "core dumps", "cannot be turned off");
}

int fence_close(const struct fence_opts *o, struct fence_report *r, struct err *e)
{
	struct err why = { 0 };

	forbid_core_dumps(r);
	r->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
	if (!r->no_new_privs)
		miss(r, "no_new_privs", "not in this kernel");
	if (landlock_close(o->paths, &r->landlock, &why) != 0)
		miss(r, "Landlock", why.msg);
	r->seccomp = seccomp_close(&why) == 0;
	if (!r->seccomp)
		miss(r, "seccomp", why.msg);
	if (!*r->missing)
		return 0;
	if (o->strict)
		return err_set(e, ERR_UNSUPPORTED,
			       "--sandbox: this system does not allow all of it: %s", r->missing);
	log_warn("sandbox", "goes on without %s", r->missing);
	return 0;
}
