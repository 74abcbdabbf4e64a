#include "cmd/localaws/session.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/str.h"
#include "cmd/localaws/agent.h"
#include "cmd/localaws/gateway.h"
#include "cmd/localaws/wire.h"
#include "cmd/localaws/world.h"

enum {
	SESSIONS_MAX = 1000,  /* the agent's SessionWorkersLimit */
	TOMBS_MAX = 1000,     /* ended sessions that are remembered */
	WORKER_START_MS = 30, /* what it takes the agent to start a worker */
};

struct tomb {
	struct list node;
	char id[SESSION_ID];
	struct session_params params;
	int64_t began_ms, ended_ms;
};
struct sessions {
	struct world *w;
	struct list live, over;
	size_t live_count, over_count;
};

/* --- the table --- */

struct sessions *sessions_new(struct world *w, struct err *e)
{
	struct sessions *t = mem_alloc(sizeof(*t));

	if (!t) {
		(void)err_set(e, ERR_NOMEM, "sessions");
		return NULL;
	}
	t->w = w;
	list_init(&t->live);
	list_init(&t->over);
	return t;
}

static void bury(struct sessions *t, const struct session *s)
{
	struct tomb *tomb = mem_alloc(sizeof(*tomb));

	if (!tomb)
		return;
	memcpy(tomb->id, s->id, sizeof(tomb->id));
	tomb->params = s->params;
	tomb->began_ms = s->began_ms;
	tomb->ended_ms = world_wall_ms(t->w);
	list_add_tail(&t->over, &tomb->node);
	if (++t->over_count <= TOMBS_MAX)
		return;
	mem_free(CONTAINER_OF(list_pop(&t->over), struct tomb, node));
	t->over_count--;
}

static void free_session(struct session *s)
{
	struct sessions *t = s->w->sessions;

	if (s->leg)
		leg_orphan(s->leg);
	timer_disarm(s->w->loop, &s->start);
	timer_disarm(s->w->loop, &s->idle);
	loop_unpost(&s->end_post);
	agent_free(s->agent);
	line_free(&s->to_agent);
	line_free(&s->to_client);
	list_del(&s->node);
	t->live_count--;
	s->w->stats.sessions_open--;
	bury(t, s);
	mem_wipe(s->token, sizeof(s->token));
	mem_free(s);
}

void sessions_free(struct sessions *t)
{
	if (!t)
		return;
	while (!list_empty(&t->live))
		free_session(CONTAINER_OF(t->live.next, struct session, node));
	while (!list_empty(&t->over))
		mem_free(CONTAINER_OF(list_pop(&t->over), struct tomb, node));
	mem_free(t);
}

struct session *session_find(struct world *w, const char *id)
{
	LIST_EACH (it, &w->sessions->live) {
		struct session *s = CONTAINER_OF(it, struct session, node);

		if (strcmp(s->id, id) == 0 && !s->ended)
			return s;
	}
	return NULL;
}

bool session_is_over(struct world *w, const char *id)
{
	LIST_EACH (it, &w->sessions->over)
		if (strcmp(CONTAINER_OF(it, struct tomb, node)->id, id) == 0)
			return true;
	return false;
}

static const char *status_of(const struct session *s)
{
	if (s->ended)
		return "Terminating";
	return s->leg ? "Connected" : s->was_open ? "Disconnected" : "Connecting";
}

void sessions_list(struct world *w, bool live, void (*each)(void *, const struct session_note *),
		   void *arg)
{
	const struct list *all = live ? &w->sessions->live : &w->sessions->over;

	for (struct list *it = all->prev; it != all; it = it->prev) {
		const struct session *s = CONTAINER_OF(it, const struct session, node);
		const struct tomb *t = CONTAINER_OF(it, const struct tomb, node);
		struct session_note note;

		if (live)
			note = (struct session_note){ s->id, status_of(s), &s->params, s->began_ms,
						      0 };
		else
			note = (struct session_note){ t->id, "Terminated", &t->params, t->began_ms,
						      t->ended_ms };
		each(arg, &note);
	}
}

/* --- messages of the gateway's own --- */

static void publication(struct world *w, const char *type, uint8_t *out, size_t *n)
{
	static const uint8_t nothing[] = "{}";
	struct wire_msg m = { .schema = 1, .flags = 3, .payload = nothing, .payload_len = 2 };

	(void)str_fmt(m.type, sizeof(m.type), "%s", type);
	m.created_ms = (uint64_t)world_wall_ms(w);
	dice_uuid(&w->dice, m.id);
	wire_encode(&m, WIRE_SPACES, w->hash, out);
	*n = wire_size(WIRE_SPACES, m.payload_len);
}

static void tell_agent(struct session *s, const char *type)
{
	uint8_t bytes[WIRE_PAYLOAD_AT + 8];
	size_t n;

	publication(s->w, type, bytes, &n);
	agent_receive(s->agent, bytes, n);
}

static void tell_client(struct session *s, const char *type)
{
	uint8_t bytes[WIRE_PAYLOAD_AT + 8];
	size_t n;

	publication(s->w, type, bytes, &n);
	leg_send(s->leg, bytes, n);
}

static char *closed_text(const struct session *s, const uint8_t id[static 16])
{
	cJSON *root = cJSON_CreateObject();
	char uuid[WIRE_UUID_TEXT], date[25], *text;

	wire_uuid_text(id, uuid);
	clock_iso(world_wall_ms(s->w), date);
	cJSON_AddStringToObject(root, "MessageId", uuid);
	cJSON_AddStringToObject(root, "CreatedDate", date);
	cJSON_AddStringToObject(root, "DestinationId", s->id);
	cJSON_AddStringToObject(root, "SessionId", s->id);
	cJSON_AddStringToObject(root, "MessageType", "channel_closed");
	cJSON_AddNumberToObject(root, "SchemaVersion", 1);
	cJSON_AddStringToObject(root, "Output", s->output);
	text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	return text;
}

static void send_closed(struct session *s)
{
	enum wire_form form = fault_on(&s->w->faults, FAULT_CHANNEL_CLOSED_116) ? WIRE_SPACES
										: WIRE_SHORT_NUL;
	struct wire_msg m = { .type = "channel_closed", .schema = 1 };
	char *text;
	uint8_t *bytes;
	size_t n;

	dice_uuid(&s->w->dice, m.id);
	m.created_ms = (uint64_t)world_wall_ms(s->w);
	text = closed_text(s, m.id);
	if (!text)
		return;
	m.payload = (const uint8_t *)text;
	m.payload_len = strlen(text);
	n = wire_size(form, m.payload_len);
	bytes = mem_alloc(n);
	if (bytes) {
		wire_encode(&m, form, s->w->hash, bytes);
		leg_send(s->leg, bytes, n);
	}
	mem_free(bytes);
	cJSON_free(text);
}

/* --- the lines --- */

/* A stopped instance says nothing more, not even that it stops. */
static bool agent_gone(const struct session *s)
{
	const struct instance *in = instances_find(&s->w->instances, s->params.target);

	return fault_on(&s->w->faults, FAULT_AGENT_GONE) ||
	       (in && (in->state == INSTANCE_STOPPED || in->state == INSTANCE_TERMINATED));
}

static void reach_agent(void *arg, const uint8_t *p, size_t n)
{
	struct session *s = arg;

	if (s->agent && agent_gone(s)) {
		agent_free(s->agent);
		s->agent = NULL;
	}
	if (s->agent) {
		agent_receive(s->agent, p, n);
	} else if (s->leg) {
		s->w->stats.pauses++;
		tell_client(s, "pause_publication");
	}
}

static void reach_client(void *arg, const uint8_t *p, size_t n)
{
	struct session *s = arg;

	if (s->leg) {
		s->w->stats.messages_out++;
		leg_send(s->leg, p, n);
	} else if (s->agent) {
		tell_agent(s, "pause_publication");
	}
}

void session_from_client(struct session *s, const uint8_t *p, size_t n)
{
	struct wire_msg m;

	s->w->stats.messages_in++;
	if (wire_decode(p, n, &m, NULL) != 0) {
		s->w->stats.messages_bad++;
	} else {
		uint8_t digest[32];

		wire_digest(s->w->hash, m.payload, m.payload_len, digest);
		if (memcmp(digest, m.digest, 32) != 0)
			s->w->stats.digests_bad++;
		if (strcmp(m.type, "input_stream_data") == 0)
			s->input_ms = world_now_ms(s->w);
	}
	line_send(&s->to_agent, p, n);
}

void session_from_agent(struct session *s, const uint8_t *p, size_t n)
{
	if (!agent_gone(s))
		line_send(&s->to_client, p, n);
}

bool session_room(const struct session *s)
{
	return s->leg && leg_room(s->leg);
}

bool session_reads(const struct session *s)
{
	return !s->leg || leg_room(s->leg);
}

bool session_full(const struct session *s)
{
	return s->agent && agent_full(s->agent);
}

void session_room_again(struct session *s)
{
	if (s->agent)
		agent_room_again(s->agent);
}

void session_emptied(struct session *s)
{
	if (s->leg)
		leg_read_on(s->leg);
}

/* --- life --- */

static void start_agent(void *arg)
{
	struct session *s = arg;

	s->agent = agent_start(s);
	if (!s->agent) {
		session_end(s, "out of memory");
		return;
	}
	if (s->leg)
		tell_client(s, "start_publication");
	agent_greet(s->agent);
}

static void check_idle(void *arg)
{
	struct session *s = arg;
	uint64_t quiet = world_now_ms(s->w) - s->input_ms, limit = s->w->opts->idle_ms;
	char text[200];

	if (quiet < limit) {
		timer_arm(s->w->loop, &s->idle, limit - quiet, check_idle, s);
		return;
	}
	(void)str_fmt(text, sizeof(text),
		      "SessionId: %s : Your session timed out due to inactivity and has been "
		      "terminated.",
		      s->id);
	session_end(s, text);
}

void session_new_token(struct session *s)
{
	uint8_t raw[90];

	random_bytes(raw, sizeof(raw));
	str_base64(raw, sizeof(raw), s->token);
	mem_wipe(raw, sizeof(raw));
	s->token_good = true;
	s->token_ms = s->input_ms = world_now_ms(s->w);
}

bool session_takes(const struct session *s, const char *token)
{
	const struct faults *f = &s->w->faults;
	double age_s = (double)(world_now_ms(s->w) - s->token_ms) / 1000;

	if (fault_on(f, FAULT_EXPIRE_TOKEN) && age_s >= fault_value(f, FAULT_EXPIRE_TOKEN, 0))
		return false;
	return s->token_good && secret_equal(s->token, strlen(s->token), token, strlen(token));
}

/* base64 with '+' and '/' in it for certain. */
static void make_query(struct session *s)
{
	uint8_t raw[18];
	char cell[32];

	random_bytes(raw, sizeof(raw));
	str_base64(raw, sizeof(raw), cell);
	cell[3] = '+';
	cell[9] = '/';
	(void)str_fmt(s->url_query, sizeof(s->url_query), "role=publish_subscribe&cell-number=%s",
		      cell);
}

static void make_id(struct session *s, const char *owner)
{
	uint8_t raw[9];
	char hex[19];

	random_bytes(raw, sizeof(raw));
	str_hex(raw, sizeof(raw), hex);
	(void)str_fmt(s->id, sizeof(s->id), "%.64s-0%.17s", owner, hex);
}

static void init_lines(struct session *s)
{
	line_init(&s->to_agent, s->w, reach_agent, s);
	s->to_agent.lose = FAULT_LOSE_CLIENT;
	s->to_agent.repeat = FAULT_REPEAT_CLIENT;
	s->to_agent.reorder = FAULT_REORDER_CLIENT;
	s->to_agent.delay = FAULT_DELAY;
	line_init(&s->to_client, s->w, reach_client, s);
	s->to_client.lose = FAULT_LOSE_AGENT;
	s->to_client.repeat = FAULT_REPEAT_AGENT;
	s->to_client.reorder = FAULT_REORDER_AGENT;
	s->to_client.delay = FAULT_DELAY;
}

struct session *session_start(struct world *w, const struct session_params *p, const char *owner,
			      struct err *e)
{
	struct session *s;

	if (w->sessions->live_count >= SESSIONS_MAX) {
		(void)err_set(e, ERR_LIMIT, "%d sessions are open", SESSIONS_MAX);
		return NULL;
	}
	s = mem_alloc(sizeof(*s));
	if (!s) {
		(void)err_set(e, ERR_NOMEM, "session");
		return NULL;
	}
	s->w = w;
	s->params = *p;
	s->began_ms = world_wall_ms(w);
	make_id(s, owner);
	make_query(s);
	session_new_token(s);
	init_lines(s);
	list_add_tail(&w->sessions->live, &s->node);
	w->sessions->live_count++;
	w->stats.sessions++;
	w->stats.sessions_open++;
	timer_arm(w->loop, &s->start,
		  (uint64_t)fault_value(&w->faults, FAULT_SLOW_START, WORKER_START_MS), start_agent,
		  s);
	timer_arm(w->loop, &s->idle, w->opts->idle_ms, check_idle, s);
	return s;
}

void session_url(const struct session *s, char *out, size_t size)
{
	(void)str_fmt(out, size, "%s/v1/data-channel/%s?%s", s->w->ws_endpoint, s->id,
		      s->url_query);
}

void session_join(struct session *s, struct leg *leg)
{
	if (s->leg) {
		leg_orphan(s->leg);
		s->leg = NULL;
	}
	s->leg = leg;
	s->token_good = false;
	if (s->was_open)
		s->w->stats.resumes++;
	s->was_open = true;
	if (s->agent) {
		tell_agent(s, "start_publication");
		agent_room_again(s->agent);
	}
}

void session_leave(struct session *s, struct leg *leg)
{
	if (s->leg != leg)
		return;
	s->leg = NULL;
	session_room_again(s);
}

static void end_now(void *arg)
{
	struct session *s = arg;
	struct leg *leg = s->leg;

	log_debug("mgs", "session %s is over: %s", s->id, s->output);
	if (leg)
		send_closed(s);
	free_session(s);
}

void session_end(struct session *s, const char *output)
{
	if (s->ended)
		return;
	s->ended = true;
	(void)str_fmt(s->output, sizeof(s->output), "%s", output);
	loop_post(s->w->loop, &s->end_post, end_now, s);
}

void sessions_end_of(struct world *w, const char *target)
{
	LIST_EACH (it, &w->sessions->live) {
		struct session *s = CONTAINER_OF(it, struct session, node);

		if (strcmp(s->params.target, target) == 0)
			session_end(s, "");
	}
}
