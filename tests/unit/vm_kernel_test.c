/* Finding a kernel: which one is taken, and what is said of the others. */
#include "tests/unit/vm_tree.h"
#include "vm/kernel_impl.h"

struct fix {
	struct tree tree;
	char boot[TREE_PATH], modules[TREE_PATH], fetched[TREE_PATH];
	struct kernel_places places;
	struct vm_image_opts opts;
	struct vm_kernel k;
	struct err e;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	tree_make(&f->tree);
	assert_true(str_fmt(f->boot, sizeof(f->boot), "%s/boot", f->tree.dir));
	assert_true(str_fmt(f->modules, sizeof(f->modules), "%s/lib/modules", f->tree.dir));
	assert_true(str_fmt(f->fetched, sizeof(f->fetched), "%s/fetched", f->tree.dir));
	f->places = (struct kernel_places){ .boot = f->boot,
					    .modules = f->modules,
					    .running = "6.1.0-9" };
	f->opts = (struct vm_image_opts){ .arch = "x86_64", .fetched = f->fetched };
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	tree_remove(&f->tree);
	free(f);
	return 0;
}

/* In /boot, with modules. */
static void install(struct fix *f, const char *version)
{
	char path[TREE_PATH];

	assert_true(str_fmt(path, sizeof(path), "boot/vmlinuz-%s", version));
	tree_bzimage(&f->tree, path, version);
	assert_true(str_fmt(path, sizeof(path), "lib/modules/%s/modules.order", version));
	tree_text(&f->tree, path, "kernel/x.ko\n");
}

static void finds(struct fix *f, const char *file, const char *modules, const char *version)
{
	if (kernel_find_in(&f->places, &f->opts, &f->k, &f->e) != 0)
		fail_msg("%s", f->e.msg);
	assert_string_equal(f->k.file, tree_path(&f->tree, file));
	assert_string_equal(f->k.modules, tree_path(&f->tree, modules));
	assert_string_equal(f->k.version, version);
}

static void fails(struct fix *f, const char *with)
{
	assert_int_equal(kernel_find_in(&f->places, &f->opts, &f->k, &f->e), -1);
	if (f->e.code != ERR_CONFIG || !strstr(f->e.msg, with))
		fail_msg("'%s' expected: %s", with, f->e.msg);
}

static void versions_compare_by_their_numbers(void **state)
{
	static const char *const ascending[] = {
		"5.10.0-8-amd64",
		"6.1~rc2",
		"6.1",
		"6.1.0-9-cloud-amd64",
		"6.1.0-10-cloud-amd64",
		"6.1.0-10-generic",
		"6.1.10-1",
		"6.8.0-31",
		"6.10",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(ascending); i++)
		for (size_t j = 0; j < COUNT(ascending); j++) {
			int rc = kernel_compare(ascending[i], ascending[j]);

			assert_int_equal(rc > 0 ? 1 : rc < 0 ? -1 : 0, (i > j) - (i < j));
		}
	assert_int_equal(kernel_compare("6.01", "6.1"), 0);
}

static void fetched_ones_come_first_the_newest_of_them(void **state)
{
	struct fix *f = *state;

	install(f, "7.0-cloud-amd64");
	tree_bzimage(&f->tree, "fetched/x86_64/6.1.0-9/vmlinuz", "6.1.0-9-cloud-amd64");
	tree_text(&f->tree, "fetched/x86_64/6.1.0-9/modules/modules.order", "");
	finds(f, "fetched/x86_64/6.1.0-9/vmlinuz", "fetched/x86_64/6.1.0-9/modules",
	      "6.1.0-9-cloud-amd64");
	tree_bzimage(&f->tree, "fetched/x86_64/6.1.0-10/vmlinuz", "6.1.0-10-cloud-amd64");
	tree_text(&f->tree, "fetched/x86_64/6.1.0-10/modules/modules.dep", "");
	finds(f, "fetched/x86_64/6.1.0-10/vmlinuz", "fetched/x86_64/6.1.0-10/modules",
	      "6.1.0-10-cloud-amd64");
	/* half of one, and one that is being made */
	tree_bzimage(&f->tree, "fetched/x86_64/6.1.0-11/vmlinuz", "6.1.0-11-cloud-amd64");
	tree_bzimage(&f->tree, "fetched/x86_64/.fetch-x/vmlinuz", "6.1.0-12-cloud-amd64");
	tree_text(&f->tree, "fetched/x86_64/.fetch-x/modules/modules.dep", "");
	finds(f, "fetched/x86_64/6.1.0-10/vmlinuz", "fetched/x86_64/6.1.0-10/modules",
	      "6.1.0-10-cloud-amd64");
}

static void of_the_systems_a_cloud_kernel_is_preferred(void **state)
{
	struct fix *f = *state;

	install(f, "7.0-generic");
	finds(f, "boot/vmlinuz-7.0-generic", "lib/modules/7.0-generic", "7.0-generic");
	install(f, "6.1.0-9");
	finds(f, "boot/vmlinuz-6.1.0-9", "lib/modules/6.1.0-9", "6.1.0-9"); /* it runs */
	install(f, "6.1.0-8-cloud-amd64");
	finds(f, "boot/vmlinuz-6.1.0-8-cloud-amd64", "lib/modules/6.1.0-8-cloud-amd64",
	      "6.1.0-8-cloud-amd64");
	f->places.running = NULL; /* another processor's guest */
	fails(f, "no kernel for a VM of x86_64 (awsocks vm fetch-kernel gets one)");
}

static void the_running_one_may_be_beside_its_modules(void **state)
{
	struct fix *f = *state;

	tree_bzimage(&f->tree, "lib/modules/6.1.0-9/vmlinuz", "6.1.0-9");
	tree_text(&f->tree, "lib/modules/6.1.0-9/modules.dep", "");
	finds(f, "lib/modules/6.1.0-9/vmlinuz", "lib/modules/6.1.0-9", "6.1.0-9");
}

static void a_named_one_is_taken_or_nothing(void **state)
{
	struct fix *f = *state;
	char file[TREE_PATH];

	install(f, "6.1.0-9");
	assert_true(str_fmt(file, sizeof(file), "%s/deb/boot/vmlinuz-7", f->tree.dir));
	f->opts.kernel = file;
	fails(f, "kernel of the VM: ");
	tree_bzimage(&f->tree, "deb/boot/vmlinuz-7", "7.0");
	fails(f, "no modules of 7.0 beside it or in /lib/modules");
	tree_text(&f->tree, "deb/lib/modules/7.0/modules.order", "");
	finds(f, "deb/boot/vmlinuz-7", "deb/boot/../lib/modules/7.0",
	      "7.0"); /* an unpacked package */
	tree_text(&f->tree, "deb/boot/modules/modules.order", "");
	finds(f, "deb/boot/vmlinuz-7", "deb/boot/modules", "7.0");
	f->opts.modules = tree_path(&f->tree, "anywhere");
	finds(f, "deb/boot/vmlinuz-7", "anywhere", "7.0");
}

static void what_stands_in_the_way_is_said(void **state)
{
	struct fix *f = *state;

	fails(f, "none is in /boot");
	tree_bzimage(&f->tree, "boot/vmlinuz-1", "1.0");
	tree_text(&f->tree, "boot/vmlinuz-0", "ELF?");
	fails(f, "/boot/vmlinuz-1: no modules of 1.0 beside it");
	fails(f, "/boot/vmlinuz-0 is no kernel");
	for (char name[] = "boot/vmlinuz-5"; name[13] < '9'; name[13]++)
		tree_text(&f->tree, name, "");
	fails(f, " more");
	assert_true(strlen(f->e.msg) < sizeof(f->e.msg) - 1); /* not cut */
}

/* Root may read all: nobody looks then. */
static void one_that_may_not_be_read_is_named(void **state)
{
	struct fix *f = *state;
	bool root = geteuid() == 0;

	install(f, "6.8.0-31-generic");
	assert_int_equal(chmod(tree_path(&f->tree, "boot/vmlinuz-6.8.0-31-generic"), 0), 0);
	assert_int_equal(chmod(f->tree.dir, 0755), 0);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	fails(f, "may not be read by this user (chmod a+r, as root)");
	if (root)
		assert_int_equal(seteuid(0), 0);
}

static void a_version(struct fix *f, const char *arch, const char *expected)
{
	char version[128];

	if (vm_kernel_version(tree_path(&f->tree, "k"), arch, version, &f->e) != 0)
		fail_msg("%s", f->e.msg);
	assert_string_equal(version, expected);
}

static void no_version(struct fix *f, const char *arch, const char *why)
{
	char version[128];

	assert_int_equal(vm_kernel_version(tree_path(&f->tree, "k"), arch, version, &f->e), -1);
	assert_int_equal(f->e.code, ERR_CONFIG);
	if (!strstr(f->e.msg, why))
		fail_msg("'%s' expected: %s", why, f->e.msg);
}

static void versions_are_read_out_of_kernels(void **state)
{
	struct fix *f = *state;
	uint8_t zboot[256] = "MZ..zimg";

	tree_bzimage(&f->tree, "k", "6.1.0-56-cloud-amd64");
	a_version(f, "x86_64", "6.1.0-56-cloud-amd64");
	no_version(f, "aarch64", "is a kernel for x86_64, not for aarch64");
	tree_bzimage(&f->tree, "k", "../../etc");
	no_version(f, "x86_64", "no version is to be found");
	tree_bzimage(&f->tree, "k", "");
	no_version(f, "x86_64", "no version is to be found");
	tree_image(&f->tree, "k", "6.1.0-56-cloud-arm64");
	a_version(f, "aarch64", "6.1.0-56-cloud-arm64");
	no_version(f, "x86_64", "is not a kernel for x86_64");
	tree_write(&f->tree, "k", zboot, sizeof(zboot));
	no_version(f, "aarch64", "EFI");
	tree_text(&f->tree, "k", "");
	no_version(f, "x86_64", "is no kernel");
	tree_text(&f->tree, "k", "\x1f\x8b that is no gzip");
	assert_int_equal(
		vm_kernel_version(tree_path(&f->tree, "k"), "aarch64", f->k.version, &f->e), -1);
	assert_non_null(strstr(f->e.msg, "gzip failed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		cmocka_unit_test(versions_compare_by_their_numbers),
		T(fetched_ones_come_first_the_newest_of_them),
		T(of_the_systems_a_cloud_kernel_is_preferred),
		T(the_running_one_may_be_beside_its_modules),
		T(a_named_one_is_taken_or_nothing),
		T(what_stands_in_the_way_is_said),
		T(one_that_may_not_be_read_is_named),
		T(versions_are_read_out_of_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
