/* There is no launchd here. */
#include "net/activation.h"

int activation_launchd(const char *name, struct err *e)
{
	return err_set(e, ERR_CONFIG,
		       "listen at launchd:%s: launchd is macOS's; here it is systemd:%s", name,
		       name);
}
