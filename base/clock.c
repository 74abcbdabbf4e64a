#include "base/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t system_mono_ms(const struct clock *c)
{
	struct timespec t;

	(void)c;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int64_t system_wall_ms(const struct clock *c)
{
	struct timespec t;

	(void)c;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const struct clock clock_system = { system_mono_ms, system_wall_ms };

static struct tm broken_down(int64_t wall_ms)
{
	time_t secs = (time_t)(wall_ms / 1000);
	struct tm tm = { 0 };

	gmtime_r(&secs, &tm);
	return tm;
}

void clock_amz_date(int64_t wall_ms, char out[static 17])
{
	struct tm tm = broken_down(wall_ms);

	strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm);
}

void clock_iso(int64_t wall_ms, char out[static 25])
{
	struct tm tm = broken_down(wall_ms);
	char head[20]; /* "2026-11-22T03:04:05" */

	strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 25, "%s.%03uZ", head, (unsigned)(wall_ms % 1000) % 1000u);
}

/* Days since the epoch of a civil date (proleptic Gregorian calendar). */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* Digits at *p, exactly n of them; -1 when they are not. */
static int number(const char **p, int n)
{
	int value = 0;

	while (n--) {
		if (!isdigit((unsigned char)**p))
			return -1;
		value = value * 10 + *(*p)++ - '0';
	}
	return value;
}

/* "", "Z", "UTC", "+hh:mm", "-hh:mm" (colon optional) in minutes; false: none. */
static bool zone_minutes(const char *p, int *minutes)
{
	int sign, h, m;

	*minutes = 0;
	if (!strcmp(p, "Z") || !strcmp(p, "z") || !strcmp(p, "UTC"))
		return true;
	if (*p != '+' && *p != '-')
		return false;
	sign = *p++ == '-' ? -1 : 1;
	h = number(&p, 2);
	if (*p == ':')
		p++;
	m = number(&p, 2);
	if (h < 0 || h > 23 || m < 0 || m > 59 || *p)
		return false;
	*minutes = sign * (h * 60 + m);
	return true;
}

int clock_parse_iso(const char *text, int64_t *wall_ms, struct err *e)
{
	const char *p = text;
	int y, mo, d, h, mi, s, zone, ms = 0, scale = 100;

	y = number(&p, 4);
	if (y < 0 || *p++ != '-' || (mo = number(&p, 2)) < 1 || mo > 12 || *p++ != '-' ||
	    (d = number(&p, 2)) < 1 || d > 31 || (*p != 'T' && *p != 't' && *p != ' '))
		return err_set(e, ERR_PROTO, "'%.40s' is not a date and time", text);
	p++;
	if ((h = number(&p, 2)) < 0 || h > 23 || *p++ != ':' || (mi = number(&p, 2)) < 0 ||
	    mi > 59 || *p++ != ':' || (s = number(&p, 2)) < 0 || s > 60)
		return err_set(e, ERR_PROTO, "'%.40s' is not a date and time", text);
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p); p++, scale /= 10)
			ms += (*p - '0') * scale;
	if (!zone_minutes(p, &zone))
		return err_set(e, ERR_PROTO, "'%.40s' has no time zone", text);
	*wall_ms = ((days_from_civil(y, mo, d) * 24 + h) * 60 + mi - zone) * 60000LL + s * 1000LL +
		   ms;
	return 0;
}
