#ifndef VM_CONSOLE_FILE_H
#define VM_CONSOLE_FILE_H
/*
 * A guest's console that its VMM can only write to a file (vfkit): read as it grows. The guest has
 * no other bound to what it writes there than the disk, so that there is one here.
 */
#include <stddef.h>

#include "base/err.h"

struct console_file;
struct loop;

enum {
	CONSOLE_FILE_MAX = 16 * 1024 * 1024, /* bytes of one boot */
	CONSOLE_FILE_LOOK_MS = 500
};

struct console_file_handler {
	void (*said)(void *arg, const char *bytes, size_t n);
	/* It is longer than CONSOLE_FILE_MAX: once, and nothing is read any more. */
	void (*flooded)(void *arg);
};
/* Makes the file, empty and this user's alone. The path is copied. From the loop what is new is
 * told within CONSOLE_FILE_LOOK_MS. NULL: *e tells. */
struct console_file *console_file_open(struct loop *, const char *path,
				       const struct console_file_handler *, void *arg,
				       struct err *e);
/* What is new, now: said() comes from inside, flooded() never. */
void console_file_read(struct console_file *);
/* The file goes, too. NULL allowed. */
void console_file_close(struct console_file *);
#endif
