#ifndef CMD_AWSOCKS_PROXY_VARS_H
#define CMD_AWSOCKS_PROXY_VARS_H
/*
 * The environment variables that make each tool use the proxy: the one list of them, for
 * `awsocks env`, `exec` and `bridge --env`, and for the static awsocks-bridge (so: pure, and
 * nothing but base/).
 *
 * Why these values: http:// is what every tool takes that can use a proxy at all, while a SOCKS
 * value crashes pip, requests, httpx and node; both cases of a name, since curl and wget read
 * http_proxy in lower case only; of NO_PROXY nothing but loopback, since tools disagree about all
 * else, and the rules decide.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PROXY_VAR_VALUE = 1024, PROXY_VAR_PROGRAM = 256 };

/* Nothing broad: with 10/8 in it, as srt has it, every host of a VPC would be kept from the proxy.
 * And no "[::1]": httpx (of the OpenAI and Anthropic SDKs) ends with an error where it finds that,
 * while only urllib needs it for http://[::1]/. */
#define PROXY_VARS_NO_PROXY "localhost,127.0.0.1,::1"

/* What ALL_PROXY gets. */
enum proxy_vars_all { PROXY_VARS_ALL_HTTP = 0, PROXY_VARS_ALL_SOCKS5H, PROXY_VARS_ALL_NONE };
/* By the word that --all-proxy takes; NULL: http. */
MUST_CHECK int proxy_vars_all_find(const char *word, enum proxy_vars_all *, struct err *);

struct proxy_vars_opts {
	const char *host; /* an IP address ("::1" without brackets) or a name; NULL: unix_path */
	uint16_t port;
	/* A Unix listener: only curl (ALL_PROXY=socks5h://localhost/PATH) and `awsocks connect`
	 * can use it, so nothing else is set that others would take for a proxy. */
	const char *unix_path;
	enum proxy_vars_all all_proxy;
	bool extra;  /* also names that single tools read (rsync, ftp, grpc, docker, ...) */
	bool no_ssh; /* no GIT_SSH_COMMAND */
	/* For its ProxyCommand: "awsocks", or the path of what has `connect`. NULL: "awsocks". */
	const char *program;
};

/* How a value goes with one that is there already. */
enum proxy_var_kind {
	PROXY_VAR_SET,  /* replaces it */
	PROXY_VAR_MERGE /* proxy_vars_merge() */
};

/* Called for each variable, in the order in which they are listed. What is not 0 ends the list. */
typedef int proxy_var_fn(void *arg, const char *name, const char *value, enum proxy_var_kind,
			 struct err *);
/* ERR_USAGE: a host, path or value that does not fit. */
MUST_CHECK int proxy_vars_each(const struct proxy_vars_opts *, proxy_var_fn *, void *arg,
			       struct err *);
/* Sets them in this process's environment, for a program that is to be run. */
MUST_CHECK int proxy_vars_export(const struct proxy_vars_opts *, struct err *);
/* All names that proxy_vars_each() may ever use, for --unset; NULL behind the last. */
const char *proxy_vars_name(size_t i);

/*
 * What NAME (of kind PROXY_VAR_MERGE) becomes where `existing` (may be NULL) is its value:
 * JAVA_TOOL_OPTIONS loses an earlier proxy's options and gets ours behind the user's own;
 * GIT_SSH_COMMAND of the user's gets the ProxyCommand unless it has one of its own. `ours` NULL:
 * takes ours away; out is empty when nothing remains. ERR_LIMIT: it does not fit.
 */
MUST_CHECK int proxy_vars_merge(const char *name, const char *existing, const char *ours, char *out,
				size_t size, struct err *);
#endif
