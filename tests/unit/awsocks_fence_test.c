/*
 * The fence from inside: each case closes it in a process of its own and then
 * tries what a taken-over awsocks would, and what an honest one needs.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/awsocks/fence.h"
#include "proxy/peer.h"

/* Exit status of a case: 0 it went as it should; otherwise the number of the failed step. */
typedef int case_fn(const char *dir);

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#if defined(__x86_64__)
enum { HAS_X32 = 1 };
#else
enum { HAS_X32 = 0 };
#endif

enum { PATH_SIZE = sizeof(((struct sockaddr_un *)0)->sun_path) };
static char home[64];

/* dir/open: everything; dir/read: reading; dir/sock: sockets; the rest of it nothing. */
static int close_it(const char *dir)
{
	struct fence_paths p = { NULL, 0 };
	struct fence_report r = { .wanted = true };
	struct fence_opts o = { .paths = &p, .strict = true };
	struct err e = { 0 };
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/open", dir);
	if (fence_paths_add(&p, path, FENCE_READ | FENCE_WRITE | FENCE_MAKE, &e) != 0)
		return -1;
	snprintf(path, sizeof(path), "%s/read", dir);
	if (fence_paths_add(&p, path, FENCE_READ, &e) != 0)
		return -1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	if (fence_paths_add(&p, path, FENCE_SOCKET, &e) != 0)
		return -1;
	for (size_t i = 0; i < 6; i++) {
		static const char *const system[] = { "/etc",  "/usr", "/lib",
						      "/proc", "/dev", "/run" };

		if (fence_paths_add(&p, system[i], FENCE_READ, &e) != 0)
			return -1;
	}
	if (fence_close(&o, &r, &e) != 0) {
		fprintf(stderr, "%s\n", e.msg);
		return e.code == ERR_UNSUPPORTED ? 1 : -1;
	}
	return r.landlock > 0 && r.seccomp && r.no_new_privs && !r.core_dumps ? 0 : -1;
}

enum { SKIP = 100, NOT_CLOSED };

static int in_fence(case_fn *fn)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int closed = close_it(home);

		_exit(closed > 0 ? SKIP : closed < 0 ? NOT_CLOSED : fn(home));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP)
		skip();
	return status;
}

static int path_in(char out[static PATH_SIZE], const char *dir, const char *name)
{
	return snprintf(out, PATH_SIZE, "%s/%s", dir, name);
}

/* errno of opening dir/name, 0 when it opens. */
static int open_errno(const char *dir, const char *name, int flags)
{
	char path[PATH_SIZE];
	int fd;

	path_in(path, dir, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

#define STEP(n, condition)                                                                   \
	do                                                                                   \
		if (!(condition)) {                                                          \
			fprintf(stderr, "%s: %s (errno %d)\n", __func__, #condition, errno); \
			return n;                                                            \
		}                                                                            \
	while (0)

static int files(const char *dir)
{
	char a[PATH_SIZE], b[PATH_SIZE];
	struct stat st;

	STEP(1, open_errno(dir, "read/file", O_RDONLY) == 0);
	STEP(2, open_errno(dir, "read/file", O_WRONLY) == EACCES);
	STEP(3, open_errno(dir, "read/new", O_WRONLY | O_CREAT) == EACCES);
	STEP(4, open_errno(dir, "secret", O_RDONLY) == EACCES);
	STEP(5, open_errno(dir, "new", O_WRONLY | O_CREAT) == EACCES);
	STEP(6, open_errno(dir, "link-to-secret", O_RDONLY) == EACCES);
	STEP(7, open_errno(dir, "open/new", O_WRONLY | O_CREAT | O_TRUNC) == 0);
	path_in(a, dir, "open/new");
	path_in(b, dir, "open/newer");
	STEP(8, rename(a, b) == 0);
	path_in(a, dir, "new");
	STEP(9, rename(b, a) != 0 && (errno == EACCES || errno == EXDEV));
	STEP(10, unlink(b) == 0);
	path_in(a, dir, "secret");
	STEP(11, unlink(a) != 0 && errno == EACCES);
	path_in(b, dir, "open/alias");
	STEP(12, link(a, b) != 0 && errno == EPERM);
	STEP(13, symlink(a, b) != 0 && errno == EPERM);
	STEP(14, chmod(a, 04755) != 0 && errno == ENOSYS);
	STEP(15, truncate(a, 0) != 0 && errno == EPERM);
	STEP(16, stat(a, &st) == 0 && st.st_size > 0);
	STEP(17, open_errno("/proc", "1/environ", O_RDONLY) != 0);
	STEP(18, open_errno("/dev", "null", O_RDONLY) == 0);
	return 0;
}

static int sockets(const char *dir)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct addrinfo *found = NULL, hints = { .ai_flags = AI_ADDRCONFIG };
	socklen_t n = sizeof(in);
	int fd, client, pair[2];

	path_in(un.sun_path, dir, "sock/s");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	STEP(1, fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	STEP(2, chmod(un.sun_path, 0660) == 0 && unlink(un.sun_path) == 0);
	path_in(un.sun_path, dir, "s");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	STEP(3, bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 && errno == EACCES);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	STEP(4, fd >= 0 && bind(fd, (struct sockaddr *)&in, n) == 0 && listen(fd, 1) == 0);
	STEP(5, getsockname(fd, (struct sockaddr *)&in, &n) == 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	STEP(6, connect(client, (struct sockaddr *)&in, n) == 0);
	STEP(7, socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0 && errno == EPERM);
	STEP(8, socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6) < 0 && errno == EPERM);
	STEP(9, socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT);
	STEP(10, socket(AF_VSOCK, SOCK_STREAM, 0) < 0 && errno == EAFNOSUPPORT);
	STEP(11, socket(AF_ALG, SOCK_SEQPACKET, 0) < 0 && errno == EAFNOSUPPORT);
	STEP(15, socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP) < 0 && errno == ENOSYS);
	STEP(16, socket(AF_INET6, SOCK_STREAM, 262) < 0 && errno == ENOSYS); /* MPTCP */
	STEP(17, socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP) < 0 && errno == ENOSYS);
	STEP(18, socketpair(AF_TIPC, SOCK_STREAM, 0, pair) < 0 && errno == ENOSYS);
	STEP(12, socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
	STEP(13, socket(AF_NETLINK, SOCK_RAW, 16) < 0); /* NETLINK_GENERIC */
	STEP(14, getaddrinfo("localhost", "80", &hints, &found) == 0);
	freeaddrinfo(found);
	return 0;
}

/* Options and commands beyond what a proxy needs: none may get as far as the kernel's own errno. */
static int descriptors(const char *dir)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	char many[256] = { 0 };
	static const int options[][2] = {
		{ SOL_SOCKET, SO_ATTACH_FILTER },
		{ SOL_SOCKET, SO_ATTACH_BPF },
		{ SOL_SOCKET, SO_BINDTODEVICE },
		{ SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF },
		{ IPPROTO_TCP, TCP_ULP },
		{ IPPROTO_TCP, TCP_REPAIR },
		{ IPPROTO_IP, 64 /* IPT_SO_SET_REPLACE */ },
	};

	(void)dir;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		STEP(1 + (int)i,
		     setsockopt(fd, options[i][0], options[i][1], many, sizeof(many)) != 0 &&
			     errno == ENOSYS);
	STEP(20, setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
	STEP(21, setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) == 0);
	STEP(22, fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_GETFL) & O_NONBLOCK);
	STEP(23, fcntl(fd, F_SETOWN, getppid()) != 0 && errno == ENOSYS);
	STEP(24, fcntl(fd, F_SETSIG, SIGKILL) != 0 && errno == ENOSYS);
	STEP(25, ioctl(fd, FIOSETOWN, &one) != 0 && errno == ENOSYS);
	return 0;
}

static void *thread(void *arg)
{
	*(int *)arg = open("/etc/../tmp", O_RDONLY | O_DIRECTORY) < 0 ? errno : 0;
	return NULL;
}

static int processes(const char *dir)
{
	char *argv[] = { (char[]){ "true" }, NULL };
	int seen = 0, status;
	pthread_t t;
	pid_t pid;

	(void)dir;
	STEP(1, execv("/bin/true", argv) != 0 && errno == EPERM);
	STEP(2, execv("/lib64/ld-linux-x86-64.so.2", argv) != 0 && errno == EPERM);
	errno = 0;
	pid = fork();
	STEP(3, pid < 0 && errno == EPERM);
	STEP(4, syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
	STEP(19, syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET, 0, 0, 0,
			 0) < 0 &&
			 errno == ENOSYS);
	STEP(20, syscall(SYS_userfaultfd, 0) < 0 && errno == ENOSYS);
	STEP(21, syscall(SYS_personality, 0xffffffff) < 0 && errno == ENOSYS);
	STEP(22,
	     syscall(SYS_name_to_handle_at, AT_FDCWD, "/", NULL, NULL, 0) < 0 && errno == ENOSYS);
	STEP(23, syscall(434, getppid(), 0) < 0 && errno == ENOSYS); /* pidfd_open */
	STEP(5, ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) < 0 && errno == EPERM);
	STEP(6, kill(getppid(), 0) != 0 && errno == EPERM);
	STEP(7, kill(getpid(), 0) == 0);
	STEP(8, pthread_create(&t, NULL, thread, &seen) == 0 && pthread_join(t, NULL) == 0);
	STEP(9, seen == EACCES); /* threads are inside too */
	STEP(10, waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD);
	STEP(11, setuid(getuid()) != 0 && errno == EPERM);
	STEP(12, syscall(SYS_unshare, 0x10000000) < 0 && errno == EPERM);
	STEP(13, syscall(SYS_bpf, 0, NULL, 0) < 0 && errno == EPERM);
	STEP(14, syscall(425, 1, NULL) < 0 && errno == ENOSYS); /* io_uring_setup */
	STEP(15, syscall(SYS_memfd_create, "x", 0) < 0 && errno == ENOSYS);
	STEP(16, ioctl(0, TIOCSTI, "x") < 0 && errno == ENOSYS);
	STEP(17, setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }) != 0 && errno == EPERM);
	STEP(18, prctl(PR_SET_DUMPABLE, 1) != 0 && prctl(PR_GET_DUMPABLE) == 0);
	return 0;
}

static int memory(const char *dir)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *p, *lib;
	char text[PATH_SIZE];
	int fd;

	STEP(1, mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0) == MAP_FAILED &&
			errno == EPERM);
	STEP(2, mmap(NULL, 4096, PROT_READ | PROT_EXEC, flags, -1, 0) == MAP_FAILED);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
	STEP(3, p != MAP_FAILED);
	STEP(4, mprotect(p, 4096, PROT_READ | PROT_EXEC) != 0 && errno == EPERM);
	STEP(5, mprotect(p, 4096, PROT_READ) == 0);
	path_in(text, dir, "read/file");
	fd = open(text, O_RDONLY);
	STEP(6,
	     fd >= 0 && mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	lib = dlopen("libutil.so.1", RTLD_NOW); /* not loaded so far */
	STEP(7, lib != NULL);
	return 0;
}

/* What /proc says of itself, and of a peer that is not in the fence. */
static int proc(const char *dir)
{
	char line[256], out[64];
	int seen = 0;
	FILE *in = fopen("/proc/self/status", "r");

	(void)dir;
	STEP(1, in != NULL);
	while (fgets(line, sizeof(line), in))
		seen += strcmp(line, "Seccomp:\t2\n") == 0 || strcmp(line, "NoNewPrivs:\t1\n") == 0;
	fclose(in);
	STEP(2, seen == 2);
	STEP(3, peer_program(getppid(), out, sizeof(out)));
	STEP(4, strncmp(out, "awsocks_fence_t", 15) == 0 && !strchr(out, '/'));
	return 0;
}

/* The same kernel's other table of calls (x32), by whose numbers no rule is. */
static int other_abi(const char *dir)
{
	(void)dir;
	(void)syscall(0x40000000L + SYS_getppid);
	return 0;
}

static int aborts(const char *dir)
{
	if (chdir(dir) != 0 && errno != ENOSYS)
		return 1;
	abort();
}

/* The runtime of a sanitizer or of valgrind needs other calls than ours. */
static bool is_watched(void)
{
	const char *wrap = getenv("WRAP"); /* of tests/run-unit.sh */

	return SANITIZED || (wrap && *wrap);
}

static void run(case_fn *fn)
{
	if (is_watched())
		skip();
	assert_int_equal(in_fence(fn), 0);
}

static void only_listed_files(void **state)
{
	(void)state;
	run(files);
}

static void only_ip_and_unix_sockets(void **state)
{
	(void)state;
	run(sockets);
}

static void no_programs_and_no_processes(void **state)
{
	(void)state;
	run(processes);
}

static void no_odd_options(void **state)
{
	(void)state;
	run(descriptors);
}

static void no_other_table_of_calls(void **state)
{
	int status;

	(void)state;
	if (is_watched() || !HAS_X32)
		skip();
	status = in_fence(other_abi);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void no_code_but_from_files(void **state)
{
	(void)state;
	run(memory);
}

static void the_kernel_says_so_too(void **state)
{
	(void)state;
	run(proc);
}

static void no_core_dump(void **state)
{
	int status;

	(void)state;
	if (is_watched())
		skip();
	assert_int_equal(setrlimit(RLIMIT_CORE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }) <
					 0 &&
				 errno != EPERM,
			 0);
	status = in_fence(aborts);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_false(WCOREDUMP(status));
}

static int make(void **state)
{
	static const char *const dirs[] = { "open", "read", "sock" };
	static const char *const names[] = { "secret", "read/file" };
	char path[PATH_SIZE], target[PATH_SIZE];

	(void)state;
	snprintf(home, sizeof(home), "/tmp/awsocks-fence-XXXXXX");
	if (!mkdtemp(home))
		return -1;
	for (size_t i = 0; i < 3; i++) {
		path_in(path, home, dirs[i]);
		if (mkdir(path, 0700) != 0)
			return -1;
	}
	for (size_t i = 0; i < 2; i++) {
		FILE *out;

		path_in(path, home, names[i]);
		out = fopen(path, "w");
		if (!out || fputs("x\n", out) < 0 || fclose(out) != 0)
			return -1;
	}
	path_in(target, home, "secret");
	path_in(path, home, "link-to-secret");
	return symlink(target, path);
}

static int clean(void **state)
{
	static const char *const names[] = { "open/new", "open/newer",     "open/alias",
					     "sock/s",   "read/file",      "read/new",
					     "secret",   "link-to-secret", "new" };
	static const char *const dirs[] = { "open", "read", "sock" };
	char path[PATH_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_in(path, home, names[i]);
		(void)unlink(path);
	}
	for (size_t i = 0; i < 3; i++) {
		path_in(path, home, dirs[i]);
		(void)rmdir(path);
	}
	return rmdir(home);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_listed_files),
		cmocka_unit_test(only_ip_and_unix_sockets),
		cmocka_unit_test(no_odd_options),
		cmocka_unit_test(no_other_table_of_calls),
		cmocka_unit_test(no_programs_and_no_processes),
		cmocka_unit_test(no_code_but_from_files),
		cmocka_unit_test(the_kernel_says_so_too),
		cmocka_unit_test(no_core_dump),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
