/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli), RFC 3720 appendix B.4: the processor's instruction where there is one (SSE4.2 on x86-64,
 * the CRC extension on ARMv8), a table of eight bytes a step elsewhere. Both take and give the finished checksum,
 * so calls chain.
 */
#include "core/crypt/crypt.h"

#include "core/crypt/crc32c_table.h"
#include "core/crypt/crypt_internal.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint32_t crc32c_by_table(uint32_t crc, const void *ptr, size_t len)
{
    const uint8_t *p = ptr;
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v = load_u64(p) ^ crc;
        crc = crc32c_table[7][v & 255] ^ crc32c_table[6][v >> 8 & 255] ^ crc32c_table[5][v >> 16 & 255] ^
              crc32c_table[4][v >> 24 & 255] ^ crc32c_table[3][v >> 32 & 255] ^ crc32c_table[2][v >> 40 & 255] ^
              crc32c_table[1][v >> 48 & 255] ^ crc32c_table[0][v >> 56];
    }
    for (; len > 0; p++, len--) {
        crc = crc >> 8 ^ crc32c_table[0][(crc ^ *p) & 255];
    }
    return ~crc;
}

#if defined(__x86_64__)

bool crc32c_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2"))) uint32_t crc32c_by_instruction(uint32_t crc, const void *ptr, size_t len)
{
    const uint8_t *p = ptr;
    uint64_t c = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        c = __builtin_ia32_crc32di(c, load_u64(p));
    }
    uint32_t tail = (uint32_t)c;
    for (; len > 0; p++, len--) {
        tail = __builtin_ia32_crc32qi(tail, *p);
    }
    return ~tail;
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

bool crc32c_has_instruction(void)
{
    return true; /* the compiler was told so */
}

uint32_t crc32c_by_instruction(uint32_t crc, const void *ptr, size_t len)
{
    const uint8_t *p = ptr;
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        crc = __crc32cd(crc, load_u64(p));
    }
    for (; len > 0; p++, len--) {
        crc = __crc32cb(crc, *p);
    }
    return ~crc;
}

#else

bool crc32c_has_instruction(void)
{
    return false;
}

uint32_t crc32c_by_instruction(uint32_t crc, const void *ptr, size_t len)
{
    return crc32c_by_table(crc, ptr, len);
}

#endif

uint32_t crypt_crc32c(uint32_t crc, const void *ptr, size_t len)
{
    return crc32c_has_instruction() ? crc32c_by_instruction(crc, ptr, len) : crc32c_by_table(crc, ptr, len);
}
