#ifndef CREDENTIALS_FORM_H
#define CREDENTIALS_FORM_H
/* A Query API's form: name=value pairs, percent-encoded. */
#include "base/buf.h"

/* Adds "&name=value" (without '&' to an empty buffer). `name` is taken as it is. */
MUST_CHECK int form_add(struct buf *, const char *name, const char *value, struct err *);
#endif
