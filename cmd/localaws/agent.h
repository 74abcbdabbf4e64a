#ifndef LOCALAWS_AGENT_H
#define LOCALAWS_AGENT_H
/*
 * The worker that the SSM agent starts for a session: handshake, version
 * gates, then the port plugin.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;
struct session;

/* NULL: out of memory. */
struct agent *agent_start(struct session *);
void agent_greet(struct agent *); /* sends the HandshakeRequest: once the session knows it */
void agent_receive(struct agent *, const uint8_t *p, size_t n); /* one message */
bool agent_full(const struct agent *);
void agent_room_again(struct agent *); /* its gateway leg can take more */
void agent_free(struct agent *);
#endif
