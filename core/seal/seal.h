/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal - values of a store that are no entries of a spool, sealed as those are: LMDB has no checksums on its pages, and
 * what stands in the store holds readings or tells what they are.
 *
 *   value   format u8 (1 plain, 2 sealed) | crc32c u32le over key, format and body | body
 *   body    as given; sealed: nonce | AES-256-GCM ciphertext | tag, with the key as associated data
 */
#ifndef CORE_SEAL_SEAL_H
#define CORE_SEAL_SEAL_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/crypt/crypt.h"
#include "core/store/store.h"

/* Puts body under key into batch. aead NULL: CRC-32C only. ERR_NOMEM. */
enum err seal_put(struct store_batch *batch, unsigned table, struct crypt_aead *aead, struct slice key,
                  struct slice body) MUST_CHECK;
/* Appends the body of a value to out. ERR_MALFORMED: damaged, of another key, or sealed and there is no aead; ERR_FULL,
 * ERR_NOMEM of out. */
enum err seal_open(struct crypt_aead *aead, struct slice key, struct slice value, struct buffer *out) MUST_CHECK;

#endif
