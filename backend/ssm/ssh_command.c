#include "backend/ssm/ssh_command.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* --- the command line --- */

/* Fixed, whatever ~/.ssh/config says: one connection without terminal, forwardings, questions or
 * programs of its own. A sshd that is gone is noticed after 150 s, when a
 * data channel that was lost has been given up. */
static const char *const fixed[] = {
	"IgnoreUnknown=ForkAfterAuthentication", /* OpenSSH before 8.7 */
	"BatchMode=yes",
	"ConnectTimeout=30",
	"ConnectionAttempts=1",
	"ControlPersist=no",
	"ProxyUseFdpass=yes",
	"StrictHostKeyChecking=accept-new",
	"GlobalKnownHostsFile=/dev/null",
	"UpdateHostKeys=no",
	"CheckHostIP=no",
	"VerifyHostKeyDNS=no",
	"CanonicalizeHostname=no",
	"ServerAliveInterval=30",
	"ServerAliveCountMax=5",
	"ClearAllForwardings=yes",
	"ForwardAgent=no",
	"ForwardX11=no",
	"Tunnel=no",
	"AddKeysToAgent=no",
	"PermitLocalCommand=no",
	"RemoteCommand=none",
	"ForkAfterAuthentication=no",
	"LogLevel=INFO",
	"IPQoS=none",
};
enum { FIXED = sizeof(fixed) / sizeof(*fixed) };

static int add(struct ssh_args *a, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int add(struct ssh_args *a, struct err *e, const char *fmt, ...)
{
	char *to = a->text + a->used;
	size_t room = sizeof(a->text) - a->used;
	va_list ap;
	int n;

	if (a->count + 1 >= SSH_ARGS_MAX)
		return err_set(e, ERR_INTERNAL, "ssh: too many arguments");
	va_start(ap, fmt);
	n = vsnprintf(to, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		return err_set(e, ERR_CONFIG, "ssh: the command line is too long");
	a->used += (size_t)n + 1;
	a->argv[a->count++] = to;
	a->argv[a->count] = NULL;
	return 0;
}

static int add_option(struct ssh_args *a, const char *option, struct err *e)
{
	return add(a, e, "-o") != 0 ? -1 : add(a, e, "%s", option);
}

/* In a value ssh expands %, ${...} and a leading ~, and ends at a quote. */
static int quote(char *to, size_t size, const char *what, const char *value, const char *bad,
		 struct err *e)
{
	size_t n = 0;

	for (const char *p = value; *p; p++) {
		if (iscntrl((unsigned char)*p) || strchr(bad, *p) || (p == value && *p == '~'))
			return err_set(e, ERR_CONFIG,
				       "ssh: the %s '%.200s' has a character that ssh would not "
				       "take literally",
				       what, value);
		if (n + 3 > size)
			return err_set(e, ERR_CONFIG, "ssh: the %s is too long", what);
		if (*p == '%')
			to[n++] = '%';
		to[n++] = *p;
	}
	to[n] = '\0';
	return 0;
}

/* -o NAME="path" */
static int add_path(struct ssh_args *a, const char *name, const char *path, struct err *e)
{
	char value[1200];

	if (quote(value, sizeof(value), name, path, "\"$\\", e) != 0 || add(a, e, "-o") != 0)
		return -1;
	return add(a, e, "%s=\"%s\"", name, value);
}

/* ProxyCommand goes through the user's shell. */
static int add_helper(struct ssh_args *a, const struct ssh_login *l, struct err *e)
{
	char helper[1200], carrier[1200];

	if (quote(helper, sizeof(helper), "program's path", l->helper, "'$\\!", e) != 0 ||
	    quote(carrier, sizeof(carrier), "socket's path", l->carrier, "'$\\!", e) != 0 ||
	    add(a, e, "-o") != 0)
		return -1;
	return add(a, e, "ProxyCommand='%s' ssh-pass '%s'", helper, carrier);
}

static int check_word(const char *what, const char *word, struct err *e)
{
	if (!*word || *word == '-')
		return err_set(e, ERR_CONFIG, "ssh: '%.60s' is not a %s", word, what);
	for (const char *p = word; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.@+", *p))
			return err_set(e, ERR_CONFIG, "ssh: '%.60s' is not a %s", word, what);
	return 0;
}

static int add_identity(struct ssh_args *a, const struct ssh_login *l, struct err *e)
{
	if (!l->own_keys && (add(a, e, "-F") != 0 || add(a, e, "none") != 0 ||
			     add_option(a, "IdentitiesOnly=yes", e) != 0))
		return -1;
	if (l->no_agent && add_option(a, "IdentityAgent=none", e) != 0)
		return -1;
	return l->identity ? add_path(a, "IdentityFile", l->identity, e) : 0;
}

static int add_names(struct ssh_args *a, const struct ssh_login *l, struct err *e)
{
	if (check_word("name of an instance", l->instance, e) != 0 ||
	    (l->user && check_word("user name", l->user, e) != 0))
		return -1;
	if (l->user && (add(a, e, "-l") != 0 || add(a, e, "%s", l->user) != 0))
		return -1;
	if (add(a, e, "-o") != 0 || add(a, e, "HostKeyAlias=%s", l->instance) != 0)
		return -1;
	return add(a, e, "--") != 0 ? -1 : add(a, e, "%s", l->instance);
}

int ssh_command(struct ssh_args *a, const struct ssh_login *l, struct err *e)
{
	*a = (struct ssh_args){ .count = 0 };
	if (add(a, e, "ssh") != 0 || add(a, e, "-NTM") != 0)
		return -1;
	for (size_t i = 0; i < FIXED; i++)
		if (add_option(a, fixed[i], e) != 0)
			return -1;
	if (add_option(a, l->compression ? "Compression=yes" : "Compression=no", e) != 0 ||
	    add_path(a, "ControlPath", l->control, e) != 0 ||
	    add_path(a, "UserKnownHostsFile", l->known_hosts, e) != 0 || add_helper(a, l, e) != 0 ||
	    add_identity(a, l, e) != 0)
		return -1;
	return add_names(a, l, e);
}

/* --- checking one --- */

/* `rest` is one file's name in a directory, and then `end`. No % among others: ssh would put other
 * arguments in its place (%k is the HostKeyAlias), and a shell reads what comes of it. */
static bool is_name(const char *rest, const char *end)
{
	size_t n = 0;

	while (isalnum((unsigned char)rest[n]) || (n > 0 && rest[n] && strchr("-_.", rest[n])))
		n++;
	return n > 0 && strcmp(rest + n, end) == 0;
}

/* option: `head` value `middle`, then a name and `end`. */
static bool is_path(const char *option, const char *head, const char *value, const char *middle,
		    const char *end)
{
	char quoted[1200];
	size_t n = strlen(head), k;

	if (strncmp(option, head, n) != 0 ||
	    quote(quoted, sizeof(quoted), "path", value, "'\"$\\", NULL) != 0)
		return false;
	option += n;
	k = strlen(quoted);
	if (strncmp(option, quoted, k) != 0 || strncmp(option + k, middle, strlen(middle)) != 0)
		return false;
	option += k + strlen(middle);
	return end ? is_name(option, end) : !*option;
}

static bool is_helper(const char *option, const struct ssh_bounds *b)
{
	char dir[1200], middle[1300];

	if (quote(dir, sizeof(dir), "path", b->dir, "'\"$\\", NULL) != 0 ||
	    !str_fmt(middle, sizeof(middle), "' ssh-pass '%s/", dir))
		return false;
	return is_path(option, "ProxyCommand='", b->helper, middle, "'");
}

/* Those that have to be there: the connection is ours and ends at our sockets. */
enum { HAS_HELPER = 1, HAS_CONTROL = 2, HAS_KNOWN_HOSTS = 4, HAS_ALL = 7 };

static bool is_option(const char *option, const struct ssh_bounds *b, unsigned *has)
{
	static const char *const words[] = { "Compression=yes", "Compression=no",
					     "IdentitiesOnly=yes", "IdentityAgent=none" };
	static const char alias[] = "HostKeyAlias=";

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcmp(option, words[i]) == 0)
			return true;
	if (str_starts(option, alias))
		return check_word("name", option + strlen(alias), NULL) == 0;
	if (str_starts(option, "IdentityFile=\""))
		return true;
	if (is_helper(option, b))
		*has |= HAS_HELPER;
	else if (is_path(option, "ControlPath=\"", b->dir, "/", "\""))
		*has |= HAS_CONTROL;
	else if (is_path(option, "UserKnownHostsFile=\"", b->known_hosts, "\"", NULL))
		*has |= HAS_KNOWN_HOSTS;
	else
		return false;
	return true;
}

static bool is_argument(const char *flag, const char *value, const struct ssh_bounds *b,
			unsigned *has)
{
	if (strcmp(flag, "-o") == 0)
		return is_option(value, b, has);
	if (strcmp(flag, "-F") == 0)
		return strcmp(value, "none") == 0;
	return strcmp(flag, "-l") == 0 && check_word("user name", value, NULL) == 0;
}

/* ssh takes the first value of an option: ours are in front, each of them. */
static bool has_fixed(const char *const *argv)
{
	for (size_t i = 0; i < FIXED; i++)
		if (strcmp(argv[2 * i], "-o") != 0 || strcmp(argv[2 * i + 1], fixed[i]) != 0)
			return false;
	return true;
}

int ssh_command_check(const char *const *argv, const struct ssh_bounds *b, struct err *e)
{
	enum { FREE = 2 + 2 * FIXED };
	unsigned has = 0;
	size_t n = 0;

	while (argv[n])
		n++;
	if (n < FREE + 2 || n % 2 || strcmp(argv[0], "ssh") != 0 || strcmp(argv[1], "-NTM") != 0 ||
	    !has_fixed(argv + 2) || strcmp(argv[n - 2], "--") != 0)
		return err_set(e, ERR_DENIED, "ssh: not the command line of a master");
	for (size_t i = FREE; i < n - 2; i += 2)
		if (!is_argument(argv[i], argv[i + 1], b, &has))
			return err_set(e, ERR_DENIED, "ssh: '%.60s' is not an argument of ours",
				       argv[i + 1]);
	if (check_word("name of an instance", argv[n - 1], NULL) != 0)
		return err_set(e, ERR_DENIED, "ssh: '%.60s' is no instance", argv[n - 1]);
	return has == HAS_ALL ? 0 : err_set(e, ERR_DENIED, "ssh: an option is missing");
}

/* --- complaints --- */

struct complaint {
	const char *text;
	enum err_code code;
	const char *meaning; /* "%s": the instance */
};

static const struct complaint complaints[] = {
	{ "Permission denied", ERR_CREDS,
	  "sshd of %s accepts none of our keys (see --ssh-user and --ssh-key; a key with a "
	  "passphrase has to be in the agent)" },
	{ "Too many authentication failures", ERR_CREDS,
	  "sshd of %s has refused too many keys of the agent: name one with --ssh-key" },
	{ "during banner exchange", ERR_TIMEOUT, "sshd of %s does not answer" },
	{ "Connection timed out", ERR_TIMEOUT, "sshd of %s does not answer" },
	{ "not responding", ERR_TIMEOUT, "sshd of %s does not answer any more" },
	{ "no matching", ERR_UNSUPPORTED, "ssh and the sshd of %s have no algorithm in common" },
	{ "kex_exchange_identification", ERR_TARGET,
	  "no SSH server answers on %s (does sshd run there?)" },
};

static void last_line(const char *text, size_t n, char *out, size_t size)
{
	size_t end = n, start;

	while (end && isspace((unsigned char)text[end - 1]))
		end--;
	for (start = end; start && text[start - 1] != '\n';)
		start--;
	(void)str_fmt(out, size, "%.*s", (int)(end - start), text + start);
}

static bool contains(const char *text, size_t n, const char *what)
{
	size_t k = strlen(what);

	for (size_t i = 0; i + k <= n; i++)
		if (memcmp(text + i, what, k) == 0)
			return true;
	return false;
}

bool ssh_complaint(const char *text, size_t n, const struct ssh_login *l, struct err *e)
{
	char line[200], meaning[200];

	last_line(text, n, line, sizeof(line));
	if (contains(text, n, "IDENTIFICATION HAS CHANGED") ||
	    contains(text, n, "Host key verification failed")) {
		(void)err_set(e, ERR_TARGET,
			      "the host key of %.40s is not the one seen first: if it was "
			      "reinstalled, ssh-keygen -R %.40s -f %.150s",
			      l->instance, l->instance, l->known_hosts);
		return true;
	}
	for (size_t i = 0; i < sizeof(complaints) / sizeof(*complaints); i++) {
		const struct complaint *c = &complaints[i];
		const char *at = strstr(c->meaning, "%s");

		if (!contains(text, n, c->text))
			continue;
		(void)str_fmt(meaning, sizeof(meaning), "%.*s%s%s", (int)(at - c->meaning),
			      c->meaning, l->instance, at + 2);
		(void)err_set(e, c->code, "%s: %.110s", meaning, line);
		return c->code != ERR_TARGET;
	}
	(void)err_set(e, ERR_CLOSED, "ssh ended: %s", line[0] ? line : "without a word");
	return false;
}
