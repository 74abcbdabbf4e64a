/*
 * launch_activate_socket(3): the sockets of that name in the Sockets dictionary of our job's
 * property list. It may be asked once for each name, and the array is the caller's. A
 * SockServiceName that both families have gives two sockets: SockNodeName has to be an address.
 */
#include <errno.h>
#include <launch.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/activation.h"

int activation_launchd(const char *name, struct err *e)
{
	int *fds = NULL, fd = -1, sys;
	size_t n = 0;

	sys = launch_activate_socket(name, &fds, &n);
	if (sys == ESRCH)
		return err_set(e, ERR_CONFIG,
			       "listen at launchd:%s: this process was not started by launchd",
			       name);
	if (sys == ENOENT)
		return err_set(e, ERR_CONFIG,
			       "listen at launchd:%s: the job's Sockets have no such name", name);
	if (sys != 0)
		return err_sys(e, sys, "listen at launchd:%s", name);
	if (n == 1)
		fd = fds[0];
	for (size_t i = 0; fd < 0 && i < n; i++)
		(void)close(fds[i]);
	free(fds);
	if (fd >= 0)
		return fd;
	return err_set(e, ERR_CONFIG,
		       "listen at launchd:%s: %zu sockets of that name: one expected; give "
		       "SockNodeName an address, as in 127.0.0.1",
		       name, n);
}
