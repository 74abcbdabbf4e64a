#ifndef LOCALAWS_WORLD_H
#define LOCALAWS_WORLD_H
/*
 * What the emulator's parts share: main.c makes one, everything else borrows
 * it. The parts keep their own state in their own structs.
 */
#include "base/clock.h"
#include "base/list.h"
#include "cmd/localaws/dice.h"
#include "cmd/localaws/faults.h"
#include "cmd/localaws/keys.h"
#include "cmd/localaws/metadata.h"
#include "cmd/localaws/options.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/ssh_keys.h"
#include "cmd/localaws/stats.h"

struct loop;
struct sessions;
struct tls_server;
struct wire_hash;

struct world {
	struct loop *loop;
	const struct options *opts;
	struct faults faults;
	struct instances instances; /* as they are now; world_settle() first */
	uint64_t not_connected_ms;  /* since when FAULT_NOT_CONNECTED_FOR is on */
	struct stats stats;
	struct api_counts apis;
	struct dice dice;
	struct keys keys;
	struct ssh_keys ssh_keys;
	struct metadata metadata;
	struct sign_in sign_in;
	struct wire_hash *hash;
	struct sessions *sessions;
	struct list legs, conns; /* open connections, to end them with the program */
	struct tls_server *tls;  /* NULL: plain */
	char endpoint[ADDR_TEXT + 16], ws_endpoint[ADDR_TEXT + 16];
};

/* The service's idea of the time: the system's, skewed by a fault. */
int64_t world_wall_ms(const struct world *);
/* The same of one service, as its signatures are judged and its Date is told; NULL: as above. */
int64_t world_wall_ms_of(const struct world *, const char *service);
uint64_t world_now_ms(const struct world *); /* monotonic, of this turn */
/* The instances as time has made them. */
void world_settle(struct world *);
/* What setting does beyond being set: a new seed, keys that end now. */
void world_set_faults(struct world *, const struct faults *);
#endif
