#ifndef CMD_AWSOCKS_MFA_H
#define CMD_AWSOCKS_MFA_H
/*
 * One-time codes: asked for on the terminal, where the program has one in the
 * foreground, and taken from `awsocks mfa CODE`, whichever comes first.
 */
#include "credentials/provider.h"

struct cJSON;
struct loop;
struct mfa;
struct terminal;

/* remote: somebody can answer by mfa_answer(). terminal: where to ask, which outlives this; NULL:
 * ours, if there is one. NULL: out of memory. */
struct mfa *mfa_new(struct loop *, bool remote, struct terminal *);
void mfa_free(struct mfa *); /* after those who ask; NULL allowed */
/* For chain_opts; NULL where nobody can be asked. */
const struct mfa_asker *mfa_asker_of(struct mfa *);
/* The answer to the question that has waited longest. ERR_USAGE: not six digits, or none waits. */
MUST_CHECK int mfa_answer(struct mfa *, const char *code, struct err *);
/* "profile" and "serial" of each question that waits, as an array. */
void mfa_describe(const struct mfa *, struct cJSON *array);
#endif
