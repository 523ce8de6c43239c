/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink of a virtual world and its checks:
 *   I1 lost         {1..durable top} minus what arrived, was suppressed or declared
 *   I2 duplicated   a number that arrives twice
 *   I3 reordered    a number below one that arrived before, in one stream
 *   I4 corrupt      a sample that is not the pattern of its place
 *   I8 phantom      a number above what the device ever held durably
 * In: batches of the bridge's drain. Committing is atomic and durable, as a database's transaction is.
 */
#include "simulators/world/world_internal.h"

#include <stdio.h>
#include <uthash.h>

#include "device/sense/sense.h"
#include "proto/block/block.h"

struct judge_stream {
    char key[ID_MAX + 24];
    char device[ID_MAX + 1];
    uint64_t epoch, hwm, delivered, gaps, suppressed, lost, durable;
    uint8_t lane;
    bool excused, in_sink;
    UT_hash_handle hh;
};
struct judge {
    struct judge_stream *streams;
    struct arena arena;
    struct loop_world *world;
    bool without_mark;
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
    uint64_t duplicated, reordered, corrupt, absorbed, alarms;
    int64_t alarm_delay_us;
    struct buffer complaints;
    int64_t values[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX];
    double resolutions[BLOCK_CHANNELS_MAX];
};

enum err judge_new(bool without_mark, struct judge **ret_judge)
{
    struct judge *j = calloc(1, sizeof(*j));
    if (j == NULL || arena_init(&j->arena, WIRE_ARENA_BYTES) != OK) {
        free(j);
        return ERR_NOMEM;
    }
    j->without_mark = without_mark;
    buffer_init(&j->complaints, 16 * 1024);
    *ret_judge = j;
    return OK;
}

void judge_free(struct judge *j)
{
    if (j == NULL) {
        return;
    }
    struct judge_stream *s, *next;
    HASH_ITER(hh, j->streams, s, next)
    {
        HASH_DEL(j->streams, s);
        free(s);
    }
    arena_deinit(&j->arena);
    buffer_deinit(&j->complaints);
    free(j);
}

static struct judge_stream *stream_of(struct judge *j, const char *device, uint64_t epoch, uint8_t lane)
{
    char key[ID_MAX + 24] = {0};
    snprintf(key, sizeof(key), "%s/%016llx", device, (unsigned long long)epoch);
    struct judge_stream *s = NULL;
    HASH_FIND_STR(j->streams, key, s);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            abort(); /* a checker that cannot count must not go on */
        }
        memcpy(s->key, key, sizeof(key));
        snprintf(s->device, sizeof(s->device), "%s", device);
        s->epoch = epoch;
        s->lane = lane;
        HASH_ADD_STR(j->streams, key, s);
    }
    return s;
}

static void complain(struct judge *j, const struct wire_forward *f, const char *what)
{
    if (j->complaints.len < 8000) {
        buffer_printf(&j->complaints, "%s: device=%s epoch=%016llx numbers=%llu..%llu lane=%u\n", what, f->device,
                      (unsigned long long)f->epoch, (unsigned long long)f->first, (unsigned long long)f->last, f->lane);
    }
}

static bool is_pattern(const struct judge *j, const char *device, uint64_t epoch, uint64_t number, size_t channels,
                       size_t samples)
{
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; i < samples; i++) {
            if (j->values[c * samples + i] != sense_pattern(device, epoch, number, (unsigned)i, (unsigned)c)) {
                return false;
            }
        }
    }
    return channels > 0;
}

/* A record that was renumbered when an old image was restored: it was made for a place in an excused epoch. */
static bool was_pattern(const struct judge *j, const struct wire_forward *f, size_t channels, size_t samples)
{
    struct judge_stream *s, *next;
    HASH_ITER(hh, j->streams, s, next)
    {
        if (s->excused && strcmp(s->device, f->device) == 0) {
            for (uint64_t number = f->first; number < f->first + 100000; number++) {
                if (is_pattern(j, f->device, s->epoch, number, channels, samples)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* I4: every value is the pattern of its place. */
static bool block_is_intact(struct judge *j, const struct wire_forward *f, const Weir__V1__Block *block)
{
    size_t channels = 0;
    if (block->samples == 0 || block->samples > BLOCK_SAMPLES_MAX ||
        block_decode(slice_of(block->columns.data, block->columns.len), block->samples, BLOCK_CHANNELS_MAX, j->values,
                     j->resolutions, &channels) != OK) {
        return false;
    }
    return is_pattern(j, f->device, f->epoch, f->first, channels, block->samples) ||
           was_pattern(j, f, channels, block->samples);
}

/* What one record is, counted; returns false when it does not stand for first..last. */
static bool judge_record(struct judge *j, struct judge_stream *s, const struct wire_forward *f, uint64_t from)
{
    arena_reset(&j->arena);
    Weir__V1__Record *record = NULL;
    if (wire_record_unpack(f->record, &j->arena, &record) != OK) {
        return false;
    }
    uint64_t numbers = f->last - from + 1;
    switch (record->kind_case) {
    case WEIR__V1__RECORD__KIND_GAP:
        s->gaps += numbers;
        return record->gap->from == f->first && record->gap->to == f->last;
    case WEIR__V1__RECORD__KIND_SUPPRESSED:
        s->suppressed += numbers;
        return record->suppressed->from == f->first && record->suppressed->to == f->last;
    case WEIR__V1__RECORD__KIND_BLOCK:
        s->delivered += numbers;
        return f->first == f->last && block_is_intact(j, f, record->block);
    case WEIR__V1__RECORD__KIND_EVENT:
        s->delivered += numbers;
        if (record->event->severity == WEIR__V1__SEVERITY__ALARM) {
            j->alarms++;
            if (strcmp(record->event->id, "test-alarm") == 0) { /* value = virtual time of the report, in seconds */
                int64_t delay = loop_world_now_us(j->world) - (int64_t)(record->event->value * 1e6);
                j->alarm_delay_us = max_i64(j->alarm_delay_us, delay);
            }
        }
        return f->first == f->last;
    case WEIR__V1__RECORD__KIND_HEALTH:
    case WEIR__V1__RECORD__KIND_DESCRIBE:
        s->delivered += numbers;
        return f->first == f->last;
    case WEIR__V1__RECORD__KIND__NOT_SET:
    case _WEIR__V1__RECORD__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

static void judge_item(struct judge *j, const struct wire_forward *f)
{
    struct judge_stream *s = stream_of(j, f->device, f->epoch, f->lane);
    s->in_sink = true;
    uint64_t from = f->first;
    if (from <= s->hwm) {
        if (f->last <= s->hwm && !j->without_mark) {
            j->absorbed++; /* idempotent by key: a declared gap over what had arrived */
            return;
        }
        if (j->without_mark) {
            j->duplicated += min_u64(s->hwm, f->last) - from + 1;
            complain(j, f, "duplicated");
        }
        from = s->hwm + 1;
        if (from > f->last) {
            return;
        }
    } else if (from > s->hwm + 1) {
        s->lost += from - s->hwm - 1;
        complain(j, f, "lost before");
    }
    if (!judge_record(j, s, f, from)) {
        j->corrupt++;
        complain(j, f, "corrupt");
    }
    s->hwm = f->last;
}

static enum err judge_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    (void)reterr;
    struct judge *j = self;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (j->epoch[lane] != batch->epoch[lane]) { /* a new spool: positions begin again */
            j->epoch[lane] = batch->epoch[lane];
            j->position[lane] = 0;
        }
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct sink_item *item = &batch->items[i];
        if (item->position <= j->position[item->lane] && !j->without_mark) {
            j->reordered++;
            complain(j, &item->forward, "position went back");
            continue;
        }
        if (item->forward.first <= item->forward.last) {
            judge_item(j, &item->forward);
        }
    }
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        j->position[lane] = max_u64(j->position[lane], batch->position[lane]);
    }
    return OK;
}

static enum err judge_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    struct judge *j = self;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        ret_position[lane] = j->epoch[lane] == epoch[lane] && !j->without_mark ? j->position[lane] : 0;
    }
    return OK;
}

static void judge_close(void *self)
{
    (void)self;
}

struct sink judge_sink(struct judge *j, struct loop_world *world)
{
    static const struct sink_ops ops = {
        .name = "judge", .write = judge_write, .position = judge_position, .close = judge_close};
    j->world = world;
    return (struct sink){.ops = &ops, .self = j};
}

void judge_durable(struct judge *j, const char *device, uint64_t epoch, uint8_t lane, uint64_t top)
{
    if (epoch == 0 || top == 0) {
        return;
    }
    struct judge_stream *s = stream_of(j, device, epoch, lane);
    s->durable = max_u64(s->durable, top);
}

void judge_excuse(struct judge *j, const char *device, uint64_t epoch)
{
    if (epoch != 0) {
        stream_of(j, device, epoch, 0)->excused = true;
    }
}

void judge_report(struct judge *j, struct world_report *ret, struct buffer *complaints)
{
    struct judge_stream *s, *next;
    HASH_ITER(hh, j->streams, s, next)
    {
        ret->durable += s->durable;
        ret->delivered += s->delivered;
        ret->gaps += s->gaps;
        ret->suppressed += s->suppressed;
        ret->lost += s->lost;
        ret->epochs += s->in_sink && s->lane == 1;
        if (s->hwm > s->durable) {
            ret->phantom += s->hwm - s->durable;
            buffer_printf(complaints, "phantom: %s in the sink %llu, durable %llu\n", s->key,
                          (unsigned long long)s->hwm, (unsigned long long)s->durable);
        } else if (!s->excused) {
            ret->waiting += s->durable - s->hwm;
        }
    }
    ret->duplicated = j->duplicated;
    ret->reordered = j->reordered;
    ret->corrupt = j->corrupt;
    ret->alarms = j->alarms;
    ret->alarm_delay_us = j->alarm_delay_us;
    buffer_put(complaints, j->complaints.ptr, j->complaints.len);
}
