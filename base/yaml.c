/*
 * libyaml's events, put together as a tree.
 *
 * A stack of open collections holds where the next node belongs; a map keeps
 * a key that waits for its value. What could make a small text into a large
 * tree, or into another tree for another reader, is refused: aliases and
 * anchors, tags, merge keys, several documents, a key twice. Bounded by
 * MAX_TEXT bytes, MAX_DEPTH levels, MAX_NODES nodes and MAX_KEYS keys a map.
 */
#include "base/yaml.h"

#include <stdbool.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"

enum { MAX_TEXT = 1024 * 1024, MAX_DEPTH = 32, MAX_NODES = 200000, MAX_KEYS = 4096 };

struct builder {
	const char *name;
	yaml_parser_t parser;
	struct yaml *root;
	struct yaml *open[MAX_DEPTH];
	struct yaml *pending_key[MAX_DEPTH]; /* of the map at that level */
	unsigned depth, nodes, documents;
	bool done;
};

void yaml_tree_free(struct yaml *y)
{
	if (!y)
		return;
	for (size_t i = 0; i < y->count; i++) {
		if (y->key)
			yaml_tree_free(y->key[i]);
		yaml_tree_free(y->item[i]);
	}
	mem_free(y->item);
	mem_free(y->key);
	mem_free(y->text);
	mem_free(y);
}

const struct yaml *yaml_get(const struct yaml *map, const char *key)
{
	if (map->kind != YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->key[i]->text, key) == 0)
			return map->item[i];
	return NULL;
}

static int fail(const struct builder *b, const yaml_mark_t *at, const char *what, struct err *e)
{
	return err_set(e, ERR_CONFIG, "%s:%zu:%zu: %s", b->name, at->line + 1, at->column + 1,
		       what);
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_NOMEM, "YAML tree");
}

static struct yaml *node_new(struct builder *b, enum yaml_kind kind, const yaml_mark_t *at,
			     struct err *e)
{
	struct yaml *y;

	if (++b->nodes > MAX_NODES) {
		(void)fail(b, at, "too many values", e);
		return NULL;
	}
	y = mem_alloc(sizeof(*y));
	if (!y) {
		(void)no_memory(e);
		return NULL;
	}
	y->kind = kind;
	y->line = (unsigned)at->line + 1;
	y->column = (unsigned)at->column + 1;
	return y;
}

/* Room for one more; sizes are powers of two, so that count tells the room. */
static int grow(struct yaml *y, struct err *e)
{
	size_t n = y->count;
	struct yaml **p;

	if (n & (n - 1))
		return 0;
	p = mem_resize(y->item, (n ? 2 * n : 1) * sizeof(struct yaml *));
	if (!p)
		return no_memory(e);
	y->item = p;
	if (y->kind != YAML_MAP)
		return 0;
	p = mem_resize(y->key, (n ? 2 * n : 1) * sizeof(struct yaml *));
	if (!p)
		return no_memory(e);
	y->key = p;
	return 0;
}

/* A node in the place of a map's key: kept until its value comes. */
static int take_key(struct builder *b, struct yaml *y, const yaml_mark_t *at, struct err *e)
{
	struct yaml *map = b->open[b->depth - 1];

	if (y->kind != YAML_SCALAR) {
		yaml_tree_free(y);
		return fail(b, at, "a key must be plain text", e);
	}
	if (strcmp(y->text, "<<") == 0 && !y->quoted) {
		yaml_tree_free(y);
		return fail(b, at, "merge keys (<<) are not supported: write the values out", e);
	}
	if (yaml_get(map, y->text)) {
		(void)err_set(e, ERR_CONFIG, "%s:%u:%u: '%.60s' is given twice", b->name, y->line,
			      y->column, y->text);
		yaml_tree_free(y);
		return -1;
	}
	b->pending_key[b->depth - 1] = y;
	return map->count < MAX_KEYS ? 0 : fail(b, at, "too many keys", e);
}

/* Takes y, also when it fails. */
static int place(struct builder *b, struct yaml *y, const yaml_mark_t *at, struct err *e)
{
	struct yaml *parent = b->depth ? b->open[b->depth - 1] : NULL;
	struct yaml **key = b->depth ? &b->pending_key[b->depth - 1] : NULL;

	if (!parent) {
		b->root = y;
		return 0;
	}
	if (parent->kind == YAML_MAP && !*key)
		return take_key(b, y, at, e);
	if (grow(parent, e) != 0) {
		yaml_tree_free(y);
		return -1;
	}
	if (parent->kind == YAML_MAP) {
		parent->key[parent->count] = *key;
		*key = NULL;
	}
	parent->item[parent->count++] = y;
	return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *ev, struct err *e)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t n = ev->data.scalar.length;
	struct yaml *y;

	if (memchr(text, '\0', n))
		return fail(b, &ev->start_mark, "a NUL byte in a text", e);
	y = node_new(b, YAML_SCALAR, &ev->start_mark, e);
	if (!y)
		return -1;
	y->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	y->text = mem_strndup(text, n);
	if (!y->text) {
		yaml_tree_free(y);
		return no_memory(e);
	}
	return place(b, y, &ev->start_mark, e);
}

static int on_open(struct builder *b, enum yaml_kind kind, const yaml_event_t *ev, struct err *e)
{
	struct yaml *y;

	if (b->depth == MAX_DEPTH)
		return fail(b, &ev->start_mark, "nested too deeply", e);
	y = node_new(b, kind, &ev->start_mark, e);
	if (!y || place(b, y, &ev->start_mark, e) != 0)
		return -1;
	b->open[b->depth] = y;
	b->pending_key[b->depth++] = NULL;
	return 0;
}

static bool has_anchor_or_tag(const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT: return ev->data.scalar.anchor || ev->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return ev->data.sequence_start.anchor || ev->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return ev->data.mapping_start.anchor || ev->data.mapping_start.tag;
	default: return false;
	}
}

static int on_event(struct builder *b, const yaml_event_t *ev, struct err *e)
{
	const char *unquoted_star = "aliases (*) are not supported: a text that begins with * "
				    "must be in quotes";

	if (has_anchor_or_tag(ev))
		return fail(b, &ev->start_mark,
			    "anchors (&) and tags (!) are not supported: a text that begins with "
			    "them must be in quotes",
			    e);
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		return b->documents++
			       ? fail(b, &ev->start_mark, "only one document (---) is allowed", e)
			       : 0;
	case YAML_ALIAS_EVENT: return fail(b, &ev->start_mark, unquoted_star, e);
	case YAML_SCALAR_EVENT: return on_scalar(b, ev, e);
	case YAML_SEQUENCE_START_EVENT: return on_open(b, YAML_LIST, ev, e);
	case YAML_MAPPING_START_EVENT: return on_open(b, YAML_MAP, ev, e);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT: b->depth--; return 0;
	case YAML_STREAM_END_EVENT: b->done = true; return 0;
	default: return 0;
	}
}

/* libyaml's own complaint; "*.x" without quotes is by far the most usual cause. */
static int parser_error(const struct builder *b, struct err *e)
{
	const yaml_parser_t *p = &b->parser;
	const char *problem = p->problem ? p->problem : "not YAML";

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(e);
	if (p->error == YAML_READER_ERROR)
		return err_set(e, ERR_CONFIG, "%s:%zu:%zu: not UTF-8 text: %s", b->name,
			       p->mark.line + 1, p->mark.column + 1, problem);
	if (strstr(problem, "alphabetic or numeric character"))
		problem = "a text that begins with * or & must be in quotes";
	else if (strstr(problem, "found character that cannot start any token"))
		problem = "this character cannot begin a text: use quotes, and blanks instead of "
			  "tabs";
	return fail(b, &p->problem_mark, problem, e);
}

static int build(struct builder *b, struct err *e)
{
	while (!b->done) {
		yaml_event_t ev;
		int rc;

		if (!yaml_parser_parse(&b->parser, &ev))
			return parser_error(b, e);
		rc = on_event(b, &ev, e);
		yaml_event_delete(&ev);
		if (rc != 0)
			return -1;
	}
	return 0;
}

/* No document at all, or only comments: nothing is said. */
static int empty_map(struct builder *b, struct err *e)
{
	yaml_mark_t start = { 0 };

	if (b->root && (b->root->kind != YAML_SCALAR || b->root->quoted || *b->root->text))
		return 0;
	yaml_tree_free(b->root);
	b->root = node_new(b, YAML_MAP, &start, e);
	return b->root ? 0 : -1;
}

int yaml_parse(const char *text, size_t n, const char *name, struct yaml **out, struct err *e)
{
	struct builder b = { .name = name };
	int rc;

	*out = NULL;
	if (n > MAX_TEXT)
		return err_set(e, ERR_CONFIG, "%s:1:1: larger than 1 MiB", name);
	if (!yaml_parser_initialize(&b.parser))
		return no_memory(e);
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, n);
	rc = build(&b, e);
	if (rc == 0)
		rc = empty_map(&b, e);
	yaml_parser_delete(&b.parser);
	for (unsigned i = 0; i < MAX_DEPTH; i++)
		yaml_tree_free(i < b.depth ? b.pending_key[i] : NULL);
	if (rc == 0)
		*out = b.root;
	else
		yaml_tree_free(b.root);
	return rc;
}
