/*
 * Landlock (landlock(7)): everything that a file system can be asked for is
 * handled, and only what the list of paths says is allowed. Executing is allowed
 * nowhere: libraries are mapped, which is not that. Connecting to TCP ports is
 * not handled, for it is what the program is for.
 *
 * Access through descriptors that are open already is not affected.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <link.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/fence.h"

/* The numbers are the kernel's for good; the headers of an older one lack the later ones. */
enum { ABI_REFER = 2, ABI_TRUNCATE = 3, ABI_IOCTL_DEV = 5, ABI_SCOPE = 6 };
static const uint64_t fs_first = (1ULL << 13) - 1; /* ABI 1: EXECUTE to MAKE_SYM */
static const uint64_t fs_refer = 1ULL << 13, fs_truncate = 1ULL << 14, fs_ioctl_dev = 1ULL << 15;
static const uint64_t scope_abstract_socket = 1, scope_signal = 2;

/* struct landlock_ruleset_attr as of ABI 6; an older kernel takes it while the rest is zero. */
struct ruleset {
	uint64_t handled_fs, handled_net, scoped;
};

static uint64_t handled_by(int abi)
{
	return fs_first | (abi >= ABI_REFER ? fs_refer : 0) |
	       (abi >= ABI_TRUNCATE ? fs_truncate : 0) | (abi >= ABI_IOCTL_DEV ? fs_ioctl_dev : 0);
}

static uint64_t access_of(unsigned rights)
{
	static const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	const uint64_t write = LANDLOCK_ACCESS_FS_WRITE_FILE | fs_truncate;
	uint64_t a = 0;

	if (rights & FENCE_READ)
		a |= read;
	if (rights & FENCE_WRITE)
		a |= write;
	if (rights & FENCE_MAKE)
		a |= read | write | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
	if (rights & FENCE_SOCKET)
		a |= LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
	return a;
}

static int add_path(int ruleset, const struct fence_path *p, uint64_t handled)
{
	static const uint64_t of_files = LANDLOCK_ACCESS_FS_READ_FILE |
					 LANDLOCK_ACCESS_FS_WRITE_FILE;
	struct landlock_path_beneath_attr rule = { .allowed_access = access_of(p->rights) &
								     handled };
	struct stat st;
	int result = 0;

	rule.parent_fd = open(p->path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return 0; /* what is not there cannot be read either */
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= of_files | fs_truncate;
	if (rule.allowed_access)
		result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
				      &rule, 0);
	if (result != 0 && errno == EBADFD) /* a pipe and the like: never restricted */
		result = 0;
	close(rule.parent_fd);
	return result;
}

/* Beside a library that is loaded lie those that it loads later (plug-ins, other ones of its own):
 * wherever that is, as below a home directory. */
struct libraries {
	int ruleset;
	char last[PATH_MAX]; /* most lie in one directory */
};

static int add_library(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct libraries *l = arg;
	char path[PATH_MAX], end[PATH_MAX];
	struct fence_path p = { .rights = FENCE_READ };

	(void)size;
	if (info->dlpi_name[0] != '/' || !str_fmt(path, sizeof(path), "%s", info->dlpi_name) ||
	    strcmp(dirname(path), l->last) == 0)
		return 0;
	(void)str_fmt(l->last, sizeof(l->last), "%s", path);
	if (!realpath(info->dlpi_name, end) || !str_fmt(p.path, sizeof(p.path), "%s", dirname(end)))
		return 0;
	return add_path(l->ruleset, &p, access_of(FENCE_READ));
}

static int fill_and_close(int ruleset, const struct fence_paths *paths, uint64_t handled,
			  struct err *e)
{
	struct libraries libraries = { .ruleset = ruleset };

	for (size_t i = 0; i < paths->count; i++)
		if (add_path(ruleset, &paths->item[i], handled) != 0)
			return err_sys(e, errno, "%s", paths->item[i].path);
	if (dl_iterate_phdr(add_library, &libraries) != 0)
		return err_sys(e, errno, "the libraries' directories");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		return err_sys(e, errno, "landlock_restrict_self");
	return 0;
}

int landlock_close(const struct fence_paths *paths, int *abi, struct err *e)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
				   LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset r = { 0 };
	int fd, result;

	*abi = 0;
	if (version < 1)
		return err_sys(e, errno, "not in this kernel, or not allowed here");
	r.handled_fs = handled_by(version);
	if (version >= ABI_SCOPE)
		r.scoped = scope_abstract_socket | scope_signal;
	fd = (int)syscall(SYS_landlock_create_ruleset, &r, sizeof(r), 0);
	if (fd < 0)
		return err_sys(e, errno, "landlock_create_ruleset");
	result = fill_and_close(fd, paths, r.handled_fs, e);
	close(fd);
	if (result == 0)
		*abi = version;
	return result;
}
