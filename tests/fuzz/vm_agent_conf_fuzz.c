/* Laws of vm/agent_conf.c: settings are within their limits, or refused with a reason. */
#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "vm/agent_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e = { 0 };
	struct agent_conf c;

	if (agent_conf_parse(&c, (const char *)data, n, &e) != 0) {
		assert(e.code == ERR_CONFIG && e.msg[0]);
		return 0;
	}
	assert(memchr(c.port_name, '\0', sizeof(c.port_name)) && c.port_name[0]);
	assert(memchr(c.interface, '\0', sizeof(c.interface)));
	assert(c.transport != AGENT_CONF_VSOCK || c.port);
	assert(c.given.dns_count <= FRAME_DNS_MAX && c.given.prefix <= 32);
	assert(c.log_level <= LOG_DEBUG && c.streams_max && c.dial_ms && c.resolve_ms);
	return 0;
}
