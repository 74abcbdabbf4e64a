/*
 * Both tables have a fixed size. Of what is right the oldest entry goes, so that
 * a removed password is not kept alive by its use. Of the peers the one goes that has had its
 * answers back longest: whoever can fill the table has that many addresses anyway.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "proxy/auth_impl.h"

void auth_memory_init(struct auth_memory *m)
{
	memset(m, 0, sizeof(*m));
	random_bytes(m->key, sizeof(m->key));
}

void auth_memory_wipe(struct auth_memory *m)
{
	mem_wipe(m, sizeof(*m));
	random_bytes(m->key, sizeof(m->key));
}

/* ---- what was right ---- */

static int mac_of(const struct auth_memory *m, const uint8_t *p, size_t n,
		  uint8_t mac[static AUTH_MAC], struct err *e)
{
	unsigned size = AUTH_MAC;

	if (HMAC(EVP_sha256(), m->key, (int)sizeof(m->key), p, n, mac, &size))
		return 0;
	return err_set(e, ERR_INTERNAL, "password: HMAC-SHA-256 is not available");
}

int auth_memory_mac(const struct auth_memory *m, const struct auth_question *q,
		    uint8_t mac[static AUTH_MAC], struct err *e)
{
	uint8_t text[AUTH_ID + 1 + 2 * PASSWD_MAX];
	size_t n = AUTH_ID;
	int result;

	memcpy(text, auth_users_id(q->users), AUTH_ID);
	text[n++] = (uint8_t)q->name_n; /* so that "a" "bc" is not "ab" "c" */
	memcpy(text + n, q->name, q->name_n);
	memcpy(text + n + q->name_n, q->password, q->password_n);
	result = mac_of(m, text, n + q->name_n + q->password_n, mac, e);
	mem_wipe(text, sizeof(text));
	return result;
}

uint32_t auth_memory_pick(const struct auth_memory *m, const char *name, size_t n)
{
	uint8_t mac[AUTH_MAC] = { 0 };
	uint32_t pick;

	if (mac_of(m, (const uint8_t *)name, n, mac, NULL) != 0)
		return 0;
	memcpy(&pick, mac, sizeof(pick));
	return pick;
}

bool auth_memory_knows(const struct auth_memory *m, const uint8_t mac[static AUTH_MAC])
{
	bool known = false;

	for (size_t i = 0; i < m->right_count; i++)
		known |= secret_equal(m->right[i], AUTH_MAC, mac, AUTH_MAC);
	return known;
}

void auth_memory_learn(struct auth_memory *m, const uint8_t mac[static AUTH_MAC])
{
	if (auth_memory_knows(m, mac))
		return;
	memcpy(m->right[m->right_next], mac, AUTH_MAC);
	m->right_next = (m->right_next + 1) % AUTH_REMEMBERED;
	if (m->right_count < AUTH_REMEMBERED)
		m->right_count++;
}

/* ---- who was wrong ---- */

static struct auth_peer *find(struct auth_memory *m, const uint8_t key[static LIMITS_KEY])
{
	for (size_t i = 0; i < m->peers; i++)
		if (memcmp(m->peer[i].key, key, LIMITS_KEY) == 0)
			return &m->peer[i];
	return NULL;
}

/* What has come back since. */
static void refresh(struct auth_peer *p, uint64_t now_ms)
{
	uint64_t back = (now_ms - p->since_ms) / AUTH_BACK_MS;

	p->since_ms += back * AUTH_BACK_MS;
	p->left = back > AUTH_BURST - p->left ? AUTH_BURST : p->left + (unsigned)back;
	if (p->left == AUTH_BURST)
		p->since_ms = now_ms;
}

uint64_t auth_memory_wait(struct auth_memory *m, const uint8_t key[static LIMITS_KEY],
			  uint64_t now_ms)
{
	struct auth_peer *p = find(m, key);

	if (!p)
		return 0;
	refresh(p, now_ms);
	return p->left ? 0 : AUTH_BACK_MS - (now_ms - p->since_ms);
}

static struct auth_peer *place_for(struct auth_memory *m)
{
	struct auth_peer *best = &m->peer[0];

	if (m->peers < AUTH_PEERS)
		return &m->peer[m->peers++];
	for (size_t i = 1; i < AUTH_PEERS; i++)
		if (m->peer[i].left > best->left ||
		    (m->peer[i].left == best->left && m->peer[i].since_ms < best->since_ms))
			best = &m->peer[i];
	return best;
}

void auth_memory_take(struct auth_memory *m, const uint8_t key[static LIMITS_KEY], uint64_t now_ms)
{
	struct auth_peer *p = find(m, key);

	if (!p) {
		p = place_for(m);
		memcpy(p->key, key, LIMITS_KEY);
		p->left = AUTH_BURST;
		p->since_ms = now_ms;
	}
	if (p->left)
		p->left--;
}

void auth_memory_give(struct auth_memory *m, const uint8_t key[static LIMITS_KEY])
{
	struct auth_peer *p = find(m, key);

	if (p && p->left < AUTH_BURST)
		p->left++;
}
