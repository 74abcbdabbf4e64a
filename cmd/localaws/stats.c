#include "cmd/localaws/stats.h"

#include <string.h>

struct api_count *api_count_of(struct api_counts *c, const char *name)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->at[i].name, name) == 0)
			return &c->at[i];
	if (c->count == API_COUNT_MAX)
		return &c->at[API_COUNT_MAX - 1];
	c->at[c->count].name = name;
	return &c->at[c->count++];
}
