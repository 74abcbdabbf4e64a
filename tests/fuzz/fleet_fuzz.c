/* Law: a page of SSM's nodes adds whole nodes, or is an error with a text; what was there stays. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "backend/ssm/fleet.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void whole(const struct fleet_node *n)
{
	assert(memchr(n->id, 0, sizeof(n->id)) && memchr(n->ping, 0, sizeof(n->ping)));
	assert(memchr(n->agent, 0, sizeof(n->agent)) && memchr(n->name, 0, sizeof(n->name)));
	assert(memchr(n->ip, 0, sizeof(n->ip)));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char first[] = "{\"InstanceInformationList\":[{\"InstanceId\":\"i-1\"}]}";
	struct fleet_list l = { 0 };
	struct err e = { 0 };
	char *next = NULL;

	assert(fleet_parse(first, sizeof(first) - 1, &l, &next, &e) == 0 && !next && l.count == 1);
	if (fleet_parse((const char *)p, n, &l, &next, &e) != 0)
		assert(!next && e.code != ERR_NONE && *e.msg);
	else
		assert(!next || *next);
	assert(l.count >= 1 && strcmp(l.at[0].id, "i-1") == 0);
	for (size_t i = 0; i < l.count; i++)
		whole(&l.at[i]);
	mem_free(next);
	mem_free(l.at);
	return 0;
}
