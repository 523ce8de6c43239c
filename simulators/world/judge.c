/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink of a virtual world and its checks:
 *   I1 lost         {1..durable top} minus what arrived, was suppressed or declared
 *   I2 duplicated   a number, or the same record (ledger), that arrives twice
 *   I3 reordered    a number below one that arrived before, in one stream
 *   I4 corrupt      a sample that is not the pattern of its place
 *   I8 phantom      a number, or a record, that the device never held durably
 *   I9 unfounded    numbers declared lost, epochs begun, records absorbed, where nothing was done that explains it
 * In: batches of the bridge's drain. Committing is atomic and durable, as a database's transaction is.
 *
 * A jump in a device's stream is what real sinks record as a gap; it is accepted where a hop has declared those very
 * records as lost, by numbers of its own (proto/receive: a parent that lost its store can name only those; manifest.c
 * tells which records they were).
 */
#include <stdio.h>
#include <uthash.h>

#include "device/sense/sense.h"
#include "proto/block/block.h"
#include "proto/receive/receive.h"
#include "simulators/world/world_internal.h"

enum { COMPLAINTS_MAX = 8000, ORIGIN_SEARCH = 100000 };

struct spans {
    struct span {
        uint64_t first, last;
    } *items; /* owned */
    size_t count, cap;
};
struct judge_stream {
    char key[ID_MAX + 24];
    char device[ID_MAX + 1];
    uint64_t epoch, hwm, delivered, gaps, suppressed, durable;
    struct spans jumps, hop_lost; /* numbers that were passed over; numbers that hops have declared */
    uint64_t overflow; /* of gaps: those that the device declared */
    unsigned owner;
    uint8_t lane;
    bool excused, in_sink, hop, captures;
    struct curated_account values;
    UT_hash_handle hh;
};
struct judge {
    struct world *world;
    struct judge_stream *streams;
    struct arena arena;
    enum world_sink mode;
    bool deaf_once; /* batches came again although they were committed */
    bool without_mark;
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
    uint64_t duplicated, reordered, corrupt, phantom, absorbed, alarms, readings, curated, captured, windows;
    int64_t alarm_delay_us;
    struct buffer complaints;
    int64_t values[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX];
    double resolutions[BLOCK_CHANNELS_MAX];
};

enum err judge_new(struct world *world, struct judge **ret_judge)
{
    struct judge *j = calloc(1, sizeof(*j));
    if (j == NULL || arena_init(&j->arena, WIRE_ARENA_BYTES) != OK) {
        free(j);
        return ERR_NOMEM;
    }
    j->world = world;
    j->without_mark = world->options.mistake == WORLD_MISTAKE_SINK_WITHOUT_MARK;
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
        free(s->jumps.items);
        free(s->hop_lost.items);
        free(s);
    }
    arena_deinit(&j->arena);
    buffer_deinit(&j->complaints);
    free(j);
}

void judge_set_mode(struct judge *j, enum world_sink mode)
{
    j->mode = mode;
}

static struct judge_stream *stream_of(struct judge *j, const char *device, unsigned owner, uint64_t epoch, uint8_t lane)
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
        s->owner = owner;
        HASH_ADD_STR(j->streams, key, s);
    }
    return s;
}

static void complain(struct judge *j, const struct wire_forward *f, const char *what)
{
    if (j->complaints.len < COMPLAINTS_MAX) {
        buffer_printf(&j->complaints, "%.6fs %s: device=%s epoch=%016llx numbers=%llu..%llu lane=%u\n",
                      (double)world_now_us(j->world) / 1e6, what, f->device, (unsigned long long)f->epoch,
                      (unsigned long long)f->first, (unsigned long long)f->last, f->lane);
    }
}

/* ---- one record ---- */
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
            for (uint64_t number = f->first; number < f->first + ORIGIN_SEARCH; number++) {
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
    j->readings += block->samples * channels;
    return is_pattern(j, f->device, f->epoch, f->first, channels, block->samples) ||
           was_pattern(j, f, channels, block->samples);
}

/* ---- what rules shaped ---- */
struct taken {
    struct judge *judge;
    struct judge_stream *stream;
    unsigned samples;
};

/* A device's record that rules shaped or suppressed: it need not come as it was. */
static void take_record(void *arg, const struct manifest_line *line)
{
    struct taken *t = arg;
    if (line->what == MANIFEST_RECORD) {
        ledger_declared(t->judge->world->ledger, line->from, line->content);
        if (line->content_before != 0) { /* which of the two it was, its number does not say */
            ledger_declared(t->judge->world->ledger, line->from, line->content_before);
        }
        t->samples += line->samples;
        curated_seen(&t->stream->values, t->judge->world->options.channels, line->samples);
    }
}

static unsigned take_records(struct judge *j, struct judge_stream *s, uint64_t from, uint64_t to)
{
    struct taken t = {.judge = j, .stream = s};
    manifest_foreach(j->world->manifest, s->owner, s->lane, s->epoch, from, to, take_record, &t);
    return t.samples;
}

static bool decode_rows(struct judge *j, const Weir__V1__Block *block, size_t *ret_channels)
{
    return block->samples > 0 && block->samples <= BLOCK_SAMPLES_MAX &&
           block_decode(slice_of(block->columns.data, block->columns.len), block->samples, BLOCK_CHANNELS_MAX,
                        j->values, j->resolutions, ret_channels) == OK;
}

struct original {
    struct judge *judge;
    const char *device;
    const Weir__V1__Block *block;
    uint64_t span_us; /* that a record may last */
    size_t channels;
    uint64_t epoch;
    bool found;
};

static void look_at_original(void *arg, const struct manifest_line *line)
{
    struct original *o = arg;
    uint64_t at_us = o->block->wall_us;
    if (!o->found && line->samples > 0 && line->wall_us <= at_us && at_us - line->wall_us <= o->span_us) {
        o->found = curated_is_part(o->judge->values, o->channels, o->block->samples, o->device, o->epoch,
                                   line->from_first, line->samples);
    }
}

/* Rows that a capture brings are those of one of the device's records; which one, their time says. */
static bool is_capture(struct judge *j, const struct wire_forward *f, const Weir__V1__Curated *curated)
{
    const struct world_options *w = &j->world->options;
    struct original o = {.judge = j, .device = f->device, .block = curated->block};
    o.span_us = (uint64_t)w->period_us * (w->samples + 1);
    if (curated->block == NULL || !decode_rows(j, curated->block, &o.channels)) {
        return false;
    }
    struct judge_stream *s, *next;
    HASH_ITER(hh, j->streams, s, next)
    {
        if (!s->captures && !s->hop && strcmp(s->device, f->device) == 0) {
            o.epoch = s->epoch;
            manifest_foreach(j->world->manifest, s->owner, s->lane, s->epoch, 1, UINT64_MAX / 2, look_at_original, &o);
        }
    }
    return o.found || world_node(j->world, f->device)->restores > 0; /* then records were renumbered */
}

static bool judge_curated(struct judge *j, struct judge_stream *s, const struct wire_forward *f,
                          const Weir__V1__Curated *curated)
{
    if (f->first != f->last) {
        return false;
    }
    if (curated->capture[0] != '\0') {
        s->captures = true;
        j->captured++;
        return is_capture(j, f, curated);
    }
    j->curated++;
    j->windows += curated->n_window;
    unsigned samples = take_records(j, s, f->first, f->last);
    curated_windows(&s->values, curated);
    size_t channels = 0;
    if (curated->block == NULL) {
        return true;
    }
    if (!decode_rows(j, curated->block, &channels)) {
        return false;
    }
    j->readings += curated->block->samples * channels;
    curated_shown(&s->values, j->values, channels, curated->block->samples);
    return s->excused || world_node(j->world, f->device)->restores > 0 ||
           curated_is_part(j->values, channels, curated->block->samples, f->device, f->epoch, f->first, samples);
}

static void note_alarm(struct judge *j, const Weir__V1__Event *event)
{
    j->alarms++;
    if (strcmp(event->id, "test-alarm") == 0) { /* value = virtual time of the report, in seconds */
        int64_t delay = world_now_us(j->world) - (int64_t)(event->value * 1e6);
        j->alarm_delay_us = max_i64(j->alarm_delay_us, delay);
    }
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
        s->overflow += record->gap->reason == WEIR__V1__GAP_REASON__OVERFLOW ? numbers : 0;
        return record->gap->from == f->first && record->gap->to == f->last;
    case WEIR__V1__RECORD__KIND_SUPPRESSED:
        s->suppressed += numbers;
        (void)take_records(j, s, from, f->last);
        return record->suppressed->rule[0] != '\0' && record->suppressed->from == f->first &&
               record->suppressed->to == f->last;
    case WEIR__V1__RECORD__KIND_BLOCK:
        s->delivered += numbers;
        return f->first == f->last && block_is_intact(j, f, record->block);
    case WEIR__V1__RECORD__KIND_EVENT:
        s->delivered += numbers;
        if (record->event->severity == WEIR__V1__SEVERITY__ALARM) {
            note_alarm(j, record->event);
        }
        return f->first == f->last;
    case WEIR__V1__RECORD__KIND_HEALTH:
    case WEIR__V1__RECORD__KIND_INFERENCE:
    case WEIR__V1__RECORD__KIND_DESCRIBE:
        s->delivered += numbers;
        return f->first == f->last;
    case WEIR__V1__RECORD__KIND_CURATED:
        s->delivered += numbers;
        return judge_curated(j, s, f, record->curated);
    case WEIR__V1__RECORD__KIND__NOT_SET:
    case _WEIR__V1__RECORD__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

static void judge_content(struct judge *j, const struct judge_stream *s, const struct wire_forward *f)
{
    if (!ledger_counts(f->record)) {
        return;
    }
    if (!ledger_delivered(j->world->ledger, s->owner, f->record)) {
        j->duplicated++;
        complain(j, f, "the same record a second time");
    }
}

/* ---- what gaps stand for ---- */
static void spans_add(struct spans *s, uint64_t first, uint64_t last)
{
    if (s->count == s->cap) {
        size_t cap = s->cap > 0 ? 2 * s->cap : 8;
        struct span *items = realloc(s->items, cap * sizeof(*items));
        if (items == NULL) {
            abort();
        }
        s->items = items;
        s->cap = cap;
    }
    s->items[s->count++] = (struct span){first, last};
}

/* Numbers of first..last that no span covers. */
static uint64_t spans_uncovered(const struct spans *s, uint64_t first, uint64_t last)
{
    uint64_t uncovered = 0;
    for (uint64_t number = first; number <= last; number++) {
        bool covered = false;
        for (size_t i = 0; i < s->count && !covered; i++) {
            covered = s->items[i].first <= number && number <= s->items[i].last;
        }
        uncovered += !covered;
    }
    return uncovered;
}

/* A device's gap: its records are declared lost. */
static void declare_record(void *arg, const struct manifest_line *line)
{
    struct judge *j = arg;
    if (line->what == MANIFEST_RECORD) {
        ledger_declared(j->world->ledger, line->from, line->content);
    }
}

static void declare_line(void *arg, const struct manifest_line *line)
{
    struct judge *j = arg;
    const struct node *n = &j->world->nodes[line->from];
    if (line->what == MANIFEST_RECORD) {
        ledger_declared(j->world->ledger, line->from, line->content);
    }
    if (line->hop) { /* a gap that was lost in its turn */
        manifest_foreach(j->world->manifest, line->from, line->from_lane, line->from_epoch, line->from_first,
                         line->from_last, declare_line, j);
        return;
    }
    struct judge_stream *s = stream_of(j, n->name, line->from, line->from_epoch, line->from_lane);
    spans_add(&s->hop_lost, line->from_first, line->from_last);
    if (line->what == MANIFEST_RANGE) { /* what it had declared */
        manifest_foreach(j->world->manifest, line->from, line->from_lane, line->from_epoch, line->from_first,
                         line->from_last, declare_record, j);
    }
}

/* ---- one item ---- */
static void judge_hop(struct judge *j, const struct wire_forward *f)
{
    const struct node *gateway = world_node(j->world, f->device);
    if (gateway == NULL) {
        j->phantom++;
        complain(j, f, "phantom: there is no such gateway");
        return;
    }
    struct judge_stream *s = stream_of(j, f->device, 0, f->epoch, f->lane);
    s->hop = true;
    s->gaps += f->last - f->first + 1;
    manifest_foreach(j->world->manifest, node_index(gateway), f->lane, f->epoch, f->first, f->last, declare_line, j);
}

static void judge_item(struct judge *j, const struct wire_forward *f)
{
    const struct node *device = world_node(j->world, f->device);
    checks_digest(j->world, checks_hash(f->first, f->record));
    if (receive_is_hop(f)) {
        judge_hop(j, f);
        return;
    }
    if (device == NULL || device->kind != NODE_DEVICE) {
        j->phantom++;
        complain(j, f, "phantom: there is no such device");
        return;
    }
    struct judge_stream *s = stream_of(j, f->device, node_index(device), f->epoch, f->lane);
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
        spans_add(&s->jumps, s->hwm + 1, from - 1);
    }
    if (!judge_record(j, s, f, from)) {
        j->corrupt++;
        complain(j, f, "corrupt");
    }
    judge_content(j, s, f);
    if (ledger_is_range(f->record)) {
        manifest_foreach(j->world->manifest, s->owner, f->lane, f->epoch, from, f->last, declare_record, j);
    }
    s->hwm = f->last;
}

/* ---- the sink ---- */
static enum err judge_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct judge *j = self;
    if (j->mode == WORLD_SINK_FAILS) {
        return fault_set(reterr, ERR_IO, "the judge takes nothing");
    }
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (j->epoch[lane] != batch->epoch[lane]) { /* a new spool: positions begin again */
            j->epoch[lane] = batch->epoch[lane];
            j->position[lane] = 0;
        }
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct sink_item *item = &batch->items[i];
        if (item->position <= j->position[item->lane] && !j->without_mark && !j->deaf_once) {
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
    j->deaf_once = j->deaf_once || j->mode == WORLD_SINK_DEAF;
    return j->mode == WORLD_SINK_DEAF ? fault_set(reterr, ERR_TIMEOUT, "the judge's answer is lost") : OK;
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

struct sink judge_sink(struct judge *j)
{
    static const struct sink_ops ops = {
        .name = "judge", .write = judge_write, .position = judge_position, .close = judge_close};
    return (struct sink){.ops = &ops, .self = j};
}

/* ---- what the devices' disks hold ---- */
void judge_durable(struct judge *j, const struct node *device, uint64_t epoch, uint8_t lane, uint64_t top)
{
    if (epoch == 0 || top == 0) {
        return;
    }
    struct judge_stream *s = stream_of(j, device->name, node_index(device), epoch, lane);
    s->durable = max_u64(s->durable, top);
}

void judge_excuse(struct judge *j, const struct node *device, uint64_t epoch, uint8_t lane)
{
    if (epoch != 0) {
        stream_of(j, device->name, node_index(device), epoch, lane)->excused = true;
    }
}

/* ---- the account ---- */
struct account { /* of a device */
    uint64_t gaps, overflow;
    struct ledger_account content;
    unsigned epochs[INBOX_LANES];
};

static bool receivers_were_set_back(const struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->nodes[i].kind != NODE_DEVICE && w->nodes[i].wipes + w->nodes[i].restores > 0) {
            return true;
        }
    }
    return false;
}

/* A gateway that gets rules sends again what was under way without: its curated spools are new streams. */
static bool rules_were_begun(const struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->nodes[i].rules_begun) {
            return true;
        }
    }
    return false;
}

static uint64_t count_lost(const struct judge_stream *s, struct buffer *complaints)
{
    uint64_t lost = 0;
    for (size_t i = 0; i < s->jumps.count; i++) {
        const struct span *span = &s->jumps.items[i];
        uint64_t uncovered = spans_uncovered(&s->hop_lost, span->first, span->last);
        lost += uncovered;
        if (uncovered > 0) {
            buffer_printf(complaints, "lost: %s %llu..%llu\n", s->key, (unsigned long long)span->first,
                          (unsigned long long)span->last);
        }
    }
    return lost;
}

/* Every value of a windowed channel has gone somewhere, once. */
static void count_values(const struct judge_stream *s, struct world_report *ret, struct buffer *complaints)
{
    for (unsigned c = 0; c < CURATED_CHANNELS; c++) {
        if (s->values.open[c] != 0) {
            ret->miscounted += (uint64_t)llabs(s->values.open[c]);
            buffer_printf(complaints, "miscounted: %s channel %u: %lld values are %s\n", s->key, c,
                          llabs(s->values.open[c]), s->values.open[c] > 0 ? "in no window" : "too many in windows");
        }
    }
}

static void count_stream(const struct judge *j, struct judge_stream *s, struct account *accounts,
                         struct world_report *ret, struct buffer *complaints)
{
    if (s->hop) {
        ret->hop_gaps += s->gaps;
        return;
    }
    if (s->captures) { /* made at a gateway: no device holds them */
        ret->lost += count_lost(s, complaints);
        return;
    }
    if (j->world->windows_closed && !s->excused && s->hwm == s->durable) {
        count_values(s, ret, complaints);
    }
    struct account *a = &accounts[s->owner];
    ret->durable += s->durable;
    ret->delivered += s->delivered;
    ret->gaps += s->gaps;
    ret->suppressed += s->suppressed;
    ret->epochs += s->in_sink && s->lane == 1;
    ret->lost += count_lost(s, complaints);
    a->gaps += s->gaps;
    a->overflow += s->overflow;
    a->epochs[s->lane]++;
    if (s->hwm > s->durable) {
        ret->phantom += s->hwm - s->durable;
        buffer_printf(complaints, "phantom: %s in the sink %llu, durable %llu\n", s->key, (unsigned long long)s->hwm,
                      (unsigned long long)s->durable);
    } else if (!s->excused) {
        ret->waiting += s->hop_lost.count > 0 ? spans_uncovered(&s->hop_lost, s->hwm + 1, s->durable)
                                              : s->durable - s->hwm;
    }
}

static void count_device(const struct node *n, const struct account *a, bool set_back, struct world_report *ret,
                         struct buffer *complaints)
{
    uint64_t dropped = n->dropped + n->dropped_before;
    if (a->gaps > 0 && a->overflow > dropped && n->restores == 0) {
        ret->unfounded += a->overflow - dropped;
        buffer_printf(complaints, "declared without a cause: %s overflow %llu, dropped %llu\n", n->name,
                      (unsigned long long)a->overflow, (unsigned long long)dropped);
    }
    if (a->gaps > a->overflow && !set_back) {
        ret->unfounded += a->gaps - a->overflow;
        buffer_printf(complaints, "declared without a cause: %s %llu numbers\n", n->name,
                      (unsigned long long)(a->gaps - a->overflow));
    }
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (a->epochs[lane] > 1 + n->wipes + n->restores) {
            ret->unfounded += a->epochs[lane] - 1 - n->wipes - n->restores;
            buffer_printf(complaints, "begun without a cause: %s has %u epochs in lane %u, %u wipes, %u restores\n",
                          n->name, a->epochs[lane], lane, n->wipes, n->restores);
        }
    }
    ret->undeclared += a->content.missing;
    ret->phantom += a->content.phantom;
    if (a->content.missing + a->content.phantom > 0) {
        buffer_printf(complaints, "undeclared: %s %llu records did not come; phantom: %llu were never durable\n",
                      n->name, (unsigned long long)a->content.missing, (unsigned long long)a->content.phantom);
    }
}

void judge_report(struct judge *j, struct world_report *ret, struct buffer *complaints)
{
    struct world *w = j->world;
    struct account *accounts = calloc(w->count, sizeof(*accounts));
    struct ledger_account *content = calloc(w->count, sizeof(*content));
    if (accounts == NULL || content == NULL) {
        abort();
    }
    struct judge_stream *s, *next;
    HASH_ITER(hh, j->streams, s, next)
    {
        count_stream(j, s, accounts, ret, complaints);
    }
    ledger_account(w->ledger, content, w->count);
    bool set_back = receivers_were_set_back(w);
    for (size_t i = 0; i < w->count; i++) {
        accounts[i].content = content[i];
        if (w->nodes[i].kind == NODE_DEVICE) {
            count_device(&w->nodes[i], &accounts[i], set_back, ret, complaints);
        }
    }
    free(accounts);
    free(content);
    if (!set_back && ret->hop_gaps > 0) {
        ret->unfounded += ret->hop_gaps;
        buffer_printf(complaints, "declared without a cause: %llu numbers of hops\n",
                      (unsigned long long)ret->hop_gaps);
    }
    if (!set_back && !j->deaf_once && j->absorbed > 0 && !rules_were_begun(w)) {
        ret->unfounded += j->absorbed;
        buffer_printf(complaints, "absorbed without a cause: %llu records\n", (unsigned long long)j->absorbed);
    }
    ret->absorbed = j->absorbed;
    ret->curated = j->curated;
    ret->captured = j->captured;
    ret->windows = j->windows;
    ret->duplicated = j->duplicated;
    ret->reordered = j->reordered;
    ret->corrupt = j->corrupt;
    ret->phantom += j->phantom;
    ret->readings = j->readings;
    ret->alarms = j->alarms;
    ret->alarm_delay_us = j->alarm_delay_us;
    buffer_put(complaints, j->complaints.ptr, j->complaints.len);
}
