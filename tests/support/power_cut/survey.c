/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and stores. Everything found is marked by number and place; survey_judge.c compares. */
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "cloud-bridge/bridged/bridged.h"
#include "core/crypt/crypt.h"
#include "core/daemon/daemon.h"
#include "core/spool/spool.h"
#include "device/report/report.h"
#include "device/sense/sense.h"
#include "gateway/gatewayd/gatewayd.h"
#include "tests/support/power_cut/survey_internal.h"

enum { STORE_BYTES = 1 << 20, BLOCK_ROWS = 1024 };

void complain(struct survey *s, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buffer_printf(s->complaints, "  %s\n", text);
}

/* ---- streams ---- */
struct found *survey_stream(struct survey *s, const char *device, uint64_t epoch)
{
    char key[ID_MAX + 24];
    struct found *f = NULL;
    snprintf(key, sizeof key, "%s/%016" PRIx64, device, epoch);
    HASH_FIND_STR(s->streams, key, f);
    if (f == NULL) {
        f = grown(NULL, sizeof *f);
        *f = (struct found){.epoch = epoch};
        memcpy(f->key, key, sizeof key);
        snprintf(f->device, sizeof f->device, "%s", device);
        HASH_ADD_STR(s->streams, key, f);
    }
    return f;
}

void survey_mark(struct found *f, uint64_t first, uint64_t last, uint8_t bit)
{
    if (last >= f->room) {
        size_t room = last * 2 + 64;
        f->at = grown(f->at, room);
        memset(f->at + f->room, 0, room - f->room);
        f->room = room;
    }
    for (uint64_t n = first; n <= last; n++) {
        f->at[n] |= bit;
    }
}

void survey_join(struct survey *s, struct found *f, enum sink_index sink, uint64_t first, uint64_t last,
                 uint64_t *reached)
{
    s->tally.records++;
    if (first > *reached + 1) {
        complain(s, "%s: numbers %" PRIu64 "..%" PRIu64 " are missing in sink %d", f->key, *reached + 1, first - 1,
                 sink);
    } else if (first <= *reached) {
        s->tally.duplicated += min_u64(*reached, last) - first + 1;
        complain(s, "%s: numbers %" PRIu64 "..%" PRIu64 " are in sink %d twice", f->key, first, last, sink);
    }
    survey_mark(f, first, last, (uint8_t)(AT_SINK << sink));
    *reached = max_u64(*reached, last);
}

void survey_reading(struct survey *s, const struct found *f, uint64_t number, unsigned index, unsigned channel,
                    double value)
{
    if (value != (double)sense_pattern(f->device, f->epoch, number, index, channel)) {
        s->tally.corrupt++;
        complain(s, "%s: record %" PRIu64 " sample %u channel %u is %g", f->key, number, index, channel, value);
    }
}

void survey_part(struct survey *s, const struct found *f, uint64_t number, unsigned channel, double value)
{
    bool found = survey_is_captures(f); /* of which record, the stream does not say */
    for (unsigned i = 0; i < BLOCK_ROWS && !found; i++) {
        found = value == (double)sense_pattern(f->device, f->epoch, number, i, channel);
    }
    if (!found) {
        s->tally.corrupt++;
        complain(s, "%s: record %" PRIu64 " channel %u: %g is none of its readings", f->key, number, channel, value);
    }
}

struct place {
    struct survey *survey;
    struct found *found;
    uint64_t number;
};

static enum err on_reading(void *arg, const struct sink_reading *reading)
{
    struct place *p = arg;
    survey_reading(p->survey, p->found, p->number, reading->index, reading->channel, reading->value);
    return OK;
}

/* A record as it lies in a spool. */
static void check_record(struct survey *s, struct found *f, uint64_t first, uint64_t last, struct slice record,
                         uint8_t bit)
{
    uint32_t crc;
    s->tally.records++;
    survey_mark(f, first, last, bit);
    sink_reader_read(&s->reader, record);
    bool by_rules = bit != AT_DEVICE && (s->reader.kind == SINK_CURATED || s->reader.kind == SINK_SUPPRESSED);
    if (!by_rules && first == last && facts_record(s->facts, f->device, f->epoch, last, &crc) &&
        crc != crypt_crc32c(0, record.ptr, record.len)) {
        s->tally.corrupt++;
        complain(s, "%s: record %" PRIu64 " is not what was sent", f->key, last);
    }
    struct place place = {s, f, last};
    if (s->reader.kind == SINK_UNREAD ||
        (s->reader.kind == SINK_BLOCK && sink_reader_foreach(&s->reader, on_reading, &place) != OK)) {
        s->tally.corrupt++;
        complain(s, "%s: record %" PRIu64 " cannot be read", f->key, last);
    }
}

/* ---- stores ---- */
static struct store *open_store(struct survey *s, struct loop *loop, const char *name, const char *const *tables,
                                unsigned count, unsigned meta, const char *owner)
{
    char path[PATH_MAX], quarantined[PATH_MAX] = "";
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    struct daemon_store settings = {.path = path, .size = STORE_BYTES};
    struct store_options again = {.path = path, .tables = tables, .table_count = count, .size_bytes = STORE_BYTES};
    struct store *store = NULL, *second = NULL;
    struct crypt_aead *aead = NULL;
    struct fault fault = {0};
    enum err err = daemon_store_open(loop, &settings, tables, count, meta, owner, &store, &aead, quarantined, &fault);
    if (err != OK || quarantined[0] != '\0') {
        s->tally.corrupt++;
        complain(s, "%s: %s", name, err != OK ? fault.text : "was set aside as damaged");
    } else if (store_open(loop, &again, &second, NULL, 0, &fault) != ERR_CONFLICT) {
        s->tally.corrupt++;
        complain(s, "%s: is open twice", name);
        store_close(second);
    }
    return store;
}

static struct spool *open_lane(struct survey *s, struct loop *loop, struct store *store, const char *name,
                               const struct spool_options *options)
{
    struct spool *spool = NULL;
    struct fault fault = {0};
    if (spool_open(loop, store, options, &spool, &fault) != OK || spool_repaired(spool)) {
        s->tally.corrupt++;
        complain(s, "%s lane %u: %s", name, options->lane, spool == NULL ? fault.text : "its meta record was damaged");
    }
    return spool;
}

struct reading {
    struct survey *survey;
    struct found *found; /* a device's own spool; NULL: Forwards */
    const char *name;
    uint8_t bit;
    uint64_t above; /* what is not is in a ring only, behind the rules */
};

static bool on_entry(void *arg, const struct spool_entry *entry)
{
    struct reading *r = arg;
    struct survey *s = r->survey;
    struct wire_forward forward;
    if (entry->damaged || (r->found == NULL && wire_forward_decode(entry->body, &forward) != OK)) {
        s->tally.corrupt++;
        complain(s, "%s: entry %" PRIu64 "..%" PRIu64 " is damaged", r->name, entry->first, entry->last);
    } else if (r->found != NULL) {
        check_record(s, r->found, entry->first, entry->last, entry->body, r->bit);
    } else if (!receive_is_hop(&forward)) {
        struct found *f = survey_stream(s, forward.device, forward.epoch);
        check_record(s, f, forward.first, forward.last, forward.record, entry->last > r->above ? r->bit : 0);
    }
    return true;
}

static void read_spool(struct survey *s, struct spool *spool, struct reading *r)
{
    if (spool_read(spool, spool_trimmed(spool) + 1, on_entry, r) != OK) {
        s->tally.corrupt++;
        complain(s, "%s: cannot be read", r->name);
    }
}

static void read_device(struct survey *s, struct loop *loop, unsigned number)
{
    char name[32], path[32], owner[48];
    snprintf(name, sizeof name, "device-%u", number);
    snprintf(path, sizeof path, "device/%u", number);
    snprintf(owner, sizeof owner, "device %s", name);
    CLEANUP(store_closep)
    struct store *store = open_store(s, loop, path, REPORT_TABLES, REPORT_TABLE_COUNT, REPORT_TABLE_META, owner);
    for (uint8_t lane = 0; store != NULL && lane < LANES; lane++) {
        struct spool_options options = {.table = REPORT_TABLE_SPOOL, .meta_table = REPORT_TABLE_META, .lane = lane};
        CLEANUP(spool_freep) struct spool *spool = open_lane(s, loop, store, name, &options);
        if (spool != NULL && spool_epoch(spool) != 0) {
            struct found *f = survey_stream(s, name, spool_epoch(spool));
            f->at_device = true;
            f->trimmed = spool_trimmed(spool);
            f->durable = spool_durable(spool);
            read_spool(s, spool, &(struct reading){s, f, name, AT_DEVICE, 0});
        }
    }
}

static bool on_stream(void *arg, struct slice key, struct slice value)
{
    struct reading *r = arg;
    struct survey *s = r->survey;
    struct window_stream w;
    char name[ID_MAX + 1];
    uint64_t epoch;
    if (inbox_record_parse(key, value, name, &epoch, &w) != OK) {
        s->tally.corrupt++;
        complain(s, "%s: a stream's record is damaged", r->name);
        return true;
    }
    if (r->bit == AT_GATEWAY) {
        survey_stream(s, name, epoch)->gateway_hwm = w.hwm;
    }
    for (unsigned lane = 0; lane < LANES && r->bit == AT_BRIDGE; lane++) {
        if (s->gateway[lane].epoch == epoch) {
            s->gateway[lane].bridge_hwm = w.hwm;
        }
    }
    return true;
}

/* How far a raw lane has been curated (gateway/filter/state.c). 0: no rules, or nothing yet. */
static uint64_t curated_position(struct store *store, uint8_t lane)
{
    BUFFER(value, 64);
    const uint8_t key[2] = {0, lane};
    uint64_t position = 0;
    if (store_get(store, GATEWAY_TABLE_FILTER, slice_of(key, sizeof(key)), &value) == OK && value.len == 22) {
        memcpy(&position, value.ptr + 14, sizeof(position));
    }
    return position;
}

/* Gateway and bridge keep their tables in the same order. With rules there are curated lanes behind the raw ones,
 * and these go up. */
static void read_hop(struct survey *s, struct loop *loop, const char *name, const char *owner, uint8_t bit,
                     struct found_lane lanes[LANES])
{
    CLEANUP(store_closep)
    struct store *store = open_store(s, loop, name, GATEWAY_TABLES, GATEWAY_TABLE_COUNT, GATEWAY_TABLE_META, owner);
    struct reading r = {s, NULL, name, bit, 0};
    for (uint8_t i = 0; store != NULL && i < (bit == AT_GATEWAY ? 2 * LANES : LANES); i++) {
        struct spool_options options = {.table = GATEWAY_TABLE_SPOOL, .meta_table = GATEWAY_TABLE_META, .lane = i};
        CLEANUP(spool_freep) struct spool *spool = open_lane(s, loop, store, name, &options);
        uint8_t lane = i % LANES;
        if (spool != NULL && spool_epoch(spool) != 0) {
            lanes[lane].epoch = spool_epoch(spool);
            lanes[lane].trimmed = spool_trimmed(spool);
            lanes[lane].durable = spool_durable(spool);
            r.above = i < LANES && bit == AT_GATEWAY ? curated_position(store, lane) : 0;
            read_spool(s, spool, &r);
        }
    }
    if (store != NULL &&
        store_foreach(store, GATEWAY_TABLE_STREAMS, slice_of("\1", 1), slice_of(NULL, 0), on_stream, &r) != OK) {
        s->tally.corrupt++;
        complain(s, "%s: the streams' records cannot be read", name);
    }
}

struct survey *survey_new(const char *dir, unsigned devices, const struct facts *facts, struct buffer *complaints)
{
    struct survey *s = grown(NULL, sizeof *s);
    *s = (struct survey){.dir = dir, .devices = devices, .facts = facts, .complaints = complaints};
    CLEANUP(loop_freep) struct loop *loop = NULL;
    if (loop_new(&loop) != OK || sink_reader_init(&s->reader) != OK) {
        give_up("no loop, or no memory");
    }
    for (unsigned n = 1; n <= devices; n++) {
        read_device(s, loop, n);
    }
    read_hop(s, loop, "gateway", "gateway gw1", AT_GATEWAY, s->gateway);
    read_hop(s, loop, "bridge", "bridge bridge1", AT_BRIDGE, s->bridge);
    survey_sinks(s);
    return s;
}

void survey_free(struct survey *s)
{
    struct found *f, *next;
    if (s == NULL) {
        return;
    }
    HASH_ITER (hh, s->streams, f, next) {
        HASH_DEL(s->streams, f);
        free(f->at);
        free(f);
    }
    sink_reader_deinit(&s->reader);
    free(s);
}
