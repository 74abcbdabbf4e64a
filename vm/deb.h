#ifndef VM_DEB_H
#define VM_DEB_H
/*
 * The files of a Debian package (deb(5)): dpkg-deb reads it where there is one. Elsewhere its outer
 * archive is read here and xz, gzip, zstd or bsdtar (macOS) unpack what is in it.
 */
#include "base/err.h"
#include "vm/tar.h"

/* dir: private, for a temporary file. ERR_CONFIG: it is no package, or a program is missing;
 * otherwise what the handler said, or ERR_IO. It blocks. */
MUST_CHECK int deb_read(const char *file, const char *dir, const struct tar_handler *, void *arg,
			struct err *);
#endif
