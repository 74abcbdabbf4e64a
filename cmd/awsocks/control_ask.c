/* The asking side of the control socket: blocking, for short-lived commands. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "cmd/awsocks/control.h"
#include "net/addr.h"

enum { REPLY_MAX = 4 * 1024 * 1024, LIMIT_S = 5 };

static int connect_to(const char *path, struct err *e)
{
	struct timeval limit = { .tv_sec = LIMIT_S };
	struct addr at;
	char text[sizeof("unix:") + 1024];
	int fd;

	if (!str_fmt(text, sizeof(text), "unix:%s", path) || addr_parse(text, &at, e) != 0)
		return err_wrap(e, "control socket");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		return err_sys(e, errno, "control socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&at.ss, at.len) == 0)
		return fd;
	(void)err_set(e, ERR_HOSTUNREACH, "no running awsocks found at %s (%s)", path,
		      strerror(errno));
	close(fd);
	return -1;
}

static int read_line(int fd, struct buf *line, struct err *e)
{
	while (!memchr(buf_ptr(line), '\n', buf_len(line))) {
		uint8_t *to = buf_reserve(line, 4096, e);
		ssize_t n = to ? read(fd, to, 4096) : -1;

		if (!to)
			return -1;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_TIMEOUT, "control socket: no answer within %d s",
				       LIMIT_S);
		if (n == 0)
			return err_set(e, ERR_CLOSED, "control socket: closed without an answer");
		buf_commit(line, (size_t)n);
	}
	return 0;
}

static int check(const struct cJSON *reply, struct err *e)
{
	const struct cJSON *status;
	enum err_code code;
	const char *text;

	if (!reply)
		return err_set(e, ERR_PROTO, "control socket: the answer is not JSON");
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok")))
		return 0;
	text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply, "error"));
	status = cJSON_GetObjectItemCaseSensitive(reply, "exit");
	code = status && status->valueint == err_exit_status(ERR_UNSUPPORTED) ? ERR_UNSUPPORTED
									      : ERR_CONFIG;
	return err_set(e, code, "%s", text ? text : "refused without a reason");
}

int control_ask(const char *path, const char *command, struct cJSON **reply, struct err *e)
{
	return control_tell(path, command, "", reply, e);
}

int control_tell(const char *path, const char *command, const char *value, struct cJSON **reply,
		 struct err *e)
{
	char ask[128];
	struct buf line;
	int fd, result = -1;

	*reply = NULL;
	buf_init(&line, REPLY_MAX);
	fd = connect_to(path, e);
	if (fd < 0)
		return -1;
	if (!str_fmt(ask, sizeof(ask), "{\"cmd\":\"%s\",\"value\":\"%s\"}\n", command, value) ||
	    strpbrk(value, "\"\\"))
		(void)err_set(e, ERR_USAGE, "control: not a value for %s", command);
	else if (send(fd, ask, strlen(ask), MSG_NOSIGNAL) != (ssize_t)strlen(ask))
		(void)err_sys(e, errno, "control socket");
	else if (read_line(fd, &line, e) == 0) {
		*reply = cJSON_ParseWithLength((const char *)buf_ptr(&line), buf_len(&line));
		result = check(*reply, e);
	}
	if (result != 0) {
		cJSON_Delete(*reply);
		*reply = NULL;
	}
	buf_free(&line);
	close(fd);
	return result;
}
