/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox - the sending end of a hop: one spool lane, its window, its timer.
 *
 *   spool (durable entries) -> window_sender -> send(header, entries) -> bus
 *   answer of the receiver  -> window_sender -> trim the spool (lazily: every trim_every entries or trim_delay_us)
 *
 * Nothing is sent before it is durable; nothing is trimmed before the receiver's ack. A damaged entry is sent as what
 * on_damaged makes of its range (a declared gap); so are numbers that the spool has lost without a trace, and the
 * part of a range that must not go out whole yet (see the hold in window.h).
 *
 * With state_table the outbox keeps {epoch, boot_top, answered} in the store (key "outbox/" lane): an old image of
 * the store is then found out even when it was started several times before the receiver heard of it. Entries of
 * this start wait until "answered" is durable: one commit after the first answer.
 *
 * The owner frees the outbox only when the loop does not run again before store_close: a commit may be under way.
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
     * outbox_kick; after any other error it tries again after a second, too. Must not call the outbox. */
    enum err (*send)(void *arg, const struct window_header *header, const struct spool_entry *entries, size_t count);
    /* A batch for trims; NULL = the outbox makes and commits its own. */
    struct store_batch *(*batch)(void *arg);
    /* The receiver has closed this epoch: an old image of our store was restored, or a second instance runs. Called
     * once. The owner calls spool_rebase(keep_above), commits, settles, and then outbox_restart. A crash in between
     * is harmless: the closed stream answers the same again. */
    void (*on_rolled_back)(void *arg, uint64_t keep_above);
    void (*on_acked)(void *arg, uint64_t acked); /* may be NULL */
    /* Body for a damaged entry: a gap record for first..last. */
    enum err (*on_damaged)(void *arg, uint64_t first, uint64_t last, struct buffer *out);
    /* Appends what goes out for a sound entry; NULL: its body. before: what goes out for the entry in front of it in the same
     * frame, empty for the first; it moves when something is appended. With *ret_joined what was appended takes its place and
     * covers both. Whatever it says, it must cover just the entry's numbers: they may have been sent before. */
    enum err (*on_entry)(void *arg, const struct spool_entry *entry, struct slice before, bool *ret_joined,
                         struct buffer *out);
    void *arg;
};
#define OUTBOX_GREET_US (10 * MINUTE_US)

struct outbox_options {
    struct window_sender_options window;
    size_t frame_bytes;     /* payload bytes per frame aimed at; a larger entry goes alone; 0 = 16 KiB */
    unsigned frame_entries; /* at most; 0 = 256 */
    uint32_t boot;          /* random per start, not 0 */
    uint64_t boot_seq;      /* durable before outbox_new */
    uint8_t lane;
    unsigned state_table;   /* of the store, for the outbox's record; 0 = none is kept */
};

/* store and spool borrowed; the spool's epoch must exist. ERR_NOMEM, ERR_IO. */
enum err outbox_new(struct loop *loop, struct store *store, struct spool *spool, const struct outbox_options *options,
                    const struct outbox_handlers *handlers, struct outbox **ret_outbox) MUST_CHECK;
void outbox_free(struct outbox *outbox);
DEFINE_CLEANUP(struct outbox, outbox_free)
void outbox_connected(struct outbox *outbox);
void outbox_disconnected(struct outbox *outbox);
/* New durable entries, or room on the bus: sends what may be sent, at the end of the round. */
void outbox_kick(struct outbox *outbox);
/* Ignored when epoch or boot are not ours. owner: with ROLLED_BACK, the boot that the stream belonged to when it was closed
 * (0 = not said): if that is ours, everything up to hwm is ours as well and is not sent again under the new epoch. */
void outbox_answer(struct outbox *outbox, uint64_t epoch, uint32_t boot, enum window_verdict verdict, uint64_t hwm,
                   uint32_t owner);
/* The receiver may have lost what it knew of us (it asked another lane for its hello): says hello soon. Done by the outbox
 * itself on every connect and every OUTBOX_GREET_US. */
void outbox_greet(struct outbox *outbox);
/* After spool_rebase has settled: a new epoch that replaces the old one (spool_origin, which a later start says as
 * well). */
void outbox_restart(struct outbox *outbox, uint64_t replaces);
uint64_t outbox_acked(const struct outbox *outbox);
const struct window_sender *outbox_window(const struct outbox *outbox);

#endif
