/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways to the same checksum, so that the tests reach both on every machine. */
#ifndef CORE_CRYPT_CRYPT_INTERNAL_H
#define CORE_CRYPT_CRYPT_INTERNAL_H

#include "core/base/base.h"

uint32_t crc32c_by_table(uint32_t crc, const void *ptr, size_t len);
/* Only where crc32c_has_instruction(). */
uint32_t crc32c_by_instruction(uint32_t crc, const void *ptr, size_t len);
bool crc32c_has_instruction(void);

#endif
