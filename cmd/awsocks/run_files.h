#ifndef CMD_AWSOCKS_RUN_FILES_H
#define CMD_AWSOCKS_RUN_FILES_H
/* Small files a running awsocks leaves for others: pid file, ready file. */
#include "base/err.h"

struct app;

/* As text_file_write() does it. */
MUST_CHECK int write_pid_file(const char *path, struct err *);
/* {"pid":1,"control":"/path","listeners":[{"name","address","port"}]} */
MUST_CHECK int write_ready_file(const char *path, struct app *, const char *control, struct err *);
#endif
