#ifndef TESTS_VM_APART_H
#define TESTS_VM_APART_H
/*
 * A network namespace of the test's own, whose loopback interface has 192.0.2.1, with servers in
 * processes of their own: what an agent that runs as a process can dial, and no guard refuses.
 * Where there is no leave to make one, `apart` is false. One program includes this once.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOST "192.0.2.1"

enum server { SOURCE = 0, SINK, MUTE, SERVERS }; /* sends for ever; reads; does neither */

static uint16_t ports[SERVERS];
static pid_t servers;
static bool apart;

/* ---- servers ---- */

static void serve_one(int fd, enum server kind)
{
	static uint8_t p[64 * 1024];

	if (kind == MUTE)
		for (;;)
			(void)pause();
	while (kind == SOURCE ? write(fd, p, sizeof(p)) > 0 : read(fd, p, sizeof(p)) > 0)
		;
	_exit(0);
}

static void serve(const int *listeners)
{
	for (int kind = 0; kind < SERVERS; kind++) {
		if (fork() != 0)
			continue;
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int fd = accept(listeners[kind], NULL, NULL);

			if (fork() == 0) {
				(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
				serve_one(fd, (enum server)kind);
			}
			close(fd);
		}
	}
	for (;;)
		(void)pause();
}

static int listen_on(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)inet_pton(AF_INET, HOST, &a.sin_addr);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 128) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) != 0) {
		close(fd);
		return -1;
	}
	*port = ntohs(a.sin_port);
	return fd;
}

static bool start_servers(void)
{
	int listeners[SERVERS];

	for (int i = 0; i < SERVERS; i++) {
		listeners[i] = listen_on(&ports[i]);
		if (listeners[i] < 0)
			return false;
	}
	servers = fork();
	if (servers == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)signal(SIGCHLD, SIG_IGN);
		serve(listeners);
	}
	for (int i = 0; i < SERVERS; i++)
		close(listeners[i]);
	return servers > 0;
}

/* ---- a network of our own ---- */

static bool address(const char *text)
{
	struct ifreq r = { .ifr_name = "lo" };
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool good;

	(void)inet_pton(AF_INET, text, &a.sin_addr);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	good = ioctl(fd, SIOCSIFADDR, &r) == 0;
	(void)inet_pton(AF_INET, "255.255.255.255", &a.sin_addr);
	memcpy(&r.ifr_netmask, &a, sizeof(a));
	good = good && ioctl(fd, SIOCSIFNETMASK, &r) == 0;
	r.ifr_flags = IFF_UP | IFF_LOOPBACK;
	good = good && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
	close(fd);
	return good;
}

static bool go_apart(void)
{
	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return false;
	return address(HOST) && start_servers();
}

static void apart_end(void)
{
	if (servers <= 0)
		return;
	(void)kill(servers, SIGKILL);
	(void)waitpid(servers, NULL, 0);
}

/* ---- the agent ---- */

static char agent[512];

static void find_agent(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	(void)snprintf(agent, sizeof(agent), "%.*s/../awsocks-agent",
		       slash ? (int)(slash - argv0) : 1, slash ? argv0 : ".");
}
#endif
