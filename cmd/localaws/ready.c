#include "cmd/localaws/ready.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/file.h"
#include "base/str.h"
#include "cmd/localaws/world.h"

enum { PATH_TEXT = 4096 };

int ready_write_file(const char *file, const char *text, struct err *e)
{
	return file_replace(file, text, strlen(text), e);
}

static void add_accounts(const struct world *w, cJSON *root)
{
	cJSON *all = cJSON_AddObjectToObject(root, "accounts");

	for (size_t i = 0; i < w->opts->accounts; i++) {
		const struct key *key = keys_of_account(&w->keys, w->opts->account[i]);
		cJSON *one = cJSON_AddObjectToObject(all, w->opts->account[i]);

		cJSON_AddStringToObject(one, "access_key_id", key->id);
		cJSON_AddStringToObject(one, "secret_access_key", key->secret.text);
	}
}

int ready_write(const struct world *w, const char *file, unsigned port, const char *ca,
		struct err *e)
{
	cJSON *root = cJSON_CreateObject();
	char *text, path[128];
	int failed;

	cJSON_AddStringToObject(root, "endpoint", w->endpoint);
	cJSON_AddNumberToObject(root, "port", port);
	cJSON_AddStringToObject(root, "ca", ca);
	cJSON_AddStringToObject(root, "access_key_id", w->opts->access_key_id);
	cJSON_AddStringToObject(root, "secret_access_key", w->opts->secret_access_key);
	(void)str_fmt(path, sizeof(path), "%s/v1/credentials", w->endpoint);
	cJSON_AddStringToObject(root, "container", path);
	cJSON_AddStringToObject(root, "container_token", w->opts->container_token);
	add_accounts(w, root);
	text = cJSON_Print(root);
	cJSON_Delete(root);
	if (!text)
		return err_set(e, ERR_NOMEM, "ready file");
	failed = ready_write_file(file, text, e);
	cJSON_free(text);
	return failed;
}

void ready_print_env(const struct world *w, const char *ca)
{
	const struct options *o = w->opts;

	printf("export AWS_ENDPOINT_URL=%s\nexport AWS_ACCESS_KEY_ID=%s\n"
	       "export AWS_SECRET_ACCESS_KEY=%s\nexport AWS_REGION=%s\n",
	       w->endpoint, o->access_key_id, o->secret_access_key,
	       *o->region ? o->region : "us-east-1");
	if (*ca)
		printf("export AWS_CA_BUNDLE=%s\n", ca);
	/* Instead of the keys: who calls is then the instance's or the container's role. */
	printf("# export AWS_EC2_METADATA_SERVICE_ENDPOINT=%s\n"
	       "# export AWS_CONTAINER_CREDENTIALS_FULL_URI=%s/v1/credentials "
	       "AWS_CONTAINER_AUTHORIZATION_TOKEN=%s\n",
	       w->endpoint, w->endpoint, o->container_token);
	(void)fflush(stdout);
}

int ready_ca_path(const struct world *w, char *out, size_t size, struct err *e)
{
	const struct options *o = w->opts;
	const char *slash = o->ready_file ? strrchr(o->ready_file, '/') : NULL, *tmp;
	char dir[PATH_TEXT];

	if (o->state_dir) {
		(void)str_fmt(dir, sizeof(dir), "%s", o->state_dir);
	} else if (o->ready_file) {
		(void)str_fmt(dir, sizeof(dir), "%.*s", slash ? (int)(slash - o->ready_file) : 1,
			      slash ? o->ready_file : ".");
	} else {
		tmp = getenv("TMPDIR");
		(void)str_fmt(dir, sizeof(dir), "%s/localaws-XXXXXX", tmp && *tmp ? tmp : "/tmp");
		if (!mkdtemp(dir))
			return err_sys(e, errno, "%s", dir);
	}
	return str_fmt(out, size, "%s/localaws-ca.pem", dir)
		       ? 0
		       : err_set(e, ERR_USAGE, "the path is too long");
}
