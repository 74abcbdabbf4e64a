#include "cmd/bridge/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static const char variable[] = "AWSOCKS_PROXY_USER";

static int take(struct user *u, const char *origin, struct err *e)
{
	const char *colon = strchr(u->text, ':');
	size_t name_n = colon ? (size_t)(colon - u->text) : 0, n = colon ? strlen(colon + 1) : 0;

	if (!name_n || name_n > USER_PART || !n || n > USER_PART)
		return err_set(e, ERR_USAGE, "%s: NAME:PASSWORD expected, each of 1 to %d bytes",
			       origin, USER_PART);
	u->name_n = name_n;
	return 0;
}

/* A byte at a time: a pipe gives what it has, and nothing behind the line is ours. */
static int read_line(int fd, struct user *u)
{
	size_t n = 0;

	while (n < USER_TEXT) {
		ssize_t got = read(fd, u->text + n, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0 || u->text[n] == '\n')
			break;
		n++;
	}
	u->text[n] = '\0';
	if (n && u->text[n - 1] == '\r')
		u->text[n - 1] = '\0';
	return 0;
}

static int from_file(struct user *u, const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int failed = fd < 0 || read_line(fd, u) != 0;

	if (failed)
		(void)err_sys(e, errno, "--user-file %s", path);
	if (fd >= 0)
		close(fd);
	return failed ? -1 : take(u, "--user-file", e);
}

int user_find(struct user *u, const char *file, struct err *e)
{
	const char *text = getenv(variable);
	int result = 0;

	memset(u, 0, sizeof(*u));
	if (file) {
		result = from_file(u, file, e);
	} else if (text && *text) {
		size_t n = strlen(text);

		memcpy(u->text, text, n < USER_TEXT ? n : USER_TEXT);
		result = n > USER_TEXT ? err_set(e, ERR_USAGE, "%s: too long", variable)
				       : take(u, variable, e);
	}
	if (result != 0)
		user_wipe(u);
	return result;
}

void user_wipe(struct user *u)
{
	mem_wipe(u, sizeof(*u));
}
