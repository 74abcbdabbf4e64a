#include "cmd/awsocks/cal_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/text_file.h"

/* ---- the line ---- */

static bool is_key_type(const char *s, size_t n)
{
	static const char *const types[] = { "ssh-ed25519",
					     "ssh-rsa",
					     "ecdsa-sha2-nistp256",
					     "ecdsa-sha2-nistp384",
					     "ecdsa-sha2-nistp521",
					     "sk-ssh-ed25519@openssh.com",
					     "sk-ecdsa-sha2-nistp256@openssh.com" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i]) == n && memcmp(types[i], s, n) == 0)
			return true;
	return false;
}

int cal_key_line(char out[static CAL_KEY_LINE], const char *key, const char *port, const char *vm,
		 struct err *e)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/=";
	size_t type = strcspn(key, " "), blob;

	/* Whatever else stood there would be options, or a second line, of the VM's choice. */
	if (!is_key_type(key, type) || key[type] != ' ')
		return err_set(e, ERR_CONFIG, "not a public key of OpenSSH: '%.40s'", key);
	blob = strspn(key + type + 1, base64);
	if (blob < 40 || (key[type + 1 + blob] && !strchr(" \n\r", key[type + 1 + blob])))
		return err_set(e, ERR_CONFIG, "a public key that is cut or damaged: '%.40s'", key);
	if (!str_fmt(out, CAL_KEY_LINE,
		     "restrict,port-forwarding,permitopen=\"127.0.0.1:%s\","
		     "permitlisten=\"127.0.0.1:1\",command=\"/usr/bin/true\" %.*s cal-vm-socks:%s",
		     port, (int)(type + 1 + blob), key, vm))
		return err_set(e, ERR_CONFIG, "the public key is too long");
	return 0;
}

/* ---- the file ---- */

struct keys {
	char path[PATH_MAX]; /* links followed */
	char *text;
	size_t n;
	mode_t mode;
	int lock;
};

/* make: when it is not there yet. */
static int find_ssh_dir(char out[static PATH_TEXT], bool make, struct err *e)
{
	const char *home = getenv("HOME");

	if (!home || home[0] != '/')
		return err_set(e, ERR_CONFIG, "HOME is not set");
	if (!str_fmt(out, PATH_TEXT, "%s/.ssh", home))
		return err_set(e, ERR_CONFIG, "path too long: %.80s...", home);
	if (!make || mkdir(out, 0700) == 0 || errno == EEXIST)
		return 0;
	return err_sys(e, errno, "make directory %s", out);
}

/* Two set-ups at the same time: the second one is told, it does not undo the first's work. */
static int take_lock(const char *dir, struct err *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "%s", dir);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	(void)err_sys(e, errno, "%s: another awsocks cal is changing the keys; try again", dir);
	close(fd);
	return -1;
}

static int check_owner(struct keys *k, struct err *e)
{
	struct stat st;

	if (stat(k->path, &st) != 0)
		return err_sys(e, errno, "%s", k->path);
	if (st.st_uid != geteuid())
		return err_set(e, ERR_CONFIG, "%s belongs to another user: run this as that user",
			       k->path);
	k->mode = st.st_mode & 07777;
	return 0;
}

static void keys_close(struct keys *k)
{
	mem_free(k->text);
	if (k->lock >= 0)
		close(k->lock);
}

/* make: ~/.ssh is made. Otherwise, where there is none, there are no keys. */
static int keys_open(struct keys *k, bool make, struct err *e)
{
	char dir[PATH_TEXT], path[PATH_TEXT + 20];
	struct stat st;

	*k = (struct keys){ .mode = 0600, .lock = -1 };
	if (find_ssh_dir(dir, make, e) != 0)
		return -1;
	if (!make && access(dir, F_OK) != 0 && errno == ENOENT)
		return 0;
	k->lock = take_lock(dir, e);
	if (k->lock < 0)
		return -1;
	(void)str_fmt(path, sizeof(path), "%s/authorized_keys", dir);
	if (!realpath(path, k->path)) {
		/* A link to nothing is an error: its owner meant another file. */
		if (errno == ENOENT && lstat(path, &st) != 0 && errno == ENOENT &&
		    str_fmt(k->path, sizeof(k->path), "%s", path))
			return 0;
		(void)err_sys(e, errno, "%s", path);
	} else if (check_owner(k, e) == 0 && text_file_read(k->path, &k->text, &k->n, e) == 0) {
		if (strlen(k->text) == k->n)
			return 0;
		(void)err_set(e, ERR_CONFIG, "%s has NUL bytes: it is left alone", k->path);
	}
	keys_close(k);
	return -1;
}

/* A line that we wrote for this VM: ends in our mark, and begins as all of ours do. */
static bool is_of(const char *line, size_t n, const char *vm)
{
	static const char begins[] = "restrict,port-forwarding,";
	char mark[100];
	size_t m;

	(void)str_fmt(mark, sizeof(mark), " cal-vm-socks:%s", vm);
	m = strlen(mark);
	return n > m && strncmp(line, begins, strlen(begins)) == 0 &&
	       memcmp(line + n - m, mark, m) == 0;
}

/* All lines but the VM's, and `line` in place of the first of them, or at the end. */
static int rewrite(const struct keys *k, const char *line, const char *vm, struct buf *b,
		   struct err *e)
{
	const char *at = k->text ? k->text : "";
	bool put = line == NULL;

	while (*at) {
		size_t n = strcspn(at, "\n");
		bool ours = is_of(at, n, vm);

		if (ours && !put && buf_addf(b, e, "%s\n", line) != 0)
			return -1;
		put = put || ours;
		if (!ours && (buf_add(b, at, n, e) != 0 || buf_add(b, "\n", 1, e) != 0))
			return -1;
		at += n + (at[n] == '\n');
	}
	return put ? 0 : buf_addf(b, e, "%s\n", line);
}

/* line == NULL: only takes away. */
static int change(const char *line, const char *vm, bool *changed, struct err *e)
{
	struct keys k;
	struct buf b;
	int rc;

	*changed = false;
	if (keys_open(&k, line != NULL, e) != 0)
		return -1;
	buf_init(&b, (size_t)TEXT_FILE_MAX + CAL_KEY_LINE);
	rc = rewrite(&k, line, vm, &b, e);
	if (rc == 0)
		*changed = buf_len(&b) != k.n || (k.n && memcmp(buf_ptr(&b), k.text, k.n) != 0);
	/* Nothing of ours in it: not even a missing end of line is added. */
	if (rc == 0 && !line && buf_len(&b) >= k.n)
		*changed = false;
	if (rc == 0 && *changed)
		rc = file_replace_mode(k.path, buf_ptr(&b), buf_len(&b), k.mode, e);
	buf_free(&b);
	keys_close(&k);
	return rc;
}

int cal_keys_install(const char *line, const char *vm, bool *changed, struct err *e)
{
	return change(line, vm, changed, e);
}

int cal_keys_remove(const char *vm, bool *changed, struct err *e)
{
	return change(NULL, vm, changed, e);
}

/* The key of the VM's line, as in its id_*.pub; false: there is no such line. */
static bool find_key(const char *text, const char *vm, char out[static CAL_KEY_LINE])
{
	static const char before[] = "command=\"/usr/bin/true\" ";

	for (const char *at = text ? text : ""; *at;) {
		size_t n = strcspn(at, "\n");
		const char *key = is_of(at, n, vm) ? strstr(at, before) : NULL;

		if (key && key < at + n) {
			key += strlen(before);
			return str_fmt(out, CAL_KEY_LINE, "%.*s", (int)(at + n - key), key);
		}
		at += n + (at[n] == '\n');
	}
	return false;
}

int cal_keys_repin(const char *port, const char *vm, bool *found, struct err *e)
{
	char key[CAL_KEY_LINE], line[CAL_KEY_LINE];
	struct keys k;
	bool changed;

	if (keys_open(&k, false, e) != 0)
		return -1;
	*found = find_key(k.text, vm, key);
	keys_close(&k);
	if (!*found)
		return 0;
	if (cal_key_line(line, key, port, vm, e) != 0)
		return -1;
	return change(line, vm, &changed, e);
}

/* ---- sshd_config ---- */

/* A line AllowStreamLocalForwarding no, or local (sshd_config(5)). */
static bool forbids_sockets(const char *path)
{
	static const char word[] = "allowstreamlocalforwarding";
	struct err none;
	bool found = false;
	char *text;
	size_t n;

	if (text_file_read(path, &text, &n, &none) != 0)
		return false;
	str_lower(text);
	for (const char *at = text; at && !found; at = strchr(at, '\n')) {
		at += strspn(at, " \t\n");
		if (!str_starts(at, word))
			continue;
		at += strlen(word);
		at += strspn(at, " \t=\"");
		found = str_starts(at, "no") || str_starts(at, "local");
	}
	mem_free(text);
	return found;
}

bool cal_keys_too_open(void)
{
	const char *home = getenv("HOME");
	static const char *const names[] = { "", "/.ssh", "/.ssh/authorized_keys" };
	char path[PATH_TEXT];
	struct stat st;

	for (size_t i = 0; home && i < sizeof(names) / sizeof(names[0]); i++)
		if (str_fmt(path, sizeof(path), "%s%s", home, names[i]) && stat(path, &st) == 0 &&
		    (st.st_mode & 022))
			return true;
	return false;
}

bool cal_keys_sockets_open(void)
{
	bool found = forbids_sockets("/etc/ssh/sshd_config");
	glob_t g;

	if (glob("/etc/ssh/sshd_config.d/*.conf", 0, NULL, &g) != 0)
		return !found;
	for (size_t i = 0; i < g.gl_pathc; i++)
		found = found || forbids_sockets(g.gl_pathv[i]);
	globfree(&g);
	return !found;
}
