#include "config/doc.h"

#include <string.h>

#include "base/str.h"

enum { INDENT = 30, WIDTH = 96, MAN_WIDTH = 76 };

/* Words of `text`, broken at WIDTH, from column INDENT on. */
static int wrap(struct buf *b, const char *text, struct err *e)
{
	size_t column = INDENT;

	while (*text) {
		size_t n = strcspn(text, " ");
		bool first = column == INDENT;

		if (!first && column + 1 + n > WIDTH) {
			if (buf_addf(b, e, "\n%*s", INDENT, "") != 0)
				return -1;
			column = INDENT;
			first = true;
		}
		if (buf_addf(b, e, "%s%.*s", first ? "" : " ", (int)n, text) != 0)
			return -1;
		column += n + !first;
		text += n + (text[n] == ' ');
	}
	return buf_add(b, "\n", 1, e);
}

static int entry(struct buf *b, char ch, const char *name, const char *arg, const char *help,
		 struct err *e)
{
	char left[80], brief[5] = "    ";

	if (ch)
		(void)str_fmt(brief, sizeof(brief), "-%c, ", ch);
	(void)str_fmt(left, sizeof(left), "  %s--%s%s%s", brief, name, arg ? " " : "",
		      arg ? arg : "");
	if (strlen(left) + 2 > INDENT) {
		if (buf_addf(b, e, "%s\n%*s", left, INDENT, "") != 0)
			return -1;
	} else if (buf_addf(b, e, "%-*s", INDENT, left) != 0) {
		return -1;
	}
	return wrap(b, help, e);
}

/* The help with the choices and the default behind it. */
static void describe(const struct opt *d, char *out, size_t size)
{
	const char *def = d->kind == OPT_BOOL && d->def && !strcmp(d->def, "false") ? NULL : d->def;

	(void)str_fmt(out, size, "%s%s%s%s%s%s%s%s", d->help,
		      d->kind == OPT_CHOICE ? " One of " : "", d->kind == OPT_CHOICE ? d->spec : "",
		      d->kind == OPT_CHOICE ? "." : "", def ? " [" : "", def ? def : "",
		      def ? "]" : "", d->unbuilt ? " (not built yet)" : "");
	if (d->unbuilt && strcmp(d->unbuilt, "*") != 0)
		(void)str_fmt(out + strlen(out) - strlen(" (not built yet)"), size / 4,
			      " (not built yet: %s)", d->unbuilt);
}

static int help_group(struct buf *b, enum opt_group group, struct err *e)
{
	char text[600];

	if (buf_addf(b, e, "\n%s:\n", opt_group_names[group]) != 0)
		return -1;
	for (size_t i = 0; i < OPT_ID_COUNT; i++) {
		const struct opt *d = &opt_table[i];

		if (d->group != group || !d->help)
			continue;
		describe(d, text, sizeof(text));
		if (entry(b, d->ch, d->name, d->arg, text, e) != 0)
			return -1;
	}
	return 0;
}

int doc_help(struct buf *b, const struct arg_opt *own, bool general, struct err *e)
{
	if (own && own->name && buf_addf(b, e, "\nOptions of this command:\n") != 0)
		return -1;
	for (; own && own->name; own++)
		if (entry(b, own->ch, own->name, own->arg, own->help, e) != 0)
			return -1;
	for (int g = 0; general && g < GROUP_COUNT; g++)
		if (help_group(b, (enum opt_group)g, e) != 0)
			return -1;
	return 0;
}

/* ---- the manual ---- */

/* One word for mdoc, where - and \ and a leading dot or quote mean something. */
static int man_word(struct buf *b, const char *word, size_t n, struct err *e)
{
	if ((*word == '.' || *word == '\'') && buf_add(b, "\\&", 2, e) != 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const char *as = word[i] == '\\' ? "\\e" : word[i] == '~' ? "\\(ti" : NULL;

		if (buf_add(b, as ? as : &word[i], as ? strlen(as) : 1, e) != 0)
			return -1;
	}
	return 0;
}

/* Lines of at most MAN_WIDTH; a new sentence begins on a new line. */
static int man_text(struct buf *b, const char *text, struct err *e)
{
	size_t column = 0;
	bool sentence_ended = false;

	while (*text) {
		size_t n = strcspn(text, " ");
		const char *sep = column == 0                                    ? ""
				  : sentence_ended || column + 1 + n > MAN_WIDTH ? "\n"
										 : " ";

		if (buf_addf(b, e, "%s", sep) != 0 || man_word(b, text, n, e) != 0)
			return -1;
		column = *sep == '\n' ? n : column + 1 + n;
		sentence_ended = text[n - 1] == '.';
		text += n + (text[n] == ' ');
	}
	return buf_add(b, "\n", 1, e);
}

static int man_option(struct buf *b, const struct opt *d, struct err *e)
{
	char text[600];

	describe(d, text, sizeof(text));
	if (buf_addf(b, e, ".It ") != 0 || (d->ch && buf_addf(b, e, "Fl %c , ", d->ch) != 0) ||
	    buf_addf(b, e, "Fl -%s%s%s\n", d->name, d->arg ? " Ar " : "", d->arg ? d->arg : "") !=
		    0)
		return -1;
	return man_text(b, text, e);
}

int doc_man(struct buf *b, struct err *e)
{
	for (int g = 0; g < GROUP_COUNT; g++) {
		if (buf_addf(b, e, ".Ss %s\n.Bl -tag -width Ds\n", opt_group_names[g]) != 0)
			return -1;
		for (size_t i = 0; i < OPT_ID_COUNT; i++)
			if (opt_table[i].group == (enum opt_group)g && opt_table[i].help &&
			    man_option(b, &opt_table[i], e) != 0)
				return -1;
		if (buf_addf(b, e, ".El\n") != 0)
			return -1;
	}
	return 0;
}
