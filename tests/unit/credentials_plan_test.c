/* credentials/plan.c: the order of the chain, as a table of configurations. */
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/plan.h"
#include "credentials/profile.h"
#include "tests/support/cmocka_all.h"

/* "role A <- process cmd", "static KEY": what a plan says. */
static void tell(const struct plan *p, char *out, size_t size)
{
	size_t n = 0;

	for (; p; p = p->source, n = strlen(out)) {
		const char *lead = n ? " <- " : "";

		if (p->step == PLAN_STATIC)
			(void)str_fmt(out + n, size - n, "%s%s", lead, p->creds->access_key_id);
		else if (p->step == PLAN_SSO || p->step == PLAN_LOGIN)
			(void)str_fmt(out + n, size - n, "%s%s %s", lead,
				      p->step == PLAN_SSO ? "sso" : "login", p->profile);
		else if (p->step == PLAN_PROCESS)
			(void)str_fmt(out + n, size - n, "%s`%s`", lead, p->command);
		else if (p->step == PLAN_CONTAINER || p->step == PLAN_INSTANCE)
			(void)str_fmt(out + n, size - n, "%s%s", lead,
				      p->step == PLAN_CONTAINER ? "container" : "instance");
		else if (p->step == PLAN_WEB_IDENTITY)
			(void)str_fmt(out + n, size - n, "%sweb %s %s%s%s%s", lead, p->role_arn,
				      p->token_file, p->session_name ? " as=" : "",
				      p->session_name ? p->session_name : "",
				      p->from_environment ? " env" : "");
		else
			(void)str_fmt(
				out + n, size - n, "%srole %s%s%s%s%s%s%s", lead, p->role_arn,
				p->external_id ? " ext=" : "", p->external_id ? p->external_id : "",
				p->session_name ? " as=" : "",
				p->session_name ? p->session_name : "",
				p->mfa_serial ? " mfa=" : "", p->mfa_serial ? p->mfa_serial : "");
	}
}

static const char config[] =
	"[default]\nregion = x\n"
	"[profile conf]\naws_access_key_id = CONF\naws_secret_access_key = s\n"
	"[profile both]\naws_access_key_id = CONF\naws_secret_access_key = s\n"
	"[profile proc]\ncredential_process = run it\naws_access_key_id = CONF\n"
	"aws_secret_access_key = s\n"
	"[profile halfconf]\naws_access_key_id = CONF\n"
	"[profile role]\nrole_arn = R1\nsource_profile = both\n"
	"[profile roleproc]\nrole_arn = R2\nsource_profile = proc2\nexternal_id = x\n"
	"role_session_name = me\nduration_seconds = 900\n"
	"[profile proc2]\ncredential_process = p2 \"a b\"\n"
	"[profile chain]\nrole_arn = R3\nsource_profile = role\n"
	"[profile self]\nrole_arn = R4\nsource_profile = self\naws_access_key_id = SELF\n"
	"aws_secret_access_key = s\n"
	"[profile selfbare]\nrole_arn = R4\nsource_profile = selfbare\n"
	"[profile onkeyed]\nrole_arn = R5\nsource_profile = keyedrole\n"
	"[profile keyedrole]\nrole_arn = R6\nsource_profile = nowhere\naws_access_key_id = KEYED\n"
	"aws_secret_access_key = s\n"
	"[profile a]\nrole_arn = RA\nsource_profile = b\n"
	"[profile b]\nrole_arn = RB\nsource_profile = a\n"
	"[profile envrole]\nrole_arn = R7\ncredential_source = environment\n"
	"[profile ec2role]\nrole_arn = R7\ncredential_source = Ec2InstanceMetadata\n"
	"[profile ecsrole]\nrole_arn = R7\ncredential_source = EcsContainer\n"
	"[profile oddrole]\nrole_arn = R7\ncredential_source = Moon\n"
	"[profile norole]\nrole_arn = R7\n"
	"[profile tworole]\nrole_arn = R7\ncredential_source = Environment\nsource_profile = both\n"
	"[profile lostrole]\nrole_arn = R7\nsource_profile = gone\n"
	"[profile emptysource]\nrole_arn = R7\nsource_profile = default\n"
	"[profile mfa]\nrole_arn = R7\nsource_profile = both\nmfa_serial = m\n"
	"[profile badtime]\nrole_arn = R7\nsource_profile = both\nduration_seconds = 60\n"
	"[profile web]\nrole_arn = R7\nweb_identity_token_file = /t\n"
	"[profile onweb]\nrole_arn = R8\nsource_profile = web\n"
	"[profile webless]\nweb_identity_token_file = /t\n"
	"[profile corp]\nsso_session = s\nsso_account_id = 1\nsso_role_name = Dev\n"
	"credential_process = never\n"
	"[profile oldsso]\nsso_start_url = u\nsso_region = r\nsso_account_id = 1\n"
	"sso_role_name = Dev\n"
	"[profile onsso]\nrole_arn = R7\nsource_profile = corp\n"
	"[profile login]\nlogin_session = arn\n"
	"[profile plainsso]\nsso_session = s\n"
	"[sso-session s]\nsso_start_url = u\nsso_region = r\n"
	"[profile lostsso]\nsso_session = gone\nsso_account_id = 1\nsso_role_name = Dev\n"
	"[profile halfsso]\nsso_start_url = u\nsso_account_id = 1\nsso_role_name = Dev\n"
	"[profile rolelesssso]\nsso_session = s\nsso_account_id = 1\n"
	"[profile twosso]\nsso_session = s\nsso_account_id = 1\nsso_role_name = Dev\n"
	"sso_region = other\n"
	"[profile samesso]\nsso_session = s\nsso_account_id = 1\nsso_role_name = Dev\n"
	"sso_region = r\n";
static const char credentials[] =
	"[default]\naws_access_key_id = DEF\naws_secret_access_key = s\n"
	"[both]\naws_access_key_id = CRED\naws_secret_access_key = s\naws_session_token = t\n"
	"[half]\naws_access_key_id = CRED\n"
	"[credproc]\ncredential_process = from credentials\n"
	"[login2]\naws_access_key_id = CRED2\naws_secret_access_key = s\nlogin_session = arn\n";

#define KEYS "AWS_ACCESS_KEY_ID=ENV", "AWS_SECRET_ACCESS_KEY=s"

static const struct {
	const char *name, *profile;
	bool explicit_profile;
	const char *environ[5];
	enum err_code code; /* ERR_NONE: want is the plan; otherwise part of the message */
	const char *want;
} cases[] = {
	{ "default profile", NULL, false, { NULL }, ERR_NONE, "DEF" },
	{ "environment first", NULL, false, { KEYS }, ERR_NONE, "ENV" },
	{ "environment beats AWS_PROFILE",
	  NULL,
	  false,
	  { KEYS, "AWS_PROFILE=both" },
	  ERR_NONE,
	  "ENV" },
	/* as the AWS CLI: the profile is looked for first */
	{ "an unknown AWS_PROFILE stops",
	  NULL,
	  false,
	  { KEYS, "AWS_PROFILE=gone" },
	  ERR_CREDS,
	  "'gone' could not be found" },
	{ "explicit profile beats environment", "both", true, { KEYS }, ERR_NONE, "CRED" },
	{ "half an environment stops",
	  NULL,
	  false,
	  { "AWS_ACCESS_KEY_ID=ENV" },
	  ERR_CREDS,
	  "without AWS_SECRET_ACCESS_KEY" },
	{ "half an environment, explicit profile",
	  "both",
	  true,
	  { "AWS_ACCESS_KEY_ID=ENV" },
	  ERR_NONE,
	  "CRED" },
	{ "AWS_PROFILE", NULL, false, { "AWS_PROFILE=conf" }, ERR_NONE, "CONF" },
	{ "unknown AWS_PROFILE",
	  NULL,
	  false,
	  { "AWS_PROFILE=gone" },
	  ERR_CREDS,
	  "'gone' could not be found" },
	{ "unknown explicit", "gone", true, { KEYS }, ERR_CREDS, "'gone' could not be found" },
	{ "credentials file before config file", "both", true, { NULL }, ERR_NONE, "CRED" },
	{ "credential_process before config keys", "proc", true, { NULL }, ERR_NONE, "`run it`" },
	{ "credential_process in the credentials file",
	  "credproc",
	  true,
	  { NULL },
	  ERR_NONE,
	  "`from credentials`" },
	{ "half a pair in credentials",
	  "half",
	  true,
	  { NULL },
	  ERR_CREDS,
	  "aws_secret_access_key" },
	{ "half a pair in config", "halfconf", true, { NULL }, ERR_CREDS, "aws_secret_access_key" },
	{ "role", "role", true, { NULL }, ERR_NONE, "role R1 <- CRED" },
	{ "role on process",
	  "roleproc",
	  true,
	  { NULL },
	  ERR_NONE,
	  "role R2 ext=x as=me <- `p2 \"a b\"`" },
	{ "chain", "chain", true, { NULL }, ERR_NONE, "role R3 <- role R1 <- CRED" },
	{ "source ignores the environment",
	  NULL,
	  false,
	  { "AWS_PROFILE=role" },
	  ERR_NONE,
	  "role R1 <- CRED" },
	{ "itself as source", "self", true, { NULL }, ERR_NONE, "role R4 <- SELF" },
	{ "itself without keys", "selfbare", true, { NULL }, ERR_CONFIG, "leads back" },
	{ "source with keys: its role is ignored",
	  "onkeyed",
	  true,
	  { NULL },
	  ERR_NONE,
	  "role R5 <- KEYED" },
	{ "cycle", "a", true, { NULL }, ERR_CONFIG, "leads back" },
	{ "environment as source", "envrole", true, { KEYS }, ERR_NONE, "role R7 <- ENV" },
	{ "environment as source, empty", "envrole", true, { NULL }, ERR_CREDS, "is not set" },
	{ "instance as source", "ec2role", true, { NULL }, ERR_NONE, "role R7 <- instance" },
	{ "instance as source, switched off",
	  "ec2role",
	  true,
	  { "AWS_EC2_METADATA_DISABLED=True" },
	  ERR_CREDS,
	  "AWS_EC2_METADATA_DISABLED is true" },
	{ "container as source",
	  "ecsrole",
	  true,
	  { "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x" },
	  ERR_NONE,
	  "role R7 <- container" },
	{ "container as source, none named",
	  "ecsrole",
	  true,
	  { NULL },
	  ERR_CREDS,
	  "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor" },
	{ "odd source", "oddrole", true, { NULL }, ERR_CONFIG, "'Moon'" },
	{ "no source", "norole", true, { NULL }, ERR_CONFIG, "needs one of" },
	{ "two sources", "tworole", true, { NULL }, ERR_CONFIG, "only one of" },
	{ "source not there", "lostrole", true, { NULL }, ERR_CONFIG, "'gone' could not be found" },
	{ "source is a credentials-file default",
	  "emptysource",
	  true,
	  { NULL },
	  ERR_NONE,
	  "role R7 <- DEF" },
	{ "one-time password", "mfa", true, { NULL }, ERR_NONE, "role R7 mfa=m <- CRED" },
	{ "duration too short", "badtime", true, { NULL }, ERR_CONFIG, "duration_seconds" },
	{ "web identity", "web", true, { NULL }, ERR_NONE, "web R7 /t" },
	{ "web identity as source", "onweb", true, { NULL }, ERR_NONE, "role R8 <- web R7 /t" },
	{ "web identity without a role", "webless", true, { NULL }, ERR_CONFIG, "needs role_arn" },
	{ "web identity by environment, before the file's keys",
	  NULL,
	  false,
	  { "AWS_WEB_IDENTITY_TOKEN_FILE=/e", "AWS_ROLE_ARN=r", "AWS_ROLE_SESSION_NAME=me" },
	  ERR_NONE,
	  "web r /e as=me env" },
	{ "web identity by environment without a role",
	  NULL,
	  false,
	  { "AWS_WEB_IDENTITY_TOKEN_FILE=/e" },
	  ERR_CONFIG,
	  "AWS_ROLE_ARN" },
	{ "web identity: the environment's file, the profile's role",
	  NULL,
	  false,
	  { "AWS_PROFILE=web", "AWS_WEB_IDENTITY_TOKEN_FILE=/e" },
	  ERR_NONE,
	  "web R7 /e env" },
	{ "web identity of the environment is no source's",
	  NULL,
	  false,
	  { "AWS_PROFILE=role", "AWS_WEB_IDENTITY_TOKEN_FILE=/e", "AWS_ROLE_ARN=r" },
	  ERR_NONE,
	  "role R1 <- CRED" },
	{ "keys before the container",
	  NULL,
	  false,
	  { "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://localhost/" },
	  ERR_NONE,
	  "DEF" },
	{ "container before the instance",
	  "plainsso",
	  true,
	  { "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://localhost/" },
	  ERR_NONE,
	  "container" },
	{ "instance as the last", "plainsso", true, { NULL }, ERR_NONE, "instance" },
	{ "web identity of the environment, explicit profile",
	  "both",
	  true,
	  { "AWS_WEB_IDENTITY_TOKEN_FILE=/t" },
	  ERR_NONE,
	  "CRED" },
	{ "sso session, before credential_process", "corp", true, { NULL }, ERR_NONE, "sso corp" },
	{ "legacy sso", "oldsso", true, { NULL }, ERR_NONE, "sso oldsso" },
	{ "sso as source", "onsso", true, { NULL }, ERR_NONE, "role R7 <- sso corp" },
	{ "no such session", "lostsso", true, { NULL }, ERR_CONFIG, "no [sso-session gone]" },
	{ "half of sso", "halfsso", true, { NULL }, ERR_CONFIG, "sso_region is missing" },
	{ "sso without a role", "rolelesssso", true, { NULL }, ERR_CONFIG, "sso_role_name" },
	{ "said twice", "twosso", true, { NULL }, ERR_CONFIG, "differ in sso_region" },
	{ "said twice alike", "samesso", true, { NULL }, ERR_NONE, "sso samesso" },
	{ "sso session alone gives no credentials",
	  "plainsso",
	  true,
	  { "AWS_EC2_METADATA_DISABLED=true" },
	  ERR_CREDS,
	  "no AWS credentials" },
	{ "login", "login", true, { NULL }, ERR_NONE, "login login" },
	{ "credentials keys before login", "login2", true, { NULL }, ERR_NONE, "CRED2" },
};

static void chooses(void **state)
{
	struct aws_files *f;

	(void)state;
	assert_int_equal(aws_files_parse(config, credentials, &f, NULL), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct plan *p;
		struct err e = { 0 };
		char text[512] = "";
		int result = plan_make(
			&(struct plan_opts){ .files = f,
					     .environ = cases[i].environ,
					     .profile = cases[i].profile,
					     .profile_explicit = cases[i].explicit_profile },
			&p, &e);

		print_message("%s %s\n", cases[i].name, e.msg);
		assert_int_equal(e.code, cases[i].code);
		assert_int_equal(result, cases[i].code == ERR_NONE ? 0 : -1);
		tell(p, text, sizeof(text));
		if (result == 0)
			assert_string_equal(text, cases[i].want);
		else
			assert_non_null(strstr(e.msg, cases[i].want));
		plan_free(p);
	}
	aws_files_free(f);
}

static void without_files(void **state)
{
	struct aws_files *f;
	struct plan *p;
	struct err e = { 0 };
	const char *disabled[] = { "AWS_EC2_METADATA_DISABLED=true", NULL };
	const char *container[] = { "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://localhost/", NULL };

	(void)state;
	assert_int_equal(aws_files_parse(NULL, NULL, &f, NULL), 0);
	assert_int_equal(plan_make(&(struct plan_opts){ .files = f }, &p, &e), 0);
	assert_int_equal(p->step, PLAN_INSTANCE);
	assert_non_null(strstr(p->otherwise, "no AWS credentials"));
	plan_free(p);
	assert_int_equal(plan_make(&(struct plan_opts){ .files = f, .environ = disabled }, &p, &e),
			 -1);
	assert_int_equal(e.code, ERR_CREDS);
	assert_non_null(strstr(e.msg, "aws configure"));
	assert_int_equal(plan_make(&(struct plan_opts){ .files = f, .environ = container }, &p, &e),
			 0);
	assert_int_equal(p->step, PLAN_CONTAINER);
	plan_free(p);
	aws_files_free(f);
}

static void keeps_details(void **state)
{
	struct aws_files *f;
	struct plan *p;

	(void)state;
	assert_int_equal(aws_files_parse(config, credentials, &f, NULL), 0);
	assert_int_equal(
		plan_make(&(struct plan_opts){ .files = f, .profile = "roleproc" }, &p, NULL), 0);
	assert_int_equal(p->duration_s, 900);
	assert_string_equal(p->source->profile, "proc2");
	plan_free(p);
	assert_int_equal(plan_make(&(struct plan_opts){ .files = f, .profile = "both" }, &p, NULL),
			 0);
	assert_string_equal(p->creds->session_token.text, "t");
	assert_string_equal(p->creds->source, "profile both (credentials file)");
	plan_free(p);
	aws_files_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chooses),
		cmocka_unit_test(without_files),
		cmocka_unit_test(keeps_details),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
