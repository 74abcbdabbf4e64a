/*
 * Two steps. An override is looked for first: AWS_ENDPOINT_URL_<SERVICE>,
 * AWS_ENDPOINT_URL, the profile's services section, the profile's
 * endpoint_url; the first that says anything wins, unless the environment or
 * the profile says that configured ones are to be ignored. Otherwise
 *
 *   https://PREFIX[-fips].REGION.SUFFIX
 *
 * where the partition, found by the region's form, gives the suffix, one for
 * dual stack, and says whether its plain hosts are FIPS hosts already. The
 * console's sign-in has another form of host in the older partitions,
 * REGION.signin.DOMAIN, unless FIPS or dual stack is asked for.
 */
#include "credentials/endpoint.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/env.h"
#include "credentials/profile.h"

struct partition {
	const char *name;
	const char *prefix; /* of its regions; NULL: all others */
	const char *suffix, *dual_suffix;
	const char *signin; /* domain of the older form of sign-in hosts; NULL: they have none */
	bool plain_is_fips; /* services marked so have no "-fips" host of their own */
};

/* The first match counts. AWS: partitions.json of its SDKs. */
static const struct partition partitions[] = {
	{ "aws-cn", "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn", "amazonaws.cn",
	  false },
	{ "aws-us-gov", "us-gov-", "amazonaws.com", "api.aws", "amazonaws-us-gov.com", true },
	{ "aws-iso", "us-iso-", "c2s.ic.gov", "api.aws.ic.gov", NULL, false },
	{ "aws-iso-b", "us-isob-", "sc2s.sgov.gov", "api.aws.scloud", NULL, false },
	{ "aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", NULL, false },
	{ "aws-iso-f", "us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov", NULL, false },
	{ "aws-eusc", "eusc-", "amazonaws.eu", "api.amazonwebservices.eu", NULL, false },
	{ "aws", NULL, "amazonaws.com", "api.aws", "aws.amazon.com", false },
};

static const struct service {
	const char *name;   /* as in SigV4 */
	const char *id;     /* in AWS_ENDPOINT_URL_<ID>, and lower-cased in services sections */
	const char *host;   /* first label(s) */
	bool plain_is_fips; /* where the partition says so */
} services[] = {
	{ "ssm", "SSM", "ssm", true },
	{ "ec2", "EC2", "ec2", true },
	{ "sts", "STS", "sts", true },
	{ "sso", "SSO", "portal.sso", true },
	{ "sso-oidc", "SSO_OIDC", "oidc", true },
	{ "signin", "SIGNIN", "signin", false },
	{ "ec2-instance-connect", "EC2_INSTANCE_CONNECT", "ec2-instance-connect", false },
	{ "ecs", "ECS", "ecs", false },
	{ "kms", "KMS", "kms", false },
};

static const struct partition *partition_of(const char *region)
{
	const struct partition *p = partitions;

	while (p->prefix && !str_starts(region, p->prefix))
		p++;
	return p;
}

const char *endpoint_suffix(const char *region)
{
	return partition_of(region)->suffix;
}

/* "vpce-0123-abcd" or "vpce-0123-abcd-us-east-1a", with a dot behind it; what follows, or NULL. */
static const char *after_vpce(const char *host)
{
	size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return str_starts(host, "vpce-") && n > 5 && host[n] == '.' ? host + n + 1 : NULL;
}

bool endpoint_is_ssmmessages(const char *host, const char *region)
{
	const struct partition *p = partition_of(region);
	const char *rest = after_vpce(host);
	char want[512];

	for (int fips = 0; fips < 2; fips++) {
		const char *name = fips ? "ssmmessages-fips" : "ssmmessages";

		if ((str_fmt(want, sizeof(want), "%s.%s.%s", name, region, p->suffix) &&
		     strcmp(host, want) == 0) ||
		    (str_fmt(want, sizeof(want), "%s.%s.%s", name, region, p->dual_suffix) &&
		     strcmp(host, want) == 0) ||
		    (rest &&
		     str_fmt(want, sizeof(want), "%s.%s.vpce.%s", name, region, p->suffix) &&
		     strcmp(rest, want) == 0))
			return true;
	}
	return false;
}

static const struct service *service_of(const char *name)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++)
		if (strcmp(services[i].name, name) == 0)
			return &services[i];
	return NULL;
}

/* A region becomes part of a host name: nothing but letters, digits, hyphens. */
static bool region_ok(const char *region)
{
	size_t n = 0;

	for (; region[n]; n++)
		if (!isalnum((unsigned char)region[n]) && region[n] != '-')
			return false;
	return n > 0 && n < 64 && region[0] != '-' && region[n - 1] != '-';
}

/* A switch that the environment or else the profile sets. */
static bool switched(const struct endpoint_opts *o, const char *env, const char *key)
{
	const char *value = env_get(o->environ, env);

	if (!value)
		value = profile_get(o->files, o->profile, key);
	return value && str_eq_nocase(value, "true");
}

static const char *override_of(const struct endpoint_opts *o, const struct service *s)
{
	char name[64], id[64];
	const char *url, *section;

	if (switched(o, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls"))
		return NULL;
	(void)str_fmt(name, sizeof(name), "AWS_ENDPOINT_URL_%s", s->id);
	url = env_get(o->environ, name);
	if (!url)
		url = env_get(o->environ, "AWS_ENDPOINT_URL");
	if (url)
		return url;
	section = profile_get(o->files, o->profile, "services");
	(void)str_fmt(id, sizeof(id), "%s", s->id);
	str_lower(id);
	if (section)
		url = services_get(o->files, section, id, "endpoint_url");
	return url ? url : profile_get(o->files, o->profile, "endpoint_url");
}

/* "https://host[:port][/path]" or http; no query, no user, nothing unprintable. */
int endpoint_check_url(const char *url, struct err *e)
{
	const char *rest = str_starts(url, "https://")  ? url + 8
			   : str_starts(url, "http://") ? url + 7
							: NULL;

	if (!rest || !*rest || *rest == '/')
		return err_set(e, ERR_CONFIG,
			       "endpoint URL '%.200s': http://HOST or https://HOST expected", url);
	for (const char *at = rest; *at; at++)
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f ||
		    strchr("?#@\\", *at))
			return err_set(
				e, ERR_CONFIG,
				"endpoint URL '%.200s': no query, user, fragment or blank is "
				"allowed in it",
				url);
	return 0;
}

static int modeled(const struct endpoint_opts *o, const struct service *s, char **url,
		   struct err *e)
{
	const struct partition *p = partition_of(o->region);
	bool fips = switched(o, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
	bool dual = switched(o, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint");
	bool plain = !fips || (!dual && p->plain_is_fips && s->plain_is_fips);
	bool signin = strcmp(s->name, "signin") == 0 && p->signin && !fips && !dual;
	char text[512];
	bool fits;

	if (signin)
		fits = str_fmt(text, sizeof(text), "https://%s.signin.%s", o->region, p->signin);
	else
		fits = str_fmt(text, sizeof(text), "https://%s%s.%s.%s", s->host,
			       plain ? "" : "-fips", o->region, dual ? p->dual_suffix : p->suffix);
	if (!fits)
		return err_set(e, ERR_CONFIG, "region '%.80s' is too long", o->region);
	*url = mem_strdup(text);
	return *url ? 0 : err_set(e, ERR_NOMEM, "endpoint");
}

int endpoint_url(const struct endpoint_opts *o, char **url, struct err *e)
{
	const struct service *s = service_of(o->service);
	const char *given;
	size_t n;

	*url = NULL;
	if (!s)
		return err_set(e, ERR_INTERNAL, "no endpoint is known for service '%.40s'",
			       o->service);
	given = override_of(o, s);
	if (!given) {
		if (!o->region || !region_ok(o->region))
			return err_set(e, ERR_CONFIG,
				       "'%.80s' is not an AWS region: set --region, AWS_REGION or "
				       "region in the profile",
				       o->region ? o->region : "");
		return modeled(o, s, url, e);
	}
	if (endpoint_check_url(given, e) != 0)
		return -1;
	for (n = strlen(given); n && given[n - 1] == '/'; n--)
		;
	*url = mem_strndup(given, n);
	return *url ? 0 : err_set(e, ERR_NOMEM, "endpoint");
}

bool endpoint_overridden(const struct endpoint_opts *o)
{
	const struct service *s = service_of(o->service);

	return s && override_of(o, s) != NULL;
}
