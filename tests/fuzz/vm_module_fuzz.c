/* Laws of vm/module_info.c: an answer is a text that ends within the file. */
#include <assert.h>
#include <string.h>

#include "vm/module_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *value = module_info(data, n, "depends");

	if (value) {
		const uint8_t *p = (const uint8_t *)value;

		assert(p > data && p < data + n);
		assert(memchr(p, '\0', (size_t)(data + n - p)));
		assert(elf_machine(data, n));
	}
	return 0;
}
