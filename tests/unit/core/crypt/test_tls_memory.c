/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a moment without memory while certificates are loaded gives a context that works or an error that says so; never
 * one that trusts nobody or cannot agree on a cipher, and never blame for a good file.
 */
#include "core/crypt/crypt.h"

#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tests/support/check.h"

static char dir[] = "/tmp/weir-tls-XXXXXX";
static char ca[64], key[64];
static long failing, calls; /* the call of OpenSSL's that gets nothing, counted from 1; 0 = none */

static bool fails(void)
{
    return ++calls == failing;
}

static void *some_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(len);
}

static void *some_realloc(void *ptr, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(ptr, len);
}

static void some_free(void *ptr, const char *file, int line)
{
    (void)file;
    (void)line;
    free(ptr);
}

/* One certificate that is its own authority. */
static int make_files(void **state)
{
    (void)state;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(key, sizeof key, "%s/us.key", dir);
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, pair);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"pump-7", -1, -1, 0);
    X509_set_issuer_name(x, name);
    CHECK(X509_sign(x, pair, EVP_sha256()) > 0);
    FILE *f = fopen(ca, "we");
    CHECK(f != NULL && PEM_write_X509(f, x) == 1 && fclose(f) == 0);
    f = fopen(key, "we");
    CHECK(f != NULL && PEM_write_PrivateKey(f, pair, NULL, NULL, 0, NULL, NULL) == 1 && fclose(f) == 0);
    X509_free(x);
    EVP_PKEY_free(pair);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static enum err load(long call, struct crypt_tls **ret_tls, struct fault *reterr)
{
    const struct crypt_tls_options options = {ca, ca, key};
    calls = 0;
    failing = call;
    enum err err = crypt_tls_new(&options, ret_tls, reterr);
    failing = 0;
    return err;
}

/* The peer's certificate, here our own, is judged as in a handshake. */
static bool trusts(struct crypt_tls *tls)
{
    SSL_CTX *context = crypt_tls_context(tls);
    X509_STORE_CTX *judge = X509_STORE_CTX_new();
    X509 *peer = SSL_CTX_get0_certificate(context);
    bool good = X509_STORE_CTX_init(judge, SSL_CTX_get_cert_store(context), peer, NULL) == 1 && X509_verify_cert(judge) == 1;
    X509_STORE_CTX_free(judge);
    return good;
}

static void whatever_allocation_fails_the_context_works_or_there_is_none(void **state)
{
    (void)state;
    struct crypt_tls *tls = NULL;
    CHECK_OK(load(0, &tls, NULL)); /* what OpenSSL makes once is made now */
    CHECK(trusts(tls));
    int ciphers = sk_SSL_CIPHER_num(SSL_CTX_get_ciphers(crypt_tls_context(tls)));
    crypt_tls_free(take(tls));
    CHECK_OK(load(0, &tls, NULL));
    crypt_tls_free(take(tls));
    long count = calls;
    unsigned loaded = 0, refused = 0;
    for (long call = 1; call <= count; call += 1 + count / 1500) {
        struct fault fault = {.text = ""};
        enum err err = load(call, &tls, &fault);
        if (err != OK) {
            if (err != ERR_NOMEM) {
                fprintf(stderr, "call %ld of %ld: %s: %s\n", call, count, err_name(err), fault.text);
            }
            CHECK_ERR(err, ERR_NOMEM);
            CHECK_CONTAINS(fault.text, "out of memory");
            refused++;
            continue;
        }
        if (!trusts(tls) || sk_SSL_CIPHER_num(SSL_CTX_get_ciphers(crypt_tls_context(tls))) != ciphers) {
            fprintf(stderr, "call %ld of %ld: the context is of no use\n", call, count);
            fail();
        }
        loaded++;
        crypt_tls_free(take(tls));
    }
    fprintf(stderr, "%ld allocations: %u tried, %u refused\n", count, loaded + refused, refused);
    CHECK(refused > 0 && loaded > 0);
}

int main(void)
{
    if (CRYPTO_set_mem_functions(some_malloc, some_realloc, some_free) != 1) { /* before OpenSSL has any */
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_allocation_fails_the_context_works_or_there_is_none),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
