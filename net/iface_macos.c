#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/iface.h"

int iface_changes_open(void)
{
	int fd = socket(PF_ROUTE, SOCK_RAW, AF_UNSPEC);

	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Routes that come and go are told too: a few readings too many. */
bool iface_changes_seen(int fd)
{
	char told[2048];
	bool seen = false;
	ssize_t n;

	do {
		n = recv(fd, told, sizeof(told), MSG_DONTWAIT);
		seen = seen || n >= 0 || (errno != EAGAIN && errno != EINTR);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return seen;
}

/* vmnet makes bridge100 and up; bridge0 is Thunderbolt's. */
static bool is_vm_net(const char *name)
{
	if (strncmp(name, "vmenet", 6) == 0 || strncmp(name, "vmnet", 5) == 0)
		return true;
	return strncmp(name, "bridge", 6) == 0 && strtol(name + 6, NULL, 10) >= 100;
}

/* Its length says how many bytes there are, and its family may be missing. */
void iface_mask(struct sockaddr_storage *out, const struct sockaddr *mask, sa_family_t family)
{
	size_t n = mask->sa_len < sizeof(*out) ? mask->sa_len : sizeof(*out);

	memset(out, 0, sizeof(*out));
	memcpy(out, mask, n);
	out->ss_family = family;
}

bool iface_routes_here(const struct sockaddr *to)
{
	(void)to;
	return false;
}

int iface_vm_nets(struct iface_names *out)
{
	struct if_nameindex *list = if_nameindex();

	out->count = 0;
	if (!list)
		return -1;
	for (const struct if_nameindex *i = list; i->if_name && out->count < IFACE_VM_MAX; i++)
		if (is_vm_net(i->if_name) && strlen(i->if_name) < IF_NAMESIZE)
			memcpy(out->name[out->count++], i->if_name, strlen(i->if_name) + 1);
	if_freenameindex(list);
	return 0;
}
