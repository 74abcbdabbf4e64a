#ifndef CMD_AWSOCKS_DEMO_PAGE_H
#define CMD_AWSOCKS_DEMO_PAGE_H
#include "base/err.h"

/* A listening socket on a free loopback port; -1: *e tells. */
int demo_page_listen(unsigned *port, struct err *e);
/* Serves one fixed page, a connection at a time, until the process is ended. */
_Noreturn void demo_page_serve(int fd);
#endif
