#ifndef NET_CHILD_ENV_H
#define NET_CHILD_ENV_H
/*
 * The environment of children that have no use for secrets: without what AWS's tools and this
 * program are set by (AWS_*, AWSOCKS_*: keys and tokens are among them) and without proxies
 * (*_PROXY, *_proxy: with their passwords).
 */
#include <stdbool.h>

bool child_env_may_hold_secret(const char *entry); /* "NAME=value" */
/* Takes them out, in place: env is NULL at the end, as environ. */
void child_env_strip(char **env);
#endif
