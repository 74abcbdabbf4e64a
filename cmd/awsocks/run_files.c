#include "cmd/awsocks/run_files.h"

#include <cjson/cJSON.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/app.h"
#include "cmd/awsocks/text_file.h"

int write_pid_file(const char *path, struct err *e)
{
	char text[32];

	(void)str_fmt(text, sizeof(text), "%ld\n", (long)getpid());
	return text_file_write(path, text, e) == 0 ? 0 : err_wrap(e, "--pid-file");
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
	result = text_file_write(path, text, e);
	cJSON_free(text);
	return result == 0 ? 0 : err_wrap(e, "--ready-file");
}
