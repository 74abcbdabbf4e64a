/* Two variables hold the user's own words besides ours: what is his stays, what was ours goes. */
#include <string.h>

#include "base/str.h"
#include "cmd/awsocks/proxy_vars.h"

static const char *const java_ours[] = {
	"-Dhttp.proxyHost=",  "-Dhttp.proxyPort=",     "-Dhttps.proxyHost=",
	"-Dhttps.proxyPort=", "-Dhttp.nonProxyHosts=", NULL,
};

static bool is_java_ours(const char *word)
{
	for (const char *const *p = java_ours; *p; p++)
		if (str_starts(word, *p))
			return true;
	return false;
}

struct line {
	char *out;
	size_t size, n;
	bool cut;
};

/* " word", or "word" as the first. */
static void add_word(struct line *l, const char *word, size_t n)
{
	size_t gap = l->n ? 1 : 0;

	if (l->cut || l->n + gap + n + 1 > l->size) {
		l->cut = true;
		return;
	}
	if (gap)
		l->out[l->n++] = ' ';
	memcpy(l->out + l->n, word, n);
	l->n += n;
	l->out[l->n] = '\0';
}

/* Java parts the words at blanks, and knows quotes ("-Da=b c"): a blank in one parts nothing. */
static size_t java_word(const char *s)
{
	char quote = '\0';
	size_t n = 0;

	for (; s[n] && (quote || !strchr(" \t\n", s[n])); n++) {
		if (quote && s[n] == quote)
			quote = '\0';
		else if (!quote && (s[n] == '"' || s[n] == '\''))
			quote = s[n];
	}
	return n;
}

static void merge_java(struct line *l, const char *existing, const char *ours)
{
	for (const char *s = existing; *(s += strspn(s, " \t\n"));) {
		size_t n = java_word(s);

		if (!is_java_ours(s))
			add_word(l, s, n);
		s += n;
	}
	if (ours)
		add_word(l, ours, strlen(ours));
}

/* " -o ProxyCommand='PROGRAM connect %h %p'" as we wrote it, wherever it stands; NULL: none. */
static const char *find_ours(const char *command, size_t *n)
{
	static const char tail[] = " connect %h %p'";
	const char *start = strstr(command, "-o ProxyCommand='"), *end;

	if (!start)
		return NULL;
	start += strlen("-o ProxyCommand='");
	end = strchr(start, '\'');
	if (!end || (size_t)(end + 1 - start) < strlen(tail) ||
	    strncmp(end + 1 - strlen(tail), tail, strlen(tail)) != 0)
		return NULL;
	start -= strlen("-o ProxyCommand='");
	*n = (size_t)(end + 1 - start);
	return start;
}

static void merge_ssh(struct line *l, const char *existing, const char *ours)
{
	size_t n = 0, before;
	const char *old = find_ours(existing, &n), *behind = old ? old + n : "";

	before = old ? (size_t)(old - existing) : strlen(existing);
	while (before && existing[before - 1] == ' ')
		before--;
	/* "ssh" alone is what we wrote ourselves, and what Git takes without the variable. */
	if (before && !(before == 3 && memcmp(existing, "ssh", 3) == 0))
		add_word(l, existing, before);
	else if (ours || *behind)
		add_word(l, "ssh", 3);
	behind += strspn(behind, " ");
	if (*behind)
		add_word(l, behind, strlen(behind));
	/* ssh takes the first value of an option: a ProxyCommand of the user's own stays. */
	if (ours && !strstr(l->out, "ProxyCommand") && !strstr(l->out, "ProxyJump"))
		add_word(l, ours + strlen("ssh "), strlen(ours) - strlen("ssh "));
}

int proxy_vars_merge(const char *name, const char *existing, const char *ours, char *out,
		     size_t size, struct err *e)
{
	struct line l = { .out = out, .size = size };

	if (size == 0)
		return err_set(e, ERR_LIMIT, "%s: no room", name);
	out[0] = '\0';
	if (strcmp(name, "JAVA_TOOL_OPTIONS") == 0)
		merge_java(&l, existing ? existing : "", ours);
	else if (strcmp(name, "GIT_SSH_COMMAND") == 0)
		merge_ssh(&l, existing ? existing : "", ours);
	else if (ours)
		add_word(&l, ours, strlen(ours));
	if (l.cut)
		return err_set(e, ERR_LIMIT, "%s would be longer than %zu bytes", name, size - 1);
	return 0;
}
