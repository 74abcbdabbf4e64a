#ifndef TESTS_SUPPORT_SOCKS_H
#define TESTS_SUPPORT_SOCKS_H
/* Sockets on loopback for tests. All fail the program when the system refuses. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void pair_open(int fd[static 2]);            /* connected and blocking */
int tcp_listen(uint16_t *port, int backlog); /* 127.0.0.1, a free port */
/* A port of 127.0.0.1 where nobody listens, and where nobody else can while this is held. */
int tcp_unheard(uint16_t *port);
void sock_reset(int fd);          /* closes with a reset */
int sock_cloexec(int fd);         /* the same: socket() itself does that on Linux only */
void unix_pair(int fd[static 2]); /* connected and blocking streams */

/* A stream of bytes that both ends can make: the n bytes at position `at` of stream `seed`. */
void pattern_fill(uint64_t seed, uint64_t at, uint8_t *p, size_t n);
bool pattern_is(uint64_t seed, uint64_t at, const uint8_t *p, size_t n);
#endif
