#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/env.h"
#include "net/self.h"

/* Whether the word awsocks, typed in a shell, means the file `self`. */
static bool in_path(const char *self)
{
	const char *dirs = getenv("PATH");
	struct stat ours, found;
	char file[PATH_TEXT];

	if (!dirs || stat(self, &ours) != 0)
		return false;
	for (const char *d = dirs, *end; d; d = *end ? end + 1 : NULL) {
		end = d + strcspn(d, ":");
		if (str_fmt(file, sizeof(file), "%.*s/awsocks", (int)(end - d), d) &&
		    access(file, X_OK) == 0 && stat(file, &found) == 0)
			return found.st_dev == ours.st_dev && found.st_ino == ours.st_ino;
	}
	return false;
}

/* What GIT_SSH_COMMAND names. */
static const char *program(char out[static PATH_TEXT])
{
	if (self_path(out, PATH_TEXT) && !in_path(out))
		return out;
	return "awsocks";
}

int env_vars_find(const struct env_request *q, struct env_vars *v, struct err *e)
{
	*v = (struct env_vars){ .opts.extra = q->extra, .opts.no_ssh = q->no_ssh };
	if (proxy_vars_all_find(q->all_proxy, &v->opts.all_proxy, e) != 0 ||
	    env_place_find(&q->where, &v->place, e) != 0)
		return -1;
	v->opts.program = program(v->program);
	v->opts.port = v->place.port;
	if (*v->place.host)
		v->opts.host = v->place.host;
	else
		v->opts.unix_path = v->place.unix_path;
	return 0;
}

void env_say_unix_limits(const struct env_place *p)
{
	fprintf(stderr,
		"awsocks: unix:%s is a Unix socket: curl (7.84 and newer) and ssh can use it, and "
		"nothing else. For all other tools: awsocks exec --to unix:%s -- COMMAND, or a "
		"port: awsocks bridge --listen 127.0.0.1:1080 --to unix:%s\n",
		p->unix_path, p->unix_path, p->unix_path);
}
