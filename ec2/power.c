/*
 * StartInstances and StopInstances, of one instance. AWS calls starting what runs, and stopping
 * what is stopped, a success; the state before tells them apart.
 */
#include "base/mem.h"
#include "credentials/aws.h"
#include "ec2/describe.h"

enum { FORM_MAX = 1024 };

struct ec2_power {
	struct aws_call *call;
	ec2_power_fn *fn;
	void *arg;
};

static void on_reply(void *arg, const struct aws_reply *reply, const char *code,
		     const struct err *why)
{
	struct ec2_power *p = arg;
	ec2_power_fn *fn = p->fn;
	void *to = p->arg;
	char before[EC2_STATE_TEXT];
	struct err e;

	mem_free(p);
	if (!reply)
		fn(to, NULL, code, why);
	else if (power_parse(reply->body, reply->body_len, before, &e) == 0)
		fn(to, before, "", NULL);
	else
		fn(to, NULL, "", &e);
}

struct ec2_power *ec2_power(struct aws_client *client, const char *endpoint, const char *id,
			    bool start, unsigned limit_ms, ec2_power_fn *fn, void *arg,
			    struct err *e)
{
	struct ec2_power *p = mem_alloc(sizeof(*p));
	struct buf b;

	if (!p) {
		(void)err_set(e, ERR_NOMEM, "power");
		return NULL;
	}
	p->fn = fn;
	p->arg = arg;
	buf_init(&b, FORM_MAX);
	if (power_form(&b, start ? "StartInstances" : "StopInstances", id, e) == 0 &&
	    buf_add(&b, "", 1, e) == 0)
		p->call = aws_send(client,
				   &(struct aws_request){ .protocol = AWS_QUERY,
							  .service = "ec2",
							  .endpoint = endpoint,
							  .body = (const char *)buf_ptr(&b),
							  .limit_ms = limit_ms },
				   on_reply, p, e);
	buf_free(&b);
	if (p->call)
		return p;
	mem_free(p);
	return NULL;
}

void ec2_power_cancel(struct ec2_power *p)
{
	if (!p)
		return;
	aws_cancel(p->call);
	mem_free(p);
}
