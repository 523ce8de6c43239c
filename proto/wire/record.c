/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record - Record by hand, as far as a tier needs that keeps records but does not read them: the span, and the full
 * check. The gateway runs the check on every record before it is accepted, since a record that some later tier cannot
 * read would stand in its stream's way for ever. About 100 ns for a block of 8 x 32; nothing is allocated.
 *
 * Strict where a mistake would be carried on (texts are UTF-8 without NUL, one kind a record, ranges equal to the
 * numbers), open where the future lies: unknown fields, kinds, enum values and later schemas pass.
 */
#include "proto/wire/wire.h"

#include <math.h>

#include "core/base/cursor.h"
#include "proto/block/block.h"
#include "proto/wire/wire_internal.h"

enum {
    RECORD_SCHEMA = 1,
    RECORD_SPAN = 2,
    RECORD_BLOCK = 10,
    RECORD_EVENT,
    RECORD_HEALTH,
    RECORD_GAP,
    RECORD_SUPPRESSED,
    RECORD_DESCRIBE,
    RECORD_CURATED,
    RECORD_INFERENCE,
};
enum { BLOCK_SET = 1, BLOCK_WALL_US, BLOCK_MONO_US, BLOCK_SAMPLES, BLOCK_PERIOD_US, BLOCK_TIMES, BLOCK_COLUMNS,
       BLOCK_QUALITY };
enum { EVENT_ID = 1, EVENT_SEVERITY, EVENT_WALL_US, EVENT_MONO_US, EVENT_TEXT, EVENT_CHANNEL, EVENT_VALUE, EVENT_SET };
enum { RANGE_FROM = 1, RANGE_TO, RANGE_REASON_OR_RULE, RANGE_LAST };
enum { DESCRIBE_SET = 1, DESCRIBE_CHANNEL, DESCRIBE_CONFIG, DESCRIBE_MODEL, DESCRIBE_BOOT_ID, DESCRIBE_SOFTWARE,
       DESCRIBE_SOURCE };
enum { CHANNEL_NAME = 1, CHANNEL_UNIT, CHANNEL_RESOLUTION };
enum { CURATED_RULES = 1, CURATED_SET, CURATED_BLOCK, CURATED_WINDOW, CURATED_CAPTURE,
       CURATED_DESCRIBE };
enum { WINDOW_CHANNEL = 1, WINDOW_RULE, WINDOW_START_US, WINDOW_LENGTH_US, WINDOW_COUNT, WINDOW_MEAN, WINDOW_M2,
       WINDOW_MIN, WINDOW_MAX, WINDOW_SKETCH, WINDOW_BAND, WINDOW_PARTIAL, WINDOW_LATE };
enum { INFERENCE_MODEL = 1, INFERENCE_CONFIG, INFERENCE_WALL_US, INFERENCE_MONO_US, INFERENCE_QUALITY, INFERENCE_WINDOW_US,
       INFERENCE_ANSWER, INFERENCE_LABEL, INFERENCE_CONFIDENCE, INFERENCE_SCORE, INFERENCE_BY, INFERENCE_ENGINE,
       INFERENCE_ASKED, INFERENCE_OWN_MODEL, INFERENCE_OWN_ANSWER, INFERENCE_OWN_CONFIDENCE, INFERENCE_TOOK_MS,
       INFERENCE_REPEATS, INFERENCE_SKIPPED };

static const uint8_t record_kinds[] = {
    [RECORD_SCHEMA] = KIND_VARINT,   [RECORD_SPAN] = KIND_VARINT, [RECORD_BLOCK] = KIND_BYTES,
    [RECORD_EVENT] = KIND_BYTES,     [RECORD_HEALTH] = KIND_BYTES, [RECORD_GAP] = KIND_BYTES,
    [RECORD_SUPPRESSED] = KIND_BYTES, [RECORD_DESCRIBE] = KIND_BYTES, [RECORD_CURATED] = KIND_BYTES,
    [RECORD_INFERENCE] = KIND_BYTES,
};
static const uint8_t block_kinds[] = {
    [BLOCK_SET] = KIND_FIXED32,     [BLOCK_WALL_US] = KIND_VARINT, [BLOCK_MONO_US] = KIND_VARINT,
    [BLOCK_SAMPLES] = KIND_VARINT,  [BLOCK_PERIOD_US] = KIND_VARINT, [BLOCK_TIMES] = KIND_BYTES,
    [BLOCK_COLUMNS] = KIND_BYTES,   [BLOCK_QUALITY] = KIND_VARINT,
};
static const uint8_t event_kinds[] = {
    [EVENT_ID] = KIND_BYTES,   [EVENT_SEVERITY] = KIND_VARINT, [EVENT_WALL_US] = KIND_VARINT,
    [EVENT_MONO_US] = KIND_VARINT, [EVENT_TEXT] = KIND_BYTES,  [EVENT_CHANNEL] = KIND_BYTES,
    [EVENT_VALUE] = KIND_FIXED64, [EVENT_SET] = KIND_FIXED32,
};
static const uint8_t health_kinds[] = {0, KIND_VARINT, KIND_VARINT, KIND_VARINT, KIND_VARINT,
                                       KIND_VARINT, KIND_VARINT, KIND_VARINT, KIND_VARINT, KIND_VARINT};
static const uint8_t gap_kinds[] = {0, KIND_VARINT, KIND_VARINT, KIND_VARINT, KIND_VARINT};
static const uint8_t suppressed_kinds[] = {0, KIND_VARINT, KIND_VARINT, KIND_BYTES, KIND_VARINT};
static const uint8_t describe_kinds[] = {
    [DESCRIBE_SET] = KIND_FIXED32,   [DESCRIBE_CHANNEL] = KIND_BYTES,   [DESCRIBE_CONFIG] = KIND_FIXED64,
    [DESCRIBE_MODEL] = KIND_FIXED64, [DESCRIBE_BOOT_ID] = KIND_FIXED64, [DESCRIBE_SOFTWARE] = KIND_BYTES,
    [DESCRIBE_SOURCE] = KIND_BYTES,
};
static const uint8_t channel_kinds[] = {
    [CHANNEL_NAME] = KIND_BYTES, [CHANNEL_UNIT] = KIND_BYTES, [CHANNEL_RESOLUTION] = KIND_FIXED64,
};

static const uint8_t curated_kinds[] = {
    [CURATED_RULES] = KIND_FIXED64, [CURATED_SET] = KIND_FIXED32, [CURATED_BLOCK] = KIND_BYTES,
    [CURATED_WINDOW] = KIND_BYTES,   [CURATED_CAPTURE] = KIND_BYTES, [CURATED_DESCRIBE] = KIND_BYTES,
};
static const uint8_t window_kinds[] = {
    [WINDOW_CHANNEL] = KIND_VARINT, [WINDOW_RULE] = KIND_BYTES,   [WINDOW_START_US] = KIND_VARINT,
    [WINDOW_LENGTH_US] = KIND_VARINT, [WINDOW_COUNT] = KIND_VARINT, [WINDOW_MEAN] = KIND_FIXED64,
    [WINDOW_M2] = KIND_FIXED64,     [WINDOW_MIN] = KIND_FIXED64,  [WINDOW_MAX] = KIND_FIXED64,
    [WINDOW_SKETCH] = KIND_BYTES,   [WINDOW_BAND] = KIND_BYTES,   [WINDOW_PARTIAL] = KIND_VARINT,
    [WINDOW_LATE] = KIND_VARINT,
};
static const uint8_t inference_kinds[] = {
    [INFERENCE_MODEL] = KIND_FIXED64,      [INFERENCE_CONFIG] = KIND_FIXED64,
    [INFERENCE_WALL_US] = KIND_VARINT,     [INFERENCE_MONO_US] = KIND_VARINT,
    [INFERENCE_QUALITY] = KIND_VARINT,     [INFERENCE_WINDOW_US] = KIND_VARINT,
    [INFERENCE_ANSWER] = KIND_VARINT,      [INFERENCE_LABEL] = KIND_BYTES,
    [INFERENCE_CONFIDENCE] = KIND_FIXED32, [INFERENCE_SCORE] = KIND_FIXED32,
    [INFERENCE_BY] = KIND_VARINT,          [INFERENCE_ENGINE] = KIND_BYTES,
    [INFERENCE_ASKED] = KIND_VARINT,       [INFERENCE_OWN_MODEL] = KIND_FIXED64,
    [INFERENCE_OWN_ANSWER] = KIND_VARINT,  [INFERENCE_OWN_CONFIDENCE] = KIND_FIXED32,
    [INFERENCE_TOOK_MS] = KIND_VARINT,     [INFERENCE_REPEATS] = KIND_VARINT,
    [INFERENCE_SKIPPED] = KIND_VARINT,
};

/* What a record's outer fields say. */
struct outer {
    uint64_t schema, span;
    unsigned kind, kinds_seen; /* the known one, and how many */
    struct slice body;
};

static enum err read_outer(struct slice record, struct outer *ret_outer)
{
    struct cursor c = cursor_of(record);
    struct wire_field f;
    struct outer o = {0};
    while (wire_next(&c, WIRE_TABLE(record_kinds), &f)) {
        if (!f.known) {
            continue;
        }
        if (f.number == RECORD_SCHEMA) {
            o.schema = f.value;
        } else if (f.number == RECORD_SPAN) {
            o.span = f.value;
        } else {
            o.kind = f.number;
            o.body = f.bytes;
            o.kinds_seen++;
        }
    }
    TRY(cursor_err(&c));
    o.span = o.span == 0 ? 1 : o.span;
    *ret_outer = o;
    return OK;
}

enum err wire_record_span(struct slice record, uint64_t *ret_span)
{
    struct outer o;
    TRY(read_outer(record, &o));
    if (o.span > WIRE_NUMBER_MAX) {
        return ERR_RANGE;
    }
    *ret_span = o.span;
    return OK;
}

enum err wire_record_readable(struct slice record, bool *ret_readable)
{
    struct outer o;
    TRY(read_outer(record, &o));
    *ret_readable = o.schema <= WIRE_SCHEMA && o.kinds_seen > 0;
    return OK;
}

/* UTF-8 without NUL, which would cut the text short for everybody who reads it as a C string. */
static bool text_valid(struct slice text, size_t max)
{
    if (text.len > max || (text.len > 0 && memchr(text.ptr, 0, text.len) != NULL)) {
        return false;
    }
    for (size_t at = 0, len; at < text.len; at += len) {
        len = utf8_length(slice_of(text.ptr + at, text.len - at));
        if (len == 0) {
            return false;
        }
    }
    return true;
}

static double as_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

static enum err check_block(struct slice body, const char **ret_why)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    uint64_t wall_us = 0, mono_us = 0, samples = 0, period_us = 0;
    struct slice times = {0}, columns = {0};
    while (wire_next(&c, WIRE_TABLE(block_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case BLOCK_WALL_US: wall_us = f.value; break;
        case BLOCK_MONO_US: mono_us = f.value; break;
        case BLOCK_SAMPLES: samples = f.value; break;
        case BLOCK_PERIOD_US: period_us = f.value; break;
        case BLOCK_TIMES: times = f.bytes; break;
        case BLOCK_COLUMNS: columns = f.bytes; break;
        default: break;
        }
    }
    if (c.failed) {
        return wire_fail(ret_why, ERR_MALFORMED, "block");
    }
    if (samples == 0 || samples > BLOCK_SAMPLES_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "block.samples");
    }
    if (wall_us > INT64_MAX || mono_us > INT64_MAX || period_us > UINT32_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "block clocks");
    }
    if (period_us == 0 && samples > 1 && times.len == 0) {
        return wire_fail(ret_why, ERR_RANGE, "block.period_us");
    }
    size_t present = 0;
    if (times.len > 0 && (block_column_check(times, (size_t)samples, &present) != OK || present != samples)) {
        return wire_fail(ret_why, ERR_MALFORMED, "block.times");
    }
    enum err err = block_check(columns, (size_t)samples, NULL);
    return err == OK ? OK : wire_fail(ret_why, err, "block.columns");
}

static enum err check_event(struct slice body, const char **ret_why)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    uint64_t clocks = 0, value = 0;
    struct slice id = {0}, text = {0}, channel = {0};
    while (wire_next(&c, WIRE_TABLE(event_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case EVENT_ID: id = f.bytes; break;
        case EVENT_WALL_US:
        case EVENT_MONO_US: clocks |= f.value; break;
        case EVENT_TEXT: text = f.bytes; break;
        case EVENT_CHANNEL: channel = f.bytes; break;
        case EVENT_VALUE: value = f.value; break;
        default: break;
        }
    }
    if (c.failed) {
        return wire_fail(ret_why, ERR_MALFORMED, "event");
    }
    if (id.len == 0 || !text_valid(id, WIRE_NAME_MAX)) {
        return wire_fail(ret_why, ERR_RANGE, "event.id");
    }
    if (!text_valid(text, WIRE_TEXT_MAX) || !text_valid(channel, WIRE_NAME_MAX)) {
        return wire_fail(ret_why, ERR_RANGE, "event.text");
    }
    if (clocks > INT64_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "event clocks");
    }
    /* NaN says "no value". */
    return isinf(as_double(value)) ? wire_fail(ret_why, ERR_RANGE, "event.value") : OK;
}

static enum err check_health(struct slice body, const char **ret_why)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    bool fits = true;
    while (wire_next(&c, WIRE_TABLE(health_kinds), &f)) {
        fits &= !f.known || f.value <= INT64_MAX;
    }
    if (c.failed) {
        return wire_fail(ret_why, ERR_MALFORMED, "health");
    }
    return fits ? OK : wire_fail(ret_why, ERR_RANGE, "health");
}

/* Gap and Suppressed begin alike: from, to. */
static enum err check_range(struct slice body, struct wire_table table, uint64_t first, uint64_t last,
                            const char **ret_why)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    uint64_t from = 0, to = 0, other = 0;
    struct slice rule = {0};
    while (wire_next(&c, table, &f)) {
        switch (f.known ? f.number : 0) {
        case RANGE_FROM: from = f.value; break;
        case RANGE_TO: to = f.value; break;
        case RANGE_REASON_OR_RULE:
            if (table.kinds[RANGE_REASON_OR_RULE] == KIND_BYTES) {
                rule = f.bytes;
            }
            break;
        case RANGE_LAST: other = f.value; break;
        default: break;
        }
    }
    if (c.failed) {
        return wire_fail(ret_why, ERR_MALFORMED, "range");
    }
    if (from != first || to != last) {
        return wire_fail(ret_why, ERR_RANGE, "range");
    }
    return other <= INT64_MAX && text_valid(rule, WIRE_NAME_MAX) ? OK : wire_fail(ret_why, ERR_RANGE, "range.rule");
}

static bool channel_valid(struct slice body)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    uint64_t resolution = 0;
    struct slice name = {0}, unit = {0};
    while (wire_next(&c, WIRE_TABLE(channel_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case CHANNEL_NAME: name = f.bytes; break;
        case CHANNEL_UNIT: unit = f.bytes; break;
        case CHANNEL_RESOLUTION: resolution = f.value; break;
        default: break;
        }
    }
    return !c.failed && name.len > 0 && text_valid(name, WIRE_NAME_MAX) && text_valid(unit, WIRE_NAME_MAX) &&
           block_resolution_valid(as_double(resolution));
}

static enum err check_describe(struct slice body, const char **ret_why)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    uint64_t set = 0;
    size_t channels = 0;
    struct slice software = {0}, source = {0};
    while (wire_next(&c, WIRE_TABLE(describe_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case DESCRIBE_SET: set = f.value; break;
        case DESCRIBE_CHANNEL:
            if (++channels > BLOCK_CHANNELS_MAX || !channel_valid(f.bytes)) {
                return wire_fail(ret_why, ERR_RANGE, "describe.channel");
            }
            break;
        case DESCRIBE_SOFTWARE: software = f.bytes; break;
        case DESCRIBE_SOURCE: source = f.bytes; break;
        default: break;
        }
    }
    if (c.failed) {
        return wire_fail(ret_why, ERR_MALFORMED, "describe");
    }
    if (set == 0) {
        return wire_fail(ret_why, ERR_RANGE, "describe.set");
    }
    return text_valid(software, WIRE_NAME_MAX) && text_valid(source, WIRE_NAME_MAX)
               ? OK
               : wire_fail(ret_why, ERR_RANGE, "describe.software");
}

/* Packed doubles (protobuf: repeated double), all of them numbers. */
static bool bands_valid(struct slice bands)
{
    if (bands.len % 8 != 0 || bands.len / 8 > WIRE_BANDS_MAX) {
        return false;
    }
    for (size_t at = 0; at < bands.len; at += 8) {
        double v;
        memcpy(&v, bands.ptr + at, 8); /* little-endian, as every machine that this runs on */
        if (!isfinite(v)) {
            return false;
        }
    }
    return true;
}

static bool window_valid(struct slice body)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    uint64_t channel = 0, length_us = 0, clocks = 0;
    struct slice rule = {0}, sketch = {0};
    bool numbers = true;
    while (wire_next(&c, WIRE_TABLE(window_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case WINDOW_CHANNEL: channel = f.value; break;
        case WINDOW_RULE: rule = f.bytes; break;
        case WINDOW_LENGTH_US: length_us = f.value; break;
        case WINDOW_START_US:
        case WINDOW_COUNT:
        case WINDOW_LATE: clocks |= f.value; break;
        case WINDOW_MEAN:
        case WINDOW_M2:
        case WINDOW_MIN:
        case WINDOW_MAX: numbers &= isfinite(as_double(f.value)); break;
        case WINDOW_SKETCH: sketch = f.bytes; break;
        case WINDOW_BAND: numbers &= bands_valid(f.bytes); break;
        default: break;
        }
    }
    return !c.failed && channel < BLOCK_CHANNELS_MAX && rule.len > 0 && text_valid(rule, WIRE_NAME_MAX) &&
           length_us > 0 && (clocks | length_us) <= INT64_MAX && sketch.len <= WIRE_SKETCH_MAX && numbers;
}

static enum err check_curated(struct slice body, const char **ret_why)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    size_t windows = 0, blocks = 0, describes = 0;
    while (wire_next(&c, WIRE_TABLE(curated_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case CURATED_CAPTURE:
            if (!text_valid(f.bytes, WIRE_NAME_MAX)) {
                return wire_fail(ret_why, ERR_RANGE, "curated.capture");
            }
            break;
        case CURATED_BLOCK:
            if (++blocks > 1) {
                return wire_fail(ret_why, ERR_MALFORMED, "curated.block");
            }
            TRY(check_block(f.bytes, ret_why));
            break;
        case CURATED_DESCRIBE: /* a second one would add its channels to the first */
            if (++describes > 1) {
                return wire_fail(ret_why, ERR_MALFORMED, "curated.describe");
            }
            TRY(check_describe(f.bytes, ret_why));
            break;
        case CURATED_WINDOW:
            if (++windows > WIRE_WINDOWS_MAX || !window_valid(f.bytes)) {
                return wire_fail(ret_why, ERR_RANGE, "curated.window");
            }
            break;
        default: break;
        }
    }
    if (c.failed) {
        return wire_fail(ret_why, ERR_MALFORMED, "curated");
    }
    return windows + blocks + describes > 0 ? OK : wire_fail(ret_why, ERR_RANGE, "curated");
}

bool wire_record_describe(struct slice record, struct slice *ret_describe)
{
    struct outer o;
    if (read_outer(record, &o) != OK || o.schema > WIRE_SCHEMA || o.kinds_seen != 1) {
        return false;
    }
    bool found = o.kind == RECORD_DESCRIBE;
    *ret_describe = o.body;
    if (o.kind == RECORD_CURATED) {
        struct cursor c = cursor_of(o.body);
        struct wire_field f;
        while (wire_next(&c, WIRE_TABLE(curated_kinds), &f)) {
            if (f.known && f.number == CURATED_DESCRIBE) {
                *ret_describe = f.bytes;
                found = true;
            }
        }
        found = found && !c.failed;
    }
    return found;
}

static float as_float(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float v;
    memcpy(&v, &low, sizeof(v));
    return v;
}

static bool share_valid(float v)
{
    return v >= 0 && v <= 1; /* false for what is not a number */
}

static enum err check_inference(struct slice body, const char **ret_why)
{
    struct cursor c = cursor_of(body);
    struct wire_field f;
    uint64_t model = 0, clocks = 0;
    struct slice label = {0}, engine = {0};
    bool numbers = true;
    while (wire_next(&c, WIRE_TABLE(inference_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case INFERENCE_MODEL: model = f.value; break;
        case INFERENCE_WALL_US:
        case INFERENCE_MONO_US:
        case INFERENCE_WINDOW_US: clocks |= f.value; break;
        case INFERENCE_LABEL: label = f.bytes; break;
        case INFERENCE_ENGINE: engine = f.bytes; break;
        case INFERENCE_CONFIDENCE:
        case INFERENCE_OWN_CONFIDENCE: numbers &= share_valid(as_float(f.value)); break;
        case INFERENCE_SCORE: numbers &= isfinite(as_float(f.value)) != 0; break;
        default: break;
        }
    }
    if (c.failed) {
        return wire_fail(ret_why, ERR_MALFORMED, "inference");
    }
    if (model == 0) {
        return wire_fail(ret_why, ERR_RANGE, "inference.model");
    }
    if (clocks > INT64_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "inference clocks");
    }
    if (!text_valid(label, WIRE_NAME_MAX) || !text_valid(engine, WIRE_NAME_MAX)) {
        return wire_fail(ret_why, ERR_RANGE, "inference.label");
    }
    return numbers ? OK : wire_fail(ret_why, ERR_RANGE, "inference.confidence");
}

enum err wire_record_check(struct slice record, uint64_t first, uint64_t last, const char **ret_why)
{
    struct outer o;
    if (record.len > WIRE_RECORD_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "size");
    }
    if (read_outer(record, &o) != OK) {
        return wire_fail(ret_why, ERR_MALFORMED, "bytes");
    }
    if (first == 0 || last < first || last > WIRE_NUMBER_MAX || o.span != last - first + 1) {
        return wire_fail(ret_why, ERR_RANGE, "span");
    }
    if (o.schema == 0) {
        return wire_fail(ret_why, ERR_RANGE, "schema");
    }
    if (o.schema > WIRE_SCHEMA || o.kinds_seen == 0) {
        return OK;
    }
    if (o.kinds_seen > 1) {
        return wire_fail(ret_why, ERR_MALFORMED, "kind");
    }
    bool is_range = o.kind == RECORD_GAP || o.kind == RECORD_SUPPRESSED;
    if (!is_range && o.span != 1) {
        return wire_fail(ret_why, ERR_RANGE, "span");
    }
    switch (o.kind) {
    case RECORD_BLOCK: return check_block(o.body, ret_why);
    case RECORD_EVENT: return check_event(o.body, ret_why);
    case RECORD_HEALTH: return check_health(o.body, ret_why);
    case RECORD_GAP: return check_range(o.body, WIRE_TABLE(gap_kinds), first, last, ret_why);
    case RECORD_SUPPRESSED: return check_range(o.body, WIRE_TABLE(suppressed_kinds), first, last, ret_why);
    case RECORD_DESCRIBE: return check_describe(o.body, ret_why);
    case RECORD_CURATED: return check_curated(o.body, ret_why);
    case RECORD_INFERENCE: return check_inference(o.body, ret_why);
    default: return OK;
    }
}
