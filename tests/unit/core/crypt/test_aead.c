/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what is sealed comes back only with the same key, the same associated data and every bit in place. */
#include "core/crypt/crypt.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/check.h"

enum { SEAL_BYTES = CRYPT_NONCE_BYTES + CRYPT_TAG_BYTES };

static const uint8_t test_key[CRYPT_KEY_BYTES] = {1, 2, 3, [31] = 9};

static struct crypt_aead *make(const uint8_t *key)
{
    struct crypt_aead *aead = NULL;
    CHECK_OK(crypt_aead_new(key, &aead));
    return aead;
}

static void a_sealed_record_opens_again(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = make(test_key);
    for (size_t len = 0; len < 300; len += 7) {
        uint8_t plain[300], sealed[300 + SEAL_BYTES], back[300];
        memset(plain, (int)len, sizeof plain);
        CHECK_OK(crypt_aead_seal(aead, slice_str("place"), slice_of(plain, len), sealed));
        CHECK_OK(crypt_aead_open(aead, slice_str("place"), slice_of(sealed, len + SEAL_BYTES), back));
        CHECK(memcmp(plain, back, len) == 0);
    }
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = make(test_key);
    uint8_t sealed[20 + SEAL_BYTES], back[20];
    CHECK_OK(crypt_aead_seal(aead, slice_str("place"), slice_str("twenty bytes of text"), sealed));
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_ERR(crypt_aead_open(aead, slice_str("place"), slice_of(sealed, sizeof sealed), back), ERR_MALFORMED);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK_OK(crypt_aead_open(aead, slice_str("place"), slice_of(sealed, sizeof sealed), back));
}

static void a_record_does_not_open_in_another_place_or_cut_short(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = make(test_key);
    uint8_t sealed[4 + SEAL_BYTES], back[64];
    CHECK_OK(crypt_aead_seal(aead, slice_str("place"), slice_str("text"), sealed));
    CHECK_ERR(crypt_aead_open(aead, slice_str("plaice"), slice_of(sealed, sizeof sealed), back), ERR_MALFORMED);
    for (size_t len = 0; len < sizeof sealed; len++) {
        CHECK_ERR(crypt_aead_open(aead, slice_str("place"), slice_of(sealed, len), back), ERR_MALFORMED);
    }
}

static void a_record_does_not_open_with_another_key(void **state)
{
    (void)state;
    uint8_t key[CRYPT_KEY_BYTES];
    memcpy(key, test_key, sizeof key);
    key[5] ^= 1;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = make(test_key), *other = make(key);
    uint8_t sealed[4 + SEAL_BYTES], back[4];
    CHECK_OK(crypt_aead_seal(aead, slice_str(""), slice_str("text"), sealed));
    CHECK_ERR(crypt_aead_open(other, slice_str(""), slice_of(sealed, sizeof sealed), back), ERR_MALFORMED);
}

static void nonces_differ_within_an_object_and_between_objects(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    uint8_t sealed[COUNT][SEAL_BYTES];
    for (int i = 0; i < COUNT; i += 8) {
        CLEANUP(crypt_aead_freep) struct crypt_aead *aead = make(test_key);
        for (int j = 0; j < 8; j++) {
            CHECK_OK(crypt_aead_seal(aead, slice_str(""), slice_str(""), sealed[i + j]));
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < i; j++) {
            CHECK(memcmp(sealed[i], sealed[j], CRYPT_NONCE_BYTES) != 0);
        }
    }
}

static void sha256_is_that_of_fips_180(void **state)
{
    (void)state;
    static const uint8_t abc[CRYPT_SHA256_BYTES] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
        0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    };
    uint8_t digest[CRYPT_SHA256_BYTES];
    crypt_sha256(slice_str("abc"), digest);
    CHECK(memcmp(digest, abc, sizeof abc) == 0);
}

static void check_mac(struct slice key, struct slice data, const char *expected)
{
    uint8_t mac[CRYPT_SHA256_BYTES];
    char digits[2 * CRYPT_SHA256_BYTES + 1];
    CHECK_OK(crypt_hmac_sha256(key, data, mac));
    for (int i = 0; i < CRYPT_SHA256_BYTES; i++) {
        snprintf(digits + 2 * i, 3, "%02x", mac[i]);
    }
    CHECK_STR(digits, expected);
}

/* Test cases 1, 2, 3 and 6 of its section 4. */
static void hmac_sha256_is_that_of_rfc_4231(void **state)
{
    (void)state;
    uint8_t key[131], data[50];
    memset(key, 0x0b, 20);
    check_mac(slice_of(key, 20), slice_str("Hi There"),
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check_mac(slice_str("Jefe"), slice_str("what do ya want for nothing?"),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    check_mac(slice_of(key, 20), slice_of(data, 50),
              "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    check_mac(slice_of(key, sizeof key), slice_str("Test Using Larger Than Block-Size Key - Hash Key First"),
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* ---- key files ---- */
static char file[] = "/tmp/weir-key-XXXXXX";

static void write_key(const void *ptr, size_t len, mode_t mode)
{
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, ptr, len) == (ssize_t)len && fchmod(fd, mode) == 0);
    close(fd);
}

static void check_refused(enum err expected, const char *text)
{
    struct crypt_aead *aead = NULL;
    struct fault fault;
    CHECK_ERR(crypt_aead_load(file, &aead, &fault), expected);
    CHECK_CONTAINS(fault.text, text);
    CHECK_CONTAINS(fault.text, file);
    CHECK(aead == NULL);
}

static void a_key_file_is_32_bytes_or_64_digits(void **state)
{
    (void)state;
    uint8_t key[CRYPT_KEY_BYTES], sealed[4 + SEAL_BYTES], back[4];
    memset(key, 0xab, sizeof key);
    char digits[66];
    memset(digits, 0, sizeof digits);
    for (int i = 0; i < 32; i++) {
        memcpy(digits + 2 * i, i % 2 ? "ab" : "AB", 2);
    }
    digits[64] = '\n';
    CLEANUP(crypt_aead_freep) struct crypt_aead *same = make(key);
    CHECK_OK(crypt_aead_seal(same, slice_str(""), slice_str("text"), sealed));
    for (int form = 0; form < 2; form++) {
        write_key(form == 0 ? (const void *)key : digits, form == 0 ? 32 : 65, 0600);
        CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
        CHECK_OK(crypt_aead_load(file, &aead, NULL));
        CHECK_OK(crypt_aead_open(aead, slice_str(""), slice_of(sealed, sizeof sealed), back));
        CHECK(memcmp(back, "text", 4) == 0);
    }
}

static void a_key_file_of_another_form_is_refused(void **state)
{
    (void)state;
    write_key("", 0, 0600);
    check_refused(ERR_MALFORMED, "neither 32 bytes nor 64");
    write_key("0123456789abcdef0123456789abcdef0", 33, 0600);
    check_refused(ERR_MALFORMED, "neither 32 bytes nor 64");
    write_key("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg", 64, 0600);
    check_refused(ERR_MALFORMED, "neither 32 bytes nor 64");
    uint8_t long_file[1000] = {0};
    write_key(long_file, sizeof long_file, 0600);
    check_refused(ERR_MALFORMED, "neither 32 bytes nor 64");
}

static void a_key_file_that_others_may_read_is_refused(void **state)
{
    (void)state;
    write_key(test_key, sizeof test_key, 0640);
    check_refused(ERR_DENIED, "mode 640");
    write_key(test_key, sizeof test_key, 0604);
    check_refused(ERR_DENIED, "mode 604");
}

static void a_missing_key_file_is_named(void **state)
{
    (void)state;
    struct crypt_aead *aead = NULL;
    struct fault fault;
    CHECK_ERR(crypt_aead_load("/nonexistent/key", &aead, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "/nonexistent/key");
    CHECK_ERR(crypt_aead_load("/tmp", &aead, &fault), ERR_MALFORMED);
    CHECK_CONTAINS(fault.text, "not a regular file");
}

int main(void)
{
    int fd = mkstemp(file);
    if (fd < 0) {
        return 1;
    }
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_record_opens_again),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(a_record_does_not_open_in_another_place_or_cut_short),
        cmocka_unit_test(a_record_does_not_open_with_another_key),
        cmocka_unit_test(nonces_differ_within_an_object_and_between_objects),
        cmocka_unit_test(sha256_is_that_of_fips_180),
        cmocka_unit_test(hmac_sha256_is_that_of_rfc_4231),
        cmocka_unit_test(a_key_file_is_32_bytes_or_64_digits),
        cmocka_unit_test(a_key_file_of_another_form_is_refused),
        cmocka_unit_test(a_key_file_that_others_may_read_is_refused),
        cmocka_unit_test(a_missing_key_file_is_named),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    return failed;
}
