/*
 * Packages of Debian whose digests stand here, for systems without apt, and for processors that
 * the system's apt does not know. A package leaves the archive when a newer one replaces it;
 * snapshot.debian.org keeps all. To bring it up to date:
 *
 *     apt-cache show linux-image-cloud-amd64 | grep ^Depends
 *     apt-cache show linux-image-VERSION-cloud-amd64 | grep -E '^(Filename|SHA256)'
 */
#include <string.h>

#include "base/str.h"
#include "cmd/awsocks/vm_fetch.h"
#include "vm/program.h"

enum { LIMIT_MS = 20 * 60 * 1000 };

static const struct pinned {
	const char *arch, *path, *file, *sha256;
} table[] = {
	{ "x86_64", "pool/updates/main/l/linux-signed-amd64",
	  "linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb",
	  "e7d02b943971edcb8790e256c02cfab3bca6c3d37c1bf25392a57c71300615ee" },
	{ "aarch64", "pool/updates/main/l/linux-signed-arm64",
	  "linux-image-6.1.0-56-cloud-arm64_6.1.192-2_arm64.deb",
	  "481ab54a27246579aadeb372315c56de02f2fe0cba4e09b387946269fff2f415" },
};

static const char *const archives[] = {
	"https://deb.debian.org/debian-security",
	"https://snapshot.debian.org/archive/debian-security/20261122T000000Z",
};

static const struct pinned *pinned_for(const struct fetch *f)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (strcmp(table[i].arch, f->arch) == 0)
			return &table[i];
	return NULL;
}

int fetch_pinned_find(struct fetch *f, struct err *e)
{
	const struct pinned *p = pinned_for(f);

	if (!p)
		return err_set(e, ERR_UNSUPPORTED, "this program knows no kernel package for %s",
			       f->arch);
	(void)str_fmt(f->digest, sizeof(f->digest), "%s", p->sha256);
	(void)str_fmt(f->source, sizeof(f->source), "%s (Debian's archive)", p->file);
	return 0;
}

static int get(const char *archive, const struct pinned *p, const char *to, struct err *e)
{
	char url[512];
	const char *const argv[] = { "curl",       "--fail",
				     "--silent",   "--show-error",
				     "--location", "--max-redirs",
				     "5",          "--proto",
				     "=https",     "--connect-timeout",
				     "20",         "--speed-limit",
				     "1000",       "--speed-time",
				     "60",         "--max-filesize",
				     "200000000",  "--output",
				     to,           "--url",
				     url,          NULL };
	const struct program curl = { .argv = argv, .limit_ms = LIMIT_MS };

	if (!str_fmt(url, sizeof(url), "%s/%s/%s", archive, p->path, p->file))
		return err_set(e, ERR_INTERNAL, "address too long");
	if (program_run(&curl, e) != 0)
		return err_wrap(e, "%.40s", archive);
	return 0;
}

int fetch_pinned_get(struct fetch *f, struct err *e)
{
	const struct pinned *p = pinned_for(f);
	char to[PATH_TEXT];
	int rc = -1;

	if (!p || fetch_path(f, p->file, to, e) != 0)
		return -1;
	for (size_t i = 0; rc != 0 && i < sizeof(archives) / sizeof(*archives); i++) {
		rc = get(archives[i], p, to, e);
		if (rc != 0 && e->code == ERR_UNSUPPORTED)
			return -1;
		if (rc == 0 && fetch_check(to, p->sha256, e) != 0)
			rc = -1;
	}
	if (rc != 0)
		return -1;
	(void)str_fmt(f->debs[0], PATH_TEXT, "%s", to);
	f->count = 1;
	return 0;
}
