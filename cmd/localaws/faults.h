#ifndef LOCALAWS_FAULTS_H
#define LOCALAWS_FAULTS_H
/*
 * Misbehaviour on request: `--fault NAME[=VALUE]`, and at run time by
 * POST /_localaws/faults. One table; each fault is off until it is set.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum fault_kind {
	FAULT_FLAG = 0, /* on or off */
	FAULT_TIMES,    /* that many times, or always without a value */
	FAULT_NUMBER,   /* a value within the row's limits */
};

/* Some may be of one operation or service alone: "throttle-api:StartSession=3". */
enum { FAULT_PARTS = 16, FAULT_WHERE = 48 };

/* enum, name, kind, value without '=', lowest, highest, help */
#define FAULTS(X)                                                                               \
	X(REFUSE_SESSION, "refuse-session", TIMES, 0, 1, 1e9,                                   \
	  "StartSession answers AccessDeniedException")                                         \
	X(NOT_CONNECTED, "not-connected", TIMES, 0, 1, 1e9,                                     \
	  "StartSession answers TargetNotConnected")                                            \
	X(NOT_CONNECTED_FOR, "not-connected-for", NUMBER, 5, 0, 1e6,                            \
	  "the same for the first SECONDS from now on")                                         \
	X(REFUSE_REMOTE_HOST, "refuse-remote-host", TIMES, 0, 1, 1e9,                           \
	  "StartSession of a remote-host document answers InvalidDocument")                     \
	X(REFUSE_SSH, "refuse-ssh", TIMES, 0, 1, 1e9,                                           \
	  "StartSession of AWS-StartSSHSession answers AccessDeniedException")                  \
	X(REFUSE_KEY, "refuse-key", TIMES, 0, 1, 1e9,                                           \
	  "SendSSHPublicKey answers AccessDeniedException")                                     \
	X(REFUSE_RESUME, "refuse-resume", TIMES, 0, 1, 1e9,                                     \
	  "ResumeSession answers without a token, as for a session that is over")               \
	X(THROTTLE_API, "throttle-api", TIMES, 0, 1, 1e9, "API calls are throttled")            \
	X(FAIL_API, "fail-api", TIMES, 0, 1, 1e9, "API calls answer an internal server error")  \
	X(REFUSE_TARGET, "refuse-target", TIMES, 0, 1, 1e9, "the agent's dials fail")           \
	X(FORBID_ROLE, "forbid-role", TIMES, 0, 1, 1e9,                                         \
	  "GetRoleCredentials answers ForbiddenException")                                      \
	X(REFUSE_TOKEN, "refuse-token", TIMES, 0, 1, 1e9,                                       \
	  "GetRoleCredentials answers UnauthorizedException")                                   \
	X(REFUSE_LOGIN, "refuse-login", TIMES, 0, 1, 1e9,                                       \
	  "CreateOAuth2Token answers INSUFFICIENT_PERMISSIONS")                                 \
	X(SLOW_DOWN, "slow-down", TIMES, 0, 1, 1e9,                                             \
	  "CreateToken with a device code answers SlowDownException")                           \
	X(TOKEN_LIFE, "token-life", NUMBER, 60, 0, 1e6,                                         \
	  "tokens of IAM Identity Center live SECONDS")                                         \
	X(DEVICE_LIFE, "device-life", NUMBER, 1, 0, 1e6, "device codes live SECONDS")           \
	X(CLIENT_LIFE, "client-life", NUMBER, 60, 0, 1e9,                                       \
	  "clients registered with OIDC live SECONDS")                                          \
	X(EXPIRE_CREDENTIALS, "expire-credentials", NUMBER, 5, 0, 1e6,                          \
	  "temporary credentials live SECONDS; 0 also ends those given out before")             \
	X(FAIL_REFRESH, "fail-refresh", NUMBER, 30, 0, 100,                                     \
	  "PERCENT of the calls that give out credentials answer an internal error")            \
	X(STALE_METADATA, "stale-metadata", FLAG, 0, 0, 0,                                      \
	  "instance metadata and container serve their credentials on when they expire")        \
	X(EXPIRE_TOKEN, "expire-token", NUMBER, 0, 0, 1e6,                                      \
	  "a data channel's token is good for SECONDS only")                                    \
	X(CLOCK_SKEW, "clock-skew", NUMBER, 600, -1e6, 1e6, "the service's clock, in SECONDS")  \
	X(SLOW_START, "slow-start", NUMBER, 3000, 0, 1e6, "the agent takes MS to appear")       \
	X(START_DELAY, "start-delay", NUMBER, 1000, 0, 1e7,                                     \
	  "a started or launched instance is pending for MS")                                   \
	X(STOP_DELAY, "stop-delay", NUMBER, 1000, 0, 1e7, "one that ends is stopping for MS")   \
	X(CONNECT_DELAY, "connect-delay", NUMBER, 1000, 0, 1e7,                                 \
	  "the agent of a started instance connects to SSM MS after it runs")                   \
	X(REFUSE_START, "refuse-start", TIMES, 0, 1, 1e9,                                       \
	  "StartInstances answers InsufficientInstanceCapacity")                                \
	X(DENY_EC2, "deny-ec2", TIMES, 0, 1, 1e9, "EC2 answers UnauthorizedOperation")          \
	X(DENY_STATUS, "deny-status", TIMES, 0, 1, 1e9,                                         \
	  "GetConnectionStatus and DescribeInstanceInformation answer AccessDeniedException")   \
	X(DENY_CHANNEL, "deny-channel", TIMES, 0, 1, 1e9,                                       \
	  "the data channel's request is forbidden")                                            \
	X(ASK_KMS, "ask-kms", FLAG, 0, 0, 0, "the agent asks for KMS encryption too")           \
	X(ASK_UNKNOWN, "ask-unknown", FLAG, 0, 0, 0, "the agent asks for an action of its own") \
	X(CUSTOMER_MESSAGE, "customer-message", FLAG, 0, 0, 0,                                  \
	  "HandshakeComplete has a text for people")                                            \
	X(EARLY_DATA_GAP, "early-data-gap", NUMBER, 20, 0, 60000,                               \
	  "data within MS after HandshakeComplete is swallowed too")                            \
	X(DROP_WS_AFTER_BYTES, "drop-ws-after-bytes", NUMBER, 1e6, 1, 1e15,                     \
	  "each websocket is cut after N bytes, both ways together")                            \
	X(DROP_WS_AFTER, "drop-ws-after", NUMBER, 3, 0.001, 1e6, "each is cut after SECONDS")   \
	X(CLOSE_1000_AFTER, "close-1000-after", NUMBER, 3600, 0.001, 1e6,                       \
	  "each is closed with 1000 Bye after SECONDS")                                         \
	X(FREEZE_WS_AFTER, "freeze-ws-after", NUMBER, 3, 0.001, 1e6,                            \
	  "each falls silent after SECONDS but stays open")                                     \
	X(FRAGMENT, "fragment", NUMBER, 4096, 1, 1e6, "messages leave in fragments of N bytes") \
	X(CHANNEL_CLOSED_116, "channel-closed-116", FLAG, 0, 0, 0,                              \
	  "channel_closed has the long header and blanks")                                      \
	X(LOSE_CLIENT, "lose-client", NUMBER, 1, 0, 100, "PERCENT of the client's messages")    \
	X(LOSE_AGENT, "lose-agent", NUMBER, 1, 0, 100, "PERCENT of the agent's messages")       \
	X(REPEAT_CLIENT, "repeat-client", NUMBER, 1, 0, 100, "PERCENT come twice")              \
	X(REPEAT_AGENT, "repeat-agent", NUMBER, 1, 0, 100, "PERCENT come twice")                \
	X(REORDER_CLIENT, "reorder-client", NUMBER, 1, 0, 100, "PERCENT come late")             \
	X(REORDER_AGENT, "reorder-agent", NUMBER, 1, 0, 100, "PERCENT come late")               \
	X(DELAY, "delay", NUMBER, 10, 0, 60000, "every message travels MS, each way")           \
	X(DELAY_ACK, "delay-ack", NUMBER, 300, 0, 60000, "the agent's acks come MS later")      \
	X(NO_ACK, "no-ack", NUMBER, 100, 0, 100, "PERCENT of the agent's acks are never sent")  \
	X(KEEPALIVE, "keepalive", NUMBER, 10000, 50, 1e6,                                       \
	  "signs of life are due every MS (10000): silence ends after 3, the gateway pings at " \
	  "5.4")                                                                                \
	X(AGENT_GONE, "agent-gone", FLAG, 0, 0, 0, "agents vanish, and their sessions stay")    \
	X(ZOMBIE, "zombie", FLAG, 0, 0, 0, "agents go on acknowledging but carry no data")      \
	X(SEED, "seed", NUMBER, 1, 0, 9e15, "where chance begins")

enum fault_id {
#define X(id, name, kind, def, low, high, help) FAULT_##id,
	FAULTS(X)
#undef X
		FAULT_COUNT
};

struct fault {
	bool on;
	double value; /* FAULT_TIMES: how often still, negative for always */
};
struct fault_part {
	enum fault_id id;
	char where[FAULT_WHERE]; /* "" where there is none */
	struct fault fault;
};
struct faults {
	struct fault at[FAULT_COUNT];
	struct fault_part part[FAULT_PARTS];
};

/* "NAME", "NAME=VALUE", "NAME=off"; "NAME:WHERE..." for those of faults_may_be_part(); `lose=N`,
 * `repeat=N` and `reorder=N` set both directions; "clear" turns all off. */
MUST_CHECK int faults_set(struct faults *, const char *text, struct err *);
static inline bool fault_on(const struct faults *f, enum fault_id id)
{
	return f->at[id].on;
}
static inline double fault_value(const struct faults *f, enum fault_id id, double off)
{
	return f->at[id].on ? f->at[id].value : off;
}
bool fault_take(struct faults *, enum fault_id); /* FAULT_TIMES: does it strike now? */
bool faults_may_be_part(enum fault_id);
/* The same where only an operation, or a service, may be meant (NULL: none). */
bool fault_take_at(struct faults *, enum fault_id, const char *service, const char *op);
/* A value for one service, otherwise that for all. */
double fault_value_at(const struct faults *, enum fault_id, const char *service, double off);

struct fault_row {
	const char *name, *help;
	enum fault_kind kind;
	double def, low, high;
};
extern const struct fault_row fault_rows[FAULT_COUNT];
#endif
