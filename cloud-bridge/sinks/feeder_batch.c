/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into a feeder's batch: entries of the spool, a dead letter that is replayed, or gaps of what was given up
 * (the latter two move no position).
 *
 * The bytes of a batch are copied out of the spool, since its pages must not be held across a write.
 *
 * Alarms do not wait: a batch that has any holds nothing else (two in a row are mixed, so that a flood of alarms does
 * not stop the rest).
 */
#include "cloud-bridge/sinks/feeder_internal.h"

#include "cloud-bridge/sinks/dead.h"
#include "core/log/log.h"

/* What the sink gets instead of the record. */
void feeder_put_gap(struct feeder *f, size_t index, Weir__V1__GapReason reason)
{
    struct wire_forward *forward = &f->items[index].forward;
    forward->record =
        sink_gap_body(f->gaps + index * OWED_BODY_BYTES, forward->first, forward->last, reason, forward->received_us);
}

/* ---- filling ---- */
struct filling {
    struct feeder *feeder;
    uint8_t lane;
    size_t lane_start_bytes, lane_count;
};

static bool add_entry(void *arg, const struct spool_entry *entry)
{
    struct filling *fill = arg;
    struct feeder *f = fill->feeder;
    if (f->used + entry->body.len > BLOCK_BYTES) {
        return false;
    }
    struct sink_item *item = &f->items[f->batch.count++];
    *item = (struct sink_item){.lane = fill->lane, .position = entry->last, .forward = {.first = 1, .last = 0}};
    if (entry->body.len > 0) {
        memcpy(f->bytes + f->used, entry->body.ptr, entry->body.len);
    }
    struct slice body = slice_of(f->bytes + f->used, entry->body.len);
    f->used += entry->body.len;
    if (entry->damaged || wire_forward_decode(body, &item->forward) != OK) {
        item->forward = (struct wire_forward){.first = 1, .last = 0};
        f->unreadable++;
        log_error("an entry of the spool cannot be read, its numbers will show as a gap", KV_U64("lane", fill->lane),
                  KV_U64("position", entry->first));
    }
    if (f->sinks->handlers.dead != NULL && item->forward.first <= item->forward.last &&
        dead_has(f->sinks->handlers.dead, feeder_name(f), &item->forward)) {
        feeder_put_gap(f, f->batch.count - 1,
                       WEIR__V1__GAP_REASON__DEAD_LETTER); /* before the last crash, or settled anew */
    }
    f->batch.position[fill->lane] = entry->last;
    fill->lane_count++;
    return fill->lane_count < f->entries && f->used - fill->lane_start_bytes < BATCH_BYTES;
}

enum err feeder_fill(struct feeder *f)
{
    f->batch.items = f->items;
    f->batch.count = 0;
    f->used = 0;
    f->unreadable = 0;
    bool may_be_alone = !f->alone;
    f->alone = false;
    for (uint8_t lane = 0; lane < INBOX_LANES; lane++) {
        struct spool *spool = f->sinks->spools[lane];
        struct filling fill = {.feeder = f, .lane = lane, .lane_start_bytes = f->used};
        f->batch.epoch[lane] = spool_epoch(spool);
        f->batch.position[lane] = f->position[lane];
        f->alone = may_be_alone && lane > 0 && f->batch.count > 0;
        if (!f->alone && spool_durable(spool) > f->position[lane]) {
            TRY(spool_read(spool, f->position[lane] + 1, add_entry, &fill));
        }
    }
    return OK;
}

/* ---- batches that are not of the spool ---- */
void feeder_begin(struct feeder *f)
{
    f->batch.items = f->items;
    f->batch.count = 0;
    f->used = 0;
    f->unreadable = 0;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        f->batch.epoch[lane] = spool_epoch(f->sinks->spools[lane]);
        f->batch.position[lane] = f->position[lane];
    }
}

/* False: the letter is not there any more, or not of this sink. */
bool feeder_fill_letter(struct feeder *f)
{
    struct dead_letter letter;
    feeder_begin(f);
    if (dead_get(f->sinks->handlers.dead, f->replay, &f->letter, &letter) != OK ||
        strcmp(letter.sink, feeder_name(f)) != 0) {
        f->replay = 0;
        return false;
    }
    f->items[0] = (struct sink_item){.lane = letter.forward.lane, .forward = letter.forward, .replay = true};
    f->batch.count = 1;
    return true;
}

void feeder_fill_owed(struct feeder *f)
{
    feeder_begin(f);
    f->batch.count = owed_items(&f->owed, f->items, BATCH_ENTRIES, f->gaps, (uint64_t)loop_wall_us(f->sinks->loop));
}
