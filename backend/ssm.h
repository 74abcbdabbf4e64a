#ifndef BACKEND_SSM_H
#define BACKEND_SSM_H
/*
 * The SSM backend: streams to what an EC2 instance can reach, through Session
 * Manager port sessions or through SSH over such sessions (docs/PROTOCOL.ssm). Lazy: it asks AWS
 * nothing before the first dial, backend_wake() or backend_start().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/err.h"
#include "ec2/instance.h"

struct aws_client;
struct ec2_instance;
struct loop;
struct start_buckets;
struct ws_context;

/* An answer to ssm_choose_fn: index < n chooses, anything else chooses none. Once,
 * from the event loop, and not after the backend's closed(). */
typedef void ssm_chosen_fn(void *to, size_t index);
/* Several instances are what was asked for: which one? The list is
 * valid until return. For an interactive terminal; without this hook several
 * matches are an error that lists them. */
typedef void ssm_choose_fn(void *arg, const struct ec2_instance *list, size_t n, ssm_chosen_fn *,
			   void *to);

/* How connections travel. AUTO: by port sessions; by SSH when those are refused, when the agent is
 * too old for them, or for the hosts that find all sessions in use by others. */
enum ssm_transport {
	SSM_PORT = 0,
	SSM_SSH,
	SSM_AUTO,
	/* A dial is an SSM session of its own, to that port of the instance itself, whatever its
	 * host: for an ssh that logs in over it. Of ssm_ssh_opts only `document` counts. */
	SSM_SESSION
};
/* The document of a session that carries SSH. AUTO: AWS-StartSSHSession, or if that is refused
 * AWS-StartPortForwardingSession. */
enum ssm_document { SSM_DOCUMENT_AUTO = 0, SSM_DOCUMENT_SSH, SSM_DOCUMENT_PORT };

struct ssm_ssh_opts {    /* all copied; what is marked is required unless transport is SSM_PORT */
	const char *dir; /* required: a directory of ours alone (0700), with a short path */
	const char *known_hosts;  /* required: a file, made when it is not there */
	const char *helper;       /* required: this program */
	const char *eic_endpoint; /* required: endpoint_url() of "ec2-instance-connect" */
	const char *user;         /* NULL: ec2-user, or with own keys as ssh decides */
	/* A private key's file. NULL: a new key for each login, by EC2 Instance Connect, and if
	 * that is refused as "agent", which means: whatever ssh finds by itself. */
	const char *key;
	uint16_t port; /* of the instance's sshd; 0: 22 */
	bool compression;
	enum ssm_document document;
	unsigned busy_rate; /* see ssh_pool.h; 0: the default */
};

struct ssm_opts {
	/* Borrowed until closed(): */
	struct loop *loop;
	struct ws_context *ws;
	struct aws_client *aws; /* with its provider of credentials */
	/* How often StartSession is called, together with the other backends that have these.
	 * NULL: this one counts for itself. */
	struct start_buckets *starts;
	/* Copied: */
	const char *profile;      /* for the backend's name "ssm:PROFILE"; NULL: "default" */
	const char *region;       /* required */
	const char *ssm_endpoint; /* required: endpoint_url() of "ssm" */
	const char *ec2_endpoint; /* needed where `target` is more than an id, and to start it */
	/* ssm_endpoint comes from an override (AWS_ENDPOINT_URL ...): the data
	 * channel may then be at its host too, and without TLS if that is loopback. */
	bool endpoint_overridden;
	/* The host of the data channels instead of the one that AWS names (a VPC endpoint):
	 * "HOST[:PORT]" or a URL; NULL: as AWS says. */
	const char *ssmmessages_endpoint;
	struct ec2_query target; /* an id may also be "mi-..." and "ecs:..." */
	bool auto_start;         /* the instance, when it is stopped */
	bool auto_stop;          /* at the end what was started; after idle_stop_ms too */
	unsigned idle_stop_ms;   /* 0: at the end only */
	const char *notes;       /* directory for notes of what is to be stopped; NULL: none */
	const char *ca_file;     /* of the data channel; NULL: system store */
	bool no_sign;            /* leave the websocket upgrade unsigned */
	enum ssm_transport transport;
	struct ssm_ssh_opts ssh;
	const char *const *warm; /* "HOST:PORT", warm_count of them: sessions to be kept */
	size_t warm_count;
	/* 0 means the default: */
	unsigned sessions;        /* per host:port, and SSH connections; 4 */
	unsigned sessions_total;  /* 16 */
	size_t payload_size;      /* bytes a message, 1024..65536; 1024 */
	unsigned session_idle_ms; /* an unused session is ended; 5 min */
	unsigned stream_idle_ms;  /* half-closed and quiet; 5 min */
	unsigned gap_limit_ms;    /* a gap that takes longer to repair ends its session; 60 s */
	unsigned keep_alive_ms;   /* between signs of life of sessions with streams; 0: none */
	unsigned init_ms;      /* of the first initialisation, but for an instance's start; 60 s */
	unsigned dial_ms;      /* limit of one dial, waiting included; 30 s */
	unsigned dials_max;    /* waiting at one time; 1024 */
	ssm_choose_fn *choose; /* NULL: none */
	void *choose_arg;
};

/* NULL: *e tells (ERR_CONFIG: neither instance nor name, sizes out of range ...). */
struct backend *ssm_backend_new(const struct ssm_opts *, struct err *e);
#endif
