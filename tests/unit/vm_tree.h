#ifndef TESTS_UNIT_VM_TREE_H
#define TESTS_UNIT_VM_TREE_H
/*
 * What a kernel package would give, made up: kernels that only know their version, modules that
 * only know what they need, an agent that is a program's header and no more.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/support/cmocka_all.h"
#include "vm/program.h"

enum { TREE_PATH = 256, TREE_FILE = 8192 };
struct tree {
	char dir[64];
};

static inline void tree_make(struct tree *t)
{
	assert_true(str_fmt(t->dir, sizeof(t->dir), "/tmp/awsocks-tree.XXXXXX"));
	assert_non_null(mkdtemp(t->dir));
}

static inline void tree_remove(struct tree *t)
{
	const char *const argv[] = { "rm", "-rf", "--", t->dir, NULL };
	const struct program p = { .argv = argv };
	struct err e;

	assert_int_equal(program_run(&p, &e), 0);
	assert_int_not_equal(access(t->dir, F_OK), 0);
}

/* Into one of four buffers, so that a call may have several. */
static inline const char *tree_path(struct tree *t, const char *name)
{
	static char paths[4][TREE_PATH];
	static unsigned next;
	char *p = paths[next++ % 4];

	assert_true(str_fmt(p, TREE_PATH, "%s/%s", t->dir, name));
	return p;
}

static inline void tree_write(struct tree *t, const char *name, const void *p, size_t n)
{
	char path[TREE_PATH];
	FILE *f;

	assert_true(str_fmt(path, sizeof(path), "%s/%s", t->dir, name));
	for (char *at = strchr(path + strlen(t->dir) + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		(void)mkdir(path, 0755);
		*at = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static inline void tree_text(struct tree *t, const char *name, const char *text)
{
	tree_write(t, name, text, strlen(text));
}

static inline void tree_put(uint8_t *at, uint64_t v, unsigned bytes)
{
	for (; bytes--; v >>= 8)
		*at++ = (uint8_t)v;
}

/* An ELF file with sections .modinfo and .shstrtab. Returns its length. */
static inline size_t tree_elf(uint8_t out[static TREE_FILE], unsigned machine, const char *info,
			      size_t info_len)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	size_t at = 64, name_at = at + info_len, heads = name_at + sizeof(names);

	memset(out, 0, TREE_FILE);
	memcpy(out, "\177ELF\2\1\1", 7);
	tree_put(out + 16, 1, 2);
	tree_put(out + 18, machine, 2);
	tree_put(out + 40, heads, 8);
	tree_put(out + 58, 64, 2);
	tree_put(out + 60, 3, 2);
	tree_put(out + 62, 2, 2);
	memcpy(out + at, info, info_len);
	memcpy(out + name_at, names, sizeof(names));
	tree_put(out + heads + 64, 1, 4);
	tree_put(out + heads + 64 + 24, at, 8);
	tree_put(out + heads + 64 + 32, info_len, 8);
	tree_put(out + heads + 128, 10, 4);
	tree_put(out + heads + 128 + 24, name_at, 8);
	tree_put(out + heads + 128 + 32, sizeof(names), 8);
	return heads + 3 * 64;
}

static inline size_t tree_module_bytes(uint8_t out[static TREE_FILE], const char *needs,
				       const char *version)
{
	char info[512];
	int n = snprintf(info, sizeof(info), "license=GPL%cdepends=%s%cvermagic=%s SMP%c", 0, needs,
			 0, version, 0);

	return tree_elf(out, 62, info, (size_t)n);
}

static inline void tree_module(struct tree *t, const char *path, const char *needs,
			       const char *version)
{
	uint8_t file[TREE_FILE];

	tree_write(t, path, file, tree_module_bytes(file, needs, version));
}

static inline void tree_bzimage(struct tree *t, const char *path, const char *version)
{
	uint8_t file[4096] = { 0 };

	memcpy(file + 0x202, "HdrS", 4);
	tree_put(file + 0x20e, 0x300, 2);
	snprintf((char *)file + 0x500, 200, "%s (someone@somewhere) #1 SMP", version);
	tree_write(t, path, file, sizeof(file));
}

static inline size_t tree_image_bytes(uint8_t out[static TREE_FILE], const char *version)
{
	memset(out, 0, TREE_FILE);
	memcpy(out, "MZ", 2);
	memcpy(out + 0x38, "ARM\x64", 4);
	snprintf((char *)out + 0x1001, 200, "Linux version %%s (%%s)%cLinux version %s (x@y) #1", 0,
		 version);
	return TREE_FILE;
}

static inline void tree_image(struct tree *t, const char *path, const char *version)
{
	uint8_t file[TREE_FILE];

	tree_write(t, path, file, tree_image_bytes(file, version));
}

/* lib/modules/VERSION as a package brings it: all that both transports need. */
static inline void tree_modules(struct tree *t, const char *dir, const char *version)
{
	static const char *const all[][2] = {
		{ "drivers/virtio/virtio", "" },
		{ "drivers/virtio/virtio_ring", "" },
		{ "drivers/virtio/virtio_pci_modern_dev", "" },
		{ "drivers/virtio/virtio_pci", "virtio_ring,virtio_pci_modern_dev,virtio" },
		{ "drivers/char/virtio_console", "virtio,virtio_ring" },
		{ "net/core/failover", "" },
		{ "drivers/net/net_failover", "failover" },
		{ "drivers/net/virtio_net", "virtio_ring,virtio,net_failover" },
		{ "net/vmw_vsock/vsock", "" },
		{ "net/vmw_vsock/vmw_vsock_virtio_transport_common", "vsock" },
		{ "net/vmw_vsock/vmw_vsock_virtio_transport",
		  "virtio,vmw_vsock_virtio_transport_common,virtio_ring,vsock" },
	};
	char order[2048] = "", path[TREE_PATH];

	for (size_t i = 0; i < COUNT(all); i++) {
		snprintf(order + strlen(order), sizeof(order) - strlen(order), "kernel/%s.ko\n",
			 all[i][0]);
		assert_true(str_fmt(path, sizeof(path), "%s/kernel/%s.ko", dir, all[i][0]));
		tree_module(t, path, all[i][1], version);
	}
	assert_true(str_fmt(path, sizeof(path), "%s/modules.order", dir));
	tree_text(t, path, order);
	assert_true(str_fmt(path, sizeof(path), "%s/modules.builtin", dir));
	tree_text(t, path, "kernel/net/packet/af_packet.ko\nkernel/net/ipv6/ipv6.ko\n");
}

static inline void tree_agent(struct tree *t, const char *path, unsigned machine, bool dynamic)
{
	uint8_t file[TREE_FILE];
	size_t n = tree_elf(file, machine, "", 0);

	tree_put(file + 32, 512, 8); /* one program header */
	tree_put(file + 54, 56, 2);
	tree_put(file + 56, 1, 2);
	tree_put(file + 512, dynamic ? 3 : 1, 4);
	assert_true(n < 512);
	tree_write(t, path, file, 1024);
}
#endif
