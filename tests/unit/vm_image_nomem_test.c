/* Each allocation of making an image fails in turn. */
#include "tests/support/mem_fail.h"
#include "tests/unit/vm_tree.h"
#include "vm/image.h"
#include "vm/module_info.h"

static void an_image_without_memory(void **state)
{
	struct tree t;
	char agent[TREE_PATH], fetched[TREE_PATH];
	struct vm_image image;
	struct err e;

	(void)state;
	tree_make(&t);
	assert_true(str_fmt(agent, sizeof(agent), "%s/agent", t.dir));
	assert_true(str_fmt(fetched, sizeof(fetched), "%s/f", t.dir));
	tree_agent(&t, "agent", ELF_AARCH64, false);
	tree_image(&t, "f/aarch64/1/vmlinuz", "1.0");
	tree_modules(&t, "f/aarch64/1/modules", "1.0");
	const struct vm_image_opts o = {
		.arch = "aarch64", .agent = agent, .fetched = fetched, .dir = t.dir
	};

	while (mem_fail_next()) {
		int rc = vm_image_make(&o, &image, &e);

		/* One that cannot be looked at for want of memory counts as none. */
		if (rc != 0)
			assert_true(e.code == ERR_NOMEM || strstr(e.msg, "out of memory"));
		assert_int_equal(mem_held, 0);
	}
	assert_string_equal(image.version, "1.0");
	tree_remove(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(an_image_without_memory) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
