/*
 * YAML and rule files, and deciding with them. Laws: a file that is refused
 * leaves the router as it was, says why with name, line and column, and reports
 * at least one problem; one that is taken decides the same after another copy of it
 * was added behind it; a host's decision does not depend on how often it is asked.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "routing/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void count(void *arg, const char *text)
{
	assert(strncmp(text, "f:", 2) == 0);
	++*(unsigned *)arg;
}

static bool same(const struct decision *a, const struct decision *b)
{
	return a->route.kind == b->route.kind && strcmp(a->route.profile, b->route.profile) == 0 &&
	       a->by == b->by && a->origin == b->origin && a->named == b->named;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const hosts[] = { "localhost",   "a.b.example.com",    "10.0.0.1",
					     "2001:db8::1", "build1.example.com", "x" };
	enum { HOSTS = sizeof(hosts) / sizeof(hosts[0]) };
	struct router_opts o = { .mode_vm = n & 1 };
	struct decision first[HOSTS], again;
	struct router *r;
	struct err e = { 0 };
	unsigned problems = 0;
	const char *text = (const char *)p;

	if (n > 4096 || router_new(&r, &o, &e) != 0)
		return 0;
	if (router_add_yaml(r, text, n, "f", RULES_ALLOW_HOST, count, &problems, &e) != 0) {
		assert(problems > 0 && router_size(r) == 0);
		assert(e.code == ERR_CONFIG && strncmp(e.msg, "f:", 2) == 0);
		router_free(r);
		return 0;
	}
	assert(problems == 0);
	for (int i = 0; i < HOSTS; i++)
		router_decide(r, hosts[i], (uint16_t)(i * 443), &first[i]);
	assert(router_add_yaml(r, text, n, "f", RULES_ALLOW_HOST, NULL, NULL, &e) == 0);
	for (int i = 0; i < HOSTS; i++) {
		router_decide(r, hosts[i], (uint16_t)(i * 443), &again);
		assert(same(&first[i], &again));
	}
	router_free(r);
	return 0;
}
