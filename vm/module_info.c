/* Offsets: System V ABI, chapter 4, ELF-64. */
#include "vm/module_info.h"

#include <stdbool.h>
#include <string.h>

enum {
	HEADER = 64,
	MACHINE = 18,
	SECTIONS_AT = 40,
	SECTION_SIZE = 58,
	SECTION_COUNT = 60,
	SECTION_NAMES = 62,
	SECTION = 64, /* bytes of one's header */
	NAME = 0,
	OFFSET = 24,
	SIZE = 32
};

struct piece {
	const uint8_t *p;
	size_t n;
};

static uint64_t number(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

unsigned elf_machine(const uint8_t *file, size_t n)
{
	/* class 2: 64 bits; data 1: little-endian */
	if (n < HEADER || memcmp(file, "\177ELF\2\1", 6) != 0)
		return 0;
	return (unsigned)number(file + MACHINE, 2);
}

/* The header of section i, or NULL. */
static const uint8_t *header(const uint8_t *file, size_t n, uint64_t i)
{
	uint64_t at = number(file + SECTIONS_AT, 8), size = number(file + SECTION_SIZE, 2);

	if (size < SECTION || i >= number(file + SECTION_COUNT, 2) || at > n ||
	    (i + 1) * size > n - at)
		return NULL;
	return file + at + i * size;
}

static bool contents(const uint8_t *file, size_t n, uint64_t i, struct piece *out)
{
	const uint8_t *h = header(file, n, i);
	uint64_t at = h ? number(h + OFFSET, 8) : 0, size = h ? number(h + SIZE, 8) : 0;

	if (!h || at > n || size > n - at)
		return false;
	*out = (struct piece){ file + at, (size_t)size };
	return true;
}

static bool named(struct piece names, uint64_t at, const char *name)
{
	size_t n = strlen(name) + 1;

	return at <= names.n && n <= names.n - at && memcmp(names.p + at, name, n) == 0;
}

static bool find_section(const uint8_t *file, size_t n, const char *name, struct piece *out)
{
	struct piece names;

	if (!contents(file, n, number(file + SECTION_NAMES, 2), &names))
		return false;
	for (uint64_t i = 0;; i++) {
		const uint8_t *h = header(file, n, i);

		if (!h)
			return false;
		if (named(names, number(h + NAME, 4), name))
			return contents(file, n, i, out);
	}
}

const char *module_info(const uint8_t *file, size_t n, const char *key)
{
	struct piece info;
	size_t length = strlen(key);

	if (!elf_machine(file, n) || !find_section(file, n, ".modinfo", &info))
		return NULL;
	while (info.n) {
		const uint8_t *end = memchr(info.p, '\0', info.n);
		size_t text = end ? (size_t)(end - info.p) : 0;

		if (!end)
			return NULL;
		if (text > length && info.p[length] == '=' && memcmp(info.p, key, length) == 0)
			return (const char *)info.p + length + 1;
		info.p += text + 1;
		info.n -= text + 1;
	}
	return NULL;
}
