#include "cmd/awsocks/control.h"

#include <cjson/cJSON.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/tcp.h"
#include "stream/stream.h"

enum {
	LINE_MAX_BYTES = 4096,
	REPLY_MAX = 4 * 1024 * 1024,
	CLIENTS_MAX = 16,
	CLIENT_LIMIT_MS = 5000
};

struct control {
	struct loop *loop;
	struct listen_socket *socket;
	const struct control_ops *ops;
	void *arg;
	struct list clients;
	unsigned count;
	struct loop_post stop;
	struct loop_post gone;
	loop_fn *closed; /* set: closing, and free when the last client has gone */
	void *closed_arg;
};

struct client {
	struct list node;
	struct control *control;
	struct stream *stream;
	struct buf in, out;
	struct loop_timer limit;
	bool answered;
};

static void push(struct client *c)
{
	buf_drop(&c->out, stream_write(c->stream, buf_ptr(&c->out), buf_len(&c->out)));
	if (c->answered && !buf_len(&c->out))
		stream_close(c->stream);
}

static void stop_now(void *arg)
{
	struct control *k = arg;

	k->ops->stop(k->arg);
}

static void fill(struct control *k, const char *command, const char *value, struct cJSON *reply)
{
	struct err e = { 0 };

	if (command && strcmp(command, "status") == 0) {
		k->ops->status(k->arg, cJSON_AddObjectToObject(reply, "status"));
	} else if (command && strcmp(command, "reload") == 0) {
		(void)(k->ops->reload(k->arg, &e) == 0);
	} else if (command && strcmp(command, "mfa") == 0) {
		(void)(k->ops->mfa(k->arg, value, &e) == 0);
	} else if (command && strcmp(command, "vm") == 0) {
		(void)(k->ops->vm(k->arg, value ? value : "", reply, &e) == 0);
	} else if (command && strcmp(command, "stop") == 0) {
		/* After the answer: stopping closes this very client. */
		loop_post(k->loop, &k->stop, stop_now, k);
	} else {
		(void)err_set(&e, ERR_USAGE, "control: unknown command");
	}
	cJSON_AddBoolToObject(reply, "ok", e.code == ERR_NONE);
	if (e.code == ERR_NONE)
		return;
	cJSON_AddStringToObject(reply, "error", e.msg);
	cJSON_AddNumberToObject(reply, "exit", err_exit_status(e.code));
}

static void answer(struct client *c, const char *line, size_t n)
{
	struct cJSON *ask = cJSON_ParseWithLength(line, n), *reply = cJSON_CreateObject();
	char *text;

	fill(c->control, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(ask, "cmd")),
	     cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(ask, "value")), reply);
	text = cJSON_PrintUnformatted(reply);
	if (!text || buf_addf(&c->out, NULL, "%s\n", text) != 0)
		buf_clear(&c->out);
	cJSON_free(text);
	cJSON_Delete(reply);
	cJSON_Delete(ask);
	c->answered = true;
	push(c);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct client *c = arg;
	const uint8_t *end;

	if (c->answered)
		return;
	if (buf_add(&c->in, p, n, NULL) != 0) {
		stream_close(c->stream);
		return;
	}
	end = memchr(buf_ptr(&c->in), '\n', buf_len(&c->in));
	if (end)
		answer(c, (const char *)buf_ptr(&c->in), (size_t)(end - buf_ptr(&c->in)));
	else if (!buf_room(&c->in)) /* no line of ours is that long */
		stream_close(c->stream);
}

static void on_eof(void *arg)
{
	struct client *c = arg;

	if (!c->answered)
		stream_close(c->stream);
}

static void on_writable(void *arg)
{
	push(arg);
}

static void free_control(void *arg)
{
	struct control *k = arg;
	loop_fn *closed = k->closed;
	void *closed_arg = k->closed_arg;

	mem_free(k);
	closed(closed_arg);
}

static void on_closed(void *arg, const struct err *why)
{
	struct client *c = arg;
	struct control *k = c->control;

	(void)why;
	timer_disarm(k->loop, &c->limit);
	list_del(&c->node);
	k->count--;
	buf_free(&c->in);
	buf_free(&c->out);
	mem_free(c);
	if (k->closed && !k->count)
		loop_post(k->loop, &k->gone, free_control, k);
}

static void on_limit(void *arg)
{
	struct client *c = arg;

	stream_close(c->stream);
}

static const struct stream_handler handler = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	struct control *k = arg;
	struct client *c = k->count < CLIENTS_MAX ? mem_alloc(sizeof(*c)) : NULL;

	(void)peer;
	if (!c) {
		close(fd);
		return;
	}
	c->stream = tcp_stream_new(k->loop, fd, NULL);
	if (!c->stream) {
		mem_free(c);
		return;
	}
	c->control = k;
	buf_init(&c->in, LINE_MAX_BYTES);
	buf_init(&c->out, REPLY_MAX);
	list_add_tail(&k->clients, &c->node);
	k->count++;
	stream_attach(c->stream, &handler, c);
	stream_credit(c->stream, LINE_MAX_BYTES);
	timer_arm(k->loop, &c->limit, CLIENT_LIMIT_MS, on_limit, c);
}

struct control *control_open(struct loop *loop, const char *path, const struct control_ops *ops,
			     void *arg, struct err *e)
{
	struct control *k = mem_alloc(sizeof(*k));
	struct addr at;
	char text[sizeof("unix:") + 1024];

	if (!k) {
		(void)err_set(e, ERR_NOMEM, "control socket");
		return NULL;
	}
	k->loop = loop;
	k->ops = ops;
	k->arg = arg;
	list_init(&k->clients);
	(void)!str_fmt(text, sizeof(text), "unix:%s", path);
	if (addr_parse(text, &at, e) != 0)
		goto fail;
	k->socket = listen_open(loop, &at, on_accept, k, e);
	if (!k->socket)
		goto fail;
	return k;
fail:
	(void)err_wrap(e, "control socket");
	mem_free(k);
	return NULL;
}

void control_close(struct control *k, loop_fn *closed, void *arg)
{
	loop_unpost(&k->stop);
	listen_close(k->socket);
	k->closed = closed;
	k->closed_arg = arg;
	LIST_EACH (node, &k->clients) {
		struct client *c = CONTAINER_OF(node, struct client, node);

		stream_close(c->stream);
	}
	if (!k->count)
		loop_post(k->loop, &k->gone, free_control, k);
}
