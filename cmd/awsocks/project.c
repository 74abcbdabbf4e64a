#include "cmd/awsocks/project.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/text_file.h"

void trust_digest(const char *path, const char *text, size_t n, char out[static TRUST_DIGEST])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t md[32];

	out[0] = '\0'; /* which no record has */
	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, path, strlen(path)) == 1 && EVP_DigestUpdate(ctx, "\n", 1) == 1 &&
	    EVP_DigestUpdate(ctx, text, n) == 1 && EVP_DigestFinal_ex(ctx, md, NULL) == 1)
		str_hex(md, sizeof(md), out);
	EVP_MD_CTX_free(ctx);
}

static int store(char out[static PATH_TEXT], struct err *e)
{
	char state[PATH_TEXT];

	if (path_state(state, e) != 0)
		return -1;
	if (!str_fmt(out, PATH_TEXT, "%s/trusted", state))
		return err_set(e, ERR_CONFIG, "the state directory's path is too long");
	if (mkdir(out, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "make directory %s", out);
	return 0;
}

/* Somebody else's directory or record would be somebody else's trust. */
static bool is_ours(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
}

bool trust_has(const char *path, const char *text, size_t n)
{
	char dir[PATH_TEXT], record[PATH_TEXT], digest[TRUST_DIGEST];

	trust_digest(path, text, n, digest);
	return *digest && store(dir, NULL) == 0 &&
	       str_fmt(record, sizeof(record), "%s/%s", dir, digest) && is_ours(dir) &&
	       is_ours(record);
}

/* The record holds the path, for trust_revoke() and for people who look. */
int trust_add(const char *path, const char *text, size_t n, struct err *e)
{
	char dir[PATH_TEXT], record[PATH_TEXT], digest[TRUST_DIGEST];

	trust_digest(path, text, n, digest);
	if (!*digest)
		return err_set(e, ERR_INTERNAL, "SHA-256 is not available");
	if (store(dir, e) != 0)
		return -1;
	if (!str_fmt(record, sizeof(record), "%s/%s", dir, digest))
		return err_set(e, ERR_CONFIG, "the state directory's path is too long");
	return text_file_write(record, path, e);
}

static bool record_is_of(const char *record, const char *path)
{
	char *text;
	size_t n;
	bool same;

	if (text_file_read(record, &text, &n, NULL) != 0)
		return false;
	same = n == strlen(path) && memcmp(text, path, n) == 0;
	mem_free(text);
	return same;
}

int trust_revoke(const char *path, size_t *count, struct err *e)
{
	char dir[PATH_TEXT], record[PATH_TEXT];
	const struct dirent *entry;
	DIR *d;

	*count = 0;
	if (store(dir, e) != 0)
		return -1;
	d = opendir(dir);
	if (!d)
		return err_sys(e, errno, "open %s", dir);
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.' ||
		    !str_fmt(record, sizeof(record), "%s/%s", dir, entry->d_name) ||
		    !record_is_of(record, path))
			continue;
		if (unlink(record) != 0) {
			(void)err_sys(e, errno, "remove %s", record);
			closedir(d);
			return -1;
		}
		++*count;
	}
	closedir(d);
	return 0;
}

/* /a/b/c -> /a/b -> /a -> "" -> false. */
static bool up(char *dir)
{
	char *slash = strrchr(dir, '/');

	if (!slash)
		return false;
	*slash = '\0';
	return true;
}

int project_find(struct project *p, const char *from, struct err *e)
{
	char dir[PATH_TEXT];

	memset(p, 0, sizeof(*p));
	if (from ? !str_fmt(dir, sizeof(dir), "%s", from) : !getcwd(dir, sizeof(dir)))
		return 0; /* a working directory that is gone has no project */
	if (strcmp(dir, "/") == 0)
		dir[0] = '\0';
	do {
		struct err why;

		if (!str_fmt(p->path, sizeof(p->path), "%s/%s", dir, PROJECT_FILE))
			return err_set(e, ERR_CONFIG, "path too long: %.80s...", dir);
		if (access(p->path, F_OK) != 0)
			continue;
		if (text_file_read(p->path, &p->text, &p->n, &why) != 0) {
			if (e)
				*e = why;
			return -1;
		}
		p->trusted = trust_has(p->path, p->text, p->n);
		return 0;
	} while (up(dir));
	p->path[0] = '\0';
	return 0;
}

void project_free(struct project *p)
{
	mem_free(p->text);
	p->text = NULL;
}
