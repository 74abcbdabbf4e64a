/*
 * The order, for the profile that is meant (the first that applies wins):
 *
 *   environment keys (not when the profile was named explicitly)
 *   role_arn with source_profile or credential_source
 *   web identity    sso_*    keys in the credentials file    login_session
 *   credential_process    keys in the config file
 *   container    instance metadata
 *
 * A source profile that has keys of its own, or no role_arn, goes through the
 * middle of that list (web identity to config file); otherwise it is a role
 * itself. Profiles on the way are remembered: coming back to one is an error,
 * but for a profile that names itself and has keys.
 */
#include "credentials/plan.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/env.h"
#include "credentials/metadata.h"
#include "credentials/profile.h"
#include "credentials/sso_config.h"

enum { CHAIN_MAX = 16 };

struct maker {
	const struct aws_files *files;
	const char *const *env;
	bool explicit_profile;
	const char *visited[CHAIN_MAX];
	size_t depth;
	struct err *e;
};

/* 0 and *out == NULL: this step is not called for. */
typedef int step_fn(struct maker *, const char *profile, struct plan **out);

static int nomem(struct maker *m)
{
	return err_set(m->e, ERR_NOMEM, "credentials");
}

static struct plan *plan_new(struct maker *m, enum plan_step step, const char *profile)
{
	struct plan *p = mem_alloc(sizeof(*p));

	if (p) {
		p->step = step;
		p->profile = mem_strdup(profile);
	}
	if (!p || !p->profile) {
		(void)nomem(m);
		mem_free(p);
		return NULL;
	}
	return p;
}

/* Takes c. */
static int plan_static(struct maker *m, const char *profile, struct creds *c, struct plan **out)
{
	struct plan *p = plan_new(m, PLAN_STATIC, profile);

	if (!p) {
		creds_unref(c);
		return -1;
	}
	p->creds = c;
	*out = p;
	return 0;
}

/* --- the steps --- */

static int step_environment(struct maker *m, const char *profile, struct plan **out)
{
	struct creds *c;

	if (m->explicit_profile)
		return 0;
	if (env_creds(m->env, &c, m->e) != 0)
		return -1;
	return c ? plan_static(m, profile, c, out) : 0;
}

static bool has_keys(const struct maker *m, const char *profile)
{
	return profile_get(m->files, profile, "aws_access_key_id") != NULL;
}

static bool has_role(const struct maker *m, const char *profile)
{
	return profile_get(m->files, profile, "role_arn") &&
	       !profile_get(m->files, profile, "web_identity_token_file");
}

static bool names_container(const struct maker *m)
{
	return env_get(m->env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
	       env_get(m->env, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

static int make_source(struct maker *m, const char *profile, struct plan **out);

static int from_container(struct maker *m, const char *profile, struct plan **out)
{
	if (!names_container(m))
		return err_set(m->e, ERR_CREDS,
			       "profile '%.60s': credential_source is EcsContainer, but neither "
			       "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor ..._FULL_URI is set",
			       profile);
	*out = plan_new(m, PLAN_CONTAINER, profile);
	return *out ? 0 : -1;
}

static int from_instance(struct maker *m, const char *profile, struct plan **out)
{
	if (imds_disabled(m->env, m->files, profile))
		return err_set(m->e, ERR_CREDS,
			       "profile '%.60s': credential_source is Ec2InstanceMetadata, but "
			       "AWS_EC2_METADATA_DISABLED is true",
			       profile);
	*out = plan_new(m, PLAN_INSTANCE, profile);
	return *out ? 0 : -1;
}

static int from_credential_source(struct maker *m, const char *profile, const char *kind,
				  struct plan **out)
{
	struct creds *c;

	if (str_eq_nocase(kind, "EcsContainer"))
		return from_container(m, profile, out);
	if (str_eq_nocase(kind, "Ec2InstanceMetadata"))
		return from_instance(m, profile, out);
	if (!str_eq_nocase(kind, "Environment"))
		return err_set(m->e, ERR_CONFIG,
			       "profile '%.60s': credential_source '%.60s' is not Environment, "
			       "EcsContainer or Ec2InstanceMetadata",
			       profile, kind);
	if (env_creds(m->env, &c, m->e) != 0)
		return -1;
	if (!c)
		return err_set(m->e, ERR_CREDS,
			       "profile '%.60s': credential_source is Environment, but "
			       "AWS_ACCESS_KEY_ID is not set",
			       profile);
	return plan_static(m, profile, c, out);
}

static int from_source_profile(struct maker *m, const char *profile, const char *source,
			       struct plan **out)
{
	if (!profile_exists(m->files, source))
		return err_set(
			m->e, ERR_CONFIG,
			"profile '%.60s': its source_profile '%.60s' could not be found in %s "
			"or %s",
			profile, source, aws_files_config_path(m->files),
			aws_files_credentials_path(m->files));
	for (size_t i = 0; i < m->depth; i++)
		if (strcmp(m->visited[i], source) == 0 &&
		    (strcmp(source, profile) != 0 || !has_keys(m, source)))
			return err_set(m->e, ERR_CONFIG,
				       "profile '%.60s': its source_profile '%.60s' leads back to "
				       "where the chain came from",
				       profile, source);
	return make_source(m, source, out);
}

static int role_options(struct maker *m, const char *profile, struct plan *p)
{
	const char *external = profile_get(m->files, profile, "external_id");
	const char *session = profile_get(m->files, profile, "role_session_name");
	const char *duration = profile_get(m->files, profile, "duration_seconds");
	const char *serial = profile_get(m->files, profile, "mfa_serial");
	uint64_t seconds = 0;

	if (duration && str_number(duration, 900, 43200, &seconds, m->e) != 0) {
		if (m->e)
			m->e->code = ERR_CONFIG;
		return err_wrap(m->e, "profile '%.60s': duration_seconds", profile);
	}
	p->duration_s = (unsigned)seconds;
	p->role_arn = mem_strdup(profile_get(m->files, profile, "role_arn"));
	p->external_id = mem_strdup(external);
	p->session_name = mem_strdup(session);
	p->mfa_serial = mem_strdup(serial);
	if (!p->role_arn || (external && !p->external_id) || (session && !p->session_name) ||
	    (serial && !p->mfa_serial))
		return nomem(m);
	return 0;
}

static int step_role(struct maker *m, const char *profile, struct plan **out)
{
	const char *source = profile_get(m->files, profile, "source_profile");
	const char *kind = profile_get(m->files, profile, "credential_source");
	struct plan *p;
	int result;

	if (!has_role(m, profile))
		return 0;
	if (!source == !kind)
		return err_set(m->e, ERR_CONFIG,
			       "profile '%.60s': role_arn needs %s of source_profile and "
			       "credential_source",
			       profile, source ? "only one" : "one");
	if (m->depth == CHAIN_MAX)
		return err_set(m->e, ERR_CONFIG, "profile '%.60s': more than %d roles in a chain",
			       profile, CHAIN_MAX);
	m->visited[m->depth++] = profile;
	p = plan_new(m, PLAN_ROLE, profile);
	if (!p)
		return -1;
	result = role_options(m, profile, p);
	if (result == 0)
		result = source ? from_source_profile(m, profile, source, &p->source)
				: from_credential_source(m, profile, kind, &p->source);
	if (result != 0)
		plan_free(p);
	else
		*out = p;
	return result;
}

/* Of the environment (not when the profile was named explicitly, nor for a source) or the
 * profile: each of the three by itself, as the AWS CLI does it. */
static const char *web_option(const struct maker *m, const char *profile, const char *variable,
			      const char *key)
{
	bool environment = !m->explicit_profile && m->depth == 0;
	const char *value = environment ? env_get(m->env, variable) : NULL;

	return value ? value : profile_get(m->files, profile, key);
}

static int step_web_identity(struct maker *m, const char *profile, struct plan **out)
{
	const char *file = web_option(m, profile, "AWS_WEB_IDENTITY_TOKEN_FILE",
				      "web_identity_token_file");
	const char *arn = web_option(m, profile, "AWS_ROLE_ARN", "role_arn");
	const char *session = web_option(m, profile, "AWS_ROLE_SESSION_NAME", "role_session_name");
	struct plan *p;

	if (!file)
		return 0;
	if (!arn)
		return err_set(m->e, ERR_CONFIG,
			       "profile '%.60s': a web identity (%.100s) needs role_arn or "
			       "AWS_ROLE_ARN",
			       profile, file);
	p = plan_new(m, PLAN_WEB_IDENTITY, profile);
	if (!p)
		return -1;
	p->from_environment = file != profile_get(m->files, profile, "web_identity_token_file");
	p->token_file = mem_strdup(file);
	p->role_arn = mem_strdup(arn);
	p->session_name = mem_strdup(session);
	if (!p->token_file || !p->role_arn || (session && !p->session_name)) {
		plan_free(p);
		return nomem(m);
	}
	*out = p;
	return 0;
}

static int step_sso(struct maker *m, const char *profile, struct plan **out)
{
	struct sso_config config;

	if (!sso_configured(m->files, profile))
		return 0;
	if (sso_config(m->files, profile, true, &config, m->e) != 0)
		return -1;
	*out = plan_new(m, PLAN_SSO, profile);
	return *out ? 0 : -1;
}

typedef const char *get_fn(const struct aws_files *, const char *profile, const char *key);

/* `where`: of which file; `path` stands in messages. */
static int keys_of(struct maker *m, const char *profile, get_fn *get, const char *path,
		   const char *where, struct plan **out)
{
	const char *id = get(m->files, profile, "aws_access_key_id");
	const char *secret = get(m->files, profile, "aws_secret_access_key");
	const char *token = get(m->files, profile, "aws_security_token");
	const char *account = profile_get(m->files, profile, "aws_account_id");
	char source[200];
	struct creds *c;

	if (!id && profile_is_empty(m->files, profile, "aws_access_key_id",
				    get == profile_get_credentials))
		return err_set(m->e, ERR_CREDS,
			       "profile '%.60s' in %s has an empty aws_access_key_id: give it its "
			       "value, or remove it",
			       profile, path);
	if (!id)
		return 0;
	if (!secret)
		return err_set(m->e, ERR_CREDS,
			       "profile '%.60s' in %s has aws_access_key_id without "
			       "aws_secret_access_key",
			       profile, path);
	if (!token)
		token = get(m->files, profile, "aws_session_token");
	(void)str_fmt(source, sizeof(source), "profile %.100s (%s)", profile, where);
	c = creds_new(id, secret, token, 0, account, source, m->e);
	return c ? plan_static(m, profile, c, out) : -1;
}

static int step_credentials_file(struct maker *m, const char *profile, struct plan **out)
{
	return keys_of(m, profile, profile_get_credentials, aws_files_credentials_path(m->files),
		       "credentials file", out);
}

static int step_config_file(struct maker *m, const char *profile, struct plan **out)
{
	return keys_of(m, profile, profile_get_config, aws_files_config_path(m->files),
		       "config file", out);
}

static int step_login(struct maker *m, const char *profile, struct plan **out)
{
	if (!profile_get(m->files, profile, "login_session"))
		return 0;
	*out = plan_new(m, PLAN_LOGIN, profile);
	return *out ? 0 : -1;
}

static int step_process(struct maker *m, const char *profile, struct plan **out)
{
	const char *command = profile_get(m->files, profile, "credential_process");
	struct plan *p;

	if (!command)
		return 0;
	p = plan_new(m, PLAN_PROCESS, profile);
	if (!p)
		return -1;
	p->command = mem_strdup(command);
	if (!p->command) {
		plan_free(p);
		return nomem(m);
	}
	*out = p;
	return 0;
}

static int step_container(struct maker *m, const char *profile, struct plan **out)
{
	return names_container(m) ? from_container(m, profile, out) : 0;
}

/* --- the walk --- */

static int first_of(struct maker *m, step_fn *const *steps, const char *profile, struct plan **out)
{
	for (; *steps; steps++)
		if ((*steps)(m, profile, out) != 0 || *out)
			return *out ? 0 : -1;
	return 0;
}

static step_fn *const all_steps[] = {
	step_role,  step_web_identity, step_sso,         step_credentials_file,
	step_login, step_process,      step_config_file, step_container,
	NULL,
};
/* What a source profile may be, besides a role. */
static step_fn *const own_steps[] = {
	step_web_identity, step_sso, step_credentials_file, step_login, step_process,
	step_config_file,  NULL,
};

static int make_source(struct maker *m, const char *profile, struct plan **out)
{
	if (has_role(m, profile) && !has_keys(m, profile))
		return step_role(m, profile, out);
	if (first_of(m, own_steps, profile, out) != 0)
		return -1;
	if (*out)
		return 0;
	return err_set(m->e, ERR_CREDS,
		       "the source profile '%.60s' has no credentials: neither keys nor "
		       "credential_process nor role_arn",
		       profile);
}

/* The last step, which can only be tried; an error where even that is switched off. */
static int last_resort(struct maker *m, const char *profile, struct plan **out)
{
	struct err why;
	struct plan *p;

	(void)err_set(&why, ERR_CREDS,
		      "no AWS credentials for profile '%.60s': not in the environment, %.80s or "
		      "%.80s: run aws configure, or set AWS_PROFILE",
		      profile, aws_files_credentials_path(m->files),
		      aws_files_config_path(m->files));
	if (imds_disabled(m->env, m->files, profile)) {
		if (m->e)
			*m->e = why;
		return -1;
	}
	p = plan_new(m, PLAN_INSTANCE, profile);
	if (!p)
		return -1;
	p->otherwise = mem_strdup(why.msg);
	if (!p->otherwise) {
		plan_free(p);
		return nomem(m);
	}
	*out = p;
	return 0;
}

int plan_make(const struct plan_opts *o, struct plan **out, struct err *e)
{
	struct maker m = { .files = o->files,
			   .env = o->environ,
			   .explicit_profile = o->profile_explicit && o->profile,
			   .e = e };
	const char *profile = profile_name(o->profile, o->environ);
	bool named = o->profile || env_get(o->environ, "AWS_PROFILE") ||
		     env_get(o->environ, "AWS_DEFAULT_PROFILE");

	*out = NULL;
	if (named && !profile_exists(o->files, profile))
		return err_set(e, ERR_CREDS, "the profile '%.60s' could not be found in %s or %s",
			       profile, aws_files_config_path(o->files),
			       aws_files_credentials_path(o->files));
	if (step_environment(&m, profile, out) != 0 || *out)
		return *out ? 0 : -1;
	if (first_of(&m, all_steps, profile, out) != 0 || *out)
		return *out ? 0 : -1;
	return last_resort(&m, profile, out);
}

void plan_free(struct plan *p)
{
	while (p) {
		struct plan *source = p->source;

		creds_unref(p->creds);
		mem_free(p->profile);
		mem_free_str(p->command);
		mem_free(p->role_arn);
		mem_free_str(p->external_id);
		mem_free(p->session_name);
		mem_free(p->mfa_serial);
		mem_free(p->token_file);
		mem_free(p->otherwise);
		mem_free(p);
		p = source;
	}
}
