/* Laws of vm/tar.c: whatever comes, a wanted file's bytes are never more than were announced, its
 * end is told once, and it is the same in pieces and in one. */
#include <assert.h>
#include <string.h>

#include "vm/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct seen {
	uint64_t announced, files, bytes, names;
	bool open;
};

static bool file(void *arg, const char *name, uint64_t size)
{
	struct seen *s = arg;

	assert(!s->open && strlen(name) <= TAR_NAME && name[0] != '/');
	s->announced = size;
	s->names += strlen(name);
	s->open = true;
	s->files++;
	return true;
}

static int data_of(void *arg, const void *p, size_t n, struct err *e)
{
	struct seen *s = arg;

	(void)p;
	(void)e;
	assert(s->open && n <= s->announced);
	s->announced -= n;
	s->bytes += n;
	if (!n) {
		assert(!s->announced);
		s->open = false;
	}
	return 0;
}

static const struct tar_handler handler = { .file = file, .data = data_of };

static int run(struct seen *s, const uint8_t *p, size_t n, size_t piece)
{
	struct err e = { 0 };
	struct tar t;

	*s = (struct seen){ 0 };
	tar_begin(&t, &handler, s);
	for (size_t at = 0; at < n; at += piece)
		if (tar_input(&t, p + at, n - at < piece ? n - at : piece, &e) != 0) {
			assert(e.code == ERR_PROTO && e.msg[0]);
			return -1;
		}
	return tar_end(&t, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct seen whole, pieces;
	int rc = run(&whole, data, n, n ? n : 1);

	assert(run(&pieces, data, n, 97) == rc);
	assert(whole.files == pieces.files && whole.bytes == pieces.bytes);
	assert(whole.names == pieces.names);
	return 0;
}
