/*
 * expat calls, a stack of open elements answers. An element's text is what
 * came since its start tag; a start tag inside throws it away, because AWS
 * never mixes text and elements.
 */
#include "credentials/aws_xml.h"

#include <string.h>

#include <expat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum { DEPTH = 32, ELEMENTS_MAX = 200000, TEXT_MAX = 1024 * 1024 };

struct builder {
	XML_Parser parser;
	struct xml *root, *open[DEPTH];
	size_t depth, elements;
	struct buf text;
	struct err *e;
	bool failed;
};

static void fail(struct builder *b, enum err_code code, const char *what)
{
	(void)err_set(b->e, code, "XML reply: %s", what);
	b->failed = true;
	XML_StopParser(b->parser, XML_FALSE);
}

static bool adopt(struct xml *parent, struct xml *x)
{
	size_t n = parent->count;

	if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
		struct xml **bigger = mem_resize(parent->child, (n ? 2 * n : 4) * sizeof(*bigger));

		if (!bigger)
			return false;
		parent->child = bigger;
	}
	parent->child[parent->count++] = x;
	return true;
}

static void XMLCALL on_start(void *arg, const char *name, const char **attributes)
{
	struct builder *b = arg;
	struct xml *x;

	(void)attributes;
	if (b->failed)
		return;
	if (b->depth == DEPTH || b->elements++ == ELEMENTS_MAX) {
		fail(b, ERR_LIMIT, "too deep or too long");
		return;
	}
	x = mem_alloc(sizeof(*x));
	if (x)
		x->name = mem_strdup(name);
	if (!x || !x->name || (b->depth && !adopt(b->open[b->depth - 1], x))) {
		xml_free(x);
		fail(b, ERR_NOMEM, "out of memory");
		return;
	}
	if (b->depth == 0)
		b->root = x;
	b->open[b->depth++] = x;
	buf_clear(&b->text);
}

static void XMLCALL on_end(void *arg, const char *name)
{
	struct builder *b = arg;
	struct xml *x;

	(void)name;
	if (b->failed)
		return;
	x = b->open[--b->depth];
	x->text = mem_strndup((const char *)buf_ptr(&b->text), x->count ? 0 : buf_len(&b->text));
	buf_clear(&b->text);
	if (!x->text) {
		fail(b, ERR_NOMEM, "out of memory");
		return;
	}
	memmove(x->text, str_trim(x->text), strlen(str_trim(x->text)) + 1);
}

static void XMLCALL on_text(void *arg, const char *p, int n)
{
	struct builder *b = arg;

	struct err e;

	if (!b->failed && buf_add(&b->text, p, (size_t)n, &e) != 0)
		fail(b, e.code, e.msg);
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *sysid, const char *pubid,
			       int internal)
{
	(void)name;
	(void)sysid;
	(void)pubid;
	(void)internal;
	fail(arg, ERR_PROTO, "a document type is not expected");
}

int xml_parse(const char *p, size_t n, struct xml **out, struct err *e)
{
	struct builder b = { .e = e };

	*out = NULL;
	if (n > 64u * 1024 * 1024)
		return err_set(e, ERR_LIMIT, "XML reply: too long");
	b.parser = XML_ParserCreate("UTF-8");
	if (!b.parser)
		return err_set(e, ERR_NOMEM, "XML reply");
	buf_init(&b.text, TEXT_MAX);
	XML_SetUserData(b.parser, &b);
	XML_SetElementHandler(b.parser, on_start, on_end);
	XML_SetCharacterDataHandler(b.parser, on_text);
	XML_SetStartDoctypeDeclHandler(b.parser, on_doctype);
	if (XML_Parse(b.parser, p, (int)n, XML_TRUE) != XML_STATUS_OK && !b.failed) {
		(void)err_set(e, ERR_PROTO, "XML reply: line %lu: %s",
			      (unsigned long)XML_GetCurrentLineNumber(b.parser),
			      XML_ErrorString(XML_GetErrorCode(b.parser)));
		b.failed = true;
	}
	XML_ParserFree(b.parser);
	buf_free(&b.text);
	if (b.failed)
		xml_free(b.root);
	else
		*out = b.root;
	return b.failed ? -1 : 0;
}

/* Recursion is bounded by DEPTH. */
void xml_free(struct xml *x)
{
	if (!x)
		return;
	for (size_t i = 0; i < x->count; i++)
		xml_free(x->child[i]);
	mem_free(x->child);
	mem_free(x->name);
	mem_free_str(x->text);
	mem_free(x);
}

static const struct xml *child_named(const struct xml *x, const char *name, size_t n)
{
	for (size_t i = 0; i < x->count; i++)
		if (strlen(x->child[i]->name) == n && memcmp(x->child[i]->name, name, n) == 0)
			return x->child[i];
	return NULL;
}

const struct xml *xml_at(const struct xml *at, const char *path)
{
	while (at && *path) {
		size_t n = strcspn(path, "/");

		at = child_named(at, path, n);
		path += n + (path[n] == '/');
	}
	return at;
}

const char *xml_text(const struct xml *at, const char *path)
{
	at = xml_at(at, path);
	return at ? at->text : NULL;
}
