/*
 * getaddrinfo() blocks, so it runs on the loop's pool and touches nothing but
 * its own job. It cannot be interrupted: a cancelled look-up runs on to its
 * end, and its result is thrown away.
 */
#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"

struct net_resolve {
	struct loop_work *work;
	resolved_fn *done;
	void *arg;
	char *host;
	char port[8];
	int gai, sys; /* result of getaddrinfo(), errno with EAI_SYSTEM */
	size_t n;
	struct addr list[RESOLVE_MAX];
};

static void look_up(void *arg)
{
	struct net_resolve *r = arg;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *first = NULL, *ai;

	r->gai = getaddrinfo(r->host, r->port, &hints, &first);
	r->sys = errno;
	if (r->gai != 0)
		return;
	for (ai = first; ai && r->n < RESOLVE_MAX; ai = ai->ai_next) {
		if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
			continue;
		memcpy(&r->list[r->n].ss, ai->ai_addr, ai->ai_addrlen);
		r->list[r->n++].len = ai->ai_addrlen;
	}
	freeaddrinfo(first);
}

void resolve_interleave(struct addr *list, size_t n)
{
	struct addr out[RESOLVE_MAX];
	sa_family_t want = n ? list[0].ss.ss_family : 0;
	bool used[RESOLVE_MAX] = { false };
	size_t i, k;

	for (k = 0; k < n; k++) {
		size_t pick = n;

		for (i = 0; i < n; i++) {
			if (used[i] || (pick < n && list[i].ss.ss_family != want))
				continue;
			if (pick == n || list[pick].ss.ss_family != want)
				pick = i;
		}
		used[pick] = true;
		out[k] = list[pick];
		want = list[pick].ss.ss_family == AF_INET ? AF_INET6 : AF_INET;
	}
	memcpy(list, out, n * sizeof(*list));
}

static void explain(const struct net_resolve *r, struct err *e)
{
	switch (r->gai) {
	case 0:
	case EAI_NONAME:
		(void)err_set(e, ERR_RESOLVE, "resolve '%.200s': no such host", r->host);
		break;
	case EAI_AGAIN:
		(void)err_set(e, ERR_RESOLVE,
			      "resolve '%.200s': temporary failure, the name servers do not answer",
			      r->host);
		break;
	case EAI_MEMORY: (void)err_set(e, ERR_NOMEM, "resolve '%.200s'", r->host); break;
	case EAI_SYSTEM:
		(void)err_sys(e, r->sys, "resolve '%.200s'", r->host);
		e->code = ERR_RESOLVE;
		break;
	default:
		(void)err_set(e, ERR_RESOLVE, "resolve '%.200s': %s", r->host,
			      gai_strerror(r->gai));
	}
}

static void job_free(struct net_resolve *r)
{
	mem_free(r->host);
	mem_free(r);
}

static void looked_up(void *arg, bool cancelled)
{
	struct net_resolve *r = arg;
	struct err e;

	if (!cancelled) {
		resolve_interleave(r->list, r->n);
		if (r->n == 0)
			explain(r, &e);
		r->done(r->arg, r->n ? r->list : NULL, r->n, r->n ? NULL : &e);
	}
	job_free(r);
}

struct net_resolve *net_resolve(struct loop *l, const char *host, uint16_t port, resolved_fn *done,
				void *arg, struct err *e)
{
	struct net_resolve *r = mem_alloc(sizeof(*r));

	if (r)
		r->host = mem_strdup(host);
	if (!r || !r->host) {
		mem_free(r);
		(void)err_set(e, ERR_NOMEM, "resolve '%.200s'", host);
		return NULL;
	}
	(void)str_fmt(r->port, sizeof(r->port), "%u", port);
	r->done = done;
	r->arg = arg;
	r->work = work_start(l, look_up, looked_up, r, e);
	if (r->work)
		return r;
	job_free(r);
	return NULL;
}

void net_resolve_cancel(struct net_resolve *r)
{
	if (r)
		work_cancel(r->work);
}
