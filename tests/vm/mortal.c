/*
 * What tests give awsocks as the agent of its VM: the real one, which can be killed from outside.
 * This program is the VM's init. It becomes the agent that stands behind it in its own file, and
 * leaves a child behind that calls a server outside and does what that says, a byte each:
 *
 *     'c'   the agent, which is init, crashes: the kernel panics
 *     'h'   the agent hangs: it is stopped, and the kernel lives on
 *     'p'   the kernel panics with the agent as healthy as can be
 *
 * The file: [this program][agent]["LENGTH-OF-AGENT ADDRESS PORT", filled up with NUL to 64 bytes].
 *
 * No signal kills an init, so that it is done as a debugger would: its program counter is set to
 * where nothing is.
 */
#include <arpa/inet.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRAILER = 64, INIT = 1, AGAIN_MS = 50, PIECE = 4096 };

struct trailer {
	long length;
	char address[40];
	unsigned short port;
};

#ifdef __aarch64__
static void jump_to_nowhere(struct user_regs_struct *r)
{
	r->pc = 0;
}
#else
static void jump_to_nowhere(struct user_regs_struct *r)
{
	r->rip = 0;
}
#endif

/* ---- what the child does ---- */

/* false: not yet. */
static int catch_init(void)
{
	int status;

	return ptrace(PTRACE_SEIZE, INIT, NULL, NULL) == 0 &&
	       ptrace(PTRACE_INTERRUPT, INIT, NULL, NULL) == 0 &&
	       waitpid(INIT, &status, __WALL) == INIT;
}

static void crash(void)
{
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof(regs) };

	if (!catch_init() || ptrace(PTRACE_GETREGSET, INIT, (void *)NT_PRSTATUS, &io) != 0)
		return;
	jump_to_nowhere(&regs);
	(void)ptrace(PTRACE_SETREGSET, INIT, (void *)NT_PRSTATUS, &io);
	(void)ptrace(PTRACE_DETACH, INIT, NULL, NULL);
}

static void panic(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "c", 1) < 0)
		perror("sysrq-trigger");
}

static void obey(int fd)
{
	char what;

	while (read(fd, &what, 1) == 1) {
		if (what == 'c')
			crash();
		else if (what == 'h')
			(void)catch_init();
		else if (what == 'p')
			panic();
	}
}

/* The agent makes the network: until it has, nobody is reached. */
static _Noreturn void wait_for_word(const struct trailer *t)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(t->port) };

	(void)inet_pton(AF_INET, t->address, &to.sin_addr);
	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
			obey(fd);
		if (fd >= 0)
			(void)close(fd);
		(void)poll(NULL, 0, AGAIN_MS);
	}
}

/* ---- init ---- */

static int read_trailer(int fd, struct trailer *t)
{
	char text[TRAILER + 1] = "";

	return lseek(fd, -TRAILER, SEEK_END) >= 0 && read(fd, text, TRAILER) == TRAILER &&
	       sscanf(text, "%ld %39s %hu", &t->length, t->address, &t->port) == 3;
}

static int unpack(int from, long length, const char *path)
{
	int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	char piece[PIECE];

	if (to < 0 || lseek(from, -TRAILER - length, SEEK_END) < 0)
		return -1;
	while (length > 0) {
		ssize_t n = read(from, piece, length < PIECE ? (size_t)length : PIECE);

		if (n <= 0 || write(to, piece, (size_t)n) != n)
			return -1;
		length -= n;
	}
	return close(to);
}

int main(void)
{
	int fd = open("/init", O_RDONLY | O_CLOEXEC);
	struct trailer t;

	if (fd < 0 || !read_trailer(fd, &t) || unpack(fd, t.length, "/agent") != 0) {
		perror("/init");
		return 1;
	}
	if (fork() == 0)
		wait_for_word(&t);
	(void)execl("/agent", "/init", (char *)NULL);
	perror("/agent");
	return 1;
}
