/*
 * awsocks-localaws: what of AWS awsocks needs, on loopback.
 *
 *   options.c  ready.c            the command line; what is told when it listens
 *   server.c   tls.c certs.c      HTTP/1.1 on streams of net/, TLS around them
 *   service.c  auth.c keys.c      which service, and is it signed
 *   api*.c     form.c admin.c     the operations; counters and faults
 *   sign_in*.c proof.c            IAM Identity Center, AWS sign-in, their browser
 *   gateway.c  wsframe.c          a client's websocket (the message gateway)
 *   session.c  line.c             a session between its two legs; faults on the way
 *   agent.c    channel.c wire.c   the agent: handshake, numbers, acks, retransmission
 *   plugin_*.c smux.c pump.c      its port plugin, mux and basic
 *   target.c   names.c            where it forwards to
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/certs.h"
#include "cmd/localaws/gateway.h"
#include "cmd/localaws/ready.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/tls.h"
#include "cmd/localaws/wire.h"
#include "cmd/localaws/world.h"
#include "net/loop.h"
#include "net/tcp.h"
#include "stream/stream.h"

enum { CA_TEXT = 4200, END_MS = 2000 };

struct program {
	struct world w;
	SSL_CTX *tls; /* NULL: plain */
	struct listen_socket *listener;
	struct loop_signal *term, *intr;
	struct loop_timer end;
	uint64_t ending_ms; /* 0: not yet */
	char ca[CA_TEXT];
};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	struct program *p = arg;
	struct err e = { 0 };
	struct stream *s;

	(void)peer;
	s = tcp_stream_new(p->w.loop, fd, &e);
	if (s && p->tls)
		s = tls_stream_new(p->w.loop, p->tls, s, &e);
	if (s)
		server_serve(&p->w, s);
	else
		log_error("http", "accept: %s", e.msg);
}

/* Sockets tell of their end by the loop, so it runs until the last has. */
static void wind_down(void *arg)
{
	struct program *p = arg;
	const struct stats *s = &p->w.stats;
	bool done = s->connections_open == 0 && s->targets_open == 0;

	if (done || loop_now_ms(p->w.loop) - p->ending_ms >= END_MS)
		loop_stop(p->w.loop);
	else
		timer_arm(p->w.loop, &p->end, 1, wind_down, p);
}

static void on_signal(void *arg)
{
	struct program *p = arg;

	if (p->ending_ms)
		return;
	p->ending_ms = loop_now_ms(p->w.loop);
	if (!p->ending_ms)
		p->ending_ms = 1;
	log_info("localaws", "stopping");
	listen_close(p->listener);
	p->listener = NULL;
	sessions_free(p->w.sessions);
	p->w.sessions = NULL;
	legs_abort(&p->w);
	server_abort(&p->w);
	timer_arm(p->w.loop, &p->end, 0, wind_down, p);
}

static void name_endpoints(struct program *p)
{
	char at[ADDR_TEXT];
	struct world *w = &p->w;

	addr_format(listen_addr(p->listener), at);
	(void)str_fmt(w->endpoint, sizeof(w->endpoint), "%s://%s", p->tls ? "https" : "http", at);
	(void)str_fmt(w->ws_endpoint, sizeof(w->ws_endpoint), "%s://%s", p->tls ? "wss" : "ws", at);
}

static int make_world(struct program *p, const struct options *o, struct err *e)
{
	struct world *w = &p->w;

	w->opts = o;
	w->dice.state = 1;
	keys_init(&w->keys);
	ssh_keys_init(&w->ssh_keys, w);
	list_init(&w->legs);
	list_init(&w->conns);
	if (instances_copy(&w->instances, &o->instances, e) != 0 || loop_new(&w->loop, e) != 0)
		return -1;
	world_set_faults(w, &o->faults);
	w->hash = wire_hash_new(e);
	w->sessions = sessions_new(w, e);
	if (!w->hash || !w->sessions)
		return -1;
	if (keys_add_static(&w->keys, KEYS_ACCOUNT, o->access_key_id, o->secret_access_key, e) != 0)
		return -1;
	for (size_t i = 0; i < o->accounts; i++)
		if (keys_add_account(&w->keys, o->account[i], e) != 0)
			return -1;
	return 0;
}

static int start(struct program *p, const struct options *o, struct err *e)
{
	if (make_world(p, o, e) != 0)
		return -1;
	if (o->tls) {
		if (ready_ca_path(&p->w, p->ca, sizeof(p->ca), e) != 0)
			return -1;
		p->tls = certs_make(o->region, p->ca, e);
		if (!p->tls)
			return -1;
	}
	p->term = signal_open(p->w.loop, SIGTERM, on_signal, p, e);
	p->intr = p->term ? signal_open(p->w.loop, SIGINT, on_signal, p, e) : NULL;
	if (!p->intr)
		return -1;
	p->listener = listen_open(p->w.loop, &o->listen, on_accept, p, e);
	if (!p->listener)
		return -1;
	name_endpoints(p);
	if (o->ready_file &&
	    ready_write(&p->w, o->ready_file, addr_port(listen_addr(p->listener)), p->ca, e) != 0)
		return -1;
	if (o->print_env)
		ready_print_env(&p->w, p->ca);
	log_info("localaws", "listening at %s", p->w.endpoint);
	return 0;
}

/* false: see loop_free() */
static bool finish(struct program *p)
{
	bool all_ended = true;

	if (p->listener)
		listen_close(p->listener);
	sessions_free(p->w.sessions);
	instances_free(&p->w.instances);
	keys_free(&p->w.keys);
	ssh_keys_free(&p->w.ssh_keys);
	wire_hash_free(p->w.hash);
	if (p->term)
		signal_close(p->term);
	if (p->intr)
		signal_close(p->intr);
	if (p->w.loop) {
		timer_disarm(p->w.loop, &p->end);
		all_ended = loop_free(p->w.loop);
	}
	SSL_CTX_free(p->tls);
	return all_ended;
}

static int run(const struct options *o)
{
	struct program p = { 0 };
	struct err e = { 0 };
	int status = 0;

	if (start(&p, o, &e) == 0) {
		loop_run(p.w.loop);
	} else {
		log_error("localaws", "%s", e.msg);
		status = err_exit_status(e.code);
	}
	if (!finish(&p)) {
		(void)fflush(NULL);
		_exit(status);
	}
	return status;
}

int main(int argc, char **argv)
{
	struct options o;
	struct err e = { 0 };
	int status = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	if (options_parse(argc, argv, &o, &e) != 0) {
		log_error("localaws", "%s", e.msg);
		return err_exit_status(e.code);
	}
	if (o.help)
		options_help();
	else if (o.version)
		printf("awsocks-localaws %s\n", AWSOCKS_VERSION);
	else
		status = run(&o);
	options_free(&o);
	return status;
}
