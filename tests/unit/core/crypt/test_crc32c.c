/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: both ways of computing CRC-32C give the checksums of RFC 3720, and each other's, for every length and
 * offset. */
#include "core/crypt/crypt.h"

#include "core/crypt/crc32c_table.h"
#include "core/crypt/crypt_internal.h"
#include "tests/support/check.h"

typedef uint32_t (*crc_fn)(uint32_t crc, const void *ptr, size_t len);

static void check_rfc3720(crc_fn crc)
{
    uint8_t bytes[48];
    memset(bytes, 0, 32);
    CHECK_INT(crc(0, bytes, 32), 0x8a9136aaU);
    memset(bytes, 0xff, 32);
    CHECK_INT(crc(0, bytes, 32), 0x62a8ab43U);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    CHECK_INT(crc(0, bytes, 32), 0x46dd794eU);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    CHECK_INT(crc(0, bytes, 32), 0x113fdb5cU);
    static const uint8_t read_pdu[48] = {0x01,        0xc0,        [16] = 0x14, [22] = 0x04,
                                         [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
    CHECK_INT(crc(0, read_pdu, 48), 0xd9963a56U);
    CHECK_INT(crc(0, "123456789", 9), 0xe3069283U);
    CHECK_INT(crc(0, "", 0), 0);
}

static void the_table_gives_the_checksums_of_rfc_3720(void **state)
{
    (void)state;
    check_rfc3720(crc32c_by_table);
}

static void the_instruction_gives_the_checksums_of_rfc_3720(void **state)
{
    (void)state;
    if (!crc32c_has_instruction()) {
        skip();
    }
    check_rfc3720(crc32c_by_instruction);
}

static void the_chosen_way_gives_the_checksums_of_rfc_3720(void **state)
{
    (void)state;
    check_rfc3720(crypt_crc32c);
}

static void the_table_is_what_its_definition_says(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 256; n++) {
        uint32_t c = n;
        for (unsigned k = 0; k < 8; k++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                c = c & 1 ? c >> 1 ^ 0x82f63b78U : c >> 1;
            }
            CHECK_INT(crc32c_table[k][n], c);
        }
    }
}

static void both_ways_agree_for_every_length_and_offset(void **state)
{
    (void)state;
    if (!crc32c_has_instruction()) {
        skip();
    }
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)mix_u64(i);
    }
    for (size_t at = 0; at < 16; at++) {
        for (size_t len = 0; len <= sizeof bytes - 16; len++) {
            CHECK_INT(crc32c_by_table(7, bytes + at, len), crc32c_by_instruction(7, bytes + at, len));
        }
    }
}

static void a_checksum_can_be_chained(void **state)
{
    (void)state;
    const char *text = "one reading follows another";
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len; cut++) {
        uint32_t chained = crypt_crc32c(crypt_crc32c(0, text, cut), text + cut, len - cut);
        CHECK_INT(chained, crypt_crc32c(0, text, len));
        CHECK_INT(crc32c_by_table(crc32c_by_table(0, text, cut), text + cut, len - cut), chained);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_gives_the_checksums_of_rfc_3720),
        cmocka_unit_test(the_instruction_gives_the_checksums_of_rfc_3720),
        cmocka_unit_test(the_chosen_way_gives_the_checksums_of_rfc_3720),
        cmocka_unit_test(the_table_is_what_its_definition_says),
        cmocka_unit_test(both_ways_agree_for_every_length_and_offset),
        cmocka_unit_test(a_checksum_can_be_chained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
