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
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/setup.h"
#include "cmd/awsocks/vm_print.h"

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
		else if (str_starts(argv[i], "--control="))
			a->control = argv[i] + strlen("--control=");
		else if (strcmp(argv[i], "--control") == 0 && i + 1 < argc)
			a->control = argv[++i];
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

static const char *text_of(const struct cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : "";
}

static double number_of(const struct cJSON *o, const char *key)
{
	const struct cJSON *n = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

static void print_session(const struct cJSON *s)
{
	bool ssh = strcmp(text_of(s, "transport"), "ssh") == 0; /* then it serves every host */

	printf("  %-16s ", "");
	if (ssh)
		printf("ssh");
	else
		printf("%s:%.0f", text_of(s, "host"), number_of(s, "port"));
	printf("  %s  %.0f streams\n", text_of(s, "id"),
	       number_of(s, ssh ? "channels" : "streams"));
}

static void print_credentials(const struct cJSON *c)
{
	if (*text_of(c, "source"))
		printf("  %-16s credentials of %s%s%.19s\n", "", text_of(c, "source"),
		       *text_of(c, "expires") ? ", until " : "", text_of(c, "expires"));
	if (*text_of(c, "error"))
		printf("  %-16s credentials not renewed: %s\n", "", text_of(c, "error"));
}

static void print_backend(const struct cJSON *b)
{
	const char *step = text_of(b, "step"), *reason = text_of(b, "reason");
	const struct cJSON *session;

	printf("  %-16s %s", text_of(b, "name"), text_of(b, "state"));
	if (*step && strcmp(step, text_of(b, "state")) != 0)
		printf(" (%s)", step);
	if (*text_of(b, "instance"))
		printf("  %s", text_of(b, "instance"));
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(b, "to_be_stopped")))
		printf(", started here, to be stopped");
	printf("\n");
	if (*text_of(b, "progress"))
		printf("  %-16s %s\n", "", text_of(b, "progress"));
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
	if (*text_of(o, "missing"))
		printf("%s%s", *comma ? "; without " : "", text_of(o, "missing"));
	printf("\n");
}

/* The limits of all listeners together, or of one; nothing where there are none. */
static void print_limits(const struct cJSON *o)
{
	if (number_of(o, "max_connections") > 0)
		printf(" of at most %.0f", number_of(o, "max_connections"));
	if (number_of(o, "max_per_peer") > 0)
		printf(" (%.0f a peer)", number_of(o, "max_per_peer"));
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
	printf("  %-16s %-24s ", text_of(l, "name"), text_of(l, "address"));
	if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(l, "open"))) {
		printf("(waiting for that address)\n");
		return;
	}
	printf("%.0f connections now", number_of(l, "connections"));
	print_limits(l);
	printf("\n  %-16s %.0f accepted, %.0f turned away; requests: %.0f allowed, %.0f blocked, "
	       "%.0f refused\n",
	       "", number_of(l, "accepted"), number_of(l, "turned_away"), number_of(l, "allowed"),
	       number_of(l, "blocked"), number_of(l, "refused"));
	print_texts(l, "rules", "rules of");
	print_texts(l, "allow_from", "lets in");
	print_texts(l, "allow_uid", "lets in uid");
	if (number_of(l, "users") > 0)
		printf("  %-16s asks for the password of %.0f user%s\n", "", number_of(l, "users"),
		       number_of(l, "users") > 1 ? "s" : "");
}

static void print_audit(const struct cJSON *o)
{
	printf("audit log %s: %.0f lines", text_of(o, "path"), number_of(o, "lines"));
	if (number_of(o, "lost") > 0)
		printf(", %.0f LOST", number_of(o, "lost"));
	if (number_of(o, "rotated") > 0)
		printf(", rotated %.0f times", number_of(o, "rotated"));
	printf("\n");
}

static void print_status(const struct cJSON *s)
{
	const struct cJSON *item;

	printf("awsocks %s, pid %.0f, up %.0f s, %.0f connections now", text_of(s, "version"),
	       number_of(s, "pid"), number_of(s, "uptime_s"), number_of(s, "connections"));
	print_limits(s);
	printf(", %.0f in all", number_of(s, "connections_total"));
	if (number_of(s, "workers") > 1)
		printf(", %.0f workers", number_of(s, "workers"));
	printf("\n");
	if (cJSON_GetObjectItemCaseSensitive(s, "sandbox"))
		print_sandbox(cJSON_GetObjectItemCaseSensitive(s, "sandbox"));
	if (*text_of(s, "upstream_proxy"))
		printf("  %-16s %s, for direct\n", "upstream proxy", text_of(s, "upstream_proxy"));
	printf("listeners\n");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(s, "listeners"))
		print_listener(item);
	if (cJSON_GetObjectItemCaseSensitive(s, "audit"))
		print_audit(cJSON_GetObjectItemCaseSensitive(s, "audit"));
	if (cJSON_GetObjectItemCaseSensitive(s, "vm"))
		vm_print(cJSON_GetObjectItemCaseSensitive(s, "vm"));
	item = cJSON_GetObjectItemCaseSensitive(s, "learn");
	if (item)
		printf("learns in %s: %.0f requests%s\n", text_of(item, "path"),
		       number_of(item, "requests"),
		       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "failed"))
			       ? ", NOT WRITTEN"
			       : "");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(s, "mfa"))
		printf("waits for the one-time code of %s (profile %s): awsocks mfa\n",
		       text_of(item, "serial"), text_of(item, "profile"));
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
