/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expire - what goes out for an entry that has outlived its class: Suppressed{from, to, rule "ttl"} under the same
 * identity and numbers. Consecutive ones of one stream are one. What is a declaration already, and what cannot be read,
 * goes as it is.
 *
 * The same numbers go out whatever was sent under them before: a receiver that has them takes them for a repeat, one
 * that has them not learns that they were given up.
 */
#ifndef GATEWAY_UPLINK_EXPIRE_H
#define GATEWAY_UPLINK_EXPIRE_H

#include "core/base/buffer.h"
#include "core/spool/spool.h"
#include "proto/wire/wire.h"

#define EXPIRE_RULE "ttl"

/* The declaration that was made last, for joining; zeros at first. */
struct expire {
    struct wire_forward forward;
    uint64_t last; /* the hop's number that it ends with; 0 = none in this frame */
};
/* As outbox_handlers.on_entry. *ret_numbers: how many were given up. */
enum err expire_entry(struct expire *e, const struct spool_entry *entry, struct slice before, bool *ret_joined,
                      struct buffer *out, uint64_t *ret_numbers) MUST_CHECK;

#endif
