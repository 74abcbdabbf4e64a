/*
 * seccomp(2): the system calls that a running awsocks makes, and no other.
 *
 * What is not listed fails with ENOSYS, as in an older kernel: libraries try new
 * calls and fall back. What is most often tried fails with EPERM (EAFNOSUPPORT for
 * sockets), so that a log line tells the two apart. Nothing is killed for it.
 *
 * The calls of the relay are allowed whatever their arguments: the kernel
 * remembers such calls in a bitmap and does not even run the filter for them
 * (kernel/seccomp.c, seccomp_cache_prepare()), which is why it costs nothing there.
 * Arguments are looked at only where a call means several things.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/awsocks/fence.h"

/* By name: not every architecture has each of them. */
static const char *const allowed[] = {
	/* the relay and the connection path */
	"read", "write", "readv", "writev", "recvfrom", "sendto", "recvmsg", "sendmsg", "recvmmsg",
	"sendmmsg", "splice", "pipe", "pipe2", "epoll_create1", "epoll_create", "epoll_ctl",
	"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
	"accept", "accept4", "bind", "listen", "connect", "shutdown", "close", "close_range",
	"getsockopt", "setsockopt", "getsockname", "getpeername", "socketpair", "fcntl", "dup",
	"dup2", "dup3", "eventfd", "eventfd2",
	/* files, as far as Landlock lets them */
	"open", "openat", "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs",
	"access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents", "getdents64",
	"getcwd", "lseek", "pread64", "pwrite64", "fsync", "fdatasync", "fadvise64", "rename",
	"renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "umask", "flock",
	"inotify_init1", "inotify_init", "inotify_add_watch", "inotify_rm_watch",
	/* memory and threads */
	"brk", "munmap", "mremap", "madvise", "futex", "set_robust_list", "get_robust_list", "rseq",
	"set_tid_address", "exit", "exit_group", "gettid", "sched_yield", "sched_getaffinity",
	"sched_setaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max",
	"sched_get_priority_min", "getcpu", "membarrier",
	/* time, signals, who we are */
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
	"times", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
	"rt_sigtimedwait", "sigaltstack", "restart_syscall", "getpid", "getppid", "getuid",
	"geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getpgrp", "getpgid",
	"getsid", "getrlimit", "getrusage", "getrandom", "uname", "sysinfo", "wait4", "waitid"
};

static const char *const forbidden[] = { "execve",
					 "execveat",
					 "fork",
					 "vfork",
					 "ptrace",
					 "process_vm_readv",
					 "process_vm_writev",
					 "bpf",
					 "mount",
					 "unshare",
					 "setns",
					 "keyctl",
					 "add_key",
					 "perf_event_open",
					 "setuid",
					 "setgid",
					 "setresuid",
					 "setresgid",
					 "link",
					 "linkat",
					 "symlink",
					 "symlinkat",
					 "truncate",
					 "chown",
					 "fchownat" };

/* One condition on one or two arguments of a call. */
struct rule {
	const char *name;
	uint32_t action;
	unsigned count;
	struct scmp_arg_cmp arg[2];
};

/* As SCMP_CMP(), which is no constant expression. */
#define MASKED(n, mask, value)                                         \
	{                                                              \
		(n), SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (value) \
	}
#define EQUAL(n, value)                                    \
	{                                                  \
		(n), SCMP_CMP_EQ, (scmp_datum_t)(value), 0 \
	}
#define OTHER(n, value)                                    \
	{                                                  \
		(n), SCMP_CMP_NE, (scmp_datum_t)(value), 0 \
	}
#define ABOVE(n, value)                                    \
	{                                                  \
		(n), SCMP_CMP_GT, (scmp_datum_t)(value), 0 \
	}
#define NO      SCMP_ACT_ERRNO(EPERM)
#define TYPE    0xf /* of a socket, without SOCK_NONBLOCK and SOCK_CLOEXEC */
#define PROT_WX (PROT_WRITE | PROT_EXEC)

static const struct rule conditional[] = {
	/* Unix and IP sockets, none of them raw; netlink for getaddrinfo(3), getifaddrs(3). */
	{ "socket", SCMP_ACT_ALLOW, 1, { EQUAL(0, AF_UNIX) } },
	{ "socket", SCMP_ACT_ALLOW, 2, { EQUAL(0, AF_INET), MASKED(1, TYPE, SOCK_STREAM) } },
	{ "socket", SCMP_ACT_ALLOW, 2, { EQUAL(0, AF_INET), MASKED(1, TYPE, SOCK_DGRAM) } },
	{ "socket", NO, 2, { EQUAL(0, AF_INET), MASKED(1, TYPE, SOCK_RAW) } },
	{ "socket", SCMP_ACT_ALLOW, 2, { EQUAL(0, AF_INET6), MASKED(1, TYPE, SOCK_STREAM) } },
	{ "socket", SCMP_ACT_ALLOW, 2, { EQUAL(0, AF_INET6), MASKED(1, TYPE, SOCK_DGRAM) } },
	{ "socket", NO, 2, { EQUAL(0, AF_INET6), MASKED(1, TYPE, SOCK_RAW) } },
	{ "socket", SCMP_ACT_ALLOW, 2, { EQUAL(0, AF_NETLINK), EQUAL(2, 0) } }, /* NETLINK_ROUTE */
	{ "socket", SCMP_ACT_ERRNO(EAFNOSUPPORT), 1, { ABOVE(0, AF_NETLINK) } },
	/* Threads, not processes. clone3's flags are in memory: glibc falls back to clone. */
	{ "clone", SCMP_ACT_ALLOW, 1, { MASKED(0, CLONE_THREAD, CLONE_THREAD) } },
	{ "clone", NO, 1, { MASKED(0, CLONE_THREAD, 0) } },
	/* Code comes from files and never was writable. */
	{ "mmap", SCMP_ACT_ALLOW, 1, { MASKED(2, PROT_EXEC, 0) } },
	{ "mmap",
	  SCMP_ACT_ALLOW,
	  2,
	  { MASKED(2, PROT_WX, PROT_EXEC), MASKED(3, MAP_ANONYMOUS, 0) } },
	{ "mmap", NO, 1, { MASKED(2, PROT_WX, PROT_WX) } },
	{ "mprotect", SCMP_ACT_ALLOW, 1, { MASKED(2, PROT_EXEC, 0) } },
	{ "mprotect", NO, 1, { MASKED(2, PROT_EXEC, PROT_EXEC) } },
	/* A socket's mode; never a set-user-ID bit. */
	{ "chmod", SCMP_ACT_ALLOW, 1, { MASKED(1, S_ISUID | S_ISGID, 0) } },
	{ "fchmod", SCMP_ACT_ALLOW, 1, { MASKED(1, S_ISUID | S_ISGID, 0) } },
	{ "fchmodat", SCMP_ACT_ALLOW, 1, { MASKED(2, S_ISUID | S_ISGID, 0) } },
	/* Limits may be read, by getrlimit(2)'s successor. */
	{ "prlimit64", SCMP_ACT_ALLOW, 1, { EQUAL(2, 0) } },
	{ "prlimit64", NO, 1, { OTHER(2, 0) } },
	{ "prctl", SCMP_ACT_ALLOW, 1, { EQUAL(0, PR_SET_NAME) } },
	{ "prctl", SCMP_ACT_ALLOW, 1, { EQUAL(0, PR_GET_NAME) } },
	{ "prctl", SCMP_ACT_ALLOW, 1, { EQUAL(0, PR_GET_DUMPABLE) } },
	/* Is it a terminal, non-blocking, how much is queued, names of interfaces. */
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TCGETS) } },
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TIOCGWINSZ) } },
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, FIONBIO) } },
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, FIOCLEX) } },
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, FIONREAD) } },
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TIOCOUTQ) } },
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, SIOCGIFNAME) } },
	{ "ioctl", SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, SIOCGIFINDEX) } },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* 0 or -errno. */
static int add(scmp_filter_ctx ctx, const char *name, uint32_t action, unsigned count,
	       const struct scmp_arg_cmp *arg)
{
	int nr = seccomp_syscall_resolve_name(name);

	return nr < 0 ? 0 : seccomp_rule_add_array(ctx, action, nr, count, arg);
}

static int add_all(scmp_filter_ctx ctx)
{
	/* abort(3) and pthread_kill(3); children are signalled by the spawner. */
	const struct scmp_arg_cmp us = EQUAL(0, getpid()), others = OTHER(0, getpid());
	int failed = add(ctx, "kill", SCMP_ACT_ALLOW, 1, &us);

	if (!failed)
		failed = add(ctx, "tgkill", SCMP_ACT_ALLOW, 1, &us);
	if (!failed)
		failed = add(ctx, "kill", NO, 1, &others);
	if (!failed)
		failed = add(ctx, "tgkill", NO, 1, &others);
	for (size_t i = 0; !failed && i < COUNT(allowed); i++)
		failed = add(ctx, allowed[i], SCMP_ACT_ALLOW, 0, NULL);
	for (size_t i = 0; !failed && i < COUNT(forbidden); i++)
		failed = add(ctx, forbidden[i], NO, 0, NULL);
	for (size_t i = 0; !failed && i < COUNT(conditional); i++)
		failed = add(ctx, conditional[i].name, conditional[i].action, conditional[i].count,
			     conditional[i].arg);
	return failed;
}

/* Every thread; a binary tree over the numbers; and without the slow-down of speculative stores
 * that a filter brings otherwise (there is no foreign code in this process to be guarded from). */
static int set_up(scmp_filter_ctx ctx)
{
	int failed = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);

	if (!failed)
		failed = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
	return failed ? failed : seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

int seccomp_close(struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int failed;

	if (!ctx)
		return err_set(e, ERR_NOMEM, "filter");
	failed = set_up(ctx);
	if (!failed)
		failed = add_all(ctx);
	if (!failed)
		failed = seccomp_load(ctx);
	seccomp_release(ctx);
	return failed ? err_sys(e, -failed, "not loaded") : 0;
}
