/*
 * The process that starts programs asks here before it starts one as a
 * credential_process: it does not take the asker's word for what the files say.
 */
#include "credentials/command_known.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "credentials/ini.h"
#include "credentials/profile.h"
#include "credentials/words.h"

static bool same_words(const char *line, const char *const *argv)
{
	char **words;
	size_t n, i;
	bool same;

	if (words_split(line, &words, &n, NULL) != 0)
		return false; /* chain.c would not have run that either */
	for (i = 0; i < n && argv[i] && strcmp(words[i], argv[i]) == 0; i++)
		;
	same = n > 0 && i == n && !argv[i];
	mem_free(words);
	return same;
}

static bool has(const struct ini *ini, const char *const *argv)
{
	for (size_t i = 0; ini && i < ini->count; i++) {
		const struct ini_key *key = ini_key(&ini->sections[i], "credential_process");

		if (key && same_words(key->value, argv))
			return true;
	}
	return false;
}

int command_known(const char *const *env, const char *const *argv, struct err *e)
{
	struct aws_files *files;
	bool known;

	if (aws_files_load(env, &files, e) != 0)
		return -1;
	known = has(aws_files_config(files), argv) || has(aws_files_credentials(files), argv);
	aws_files_free(files);
	if (known)
		return 0;
	return err_set(e, ERR_DENIED,
		       "'%.80s' with these arguments is no credential_process of the AWS files",
		       argv[0]);
}
