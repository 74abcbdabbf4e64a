/*
 * Laws: a payload that can be read is written again as the same bytes (but for what a reader lets
 * pass and a writer does not make), and what is written can be read.
 */
#include <assert.h>
#include <string.h>

#include "vm/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define SAME_AGAIN(what)                                      \
	do {                                                  \
		struct frame_##what v;                        \
		uint8_t to[FRAME_CONTROL_MAX];                \
		size_t wrote;                                 \
                                                              \
		if (frame_##what##_read(&v, p, n, NULL) != 0) \
			break;                                \
		wrote = frame_##what##_write(to, &v);         \
		assert(wrote <= sizeof(to));                  \
		assert(wrote == n && memcmp(to, p, n) == 0);  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct frame_head h;
	uint8_t kind, again[FRAME_HEAD];
	char text[64];

	if (n == 0)
		return 0;
	kind = *p++;
	n--;
	if (n >= FRAME_HEAD && frame_head_read(&h, p, NULL) == 0) {
		frame_head_write(again, (enum frame_type)h.type, h.length, h.stream);
		assert(memcmp(p, again, FRAME_HEAD) == 0);
		assert(h.length <= FRAME_DATA_MAX && strcmp(frame_name(h.type), "unknown") != 0);
	}
	if (frame_text_read(text, sizeof(text), p, n, NULL) == 0)
		assert(strlen(text) == n);
	switch (kind % 6) {
	case 0: SAME_AGAIN(hello); break;
	case 1: SAME_AGAIN(welcome); break;
	case 2:
		if (n && p[0] <= 1) /* other flags are let pass */
			SAME_AGAIN(network);
		break;
	case 3: SAME_AGAIN(metrics); break;
	case 4: SAME_AGAIN(addresses); break;
	default: SAME_AGAIN(failed); break;
	}
	return 0;
}
