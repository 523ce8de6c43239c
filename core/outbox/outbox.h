/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox - the sending end of a hop: one spool lane, its window, its timer.
 *
 *   spool (durable entries) -> window_sender -> send(header, entries) -> bus
 *   answer of the receiver  -> window_sender -> trim the spool (lazily: every trim_every entries or trim_delay_us)
 *
 * Nothing is sent before it is durable; nothing is trimmed before the receiver's ack. A damaged entry is sent as what
 * on_damaged makes of its range (a declared gap).
 */
#ifndef CORE_OUTBOX_OUTBOX_H
#define CORE_OUTBOX_OUTBOX_H

#include "core/base/base.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/window/window.h"

struct outbox;

struct outbox_handlers {
    /* Publishes one frame. entries are borrowed until return. OK, or ERR_AGAIN: the outbox stops and waits for
     * outbox_kick. */
    enum err (*send)(void *arg, const struct window_header *header, const struct spool_entry *entries, size_t count);
    /* A batch for trims; NULL = the outbox makes and commits its own. */
    struct store_batch *(*batch)(void *arg);
    /* The receiver knows nothing of us any more, or more than we do: an old image of our store was restored. The owner
     * calls spool_rebase(keep_above), commits, and then outbox_restart. */
    void (*on_rolled_back)(void *arg, uint64_t keep_above);
    void (*on_acked)(void *arg, uint64_t acked); /* may be NULL */
    /* Body for a damaged entry: a gap record for first..last. */
    enum err (*on_damaged)(void *arg, uint64_t first, uint64_t last, struct buffer *out);
    void *arg;
};
struct outbox_options {
    struct window_sender_options window;
    size_t frame_bytes;   /* payload bytes per frame aimed at */
    unsigned frame_entries; /* at most */
    uint32_t boot;
    uint64_t boot_seq;
    uint8_t lane;
};

/* store and spool borrowed; the spool's epoch must exist. */
enum err outbox_new(struct loop *loop, struct store *store, struct spool *spool, const struct outbox_options *options,
                    const struct outbox_handlers *handlers, struct outbox **ret_outbox) MUST_CHECK;
void outbox_free(struct outbox *outbox);
DEFINE_CLEANUP(struct outbox, outbox_free)
void outbox_connected(struct outbox *outbox);
void outbox_disconnected(struct outbox *outbox);
/* New durable entries, or room on the bus: sends what may be sent, at the end of the round. */
void outbox_kick(struct outbox *outbox);
/* Ignored when epoch or boot are not ours. */
void outbox_answer(struct outbox *outbox, uint64_t epoch, uint32_t boot, enum window_verdict verdict, uint64_t hwm);
/* After spool_rebase has settled: a new epoch that replaces the old one. */
void outbox_restart(struct outbox *outbox, uint64_t replaces);
uint64_t outbox_acked(const struct outbox *outbox);
const struct window_sender *outbox_window(const struct outbox *outbox);

#endif
