/*
 * socksbench.c - loopback benchmark for SOCKS5 and HTTP CONNECT proxies (Linux).
 *
 * One file, libc only.  Build:  cc -O2 -Wall -Wextra -o socksbench socksbench.c
 *
 * It measures what a proxy costs, not how fast the network is: the same client
 * and the same target server are used through every proxy and with none, so
 * figures taken in one run can be compared as ratios.
 *
 *   socksbench serve --listen 127.0.1.1 --targets 16 --port 17000
 *   socksbench bulk  --via V --dir down|up|both --streams N --bytes 1G
 *   socksbench conn  --via V --conc C --count 20000 [--pace N] [--far-end]
 *   socksbench rtt   --via V --conc C --count 20000
 *   socksbench idle  --via V --count 2000
 *   socksbench drip  --via V --drips 1000 --seconds 8 --rate 200
 *
 * V is one of   direct | socks5:127.0.0.1:1080 | socks5:/path/of/socket |
 *               http:127.0.0.1:3128 | http:/path/of/socket
 *
 * Every client mode prints one JSON object on one line.  --pids P[,P...] names
 * the proxy's root processes: CPU and memory are summed over these and all their
 * descendants, children already reaped included.  CPU is read from the process
 * CPU clocks (nanoseconds), not from the 10 ms ticks of /proc/PID/stat.
 *
 * Only loopback addresses are accepted, for the proxy and for the target.
 *
 * --pace N: not more than N connections a second. --far-end: the target ends each.
 *
 * Ports: each connection uses the next of --sources client addresses
 * (127.0.2.1...) and the next of --targets server addresses (127.0.1.1...), so
 * that neither side of the proxy runs out of ephemeral ports to TIME_WAIT.
 * Connections are closed in the ordinary way (FIN); --rst closes with a reset.
 *
 * Target protocol: the first byte of a connection chooses what the server does:
 *   'E'            echo, that byte included, until end of file
 *   'Q'            that byte, and the end
 *   'D' u64(be) n  send n bytes of a fixed pattern, then wait for end of file
 *   'U' u64(be) n  read n bytes unseen, answer 'K'
 *   'V' u64(be) n  read n bytes comparing them with the pattern, answer 'K' or 'X'
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define IOSZ     (256 * 1024) /* read and write size of both ends in bulk mode */
#define PERIOD   65521        /* the pattern repeats with this prime period */
#define MAXEV    512
#define MAXROOTS 16

static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("socksbench: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static unsigned char pattern[PERIOD + IOSZ];
static unsigned char iobuf[IOSZ];

static void pattern_init(void)
{
	uint32_t x = 2463534242u;
	for (int i = 0; i < PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = (unsigned char)x;
	}
	for (int i = PERIOD; i < PERIOD + IOSZ; i++)
		pattern[i] = pattern[i - PERIOD];
}

static void raise_nofile(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

/* options */

enum via { VIA_DIRECT, VIA_SOCKS5, VIA_HTTP };

static struct {
	const char *via_text, *label;
	enum via via;
	bool via_unix;
	struct sockaddr_un via_un;
	struct sockaddr_in via_in;
	struct in_addr target; /* the first of ntargets consecutive addresses */
	int port, ntargets, nsources;
	uint64_t bytes;
	int streams, conc, count, pace, drips, seconds, rate, hold_ms, interval_ms;
	int dir; /* 'd', 'u' or 'b' */
	bool verify, rst, far_end;
	int timeout_s, conn_timeout_ms;
	pid_t roots[MAXROOTS];
	int nroots;
	pid_t server_pid;
} o = {
	.via_text = "direct",
	.label = "",
	.port = 17000,
	.ntargets = 16,
	.nsources = 16,
	.bytes = 1u << 30,
	.streams = 4,
	.conc = 16,
	.count = 20000,
	.drips = 1000,
	.seconds = 8,
	.rate = 200,
	.hold_ms = 1000,
	.interval_ms = 1000,
	.dir = 'd',
	.timeout_s = 60,
	.conn_timeout_ms = 10000,
};

static int parse_int(const char *s)
{
	char *e;
	long v = strtol(s, &e, 10);

	if (e == s || *e || v < -1 || v > INT32_MAX)
		die("bad number '%s'", s);
	return (int)v;
}

static uint64_t parse_size(const char *s)
{
	char *e;
	uint64_t v = strtoull(s, &e, 10);
	switch (*e) {
	case 'G': v <<= 10; /* fall through */
	case 'M': v <<= 10; /* fall through */
	case 'K':
		v <<= 10;
		e++;
		break;
	default: break;
	}
	if (*e || !v)
		die("bad size '%s'", s);
	return v;
}

static struct in_addr parse_loopback(const char *s)
{
	struct in_addr a;
	if (inet_pton(AF_INET, s, &a) != 1 || (ntohl(a.s_addr) >> 24) != 127)
		die("'%s' is not an IPv4 loopback address", s);
	return a;
}

static void parse_via(const char *s)
{
	o.via_text = s;
	if (!strcmp(s, "direct")) {
		o.via = VIA_DIRECT;
		return;
	}
	if (!strncmp(s, "socks5:", 7)) {
		o.via = VIA_SOCKS5;
		s += 7;
	} else if (!strncmp(s, "http:", 5)) {
		o.via = VIA_HTTP;
		s += 5;
	} else
		die("bad --via '%s'", s);
	if (*s == '/') {
		o.via_unix = true;
		o.via_un.sun_family = AF_UNIX;
		if (strlen(s) >= sizeof o.via_un.sun_path)
			die("socket path too long");
		memcpy(o.via_un.sun_path, s, strlen(s) + 1);
	} else {
		char host[64];
		const char *c = strrchr(s, ':');
		if (!c || (size_t)(c - s) >= sizeof host)
			die("bad --via address '%s'", s);
		memcpy(host, s, (size_t)(c - s));
		host[c - s] = 0;
		o.via_in.sin_family = AF_INET;
		o.via_in.sin_addr = parse_loopback(host);
		o.via_in.sin_port = htons((uint16_t)parse_int(c + 1));
	}
}

static void parse_pids(const char *s)
{
	while (*s) {
		char *e;
		long v = strtol(s, &e, 10);
		if (v <= 0 || o.nroots == MAXROOTS)
			die("bad --pids");
		o.roots[o.nroots++] = (pid_t)v;
		if (*e == ',')
			e++;
		else if (*e)
			die("bad --pids");
		s = e;
	}
}

static void parse_options(int argc, char **argv)
{
	enum {
		VIA = 256,
		LISTEN,
		TARGETS,
		PORT,
		SOURCES,
		BYTES,
		STREAMS,
		CONC,
		COUNT,
		PACE,
		DRIPS,
		SECONDS,
		RATE,
		HOLD,
		INTERVAL,
		DIR_,
		VERIFY,
		RST,
		FAR_END,
		TIMEOUT,
		CTIMEOUT,
		PIDS,
		SPID,
		LABEL
	};
	static const struct option lo[] = {
		{ "via", 1, 0, VIA },         { "listen", 1, 0, LISTEN },
		{ "target", 1, 0, LISTEN },   { "targets", 1, 0, TARGETS },
		{ "port", 1, 0, PORT },       { "sources", 1, 0, SOURCES },
		{ "bytes", 1, 0, BYTES },     { "streams", 1, 0, STREAMS },
		{ "conc", 1, 0, CONC },       { "count", 1, 0, COUNT },
		{ "pace", 1, 0, PACE },       { "drips", 1, 0, DRIPS },
		{ "seconds", 1, 0, SECONDS }, { "rate", 1, 0, RATE },
		{ "hold-ms", 1, 0, HOLD },    { "interval-ms", 1, 0, INTERVAL },
		{ "dir", 1, 0, DIR_ },        { "verify", 0, 0, VERIFY },
		{ "rst", 0, 0, RST },         { "far-end", 0, 0, FAR_END },
		{ "timeout", 1, 0, TIMEOUT }, { "conn-timeout-ms", 1, 0, CTIMEOUT },
		{ "pids", 1, 0, PIDS },       { "server-pid", 1, 0, SPID },
		{ "label", 1, 0, LABEL },     { 0, 0, 0, 0 }
	};
	int c;
	o.target = parse_loopback("127.0.1.1");
	while ((c = getopt_long(argc, argv, "", lo, NULL)) != -1)
		switch (c) {
		case VIA: parse_via(optarg); break;
		case LISTEN: o.target = parse_loopback(optarg); break;
		case TARGETS: o.ntargets = parse_int(optarg); break;
		case PORT: o.port = parse_int(optarg); break;
		case SOURCES: o.nsources = parse_int(optarg); break;
		case BYTES: o.bytes = parse_size(optarg); break;
		case STREAMS: o.streams = parse_int(optarg); break;
		case CONC: o.conc = parse_int(optarg); break;
		case COUNT: o.count = parse_int(optarg); break;
		case PACE: o.pace = parse_int(optarg); break;
		case DRIPS: o.drips = parse_int(optarg); break;
		case SECONDS: o.seconds = parse_int(optarg); break;
		case RATE: o.rate = parse_int(optarg); break;
		case HOLD: o.hold_ms = parse_int(optarg); break;
		case INTERVAL: o.interval_ms = parse_int(optarg); break;
		case DIR_: o.dir = optarg[0]; break;
		case VERIFY: o.verify = true; break;
		case RST: o.rst = true; break;
		case FAR_END: o.far_end = true; break;
		case TIMEOUT: o.timeout_s = parse_int(optarg); break;
		case CTIMEOUT: o.conn_timeout_ms = parse_int(optarg); break;
		case PIDS: parse_pids(optarg); break;
		case SPID: o.server_pid = (pid_t)parse_int(optarg); break;
		case LABEL: o.label = optarg; break;
		default: exit(2);
		}
	if (o.ntargets < 1 || o.ntargets > 200 || o.nsources < 0 || o.nsources > 200 ||
	    o.streams < 1 || o.conc < 1 || o.pace < 0 || o.count < 1 || o.rate < 1 || o.drips < 0 ||
	    o.seconds < 1 || o.interval_ms < 1 || !strchr("dub", o.dir))
		die("option out of range");
}

/* CPU and memory of process trees */

struct usage {
	uint64_t cpu_ns;
	uint64_t rss_kb, pss_kb;
	int procs, threads;
};

struct pinfo {
	pid_t pid, ppid;
	uint64_t ctime_ticks;
	int threads;
	bool in;
};

static uint64_t pid_cpu_ns(pid_t pid)
{
	clockid_t clk;
	struct timespec ts;
	if (clock_getcpuclockid(pid, &clk) || clock_gettime(clk, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t proc_field_kb(pid_t pid, const char *file, const char *key)
{
	char path[64], line[256];
	uint64_t v = 0;
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	FILE *f = fopen(path, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, key, strlen(key))) {
			v = strtoull(line + strlen(key), NULL, 10);
			break;
		}
	fclose(f);
	return v;
}

static bool read_pinfo(pid_t pid, struct pinfo *p)
{
	char path[64], buf[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, buf, sizeof buf - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	char *s = strrchr(buf, ')');
	long ppid, cut, cst, thr;
	if (!s ||
	    sscanf(s + 2, "%*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %ld %ld %*d %*d %ld",
		   &ppid, &cut, &cst, &thr) != 4)
		return false;
	*p = (struct pinfo){ .pid = pid,
			     .ppid = (pid_t)ppid,
			     .threads = (int)thr,
			     .ctime_ticks = (uint64_t)cut + (uint64_t)cst };
	return true;
}

static struct usage tree_usage(const pid_t *roots, int nroots, bool memory)
{
	struct usage u = { 0 };
	struct pinfo *ps = NULL;
	int n = 0, cap = 0;
	if (!nroots)
		return u;
	DIR *d = opendir("/proc");
	if (!d)
		die("/proc: %s", strerror(errno));
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		if (n == cap) {
			cap = cap ? cap * 2 : 256;
			if (!(ps = realloc(ps, (size_t)cap * sizeof *ps)))
				die("out of memory");
		}
		if (read_pinfo((pid_t)strtol(e->d_name, NULL, 10), &ps[n]))
			n++;
	}
	closedir(d);
	for (int i = 0; i < n; i++)
		for (int r = 0; r < nroots; r++)
			if (ps[i].pid == roots[r])
				ps[i].in = true;
	for (bool grew = true; grew;) {
		grew = false;
		for (int i = 0; i < n; i++)
			for (int j = 0; !ps[i].in && j < n; j++)
				if (ps[j].in && ps[j].pid == ps[i].ppid)
					ps[i].in = grew = true;
	}
	uint64_t tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	for (int i = 0; i < n; i++) {
		if (!ps[i].in)
			continue;
		u.cpu_ns += pid_cpu_ns(ps[i].pid) + ps[i].ctime_ticks * tick;
		u.procs++;
		u.threads += ps[i].threads;
		if (memory) {
			u.rss_kb += proc_field_kb(ps[i].pid, "status", "VmRSS:");
			u.pss_kb += proc_field_kb(ps[i].pid, "smaps_rollup", "Pss:");
		}
	}
	free(ps);
	return u;
}

/* Kernel memory of the whole machine: noisy, but it shows what per-process
 * figures hide (thread stacks, sockets, pipes). */
static uint64_t kernel_kb(void)
{
	static const char *keys[] = { "Slab:", "KernelStack:", "PageTables:", "Percpu:" };
	uint64_t sum = 0;
	char line[256];
	FILE *f = fopen("/proc/meminfo", "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof line, f))
		for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
			if (!strncmp(line, keys[i], strlen(keys[i])))
				sum += strtoull(line + strlen(keys[i]), NULL, 10);
	fclose(f);
	return sum;
}

static void machine_ns(uint64_t *busy, uint64_t *steal)
{
	unsigned long long us = 0, ni = 0, sy = 0, id = 0, io = 0, hi = 0, si = 0, st = 0;
	FILE *f = fopen("/proc/stat", "r");
	if (f) {
		if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &us, &ni, &sy, &id,
			   &io, &hi, &si, &st) != 8)
			us = 0;
		fclose(f);
	}
	uint64_t tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	*busy = (us + ni + sy + hi + si) * tick;
	*steal = st * tick;
}

/* A measured interval: wall time, CPU of proxy, client and server, and what
 * everything else on the machine used meanwhile (so noisy runs can be seen). */
struct span {
	uint64_t wall, proxy, self, server, busy, steal;
};

static void span_read(struct span *s)
{
	s->wall = now_ns();
	s->proxy = tree_usage(o.roots, o.nroots, false).cpu_ns;
	s->self = pid_cpu_ns(getpid());
	s->server = o.server_pid ? pid_cpu_ns(o.server_pid) : 0;
	machine_ns(&s->busy, &s->steal);
}

static struct span span_diff(const struct span *a, uint64_t end_wall)
{
	struct span b, d;
	span_read(&b);
	d.wall = (end_wall ? end_wall : b.wall) - a->wall;
	d.proxy = b.proxy - a->proxy;
	d.self = b.self - a->self;
	d.server = b.server - a->server;
	d.busy = b.busy - a->busy;
	d.steal = b.steal - a->steal;
	return d;
}

static double sec(uint64_t ns)
{
	return (double)ns / 1e9;
}

static void json_head(const char *mode)
{
	printf("{\"mode\":\"%s\",\"label\":\"%s\",\"via\":\"%s\"", mode, o.label, o.via_text);
}

static void json_span(const struct span *d)
{
	double known = sec(d->proxy) + sec(d->self) + sec(d->server);
	double other = sec(d->busy) - known;
	printf(",\"wall_s\":%.4f,\"proxy_cpu_s\":%.6f,\"client_cpu_s\":%.6f,\"server_cpu_s\":%.6f"
	       ",\"other_cpu_s\":%.2f,\"steal_s\":%.2f",
	       sec(d->wall), sec(d->proxy), sec(d->self), sec(d->server), other > 0 ? other : 0,
	       sec(d->steal));
}

static int cmp_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* Latencies are kept in units of 10 ns (a uint32_t then reaches 42 s). */
struct lat {
	uint32_t *v;
	int n, cap;
};

static void lat_add(struct lat *l, uint64_t ns)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 4096;
		if (!(l->v = realloc(l->v, (size_t)l->cap * sizeof *l->v)))
			die("out of memory");
	}
	ns /= 10;
	l->v[l->n++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static double lat_us(const struct lat *l, double q)
{
	if (!l->n)
		return 0;
	int i = (int)(q * (l->n - 1) + 0.5);
	return l->v[i] / 100.0;
}

static void json_lat(const char *prefix, struct lat *l)
{
	if (l->n)
		qsort(l->v, (size_t)l->n, sizeof *l->v, cmp_u32);
	printf(",\"%sp50_us\":%.1f,\"%sp90_us\":%.1f,\"%sp99_us\":%.1f,\"%smax_us\":%.1f", prefix,
	       lat_us(l, .5), prefix, lat_us(l, .9), prefix, lat_us(l, .99), prefix, lat_us(l, 1));
}

/* target server */

struct sconn {
	int fd;
	unsigned char mode; /* 0 until the first byte was read */
	bool bad, want_out;
	int nhead;
	unsigned char head[9];
	uint64_t left, pos;
};

static uint64_t be64(const unsigned char *p)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static void s_mod(int ep, struct sconn *c, uint32_t ev)
{
	struct epoll_event e = { .events = ev, .data.ptr = c };
	epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

/* Returns false when the connection is finished and must be closed. */
static bool s_step(int ep, struct sconn *c)
{
	ssize_t n;
	if (!c->mode) {
		unsigned char first;
		n = recv(c->fd, &first, 1, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		c->mode = first;
		if (first == 'E') {
			if (send(c->fd, &first, 1, MSG_NOSIGNAL) != 1)
				return false;
			return true;
		}
		if (first == 'Q')
			(void)!send(c->fd, &first, 1, MSG_NOSIGNAL);
		if (!strchr("DUV", first) || !first)
			return false;
		c->head[0] = first;
		c->nhead = 1;
	}
	if (c->mode == 'E') {
		n = recv(c->fd, iobuf, 4096, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		return send(c->fd, iobuf, (size_t)n, MSG_NOSIGNAL) == n;
	}
	while (c->nhead < 9) {
		n = recv(c->fd, c->head + c->nhead, (size_t)(9 - c->nhead), 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		c->nhead += (int)n;
		if (c->nhead == 9) {
			c->left = be64(c->head + 1);
			if (c->mode == 'D') {
				c->want_out = true;
				s_mod(ep, c, EPOLLOUT);
			}
		}
	}
	if (c->mode == 'D' && c->left) {
		/* A few writes per wake-up, so that parallel streams share the server. */
		for (int i = 0; i < 4 && c->left; i++) {
			size_t len = c->left < IOSZ ? (size_t)c->left : IOSZ;
			n = send(c->fd, pattern + c->pos, len, MSG_NOSIGNAL);
			if (n < 0)
				return errno == EAGAIN;
			c->left -= (uint64_t)n;
			c->pos = (c->pos + (uint64_t)n) % PERIOD;
		}
		if (!c->left) {
			c->want_out = false;
			s_mod(ep, c, EPOLLIN);
		}
		return true;
	}
	if ((c->mode == 'U' || c->mode == 'V') && c->left) {
		for (int i = 0; i < 4 && c->left; i++) {
			size_t len = c->left < IOSZ ? (size_t)c->left : IOSZ;
			n = recv(c->fd, iobuf, len, c->mode == 'U' ? MSG_TRUNC : 0);
			if (n <= 0)
				return n < 0 && errno == EAGAIN;
			if (c->mode == 'V' && memcmp(iobuf, pattern + c->pos, (size_t)n))
				c->bad = true;
			c->left -= (uint64_t)n;
			c->pos = (c->pos + (uint64_t)n) % PERIOD;
		}
		if (!c->left)
			return send(c->fd, c->bad ? "X" : "K", 1, MSG_NOSIGNAL) == 1;
		return true;
	}
	n = recv(c->fd, iobuf, 64, 0); /* finished: wait for end of file */
	return n < 0 && errno == EAGAIN;
}

static int cmd_serve(void)
{
	struct epoll_event evs[MAXEV];
	int ep = epoll_create1(EPOLL_CLOEXEC), one = 1;
	static struct sconn listeners[256];
	for (int i = 0; i < o.ntargets; i++) {
		struct sockaddr_in a = { .sin_family = AF_INET,
					 .sin_port = htons((uint16_t)o.port),
					 .sin_addr.s_addr =
						 htonl(ntohl(o.target.s_addr) + (uint32_t)i) };
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096))
			die("listen %s:%d: %s", inet_ntoa(a.sin_addr), o.port, strerror(errno));
		listeners[i] = (struct sconn){ .fd = fd, .mode = 'L' };
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &listeners[i] };
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	}
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, evs, MAXEV, -1);
		if (n < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < n; i++) {
			struct sconn *c = evs[i].data.ptr;
			if (c->mode != 'L') {
				if (!s_step(ep, c)) {
					close(c->fd);
					free(c);
				}
				continue;
			}
			for (int fd; (fd = accept4(c->fd, NULL, NULL,
						   SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
				struct sconn *k = calloc(1, sizeof *k);
				if (!k) {
					close(fd);
					break;
				}
				k->fd = fd;
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				struct epoll_event e = { .events = EPOLLIN, .data.ptr = k };
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
			}
		}
	}
}

/* client: open a tunnel */

enum state { ST_FREE, ST_CONNECT, ST_METHOD, ST_REPLY, ST_HTTP, ST_UP };
enum fail { F_CONNECT, F_EOF, F_RESET, F_PROTO, F_REFUSED, F_TIMEOUT, F_DATA, F_N };
static const char *const fail_name[F_N] = { "connect", "eof",     "reset", "protocol",
					    "refused", "timeout", "data" };
static int fails[F_N];

struct conn {
	int fd;
	enum state st;
	int have, need;
	uint32_t seq;
	uint64_t t0, left, pos;
	bool up, done, echoed;
	unsigned char hs[300];
};

static uint32_t next_seq;

static struct sockaddr_in target_of(uint32_t seq)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)o.port),
				     .sin_addr.s_addr = htonl(ntohl(o.target.s_addr) +
							      seq % (uint32_t)o.ntargets) };
}

static void c_close(struct conn *c)
{
	if (c->st == ST_FREE)
		return;
	if (o.rst) {
		struct linger l = { 1, 0 };
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	}
	close(c->fd);
	c->st = ST_FREE;
	c->fd = -1;
}

static bool c_fail(struct conn *c, enum fail f)
{
	fails[f]++;
	c_close(c);
	return false;
}

/* Starts a connection to the proxy (or target); registered edge-triggered. */
static bool c_open(struct conn *c, int ep)
{
	int one = 1, r;
	*c = (struct conn){ .fd = -1, .st = ST_CONNECT, .seq = next_seq++, .t0 = now_ns() };
	if (o.via_unix && o.via != VIA_DIRECT) {
		struct timeval tv = { 5, 0 }; /* a full backlog blocks connect() */
		c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0)
			die("socket: %s", strerror(errno));
		setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
		r = connect(c->fd, (struct sockaddr *)&o.via_un, sizeof o.via_un);
		fcntl(c->fd, F_SETFL, O_NONBLOCK);
	} else {
		struct sockaddr_in to = o.via == VIA_DIRECT ? target_of(c->seq) : o.via_in;
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (c->fd < 0)
			die("socket: %s", strerror(errno));
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (o.nsources) {
			struct sockaddr_in from = { .sin_family = AF_INET,
						    .sin_addr.s_addr =
							    htonl(0x7f000201u +
								  c->seq % (uint32_t)o.nsources) };
			setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
			if (bind(c->fd, (struct sockaddr *)&from, sizeof from))
				die("bind: %s", strerror(errno));
		}
		r = connect(c->fd, (struct sockaddr *)&to, sizeof to);
	}
	if (r && errno != EINPROGRESS)
		return c_fail(c, F_CONNECT);
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				 .data.ptr = c };
	if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e))
		die("epoll_ctl: %s", strerror(errno));
	return true;
}

static bool c_send(struct conn *c, const void *p, size_t n)
{
	return send(c->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n || c_fail(c, F_RESET);
}

/* Reads up to c->need bytes in all: 1 complete, 0 not yet, -1 failed (closed). */
static int c_recv(struct conn *c)
{
	while (c->have < c->need) {
		ssize_t n = recv(c->fd, c->hs + c->have, (size_t)(c->need - c->have), 0);
		if (n > 0)
			c->have += (int)n;
		else if (n < 0 && errno == EAGAIN)
			return 0;
		else {
			c_fail(c, n == 0 ? F_EOF : F_RESET);
			return -1;
		}
	}
	return 1;
}

/* Drives the handshake: 1 tunnel is up, 0 in progress, -1 failed (closed). */
static int c_handshake(struct conn *c)
{
	for (;;) {
		int r;
		switch (c->st) {
		case ST_CONNECT: {
			int e = 0;
			socklen_t l = sizeof e;
			if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &l) || e) {
				c_fail(c, F_CONNECT);
				return -1;
			}
			if (o.via == VIA_DIRECT) {
				c->st = ST_UP;
				return 1;
			}
			if (o.via == VIA_SOCKS5) {
				if (!c_send(c, "\5\1\0", 3))
					return -1;
				c->st = ST_METHOD;
				c->have = 0;
				c->need = 2;
			} else {
				struct sockaddr_in t = target_of(c->seq);
				char req[256], host[32];
				inet_ntop(AF_INET, &t.sin_addr, host, sizeof host);
				int n = snprintf(req, sizeof req,
						 "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n",
						 host, o.port, host, o.port);
				if (!c_send(c, req, (size_t)n))
					return -1;
				c->st = ST_HTTP;
				c->have = 0;
				c->need = sizeof c->hs - 1;
			}
			break;
		}
		case ST_METHOD: {
			if ((r = c_recv(c)) <= 0)
				return r;
			if (c->hs[0] != 5 || c->hs[1] != 0) {
				c_fail(c, F_PROTO);
				return -1;
			}
			struct sockaddr_in t = target_of(c->seq);
			unsigned char req[10] = { 5, 1, 0, 1 };
			memcpy(req + 4, &t.sin_addr, 4);
			memcpy(req + 8, &t.sin_port, 2);
			if (!c_send(c, req, sizeof req))
				return -1;
			c->st = ST_REPLY;
			c->have = 0;
			c->need = 5;
			break;
		}
		case ST_REPLY:
			if ((r = c_recv(c)) <= 0)
				return r;
			if (c->hs[0] != 5) {
				c_fail(c, F_PROTO);
				return -1;
			}
			if (c->hs[1] != 0) {
				c_fail(c, F_REFUSED);
				return -1;
			}
			if (c->need == 5) {
				c->need = c->hs[3] == 1   ? 10
					  : c->hs[3] == 4 ? 22
					  : c->hs[3] == 3 ? 7 + c->hs[4]
							  : 0;
				if (!c->need) {
					c_fail(c, F_PROTO);
					return -1;
				}
				break;
			}
			c->st = ST_UP;
			return 1;
		case ST_HTTP:
			r = c_recv(c); /* the target never speaks first */
			if (r < 0)
				return r;
			c->hs[c->have] = 0;
			if (!strstr((char *)c->hs, "\r\n\r\n")) {
				if (r) {
					c_fail(c, F_PROTO);
					return -1;
				}
				return 0;
			}
			if (strncmp((char *)c->hs, "HTTP/1.", 7) ||
			    strncmp((char *)c->hs + 8, " 200", 4)) {
				c_fail(c, F_REFUSED);
				return -1;
			}
			c->st = ST_UP;
			return 1;
		default: return 1;
		}
	}
}

static int total_fails(void)
{
	int n = 0;
	for (int i = 0; i < F_N; i++)
		n += fails[i];
	return n;
}

static void json_fails(void)
{
	printf(",\"fails\":%d", total_fails());
	if (!total_fails())
		return;
	printf(",\"fail_kinds\":{");
	for (int i = 0, first = 1; i < F_N; i++)
		if (fails[i]) {
			printf("%s\"%s\":%d", first ? "" : ",", fail_name[i], fails[i]);
			first = 0;
		}
	printf("}");
}

/* Opens n tunnels, at most `inflight` handshakes at a time; with echo, one byte
 * goes round each of them.  Returns how many are up. */
static int establish(struct conn *cs, int n, int inflight, bool echo, int ep)
{
	struct epoll_event evs[MAXEV];
	uint64_t deadline = now_ns() + (uint64_t)o.timeout_s * 1000000000u;
	int started = 0, pending = 0, up = 0;
	while ((started < n || pending) && now_ns() < deadline && total_fails() <= 50) {
		while (started < n && pending < inflight)
			if (c_open(&cs[started++], ep))
				pending++;
		int k = epoll_wait(ep, evs, MAXEV, 100);
		for (int i = 0; i < k; i++) {
			struct conn *c = evs[i].data.ptr;
			if (c->st == ST_FREE || c->done)
				continue;
			if (c->st != ST_UP) {
				int r = c_handshake(c);
				if (r < 0)
					pending--;
				if (r <= 0)
					continue;
				if (!echo) {
					c->done = true;
					up++;
					pending--;
					continue;
				}
				c->have = 0;
				c->need = 1;
				if (!c_send(c, "E", 1)) {
					pending--;
					continue;
				}
			}
			int r = c_recv(c);
			if (r < 0)
				pending--;
			if (r > 0) {
				c->done = true;
				up++;
				pending--;
			}
		}
	}
	return up;
}

/* client modes */

static int cmd_bulk(void)
{
	struct epoll_event evs[MAXEV];
	int ep = epoll_create1(EPOLL_CLOEXEC), n = o.streams;
	struct conn *cs = calloc((size_t)n, sizeof *cs);
	uint64_t deadline = now_ns() + (uint64_t)o.timeout_s * 1000000000u, moved = 0, t_end;
	struct span a, d;
	int left = establish(cs, n, 8, false, ep);
	bool ok = left == n;
	span_read(&a);
	for (int i = 0; i < n && ok; i++) {
		struct conn *c = &cs[i];
		unsigned char head[9];
		c->done = false;
		c->up = o.dir == 'u' || (o.dir == 'b' && (i & 1));
		c->left = o.bytes / (uint64_t)n;
		head[0] = c->up ? (o.verify ? 'V' : 'U') : 'D';
		for (int b = 0; b < 8; b++)
			head[1 + b] = (unsigned char)(c->left >> (56 - 8 * b));
		if (!c_send(c, head, 9)) {
			ok = false;
			break;
		}
		struct epoll_event e = { .events = c->up ? EPOLLOUT : EPOLLIN, .data.ptr = c };
		epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
	}
	while (left && ok && now_ns() < deadline) {
		int k = epoll_wait(ep, evs, MAXEV, 100);
		for (int i = 0; i < k; i++) {
			struct conn *c = evs[i].data.ptr;
			if (c->st != ST_UP)
				continue;
			for (int r = 0; r < 4 && c->left; r++) {
				size_t len = c->left < IOSZ ? (size_t)c->left : IOSZ;
				ssize_t m = c->up ? send(c->fd, pattern + c->pos, len, MSG_NOSIGNAL)
						  : recv(c->fd, iobuf, len,
							 o.verify ? 0 : MSG_TRUNC);
				if (m < 0 && errno == EAGAIN)
					break;
				if (m <= 0) {
					c_fail(c, m ? F_RESET : F_EOF);
					ok = false;
					break;
				}
				if (!c->up && o.verify &&
				    memcmp(iobuf, pattern + c->pos, (size_t)m)) {
					c_fail(c, F_DATA);
					ok = false;
					break;
				}
				c->left -= (uint64_t)m;
				c->pos = (c->pos + (uint64_t)m) % PERIOD;
				moved += (uint64_t)m;
				if (!c->left && c->up) {
					struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
					epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
					c->have = 0;
					c->need = 1;
					goto next; /* the answer is read on the next event */
				}
			}
			if (c->st != ST_UP || c->left)
				continue;
			if (c->up) {
				int r = c_recv(c);
				if (r < 0)
					ok = false;
				if (r <= 0)
					continue;
				if (c->hs[0] != 'K') {
					c_fail(c, F_DATA);
					ok = false;
					continue;
				}
			}
			left--;
			epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
		next:;
		}
	}
	t_end = now_ns();
	d = span_diff(&a, t_end);
	if (left)
		ok = false;
	for (int i = 0; i < n; i++)
		c_close(&cs[i]);
	double gb = (double)moved / 1e9;
	json_head("bulk");
	printf(",\"dir\":\"%s\",\"streams\":%d,\"verify\":%s,\"ok\":%s,\"bytes\":%" PRIu64,
	       o.dir == 'd'   ? "down"
	       : o.dir == 'u' ? "up"
			      : "both",
	       n, o.verify ? "true" : "false", ok ? "true" : "false", moved);
	printf(",\"mb_s\":%.1f,\"proxy_cpu_s_per_gb\":%.4f", gb * 1000 / sec(d.wall),
	       gb > 0 ? sec(d.proxy) / gb : 0);
	json_span(&d);
	json_fails();
	puts("}");
	return ok ? 0 : 1;
}

/* How many may have been started by now. */
static int may_start(uint64_t begun)
{
	uint64_t due = o.pace ? (now_ns() - begun) * (uint64_t)o.pace / 1000000000u + 1
			      : UINT64_MAX;

	return due < (uint64_t)o.count ? (int)due : o.count;
}

static int cmd_conn(void)
{
	struct epoll_event evs[MAXEV];
	int ep = epoll_create1(EPOLL_CLOEXEC), n = o.conc < o.count ? o.conc : o.count;
	struct conn *cs = calloc((size_t)n, sizeof *cs);
	uint64_t deadline = now_ns() + (uint64_t)o.timeout_s * 1000000000u, scan = 0, t;
	struct lat l = { 0 };
	struct span a, d;
	char what = o.far_end ? 'Q' : 'E';
	int started = 0, max_fails = o.count / 10 + 10;
	span_read(&a);
	while (l.n + total_fails() < o.count && total_fails() <= max_fails &&
	       (t = now_ns()) < deadline) {
		int due = may_start(a.wall);
		for (int i = 0; i < n; i++)
			if (cs[i].st == ST_FREE && started < due) {
				started++;
				c_open(&cs[i], ep);
			}
		int k = epoll_wait(ep, evs, MAXEV, o.pace ? 1 : 100);
		for (int i = 0; i < k; i++) {
			struct conn *c = evs[i].data.ptr;
			if (c->st == ST_FREE)
				continue;
			if (c->st != ST_UP) {
				if (c_handshake(c) <= 0)
					continue;
				c->have = 0;
				c->need = 1;
				if (!c_send(c, &what, 1))
					continue;
			}
			if (c_recv(c) <= 0)
				continue;
			if (c->hs[0] != what) {
				c_fail(c, F_DATA);
				continue;
			}
			lat_add(&l, now_ns() - c->t0);
			c_close(c);
			if (started < may_start(a.wall)) {
				started++;
				c_open(c, ep);
			}
		}
		if (t - scan > 250000000u) {
			scan = t;
			for (int i = 0; i < n; i++)
				if (cs[i].st != ST_FREE &&
				    t > cs[i].t0 + (uint64_t)o.conn_timeout_ms * 1000000u)
					c_fail(&cs[i], F_TIMEOUT);
		}
	}
	t = now_ns();
	d = span_diff(&a, t);
	bool ok = l.n == o.count;
	json_head("conn");
	printf(",\"conc\":%d,\"count\":%d,\"ok\":%s,\"done\":%d,\"conn_s\":%.1f,\"proxy_cpu_us_per_"
	       "conn\":%.2f",
	       n, o.count, ok ? "true" : "false", l.n, l.n / sec(d.wall),
	       l.n ? sec(d.proxy) * 1e6 / l.n : 0);
	json_lat("", &l);
	json_span(&d);
	json_fails();
	puts("}");
	return ok ? 0 : 1;
}

static int cmd_rtt(void)
{
	struct epoll_event evs[MAXEV];
	int ep = epoll_create1(EPOLL_CLOEXEC), n = o.conc, warm = 100 * n, sent = 0, seen = 0;
	struct conn *cs = calloc((size_t)n, sizeof *cs);
	uint64_t deadline = now_ns() + (uint64_t)o.timeout_s * 1000000000u, t_end;
	struct lat l = { 0 };
	struct span a, d;
	bool ok = establish(cs, n, 8, true, ep) == n;
	span_read(&a); /* read again once warm */
	for (int i = 0; i < n && ok; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &cs[i] };
		epoll_ctl(ep, EPOLL_CTL_MOD, cs[i].fd, &e);
		cs[i].t0 = now_ns();
		ok = c_send(&cs[i], "e", 1);
		sent++;
	}
	while (ok && seen < warm + o.count && now_ns() < deadline) {
		int k = epoll_wait(ep, evs, MAXEV, 100);
		for (int i = 0; i < k && ok; i++) {
			struct conn *c = evs[i].data.ptr;
			c->have = 0;
			c->need = 1;
			int r = c_recv(c);
			if (r < 0)
				ok = false;
			if (r <= 0)
				continue;
			uint64_t t = now_ns();
			if (seen == warm)
				span_read(&a), t = now_ns();
			else if (seen > warm)
				lat_add(&l, t - c->t0);
			seen++;
			if (sent < warm + o.count) {
				sent++;
				c->t0 = t = now_ns();
				ok = c_send(c, "e", 1);
			}
		}
	}
	t_end = now_ns();
	d = span_diff(&a, t_end);
	ok = ok && seen >= warm + o.count;
	for (int i = 0; i < n; i++)
		c_close(&cs[i]);
	json_head("rtt");
	printf(",\"conc\":%d,\"count\":%d,\"ok\":%s,\"trips_s\":%.1f,\"proxy_cpu_us_per_trip\":%."
	       "3f",
	       n, l.n, ok ? "true" : "false", l.n / sec(d.wall),
	       l.n ? sec(d.proxy) * 1e6 / l.n : 0);
	json_lat("", &l);
	json_span(&d);
	json_fails();
	puts("}");
	return ok ? 0 : 1;
}

static int cmd_idle(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct conn *cs = calloc((size_t)o.count, sizeof *cs);
	for (int i = 0; i < o.count; i++)
		cs[i].hs[0] = 1; /* touch our own memory first */
	struct usage u0 = tree_usage(o.roots, o.nroots, true);
	uint64_t k0 = kernel_kb();
	struct span a, d;
	int up = establish(cs, o.count, o.conc, true, ep);
	usleep(200000);
	struct usage u1 = tree_usage(o.roots, o.nroots, true);
	uint64_t k1 = kernel_kb();
	span_read(&a);
	usleep((useconds_t)o.hold_ms * 1000);
	d = span_diff(&a, 0);
	/* Are they still alive?  One more byte round every tunnel. */
	int alive = 0;
	for (int i = 0; i < o.count; i++) {
		struct conn *c = &cs[i];
		if (c->st != ST_UP || !c->done)
			continue;
		struct timeval tv = { 10, 0 };
		char b = 0;
		fcntl(c->fd, F_SETFL, 0);
		setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		if (send(c->fd, "z", 1, MSG_NOSIGNAL) != 1 || recv(c->fd, &b, 1, 0) != 1 ||
		    b != 'z') {
			if (++fails[F_TIMEOUT] > 5)
				break;
			continue;
		}
		alive++;
	}
	for (int i = 0; i < o.count; i++)
		c_close(&cs[i]);
	usleep(1000000);
	struct usage u2 = tree_usage(o.roots, o.nroots, true);
	bool ok = up == o.count && alive == o.count;
	double per = up ? up : 1;
	json_head("idle");
	printf(",\"count\":%d,\"ok\":%s,\"up\":%d,\"alive\":%d", o.count, ok ? "true" : "false", up,
	       alive);
	printf(",\"rss_kb_start\":%" PRIu64 ",\"rss_kb_full\":%" PRIu64
	       ",\"rss_kb_closed\":%" PRIu64,
	       u0.rss_kb, u1.rss_kb, u2.rss_kb);
	printf(",\"pss_kb_start\":%" PRIu64 ",\"pss_kb_full\":%" PRIu64, u0.pss_kb, u1.pss_kb);
	printf(",\"rss_kb_per_tunnel\":%.3f,\"pss_kb_per_tunnel\":%.3f,\"kernel_kb_per_tunnel\":%."
	       "2f",
	       ((double)u1.rss_kb - (double)u0.rss_kb) / per,
	       ((double)u1.pss_kb - (double)u0.pss_kb) / per, ((double)k1 - (double)k0) / per);
	printf(",\"procs\":%d,\"threads\":%d,\"idle_cpu_ms_per_s\":%.3f", u1.procs, u1.threads,
	       sec(d.proxy) * 1e3 / sec(d.wall));
	json_fails();
	puts("}");
	return ok ? 0 : 1;
}

/* Paced requests (open loop) for `seconds`: each is one whole connection. */
static int paced(struct lat *l, int seconds, int ep, const int *drip, int ndrip, int *dripped)
{
	struct epoll_event evs[MAXEV];
	int max = o.rate * 12, issued = 0, total = o.rate * seconds, busy = 0;
	struct conn *cs = calloc((size_t)max, sizeof *cs);
	uint64_t step = 1000000000u / (uint64_t)o.rate, t0 = now_ns();
	uint64_t end = t0 + (uint64_t)seconds * 1000000000u +
		       (uint64_t)o.conn_timeout_ms * 1000000u;
	uint64_t drip_step = ndrip ? (uint64_t)o.interval_ms * 1000000u / (uint64_t)ndrip : 0;
	uint64_t drip_next = t0;
	int drip_i = 0, scan = 0;
	while (issued < total || busy) {
		uint64_t t = now_ns();
		if (t > end)
			break;
		while (issued < total && t >= t0 + step * (uint64_t)issued) {
			while (scan < max && cs[scan].st != ST_FREE)
				scan++;
			if (scan == max) {
				scan = 0;
				break;
			}
			if (c_open(&cs[scan], ep))
				busy++;
			/* Latency counts from when the request was due, not from when we got to it.
			 */
			cs[scan].t0 = t0 + step * (uint64_t)issued;
			issued++;
			if (++scan == max)
				scan = 0;
		}
		while (ndrip && t >= drip_next) {
			unsigned char z = 'a';
			if (o.via == VIA_SOCKS5)
				z = 0;
			if (drip[drip_i] >= 0 && send(drip[drip_i], &z, 1, MSG_NOSIGNAL) == 1)
				++*dripped;
			if (++drip_i == ndrip)
				drip_i = 0;
			drip_next += drip_step;
		}
		uint64_t due = issued < total ? t0 + step * (uint64_t)issued : t + 1000000u;
		if (ndrip && drip_next < due)
			due = drip_next;
		t = now_ns();
		struct timespec nap = { 0,
					due > t ? (long)(due - t < 10000000u ? due - t : 10000000u)
						: 0 };
		int k = epoll_pwait2(ep, evs, MAXEV, &nap, NULL);
		for (int i = 0; i < k; i++) {
			struct conn *c = evs[i].data.ptr;
			if (c->st == ST_FREE)
				continue;
			if (c->st != ST_UP) {
				int r = c_handshake(c);
				if (r < 0)
					busy--;
				if (r <= 0)
					continue;
				c->have = 0;
				c->need = 1;
				if (!c_send(c, "E", 1)) {
					busy--;
					continue;
				}
			}
			int r = c_recv(c);
			if (r < 0)
				busy--;
			if (r <= 0)
				continue;
			lat_add(l, now_ns() - c->t0);
			c_close(c);
			busy--;
		}
	}
	for (int i = 0; i < max; i++)
		if (cs[i].st != ST_FREE)
			c_fail(&cs[i], F_TIMEOUT);
	free(cs);
	return issued;
}

static int cmd_drip(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), dripped = 0, opened = 0, alive = 0;
	int *drip = calloc((size_t)o.drips + 1, sizeof *drip);
	struct lat before = { 0 }, during = { 0 };
	struct span a, d0, d1;
	if (o.via == VIA_DIRECT)
		die("drip needs a proxy");
	int half = o.seconds / 2 > 0 ? o.seconds / 2 : 1;
	span_read(&a);
	int n0 = paced(&before, half, ep, NULL, 0, &dripped), f0 = total_fails();
	d0 = span_diff(&a, 0);
	/* SOCKS5: the greeting promises 255 methods, then one byte each interval. */
	for (int i = 0; i < o.drips; i++) {
		struct timeval tv = { 10, 0 };
		struct sockaddr_in from = { .sin_family = AF_INET,
					    .sin_addr.s_addr =
						    htonl(0x7f000301u + (uint32_t)i % 16) };
		int fd = socket(o.via_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r,
		    one = 1;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
		if (o.via_unix)
			r = connect(fd, (struct sockaddr *)&o.via_un, sizeof o.via_un);
		else {
			setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
			if (bind(fd, (struct sockaddr *)&from, sizeof from))
				die("bind: %s", strerror(errno));
			r = connect(fd, (struct sockaddr *)&o.via_in, sizeof o.via_in);
		}
		drip[i] = fd;
		if (r) {
			close(fd);
			drip[i] = -1;
			continue;
		}
		fcntl(fd, F_SETFL, O_NONBLOCK);
		if (o.via == VIA_SOCKS5)
			send(fd, "\5\377", 2, MSG_NOSIGNAL);
		else
			send(fd, "CONNECT 127.0.1.1:9 HTTP/1.1\r\nX-A: ", 35, MSG_NOSIGNAL);
		opened++;
	}
	usleep(500000);
	span_read(&a);
	int n1 = paced(&during, o.seconds, ep, drip, o.drips, &dripped), f1 = total_fails() - f0;
	d1 = span_diff(&a, 0);
	for (int i = 0; i < o.drips; i++) {
		char b;
		if (drip[i] < 0)
			continue;
		ssize_t r = recv(drip[i], &b, 1, MSG_PEEK | MSG_DONTWAIT);
		if (r < 0 && errno == EAGAIN)
			alive++;
		close(drip[i]);
	}
	json_head("drip");
	printf(",\"drips\":%d,\"drips_open\":%d,\"drips_alive\":%d,\"drip_bytes\":%d,\"rate\":%d",
	       o.drips, opened, alive, dripped, o.rate);
	printf(",\"before_sent\":%d,\"before_served\":%d,\"during_sent\":%d,\"during_served\":%d,"
	       "\"during_fails\":%d",
	       n0, before.n, n1, during.n, f1);
	json_lat("before_", &before);
	json_lat("", &during);
	printf(",\"before_cpu_ms_per_s\":%.2f,\"during_cpu_ms_per_s\":%.2f",
	       sec(d0.proxy) * 1e3 / sec(d0.wall), sec(d1.proxy) * 1e3 / sec(d1.wall));
	json_fails();
	puts("}");
	return during.n == n1 ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(void);
	} cmds[] = { { "serve", cmd_serve }, { "bulk", cmd_bulk }, { "conn", cmd_conn },
		     { "rtt", cmd_rtt },     { "idle", cmd_idle }, { "drip", cmd_drip } };
	if (argc < 2)
		die("usage: socksbench serve|bulk|conn|rtt|idle|drip [options]; see the head of "
		    "the source");
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_TIMERSLACK, 1000); /* ns: paced requests leave on time */
	raise_nofile();
	pattern_init();
	parse_options(argc - 1, argv + 1);
	for (size_t i = 0; i < sizeof cmds / sizeof *cmds; i++)
		if (!strcmp(argv[1], cmds[i].name))
			return cmds[i].fn();
	die("unknown command '%s'", argv[1]);
}
