#ifndef LOCALAWS_READY_H
#define LOCALAWS_READY_H
/* Telling the world that we listen: the ready file, and what to export. */
#include "base/err.h"

struct world;

/* One JSON object: endpoint, port, ca ("" without TLS), access_key_id, secret_access_key.
 * Written beside its place (0600) and renamed. */
MUST_CHECK /* Written beside it, then renamed; mode 0600. */
	MUST_CHECK int
	ready_write_file(const char *file, const char *text, struct err *);
int ready_write(const struct world *, const char *file, unsigned port, const char *ca,
		struct err *);
void ready_print_env(const struct world *, const char *ca);
/* Where the CA goes: `--state-dir`, or the ready file's folder, or a new one under TMPDIR. */
MUST_CHECK int ready_ca_path(const struct world *, char *out, size_t size, struct err *);
#endif
