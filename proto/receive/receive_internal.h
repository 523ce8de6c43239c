/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of an accepted entry: pure functions over bytes, called from the inbox's on_entry.
 */
#ifndef PROTO_RECEIVE_RECEIVE_INTERNAL_H
#define PROTO_RECEIVE_RECEIVE_INTERNAL_H

#include "core/base/buffer.h"
#include "core/inbox/inbox.h"
#include "proto/receive/receive.h"

struct records {
    struct arena arena;      /* for the rare rewriting of a range */
    struct buffer scratch;   /* a Record made here */
    struct wire_forward out; /* kept between calls: gateway is set once */
};
struct records_outcome {
    const char *why;           /* the record failed its check and was replaced by a gap; NULL otherwise */
    uint64_t gaps, suppressed; /* numbers that are accounted for instead of delivered */
};
enum err records_init(struct records *r, const char *receiver) MUST_CHECK;
void records_deinit(struct records *r);

/* A device's Record (or a range that we have lost: forgotten, which the inbox counts itself) as a Forward. */
enum err records_from_device(struct records *r, const char *sender, const struct window_header *header,
                             const struct inbox_entry *entry, bool forgotten, uint64_t wall_us, struct buffer *out,
                             struct records_outcome *ret_outcome) MUST_CHECK;
/* A Forward from a gateway below: the same bytes when it is sound. */
enum err records_from_gateway(struct records *r, const char *sender, const struct window_header *header,
                              const struct inbox_entry *entry, bool forgotten, uint64_t wall_us, struct buffer *out,
                              struct records_outcome *ret_outcome) MUST_CHECK;

#endif
