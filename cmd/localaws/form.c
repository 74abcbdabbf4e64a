#include "cmd/localaws/form.h"

#include <string.h>

#include "base/mem.h"
#include "cmd/localaws/auth.h"

static int add(struct form *f, const char *p, size_t n, char **to, struct err *e)
{
	const char *eq = memchr(p, '=', n);
	size_t name = eq ? (size_t)(eq - p) : n;

	if (n == 0)
		return 0;
	if (f->count == FORM_PAIRS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d parameters", FORM_PAIRS_MAX);
	f->at[f->count].name = *to;
	*to += auth_form_decode(p, name, *to) + 1;
	f->at[f->count].value = *to;
	*to += auth_form_decode(p + name + (eq ? 1 : 0), n - name - (eq ? 1 : 0), *to) + 1;
	f->count++;
	return 0;
}

int form_parse(struct form *f, const char *p, size_t n, struct err *e)
{
	char *to;

	f->count = 0;
	f->memory = to = mem_alloc(2 * n + 2); /* each pair needs two NULs */
	if (!to)
		return err_set(e, ERR_NOMEM, "form");
	while (n) {
		const char *amp = memchr(p, '&', n);
		size_t len = amp ? (size_t)(amp - p) : n;

		if (add(f, p, len, &to, e) != 0) {
			form_free(f);
			return -1;
		}
		p += len + (amp ? 1 : 0);
		n -= len + (amp ? 1 : 0);
	}
	return 0;
}

const char *form_get(const struct form *f, const char *name)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->at[i].name, name) == 0)
			return f->at[i].value;
	return NULL;
}

void form_free(struct form *f)
{
	mem_free(f->memory);
	f->memory = NULL;
	f->count = 0;
}
