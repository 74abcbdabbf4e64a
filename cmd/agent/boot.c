#include "cmd/agent/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/agent/iface.h"
#include "cmd/agent/say.h"
#include "cmd/bridge/cmd_bridge.h"

enum { ORDER_MAX = 8192, FILES = 16384 };

static void mount_one(const struct say *s, const char *type, const char *at)
{
	(void)mkdir(at, 0755);
	if (mount(type, at, type, 0, NULL) != 0 && errno != EBUSY)
		say_error(s, "%s: %s", at, strerror(errno));
}

void boot_system(struct say *s)
{
	*s = (struct say){ .fd = STDERR_FILENO, .level = LOG_INFO };
	mount_one(s, "devtmpfs", "/dev");
	mount_one(s, "proc", "/proc");
	mount_one(s, "sysfs", "/sys");
	standard_descriptors_fill();
	s->fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	s->kernel = s->fd >= 0;
	(void)signal(SIGCHLD, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
}

int boot_read(const char *path, char *to, size_t cap, size_t *n, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	*n = 0;
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	for (; got > 0 && *n < cap - 1; *n += (size_t)(got > 0 ? got : 0))
		got = read(fd, to + *n, cap - 1 - *n);
	to[*n] = '\0';
	if (got < 0)
		(void)err_sys(e, errno, "%s", path);
	else if (got > 0)
		(void)err_set(e, ERR_LIMIT, "%s: more than %zu bytes", path, cap - 1);
	close(fd);
	return got == 0 ? 0 : -1;
}

static void load(const struct say *s, const char *name)
{
	char path[256];
	int fd;

	if (!*name)
		return;
	if (strchr(name, '/') || !str_fmt(path, sizeof(path), "/m/%s", name)) {
		say_warn(s, "/m/order: '%s' is not the name of a file", name);
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
		say_warn(s, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void boot_modules(const struct say *s)
{
	char order[ORDER_MAX], *at = order;
	struct err e;
	size_t n;

	if (boot_read("/m/order", order, sizeof(order), &n, &e) != 0) {
		say_warn(s, "%s: no modules are loaded", e.msg);
		return;
	}
	while (at < order + n) {
		size_t line = strcspn(at, "\n");

		at[line] = '\0';
		load(s, at);
		at += line + 1;
	}
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* a kernel without it */
	if (write(fd, text, strlen(text)) < 0)
		(void)0;
	close(fd);
}

void boot_tune(const struct say *s, bool ipv6)
{
	struct rlimit files = { FILES, FILES };
	struct err e;

	if (!ipv6) {
		put_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
		put_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (iface_up("lo", &e) != 0)
		say_warn(s, "%s", e.msg);
}

/* Never RB_HALT_SYSTEM: QEMU would run on. */
_Noreturn void boot_power_off(void)
{
	(void)reboot(RB_POWER_OFF);
	_exit(1); /* the kernel panics, which ends the VM too */
}
