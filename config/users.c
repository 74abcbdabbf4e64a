#include "config/users.h"

#include <string.h>

#include "base/mem.h"
#include "base/passwd.h"

static const char how[] = "a list expected, as in - { name: alice, hash: ... }";

static const char *text_of(struct problems *p, const struct yaml *y, const char *what)
{
	if (y->kind == YAML_SCALAR && *y->text)
		return y->text;
	problem(p, y, "%s: a text expected", what);
	return NULL;
}

static void read_name(struct problems *p, const struct yaml *y, struct config_users *users,
		      struct config_user *into)
{
	const char *name = text_of(p, y, "name");

	if (!name)
		return;
	if (!passwd_is_name(name, strlen(name)))
		problem(p, y, "name: 1 to %d bytes, without ':' and control bytes", PASSWD_MAX);
	for (size_t i = 0; i < users->count; i++)
		if (users->item[i].name && strcmp(users->item[i].name, name) == 0)
			problem(p, y, "two users have the name '%.40s'", name);
	into->name = mem_strdup(name);
	if (!into->name)
		problem_no_memory(p, y);
}

static void read_hash(struct problems *p, const struct yaml *y, struct config_user *into)
{
	const char *text = text_of(p, y, "hash");
	struct passwd_hash hash;
	struct err e;

	if (!text)
		return;
	if (passwd_parse(text, &hash, &e) != 0)
		problem(p, y, "hash: %s", e.msg);
	into->hash = mem_strdup(text);
	if (!into->hash)
		problem_no_memory(p, y);
}

static void read_user(struct problems *p, const struct yaml *y, struct config_users *users)
{
	static const char *const known[] = { "name", "hash", NULL };
	struct config_user u = { 0 };

	if (y->kind != YAML_MAP || !yaml_get(y, "name") || !yaml_get(y, "hash")) {
		problem(p, y,
			"a user is { name: alice, hash: ... }; awsocks passwd prints the line");
		return;
	}
	for (size_t i = 0; i < y->count; i++)
		if (strcmp(y->key[i]->text, "name") != 0 && strcmp(y->key[i]->text, "hash") != 0)
			problem_unknown_key(p, y->key[i], "a user", known);
	read_name(p, yaml_get(y, "name"), users, &u);
	read_hash(p, yaml_get(y, "hash"), &u);
	users->item[users->count++] = u;
}

void users_read(struct problems *p, const struct yaml *y, struct config_users *users)
{
	if (y->kind != YAML_LIST || y->count == 0 || y->count > USERS_MAX) {
		problem(p, y, "users: %s; at most %d", how, USERS_MAX);
		return;
	}
	users->item = mem_alloc(sizeof(*users->item) * y->count);
	if (!users->item)
		problem_no_memory(p, y);
	for (size_t i = 0; users->item && i < y->count; i++)
		read_user(p, y->item[i], users);
}

int users_parse(const char *text, size_t n, const char *name, struct config_users *out,
		struct err *e)
{
	struct problems problems = { .name = name };
	struct yaml *tree;

	*out = (struct config_users){ 0 };
	if (yaml_parse(text, n, name, &tree, e) != 0)
		return -1;
	users_read(&problems, tree, out);
	yaml_tree_free(tree);
	if (problems.first.code == ERR_NONE)
		return 0;
	users_free(out);
	*e = problems.first;
	return -1;
}

void users_free(struct config_users *users)
{
	for (size_t i = 0; i < users->count; i++) {
		mem_free(users->item[i].name);
		mem_free_str(users->item[i].hash);
	}
	mem_free(users->item);
	*users = (struct config_users){ 0 };
}
