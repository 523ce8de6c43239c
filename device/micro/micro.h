/* SPDX-License-Identifier: Apache-2.0 */
/*
 * micro - a device on a microcontroller: samples in, frames, asks and their answers over whatever link there is. Needs
 * no OS, no heap, no clock and no file; all memory is the caller's, taken at the start.
 *
 *   sample --device/compose--> records --outlet--> frames on <...>/tele      ack  -> forgotten in RAM
 *         '-device/infer-----> inferences (the same records), asks on <...>/ask   answer -> inference
 *
 * The very code of a device on Linux but for three things: the time is what the caller says with each sample; records
 * that are not acknowledged wait in RAM (outlet.h) instead of a store on disk; and the link is two functions. What it
 * sends a gateway cannot tell from a Linux device's. Not there: rules (proto/rules) and health records, which stand on
 * protobuf-c and a store.
 *
 * Not to be called from publish. Stack: 28 KiB on a Cortex-M4 (a block being encoded; the network's memory is not on
 * it).
 */
#ifndef DEVICE_MICRO_MICRO_H
#define DEVICE_MICRO_MICRO_H

#include "core/base/base.h"
#include "device/compose/compose.h"
#include "device/infer/infer.h"
#include "device/micro/outlet.h"
#include "proto/topic/topic.h"

struct micro_options {
    const char *site, *gateway, *device, *software, *source; /* identities and texts; borrowed */
    uint64_t config, boot_id;
    const struct sense_channel *channels; /* borrowed for micro_init */
    size_t channel_count;
    unsigned samples_per_record, describe_every;
    int64_t period_us, max_age_us;
    size_t bulk_bytes, alarm_bytes; /* of the queues in RAM */
    size_t held_bytes;              /* inferences that wait for their block */
    size_t frame_bytes;
    const struct infer_model *model;   /* NULL = none; borrowed, as what it points to */
    const struct infer_options *infer; /* with a model; its identities, channels and period are those of this device */
};
struct micro_link {
    /* One message, borrowed. Anything but OK: it does not go now. */
    enum err (*publish)(void *arg, enum topic_channel channel, struct slice payload);
    uint64_t (*random)(void *arg); /* 64 random bits, never 0: of the part's generator */
    void *arg;
};
/* Embedded in its owner, who keeps it where it is; the members are for reading. */
struct micro {
    struct micro_link link;
    int64_t now_us, infer_due_us; /* infer_due_us: 0 = not */
    uint64_t wall_us;
    struct buffer describe, scratch;
    struct compose compose;
    struct outlet outlet;
    struct infer *infer; /* NULL = none */
    size_t channel_count;
    size_t memory_bytes; /* of what was given */
};

/* memory: aligned to 64, for the life of it. ERR_FULL: too little, the sentence says how much is needed; ERR_RANGE:
 * options; and infer_place's. The link is down. */
enum err micro_init(struct micro *m, const struct micro_options *options, const struct micro_link *link, int64_t now_us,
                    uint64_t wall_us, void *memory, size_t len, struct fault *reterr) MUST_CHECK;
void micro_link_is(struct micro *m, bool up);
/* Times do not go back. values: one for each channel, NaN = missing. ERR_AGAIN: the sample found no room. */
enum err micro_sample(struct micro *m, const double *values, int64_t now_us, uint64_t wall_us, bool synced) MUST_CHECK;
/* Time has passed: what is due is done. To be called at micro_due_us at the latest. */
void micro_pass(struct micro *m, int64_t now_us, uint64_t wall_us);
int64_t micro_due_us(const struct micro *m); /* 0 = nothing is */
/* What came on the channel, ack or answer; others are none of ours. */
void micro_received(struct micro *m, enum topic_channel channel, struct slice payload);
enum err micro_event(struct micro *m, const struct compose_event *event) MUST_CHECK;
/* No more samples come: closes the block; asks under way are told as they stand. */
void micro_end(struct micro *m);
/* Nothing waits. */
bool micro_drained(const struct micro *m);

#endif
