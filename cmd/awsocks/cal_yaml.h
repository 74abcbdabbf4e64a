#ifndef CMD_AWSOCKS_CAL_YAML_H
#define CMD_AWSOCKS_CAL_YAML_H
/* A YAML tree as text again, in flow style: a section of somebody's file into a file of ours. */
#include "base/buf.h"
#include "base/yaml.h"

MUST_CHECK int cal_yaml_write(struct buf *, const struct yaml *, struct err *);
/* One text in double quotes. */
MUST_CHECK int cal_yaml_quote(struct buf *, const char *text, struct err *);
#endif
