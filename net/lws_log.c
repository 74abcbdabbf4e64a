#include "net/lws_log.h"

#include <libwebsockets.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"

static void emit(int level, const char *line)
{
	(void)level;
	log_debug("lws", "%.*s", (int)strcspn(line, "\n"), line);
}

static void set(void)
{
	lws_set_log_level(LLL_ERR | LLL_WARN, emit);
}

void lws_log_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set);
}
