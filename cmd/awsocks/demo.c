/*
 * `awsocks demo`: the whole way on one machine, nothing sent beyond loopback.
 * It starts a web server that no resolver knows ("inside the VPC"), the
 * emulator of the AWS side with an instance that can reach it, and awsocks
 * with a rule file; then it shows what curl gets through SOCKS5, HTTP CONNECT
 * and a blocked name, and what the audit log says. Everything is ended and
 * removed at the end, also when a step fails.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/awsocks/cmd.h"
#include "cmd/awsocks/demo_page.h"
#include "cmd/awsocks/json_member.h"
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/text_file.h"

extern char **environ;

enum { CHILDREN = 3, READY_LIMIT_MS = 10000, END_LIMIT_MS = 5000, FILE_MAX = 64 * 1024 };

struct demo {
	char dir[64];
	char self[PATH_TEXT], localaws[PATH_TEXT];
	pid_t child[CHILDREN]; /* web server, emulator, proxy */
	unsigned page_port;
	char proxy[64]; /* 127.0.0.1:PORT */
};

enum { PAGE = 0, LOCALAWS, PROXY };

static const char rules[] = "default: direct\n"
			    "proxy: [\"*.demo.internal\"]        # through the instance\n"
			    "block: [\"*.tracker.example\"]      # nowhere\n";

static const char *file_of(struct demo *d, const char *name, char out[static PATH_TEXT])
{
	(void)str_fmt(out, PATH_TEXT, "%s/%s", d->dir, name);
	return out;
}

/* The whole file as text in out[size]; false: not there yet. */
static bool read_file(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return false;
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	fclose(f);
	return n > 0;
}

static int spawn(pid_t *pid, const char *const *argv, const char *log, struct err *e)
{
	posix_spawn_file_actions_t files;
	int failed;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (log)
		posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log,
						 O_WRONLY | O_CREAT | O_APPEND, 0600);
	failed = posix_spawnp(pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (failed)
		*pid = 0;
	return failed ? err_sys(e, failed, "start %s", argv[0]) : 0;
}

/* Waits until a ready file is there; the child's end is a failure at once. */
static int wait_ready(pid_t child, const char *what, const char *path, struct cJSON **out,
		      struct err *e)
{
	uint64_t until = clock_mono_ms(&clock_system) + READY_LIMIT_MS;
	char text[4096];
	int status;

	while (clock_mono_ms(&clock_system) < until) {
		if (read_file(path, text, sizeof(text))) {
			*out = cJSON_Parse(text);
			return *out ? 0 : err_set(e, ERR_PROTO, "%s: not JSON", path);
		}
		if (waitpid(child, &status, WNOHANG) == child)
			return err_set(e, ERR_INTERNAL, "%s ended at once", what);
		(void)poll(NULL, 0, 10);
	}
	return err_set(e, ERR_TIMEOUT, "%s is not ready after %d s", what, READY_LIMIT_MS / 1000);
}

static int start_page(struct demo *d, struct err *e)
{
	int fd = demo_page_listen(&d->page_port, e);

	if (fd < 0)
		return -1;
	(void)fflush(NULL);
	d->child[PAGE] = fork();
	if (d->child[PAGE] == 0)
		demo_page_serve(fd);
	close(fd);
	return d->child[PAGE] < 0 ? err_sys(e, errno, "fork") : 0;
}

static int start_localaws(struct demo *d, struct err *e)
{
	char ready[PATH_TEXT], log[PATH_TEXT], resolve[96];
	const char *argv[] = { d->localaws, "--listen",  "127.0.0.1:0", "--ready-file",
			       ready,       "--resolve", resolve,       NULL };
	struct cJSON *o;

	(void)str_fmt(resolve, sizeof(resolve), "intranet.demo.internal=127.0.0.1:%u",
		      d->page_port);
	file_of(d, "localaws.json", ready);
	if (spawn(&d->child[LOCALAWS], argv, file_of(d, "localaws.log", log), e) != 0 ||
	    wait_ready(d->child[LOCALAWS], "awsocks-localaws", ready, &o, e) != 0)
		return -1;
	setenv("AWS_ENDPOINT_URL", member_text(o, "endpoint"), 1);
	setenv("AWS_ACCESS_KEY_ID", member_text(o, "access_key_id"), 1);
	setenv("AWS_SECRET_ACCESS_KEY", member_text(o, "secret_access_key"), 1);
	setenv("AWS_REGION", "us-east-1", 1);
	setenv("AWS_CONFIG_FILE", "/dev/null", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
	unsetenv("AWS_SESSION_TOKEN");
	unsetenv("AWS_PROFILE");
	printf("2. AWS, emulated: awsocks-localaws at %s, one instance \"demo\"\n",
	       member_text(o, "endpoint"));
	cJSON_Delete(o);
	return 0;
}

static int start_proxy(struct demo *d, struct err *e)
{
	char ready[PATH_TEXT], log[PATH_TEXT], rule_file[PATH_TEXT], audit[PATH_TEXT],
		control[PATH_TEXT];
	const char *argv[] = { d->self,       "start",   "--listen",  "127.0.0.1:0",  "--name",
			       "demo",        "--rules", rule_file,   "--ready-file", ready,
			       "--audit-log", audit,     "--control", control,        NULL };
	const struct cJSON *first;
	struct cJSON *o;

	file_of(d, "awsocks.json", ready);
	file_of(d, "audit.jsonl", audit);
	file_of(d, "control.sock", control);
	if (text_file_write(file_of(d, "rules.yaml", rule_file), rules, e) != 0 ||
	    spawn(&d->child[PROXY], argv, file_of(d, "awsocks.log", log), e) != 0 ||
	    wait_ready(d->child[PROXY], "awsocks", ready, &o, e) != 0)
		return -1;
	first = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(o, "listeners"), 0);
	(void)str_fmt(d->proxy, sizeof(d->proxy), "%s", member_text(first, "address"));
	cJSON_Delete(o);
	printf("3. awsocks --name demo --rules rules.yaml, listening on %s\n\n", d->proxy);
	for (const char *line = rules; *line; line = strchr(line, '\n') + 1)
		printf("      %.*s\n", (int)strcspn(line, "\n"), line);
	return 0;
}

/* Prints the command and runs it; its exit status, -1 if it cannot be run. */
static int show(const char *const *argv, struct err *e)
{
	pid_t pid;
	int status;

	printf("\n$");
	for (size_t i = 0; argv[i]; i++)
		printf(" %s", argv[i]);
	printf("\n");
	(void)fflush(stdout);
	if (spawn(&pid, argv, NULL, e) != 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "wait for %s", argv[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int expect(int status, int wanted, const char *what, struct err *e)
{
	if (status < 0)
		return -1;
	return status == wanted ? 0
				: err_set(e, ERR_INTERNAL, "%s: exit status %d, not %d", what,
					  status, wanted);
}

static int fetch(struct demo *d, struct err *e)
{
	char socks[96], http[96];
	const char *url = "http://intranet.demo.internal/";
	const char *by_socks[] = { "curl", "-sS", "--max-time", "20", "--proxy", socks, url, NULL };
	const char *by_connect[] = { "curl",    "-sS", "--max-time", "20", "--proxytunnel",
				     "--proxy", http,  url,          NULL };
	const char *blocked[] = {
		"curl", "-sS", "--max-time", "20", "--proxy", http, "http://ads.tracker.example/",
		NULL
	};

	(void)str_fmt(socks, sizeof(socks), "socks5h://%s", d->proxy);
	(void)str_fmt(http, sizeof(http), "http://%s", d->proxy);
	if (expect(show(by_socks, e), 0, "SOCKS5", e) != 0 ||
	    expect(show(by_connect, e), 0, "HTTP CONNECT", e) != 0 ||
	    expect(show(blocked, e), 0, "a blocked name", e) != 0)
		return -1;
	return 0;
}

static void show_audit(struct demo *d)
{
	char path[PATH_TEXT], text[FILE_MAX];

	printf("\nThe audit log (--audit-log):\n");
	if (read_file(file_of(d, "audit.jsonl", path), text, sizeof(text)))
		printf("%s", text);
}

static void show_log(struct demo *d, const char *name)
{
	char path[PATH_TEXT], text[FILE_MAX];

	if (read_file(file_of(d, name, path), text, sizeof(text)))
		fprintf(stderr, "--- %s\n%s", name, text);
}

static void end_child(pid_t pid)
{
	uint64_t until = clock_mono_ms(&clock_system) + END_LIMIT_MS;

	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (clock_mono_ms(&clock_system) > until)
			kill(pid, SIGKILL);
		(void)poll(NULL, 0, 10);
	}
}

static void clean_up(struct demo *d)
{
	static const char *const files[] = { "localaws.json", "localaws.log", "awsocks.json",
					     "awsocks.log",   "rules.yaml",   "audit.jsonl",
					     "control.sock" };
	char path[PATH_TEXT];

	for (int i = CHILDREN - 1; i >= 0; i--)
		end_child(d->child[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		(void)unlink(file_of(d, files[i], path));
	if (rmdir(d->dir) != 0 && errno != ENOENT)
		fprintf(stderr, "awsocks: demo: %s is left: %s\n", d->dir, strerror(errno));
}

static void nothing(int signum)
{
	(void)signum;
}

int cmd_demo(int argc, char **argv)
{
	struct demo d = { .dir = "/tmp/awsocks-demo.XXXXXX" };
	struct sigaction interrupted = { .sa_handler = nothing };
	struct err e = { 0 };
	int result = -1;

	(void)argv;
	if (argc > 1) {
		fprintf(stderr, "awsocks: demo takes no arguments\n");
		return err_exit_status(ERR_USAGE);
	}
	if (!mkdtemp(d.dir)) {
		fprintf(stderr, "awsocks: demo: %s: %s\n", d.dir, strerror(errno));
		return err_exit_status(ERR_IO);
	}
	/* An interrupt reaches the children too; here it only lets the step fail, so
	 * that what was started is still cleaned up. */
	(void)sigaction(SIGINT, &interrupted, NULL);
	path_sibling("awsocks", d.self);
	path_sibling("awsocks-localaws", d.localaws);
	printf("Everything below runs on this machine; no AWS account is used.\n\n");
	if (start_page(&d, &e) == 0) {
		printf("1. A private web server, http://intranet.demo.internal/: only the instance "
		       "can resolve it\n");
		if (start_localaws(&d, &e) == 0 && start_proxy(&d, &e) == 0)
			result = fetch(&d, &e);
	}
	if (result == 0) {
		show_audit(&d);
		printf("\nNext: awsocks --help, and README.md.\n");
	} else {
		fprintf(stderr, "awsocks: demo: %s\n", e.msg);
		show_log(&d, "localaws.log");
		show_log(&d, "awsocks.log");
	}
	clean_up(&d);
	return result == 0 ? 0 : err_exit_status(e.code);
}
