#ifndef TESTS_UNIT_VM_FAKE_GUEST_H
#define TESTS_UNIT_VM_FAKE_GUEST_H
/*
 * A guest that misbehaves: the test program itself, started by a driver of the test as
 *
 *     PROGRAM --conf FILE ACCEL [SOCKET]
 *
 * does what the line mode=NAME in FILE says, and adds ACCEL to the file `starts` beside it; the
 * mode `dies` does so once there is a file `die` there. For one test program, which includes it.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "vm/frame.h"

struct settings {
	char text[1024], mode[64];
	uint8_t nonce[FRAME_NONCE];
};

static bool read_settings(const char *path, struct settings *s)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(s->text, 1, sizeof(s->text) - 1, f) : 0;
	const char *mode;
	char hex[2 * FRAME_NONCE + 1];

	if (f)
		fclose(f);
	s->text[n] = '\0';
	mode = strstr(s->text, "\nmode=");
	if (!mode || sscanf(mode, "\nmode=%63s", s->mode) != 1 ||
	    sscanf(s->text, "nonce=%64s", hex) != 1)
		return false;
	return str_unhex(hex, s->nonce, sizeof(s->nonce));
}

/* How often it has been started, this one included. */
static long count_start(const char *conf, const char *accel)
{
	char path[1100];
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "%.*s/starts", (int)(strrchr(conf, '/') - conf), conf);
	f = fopen(path, "a");
	if (!f)
		return 0;
	fprintf(f, "%s\n", accel);
	fclose(f);
	return stat(path, &st) == 0 ? (long)st.st_size / 4 : 0; /* "kvm\n" */
}

static void send_frame(int fd, enum frame_type type, const uint8_t *body, size_t n)
{
	uint8_t frame[FRAME_HEAD + FRAME_CONTROL_MAX];

	frame_head_write(frame, type, (uint32_t)n, 0);
	memcpy(frame + FRAME_HEAD, body, n);
	if (write(fd, frame, FRAME_HEAD + n) != (ssize_t)(FRAME_HEAD + n))
		_exit(99);
}

static void say_hello(int fd, const uint8_t *nonce)
{
	struct frame_hello hello = { .least = FRAME_VERSION,
				     .most = FRAME_VERSION,
				     .window = 65536,
				     .streams_max = 16,
				     .agent = "test" };
	uint8_t body[FRAME_CONTROL_MAX];

	memcpy(hello.nonce, nonce, sizeof(hello.nonce));
	send_frame(fd, FRAME_HELLO, body, frame_hello_write(body, &hello));
}

static void say_network(int fd)
{
	struct frame_network network = { .up = true, .prefix = 24 };
	uint8_t body[FRAME_CONTROL_MAX];

	if (!addr_from_literal("192.0.2.15", 0, &network.address) ||
	    !addr_from_literal("192.0.2.2", 0, &network.gateway))
		_exit(98);
	send_frame(fd, FRAME_NETWORK, body, frame_network_write(body, &network));
}

static bool read_all(int fd, uint8_t *to, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, to + got, n - got);

		if (r <= 0)
			return false;
		got += (size_t)r;
	}
	return true;
}

/* Until it is told to power off, or the host has gone. */
static void serve(int fd)
{
	static uint8_t body[FRAME_DATA_MAX]; /* this process serves once */
	uint8_t head[FRAME_HEAD];
	struct frame_head h;
	struct err e;

	while (read_all(fd, head, sizeof(head)) && frame_head_read(&h, head, &e) == 0 &&
	       read_all(fd, body, h.length)) {
		if (h.type == FRAME_PING)
			send_frame(fd, FRAME_PONG, body, h.length);
		if (h.type == FRAME_SHUTDOWN)
			return;
	}
}

/* Until the test says so, or the host has gone. */
static void wait_for_death(const char *conf, int fd)
{
	struct pollfd p = { .fd = fd }; /* for its end only */
	char path[1100];

	snprintf(path, sizeof(path), "%.*s/die", (int)(strrchr(conf, '/') - conf), conf);
	while (access(path, F_OK) != 0 && poll(&p, 1, 2) == 0)
		;
}

static void for_ever(void)
{
	for (;;)
		(void)poll(NULL, 0, -1);
}

static int dial(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)str_fmt(un.sun_path, sizeof(un.sun_path), "%s", path);
	return connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 ? fd : -1;
}

/* Others come first to the socket: silent ones, liars. */
static int dial_with_strangers(const char *path)
{
	uint8_t zero[FRAME_NONCE] = { 0 };

	for (int i = 0; i < 12; i++)
		(void)dial(path);
	say_hello(dial(path), zero);
	return dial(path);
}

static int guest(const char *conf, const char *accel, const char *path)
{
	struct settings s;
	long starts;
	int fd = 0;

	if (!read_settings(conf, &s))
		return 97;
	starts = count_start(conf, accel);
	if (strcmp(s.mode, "crash") == 0 || (strcmp(s.mode, "flaky") == 0 && starts < 3) ||
	    (strcmp(s.mode, "kvmless") == 0 && strcmp(accel, "kvm") == 0)) {
		fprintf(stderr, "first\n\ncannot\x1b boot\n");
		return 1;
	}
	if (strcmp(s.mode, "panic") == 0) {
		printf("[    2.1] Kernel panic - not syncing: Attempted to kill init!\n"
		       "[    2.1] CPU: 0 PID: 1 Comm: init\r\n[    2.1] Kernel Offset: disabled");
		return 0;
	}
	if (strcmp(s.mode, "silent") == 0 ||
	    (strcmp(s.mode, "kvmhangs") == 0 && strcmp(accel, "kvm") == 0)) {
		printf("console: panic");
		fflush(stdout);
		for_ever();
	}
	if (strcmp(s.mode, "hangs-up") == 0) {
		printf("console: no link\n");
		fflush(stdout);
		close(fd);
		for_ever();
	}
	if (strcmp(s.mode, "garbage") == 0)
		memset(s.nonce, 0, sizeof(s.nonce)); /* a HELLO, and of no boot of ours */
	if (path)
		fd = dial_with_strangers(path);
	say_hello(fd, s.nonce);
	if (strcmp(s.mode, "nonet") != 0)
		say_network(fd);
	if (strcmp(s.mode, "stubborn") == 0)
		for_ever();
	if (strcmp(s.mode, "dies") == 0 && starts < 2) {
		wait_for_death(conf, fd);
		fprintf(stderr, "boom\n");
		return 3;
	}
	serve(fd);
	return 0;
}
#endif
