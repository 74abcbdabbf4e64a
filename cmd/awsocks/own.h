#ifndef CMD_AWSOCKS_OWN_H
#define CMD_AWSOCKS_OWN_H
/* Options that single subcommands have, for their help: name, letter, argument, help. The
 * places of their values are filled in by the subcommand. */
#include "config/settings.h"

extern const struct arg_opt cal_options[];
extern const struct arg_opt route_options[];
extern const struct arg_opt targets_options[];
extern const struct arg_opt trust_options[];
extern const struct arg_opt vm_options[];
extern const struct arg_opt env_options[], exec_options[], bwrap_args_options[];
extern const struct arg_opt credentials_options[], login_options[];
#endif
