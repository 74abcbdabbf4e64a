#include "cmd/awsocks/cal_script.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cal_text.h"
#include "cmd/awsocks/text_file.h"

#define END "CAL_END_OF_TEXT"
enum { PROGRAM_MAX = 2560 * 1024 }; /* in base64 still well below CAL_SCRIPT_MAX */

int cal_text_add(struct buf *b, const char *const *lines, struct err *e)
{
	for (; *lines; lines++)
		if (buf_add(b, *lines, strlen(*lines), e) != 0)
			return -1;
	return 0;
}

int cal_host_user(const struct cal_conf *c, char out[static 64], struct err *e)
{
	const char *name = c->value[CAL_HOST_USER];
	const struct passwd *p = name ? NULL : getpwuid(geteuid());

	if (p)
		name = p->pw_name;
	if (!name)
		return err_set(e, ERR_CONFIG, "this user has no name here: give --host-user");
	if (cal_check_word(name, e) != 0 || !str_fmt(out, 64, "%s", name))
		return err_wrap(e, "the name of this user (--host-user gives another)");
	return 0;
}

/* All values were checked to be words: nothing needs quoting. */
static int add_config(struct buf *b, const struct cal_conf *c, const struct cal_host *h,
		      struct err *e)
{
	char user[64];

	if (cal_host_user(c, user, e) != 0)
		return -1;
	return buf_addf(
		b, e,
		"VM=%s\nWAY=%s\n"
		"cal_config='# Of the functions start_socks and so on; written by awsocks cal "
		"setup.\n"
		"# PROXY_MODE, if it stands here, counts before SOCKS_MODE.\n"
		"SOCKS_MODE=%s\nSOCKS_PORT=%s\nHTTP_PROXY_PORT=%s\n"
		"HOST_GATEWAY=%s\nHOST_USER=%s\n"
		"SOCKS_WAY=%s\nHOST_PROXY_PORT=%s\nHOST_SSH_PORT=%s'\n",
		c->vm, c->value[CAL_WAY], c->value[CAL_SOCKS], c->value[CAL_SOCKS_PORT],
		c->value[CAL_HTTP_PORT], c->value[CAL_GATEWAY], user, c->value[CAL_WAY], h->port,
		c->value[CAL_SSH_PORT]);
}

static int add_functions(struct buf *b, struct err *e)
{
	if (buf_addf(b, e, "cal_functions() {\n\tcat <<'" END "'\n") != 0 ||
	    cal_text_add(b, cal_shell, e) != 0)
		return -1;
	return buf_addf(b, e, END "\n}\n");
}

/* ---- the host's keys ---- */

static int add_host_key(struct buf *b, const struct cal_conf *c, const char *path, struct err *e)
{
	const char *port = c->value[CAL_SSH_PORT], *host = c->value[CAL_GATEWAY];
	bool plain = strcmp(port, "22") == 0;
	char *text;
	size_t n, type, blob;
	int rc;

	if (text_file_read(path, &text, &n, e) != 0)
		return -1;
	type = strcspn(text, " ");
	blob = text[type] ? strcspn(text + type + 1, " \r\n") : 0;
	if (!str_starts(text, "ssh-") && !str_starts(text, "ecdsa-"))
		rc = err_set(e, ERR_CONFIG, "%s is no public key of OpenSSH", path);
	else
		rc = buf_addf(b, e, "%s%s%s%s%s %.*s cal-vm-socks-host\n", plain ? "" : "[", host,
			      plain ? "" : "]:", plain ? "" : port, "", (int)(type + 1 + blob),
			      text);
	mem_free(text);
	return rc;
}

static int add_all_host_keys(struct buf *b, const struct cal_conf *c, struct err *e)
{
	glob_t g;
	int rc = 0;

	if (glob("/etc/ssh/ssh_host_*_key.pub", 0, NULL, &g) != 0 || g.gl_pathc == 0)
		return err_set(e, ERR_CONFIG,
			       "no /etc/ssh/ssh_host_*_key.pub: turn on Remote Login (sshd), or "
			       "name its public host key with --host-key FILE");
	for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
		rc = add_host_key(b, c, g.gl_pathv[i], e);
	globfree(&g);
	return rc;
}

static int add_host_keys(struct buf *b, const struct cal_conf *c, const char *host_key,
			 struct err *e)
{
	if (buf_addf(b, e, "cal_host_keys() {\n\tcat <<'" END "'\n") != 0)
		return -1;
	if (strcmp(c->value[CAL_WAY], "ssh") == 0 &&
	    (host_key ? add_host_key(b, c, host_key, e) : add_all_host_keys(b, c, e)) != 0)
		return -1;
	return buf_addf(b, e, END "\n}\n");
}

/* ---- the bridge ---- */

static int add_base64(struct buf *b, const char *p, size_t n, struct err *e)
{
	enum { LINE = 57 };
	char line[80];

	for (; n; p += n < LINE ? n : LINE, n -= n < LINE ? n : LINE) {
		str_base64(p, n < LINE ? n : LINE, line);
		if (buf_addf(b, e, "%s\n", line) != 0)
			return -1;
	}
	return 0;
}

/* The program's bytes; false: there is none that could be shipped. */
static bool read_program(const char *path, char **bytes, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = false;

	*bytes = fd >= 0 ? mem_alloc(PROGRAM_MAX) : NULL;
	if (*bytes)
		ok = file_read_all(fd, *bytes, PROGRAM_MAX, n) == 0 && *n < PROGRAM_MAX;
	if (fd >= 0)
		close(fd);
	return ok;
}

/* For a guest of the host's own kind; for others the script asks for the program. */
static int add_bridge(struct buf *b, const struct cal_conf *c, struct err *e)
{
	char path[PATH_TEXT], *text = NULL;
	struct utsname u;
	size_t n = 0;
	int rc;

	path_sibling("awsocks-bridge", path);
	if (strcmp(c->value[CAL_WAY], "bridge") != 0 || uname(&u) != 0 || path[0] != '/' ||
	    !read_program(path, &text, &n)) {
		mem_free(text);
		return buf_addf(b, e, "cal_bridge_to() { return 1; }\n");
	}
	rc = buf_addf(b, e,
		      "cal_bridge_to() {\n"
		      "\t[ \"$(uname -s) $(uname -m)\" = '%s %s' ] || return 1\n"
		      "\tcal_base64 | { base64 -d 2>/dev/null || base64 -D; } >\"$1\"\n}\n"
		      "cal_base64() {\n\tcat <<'" END "'\n",
		      u.sysname, u.machine);
	if (rc == 0)
		rc = add_base64(b, text, n, e);
	mem_free(text);
	return rc == 0 ? buf_addf(b, e, END "\n}\n") : -1;
}

int cal_script(struct buf *b, const struct cal_conf *c, const struct cal_host *h,
	       const char *host_key, struct err *e)
{
	if (buf_addf(b, e,
		     "#!/bin/sh\n# Sets up the VM %s: run it there, as in\n"
		     "#     ssh admin@ADDRESS sh -s <THIS_FILE\n"
		     "# Written by `awsocks cal setup`; running it again is fine.\nset -eu\n",
		     c->vm) != 0 ||
	    add_config(b, c, h, e) != 0 || add_functions(b, e) != 0 ||
	    add_host_keys(b, c, host_key, e) != 0 || add_bridge(b, c, e) != 0)
		return -1;
	/* A group is read whole before it runs: nothing in it reads the script by mistake. */
	if (buf_addf(b, e, "{\n") != 0 || cal_text_add(b, cal_install, e) != 0)
		return -1;
	return buf_addf(b, e, "} </dev/null\n");
}
