#ifndef BACKEND_BACKEND_IMPL_H
#define BACKEND_BACKEND_IMPL_H
/* For files that implement backends. Everyone else includes backend.h. */
#include "backend/backend.h"

struct backend_ops {
	struct dial *(*dial)(struct backend *, const struct dest *, dialed_fn *, void *arg,
			     struct err *e);
	void (*cancel)(struct dial *);
	/* These may be NULL: always active, nothing to do. */
	enum backend_state (*state)(const struct backend *);
	bool (*first_init)(const struct backend *);
	void (*wake)(struct backend *);
	void (*start)(struct backend *, void (*started)(void *arg, const struct err *),
		      void *arg); /* required */
	void (*set_creds)(struct backend *, struct creds *);
	void (*describe)(struct backend *, struct cJSON *into);
	void (*close)(struct backend *, void (*closed)(void *arg), void *arg); /* required */
};
struct backend { /* first member of the real one */
	const struct backend_ops *ops;
	char name[80];
};
struct dial { /* first member of the real one */
	struct backend *backend;
	dialed_fn *done;
	void *arg;
};
#endif
