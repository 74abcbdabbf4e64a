#ifndef CMD_AGENT_CONF_H
#define CMD_AGENT_CONF_H
/*
 * The agent's settings: lines of KEY=VALUE; empty ones and those that begin with # are skipped.
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

enum conf_transport { CONF_VIRTIO = 0, CONF_VSOCK, CONF_STDIN };
enum conf_net { CONF_DHCP = 0, CONF_NONE, CONF_STATIC };
enum { CONF_MAX = 16 * 1024 }; /* bytes of the file */

struct conf {
	uint8_t nonce[FRAME_NONCE];
	enum conf_transport transport;
	enum conf_net net;
	char port_name[64];         /* of virtio */
	uint32_t port;              /* of vsock */
	char interface[16];         /* "": any */
	struct frame_network given; /* what of it was given: address.len, dns_count ... */
	unsigned mtu;               /* 0: not given */
	unsigned log_level;         /* of base/log.h */
	unsigned streams_max, dial_ms, resolve_ms;
	bool ipv6, allow_loopback;
};

/* ERR_CONFIG, naming the line. */
MUST_CHECK int conf_parse(struct conf *, const char *text, size_t n, struct err *);
#endif
