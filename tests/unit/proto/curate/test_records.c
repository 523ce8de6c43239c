/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: descriptions follow the rules, personal fields leave the plant only as the rules allow (in no kind of
 * record), state goes over from one description to the next, and what a capture wants is told once.
 */
#include "tests/unit/proto/curate/rig.h"

#define S SECOND_US
#define T0 (INT64_C(1600000020) * S)

static int64_t t[RIG_READINGS];
static double v[RIG_READINGS];

static bool contains(struct slice bytes, const void *what, size_t len)
{
    return memmem(bytes.ptr, bytes.len, what, len) != NULL;
}

static void a_description_without_rules_for_it_is_kept(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {channels: other, do: drop}, e: {do: deadband, abs: 1}}");
    rig_describe(&r, "a,b");
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_stop(&r);
}

static void a_dropped_channel_leaves_description_and_blocks(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {channels: operator, do: window, length: 2s}, d: {channels: operator, do: drop},"
                  " m: {channels: c, do: range, max: 100}}");
    rig_describe(&r, "a:0.1:kPa,operator:1,c:0.5");
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_STR(r.rule->name, "d");
    CHECK_INT(r.out_channels, 2);
    CHECK_STR(r.names[0], "a");
    CHECK_STR(r.units[0], "kPa");
    CHECK_STR(r.names[1], "c");
    CHECK(!contains(buffer_slice(&r.last), "operator", 8));
    rig_block(&r, T0, S, 3, (const double[]){1, 2, 3, 4711, 4711, 4711, 7, 8, 101});
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_INT(rig_channel(&r, 0, t, v), 3);
    CHECK_INT(rig_channel(&r, 1, t, v), 2);
    CHECK(v[0] == 7 && v[1] == 8);
    CHECK_INT(r.window_count, 0);
    CHECK_INT(rig_stats(&r, 1).dropped, 3);
    /* the same set is named by block and description */
    rig_block(&r, T0 + 3 * S, S, 2, (const double[]){NAN, NAN, 1, 1, NAN, NAN});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    CHECK_STR(r.rule->name, "d");
    rig_block(&r, T0 + 3 * S, S, 2, (const double[]){NAN, NAN, NAN, NAN, NAN, NAN}); /* nobody took anything */
    CHECK_INT(r.outcome, CURATE_SHAPED);
    rig_stop(&r);
}

static void a_description_may_lose_all_its_channels(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {do: drop}}");
    rig_describe(&r, "a,b");
    CHECK_INT(r.out_channels, 0);
    rig_block(&r, T0, S, 2, (const double[]){1, 2, 3, 4});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    CHECK_STR(r.rule->name, "d");
    rig_block(&r, T0, S, 2, (const double[]){NAN, NAN, NAN, NAN});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    rig_stop(&r);
}

static void a_pseudonym_is_stable_keyed_and_not_the_value(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {h: {channels: badge*, do: hash}}");
    rig_describe(&r, "badge1:1:id,badge2:0.1,x");
    CHECK_STR(r.units[0], "");
    CHECK(r.out_resolution[0] == 1 && r.out_resolution[1] == 1 && r.out_resolution[2] == 0.01);
    rig_block(&r, T0, S, 4, (const double[]){7, 8, 7, 7, 7, 7, 9, NAN, 7, 7, 7, 7});
    CHECK_INT(rig_channel(&r, 0, t, v), 4);
    CHECK(v[0] == v[2] && v[2] == v[3] && v[0] != v[1] && v[0] != 7);
    CHECK(v[0] >= 0 && v[0] < 0x1p52 && v[0] == floor(v[0]));
    double first = v[0];
    CHECK_INT(rig_channel(&r, 1, t, v), 3);
    CHECK(v[0] == v[1] && v[0] != v[2] && v[0] != first); /* another channel: another name */
    CHECK_INT(rig_channel(&r, 2, t, v), 4);
    CHECK(v[0] == 7);
    /* HMAC-SHA-256("a plant's own secret", "badge1" 00 binary64 of 7), first 52 bits */
    CHECK(first == 4141094370873407.0);
    rig_stop(&r);
}

static void a_hash_rule_without_a_key_is_denied(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {h: {channels: badge, do: hash}}");
    struct curate_options options = {.stream_bytes = 0};
    struct curate *curate = NULL;
    CHECK_ERR(curate_new(r.rules, &options, &curate), ERR_DENIED);
    CHECK(curate == NULL);
    rig_stop(&r);
}

static void a_bucket_rounds_down(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {b: {channels: a, do: bucket, width: 0.1}, c: {channels: b, do: bucket, width: 10}}");
    rig_describe(&r, "a:0.01,b:1:a");
    CHECK(r.out_resolution[0] == 0.1 && r.out_resolution[1] == 10);
    CHECK_STR(r.units[1], "a");
    rig_block(&r, T0, S, 4, (const double[]){0.3, 0.29, -0.01, 0.7, 39, 40, -1, 0});
    CHECK_INT(rig_channel(&r, 0, t, v), 4);
    CHECK(v[0] == 0.3 && v[1] == 0.2 && v[2] == -0.1 && v[3] == 0.7);
    CHECK_INT(rig_channel(&r, 1, t, v), 4);
    CHECK(v[0] == 30 && v[1] == 40 && v[2] == -10 && v[3] == 0);
    rig_stop(&r);
}

/* Wherever it stands in the file: its extremes would be values. */
static void a_window_of_a_masked_channel_sees_what_leaves_the_plant(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {channels: a, do: window, length: 2s}, b: {channels: a, do: bucket, width: 10}}");
    rig_describe(&r, "a:1");
    rig_block(&r, T0, S, 3, (const double[]){39, 41, 50});
    CHECK_INT(r.window_count, 1);
    CHECK(r.windows[0].m.min == 30 && r.windows[0].m.max == 40 && r.windows[0].m.mean == 35);
    rig_stop(&r);
}

static void an_event_of_a_masked_channel_loses_text_and_value(void **state)
{
    (void)state;
    struct rig r;
    static const char *const kinds[] = {"drop", "hash", "bucket, width: 1"};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        char rules[100];
        snprintf(rules, sizeof(rules), "rules: {p: {channels: badge, do: %s}}", kinds[i]);
        rig_start(&r, rules);
        rig_event(&r, "badge", 4711.5, "Jane was here");
        CHECK_INT(r.outcome, CURATE_SHAPED);
        CHECK_STR(r.rule->name, "p");
        CHECK(!contains(buffer_slice(&r.last), "Jane", 4));
        CHECK(!contains(buffer_slice(&r.last), &(double){4711.5}, 8));
        CHECK(contains(buffer_slice(&r.last), "limit", 5) && contains(buffer_slice(&r.last), "badge", 5));
        rig_event(&r, "pressure", 4711.5, "high");
        CHECK_INT(r.outcome, CURATE_KEPT);
        rig_event(&r, "", 1, "boot");
        CHECK_INT(r.outcome, CURATE_KEPT);
        rig_stop(&r);
    }
}

static void a_block_that_nobody_described_is_kept_unless_it_may_be_personal(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {do: on-change}, p: {devices: \"fan-*\", do: drop}}");
    r.channels = 1;
    r.resolution[0] = 1;
    r.set = 5;
    r.out_set = 5;
    r.out_channels = 1;
    r.out_resolution[0] = 1;
    rig_block(&r, T0, S, 2, (const double[]){1, 1});
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_stop(&r);
    rig_start(&r, "rules: {d: {do: on-change}, p: {devices: \"pump-*\", channels: badge, do: hash}}");
    r.channels = 1;
    r.resolution[0] = 1;
    r.set = 5;
    rig_block(&r, T0, S, 2, (const double[]){1, 1});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    CHECK_STR(r.rule->name, "p");
    rig_stop(&r);
}

static void operators_go_over_to_the_next_description(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {channels: a, do: deadband, abs: 1}, w: {channels: b, do: window, length: 10s}}");
    rig_describe(&r, "a,b");
    rig_block(&r, T0, S, 3, (const double[]){5, 5, 5, 1, 2, 3});
    rig_describe(&r, "x,b,a"); /* another boot, other places */
    rig_block(&r, T0 + 3 * S, S, 8, (const double[]){9, 9, 9, 9, 9, 9, 9, 9, 4, 4, 4, 4, 4, 4, 4, 4,
                                                     5, 5, 5, 5, 5, 5, 5, 5});
    CHECK_INT(r.window_count, 1);
    CHECK(r.windows[0].m.count == 10 && r.windows[0].channel == 1 && r.windows[0].set == r.set);
    CHECK_INT(rig_channel(&r, 2, t, v), 0); /* within 1 of the 5 kept before */
    rig_stop(&r);
}

static void windows_of_a_channel_that_is_no_more_close_under_its_description(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {do: window, length: 10s}}");
    rig_describe(&r, "a,b");
    uint32_t before = r.set;
    rig_block(&r, T0, S, 3, (const double[]){5, 5, 5, 1, 2, 3});
    rig_describe(&r, "a,b:0.5"); /* b is another sensor now */
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_block(&r, T0 + 3 * S, S, 8, (const double[16]){0});
    CHECK_INT(r.window_count, 1);
    CHECK(r.windows[0].set == before && r.windows[0].channel == 1 && r.windows[0].partial && r.windows[0].m.count == 3);
    rig_block(&r, T0 + 11 * S, S, 1, (const double[2]){0});
    CHECK_INT(r.window_count, 3);
    CHECK(r.windows[1].set == r.set && r.windows[1].channel == 0 && r.windows[1].m.count == 10);
    CHECK(r.windows[2].set == r.set && r.windows[2].channel == 1 && r.windows[2].m.count == 7 && r.windows[2].partial);
    rig_stop(&r);
}

/* ---- captures ---- */
static void a_trigger_says_what_is_wanted_once(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r,
              "rules: {k: {channels: a, do: capture, above: 8, before: 2s, after: 5s}, d: {do: drop, channels: b}}");
    rig_describe(&r, "a,b");
    rig_block(&r, T0, S, 4, (const double[]){1, 9, 1, 9, 0, 0, 0, 0});
    CHECK_INT(r.capture_count, 1);
    CHECK_STR(r.captures[0].rule->name, "k");
    CHECK_INT(r.captures[0].from_us, T0 - S);
    CHECK_INT(r.captures[0].to_us, T0 + 8 * S + 1);
    rig_block(&r, T0 + 4 * S, S, 4, (const double[]){1, 9, 1, 1, 0, 0, 0, 0}); /* prolonged: only what is new */
    CHECK_INT(r.capture_count, 2);
    CHECK_INT(r.captures[1].from_us, T0 + 8 * S + 1);
    CHECK_INT(r.captures[1].to_us, T0 + 10 * S + 1);
    rig_block(&r, T0 + 100 * S, S, 2, (const double[]){9, 1, 0, 0});
    CHECK_INT(r.capture_count, 3);
    CHECK_INT(r.captures[2].from_us, T0 + 98 * S);
    CHECK_INT(rig_stats(&r, 0).captures, 4);
    CHECK_INT(rig_channel(&r, 0, t, v), 10);
    rig_stop(&r);
}

static void a_record_tells_the_time_it_spans(void **state)
{
    (void)state;
    struct rig r;
    uint64_t from, to;
    rig_start(&r, "rules: {d: {channels: a, do: on-change}}");
    rig_describe(&r, "a,b");
    CHECK(!curate_record_times(buffer_slice(&r.last), &from, &to));
    rig_block(&r, T0, S, 3, (const double[]){1, 2, 3, 1, 2, 3});
    CHECK_INT(r.outcome, CURATE_KEPT);
    CHECK(curate_record_times(buffer_slice(&r.last), &from, &to));
    CHECK(from == (uint64_t)T0 && to == (uint64_t)(T0 + 2 * S));
    rig_block_at(&r, (const int64_t[]){T0 + 5 * S, T0 + 4 * S, T0 + 9 * S}, 3, (const double[]){3, 3, 3, 1, 2, 3});
    CHECK_INT(r.outcome, CURATE_SHAPED); /* Curated */
    CHECK(curate_record_times(buffer_slice(&r.last), &from, &to));
    CHECK(from == (uint64_t)(T0 + 4 * S) && to == (uint64_t)(T0 + 9 * S));
    CHECK(!curate_record_times(slice_of("\xff", 1), &from, &to));
    rig_stop(&r);
}

static void captured_rows_show_the_face_that_all_rows_show(void **state)
{
    (void)state;
    struct rig r, above;
    rig_start(&r, "rules: {few: {do: rate, rate: 0.01}, d: {channels: badge, do: drop},"
                  " c: {channels: a, do: convert, factor: 10, unit: mm}, k: {channels: a, do: capture, above: 50}}");
    rig_describe(&r, "badge:1,a:0.1:cm,b:1");
    /* by hand: the raw record again */
    BUFFER(columns, 1000);
    int64_t cells[12] = {1, 2, 3, 4, 10, 20, 30, 40, 5, 6, 7, 8};
    CHECK_OK(block_encode(cells, r.resolution, 3, 4, &columns));
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    b.set = r.set;
    b.wall_us = (uint64_t)T0;
    b.samples = 4;
    b.period_us = S;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT, *up = NULL;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &b;
    BUFFER(raw, 1000);
    CHECK_OK(wire_record_pack(&record, &raw));
    struct slice captured, describe;
    CHECK_OK(curate_capture_record(r.curate, r.stream, rules_at(r.rules, 3), buffer_slice(&raw), &captured));
    CHECK_OK(wire_record_check(captured, 1, 1, NULL));
    arena_reset(&r.arena);
    CHECK_OK(wire_record_unpack(captured, &r.arena, &up));
    CHECK_STR(up->curated->capture, "k");
    CHECK_INT(up->curated->block->samples, 4);
    CHECK_INT(up->curated->block->set, r.out_set);
    CHECK_INT(up->curated->block->wall_us, T0);
    int64_t back[8];
    double resolutions[2];
    size_t channels;
    CHECK_OK(block_decode(slice_of(up->curated->block->columns.data, up->curated->block->columns.len), 4, 2, back,
                          resolutions, &channels));
    CHECK_INT(channels, 2);
    CHECK(block_value(back[0], resolutions[0]) == 10 && block_value(back[3], resolutions[0]) == 40);
    CHECK(block_value(back[4], resolutions[1]) == 5 && block_value(back[7], resolutions[1]) == 8);
    BUFFER(kept, 4096);
    buffer_put_slice(&kept, captured);
    /* a gateway above lets it pass whole, whatever thins its rows otherwise */
    rig_start(&above, "rules: {few: {do: rate, rate: 0.01}}");
    CHECK_OK(curate_describe(r.curate, r.stream, &describe));
    rig_record(&above, describe);
    CHECK_INT(above.out_channels, 2);
    rig_record(&above, buffer_slice(&kept));
    CHECK_INT(above.outcome, CURATE_KEPT);
    CHECK_INT(above.reading_count, 8);
    rig_stop(&above);
    rig_start(&above, "rules: {few: {do: rate, rate: 0.01}, x: {channels: a, do: drop}}");
    rig_record(&above, describe);
    rig_record(&above, buffer_slice(&kept));
    CHECK_INT(above.outcome, CURATE_SHAPED);
    CHECK_INT(above.reading_count, 4);
    rig_stop(&above);
    CHECK_ERR(curate_capture_record(r.curate, r.stream, rules_at(r.rules, 3), slice_of("\xff", 1), &captured),
              ERR_MALFORMED);
    rig_describe(&r, "badge:1,a:0.1:cm,b:1"); /* another boot: nobody can say any more what the record's columns were */
    CHECK_ERR(curate_capture_record(r.curate, r.stream, rules_at(r.rules, 3), buffer_slice(&raw), &captured),
              ERR_MALFORMED);
    rig_stop(&r);
}

/* ---- from gateways below ---- */
static void curated_blocks_pass_the_rules_of_the_gateway_above(void **state)
{
    (void)state;
    struct rig line, site;
    rig_start(&line, "rules: {c: {channels: a, do: convert, factor: 2}, w: {channels: b, do: window, length: 2s}}");
    rig_start(&site, "rules: {p: {channels: b, do: drop}, o: {channels: a, do: on-change},"
                     " f: {channels: c, do: convert, factor: 3, offset: 0.9}}");
    rig_describe(&line, "a,b,c");
    rig_record(&site, buffer_slice(&line.last));
    CHECK_INT(site.out_channels, 2);
    rig_block(&line, T0, S, 3, (const double[]){1, 1, 2, 5, 6, 7, 0, 1, 2});
    CHECK_INT(line.window_count, 1);
    rig_record(&site, buffer_slice(&line.last));
    CHECK_INT(site.outcome, CURATE_SHAPED);
    CHECK_INT(site.window_count, 0); /* b stays in the plant, its windows too */
    CHECK_INT(rig_channel(&site, 0, t, v), 2);
    CHECK(v[0] == 2 && v[1] == 4);
    CHECK_INT(rig_channel(&site, 1, t, v), 3);
    CHECK(fabs(v[0] - 0.9) < 1e-12 && fabs(v[1] - 3.9) < 1e-12 && fabs(v[2] - 6.9) < 1e-12);
    rig_stop(&line);
    rig_stop(&site);
}

static void windows_from_below_are_converted_as_far_as_that_is_exact(void **state)
{
    (void)state;
    struct rig line, site;
    rig_start(&line, "rules: {w: {do: window, length: 4s, quantiles: [0.5]}}");
    rig_start(&site, "rules: {d: {channels: a, do: drop}, f: {channels: b, do: convert, factor: -3, offset: 1}}");
    rig_describe(&line, "a,b");
    rig_record(&site, buffer_slice(&line.last));
    rig_block(&line, T0, S, 5, (const double[]){0, 0, 0, 0, 0, 5, 6, 7, 10, 1});
    CHECK_INT(line.window_count, 2);
    rig_record(&site, buffer_slice(&line.last));
    CHECK_INT(site.window_count, 1);
    const struct rig_window *w = &site.windows[0];
    CHECK(w->channel == 0 && w->set == site.out_set && w->m.count == 4 && w->m.mean == -20 && w->m.min == -29 &&
          w->m.max == -14 && w->m.m2 == 9 * 14 && isnan(w->quantile[0]));
    rig_stop(&line);
    rig_stop(&site);
}

/* ---- what a record may be ---- */
static void bytes_that_are_no_record_are_malformed_and_later_kinds_pass(void **state)
{
    (void)state;
    struct rig r;
    struct curate_result result;
    rig_start(&r, "rules: {d: {do: on-change}}");
    CHECK_ERR(curate_record(r.curate, r.stream, slice_of("\xff\xff", 2), &result), ERR_MALFORMED);
    rig_record(&r, slice_of("\x08\x01\xf2\x01\x00", 5)); /* schema 1, field 30 */
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_stop(&r);
    rig_start(&r, "rules: {d: {do: drop}}");
    rig_record(&r, slice_of("\x08\x01\xf2\x01\x00", 5)); /* nobody can say what is in it */
    CHECK_INT(r.outcome, CURATE_DROPPED);
    rig_stop(&r);
}

static void an_inference_passes_as_it_came(void **state)
{
    (void)state;
    struct rig r;
    const struct wire_inference inference = {.model = 7, .label = "hot", .engine = "", .confidence = 0.5F};
    uint8_t record[WIRE_INFERENCE_MAX];
    size_t len;
    CHECK_OK(wire_inference_encode(&inference, record, &len));
    rig_start(&r, "rules: {d: {do: drop}, w: {do: window, length: 1s}}");
    rig_record(&r, slice_of(record, len));
    CHECK_INT(r.outcome, CURATE_KEPT);
    CHECK(slice_equal(buffer_slice(&r.last), slice_of(record, len)));
    rig_stop(&r);
}

/* Columns of the block in the last record that went up. */
static size_t columns_up(struct rig *r)
{
    Weir__V1__Record *record;
    int64_t cells[BLOCK_CHANNELS_MAX * 16];
    size_t columns = 0;
    arena_reset(&r->arena);
    CHECK_OK(wire_record_unpack(buffer_slice(&r->last), &r->arena, &record));
    const Weir__V1__Block *b = record->kind_case == WEIR__V1__RECORD__KIND_BLOCK ? record->block : record->curated->block;
    CHECK(b->samples <= 16);
    CHECK_OK(block_decode(slice_of(b->columns.data, b->columns.len), b->samples, BLOCK_CHANNELS_MAX, cells, NULL, &columns));
    return columns;
}

static void window_record(struct rig *r, unsigned channel, double mean)
{
    Weir__V1__Window w = WEIR__V1__WINDOW__INIT, *list[] = {&w};
    Weir__V1__Curated c = WEIR__V1__CURATED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    static char rule[] = "sketch";
    w.channel = channel;
    w.rule = rule;
    w.start_us = (uint64_t)T0;
    w.length_us = 600 * S;
    w.count = 10;
    w.mean = w.min = w.max = mean;
    c.set = r->set;
    c.window = list;
    c.n_window = 1;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &c;
    rig_pack(r, &record);
}

/* A description names channels behind those of the samples, of which a device sends windows alone. */
static void channels_without_a_column_are_described_and_have_windows(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {channels: a, do: drop}, m: {channels: b, do: range, max: 100}, all: {do: range, max: 1000}}");
    rig_describe(&r, "a,b,model.doubt");
    CHECK_INT(r.out_channels, 2);
    r.channels = 2; /* the block has a column less */
    rig_block(&r, T0, S, 3, (const double[]){1, 2, 3, 4, 500, 6});
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_INT(rig_channel(&r, 0, t, v), 2);
    CHECK(v[0] == 4 && v[1] == 6);
    CHECK_INT(columns_up(&r), 1); /* none is made up for what has none */
    window_record(&r, 2, 0.25);
    CHECK_INT(r.window_count, 1);
    CHECK_INT(r.windows[0].channel, 1); /* its place in the description that goes up */
    CHECK(r.windows[0].m.mean == 0.25 && r.windows[0].set == r.out_set);
    window_record(&r, 0, 77); /* of the one that is dropped */
    CHECK_INT(r.outcome, CURATE_DROPPED);
    CHECK_INT(r.window_count, 1);
    rig_block(&r, T0 + 3 * S, S, 2, (const double[]){1, 2, NAN, NAN});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_description_without_rules_for_it_is_kept),
        cmocka_unit_test(a_dropped_channel_leaves_description_and_blocks),
        cmocka_unit_test(a_description_may_lose_all_its_channels),
        cmocka_unit_test(channels_without_a_column_are_described_and_have_windows),
        cmocka_unit_test(a_pseudonym_is_stable_keyed_and_not_the_value),
        cmocka_unit_test(a_hash_rule_without_a_key_is_denied),
        cmocka_unit_test(a_bucket_rounds_down),
        cmocka_unit_test(a_window_of_a_masked_channel_sees_what_leaves_the_plant),
        cmocka_unit_test(an_event_of_a_masked_channel_loses_text_and_value),
        cmocka_unit_test(a_block_that_nobody_described_is_kept_unless_it_may_be_personal),
        cmocka_unit_test(operators_go_over_to_the_next_description),
        cmocka_unit_test(windows_of_a_channel_that_is_no_more_close_under_its_description),
        cmocka_unit_test(a_trigger_says_what_is_wanted_once),
        cmocka_unit_test(a_record_tells_the_time_it_spans),
        cmocka_unit_test(captured_rows_show_the_face_that_all_rows_show),
        cmocka_unit_test(curated_blocks_pass_the_rules_of_the_gateway_above),
        cmocka_unit_test(windows_from_below_are_converted_as_far_as_that_is_exact),
        cmocka_unit_test(an_inference_passes_as_it_came),
        cmocka_unit_test(bytes_that_are_no_record_are_malformed_and_later_kinds_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
