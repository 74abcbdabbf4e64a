#include "base/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/suggest.h"

void problem_code(struct problems *p, const struct yaml *at, enum err_code code, const char *what)
{
	struct err e;

	(void)err_set(&e, code, "%s:%u:%u: %s", p->name, at->line, at->column, what);
	if (p->report)
		p->report(p->arg, e.msg);
	if (p->first.code == ERR_NONE || code == ERR_NOMEM)
		p->first = e;
}

void problem(struct problems *p, const struct yaml *at, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	problem_code(p, at, ERR_CONFIG, text);
}

void problem_err(struct problems *p, const struct yaml *at, const struct err *e)
{
	problem_code(p, at, e->code == ERR_NOMEM ? ERR_NOMEM : ERR_CONFIG, e->msg);
}

void problem_no_memory(struct problems *p, const struct yaml *at)
{
	problem_code(p, at, ERR_NOMEM, "out of memory");
}

void problem_unknown_key(struct problems *p, const struct yaml *key, const char *where,
			 const char *const *known)
{
	const char *near = suggest_of(key->text, known);

	if (near)
		problem(p, key, "unknown key '%.40s' in %s: did you mean '%s'?", key->text, where,
			near);
	else
		problem(p, key, "unknown key '%.40s' in %s", key->text, where);
}

bool yaml_is_null(const struct yaml *y)
{
	return y->kind == YAML_SCALAR && !y->quoted &&
	       (!*y->text || !strcmp(y->text, "~") || !strcmp(y->text, "null"));
}

const struct yaml *yaml_nth(const struct yaml *y, size_t i)
{
	if (y->kind == YAML_SCALAR)
		return i == 0 && !yaml_is_null(y) ? y : NULL;
	return i < y->count ? y->item[i] : NULL;
}

bool yaml_is_texts(struct problems *p, const struct yaml *y, const char *what)
{
	if (y->kind == YAML_MAP) {
		problem(p, y, "%s: a text or a list expected", what);
		return false;
	}
	for (size_t i = 0; y->kind == YAML_LIST && i < y->count; i++)
		if (y->item[i]->kind != YAML_SCALAR) {
			problem(p, y->item[i], "%s: a list of texts expected", what);
			return false;
		}
	return true;
}
