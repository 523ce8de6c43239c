/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz: an entry read back from a store. Input: a byte (1 = with a key, 2 = mend the checksum), 17 of key, the
 * value. */
#include "core/spool/spool_internal.h"

#include "core/crypt/crypt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(const uint8_t *key, uint8_t *value, size_t len)
{
    uint32_t crc = crypt_crc32c(0, key, ENTRY_KEY_BYTES);
    crc = crypt_crc32c(crc, value, 9);
    crc = crypt_crc32c(crc, value + ENTRY_HEAD_BYTES, len - ENTRY_HEAD_BYTES);
    memcpy(value + 9, &crc, sizeof crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[CRYPT_KEY_BYTES] = {1};
    static struct crypt_aead *aead;
    if (size < 1 + ENTRY_KEY_BYTES || (aead == NULL && crypt_aead_new(secret, &aead) != OK)) {
        return 0;
    }
    size_t len = size - 1 - ENTRY_KEY_BYTES;
    uint8_t *value = malloc(len + 1); /* of its own, so that reading beyond it shows */
    if (value == NULL) {
        return 0;
    }
    const uint8_t *key = data + 1;
    memcpy(value, key + ENTRY_KEY_BYTES, len);
    if ((data[0] & 2) != 0 && len >= ENTRY_HEAD_BYTES) {
        mend(key, value, len);
    }
    BUFFER(plain, 4096);
    uint64_t first = 0, last = 0;
    struct slice body = {0};
    enum entry_state state = entry_open(slice_of(key, ENTRY_KEY_BYTES), slice_of(value, len), data[0] & 1 ? aead : NULL,
                                        &plain, &first, &body);
    const volatile uint8_t *bytes = body.ptr;
    for (size_t i = 0; state == ENTRY_GOOD && i < body.len; i++) {
        (void)bytes[i]; /* every byte may be read */
    }
    (void)entry_key_parse(slice_of(key, ENTRY_KEY_BYTES), data[0], 0, &last);
    free(value);
    return 0;
}
