/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS client contexts: our certificate and key, the CA we trust, TLS >= 1.2.
 *
 * Each file is looked at by itself before OpenSSL gets all three, because its own messages name neither the file nor
 * the cause. A certificate that is not valid *yet* is let through: a machine without a battery-backed clock starts in
 * 1970 and gets the time later; the peer judges then. An expired one is refused, because no waiting cures it.
 */
#include "core/crypt/crypt.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

struct crypt_tls {
    SSL_CTX *context;                                            /* owned */
    char *ca_path, *cert_path, *key_path;                        /* owned */
    struct crypt_tls_options files;                              /* points at them */
    char identity[ID_MAX + 1];
};

static void file_close(FILE **file)
{
    if (*file != NULL) {
        fclose(*file);
    }
}

static void x509_freep(X509 **certificate)
{
    X509_free(*certificate);
}

static void pkey_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

/* What OpenSSL refuses for want of memory says nothing of the file. Its queue of errors is not always told, so memory
 * is asked for as well. The queue is emptied. */
static bool out_of_memory(void)
{
    enum { PROBE_BYTES = 16 * 1024 };
    bool found = false;
    for (unsigned long code; (code = ERR_get_error()) != 0;) {
        found = found || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    }
    char *volatile probe = malloc(PROBE_BYTES);
    found = found || probe == NULL;
    free(probe);
    return found;
}

static enum err fault_memory(struct fault *reterr, const char *what, const char *path)
{
    return fault_set(reterr, ERR_NOMEM, "out of memory: %s %s", what, path);
}

/* The latest call of OpenSSL's did not take a file. */
static enum err refused(struct fault *reterr, const char *what, const char *path)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return out_of_memory() ? fault_memory(reterr, what, path)
                           : fault_set(reterr, ERR_MALFORMED, "OpenSSL does not take it (%s): %s %s",
                                       reason ? reason : "no reason given", what, path);
}

static enum err open_file(const char *what, const char *path, FILE **ret_file, struct fault *reterr)
{
    if (path == NULL || path[0] == '\0') {
        return fault_set(reterr, ERR_NOT_FOUND, "no %s file is named", what);
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        enum err code = errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
        return fault_set(reterr, code, "%s: %s %s", strerror(errno), what, path);
    }
    *ret_file = file;
    return OK;
}

static bool expired(const X509 *certificate, char ret_date[11])
{
    const ASN1_TIME *end = X509_get0_notAfter(certificate);
    struct tm tm;
    if (X509_cmp_current_time(end) >= 0 || ASN1_TIME_to_tm(end, &tm) != 1) {
        return false;
    }
    strftime(ret_date, 11, "%Y-%m-%d", &tm);
    return true;
}

/* A bundle may carry a CA's old certificate beside its new one: one that has not expired is enough. */
static enum err check_ca(const char *path, struct fault *reterr)
{
    CLEANUP(file_close) FILE *file = NULL;
    TRY(open_file("CA certificate", path, &file, reterr));
    unsigned found = 0, dead = 0;
    char date[11] = "";
    for (;;) {
        CLEANUP(x509_freep) X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
        if (certificate == NULL) {
            break;
        }
        found++;
        dead += expired(certificate, date);
    }
    bool no_memory = out_of_memory();
    if (found == 0 && no_memory) {
        return fault_memory(reterr, "CA certificate", path);
    }
    if (found == 0) {
        return fault_set(reterr, ERR_MALFORMED, "no PEM certificate in it: CA certificate %s", path);
    }
    if (dead == found) {
        return fault_set(reterr, ERR_DENIED, "expired on %s: CA certificate %s", date, path);
    }
    return OK;
}

static enum err load_certificate(const char *path, X509 **ret_certificate, struct fault *reterr)
{
    CLEANUP(file_close) FILE *file = NULL;
    TRY(open_file("certificate", path, &file, reterr));
    CLEANUP(x509_freep) X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    bool no_memory = out_of_memory();
    if (certificate == NULL) {
        return no_memory ? fault_memory(reterr, "certificate", path)
                         : fault_set(reterr, ERR_MALFORMED, "no PEM certificate in it: certificate %s", path);
    }
    char date[11];
    if (expired(certificate, date)) {
        return fault_set(reterr, ERR_DENIED, "expired on %s: certificate %s", date, path);
    }
    *ret_certificate = take(certificate);
    return OK;
}

/* Without this OpenSSL asks on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    *(bool *)arg = true;
    return 0;
}

static enum err load_key(const char *path, EVP_PKEY **ret_key, struct fault *reterr)
{
    CLEANUP(file_close) FILE *file = NULL;
    TRY(open_file("private key", path, &file, reterr));
    bool encrypted = false;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, no_passphrase, &encrypted);
    bool no_memory = out_of_memory();
    if (key == NULL && no_memory) {
        return fault_memory(reterr, "private key", path);
    }
    if (key == NULL) {
        return encrypted ? fault_set(reterr, ERR_UNSUPPORTED, "protected by a passphrase: private key %s", path)
                         : fault_set(reterr, ERR_MALFORMED, "no PEM private key in it: private key %s", path);
    }
    *ret_key = key;
    return OK;
}

/* The common name is the identity, so it must be one, and only one. */
static enum err read_identity(X509 *certificate, const char *path, char ret_identity[ID_MAX + 1],
                              struct fault *reterr)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) {
        return fault_set(reterr, ERR_MALFORMED, "it has no common name: certificate %s", path);
    }
    if (X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return fault_set(reterr, ERR_MALFORMED, "it has more than one common name: certificate %s", path);
    }
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (len < 0) {
        return fault_set(reterr, ERR_MALFORMED, "its common name is no text: certificate %s", path);
    }
    enum err err = OK;
    if (id_valid(slice_of(text, (size_t)len))) {
        memcpy(ret_identity, text, (size_t)len);
        ret_identity[len] = '\0';
    } else {
        char shown[ID_MAX + 1];
        int n = 0;
        for (; n < len && n < ID_MAX; n++) {
            shown[n] = (char)(text[n] >= ' ' && text[n] < 127 ? text[n] : '?');
        }
        shown[n] = '\0';
        err = fault_set(reterr, ERR_MALFORMED,
                        "its common name \"%s\" is no identity (1 to 64 of A-Z a-z 0-9 _ -): certificate %s",
                        shown, path);
    }
    OPENSSL_free(text);
    return err;
}

/* OpenSSL keeps a certificate whose key it could not decode, for want of memory for instance; then it trusts nobody. */
static enum err check_trusted(SSL_CTX *context, const char *path, struct fault *reterr)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (certificate != NULL && X509_get0_pubkey(certificate) == NULL) {
            return refused(reterr, "CA certificate", path);
        }
    }
    return OK;
}

static enum err make_context(const struct crypt_tls *tls, X509 *certificate, EVP_PKEY *key, struct fault *reterr)
{
    SSL_CTX *c = tls->context;
    if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) {
        return out_of_memory() ? fault_memory(reterr, "ciphers for", tls->cert_path)
                               : fault_set(reterr, ERR_UNSUPPORTED,
                                           "this OpenSSL offers neither TLS 1.2 nor its AEAD ciphers");
    }
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(c, tls->ca_path, NULL) != 1) {
        return refused(reterr, "CA certificate", tls->ca_path);
    }
    TRY(check_trusted(c, tls->ca_path, reterr));
    if (X509_check_private_key(certificate, key) != 1) {
        return fault_set(reterr, ERR_CONFLICT, "private key %s does not belong to certificate %s", tls->key_path,
                         tls->cert_path);
    }
    if (SSL_CTX_use_certificate_chain_file(c, tls->cert_path) != 1) {
        return refused(reterr, "certificate", tls->cert_path);
    }
    if (SSL_CTX_use_PrivateKey(c, key) != 1) {
        return refused(reterr, "private key", tls->key_path);
    }
    return OK;
}

static char *copy_path(const char *path)
{
    return strdup(path != NULL ? path : "");
}

static enum err load(const struct crypt_tls_options *options, struct crypt_tls **ret_tls, struct fault *reterr)
{
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    tls->ca_path = copy_path(options->ca_path);
    tls->cert_path = copy_path(options->cert_path);
    tls->key_path = copy_path(options->key_path);
    tls->context = SSL_CTX_new(TLS_client_method());
    if (tls->ca_path == NULL || tls->cert_path == NULL || tls->key_path == NULL || tls->context == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    tls->files = (struct crypt_tls_options){tls->ca_path, tls->cert_path, tls->key_path};
    TRY(check_ca(tls->ca_path, reterr));
    CLEANUP(x509_freep) X509 *certificate = NULL;
    TRY(load_certificate(tls->cert_path, &certificate, reterr));
    CLEANUP(pkey_freep) EVP_PKEY *key = NULL;
    TRY(load_key(tls->key_path, &key, reterr));
    TRY(read_identity(certificate, tls->cert_path, tls->identity, reterr));
    ERR_clear_error();
    enum err err = make_context(tls, certificate, key, reterr);
    ERR_clear_error();
    TRY(err);
    *ret_tls = take(tls);
    return OK;
}

enum err crypt_tls_new(const struct crypt_tls_options *options, struct crypt_tls **ret_tls, struct fault *reterr)
{
    enum err err = load(options, ret_tls, reterr);
    /* A moment without memory can show as a damaged file: what is damaged is so a second time. */
    return err == ERR_MALFORMED || err == ERR_UNSUPPORTED || err == ERR_CONFLICT ? load(options, ret_tls, reterr) : err;
}

void crypt_tls_free(struct crypt_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_CTX_free(tls->context);
    free(tls->ca_path);
    free(tls->cert_path);
    free(tls->key_path);
    free(tls);
}

const char *crypt_tls_identity(const struct crypt_tls *tls)
{
    return tls->identity;
}

struct ssl_ctx_st *crypt_tls_context(const struct crypt_tls *tls)
{
    return tls->context;
}

const struct crypt_tls_options *crypt_tls_files(const struct crypt_tls *tls)
{
    return &tls->files;
}
