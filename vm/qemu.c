/*
 * QEMU, from 6.0 on. The link is its standard input, the guest's console its standard output: both
 * are sockets, which it is given as numbers, so that it opens nothing but kernel and initrd. No
 * monitor, no listening port, no device that it was not asked for; a seccomp filter of its own.
 *
 * -kernel, -initrd and -append take their word as it is; a comma would have to be doubled in
 * lists of name=value only, and none of them holds a path.
 */
#include <string.h>

#include "vm/driver_impl.h"

/* Without the string instructions that are said to be quick: the guest's kernel would copy by them,
 * which TCG does byte by byte, to a third or less of the link's speed. */
static const char emulated_x86[] = "max,-erms,-fsrm";

static bool is_arm(const struct vm_spec *s)
{
	return strcmp(s->arch, "aarch64") == 0;
}

/* nested on KVM or HVF: the interrupt controller is what the host has. */
static void add_machine(struct vm_command *c, const struct vm_spec *s, bool emulated)
{
	vm_command_add(c, "-M");
	if (!is_arm(s))
		vm_command_add(c, "q35,usb=off,vmport=off,hpet=off,sata=off,smbus=off");
	else if (emulated)
		vm_command_add(c, "virt,gic-version=3");
	else
		vm_command_add(c, "virt");
	vm_command_add(c, "-accel");
	if (emulated)
		vm_command_add(c, "tcg,tb-size=32");
	else
		vm_command_add(c, "%s", vm_accel_name(s->accel));
	vm_command_add(c, "-cpu");
	vm_command_add(c, "%s", !emulated ? "host" : is_arm(s) ? "cortex-a72" : emulated_x86);
	vm_command_add(c, "-m");
	vm_command_add(c, "%u", s->memory_mib);
	vm_command_add(c, "-smp");
	vm_command_add(c, "%u", s->cpus);
}

/* What PID 1 needs is in the initrd; nothing of a secret is here. cryptomgr.notests saves 0.2 s of
 * emulated time; no_timer_check: an emulator that is kept waiting is no broken timer. loglevel=1:
 * with 0 not even a panic is told. */
static void add_kernel(struct vm_command *c, const struct vm_spec *s)
{
	const char *console = !s->console ? "" : is_arm(s) ? " console=ttyAMA0" : " console=ttyS0";

	vm_command_add(c, "-kernel");
	vm_command_add(c, "%s", s->image->kernel);
	vm_command_add(c, "-initrd");
	vm_command_add(c, "%s", s->image->initrd);
	vm_command_add(c, "-append");
	vm_command_add(c, "quiet loglevel=1 panic=-1 cryptomgr.notests=1 audit=0%s%s",
		       is_arm(s) ? "" : " no_timer_check random.trust_cpu=on", console);
}

static void add_devices(struct vm_command *c, const struct vm_spec *s)
{
	char mac[18];

	vm_mac_text(s->mac, mac);
	vm_command_add(c, "-device");
	vm_command_add(c, "virtio-serial-pci,max_ports=2");
	vm_command_add(c, "-chardev");
	vm_command_add(c, "socket,id=c0,fd=0");
	vm_command_add(c, "-device");
	vm_command_add(c, "virtserialport,chardev=c0,name=awsocks.0");
	vm_command_add(c, "-netdev");
	vm_command_add(c, "user,id=n0");
	vm_command_add(c, "-device");
	vm_command_add(c, "virtio-net-pci,netdev=n0,romfile=,mac=%s", mac);
	if (!s->console)
		return;
	vm_command_add(c, "-chardev");
	vm_command_add(c, "socket,id=k0,fd=1");
	vm_command_add(c, "-serial");
	vm_command_add(c, "chardev:k0");
}

static int qemu_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	memset(c, 0, sizeof(*c));
	vm_command_add(c, "%s", s->program);
	vm_command_add(c, "-nodefaults");
	vm_command_add(c, "-no-user-config");
	vm_command_add(c, "-no-reboot");
	vm_command_add(c, "-display");
	vm_command_add(c, "none");
	add_machine(c, s, s->accel == VM_ACCEL_TCG || s->accel == VM_ACCEL_NONE);
	add_kernel(c, s);
	add_devices(c, s);
	if (vm_host_has_qemu_sandbox()) {
		vm_command_add(c, "-sandbox");
		vm_command_add(c, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
				  "resourcecontrol=deny");
	}
	return vm_command_end(c, e);
}

const struct vm_driver vm_driver_qemu = { "qemu", VM_VIRTIO_SERIAL, true, qemu_command };
