/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/curate/rig.h"

#include <stdio.h>
#include <unistd.h>

static const char device[] = "pump-7";

static struct rules *load(const char *text)
{
    char path[] = "/tmp/weir-test-curate-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct rules *rules = NULL;
    BUFFER(problems, 64 * 1024);
    if (rules_load(path, &rules, &problems) != OK) {
        fprintf(stderr, "%.*s", (int)problems.len, (const char *)problems.ptr);
        fail();
    }
    unlink(path);
    return rules;
}

void rig_start_bounded(struct rig *r, const char *rules, size_t stream_bytes)
{
    struct curate_options options = {.pseudonym_key = slice_str("a plant's own secret"), .stream_bytes = stream_bytes};
    *r = (struct rig){.rules = load(rules), .quality = WEIR__V1__CLOCK_QUALITY__NTP};
    CHECK_OK(curate_new(r->rules, &options, &r->curate));
    CHECK_OK(curate_new(r->rules, &options, &r->other));
    CHECK_OK(curate_stream_new(r->curate, device, slice_of(NULL, 0), &r->stream));
    buffer_init(&r->state, 1 << 24);
    buffer_init(&r->in, 1 << 20);
    buffer_init(&r->last, 1 << 20);
    CHECK_OK(arena_init(&r->arena, 2 * WIRE_ARENA_BYTES));
    r->readings = calloc(RIG_READINGS, sizeof(*r->readings));
    r->windows = calloc(RIG_WINDOWS, sizeof(*r->windows));
    CHECK(r->readings != NULL && r->windows != NULL);
}

void rig_start(struct rig *r, const char *rules)
{
    rig_start_bounded(r, rules, 0);
}

void rig_stop(struct rig *r)
{
    curate_stream_free(r->stream);
    curate_free(r->curate);
    curate_free(r->other);
    rules_free(r->rules);
    buffer_deinit(&r->state);
    buffer_deinit(&r->in);
    buffer_deinit(&r->last);
    arena_deinit(&r->arena);
    free(r->readings);
    free(r->windows);
}

void rig_change(struct rig *r, const char *rules)
{
    struct curate_options options = {.pseudonym_key = slice_str("a plant's own secret")};
    BUFFER(state, 1 << 24);
    CHECK_OK(curate_stream_encode(r->stream, &state));
    curate_stream_free(r->stream);
    curate_free(r->curate);
    curate_free(r->other);
    rules_free(r->rules);
    r->rules = load(rules);
    CHECK_OK(curate_new(r->rules, &options, &r->curate));
    CHECK_OK(curate_new(r->rules, &options, &r->other));
    CHECK_OK(curate_stream_new(r->curate, device, buffer_slice(&state), &r->stream));
}

/* ---- what comes out ---- */
static void read_block(struct rig *r, const Weir__V1__Block *b)
{
    static int64_t cells[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX], times[BLOCK_SAMPLES_MAX];
    double resolutions[BLOCK_CHANNELS_MAX];
    size_t channels;
    CHECK_OK(block_decode(slice_of(b->columns.data, b->columns.len), b->samples, BLOCK_CHANNELS_MAX, cells, resolutions,
                          &channels));
    CHECK_INT(b->set, r->out_set);
    CHECK(channels >= 1 && channels <= r->out_channels); /* of those behind there are only windows */
    if (b->times.len > 0) {
        CHECK_OK(block_column_decode(slice_of(b->times.data, b->times.len), b->samples, times));
    }
    int64_t t = (int64_t)b->wall_us;
    for (size_t i = 0; i < b->samples; i++) {
        t += i == 0 ? 0 : b->times.len > 0 ? times[i] : b->period_us;
        for (unsigned c = 0; c < channels; c++) {
            CHECK(resolutions[c] == r->out_resolution[c]);
            int64_t cell = cells[c * b->samples + i];
            if (cell != BLOCK_MISSING) {
                CHECK(r->reading_count < RIG_READINGS);
                r->readings[r->reading_count++] =
                    (struct rig_reading){.t = t, .channel = c, .v = block_value(cell, resolutions[c])};
            }
        }
    }
}

static void read_window(struct rig *r, uint32_t set, const Weir__V1__Window *w)
{
    CHECK(r->window_count < RIG_WINDOWS);
    struct rig_window *to = &r->windows[r->window_count++];
    *to = (struct rig_window){.channel = w->channel,
                              .set = set,
                              .start = (int64_t)w->start_us,
                              .length = (int64_t)w->length_us,
                              .m = {.count = w->count, .mean = w->mean, .m2 = w->m2, .min = w->min, .max = w->max},
                              .quantile = {NAN, NAN, NAN},
                              .bands = w->n_band,
                              .partial = w->partial,
                              .late = w->late};
    snprintf(to->rule, sizeof(to->rule), "%s", w->rule);
    for (size_t i = 0; i < w->n_band && i < RULE_BANDS_MAX; i++) {
        to->band[i] = w->band[i];
    }
    if (w->sketch.len > 0) {
        struct sketch sketch;
        CHECK_OK(sketch_decode(slice_of(w->sketch.data, w->sketch.len), &sketch));
        CHECK_INT(sketch.count, w->count);
        for (size_t i = 0; i < 3; i++) {
            to->quantile[i] = sketch_quantile(&sketch, (const double[]){0.05, 0.5, 0.95}[i]);
        }
        sketch_deinit(&sketch);
    }
}

static void read_describe(struct rig *r, const Weir__V1__Describe *d)
{
    CHECK_INT(d->set, wire_describe_set(d));
    r->out_set = d->set;
    r->out_channels = d->n_channel;
    for (size_t i = 0; i < d->n_channel; i++) {
        snprintf(r->names[i], sizeof(r->names[i]), "%s", d->channel[i]->name);
        snprintf(r->units[i], sizeof(r->units[i]), "%s", d->channel[i]->unit);
        r->out_resolution[i] = d->channel[i]->resolution;
    }
}

static void read_up(struct rig *r, struct slice record)
{
    Weir__V1__Record *up = NULL;
    uint64_t span = 1;
    arena_reset(&r->arena);
    buffer_reset(&r->last);
    buffer_put_slice(&r->last, record);
    r->up_bytes += record.len;
    CHECK_OK(wire_record_span(record, &span));
    CHECK_OK(wire_record_check(record, span > 1 ? 7 : 1, span > 1 ? span + 6 : 1, NULL)); /* rig_gap: 7..9 */
    if (wire_record_unpack(record, &r->arena, &up) == ERR_UNSUPPORTED) {
        return; /* of a later version */
    }
    CHECK(up != NULL);
    if (up->kind_case == WEIR__V1__RECORD__KIND_BLOCK) {
        read_block(r, up->block);
    } else if (up->kind_case == WEIR__V1__RECORD__KIND_DESCRIBE) {
        read_describe(r, up->describe);
    } else if (up->kind_case == WEIR__V1__RECORD__KIND_CURATED) {
        if (up->curated->describe != NULL) {
            read_describe(r, up->curated->describe);
            r->told++;
        }
        for (size_t i = 0; i < up->curated->n_window; i++) {
            read_window(r, up->curated->set, up->curated->window[i]);
        }
        if (up->curated->block != NULL) {
            read_block(r, up->curated->block);
        }
    }
}

/* The stream that goes through bytes must say the same. */
static void compare(struct rig *r, struct slice record, const struct curate_result *expected)
{
    struct curate_stream *again = NULL;
    struct curate_result result;
    CHECK_OK(curate_stream_new(r->other, device, buffer_slice(&r->state), &again));
    CHECK_OK(curate_record(r->other, again, record, &result));
    CHECK_INT(result.outcome, expected->outcome);
    CHECK(result.rule == expected->rule);
    CHECK(slice_equal(result.record, expected->record));
    CHECK_INT(result.capture_count, expected->capture_count);
    BUFFER(state, 1 << 24);
    CHECK_OK(curate_stream_encode(again, &state));
    buffer_reset(&r->state);
    CHECK_OK(curate_stream_encode(r->stream, &r->state));
    CHECK(slice_equal(buffer_slice(&state), buffer_slice(&r->state)));
    curate_stream_free(again);
}

void rig_record(struct rig *r, struct slice record)
{
    struct curate_result result;
    buffer_reset(&r->state);
    CHECK_OK(curate_stream_encode(r->stream, &r->state));
    CHECK_OK(curate_record(r->curate, r->stream, record, &result));
    compare(r, record, &result);
    r->outcome = result.outcome;
    r->rule = result.rule;
    for (size_t i = 0; i < result.capture_count; i++) {
        CHECK(r->capture_count < RIG_CAPTURES);
        r->captures[r->capture_count++] = result.captures[i];
    }
    r->kept += result.outcome == CURATE_KEPT;
    r->shaped += result.outcome == CURATE_SHAPED;
    r->dropped += result.outcome == CURATE_DROPPED;
    if (result.outcome != CURATE_DROPPED) {
        read_up(r, result.outcome == CURATE_KEPT ? record : result.record);
    }
}

/* ---- what goes in ---- */
void rig_pack(struct rig *r, const Weir__V1__Record *record)
{
    BUFFER(out, WIRE_RECORD_MAX + 1);
    CHECK_OK(wire_record_pack(record, &out));
    buffer_reset(&r->in);
    buffer_put_slice(&r->in, buffer_slice(&out));
    rig_record(r, buffer_slice(&out));
}

void rig_describe(struct rig *r, const char *names)
{
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__ChannelInfo infos[BLOCK_CHANNELS_MAX], *list[BLOCK_CHANNELS_MAX];
    char *text = strdup(names), *rest = text, *word;
    CHECK(text != NULL);
    r->channels = 0;
    while ((word = strsep(&rest, ",")) != NULL) {
        Weir__V1__ChannelInfo *info = &infos[r->channels];
        weir__v1__channel_info__init(info);
        info->name = strsep(&word, ":");
        char *step = strsep(&word, ":");
        info->resolution = step != NULL ? strtod(step, NULL) : 0.01;
        info->unit = word != NULL ? word : info->unit;
        r->resolution[r->channels] = info->resolution;
        list[r->channels++] = info;
    }
    d.n_channel = r->channels;
    d.channel = list;
    d.boot_id = ++r->boot;
    d.set = r->set = wire_describe_set(&d);
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &d;
    rig_pack(r, &record);
    free(text);
}

void rig_block_at(struct rig *r, const int64_t *times, size_t rows, const double *values)
{
    BUFFER(columns, 1 << 20);
    BUFFER(deltas, 1 << 16);
    static int64_t cells[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX], distances[BLOCK_SAMPLES_MAX];
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    bool even = rows > 1;
    for (size_t i = 0; i < r->channels * rows; i++) {
        cells[i] = block_quantise(values[i], r->resolution[i / rows]);
    }
    for (size_t i = 0; i < rows; i++) {
        distances[i] = i == 0 ? 0 : times[i] - times[i - 1];
        even &= i == 0 || (distances[i] == times[1] - times[0] && distances[i] > 0);
    }
    CHECK_OK(block_encode(cells, r->resolution, r->channels, rows, &columns));
    b.set = r->set;
    b.wall_us = (uint64_t)times[0];
    b.mono_us = (uint64_t)(times[0] - r->ahead_us);
    b.samples = (uint32_t)rows;
    b.quality = (Weir__V1__ClockQuality)r->quality;
    if (even) {
        b.period_us = (uint32_t)distances[1];
    } else if (rows > 1) {
        CHECK_OK(block_column_encode(distances, rows, &deltas));
    }
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    b.times = (ProtobufCBinaryData){.data = deltas.ptr, .len = deltas.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &b;
    rig_pack(r, &record);
}

void rig_block(struct rig *r, int64_t start_us, int64_t period_us, size_t rows, const double *values)
{
    int64_t times[BLOCK_SAMPLES_MAX];
    for (size_t i = 0; i < rows; i++) {
        times[i] = start_us + (int64_t)i * period_us;
    }
    rig_block_at(r, times, rows, values);
}

void rig_series(struct rig *r, int64_t start_us, int64_t period_us, size_t count, const double *values)
{
    for (size_t i = 0; i < count; i += 32) {
        rig_block(r, start_us + (int64_t)i * period_us, period_us, count - i < 32 ? count - i : 32, values + i);
    }
}

void rig_gap(struct rig *r)
{
    BUFFER(out, 1000);
    CHECK_OK(wire_gap_pack(7, 9, WEIR__V1__GAP_REASON__OVERFLOW, 0, &out));
    rig_record(r, buffer_slice(&out));
}

void rig_event(struct rig *r, const char *channel, double value, const char *text)
{
    Weir__V1__Event e = WEIR__V1__EVENT__INIT;
    char copies[2][100];
    snprintf(copies[0], sizeof(copies[0]), "%s", channel);
    snprintf(copies[1], sizeof(copies[1]), "%s", text);
    e.id = copies[1] + strlen(copies[1]) + 1;
    strcpy(e.id, "limit");
    e.channel = copies[0];
    e.text = copies[1];
    e.value = value;
    e.set = r->set;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
    record.event = &e;
    rig_pack(r, &record);
}

size_t rig_channel(const struct rig *r, unsigned channel, int64_t *t, double *v)
{
    size_t count = 0;
    for (size_t i = 0; i < r->reading_count; i++) {
        if (r->readings[i].channel == channel) {
            t[count] = r->readings[i].t;
            v[count++] = r->readings[i].v;
        }
    }
    return count;
}

struct curate_rule_stats rig_stats(const struct rig *r, size_t rule)
{
    struct curate_rule_stats stats;
    curate_stats(r->curate, rule, &stats);
    return stats;
}

double rig_noise(uint64_t seed)
{
    return (double)(int64_t)(mix_u64(seed) >> 11) / 0x1p52 - 1;
}
