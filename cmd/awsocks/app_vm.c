/* The VM of --mode vm: what `awsocks vm` asks for. */
#include "cmd/awsocks/app_impl.h"

int app_vm_command(struct app *a, const char *what, struct cJSON *reply, struct err *e)
{
	(void)a;
	(void)what;
	(void)reply;
	return err_set(e, ERR_UNSUPPORTED,
		       "the running awsocks has no VM: start it with --mode vm");
}
