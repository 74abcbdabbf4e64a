#ifndef CREDENTIALS_JSON_SECRET_H
#define CREDENTIALS_JSON_SECRET_H
/* JSON with secrets in it: the tree's texts are wiped before it is freed. */
#include <stddef.h>

struct cJSON;

/* NULL: not JSON, or out of memory. */
struct cJSON *json_secret_parse(const char *text, size_t n);
void json_secret_free(struct cJSON *); /* NULL allowed */
/* A member's text; NULL: not there, or no text. object may be NULL. */
const char *json_text(const struct cJSON *object, const char *name);
#endif
