/* PID 1's first steps. Whatever fails ends the VM, with a line on its console. */
#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 20000, STEP_NS = 2000000 };

_Noreturn void boot_off(const char *why)
{
	if (why)
		fprintf(stderr, "vm: %s: %s\n", why, strerror(errno));
	(void)reboot(RB_POWER_OFF);
	_exit(1);
}

/* /m/order: a file name a line. */
static void load_modules(void)
{
	FILE *order = fopen("/m/order", "re");
	char name[128], path[160];

	while (order && fgets(name, sizeof(name), order)) {
		name[strcspn(name, "\n")] = 0;
		(void)snprintf(path, sizeof(path), "/m/%s", name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
			boot_off(path);
		(void)close(fd);
	}
	if (order)
		(void)fclose(order);
}

static int named(const char *port)
{
	char path[300], text[64] = "";
	FILE *f;

	(void)snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", port);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	(void)fclose(f);
	return strcmp(text, "awsocks.0\n") == 0;
}

static int look_for_port(void)
{
	DIR *d = opendir("/sys/class/virtio-ports");
	struct dirent *one;
	int fd = -1;

	while (d && fd < 0 && (one = readdir(d)) != NULL) {
		char path[300];
		if (one->d_name[0] == '.' || !named(one->d_name))
			continue;
		(void)snprintf(path, sizeof(path), "/dev/%s", one->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (d)
		(void)closedir(d);
	return fd;
}

int boot_port(void)
{
	const struct timespec step = { .tv_nsec = STEP_NS };

	(void)mkdir("/dev", 0755);
	(void)mkdir("/proc", 0755);
	(void)mkdir("/sys", 0755);
	(void)mount("dev", "/dev", "devtmpfs", 0, "");
	(void)mount("proc", "/proc", "proc", 0, "");
	(void)mount("sys", "/sys", "sysfs", 0, "");
	load_modules();
	for (int ms = 0; ms < WAIT_MS; ms += 2) {
		int fd = look_for_port();
		if (fd >= 0)
			return fd;
		(void)nanosleep(&step, NULL);
	}
	boot_off("no port");
}
