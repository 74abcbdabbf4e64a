/*
 * curl tells by callbacks which sockets it waits for and when it wants to be
 * called next; both come at any time, from inside any curl call. Nothing is
 * reported from inside those: a transfer's end is picked up after
 * curl_multi_socket_action() has returned.
 */
#include "net/http_multi.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/mem_wiping.h"

struct sock {
	struct list node;
	struct loop_watch watch;
	struct http_multi *of;
};

static void global_init(void)
{
	(void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, mem_wiping_alloc, mem_wiping_free,
				   mem_wiping_resize, mem_wiping_strdup, mem_wiping_zeroed);
}

/* Once for the process, before any worker's first handle. */
static void init_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, global_init);
}

static void collect(struct http_multi *m)
{
	CURLMsg *msg;
	CURLcode code;
	CURL *easy;
	int left;

	while ((msg = curl_multi_info_read(m->curl, &left)) != NULL) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		easy = msg->easy_handle;
		code = msg->data.result;
		curl_multi_remove_handle(m->curl, easy); /* msg is gone */
		m->ended(m->arg, easy, code);
	}
}

static void act(struct http_multi *m, curl_socket_t fd, int bits)
{
	int running;

	(void)curl_multi_socket_action(m->curl, fd, bits, &running);
	collect(m);
}

static void on_ready(void *arg, unsigned ready)
{
	struct sock *s = arg; /* gone after act(), if curl has let go of it */
	int bits = 0;

	if (ready & WATCH_READ)
		bits |= CURL_CSELECT_IN;
	if (ready & WATCH_WRITE)
		bits |= CURL_CSELECT_OUT;
	act(s->of, s->watch.fd, bits);
}

static void on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void sock_free(struct sock *s)
{
	watch_del(s->of->loop, &s->watch);
	list_del(&s->node);
	mem_free(s);
}

static unsigned events_of(int what)
{
	return (what & CURL_POLL_IN ? (unsigned)WATCH_READ : 0U) |
	       (what & CURL_POLL_OUT ? (unsigned)WATCH_WRITE : 0U);
}

static int sock_new(struct http_multi *m, curl_socket_t fd, int what)
{
	struct sock *s = mem_alloc(sizeof(*s));

	if (!s)
		return -1;
	s->of = m;
	if (watch_add(m->loop, &s->watch, fd, events_of(what), on_ready, s, NULL) != 0) {
		mem_free(s);
		return -1;
	}
	list_add_tail(&m->socks, &s->node);
	curl_multi_assign(m->curl, fd, s);
	return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *has)
{
	struct http_multi *m = arg;
	struct sock *s = has;

	if (what == CURL_POLL_REMOVE) {
		if (s)
			sock_free(s);
		return 0;
	}
	if (s) {
		watch_set(m->loop, &s->watch, events_of(what));
		return 0;
	}
	/* An error returned from here would end every transfer, now and later. */
	if (sock_new(m, fd, what) != 0)
		m->lost(m->arg, easy, CURLE_OUT_OF_MEMORY);
	return 0;
}

static int on_timeout(CURLM *curl, long ms, void *arg)
{
	struct http_multi *m = arg;

	(void)curl;
	if (ms < 0)
		timer_disarm(m->loop, &m->timer);
	else
		timer_arm(m->loop, &m->timer, (uint64_t)ms, on_timer, m);
	return 0;
}

int http_multi_open(struct http_multi *m, struct loop *l, http_ended_fn *ended, http_ended_fn *lost,
		    void *arg, struct err *e)
{
	init_once();
	*m = (struct http_multi){ .loop = l, .ended = ended, .lost = lost, .arg = arg };
	list_init(&m->socks);
	m->curl = curl_multi_init();
	if (!m->curl)
		return err_set(e, ERR_NOMEM, "HTTP client");
	curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
	curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
	curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return 0;
}

void http_multi_close(struct http_multi *m)
{
	if (!m->curl)
		return;
	curl_multi_cleanup(m->curl);
	m->curl = NULL;
	LIST_EACH (it, &m->socks)
		sock_free(CONTAINER_OF(it, struct sock, node));
	timer_disarm(m->loop, &m->timer);
}
