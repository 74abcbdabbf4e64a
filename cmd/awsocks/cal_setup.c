/* The host's half of a set-up: files, key, and the script that is the VM's half. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "cmd/awsocks/cal.h"
#include "cmd/awsocks/cal_host.h"
#include "cmd/awsocks/cal_keys.h"
#include "cmd/awsocks/cal_script.h"
#include "cmd/awsocks/cal_text.h"
#include "cmd/awsocks/control.h"
#include "cmd/awsocks/setup.h"

#include <cjson/cJSON.h>

/* ---- the VM's half, by ssh ---- */

static pid_t start_ssh(const char *destination, int *in, int *out, struct err *e)
{
	int to[2], from[2];
	pid_t pid;

	if (pipe(to) != 0)
		return err_sys(e, errno, "pipe");
	if (pipe(from) != 0) {
		(void)err_sys(e, errno, "pipe");
		close(to[0]);
		close(to[1]);
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		(void)dup2(to[0], STDIN_FILENO);
		(void)dup2(from[1], STDOUT_FILENO);
		close(to[1]);
		close(from[0]);
		(void)signal(SIGPIPE, SIG_DFL);
		execlp("ssh", "ssh", "-o", "ConnectTimeout=20", "--", destination, "sh -s",
		       (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	*in = to[1];
	*out = from[0];
	if (pid > 0)
		return pid;
	close(*in);
	close(*out);
	return err_sys(e, errno, "fork");
}

/* Runs a script there; its standard output to `answer` (a text). */
static int run_there(const char *destination, const struct buf *script, char *answer, size_t size,
		     struct err *e)
{
	int in = -1, out = -1, status, sys;
	size_t n = 0;
	pid_t pid;

	if (destination[0] == '-')
		return err_set(e, ERR_USAGE, "--ssh: '%.40s' is no destination", destination);
	pid = start_ssh(destination, &in, &out, e);
	if (pid < 0)
		return -1;
	/* The script says nothing before it has been read whole: no two full pipes. */
	sys = file_write_all(in, buf_ptr(script), buf_len(script));
	close(in);
	(void)file_read_all(out, answer, size - 1, &n);
	answer[n] = '\0';
	close(out);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !sys)
		return 0;
	return err_set(e, ERR_CLOSED, "ssh %s: the set-up there failed (status %d)", destination,
		       WIFEXITED(status) ? WEXITSTATUS(status) : 128);
}

/* ---- keys ---- */

static int read_key(const char *file, char out[static CAL_KEY_LINE], struct err *e)
{
	bool standard = strcmp(file, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	int sys;

	if (fd < 0)
		return err_sys(e, errno, "open %s", file);
	sys = file_read_all(fd, out, CAL_KEY_LINE - 1, &n);
	if (!standard)
		close(fd);
	out[n] = '\0';
	if (sys)
		return err_sys(e, sys, "read %s", file);
	return n ? 0 : err_set(e, ERR_CONFIG, "--key %s: nothing in it", file);
}

static int install_key(const char *key, const struct cal_conf *c, const struct cal_host *h,
		       struct err *e)
{
	char line[CAL_KEY_LINE];
	bool changed;

	if (cal_key_line(line, key, h->port, c->vm, e) != 0 ||
	    cal_keys_install(line, c->vm, &changed, e) != 0)
		return -1;
	fprintf(stderr, "key of %s: %s in ~/.ssh/authorized_keys, for 127.0.0.1:%s only\n", c->vm,
		changed ? "installed" : "as it was", h->port);
	if (geteuid() == 0)
		fprintf(stderr, "warning: the key logs in as root, who may bind port 1: ssh -R "
				"127.0.0.1:1 would work; run this as another user\n");
	if (cal_keys_too_open())
		fprintf(stderr,
			"warning: others may write ~, ~/.ssh or ~/.ssh/authorized_keys: sshd "
			"ignores the keys then; chmod go-w them\n");
	if (cal_keys_sockets_open())
		fprintf(stderr,
			"warning: no option of a key forbids ssh -R /PATH, which would make a "
			"socket in your directories: put AllowStreamLocalForwarding no into "
			"/etc/ssh/sshd_config\n");
	return 0;
}

/* What an earlier set-up with another way or port left. */
static int settle_key(const struct cal_conf *c, const struct cal_host *h, struct err *e)
{
	bool found;

	if (strcmp(c->value[CAL_WAY], "ssh") == 0)
		return cal_keys_repin(h->port, c->vm, &found, e);
	if (cal_keys_remove(c->vm, &found, e) != 0)
		return -1;
	if (found)
		fprintf(stderr, "key of %s: removed from ~/.ssh/authorized_keys\n", c->vm);
	return 0;
}

/* ---- setup ---- */

static bool is_open(const struct cal_ask *a, const char *name)
{
	const struct cJSON *l, *all;
	struct cJSON *reply;
	char path[PATH_TEXT];
	struct err e;
	bool open = false;

	if (setup_control_path(a->control, path, &e) != 0 ||
	    control_ask(path, "status", &reply, &e) != 0)
		return false;
	all = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(reply, "status"),
					       "listeners");
	cJSON_ArrayForEach(l, all)
	{
		const char *is = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(l, "name"));

		open = open || (is && strcmp(is, name) == 0);
	}
	cJSON_Delete(reply);
	return open;
}

static void say_host(const struct cal_ask *a, const struct cal_conf *c, const struct cal_host *h)
{
	fprintf(stderr, "%s: way %s, listener %s at %s\n", c->vm, c->value[CAL_WAY], h->name,
		h->listen);
	if (h->changed || !is_open(a, h->name))
		fprintf(stderr, "start awsocks (again) to open it\n");
	if (strcmp(c->value[CAL_WAY], "ssh") != 0 && !c->value[CAL_ADDRESS])
		fprintf(stderr,
			"every VM of that network may use it; --vm-address \"$(tart ip %s)\""
			" leaves it to this one\n",
			c->vm);
}

static int print(const struct buf *b, struct err *e)
{
	if (fwrite(buf_ptr(b), 1, buf_len(b), stdout) == buf_len(b) && fflush(stdout) == 0)
		return 0;
	return err_sys(e, errno, "standard output");
}

static int keep_script(const struct cal_ask *a, const struct cal_conf *c, const struct buf *b,
		       struct err *e)
{
	char path[PATH_TEXT];
	const char *then = strcmp(c->value[CAL_WAY], "ssh") == 0 ? " | awsocks cal setup --vm "
								 : "";

	if (!str_fmt(path, sizeof(path), "%s/cal/%s.setup.sh", a->dir, c->vm))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", a->dir);
	if (path_make_parents(path, e) != 0 || file_replace(path, buf_ptr(b), buf_len(b), e) != 0)
		return -1;
	fprintf(stderr, "now, for the VM's half: ssh admin@\"$(tart ip %s)\" sh -s <%s%s%s%s\n",
		c->vm, path, then, *then ? c->vm : "", *then ? " --key -" : "");
	return 0;
}

/* The VM's half: printed, run, or kept for the user to run. */
static int other_half(const struct cal_ask *a, const struct cal_conf *c, const struct cal_host *h,
		      struct err *e)
{
	char answer[CAL_KEY_LINE];
	struct buf b;
	int rc;

	buf_init(&b, CAL_SCRIPT_MAX);
	rc = cal_script(&b, c, h, a->host_key, e);
	if (rc == 0 && a->print)
		rc = print(&b, e);
	else if (rc == 0 && a->ssh)
		rc = run_there(a->ssh, &b, answer, sizeof(answer), e);
	else if (rc == 0)
		rc = keep_script(a, c, &b, e);
	buf_free(&b);
	if (rc == 0 && a->ssh && !a->print && strcmp(c->value[CAL_WAY], "ssh") == 0)
		rc = install_key(answer, c, h, e);
	return rc;
}

static int both_halves(const struct cal_ask *a, const struct cal_conf *c, const char *key,
		       struct err *e)
{
	struct cal_host h;

	if (cal_host_write(&h, c, a->dir, e) != 0 || settle_key(c, &h, e) != 0)
		return -1;
	say_host(a, c, &h);
	return *key ? install_key(key, c, &h, e) : other_half(a, c, &h, e);
}

int cal_setup(const struct cal_ask *a, struct err *e)
{
	const char *given[CAL_KEY_COUNT];
	char key[CAL_KEY_LINE] = "";
	struct cal_conf c;
	int rc;

	memcpy(given, a->given, sizeof(given));
	if (a->key && given[CAL_WAY] && strcmp(given[CAL_WAY], "ssh") != 0)
		return err_set(e, ERR_USAGE, "--key: only --way ssh has a key");
	/* Read before anything is written: it may come from a VM that is being set up just now. */
	if (a->key && read_key(a->key, key, e) != 0)
		return -1;
	if (a->key)
		given[CAL_WAY] = "ssh";
	rc = cal_conf_load(&c, a->vm, given, cal_report, NULL, e);
	if (rc == 0)
		rc = both_halves(a, &c, key, e);
	cal_conf_free(&c);
	return rc;
}

int cal_uninstall(const struct cal_ask *a, struct err *e)
{
	char answer[CAL_KEY_LINE], path[PATH_TEXT];
	bool files, key;
	struct buf b;
	int rc;

	if (!a->vm)
		return err_set(e, ERR_USAGE,
			       "cal uninstall: which VM? Give --vm NAME (in a VM that "
			       "was set up, none is needed)");
	if (cal_host_remove(a->vm, a->dir, &files, e) != 0 || cal_keys_remove(a->vm, &key, e) != 0)
		return -1;
	if (str_fmt(path, sizeof(path), "%s/cal/%s.setup.sh", a->dir, a->vm))
		(void)unlink(path);
	fprintf(stderr, "%s: listener and rules %s, key %s\n", a->vm,
		files ? "removed" : "were not there", key ? "removed" : "was not there");
	if (!a->print && !a->ssh)
		return 0;
	buf_init(&b, CAL_SCRIPT_MAX);
	rc = cal_text_add(&b, cal_remove, e);
	if (rc == 0)
		rc = a->print ? print(&b, e) : run_there(a->ssh, &b, answer, sizeof(answer), e);
	buf_free(&b);
	return rc;
}
