#include "cmd/localaws/certs.h"

#include <stdio.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/random.h"
#include "base/str.h"

enum { DAY_S = 86400, LIFE_DAYS = 30 };

static int tls_err(struct err *e, const char *what)
{
	char text[160];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	return err_set(e, ERR_TLS, "%s: %s", what, text);
}

static bool add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509V3_set_ctx_nodb(&ctx);
	ext = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_serial(X509 *cert)
{
	unsigned char raw[16];
	BIGNUM *n;
	bool ok;

	random_bytes(raw, sizeof(raw));
	raw[0] = (unsigned char)((raw[0] & 0x7f) | 1);
	n = BN_bin2bn(raw, sizeof(raw), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	return ok;
}

/* A certificate with key and names, not signed yet. */
static X509 *begin(EVP_PKEY *key, const char *name, X509_NAME *issuer)
{
	X509 *cert = X509_new();
	X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;

	if (cert && X509_set_version(cert, 2) == 1 && set_serial(cert) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S) &&
	    X509_gmtime_adj(X509_getm_notAfter(cert), (long)LIFE_DAYS * DAY_S) &&
	    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
				       -1, 0) == 1 &&
	    X509_set_issuer_name(cert, issuer ? issuer : subject) == 1 &&
	    X509_set_pubkey(cert, key) == 1)
		return cert;
	X509_free(cert);
	return NULL;
}

static X509 *make_ca(EVP_PKEY *key)
{
	X509 *ca = begin(key, "awsocks-localaws CA", NULL);

	if (ca && add_ext(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_ext(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_ext(ca, ca, NID_subject_key_identifier, "hash") && X509_sign(ca, key, EVP_sha256()))
		return ca;
	X509_free(ca);
	return NULL;
}

static X509 *make_server(EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key, const char *region)
{
	X509 *cert = begin(key, "localhost", X509_get_subject_name(ca));
	char names[400];
	bool fits = str_fmt(names, sizeof(names),
			    "DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1,"
			    "DNS:*.amazonaws.com,DNS:*.%.40s.amazonaws.com",
			    *region ? region : "us-east-1");

	if (cert && fits && add_ext(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_ext(cert, ca, NID_key_usage, "critical,digitalSignature") &&
	    add_ext(cert, ca, NID_ext_key_usage, "serverAuth") &&
	    add_ext(cert, ca, NID_subject_alt_name, names) &&
	    add_ext(cert, ca, NID_subject_key_identifier, "hash") &&
	    add_ext(cert, ca, NID_authority_key_identifier, "keyid") &&
	    X509_sign(cert, ca_key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

static int write_pem(const char *file, X509 *cert, struct err *e)
{
	BIO *out = BIO_new_file(file, "w");
	int failed = out && PEM_write_bio_X509(out, cert) == 1 && BIO_flush(out) == 1
			     ? 0
			     : tls_err(e, file);

	BIO_free(out);
	return failed;
}

static SSL_CTX *make_context(X509 *cert, EVP_PKEY *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
	    SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1) {
		(void)SSL_CTX_set_mode(ctx,
				       SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
		return ctx;
	}
	SSL_CTX_free(ctx);
	return NULL;
}

SSL_CTX *certs_make(const char *region, const char *ca_file, struct err *e)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
	X509 *ca = ca_key && key ? make_ca(ca_key) : NULL;
	X509 *cert = ca ? make_server(key, ca, ca_key, region) : NULL;
	SSL_CTX *ctx = cert ? make_context(cert, key) : NULL;

	if (!ctx) {
		(void)tls_err(e, "certificates");
	} else if (write_pem(ca_file, ca, e) != 0) {
		SSL_CTX_free(ctx);
		ctx = NULL;
	}
	X509_free(cert);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	return ctx;
}
