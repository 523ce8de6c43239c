/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing of records: AES-256-GCM through EVP; the SHA-256 digest and its keyed form.
 *
 * The key schedule is computed once; a record costs one nonce, one pass, one tag. sealed = nonce | ciphertext | tag.
 * Nonce = 48 bits drawn from the kernel when the object is made | 48 bits of counter: within one object none repeats
 * (ERR_FULL would be due after 2^48 records), and two objects with the same key meet with probability 2^-48 a pair.
 * NIST SP 800-38D, section 8.2.1 (deterministic construction).
 */
#include "core/crypt/crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

enum { NONCE_RANDOM_BYTES = 6, NONCE_COUNTER_BYTES = 6, KEY_FILE_MAX = 256 };

struct crypt_aead {
    EVP_CIPHER_CTX *seal, *open; /* owned; the key is set */
    uint8_t nonce_random[NONCE_RANDOM_BYTES];
    uint64_t counter;
};

void crypt_sha256(struct slice data, uint8_t ret_digest[CRYPT_SHA256_BYTES])
{
    SHA256(data.ptr, data.len, ret_digest);
}

enum err crypt_hmac_sha256(struct slice key, struct slice data, uint8_t ret_mac[CRYPT_SHA256_BYTES])
{
    unsigned len = CRYPT_SHA256_BYTES;
    /* A key of no bytes must still be a pointer: NULL means "the key set before" to OpenSSL. */
    const void *bytes = key.ptr != NULL ? key.ptr : (const uint8_t *)"";
    return HMAC(EVP_sha256(), bytes, (int)key.len, data.ptr, data.len, ret_mac, &len) != NULL ? OK : ERR_NOMEM;
}

static enum err context_new(const uint8_t *key, int encrypt, EVP_CIPHER_CTX **ret_context)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context == NULL || EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, key, NULL, encrypt) != 1) {
        EVP_CIPHER_CTX_free(context);
        return ERR_NOMEM;
    }
    *ret_context = context;
    return OK;
}

enum err crypt_aead_new(const uint8_t key[CRYPT_KEY_BYTES], struct crypt_aead **ret_aead)
{
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = calloc(1, sizeof *aead);
    if (aead == NULL) {
        return ERR_NOMEM;
    }
    TRY(context_new(key, 1, &aead->seal));
    TRY(context_new(key, 0, &aead->open));
    if (RAND_bytes(aead->nonce_random, sizeof aead->nonce_random) != 1) {
        return ERR_IO;
    }
    *ret_aead = take(aead);
    return OK;
}

void crypt_aead_free(struct crypt_aead *aead)
{
    if (aead == NULL) {
        return;
    }
    EVP_CIPHER_CTX_free(aead->seal);
    EVP_CIPHER_CTX_free(aead->open);
    free(aead);
}

enum err crypt_aead_seal(struct crypt_aead *aead, struct slice associated, struct slice plain, uint8_t *out)
{
    if (aead->counter >> (8 * NONCE_COUNTER_BYTES) != 0) {
        return ERR_FULL;
    }
    if (plain.len > INT32_MAX || associated.len > INT32_MAX) {
        return ERR_RANGE;
    }
    uint64_t counter = aead->counter++;
    memcpy(out, aead->nonce_random, NONCE_RANDOM_BYTES);
    memcpy(out + NONCE_RANDOM_BYTES, &counter, NONCE_COUNTER_BYTES);
    uint8_t *text = out + CRYPT_NONCE_BYTES;
    int len = 0;
    EVP_CIPHER_CTX *c = aead->seal;
    bool good = EVP_EncryptInit_ex(c, NULL, NULL, NULL, out) == 1 &&
                EVP_EncryptUpdate(c, NULL, &len, associated.ptr, (int)associated.len) == 1 &&
                (plain.len == 0 || EVP_EncryptUpdate(c, text, &len, plain.ptr, (int)plain.len) == 1) &&
                EVP_EncryptFinal_ex(c, text + plain.len, &len) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, CRYPT_TAG_BYTES, text + plain.len) == 1;
    return good ? OK : ERR_NOMEM;
}

enum err crypt_aead_open(struct crypt_aead *aead, struct slice associated, struct slice sealed, uint8_t *plain)
{
    if (sealed.len < CRYPT_NONCE_BYTES + CRYPT_TAG_BYTES || sealed.len > INT32_MAX || associated.len > INT32_MAX) {
        return ERR_MALFORMED;
    }
    size_t plain_len = sealed.len - CRYPT_NONCE_BYTES - CRYPT_TAG_BYTES;
    const uint8_t *text = sealed.ptr + CRYPT_NONCE_BYTES;
    uint8_t tag[CRYPT_TAG_BYTES]; /* a copy, because EVP takes it without const */
    memcpy(tag, text + plain_len, sizeof tag);
    int len = 0;
    EVP_CIPHER_CTX *c = aead->open;
    uint8_t none[1];
    bool good = EVP_DecryptInit_ex(c, NULL, NULL, NULL, sealed.ptr) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, CRYPT_TAG_BYTES, tag) == 1 &&
                EVP_DecryptUpdate(c, NULL, &len, associated.ptr, (int)associated.len) == 1 &&
                (plain_len == 0 || EVP_DecryptUpdate(c, plain, &len, text, (int)plain_len) == 1) &&
                EVP_DecryptFinal_ex(c, none, &len) == 1;
    return good ? OK : ERR_MALFORMED;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 32 raw bytes, or 64 digits and at most line ends behind them. */
static enum err parse_key(const uint8_t *text, size_t len, uint8_t ret_key[CRYPT_KEY_BYTES])
{
    if (len == CRYPT_KEY_BYTES) {
        memcpy(ret_key, text, CRYPT_KEY_BYTES);
        return OK;
    }
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
        len--;
    }
    if (len != 2 * CRYPT_KEY_BYTES) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < CRYPT_KEY_BYTES; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return ERR_MALFORMED;
        }
        ret_key[i] = (uint8_t)(high << 4 | low);
    }
    return OK;
}

static void fd_close(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

enum err crypt_key_load(const char *key_path, uint8_t ret_key[CRYPT_KEY_BYTES], struct fault *reterr)
{
    CLEANUP(fd_close) int fd = open(key_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        enum err code = errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
        return fault_set(reterr, code, "%s: key file %s", strerror(errno), key_path);
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return fault_set(reterr, ERR_IO, "%s: key file %s", strerror(errno), key_path);
    }
    if (!S_ISREG(st.st_mode)) {
        return fault_set(reterr, ERR_MALFORMED, "not a regular file: key file %s", key_path);
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return fault_set(reterr, ERR_DENIED, "group or others may use it (mode %03o, want 600 or 400): key file %s",
                         (unsigned)st.st_mode & 0777, key_path);
    }
    uint8_t text[KEY_FILE_MAX];
    ssize_t len = read(fd, text, sizeof text);
    if (len < 0) {
        return fault_set(reterr, ERR_IO, "%s: key file %s", strerror(errno), key_path);
    }
    enum err err = parse_key(text, (size_t)len, ret_key);
    OPENSSL_cleanse(text, sizeof text);
    return err == OK ? OK : fault_set(reterr, err, "neither 32 bytes nor 64 hexadecimal digits: key file %s", key_path);
}

enum err crypt_aead_load(const char *key_path, struct crypt_aead **ret_aead, struct fault *reterr)
{
    uint8_t key[CRYPT_KEY_BYTES];
    TRY(crypt_key_load(key_path, key, reterr));
    enum err err = crypt_aead_new(key, ret_aead);
    OPENSSL_cleanse(key, sizeof key);
    return err == OK ? OK : fault_set(reterr, err, "%s: key file %s", err_name(err), key_path);
}
