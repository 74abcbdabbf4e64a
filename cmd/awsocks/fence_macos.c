/* No fence on this system: said in status, and an error only if it was asked for by name. */
#include "base/str.h"
#include "cmd/awsocks/fence.h"

int fence_close(const struct fence_opts *o, struct fence_report *r, struct err *e)
{
	(void)str_fmt(r->missing, sizeof(r->missing), "there is none on this system");
	r->core_dumps = true;
	return o->strict ? err_set(e, ERR_UNSUPPORTED, "--sandbox: %s", r->missing) : 0;
}
