/* What the host says about its CAL VMs: a table, a banner, a VM's variables. */
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/cal.h"
#include "cmd/awsocks/cal_host.h"
#include "cmd/awsocks/control.h"
#include "cmd/awsocks/json_member.h"
#include "cmd/awsocks/setup.h"

/* What the running awsocks says; NULL: none runs, or *e. The caller deletes it. */
static struct cJSON *ask(const struct cal_ask *a, struct err *e)
{
	char path[PATH_TEXT];
	struct cJSON *reply;

	if (setup_control_path(a->control, path, e) != 0 ||
	    control_ask(path, "status", &reply, e) != 0)
		return NULL;
	return reply;
}

static const struct cJSON *status_of(const struct cJSON *reply, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(reply, "status"),
						key);
}

static const struct cJSON *listener(const struct cJSON *reply, const char *name)
{
	const struct cJSON *l;

	cJSON_ArrayForEach(l, status_of(reply, "listeners")) if (strcmp(member_text(l, "name"),
									name) == 0) return l;
	return NULL;
}

/* ---- status ---- */

static int print_vm(const struct cal_ask *a, const char *vm, const struct cJSON *reply,
		    struct err *e)
{
	const struct cJSON *l, *n;
	struct cal_host h;
	bool found;

	if (cal_host_find(&h, vm, a->dir, &found, e) != 0)
		return -1;
	if (!found) {
		printf("%-16s not set up\n", vm);
		return 0;
	}
	l = reply ? listener(reply, h.name) : NULL;
	n = cJSON_GetObjectItemCaseSensitive(l, "connections");
	printf("%-16s %-20s %-22s ", vm, h.name, h.listen);
	if (!reply)
		printf("awsocks is not running\n");
	else if (!l)
		printf("not open: start awsocks again\n");
	else if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(l, "open")))
		printf("waiting for that address\n");
	else
		printf("open, %.0f connections\n", cJSON_IsNumber(n) ? n->valuedouble : 0);
	return 0;
}

int cal_host_status(const struct cal_ask *a, struct err *e)
{
	char names[CAL_VMS_MAX][64];
	struct err none;
	struct cJSON *reply;
	size_t count = 1;
	int rc = 0;

	if (a->vm)
		(void)str_fmt(names[0], sizeof(names[0]), "%s", a->vm);
	else if (cal_host_list(a->dir, names, CAL_VMS_MAX, &count, e) != 0)
		return -1;
	reply = ask(a, &none);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = print_vm(a, names[i], reply, e);
	if (!count)
		printf("no VM is set up: awsocks cal setup --vm NAME\n");
	cJSON_Delete(reply);
	return rc;
}

/* ---- env ---- */

int cal_host_env(const struct cal_ask *a, struct err *e)
{
	static const struct {
		enum cal_key key;
		const char *variable;
	} passed[] = { { CAL_WAY, "SOCKS_WAY" },
		       { CAL_SOCKS, "SOCKS_MODE" },
		       { CAL_SOCKS_PORT, "SOCKS_PORT" },
		       { CAL_HTTP_PORT, "HTTP_PROXY_PORT" },
		       { CAL_GATEWAY, "HOST_GATEWAY" } };
	struct cal_conf c;
	struct cal_host h;
	bool found;
	int rc = cal_conf_load(&c, a->vm, a->given, cal_report, NULL, e);

	if (rc == 0)
		rc = cal_host_find(&h, a->vm, a->dir, &found, e);
	if (rc == 0 && !found)
		rc = err_set(e, ERR_CONFIG, "%s is not set up: awsocks cal setup --vm %s", a->vm,
			     a->vm);
	for (size_t i = 0; rc == 0 && i < sizeof(passed) / sizeof(passed[0]); i++)
		if (setenv(passed[i].variable, c.value[passed[i].key], 1) != 0)
			rc = err_set(e, ERR_NOMEM, "environment");
	if (rc == 0 && setenv("HOST_PROXY_PORT", h.port, 1) != 0)
		rc = err_set(e, ERR_NOMEM, "environment");
	if (rc == 0)
		rc = cal_run_shell("_cal_load && _cal_env", e);
	cal_conf_free(&c);
	return rc;
}

/* ---- banner ---- */

enum { BANNER_LIMIT_MS = 900 };

/* Async-signal-safe: the line so far is out already. */
static void on_alarm(int signum)
{
	static const char text[] = "🔴 no answer\n";

	(void)signum;
	(void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
	_exit(0);
}

/* The worst state of any backend. */
static const char *backends(const struct cJSON *reply, char *room, size_t size)
{
	const struct cJSON *b;
	const char *worst = "🟢 running";

	cJSON_ArrayForEach(b, status_of(reply, "backends"))
	{
		const char *state = member_text(b, "state");

		if (strcmp(state, "failed") == 0) {
			(void)str_fmt(room, size, "🔴 %.60s", member_text(b, "reason"));
			return room;
		}
		if (strcmp(state, "initializing") == 0 || strcmp(state, "transitioning") == 0)
			worst = "🟡 starting";
	}
	return worst;
}

static const char *state_text(const struct cal_ask *a, const struct cJSON *reply, char *room,
			      size_t size)
{
	const struct cJSON *l;
	struct cal_host h;
	struct err e;
	bool found;

	if (!a->vm)
		return backends(reply, room, size);
	if (cal_host_find(&h, a->vm, a->dir, &found, &e) != 0 || !found)
		return "🔴 not set up";
	l = listener(reply, h.name);
	if (!l)
		return "🔴 not open";
	if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(l, "open")))
		return "🟡 starting";
	return backends(reply, room, size);
}

/* One line, whatever the names have in them: no end of line, nothing a terminal would obey. */
static void print_plain(const char *label, const char *text)
{
	printf("%s", label);
	for (; *text; text++)
		(void)putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

/* A banner is shown while a terminal waits for it: it comes within a second, whatever hangs. */
int cal_banner(const struct cal_ask *a, struct err *e)
{
	struct itimerval limit = { .it_value = { .tv_usec = BANNER_LIMIT_MS * 1000 } };
	struct cJSON *reply;
	char room[120];

	(void)e;
	printf("🔒 CAL ISOLATION ACTIVE");
	if (a->vm)
		printf(" │ VM: %s", a->vm);
	if (a->environments)
		print_plain(" │ Env: ", a->environments);
	if (a->safe_mode)
		printf(" │ Safe Mode");
	printf(" │ Proxy: ");
	(void)fflush(stdout);
	(void)signal(SIGALRM, on_alarm);
	(void)setitimer(ITIMER_REAL, &limit, NULL);
	reply = ask(a, &(struct err){ 0 });
	limit.it_value.tv_usec = 0;
	(void)setitimer(ITIMER_REAL, &limit, NULL);
	printf("%s\n", reply ? state_text(a, reply, room, sizeof(room)) : "🔴 not running");
	cJSON_Delete(reply);
	return 0;
}
