/* The subcommands: one row each, in the order in which help lists them. */
#include "cmd/awsocks/cmd.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/awsocks/own.h"
#include "cmd/bridge/cmd_bridge.h"
#include "cmd/bridge/options.h"

const struct command commands[] = {
	{ "start", cmd_start, "[PROFILE...] [options]",
	  "run the proxy; also without the word start, as in awsocks --name bastion",
	  "PROFILE names an entry of profiles: in config.yaml; rules name them as proxy:PROFILE.\n"
	  "SIGTERM and SIGINT stop cleanly, SIGHUP reads the rules again.\n",
	  NULL, true },
	{ "check", cmd_check, "[FILE] [options]",
	  "find every mistake in the configuration or a rule file",
	  "Without FILE: config.yaml and every rule file that it or the options name,\n"
	  "the project file, and ~/.aws/config and credentials. With FILE:\n"
	  "that file, a configuration or rules by its content. Prints each problem with\n"
	  "file:line:column. Exit status 0, or 65 when there are problems.\n",
	  NULL, true },
	{ "route", cmd_route, "HOST[:PORT] [options]", "explain which rule decides about a host",
	  "Contacts nobody. The port is 443 unless given.\n", route_options, true },
	{ "status", cmd_status, "[--json] [--watch] [--control PATH]",
	  "what the running awsocks is doing",
	  "--json prints one object, --watch again every second. The running awsocks is found by\n"
	  "its control socket: --control, AWSOCKS_CONTROL or control: in config.yaml, otherwise\n"
	  "control.sock in the runtime directory. Exit status 69 when none runs.\n",
	  NULL, false },
	{ "reload", cmd_reload, "[--control PATH]", "read the running awsocks' rules again", NULL,
	  NULL, false },
	{ "stop", cmd_stop, "[--control PATH]", "stop the running awsocks", NULL, NULL, false },
	{ "mfa", cmd_mfa, "[CODE] [--control PATH]", "the one-time code that a role waits for",
	  "A running awsocks says in its log and in awsocks status when a role needs one\n"
	  "(mfa_serial), and waits for it for 5 minutes. Without CODE it is read from standard\n"
	  "input, on a terminal without being shown: an argument list can be read by all users.\n",
	  NULL, false },
	{ "connect", cmd_connect,
	  "[--to LISTENER] [--user-file FILE] [--standalone [options]] HOST PORT",
	  "standard input and output to a destination, for ssh's ProxyCommand",
	  "LISTENER is HOST:PORT, unix:/PATH, or a listener's name. Without --to: $AWSOCKS, then\n"
	  "the first listener of the running awsocks (--control as for awsocks status).\n"
	  "Where it asks for a user, NAME:PASSWORD is the first line of FILE, or "
	  "AWSOCKS_PROXY_USER.\n"
	  "--standalone needs no running one: it routes and dials in this process, and takes the\n"
	  "options of awsocks start.\n"
	  "An instance's id for HOST (i-..., mi-...) means that instance itself: an SSM session to "
	  "its\n"
	  "port, in this process, without rules. So ssh, scp and rsync need only\n"
	  "\n"
	  "    Host i-* mi-*\n"
	  "        ProxyCommand awsocks connect %h %p\n",
	  NULL, false },
	{ "credentials", cmd_credentials, "[PROFILE] [--profile AWS_PROFILE] [--explain]",
	  "what the credential chain gives, as credential_process JSON",
	  "As `awsocks start PROFILE` finds them; takes its options too (--region, --ca-bundle).\n",
	  credentials_options, false },
	{ "login", cmd_login, "[PROFILE] [--profile AWS_PROFILE]",
	  "sign in to IAM Identity Center (SSO), with a code",
	  "Prints an address and a code, to be confirmed in a browser on any machine, and waits "
	  "for\n"
	  "it. The token is kept as `aws sso login` keeps it, for awsocks, the AWS CLI and "
	  "others.\n"
	  "PROFILE is an entry of config.yaml or a profile of ~/.aws/config. A role's source is\n"
	  "followed to the profile that signs in. For login_session there is aws login.\n",
	  login_options, false },
	{ "targets", cmd_targets, "[PROFILE] [--json] [options]",
	  "the region's instances, and what SSM says of their agents",
	  "With --instance-id, --name, --asg, --address or --filter only those meant. Managed "
	  "nodes\n"
	  "(mi-...) stand behind the instances. Where AWS allows only one of\n"
	  "ec2:DescribeInstances and ssm:DescribeInstanceInformation, that half is shown, with a\n"
	  "warning.\n",
	  targets_options, true },
	{ "doctor", cmd_doctor, "[PROFILE] [options]", "find the broken link to the instance",
	  "From the files of ~/.aws to a data channel, link by link, each tried for real (a "
	  "session\n"
	  "is started and terminated); ends at the first broken one, with what mends it and its\n"
	  "exit status. Changes nothing: a stopped instance is told, not started.\n",
	  NULL, true },
	{ "trust", cmd_trust, "FILE [--revoke]", "allow a project's .awsocks.yaml",
	  "The rules of the nearest .awsocks.yaml upwards from the working directory are used "
	  "once\n"
	  "its content was trusted; when it changes, it must be trusted again. Prints the "
	  "digest.\n",
	  trust_options, false },
	{ "demo", cmd_demo, "", "emulator, proxy and a fetch through both, on this machine", NULL,
	  NULL, false },
	{ "env", cmd_env, "[--shell SHELL] [--listener NAME | --to ADDR] [--unset | --for TOOL]",
	  "variables that make each tool use the proxy",
	  "    eval \"$(awsocks env)\"                    sh, bash, zsh\n"
	  "    awsocks env | source                      fish\n"
	  "    eval `awsocks env`                        csh\n"
	  "    awsocks env --shell powershell | Out-String | Invoke-Expression\n"
	  "\n"
	  "The proxy is the running awsocks' first listener with a port (--control as for awsocks\n"
	  "status), or the one that $AWSOCKS names; where none runs, $AWSOCKS, then what "
	  "config.yaml\n"
	  "says. What the user has in JAVA_TOOL_OPTIONS and GIT_SSH_COMMAND stays there.\n",
	  env_options, false },
	{ "exec", cmd_exec, "[--listener NAME | --to ADDR] [--all] [--no-ssh] -- COMMAND...",
	  "run a command with those variables",
	  "The proxy is found as for awsocks env. The exit status is the command's; 127 when it "
	  "is\n"
	  "not found, 126 when it cannot be run.\n",
	  exec_options, false },
	{ "bridge", cmd_bridge, bridge_args_usage, "the helper inside sandboxes and VMs",
	  bridge_args_help, NULL, false },
	{ "bwrap-args", cmd_bwrap_args, "--listener NAME [--bridge] [--null | --quote]",
	  "bubblewrap arguments for a Unix listener",
	  "    bwrap --ro-bind / / $(awsocks bwrap-args --listener box --bridge) COMMAND\n"
	  "\n"
	  "No network, the socket's directory (read-only; behind your own --tmpfs), "
	  "awsocks-bridge,\n"
	  "and the variables that make curl use the socket. With --bridge all tools can: see\n"
	  "awsocks help bridge.\n",
	  bwrap_args_options, false },
	{ "passwd", cmd_passwd, "[NAME]", "a line for users: from a password",
	  "Asks for the password twice on the terminal, or reads one line of standard input, and\n"
	  "prints the line for users: of a listener in config.yaml, or for the file of --users:\n"
	  "\n"
	  "    awsocks passwd alice >> users.yaml\n"
	  "\n"
	  "NAME is your own login name unless given. awsocks reload reads the file again.\n",
	  NULL, false },
	{ "vm", cmd_vm, "status|start|stop|console|fetch-kernel [options]",
	  "the VM of the running awsocks, in --mode vm, and its kernel",
	  "status tells what it does; start boots it, at once and also after stop, and returns "
	  "when it\n"
	  "runs; stop powers it off, and nothing boots it but start; console prints its last "
	  "words.\n"
	  "Exit status 69 when no awsocks runs, or not in VM mode, or the VM does not start.\n"
	  "fetch-kernel needs none: it gets a Linux kernel for the VM, from apt (signed) or "
	  "Debian's\n"
	  "archive (by its SHA-256), needs no root, and does nothing when it is there already.\n",
	  vm_options, false },
	{ "cal", cmd_cal, "SUBCOMMAND [--vm NAME] [options]",
	  "coding-agent VMs (CAL): their listeners, and start_socks and its kin in them",
	  "On the host: setup (again at any time), status, env --vm NAME, banner, uninstall. In "
	  "the\n"
	  "VM: start, stop, restart, status, env, uninstall. shell prints the VM's functions.\n"
	  "\n"
	  "    awsocks cal setup --vm work --ssh admin@\"$(tart ip work)\"\n"
	  "\n"
	  "CAL's own files (~/.cal/config.yaml, ~/.cal/isolation/vms/NAME/vm.yaml) may say all of\n"
	  "it in a section awsocks:, and rules: too. docs/CAL.md tells the rest.\n",
	  cal_options, false },
	{ "help", cmd_help, "[COMMAND]", "this, or one command's options", NULL, NULL, false },
	{ "version", cmd_version, "", "the version", NULL, NULL, false },
	{ "ssh-pass", cmd_ssh_pass, "SOCKET", NULL, NULL, NULL, false },
	{ "man", cmd_man, "[TEMPLATE]", NULL, NULL, NULL, false },
	{ NULL, NULL, NULL, NULL, NULL, NULL, false },
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int command_fail(const struct err *e)
{
	fprintf(stderr, "awsocks: %s\n", e->msg);
	return err_exit_status(e->code);
}

_Noreturn void command_leave(int status)
{
	(void)fflush(NULL);
	_exit(status);
}
