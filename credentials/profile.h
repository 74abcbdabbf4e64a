#ifndef CREDENTIALS_PROFILE_H
#define CREDENTIALS_PROFILE_H
/*
 * The two files of ~/.aws read and joined: profiles, sso-sessions, services;
 * which profile and which region are meant. Rules: those of the AWS CLI v2.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct aws_files;
struct ini;
struct ini_section;

/* Where the files are: AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE ("~/" is the
 * home), otherwise ~/.aws/config and ~/.aws/credentials. A file that does not exist is
 * an empty one. Blocking (two small files): at start, or on the thread pool.
 * *out is the caller's. ERR_CONFIG with file:line, ERR_IO: cannot be read. */
MUST_CHECK int aws_files_load(const char *const *env, struct aws_files **out, struct err *);
/* The same from texts (tests); NULL: no such file. */
MUST_CHECK int aws_files_parse(const char *config, const char *credentials, struct aws_files **out,
			       struct err *);
void aws_files_free(struct aws_files *); /* NULL allowed */
const char *aws_files_config_path(const struct aws_files *);
const char *aws_files_credentials_path(const struct aws_files *);
const struct ini *aws_files_config(const struct aws_files *);      /* for their warnings */
const struct ini *aws_files_credentials(const struct aws_files *); /* NULL: no file */

/* The section that counts instead of this one of config; itself: it does. NULL: none, it means
 * nothing to AWS's tools. */
const struct ini_section *aws_files_meant(const struct aws_files *, const struct ini_section *);
/* What stands in the files and does not count, or counts otherwise for others (their readers'
 * warnings, too). text: until return. For `awsocks check`. */
typedef void aws_files_warn_fn(void *arg, const char *path, unsigned line, const char *text);
void aws_files_warn(const struct aws_files *, aws_files_warn_fn *, void *arg);

/* The path in environment variable `name` (NULL: in none), or `standard`, which begins with "~/";
 * "~/" becomes the home. The caller's (mem_free); NULL: out of memory. */
char *aws_path(const char *const *env, const char *name, const char *standard);

/* `given` if not NULL, else AWS_PROFILE, AWS_DEFAULT_PROFILE, "default". */
const char *profile_name(const char *given, const char *const *env);
bool profile_exists(const struct aws_files *, const char *profile);

/* A profile's key; NULL: not there, or empty. The credentials file wins. `files` may be
 * NULL. The text lives as long as the files. */
const char *profile_get(const struct aws_files *, const char *profile, const char *key);
const char *profile_get_config(const struct aws_files *, const char *profile, const char *key);
/* Whether the key stands in the credentials file (otherwise config) without a value. */
bool profile_is_empty(const struct aws_files *, const char *profile, const char *key,
		      bool in_credentials);
const char *profile_get_credentials(const struct aws_files *, const char *profile, const char *key);
/* [services NAME], `service =`, its `key`. */
const char *services_get(const struct aws_files *, const char *name, const char *service,
			 const char *key);
const char *sso_session_get(const struct aws_files *, const char *name, const char *key);

/* `given`, AWS_REGION, AWS_DEFAULT_REGION, the profile's region (another profile's, and
 * [default]'s, do not count); NULL: none of them says. */
const char *profile_region(const struct aws_files *, const char *profile, const char *given,
			   const char *const *env);
/* The file of trusted certificates for AWS: AWS_CA_BUNDLE, the profile's ca_bundle,
 * SSL_CERT_FILE; NULL: the system's. */
const char *profile_ca_file(const struct aws_files *, const char *profile, const char *const *env);
#endif
