#ifndef NET_SOCK_H
#define NET_SOCK_H
/*
 * Socket calls whose form differs between systems (sock_linux.c,
 * sock_macos.c). Private to net/. All return as the system call does, with
 * errno. Descriptors made here are non-blocking and close-on-exec.
 */
#include <stddef.h>
#include <sys/types.h>

#include "net/addr.h"

int sock_open(int family); /* SOCK_STREAM */
int sock_open_udp(int family);
int sock_accept(int fd, struct addr *peer);
ssize_t sock_send(int fd, const void *p, size_t n); /* never raises SIGPIPE, never blocks */
int sock_nonblock(int fd);
int sock_pair(int fd[static 2]);
/* A peer that has vanished without a word is noticed after two minutes of
 * silence. Accepted sockets inherit it from their listener. */
void sock_keep_alive(int fd); /* Unix, SOCK_STREAM */

/* sock_reuseport.c, sock_portable.c: lets several listening sockets of this user have one address,
 * with connections spread over them. May be said of one that listens already. -1 with ENOTSUP:
 * this system does not spread them. */
int sock_share_port(int fd);
#endif
