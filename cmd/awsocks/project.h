#ifndef CMD_AWSOCKS_PROJECT_H
#define CMD_AWSOCKS_PROJECT_H
/*
 * The project file: the nearest .awsocks.yaml upwards from the working directory.
 *
 * Others can write there (a cloned repository, a sandboxed agent), so it counts
 * only when this very text at this very path was trusted: the trust store has
 * a file named by the SHA-256 of path and content, as direnv keeps it.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "cmd/awsocks/paths.h"

#define PROJECT_FILE ".awsocks.yaml"

struct project {
	char path[PATH_TEXT]; /* "": there is none */
	char *text;
	size_t n;
	bool trusted;
};

/* Looks upwards from `from` (an absolute path; NULL: the working directory). */
MUST_CHECK int project_find(struct project *, const char *from, struct err *);
void project_free(struct project *);

/* SHA-256 of "path\ncontent", in hex. */
enum { TRUST_DIGEST = 65 };
void trust_digest(const char *path, const char *text, size_t n, char out[static TRUST_DIGEST]);
MUST_CHECK int trust_add(const char *path, const char *text, size_t n, struct err *);
/* Forgets every content of that path; *count of them. */
MUST_CHECK int trust_revoke(const char *path, size_t *count, struct err *);
bool trust_has(const char *path, const char *text, size_t n);
#endif
