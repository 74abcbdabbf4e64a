#ifndef CMD_AWSOCKS_VM_FETCH_H
#define CMD_AWSOCKS_VM_FETCH_H
/*
 * `awsocks vm fetch-kernel`: a kernel for VMs into <state>/kernel/<arch>/<version>, where
 * vm/kernel.h looks. Its parts: where packages come from. Each is complete in itself and
 * trustworthy in itself:
 *
 *     apt       the archive's signature, which apt checks (Debian, Ubuntu)
 *     debian    one package of Debian's archive by HTTPS, whose SHA-256 stands in this program
 *     a file    whose SHA-256 the user gives
 */
#include <stdbool.h>

#include "base/err.h"
#include "cmd/awsocks/paths.h"

enum { FETCH_DEBS = 4, FETCH_DIGEST = 65, FETCH_NAME = 160 };

struct fetch {
	const char *arch;        /* "x86_64", "aarch64" */
	const char *debian_arch; /* "amd64", "arm64" */
	char root[PATH_TEXT];    /* <to>/<arch> */
	char tmp[PATH_TEXT];     /* private, in root: renamed into place, or removed */
	char debs[FETCH_DEBS][PATH_TEXT];
	size_t count;
	char digest[FETCH_DIGEST]; /* SHA-256 of the first, in hex; "": not known yet */
	char source[FETCH_NAME];   /* for people: where it comes from */
	bool force;
	bool own_lists; /* apt's lists of the system know no such package: ours are in tmp */
};

/* A subcommand of `vm`: argv[0] is "fetch-kernel". */
int cmd_vm_fetch(int argc, char **argv);

/* Which package, its digest and source; nothing is downloaded but package lists, where the system
 * has none for this arch. ERR_UNSUPPORTED: there is no apt here. */
MUST_CHECK int fetch_apt_find(struct fetch *, struct err *);
/* debs[] are then there, as apt has checked them. */
MUST_CHECK int fetch_apt_get(struct fetch *, struct err *);
/* The one that this program knows. ERR_UNSUPPORTED: none for this arch. */
MUST_CHECK int fetch_pinned_find(struct fetch *, struct err *);
MUST_CHECK int fetch_pinned_get(struct fetch *, struct err *);

/* SHA-256 of a file. */
MUST_CHECK int fetch_digest(const char *file, char hex[static FETCH_DIGEST], struct err *);
/* ERR_DENIED: the file is not what it should be. */
MUST_CHECK int fetch_check(const char *file, const char *hex, struct err *);
/* A directory and all in it; what cannot be removed is left. */
void fetch_remove_tree(const char *path);
/* f->tmp/name. */
MUST_CHECK int fetch_path(const struct fetch *, const char *name, char out[static PATH_TEXT],
			  struct err *);
#endif
