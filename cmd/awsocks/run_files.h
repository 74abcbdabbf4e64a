#ifndef CMD_AWSOCKS_RUN_FILES_H
#define CMD_AWSOCKS_RUN_FILES_H
/* Small files a running awsocks leaves for others: pid file, ready file. */
#include "base/err.h"

struct app;

/* Written whole or not at all (temporary file, then rename), 0600. */
MUST_CHECK int write_whole_file(const char *path, const char *text, struct err *);
MUST_CHECK int write_pid_file(const char *path, struct err *);
/* {"pid":1,"control":"/path","listeners":[{"name","address","port"}]} */
MUST_CHECK int write_ready_file(const char *path, struct app *, const char *control, struct err *);
#endif
