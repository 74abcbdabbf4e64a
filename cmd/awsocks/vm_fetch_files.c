#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/vm_fetch.h"

enum { DEPTH_MAX = 32, PIECE = 64 * 1024, SHA256_BYTES = 32 };

int fetch_path(const struct fetch *f, const char *name, char out[static PATH_TEXT], struct err *e)
{
	if (str_fmt(out, PATH_TEXT, "%s/%s", f->tmp, name))
		return 0;
	return err_set(e, ERR_CONFIG, "path too long: %.80s...", f->tmp);
}

static int digest_fd(int fd, EVP_MD_CTX *c, uint8_t out[static SHA256_BYTES])
{
	uint8_t piece[PIECE];
	ssize_t n;

	if (!c || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1)
		return ENOMEM;
	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno != EINTR)
			return errno;
		if (n > 0 && EVP_DigestUpdate(c, piece, (size_t)n) != 1)
			return ENOMEM;
	}
	return EVP_DigestFinal_ex(c, out, NULL) == 1 ? 0 : ENOMEM;
}

int fetch_digest(const char *file, char hex[static FETCH_DIGEST], struct err *e)
{
	uint8_t digest[SHA256_BYTES];
	int fd = open(file, O_RDONLY | O_CLOEXEC), sys;
	EVP_MD_CTX *c;

	if (fd < 0)
		return err_sys(e, errno, "%s", file);
	c = EVP_MD_CTX_new();
	sys = digest_fd(fd, c, digest);
	EVP_MD_CTX_free(c);
	close(fd);
	if (sys)
		return err_sys(e, sys, "%s", file);
	str_hex(digest, sizeof(digest), hex);
	return 0;
}

int fetch_check(const char *file, const char *hex, struct err *e)
{
	char found[FETCH_DIGEST];

	if (fetch_digest(file, found, e) != 0)
		return -1;
	if (str_eq_nocase(found, hex))
		return 0;
	return err_set(e, ERR_DENIED,
		       "%.120s is not what it should be: its SHA-256 is %s, not %.64s",
		       strrchr(file, '/') ? strrchr(file, '/') + 1 : file, found, hex);
}

/* dir is closed. */
static void empty(int dir, unsigned depth)
{
	DIR *d = fdopendir(dir);
	const struct dirent *entry;

	if (!d) {
		close(dir);
		return;
	}
	while ((entry = readdir(d)) != NULL) {
		const char *name = entry->d_name;
		int inner;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    unlinkat(dirfd(d), name, 0) == 0 || depth == DEPTH_MAX)
			continue;
		inner = openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0)
			empty(inner, depth + 1);
		(void)unlinkat(dirfd(d), name, AT_REMOVEDIR);
	}
	closedir(d);
}

void fetch_remove_tree(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir >= 0)
		empty(dir, 0);
	(void)rmdir(path);
}
