/* Tables, and the two forms of an error's body. */
#include "credentials/aws_error.h"

#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/str.h"
#include "credentials/aws_xml.h"

static const char *const throttled[] = {
	"Throttling",
	"ThrottlingException",
	"ThrottledException",
	"RequestThrottledException",
	"TooManyRequestsException",
	"ProvisionedThroughputExceededException",
	"TransactionInProgressException",
	"RequestLimitExceeded",
	"BandwidthLimitExceeded",
	"LimitExceededException",
	"RequestThrottled",
	"SlowDown",
	"PriorRequestNotComplete",
	"EC2ThrottledException",
	NULL,
};
static const char *const transient[] = { "RequestTimeout", "RequestTimeoutException",
					 "InternalError", "InternalServerError", NULL };
static const char *const expired[] = { "ExpiredToken", "ExpiredTokenException", "RequestExpired",
				       NULL };
static const char *const clocks[] = {
	"RequestTimeTooSkewed",  "RequestExpired", "InvalidSignatureException",
	"SignatureDoesNotMatch", "AuthFailure",    NULL
};
static const char *const refused[] = { "AccessDenied",
				       "AccessDeniedException",
				       "UnauthorizedOperation",
				       "UnauthorizedAccess",
				       "UnrecognizedClientException",
				       "UnrecognizedClient",
				       "InvalidClientTokenId",
				       "InvalidAccessKeyId",
				       "IncompleteSignature",
				       "IncompleteSignatureException",
				       "InvalidSignature",
				       "MissingAuthenticationToken",
				       "MissingAuthenticationTokenException",
				       "InvalidToken",
				       NULL };

static bool in(const char *const *table, const char *code)
{
	for (; *table; table++)
		if (strcmp(*table, code) == 0)
			return true;
	return false;
}

enum aws_verdict aws_error_verdict(int status, const char *code)
{
	if (in(throttled, code) || status == 429)
		return AWS_THROTTLED;
	if (in(clocks, code))
		return AWS_CLOCK;
	if (in(expired, code))
		return AWS_EXPIRED;
	if (in(transient, code) || status == 500 || (status >= 502 && status <= 504))
		return AWS_TRANSIENT;
	return AWS_FATAL;
}

bool aws_error_expired(const char *code)
{
	return in(expired, code);
}

enum err_code aws_error_class(int status, const char *code)
{
	if (strcmp(code, "TargetNotConnected") == 0)
		return ERR_TARGET;
	if (in(refused, code) || in(clocks, code) || in(expired, code))
		return ERR_CREDS;
	if (in(throttled, code) || status == 429)
		return ERR_LIMIT;
	return ERR_AWS;
}

unsigned aws_retry_delay_ms(unsigned tries, uint32_t random)
{
	unsigned most = tries > 4 ? 20000 : 1000u << tries;

	if (most > 20000)
		most = 20000;
	return (unsigned)((uint64_t)random * most >> 32);
}

/* "com.amazonaws.ssm#Code:http://..." -> "Code" */
static void set_code(struct aws_error *out, const char *type)
{
	const char *hash = strrchr(type, '#');

	if (hash)
		type = hash + 1;
	(void)str_fmt(out->code, sizeof(out->code), "%.*s", (int)strcspn(type, ":"), type);
}

static const char *text_of(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static void read_json(const char *body, size_t n, struct aws_error *out)
{
	cJSON *root = cJSON_ParseWithLength(body, n);
	const char *type = text_of(root, "__type"), *message = text_of(root, "message");

	if (!type)
		type = text_of(root, "code");
	if (!message)
		message = text_of(root, "Message");
	if (type && !*out->code)
		set_code(out, type);
	if (message)
		(void)str_fmt(out->message, sizeof(out->message), "%s", message);
	cJSON_Delete(root);
}

static void read_xml(const char *body, size_t n, struct aws_error *out)
{
	struct xml *root;
	const struct xml *error;
	const char *code, *message, *id;

	if (xml_parse(body, n, &root, NULL) != 0)
		return;
	error = xml_at(root, "Error"); /* STS */
	if (!error)
		error = xml_at(root, "Errors/Error"); /* EC2 */
	code = xml_text(error, "Code");
	message = xml_text(error, "Message");
	id = xml_text(root, "RequestId");
	if (!id)
		id = xml_text(root, "RequestID");
	if (code)
		set_code(out, code);
	if (message)
		(void)str_fmt(out->message, sizeof(out->message), "%s", message);
	if (id)
		(void)str_fmt(out->request_id, sizeof(out->request_id), "%s", id);
	xml_free(root);
}

void aws_error_read(enum aws_protocol protocol, const char *body, size_t n, const char *header_type,
		    struct aws_error *out)
{
	*out = (struct aws_error){ 0 };
	if (header_type)
		set_code(out, header_type);
	if (protocol == AWS_JSON11)
		read_json(body, n, out);
	else
		read_xml(body, n, out);
}
