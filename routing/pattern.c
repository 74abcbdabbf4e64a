/*
 * Text to pattern, in this order: `re:`, port, network, wildcards, plain host.
 *
 * A pattern that could never match, or that matches something else than it
 * looks like, is refused with what to write instead: 10.* (a network is
 * 10.0.0.0/8, and 10.evil.example is a name), 10.1.2.3/8, 127.1, and
 * expressions that could take long (back references, large repetitions).
 *
 * A regular expression is not wrapped in ^( )$, which "a)|(b" would break out
 * of; POSIX matching is leftmost-longest, so the name matches as a whole
 * exactly if the match found spans it.
 */
#include "routing/pattern.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { PATTERN_MAX = 512, REGEX_MAX = 256, REPEAT_MAX = 256, UNFOLDED_MAX = 2048, GROUPS_MAX = 32 };

/* pattern_parse() says before it which pattern, as it was written. */
static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_CONFIG, "%s", what);
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_NOMEM, "pattern");
}

void subject_init(struct subject *s, const char *host, uint16_t port)
{
	s->host = host;
	s->port = port;
	s->is_address = host_addr(host, &s->addr);
}

void pattern_free(struct pattern *p)
{
	if (p->regex)
		regfree(p->regex);
	mem_free(p->regex);
	mem_free(p->text);
	*p = (struct pattern){ 0 };
}

int port_range_parse(const char *text, struct port_range *r, struct err *e)
{
	const char *dash = strchr(text, '-');
	char lo[6] = "";
	uint64_t a, b;

	if (strlen(text) > 11 || (dash && (size_t)(dash - text) >= sizeof(lo)))
		return err_set(e, ERR_CONFIG, "'%.20s' is no port: write 443 or 8000-8099", text);
	memcpy(lo, text, dash ? (size_t)(dash - text) : strnlen(text, sizeof(lo) - 1));
	if (str_number(lo, 1, 65535, &a, NULL) != 0 ||
	    str_number(dash ? dash + 1 : text, 1, 65535, &b, NULL) != 0)
		return err_set(e, ERR_CONFIG, "'%.20s' is no port: write 443 or 8000-8099", text);
	if (a > b)
		return err_set(e, ERR_CONFIG, "ports '%.20s': the first is above the last", text);
	*r = (struct port_range){ (uint16_t)a, (uint16_t)b };
	return 0;
}

/* Does a port stand behind the colon at `at`? Ports have digits and dashes only. */
static bool looks_like_port(const char *at)
{
	return isdigit((unsigned char)at[1]) && at[1 + strspn(at + 1, "0123456789-")] == '\0';
}

/* Cuts the port off `host` (a copy of text) and the brackets of IPv6. */
static int split_port(char *host, struct port_range *port, struct err *e)
{
	char *colon = strrchr(host, ':'), *close = strchr(host, ']');

	if (*host == '[') {
		if (!close)
			return bad(e, "'[' without ']'");
		colon = close[1] == ':' ? close + 1 : strstr(close, ":");
	} else if (colon && strchr(host, ':') != colon) {
		return 0; /* IPv6 without brackets: no port */
	}
	if (colon) {
		if (port_range_parse(colon + 1, port, e) != 0)
			return -1;
		*colon = '\0';
	}
	if (*host == '[') { /* [v6], [v6/64], [v6]/64 */
		memmove(close, close + 1, strlen(close + 1) + 1);
		memmove(host, host + 1, strlen(host));
		if (!strchr(host, ':'))
			return bad(e, "only IPv6 addresses stand in brackets");
	}
	return 0;
}

/* ---- networks ---- */

static bool bits_beyond(const struct host_addr *a, unsigned prefix)
{
	for (unsigned i = prefix; i < a->size * 8; i++)
		if (a->byte[i / 8] & (0x80 >> i % 8))
			return true;
	return false;
}

static void clear_beyond(struct host_addr *a, unsigned prefix)
{
	for (unsigned i = prefix; i < a->size * 8; i++)
		a->byte[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
}

/* ::ffff:10.0.0.0/104 is 10.0.0.0/8: mapped destinations are normalised to IPv4. */
static void unmap(struct pattern *p)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (p->net.size != 16 || p->prefix < 96 || memcmp(p->net.byte, mapped, 12) != 0)
		return;
	memmove(p->net.byte, p->net.byte + 12, 4);
	p->net.size = 4;
	p->prefix -= 96;
}

static int parse_net(struct pattern *p, char *text, struct err *e)
{
	char *slash = strchr(text, '/'), canonical[HOST_MAX];
	uint64_t prefix;

	*slash = '\0';
	if (!host_addr(text, &p->net))
		return bad(e, "a network begins with a whole address, as in 10.0.0.0/8");
	if (str_number(slash + 1, 0, p->net.size * 8, &prefix, NULL) != 0)
		return bad(e, p->net.size == 4 ? "the prefix length must be 0 to 32"
					       : "the prefix length must be 0 to 128");
	p->prefix = (unsigned)prefix;
	if (bits_beyond(&p->net, p->prefix)) {
		clear_beyond(&p->net, p->prefix);
		host_addr_format(&p->net, canonical);
		return err_set(
			e, ERR_CONFIG,
			"bits beyond the prefix are set: write %s/%u for the network, or the "
			"address alone",
			canonical, p->prefix);
	}
	p->kind = PATTERN_NET;
	unmap(p);
	return 0;
}

static bool net_has(const struct pattern *p, const struct host_addr *a)
{
	unsigned whole = p->prefix / 8, rest = p->prefix % 8;

	if (a->size != p->net.size || memcmp(a->byte, p->net.byte, whole) != 0)
		return false;
	return rest == 0 || ((a->byte[whole] ^ p->net.byte[whole]) >> (8 - rest)) == 0;
}

/* ---- names ---- */

/* A canonical name or address; what must be a name is checked by the caller. */
static int normal(const char *text, struct host *h, struct err *e)
{
	if (host_normalize(text, strlen(text), h, e) == 0)
		return 0;
	e->code = ERR_CONFIG;
	return -1;
}

static int parse_host(struct pattern *p, const char *text, struct err *e)
{
	struct host h;
	size_t n = strlen(text);

	if (normal(text, &h, e) != 0)
		return -1;
	if (n && text[n - 1] == '.')
		n--;
	if (h.is_address && !strchr(text, ':') &&
	    (strlen(h.text) != n || memcmp(h.text, text, n) != 0))
		return err_set(e, ERR_CONFIG, "that is the address %s: write it so", h.text);
	p->kind = PATTERN_HOST;
	p->text = mem_strdup(h.text);
	return p->text ? 0 : no_memory(e);
}

static int parse_suffix(struct pattern *p, const char *text, bool apex, struct err *e)
{
	struct host h;

	if (normal(text, &h, e) != 0)
		return -1;
	if (h.is_address)
		return bad(e, "an address has no subdomains: write a network, as in 10.0.0.0/8");
	p->kind = PATTERN_SUFFIX;
	p->apex = apex;
	p->text = mem_strdup(h.text);
	return p->text ? 0 : no_memory(e);
}

/* One label of a glob onto the end of out[HOST_MAX]. */
static int add_label(char *out, const char *label, size_t n, struct err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_*?";
	char text[PATTERN_MAX];
	struct host h;
	size_t used = strlen(out);

	memcpy(text, label, n);
	text[n] = '\0';
	str_lower(text);
	if (n == 0)
		return bad(e, "it has an empty label");
	if (strspn(text, allowed) != n) {
		if (strpbrk(text, "*?"))
			return bad(e, "wildcards go with a to z, 0 to 9, - and _ only: write other "
				      "letters as an A-label (xn--)");
		if (normal(text, &h, e) != 0)
			return -1;
		if (h.is_address)
			return bad(e, "digits of another script: write 0 to 9");
		memcpy(text, h.text, sizeof(h.text));
	}
	if (used + strlen(text) + 2 > HOST_MAX)
		return bad(e, "it is too long");
	(void)str_fmt(out + used, HOST_MAX - used, "%s%s", used ? "." : "", text);
	return 0;
}

static int parse_glob(struct pattern *p, const char *text, struct err *e)
{
	char out[HOST_MAX] = "";
	size_t n = strlen(text);

	if (strpbrk(text, "0123456789") && strspn(text, "0123456789.*?") == n)
		return bad(e,
			   "wildcards do not match addresses: write a network, as in 10.0.0.0/8");
	if (n && text[n - 1] == '.')
		n--;
	for (const char *at = text; at <= text + n;) {
		size_t len = strcspn(at, ".");

		if (at + len > text + n)
			len = (size_t)(text + n - at);
		if (add_label(out, at, len, e) != 0)
			return -1;
		at += len + 1;
	}
	p->kind = PATTERN_GLOB;
	p->text = mem_strdup(out);
	return p->text ? 0 : no_memory(e);
}

/* `*` any run, dots too; `?` one character. On a mismatch the last star takes one more. */
static bool glob_matches(const char *glob, const char *s)
{
	const char *star = NULL, *from = NULL;

	while (*s) {
		if (*glob == '*') {
			star = glob++;
			from = s;
		} else if (*glob == '?' || *glob == *s) {
			glob++;
			s++;
		} else if (star) {
			glob = star + 1;
			s = ++from;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return *glob == '\0';
}

/* ---- regular expressions ---- */

/* The last byte of the bracket expression that begins at p; its '[' when it has no end. */
static const char *bracket_end(const char *p)
{
	const char *at = p + 1;

	at += *at == '^';
	at += *at == ']';
	for (; *at && *at != ']'; at++) {
		const char *end;
		char close[3] = { at[1], ']', '\0' };

		if (*at != '[' || !at[1] || !strchr(":.=", at[1]))
			continue;
		end = strstr(at + 2, close);
		if (!end)
			return p;
		at = end + 1;
	}
	return *at ? at : p;
}

/* The greatest number in "{m,n}", at least 2 (too much above REPEAT_MAX, which not
 * every system takes); *at moves to its '}' if there is one. */
static uint64_t interval(const char **at)
{
	const char *end = strchr(*at, '}');
	uint64_t n = 0, most = 2;

	for (const char *p = *at; end && p < end; p++) {
		n = isdigit((unsigned char)*p) && n < UNFOLDED_MAX ? n * 10 + (uint64_t)(*p - '0')
								   : 0;
		most = n > most ? n : most;
	}
	if (end)
		*at = end;
	return most > REPEAT_MAX ? UNFOLDED_MAX + 1 : most;
}

/* How many nodes the expression has when its repetitions are written out, which
 * is what regcomp() does (x+ becomes xx*, x{3} xxx): each multiplies what it
 * repeats, so that few bytes can ask for all memory. More than UNFOLDED_MAX: stop. */
static uint64_t unfolded(const char *re)
{
	uint64_t sum[GROUPS_MAX + 1] = { 0 }, last = 0, total = 0;
	size_t depth = 0;

	for (; *re && last <= UNFOLDED_MAX; re++) {
		if (*re == '+') {
			last *= 2;
		} else if (*re == '*' || *re == '?') {
			last++;
		} else if (*re == '{') {
			last *= interval(&re);
		} else if (*re == ')' && depth) {
			last += sum[depth--] + 1;
		} else {
			sum[depth] += last;
			last = *re != '(';
			if (*re == '(' && depth == GROUPS_MAX)
				return UNFOLDED_MAX + 1;
			if (*re == '(')
				sum[++depth] = 0;
			else if (*re == '[')
				re = bracket_end(re);
			else if (*re == '\\' && re[1])
				re++;
		}
	}
	for (size_t i = 0; i <= depth; i++)
		total += sum[i];
	return total + last;
}

static int check_regex(const char *re, struct err *e)
{
	size_t n = strlen(re);

	if (n == 0)
		return bad(e, "the expression is empty");
	if (n > REGEX_MAX)
		return bad(e, "the expression is longer than 256 bytes");
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)re[i] >= 0x80)
			return bad(e, "letters outside ASCII: write the A-label (xn--)");
		if (re[i] == '\\' && isdigit((unsigned char)re[i + 1]))
			return bad(e, "back references are not supported");
		if (re[i] == '\\' && re[i + 1])
			i++;
	}
	if (unfolded(re) > UNFOLDED_MAX)
		return bad(e, "repetitions (+, {n}) and groups make the expression too large");
	return 0;
}

static int parse_regex(struct pattern *p, char *re, struct err *e)
{
	char *colon = strrchr(re, ':');
	char why[100];
	int rc;

	if (colon && looks_like_port(colon)) {
		if (port_range_parse(colon + 1, &p->port, e) != 0)
			return -1;
		*colon = '\0';
	}
	if (check_regex(re, e) != 0)
		return -1;
	p->regex = mem_alloc(sizeof(*p->regex));
	if (!p->regex)
		return no_memory(e);
	rc = regcomp(p->regex, re, REG_EXTENDED | REG_ICASE);
	if (rc != 0) {
		regerror(rc, p->regex, why, sizeof(why));
		mem_free(p->regex); /* regcomp() frees what it made */
		p->regex = NULL;
		return bad(e, why);
	}
	p->kind = PATTERN_REGEX;
	return 0;
}

static bool regex_matches(const regex_t *re, const char *name)
{
	regmatch_t m;

	return regexec(re, name, 1, &m, 0) == 0 && m.rm_so == 0 && name[m.rm_eo] == '\0';
}

/* ---- all ---- */

static int parse(struct pattern *p, char *text, struct err *e)
{
	if (str_starts(text, "re:"))
		return parse_regex(p, text + 3, e);
	if (split_port(text, &p->port, e) != 0)
		return -1;
	if (*text == '\0')
		return bad(e, "no host: write * for every host, as in *:443");
	if (strcmp(text, "*") == 0)
		return 0; /* PATTERN_ANY */
	if (strchr(text, '/'))
		return parse_net(p, text, e);
	if (text[0] == '.' && !strpbrk(text, "*?"))
		return parse_suffix(p, text + 1, false, e);
	if (str_starts(text, "*.") && !strpbrk(text + 2, "*?"))
		return parse_suffix(p, text + 2, true, e);
	if (strpbrk(text, "*?"))
		return parse_glob(p, text, e);
	return parse_host(p, text, e);
}

int pattern_parse(struct pattern *p, const char *text, struct err *e)
{
	char copy[PATTERN_MAX];

	*p = (struct pattern){ .port = { 0, 65535 } };
	if (!str_fmt(copy, sizeof(copy), "%s", text))
		(void)bad(e, "longer than 511 bytes");
	else if (*text == '\0')
		(void)bad(e, "empty");
	else if (parse(p, copy, e) == 0)
		return 0;
	pattern_free(p);
	return err_wrap(e, "pattern '%.80s'", text);
}

bool pattern_matches(const struct pattern *p, const struct subject *s)
{
	size_t n, m;

	if (!port_range_has(p->port, s->port))
		return false;
	switch (p->kind) {
	case PATTERN_ANY: return true;
	case PATTERN_HOST: return strcmp(p->text, s->host) == 0;
	case PATTERN_NET: return s->is_address && net_has(p, &s->addr);
	case PATTERN_GLOB: return !s->is_address && glob_matches(p->text, s->host);
	case PATTERN_REGEX: return !s->is_address && regex_matches(p->regex, s->host);
	case PATTERN_SUFFIX: break;
	}
	n = strlen(s->host);
	m = strlen(p->text);
	if (s->is_address || n < m || strcmp(s->host + n - m, p->text) != 0)
		return false;
	return n == m ? p->apex : s->host[n - m - 1] == '.';
}
