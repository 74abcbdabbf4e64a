/*
 * The job owns all that the pool's thread touches, so that a cancelled one is
 * left behind and frees itself when the thread is through.
 */
#include "credentials/file_job.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "net/loop.h"

struct file_job {
	struct loop_work *work;
	file_job_fn *fn; /* NULL: cancelled */
	void *arg;
	char *path, *text;
	size_t n;
	bool writing;
	int result;
	struct err why;
};

/* --- on the pool's thread --- */

static int read_all(int fd, const char *path, char *into, size_t *n, struct err *e)
{
	int sys = file_read_all(fd, into, FILE_JOB_MAX + 1, n);

	if (sys)
		return err_sys(e, sys, "read %s", path);
	if (*n <= FILE_JOB_MAX)
		return 0;
	return err_set(e, ERR_LIMIT, "%s is larger than %d KiB", path, FILE_JOB_MAX / 1024);
}

int file_text_read(const char *path, char **text, size_t *n, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for a FIFO's writer */
	char *all = NULL;
	struct stat st;
	int result = -1;

	*text = NULL;
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (fstat(fd, &st) != 0)
		(void)err_sys(e, errno, "%s", path);
	else if (!S_ISREG(st.st_mode))
		(void)err_set(e, ERR_IO, "%s is not a regular file", path);
	else if (!(all = mem_alloc(FILE_JOB_MAX + 2)))
		(void)err_set(e, ERR_NOMEM, "%s", path);
	else
		result = read_all(fd, path, all, n, e);
	close(fd);
	if (result == 0)
		*text = mem_strndup(all, *n);
	if (result == 0 && !*text)
		result = err_set(e, ERR_NOMEM, "%s", path);
	if (all)
		mem_wipe(all, FILE_JOB_MAX + 2);
	mem_free(all);
	return result;
}

/* Those above the file that are missing. */
static void make_parents(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		(void)mkdir(path, 0700); /* opening the file tells */
		*at = '/';
	}
}

int file_text_replace(const char *path, const char *text, struct err *e)
{
	char *parents = mem_strdup(path);

	if (!parents)
		return err_set(e, ERR_NOMEM, "%s", path);
	make_parents(parents);
	mem_free(parents);
	return file_replace(path, text, strlen(text), e);
}

static void run(void *arg)
{
	struct file_job *j = arg;

	if (j->writing)
		j->result = file_text_replace(j->path, j->text, &j->why);
	else
		j->result = file_text_read(j->path, &j->text, &j->n, &j->why);
}

/* --- on the loop --- */

static void job_free(struct file_job *j)
{
	if (j->text)
		mem_wipe(j->text, j->n);
	mem_free(j->text);
	mem_free(j->path);
	mem_free(j);
}

static void on_done(void *arg, bool cancelled)
{
	struct file_job *j = arg;

	(void)cancelled;
	if (!j->fn)
		;
	else if (j->result != 0)
		j->fn(j->arg, NULL, 0, &j->why);
	else
		j->fn(j->arg, j->writing ? "" : j->text, j->writing ? 0 : j->n, NULL);
	job_free(j);
}

static struct file_job *start(struct loop *loop, const char *path, const char *text,
			      file_job_fn *fn, void *arg, struct err *e)
{
	struct file_job *j = mem_alloc(sizeof(*j));

	if (!j) {
		(void)err_set(e, ERR_NOMEM, "%s", path);
		return NULL;
	}
	j->fn = fn;
	j->arg = arg;
	j->writing = text != NULL;
	j->n = text ? strlen(text) : 0;
	j->path = mem_strdup(path);
	j->text = mem_strdup(text);
	if (!j->path || (text && !j->text))
		(void)err_set(e, ERR_NOMEM, "%s", path);
	else
		j->work = work_start(loop, run, on_done, j, e);
	if (j->work)
		return j;
	job_free(j);
	return NULL;
}

struct file_job *file_job_read(struct loop *loop, const char *path, file_job_fn *fn, void *arg,
			       struct err *e)
{
	return start(loop, path, NULL, fn, arg, e);
}

struct file_job *file_job_write(struct loop *loop, const char *path, const char *text,
				file_job_fn *fn, void *arg, struct err *e)
{
	return start(loop, path, text, fn, arg, e);
}

void file_job_cancel(struct file_job *j)
{
	if (!j)
		return;
	j->fn = NULL;
	work_cancel(j->work);
}
