/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypt - checksums, sealing, TLS contexts. The only module that includes openssl (with core/bus, which drives
 * connections).
 */
#ifndef CORE_CRYPT_CRYPT_H
#define CORE_CRYPT_CRYPT_H

#include "core/base/base.h"

/* CRC-32C (Castagnoli), RFC 3720 appendix B.4; start with 0, chain by passing the result. SSE4.2 where the CPU has
 * it. */
uint32_t crypt_crc32c(uint32_t crc, const void *ptr, size_t len);

enum { CRYPT_KEY_BYTES = 32, CRYPT_NONCE_BYTES = 12, CRYPT_TAG_BYTES = 16, CRYPT_SHA256_BYTES = 32 };
void crypt_sha256(struct slice data, uint8_t ret_digest[CRYPT_SHA256_BYTES]);
/* HMAC-SHA-256 (RFC 2104, RFC 4231); a key of any length. ERR_NOMEM. */
enum err crypt_hmac_sha256(struct slice key, struct slice data, uint8_t ret_mac[CRYPT_SHA256_BYTES]) MUST_CHECK;

/* AES-256-GCM (NIST SP 800-38D). Nonces: 48 random bits per object, 48 bits of counter; never repeated in one
 * object. */
struct crypt_aead;
/* As crypt_aead_load, but gives the key itself; the caller wipes it. */
enum err crypt_key_load(const char *key_path, uint8_t ret_key[CRYPT_KEY_BYTES], struct fault *reterr) MUST_CHECK;
/* Key file: 32 raw bytes or 64 hexadecimal digits; refused (ERR_DENIED) when group or others may read it.
 * ERR_NOT_FOUND, ERR_MALFORMED. */
enum err crypt_aead_load(const char *key_path, struct crypt_aead **ret_aead, struct fault *reterr) MUST_CHECK;
enum err crypt_aead_new(const uint8_t key[CRYPT_KEY_BYTES], struct crypt_aead **ret_aead) MUST_CHECK;
void crypt_aead_free(struct crypt_aead *aead);
DEFINE_CLEANUP(struct crypt_aead, crypt_aead_free)
/* out: CRYPT_NONCE_BYTES + plain.len + CRYPT_TAG_BYTES. */
enum err crypt_aead_seal(struct crypt_aead *aead, struct slice associated, struct slice plain, uint8_t *out) MUST_CHECK;
/* sealed as written by seal; plain: sealed.len - 28 bytes. ERR_MALFORMED when it does not verify. */
enum err crypt_aead_open(struct crypt_aead *aead, struct slice associated, struct slice sealed,
                         uint8_t *plain) MUST_CHECK;

/* ---- TLS ---- */
struct crypt_tls;
struct ssl_ctx_st;
struct crypt_tls_options {
    const char *ca_path, *cert_path, *key_path; /* PEM; copied */
};
/* TLS >= 1.2, server certificate and host name verified. Fault texts name the file and what is wrong with it: missing,
 * unreadable, not PEM, key does not match, expired (with the date). */
enum err crypt_tls_new(const struct crypt_tls_options *options, struct crypt_tls **ret_tls,
                       struct fault *reterr) MUST_CHECK;
void crypt_tls_free(struct crypt_tls *tls);
DEFINE_CLEANUP(struct crypt_tls, crypt_tls_free)
/* Common name of our certificate: the identity. Valid as long as tls. */
const char *crypt_tls_identity(const struct crypt_tls *tls);
struct ssl_ctx_st *crypt_tls_context(const struct crypt_tls *tls);
/* The paths, for libraries that load the files themselves. */
const struct crypt_tls_options *crypt_tls_files(const struct crypt_tls *tls);

#endif
