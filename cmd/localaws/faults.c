#include "cmd/localaws/faults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

const struct fault_row fault_rows[FAULT_COUNT] = {
#define X(id, name, kind, def, low, high, help) { name, help, FAULT_##kind, def, low, high },
	FAULTS(X)
#undef X
};

static int set_row(struct fault *f, const struct fault_row *row, const char *value, struct err *e)
{
	char *end = NULL;
	double x;

	if (value && (strcmp(value, "off") == 0 || strcmp(value, "false") == 0)) {
		*f = (struct fault){ 0 };
		return 0;
	}
	if (!value || strcmp(value, "on") == 0 || strcmp(value, "true") == 0) {
		*f = (struct fault){ true, row->kind == FAULT_TIMES ? -1 : row->def };
		return 0;
	}
	x = strtod(value, &end);
	if (row->kind == FAULT_FLAG || !*value || *end || !isfinite(x))
		return err_set(e, ERR_USAGE, "fault %s: '%.40s' is not a value for it", row->name,
			       value);
	if (x < row->low || x > row->high)
		return err_set(e, ERR_USAGE, "fault %s: %g is not between %g and %g", row->name, x,
			       row->low, row->high);
	*f = (struct fault){ true, x };
	return 0;
}

bool faults_may_be_part(enum fault_id id)
{
	return id == FAULT_THROTTLE_API || id == FAULT_FAIL_API || id == FAULT_DENY_EC2 ||
	       id == FAULT_CLOCK_SKEW;
}

/* The row of it, or one that is free. */
static struct fault_part *part_of(struct faults *f, enum fault_id id, const char *where)
{
	struct fault_part *free = NULL;

	for (size_t i = 0; i < FAULT_PARTS; i++) {
		struct fault_part *p = &f->part[i];

		if (p->fault.on && p->id == id && strcmp(p->where, where) == 0)
			return p;
		if (!p->fault.on && !free)
			free = p;
	}
	return free;
}

/* "throttle-api:StartSession" */
static int set_part(struct faults *f, const char *name, const char *where, const char *value,
		    struct err *e)
{
	struct fault_part *p;

	for (size_t i = 0; i < FAULT_COUNT; i++) {
		if (strcmp(name, fault_rows[i].name) != 0 || !faults_may_be_part((enum fault_id)i))
			continue;
		p = part_of(f, (enum fault_id)i, where);
		if (!p)
			return err_set(e, ERR_USAGE, "more than %d faults of one part",
				       FAULT_PARTS);
		p->id = (enum fault_id)i;
		if (!*where || !str_fmt(p->where, sizeof(p->where), "%s", where))
			return err_set(e, ERR_USAGE,
				       "fault %s: '%.40s' is no operation and no service", name,
				       where);
		return set_row(&p->fault, &fault_rows[i], value, e);
	}
	return err_set(e, ERR_USAGE, "fault %.40s is not one that has parts (see --help)", name);
}

static int set_named(struct faults *f, char *name, const char *value, struct err *e)
{
	char *colon = strchr(name, ':');

	if (colon) {
		*colon = '\0';
		return set_part(f, name, colon + 1, value, e);
	}
	for (size_t i = 0; i < FAULT_COUNT; i++)
		if (strcmp(name, fault_rows[i].name) == 0)
			return set_row(&f->at[i], &fault_rows[i], value, e);
	return err_set(e, ERR_USAGE, "no fault is called '%.40s' (see --help)", name);
}

/* "lose=2" is "lose-client=2" and "lose-agent=2". */
static int set_both(struct faults *f, const char *name, const char *value, struct err *e)
{
	char side[80];

	if (!str_fmt(side, sizeof(side), "%s-client", name) || set_named(f, side, value, e) != 0)
		return -1;
	if (!str_fmt(side, sizeof(side), "%s-agent", name) || set_named(f, side, value, e) != 0)
		return -1;
	return 0;
}

int faults_set(struct faults *f, const char *text, struct err *e)
{
	char name[128];
	const char *eq = strchr(text, '=');
	size_t n = eq ? (size_t)(eq - text) : strlen(text);

	if (n >= sizeof(name))
		return err_set(e, ERR_USAGE, "no fault is called '%.40s' (see --help)", text);
	memcpy(name, text, n);
	name[n] = '\0';
	if (strcmp(name, "clear") == 0 && !eq) {
		*f = (struct faults){ 0 };
		return 0;
	}
	if (strcmp(name, "lose") == 0 || strcmp(name, "repeat") == 0 ||
	    strcmp(name, "reorder") == 0)
		return set_both(f, name, eq ? eq + 1 : NULL, e);
	return set_named(f, name, eq ? eq + 1 : NULL, e);
}

static bool take(struct fault *at)
{
	if (!at->on)
		return false;
	if (at->value < 0)
		return true;
	at->value -= 1;
	at->on = at->value >= 1;
	return true;
}

bool fault_take(struct faults *f, enum fault_id id)
{
	return take(&f->at[id]);
}

static bool is_at(const struct fault_part *p, enum fault_id id, const char *service, const char *op)
{
	return p->fault.on && p->id == id &&
	       ((service && strcmp(p->where, service) == 0) || (op && strcmp(p->where, op) == 0));
}

bool fault_take_at(struct faults *f, enum fault_id id, const char *service, const char *op)
{
	for (size_t i = 0; i < FAULT_PARTS; i++)
		if (is_at(&f->part[i], id, service, op))
			return take(&f->part[i].fault);
	return fault_take(f, id);
}

double fault_value_at(const struct faults *f, enum fault_id id, const char *service, double off)
{
	for (size_t i = 0; i < FAULT_PARTS; i++)
		if (is_at(&f->part[i], id, service, NULL))
			return f->part[i].fault.value;
	return fault_value(f, id, off);
}
