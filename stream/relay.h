#ifndef STREAM_RELAY_H
#define STREAM_RELAY_H
/*
 * Two streams of any kind, joined. net/relay.h is the one to call: it takes
 * the descriptor path where both ends are sockets, and this one elsewhere.
 */
#include <stddef.h>
#include <stdint.h>

struct err;
struct relay;
struct stream;

enum { RELAY_WINDOW = 64 * 1024 };

/* up: client to remote; down: remote to client; bytes handed over. */
struct relay_result {
	uint64_t up, down;
	const struct err *why; /* NULL: both directions ended cleanly */
};
typedef void relayed_fn(void *arg, const struct relay_result *);

/* Takes both streams, sends `early` (n <= RELAY_WINDOW bytes, copied) to the
 * remote before anything else, runs until both directions ended or one side
 * broke, closes both, then calls done() once, from the loop. NULL: out of
 * memory, and both streams are still yours. */
struct relay *relay_start(struct stream *client, struct stream *remote, const uint8_t *early,
			  size_t n, relayed_fn *done, void *arg);
void relay_counts(const struct relay *, uint64_t *up, uint64_t *down);
void relay_abort(struct relay *); /* ends both now; done() follows */
#endif
