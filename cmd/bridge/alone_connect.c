/* `awsocks-bridge connect`: through the listener that --to or AWSOCKS names. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/bridge/alone.h"
#include "cmd/bridge/through.h"
#include "cmd/bridge/user.h"

struct wanted {
	const char *to, *user_file, *word[2];
};

static int parse(int argc, char **argv, struct wanted *w, struct err *e)
{
	int n = 0;

	for (int i = 1; i < argc; i++) {
		if (str_starts(argv[i], "--to="))
			w->to = argv[i] + strlen("--to=");
		else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc)
			w->to = argv[++i];
		else if (str_starts(argv[i], "--user-file="))
			w->user_file = argv[i] + strlen("--user-file=");
		else if (strcmp(argv[i], "--user-file") == 0 && i + 1 < argc)
			w->user_file = argv[++i];
		else if (n < 2 && argv[i][0] != '-')
			w->word[n++] = argv[i];
		else if (strcmp(argv[i], "--") != 0)
			return err_set(e, ERR_USAGE, "connect: unexpected '%.60s'", argv[i]);
	}
	return n == 2 ? 0 : err_set(e, ERR_USAGE, "connect: HOST and PORT expected");
}

static int find_listener(const char *to, struct addr *at, struct err *e)
{
	const char *env = getenv("AWSOCKS");

	if (to)
		return through_parse(to, at, e) == 0 ? 0 : err_wrap(e, "--to");
	if (env && *env)
		return through_parse(env, at, e) == 0 ? 0 : err_wrap(e, "AWSOCKS");
	return err_set(e, ERR_USAGE, "connect: which listener? (--to ADDR, or AWSOCKS)");
}

int alone_connect(int argc, char **argv, struct err *e)
{
	struct wanted w = { 0 };
	struct user user;
	struct addr at;
	uint64_t port;

	if (parse(argc, argv, &w, e) != 0)
		return -1;
	if (!*w.word[0] || strlen(w.word[0]) > 255)
		return err_set(e, ERR_USAGE, "connect: host name of 1 to 255 bytes expected");
	if (str_number(w.word[1], 1, 65535, &port, e) != 0)
		return err_wrap(e, "connect: port");
	if (find_listener(w.to, &at, e) != 0 || user_find(&user, w.user_file, e) != 0)
		return -1;
	return through_listener(&at, &user, w.word[0], (uint16_t)port, e);
}
