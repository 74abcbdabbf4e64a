#ifndef CMD_AWSOCKS_LOGIN_HOSTS_H
#define CMD_AWSOCKS_LOGIN_HOSTS_H
/*
 * Hosts at which the user signs in (design section 5): a login page that is
 * sent through the very session that the login is for never opens. While a
 * profile signs in by IAM Identity Center or AWS sign-in, these exact hosts go
 * direct on plain loopback listeners, unless a rule blocks them.
 */
#include "cmd/awsocks/setup.h"
#include "routing/router.h"

/* Of all profiles of the setup, as the AWS files are now; --no-login-hosts adds none. AWS files
 * with mistakes add none either: they are reported when they are needed. */
MUST_CHECK int login_hosts_add(struct router *, const struct setup *, struct err *);
#endif
