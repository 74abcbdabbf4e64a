#include "net/tls_trust.h"

#include <openssl/err.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

struct tls_trust {
	SSL_CTX *ctx;
	char *ca_file;
	struct stat seen; /* the file as it was read */
};

/* As it stands in OpenSSL's queue, which is emptied. */
static int openssl_err(struct err *e, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return err_set(e, ERR_TLS, "%s: %s", what, reason ? reason : "OpenSSL failed");
}

static int load_file(struct tls_trust *t, struct err *e)
{
	X509_STORE *store = X509_STORE_new();

	if (!store)
		return err_set(e, ERR_NOMEM, "certificate store");
	if (X509_STORE_load_file(store, t->ca_file) != 1) {
		X509_STORE_free(store);
		return openssl_err(e, t->ca_file);
	}
	SSL_CTX_set_cert_store(t->ctx, store); /* takes it, frees the old one */
	return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtime == b->st_mtime;
}

int tls_trust_refresh(struct tls_trust *t, struct err *e)
{
	struct stat now;

	if (!t->ca_file)
		return 0;
	if (stat(t->ca_file, &now) != 0)
		return err_set(e, ERR_TLS, "CA file %s: not readable", t->ca_file);
	if (same_file(&now, &t->seen))
		return 0;
	if (load_file(t, e) != 0)
		return err_wrap(e, "CA file");
	t->seen = now;
	return 0;
}

static int set_up(struct tls_trust *t, const char *ca_file, struct err *e)
{
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (!t->ctx)
		return openssl_err(e, "TLS");
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1)
		return openssl_err(e, "TLS 1.2");
	if (!ca_file)
		return SSL_CTX_set_default_verify_paths(t->ctx) == 1
			       ? 0
			       : openssl_err(e, "the system's certificates");
	t->ca_file = mem_strdup(ca_file);
	if (!t->ca_file)
		return err_set(e, ERR_NOMEM, "TLS");
	return tls_trust_refresh(t, e);
}

struct tls_trust *tls_trust_new(const char *ca_file, struct err *e)
{
	struct tls_trust *t = mem_alloc(sizeof(*t));

	if (!t) {
		(void)err_set(e, ERR_NOMEM, "TLS");
		return NULL;
	}
	if (set_up(t, ca_file, e) != 0) {
		tls_trust_free(t);
		return NULL;
	}
	return t;
}

void tls_trust_free(struct tls_trust *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	mem_free(t->ca_file);
	mem_free(t);
}

SSL_CTX *tls_trust_ctx(const struct tls_trust *t)
{
	return t->ctx;
}

const char *tls_trust_file(const struct tls_trust *t)
{
	return t->ca_file;
}
