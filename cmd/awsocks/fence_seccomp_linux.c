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
#include <netinet/in.h>
#include <netinet/tcp.h>
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

/* libseccomp's numbers: negative for what an architecture has not. (To let it find them by name
 * costs as much as to add the rules.) */
static const int allowed[] = {
	/* the relay and the connection path */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(recvfrom),
	SCMP_SYS(sendto), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg), SCMP_SYS(splice), SCMP_SYS(pipe), SCMP_SYS(pipe2),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_create), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(bind),
	SCMP_SYS(listen), SCMP_SYS(connect), SCMP_SYS(shutdown), SCMP_SYS(close),
	SCMP_SYS(close_range), SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
	SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(eventfd), SCMP_SYS(eventfd2),
	/* files, as far as Landlock lets them */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(fstatfs),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(getcwd),
	SCMP_SYS(lseek), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(fsync),
	SCMP_SYS(fdatasync), SCMP_SYS(fadvise64), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat), SCMP_SYS(umask), SCMP_SYS(flock), SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_init), SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch),
	/* memory and threads */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
	SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(set_tid_address), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(gettid),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_setaffinity),
	SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_get_priority_max),
	SCMP_SYS(sched_get_priority_min), SCMP_SYS(getcpu), SCMP_SYS(membarrier),
	/* time, signals, who we are */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(times),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getresuid),
	SCMP_SYS(getresgid), SCMP_SYS(getgroups), SCMP_SYS(getpgrp), SCMP_SYS(getpgid),
	SCMP_SYS(getsid), SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(getrandom),
	SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(wait4), SCMP_SYS(waitid)
};

static const int forbidden[] = { SCMP_SYS(execve),
				 SCMP_SYS(execveat),
				 SCMP_SYS(fork),
				 SCMP_SYS(vfork),
				 SCMP_SYS(ptrace),
				 SCMP_SYS(process_vm_readv),
				 SCMP_SYS(process_vm_writev),
				 SCMP_SYS(bpf),
				 SCMP_SYS(mount),
				 SCMP_SYS(unshare),
				 SCMP_SYS(setns),
				 SCMP_SYS(keyctl),
				 SCMP_SYS(add_key),
				 SCMP_SYS(perf_event_open),
				 SCMP_SYS(setuid),
				 SCMP_SYS(setgid),
				 SCMP_SYS(setresuid),
				 SCMP_SYS(setresgid),
				 SCMP_SYS(link),
				 SCMP_SYS(linkat),
				 SCMP_SYS(symlink),
				 SCMP_SYS(symlinkat),
				 SCMP_SYS(truncate),
				 SCMP_SYS(chown),
				 SCMP_SYS(fchownat) };

/* Conditions on arguments of a call. */
struct rule {
	int nr;
	uint32_t action;
	unsigned count;
	struct scmp_arg_cmp arg[3];
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
#define IP_SOCKET(family, type, protocol)                                           \
	{                                                                           \
		SCMP_SYS(socket), SCMP_ACT_ALLOW, 3,                                \
		{                                                                   \
			EQUAL(0, family), MASKED(1, TYPE, type), EQUAL(2, protocol) \
		}                                                                   \
	}
#define NAMESPACES                                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)
#define NO      SCMP_ACT_ERRNO(EPERM)
#define TYPE    0xf /* of a socket, without SOCK_NONBLOCK and SOCK_CLOEXEC */
#define PROT_WX (PROT_WRITE | PROT_EXEC)

static const struct rule conditional[] = {
	/* Unix, TCP and UDP sockets, none of them raw and no other protocol (SCTP and the like,
	 * whose modules the kernel would load); netlink for getaddrinfo(3), getifaddrs(3). */
	{ SCMP_SYS(socket), SCMP_ACT_ALLOW, 1, { EQUAL(0, AF_UNIX) } },
	IP_SOCKET(AF_INET, SOCK_STREAM, 0),
	IP_SOCKET(AF_INET, SOCK_STREAM, IPPROTO_TCP),
	IP_SOCKET(AF_INET, SOCK_DGRAM, 0),
	IP_SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	{ SCMP_SYS(socket), NO, 2, { EQUAL(0, AF_INET), MASKED(1, TYPE, SOCK_RAW) } },
	IP_SOCKET(AF_INET6, SOCK_STREAM, 0),
	IP_SOCKET(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
	IP_SOCKET(AF_INET6, SOCK_DGRAM, 0),
	IP_SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
	{ SCMP_SYS(socket), NO, 2, { EQUAL(0, AF_INET6), MASKED(1, TYPE, SOCK_RAW) } },
	{ SCMP_SYS(socket),
	  SCMP_ACT_ALLOW,
	  2,
	  { EQUAL(0, AF_NETLINK), EQUAL(2, 0) } }, /* NETLINK_ROUTE */
	{ SCMP_SYS(socket), SCMP_ACT_ERRNO(EAFNOSUPPORT), 1, { ABOVE(0, AF_NETLINK) } },
	{ SCMP_SYS(socketpair), SCMP_ACT_ALLOW, 1, { EQUAL(0, AF_UNIX) } },
	/* Threads, not processes, and in no name space of their own. clone3's flags are in memory:
	 * glibc falls back to clone. */
	{ SCMP_SYS(clone),
	  SCMP_ACT_ALLOW,
	  1,
	  { MASKED(0, CLONE_THREAD | NAMESPACES, CLONE_THREAD) } },
	{ SCMP_SYS(clone), NO, 1, { MASKED(0, CLONE_THREAD, 0) } },
	/* Code comes from files and never was writable. */
	{ SCMP_SYS(mmap), SCMP_ACT_ALLOW, 1, { MASKED(2, PROT_EXEC, 0) } },
	{ SCMP_SYS(mmap),
	  SCMP_ACT_ALLOW,
	  2,
	  { MASKED(2, PROT_WX, PROT_EXEC), MASKED(3, MAP_ANONYMOUS, 0) } },
	{ SCMP_SYS(mmap), NO, 1, { MASKED(2, PROT_WX, PROT_WX) } },
	{ SCMP_SYS(mprotect), SCMP_ACT_ALLOW, 1, { MASKED(2, PROT_EXEC, 0) } },
	{ SCMP_SYS(mprotect), NO, 1, { MASKED(2, PROT_EXEC, PROT_EXEC) } },
	/* A socket's mode; never a set-user-ID bit. */
	{ SCMP_SYS(chmod), SCMP_ACT_ALLOW, 1, { MASKED(1, S_ISUID | S_ISGID, 0) } },
	{ SCMP_SYS(fchmod), SCMP_ACT_ALLOW, 1, { MASKED(1, S_ISUID | S_ISGID, 0) } },
	{ SCMP_SYS(fchmodat), SCMP_ACT_ALLOW, 1, { MASKED(2, S_ISUID | S_ISGID, 0) } },
	/* Limits may be read, by getrlimit(2)'s successor. */
	{ SCMP_SYS(prlimit64), SCMP_ACT_ALLOW, 1, { EQUAL(2, 0) } },
	{ SCMP_SYS(prlimit64), NO, 1, { OTHER(2, 0) } },
	{ SCMP_SYS(prctl), SCMP_ACT_ALLOW, 1, { EQUAL(0, PR_SET_NAME) } },
	{ SCMP_SYS(prctl), SCMP_ACT_ALLOW, 1, { EQUAL(0, PR_GET_NAME) } },
	{ SCMP_SYS(prctl), SCMP_ACT_ALLOW, 1, { EQUAL(0, PR_GET_DUMPABLE) } },
	/* Is it a terminal, are we in front of it, its echo; non-blocking, how much is queued,
	 * names of interfaces. */
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TCGETS) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TCSETS) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TIOCGPGRP) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TIOCGWINSZ) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, FIONBIO) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, FIOCLEX) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, FIONREAD) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, TIOCOUTQ) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, SIOCGIFNAME) } },
	{ SCMP_SYS(ioctl), SCMP_ACT_ALLOW, 1, { MASKED(1, 0xffffffff, SIOCGIFINDEX) } },
};

/* Not those that run a filter program (SO_ATTACH_BPF), change a firewall's tables (SOL_IP from 64
 * on), or put another protocol upon TCP (TCP_ULP). Ours, libuv's, libcurl's, the C library's. */
static const struct {
	int level;
	int option[12]; /* 0: no more */
} socket_options[] = {
	{ SOL_SOCKET,
	  { SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_LINGER, SO_SNDBUF, SO_RCVBUF, SO_SNDTIMEO,
	    SO_RCVTIMEO, SO_BROADCAST, SO_PASSCRED } },
	{ IPPROTO_TCP,
	  { TCP_NODELAY, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_QUICKACK,
	    TCP_USER_TIMEOUT, TCP_FASTOPEN_CONNECT } },
	{ IPPROTO_IP, { IP_TOS, IP_TTL, IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR } },
	{ IPPROTO_IPV6,
	  { IPV6_V6ONLY, IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_TCLASS } },
};

/* Not F_SETOWN and F_SETSIG: signals to other processes. */
static const int descriptor_commands[] = { F_DUPFD,  F_DUPFD_CLOEXEC, F_GETFD,     F_SETFD,
					   F_GETFL,  F_SETFL,         F_GETLK,     F_SETLK,
					   F_SETLKW, F_SETPIPE_SZ,    F_GETPIPE_SZ };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* 0 or -errno. */
static int add(scmp_filter_ctx ctx, int nr, uint32_t action, unsigned count,
	       const struct scmp_arg_cmp *arg)
{
	return nr < 0 ? 0 : seccomp_rule_add_array(ctx, action, nr, count, arg);
}

static int add_descriptor_calls(scmp_filter_ctx ctx)
{
	struct scmp_arg_cmp arg[2] = { { 0 } };
	int failed = 0;

	for (size_t i = 0; !failed && i < COUNT(descriptor_commands); i++) {
		arg[0] = (struct scmp_arg_cmp)EQUAL(1, (unsigned)descriptor_commands[i]);
		failed = add(ctx, SCMP_SYS(fcntl), SCMP_ACT_ALLOW, 1, arg);
	}
	for (size_t i = 0; i < COUNT(socket_options); i++)
		for (const int *option = socket_options[i].option; !failed && *option; option++) {
			arg[0] = (struct scmp_arg_cmp)EQUAL(1, (unsigned)socket_options[i].level);
			arg[1] = (struct scmp_arg_cmp)EQUAL(2, (unsigned)*option);
			failed = add(ctx, SCMP_SYS(setsockopt), SCMP_ACT_ALLOW, 2, arg);
		}
	return failed;
}

static int add_all(scmp_filter_ctx ctx)
{
	/* abort(3) and pthread_kill(3); children are signalled by the spawner. */
	const struct scmp_arg_cmp us = EQUAL(0, getpid()), others = OTHER(0, getpid());
	int failed = add(ctx, SCMP_SYS(kill), SCMP_ACT_ALLOW, 1, &us);

	if (!failed)
		failed = add(ctx, SCMP_SYS(tgkill), SCMP_ACT_ALLOW, 1, &us);
	if (!failed)
		failed = add(ctx, SCMP_SYS(kill), NO, 1, &others);
	if (!failed)
		failed = add(ctx, SCMP_SYS(tgkill), NO, 1, &others);
	for (size_t i = 0; !failed && i < COUNT(allowed); i++)
		failed = add(ctx, allowed[i], SCMP_ACT_ALLOW, 0, NULL);
	for (size_t i = 0; !failed && i < COUNT(forbidden); i++)
		failed = add(ctx, forbidden[i], NO, 0, NULL);
	for (size_t i = 0; !failed && i < COUNT(conditional); i++)
		failed = add(ctx, conditional[i].nr, conditional[i].action, conditional[i].count,
			     conditional[i].arg);
	return failed ? failed : add_descriptor_calls(ctx);
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
