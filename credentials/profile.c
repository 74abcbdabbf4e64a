/*
 * config has [default], [profile NAME], [sso-session NAME] and [services
 * NAME], where NAME may be quoted as in a shell; credentials has bare [NAME].
 * Section names are taken apart once, when the files are read; after that
 * everything is a look-up.
 */
#include "credentials/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/env.h"
#include "credentials/ini.h"
#include "credentials/words.h"

enum kind { KIND_PROFILE = 0, KIND_SSO_SESSION, KIND_SERVICES, KIND_COUNT };

static const char *const kind_word[KIND_COUNT] = { "profile", "sso-session", "services" };

struct named {
	enum kind kind;
	char *name;
	const struct ini_section *section;
};

struct aws_files {
	char *config_path, *credentials_path;
	struct ini *config, *credentials; /* NULL: no such file */
	struct named *named;              /* config's sections that mean something */
	size_t count;
};

/* --- reading --- */

static char *home_dir(const char *const *env)
{
	const char *home = env_get(env, "HOME");
	struct passwd pw, *found = NULL;
	char buffer[4096];

	if (!home && getpwuid_r(getuid(), &pw, buffer, sizeof(buffer), &found) == 0 && found)
		home = found->pw_dir;
	return mem_strdup(home ? home : "/");
}

char *aws_path(const char *const *env, const char *name, const char *standard)
{
	const char *given = name ? env_get(env, name) : NULL;
	const char *tail = given ? given : standard;
	char *home, *path;
	size_t size;

	if (given && !str_starts(given, "~/"))
		return mem_strdup(given);
	home = home_dir(env);
	size = home ? strlen(home) + strlen(tail) + 1 : 0;
	path = home ? mem_alloc(size) : NULL;
	if (path)
		(void)str_fmt(path, size, "%s%s", home, tail + 1); /* without its '~' */
	mem_free(home);
	return path;
}

static int read_all(int fd, const char *path, struct buf *b, struct err *e)
{
	uint8_t *to;
	ssize_t n;

	do {
		to = buf_reserve(b, 4096, e);
		if (!to)
			return err_wrap(e, "%s", path);
		n = read(fd, to, 4096);
		if (n > 0)
			buf_commit(b, (size_t)n);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? err_sys(e, errno, "cannot read %s", path) : 0;
}

static int read_file(const char *path, struct ini **out, struct err *e)
{
	struct buf b;
	struct stat st;
	int result = -1, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : err_sys(e, errno, "cannot read %s", path);
	buf_init(&b, INI_FILE_MAX + 8192);
	if (fstat(fd, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode)))
		(void)err_set(e, ERR_CONFIG, "%s is not a file", path);
	else if (read_all(fd, path, &b, e) == 0)
		result = ini_parse((const char *)buf_ptr(&b), buf_len(&b), path, out, e);
	close(fd);
	buf_free(&b);
	return result;
}

/* Takes "profile NAME" apart; 0 with *name NULL: a section of no interest. */
static int section_name(const char *text, enum kind *kind, char **name, struct err *e)
{
	char **words;
	size_t count;
	int result = 0;

	*name = NULL;
	if (strcmp(text, "default") == 0) {
		*kind = KIND_PROFILE;
		*name = mem_strdup(text);
		return *name ? 0 : err_set(e, ERR_NOMEM, "%s", text);
	}
	if (words_split(text, &words, &count, e) != 0)
		return e && e->code == ERR_NOMEM ? -1 : 0;
	for (int k = 0; count == 2 && k < KIND_COUNT; k++)
		if (strcmp(words[0], kind_word[k]) == 0) {
			*kind = (enum kind)k;
			*name = mem_strdup(words[1]);
			if (!*name)
				result = err_set(e, ERR_NOMEM, "%s", text);
		}
	mem_free(words);
	return result;
}

static int name_sections(struct aws_files *f, struct err *e)
{
	size_t n = f->config ? f->config->count : 0;

	f->named = mem_alloc((n ? n : 1) * sizeof(*f->named));
	if (!f->named)
		return err_set(e, ERR_NOMEM, "%s", f->config_path);
	for (size_t i = 0; i < n; i++) {
		struct named *to = &f->named[f->count];
		struct err local = { 0 };

		to->section = &f->config->sections[i];
		if (section_name(to->section->name, &to->kind, &to->name, &local) != 0) {
			if (e)
				*e = local;
			return -1;
		}
		f->count += to->name != NULL;
	}
	return 0;
}

int aws_files_load(const char *const *env, struct aws_files **out, struct err *e)
{
	struct aws_files *f = mem_alloc(sizeof(*f));

	*out = NULL;
	if (f) {
		f->config_path = aws_path(env, "AWS_CONFIG_FILE", "~/.aws/config");
		f->credentials_path = aws_path(env, "AWS_SHARED_CREDENTIALS_FILE",
					       "~/.aws/credentials");
	}
	if (!f || !f->config_path || !f->credentials_path) {
		aws_files_free(f);
		return err_set(e, ERR_NOMEM, "~/.aws");
	}
	if (read_file(f->config_path, &f->config, e) != 0 ||
	    read_file(f->credentials_path, &f->credentials, e) != 0 || name_sections(f, e) != 0) {
		aws_files_free(f);
		return -1;
	}
	*out = f;
	return 0;
}

int aws_files_parse(const char *config, const char *credentials, struct aws_files **out,
		    struct err *e)
{
	struct aws_files *f = mem_alloc(sizeof(*f));
	int result = 0;

	*out = NULL;
	if (f) {
		f->config_path = mem_strdup("config");
		f->credentials_path = mem_strdup("credentials");
	}
	if (!f || !f->config_path || !f->credentials_path)
		result = err_set(e, ERR_NOMEM, "~/.aws");
	if (result == 0 && config)
		result = ini_parse(config, strlen(config), "config", &f->config, e);
	if (result == 0 && credentials)
		result = ini_parse(credentials, strlen(credentials), "credentials", &f->credentials,
				   e);
	if (result == 0)
		result = name_sections(f, e);
	if (result != 0)
		aws_files_free(f);
	else
		*out = f;
	return result;
}

void aws_files_free(struct aws_files *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->count; i++)
		mem_free(f->named[i].name);
	mem_free(f->named);
	ini_free(f->config);
	ini_free(f->credentials);
	mem_free(f->config_path);
	mem_free(f->credentials_path);
	mem_free(f);
}

const char *aws_files_config_path(const struct aws_files *f)
{
	return f->config_path;
}

const char *aws_files_credentials_path(const struct aws_files *f)
{
	return f->credentials_path;
}

const struct ini *aws_files_config(const struct aws_files *f)
{
	return f->config;
}

const struct ini *aws_files_credentials(const struct aws_files *f)
{
	return f->credentials;
}

/* --- look-ups --- */

/* "[profile default]" wins over "[default]"; otherwise the last one counts. */
static const struct ini_section *config_section(const struct aws_files *f, enum kind kind,
						const char *name)
{
	const struct ini_section *found = NULL;
	bool bare = false;

	for (size_t i = 0; f && name && i < f->count; i++) {
		const struct named *at = &f->named[i];

		if (at->kind != kind || strcmp(at->name, name) != 0)
			continue;
		if (found && !bare && strcmp(at->section->name, "default") == 0)
			continue;
		found = at->section;
		bare = strcmp(found->name, "default") == 0;
	}
	return found;
}

const struct ini_section *aws_files_meant(const struct aws_files *f, const struct ini_section *s)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->named[i].section == s)
			return config_section(f, f->named[i].kind, f->named[i].name);
	return NULL;
}

static const char *value_of(const struct ini_section *s, const char *key)
{
	const struct ini_key *k = ini_key(s, key);

	return k && *k->value ? k->value : NULL;
}

const char *profile_name(const char *given, const char *const *env)
{
	if (!given || !*given)
		given = env_get(env, "AWS_PROFILE");
	if (!given)
		given = env_get(env, "AWS_DEFAULT_PROFILE");
	return given ? given : "default";
}

bool profile_exists(const struct aws_files *f, const char *profile)
{
	return config_section(f, KIND_PROFILE, profile) ||
	       (f && ini_section(f->credentials, profile));
}

const char *profile_get_config(const struct aws_files *f, const char *profile, const char *key)
{
	return value_of(config_section(f, KIND_PROFILE, profile), key);
}

const char *profile_get_credentials(const struct aws_files *f, const char *profile, const char *key)
{
	return f && profile ? value_of(ini_section(f->credentials, profile), key) : NULL;
}

bool profile_is_empty(const struct aws_files *f, const char *profile, const char *key,
		      bool in_credentials)
{
	const struct ini_section *s = in_credentials ? ini_section(f->credentials, profile)
						     : config_section(f, KIND_PROFILE, profile);
	const struct ini_key *k = ini_key(s, key);

	return k && !*k->value;
}

const char *profile_get(const struct aws_files *f, const char *profile, const char *key)
{
	const char *value = profile_get_credentials(f, profile, key);

	return value ? value : profile_get_config(f, profile, key);
}

const char *services_get(const struct aws_files *f, const char *name, const char *service,
			 const char *key)
{
	const struct ini_key *k = ini_key(config_section(f, KIND_SERVICES, name), service);
	const struct ini_section map = { .keys = k ? k->map : NULL, .count = k ? k->map_count : 0 };

	return value_of(&map, key);
}

const char *sso_session_get(const struct aws_files *f, const char *name, const char *key)
{
	return value_of(config_section(f, KIND_SSO_SESSION, name), key);
}

const char *profile_region(const struct aws_files *f, const char *profile, const char *given,
			   const char *const *env)
{
	if (!given || !*given)
		given = env_get(env, "AWS_REGION");
	if (!given)
		given = env_get(env, "AWS_DEFAULT_REGION");
	return given ? given : profile_get(f, profile, "region");
}

const char *profile_ca_file(const struct aws_files *f, const char *profile, const char *const *env)
{
	const char *file = env_get(env, "AWS_CA_BUNDLE");

	if (!file)
		file = profile_get(f, profile, "ca_bundle");
	return file ? file : env_get(env, "SSL_CERT_FILE");
}
