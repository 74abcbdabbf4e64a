#include "vm/deb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "vm/image.h"
#include "vm/program.h"
#include "vm/unpack.h"

enum {
	LIMIT_MS = 300000,
	AR_HEAD = 60,
	AR_NAME = 16,
	AR_SIZE = 48,
	AR_SIZE_LEN = 10,
	PIECE = 65536
};

struct reading {
	const char *file, *dir;
	struct tar tar;
};

static int take(void *arg, const void *p, size_t n, struct err *e)
{
	return tar_input(arg, p, n, e);
}

static int run(struct reading *r, const char *const *argv, const char *input, struct err *e)
{
	const struct program p = {
		.argv = argv, .input = input, .out = take, .arg = &r->tar, .limit_ms = LIMIT_MS
	};

	if (program_run(&p, e) != 0)
		return -1;
	return tar_end(&r->tar, e);
}

/* ---- without dpkg-deb ---- */

static int bad(const struct reading *r, struct err *e)
{
	return err_set(e, ERR_CONFIG, "%s is not a Debian package", r->file);
}

/* At the member data.tar.*: its size; -1: there is none. */
static long find_data(FILE *in)
{
	char head[AR_HEAD + 1] = "";

	if (fread(head, 1, 8, in) != 8 || memcmp(head, "!<arch>\n", 8) != 0)
		return -1;
	while (fread(head, 1, AR_HEAD, in) == AR_HEAD) {
		char digits[AR_SIZE_LEN + 1] = "";
		uint64_t size;

		memcpy(digits, head + AR_SIZE, AR_SIZE_LEN);
		if (str_number(str_trim(digits), 0, INT32_MAX, &size, NULL) != 0)
			return -1;
		if (memcmp(head, "data.tar", 8) == 0)
			return (long)size;
		if (fseek(in, (long)(size + (size & 1)), SEEK_CUR) != 0)
			return -1;
	}
	return -1;
}

static int copy(FILE *in, int out, long left, const char *to, struct err *e)
{
	char piece[PIECE];

	while (left > 0) {
		size_t n = fread(piece, 1, left < PIECE ? (size_t)left : PIECE, in);
		int sys = n ? file_write_all(out, piece, n) : 0;

		if (!n)
			return err_set(e, ERR_CONFIG, "the package is cut off");
		if (sys)
			return err_sys(e, sys, "write %s", to);
		left -= (long)n;
	}
	return 0;
}

static int copy_data(const struct reading *r, const char *to, struct err *e)
{
	FILE *in = fopen(r->file, "re");
	long size = in ? find_data(in) : -1;
	int out, rc;

	if (!in)
		return err_sys(e, errno, "%s", r->file);
	if (size < 0) {
		(void)fclose(in);
		return bad(r, e);
	}
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	rc = out < 0 ? err_sys(e, errno, "write %s", to) : copy(in, out, size, to, e);
	if (out >= 0)
		close(out);
	(void)fclose(in);
	return rc;
}

static int unpack_data(struct reading *r, const char *data, struct err *e)
{
	uint8_t head[8];
	size_t n = 0;
	const char *name;

	if (unpack_head(data, head, sizeof(head), &n, e) != 0)
		return -1;
	name = unpack_program(head, n);
	const char *const plain[] = { name ? name : "cat", name ? "-dc" : NULL, NULL };
	const char *const bsdtar[] = {
		"bsdtar", "-c", "-f", "-", "--format", "gnutar", "@-", NULL
	};

	if (run(r, plain, data, e) == 0)
		return 0;
	if (!e || e->code != ERR_UNSUPPORTED)
		return -1;
	if (run(r, bsdtar, data, e) == 0)
		return 0;
	if (e->code == ERR_UNSUPPORTED)
		return err_set(e, ERR_CONFIG,
			       "to unpack it, the program %s is needed (or bsdtar, or dpkg-deb)",
			       plain[0]);
	return -1;
}

static int by_hand(struct reading *r, struct err *e)
{
	char data[VM_PATH];
	int rc;

	if (!str_fmt(data, sizeof(data), "%s/data.tar", r->dir))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", r->dir);
	rc = copy_data(r, data, e);
	if (rc == 0)
		rc = unpack_data(r, data, e);
	(void)unlink(data);
	return rc;
}

int deb_read(const char *file, const char *dir, const struct tar_handler *handler, void *arg,
	     struct err *e)
{
	const char *const dpkg[] = { "dpkg-deb", "--fsys-tarfile", file, NULL };
	struct reading r = { .file = file, .dir = dir };
	struct err why = { .code = ERR_NONE };

	tar_begin(&r.tar, handler, arg);
	if (run(&r, dpkg, NULL, &why) == 0)
		return 0;
	if (why.code == ERR_UNSUPPORTED && by_hand(&r, &why) == 0)
		return 0;
	if (e)
		*e = why;
	return err_wrap(e, "%s", file);
}
