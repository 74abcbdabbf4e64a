#include "cmd/awsocks/vm_setup.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "config/options.h"
#include "vm/agent_conf.h"
#include "vm/kernel.h"

enum { SETTINGS_MAX = 8 * 1024 };

/* Locally administered, and always the same one: vmnet's DHCP server remembers each address that
 * it has seen for a day, and has some 250. */
static const uint8_t mac[6] = { 0x5a, 0x94, 0xef, 0x61, 0x77, 0x73 };

/* ---- the program ---- */

static int take_file(const char *file, char out[static PATH_TEXT], const struct opt_origin *from,
		     struct err *e)
{
	char path[PATH_MAX];

	if (!realpath(file, path))
		return err_set(e, ERR_CONFIG, "%s: %.200s: %s", from->text, file, strerror(errno));
	if (!str_fmt(out, PATH_TEXT, "%s", path))
		return err_set(e, ERR_CONFIG, "%s: path too long: %.80s...", from->text, path);
	return 0;
}

/* What cannot be run now is told now, not at each boot. */
static int take_program(const char *file, char out[static PATH_TEXT], const struct opt_origin *from,
			struct err *e)
{
	struct stat st;

	if (take_file(file, out, from, e) != 0)
		return -1;
	if (stat(out, &st) == 0 && S_ISREG(st.st_mode) && access(out, X_OK) == 0)
		return 0;
	return err_set(e, ERR_CONFIG, "%s: %.200s is no program that can be run", from->text, out);
}

static const struct vm_driver *pick_driver(const struct options *o)
{
	static const struct vm_driver *const by_name[] = { [VM_BY_QEMU] = &vm_driver_qemu,
							   [VM_BY_VFKIT] = &vm_driver_vfkit,
							   [VM_BY_PROCESS] = &vm_driver_process };
	char path[PATH_TEXT];

	if (o->vm_driver != VM_BY_AUTO)
		return by_name[o->vm_driver];
	/* It exists on a Mac only. */
	return !o->vm_program && path_program("vfkit", false, path) ? &vm_driver_vfkit
								    : &vm_driver_qemu;
}

/* qemu-system-aarch64 runs arm64 guests, wherever it is. */
static const char *guest_arch(const char *program)
{
	const char *dash = strrchr(program, '-');

	if (dash && strcmp(dash, "-aarch64") == 0)
		return "aarch64";
	return dash && strcmp(dash, "-x86_64") == 0 ? "x86_64" : vm_host_arch();
}

static int find_program(struct vm_setup *v, const struct options *o, struct err *e)
{
	char name[64];

	if (v->driver == &vm_driver_process) /* the agent itself, which is yet to be found */
		return 0;
	if (o->vm_program)
		return take_program(o->vm_program, v->program, &o->origin[OPT_ID_vm_program], e);
	(void)str_fmt(name, sizeof(name), "%s%s",
		      v->driver == &vm_driver_qemu ? "qemu-system-" : "vfkit",
		      v->driver == &vm_driver_qemu ? vm_host_arch() : "");
	if (path_program(name, false, v->program))
		return 0;
	if (v->driver == &vm_driver_vfkit)
		return err_set(e, ERR_UNSUPPORTED,
			       "--mode vm needs vfkit, which is not in PATH: brew install vfkit, "
			       "or --vm-driver qemu");
	return err_set(e, ERR_UNSUPPORTED,
		       "--mode vm needs %s, which is not in PATH: apt install qemu-system-%s "
		       "(macOS: brew install vfkit, or qemu), or --vm-program FILE",
		       name, strcmp(vm_host_arch(), "aarch64") == 0 ? "arm" : "x86");
}

static int find_agent(struct vm_setup *v, const struct options *o, struct err *e)
{
	if (o->vm_agent)
		return take_file(o->vm_agent, v->agent, &o->origin[OPT_ID_vm_agent], e);
	if (path_program("awsocks-agent", true, v->agent))
		return 0;
	return err_set(e, ERR_CONFIG,
		       "--mode vm needs awsocks-agent, which is not beside this program: make "
		       "build-agent, or --vm-agent FILE");
}

/* ---- the image ---- */

int vm_kernels_dir(char out[static PATH_TEXT], struct err *e)
{
	return path_state_file(KERNELS_DIR, out, e);
}

/* Lines of /conf (docs/VM.md). */
static int make_settings(const struct options *o, struct buf *b, struct err *e)
{
	for (size_t i = 0; i < o->vm_setting.count; i++)
		if (buf_addf(b, e, "%s\n", o->vm_setting.item[i].text) != 0)
			return -1;
	return buf_add(b, "", 1, e);
}

static int fill_image(const struct vm_setup *v, const struct options *o, struct vm_image_opts *i,
		      char fetched[static PATH_TEXT], struct err *e)
{
	if (vm_kernels_dir(fetched, e) != 0)
		return -1;
	*i = (struct vm_image_opts){ .arch = v->spec.arch,
				     .agent = v->agent,
				     .kernel = o->vm_kernel,
				     .modules = o->vm_modules,
				     .fetched = fetched,
				     .dir = v->dir,
				     .transport = v->driver->transport };
	return 0;
}

static int make_image(struct vm_setup *v, const struct options *o, struct err *e)
{
	struct vm_image_opts opts;
	char fetched[PATH_TEXT];
	struct buf settings;
	int rc;

	buf_init(&settings, SETTINGS_MAX);
	rc = make_settings(o, &settings, e);
	if (rc == 0 && v->driver == &vm_driver_process) {
		rc = vm_process_image(v->dir, (const char *)buf_ptr(&settings), &v->image, e);
	} else if (rc == 0) {
		rc = fill_image(v, o, &opts, fetched, e);
		opts.settings = (const char *)buf_ptr(&settings);
		if (rc == 0)
			rc = vm_image_make(&opts, &v->image, e);
	}
	buf_free(&settings);
	return rc;
}

/* ---- all ---- */

/* Programs and files, and what runs; nothing is written. */
static int find_parts(struct vm_setup *v, const struct options *o, struct err *e)
{
	v->driver = pick_driver(o);
	if (find_program(v, o, e) != 0 || find_agent(v, o, e) != 0)
		return -1;
	v->spec.program = v->driver == &vm_driver_process ? v->agent : v->program;
	v->spec.arch = guest_arch(v->spec.program);
	v->spec.image = &v->image;
	v->spec.dir = v->dir;
	v->spec.memory_mib = (unsigned)o->vm_memory;
	v->spec.cpus = 1;
	v->spec.console = true;
	memcpy(v->spec.mac, mac, sizeof(mac));
	v->bounds = (struct vm_bounds){ .driver = v->driver, .spec = &v->spec };
	return 0;
}

/* A directory of its own: the running awsocks writes there. */
static int make_verdicts(struct vm_setup *v, struct err *e)
{
	if (path_state_file("vm", v->verdict_dir, e) != 0)
		return -1;
	if (mkdir(v->verdict_dir, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "%s", v->verdict_dir);
	return str_fmt(v->verdicts, sizeof(v->verdicts), "%s/accel", v->verdict_dir)
		       ? 0
		       : err_set(e, ERR_CONFIG, "XDG_STATE_HOME is too long");
}

static void find_ladder(struct vm_setup *v, const struct options *o)
{
	if (v->driver == &vm_driver_qemu && o->vm_accel == VM_WITH_AUTO)
		vm_accel_ladder(v->spec.arch, v->ladder, &v->rungs);
}

int vm_setup_check_settings(const struct setup *s, struct err *e)
{
	const struct options *o = &s->profile[0].options;
	const struct opt_list *list = &o->vm_setting;
	struct agent_conf c;

	agent_conf_init(&c);
	if (o->mode != MODE_VM)
		return 0;
	for (size_t i = 0; i < list->count; i++)
		if (agent_conf_set(&c, list->item[i].text, e) != 0)
			return err_wrap(e, "%s", list->item[i].origin);
	if (agent_conf_check(&c, e) != 0)
		return err_wrap(e, "%s", o->origin[OPT_ID_vm_setting].text);
	if (c.allow_loopback && pick_driver(o) != &vm_driver_process)
		return err_set(e, ERR_CONFIG, "%s: allow-loopback is for --vm-driver process",
			       o->origin[OPT_ID_vm_setting].text);
	return 0;
}

int vm_setup_make(struct vm_setup *v, const struct setup *s, struct err *e)
{
	const struct options *o = &s->profile[0].options;

	*v = (struct vm_setup){ 0 };
	if (o->mode != MODE_VM)
		return 0;
	if (vm_setup_check_settings(s, e) != 0 || find_parts(v, o, e) != 0)
		return -1;
	if (make_verdicts(v, e) != 0 || path_private(v->dir, e) != 0)
		return -1;
	find_ladder(v, o);
	return make_image(v, o, e);
}

void vm_setup_end(struct vm_setup *v)
{
	path_private_remove(v->dir);
	v->dir[0] = '\0';
}

int vm_setup_check(const struct setup *s, struct err *e)
{
	const struct options *o = &s->profile[0].options;
	char fetched[PATH_TEXT];
	struct vm_image_opts opts;
	struct vm_kernel kernel;
	struct vm_setup v = { 0 };

	if (o->mode != MODE_VM)
		return 0;
	if (find_parts(&v, o, e) != 0)
		return -1;
	if (v.driver == &vm_driver_process)
		return 0;
	if (fill_image(&v, o, &opts, fetched, e) != 0)
		return -1;
	return vm_kernel_find(&opts, &kernel, e);
}
