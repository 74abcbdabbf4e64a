/*
 * A counted set of credentials. The count is not atomic: a set belongs to one
 * loop. The id and the token end up in header fields, so only visible ASCII
 * is let in; secret and token are wiped by secret_free(), the rest is not
 * secret.
 */
#include "credentials/creds.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

static bool visible(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

static int check(const char *id, const char *secret, const char *token, const char *source,
		 struct err *e)
{
	if (!id || !*id)
		return err_set(e, ERR_CREDS, "%s: the access key id is empty", source);
	if (!secret || !*secret)
		return err_set(e, ERR_CREDS, "%s: the secret access key is empty", source);
	if (!visible(id) || !visible(secret) || (token && !visible(token)))
		return err_set(e, ERR_CREDS,
			       "%s: a blank or control byte inside the access key, its secret or "
			       "the session token: copy them again",
			       source);
	return 0;
}

struct creds *creds_new(const char *access_key_id, const char *secret, const char *session_token,
			int64_t expires_ms, const char *account_id, const char *source,
			struct err *e)
{
	struct creds *c;

	if (session_token && !*session_token)
		session_token = NULL;
	if (account_id && !*account_id)
		account_id = NULL;
	if (check(access_key_id, secret, session_token, source, e) != 0)
		return NULL;
	c = mem_alloc(sizeof(*c));
	if (!c)
		goto nomem;
	c->refs = 1;
	c->expires_ms = expires_ms;
	c->access_key_id = mem_strdup(access_key_id);
	c->account_id = mem_strdup(account_id);
	c->source = mem_strdup(source);
	if (!c->access_key_id || !c->source || (account_id && !c->account_id) ||
	    secret_set(&c->secret_access_key, secret, e) != 0 ||
	    secret_set(&c->session_token, session_token, e) != 0)
		goto nomem;
	return c;
nomem:
	(void)err_set(e, ERR_NOMEM, "credentials");
	creds_unref(c);
	return NULL;
}

struct creds *creds_ref(struct creds *c)
{
	assert(c->refs > 0);
	c->refs++;
	return c;
}

void creds_unref(struct creds *c)
{
	if (!c)
		return;
	assert(c->refs > 0);
	if (--c->refs > 0)
		return;
	secret_free(&c->secret_access_key);
	secret_free(&c->session_token);
	mem_free_str(c->access_key_id);
	mem_free(c->account_id);
	mem_free(c->source);
	mem_free(c);
}
