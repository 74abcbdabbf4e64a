#include "cmd/localaws/keys.h"

#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"

void keys_init(struct keys *k)
{
	list_init(&k->all);
	k->count = 0;
}

static void free_key(struct key *k)
{
	secret_free(&k->secret);
	secret_free(&k->token);
	mem_free(k);
}

void keys_free(struct keys *k)
{
	LIST_EACH (it, &k->all) {
		list_del(it);
		free_key(CONTAINER_OF(it, struct key, node));
	}
	k->count = 0;
}

/* n characters of the given alphabet's first 32. */
static void random_text(char *out, size_t n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	uint8_t bytes[256];

	random_bytes(bytes, n);
	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[bytes[i] & 31];
	out[n] = '\0';
	mem_wipe(bytes, n);
}

int keys_add_static(struct keys *k, const char *account, const char *id, const char *secret,
		    struct err *e)
{
	struct key *key = mem_alloc(sizeof(*key));

	if (!key)
		return err_set(e, ERR_NOMEM, "key");
	if (!str_fmt(key->id, sizeof(key->id), "%s", id) ||
	    secret_set(&key->secret, secret, e) != 0) {
		free_key(key);
		return err_set(e, ERR_USAGE, "access key id is too long");
	}
	(void)str_fmt(key->arn, sizeof(key->arn), "arn:aws:iam::%s:user/demo", account);
	(void)str_fmt(key->account, sizeof(key->account), "%s", account);
	(void)str_fmt(key->user_id, sizeof(key->user_id), "AIDALOCALAWSDEMO0000");
	list_add_tail(&k->all, &key->node);
	k->count++;
	return 0;
}

int keys_add_account(struct keys *k, const char *account, struct err *e)
{
	uint8_t raw[30];
	char id[21] = "AKIA", secret[41];
	int failed;

	random_text(id + 4, 16);
	random_bytes(raw, sizeof(raw));
	str_base64(raw, sizeof(raw), secret);
	failed = keys_add_static(k, account, id, secret, e);
	mem_wipe(raw, sizeof(raw));
	mem_wipe(secret, sizeof(secret));
	return failed;
}

const struct key *keys_of_account(const struct keys *k, const char *account)
{
	LIST_EACH (it, &k->all) {
		const struct key *key = CONTAINER_OF(it, struct key, node);

		if (!key->token.text && strcmp(key->account, account) == 0)
			return key;
	}
	return NULL;
}

static size_t accounts(const struct keys *k)
{
	size_t n = 0;

	LIST_EACH (it, &k->all)
		n += !CONTAINER_OF(it, struct key, node)->token.text;
	return n;
}

/* arn:aws:iam::123456789012:role/name */
const char *keys_role_account(const struct keys *k, const char *role_arn)
{
	const struct key *key = NULL;
	const char *at = strstr(role_arn, ":iam::");
	char account[ACCOUNT_TEXT];

	if (accounts(k) == 1)
		return KEYS_ACCOUNT;
	if (at && str_fmt(account, sizeof(account), "%.*s", (int)strcspn(at + 6, ":"), at + 6))
		key = keys_of_account(k, account);
	return key ? key->account : NULL;
}

static int fill_secrets(struct key *key, struct err *e)
{
	uint8_t raw[192];
	char text[264], id[17];
	int failed;

	random_text(id, 16);
	(void)str_fmt(key->id, sizeof(key->id), "ASIA%s", id);
	random_bytes(raw, sizeof(raw));
	str_base64(raw, 30, text);
	failed = secret_set(&key->secret, text, e);
	str_base64(raw + 30, 150, text);
	failed = failed || secret_set(&key->token, text, e);
	mem_wipe(raw, sizeof(raw));
	mem_wipe(text, sizeof(text));
	return failed ? -1 : 0;
}

/* arn:aws:iam::1:role/path/name -> arn:aws:sts::1:assumed-role/name/session */
static void fill_names(struct key *key, const char *account, const char *role_arn,
		       const char *session_name)
{
	const char *role = strrchr(role_arn, '/');
	char id[17];

	role = role ? role + 1 : role_arn;
	(void)str_fmt(key->arn, sizeof(key->arn), "arn:aws:sts::%s:assumed-role/%.128s/%.128s",
		      account, role, session_name);
	(void)str_fmt(key->account, sizeof(key->account), "%s", account);
	random_text(id, 16);
	(void)str_fmt(key->user_id, sizeof(key->user_id), "AROA%s:%.128s", id, session_name);
}

static void drop_oldest_temporary(struct keys *k)
{
	LIST_EACH (it, &k->all) {
		struct key *key = CONTAINER_OF(it, struct key, node);

		if (!key->token.text)
			continue;
		list_del(it);
		free_key(key);
		k->count--;
		return;
	}
}

const struct key *keys_issue(struct keys *k, const char *role_arn, const char *session_name,
			     int64_t expires_ms, struct err *e)
{
	const char *account = keys_role_account(k, role_arn);
	struct key *key = mem_alloc(sizeof(*key));

	if (!key) {
		(void)err_set(e, ERR_NOMEM, "key");
		return NULL;
	}
	if (fill_secrets(key, e) != 0) {
		free_key(key);
		return NULL;
	}
	fill_names(key, account ? account : KEYS_ACCOUNT, role_arn, session_name);
	key->expires_ms = expires_ms;
	if (k->count >= KEYS_MAX)
		drop_oldest_temporary(k);
	list_add_tail(&k->all, &key->node);
	k->count++;
	return key;
}

const struct key *keys_find(const struct keys *k, const char *id, size_t n)
{
	LIST_EACH (it, &k->all) {
		const struct key *key = CONTAINER_OF(it, struct key, node);

		if (strlen(key->id) == n && memcmp(key->id, id, n) == 0)
			return key;
	}
	return NULL;
}

void keys_expire_all(struct keys *k, int64_t now_ms)
{
	LIST_EACH (it, &k->all) {
		struct key *key = CONTAINER_OF(it, struct key, node);

		if (key->token.text)
			key->expires_ms = now_ms;
	}
}
