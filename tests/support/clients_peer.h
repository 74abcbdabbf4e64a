#ifndef TESTS_SUPPORT_CLIENTS_PEER_H
#define TESTS_SUPPORT_CLIENTS_PEER_H
/* tests/support/clients_peer.py as a child of the test. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct clients_peer {
	char dir[64]; /* ca.pem, other.pem */
	uint16_t plain, tls;
	bool v6; /* it listens on ::1, too */
	pid_t pid;
	int in; /* its end is the peer's */
};

/* Ends the test program when it cannot. */
void clients_peer_start(struct clients_peer *);
void clients_peer_stop(struct clients_peer *); /* and removes the directory */
#endif
