#ifndef LOCALAWS_STATS_H
#define LOCALAWS_STATS_H
/* What happened so far, for tests and the demo: GET /_localaws/stats. */
#include <stddef.h>
#include <stdint.h>

#define STATS(X)                                                          \
	X(requests)    /* HTTP requests to AWS, data channels included */ \
	X(connections) /* accepted */                                     \
	X(connections_open)                                               \
	X(websockets) /* upgraded */                                      \
	X(websockets_open)                                                \
	X(websockets_unsigned) /* of them, without SigV4 */               \
	X(websocket_drops)     /* cut by a fault */                       \
	X(signatures_good)                                                \
	X(signatures_bad)                                                 \
	X(expired_credentials) /* requests made with such */              \
	X(expired_when_signed) /* of them, by their own date already */   \
	X(sessions)            /* started */                              \
	X(sessions_open)                                                  \
	X(resumes) /* data channels opened again */                       \
	X(dials)   /* by agents */                                        \
	X(dials_failed)                                                   \
	X(targets_open) /* connections of agents to targets */            \
	X(ws_bytes_in)                                                    \
	X(ws_bytes_out)                                                   \
	X(target_bytes_in)  /* from targets */                            \
	X(target_bytes_out) /* to targets */                              \
	X(messages_in)      /* from clients, before faults */             \
	X(messages_out)     /* to clients */                              \
	X(messages_lost)    /* by faults */                               \
	X(messages_bad)     /* not decodable */                           \
	X(digests_bad)      /* of messages with a wrong PayloadDigest */  \
	X(acks_out)                                                       \
	X(retransmits)          /* by agents */                           \
	X(duplicates_in)        /* messages that an agent had already */  \
	X(early_data_swallowed) /* messages during the handshake */       \
	X(pauses)               /* pause_publication sent to clients */

struct stats {
#define X(name) uint64_t name;
	STATS(X)
#undef X
};

struct api_count {        /* one operation's calls */
	const char *name; /* static */
	uint64_t calls, failed;
};
enum { API_COUNT_MAX = 64 };
struct api_counts {
	struct api_count at[API_COUNT_MAX];
	size_t count;
};
/* Finds or adds the row; name must be static. When all are taken, the last one serves. */
struct api_count *api_count_of(struct api_counts *, const char *name);
#endif
