#ifndef NET_NO_PROXY_H
#define NET_NO_PROXY_H
/*
 * NO_PROXY: which hosts are reached without the proxy. There is no standard;
 * these are the forms that most clients agree on, read as generously as the
 * most generous of them: entries between commas or blanks, each
 *
 *   *                        everything
 *   example.com              this name and those below it; also .example.com, *.example.com
 *   192.0.2.1, [::1], ::1    this address
 *   192.0.2.0/24, fd00::/8   addresses
 *   example.com:8443         any of them with a port: only that port
 *
 * Loopback is not left out by itself (as curl, git and the AWS CLI do it). Pure.
 */
#include <stdbool.h>
#include <stdint.h>

/* host: a name or an address literal without brackets. list NULL: nothing is covered. */
bool no_proxy_covers(const char *list, const char *host, uint16_t port);
#endif
