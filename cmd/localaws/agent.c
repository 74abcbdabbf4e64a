/*
 *   HandshakeRequest -> (15 s) HandshakeResponse -> HandshakeComplete
 *     -> the session's host is resolved -> plugin runs -> drain -> end
 *
 * During the handshake everything but a response is acknowledged, counted
 * and thrown away. Between HandshakeComplete and the plugin's readiness data
 * is refused without acknowledgement. A second response blocks the reader for
 * good, because in the real agent nobody reads the channel it is put on
 * (ssm-protocol 6).
 */
#include "cmd/localaws/agent.h"

#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/localaws/channel.h"
#include "cmd/localaws/plugin.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/target.h"
#include "cmd/localaws/version.h"
#include "cmd/localaws/world.h"

enum { HANDSHAKE_MS = 15000, DRAIN_MS = 2000, DRAIN_STEP_MS = 10 };

/* Version gates (ssm-protocol 13). */
#define CLIENT_MUX            "1.1.70"
#define CLIENT_NO_KEEPALIVE   "1.2.331.0" /* above it */
#define AGENT_TERMINATE_FLAG  "2.3.722.0" /* above it */
#define AGENT_MUX             "3.0.196.0" /* above it */
#define AGENT_REMOTE_HOST     "3.1.1188.0"
#define AGENT_NEVER_KEEPALIVE "3.1.1446.0"
#define AGENT_ASKS_CLIENT     "3.1.1575.0"
#define AGENT_ACKS_DUPLICATES "3.2.1041.0"
#define AGENT_RESOLVES_ONCE   "3.2.1041.0"

enum agent_state {
	AGENT_WAITING = 0, /* for the response */
	AGENT_SETTLING,    /* HandshakeComplete is sent, and not yet noted */
	AGENT_STARTING,    /* the plugin is not ready */
	AGENT_RUNNING,
	AGENT_DRAINING,
};

struct agent {
	struct world *w;
	struct session *session;
	struct channel ch;
	enum agent_state state;
	bool answered; /* a response came */
	char client_version[32];
	struct target target;
	struct plugin *plugin;
	struct loop_timer timer;
	struct timespec began;
	uint64_t settled_ms, drain_until_ms;
	char output[320];
};

static void finish(struct agent *a, const char *output);

/* --- handshake --- */

static cJSON *session_type_action(const struct session_params *p)
{
	cJSON *action = cJSON_CreateObject();
	cJSON *params = cJSON_AddObjectToObject(action, "ActionParameters");
	cJSON *properties;

	cJSON_AddStringToObject(action, "ActionType", "SessionType");
	cJSON_AddStringToObject(params, "SessionType", "Port");
	properties = cJSON_AddObjectToObject(params, "Properties");
	if (p->kind == SESSION_REMOTE_HOST)
		cJSON_AddStringToObject(properties, "host", p->host);
	if (p->kind != SESSION_SSH)
		cJSON_AddStringToObject(properties, "localPortNumber", p->local_port);
	cJSON_AddStringToObject(properties, "portNumber", p->port);
	if (p->kind != SESSION_SSH)
		cJSON_AddStringToObject(properties, "type", "LocalPortForwarding");
	return action;
}

static void add_action(cJSON *actions, const char *type, const char *key, const char *value)
{
	cJSON *action = cJSON_CreateObject();

	cJSON_AddStringToObject(action, "ActionType", type);
	cJSON_AddStringToObject(cJSON_AddObjectToObject(action, "ActionParameters"), key, value);
	cJSON_AddItemToArray(actions, action);
}

static void send_json(struct agent *a, enum wire_payload type, cJSON *root)
{
	char *text = cJSON_PrintUnformatted(root);

	if (text)
		channel_send(&a->ch, type, text, strlen(text));
	cJSON_free(text);
	cJSON_Delete(root);
}

static void send_request(struct agent *a)
{
	cJSON *root = cJSON_CreateObject();
	cJSON *actions;

	cJSON_AddStringToObject(root, "AgentVersion", a->w->opts->agent_version);
	actions = cJSON_AddArrayToObject(root, "RequestedClientActions");
	cJSON_AddItemToArray(actions, session_type_action(&a->session->params));
	if (fault_on(&a->w->faults, FAULT_ASK_KMS))
		add_action(actions, "KMSEncryption", "KMSKeyId", "arn:aws:kms:example");
	if (fault_on(&a->w->faults, FAULT_ASK_UNKNOWN))
		add_action(actions, "Juggle", "Balls", "3");
	send_json(a, WIRE_HANDSHAKE_REQUEST, root);
}

static void handshake_late(void *arg)
{
	finish(arg, "Encountered error while initiating handshake. Handshake timed out. Please "
		    "ensure that you have the latest version of the session manager plugin.");
}

static bool agent_is(const struct agent *a, const char *at_least)
{
	return version_compare(a->w->opts->agent_version, at_least) >= 0;
}

static bool uses_mux(const struct agent *a)
{
	return a->session->params.kind != SESSION_SSH &&
	       version_compare(a->w->opts->agent_version, AGENT_MUX) > 0 &&
	       version_compare(a->client_version, CLIENT_MUX) >= 0;
}

static bool uses_keepalive(const struct agent *a)
{
	if (agent_is(a, AGENT_ASKS_CLIENT))
		return version_compare(a->client_version, CLIENT_NO_KEEPALIVE) <= 0;
	return !agent_is(a, AGENT_NEVER_KEEPALIVE);
}

static void plugin_ended(void *arg, const char *output)
{
	finish(arg, output);
}

static void run_plugin(struct agent *a)
{
	struct plugin_ctx ctx = {
		.w = a->w, .ch = &a->ch, .target = &a->target, .ended = plugin_ended, .arg = a
	};

	if (uses_mux(a)) {
		ctx.keepalive = uses_keepalive(a);
		a->plugin = plugin_mux_new(&ctx);
	} else {
		ctx.reconnect = a->session->params.kind != SESSION_SSH;
		a->plugin = plugin_basic_new(&ctx);
	}
	log_debug("agent", "%s: %s session to %s:%s for client %s", a->session->id,
		  uses_mux(a) ? "mux" : "basic", a->session->params.host, a->session->params.port,
		  a->client_version);
	a->state = AGENT_RUNNING;
	if (a->plugin)
		channel_kick(&a->ch);
	else
		finish(a, "out of memory");
}

static void on_resolved(void *arg, const struct err *why)
{
	struct agent *a = arg;

	/* Older agents give the name to each dial, and only that fails. */
	bool of_dial = why && why->code == ERR_RESOLVE && !agent_is(a, AGENT_RESOLVES_ONCE);

	if (why && !of_dial)
		finish(a, why->msg);
	else if (a->state == AGENT_STARTING)
		run_plugin(a);
}

static void start_plugin(void *arg)
{
	struct agent *a = arg;
	const struct session_params *p = &a->session->params;
	/* Agents before it do not read `host`. */
	bool remote = p->kind == SESSION_REMOTE_HOST && agent_is(a, AGENT_REMOTE_HOST);
	struct err e = { 0 };
	uint64_t port = 0;

	a->state = AGENT_STARTING;
	if (str_number(p->port, 1, 65535, &port, &e) != 0) {
		finish(a, e.msg);
		return;
	}
	target_init(&a->target, a->w, p->account, remote ? p->host : "localhost", (uint16_t)port);
	if (target_resolve(&a->target, on_resolved, a, &e) != 0)
		finish(a, e.msg);
}

static double elapsed_ns(const struct agent *a)
{
	struct timespec now = a->began;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - a->began.tv_sec) * 1e9 +
	       (double)(now.tv_nsec - a->began.tv_nsec);
}

static void complete(struct agent *a)
{
	double gap = fault_value(&a->w->faults, FAULT_EARLY_DATA_GAP, 0);
	cJSON *root = cJSON_CreateObject();

	cJSON_AddNumberToObject(root, "HandshakeTimeToComplete", elapsed_ns(a));
	cJSON_AddStringToObject(root, "CustomerMessage",
				fault_on(&a->w->faults, FAULT_CUSTOMER_MESSAGE)
					? "Maintenance at noon.\r\nBe quick."
					: "");
	send_json(a, WIRE_HANDSHAKE_COMPLETE, root);
	a->state = AGENT_SETTLING;
	a->settled_ms = world_now_ms(a->w) + (uint64_t)gap;
	timer_arm(a->w->loop, &a->timer, (uint64_t)gap, start_plugin, a);
}

/* NULL: every action succeeded; otherwise the Output. */
static const char *failed_action(const cJSON *root, char *text, size_t size)
{
	const cJSON *actions = cJSON_GetObjectItem(root, "ProcessedClientActions"), *action;

	cJSON_ArrayForEach(action, actions)
	{
		const cJSON *status = cJSON_GetObjectItem(action, "ActionStatus");
		const cJSON *type = cJSON_GetObjectItem(action, "ActionType");
		const cJSON *error = cJSON_GetObjectItem(action, "Error");

		if (cJSON_IsNumber(status) && status->valueint == 1)
			continue;
		(void)str_fmt(text, size,
			      "Encountered error while initiating handshake. %.60s failed on "
			      "client with status %d error: %.120s",
			      cJSON_IsString(type) ? type->valuestring : "action",
			      cJSON_IsNumber(status) ? status->valueint : 0,
			      cJSON_IsString(error) ? error->valuestring : "");
		return text;
	}
	return NULL;
}

static enum channel_take response(struct agent *a, const uint8_t *p, size_t n)
{
	cJSON *root = cJSON_ParseWithLength((const char *)p, n);
	const cJSON *version = cJSON_GetObjectItem(root, "ClientVersion");
	char text[256];
	const char *failed;

	if (!cJSON_IsObject(root)) {
		cJSON_Delete(root);
		log_warn("agent", "HandshakeResponse is not JSON");
		return CHANNEL_NOT_READY;
	}
	a->answered = true;
	(void)str_fmt(a->client_version, sizeof(a->client_version), "%s",
		      cJSON_IsString(version) ? version->valuestring : "");
	failed = failed_action(root, text, sizeof(text));
	if (failed)
		finish(a, failed);
	else
		complete(a);
	cJSON_Delete(root);
	return CHANNEL_TAKEN;
}

/* --- the channel's handler --- */

static enum channel_take handshake_input(struct agent *a, uint32_t type, const uint8_t *p, size_t n)
{
	if (type == WIRE_HANDSHAKE_RESPONSE)
		return response(a, p, n);
	if (type != WIRE_CHALLENGE_RESPONSE)
		a->w->stats.early_data_swallowed++;
	return CHANNEL_TAKEN;
}

static bool is_terminate(uint32_t type, const uint8_t *p, size_t n)
{
	return type == WIRE_FLAG && n == 4 && p[3] == WIRE_TERMINATE && !p[0] && !p[1] && !p[2];
}

static enum channel_take on_input(void *arg, uint32_t type, const uint8_t *p, size_t n)
{
	struct agent *a = arg;

	if (type == WIRE_HANDSHAKE_RESPONSE && a->answered) {
		log_info("agent", "%s: a second HandshakeResponse blocks the reader for good",
			 a->session->id);
		return CHANNEL_BUSY;
	}
	if (a->state == AGENT_SETTLING && world_now_ms(a->w) > a->settled_ms) {
		/* A machine that stood still makes the gap no longer than it was to be. */
		timer_disarm(a->w->loop, &a->timer);
		start_plugin(a);
	}
	if (a->state == AGENT_WAITING || a->state == AGENT_SETTLING)
		return handshake_input(a, type, p, n);
	if (a->state == AGENT_STARTING)
		return CHANNEL_NOT_READY;
	if (a->state == AGENT_DRAINING)
		return CHANNEL_TAKEN;
	if (is_terminate(type, p, n) &&
	    version_compare(a->w->opts->agent_version, AGENT_TERMINATE_FLAG) > 0) {
		finish(a, "");
		return CHANNEL_TAKEN;
	}
	return a->plugin->ops->input(a->plugin, type, p, n);
}

static void on_output(void *arg, const uint8_t *p, size_t n)
{
	session_from_agent(((struct agent *)arg)->session, p, n);
}

static bool on_room(void *arg)
{
	return session_room(((struct agent *)arg)->session);
}

static bool on_reads(void *arg)
{
	return session_reads(((struct agent *)arg)->session);
}

static void on_resumed(void *arg)
{
	struct agent *a = arg;

	if (a->plugin)
		a->plugin->ops->wake(a->plugin);
}

static void on_emptied(void *arg)
{
	session_emptied(((struct agent *)arg)->session);
}

static const struct channel_ops channel_ops = { on_input, on_output,  on_room,
						on_reads, on_resumed, on_emptied };

/* --- life --- */

static void drain(void *arg)
{
	struct agent *a = arg;

	if (channel_all_acked(&a->ch) || world_now_ms(a->w) >= a->drain_until_ms)
		session_end(a->session, a->output);
	else
		timer_arm(a->w->loop, &a->timer, DRAIN_STEP_MS, drain, a);
}

/* What was sent gets two seconds to be acknowledged; then the session is over. */
static void finish(struct agent *a, const char *output)
{
	if (a->state == AGENT_DRAINING)
		return;
	a->state = AGENT_DRAINING;
	(void)str_fmt(a->output, sizeof(a->output), "%s", output);
	if (a->plugin)
		a->plugin->ops->stop(a->plugin);
	a->plugin = NULL;
	a->drain_until_ms = world_now_ms(a->w) + DRAIN_MS;
	timer_arm(a->w->loop, &a->timer, 0, drain, a);
}

struct agent *agent_start(struct session *s)
{
	struct agent *a = mem_alloc(sizeof(*a));

	if (!a)
		return NULL;
	a->w = s->w;
	a->session = s;
	(void)clock_gettime(CLOCK_MONOTONIC, &a->began);
	channel_init(&a->ch, s->w, &channel_ops, a);
	a->ch.ack_duplicates = agent_is(a, AGENT_ACKS_DUPLICATES);
	timer_arm(s->w->loop, &a->timer, HANDSHAKE_MS, handshake_late, a);
	return a;
}

void agent_greet(struct agent *a)
{
	send_request(a);
}

void agent_receive(struct agent *a, const uint8_t *p, size_t n)
{
	channel_receive(&a->ch, p, n);
}

bool agent_full(const struct agent *a)
{
	return channel_full(&a->ch);
}

void agent_room_again(struct agent *a)
{
	channel_kick(&a->ch);
	if (a->plugin)
		a->plugin->ops->wake(a->plugin);
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	timer_disarm(a->w->loop, &a->timer);
	if (a->plugin)
		a->plugin->ops->stop(a->plugin);
	target_free(&a->target);
	channel_free(&a->ch);
	mem_free(a);
}
