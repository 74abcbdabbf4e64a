#ifndef LOCALAWS_API_SSM_H
#define LOCALAWS_API_SSM_H
/* What the files of SSM's calls share. */
#include <stdbool.h>
#include <stddef.h>

#include "cmd/localaws/api.h"

/* A member of the input; NULL: it is not there. */
const struct cJSON *ssm_member(const struct api_call *, const char *name);
/* ValidationException; value NULL: null. */
void ssm_invalid(struct api_call *, const char *field, const char *value, const char *rule);
/* What AWS counts: characters, not the bytes that they take in UTF-8. */
size_t ssm_characters(const char *text);
/* A text of 1..max characters. NULL: the error is written. */
const char *ssm_text_member(struct api_call *, const char *name, const char *field, size_t max);
/* By the fault: true, and the error is written. */
bool ssm_denied(struct api_call *, const char *op);

void ssm_describe_instance_information(struct api_call *);
void ssm_describe_sessions(struct api_call *);
#endif
