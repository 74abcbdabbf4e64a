#ifndef PROXY_UDP_ASSOCIATE_H
#define PROXY_UDP_ASSOCIATE_H
/*
 * A SOCKS5 client's UDP association (RFC 1928, 4, 6 and 7), by the `direct` route
 * alone. The listener's rules judge the destination of every datagram; only
 * addresses that the association has sent to may answer; only the host that
 * the TCP connection comes from may send, and only from one port: the one that its
 * request names, otherwise that of its first datagram. It ends with the TCP
 * connection, also when the client only half-closes that.
 */
#include <stdbool.h>

#include "base/err.h"

struct addr;
struct audit_record;
struct member;
struct proxy;
struct socks_dest;
struct stream;
struct udp_associate;

/* client: its connection, borrowed until start; dest: what the request says. A destination in it
 * (RFC 1928 means the client's own address there, some clients do not) is judged now, and noted in
 * the record. NULL: *e tells, ERR_UNSUPPORTED where no datagram could ever pass. ready(arg) comes
 * once, from the loop: it is time to say yes and start. */
struct udp_associate *udp_associate_new(struct proxy *, struct stream *client,
					const struct socks_dest *dest, struct audit_record *,
					void (*ready)(void *arg), void *arg, struct err *);
/* Where the client is to send to. */
const struct addr *udp_associate_addr(const struct udp_associate *);
void udp_associate_free(struct udp_associate *); /* of one that was not started; NULL is allowed */
/* Takes the stream and the record's contents, and becomes a member of the proxy's list with the
 * place of `from`. over: the client's direction has ended already. -1: all of them are still yours.
 */
MUST_CHECK int udp_associate_start(struct udp_associate *, struct stream *client, bool over,
				   struct member *from, struct audit_record *, struct err *);
#endif
