#include "cmd/awsocks/env_shell.h"

#include <string.h>

#include "base/suggest.h"

static const struct {
	const char *name;
	enum env_shell shell;
} names[] = {
	{ "sh", ENV_SH },
	{ "bash", ENV_SH },
	{ "zsh", ENV_SH },
	{ "fish", ENV_FISH },
	{ "csh", ENV_CSH },
	{ "powershell", ENV_POWERSHELL },
	{ "json", ENV_JSON },
	{ "dotenv", ENV_DOTENV },
	{ "systemd", ENV_SYSTEMD },
	{ "docker", ENV_DOCKER },
	{ "launchctl", ENV_LAUNCHCTL },
	/* not named in help: other names of the same */
	{ "ksh", ENV_SH },
	{ "mksh", ENV_SH },
	{ "dash", ENV_SH },
	{ "ash", ENV_SH },
	{ "tcsh", ENV_CSH },
	{ "pwsh", ENV_POWERSHELL },
};

static bool find(const char *name, enum env_shell *out)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].name, name) == 0) {
			*out = names[i].shell;
			return true;
		}
	return false;
}

static const char *next_name(const void *arg, size_t i)
{
	(void)arg;
	return i < sizeof(names) / sizeof(names[0]) ? names[i].name : NULL;
}

int env_shell_find(const char *name, enum env_shell *out, struct err *e)
{
	const char *near;

	if (find(name, out))
		return 0;
	near = suggest(name, next_name, NULL);
	return err_set(e, ERR_USAGE,
		       "--shell '%.40s'%s%s: it is one of sh, bash, zsh, fish, csh, powershell, "
		       "json, dotenv, systemd, docker, launchctl",
		       name, near ? ", perhaps " : "", near ? near : "");
}

bool env_shell_guess(const char *path, enum env_shell *out)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return path && find(slash ? slash + 1 : path, out) && !env_shell_is_file(*out);
}

static int add(struct buf *b, const char *text, struct err *e)
{
	return buf_add(b, text, strlen(text), e);
}

/* Each byte of the value, or what with() puts in its place. */
static int add_with(struct buf *b, const char *value, const char *(*with)(char), struct err *e)
{
	for (const char *p = value; *p; p++) {
		const char *instead = with(*p);

		if (instead ? add(b, instead, e) != 0 : buf_add(b, p, 1, e) != 0)
			return -1;
	}
	return 0;
}

static const char *in_sh(char c)
{
	return c == '\'' ? "'\\''" : NULL;
}

static const char *in_fish(char c)
{
	return c == '\'' ? "\\'" : c == '\\' ? "\\\\" : NULL;
}

static const char *in_dotenv(char c)
{
	switch (c) {
	case '"': return "\\\"";
	case '\\': return "\\\\";
	case '$': return "\\$";
	case '\n': return "\\n";
	case '\r': return "\\r";
	default: return NULL;
	}
}

/* systemd.exec(5), Environment=; % begins a specifier of systemd.unit(5). */
static const char *in_systemd(char c)
{
	switch (c) {
	case '"': return "\\\"";
	case '\\': return "\\\\";
	case '%': return "%%";
	case '\n': return "\\n";
	case '\r': return "\\r";
	default: return NULL;
	}
}

/* RFC 8259, 7. */
static const char *in_json(char c)
{
	switch (c) {
	case '"': return "\\\"";
	case '\\': return "\\\\";
	case '\n': return "\\n";
	case '\r': return "\\r";
	case '\t': return "\\t";
	default: return (unsigned char)c < 0x20 ? "\\ufffd" : NULL;
	}
}

/* Words of eval `...` are taken for file name patterns before eval sees them ("No match."), and
 * quotes do not keep them from that: each special character has a backslash of its own. */
static int add_csh(struct buf *b, const char *value, struct err *e)
{
	for (const char *p = value; *p; p++) {
		if (strchr(" \t\"'\\`$!*?[]{}()~|;&<>#^%=", *p) && add(b, "\\", e) != 0)
			return -1;
		if (buf_add(b, p, 1, e) != 0)
			return -1;
	}
	return 0;
}

/* PowerShell takes the typographic quotes U+2018 to U+201B for single quotes too. */
static int add_powershell(struct buf *b, const char *value, struct err *e)
{
	for (const char *p = value; *p;) {
		bool curly = strncmp(p, "\xe2\x80", 2) == 0 && p[2] >= '\x98' && p[2] <= '\x9b';
		size_t n = curly ? 3 : 1;

		if ((curly || *p == '\'') && buf_add(b, p, n, e) != 0)
			return -1;
		if (buf_add(b, p, n, e) != 0)
			return -1;
		p += n;
	}
	return 0;
}

/* As it is where every reader agrees about that, then in quotes in which nothing counts, then in
 * those in which it can be escaped. */
static int add_dotenv(struct buf *b, const char *value, struct err *e)
{
	const char *quote = "";

	if (strpbrk(value, "'\n\r"))
		quote = "\"";
	else if (strpbrk(value, " \t\"\\`$#!&|;<>()*?[]{}~^"))
		quote = "'";
	if (add(b, quote, e) != 0 ||
	    (*quote == '"' ? add_with(b, value, in_dotenv, e) : add(b, value, e)) != 0)
		return -1;
	return add(b, quote, e);
}

/* What can be said in one line only. */
static int check_one_line(const char *name, const char *value, const char *where, struct err *e)
{
	if (!strpbrk(value, "\n\r"))
		return 0;
	return err_set(e, ERR_USAGE, "%s has a line end in it, which %s cannot say", name, where);
}

static int set_json(struct buf *b, const char *name, const char *value, struct err *e)
{
	bool first = buf_len(b) && buf_ptr(b)[buf_len(b) - 1] == '{';

	if (buf_addf(b, e, "%s\"%s\":\"", first ? "" : ",", name) != 0 ||
	    add_with(b, value, in_json, e) != 0)
		return -1;
	return add(b, "\"", e);
}

int env_shell_set(struct buf *b, enum env_shell shell, const char *name, const char *value,
		  struct err *e)
{
	switch (shell) {
	case ENV_FISH:
		if (buf_addf(b, e, "set -gx %s '", name) != 0 || add_with(b, value, in_fish, e))
			return -1;
		return add(b, "';\n", e);
	case ENV_CSH:
		if (check_one_line(name, value, "csh", e) != 0 ||
		    buf_addf(b, e, "setenv %s ", name) != 0 || add_csh(b, value, e) != 0)
			return -1;
		return add(b, *value ? ";\n" : "\"\";\n", e);
	case ENV_POWERSHELL:
		if (buf_addf(b, e, "$env:%s = '", name) != 0 || add_powershell(b, value, e) != 0)
			return -1;
		return add(b, "'\n", e);
	case ENV_JSON: return set_json(b, name, value, e);
	case ENV_DOTENV:
		if (buf_addf(b, e, "%s=", name) != 0 || add_dotenv(b, value, e) != 0)
			return -1;
		return add(b, "\n", e);
	case ENV_SYSTEMD:
		if (buf_addf(b, e, "Environment=\"%s=", name) != 0 ||
		    add_with(b, value, in_systemd, e) != 0)
			return -1;
		return add(b, "\"\n", e);
	case ENV_DOCKER:
		if (check_one_line(name, value, "a file for docker", e) != 0)
			return -1;
		return buf_addf(b, e, "%s=%s\n", name, value);
	case ENV_LAUNCHCTL:
	case ENV_SH:
	case ENV_SHELL_COUNT:
	default:
		if (buf_addf(b, e, shell == ENV_LAUNCHCTL ? "launchctl setenv %s '" : "export %s='",
			     name) != 0 ||
		    add_with(b, value, in_sh, e) != 0)
			return -1;
		return add(b, "';\n", e);
	}
}

int env_shell_unset(struct buf *b, enum env_shell shell, const char *name, struct err *e)
{
	switch (shell) {
	case ENV_SH: return buf_addf(b, e, "unset %s;\n", name);
	case ENV_FISH: return buf_addf(b, e, "set -e %s;\n", name);
	case ENV_CSH: return buf_addf(b, e, "unsetenv %s;\n", name);
	case ENV_POWERSHELL:
		return buf_addf(b, e, "Remove-Item Env:%s -ErrorAction SilentlyContinue\n", name);
	case ENV_LAUNCHCTL: return buf_addf(b, e, "launchctl unsetenv %s;\n", name);
	case ENV_JSON:
	case ENV_DOTENV:
	case ENV_SYSTEMD:
	case ENV_DOCKER:
	case ENV_SHELL_COUNT:
	default: return 0;
	}
}

int env_shell_begin(struct buf *b, enum env_shell shell, struct err *e)
{
	return shell == ENV_JSON      ? add(b, "{", e)
	       : shell == ENV_SYSTEMD ? add(b, "[Service]\n", e)
				      : 0;
}

int env_shell_end(struct buf *b, enum env_shell shell, struct err *e)
{
	return shell == ENV_JSON ? add(b, "}\n", e) : 0;
}

int env_shell_word(struct buf *b, const char *word, struct err *e)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789./_-+,@:=";

	if (*word && word[strspn(word, plain)] == '\0')
		return add(b, word, e);
	if (add(b, "'", e) != 0 || add_with(b, word, in_sh, e) != 0)
		return -1;
	return add(b, "'", e);
}
