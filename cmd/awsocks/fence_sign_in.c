/*
 * Where renewed sign-ins are written back: directories of ~/.aws that the AWS
 * CLI shares with us. They are made now, because later nothing can be made
 * beside them; those that no profile needs stay closed.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cmd/awsocks/fence.h"
#include "credentials/plan.h"
#include "credentials/profile.h"

extern char **environ;

enum { NEEDS_TOKENS = 1, NEEDS_ROLES = 2, NEEDS_LOGIN = 4 };

static const char *const *environment(void)
{
	return (const char *const *)environ;
}

static unsigned needs(const struct aws_files *files, const struct options *o)
{
	struct plan *plan;
	unsigned found = 0;
	struct err odd;

	if (plan_make(&(struct plan_opts){ .files = files,
					   .environ = environment(),
					   .profile = o->aws_profile,
					   .profile_explicit = o->aws_profile != NULL },
		      &plan, &odd) != 0)
		return 0; /* told when it is needed */
	for (const struct plan *p = plan; p; p = p->source) {
		if (p->step == PLAN_SSO)
			found |= NEEDS_TOKENS | NEEDS_ROLES;
		else if (p->step == PLAN_ROLE)
			found |= NEEDS_ROLES;
		else if (p->step == PLAN_LOGIN)
			found |= NEEDS_LOGIN;
	}
	plan_free(plan);
	return found;
}

static void make_dirs(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		(void)mkdir(path, 0700); /* writing there will tell */
		*at = '/';
	}
	(void)mkdir(path, 0700);
}

static int open_dir(struct fence_paths *p, const char *name, const char *standard, struct err *e)
{
	char *path = aws_path(environment(), name, standard), end[PATH_MAX];
	int result = 0;

	if (!path)
		return err_set(e, ERR_NOMEM, "fence");
	make_dirs(path);
	if (realpath(path, end))
		result = fence_paths_add(p, end, FENCE_READ | FENCE_WRITE | FENCE_MAKE, e);
	mem_free(path);
	return result;
}

int fence_paths_add_sign_in(struct fence_paths *p, const struct setup *s,
			    const struct aws_files *files, struct err *e)
{
	unsigned found = 0;

	for (size_t i = 0; i < s->count; i++)
		found |= needs(files, &s->profile[i].options);
	if ((found & NEEDS_TOKENS) && open_dir(p, NULL, "~/.aws/sso/cache", e) != 0)
		return -1;
	if ((found & NEEDS_ROLES) && open_dir(p, NULL, "~/.aws/cli/cache", e) != 0)
		return -1;
	if (found & NEEDS_LOGIN)
		return open_dir(p, "AWS_LOGIN_CACHE_DIRECTORY", "~/.aws/login/cache", e);
	return 0;
}
