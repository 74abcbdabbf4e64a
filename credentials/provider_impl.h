#ifndef CREDENTIALS_PROVIDER_IMPL_H
#define CREDENTIALS_PROVIDER_IMPL_H
/*
 * The other side of provider.h: what a source of credentials implements, and
 * the constructors of those that the chain is made of. All of them keep the
 * contract: one callback, from the loop, never from inside the call.
 */
#include "base/list.h"
#include "credentials/provider.h"
#include "net/loop.h"

struct aws_client;
struct clock;

struct provider_ops {
	const char *name;
	struct provider_call *(*get)(struct provider *, creds_fn *, void *arg, struct err *);
	void (*cancel)(struct provider_call *);
	void (*close)(struct provider *);
	const char *(*describe)(const struct provider *);           /* may be NULL: the name */
	void (*expire)(struct provider *, const struct creds *bad); /* may be NULL */
	const struct err *(*error)(const struct provider *);        /* may be NULL */
	void (*watch)(struct provider *, provider_changed_fn *, void *arg); /* may be NULL */
	void (*reload)(struct provider *);                                  /* may be NULL */
	const struct creds *(*kept)(const struct provider *);               /* may be NULL */
};
struct provider { /* first member of each source */
	const struct provider_ops *ops;
};
struct provider_call { /* first member of each source's call */
	struct provider *provider;
};

/* What sources that ask somebody have in common: the life of their calls. A source begins with
 * struct source, its call with struct source_call, and its operations are struct source_ops with
 * SOURCE_CALLS in `base`. */
struct source {
	struct provider base;
	struct list calls;
	char *words; /* what it is, for messages and --explain; freed with it. NULL: the name */
};
struct source_call {
	struct provider_call base;
	struct list node;
	creds_fn *fn;
	void *arg;
};
struct source_ops {
	struct provider_ops base;
	size_t call_size;
	/* A zeroed call's first step. -1: *e tells; drop() comes, and no answer. */
	int (*begin)(struct source_call *, struct err *);
	void (*drop)(struct source_call *); /* all that it holds and waits for; may be NULL */
	void (*free)(struct provider *);    /* after its calls, all that is its own but words */
};
#define SOURCE_CALLS                                                       \
	.get = source_get, .cancel = source_cancel, .close = source_close, \
	.describe = source_describe
/* The provider functions of that name. */
struct provider_call *source_get(struct provider *, creds_fn *, void *arg, struct err *);
void source_cancel(struct provider_call *);
void source_close(struct provider *);
const char *source_describe(const struct provider *);
/* A new source of that size, zeroed. NULL: out of memory. */
void *source_new(size_t size, const struct source_ops *, struct err *);
/* The end of a call: with c, which is taken, or for want of it with a cause. */
void source_end(struct source_call *, struct creds *c, const struct err *why);
/* The same with a cause, in front of which `words` are put. */
void source_fail(struct source_call *, const struct err *why);

/* A call whose answer is known or comes later from elsewhere in the same file:
 * waiter_new() puts it into `waiting`, waiter_answer() (once) takes it out and has the
 * callback come on a later turn, waiter_cancel() is provider_cancel(). */
struct waiter {
	struct provider_call base;
	struct list node;
	struct loop *loop;
	struct loop_post post;
	creds_fn *fn;
	void *arg;
	uint64_t since_ms;   /* the cache's: when it began to wait */
	struct creds *creds; /* the answer */
	struct err why;
};
struct waiter *waiter_new(struct provider *, struct loop *, struct list *waiting, creds_fn *,
			  void *arg, struct err *);
void waiter_answer(struct waiter *, struct list *answered, struct creds *, const struct err *why);
void waiter_cancel(struct provider_call *);
/* Those of a list, without their callbacks: for close(). */
void waiters_drop(struct list *);

/* Always these. Takes a reference of its own. */
struct provider *static_new(struct loop *, struct creds *, struct err *);

/* One fetch at a time, answers kept (see provider.h). Takes `inner`, also when it fails. */
struct provider *cache_new(struct loop *, const struct clock *, struct provider *inner,
			   struct err *);
/* Causes that may be gone at the next try, without anybody doing something about it. Pure. */
bool cause_passes(const struct err *);
/* When credentials with this life are to be fetched again: wall clock; 0: never. Pure. */
int64_t cache_refresh_at(int64_t fetched_ms, int64_t expires_ms);

/* A credential_process line, run without a shell, in an environment of its own. */
struct command_opts {
	struct loop *loop;
	const char *command; /* copied */
	const char *profile; /* for messages; copied */
	const char *const *environ;
};
struct provider *command_new(const struct command_opts *, struct err *);
/* Its answer. Pure. */
struct creds *command_parse(const char *json, size_t n, const char *source, struct err *);

/* The AWS CLI's file for a role, ~/.aws/cli/cache/NAME.json, in front of what asks STS. */
struct cli_cache_key { /* texts may be NULL but for arn */
	const char *arn, *external_id, *session_name, *mfa_serial;
	unsigned duration_s; /* 0: not given */
};
struct cli_cache_opts {
	struct loop *loop;
	struct provider *inner; /* taken, also when cli_cache_new() fails */
	struct cli_cache_key key;
	const char
		*refused; /* an access key id that is not to be taken from the file; NULL: none */
	const char *const *environ;
};
struct provider *cli_cache_new(const struct cli_cache_opts *, struct err *);
MUST_CHECK int cli_cache_name(const struct cli_cache_key *, char out[41], struct err *);
char *cli_cache_print(const struct creds *); /* json_text_free(); NULL: out of memory */

/* STS AssumeRole with the credentials of `client`'s provider. */
struct role_opts {
	struct aws_client *client; /* taken, also when role_new() fails */
	struct provider *source;   /* taken likewise: what the client signs with */
	/* Copied; external_id may be NULL. */
	const char *endpoint, *arn, *external_id, *session_name;
	unsigned duration_s;         /* 0: STS's own, 1 h */
	const char *profile;         /* for messages; copied */
	const char *mfa_serial;      /* NULL: no one-time code; copied */
	const struct mfa_asker *mfa; /* who is asked for it; NULL: nobody can be */
};
struct provider *role_new(const struct role_opts *, struct err *);
/* "awsocks-USER-HOST" in the pattern that STS allows, [\w+=,.@-]{2,64}. */
void role_session_name(const char *user, const char *host, char out[65]);
/* The form that is sent, and its answer. Pure. */
struct buf;
MUST_CHECK int role_form(const struct role_opts *, struct buf *, struct err *);
struct creds *role_parse(const char *xml, size_t n, const char *source, struct err *);

/* STS AssumeRoleWithWebIdentity with the token in a file, unsigned. */
struct web_opts {
	struct loop *loop;
	struct aws_client *client; /* taken, also when web_new() fails */
	/* Copied. */
	const char *endpoint, *arn, *session_name, *token_file;
	const char *profile; /* for messages; NULL: it stands in the environment */
};
struct provider *web_new(const struct web_opts *, struct err *);
/* The form that is sent; its answer is role_parse()'s. Pure. */
MUST_CHECK int web_form(const struct web_opts *, const char *token, struct buf *, struct err *);
#endif
