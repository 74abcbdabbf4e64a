#ifndef CMD_AWSOCKS_PATHS_H
#define CMD_AWSOCKS_PATHS_H
/*
 * Where the program keeps its files (XDG Base Directory Specification).
 * All directories are made on demand, 0700.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { PATH_TEXT = 1024 };

/* $XDG_RUNTIME_DIR/awsocks, or <state>/run when that is unset. */
MUST_CHECK int path_runtime(char out[static PATH_TEXT], struct err *);
/* $XDG_STATE_HOME/awsocks, ~/.local/state/awsocks. */
MUST_CHECK int path_state(char out[static PATH_TEXT], struct err *);
/* A file in that directory. */
MUST_CHECK int path_state_file(const char *name, char out[static PATH_TEXT], struct err *);
/* Of it: notes of the instances that are to be stopped (backend/ssm/note.h). */
#define STARTED_DIR "started"
/* Of it: kernels that `awsocks vm fetch-kernel` got (vm_image_opts.fetched). */
#define KERNELS_DIR "kernel"
/* A new directory of ours alone (0700), with a path that leaves room for the names of Unix sockets
 * (fewer than PRIVATE_TEXT bytes): in $XDG_RUNTIME_DIR, $TMPDIR or /tmp. */
enum { PRIVATE_TEXT = 72 };
MUST_CHECK int path_private(char out[static PRIVATE_TEXT], struct err *);
/* Removes it and the files in it; nothing when path is "". */
void path_private_remove(const char *path);
/* Makes the missing directories above a file's absolute path, with mode 0700. */
MUST_CHECK int path_make_parents(const char *file, struct err *);
/* The directory of a Unix socket, if it is missing. group: a name or a number; NULL: mode 0700;
 * otherwise 2710, so that the group's members reach what is in it, and what is made there has that
 * group. One that is there already stays as it is, and is an error if it does not fit. */
MUST_CHECK int path_make_socket_dir(const char *file, const char *group, struct err *);
/* The control socket: `given` if not empty, else <runtime>/control.sock. */
MUST_CHECK int path_control(const char *given, char out[static PATH_TEXT], struct err *);
/* A program of ours: beside this one, else by its bare name (found in PATH). */
void path_sibling(const char *name, char out[static PATH_TEXT]);
/* The absolute path of a program: beside this one (`ours`), else in an absolute directory of PATH,
 * or of /usr/bin:/bin where there is no PATH. false: it is in none, and out is "". */
bool path_program(const char *name, bool ours, char out[static PATH_TEXT]);
#endif
