#include "net/child_env.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"

bool child_env_may_hold_secret(const char *entry)
{
	static const char proxy[] = "_proxy";
	size_t n = strcspn(entry, "="), len = sizeof(proxy) - 1;

	return str_starts(entry, "AWS_") || str_starts(entry, "AWSOCKS_") ||
	       (n >= len && strncasecmp(entry + n - len, proxy, len) == 0);
}

void child_env_strip(char **env)
{
	char **to = env;

	for (char **at = env; *at; at++)
		if (!child_env_may_hold_secret(*at))
			*to++ = *at;
	*to = NULL;
}
