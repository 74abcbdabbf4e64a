/* Dispatch, and what a backend that has no opinion of its own is like. */
#include "backend/backend.h"

#include <cjson/cJSON.h>

#include "backend/backend_impl.h"

struct dial *backend_dial(struct backend *b, const struct dest *d, dialed_fn *done, void *arg,
			  struct err *e)
{
	return b->ops->dial(b, d, done, arg, e);
}

void backend_cancel(struct dial *d)
{
	if (d)
		d->backend->ops->cancel(d);
}

const char *backend_name(const struct backend *b)
{
	return b->name;
}

enum backend_state backend_state(const struct backend *b)
{
	return b->ops->state ? b->ops->state(b) : BACKEND_ACTIVE;
}

const char *backend_state_name(enum backend_state s)
{
	static const char *const names[BACKEND_STATE_COUNT] = {
		[BACKEND_IDLE] = "idle",     [BACKEND_INITIALIZING] = "initializing",
		[BACKEND_ACTIVE] = "active", [BACKEND_TRANSITIONING] = "transitioning",
		[BACKEND_FAILED] = "failed",
	};

	return s < BACKEND_STATE_COUNT ? names[s] : "unknown";
}

bool backend_first_init(const struct backend *b)
{
	return b->ops->first_init && b->ops->first_init(b);
}

void backend_wake(struct backend *b)
{
	if (b->ops->wake)
		b->ops->wake(b);
}

void backend_start(struct backend *b, void (*started)(void *arg, const struct err *), void *arg)
{
	b->ops->start(b, started, arg);
}

void backend_set_creds(struct backend *b, struct creds *c)
{
	if (b->ops->set_creds)
		b->ops->set_creds(b, c);
}

void backend_describe(struct backend *b, struct cJSON *into)
{
	if (!cJSON_HasObjectItem(into, "name")) /* the caller may know it by another one */
		cJSON_AddStringToObject(into, "name", b->name);
	cJSON_AddStringToObject(into, "state", backend_state_name(backend_state(b)));
	if (b->ops->describe)
		b->ops->describe(b, into);
}

void backend_close(struct backend *b, void (*closed)(void *arg), void *arg)
{
	b->ops->close(b, closed, arg);
}
