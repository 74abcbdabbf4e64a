#include "vm/agent_conf.h"

#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "base/suggest.h"

enum {
	LINE_MAX_BYTES = 512,
	VSOCK_PORT = 5000,
	STREAMS = 1024,
	STREAMS_MOST = 65536,
	DIAL_MS = 30000,
	RESOLVE_MS = 10000,
	LIMIT_MOST_MS = 600000,
	MTU_LEAST = 576,
	MTU_MOST = 65535
};

/* The place of a word in a list, or -1. */
static int word_of(const char *const *words, const char *text, struct err *e)
{
	const char *near;

	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	near = suggest_of(text, words);
	return err_set(e, ERR_CONFIG, "'%.40s' is not understood%s%s%s", text,
		       near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int number(const char *text, uint64_t min, uint64_t max, unsigned *out, struct err *e)
{
	uint64_t n;

	if (str_number(text, min, max, &n, e) != 0)
		return -1;
	*out = (unsigned)n;
	return 0;
}

static int yes_or_no(const char *text, bool *out, struct err *e)
{
	static const char *const words[] = { "no", "yes", NULL };
	int i = word_of(words, text, e);

	if (i < 0)
		return -1;
	*out = i == 1;
	return 0;
}

static int literal(const char *text, struct addr *out, struct err *e)
{
	if (addr_from_literal(text, 0, out))
		return 0;
	return err_set(e, ERR_CONFIG, "'%.60s': an IP address expected", text);
}

static int ipv4(const char *text, struct addr *out, struct err *e)
{
	if (literal(text, out, e) != 0)
		return -1;
	if (out->ss.ss_family == AF_INET)
		return 0;
	return err_set(e, ERR_CONFIG, "'%.60s': an IPv4 address expected", text);
}

/* ---- keys ---- */

static int set_nonce(struct agent_conf *c, const char *v, struct err *e)
{
	if (strlen(v) == sizeof(c->nonce) * 2 && str_unhex(v, c->nonce, sizeof(c->nonce)))
		return 0;
	return err_set(e, ERR_CONFIG, "64 hex digits expected"); /* and none of them in a log */
}

static int set_transport(struct agent_conf *c, const char *v, struct err *e)
{
	static const char *const words[] = { "virtio", "vsock", "stdin", NULL };
	int i = word_of(words, v, e);

	if (i < 0)
		return -1;
	c->transport = (enum agent_conf_transport)i;
	return 0;
}

static int set_net(struct agent_conf *c, const char *v, struct err *e)
{
	static const char *const words[] = { "dhcp", "none", "static", NULL };
	int i = word_of(words, v, e);

	if (i < 0)
		return -1;
	c->net = (enum agent_conf_net)i;
	return 0;
}

/* A name or a number: which, is the transport's, and that may stand behind it. */
static int set_port(struct agent_conf *c, const char *v, struct err *e)
{
	unsigned n;

	if (!*v || strlen(v) >= sizeof(c->port_name))
		return err_set(e, ERR_CONFIG, "a port's name or number expected");
	memcpy(c->port_name, v, strlen(v) + 1);
	c->port = number(v, 1, UINT32_MAX - 1u, &n, NULL) == 0 ? n : 0;
	return 0;
}

static int set_interface(struct agent_conf *c, const char *v, struct err *e)
{
	if (!*v || strlen(v) >= sizeof(c->interface) || strchr(v, '/'))
		return err_set(e, ERR_CONFIG, "'%.40s': the name of an interface expected", v);
	memcpy(c->interface, v, strlen(v) + 1);
	return 0;
}

static int set_address(struct agent_conf *c, const char *v, struct err *e)
{
	const char *slash = strchr(v, '/');
	char host[64];
	unsigned bits;

	if (!slash || !str_fmt(host, sizeof(host), "%.*s", (int)(slash - v), v))
		return err_set(e, ERR_CONFIG, "'%.60s': as 10.0.2.15/24 expected", v);
	if (ipv4(host, &c->given.address, e) != 0 || number(slash + 1, 1, 32, &bits, e) != 0)
		return -1;
	c->given.prefix = (uint8_t)bits;
	return 0;
}

static int set_gateway(struct agent_conf *c, const char *v, struct err *e)
{
	return ipv4(v, &c->given.gateway, e);
}

static int set_dns(struct agent_conf *c, const char *v, struct err *e)
{
	char host[64];
	size_t n;

	c->given.dns_count = 0;
	for (;; v += n + 1) {
		n = strcspn(v, ",");
		if (c->given.dns_count == FRAME_DNS_MAX)
			return err_set(e, ERR_CONFIG, "more than %d", FRAME_DNS_MAX);
		if (!str_fmt(host, sizeof(host), "%.*s", (int)n, v))
			return err_set(e, ERR_CONFIG, "'%.60s': addresses expected", v);
		if (literal(host, &c->given.dns[c->given.dns_count], e) != 0)
			return -1;
		c->given.dns_count++;
		if (!v[n])
			return 0;
	}
}

static int set_mtu(struct agent_conf *c, const char *v, struct err *e)
{
	return number(v, MTU_LEAST, MTU_MOST, &c->mtu, e);
}

static int set_ipv6(struct agent_conf *c, const char *v, struct err *e)
{
	return yes_or_no(v, &c->ipv6, e);
}

static int set_log(struct agent_conf *c, const char *v, struct err *e)
{
	static const char *const words[] = { "error", "warn", "info", "debug", NULL };
	int i = word_of(words, v, e);

	if (i < 0)
		return -1;
	c->log_level = (unsigned)i;
	return 0;
}

static int set_streams(struct agent_conf *c, const char *v, struct err *e)
{
	return number(v, 1, STREAMS_MOST, &c->streams_max, e);
}

static int set_dial(struct agent_conf *c, const char *v, struct err *e)
{
	return number(v, 1, LIMIT_MOST_MS, &c->dial_ms, e);
}

static int set_resolve(struct agent_conf *c, const char *v, struct err *e)
{
	return number(v, 1, LIMIT_MOST_MS, &c->resolve_ms, e);
}

static int set_loopback(struct agent_conf *c, const char *v, struct err *e)
{
	return yes_or_no(v, &c->allow_loopback, e);
}

static const struct key {
	const char *name;
	int (*set)(struct agent_conf *, const char *value, struct err *);
	bool host; /* awsocks' own to set, and nobody else's */
} keys[] = {
	{ "nonce", set_nonce, true },
	{ "transport", set_transport, true },
	{ "port", set_port, true },
	{ "net", set_net, false },
	{ "interface", set_interface, false },
	{ "address", set_address, false },
	{ "gateway", set_gateway, false },
	{ "dns", set_dns, false },
	{ "mtu", set_mtu, false },
	{ "ipv6", set_ipv6, false },
	{ "log", set_log, false },
	{ "streams-max", set_streams, false },
	{ "dial-limit", set_dial, false },
	{ "resolve-limit", set_resolve, false },
	{ "allow-loopback", set_loopback, false },
};

enum { KEYS = sizeof(keys) / sizeof(keys[0]) };

/* One that may be set: a suggest() callback. */
static const char *next_key(const void *arg, size_t i)
{
	(void)arg;
	for (size_t k = 0; k < KEYS; k++)
		if (!keys[k].host && i-- == 0)
			return keys[k].name;
	return NULL;
}

static int unknown_key(const char *name, struct err *e)
{
	const char *near = suggest(name, next_key, NULL);

	return err_set(e, ERR_CONFIG, "unknown key '%.40s'%s%s%s", name,
		       near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* ---- lines ---- */

static int set(struct agent_conf *c, char *line, struct err *e)
{
	char *eq = strchr(line, '=');

	if (!eq)
		return err_set(e, ERR_CONFIG, "KEY=VALUE expected");
	*eq = '\0';
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, line) != 0)
			continue;
		return keys[i].set(c, eq + 1, e) == 0 ? 0 : err_wrap(e, "%s", line);
	}
	return unknown_key(line, e);
}

static int set_line(struct agent_conf *c, const char *p, size_t n, struct err *e)
{
	char line[LINE_MAX_BYTES];

	if (n >= sizeof(line) || memchr(p, '\0', n))
		return err_set(e, ERR_CONFIG, "too long, or not a text");
	memcpy(line, p, n);
	line[n] = '\0';
	return set(c, line, e);
}

static int parse_line(struct agent_conf *c, const char *p, size_t n, bool first, struct err *e)
{
	static const char nonce[] = "nonce=";

	if (first && (n < sizeof(nonce) - 1 || memcmp(p, nonce, sizeof(nonce) - 1) != 0))
		return err_set(e, ERR_CONFIG, "nonce= must be the first");
	return !n || *p == '#' ? 0 : set_line(c, p, n, e);
}

void agent_conf_init(struct agent_conf *c)
{
	*c = (struct agent_conf){ .port_name = "awsocks.0",
				  .port = VSOCK_PORT,
				  .log_level = LOG_INFO,
				  .streams_max = STREAMS,
				  .dial_ms = DIAL_MS,
				  .resolve_ms = RESOLVE_MS };
}

int agent_conf_set(struct agent_conf *c, const char *setting, struct err *e)
{
	if (set_line(c, setting, strlen(setting), e) == 0)
		return 0;
	e->code = ERR_CONFIG;
	return -1;
}

int agent_conf_check(const struct agent_conf *c, struct err *e)
{
	if (c->transport == AGENT_CONF_VSOCK && !c->port)
		return err_set(e, ERR_CONFIG, "port: a number is needed for vsock");
	if (c->net == AGENT_CONF_STATIC && !c->given.address.len)
		return err_set(e, ERR_CONFIG, "address: is needed for net=static");
	return 0;
}

int agent_conf_parse(struct agent_conf *c, const char *text, size_t n, struct err *e)
{
	const char *end = text + n;
	unsigned line = 0;

	agent_conf_init(c);
	if (n > AGENT_CONF_MAX)
		return err_set(e, ERR_CONFIG, "more than %d bytes", AGENT_CONF_MAX);
	do {
		const char *nl = text < end ? memchr(text, '\n', (size_t)(end - text)) : NULL;
		const char *stop = nl ? nl : end;

		line++;
		if (parse_line(c, text, (size_t)(stop - text), line == 1, e) != 0) {
			e->code = ERR_CONFIG;
			return err_wrap(e, "line %u", line);
		}
		text = stop + 1;
	} while (text < end);
	return agent_conf_check(c, e);
}
