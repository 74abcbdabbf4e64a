/* "HTTP/1.1 403 Forbidden", one field and one line that say why. */
#include <string.h>

#include "proxy/answer.h"

static const struct {
	int status;
	const char *phrase; /* RFC 9110, 15; RFC 6585 */
} phrases[] = {
	{ 400, "Bad Request" },
	{ 403, "Forbidden" },
	{ 407, "Proxy Authentication Required" },
	{ 429, "Too Many Requests" },
	{ 408, "Request Timeout" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
};

static const char *phrase(int status)
{
	for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Error";
}

int answer_http(struct buf *out, int status, const struct err *why, bool head, bool keep,
		struct err *e)
{
	static const char prefix[] = "awsocks: ";
	static const char challenge[] = /* RFC 7617, 2 */
		"Proxy-Authenticate: Basic realm=\"awsocks\", charset=\"UTF-8\"\r\n";

	if (!status)
		status = err_http_status(why->code);
	/* err_set() has replaced control bytes: the text is one line. */
	return buf_addf(out, e,
			"HTTP/1.1 %d %s\r\n"
			"Content-Type: text/plain; charset=utf-8\r\n"
			"Content-Length: %zu\r\n"
			"Cache-Control: no-store\r\n"
			"X-Awsocks-Reason: %s\r\n"
			"%s%s\r\n"
			"%s%s%s",
			status, phrase(status), sizeof(prefix) - 1 + strlen(why->msg) + 1, why->msg,
			status == 407 ? challenge : "", keep ? "" : "Connection: close\r\n",
			head ? "" : prefix, head ? "" : why->msg, head ? "" : "\n");
}
