/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig - a filter between raw and curated spools on an in-memory disk and the virtual loop.
 *
 * The test plays the inbox: it appends Forwards to the raw spools and commits the batch that trims of the ring go
 * to. What comes out is read back from the curated spools, lane by lane, as (stream, numbers, what it is).
 */
#ifndef TESTS_UNIT_GATEWAY_FILTER_RIG_H
#define TESTS_UNIT_GATEWAY_FILTER_RIG_H

#include "gateway/filter/filter.h"
#include "proto/rules/rules.h"
#include "tests/support/check.h"

enum { RIG_SPOOL, RIG_META, RIG_STATE, RIG_TABLES };
#define RIG_WALL_US INT64_C(1700000000000000)

struct rig {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct spool *raw[INBOX_LANES], *curated[INBOX_LANES];
    struct filter *filter;
    struct filter_options options;
    struct rules *rules;
    struct store_batch *inbox; /* the inbox's, in hand */
    struct loop_task inbox_task;
    bool inbox_committing;
    uint64_t inbox_settle[INBOX_LANES];
    unsigned durable; /* on_durable */
    unsigned commits; /* of the store, since the start */
    uint64_t ahead_us; /* added to the time of blocks */
    unsigned asked;   /* on_capture */
    uint64_t asked_until_us, asked_id; /* of the last one */
    char asked_device[ID_MAX + 1], asked_rule[ID_MAX + 1];
};
/* Sizes: of the disk; 0 = 64 MiB. */
void rig_init(struct rig *r, uint64_t disk_bytes);
void rig_deinit(struct rig *r);
/* rules: text of a rules file; NULL = none. The filter begins with it. */
void rig_start(struct rig *r, const char *rules);
void rig_crash(struct rig *r); /* the store dies as it stands; batches under way as store_disk_set_cut says */
void rig_run(struct rig *r, int64_t us);
/* Until everything is curated; fails the test when that takes more than ten minutes. */
void rig_drain(struct rig *r);
struct rules *rig_rules(const char *text);

/* ---- what goes in: appended and durable when the call returns ---- */
void rig_forward(struct rig *r, uint8_t lane, const struct wire_forward *forward);
/* channels temp:0.1, flow:0.01, acc:0.01 */
void rig_describe(struct rig *r, const char *device, uint64_t epoch, uint64_t number);
/* rows of one second, beginning at number x rows seconds; acc is 0, but for the row `spike` (-1: none). */
enum { RIG_ROWS = 10 };
void rig_block(struct rig *r, const char *device, uint64_t epoch, uint64_t number, int spike);
void rig_event(struct rig *r, const char *device, uint64_t epoch, uint64_t number);
enum err rig_try_event(struct rig *r, const char *device, uint64_t epoch, uint64_t number); /* ERR_FULL */
/* A mixed load of several devices, in both lanes: the same every time. */
void rig_load(struct rig *r, unsigned records);
enum err rig_try_load(struct rig *r, unsigned from, unsigned records); /* stops at the first that finds no room */

/* ---- what came out ---- */
struct rig_out {
    char device[ID_MAX + 1];
    uint64_t epoch, first, last;
    int kind; /* of the Record; WEIR__V1__RECORD__KIND_... */
    char rule[40]; /* suppressed: who took it; captures: whose */
    uint64_t windows, window_values, values; /* of a curated record, or a block */
    bool hop;
};
/* Every entry of a curated lane in order. */
void rig_read(struct rig *r, uint8_t lane, void (*fn)(void *arg, const struct rig_out *out), void *arg);
/* Everything in the curated lanes and the states as one number; epochs of captures are left out. */
uint64_t rig_outcome(struct rig *r);

#endif
