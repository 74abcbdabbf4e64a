#ifndef SSM_EIC_H
#define SSM_EIC_H
/*
 * EC2 Instance Connect: a public key that an instance's sshd accepts for 60 s. Source: EC2 Instance
 * Connect API Reference, SendSSHPublicKey (version 2018-04-02).
 */
#include "base/err.h"

struct aws_client;
struct eic_call;

struct eic_key {
	const char *endpoint; /* endpoint_url() of "ec2-instance-connect" */
	const char *instance, *user, *public_text;
	const char *zone; /* NULL: EC2 knows it */
};
/* why == NULL: it is there. Once, from the loop. */
typedef void eic_fn(void *arg, const struct err *why);

struct eic_call *eic_send(struct aws_client *, const struct eic_key *, unsigned limit_ms, eic_fn *,
			  void *arg, struct err *e);
void eic_cancel(struct eic_call *); /* then the callback never comes; NULL allowed */
#endif
