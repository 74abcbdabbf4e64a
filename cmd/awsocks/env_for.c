/*
 * `awsocks env --for TOOL`: settings for tools that read no variables, or not those of the shell.
 * What goes into a file is printed as it shall stand there, and where it goes on standard error.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/suggest.h"
#include "cmd/awsocks/env.h"
#include "net/addr.h"

enum { OUTPUT_MAX = 16 * 1024 };

/* In the texts: @U http://HOST:PORT, @A HOST:PORT or unix:/PATH, @H the host without brackets, @P
 * the port, @F the socket's path, @C the command for ssh, @J what Java shall not proxy. */

struct tool {
	const char *name;
	const char *where;       /* the file; NULL: a command's arguments */
	const char *tcp;         /* NULL: see loopback */
	const char *loopback;    /* instead, where the proxy is on this host's loopback */
	const char *unix_socket; /* NULL: it cannot use one */
};

static const struct tool tools[] = {
	{ "apt", "/etc/apt/apt.conf.d/90awsocks",
	  "Acquire::http::Proxy \"@U\";\n"
	  "Acquire::https::Proxy \"@U\";\n",
	  NULL, NULL },
	{ "cargo", "~/.cargo/config.toml",
	  "[http]\n"
	  "proxy = \"@A\"\n",
	  NULL, NULL },
	{ "chromium", NULL, "--proxy-server=@U\n", NULL, NULL },
	{ "claude", "~/.claude/settings.json",
	  "{\n"
	  "  \"env\": {\n"
	  "    \"HTTP_PROXY\": \"@U\",\n"
	  "    \"HTTPS_PROXY\": \"@U\",\n"
	  "    \"NO_PROXY\": \"" PROXY_VARS_NO_PROXY "\"\n"
	  "  }\n"
	  "}\n",
	  "{\n"
	  "  \"env\": {\n"
	  "    \"HTTP_PROXY\": \"@U\",\n"
	  "    \"HTTPS_PROXY\": \"@U\",\n"
	  "    \"NO_PROXY\": \"" PROXY_VARS_NO_PROXY "\"\n"
	  "  },\n"
	  "  \"sandbox\": {\n"
	  "    \"network\": { \"httpProxyPort\": @P, \"socksProxyPort\": @P }\n"
	  "  }\n"
	  "}\n",
	  NULL },
	{ "curl", "~/.curlrc", "proxy = \"@U\"\n", NULL, "proxy = \"socks5h://localhost@F\"\n" },
	{ "dnf", "/etc/dnf/dnf.conf, under [main]", "proxy=@U\n", NULL, NULL },
	{ "docker", "~/.docker/config.json",
	  "{\n"
	  "  \"proxies\": {\n"
	  "    \"default\": {\n"
	  "      \"httpProxy\": \"@U\",\n"
	  "      \"httpsProxy\": \"@U\",\n"
	  "      \"noProxy\": \"" PROXY_VARS_NO_PROXY "\"\n"
	  "    }\n"
	  "  }\n"
	  "}\n",
	  NULL, NULL },
	{ "docker-daemon", "/etc/docker/daemon.json (then: systemctl restart docker)",
	  "{\n"
	  "  \"proxies\": {\n"
	  "    \"http-proxy\": \"@U\",\n"
	  "    \"https-proxy\": \"@U\",\n"
	  "    \"no-proxy\": \"" PROXY_VARS_NO_PROXY "\"\n"
	  "  }\n"
	  "}\n",
	  NULL, NULL },
	{ "firefox", "user.js in the profile's folder",
	  "user_pref(\"network.proxy.type\", 1);\n"
	  "user_pref(\"network.proxy.http\", \"@H\");\n"
	  "user_pref(\"network.proxy.http_port\", @P);\n"
	  "user_pref(\"network.proxy.ssl\", \"@H\");\n"
	  "user_pref(\"network.proxy.ssl_port\", @P);\n",
	  NULL,
	  "user_pref(\"network.proxy.type\", 1);\n"
	  "user_pref(\"network.proxy.socks\", \"file://@F\");\n"
	  "user_pref(\"network.proxy.socks_version\", 5);\n"
	  "user_pref(\"network.proxy.socks_remote_dns\", true);\n" },
	{ "git", "~/.gitconfig",
	  "[http]\n"
	  "\tproxy = @U\n"
	  "[core]\n"
	  "\tsshCommand = \"ssh -o ProxyCommand='@C'\"\n",
	  NULL,
	  "[core]\n"
	  "\tsshCommand = \"ssh -o ProxyCommand='@C'\"\n" },
	{ "gradle", "~/.gradle/gradle.properties",
	  "systemProp.http.proxyHost=@H\n"
	  "systemProp.http.proxyPort=@P\n"
	  "systemProp.https.proxyHost=@H\n"
	  "systemProp.https.proxyPort=@P\n"
	  "systemProp.http.nonProxyHosts=@J\n",
	  NULL, NULL },
	{ "java", NULL,
	  "-Dhttp.proxyHost=@H\n"
	  "-Dhttp.proxyPort=@P\n"
	  "-Dhttps.proxyHost=@H\n"
	  "-Dhttps.proxyPort=@P\n"
	  "-Dhttp.nonProxyHosts=@J\n",
	  NULL, NULL },
	{ "maven", "~/.m2/settings.xml",
	  "<settings>\n"
	  "  <proxies>\n"
	  "    <proxy><id>awsocks-http</id><active>true</active><protocol>http</protocol>\n"
	  "      <host>@H</host><port>@P</port><nonProxyHosts>@J</nonProxyHosts></proxy>\n"
	  "    <proxy><id>awsocks-https</id><active>true</active><protocol>https</protocol>\n"
	  "      <host>@H</host><port>@P</port><nonProxyHosts>@J</nonProxyHosts></proxy>\n"
	  "  </proxies>\n"
	  "</settings>\n",
	  NULL, NULL },
	{ "npm", "~/.npmrc",
	  "proxy=@U\n"
	  "https-proxy=@U\n"
	  "noproxy=" PROXY_VARS_NO_PROXY "\n",
	  NULL, NULL },
	{ "pip", "~/.config/pip/pip.conf",
	  "[global]\n"
	  "proxy = @U\n",
	  NULL, NULL },
	/* It takes ports only, of this host. */
	{ "srt", "~/.srt-settings.json, as its network", NULL,
	  "{\n"
	  "  \"network\": {\n"
	  "    \"httpProxyPort\": @P,\n"
	  "    \"socksProxyPort\": @P,\n"
	  "    \"allowedDomains\": [],\n"
	  "    \"deniedDomains\": []\n"
	  "  }\n"
	  "}\n",
	  NULL },
	{ "ssh", "~/.ssh/config (name the hosts that it is meant for instead of *)",
	  "Host *\n"
	  "    ProxyCommand @C\n",
	  NULL,
	  "Host *\n"
	  "    ProxyCommand @C\n" },
	{ "sudo", "/etc/sudoers.d/awsocks (by visudo -f): sudo keeps the shell's variables then",
	  "Defaults env_keep += \"HTTP_PROXY HTTPS_PROXY http_proxy https_proxy ALL_PROXY "
	  "all_proxy NO_PROXY no_proxy\"\n",
	  NULL, NULL },
	{ "systemd", "/etc/systemd/system/NAME.service.d/awsocks.conf",
	  "[Service]\n"
	  "Environment=\"HTTP_PROXY=@U\" \"HTTPS_PROXY=@U\" \"http_proxy=@U\" \"https_proxy=@U\"\n"
	  "Environment=\"ALL_PROXY=@U\" \"all_proxy=@U\"\n"
	  "Environment=\"NO_PROXY=" PROXY_VARS_NO_PROXY "\" \"no_proxy=" PROXY_VARS_NO_PROXY "\"\n",
	  NULL, NULL },
	{ "vscode", "settings.json", "{ \"http.proxy\": \"@U\" }\n", NULL, NULL },
	{ "wget", "~/.wgetrc",
	  "use_proxy = on\n"
	  "http_proxy = @U\n"
	  "https_proxy = @U\n",
	  NULL, NULL },
	{ "yarn", "~/.yarnrc.yml",
	  "httpProxy: \"@U\"\n"
	  "httpsProxy: \"@U\"\n",
	  NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static const char *next_tool(const void *arg, size_t i)
{
	(void)arg;
	return tools[i].name;
}

static int no_tool(const char *name, struct err *e)
{
	const char *near = suggest(name, next_tool, NULL);

	return err_set(e, ERR_USAGE, "--for '%.40s'%s%s: awsocks help env lists the tools", name,
		       near ? ": did you mean " : " is not known here", near ? near : "");
}

static int add_part(struct buf *b, char what, const struct env_vars *v, struct err *e)
{
	char at[HOST_MAX + 16];

	env_place_format(&v->place, at);
	switch (what) {
	case 'U': return buf_addf(b, e, "http://%s", at);
	case 'A': return buf_addf(b, e, "%s", at);
	case 'H': return buf_addf(b, e, "%s", v->place.host);
	case 'P': return buf_addf(b, e, "%u", v->place.port);
	case 'F': return buf_addf(b, e, "%s", v->place.unix_path);
	case 'J': return buf_addf(b, e, "localhost|127.*|[::1]");
	case 'C':
	default: return buf_addf(b, e, "%s connect --to %s %%h %%p", v->opts.program, at);
	}
}

static int fill(struct buf *b, const char *text, const struct env_vars *v, struct err *e)
{
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "@");

		if (buf_add(b, p, n, e) != 0)
			return -1;
		p += n;
		if (!*p)
			break;
		if (add_part(b, p[1], v, e) != 0)
			return -1;
		p += 2;
	}
	return 0;
}

static bool on_loopback(const struct env_place *p)
{
	struct addr at;

	return strcmp(p->host, "localhost") == 0 ||
	       (addr_from_literal(p->host, p->port, &at) && addr_is_loopback(&at));
}

/* The text that fits the place; NULL: *e says why there is none. */
static const char *text_for(const struct tool *t, const struct env_place *p, struct err *e)
{
	char at[HOST_MAX + 16];

	env_place_format(p, at);
	if (!*p->host && !t->unix_socket)
		(void)err_set(e, ERR_USAGE,
			      "%s cannot use a Unix socket: give it a port with awsocks bridge "
			      "--listen 127.0.0.1:1080 --to %s",
			      t->name, at);
	else if (!*p->host)
		return t->unix_socket;
	else if (t->loopback && on_loopback(p))
		return t->loopback;
	else if (!t->tcp)
		(void)err_set(
			e, ERR_USAGE,
			"%s takes ports of this host's loopback only: awsocks bridge --listen "
			"127.0.0.1:1080 --to %s gives one",
			t->name, at);
	return *p->host ? t->tcp : NULL;
}

/* Refuses paths that none of these files could quote. */
static int ignore(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
		  struct err *e)
{
	(void)arg;
	(void)name;
	(void)value;
	(void)kind;
	(void)e;
	return 0;
}

static int print(const struct tool *t, const struct env_vars *v, const char *text, struct err *e)
{
	struct buf b;
	int rc;

	buf_init(&b, OUTPUT_MAX);
	rc = fill(&b, text, v, e);
	if (rc == 0 &&
	    (fwrite(buf_ptr(&b), 1, buf_len(&b), stdout) != buf_len(&b) || fflush(stdout) != 0))
		rc = err_set(e, ERR_IO, "standard output");
	buf_free(&b);
	if (rc != 0)
		return -1;
	if (t->where)
		fprintf(stderr, "awsocks: for %s\n", t->where);
	if (strcmp(t->name, "docker") == 0 && on_loopback(&v->place))
		fprintf(stderr,
			"awsocks: in a container %s is the container itself: name a listener that "
			"it reaches, as --to 172.17.0.1:%u\n",
			v->place.host, v->place.port);
	return 0;
}

int env_for(const char *tool, const struct env_vars *v, struct err *e)
{
	const char *text;

	if (proxy_vars_each(&v->opts, ignore, NULL, e) != 0)
		return -1;
	for (const struct tool *t = tools; t->name; t++) {
		if (strcmp(t->name, tool) != 0)
			continue;
		text = text_for(t, &v->place, e);
		return text ? print(t, v, text, e) : -1;
	}
	return no_tool(tool, e);
}
