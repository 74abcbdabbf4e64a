#include "base/secret.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

int secret_setn(struct secret *s, const char *text, size_t n, struct err *e)
{
	char *copy = text ? mem_strndup(text, n) : NULL;

	if (text && !copy)
		return err_set(e, ERR_NOMEM, "secret");
	secret_free(s);
	s->text = copy;
	s->len = text ? n : 0;
	return 0;
}

int secret_set(struct secret *s, const char *text, struct err *e)
{
	return secret_setn(s, text, text ? strlen(text) : 0, e);
}

void secret_free(struct secret *s)
{
	if (s->text)
		mem_wipe(s->text, s->len);
	mem_free(s->text);
	s->text = NULL;
	s->len = 0;
}

bool secret_equal(const void *a, size_t na, const void *b, size_t nb)
{
	const uint8_t *x = a, *y = b;
	unsigned diff = na != nb;

	for (size_t i = 0; i < na; i++)
		diff |= (unsigned)(x[i] ^ (nb ? y[i % nb] : 0));
	return diff == 0;
}
