/* Modules: what they need, in which order, and what is said when there is none. */
#include "tests/unit/vm_tree.h"
#include "vm/module_info.h"
#include "vm/modules.h"

#define VERSION "6.1.0"

struct fix {
	struct tree tree;
	struct modules m;
	struct err e;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	tree_make(&f->tree);
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	modules_close(&f->m);
	tree_remove(&f->tree);
	free(f);
	return 0;
}

static void load(struct fix *f)
{
	modules_close(&f->m);
	if (modules_open(&f->m, f->tree.dir, VERSION, &f->e) != 0)
		fail_msg("%s", f->e.msg);
}

static void order_is(const struct fix *f, const char *expected)
{
	char got[1024] = "";

	for (size_t i = 0; i < f->m.count; i++)
		(void)str_fmt(got + strlen(got), sizeof(got) - strlen(got), "%s ",
			      f->m.list[i].name);
	assert_string_equal(got, expected);
}

static void fails(struct fix *f, const char *name, const char *why)
{
	assert_int_equal(modules_add(&f->m, name, true, &f->e), -1);
	assert_int_equal(f->e.code, ERR_CONFIG);
	if (!strstr(f->e.msg, why))
		fail_msg("'%s' expected: %s", why, f->e.msg);
}

static void what_a_module_needs_stands_before_it(void **state)
{
	struct fix *f = *state;

	tree_text(&f->tree, "modules.order", "kernel/a.ko\nkernel/b-b.ko\nkernel/sub/c.ko\n");
	tree_text(&f->tree, "modules.builtin", "kernel/built-in.ko\n");
	tree_module(&f->tree, "kernel/a.ko", "b_b,built_in", VERSION);
	tree_module(&f->tree, "kernel/b-b.ko", "c,built-in", VERSION);
	tree_module(&f->tree, "kernel/sub/c.ko", "", VERSION);
	load(f);
	assert_int_equal(modules_add(&f->m, "a", true, &f->e), 0);
	order_is(f, "c b_b a ");
	assert_int_equal(modules_add(&f->m, "b-b", true, &f->e), 0); /* once */
	assert_int_equal(modules_add(&f->m, "built-in", true, &f->e), 0);
	assert_int_equal(modules_add(&f->m, "gone", false, &f->e), 0);
	order_is(f, "c b_b a ");
}

/* As depmod writes it, with packed files. */
static void modules_dep_will_do(void **state)
{
	struct fix *f = *state;
	uint8_t file[TREE_FILE];
	const char *const argv[] = { "gzip", tree_path(&f->tree, "kernel/a.ko"), NULL };
	const struct program gzip = { .argv = argv };

	tree_text(&f->tree, "modules.dep", "kernel/x.ko.gz:\nkernel/a.ko.gz: kernel/x.ko.gz\n");
	tree_module(&f->tree, "kernel/a.ko", "", VERSION);
	assert_int_equal(program_run(&gzip, &f->e), 0);
	load(f);
	assert_int_equal(modules_add(&f->m, "a", true, &f->e), 0);
	order_is(f, "a ");
	assert_int_equal(buf_len(&f->m.list[0].file), tree_module_bytes(file, "", VERSION));
	assert_memory_equal(buf_ptr(&f->m.list[0].file), file, buf_len(&f->m.list[0].file));
}

static void what_is_missing_is_named(void **state)
{
	struct fix *f = *state;

	assert_int_equal(modules_open(&f->m, f->tree.dir, VERSION, &f->e), -1);
	assert_non_null(strstr(f->e.msg, "neither modules.dep nor modules.order"));
	tree_text(&f->tree, "modules.order", "kernel/a.ko\nkernel/b.ko\n");
	tree_module(&f->tree, "kernel/a.ko", "b", VERSION);
	load(f);
	fails(f, "c", "kernel module c is neither built in nor listed in");
	assert_string_equal(f->m.missing, "c");
	fails(f, "a", "a: kernel module b is listed, but its file is not in");
	assert_string_equal(f->m.missing, "b");
	assert_int_equal(modules_add(&f->m, "a", false, &f->e), 0);
	order_is(f, "");
}

static void what_is_wrong_is_said(void **state)
{
	struct fix *f = *state;
	char many[64 * 8] = "";

	tree_text(&f->tree, "modules.order",
		  "k/a.ko\nk/b.ko\nk/text.ko\nk/old.ko\nk/path.ko\nk/many.ko\n");
	tree_module(&f->tree, "k/a.ko", "b", VERSION);
	tree_module(&f->tree, "k/b.ko", "a", VERSION);
	tree_text(&f->tree, "k/text.ko", "no module");
	tree_module(&f->tree, "k/old.ko", "", VERSION "-1");
	tree_module(&f->tree, "k/path.ko", "../x", VERSION);
	for (size_t i = 0; i < 120; i += 3)
		memcpy(many + i, "b,,", 3);
	tree_module(&f->tree, "k/many.ko", many, VERSION);
	load(f);
	fails(f, "a", "in a circle");
	fails(f, "many", "in a circle");
	fails(f, "text", "is not a kernel module");
	fails(f, "old", "modules of " VERSION "-1 do not fit the kernel, which is " VERSION);
	fails(f, "path", "a module of a strange name");
	f->m.version = NULL; /* any */
	assert_int_equal(modules_add(&f->m, "old", true, &f->e), 0);
}

static void paths_are_those_of_a_name(void **state)
{
	(void)state;
#define IS(path, name) module_is(path, strlen(path), name)
	assert_true(IS("kernel/net/virtio-net.ko", "virtio_net"));
	assert_true(IS("virtio_net.ko.zst", "virtio-net"));
	assert_false(IS("kernel/net/virtio_net.ko", "net"));
	assert_false(IS("kernel/net/virtio_net.ko", "virtio"));
	assert_false(IS("kernel/net/virtio_net.kop", "virtio_net"));
	assert_false(IS("kernel/virtio/", "virtio"));
	assert_false(IS("", "virtio"));
}

/* Of any part of a module, nothing is read behind its end. */
static void a_cut_module_is_none(void **state)
{
	uint8_t file[TREE_FILE];
	size_t n = tree_module_bytes(file, "b", VERSION);

	(void)state;
	assert_string_equal(module_info(file, n, "depends"), "b");
	assert_string_equal(module_info(file, n, "license"), "GPL");
	assert_null(module_info(file, n, "dep"));
	assert_int_equal(elf_machine(file, n), ELF_X86_64);
	for (size_t i = 0; i < n; i++) {
		uint8_t *part = malloc(i ? i : 1);

		assert_non_null(part);
		memcpy(part, file, i);
		assert_null(module_info(part, i, "depends"));
		free(part);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(what_a_module_needs_stands_before_it),
		T(modules_dep_will_do),
		T(what_is_missing_is_named),
		T(what_is_wrong_is_said),
		cmocka_unit_test(paths_are_those_of_a_name),
		cmocka_unit_test(a_cut_module_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
