/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox's parts: outbox.c (events, timers, trims), frame.c (a frame from the spool), record.c (its own record).
 */
#ifndef CORE_OUTBOX_OUTBOX_INTERNAL_H
#define CORE_OUTBOX_OUTBOX_INTERNAL_H

#include "core/outbox/outbox.h"

#define OUTBOX_RETRY_US SECOND_US

/* A frame under construction; the memory is kept from frame to frame until nothing is under way any more: an idle sender
 * costs no buffers. */
struct outbox_frame {
    struct spool_entry *entries; /* owned; frame_entries of them, bodies point into `bodies` once it is complete; or NULL */
    size_t *offsets;             /* owned; of the bodies; or NULL */
    size_t count;
    size_t joined; /* entries that were joined to the one before */
    struct buffer bodies;
    uint64_t next;  /* number that comes next */
    uint64_t limit; /* last number allowed */
    size_t bytes;   /* of bodies aimed at */
    enum err err;
};

struct outbox {
    struct loop *loop;
    struct store *store;
    struct spool *spool;
    struct outbox_options options;
    struct outbox_handlers handlers;
    struct window_sender window;
    struct window_flight *flight; /* owned; the window's ring */
    struct outbox_frame frame;
    uint64_t boot_top, replaces;
    bool connected;
    bool blocked;     /* the bus took no more */
    bool rolled_back; /* told the owner; waiting for outbox_restart */
    /* record.c */
    bool recorded; /* our record is durable: frames may go out */
    bool answered; /* ... and says that the receiver answered this start */
    bool record_under_way;
    uint64_t record_epoch; /* of the record under way */
    bool record_answered;
    /* trims */
    bool trim_under_way;
    struct loop_task pump;
    struct loop_timer deadline, trim, retry, greet;
};

/* Gives the memory back; the next frame takes it again. */
void outbox_frame_release(struct outbox_frame *frame);
/* Fills outbox->frame with entries from `from`, at least one. ERR_IO, ERR_NOMEM, or what on_damaged says. */
enum err outbox_frame_build(struct outbox *outbox, uint64_t from) MUST_CHECK;
/* The frame that only carries the hello, with a number that the receiver has. */
enum err outbox_frame_carrier(struct outbox *outbox, uint64_t number) MUST_CHECK;

/* Sets boot_top, recorded, answered from the store. ERR_IO, ERR_NOMEM. */
enum err outbox_record_open(struct outbox *outbox) MUST_CHECK;
/* The epoch began in this start: nothing was sent in it before. */
void outbox_record_restart(struct outbox *outbox);
/* Writes the record if what the store has is not what it should be; calls outbox_kick when it has become durable. */
void outbox_record_write(struct outbox *outbox);

#endif
