#include "cmd/localaws/gateway.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/localaws/session.h"
#include "cmd/localaws/world.h"
#include "cmd/localaws/wsframe.h"
#include "net/loop.h"
#include "stream/stream.h"

enum {
	MESSAGE_MAX = 2 * 1024 * 1024,
	TURN_FRAMES = 6, /* parsed at once, or so many bytes: then others have their turn */
	TURN_BYTES = 20 * 1024,
	WINDOW = 256 * 1024,  /* bytes read ahead */
	OUT_SOFT = 64 * 1024, /* beyond it the agent waits */
	OUT_MAX = 64 * 1024 * 1024,
	OPEN_LIMIT_MS = 15000, /* for the text message */
	TICK_MS = 50,
	PING_MS = 54000, /* 5.4 of the agent's */
	CLOSE_LIMIT_MS = 2000,
};

enum leg_state { LEG_OPENING = 0, LEG_OPEN, LEG_CLOSING };

struct leg {
	struct list node; /* in world.legs */
	struct world *w;
	struct stream *stream;
	struct session *session; /* while open, and not orphaned */
	enum leg_state state;
	char session_id[SESSION_ID];
	struct buf in, out, message;
	bool message_text, in_message, full, frozen, cut, eof;
	size_t granted;
	uint64_t born_ms, closing_ms, ping_ms, bytes;
	struct loop_timer tick;
	struct loop_post flush_post, parse_post;
};

static void parse(void *arg);

/* --- out --- */

static void cut(struct leg *l)
{
	if (l->cut)
		return;
	l->cut = true;
	l->w->stats.websocket_drops++;
	stream_abort(l->stream);
}

static void count(struct leg *l, size_t n)
{
	double limit = fault_value(&l->w->faults, FAULT_DROP_WS_AFTER_BYTES, 0);

	l->bytes += n;
	if (limit > 0 && (double)l->bytes >= limit)
		cut(l);
}

static void flush(void *arg)
{
	struct leg *l = arg;
	size_t n;

	if (l->frozen || l->cut)
		return;
	n = stream_write(l->stream, buf_ptr(&l->out), buf_len(&l->out));
	buf_drop(&l->out, n);
	l->w->stats.ws_bytes_out += n;
	count(l, n);
	if (l->full && buf_len(&l->out) < OUT_SOFT / 2) {
		l->full = false;
		if (l->session)
			session_room_again(l->session);
	}
	if (l->state == LEG_CLOSING && buf_len(&l->out) == 0)
		stream_close(l->stream);
}

static void put(struct leg *l, enum wsframe_op op, bool fin, const void *p, size_t n)
{
	uint8_t head[WSFRAME_HEAD_MAX];
	size_t head_len = wsframe_head(op, fin, n, head);

	if (l->cut || buf_room(&l->out) < head_len + n ||
	    buf_add(&l->out, head, head_len, NULL) != 0 || buf_add(&l->out, p, n, NULL) != 0) {
		l->w->stats.messages_lost++;
		return;
	}
	if (buf_len(&l->out) >= OUT_SOFT)
		l->full = true;
	loop_post_last(l->w->loop, &l->flush_post, flush, l);
}

/* With the fault: fragments, and a ping between two of them, which is allowed. */
static void put_fragments(struct leg *l, const uint8_t *p, size_t n, size_t part)
{
	bool first = true;

	do {
		size_t len = n < part ? n : part;

		put(l, first ? WSFRAME_BINARY : WSFRAME_CONTINUE, len == n, p, len);
		if (first && len < n)
			put(l, WSFRAME_PING, true, "between", 7);
		first = false;
		p += len;
		n -= len;
	} while (n);
}

void leg_send(struct leg *l, const uint8_t *p, size_t n)
{
	double part = fault_value(&l->w->faults, FAULT_FRAGMENT, 0);

	if (part >= 1 && (double)n > part)
		put_fragments(l, p, n, (size_t)part);
	else
		put(l, WSFRAME_BINARY, true, p, n);
}

bool leg_room(const struct leg *l)
{
	return buf_len(&l->out) < OUT_SOFT;
}

/* A close frame behind what waits, and then the end of the connection. */
static void close_with(struct leg *l, unsigned code, const char *reason)
{
	char body[WSFRAME_CONTROL_MAX + 1];
	size_t n = strlen(reason);

	if (l->state == LEG_CLOSING)
		return;
	l->state = LEG_CLOSING;
	l->closing_ms = world_now_ms(l->w);
	if (n > WSFRAME_CONTROL_MAX - 2)
		n = WSFRAME_CONTROL_MAX - 2;
	body[0] = (char)(code >> 8);
	body[1] = (char)code;
	memcpy(body + 2, reason, n);
	put(l, WSFRAME_CLOSE, true, body, n + 2);
	if (l->session)
		session_leave(l->session, l);
	l->session = NULL;
}

/* --- in --- */

static const char *refuse_open(const struct leg *l, const struct session *s, const cJSON *root,
			       char *text, size_t size)
{
	const cJSON *token = cJSON_GetObjectItem(root, "TokenValue");

	if (!cJSON_IsString(token) || !*token->valuestring)
		(void)str_fmt(text, size,
			      "Channel %s: request to open data channel does not contain token.",
			      l->session_id);
	else if (!s || !session_takes(s, token->valuestring))
		(void)str_fmt(text, size, "Channel %s: token is invalid or expired.",
			      l->session_id);
	else
		return NULL;
	return text;
}

static void open_message(struct leg *l, const uint8_t *p, size_t n)
{
	cJSON *root = cJSON_ParseWithLength((const char *)p, n);
	struct session *s = session_find(l->w, l->session_id);
	char text[WSFRAME_CONTROL_MAX];
	const char *why = refuse_open(l, s, root, text, sizeof(text));

	cJSON_Delete(root);
	if (why) {
		log_info("mgs", "%s", why);
		close_with(l, 1003, why);
		return;
	}
	l->state = LEG_OPEN;
	l->session = s;
	session_join(s, l);
}

static void whole_message(struct leg *l, bool text, const uint8_t *p, size_t n)
{
	if (text && l->state == LEG_OPENING)
		open_message(l, p, n);
	else if (!text && l->state == LEG_OPEN && l->session)
		session_from_client(l->session, p, n);
	/* A binary message may come before the open message when a client
	 * reconnects (ssm-protocol 2): it is skipped. */
}

static int data_frame(struct leg *l, const struct wsframe *f, const uint8_t *p, struct err *e)
{
	bool first = f->op != WSFRAME_CONTINUE;

	if (first == l->in_message)
		return err_set(e, ERR_PROTO, "fragments out of order");
	if (first)
		l->message_text = f->op == WSFRAME_TEXT;
	if (first && f->fin) {
		whole_message(l, l->message_text, p, f->len);
		return 0;
	}
	l->in_message = !f->fin;
	if (buf_add(&l->message, p, f->len, e) != 0)
		return -1;
	if (f->fin) {
		whole_message(l, l->message_text, buf_ptr(&l->message), buf_len(&l->message));
		buf_clear(&l->message);
	}
	return 0;
}

static int frame_in(struct leg *l, const struct wsframe *f, struct err *e)
{
	/* The bytes are ours: unmasked in place. */
	uint8_t *p = (uint8_t *)(uintptr_t)f->payload;

	wsframe_unmask(f, p);
	if (f->op == WSFRAME_PING) {
		put(l, WSFRAME_PONG, true, p, f->len);
	} else if (f->op == WSFRAME_CLOSE) {
		close_with(l, f->len >= 2 ? (unsigned)p[0] << 8 | p[1] : 1000u, "");
	} else if (f->op != WSFRAME_PONG) {
		return data_frame(l, f, p, e);
	}
	return 0;
}

static bool may_parse(const struct leg *l)
{
	return l->state != LEG_CLOSING && !l->frozen && !l->cut &&
	       !(l->session && session_full(l->session));
}

static void parse(void *arg)
{
	struct leg *l = arg;
	size_t all = buf_len(&l->in);
	struct err e = { 0 };

	for (int i = 0; may_parse(l); i++) {
		struct wsframe f;
		enum wsframe_step step;

		if (i == TURN_FRAMES || all - buf_len(&l->in) >= TURN_BYTES) {
			loop_post_more(l->w->loop, &l->parse_post, parse, l);
			return;
		}
		step = wsframe_decode(buf_ptr(&l->in), buf_len(&l->in), MESSAGE_MAX, &f, &e);
		if (step == WSFRAME_MORE) {
			if (l->eof)
				break;
			stream_credit(l->stream, WINDOW - l->granted);
			l->granted = WINDOW;
			return;
		}
		if (step == WSFRAME_BAD || frame_in(l, &f, &e) != 0) {
			log_warn("mgs", "websocket of %s: %s", l->session_id, e.msg);
			close_with(l, e.code == ERR_LIMIT ? 1009 : 1002, e.msg);
			return;
		}
		buf_drop(&l->in, f.used);
	}
	if (l->eof)
		stream_close(l->stream);
}

void leg_read_on(struct leg *l)
{
	loop_post(l->w->loop, &l->parse_post, parse, l);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct leg *l = arg;

	l->granted -= n;
	l->w->stats.ws_bytes_in += n;
	count(l, n);
	if (l->state == LEG_CLOSING || l->cut) {
		l->granted += n;
		stream_credit(l->stream, n);
		return;
	}
	if (buf_add(&l->in, p, n, NULL) != 0) {
		close_with(l, 1011, "out of memory");
		return;
	}
	if (!list_linked(&l->parse_post.node))
		parse(l);
}

static void on_eof(void *arg)
{
	struct leg *l = arg;

	l->eof = true;
	if (!list_linked(&l->parse_post.node))
		stream_close(l->stream);
}

static void on_writable(void *arg)
{
	flush(arg);
}

static void on_closed(void *arg, const struct err *why)
{
	struct leg *l = arg;

	(void)why;
	if (l->session)
		session_leave(l->session, l);
	l->w->stats.websockets_open--;
	l->w->stats.connections_open--;
	list_del(&l->node);
	timer_disarm(l->w->loop, &l->tick);
	loop_unpost(&l->flush_post);
	loop_unpost(&l->parse_post);
	buf_free(&l->in);
	buf_free(&l->out);
	buf_free(&l->message);
	mem_free(l);
}

static const struct stream_handler handler = { on_data, on_eof, on_writable, on_closed };

/* --- time --- */

static bool older(const struct leg *l, enum fault_id id)
{
	double limit_s = fault_value(&l->w->faults, id, 0);

	return limit_s > 0 && (double)(world_now_ms(l->w) - l->born_ms) >= limit_s * 1000;
}

static void on_tick(void *arg)
{
	struct leg *l = arg;
	uint64_t now = world_now_ms(l->w);

	timer_arm(l->w->loop, &l->tick, TICK_MS, on_tick, l);
	if (l->state == LEG_CLOSING) {
		if (now - l->closing_ms >= CLOSE_LIMIT_MS)
			stream_abort(l->stream);
		return;
	}
	if (l->state == LEG_OPENING) {
		if (now - l->born_ms >= OPEN_LIMIT_MS)
			close_with(l, 1003, "no open message");
		return;
	}
	if (older(l, FAULT_DROP_WS_AFTER))
		cut(l);
	else if (older(l, FAULT_CLOSE_1000_AFTER))
		close_with(l, 1000, "Bye");
	else if (older(l, FAULT_FREEZE_WS_AFTER))
		l->frozen = true;
	if (now - l->ping_ms >=
	    (uint64_t)(5.4 * fault_value(&l->w->faults, FAULT_KEEPALIVE, PING_MS / 5.4))) {
		l->ping_ms = now;
		put(l, WSFRAME_PING, true, "keepalive", 9);
	}
}

void leg_orphan(struct leg *l)
{
	l->session = NULL;
	if (l->frozen) {
		stream_abort(l->stream);
		l->state = LEG_CLOSING;
		return;
	}
	close_with(l, 1000, "");
}

static int answer(struct leg *l, const struct leg_opts *o)
{
	char accept[29];

	wsframe_accept(o->ws_key, strlen(o->ws_key), accept);
	return buf_addf(&l->out, NULL,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			accept);
}

int leg_start(struct world *w, struct stream *stream, const struct leg_opts *o)
{
	struct leg *l = mem_alloc(sizeof(*l));

	if (!l)
		return -1;
	l->w = w;
	l->stream = stream;
	(void)str_fmt(l->session_id, sizeof(l->session_id), "%s", o->session_id);
	buf_init(&l->in, MESSAGE_MAX + 2 * WINDOW + WSFRAME_HEAD_MAX);
	buf_init(&l->out, OUT_MAX);
	buf_init(&l->message, MESSAGE_MAX);
	if (answer(l, o) != 0 || buf_add(&l->in, o->early, o->early_len, NULL) != 0) {
		buf_free(&l->out);
		buf_free(&l->in);
		mem_free(l);
		return -1;
	}
	l->born_ms = l->ping_ms = world_now_ms(w);
	list_add_tail(&w->legs, &l->node);
	w->stats.websockets++;
	w->stats.websockets_open++;
	stream_attach(stream, &handler, l);
	timer_arm(w->loop, &l->tick, TICK_MS, on_tick, l);
	loop_post(w->loop, &l->flush_post, flush, l);
	leg_read_on(l);
	return 0;
}

void legs_abort(struct world *w)
{
	LIST_EACH (it, &w->legs)
		stream_abort(CONTAINER_OF(it, struct leg, node)->stream);
}
