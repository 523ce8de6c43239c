/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outlet - numbered records in RAM until they are acknowledged, and the frames that carry them: what core/spool and
 * core/outbox are where there is a disk. Needs no OS and no heap.
 *
 *   outlet_put -> next number of its lane -> ring --window_sender--> frame -> send
 *   ack -> forgotten up to it; a lost link, a timeout, a hole: sent again from there
 *
 * Same identities, frames and answers as on Linux (core/window has the rules), with two differences. An epoch is one
 * start: what waits in RAM goes with the power, and nobody can declare it. A full ring lets go of its oldest records in
 * favour of the new ones; they are declared by one gap in their place, as on Linux.
 *
 * Per lane: gap_first <= first <= next; gap_first..first-1 were let go and are declared until acknowledged,
 * first..next-1 stand in the ring from head to tail, each as its length (u16le) and the record.
 */
#ifndef DEVICE_MICRO_OUTLET_H
#define DEVICE_MICRO_OUTLET_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/window/window.h"
#include "proto/wire/wire.h"

enum { OUTLET_LANES = 2, OUTLET_FRAMES = 8, OUTLET_ENTRIES = 32, OUTLET_HEAD_BYTES = 2 };

struct outlet_options {
    const char *device, *software;       /* borrowed */
    size_t lane_bytes[OUTLET_LANES];     /* of the rings */
    size_t record_max;                   /* longest record that is put, below 64 KiB */
    size_t frame_bytes;                  /* payload of a frame aimed at; a larger record goes alone */
    struct window_sender_options window; /* max_frames: OUTLET_FRAMES at most */
};
struct outlet_handlers {
    /* A frame, borrowed. Anything but OK: not now, it is tried again with the next outlet_run. */
    enum err (*send)(void *arg, struct slice frame);
    /* The receiver may miss what describes the lane's records. */
    void (*describe)(void *arg, uint8_t lane);
    uint64_t (*random)(void *arg); /* not 0 */
    void *arg;
};
struct outlet_lane {
    uint64_t epoch, replaces; /* replaces: the epoch that this one took over from; 0 = none */
    uint64_t gap_first, first, next;
    uint8_t *bytes;
    size_t cap, head, tail;
    int64_t greet_at_us;
    struct window_sender window;
    struct window_flight flight[OUTLET_FRAMES];
};
struct outlet {
    struct outlet_options options;
    struct outlet_handlers handlers;
    uint32_t boot;
    bool up;
    struct outlet_lane lanes[OUTLET_LANES];
    struct buffer frame;
    struct outlet_stats {
        uint64_t put, dropped, frames, acks, strays, epochs; /* strays: answers that are none of ours */
    } stats;
};

/* Of the memory that outlet_init takes. */
size_t outlet_bytes(const struct outlet_options *options);
/* memory: borrowed for the life of it. ERR_RANGE: a ring that does not hold two records, or options out of bounds. */
enum err outlet_init(struct outlet *o, const struct outlet_options *options, const struct outlet_handlers *handlers,
                     void *memory) MUST_CHECK;
/* Whether so many records with so many bytes together can stand in every lane at once. */
bool outlet_room(const struct outlet *o, size_t bytes, unsigned records);
/* 1..record_max bytes. The oldest make room. */
void outlet_put(struct outlet *o, uint8_t lane, struct slice record);
void outlet_link(struct outlet *o, bool up, int64_t now_us);
/* An answer of the receiver. */
void outlet_ack(struct outlet *o, const struct wire_ack *ack, int64_t now_us);
/* Sends what may be sent, and does what is due. wall_us: for declarations. */
void outlet_run(struct outlet *o, int64_t now_us, uint64_t wall_us);
/* When outlet_run has something to do at the latest; 0 = not before something happens. (The greeting of an idle link,
 * every ten minutes, goes with whatever is called next.) */
int64_t outlet_due_us(const struct outlet *o);
/* Everything is acknowledged. */
bool outlet_drained(const struct outlet *o);

#endif
