/*
 * The yardstick of the VM benchmark: an init that moves bytes over virtio-serial and does nothing
 * else. It says 'R' when it is there, then does what it is asked:
 *
 *     'U' u64(be) n    reads n bytes unseen, answers 'K'
 *     'D' u64(be) n    sends n bytes
 *     'E' u64(be) n    sends each of n bytes back as it comes
 *
 * The end of the host ends the VM.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"

enum { PIECE = 32 * 1024 }; /* a frame's worth: docs/PROTOCOL.vm */
static uint8_t piece[PIECE];

static void take(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t got = read(fd, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			boot_off(got ? "read" : NULL);
		p += got;
		n -= (size_t)got;
	}
}

static void give(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t put = write(fd, p, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			boot_off("write");
		p += put;
		n -= (size_t)put;
	}
}

static size_t at_most(uint64_t n)
{
	return n < PIECE ? (size_t)n : PIECE;
}

static void serve(int fd, uint8_t what, uint64_t n)
{
	for (size_t now; n && what == 'U'; n -= now)
		take(fd, piece, now = at_most(n));
	for (size_t now; n && what == 'D'; n -= now)
		give(fd, piece, now = at_most(n));
	for (; n && what == 'E'; n--) {
		take(fd, piece, 1);
		give(fd, piece, 1);
	}
	if (what == 'U')
		give(fd, (const uint8_t *)"K", 1);
}

int main(void)
{
	int fd = boot_port();

	memset(piece, 'x', sizeof(piece));
	give(fd, (const uint8_t *)"R", 1);
	for (;;) {
		uint8_t head[9];
		uint64_t n = 0;

		take(fd, head, sizeof(head));
		for (int i = 1; i < 9; i++)
			n = n << 8 | head[i];
		serve(fd, head[0], n);
	}
}
