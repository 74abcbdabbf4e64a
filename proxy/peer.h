#ifndef PROXY_PEER_H
#define PROXY_PEER_H
/* Who is behind a Unix socket; one file per platform. */
#include <stdbool.h>

/* The kernel's word for the process that connected. false: not known. */
bool peer_id(int fd, long *uid, long *pid);
#endif
