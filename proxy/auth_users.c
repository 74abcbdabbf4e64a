/* The users of a listener, and what is to be computed for a name. */
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "proxy/auth_impl.h"

struct auth_users {
	atomic_size_t refs;
	uint8_t id[AUTH_ID];
	struct user {
		char *name;
		struct passwd_hash hash;
	} * user;
	size_t count;
};

struct auth_users *auth_users_ref(struct auth_users *u)
{
	if (u)
		atomic_fetch_add(&u->refs, 1);
	return u;
}

void auth_users_unref(struct auth_users *u)
{
	if (!u || atomic_fetch_sub(&u->refs, 1) != 1)
		return;
	for (size_t i = 0; i < u->count; i++)
		mem_free(u->user[i].name);
	if (u->user)
		mem_wipe(u->user, u->count * sizeof(*u->user));
	mem_free(u->user);
	mem_free(u);
}

static int add(struct auth_users *u, const struct auth_user_opts *o, struct err *e)
{
	struct user *to = &u->user[u->count];

	if (passwd_parse(o->hash, &to->hash, e) != 0)
		return err_wrap(e, "user %s", o->name);
	to->name = mem_strdup(o->name);
	if (!to->name)
		return err_set(e, ERR_NOMEM, "users");
	u->count++;
	return 0;
}

int auth_users_new(struct auth_users **out, const struct auth_user_opts *o, size_t n, struct err *e)
{
	struct auth_users *u = mem_alloc(sizeof(*u));
	int result = 0;

	*out = NULL;
	if (!u)
		return err_set(e, ERR_NOMEM, "users");
	atomic_init(&u->refs, 1);
	random_bytes(u->id, sizeof(u->id));
	u->user = mem_alloc(n * sizeof(*u->user));
	if (!u->user)
		result = err_set(e, ERR_NOMEM, "users");
	for (size_t i = 0; i < n && result == 0; i++)
		result = add(u, &o[i], e);
	if (result != 0)
		auth_users_unref(u);
	else
		*out = u;
	return result;
}

size_t auth_users_count(const struct auth_users *u)
{
	return u ? u->count : 0;
}

static const struct user *find(const struct auth_users *u, const char *name, size_t n)
{
	const struct user *found = NULL;

	for (size_t i = 0; i < u->count; i++) /* all of them, whoever it is */
		if (strlen(u->user[i].name) == n && memcmp(u->user[i].name, name, n) == 0)
			found = &u->user[i];
	return found;
}

bool auth_users_has(const struct auth_users *u, const char *name)
{
	return u && find(u, name, strlen(name)) != NULL;
}

bool auth_users_hash(const struct auth_users *u, const char *name, size_t n, uint32_t pick,
		     struct passwd_hash *out)
{
	const struct user *found = find(u, name, n);

	/* Nobody's: what one of them costs, and always the same one's for that name. */
	*out = found ? found->hash : u->user[pick % u->count].hash;
	return found != NULL;
}

const uint8_t *auth_users_id(const struct auth_users *u)
{
	return u->id;
}
