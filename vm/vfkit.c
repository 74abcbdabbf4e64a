/*
 * vfkit (Virtualization.framework). The guest's vsock connections come to a Unix socket that is
 * listened at here before it starts. Its own console is for terminals (with another standard input
 * it crashes), so that the guest's goes to a file, which vm/run.c reads.
 */
#include <string.h>

#include "base/str.h"
#include "vm/driver_impl.h"

enum { VSOCK_PORT = 5000 }; /* where the agent calls */

static int check_dir(const char *dir, struct err *e)
{
	if (!strchr(dir, ','))
		return 0;
	return err_set(e, ERR_CONFIG, "vfkit: '%s': it takes no path with a comma", dir);
}

/* sun_path has 104 bytes where vfkit runs, whatever it has here. */
static int set_socket(struct vm_command *c, const char *dir, struct err *e)
{
	enum { SUN_PATH = 104 };

	if (str_fmt(c->listen, sizeof(c->listen), "%s/link.sock", dir) &&
	    strlen(c->listen) < SUN_PATH)
		return 0;
	return err_set(e, ERR_CONFIG,
		       "vfkit: '%s/link.sock' is too long for a socket: at most %d bytes", dir,
		       SUN_PATH - 1);
}

/* Shorter than the socket's path, whose length has been looked at. */
static void add_console(struct vm_command *c, const char *dir)
{
	(void)str_fmt(c->console, sizeof(c->console), "%s/console", dir);
	vm_command_add(c, "--device");
	vm_command_add(c, "virtio-serial,logFilePath=%s", c->console);
}

static int vfkit_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	char mac[18];

	memset(c, 0, sizeof(*c));
	if (check_dir(s->dir, e) != 0 || set_socket(c, s->dir, e) != 0)
		return -1;
	vm_mac_text(s->mac, mac);
	vm_command_add(c, "%s", s->program);
	vm_command_add(c, "--cpus");
	vm_command_add(c, "%u", s->cpus);
	vm_command_add(c, "--memory");
	vm_command_add(c, "%u", s->memory_mib);
	vm_command_add(c, "--log-level");
	vm_command_add(c, "error");
	vm_command_add(c, "--kernel");
	vm_command_add(c, "%s", s->image->kernel);
	vm_command_add(c, "--initrd");
	vm_command_add(c, "%s", s->image->initrd);
	vm_command_add(c, "--kernel-cmdline");
	vm_command_add(c, "quiet loglevel=1 panic=-1 audit=0%s", s->console ? " console=hvc0" : "");
	vm_command_add(c, "--device");
	vm_command_add(c, "virtio-vsock,port=%d,socketURL=%s,listen", VSOCK_PORT, c->listen);
	vm_command_add(c, "--device");
	vm_command_add(c, "virtio-net,nat,mac=%s", mac);
	vm_command_add(c, "--device");
	vm_command_add(c, "virtio-rng");
	if (s->console)
		add_console(c, s->dir);
	return vm_command_end(c, e);
}

const struct vm_driver vm_driver_vfkit = { "vfkit", VM_VSOCK, false, vfkit_command };
