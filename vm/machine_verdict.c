/*
 * Accelerators that do not work here, remembered: a broken KVM costs its whole limit at each start
 * otherwise. The verdict holds for this kernel and this QEMU; a start by command tries all anew.
 *
 *     awsocks-vm-verdicts 1
 *     kvm RELEASE MTIME SIZE PATH
 *
 * The file is a cache: what is wrong with it is told and nothing more.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "vm/machine_impl.h"

static const char first_line[] = "awsocks-vm-verdicts 1\n";
enum { FILE_MAX = 8192 };

static void make_key(struct machine *m)
{
	struct utsname u;
	struct stat st;

	m->key[0] = '\0';
	if (uname(&u) != 0 || stat(m->opts.spec.program, &st) != 0)
		return;
	if (!str_fmt(m->key, sizeof(m->key), "%s %lld %lld %s", u.release, (long long)st.st_mtime,
		     (long long)st.st_size, m->opts.spec.program) ||
	    strchr(m->key, '\n'))
		m->key[0] = '\0';
}

/* NUL-terminated; false: there is none, or none of any use. */
static bool read_file(const char *path, char *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), sys;
	size_t n = 0;

	if (fd < 0 && errno == ENOENT)
		return false;
	sys = fd < 0 ? errno : file_read_all(fd, text, FILE_MAX, &n);
	if (fd >= 0)
		close(fd);
	text[n < FILE_MAX ? n : 0] = '\0';
	if (sys)
		log_warn("vm", "%s: %s: accelerators are tried anew", path, strerror(sys));
	else if (!str_starts(text, first_line) || strlen(text) != n)
		log_warn("vm", "%s: not a file of verdicts: accelerators are tried anew", path);
	else
		return true;
	return false;
}

static void read_line(struct machine *m, const char *line, size_t n)
{
	for (size_t i = 0; i < m->rungs; i++) {
		const char *name = vm_accel_name(m->ladder[i]);
		size_t len = strlen(name);

		if (m->ladder[i] != VM_ACCEL_TCG && n == len + 1 + strlen(m->key) &&
		    strncmp(line, name, len) == 0 && line[len] == ' ' &&
		    strncmp(line + len + 1, m->key, n - len - 1) == 0)
			m->broken[i] = true;
	}
}

void verdicts_load(struct machine *m)
{
	char *text;

	make_key(m);
	if (!m->opts.verdicts || !*m->key || m->rungs < 2)
		return;
	text = mem_alloc(FILE_MAX + 1);
	if (text && read_file(m->opts.verdicts, text))
		for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
			read_line(m, at, strcspn(at, "\n"));
	mem_free(text);
	for (size_t i = 0; i < m->rungs; i++)
		if (m->broken[i])
			log_info("vm", "%s did not work with this kernel and this QEMU: not tried",
				 vm_accel_name(m->ladder[i]));
}

/* ---- a new one ---- */

struct job {
	char path[VM_PATH];
	char text[FILE_MAX];
	struct err why;
};

static void write_it(void *arg)
{
	struct job *j = arg;

	if (file_replace(j->path, j->text, strlen(j->text), &j->why) == 0)
		j->why.code = ERR_NONE;
}

static void written(void *arg, bool cancelled)
{
	struct job *j = arg;

	(void)cancelled;
	if (j->why.code)
		log_warn("vm", "verdicts: %s", j->why.msg);
	mem_free(j);
}

static void save(struct machine *m)
{
	struct job *j = mem_alloc(sizeof(*j));
	size_t n = sizeof(first_line) - 1;
	struct err e;

	if (!j || !str_fmt(j->path, sizeof(j->path), "%s", m->opts.verdicts)) {
		mem_free(j);
		return;
	}
	memcpy(j->text, first_line, sizeof(first_line));
	for (size_t i = 0; i < m->rungs; i++)
		if (m->broken[i] && str_fmt(j->text + n, sizeof(j->text) - n, "%s %s\n",
					    vm_accel_name(m->ladder[i]), m->key))
			n += strlen(j->text + n);
	j->text[n] = '\0';
	if (work_start(m->loop, write_it, written, j, &e))
		return;
	log_warn("vm", "verdicts: %s", e.msg);
	mem_free(j);
}

void verdicts_pass(struct machine *m)
{
	bool news = false;

	/* It works after all. */
	if (m->broken[m->rung])
		news = true;
	m->broken[m->rung] = false;
	for (size_t i = 0; i < m->rung; i++) {
		if (!m->failed_now[i] || m->broken[i])
			continue;
		m->broken[i] = news = true;
		log_warn("vm", "%s does not work on this host, %s does: not tried again",
			 vm_accel_name(m->ladder[i]), vm_accel_name(m->ladder[m->rung]));
	}
	if (news && m->opts.verdicts && *m->key)
		save(m);
}
