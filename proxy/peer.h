#ifndef PROXY_PEER_H
#define PROXY_PEER_H
/* Who is behind a Unix socket; one file per platform. */
#include <stdbool.h>
#include <stddef.h>

/* The kernel's word for the process that connected. false: not known. */
bool peer_id(int fd, long *uid, long *pid);
/* The program that process runs now (the id may have been given to another
 * since: a hint for whoever reads the audit log): its path, or, where the system
 * does not tell us that, its short name, which has no '/'. false: not known. */
bool peer_program(long pid, char *out, size_t size);
#endif
