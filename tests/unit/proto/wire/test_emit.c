/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the records that a device encodes by hand are byte for byte those that protobuf-c packs, whatever the values,
 * and what no receiver would take is refused with the buffer as it was.
 */
#include "proto/wire/wire.h"

#include <math.h>
#include <stdio.h>

#include "proto/block/block.h"
#include "tests/support/check.h"

enum { ROUNDS = 2000, CHANNELS = 5 };

static uint64_t seed;

static uint64_t any(void)
{
    return seed = mix_u64(seed);
}

/* Small, large and zero ones alike. */
static uint64_t number(void)
{
    return any() % 4 == 0 ? 0 : any() >> (1 + any() % 63);
}

static const char *text(char *out, size_t max)
{
    size_t len = any() % 3 == 0 ? 0 : any() % (any() % 2 == 0 ? 12 : max + 1);
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)('a' + any() % 26);
    }
    out[len] = '\0';
    return out;
}

static void equal(struct buffer *ours, Weir__V1__Record *record)
{
    BUFFER(theirs, WIRE_RECORD_MAX);
    record->schema = WIRE_SCHEMA;
    CHECK_OK(wire_record_pack(record, &theirs));
    CHECK(slice_equal(buffer_slice(ours), buffer_slice(&theirs)));
}

static void a_block_is_what_protobuf_packs(void **state)
{
    (void)state;
    seed = 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        BUFFER(ours, WIRE_RECORD_MAX);
        BUFFER(columns, 16384);
        BUFFER(times, 16384);
        int64_t values[2 * 40], at_us[40] = {0};
        double resolutions[2] = {0.1, 1};
        size_t samples = 1 + any() % 40;
        for (size_t k = 0; k < COUNT_OF(values); k++) {
            values[k] = (int64_t)(any() >> (2 + any() % 60)) - (k % 2 ? 100 : 0);
        }
        CHECK_OK(block_encode(values, resolutions, 2, samples, &columns));
        bool has_times = any() % 2 == 0;
        if (has_times) {
            CHECK_OK(block_column_encode(at_us, samples, &times));
        }
        const struct wire_block b = {.set = (uint32_t)number(),
                                     .wall_us = number(),
                                     .mono_us = number(),
                                     .samples = (uint32_t)samples,
                                     .period_us = has_times ? 0 : (uint32_t)(1 + any() % 1000000),
                                     .quality =
                                         any() % 2 ? WEIR__V1__CLOCK_QUALITY__NTP : WEIR__V1__CLOCK_QUALITY__UNSYNCED,
                                     .times = buffer_slice(&times),
                                     .columns = buffer_slice(&columns)};
        CHECK_OK(wire_block_encode(&b, &ours));
        Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
        block.set = b.set;
        block.wall_us = b.wall_us;
        block.mono_us = b.mono_us;
        block.samples = b.samples;
        block.period_us = b.period_us;
        block.quality = b.quality;
        block.times = (ProtobufCBinaryData){.data = times.ptr, .len = times.len};
        block.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
        Weir__V1__Record record = WEIR__V1__RECORD__INIT;
        record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
        record.block = &block;
        equal(&ours, &record);
    }
}

static void an_event_is_what_protobuf_packs(void **state)
{
    (void)state;
    const double values[] = {0, -0.0, NAN, 1.5, -1e300};
    seed = 2;
    for (unsigned i = 0; i < ROUNDS; i++) {
        BUFFER(ours, WIRE_RECORD_MAX);
        char id[WIRE_NAME_MAX + 1], words[WIRE_TEXT_MAX + 1], channel[WIRE_NAME_MAX + 1];
        const struct wire_event e = {.id = text(id, WIRE_NAME_MAX)[0] ? id : "x",
                                     .text = text(words, WIRE_TEXT_MAX),
                                     .channel = text(channel, WIRE_NAME_MAX),
                                     .severity = (Weir__V1__Severity)(any() % 3),
                                     .set = (uint32_t)number(),
                                     .wall_us = number(),
                                     .mono_us = number(),
                                     .value = values[any() % COUNT_OF(values)]};
        CHECK_OK(wire_event_encode(&e, &ours));
        Weir__V1__Event event = WEIR__V1__EVENT__INIT;
        event.id = (char *)(uintptr_t)e.id;
        event.text = words;
        event.channel = channel;
        event.severity = e.severity;
        event.set = e.set;
        event.wall_us = e.wall_us;
        event.mono_us = e.mono_us;
        event.value = e.value;
        Weir__V1__Record record = WEIR__V1__RECORD__INIT;
        record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
        record.event = &event;
        equal(&ours, &record);
    }
}

static void a_description_and_its_set_are_what_protobuf_packs(void **state)
{
    (void)state;
    seed = 3;
    for (unsigned i = 0; i < ROUNDS; i++) {
        BUFFER(ours, WIRE_RECORD_MAX);
        char names[CHANNELS][WIRE_NAME_MAX + 1], units[CHANNELS][WIRE_NAME_MAX + 1], software[WIRE_NAME_MAX + 1],
            source[WIRE_NAME_MAX + 1];
        struct wire_channel channels[CHANNELS];
        Weir__V1__ChannelInfo infos[CHANNELS], *pointers[CHANNELS];
        for (unsigned c = 0; c < CHANNELS; c++) {
            channels[c] = (struct wire_channel){text(names[c], WIRE_NAME_MAX)[0] ? names[c] : "n",
                                                text(units[c], WIRE_NAME_MAX), 0.1 * (c + 1)};
            weir__v1__channel_info__init(&infos[c]);
            infos[c].name = (char *)(uintptr_t)channels[c].name;
            infos[c].unit = units[c];
            infos[c].resolution = channels[c].resolution;
            pointers[c] = &infos[c];
        }
        const struct wire_describe d = {.channels = channels,
                                        .channel_count = 1 + any() % CHANNELS,
                                        .config = number(),
                                        .model = number(),
                                        .boot_id = number(),
                                        .software = text(software, WIRE_NAME_MAX),
                                        .source = text(source, WIRE_NAME_MAX)};
        uint32_t set = 0;
        CHECK_OK(wire_describe_encode(&d, &set, &ours));
        Weir__V1__Describe describe = WEIR__V1__DESCRIBE__INIT;
        describe.channel = pointers;
        describe.n_channel = d.channel_count;
        describe.config = d.config;
        describe.model = d.model;
        describe.boot_id = d.boot_id;
        describe.software = software;
        describe.source = source;
        describe.set = wire_describe_set(&describe);
        CHECK_INT(set, describe.set);
        Weir__V1__Record record = WEIR__V1__RECORD__INIT;
        record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
        record.describe = &describe;
        equal(&ours, &record);
    }
}

static void a_gap_is_what_protobuf_packs(void **state)
{
    (void)state;
    seed = 4;
    for (unsigned i = 0; i < ROUNDS; i++) {
        BUFFER(ours, 256);
        Weir__V1__Gap gap = WEIR__V1__GAP__INIT;
        gap.from = 1 + number() / 2;
        gap.to = gap.from + (any() % 2 ? 0 : number() / 2);
        gap.reason = (Weir__V1__GapReason)(any() % 3);
        gap.wall_us = number();
        CHECK_OK(wire_gap_pack(gap.from, gap.to, gap.reason, gap.wall_us, &ours));
        Weir__V1__Record record = WEIR__V1__RECORD__INIT;
        record.span = gap.to > gap.from ? gap.to - gap.from + 1 : 0;
        record.kind_case = WEIR__V1__RECORD__KIND_GAP;
        record.gap = &gap;
        equal(&ours, &record);
    }
}

static void windows_are_what_protobuf_packs(void **state)
{
    (void)state;
    const double values[] = {0, -0.0, 1.5, -1e300, 1e-9};
    seed = 5;
    for (unsigned i = 0; i < ROUNDS; i++) {
        BUFFER(ours, WIRE_RECORD_MAX);
        uint8_t sketch[300];
        char rules[CHANNELS][WIRE_NAME_MAX + 1];
        struct wire_window windows[CHANNELS];
        Weir__V1__Window theirs[CHANNELS], *pointers[CHANNELS];
        size_t count = 1 + any() % CHANNELS;
        uint32_t set = (uint32_t)number();
        memset(sketch, (int)any(), sizeof(sketch));
        for (size_t k = 0; k < CHANNELS; k++) {
            struct wire_window *w = &windows[k];
            *w = (struct wire_window){.channel = (uint32_t)(any() % 60),
                                      .rule = text(rules[k], WIRE_NAME_MAX)[0] ? rules[k] : "r",
                                      .start_us = number(),
                                      .length_us = 1 + number() / 2,
                                      .count = 1 + number() / 2,
                                      .mean = values[any() % 5],
                                      .m2 = values[any() % 3],
                                      .min = -1e300,
                                      .max = 1e300,
                                      .sketch = slice_of(sketch, any() % 2 ? any() % sizeof(sketch) : 0),
                                      .partial = any() % 2};
            weir__v1__window__init(&theirs[k]);
            theirs[k].channel = w->channel;
            theirs[k].rule = (char *)(uintptr_t)w->rule;
            theirs[k].start_us = w->start_us;
            theirs[k].length_us = w->length_us;
            theirs[k].count = w->count;
            theirs[k].mean = w->mean;
            theirs[k].m2 = w->m2;
            theirs[k].min = w->min;
            theirs[k].max = w->max;
            theirs[k].sketch = (ProtobufCBinaryData){.data = sketch, .len = w->sketch.len};
            theirs[k].partial = w->partial;
            pointers[k] = &theirs[k];
        }
        CHECK_OK(wire_windows_encode(set, windows, count, &ours));
        Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
        curated.set = set;
        curated.window = pointers;
        curated.n_window = count;
        Weir__V1__Record record = WEIR__V1__RECORD__INIT;
        record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
        record.curated = &curated;
        equal(&ours, &record);
    }
}

/* Lengths of three bytes. */
static void a_block_near_the_limit_is_what_protobuf_packs_and_one_beyond_is_refused(void **state)
{
    enum { SAMPLES = 200, BEYOND = 300 };
    static int64_t values[BLOCK_CHANNELS_MAX * BEYOND];
    double resolutions[BLOCK_CHANNELS_MAX];
    (void)state;
    seed = 6;
    for (size_t i = 0; i < BLOCK_CHANNELS_MAX; i++) {
        resolutions[i] = 1;
    }
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        values[i] = (int64_t)(any() >> 2);
    }
    BUFFER(ours, 1 << 20);
    BUFFER(columns, 1 << 20);
    CHECK_OK(block_encode(values, resolutions, BLOCK_CHANNELS_MAX, SAMPLES, &columns));
    CHECK(columns.len > 16384 && columns.len < WIRE_RECORD_MAX);
    struct wire_block b = {.samples = SAMPLES, .period_us = 1, .columns = buffer_slice(&columns)};
    CHECK_OK(wire_block_encode(&b, &ours));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.samples = SAMPLES;
    block.period_us = 1;
    block.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &block;
    equal(&ours, &record);
    size_t len = ours.len;
    buffer_reset(&columns);
    CHECK_OK(block_encode(values, resolutions, BLOCK_CHANNELS_MAX, BEYOND, &columns));
    b.samples = BEYOND;
    b.columns = buffer_slice(&columns);
    CHECK_INT(wire_block_encode(&b, &ours), ERR_RANGE);
    CHECK_INT(ours.len, len);
}

static void descriptions_and_windows_near_the_limit_are_what_protobuf_packs(void **state)
{
    enum { WINDOWS = 31 };
    static uint8_t sketch[WIRE_SKETCH_MAX];
    char longest[WIRE_NAME_MAX + 1];
    struct wire_channel channels[BLOCK_CHANNELS_MAX];
    Weir__V1__ChannelInfo infos[BLOCK_CHANNELS_MAX], *info_pointers[BLOCK_CHANNELS_MAX];
    struct wire_window windows[WINDOWS];
    Weir__V1__Window theirs[WINDOWS], *pointers[WINDOWS];
    (void)state;
    memset(longest, 'n', WIRE_NAME_MAX);
    longest[WIRE_NAME_MAX] = '\0';
    memset(sketch, 0xa5, sizeof(sketch));
    for (size_t i = 0; i < BLOCK_CHANNELS_MAX; i++) {
        channels[i] = (struct wire_channel){longest, longest, 1.0 / 4096};
        weir__v1__channel_info__init(&infos[i]);
        infos[i].name = infos[i].unit = longest;
        infos[i].resolution = 1.0 / 4096;
        info_pointers[i] = &infos[i];
    }
    BUFFER(ours, WIRE_RECORD_MAX);
    uint32_t set = 0;
    const struct wire_describe d = {.channels = channels,
                                    .channel_count = BLOCK_CHANNELS_MAX,
                                    .config = UINT64_MAX,
                                    .model = UINT64_MAX,
                                    .boot_id = UINT64_MAX,
                                    .software = longest,
                                    .source = longest};
    CHECK_OK(wire_describe_encode(&d, &set, &ours));
    Weir__V1__Describe describe = WEIR__V1__DESCRIBE__INIT;
    describe.channel = info_pointers;
    describe.n_channel = BLOCK_CHANNELS_MAX;
    describe.config = describe.model = describe.boot_id = UINT64_MAX;
    describe.software = describe.source = longest;
    describe.set = wire_describe_set(&describe);
    CHECK_INT(set, describe.set);
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &describe;
    equal(&ours, &record);

    for (size_t i = 0; i < WINDOWS; i++) {
        windows[i] = (struct wire_window){.channel = BLOCK_CHANNELS_MAX - 1,
                                          .rule = longest,
                                          .start_us = INT64_MAX / 2,
                                          .length_us = INT64_MAX / 2,
                                          .count = INT64_MAX,
                                          .mean = -1e300,
                                          .m2 = 1e300,
                                          .min = -1e300,
                                          .max = 1e300,
                                          .sketch = slice_of(sketch, sizeof(sketch)),
                                          .partial = true};
        weir__v1__window__init(&theirs[i]);
        theirs[i].channel = BLOCK_CHANNELS_MAX - 1;
        theirs[i].rule = longest;
        theirs[i].start_us = theirs[i].length_us = INT64_MAX / 2;
        theirs[i].count = INT64_MAX;
        theirs[i].mean = theirs[i].min = -1e300;
        theirs[i].m2 = theirs[i].max = 1e300;
        theirs[i].sketch = (ProtobufCBinaryData){.data = sketch, .len = sizeof(sketch)};
        theirs[i].partial = true;
        pointers[i] = &theirs[i];
    }
    buffer_reset(&ours);
    enum err err = wire_windows_encode(UINT32_MAX, windows, WINDOWS - 1, &ours);
    CHECK_OK(err);
    Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
    curated.set = UINT32_MAX;
    curated.window = pointers;
    curated.n_window = WINDOWS - 1;
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &curated;
    equal(&ours, &record);
    buffer_reset(&ours);
    CHECK(wire_windows_encode(UINT32_MAX, windows, WINDOWS, &ours) != OK); /* no record takes so many */
    CHECK_INT(ours.len, 0);
}

static void what_no_receiver_takes_is_refused_and_the_buffer_stays(void **state)
{
    (void)state;
    char longest[WIRE_TEXT_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    struct wire_event e = {.id = "", .text = "", .channel = ""};
    BUFFER(out, 4096);
    buffer_put_str(&out, "before");
    CHECK_INT(wire_event_encode(&e, &out), ERR_RANGE);
    e = (struct wire_event){.id = "a", .text = "\xff", .channel = ""};
    CHECK_INT(wire_event_encode(&e, &out), ERR_RANGE);
    e = (struct wire_event){.id = "a", .text = longest, .channel = ""};
    CHECK_INT(wire_event_encode(&e, &out), ERR_RANGE);
    const struct wire_block empty = {.samples = 0};
    CHECK(wire_block_encode(&empty, &out) != OK);
    const struct wire_describe none = {.channel_count = 0, .software = longest, .source = ""};
    uint32_t set = 7;
    CHECK_INT(wire_describe_encode(&none, &set, &out), ERR_RANGE);
    CHECK_INT(set, 7);
    CHECK_INT(wire_gap_pack(0, 1, WEIR__V1__GAP_REASON__OVERFLOW, 0, &out), ERR_RANGE);
    CHECK_INT(out.len, 6);
    uint8_t small[16];
    struct buffer full;
    buffer_init_over(&full, small, sizeof(small));
    CHECK_INT(wire_gap_pack(1 << 30, 1 << 31, WEIR__V1__GAP_REASON__OVERFLOW, 1, &full), ERR_RANGE);
    e = (struct wire_event){.id = "an-id", .text = "more than there is room for", .channel = ""};
    CHECK_INT(wire_event_encode(&e, &full), ERR_FULL);
    CHECK_INT(full.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_what_protobuf_packs),
        cmocka_unit_test(an_event_is_what_protobuf_packs),
        cmocka_unit_test(a_description_and_its_set_are_what_protobuf_packs),
        cmocka_unit_test(a_gap_is_what_protobuf_packs),
        cmocka_unit_test(windows_are_what_protobuf_packs),
        cmocka_unit_test(a_block_near_the_limit_is_what_protobuf_packs_and_one_beyond_is_refused),
        cmocka_unit_test(descriptions_and_windows_near_the_limit_are_what_protobuf_packs),
        cmocka_unit_test(what_no_receiver_takes_is_refused_and_the_buffer_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
