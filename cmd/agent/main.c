/*
 * awsocks-agent: all that runs in awsocks' VM. It is the init of an initramfs that holds nothing
 * but it, the kernel's modules and /conf (vm/image.h), and does what the host asks for over one
 * byte pipe (docs/PROTOCOL.vm): it resolves names, dials TCP out of the VM's NAT and moves bytes.
 * It knows no AWS, and holds no credential: what is encrypted is decrypted by the host.
 *
 *   boot.c       mounts, modules, power off          transport.c  virtio-serial, vsock, stdin
 *   network.c    interface, DHCP, resolv.conf        wire.c       the pipe's bytes <-> vm/link.h
 *   resolver.c   getaddrinfo() in threads            dial.c       addresses raced, guarded
 *   relay.c      one stream <-> one socket           agent.c      what the host asks -> who does it
 *
 * One loop (cmd/bridge/ev.h), no allocation that must succeed: what cannot be served fails alone.
 * When the host has gone, or asks for it, the VM is powered off; if the agent dies the kernel
 * panics, and that ends the VM too.
 *
 * With --conf it is an ordinary process: no mounts, no modules, and it ends instead of powering
 * off. That is for tests, and for the driver `process`.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/agent/agent.h"
#include "cmd/agent/boot.h"
#include "cmd/agent/transport.h"
#include "cmd/bridge/cmd_bridge.h"

static const char usage[] =
	"awsocks-agent " AWSOCKS_VERSION ": dials out of a VM's NAT for awsocks, as its init\n"
	"\n"
	"usage: awsocks-agent --conf FILE    as a process, the link on standard input\n"
	"       awsocks-agent version\n"
	"\n"
	"As PID 1 it needs no arguments; its settings are in /conf.\n";

static int read_conf(const char *path, struct agent_conf *c, struct err *e)
{
	char text[AGENT_CONF_MAX + 1];
	size_t n;

	if (boot_read(path, text, sizeof(text), &n, e) != 0)
		return -1;
	return agent_conf_parse(c, text, n, e) == 0 ? 0 : err_wrap(e, "%s", path);
}

static int serve(const struct agent_conf *c, struct say *say, struct err *e)
{
	int fd;

	say->level = c->log_level;
	fd = transport_open(c, e);
	return fd < 0 ? -1 : agent_run(c, say, fd, e);
}

static int live(struct say *say, struct err *e)
{
	struct agent_conf c;

	if (read_conf("/conf", &c, e) != 0)
		return -1;
	if (c.allow_loopback)
		return err_set(e, ERR_CONFIG, "/conf: allow-loopback is for a process, not a VM");
	boot_modules(say);
	boot_tune(say, c.ipv6);
	return serve(&c, say, e);
}

static _Noreturn void be_init(void)
{
	struct say say;
	struct err e;

	boot_system(&say);
	if (live(&say, &e) != 0)
		say_error(&say, "%s", e.msg);
	boot_power_off();
}

static int be_process(const char *path)
{
	struct say say = { .fd = STDERR_FILENO, .level = LOG_INFO };
	struct agent_conf c;
	struct err e;

	(void)signal(SIGPIPE, SIG_IGN);
	if (read_conf(path, &c, &e) == 0 && serve(&c, &say, &e) == 0)
		return 0;
	say_error(&say, "%s", e.msg);
	return err_exit_status(e.code);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";

	if (argc == 3 && strcmp(word, "--conf") == 0) {
		standard_descriptors_fill();
		return be_process(argv[2]);
	}
	if (getpid() == 1) /* the kernel may pass words of its command line */
		be_init();
	if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0)
		return puts("awsocks-agent " AWSOCKS_VERSION) < 0;
	(void)fputs(usage, argc > 1 && strcmp(word, "--help") == 0 ? stdout : stderr);
	return strcmp(word, "--help") == 0 ? 0 : err_exit_status(ERR_USAGE);
}
