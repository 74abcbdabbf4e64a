#ifndef TESTS_SSM_WORLD_H
#define TESTS_SSM_WORLD_H
/*
 * The world around the SSM backend, for its unit tests: a loop whose clock the
 * test turns, AWS, credentials, EC2, websockets, and behind them agents. The
 * functions of net/, credentials/aws.h and ec2/ are defined here, so that the
 * linker takes them and not those of the library. One program includes this once.
 *
 * An agent acts by the name of the host it is asked for: "echo", "hello" (speaks
 * first), "silent", "refuse", "slam" (accepts and closes), "nohost", "forbidden".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/ssm/message.h"
#include "backend/ssm/smux_frame.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "credentials/aws.h"
#include "credentials/provider.h"
#include "ec2/instance.h"
#include "net/dialer.h"
#include "net/loop.h"
#include "net/process.h"
#include "net/tcp.h"
#include "net/ws.h"

enum { SESSIONS_MAX = 64, OUT_MAX = 8192, STREAMS_MAX = 512, TIMERS_MAX = 4096 };

struct loop {
	struct clock clock;
	uint64_t now;
	struct list posts;
	struct loop_timer *timers[TIMERS_MAX];
	size_t timer_count;
};

struct out { /* what the agent has sent and nobody acknowledged */
	uint8_t *p;
	size_t n;
};

struct agent {
	char id[40], host[64], token[40];
	int connects;
	bool begun, complete, ended, silent;
	bool unreachable; /* its websocket is refused */
	bool zombie;      /* acknowledges, and carries nothing */
	bool raw;         /* of AWS-StartSSHSession: says what it is told, without frames */
	int syns;
	int64_t expected, next;
	struct out out[OUT_MAX];
	struct smux_parser parser;
	uint32_t open[STREAMS_MAX];
	size_t open_count;
	uint64_t bytes, flags_terminate, nops;
	struct ws *ws;
};

struct aws_call {
	struct list node;
	aws_fn *fn;
	void *arg;
	char op[40];
	char body[600];
	uint64_t at;
};
struct provider_call {
	struct list node;
	creds_fn *fn;
	void *arg;
};
struct ec2_call {
	struct list node;
	ec2_fn *fn;
	void *arg;
};
struct ec2_power {
	struct list node;
	ec2_power_fn *fn;
	void *arg;
	bool start;
};
struct parcel { /* from the agent to the client */
	struct list node;
	uint64_t at;
	size_t n;
	uint8_t p[];
};
struct ws {
	struct list node, parcels;
	const struct ws_handler *handler;
	void *arg;
	struct agent *agent;
	uint64_t open_at;
	bool open, closing, cut, refused, paused;
	int code;
	char authorization[400];
};
struct ws_context {
	int unused;
};
struct provider {
	int unused;
};
struct aws_client {
	int unused;
};

struct world {
	struct loop loop;
	struct ws_context ws_context;
	struct provider provider;
	struct aws_client aws;
	struct list calls, creds_calls, ec2_calls, power_calls, sockets;
	struct message_codec *codec;
	struct agent *agents[SESSIONS_MAX];
	int agent_count;
	/* counters */
	int starts, resumes, terminates, statuses, lookups, power_ons, power_offs;
	char last_start[600];
	/* behaviour */
	const char *start_code, *start_text; /* StartSession is refused */
	const char *no_document;             /* StartSession of that one is refused */
	const char *resume_code;             /* ResumeSession is refused; "gone": empty token */
	const char *status_code;             /* GetConnectionStatus is refused */
	const char *stream_url;              /* instead of the right one */
	const char *version;                 /* agent; NULL: new */
	const char *power_code;              /* StartInstances and StopInstances are refused */
	bool quiet_power;                    /* they are not answered */
	bool quiet_creds;
	bool not_connected, no_creds, ws_refused, mute, quiet_aws, mute_acks;
	bool quiet_resume; /* ResumeSession is not answered */
	unsigned latency;  /* ms, one way */
	int64_t skew_ms;
	bool no_room; /* the websocket takes nothing */
	struct ec2_instance instances[4];
	size_t instance_count;
};

static struct world *W;

/* --- the loop --- */

static uint64_t w_mono(const struct clock *c)
{
	(void)c;
	return W->loop.now;
}
static int64_t w_wall(const struct clock *c)
{
	(void)c;
	return 1700000000000 + (int64_t)W->loop.now;
}
uint64_t loop_now_ms(struct loop *l)
{
	return l->now;
}
const struct clock *loop_clock(struct loop *l)
{
	return &l->clock;
}

const struct clock *loop_turn_clock(struct loop *l)
{
	return &l->clock;
}
/* order: the place in our array */
void timer_disarm(struct loop *l, struct loop_timer *t)
{
	if (!t->armed)
		return;
	l->timers[t->order] = l->timers[--l->timer_count];
	l->timers[t->order]->order = t->order;
	t->armed = false;
}
void timer_arm(struct loop *l, struct loop_timer *t, uint64_t in_ms, loop_fn *fn, void *arg)
{
	timer_disarm(l, t);
	assert_true(l->timer_count < TIMERS_MAX);
	t->at_ms = l->now + in_ms;
	t->fn = fn;
	t->arg = arg;
	t->armed = true;
	t->order = l->timer_count;
	l->timers[l->timer_count++] = t;
}
void loop_post(struct loop *l, struct loop_post *p, loop_fn *fn, void *arg)
{
	if (list_linked(&p->node))
		return;
	p->fn = fn;
	p->arg = arg;
	list_add_tail(&l->posts, &p->node);
}
void loop_post_more(struct loop *l, struct loop_post *p, loop_fn *fn, void *arg)
{
	loop_post(l, p, fn, arg);
}
void loop_unpost(struct loop_post *p)
{
	list_del(&p->node);
}

/* --- AWS --- */

struct provider *aws_provider(struct aws_client *c)
{
	(void)c;
	return &W->provider;
}
const char *aws_region(const struct aws_client *c)
{
	(void)c;
	return "us-east-1";
}
int64_t aws_skew_ms(const struct aws_client *c)
{
	(void)c;
	return W->skew_ms;
}

int64_t aws_skew_at(const struct aws_client *c, const char *endpoint)
{
	(void)endpoint;
	return aws_skew_ms(c);
}
struct aws_call *aws_send(struct aws_client *client, const struct aws_request *r, aws_fn *fn,
			  void *arg, struct err *e)
{
	struct aws_call *c = calloc(1, sizeof(*c));

	(void)client;
	(void)e;
	c->fn = fn;
	c->arg = arg;
	c->at = W->loop.now + W->latency + 1;
	snprintf(c->op, sizeof(c->op), "%s", r->target + strlen("AmazonSSM."));
	snprintf(c->body, sizeof(c->body), "%s", r->body);
	list_add_tail(&W->calls, &c->node);
	return c;
}
void aws_cancel(struct aws_call *c)
{
	list_del(&c->node);
	free(c);
}
struct provider_call *provider_get(struct provider *p, creds_fn *fn, void *arg, struct err *e)
{
	struct provider_call *c = calloc(1, sizeof(*c));

	(void)p;
	(void)e;
	c->fn = fn;
	c->arg = arg;
	list_add_tail(&W->creds_calls, &c->node);
	return c;
}
void provider_cancel(struct provider_call *c)
{
	list_del(&c->node);
	free(c);
}
struct ec2_call *ec2_find(struct aws_client *a, const char *endpoint, const struct ec2_query *q,
			  ec2_fn *fn, void *arg, struct err *e)
{
	struct ec2_call *c = calloc(1, sizeof(*c));

	(void)a;
	(void)endpoint;
	(void)q;
	(void)e;
	W->lookups++;
	c->fn = fn;
	c->arg = arg;
	list_add_tail(&W->ec2_calls, &c->node);
	return c;
}
struct ec2_call *ec2_by_id(struct aws_client *a, const char *endpoint, const char *id, ec2_fn *fn,
			   void *arg, struct err *e)
{
	return ec2_find(a, endpoint, &(struct ec2_query){ .id = id }, fn, arg, e);
}
void ec2_cancel(struct ec2_call *c)
{
	if (!c)
		return;
	list_del(&c->node);
	free(c);
}

struct ec2_power *ec2_power(struct aws_client *a, const char *endpoint, const char *id, bool start,
			    unsigned limit_ms, ec2_power_fn *fn, void *arg, struct err *e)
{
	struct ec2_power *p = calloc(1, sizeof(*p));

	(void)a;
	(void)endpoint;
	(void)limit_ms;
	(void)e;
	assert_string_equal(id, W->instances[0].id);
	p->fn = fn;
	p->arg = arg;
	p->start = start;
	list_add_tail(&W->power_calls, &p->node);
	return p;
}
void ec2_power_cancel(struct ec2_power *p)
{
	if (!p)
		return;
	list_del(&p->node);
	free(p);
}

/* As EC2 has it: what is pending cannot be stopped, what is stopping cannot be started. */
static void power_answer(struct ec2_power *p)
{
	char before[EC2_STATE_TEXT], *now = W->instances[0].state;
	const char *odd = p->start ? "stopping" : "pending", *code = W->power_code;
	struct err e;

	snprintf(before, sizeof(before), "%s", now);
	if (!code && strcmp(now, odd) == 0)
		code = "IncorrectInstanceState";
	W->power_ons += p->start;
	W->power_offs += !p->start;
	(void)err_set(&e, ERR_AWS, "ec2: %s", code ? code : "");
	if (!code && p->start && strcmp(now, "stopped") == 0)
		snprintf(now, EC2_STATE_TEXT, "pending");
	if (!code && !p->start && strcmp(now, "running") == 0)
		snprintf(now, EC2_STATE_TEXT, "stopping");
	p->fn(p->arg, code ? NULL : before, code ? code : "", code ? &e : NULL);
	free(p);
}

static void aws_error(struct aws_call *c, const char *code, const char *text)
{
	struct err e;
	enum err_code class = strcmp(code, "TargetNotConnected") == 0 ? ERR_TARGET : ERR_AWS;

	(void)err_set(&e, class, "ssm: %s: %s: %s", c->op, code, text ? text : "");
	c->fn(c->arg, NULL, code, &e);
}

static void aws_answer(struct aws_call *c, const char *body)
{
	struct aws_reply r = { 200, body, strlen(body) };

	c->fn(c->arg, &r, "", NULL);
}

static void field(const char *body, const char *key, char *out, size_t size)
{
	const char *p = strstr(body, key);

	out[0] = '\0';
	if (!p)
		return;
	p += strlen(key);
	snprintf(out, size, "%.*s", (int)strcspn(p, "\""), p);
}

static void start_session(struct aws_call *c)
{
	struct agent *a;
	char body[400], document[64];

	W->starts++;
	snprintf(W->last_start, sizeof(W->last_start), "%s", c->body);
	if (W->start_code) {
		aws_error(c, W->start_code, W->start_text);
		return;
	}
	field(c->body, "\"DocumentName\":\"", document, sizeof(document));
	if (W->no_document && strcmp(W->no_document, document) == 0) {
		aws_error(c, "InvalidDocument", document);
		return;
	}
	assert_true(W->agent_count < SESSIONS_MAX);
	a = W->agents[W->agent_count++] = calloc(1, sizeof(*a));
	snprintf(a->id, sizeof(a->id), "s-%d", W->agent_count);
	snprintf(a->token, sizeof(a->token), "token-%d", W->agent_count);
	field(c->body, "\"host\":[\"", a->host, sizeof(a->host));
	a->raw = strcmp(document, "AWS-StartSSHSession") == 0;
	snprintf(body, sizeof(body),
		 "{\"SessionId\":\"%s\",\"TokenValue\":\"%s\",\"StreamUrl\":\"%s%s\"}", a->id,
		 a->token, W->stream_url ? W->stream_url : "ws://127.0.0.1:9/v1/data-channel/",
		 a->id);
	aws_answer(c, body);
}

static struct agent *agent_named(const char *id)
{
	for (int i = 0; i < W->agent_count; i++)
		if (strcmp(W->agents[i]->id, id) == 0)
			return W->agents[i];
	fail_msg("no session %s", id);
	return NULL;
}

static void resume_session(struct aws_call *c)
{
	char id[40], body[200];
	struct agent *a;

	W->resumes++;
	field(c->body, "\"SessionId\":\"", id, sizeof(id));
	a = agent_named(id);
	if (W->resume_code && strcmp(W->resume_code, "gone") != 0) {
		aws_error(c, W->resume_code, "");
		return;
	}
	snprintf(a->token, sizeof(a->token), "%s", W->resume_code ? "" : "again");
	snprintf(body, sizeof(body), "{\"SessionId\":\"%s\",\"TokenValue\":\"%s\"}", id, a->token);
	aws_answer(c, body);
}

static void aws_process(struct aws_call *c)
{
	char id[40];

	list_del(&c->node);
	if (strcmp(c->op, "StartSession") == 0) {
		start_session(c);
	} else if (strcmp(c->op, "ResumeSession") == 0) {
		resume_session(c);
	} else if (strcmp(c->op, "TerminateSession") == 0) {
		W->terminates++;
		field(c->body, "\"SessionId\":\"", id, sizeof(id));
		agent_named(id)->ended = true;
		aws_answer(c, "{}");
	} else {
		W->statuses++;
		if (W->status_code)
			aws_error(c, W->status_code, "");
		else
			aws_answer(c, W->not_connected ? "{\"Status\":\"notconnected\"}"
						       : "{\"Status\":\"connected\"}");
	}
	free(c);
}

static void answer_others(void)
{
	struct list *it;

	while (!W->quiet_power && (it = list_pop(&W->power_calls)) != NULL)
		power_answer(CONTAINER_OF(it, struct ec2_power, node));
	while (!W->quiet_creds && (it = list_pop(&W->creds_calls)) != NULL) {
		struct provider_call *c = CONTAINER_OF(it, struct provider_call, node);
		struct creds *creds = creds_new("AKID", "secret", "session", 0, NULL, "test", NULL);
		struct err e;

		(void)err_set(&e, W->no_creds ? ERR_CREDS : ERR_NOMEM,
			      "no credentials; run aws sso login");
		c->fn(c->arg, W->no_creds ? NULL : creds, W->no_creds || !creds ? &e : NULL);
		creds_unref(creds);
		free(c);
	}
	while ((it = list_pop(&W->ec2_calls)) != NULL) {
		struct ec2_call *c = CONTAINER_OF(it, struct ec2_call, node);

		c->fn(c->arg, W->instances, W->instance_count, NULL);
		free(c);
	}
}

/* --- the agent --- */

static void to_client(struct ws *ws, const void *p, size_t n)
{
	struct parcel *k = malloc(sizeof(*k) + n);

	k->node = (struct list){ 0 };
	k->at = W->loop.now + W->latency + 1;
	k->n = n;
	memcpy(k->p, p, n);
	list_add_tail(&ws->parcels, &k->node);
}

static void agent_send(struct agent *a, enum message_type type, uint32_t ptype, const void *p,
		       size_t n)
{
	uint8_t *wire = malloc(MESSAGE_HEADER + n);
	bool numbered = type == MESSAGE_OUTPUT;
	struct message m = { .type = type,
			     .payload_type = ptype,
			     .payload = p,
			     .payload_len = n,
			     .seq = numbered ? a->next : 0,
			     .created_ms = 1 };

	message_random_id(W->codec, m.id);
	assert_int_equal(message_encode(W->codec, &m, wire, NULL), 0);
	if (n)
		memcpy(wire + MESSAGE_HEADER, p, n);
	if (a->ws && a->ws->open)
		to_client(a->ws, wire, MESSAGE_HEADER + n);
	if (numbered) {
		assert_null(a->out[a->next % OUT_MAX].p);
		a->out[a->next++ % OUT_MAX] = (struct out){ wire, MESSAGE_HEADER + n };
	} else {
		free(wire);
	}
}

static void agent_frame(struct agent *a, enum smux_cmd cmd, uint32_t id, const void *p, size_t n)
{
	uint8_t wire[SMUX_HEADER + 65535];

	smux_header(wire, cmd, (uint16_t)n, id);
	if (n)
		memcpy(wire + SMUX_HEADER, p, n);
	agent_send(a, MESSAGE_OUTPUT, PAYLOAD_OUTPUT, wire, SMUX_HEADER + n);
}

static inline void agent_closes(struct agent *a, const char *output)
{
	char json[400];

	a->ended = true;
	snprintf(json, sizeof(json), "{\"SessionId\":\"%s\",\"Output\":\"%s\"}", a->id, output);
	agent_send(a, MESSAGE_CLOSED, 0, json, strlen(json));
}

static bool forget_stream(struct agent *a, uint32_t id)
{
	for (size_t i = 0; i < a->open_count; i++)
		if (a->open[i] == id) {
			a->open[i] = a->open[--a->open_count];
			return true;
		}
	return false;
}

static void agent_accepts(struct agent *a, uint32_t id)
{
	static const uint8_t flag[4] = { 0, 0, 0, FLAG_CONNECT_ERROR };

	if (strcmp(a->host, "refuse") == 0) {
		agent_send(a, MESSAGE_OUTPUT, PAYLOAD_FLAG, flag, 4);
		agent_frame(a, SMUX_FIN, id, NULL, 0);
		return;
	}
	if (strcmp(a->host, "slam") == 0) {
		agent_frame(a, SMUX_FIN, id, NULL, 0);
		return;
	}
	assert_true(a->open_count < STREAMS_MAX);
	a->open[a->open_count++] = id;
	if (strcmp(a->host, "hello") == 0)
		agent_frame(a, SMUX_PSH, id, "hello", 5);
}

static void agent_bytes(struct agent *a, const uint8_t *p, size_t n)
{
	struct smux_frame f;

	while (smux_parse(&a->parser, &p, &n, &f, NULL) == 1) {
		if (f.cmd == SMUX_SYN) {
			a->syns++;
			agent_accepts(a, f.id);
		} else if (f.cmd == SMUX_NOP) {
			a->nops++;
		} else if (f.cmd == SMUX_PSH) {
			a->bytes += f.n;
			if (strcmp(a->host, "echo") == 0)
				agent_frame(a, SMUX_PSH, f.id, f.p, f.n);
		} else if (forget_stream(a, f.id)) {
			agent_frame(a, SMUX_FIN, f.id, NULL, 0);
		}
	}
}

static void agent_ready(struct agent *a)
{
	agent_send(a, MESSAGE_OUTPUT, PAYLOAD_HANDSHAKE_COMPLETE, "{}", 2);
	a->complete = true;
	if (strcmp(a->host, "nohost") == 0)
		agent_closes(a, "lookup nohost on 10.0.0.2:53: no such host");
	if (strcmp(a->host, "forbidden") == 0)
		agent_closes(a, "Forwarding to IP address 169.254.169.254 is forbidden.");
}

static void agent_acks(struct agent *a, const struct message *m)
{
	char json[MESSAGE_ACK_MAX];
	size_t n = message_ack_json(m, json);

	if (!W->mute_acks)
		agent_send(a, MESSAGE_ACK, 0, json, n);
}

static void agent_input(struct agent *a, const uint8_t *p, size_t n)
{
	struct message m;
	int64_t seq;

	assert_int_equal(message_decode(W->codec, p, n, &m, NULL), 0);
	if (m.type == MESSAGE_ACK) {
		assert_int_equal(message_ack_parse(m.payload, m.payload_len, &seq, NULL), 0);
		free(a->out[seq % OUT_MAX].p);
		a->out[seq % OUT_MAX].p = NULL;
		return;
	}
	assert_int_equal(m.type, MESSAGE_INPUT);
	if (a->silent)
		return;
	if (m.seq > a->expected)
		return; /* not kept, so not acknowledged */
	agent_acks(a, &m);
	if (m.seq < a->expected)
		return;
	a->expected++;
	if (m.payload_type == PAYLOAD_HANDSHAKE_RESPONSE) {
		agent_ready(a);
	} else if (m.payload_type == PAYLOAD_FLAG) {
		a->flags_terminate++;
		agent_closes(a, "");
	} else {
		assert_true(a->complete);
		if (a->raw)
			agent_send(a, MESSAGE_OUTPUT, PAYLOAD_OUTPUT, m.payload, m.payload_len);
		else if (!a->zombie)
			agent_bytes(a, m.payload, m.payload_len);
	}
}

static void agent_opened(struct agent *a, const char *text)
{
	char request[400], token[40];

	field(text, "\"TokenValue\":\"", token, sizeof(token));
	if (!token[0] || strcmp(token, a->token) != 0) {
		a->ws->cut = true;
		a->ws->code = 1003;
		return;
	}
	a->token[0] = '\0'; /* good once */
	a->connects++;
	if (a->begun) { /* resumed: what was not acknowledged goes again */
		for (int64_t s = 0; s < a->next; s++)
			if (a->out[s % OUT_MAX].p)
				to_client(a->ws, a->out[s % OUT_MAX].p, a->out[s % OUT_MAX].n);
		return;
	}
	a->begun = true;
	if (W->mute)
		return;
	snprintf(request, sizeof(request),
		 "{\"AgentVersion\":\"%s\",\"RequestedClientActions\":[{\"ActionType\":"
		 "\"SessionType\",\"ActionParameters\":{\"SessionType\":\"Port\"}}]}",
		 W->version ? W->version : "3.3.1142.0");
	agent_send(a, MESSAGE_OUTPUT, PAYLOAD_HANDSHAKE_REQUEST, request, strlen(request));
}

/* --- websockets --- */

struct ws *ws_open(struct ws_context *c, const struct ws_opts *o, const struct ws_handler *h,
		   void *arg, struct err *e)
{
	struct ws *ws = calloc(1, sizeof(*ws));

	(void)c;
	(void)e;
	ws->handler = h;
	ws->arg = arg;
	ws->agent = agent_named(strrchr(o->url, '/') + 1);
	ws->open_at = W->loop.now + W->latency + 1;
	ws->refused = W->ws_refused || ws->agent->unreachable;
	for (size_t i = 0; i < o->header_count; i++)
		if (strcmp(o->headers[i].name, "Authorization") == 0)
			snprintf(ws->authorization, sizeof(ws->authorization), "%s",
				 o->headers[i].value);
	list_init(&ws->parcels);
	list_add_tail(&W->sockets, &ws->node);
	return ws;
}
bool ws_send(struct ws *ws, bool text, const void *p, size_t n)
{
	char copy[1024];

	if (!ws->open || ws->cut)
		return true; /* lost */
	if (W->no_room)
		return false;
	if (text) {
		snprintf(copy, sizeof(copy), "%.*s", (int)n, (const char *)p);
		agent_opened(ws->agent, copy);
	} else {
		agent_input(ws->agent, p, n);
	}
	return true;
}
bool ws_send_soon(struct ws *ws, const void *p, size_t n, unsigned within_ms)
{
	(void)within_ms;
	return ws_send(ws, false, p, n);
}
void ws_pause(struct ws *ws, bool paused)
{
	ws->paused = paused;
}
void ws_close(struct ws *ws)
{
	ws->closing = true;
}

static void ws_ended(struct ws *ws)
{
	struct list *it;
	struct err e;

	(void)err_set(&e, ERR_RESET, ws->refused ? "403 Forbidden" : "connection reset");
	list_del(&ws->node);
	if (ws->agent->ws == ws)
		ws->agent->ws = NULL;
	ws->handler->closed(ws->arg, ws->code, ws->code ? "Bye" : "", ws->closing ? NULL : &e);
	while ((it = list_pop(&ws->parcels)) != NULL)
		free(CONTAINER_OF(it, struct parcel, node));
	free(ws);
}

static void ws_turn(struct ws *ws)
{
	if (ws->closing || ws->cut || (ws->refused && W->loop.now >= ws->open_at)) {
		ws_ended(ws);
		return;
	}
	if (!ws->open && W->loop.now >= ws->open_at) {
		ws->open = true;
		ws->agent->ws = ws;
		ws->handler->open(ws->arg);
	}
	while (!ws->paused && !ws->closing && !ws->cut && !list_empty(&ws->parcels)) {
		struct parcel *k = CONTAINER_OF(ws->parcels.next, struct parcel, node);

		if (k->at > W->loop.now)
			break;
		list_del(&k->node);
		ws->handler->message(ws->arg, false, k->p, k->n);
		free(k);
	}
}

/* --- time --- */

static void run_posts(void)
{
	struct list *it;
	int n = 0;

	while ((it = list_pop(&W->loop.posts)) != NULL) {
		struct loop_post *p = CONTAINER_OF(it, struct loop_post, node);

		assert_true(++n < 100000); /* posts that post for ever */
		p->fn(p->arg);
	}
}

static void run_timers(void)
{
	for (size_t i = 0; i < W->loop.timer_count;) {
		struct loop_timer *t = W->loop.timers[i];

		if (t->at_ms > W->loop.now) {
			i++;
			continue;
		}
		timer_disarm(&W->loop, t);
		t->fn(t->arg);
		i = 0;
	}
}

static void turn(void)
{
	run_posts();
	W->loop.now++;
	run_timers();
	LIST_EACH (it, &W->calls) {
		struct aws_call *c = CONTAINER_OF(it, struct aws_call, node);

		if (W->quiet_resume && strcmp(c->op, "ResumeSession") == 0)
			continue;
		if (!W->quiet_aws && c->at <= W->loop.now) {
			aws_process(c);
			break;
		}
	}
	answer_others();
	LIST_EACH (it, &W->sockets)
		ws_turn(CONTAINER_OF(it, struct ws, node));
	run_posts();
}

static void run(unsigned ms)
{
	while (ms--)
		turn();
}

#define RUN_UNTIL(condition, ms)                                            \
	do {                                                                \
		for (unsigned left_ = (ms); left_ && !(condition); left_--) \
			turn();                                             \
		assert_true(condition);                                     \
	} while (0)

static inline void cut_all(int code)
{
	LIST_EACH (it, &W->sockets) {
		CONTAINER_OF(it, struct ws, node)->cut = true;
		CONTAINER_OF(it, struct ws, node)->code = code;
	}
}

static void world_begin(void)
{
	W = calloc(1, sizeof(*W));
	W->loop.clock = (struct clock){ w_mono, w_wall };
	W->loop.now = 5000;
	W->latency = 2;
	list_init(&W->loop.posts);
	list_init(&W->calls);
	list_init(&W->creds_calls);
	list_init(&W->ec2_calls);
	list_init(&W->power_calls);
	list_init(&W->sockets);
	W->codec = message_codec_new(NULL);
}

static void world_end(void)
{
	run(5);
	assert_true(list_empty(&W->sockets));
	assert_true(list_empty(&W->calls));
	assert_true(list_empty(&W->power_calls));
	assert_true(list_empty(&W->loop.posts));
	assert_int_equal(W->loop.timer_count, 0);
	for (int i = 0; i < W->agent_count; i++) {
		for (int k = 0; k < OUT_MAX; k++)
			free(W->agents[i]->out[k].p);
		free(W->agents[i]);
	}
	message_codec_free(W->codec);
	free(W);
}

/* --- what only the ssh transport uses: none of it here --- */

struct process *process_start(struct loop *l, const struct process_opts *o, process_fn *done,
			      void *arg, struct err *e)
{
	(void)l;
	(void)o;
	(void)done;
	(void)arg;
	(void)err_set(e, ERR_UNSUPPORTED, "no programs here");
	return NULL;
}
void process_cancel(struct process *p)
{
	assert_null(p);
}
struct listen_socket *listen_open(struct loop *l, const struct addr *at, accepted_fn *fn, void *arg,
				  struct err *e)
{
	(void)l;
	(void)at;
	(void)fn;
	(void)arg;
	(void)err_set(e, ERR_UNSUPPORTED, "no listeners here");
	return NULL;
}
void listen_close(struct listen_socket *s)
{
	assert_null(s);
}
struct net_dial *net_dial_addr(struct loop *l, const struct addr *to, const struct net_dial_opts *o,
			       net_dialed_fn *done, void *arg, struct err *e)
{
	(void)l;
	(void)to;
	(void)o;
	(void)done;
	(void)arg;
	(void)err_set(e, ERR_UNSUPPORTED, "no dials here");
	return NULL;
}
void net_dial_cancel(struct net_dial *d)
{
	assert_null(d);
}
struct stream *tcp_stream_adopt(struct loop *l, int fd, struct err *e)
{
	(void)l;
	(void)fd;
	(void)err_set(e, ERR_UNSUPPORTED, "no sockets here");
	return NULL;
}
#endif
