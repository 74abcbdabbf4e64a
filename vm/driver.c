#include "vm/driver_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/str.h"

const char *vm_accel_name(enum vm_accel a)
{
	static const char *const names[] = { [VM_ACCEL_NONE] = "none",
					     [VM_ACCEL_KVM] = "kvm",
					     [VM_ACCEL_HVF] = "hvf",
					     [VM_ACCEL_TCG] = "tcg" };

	return (size_t)a < sizeof(names) / sizeof(names[0]) ? names[a] : "unknown";
}

const char *vm_host_arch(void)
{
	struct utsname u;

	if (uname(&u) != 0)
		return "unknown";
	if (strcmp(u.machine, "arm64") == 0 || strcmp(u.machine, "aarch64") == 0)
		return "aarch64";
	return strcmp(u.machine, "x86_64") == 0 || strcmp(u.machine, "amd64") == 0 ? "x86_64"
										   : "unknown";
}

void vm_accel_ladder(const char *guest_arch, enum vm_accel out[static 3], size_t *n)
{
	enum vm_accel host = VM_ACCEL_NONE;

	*n = 0;
	if (strcmp(guest_arch, vm_host_arch()) == 0)
		host = vm_host_accel();
	if (host != VM_ACCEL_NONE)
		out[(*n)++] = host;
	out[(*n)++] = VM_ACCEL_TCG;
}

void vm_command_add(struct vm_command *c, const char *fmt, ...)
{
	size_t room = sizeof(c->text) - c->used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c->text + c->used, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room || c->count == VM_ARGS_MAX) {
		c->full = true;
		return;
	}
	c->argv[c->count++] = c->text + c->used;
	c->argv[c->count] = NULL;
	c->used += (size_t)n + 1;
}

int vm_command_end(const struct vm_command *c, struct err *e)
{
	return c->full ? err_set(e, ERR_LIMIT, "the VM's command line is too long") : 0;
}

void vm_mac_text(const uint8_t m[6], char to[static 18])
{
	(void)str_fmt(to, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}
