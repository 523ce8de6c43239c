/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a TLS context is made from good files only, and for every bad one the message names the file and the cause. */
#include "core/crypt/crypt.h"

#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tests/support/check.h"

enum { DAY_S = 86400 };

static char dir[] = "/tmp/weir-tls-XXXXXX";
static EVP_PKEY *ca_key, *our_key, *other_key;

static const char *path(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *p = paths[next++ % COUNT_OF(paths)];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "we");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void write_key(const char *name, EVP_PKEY *key, const EVP_CIPHER *cipher)
{
    FILE *f = fopen(path(name), "we");
    unsigned char secret[] = "secret";
    CHECK(f != NULL && PEM_write_PrivateKey(f, key, cipher, cipher ? secret : NULL, cipher ? 6 : 0, NULL, NULL) == 1);
    fclose(f);
}

/* names: common names, NULL at the end. */
static void write_certificate(const char *file, EVP_PKEY *key, const char *const *names, long from_s, long until_s)
{
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), until_s);
    X509_set_pubkey(x, key);
    X509_NAME *subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Weir", -1, -1, 0);
    for (; *names != NULL; names++) {
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)*names, -1, -1, 0);
    }
    X509_set_issuer_name(x, subject);
    CHECK(X509_sign(x, ca_key, EVP_sha256()) > 0);
    FILE *f = fopen(path(file), "we");
    CHECK(f != NULL && PEM_write_X509(f, x) == 1 && fclose(f) == 0);
    X509_free(x);
}

static void write_named(const char *file, const char *name)
{
    const char *names[] = {name, NULL};
    write_certificate(file, our_key, names, -DAY_S, DAY_S);
}

static int make_files(void **state)
{
    (void)state;
    CHECK(mkdtemp(dir) != NULL);
    ca_key = EVP_EC_gen("P-256");
    our_key = EVP_EC_gen("P-256");
    other_key = EVP_EC_gen("P-256");
    const char *ca[] = {"Test CA", NULL}, *us[] = {"pump-7", NULL};
    write_certificate("ca.pem", ca_key, ca, -DAY_S, DAY_S);
    write_certificate("old-ca.pem", ca_key, ca, -20 * DAY_S, -10 * DAY_S);
    write_named("us.pem", "pump-7");
    write_certificate("old.pem", our_key, us, -20 * DAY_S, -10 * DAY_S);
    write_certificate("young.pem", our_key, us, 10 * DAY_S, 20 * DAY_S);
    write_key("us.key", our_key, NULL);
    write_key("other.key", other_key, NULL);
    write_key("locked.key", our_key, EVP_aes_256_cbc());
    write_text("empty", "");
    write_text("text", "this is no certificate\n");
    write_text("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    char command[128];
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(our_key);
    EVP_PKEY_free(other_key);
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static enum err try(const char *ca, const char *cert, const char *key, struct fault *fault)
{
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = NULL;
    struct crypt_tls_options options = {path(ca), path(cert), path(key)};
    return crypt_tls_new(&options, &tls, fault);
}

static void check_fault(const char *ca, const char *cert, const char *key, enum err expected, const char *cause,
                        const char *file)
{
    struct fault fault;
    CHECK_ERR(try(ca, cert, key, &fault), expected);
    CHECK_CONTAINS(fault.text, cause);
    CHECK_CONTAINS(fault.text, path(file));
}

static void good_files_make_a_context_with_our_identity(void **state)
{
    (void)state;
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = NULL;
    struct crypt_tls_options options = {path("ca.pem"), path("us.pem"), path("us.key")};
    CHECK_OK(crypt_tls_new(&options, &tls, NULL));
    CHECK_STR(crypt_tls_identity(tls), "pump-7");
    CHECK_STR(crypt_tls_files(tls)->cert_path, path("us.pem"));
    CHECK(SSL_CTX_get_verify_mode(crypt_tls_context(tls)) == SSL_VERIFY_PEER);
    CHECK_INT(SSL_CTX_get_min_proto_version(crypt_tls_context(tls)), TLS1_2_VERSION);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    check_fault("none", "us.pem", "us.key", ERR_NOT_FOUND, "No such file", "none");
    check_fault("ca.pem", "none", "us.key", ERR_NOT_FOUND, "No such file", "none");
    check_fault("ca.pem", "us.pem", "none", ERR_NOT_FOUND, "No such file", "none");
    struct crypt_tls *tls = NULL;
    struct crypt_tls_options options = {path("ca.pem"), path("us.pem"), NULL};
    struct fault fault;
    CHECK_ERR(crypt_tls_new(&options, &tls, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "no private key file is named");
}

static void a_file_that_is_not_pem_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"empty", "text", "broken.pem"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        check_fault(bad[i], "us.pem", "us.key", ERR_MALFORMED, "no PEM certificate", bad[i]);
        check_fault("ca.pem", bad[i], "us.key", ERR_MALFORMED, "no PEM certificate", bad[i]);
        check_fault("ca.pem", "us.pem", bad[i], ERR_MALFORMED, "no PEM private key", bad[i]);
    }
    check_fault("ca.pem", "us.pem", "us.pem", ERR_MALFORMED, "no PEM private key", "us.pem");
}

static void a_key_of_another_certificate_is_named(void **state)
{
    (void)state;
    check_fault("ca.pem", "us.pem", "other.key", ERR_CONFLICT, "does not belong to", "other.key");
}

static void a_key_with_a_passphrase_is_refused_without_asking(void **state)
{
    (void)state;
    check_fault("ca.pem", "us.pem", "locked.key", ERR_UNSUPPORTED, "passphrase", "locked.key");
}

static void an_expired_certificate_is_refused_with_its_date(void **state)
{
    (void)state;
    check_fault("ca.pem", "old.pem", "us.key", ERR_DENIED, "expired on 20", "old.pem");
    check_fault("old-ca.pem", "us.pem", "us.key", ERR_DENIED, "expired on 20", "old-ca.pem");
}

static void a_certificate_that_is_not_valid_yet_is_let_through(void **state)
{
    (void)state;
    struct fault fault;
    CHECK_OK(try("ca.pem", "young.pem", "us.key", &fault));
}

static void a_common_name_that_is_no_identity_is_shown(void **state)
{
    (void)state;
    write_named("cn.pem", "plant/pump 7");
    check_fault("ca.pem", "cn.pem", "us.key", ERR_MALFORMED, "\"plant/pump 7\" is no identity", "cn.pem");
    write_named("cn.pem", "\xc3\xa4rger");
    check_fault("ca.pem", "cn.pem", "us.key", ERR_MALFORMED, "\"??rger\" is no identity", "cn.pem");
    const char *none[] = {NULL}, *two[] = {"a", "b", NULL};
    write_certificate("cn.pem", our_key, none, -DAY_S, DAY_S);
    check_fault("ca.pem", "cn.pem", "us.key", ERR_MALFORMED, "no common name", "cn.pem");
    write_certificate("cn.pem", our_key, two, -DAY_S, DAY_S);
    check_fault("ca.pem", "cn.pem", "us.key", ERR_MALFORMED, "more than one common name", "cn.pem");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_make_a_context_with_our_identity),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_file_that_is_not_pem_is_named),
        cmocka_unit_test(a_key_of_another_certificate_is_named),
        cmocka_unit_test(a_key_with_a_passphrase_is_refused_without_asking),
        cmocka_unit_test(an_expired_certificate_is_refused_with_its_date),
        cmocka_unit_test(a_certificate_that_is_not_valid_yet_is_let_through),
        cmocka_unit_test(a_common_name_that_is_no_identity_is_shown),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
