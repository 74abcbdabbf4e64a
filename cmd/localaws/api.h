#ifndef LOCALAWS_API_H
#define LOCALAWS_API_H
/*
 * What the services have in common: one operation is a row of a table, gets
 * its parameters and the caller, and fills the reply.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct cJSON;
struct form;
struct instance;
struct key;
struct reply;
struct request;
struct world;

enum api_protocol { API_JSON = 0, API_STS, API_EC2 };

struct api_call {
	struct world *w;
	const struct request *request;
	const struct key *caller;
	char region[32]; /* that the caller means; "" when nothing is signed */
	enum api_protocol protocol;
	const struct cJSON *input; /* JSON */
	const struct form *form;   /* Query */
	struct reply *reply;
};
struct api_op {
	const char *name;
	void (*run)(struct api_call *);
};

/* An error as the protocol writes it; the status is JSON 400, or as given. */
void api_error(struct api_call *, int status, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Is it in the caller's account, and region? What is not does not exist to the caller. */
bool api_sees(const struct api_call *, const struct instance *);
struct instance *api_instance(const struct api_call *, const char *id); /* NULL: none is seen */
/* The JSON answer; frees it. */
void api_json(struct api_call *, struct cJSON *);
/* XML text with its markup escaped. */
void api_xml_text(struct buf *, const char *text);
/* <name>text</name> */
void api_xml(struct buf *, const char *name, const char *text);

extern const struct api_op api_ssm_ops[], api_sts_ops[], api_ec2_ops[],
	api_eic_ops[]; /* end with NULL */
/* Of STS, those that are not signed: something in them proves who asks. */
extern const struct api_op api_sts_unsigned_ops[];
#endif
