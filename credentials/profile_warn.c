/* What to say of ~/.aws beyond what its reader says: sections that do not count. */
#include <string.h>

#include "base/str.h"
#include "credentials/ini.h"
#include "credentials/profile.h"

struct teller {
	const struct aws_files *files;
	aws_files_warn_fn *fn;
	void *arg;
	const char *path;
};

static void tell_reader(const struct teller *t, const struct ini *ini)
{
	for (size_t i = 0; ini && i < ini->warning_count; i++)
		t->fn(t->arg, t->path, ini->warnings[i].line, ini->warnings[i].text);
}

/* Its first word is one of the kinds that config has, or it is for other programs. */
static bool is_kind(const char *name, bool *others)
{
	static const char *const kinds[] = { "profile", "sso-session", "services" };
	static const char *const other[] = { "plugins", "preview" };
	size_t n = strcspn(name, " \t");

	for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++)
		*others = *others || strcmp(name, other[i]) == 0;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strncmp(name, kinds[i], n) == 0 && !kinds[i][n])
			return true;
	return false;
}

static void tell_ignored(const struct teller *t, const struct ini_section *s)
{
	bool others = false, kind = is_kind(s->name, &others);
	char text[300];

	if (others)
		return;
	if (kind)
		(void)str_fmt(text, sizeof(text),
			      "[%.60s] is ignored: one name has to follow, in quotes if it has "
			      "blanks or quotes",
			      s->name);
	else
		(void)str_fmt(text, sizeof(text),
			      "[%.60s] is ignored: in this file a profile is [profile %.60s]",
			      s->name, s->name);
	t->fn(t->arg, t->path, s->line, text);
}

static void tell_config(const struct teller *t, const struct ini *ini)
{
	char text[300];

	for (size_t i = 0; ini && i < ini->count; i++) {
		const struct ini_section *s = &ini->sections[i];
		const struct ini_section *meant = aws_files_meant(t->files, s);

		if (!meant) {
			tell_ignored(t, s);
		} else if (meant != s) {
			(void)str_fmt(text, sizeof(text),
				      "[%.60s] does not count: [%.60s] in line %u means the same",
				      s->name, meant->name, meant->line);
			t->fn(t->arg, t->path, s->line, text);
		}
	}
}

static void tell_credentials(const struct teller *t, const struct ini *ini)
{
	char text[300];

	for (size_t i = 0; ini && i < ini->count; i++) {
		const struct ini_section *s = &ini->sections[i];

		if (!str_starts(s->name, "profile "))
			continue;
		(void)str_fmt(text, sizeof(text),
			      "[%.60s] is a profile of that whole name: in this file it is [%.60s]",
			      s->name, s->name + strlen("profile "));
		t->fn(t->arg, t->path, s->line, text);
	}
}

void aws_files_warn(const struct aws_files *f, aws_files_warn_fn *fn, void *arg)
{
	struct teller t = { f, fn, arg, aws_files_config_path(f) };

	tell_reader(&t, aws_files_config(f));
	tell_config(&t, aws_files_config(f));
	t.path = aws_files_credentials_path(f);
	tell_reader(&t, aws_files_credentials(f));
	tell_credentials(&t, aws_files_credentials(f));
}
