/*
 * web_identity.c, container.c, imds.c when each allocation fails in turn: an error or credentials,
 * never a hang, and nothing is left.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "credentials/aws.h"
#include "credentials/metadata.h"
#include "credentials/provider_impl.h"
#include "credentials/region.h"
#include "net/http.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/mem_fail.h"

#define KEYS                                                               \
	"\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"," \
	"\"Expiration\":\"2036-11-22T01:00:00Z\"}"
#define ROLES "/latest/meta-data/iam/security-credentials/"

/* --- a service in a thread, without an allocation of ours --- */

static const struct {
	const char *path, *body;
} pages[] = {
	{ "/latest/api/token ", "token" },
	{ ROLES "role ", "{\"Code\":\"Success\"," KEYS },
	{ ROLES " ", "role" },
	{ "/latest/meta-data/placement/region ", "eu-west-1" },
	{ "/container ", "{" KEYS },
	{ "/sts ", "<R><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>A</AccessKeyId>"
		   "<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
		   "<Expiration>2036-11-22T01:00:00Z</Expiration></Credentials>"
		   "</AssumeRoleWithWebIdentityResult></R>" },
};

static struct service {
	int fd;
	pthread_t thread;
	char base[40], token_file[40];
	char container[128], container_token[128], imds[128];
	const char *env[5];
} service;

/* Up to the end of the body. false: the client has gone. */
static bool read_request(int fd, char *text, size_t size)
{
	const char *end = NULL, *length;
	size_t n = 0, body = 0;
	ssize_t got;

	while (!end || n < (size_t)(end - text) + 4 + body) {
		got = read(fd, text + n, size - 1 - n);
		if (got <= 0)
			return false;
		n += (size_t)got;
		text[n] = '\0';
		end = strstr(text, "\r\n\r\n");
		length = strcasestr(text, "\r\ncontent-length:");
		body = end && length ? strtoul(length + 17, NULL, 10) : 0;
	}
	return true;
}

static void serve(int fd)
{
	char request[8192], reply[2048];
	const char *body = NULL;
	int n;

	if (!read_request(fd, request, sizeof(request)))
		return;
	for (size_t i = 0; !body && i < COUNT(pages); i++)
		if (strstr(request, pages[i].path))
			body = pages[i].body;
	n = snprintf(reply, sizeof(reply),
		     "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
		     body ? "200 OK" : "404 Not Found", body ? strlen(body) : 0, body ? body : "");
	(void)!send(fd, reply, (size_t)n, MSG_NOSIGNAL);
}

static void *run(void *arg)
{
	int fd;

	(void)arg;
	while ((fd = accept(service.fd, NULL, NULL)) >= 0) {
		serve(fd);
		close(fd);
	}
	return NULL;
}

static int start_service(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd;

	(void)state;
	service.fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(service.fd, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(service.fd, 16), 0);
	assert_int_equal(getsockname(service.fd, (struct sockaddr *)&at, &n), 0);
	snprintf(service.base, sizeof(service.base), "http://127.0.0.1:%u", ntohs(at.sin_port));
	snprintf(service.token_file, sizeof(service.token_file), "/tmp/awsocks-test-XXXXXX");
	fd = mkstemp(service.token_file);
	assert_true(fd >= 0 && write(fd, "jwt", 3) == 3);
	close(fd);
	snprintf(service.container, sizeof(service.container),
		 "AWS_CONTAINER_CREDENTIALS_FULL_URI=%s/container", service.base);
	snprintf(service.container_token, sizeof(service.container_token),
		 "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=%s", service.token_file);
	service.env[0] = service.container;
	service.env[1] = service.container_token;
	snprintf(service.imds, sizeof(service.imds), "AWS_EC2_METADATA_SERVICE_ENDPOINT=%s",
		 service.base);
	service.env[2] = service.imds;
	service.env[3] = "AWS_METADATA_SERVICE_TIMEOUT=60"; /* instead of a second */
	return pthread_create(&service.thread, NULL, run, NULL);
}

static int stop_service(void **state)
{
	(void)state;
	(void)shutdown(service.fd, SHUT_RDWR);
	(void)pthread_join(service.thread, NULL);
	close(service.fd);
	return unlink(service.token_file);
}

/* --- one turn --- */

struct turn {
	struct loop *loop;
	struct http *http;
	bool good;
	struct err why;
};

static void on_creds(void *arg, struct creds *c, const struct err *why)
{
	struct turn *t = arg;

	t->good = c != NULL;
	if (why)
		t->why = *why;
	loop_stop(t->loop);
}

static void on_region(void *arg, const char *region, const struct err *why)
{
	struct turn *t = arg;

	t->good = region != NULL;
	if (!region)
		t->why = *why;
	loop_stop(t->loop);
}

static void fetch(struct turn *t, struct provider *p)
{
	if (p && provider_get(p, on_creds, t, &t->why))
		loop_run(t->loop);
	provider_close(p);
}

static void imds_turn(struct turn *t)
{
	struct imds_opts o = { .loop = t->loop, .http = t->http };

	if (imds_find(service.env, NULL, "default", &o.at, &t->why) == 0)
		fetch(t, imds_new(&o, &t->why));
}

static void region_turn(struct turn *t)
{
	struct region_opts o = {
		.loop = t->loop, .http = t->http, .environ = service.env, .profile = "default"
	};

	if (region_ask(&o, on_region, t, &t->why))
		loop_run(t->loop);
}

static void container_turn(struct turn *t)
{
	fetch(t, container_new(&(struct container_opts){ .loop = t->loop,
							 .http = t->http,
							 .environ = service.env },
			       &t->why));
}

static void web_turn(struct turn *t)
{
	struct aws_client_opts o = { .loop = t->loop, .http = t->http, .region = "eu-west-1" };
	struct aws_client *client = aws_client_new(&o, &t->why);
	char url[80];

	snprintf(url, sizeof(url), "%s/sts", service.base);
	if (client)
		fetch(t, web_new(&(struct web_opts){ .loop = t->loop,
						     .client = client,
						     .endpoint = url,
						     .arn = "arn:aws:iam::123456789012:role/r",
						     .session_name = "s",
						     .token_file = service.token_file },
				 &t->why));
}

static void each_allocation(void (*ask)(struct turn *))
{
	unsigned good = 0, bad = 0;

	while (mem_fail_next()) {
		struct turn t = { 0 };

		if (loop_new(&t.loop, &t.why) == 0) {
			t.http = http_new(t.loop, &t.why);
			if (t.http)
				ask(&t);
			http_free(t.http);
			loop_free(t.loop);
		}
		good += t.good;
		bad += !t.good;
		if (!t.good && t.why.code != ERR_NOMEM)
			print_error("%s: %s\n", err_name(t.why.code), t.why.msg);
		assert_true(t.good || t.why.code == ERR_NOMEM);
		assert_int_equal(mem_held, 0);
	}
	assert_true(good > 0 && bad > 3);
}

static void instances(void **state)
{
	(void)state;
	each_allocation(imds_turn);
}

static void regions(void **state)
{
	(void)state;
	each_allocation(region_turn);
}

static void containers(void **state)
{
	(void)state;
	each_allocation(container_turn);
}

static void web_identities(void **state)
{
	(void)state;
	each_allocation(web_turn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instances),
		cmocka_unit_test(regions),
		cmocka_unit_test(containers),
		cmocka_unit_test(web_identities),
	};

	return cmocka_run_group_tests(tests, start_service, stop_service);
}
