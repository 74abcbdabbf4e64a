#include "base/httpdate.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

/* `form` is a picture: digits stand for themselves as "any digit", 'x' for any
 * letter, everything else for itself. */
static bool looks_like(const char *text, const char *form)
{
	for (; *form; form++, text++) {
		unsigned char c = (unsigned char)*text;

		if (*form == '0' ? !isdigit(c) : *form == 'x' ? !isalpha(c) : *text != *form)
			return false;
	}
	return *text == '\0';
}

static int two(const char *p)
{
	return (p[0] - '0') * 10 + p[1] - '0';
}

bool httpdate_parse(const char *text, int64_t *wall_ms)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = { 0 };
	char name[4] = "";
	const char *month;

	if (!looks_like(text, "xxx, 00 xxx 0000 00:00:00 GMT"))
		return false;
	memcpy(name, text + 8, 3);
	month = strstr(months, name);
	if (!month || (month - months) % 3)
		return false;
	tm.tm_mday = two(text + 5);
	tm.tm_mon = (int)(month - months) / 3;
	tm.tm_year = two(text + 12) * 100 + two(text + 14) - 1900;
	tm.tm_hour = two(text + 17);
	tm.tm_min = two(text + 20);
	tm.tm_sec = two(text + 23);
	if (tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return false;
	*wall_ms = (int64_t)timegm(&tm) * 1000;
	return true;
}
