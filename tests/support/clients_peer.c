#include "tests/support/clients_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

void clients_peer_start(struct clients_peer *p)
{
	int in[2], out[2];
	unsigned plain = 0, tls = 0, v6 = 0;
	FILE *f;

	snprintf(p->dir, sizeof(p->dir), "/tmp/awsocks-test-XXXXXX");
	need(mkdtemp(p->dir) != NULL, "mkdtemp");
	need(pipe(in) == 0 && pipe(out) == 0, "pipe");
	p->pid = fork();
	need(p->pid >= 0, "fork");
	if (p->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		execl("/usr/bin/python3", "python3", "tests/support/clients_peer.py", p->dir,
		      (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	p->in = in[1];
	f = fdopen(out[0], "r");
	need(f && fscanf(f, "%u %u %u", &plain, &tls, &v6) == 3, "clients_peer.py");
	fclose(f);
	p->plain = (uint16_t)plain;
	p->tls = (uint16_t)tls;
	p->v6 = v6;
}

void clients_peer_stop(struct clients_peer *p)
{
	static const char *const names[] = { "ca.pem",    "ca.key",   "ca.srl",   "other.pem",
					     "other.key", "host.pem", "host.key", "host.csr",
					     "ext",       "tmp.pem" };
	char path[128];

	close(p->in);
	waitpid(p->pid, NULL, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
		unlink(path);
	}
	rmdir(p->dir);
}
