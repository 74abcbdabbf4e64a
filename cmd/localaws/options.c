#include "cmd/localaws/options.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/localaws/version.h"

/* 4566 is where people's tools look for a local AWS. */
#define LISTEN_DEFAULT "127.0.0.1:4566"
#define AGENT_DEFAULT  "3.3.1142.0"
/* The key of AWS's own documentation: nobody takes it for a real one. */
#define KEY_ID_DEFAULT   "AKIAIOSFODNN7EXAMPLE"
#define SECRET_DEFAULT   "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define INSTANCE_DEFAULT "id=i-0123456789abcdef0,name=demo,state=running"
enum { IDLE_DEFAULT_S = 20 * 60 };

typedef int set_fn(struct options *, const char *value, struct err *);

static int set_listen(struct options *o, const char *v, struct err *e)
{
	if (addr_parse(v, &o->listen, e) != 0)
		return -1;
	if (!addr_is_loopback(&o->listen) || o->listen.ss.ss_family == AF_UNIX)
		return err_set(e, ERR_USAGE,
			       "%s is not a loopback address; the emulator serves "
			       "nobody else",
			       v);
	return 0;
}

static int set_ready_file(struct options *o, const char *v, struct err *e)
{
	(void)e;
	o->ready_file = v;
	return 0;
}

static int set_state_dir(struct options *o, const char *v, struct err *e)
{
	(void)e;
	o->state_dir = v;
	return 0;
}

static int set_authorized_keys(struct options *o, const char *v, struct err *e)
{
	(void)e;
	o->authorized_keys = v;
	return 0;
}

static int set_region(struct options *o, const char *v, struct err *e)
{
	(void)e;
	o->region = v;
	return 0;
}

static int set_agent_version(struct options *o, const char *v, struct err *e)
{
	o->agent_version = v;
	return version_four_numbers(v) ? 0
				       : err_set(e, ERR_USAGE, "'%.40s' is not four numbers", v);
}

static bool has_account(const struct options *o, const char *id)
{
	for (size_t i = 0; i < o->accounts; i++)
		if (strcmp(o->account[i], id) == 0)
			return true;
	return strcmp(id, KEYS_ACCOUNT) == 0;
}

static int set_account(struct options *o, const char *v, struct err *e)
{
	if (strlen(v) != ACCOUNT_TEXT - 1 || strspn(v, "0123456789") != ACCOUNT_TEXT - 1)
		return err_set(e, ERR_USAGE, "'%.40s' is not 12 digits", v);
	if (has_account(o, v))
		return err_set(e, ERR_USAGE, "%s is there already", v);
	if (o->accounts == ACCOUNTS_MAX)
		return err_set(e, ERR_USAGE, "more than %d accounts", ACCOUNTS_MAX);
	(void)str_fmt(o->account[o->accounts++], ACCOUNT_TEXT, "%s", v);
	return 0;
}

static int set_instance(struct options *o, const char *v, struct err *e)
{
	return instances_add(&o->instances, v, e);
}

static int set_resolve(struct options *o, const char *v, struct err *e)
{
	return names_add(&o->names, v, e);
}

static int set_fault(struct options *o, const char *v, struct err *e)
{
	return faults_set(&o->faults, v, e);
}

static int set_throttle(struct options *o, const char *v, struct err *e)
{
	if (strcmp(v, "none") == 0) {
		o->throttle = THROTTLE_NONE;
		return 0;
	}
	if (strcmp(v, "agent") == 0) {
		o->throttle = THROTTLE_AGENT;
		return 0;
	}
	o->throttle = THROTTLE_RATE;
	return str_number(v, 1, 1u << 30, &o->throttle_rate, e);
}

static int set_page_size(struct options *o, const char *v, struct err *e)
{
	uint64_t n;

	if (str_number(v, 1, 1000, &n, e) != 0)
		return -1;
	o->page_size = (size_t)n;
	return 0;
}

static int set_idle(struct options *o, const char *v, struct err *e)
{
	uint64_t n;

	if (str_number(v, 1, 86400, &n, e) != 0)
		return -1;
	o->idle_ms = n * 1000;
	return 0;
}

/* SERIAL=CODE: serials are ARNs or numbers of devices, without '='. */
static int set_mfa(struct options *o, const char *v, struct err *e)
{
	const char *eq = strchr(v, '=');

	if (!eq || strlen(eq + 1) != 6 || strspn(eq + 1, "0123456789") != 6 ||
	    !str_fmt(o->mfa_text, sizeof(o->mfa_text), "%s", v))
		return err_set(e, ERR_USAGE, "'%.80s' is not SERIAL=CODE with six digits", v);
	o->mfa_text[eq - v] = '\0';
	o->mfa_serial = o->mfa_text;
	o->mfa_code = o->mfa_text + (eq - v) + 1;
	return 0;
}

static int set_container_token(struct options *o, const char *v, struct err *e)
{
	(void)e;
	o->container_token = v;
	return 0;
}

static int set_log_level(struct options *o, const char *v, struct err *e)
{
	(void)o;
	return log_set_level(v, e);
}

static const struct {
	const char *name, *arg;
	set_fn *set;
	const char *help;
} valued[] = {
	{ "listen", "ADDR:PORT", set_listen,
	  "loopback address; port 0 takes a free one (" LISTEN_DEFAULT ")" },
	{ "ready-file", "FILE", set_ready_file, "written when it listens: one JSON object" },
	{ "state-dir", "DIR", set_state_dir,
	  "where the CA certificate goes (beside the ready file)" },
	{ "authorized-keys", "FILE", set_authorized_keys,
	  "keys given to EC2 Instance Connect, for 60 s each: for an sshd" },
	{ "region", "REGION", set_region, "refuse signatures for another one (any is taken)" },
	{ "account", "ID", set_account,
	  "repeatable: another account besides " KEYS_ACCOUNT ", whose keys are made and stand in "
	  "the ready file" },
	{ "instance",
	  "id=ID[,name=N][,state=S][,ip=A][,zone=Z][,asg=G][,account=ID][,region=R][,tag:K=V]",
	  set_instance, "repeatable (" INSTANCE_DEFAULT "); region: seen in that one alone" },
	{ "resolve", "[ACCOUNT/]NAME[:PORT]=ADDR[:PORT]", set_resolve,
	  "repeatable: the VPC's names, as the agent sees them" },
	{ "throttle", "agent|none|BYTES_PER_S", set_throttle,
	  "how fast an agent sends (none); agent: 1024 bytes, 1 ms" },
	{ "agent-version", "A.B.C.D", set_agent_version, "which agent to be (" AGENT_DEFAULT ")" },
	{ "page-size", "N", set_page_size, "at most N entries to a page of a list" },
	{ "idle-timeout", "SECONDS", set_idle, "of a session without input (1200)" },
	{ "mfa", "SERIAL=CODE", set_mfa,
	  "a user's AssumeRole needs this device's code (none is asked for)" },
	{ "container-token", "TEXT", set_container_token,
	  "what /v1/credentials wants for Authorization (localaws)" },
	{ "fault", "NAME[=VALUE]", set_fault,
	  "repeatable, see below; also POST /_localaws/faults" },
	{ "log-level", "LEVEL[,AREA=LEVEL]", set_log_level, "error, warn, info, debug (info)" },
};

static const struct {
	const char *name;
	size_t offset;
	const char *help;
} switches[] = {
	{ "tls", offsetof(struct options, tls), "HTTPS and WSS, with a CA of its own" },
	{ "print-env", offsetof(struct options, print_env),
	  "print what to export, when it listens" },
	{ "require-signed-ws", offsetof(struct options, require_signed_ws),
	  "refuse an unsigned data channel" },
	{ "resolve-system", offsetof(struct options, resolve_system),
	  "names that are not in the table are asked of the system" },
	{ "allow-dial", offsetof(struct options, allow_dial),
	  "agents may connect to other addresses than loopback" },
	{ "help", offsetof(struct options, help), "" },
	{ "version", offsetof(struct options, version), "" },
};

void options_help(void)
{
	printf("awsocks-localaws: EC2, STS, SSM and Session Manager on loopback, with an agent "
	       "that "
	       "really connects\n\n");
	for (size_t i = 0; i < sizeof(valued) / sizeof(valued[0]); i++)
		printf("  --%s %s\n        %s\n", valued[i].name, valued[i].arg, valued[i].help);
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
		printf("  --%s\n        %s\n", switches[i].name, switches[i].help);
	printf("\nfaults (VALUE in the unit named; lose, repeat, reorder set both directions; "
	       "those with * also\nas NAME:WHERE, for one operation or service: "
	       "throttle-api:StartSession=2, clock-skew:ec2=600):\n");
	for (size_t i = 0; i < FAULT_COUNT; i++)
		printf("  %-21s%c %s\n", fault_rows[i].name,
		       faults_may_be_part((enum fault_id)i) ? '*' : ' ', fault_rows[i].help);
}

static bool set_switch(struct options *o, const char *name)
{
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
		if (strcmp(name, switches[i].name) == 0) {
			*(bool *)((char *)o + switches[i].offset) = true;
			return true;
		}
	return false;
}

/* "--name VALUE" or "--name=VALUE"; *i moves on. */
static int set_valued(struct options *o, int argc, char **argv, int *i, struct err *e)
{
	const char *name = argv[*i] + 2, *eq = strchr(name, '='), *value = eq ? eq + 1 : NULL;
	size_t n = eq ? (size_t)(eq - name) : strlen(name);

	for (size_t k = 0; k < sizeof(valued) / sizeof(valued[0]); k++) {
		if (strlen(valued[k].name) != n || memcmp(valued[k].name, name, n) != 0)
			continue;
		if (!value && *i + 1 < argc)
			value = argv[++*i];
		if (!value)
			return err_set(e, ERR_USAGE, "--%s needs %s", valued[k].name,
				       valued[k].arg);
		if (valued[k].set(o, value, e) != 0)
			return err_wrap(e, "--%s", valued[k].name);
		return 0;
	}
	return err_set(e, ERR_USAGE, "--%.40s is not an option (see --help)", name);
}

static int set_defaults(struct options *o, struct err *e)
{
	o->region = "";
	o->agent_version = AGENT_DEFAULT;
	o->access_key_id = KEY_ID_DEFAULT;
	o->secret_access_key = SECRET_DEFAULT;
	o->container_token = "localaws";
	o->idle_ms = (uint64_t)IDLE_DEFAULT_S * 1000;
	return set_listen(o, LISTEN_DEFAULT, e);
}

/* Whatever names an account comes in any order. */
static int check_accounts(const struct options *o, struct err *e)
{
	for (size_t i = 0; i < o->instances.count; i++)
		if (!has_account(o, o->instances.at[i].account))
			return err_set(e, ERR_USAGE, "--instance %s: there is no --account %s",
				       o->instances.at[i].id, o->instances.at[i].account);
	for (size_t i = 0; i < o->names.count; i++)
		if (*o->names.at[i].account && !has_account(o, o->names.at[i].account))
			return err_set(e, ERR_USAGE, "--resolve %s: there is no --account %s",
				       o->names.at[i].name, o->names.at[i].account);
	return 0;
}

int options_parse(int argc, char **argv, struct options *o, struct err *e)
{
	int failed;

	*o = (struct options){ 0 };
	failed = set_defaults(o, e);
	for (int i = 1; i < argc && !failed; i++) {
		if (!str_starts(argv[i], "--"))
			failed = err_set(e, ERR_USAGE, "'%.40s' is not an option (see --help)",
					 argv[i]);
		else if (!set_switch(o, argv[i] + 2))
			failed = set_valued(o, argc, argv, &i, e);
	}
	failed = failed ? failed : check_accounts(o, e);
	if (!failed && o->instances.count == 0)
		failed = instances_add(&o->instances, INSTANCE_DEFAULT, e);
	if (failed)
		options_free(o);
	return failed;
}

void options_free(struct options *o)
{
	instances_free(&o->instances);
	names_free(&o->names);
}
