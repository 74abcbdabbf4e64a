#include "cmd/bridge/options.h"

#include <string.h>

#include "base/str.h"

enum {
	WAIT_MS = 30000,
	WAIT_MOST_MS = 24 * 3600 * 1000,
	CONNECTIONS = 4096,
	CONNECTIONS_MOST = 1000000,
	FILES_KEPT = 64, /* listeners, pipes of busy connections, the command's start */
	FILES_EACH = 4   /* two sockets, and a pipe while it is busy */
};

const char bridge_args_usage[] = "--to ADDR [--listen ADDR]... [--env] [options] [-- COMMAND...]";
const char bridge_args_help[] =
	"Every client of a listener is relayed to ADDR. An address is IP:PORT, localhost:PORT or\n"
	"unix:/PATH. Without --listen: 127.0.0.1:1080. While the other end is away, as during a\n"
	"restart of the host's awsocks, clients wait for it.\n"
	"With a COMMAND: listens first, runs it, passes signals on and ends with its status.\n"
	"\n"
	"  --listen ADDR            where to listen, up to 16 times; port 0: a free one\n"
	"  --to ADDR                the other end\n"
	"  --env                    sets the variables that make COMMAND use the first listener\n"
	"  --all-proxy KIND, --all, --no-ssh        with --env: as for awsocks env\n"
	"  --wait DURATION          how long a connection waits for the other end (30s)\n"
	"  --max-waiting N          how many may (256)\n"
	"  --max-connections N      at a time; further clients wait (4096, or a quarter of the\n"
	"                           limit of open files)\n"
	"  --mode MODE              of Unix sockets that it makes (0600)\n"
	"  --die-with-parent        ends when the process ends that started it: the default with\n"
	"                           a COMMAND (--no-die-with-parent)\n"
	"  --log-level LEVEL        error, warn, info or debug (info; with a COMMAND warn)\n";

int bridge_duration(const char *text, unsigned *ms, struct err *e)
{
	static const struct {
		const char *unit;
		unsigned ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	size_t digits = strspn(text, "0123456789");
	char number[16];
	uint64_t n;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].unit) != 0 ||
		    !str_fmt(number, sizeof(number), "%.*s", (int)digits, text) ||
		    str_number(number, 0, WAIT_MOST_MS / units[i].ms, &n, NULL) != 0)
			continue;
		*ms = (unsigned)n * units[i].ms;
		return 0;
	}
	return err_set(e, ERR_USAGE,
		       "'%.40s': a duration as 500ms, 30s, 5m or 1h, up to 24h, "
		       "expected",
		       text);
}

static int parse_mode(const char *text, mode_t *mode, struct err *e)
{
	mode_t m = 0;

	if (!*text || strlen(text) > 4 || text[strspn(text, "01234567")] != '\0')
		return err_set(e, ERR_USAGE, "'%.40s': an octal mode as 0600 expected", text);
	for (; *text; text++)
		m = m * 8 + (mode_t)(*text - '0');
	if (m & ~(mode_t)0777)
		return err_set(e, ERR_USAGE, "mode: no special bits");
	*mode = m;
	return 0;
}

static int add_listener(struct bridge_opts *o, const char *text, struct err *e)
{
	if (o->listen_count == BRIDGE_LISTENERS)
		return err_set(e, ERR_USAGE, "more than %d", BRIDGE_LISTENERS);
	if (addr_parse(text, &o->listen[o->listen_count], e) != 0)
		return -1;
	o->listen_count++;
	return 0;
}

static int parse_count(const char *text, unsigned *out, struct err *e)
{
	uint64_t n;

	if (str_number(text, 1, CONNECTIONS_MOST, &n, e) != 0)
		return -1;
	*out = (unsigned)n;
	return 0;
}

static int set_value(struct bridge_args *a, const char *name, const char *value, struct err *e)
{
	if (strcmp(name, "listen") == 0)
		return add_listener(&a->bridge, value, e);
	if (strcmp(name, "to") == 0)
		return addr_parse(value, &a->bridge.to, e);
	if (strcmp(name, "wait") == 0)
		return bridge_duration(value, &a->bridge.wait_ms, e);
	if (strcmp(name, "max-waiting") == 0)
		return parse_count(value, &a->bridge.max_waiting, e);
	if (strcmp(name, "max-connections") == 0)
		return parse_count(value, &a->bridge.max, e);
	if (strcmp(name, "mode") == 0)
		return parse_mode(value, &a->bridge.mode, e);
	if (strcmp(name, "all-proxy") == 0)
		return proxy_vars_all_find(value, &a->vars.all_proxy, e);
	a->log_level = value;
	return 0;
}

static bool takes_value(const char *name)
{
	static const char *const names[] = { "listen",          "to",        "wait",
					     "max-waiting",     "mode",      "all-proxy",
					     "max-connections", "log-level", NULL };

	for (const char *const *n = names; *n; n++)
		if (strcmp(*n, name) == 0)
			return true;
	return false;
}

/* NULL: no flag. */
static bool *find_flag(struct bridge_args *a, const char *name, bool *negated)
{
	*negated = str_starts(name, "no-");
	if (*negated)
		name += strlen("no-");
	if (strcmp(name, "env") == 0)
		return &a->env;
	if (strcmp(name, "all") == 0)
		return &a->vars.extra;
	if (strcmp(name, "ssh") == 0) {
		*negated = !*negated;
		return &a->vars.no_ssh;
	}
	return strcmp(name, "die-with-parent") == 0 ? &a->die_with_parent : NULL;
}

static int set_flag(struct bridge_args *a, const char *name, const char *value, struct err *e)
{
	bool negated;
	bool *flag = find_flag(a, name, &negated);

	if (!flag)
		return err_set(e, ERR_USAGE, "unknown option --%.60s", name);
	if (value && (negated || (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)))
		return err_set(e, ERR_USAGE, "--%s: '%.40s': true or false expected", name, value);
	*flag = value ? strcmp(value, "true") == 0 : !negated;
	return 0;
}

/* Words used up: 1 or 2; -1: wrong. */
static int parse_option(struct bridge_args *a, const char *word, const char *next, struct err *e)
{
	const char *eq = strchr(word, '=');
	char name[32];

	if (!str_fmt(name, sizeof(name), "%.*s", (int)(eq ? (size_t)(eq - word) : strlen(word)),
		     word))
		return err_set(e, ERR_USAGE, "unknown option --%.60s", word);
	if (!takes_value(name))
		return set_flag(a, name, eq ? eq + 1 : NULL, e) == 0 ? 1 : -1;
	if (!eq && !next)
		return err_set(e, ERR_USAGE, "--%s needs a value", name);
	if (set_value(a, name, eq ? eq + 1 : next, e) != 0)
		return err_wrap(e, "--%s", name);
	return eq ? 1 : 2;
}

static unsigned default_max(unsigned long files)
{
	unsigned long n = files > FILES_KEPT ? (files - FILES_KEPT) / FILES_EACH : 1;

	return n > CONNECTIONS ? CONNECTIONS : n ? (unsigned)n : 1;
}

static int check(struct bridge_args *a, struct err *e)
{
	if (!a->bridge.to.len)
		return err_set(e, ERR_USAGE, "--to ADDR is missing: the other end");
	if (a->env && !a->command)
		return err_set(e, ERR_USAGE, "--env is for a COMMAND, behind --");
	return a->bridge.listen_count ? 0 : add_listener(&a->bridge, "127.0.0.1:1080", e);
}

int bridge_args_parse(struct bridge_args *a, int argc, char **argv, unsigned long files,
		      struct err *e)
{
	int at = 1;

	*a = (struct bridge_args){ .bridge = { .mode = 0600,
					       .wait_ms = WAIT_MS,
					       .max = default_max(files),
					       .max_waiting = 256 } };
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			a->help = true;
			return 0;
		}
	for (int i = 1; i < argc && !a->command; i++)
		if (strcmp(argv[i], "--") == 0 && i + 1 < argc)
			a->command = argv + i + 1;
	a->die_with_parent = a->command != NULL;
	while (at < argc && strcmp(argv[at], "--") != 0) {
		int used;

		if (!str_starts(argv[at], "--"))
			return err_set(e, ERR_USAGE, "'%.60s': a command stands behind --",
				       argv[at]);
		used = parse_option(a, argv[at] + 2, at + 1 < argc ? argv[at + 1] : NULL, e);
		if (used < 0)
			return -1;
		at += used;
	}
	if (at < argc && !a->command)
		return err_set(e, ERR_USAGE, "a command is expected behind --");
	return check(a, e);
}
