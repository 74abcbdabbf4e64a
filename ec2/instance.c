/*
 * DescribeInstances page by page, until a page has no NextToken; pages and
 * instances are bounded. The whole list is handed over, sorted, at once.
 */
#include "ec2/instance.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "credentials/aws.h"
#include "ec2/describe.h"

enum { PAGES_MAX = 200, FORM_MAX = 16 * 1024 };

struct ec2_call {
	struct aws_client *client;
	char *endpoint, *id, *name, *group, *address;
	char **filter;
	struct ec2_query query; /* of these texts */
	struct aws_call *call;
	ec2_fn *fn;
	void *arg;
	struct ec2_list list;
	unsigned pages;
};

static void on_page(void *arg, const struct aws_reply *reply, const char *code,
		    const struct err *why);

void ec2_cancel(struct ec2_call *c)
{
	if (!c)
		return;
	aws_cancel(c->call);
	ec2_list_free(&c->list);
	mem_free(c->endpoint);
	mem_free(c->id);
	mem_free(c->name);
	mem_free(c->group);
	mem_free(c->address);
	for (size_t i = 0; c->filter && i < c->query.filter_count; i++)
		mem_free(c->filter[i]);
	mem_free(c->filter);
	mem_free(c);
}

static int ask(struct ec2_call *c, const char *token, struct err *e)
{
	struct buf b;
	int result;

	if (c->pages++ == PAGES_MAX)
		return err_set(e, ERR_LIMIT, "ec2: DescribeInstances: more than %d pages",
			       PAGES_MAX);
	buf_init(&b, FORM_MAX);
	result = describe_form(&b, &c->query, token, e);
	if (result == 0)
		result = buf_add(&b, "", 1, e);
	if (result == 0)
		c->call = aws_send(c->client,
				   &(struct aws_request){ .protocol = AWS_QUERY,
							  .service = "ec2",
							  .endpoint = c->endpoint,
							  .body = (const char *)buf_ptr(&b) },
				   on_page, c, e);
	buf_free(&b);
	return result == 0 && c->call ? 0 : -1;
}

/* Hands over what there is and ends the call. */
static void end(struct ec2_call *c, const struct err *why)
{
	static const struct ec2_instance none;
	struct ec2_list list = c->list;
	ec2_fn *fn = c->fn;
	void *arg = c->arg;

	c->list = (struct ec2_list){ 0 };
	ec2_cancel(c);
	ec2_list_sort(&list);
	fn(arg, why ? NULL : list.at ? list.at : &none, why ? 0 : list.count, why);
	ec2_list_free(&list);
}

static void on_page(void *arg, const struct aws_reply *reply, const char *code,
		    const struct err *why)
{
	struct ec2_call *c = arg;
	char *next = NULL;
	struct err e;
	int result = 0;

	c->call = NULL;
	/* An id that does not exist is an answer: no such instance. */
	if (!reply && strcmp(code, "InvalidInstanceID.NotFound") == 0) {
		end(c, NULL);
		return;
	}
	if (!reply) {
		e = *why;
		end(c, &e);
		return;
	}
	result = describe_parse(reply->body, reply->body_len, &c->list, &next, &e);
	if (result == 0 && next)
		result = ask(c, next, &e);
	if (result != 0)
		end(c, &e);
	else if (!next)
		end(c, NULL);
	mem_free(next);
}

static int copy(char **to, const char *text, struct err *e)
{
	*to = mem_strdup(text);
	return *to || !text ? 0 : err_set(e, ERR_NOMEM, "list of instances");
}

static int copy_query(struct ec2_call *c, const struct ec2_query *q, struct err *e)
{
	if (copy(&c->id, q->id, e) != 0 || copy(&c->name, q->name, e) != 0 ||
	    copy(&c->group, q->group, e) != 0 || copy(&c->address, q->address, e) != 0)
		return -1;
	if (q->filter_count && !(c->filter = mem_alloc(q->filter_count * sizeof(*c->filter))))
		return err_set(e, ERR_NOMEM, "list of instances");
	for (size_t i = 0; i < q->filter_count; i++) {
		if (copy(&c->filter[i], q->filter[i], e) != 0)
			return -1;
		c->query.filter_count++;
	}
	c->query.id = c->id;
	c->query.name = c->name;
	c->query.group = c->group;
	c->query.address = c->address;
	c->query.filter = (const char *const *)c->filter;
	return 0;
}

struct ec2_call *ec2_find(struct aws_client *client, const char *endpoint,
			  const struct ec2_query *query, ec2_fn *fn, void *arg, struct err *e)
{
	struct ec2_call *c = mem_alloc(sizeof(*c));

	if (!c) {
		(void)err_set(e, ERR_NOMEM, "list of instances");
		return NULL;
	}
	c->client = client;
	c->fn = fn;
	c->arg = arg;
	if (copy(&c->endpoint, endpoint, e) == 0 && copy_query(c, query, e) == 0 &&
	    ask(c, NULL, e) == 0)
		return c;
	ec2_cancel(c);
	return NULL;
}

struct ec2_call *ec2_by_id(struct aws_client *client, const char *endpoint, const char *id,
			   ec2_fn *fn, void *arg, struct err *e)
{
	return ec2_find(client, endpoint, &(struct ec2_query){ .id = id }, fn, arg, e);
}
