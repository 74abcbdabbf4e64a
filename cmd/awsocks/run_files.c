#include "cmd/awsocks/run_files.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/paths.h"

int write_whole_file(const char *path, const char *text, struct err *e)
{
	char temporary[PATH_TEXT];
	size_t n = strlen(text);
	int fd, sys = 0;

	if (!str_fmt(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid()))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "write %s", path);
	if (write(fd, text, n) != (ssize_t)n)
		sys = errno ? errno : EIO;
	if (close(fd) != 0 && !sys)
		sys = errno;
	if (!sys && rename(temporary, path) != 0)
		sys = errno;
	if (!sys)
		return 0;
	(void)unlink(temporary);
	return err_sys(e, sys, "write %s", path);
}

int write_pid_file(const char *path, struct err *e)
{
	char text[32];

	(void)str_fmt(text, sizeof(text), "%ld\n", (long)getpid());
	return write_whole_file(path, text, e) == 0 ? 0 : err_wrap(e, "--pid-file");
}

int write_ready_file(const char *path, struct app *a, const char *control, struct err *e)
{
	struct cJSON *o = cJSON_CreateObject();
	char *text;
	int result;

	cJSON_AddNumberToObject(o, "pid", getpid());
	cJSON_AddStringToObject(o, "control", control);
	app_describe_listeners(a, cJSON_AddArrayToObject(o, "listeners"));
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	if (!text)
		return err_set(e, ERR_NOMEM, "--ready-file");
	result = write_whole_file(path, text, e);
	cJSON_free(text);
	return result == 0 ? 0 : err_wrap(e, "--ready-file");
}
