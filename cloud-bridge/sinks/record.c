/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a Record for the sinks. What arrives here was checked by the first gateway, but a sink stands alone:
 * bytes that do not decode are kept as they came, never dropped, never fatal.
 */
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/sinks/sinks_internal.h"
#include "core/base/cursor.h"

enum err sink_reader_init(struct sink_reader *r)
{
    memset(r, 0, sizeof(*r));
    r->values = calloc((size_t)BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX, sizeof(*r->values));
    r->times = calloc(BLOCK_SAMPLES_MAX, sizeof(*r->times));
    if (r->values == NULL || r->times == NULL) {
        return ERR_NOMEM;
    }
    return arena_init(&r->arena, WIRE_ARENA_BYTES);
}

void sink_reader_deinit(struct sink_reader *r)
{
    arena_deinit(&r->arena);
    free(r->values);
    free(r->times);
}

static enum sink_kind kind_of(const Weir__V1__Record *record)
{
    switch (record->kind_case) {
    case WEIR__V1__RECORD__KIND_BLOCK:
        return SINK_BLOCK;
    case WEIR__V1__RECORD__KIND_EVENT:
        return SINK_EVENT;
    case WEIR__V1__RECORD__KIND_HEALTH:
        return SINK_HEALTH;
    case WEIR__V1__RECORD__KIND_GAP:
        return SINK_GAP;
    case WEIR__V1__RECORD__KIND_SUPPRESSED:
        return SINK_SUPPRESSED;
    case WEIR__V1__RECORD__KIND_DESCRIBE:
        return SINK_DESCRIBE;
    case WEIR__V1__RECORD__KIND_CURATED:
        return SINK_CURATED;
    case WEIR__V1__RECORD__KIND_INFERENCE:
        return SINK_INFERENCE;
    case WEIR__V1__RECORD__KIND__NOT_SET:
    case _WEIR__V1__RECORD__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return SINK_UNREAD;
}

static enum err read_block(struct sink_reader *r, const Weir__V1__Block *block)
{
    if (block->samples == 0 || block->samples > BLOCK_SAMPLES_MAX) {
        return ERR_RANGE;
    }
    r->samples = block->samples;
    TRY(block_decode(slice_of(block->columns.data, block->columns.len), r->samples, BLOCK_CHANNELS_MAX, r->values,
                     r->resolutions, &r->channels));
    if (block->times.len > 0) {
        TRY(block_column_decode(slice_of(block->times.data, block->times.len), r->samples, r->times));
    } else {
        for (size_t i = 0; i < r->samples; i++) {
            r->times[i] = i == 0 ? 0 : block->period_us;
        }
    }
    return OK;
}

/* Record.schema stands first where it is written at all; for records that nobody here can unpack. */
static uint32_t peek_schema(struct slice record)
{
    struct cursor c = cursor_of(record);
    uint64_t tag = cursor_varint(&c), value = cursor_varint(&c);
    return cursor_err(&c) == OK && tag == 8 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

void sink_reader_read(struct sink_reader *r, struct slice record)
{
    Weir__V1__Record *unpacked = NULL;
    arena_reset(&r->arena);
    r->kind = SINK_UNREAD;
    r->record = NULL;
    r->block = NULL;
    r->curated = NULL;
    r->describe = NULL;
    r->schema = peek_schema(record);
    r->channels = r->samples = 0;
    if (wire_record_unpack(record, &r->arena, &unpacked) != OK) {
        return;
    }
    if (unpacked->schema > WIRE_SCHEMA) {
        return;
    }
    enum sink_kind kind = kind_of(unpacked);
    const Weir__V1__Curated *curated = kind == SINK_CURATED ? unpacked->curated : NULL;
    const Weir__V1__Block *block = curated != NULL ? curated->block : kind == SINK_BLOCK ? unpacked->block : NULL;
    if (kind == SINK_UNREAD || (block != NULL && read_block(r, block) != OK)) {
        return;
    }
    r->block = block;
    r->curated = curated;
    r->describe = kind == SINK_DESCRIBE ? unpacked->describe : curated != NULL ? curated->describe : NULL;
    r->kind = kind;
    r->record = unpacked;
}

double sink_value(int64_t multiple, double resolution)
{
    double inverse = nearbyint(1 / resolution);
    if (resolution < 1 && inverse < 1e15 && fabs(inverse * resolution - 1) < 1e-12) {
        return (double)multiple / inverse;
    }
    return (double)multiple * resolution;
}

enum err sink_reader_foreach(const struct sink_reader *r, enum err (*fn)(void *arg, const struct sink_reading *reading),
                             void *arg)
{
    uint64_t wall_us = r->block != NULL ? r->block->wall_us : 0;
    for (size_t i = 0; i < r->samples; i++) {
        wall_us += (uint64_t)r->times[i]; /* may go back: then it wraps, as the sum of the device did */
        for (size_t c = 0; c < r->channels; c++) {
            int64_t multiple = r->values[c * r->samples + i];
            if (multiple == BLOCK_MISSING) {
                continue;
            }
            struct sink_reading reading = {.index = (unsigned)i,
                                           .channel = (unsigned)c,
                                           .wall_us = wall_us,
                                           .value = sink_value(multiple, r->resolutions[c])};
            TRY(fn(arg, &reading));
        }
    }
    return OK;
}

uint64_t sink_reader_readings(const struct sink_reader *r)
{
    uint64_t count = 0;
    for (size_t i = 0; r->block != NULL && i < r->channels * r->samples; i++) {
        count += r->values[i] != BLOCK_MISSING;
    }
    return count;
}

bool sink_reader_times(const struct sink_reader *r, uint64_t *ret_earliest_us, uint64_t *ret_latest_us)
{
    uint64_t wall_us = r->block != NULL ? r->block->wall_us : 0;
    *ret_earliest_us = UINT64_MAX;
    *ret_latest_us = 0;
    for (size_t i = 0; i < r->samples; i++) {
        wall_us += (uint64_t)r->times[i];
        *ret_earliest_us = min_u64(*ret_earliest_us, wall_us);
        *ret_latest_us = max_u64(*ret_latest_us, wall_us);
    }
    for (size_t i = 0; r->curated != NULL && i < r->curated->n_window; i++) {
        const Weir__V1__Window *w = r->curated->window[i];
        *ret_earliest_us = min_u64(*ret_earliest_us, w->start_us);
        *ret_latest_us = max_u64(*ret_latest_us, w->start_us + w->length_us);
    }
    return *ret_earliest_us != UINT64_MAX;
}

/* Days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms" (civil_from_days). gmtime_r reads the
 * time zone's files on its first call and takes ten times as long. */
static void civil(int64_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    int64_t z = days + 719468;
    int64_t era = z / 146097;
    unsigned day_of_era = (unsigned)(z - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *ret_month = shifted < 10 ? shifted + 3 : shifted - 9;
    *ret_year = (int)(year_of_era + era * 400) + (*ret_month <= 2 ? 1 : 0);
}

static char *digits(char *at, unsigned value, unsigned count, char after)
{
    for (unsigned i = count; i > 0; i--) {
        at[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    at[count] = after;
    return at + count + 1;
}

void sink_time(uint64_t wall_us, char ret_text[SINK_TIME_BYTES])
{
    const uint64_t end_us = UINT64_C(253402300799999999); /* 9999-12-31T23:59:59.999999Z */
    uint64_t ms = min_u64(wall_us, end_us) / 1000;
    unsigned of_day = (unsigned)(ms % 86400000);
    int year;
    unsigned month, day;
    civil((int64_t)(ms / 86400000), &year, &month, &day);
    char *at = digits(ret_text, (unsigned)year, 4, '-');
    at = digits(at, month, 2, '-');
    at = digits(at, day, 2, 'T');
    at = digits(at, of_day / 3600000, 2, ':');
    at = digits(at, of_day / 60000 % 60, 2, ':');
    at = digits(at, of_day / 1000 % 60, 2, '.');
    at = digits(at, of_day % 1000, 3, 'Z');
    *at = '\0';
}

const char *sink_kind_name(enum sink_kind kind)
{
    switch (kind) {
    case SINK_BLOCK:
        return "block";
    case SINK_EVENT:
        return "event";
    case SINK_HEALTH:
        return "health";
    case SINK_GAP:
        return "gap";
    case SINK_SUPPRESSED:
        return "suppressed";
    case SINK_DESCRIBE:
        return "describe";
    case SINK_CURATED:
        return "curated";
    case SINK_INFERENCE:
        return "inference";
    case SINK_UNREAD:
        return "unread";
    }
    return "unread";
}

const char *sink_reason_name(Weir__V1__GapReason reason)
{
    switch (reason) {
    case WEIR__V1__GAP_REASON__OVERFLOW:
        return "overflow";
    case WEIR__V1__GAP_REASON__DAMAGED:
        return "damaged";
    case WEIR__V1__GAP_REASON__RECEIVER_LOST:
        return "receiver_lost";
    case WEIR__V1__GAP_REASON__UPSTREAM_LOST:
        return "upstream_lost";
    case WEIR__V1__GAP_REASON__DEAD_LETTER:
        return "dead_letter";
    case _WEIR__V1__GAP_REASON_IS_INT_SIZE:
        break;
    }
    return "unknown";
}

const char *sink_severity_name(Weir__V1__Severity severity)
{
    switch (severity) {
    case WEIR__V1__SEVERITY__INFO:
        return "info";
    case WEIR__V1__SEVERITY__WARNING:
        return "warning";
    case WEIR__V1__SEVERITY__ALARM:
        return "alarm";
    case _WEIR__V1__SEVERITY_IS_INT_SIZE:
        break;
    }
    return "unknown";
}

const char *sink_answered_by_name(Weir__V1__AnsweredBy by)
{
    switch (by) {
    case WEIR__V1__ANSWERED_BY__BY_DEVICE:
        return "device";
    case WEIR__V1__ANSWERED_BY__BY_GATEWAY:
        return "gateway";
    case WEIR__V1__ANSWERED_BY__BY_PERSON:
        return "person";
    case _WEIR__V1__ANSWERED_BY_IS_INT_SIZE:
        break;
    }
    return "unknown";
}

const char *sink_asked_name(Weir__V1__Asked asked)
{
    switch (asked) {
    case WEIR__V1__ASKED__NOT_ASKED:
        return "no";
    case WEIR__V1__ASKED__ASKED_ANSWERED:
        return "answered";
    case WEIR__V1__ASKED__ASKED_LATE:
        return "late";
    case WEIR__V1__ASKED__ASKED_REFUSED:
        return "refused";
    case WEIR__V1__ASKED__ASKED_OFFLINE:
        return "offline";
    case _WEIR__V1__ASKED_IS_INT_SIZE:
        break;
    }
    return "unknown";
}
