#ifndef VM_MODULE_INFO_H
#define VM_MODULE_INFO_H
/* What a kernel module says of itself: "KEY=VALUE" texts in the section .modinfo of an ELF file of
 * 64 bits, little-endian. Pure; the file may hold anything. */
#include <stddef.h>
#include <stdint.h>

/* The value of the first such key, NUL-terminated within the file; NULL: it has none, or is no
 * module. */
const char *module_info(const uint8_t *file, size_t n, const char *key);
/* e_machine of an ELF file like that, 0 otherwise. 62: x86-64, 183: AArch64. */
unsigned elf_machine(const uint8_t *file, size_t n);
enum { ELF_X86_64 = 62, ELF_AARCH64 = 183 };
#endif
