#include "cmd/agent/conf.h"

#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

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
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return err_set(e, ERR_CONFIG, "'%.40s' is not understood", text);
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

static int set_nonce(struct conf *c, const char *v, struct err *e)
{
	if (strlen(v) == sizeof(c->nonce) * 2 && str_unhex(v, c->nonce, sizeof(c->nonce)))
		return 0;
	return err_set(e, ERR_CONFIG, "64 hex digits expected"); /* and none of them in a log */
}

static int set_transport(struct conf *c, const char *v, struct err *e)
{
	static const char *const words[] = { "virtio", "vsock", "stdin", NULL };
	int i = word_of(words, v, e);

	if (i < 0)
		return -1;
	c->transport = (enum conf_transport)i;
	return 0;
}

static int set_net(struct conf *c, const char *v, struct err *e)
{
	static const char *const words[] = { "dhcp", "none", "static", NULL };
	int i = word_of(words, v, e);

	if (i < 0)
		return -1;
	c->net = (enum conf_net)i;
	return 0;
}

/* A name or a number: which, is the transport's, and that may stand behind it. */
static int set_port(struct conf *c, const char *v, struct err *e)
{
	unsigned n;

	if (!*v || strlen(v) >= sizeof(c->port_name))
		return err_set(e, ERR_CONFIG, "a port's name or number expected");
	memcpy(c->port_name, v, strlen(v) + 1);
	c->port = number(v, 1, UINT32_MAX - 1u, &n, NULL) == 0 ? n : 0;
	return 0;
}

static int set_interface(struct conf *c, const char *v, struct err *e)
{
	if (!*v || strlen(v) >= sizeof(c->interface) || strchr(v, '/'))
		return err_set(e, ERR_CONFIG, "'%.40s': the name of an interface expected", v);
	memcpy(c->interface, v, strlen(v) + 1);
	return 0;
}

static int set_address(struct conf *c, const char *v, struct err *e)
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

static int set_gateway(struct conf *c, const char *v, struct err *e)
{
	return ipv4(v, &c->given.gateway, e);
}

static int set_dns(struct conf *c, const char *v, struct err *e)
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

static int set_mtu(struct conf *c, const char *v, struct err *e)
{
	return number(v, MTU_LEAST, MTU_MOST, &c->mtu, e);
}

static int set_ipv6(struct conf *c, const char *v, struct err *e)
{
	return yes_or_no(v, &c->ipv6, e);
}

static int set_log(struct conf *c, const char *v, struct err *e)
{
	static const char *const words[] = { "error", "warn", "info", "debug", NULL };
	int i = word_of(words, v, e);

	if (i < 0)
		return -1;
	c->log_level = (unsigned)i;
	return 0;
}

static int set_streams(struct conf *c, const char *v, struct err *e)
{
	return number(v, 1, STREAMS_MOST, &c->streams_max, e);
}

static int set_dial(struct conf *c, const char *v, struct err *e)
{
	return number(v, 1, LIMIT_MOST_MS, &c->dial_ms, e);
}

static int set_resolve(struct conf *c, const char *v, struct err *e)
{
	return number(v, 1, LIMIT_MOST_MS, &c->resolve_ms, e);
}

static int set_loopback(struct conf *c, const char *v, struct err *e)
{
	return yes_or_no(v, &c->allow_loopback, e);
}

static const struct key {
	const char *name;
	int (*set)(struct conf *, const char *value, struct err *);
} keys[] = {
	{ "nonce", set_nonce },
	{ "transport", set_transport },
	{ "port", set_port },
	{ "net", set_net },
	{ "interface", set_interface },
	{ "address", set_address },
	{ "gateway", set_gateway },
	{ "dns", set_dns },
	{ "mtu", set_mtu },
	{ "ipv6", set_ipv6 },
	{ "log", set_log },
	{ "streams-max", set_streams },
	{ "dial-limit", set_dial },
	{ "resolve-limit", set_resolve },
	{ "allow-loopback", set_loopback },
};

/* ---- lines ---- */

static int set(struct conf *c, char *line, struct err *e)
{
	char *eq = strchr(line, '=');

	if (!eq)
		return err_set(e, ERR_CONFIG, "KEY=VALUE expected");
	*eq = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].name, line) != 0)
			continue;
		return keys[i].set(c, eq + 1, e) == 0 ? 0 : err_wrap(e, "%s", line);
	}
	return err_set(e, ERR_CONFIG, "unknown key '%.40s'", line);
}

static int parse_line(struct conf *c, const char *p, size_t n, bool first, struct err *e)
{
	char line[LINE_MAX_BYTES];

	if (n >= sizeof(line) || memchr(p, '\0', n))
		return err_set(e, ERR_CONFIG, "too long, or not a text");
	memcpy(line, p, n);
	line[n] = '\0';
	if (first && !str_starts(line, "nonce="))
		return err_set(e, ERR_CONFIG, "nonce= must be the first");
	return !n || *line == '#' ? 0 : set(c, line, e);
}

static int check(const struct conf *c, struct err *e)
{
	if (c->transport == CONF_VSOCK && !c->port)
		return err_set(e, ERR_CONFIG, "port: a number is needed for vsock");
	if (c->net == CONF_STATIC && !c->given.address.len)
		return err_set(e, ERR_CONFIG, "address: is needed for net=static");
	return 0;
}

int conf_parse(struct conf *c, const char *text, size_t n, struct err *e)
{
	const char *end = text + n;
	unsigned line = 0;

	*c = (struct conf){ .port_name = "awsocks.0",
			    .port = VSOCK_PORT,
			    .log_level = LOG_INFO,
			    .streams_max = STREAMS,
			    .dial_ms = DIAL_MS,
			    .resolve_ms = RESOLVE_MS };
	if (n > CONF_MAX)
		return err_set(e, ERR_CONFIG, "more than %d bytes", CONF_MAX);
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
	return check(c, e);
}
