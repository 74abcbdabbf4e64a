/* `awsocks status`, `reload`, `stop`, `mfa`: one question each over the control socket. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/control.h"
#include "cmd/awsocks/hidden_line.h"
#include "cmd/awsocks/json_member.h"
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/vm_print.h"
#include "cmd/awsocks/word_option.h"

struct ask {
	bool json, watch;
	const char *control, *value; /* value: of mfa */
};

static int parse(int argc, char **argv, struct ask *a, struct err *e)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			a->json = true;
		else if (strcmp(argv[i], "--watch") == 0)
			a->watch = true;
		else if (word_option(argc, argv, &i, "--control", &a->control))
			continue;
		else if (strcmp(argv[0], "mfa") == 0 && !a->value && argv[i][0] != '-')
			a->value = argv[i];
		else
			return err_set(e, ERR_USAGE, "%s: unknown argument '%s'", argv[0], argv[i]);
	}
	return 0;
}

static int fail(const struct err *e)
{
	fprintf(stderr, "awsocks: %s\n", e->msg);
	return err_exit_status(e->code);
}

static void print_session(const struct cJSON *s)
{
	bool ssh = strcmp(member_text(s, "transport"), "ssh") == 0; /* then it serves every host */

	printf("  %-16s ", "");
	if (ssh)
		printf("ssh");
	else
		printf("%s:%.0f", member_text(s, "host"), member_number(s, "port"));
	printf("  %s  %.0f streams\n", member_text(s, "id"),
	       member_number(s, ssh ? "channels" : "streams"));
}

static void print_credentials(const struct cJSON *c)
{
	if (*member_text(c, "source"))
		printf("  %-16s credentials of %s%s%.19s\n", "", member_text(c, "source"),
		       *member_text(c, "expires") ? ", until " : "", member_text(c, "expires"));
	if (*member_text(c, "error"))
		printf("  %-16s credentials not renewed: %s\n", "", member_text(c, "error"));
}

static void print_backend(const struct cJSON *b)
{
	const char *step = member_text(b, "step"), *reason = member_text(b, "reason");
	const struct cJSON *session;

	printf("  %-16s %s", member_text(b, "name"), member_text(b, "state"));
	if (*step && strcmp(step, member_text(b, "state")) != 0)
		printf(" (%s)", step);
	if (*member_text(b, "instance"))
		printf("  %s", member_text(b, "instance"));
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(b, "to_be_stopped")))
		printf(", started here, to be stopped");
	printf("\n");
	if (*member_text(b, "progress"))
		printf("  %-16s %s\n", "", member_text(b, "progress"));
	if (*reason)
		printf("  %-16s %s\n", "", reason);
	print_credentials(cJSON_GetObjectItemCaseSensitive(b, "credentials"));
	cJSON_ArrayForEach(session, cJSON_GetObjectItemCaseSensitive(b, "sessions"))
		print_session(session);
}

static void print_sandbox(const struct cJSON *o)
{
	const struct {
		const char *key, *text;
		bool when;
	} rows[] = {
		{ "seccomp", "seccomp", true },
		{ "landlock", "Landlock", true },
		{ "no_new_privs", "no_new_privs", true },
		{ "core_dumps", "no core dumps", false },
	};
	const char *comma = "";

	printf("  %-16s ", "sandbox");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct cJSON *it = cJSON_GetObjectItemCaseSensitive(o, rows[i].key);
		bool on = cJSON_IsNumber(it) ? it->valueint > 0 : cJSON_IsTrue(it);

		if (!it || on != rows[i].when)
			continue;
		printf("%s%s", comma, rows[i].text);
		if (cJSON_IsNumber(it))
			printf(" %d", it->valueint);
		comma = ", ";
	}
	if (*member_text(o, "missing"))
		printf("%s%s", *comma ? "; without " : "", member_text(o, "missing"));
	printf("\n");
}

/* The limits of all listeners together, or of one; nothing where there are none. */
static void print_limits(const struct cJSON *o)
{
	if (member_number(o, "max_connections") > 0)
		printf(" of at most %.0f", member_number(o, "max_connections"));
	if (member_number(o, "max_per_peer") > 0)
		printf(" (%.0f a peer)", member_number(o, "max_per_peer"));
}

/* An array of strings in one line; nothing when there is none. */
static void print_texts(const struct cJSON *o, const char *key, const char *what)
{
	const struct cJSON *array = cJSON_GetObjectItemCaseSensitive(o, key), *it;
	const char *comma = " ";

	if (cJSON_GetArraySize(array) == 0)
		return;
	printf("  %-16s %s", "", what);
	cJSON_ArrayForEach(it, array)
	{
		printf("%s%s", comma, cJSON_IsString(it) ? it->valuestring : "");
		comma = ", ";
	}
	printf("\n");
}

static void print_listener(const struct cJSON *l)
{
	printf("  %-16s %-24s ", member_text(l, "name"), member_text(l, "address"));
	if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(l, "open"))) {
		printf("(waiting for that address)\n");
		return;
	}
	printf("%.0f connections now", member_number(l, "connections"));
	print_limits(l);
	printf("\n  %-16s %.0f accepted, %.0f turned away; requests: %.0f allowed, %.0f blocked, "
	       "%.0f refused\n",
	       "", member_number(l, "accepted"), member_number(l, "turned_away"),
	       member_number(l, "allowed"), member_number(l, "blocked"),
	       member_number(l, "refused"));
	print_texts(l, "rules", "rules of");
	print_texts(l, "allow_from", "lets in");
	print_texts(l, "allow_uid", "lets in uid");
	if (member_number(l, "users") > 0)
		printf("  %-16s asks for the password of %.0f user%s\n", "",
		       member_number(l, "users"), member_number(l, "users") > 1 ? "s" : "");
}

static void print_audit(const struct cJSON *o)
{
	printf("audit log %s: %.0f lines", member_text(o, "path"), member_number(o, "lines"));
	if (member_number(o, "lost") > 0)
		printf(", %.0f LOST", member_number(o, "lost"));
	if (member_number(o, "rotated") > 0)
		printf(", rotated %.0f times", member_number(o, "rotated"));
	printf("\n");
}

static void print_status(const struct cJSON *s)
{
	const struct cJSON *item;

	printf("awsocks %s, pid %.0f, up %.0f s, %.0f connections now", member_text(s, "version"),
	       member_number(s, "pid"), member_number(s, "uptime_s"),
	       member_number(s, "connections"));
	print_limits(s);
	printf(", %.0f in all", member_number(s, "connections_total"));
	if (member_number(s, "workers") > 1)
		printf(", %.0f workers", member_number(s, "workers"));
	printf("\n");
	if (cJSON_GetObjectItemCaseSensitive(s, "sandbox"))
		print_sandbox(cJSON_GetObjectItemCaseSensitive(s, "sandbox"));
	if (*member_text(s, "upstream_proxy"))
		printf("  %-16s %s, for direct\n", "upstream proxy",
		       member_text(s, "upstream_proxy"));
	printf("listeners\n");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(s, "listeners"))
		print_listener(item);
	if (cJSON_GetObjectItemCaseSensitive(s, "audit"))
		print_audit(cJSON_GetObjectItemCaseSensitive(s, "audit"));
	if (cJSON_GetObjectItemCaseSensitive(s, "vm"))
		vm_print(cJSON_GetObjectItemCaseSensitive(s, "vm"));
	item = cJSON_GetObjectItemCaseSensitive(s, "learn");
	if (item)
		printf("learns in %s: %.0f requests%s\n", member_text(item, "path"),
		       member_number(item, "requests"),
		       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "failed"))
			       ? ", NOT WRITTEN"
			       : "");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(s, "mfa"))
		printf("waits for the one-time code of %s (profile %s): awsocks mfa\n",
		       member_text(item, "serial"), member_text(item, "profile"));
	printf("backends\n");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(s, "backends"))
		print_backend(item);
}

static int ask_once(const char *path, const char *command, const struct ask *a)
{
	struct cJSON *reply;
	struct err e = { 0 };
	char *text;

	if (control_tell(path, command, a->value ? a->value : "", &reply, &e) != 0)
		return fail(&e);
	if (a->json && strcmp(command, "status") == 0) {
		text = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(reply, "status"));
		printf("%s\n", text ? text : "{}");
		cJSON_free(text);
	} else if (strcmp(command, "status") == 0) {
		print_status(cJSON_GetObjectItemCaseSensitive(reply, "status"));
	}
	cJSON_Delete(reply);
	return fflush(stdout) == 0 ? 0 : err_exit_status(ERR_IO);
}

static int run(int argc, char **argv, const char *command)
{
	struct ask a = { 0 };
	struct err e = { 0 };
	char path[PATH_TEXT];
	int status;

	if (parse(argc, argv, &a, &e) != 0 || setup_control_path(a.control, path, &e) != 0)
		return fail(&e);
	status = ask_once(path, command, &a);
	while (a.watch && status == 0) {
		/* A person watches: a pause between looks, nothing waits for it. */
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
		if (!a.json)
			printf("\n");
		status = ask_once(path, command, &a);
	}
	return status;
}

int cmd_status(int argc, char **argv)
{
	return run(argc, argv, "status");
}

int cmd_reload(int argc, char **argv)
{
	return run(argc, argv, "reload");
}

/* Without CODE it is read, so that it need not stand in an argument list. */
int cmd_mfa(int argc, char **argv)
{
	struct ask a = { 0 };
	struct err e = { 0 };
	char path[PATH_TEXT], code[64];
	int status;

	if (parse(argc, argv, &a, &e) != 0 || setup_control_path(a.control, path, &e) != 0)
		return fail(&e);
	if (!a.value && hidden_line("One-time code: ", code, sizeof(code), &e) != 0)
		return fail(&e);
	if (!a.value)
		a.value = str_trim(code);
	status = ask_once(path, "mfa", &a);
	mem_wipe(code, sizeof(code));
	return status;
}

int cmd_stop(int argc, char **argv)
{
	return run(argc, argv, "stop");
}
