/* The AWS side of one profile, made when the first connection needs it. */
#include <stdlib.h>
#include <string.h>

#include "backend/ssm.h"
#include "backend/ssm/start_buckets.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/awsocks/app_impl.h"
#include "cmd/awsocks/choose.h"
#include "cmd/awsocks/mfa.h"
#include "cmd/awsocks/paths.h"
#include "cmd/awsocks/target_query.h"
#include "config/options.h"
#include "credentials/aws.h"
#include "credentials/egress_env.h"
#include "credentials/endpoint.h"
#include "credentials/profile.h"
#include "credentials/provider.h"
#include "credentials/sso.h"
#include "net/host_guard.h"
#include "net/http.h"
#include "net/self.h"
#include "net/tcp.h"
#include "net/ws.h"

extern char **environ;

const char *const *app_environment(void)
{
	return (const char *const *)environ;
}

/* A listener at every address of this host is at each of them. */
static bool is_listener(const struct app *a, const struct addr *bound, const struct addr *to)
{
	const char *odd = addr_not_one_host(bound);
	struct host_guard *guard;
	bool ours;

	if (bound->ss.ss_family == AF_UNIX || !bound->len || addr_port(bound) != addr_port(to))
		return false;
	if (!odd || strcmp(odd, "unspecified") != 0)
		return addr_same_host(bound, to);
	guard = host_guard_new(a->loop, NULL);
	ours = guard && !host_guard_allow(guard, to, NULL);
	host_guard_free(guard);
	return ours;
}

static bool is_own_listener(void *arg, const struct addr *to)
{
	const struct app *a = arg;

	LIST_EACH (node, &a->listeners) {
		const struct app_listener *l = CONTAINER_OF(node, struct app_listener, node);
		const struct listen_socket *socket = l->seat ? l->seat[0].socket : NULL;

		if (is_listener(a, socket ? listen_addr(socket) : &l->address, to))
			return true;
	}
	return false;
}

/* curl's context, the websockets', and the count of StartSession calls serve all profiles. */
static int make_net(struct app *a, struct err *e)
{
	if (!a->egress && !a->http &&
	    egress_from_env(a->loop, app_environment(), is_own_listener, a, &a->egress, e) != 0)
		return -1;
	if (!a->http && app_vm_egress(a, e) != 0)
		return -1;
	if (!a->http) {
		a->http = http_new(a->loop, e);
		if (a->http)
			http_set_egress(a->http, a->egress);
	}
	if (a->http && !a->ws) {
		a->ws = ws_context_new(a->loop, e);
		if (a->ws)
			ws_context_set_egress(a->ws, a->egress);
	}
	if (a->ws && !a->starts)
		a->starts = start_buckets_new(e);
	if (a->starts && !a->renewals)
		a->renewals = sso_renewals_new(e);
	return a->renewals ? 0 : -1;
}

static int make_client(struct app *a, struct app_profile *p, const struct aws_files *files,
		       struct err *e)
{
	const struct options *o = p->options;
	const char *aws_profile = profile_name(o->aws_profile, app_environment());
	const char *ca = o->ca_bundle ? o->ca_bundle
				      : profile_ca_file(files, aws_profile, app_environment());
	struct chain_opts chain = {
		.loop = a->loop,
		.http = a->http,
		.profile = o->aws_profile,
		.profile_explicit = o->aws_profile != NULL,
		.region = p->region,
		.ca_file = ca,
		.environ = app_environment(),
		.renewals = a->renewals,
		.mfa = mfa_asker_of(a->mfa),
	};
	struct aws_client_opts client = { .loop = a->loop, .http = a->http };

	if (aws_retry_read(files, aws_profile, app_environment(), &client.retry, e) != 0)
		return -1;
	p->ca_file = mem_strdup(ca);
	if (ca && !p->ca_file)
		return err_set(e, ERR_NOMEM, "AWS client");
	p->provider = chain_new(&chain, e);
	if (!p->provider)
		return -1;
	app_creds_watch(a, p, files, app_environment());
	client.provider = p->provider;
	client.region = p->region;
	client.ca_file = p->ca_file;
	p->aws = aws_client_new(&client, e);
	return p->aws ? 0 : -1;
}

static int find_endpoint(const struct app_profile *p, const struct aws_files *files,
			 const char *service, char **url, bool *overridden, struct err *e)
{
	struct endpoint_opts o = {
		.service = service,
		.region = p->region,
		.files = files,
		.profile = profile_name(p->options->aws_profile, app_environment()),
		.environ = app_environment(),
	};

	*overridden = endpoint_overridden(&o);
	return endpoint_url(&o, url, e);
}

struct ssh_files {
	char hosts[PATH_TEXT], helper[PATH_TEXT], key[PATH_TEXT];
};

/* "~/x" in config.yaml is below the home. */
static const char *home_path(const char *path, char out[static PATH_TEXT])
{
	const char *home = getenv("HOME");

	if (!path || !str_starts(path, "~/") || !home ||
	    !str_fmt(out, PATH_TEXT, "%s%s", home, path + 1))
		return path;
	return out;
}

static const enum ssm_document ssh_documents[] = { [SSH_DOCUMENT_AUTO] = SSM_DOCUMENT_AUTO,
						   [SSH_DOCUMENT_SSH] = SSM_DOCUMENT_SSH,
						   [SSH_DOCUMENT_PORT] = SSM_DOCUMENT_PORT };

/* What the ssh transport needs of this machine. */
static int fill_ssh(struct app *a, const struct options *o, struct ssm_opts *opts,
		    struct ssh_files *f, struct err *e)
{
	static const enum ssm_transport transports[] = {
		[TRANSPORT_PORT] = SSM_PORT, [TRANSPORT_SSH] = SSM_SSH, [TRANSPORT_AUTO] = SSM_AUTO
	};

	if (!*a->ssh_dir) {
		if (path_private(a->ssh_dir, e) != 0)
			return -1;
		a->ssh_dir_ours = true;
	}
	if (path_state_file("known_hosts", f->hosts, e) != 0)
		return -1;
	if (!self_path(f->helper, sizeof(f->helper)))
		return err_set(e, ERR_INTERNAL, "ssh: where is this program?");
	opts->transport = transports[o->transport];
	opts->ssh.dir = a->ssh_dir;
	opts->ssh.known_hosts = f->hosts;
	opts->ssh.helper = f->helper;
	opts->ssh.user = o->ssh_user;
	opts->ssh.key = home_path(o->ssh_key, f->key);
	opts->ssh.port = (uint16_t)o->ssh_port;
	opts->ssh.compression = o->ssh_compression;
	opts->ssh.document = ssh_documents[o->ssh_document];
	return 0;
}

static int make_backend(struct app *a, struct app_profile *p, const struct aws_files *files,
			struct err *e)
{
	const struct options *o = p->options;
	char *ssm = NULL, *ec2 = NULL, *eic = NULL;
	struct ssh_files f;
	struct ssm_opts opts = { 0 };
	const char **warm = NULL, **filter = NULL;
	char notes[PATH_TEXT];
	int result = -1;
	bool elsewhere;

	if (find_endpoint(p, files, "ssm", &ssm, &opts.endpoint_overridden, e) != 0 ||
	    find_endpoint(p, files, "ec2", &ec2, &elsewhere, e) != 0)
		goto out;
	opts.loop = a->loop;
	opts.ws = a->ws;
	opts.aws = p->aws;
	opts.starts = a->starts;
	opts.profile = *p->name ? p->name : NULL;
	opts.ssm_endpoint = ssm;
	opts.ec2_endpoint = ec2;
	opts.ssmmessages_endpoint = o->ssmmessages_endpoint;
	opts.auto_start = o->auto_start;
	opts.auto_stop = o->auto_stop;
	opts.idle_stop_ms = (unsigned)o->idle_stop;
	opts.region = p->region;
	opts.ca_file = p->ca_file;
	opts.sessions = (unsigned)o->sessions;
	opts.sessions_total = (unsigned)o->sessions_total;
	opts.payload_size = (size_t)o->payload_size;
	opts.session_idle_ms = (unsigned)o->session_idle;
	opts.stream_idle_ms = (unsigned)o->idle_stream_timeout;
	opts.gap_limit_ms = (unsigned)o->gap_limit;
	opts.keep_alive_ms = (unsigned)o->keep_alive;
	opts.dial_ms = (unsigned)o->connect_timeout;
	opts.init_ms = (unsigned)o->init_timeout;
	opts.no_sign = !o->sign_data_channel;
	if (p->session) {
		opts.transport = SSM_SESSION;
		opts.ssh.document = ssh_documents[o->ssh_document];
	} else if (o->transport != TRANSPORT_PORT) {
		if (find_endpoint(p, files, "ec2-instance-connect", &eic, &elsewhere, e) != 0 ||
		    fill_ssh(a, o, &opts, &f, e) != 0)
			goto out;
		opts.ssh.eic_endpoint = eic;
	}
	opts.choose = a->chooser ? chooser_ask : NULL;
	opts.choose_arg = a->chooser;
	if (target_query(o, &opts.target, &filter, e) != 0)
		goto out;
	/* also without --auto-stop, to tell what was left running */
	if (path_state_file(STARTED_DIR, notes, NULL) == 0)
		opts.notes = notes;
	if (o->warm.count && !(warm = mem_alloc(o->warm.count * sizeof(*warm)))) {
		(void)err_set(e, ERR_NOMEM, "warm");
		goto out;
	}
	for (; opts.warm_count < o->warm.count; opts.warm_count++)
		warm[opts.warm_count] = o->warm.item[opts.warm_count].text;
	opts.warm = warm;
	p->backend = ssm_backend_new(&opts, e);
	result = p->backend ? 0 : -1;
out:
	mem_free(warm);
	mem_free(filter);
	mem_free(ssm);
	mem_free(ec2);
	mem_free(eic);
	return result;
}

static struct backend *make(struct app *a, struct app_profile *p, const struct aws_files *files,
			    const char *region, struct err *e)
{
	p->region = mem_strdup(region);
	if (!p->region)
		(void)err_set(e, ERR_NOMEM, "AWS client");
	else if (make_client(a, p, files, e) == 0 && make_backend(a, p, files, e) == 0)
		return p->backend;
	app_aws_free(p);
	return NULL;
}

struct backend *app_aws_make(struct app *a, struct app_profile *p, const char *region,
			     struct err *e)
{
	struct aws_files *files;
	struct backend *b, *standing_in = p->backend;

	if (aws_files_load(app_environment(), &files, e) != 0)
		return NULL;
	b = make(a, p, files, region, e);
	p->backend = standing_in;
	aws_files_free(files);
	return b;
}

struct backend *app_aws_backend(struct app *a, struct app_profile *p, struct err *e)
{
	struct aws_files *files = NULL;
	const struct options *o = p->options;
	const char *name = profile_name(o->aws_profile, app_environment()), *region;

	if (!options_name_target(o)) {
		(void)err_set(e, ERR_CONFIG,
			      "no instance is named: give --instance-id or --name (or say "
			      "instance-id or name in the profile)");
		return NULL;
	}
	if (make_net(a, e) != 0 || aws_files_load(app_environment(), &files, e) != 0)
		return NULL;
	region = profile_region(files, name, o->region, app_environment());
	p->backend = region ? make(a, p, files, region, e) : app_region_backend(a, p, e);
	aws_files_free(files);
	return p->backend;
}

void app_aws_free(struct app_profile *p)
{
	aws_client_free(p->aws);
	p->aws = NULL;
	app_creds_unwatch(p);
	provider_close(p->provider);
	p->provider = NULL;
	mem_free(p->region);
	p->region = NULL;
	mem_free(p->ca_file);
	p->ca_file = NULL;
}
