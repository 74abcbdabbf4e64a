#include "cmd/bridge/lo.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int bring_up(int fd, struct ifreq *lo, struct err *e)
{
	lo->ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, lo) == 0)
		return 0;
	return err_sys(e, errno,
		       "the loopback interface is down in this network namespace, and bringing it "
		       "up is not allowed here (as its root: ip link set lo up; bubblewrap does it "
		       "by itself; curl alone can do without: "
		       "ALL_PROXY=socks5h://localhost/PATH/OF/proxy.sock)");
}

int lo_up(struct err *e)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;
	struct ifreq lo = { 0 };

	if (fd < 0)
		return 0;
	memcpy(lo.ifr_name, "lo", sizeof("lo"));
	if (ioctl(fd, SIOCGIFFLAGS, &lo) == 0 && !(lo.ifr_flags & IFF_UP))
		rc = bring_up(fd, &lo, e);
	close(fd);
	return rc;
}
