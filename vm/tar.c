#include "vm/tar.h"

#include <string.h>

#include "base/str.h"

/* Offsets in a header: POSIX.1-1988, 10.1.1. */
enum {
	NAME = 0,
	NAME_LEN = 100,
	SIZE = 124,
	SIZE_LEN = 12,
	CHECKSUM = 148,
	CHECKSUM_LEN = 8,
	TYPE = 156,
	MAGIC = 257,
	PREFIX = 345,
	PREFIX_LEN = 155,
	LONG_NAME = 'L',
	REGULAR = '0'
};

void tar_begin(struct tar *t, const struct tar_handler *handler, void *arg)
{
	memset(t, 0, sizeof(*t));
	t->handler = handler;
	t->arg = arg;
}

/* Octal digits, blanks before and behind them. Sizes beyond 8 GiB are written otherwise: no. */
static bool number(const uint8_t *p, size_t n, uint64_t *out)
{
	size_t i = 0;

	*out = 0;
	while (i < n && p[i] == ' ')
		i++;
	if (i == n || p[i] < '0' || p[i] > '7')
		return false;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		*out = *out << 3 | (uint64_t)(p[i] - '0');
	return i == n || p[i] == ' ' || p[i] == '\0';
}

static bool is_zero(const uint8_t *block)
{
	for (size_t i = 0; i < TAR_BLOCK; i++)
		if (block[i])
			return false;
	return true;
}

static bool sum_is_right(const uint8_t *block)
{
	uint64_t written, sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= CHECKSUM && i < CHECKSUM + CHECKSUM_LEN ? ' ' : block[i];
	return number(block + CHECKSUM, CHECKSUM_LEN, &written) && written == sum;
}

/* Without "./" and '/' in front. */
static const char *plain(const char *name)
{
	while (*name == '/' || (name[0] == '.' && name[1] == '/'))
		name += *name == '/' ? 1 : 2;
	return name;
}

static void take_name(struct tar *t)
{
	const char *b = (const char *)t->block;

	if (t->name_len) /* a long one stands already */
		return;
	if (memcmp(b + MAGIC, "ustar\0", 6) == 0 && b[PREFIX])
		(void)str_fmt(t->name, sizeof(t->name), "%.*s/%.*s", PREFIX_LEN, b + PREFIX,
			      NAME_LEN, b + NAME);
	else
		(void)str_fmt(t->name, sizeof(t->name), "%.*s", NAME_LEN, b + NAME);
}

static int end_entry(struct tar *t, struct err *e)
{
	int rc = 0;

	if (t->what == TAR_FILE)
		rc = t->handler->data(t->arg, "", 0, e);
	if (t->what != TAR_LONG_NAME)
		t->name_len = 0;
	t->name[t->name_len] = '\0';
	t->what = TAR_SKIP;
	return rc;
}

static int begin_entry(struct tar *t, struct err *e)
{
	uint8_t type = t->block[TYPE];

	if (is_zero(t->block)) {
		t->ended = true;
		return 0;
	}
	if (!sum_is_right(t->block) || !number(t->block + SIZE, SIZE_LEN, &t->left))
		return err_set(e, ERR_PROTO, "not a tar archive, or a damaged one");
	t->pad = -t->left & (TAR_BLOCK - 1);
	if (type == LONG_NAME) {
		if (t->left > TAR_NAME)
			return err_set(e, ERR_PROTO, "tar: a name of more than %d bytes", TAR_NAME);
		t->what = TAR_LONG_NAME;
		t->name_len = 0;
	} else {
		take_name(t);
		if ((type == REGULAR || type == '\0') &&
		    t->handler->file(t->arg, plain(t->name), t->left))
			t->what = TAR_FILE;
	}
	return t->left ? 0 : end_entry(t, e);
}

static int contents(struct tar *t, const uint8_t *p, size_t n, struct err *e)
{
	t->left -= n;
	if (t->what == TAR_LONG_NAME) {
		memcpy(t->name + t->name_len, p, n);
		t->name_len += n;
	} else if (t->what == TAR_FILE && t->handler->data(t->arg, p, n, e) != 0) {
		return -1;
	}
	return t->left ? 0 : end_entry(t, e);
}

static size_t least(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

int tar_input(struct tar *t, const void *bytes, size_t n, struct err *e)
{
	const uint8_t *p = bytes;

	while (n && !t->ended) {
		size_t some;

		if (t->left) {
			some = least(t->left, n);
			if (contents(t, p, some, e) != 0)
				return -1;
		} else if (t->pad) {
			some = least(t->pad, n);
			t->pad -= some;
		} else {
			some = least(TAR_BLOCK - t->have, n);
			memcpy(t->block + t->have, p, some);
			t->have += some;
			if (t->have == TAR_BLOCK) {
				t->have = 0;
				if (begin_entry(t, e) != 0)
					return -1;
			}
		}
		p += some;
		n -= some;
	}
	return 0;
}

int tar_end(const struct tar *t, struct err *e)
{
	return t->ended ? 0 : err_set(e, ERR_PROTO, "the tar archive is cut off");
}
