#ifndef LOCALAWS_PLUGIN_H
#define LOCALAWS_PLUGIN_H
/*
 * What an agent runs once the handshake is complete: the port plugin in its
 * two kinds, mux (plugin_mux.c) and basic (plugin_basic.c).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/localaws/channel.h"

struct target;
struct world;

struct plugin_ctx {
	struct world *w;
	struct channel *ch;
	struct target *target; /* resolved */
	bool reconnect;        /* basic: LocalPortForwarding, which redials */
	bool keepalive;        /* mux: NOPs and their absence count */
	/* The session is over: Output for the client, "" for a plain end. From the loop. */
	void (*ended)(void *arg, const char *output);
	void *arg;
};

struct plugin; /* first member of the real ones */
struct plugin_ops {
	/* As channel_ops.input, for Output and Flag. */
	enum channel_take (*input)(struct plugin *, uint32_t type, const uint8_t *p, size_t n);
	void (*wake)(struct plugin *); /* there may be room for output again */
	void (*stop)(
		struct plugin *); /* closes what it has and frees itself; no call back follows */
};
struct plugin {
	const struct plugin_ops *ops;
};
/* NULL: out of memory. */
struct plugin *plugin_mux_new(const struct plugin_ctx *);
struct plugin *plugin_basic_new(const struct plugin_ctx *);
#endif
