/*
 * Line by line, as Python's configparser reads these files (it is what the
 * AWS CLI uses), with leniency where that one gives up on a file that other
 * AWS tools read:
 *
 *   [section]            a key's name ends at the first '=' or ':'
 *   key = value          deeper indentation than the key's: its continuation;
 *   s3 =                 under an empty value that is a map of `k = v`
 *     k = v
 *   # comment            ';' too; also behind a value, after a blank
 *
 * Lenient with a warning: a byte order mark, a section or a key that comes
 * twice (sections are merged, the last key wins), a comment behind a value.
 * In commands and secrets '#' and ';' are part of the value.
 */
#include "credentials/ini.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

struct reader {
	struct ini *ini;
	const char *name;
	unsigned line;
	struct ini_section *section;
	struct ini_key *key; /* whose value may go on */
	size_t indent;       /* of that key's line */
	struct err *e;
};

static const char *const verbatim[] = { "credential_process", "aws_access_key_id",
					"aws_secret_access_key", "aws_session_token",
					"aws_security_token" };

static int bad(struct reader *r, const char *what)
{
	return err_set(r->e, ERR_CONFIG, "%s:%u: %s", r->name, r->line, what);
}

static int nomem(struct reader *r)
{
	return err_set(r->e, ERR_NOMEM, "%s", r->name);
}

static void warn(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct reader *r, const char *fmt, ...)
{
	struct ini_warning *w;
	va_list ap;

	if (r->ini->warning_count == INI_WARNINGS)
		return;
	if (!r->ini->warnings)
		r->ini->warnings = mem_alloc(INI_WARNINGS * sizeof(*w));
	if (!r->ini->warnings)
		return; /* a warning is not worth an error */
	w = &r->ini->warnings[r->ini->warning_count++];
	w->line = r->line;
	va_start(ap, fmt);
	vsnprintf(w->text, sizeof(w->text), fmt, ap);
	va_end(ap);
}

/* An array of `count` items of `size`, grown to hold one more; sizes double. */
static void *grown(void *items, size_t count, size_t size)
{
	bool full = count == 0 || (count >= 4 && (count & (count - 1)) == 0);
	char *bigger;

	if (!full)
		return items;
	bigger = mem_alloc((count ? 2 * count : 4) * size);
	if (bigger && count)
		memcpy(bigger, items, count * size);
	if (bigger)
		mem_free(items);
	return bigger;
}

static void key_clear(struct ini_key *k)
{
	for (size_t i = 0; i < k->map_count; i++)
		key_clear(&k->map[i]);
	mem_free(k->map);
	mem_free(k->name);
	mem_free_str(k->value);
	*k = (struct ini_key){ 0 };
}

static struct ini_key *find(struct ini_key *keys, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* The key of that name, emptied, or a new one at the end. NULL: *r->e tells. */
static struct ini_key *put(struct reader *r, struct ini_key **keys, size_t *count, char *name)
{
	struct ini_key *k, *array;
	char *copy;

	str_lower(name);
	k = find(*keys, *count, name);
	if (k) {
		warn(r, "'%.60s' comes twice: the last one counts", name);
		copy = k->name;
		k->name = NULL;
		key_clear(k);
		k->name = copy;
		return k;
	}
	if (*count == INI_KEYS_MAX) {
		(void)err_set(r->e, ERR_LIMIT, "%s:%u: more than %d keys in a section", r->name,
			      r->line, INI_KEYS_MAX);
		return NULL;
	}
	array = grown(*keys, *count, sizeof(*k));
	copy = mem_strdup(name);
	if (array)
		*keys = array;
	if (!array || !copy) {
		mem_free(copy);
		(void)nomem(r);
		return NULL;
	}
	k = &(*keys)[(*count)++];
	*k = (struct ini_key){ .name = copy };
	return k;
}

static void cut_comment(struct reader *r, const char *key, char *value)
{
	for (size_t i = 0; i < sizeof(verbatim) / sizeof(*verbatim); i++)
		if (strcmp(key, verbatim[i]) == 0)
			return;
	for (char *at = value; *at; at++)
		if ((*at == '#' || *at == ';') && (at == value || isspace((unsigned char)at[-1]))) {
			warn(r,
			     "comment behind '%.60s' cut; the AWS CLI takes it as part of the "
			     "value",
			     key);
			*at = '\0';
			str_trim(value);
			return;
		}
}

/* `name <delimiter> value`; the value may be empty. */
static int add_pair(struct reader *r, struct ini_key **keys, size_t *count, char *text,
		    const char *delimiters)
{
	size_t n = strcspn(text, delimiters);
	char *name, *value;
	struct ini_key *k;

	if (!text[n])
		return bad(r, "'key = value' expected");
	value = str_trim(text + n + 1);
	text[n] = '\0';
	name = str_trim(text);
	if (!*name)
		return bad(r, "a name is missing before '='");
	k = put(r, keys, count, name);
	if (!k)
		return -1;
	k->line = r->line;
	cut_comment(r, k->name, value);
	k->value = mem_strdup(value);
	return k->value ? 0 : nomem(r);
}

static int add_key(struct reader *r, char *text, size_t indent)
{
	if (!r->section)
		return bad(r, "a key before the first [section]");
	if (add_pair(r, &r->section->keys, &r->section->count, text, "=:") != 0)
		return -1;
	r->indent = indent;
	str_lower(text);
	r->key = find(r->section->keys, r->section->count, str_trim(text));
	return 0;
}

static int continue_value(struct reader *r, char *text)
{
	struct ini_key *k = r->key;
	size_t old = strlen(k->value), more;
	char *longer;

	if (old == 0)
		return add_pair(r, &k->map, &k->map_count, text, "=");
	cut_comment(r, k->name, text);
	more = strlen(text);
	longer = mem_alloc(old + more + 2);
	if (!longer)
		return nomem(r);
	memcpy(longer, k->value, old);
	longer[old] = '\n';
	memcpy(longer + old + 1, text, more);
	mem_free_str(k->value);
	k->value = longer;
	return 0;
}

/* The bracket that ends a section's name: one inside quotes does not. */
static char *closing(char *text)
{
	char quote = 0;

	for (; *text; text++) {
		if (quote ? *text == quote : *text == ']')
			if (!quote)
				return text;
		if (quote && *text == quote)
			quote = 0;
		else if (!quote && (*text == '"' || *text == '\''))
			quote = *text;
	}
	return NULL;
}

static int add_section(struct reader *r, char *text)
{
	char *end = closing(text), *name, *rest;
	struct ini_section *array;

	if (!end)
		end = strrchr(text, ']'); /* an apostrophe is no quote then */
	if (!end)
		return bad(r, "']' is missing");
	*end = '\0';
	name = str_trim(text + 1);
	rest = str_trim(end + 1);
	if (*rest && *rest != '#' && *rest != ';')
		return bad(r, "text behind ']'");
	if (name != text + 1)
		warn(r, "[ %.60s: blanks behind the '[': the AWS CLI does not find it", name);
	r->key = NULL;
	for (size_t i = 0; i < r->ini->count; i++)
		if (strcmp(r->ini->sections[i].name, name) == 0) {
			warn(r, "[%.60s] comes twice: both are read, the AWS CLI refuses the file",
			     name);
			r->section = &r->ini->sections[i];
			return 0;
		}
	if (r->ini->count == INI_SECTIONS_MAX)
		return err_set(r->e, ERR_LIMIT, "%s:%u: more than %d sections", r->name, r->line,
			       INI_SECTIONS_MAX);
	array = grown(r->ini->sections, r->ini->count, sizeof(*array));
	if (!array)
		return nomem(r);
	r->ini->sections = array;
	name = mem_strdup(name);
	if (!name)
		return nomem(r);
	r->section = &array[r->ini->count++];
	*r->section = (struct ini_section){ .name = name, .line = r->line };
	return 0;
}

/* One line without its end; may be changed. */
static int add_line(struct reader *r, char *line)
{
	char *text = str_trim(line);
	size_t indent = (size_t)(text - line);

	if (!*text || *text == '#' || *text == ';')
		return 0;
	if (r->key && indent > r->indent)
		return continue_value(r, text);
	return *text == '[' ? add_section(r, text) : add_key(r, text, indent);
}

static int add_text(struct reader *r, char *text, size_t n)
{
	char *next;

	if (memchr(text, '\0', n))
		return err_set(r->e, ERR_CONFIG, "%s: a NUL byte: not a text file", r->name);
	if (str_starts(text, "\xef\xbb\xbf")) {
		r->line = 1;
		warn(r, "byte order mark skipped; the AWS CLI refuses the file");
		text += 3;
		r->line = 0;
	}
	for (; text; text = next) {
		next = strchr(text, '\n');
		if (next)
			*next++ = '\0';
		r->line++;
		if (add_line(r, text) != 0)
			return -1;
	}
	return 0;
}

int ini_parse(const char *text, size_t n, const char *name, struct ini **out, struct err *e)
{
	struct reader r = { .name = name, .e = e };
	char *copy;
	int result;

	*out = NULL;
	if (n > INI_FILE_MAX)
		return err_set(e, ERR_LIMIT, "%s: longer than %d bytes", name, INI_FILE_MAX);
	r.ini = mem_alloc(sizeof(*r.ini));
	copy = mem_strndup(text, n);
	result = r.ini && copy ? add_text(&r, copy, n) : nomem(&r);
	if (copy)
		mem_wipe(copy, n);
	mem_free(copy);
	if (result != 0)
		ini_free(r.ini);
	else
		*out = r.ini;
	return result;
}

void ini_free(struct ini *ini)
{
	if (!ini)
		return;
	for (size_t i = 0; i < ini->count; i++) {
		for (size_t j = 0; j < ini->sections[i].count; j++)
			key_clear(&ini->sections[i].keys[j]);
		mem_free(ini->sections[i].keys);
		mem_free(ini->sections[i].name);
	}
	mem_free(ini->sections);
	mem_free(ini->warnings);
	mem_free(ini);
}

const struct ini_section *ini_section(const struct ini *ini, const char *name)
{
	for (size_t i = 0; ini && i < ini->count; i++)
		if (strcmp(ini->sections[i].name, name) == 0)
			return &ini->sections[i];
	return NULL;
}

const struct ini_key *ini_key(const struct ini_section *s, const char *name)
{
	return s ? find(s->keys, s->count, name) : NULL;
}
