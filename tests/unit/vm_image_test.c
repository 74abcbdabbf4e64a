/* The image of a VM, made of a made-up kernel, its modules and an agent. */
#include "base/buf.h"
#include "base/str.h"
#include "tests/unit/vm_tree.h"
#include "vm/image.h"
#include "vm/module_info.h"
#include "vm/unpack.h"

#define VERSION "6.1.0-56-cloud-amd64"

struct fix {
	struct tree tree;
	char agent[TREE_PATH], kernel[TREE_PATH], out[TREE_PATH];
	struct vm_image_opts opts;
	struct vm_image image;
	struct err e;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	tree_make(&f->tree);
	assert_true(str_fmt(f->agent, sizeof(f->agent), "%s/agent", f->tree.dir));
	assert_true(str_fmt(f->kernel, sizeof(f->kernel), "%s/k/vmlinuz", f->tree.dir));
	assert_true(str_fmt(f->out, sizeof(f->out), "%s/out", f->tree.dir));
	tree_agent(&f->tree, "agent", ELF_X86_64, false);
	tree_bzimage(&f->tree, "k/vmlinuz", VERSION);
	tree_modules(&f->tree, "k/modules", VERSION);
	assert_int_equal(mkdir(f->out, 0700), 0);
	f->opts = (struct vm_image_opts){
		.arch = "x86_64", .agent = f->agent, .kernel = f->kernel, .dir = f->out
	};
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	tree_remove(&f->tree);
	free(f);
	return 0;
}

static void make(struct fix *f)
{
	if (vm_image_make(&f->opts, &f->image, &f->e) != 0)
		fail_msg("%s", f->e.msg);
}

static void fails(struct fix *f, enum err_code code, const char *with)
{
	assert_int_equal(vm_image_make(&f->opts, &f->image, &f->e), -1);
	if (f->e.code != code || !strstr(f->e.msg, with))
		fail_msg("'%s' expected: %s", with, f->e.msg);
	assert_int_not_equal(access(tree_path(&f->tree, "out/initrd"), F_OK), 0);
	assert_int_not_equal(access(tree_path(&f->tree, "out/initrd.new"), F_OK), 0);
}

/* What the kernel would see: the contents of one entry, NUL behind it; NULL: there is none. */
static const char *entry(const struct buf *b, const char *name, size_t *n, unsigned *mode)
{
	const char *p = (const char *)buf_ptr(b), *end = p + buf_len(b);

	while (end - p >= 110) {
		unsigned long size, length;
		char field[9] = "";

		assert_memory_equal(p, "070701", 6);
		memcpy(field, p + 6 + 6 * 8, 8);
		size = strtoul(field, NULL, 16);
		memcpy(field, p + 6 + 11 * 8, 8);
		length = strtoul(field, NULL, 16);
		memcpy(field, p + 6 + 8, 8);
		*mode = (unsigned)strtoul(field, NULL, 16);
		assert_int_equal(p[110 + length - 1], 0);
		if (strcmp(p + 110, "TRAILER!!!") == 0)
			return NULL;
		*n = size;
		if (strcmp(p + 110, name) == 0)
			return p + ((110 + length + 3) & ~3UL);
		p += ((110 + length + 3) & ~3UL) + ((size + 3) & ~3UL);
	}
	fail_msg("no end");
	return NULL;
}

static void load(struct fix *f, struct buf *b)
{
	buf_init(b, 1 << 20);
	assert_int_equal(unpack_file(f->image.initrd, b, &f->e), 0);
	assert_int_equal(buf_len(b), f->image.initrd_size);
}

static void expect_text(const struct buf *b, const char *name, const char *text)
{
	unsigned mode;
	size_t n = 0;
	const char *p = entry(b, name, &n, &mode);

	assert_non_null(p);
	if (n != strlen(text) || memcmp(p, text, n) != 0)
		fail_msg("%s: '%.*s' instead of '%s'", name, (int)n, p, text);
}

static void an_image_has_all_that_a_guest_needs(void **state)
{
	static const char *const dirs[] = { "dev", "etc", "m", "proc", "sys" };
	struct fix *f = *state;
	struct buf b;
	unsigned mode;
	size_t n;

	make(f);
	assert_string_equal(f->image.version, VERSION);
	assert_string_equal(f->image.kernel, f->kernel);
	load(f, &b);
	for (size_t i = 0; i < COUNT(dirs); i++) {
		assert_non_null(entry(&b, dirs[i], &n, &mode));
		assert_int_equal(mode, 0040755);
	}
	assert_non_null(entry(&b, "init", &n, &mode));
	assert_int_equal(mode, 0100755);
	assert_int_equal(n, 1024);
	assert_non_null(entry(&b, "m/virtio_net.ko", &n, &mode));
	assert_null(entry(&b, "m/vsock.ko", &n, &mode));
	expect_text(&b, "m/order",
		    "virtio_ring.ko\nvirtio_pci_modern_dev.ko\nvirtio.ko\nvirtio_pci.ko\n"
		    "virtio_console.ko\nfailover.ko\nnet_failover.ko\nvirtio_net.ko\n");
	expect_text(&b, "conf",
		    "nonce=0000000000000000000000000000000000000000000000000000000000000000\n"
		    "transport=virtio\n");
	buf_free(&b);
}

static void vsock_has_its_own_modules(void **state)
{
	struct fix *f = *state;
	struct buf b;
	unsigned mode;
	size_t n;

	f->opts.transport = VM_VSOCK;
	f->opts.settings = "port=5000";
	make(f);
	load(f, &b);
	assert_non_null(entry(&b, "m/virtio_console.ko", &n, &mode)); /* vfkit's console */
	expect_text(&b, "m/order",
		    "virtio_ring.ko\nvirtio_pci_modern_dev.ko\nvirtio.ko\nvirtio_pci.ko\n"
		    "vsock.ko\nvmw_vsock_virtio_transport_common.ko\n"
		    "vmw_vsock_virtio_transport.ko\nvirtio_console.ko\n"
		    "failover.ko\nnet_failover.ko\nvirtio_net.ko\n");
	expect_text(&b, "conf",
		    "nonce=0000000000000000000000000000000000000000000000000000000000000000\n"
		    "transport=vsock\nport=5000\n");
	buf_free(&b);
}

static void a_nonce_is_put_in_place(void **state)
{
	struct fix *f = *state;
	uint8_t nonce[FRAME_NONCE];
	struct buf b;

	make(f);
	for (size_t i = 0; i < sizeof(nonce); i++)
		nonce[i] = (uint8_t)(i * 9);
	assert_int_equal(vm_image_nonce(&f->image, nonce, &f->e), 0);
	load(f, &b);
	expect_text(&b, "conf",
		    "nonce=0009121b242d363f48515a636c757e879099a2abb4bdc6cfd8e1eaf3fc050e17\n"
		    "transport=virtio\n");
	buf_free(&b);
	assert_int_equal(unlink(f->image.initrd), 0);
	assert_int_equal(vm_image_nonce(&f->image, nonce, &f->e), -1);
	assert_non_null(strstr(f->e.msg, f->image.initrd));
}

static void the_same_parts_give_the_same_bytes(void **state)
{
	struct fix *f = *state;
	struct buf a, b;

	make(f);
	load(f, &a);
	make(f);
	load(f, &b);
	assert_int_equal(buf_len(&a), buf_len(&b));
	assert_memory_equal(buf_ptr(&a), buf_ptr(&b), buf_len(&a));
	buf_free(&a);
	buf_free(&b);
}

static void an_arm64_kernel_is_unpacked(void **state)
{
	struct fix *f = *state;
	const char *const argv[] = { "gzip", "-f", f->kernel, NULL };
	const struct program gzip = { .argv = argv };
	uint8_t image[TREE_FILE];
	char packed[TREE_PATH + 8];
	struct buf b;

	tree_agent(&f->tree, "agent", ELF_AARCH64, false);
	tree_image(&f->tree, "k/vmlinuz", VERSION);
	f->opts.arch = "aarch64";
	make(f);
	assert_string_equal(f->image.kernel, f->kernel); /* as it is */
	assert_int_equal(program_run(&gzip, &f->e), 0);
	assert_true(str_fmt(packed, sizeof(packed), "%s.gz", f->kernel));
	f->opts.kernel = packed;
	make(f);
	assert_string_equal(f->image.kernel, tree_path(&f->tree, "out/kernel"));
	buf_init(&b, 1 << 20);
	assert_int_equal(unpack_file(f->image.kernel, &b, &f->e), 0);
	assert_int_equal(buf_len(&b), tree_image_bytes(image, VERSION));
	assert_memory_equal(buf_ptr(&b), image, buf_len(&b));
	buf_free(&b);
}

static void what_is_wrong_with_the_agent_is_said(void **state)
{
	struct fix *f = *state;

	tree_agent(&f->tree, "agent", ELF_AARCH64, false);
	fails(f, ERR_CONFIG, "is no program for x86_64");
	tree_agent(&f->tree, "agent", ELF_X86_64, true);
	fails(f, ERR_CONFIG, "is not static");
	tree_text(&f->tree, "agent", "#!/bin/sh\n");
	fails(f, ERR_CONFIG, "is no program for x86_64");
	assert_int_equal(unlink(f->agent), 0);
	fails(f, ERR_CONFIG, "make build-agent");
}

static void what_is_wrong_with_the_modules_is_said(void **state)
{
	struct fix *f = *state;

	tree_module(&f->tree, "k/modules/kernel/drivers/net/net_failover.ko", "failover", "5.10");
	fails(f, ERR_CONFIG, "modules of 5.10 do not fit the kernel, which is " VERSION);
	assert_int_equal(
		unlink(tree_path(&f->tree, "k/modules/kernel/drivers/net/net_failover.ko")), 0);
	fails(f, ERR_CONFIG, "virtio_net: kernel module net_failover is listed, but");
	tree_text(&f->tree, "k/modules/modules.order", "kernel/x/virtio.ko\n");
	fails(f, ERR_CONFIG, "kernel module virtio_pci is neither built in nor listed in");
	f->opts.modules = f->out;
	fails(f, ERR_CONFIG, "has neither modules.dep nor modules.order");
}

static void where_it_cannot_be_written_is_said(void **state)
{
	struct fix *f = *state;
	char many[17 * 1024];

	f->opts.dir = tree_path(&f->tree, "nowhere");
	assert_int_equal(vm_image_make(&f->opts, &f->image, &f->e), -1);
	assert_non_null(strstr(f->e.msg, "nowhere/initrd.new: No such file"));
	f->opts.dir = f->out;
	memset(many, 'x', sizeof(many));
	many[sizeof(many) - 1] = '\0';
	f->opts.settings = many;
	fails(f, ERR_LIMIT, "settings of the VM's agent");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(an_image_has_all_that_a_guest_needs),
		T(vsock_has_its_own_modules),
		T(a_nonce_is_put_in_place),
		T(the_same_parts_give_the_same_bytes),
		T(an_arm64_kernel_is_unpacked),
		T(what_is_wrong_with_the_agent_is_said),
		T(what_is_wrong_with_the_modules_is_said),
		T(where_it_cannot_be_written_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
