/*
 * `awsocks connect HOST PORT`: standard input and output to a destination, as an ssh ProxyCommand.
 *
 * Through a running awsocks it is what awsocks-bridge does too (cmd/bridge/through.c). The listener
 * is found by --to, then $AWSOCKS, then by asking the control socket. Here is the same on awsocks'
 * own loop, for --standalone:
 *
 *     stdin/stdout <== net/relay ==> a proxy's end, after a SOCKS5 handshake
 *
 * An instance's id for a host is another matter: connect_instance.c.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/control.h"
#include "cmd/awsocks/connect.h"
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/word_option.h"
#include "cmd/bridge/ask.h"
#include "cmd/bridge/through.h"
#include "cmd/bridge/user.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/relay.h"
#include "net/stdio_stream.h"
#include "net/tcp.h"
#include "stream/stream.h"

enum { REPLY_LIMIT_MS = 60000 };

struct connection {
	struct loop *loop;
	const struct connect_args *args;
	struct stream *proxy;
	struct net_relay *relay; /* then proxy is its */
	bool stopped;
	struct buf in; /* the listener's answer so far */
	struct loop_timer limit;
	struct err err;
};

static void end(struct connection *c)
{
	loop_stop(c->loop);
}

/* --- the relay -------------------------------------------------------- */

static void on_relayed(void *arg, const struct relay_result *r)
{
	struct connection *c = arg;

	if (r->why && r->why->code != ERR_CLOSED)
		c->err = *r->why;
	end(c);
}

static int relay(struct connection *c, const uint8_t *early, size_t n)
{
	struct stream *stdio = stdio_stream_new(c->loop, STDIN_FILENO, STDOUT_FILENO, &c->err);

	if (!stdio)
		return -1;
	c->relay = net_relay_start(c->loop, c->proxy, stdio, early, n, on_relayed, c);
	if (c->relay)
		return 0;
	stream_close(stdio);
	return err_set(&c->err, ERR_NOMEM, "relay");
}

/* --- the handshake ---------------------------------------------------- */

static void fail(struct connection *c)
{
	timer_disarm(c->loop, &c->limit);
	stream_close(c->proxy);
}

static void on_closed(void *arg, const struct err *why)
{
	struct connection *c = arg;

	timer_disarm(c->loop, &c->limit);
	if (c->err.code == ERR_NONE && why)
		c->err = *why;
	else if (c->err.code == ERR_NONE)
		(void)err_set(&c->err, ERR_CLOSED, "the proxy closed the connection");
	end(c);
}

static void on_eof(void *arg)
{
	fail(arg);
}

static void on_writable(void *arg)
{
	(void)arg; /* the request fits a socket's buffer */
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct connection *c = arg;
	const uint8_t *at;
	size_t used;
	int granted;

	if (buf_add(&c->in, p, n, &c->err) != 0) {
		fail(c);
		return;
	}
	at = buf_ptr(&c->in);
	granted = ask_answer(at, buf_len(&c->in), c->args->host, c->args->port, &used, &c->err);
	if (granted < 0)
		fail(c);
	if (granted <= 0)
		return;
	timer_disarm(c->loop, &c->limit);
	if (relay(c, at + used, buf_len(&c->in) - used) != 0)
		fail(c);
}

static const struct stream_handler handler = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};

static void on_limit(void *arg)
{
	struct connection *c = arg;

	(void)err_set(&c->err, ERR_TIMEOUT, "%s:%u: no answer from the proxy within %d s",
		      c->args->host, c->args->port, REPLY_LIMIT_MS / 1000);
	fail(c);
}

/* Greeting and request at once. Takes fd. */
static void ask(struct connection *c, int fd)
{
	uint8_t request[ASK_REQUEST];
	size_t n = ask_request(c->args->host, c->args->port, request);

	c->proxy = tcp_stream_new(c->loop, fd, &c->err);
	if (!c->proxy) {
		end(c);
		return;
	}
	stream_attach(c->proxy, &handler, c);
	stream_credit(c->proxy, RELAY_WINDOW);
	timer_arm(c->loop, &c->limit, REPLY_LIMIT_MS, on_limit, c);
	if (stream_write(c->proxy, request, n) != n)
		fail(c);
}

static void stop_now(void *arg)
{
	struct connection *c = arg;

	if (c->stopped)
		return;
	c->stopped = true;
	if (c->relay)
		net_relay_abort(c->relay);
	else if (c->proxy)
		fail(c);
}

int connect_over(struct loop *loop, int fd, const struct connect_args *a, struct connect_stop *stop,
		 struct err *e)
{
	struct connection c = { .loop = loop, .args = a };

	if (stop)
		*stop = (struct connect_stop){ stop_now, &c };
	buf_init(&c.in, RELAY_WINDOW);
	ask(&c, fd);
	loop_run(loop);
	buf_free(&c.in);
	if (stop)
		stop->fn = NULL;
	if (!c.err.code || c.stopped)
		return 0;
	*e = c.err;
	return -1;
}

/* --- the command ------------------------------------------------------ */

/* The address of the listener with that name, or of the first (name NULL). NULL: none. */
static const char *pick_listener(const struct cJSON *status, const char *name)
{
	const struct cJSON *l;

	cJSON_ArrayForEach(l, cJSON_GetObjectItemCaseSensitive(status, "listeners"))
	{
		const char *its = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(l, "name"));

		if (!name || (its && strcmp(its, name) == 0))
			return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(l, "address"));
	}
	return NULL;
}

static int listener_from_control(const char *given, const char *name, char out[static ADDR_TEXT],
				 struct err *e)
{
	const char *address;
	struct cJSON *reply;
	char path[PATH_TEXT];
	int result = 0;

	if (setup_control_path(given, path, e) != 0 || control_ask(path, "status", &reply, e) != 0)
		return err_wrap(e, "which listener? (--to, AWSOCKS, --standalone)");
	address = pick_listener(cJSON_GetObjectItemCaseSensitive(reply, "status"), name);
	if (!address || !str_fmt(out, ADDR_TEXT, "%s", address))
		result = name ? err_set(e, ERR_USAGE,
					"--to: the running awsocks has no listener '%.60s': "
					"awsocks status lists them",
					name)
			      : err_set(e, ERR_PROTO, "the running awsocks has no listener");
	cJSON_Delete(reply);
	return result;
}

static int find_listener(const struct connect_args *a, struct addr *at, struct err *e)
{
	const char *from_env = getenv("AWSOCKS");
	char text[ADDR_TEXT];

	if (a->to && strchr(a->to, ':'))
		return through_parse(a->to, at, e) == 0 ? 0 : err_wrap(e, "--to");
	if (!a->to && from_env && *from_env)
		return through_parse(from_env, at, e) == 0 ? 0 : err_wrap(e, "AWSOCKS");
	if (listener_from_control(a->control, a->to, text, e) != 0)
		return -1;
	return addr_parse(text, at, e);
}

static int by_listener(const struct connect_args *a, struct err *e)
{
	struct user user;
	struct addr at;

	if (find_listener(a, &at, e) != 0 || user_find(&user, a->user_file, e) != 0)
		return -1;
	return through_listener(&at, &user, a->host, a->port, e);
}

static int parse(int argc, char **argv, struct connect_args *a, struct err *e)
{
	uint64_t port;
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "--standalone") == 0)
			a->standalone = true;
		else if (word_option(argc, argv, &at, "--to", &a->to))
			continue;
		else if (word_option(argc, argv, &at, "--control", &a->control))
			continue;
		else if (word_option(argc, argv, &at, "--user-file", &a->user_file))
			continue;
		else if (strcmp(argv[at], "--") == 0) {
			at++;
			break;
		} else {
			break; /* the rest is for --standalone, or wrong */
		}
	}
	a->rest = argv + at;
	a->rest_count = argc - at;
	if (a->rest_count < 2)
		return err_set(
			e, ERR_USAGE,
			"connect: usage: awsocks connect [--to LISTENER] [--user-file FILE] HOST "
			"PORT, or awsocks connect --standalone [options] HOST PORT");
	a->host = argv[argc - 2];
	a->rest_count -= 2;
	if (str_number(argv[argc - 1], 1, 65535, &port, e) != 0)
		return err_wrap(e, "connect: port");
	a->port = (uint16_t)port;
	if (!*a->host || strlen(a->host) > 255)
		return err_set(e, ERR_USAGE, "connect: host name of 1 to 255 bytes expected");
	if (a->user_file && a->standalone)
		return err_set(e, ERR_USAGE,
			       "connect: --user-file is for a listener, and "
			       "--standalone asks none");
	a->instance = !a->to && !a->control && !a->user_file && connect_names_instance(a->host);
	if (a->rest_count && !a->standalone && !a->instance)
		return err_set(e, ERR_USAGE, "connect: unknown argument '%s'", a->rest[0]);
	return 0;
}

int cmd_connect(int argc, char **argv)
{
	struct connect_args a = { 0 };
	struct err e = { 0 };

	if (parse(argc, argv, &a, &e) == 0 && (a.instance     ? connect_instance(&a, &e)
					       : a.standalone ? connect_standalone(&a, &e)
							      : by_listener(&a, &e)) == 0)
		return 0;
	fprintf(stderr, "awsocks: %s\n", e.msg);
	return err_exit_status(e.code);
}
