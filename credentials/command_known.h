#ifndef CREDENTIALS_COMMAND_KNOWN_H
#define CREDENTIALS_COMMAND_KNOWN_H
/* Whether a command line is one that the user wrote down as a credential_process. */
#include "base/err.h"

/* 0: some section of the two files of ~/.aws, read now, has `credential_process` with exactly these
 * words (argv ends in NULL). ERR_DENIED: none has; otherwise as aws_files_load(). Blocking. */
MUST_CHECK int command_known(const char *const *env, const char *const *argv, struct err *);
#endif
