#ifndef CONFIG_DOC_H
#define CONFIG_DOC_H
/* The option table as text: --help, and the options section of the manual. */
#include "base/buf.h"
#include "config/settings.h"

/* All options, grouped; those of a subcommand (may be NULL) first. */
MUST_CHECK int doc_help(struct buf *, const struct arg_opt *own, bool general, struct err *);
/* mdoc(7): one list per group. */
MUST_CHECK int doc_man(struct buf *, struct err *);
#endif
