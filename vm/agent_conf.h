#ifndef VM_AGENT_CONF_H
#define VM_AGENT_CONF_H
/*
 * The agent's settings: lines of KEY=VALUE; empty ones and those that begin with # are skipped. The
 * agent reads them, and the host judges by the same table what its user wants to have in them.
 *
 *   nonce=HEX64                the first; the host's proof that HELLO comes from its own boot
 *   transport=virtio|vsock|stdin
 *   port=awsocks.0             virtio: the port's name; vsock: a number (5000)
 *   net=dhcp|static|none       none: the network is there already (the agent as a process)
 *   interface=eth0             without: the first Ethernet-like one
 *   address=10.0.2.15/24       static; with none: what the host is told instead of what is found
 *   gateway=10.0.2.2
 *   dns=10.0.2.3,...           up to 4; with dhcp: instead of the server's
 *   mtu=1500                   instead of the server's
 *   ipv6=yes|no                no: turned off in the guest. vm/guard.h says why
 *   log=error|warn|info|debug  (info)
 *   streams-max=1024           at most; less where there is little memory
 *   dial-limit=30000           ms, for all addresses of a dial; resolve-limit=10000
 *   allow-loopback=yes         only as a process: tests dial servers at 127.0.0.1
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/frame.h"

enum agent_conf_transport { AGENT_CONF_VIRTIO = 0, AGENT_CONF_VSOCK, AGENT_CONF_STDIN };
enum agent_conf_net { AGENT_CONF_DHCP = 0, AGENT_CONF_NONE, AGENT_CONF_STATIC };
enum { AGENT_CONF_MAX = 16 * 1024 }; /* bytes of the file */

struct agent_conf {
	uint8_t nonce[FRAME_NONCE];
	enum agent_conf_transport transport;
	enum agent_conf_net net;
	char port_name[64];         /* of virtio */
	uint32_t port;              /* of vsock */
	char interface[16];         /* "": any */
	struct frame_network given; /* what of it was given: address.len, dns_count ... */
	unsigned mtu;               /* 0: not given */
	unsigned log_level;         /* of base/log.h */
	unsigned streams_max, dial_ms, resolve_ms;
	bool ipv6, allow_loopback;
};

/* In the guest: the file. ERR_CONFIG, naming the line. */
MUST_CHECK int agent_conf_parse(struct agent_conf *, const char *text, size_t n, struct err *);

/* On the host, before there is a guest: one KEY=VALUE after the other, then all of them together.
 * ERR_CONFIG, naming the key, and the one that may be meant. */
void agent_conf_init(struct agent_conf *);
MUST_CHECK int agent_conf_set(struct agent_conf *, const char *setting, struct err *);
MUST_CHECK int agent_conf_check(const struct agent_conf *, struct err *);
#endif
