#include "cmd/awsocks/target_query.h"

#include "base/mem.h"
#include "config/options.h"

bool options_name_target(const struct options *o)
{
	return o->instance_id || o->name || o->asg || o->address || o->filter.count;
}

int target_query(const struct options *o, struct ec2_query *q, const char ***filter, struct err *e)
{
	*filter = mem_alloc((o->filter.count + 1) * sizeof(**filter));
	if (!*filter)
		return err_set(e, ERR_NOMEM, "filters");
	for (size_t i = 0; i < o->filter.count; i++)
		(*filter)[i] = o->filter.item[i].text;
	*q = (struct ec2_query){
		.id = o->instance_id,
		.name = o->name,
		.group = o->asg,
		.address = o->address,
		.filter = *filter,
		.filter_count = o->filter.count,
	};
	return ec2_query_check(q, e);
}
