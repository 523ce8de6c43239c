/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: wire_record_check accepts what a sender of ours writes and whatever the future may bring, and refuses by name
 * what a later tier could not read; unpacking is bounded by the arena.
 */
#include "proto/wire/wire.h"

#include <math.h>

#include "proto/block/block.h"
#include "tests/support/check.h"

static uint8_t packed[WIRE_RECORD_MAX + 4096];

/* A record of every kind; the test picks one and may spoil it. */
struct sample {
    Weir__V1__Record record;
    Weir__V1__Block block;
    Weir__V1__Event event;
    Weir__V1__Health health;
    Weir__V1__Gap gap;
    Weir__V1__Suppressed suppressed;
    Weir__V1__Describe describe;
    Weir__V1__Curated curated;
    Weir__V1__Inference inference;
    Weir__V1__Window window;
    Weir__V1__Window *windows[WIRE_WINDOWS_MAX + 1];
    double bands[WIRE_BANDS_MAX + 1];
    Weir__V1__ChannelInfo channel;
    Weir__V1__ChannelInfo *channels[BLOCK_CHANNELS_MAX + 1];
    uint8_t columns[400], times[100];
};
static char text[WIRE_TEXT_MAX + 2];
static char word[] = "limit-exceeded", umlaut[] = "\xc2\xb0" "C", latin1[] = "\xb0" "C", empty[] = "";

static void sample_init(struct sample *s)
{
    *s = (struct sample){.record = WEIR__V1__RECORD__INIT,
                         .block = WEIR__V1__BLOCK__INIT,
                         .event = WEIR__V1__EVENT__INIT,
                         .health = WEIR__V1__HEALTH__INIT,
                         .gap = WEIR__V1__GAP__INIT,
                         .suppressed = WEIR__V1__SUPPRESSED__INIT,
                         .describe = WEIR__V1__DESCRIBE__INIT,
                         .curated = WEIR__V1__CURATED__INIT,
                         .window = WEIR__V1__WINDOW__INIT,
                         .inference = WEIR__V1__INFERENCE__INIT,
                         .channel = WEIR__V1__CHANNEL_INFO__INIT};
    s->record.schema = WIRE_SCHEMA;
    int64_t values[2 * 32], distances[32];
    for (size_t i = 0; i < 64; i++) {
        values[i] = (int64_t)(mix_u64(i) % 1000);
        distances[i % 32] = (int64_t)(i % 7 * 1000);
    }
    BUFFER(out, sizeof(s->columns));
    CHECK_OK(block_encode(values, (const double[]){0.1, 1.0 / 4096}, 2, 32, &out));
    memcpy(s->columns, out.ptr, out.len);
    s->block.columns = (ProtobufCBinaryData){out.len, s->columns};
    s->block.samples = 32;
    s->block.period_us = 1000000;
    s->block.wall_us = 1700000000000000;
    buffer_reset(&out);
    CHECK_OK(block_column_encode(distances, 32, &out));
    memcpy(s->times, out.ptr, out.len);
    s->block.times.len = 0;
    s->block.times.data = s->times;
    s->event.id = word;
    s->event.text = text;
    s->gap.from = s->suppressed.from = 5;
    s->gap.to = s->suppressed.to = 9;
    s->suppressed.rule = word;
    s->channel.name = word;
    s->channel.unit = umlaut;
    s->channel.resolution = 0.5;
    for (size_t i = 0; i < COUNT_OF(s->channels); i++) {
        s->channels[i] = &s->channel;
    }
    s->inference.model = 0x1122334455667788;
    s->inference.label = umlaut;
    s->inference.engine = word;
    s->inference.confidence = 0.75F;
    s->inference.score = -3.5F;
    s->inference.own_confidence = 1;
    s->window.rule = word;
    s->window.start_us = 1700000000000000;
    s->window.length_us = 60000000;
    s->window.count = 60;
    s->window.mean = -1.5;
    s->window.band = s->bands;
    s->window.n_band = 3;
    for (size_t i = 0; i < COUNT_OF(s->windows); i++) {
        s->windows[i] = &s->window;
    }
    s->curated.rules = 7;
    s->curated.window = s->windows;
    s->curated.n_window = 2;
    s->describe.channel = s->channels;
    s->describe.n_channel = 2;
    s->describe.set = wire_describe_set(&s->describe);
}

static void choose(struct sample *s, Weir__V1__Record__KindCase kind)
{
    s->record.kind_case = kind;
    switch ((int)kind) {
    case WEIR__V1__RECORD__KIND_BLOCK: s->record.block = &s->block; break;
    case WEIR__V1__RECORD__KIND_EVENT: s->record.event = &s->event; break;
    case WEIR__V1__RECORD__KIND_HEALTH: s->record.health = &s->health; break;
    case WEIR__V1__RECORD__KIND_GAP: s->record.gap = &s->gap; break;
    case WEIR__V1__RECORD__KIND_SUPPRESSED: s->record.suppressed = &s->suppressed; break;
    case WEIR__V1__RECORD__KIND_DESCRIBE: s->record.describe = &s->describe; break;
    case WEIR__V1__RECORD__KIND_CURATED:
        s->record.curated = &s->curated;
        s->curated.block = &s->block;
        s->curated.describe = &s->describe;
        break;
    case WEIR__V1__RECORD__KIND_INFERENCE: s->record.inference = &s->inference; break;
    default: break;
    }
    bool is_range = kind == WEIR__V1__RECORD__KIND_GAP || kind == WEIR__V1__RECORD__KIND_SUPPRESSED;
    s->record.span = is_range ? 5 : 0;
}

static enum err check(const struct sample *s, const char **why)
{
    size_t len = weir__v1__record__pack(&s->record, packed);
    uint64_t first = s->record.span > 1 ? 5 : 1;
    return wire_record_check(slice_of(packed, len), first, s->record.span > 1 ? 9 : 1, why);
}

static const Weir__V1__Record__KindCase kinds[] = {
    WEIR__V1__RECORD__KIND_BLOCK, WEIR__V1__RECORD__KIND_EVENT,      WEIR__V1__RECORD__KIND_HEALTH,
    WEIR__V1__RECORD__KIND_GAP,   WEIR__V1__RECORD__KIND_SUPPRESSED, WEIR__V1__RECORD__KIND_DESCRIBE,
    WEIR__V1__RECORD__KIND_CURATED, WEIR__V1__RECORD__KIND_INFERENCE,
};

static void every_kind_is_packed_checked_and_unpacked(void **state)
{
    (void)state;
    struct arena arena;
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct sample s;
        Weir__V1__Record *again = NULL;
        uint64_t span;
        sample_init(&s);
        choose(&s, kinds[i]);
        BUFFER(out, WIRE_RECORD_MAX);
        CHECK_OK(wire_record_pack(&s.record, &out));
        CHECK_OK(check(&s, NULL));
        CHECK_OK(wire_record_span(buffer_slice(&out), &span));
        CHECK_INT(span, s.record.span ? s.record.span : 1);
        arena_reset(&arena);
        CHECK_OK(wire_record_unpack(buffer_slice(&out), &arena, &again));
        CHECK_INT(again->kind_case, kinds[i]);
        for (size_t cut = 0; cut < out.len; cut++) { /* none is accepted but the empty one's fields */
            uint8_t *copy = malloc(cut ? cut : 1);
            CHECK(copy != NULL);
            memcpy(copy, out.ptr, cut);
            enum err err = wire_record_check(slice_of(copy, cut), 5, 9, NULL);
            CHECK(err != OK || cut == 4); /* schema and span alone: a kind to come */
            free(copy);
        }
    }
    arena_deinit(&arena);
}

#define REFUSED(kind, spoil, err, field)                                                                               \
    do {                                                                                                               \
        struct sample s;                                                                                               \
        const char *why = "nothing";                                                                                   \
        sample_init(&s);                                                                                               \
        choose(&s, WEIR__V1__RECORD__KIND_##kind);                                                                     \
        CHECK_OK(check(&s, &why));                                                                                     \
        spoil;                                                                                                         \
        CHECK_ERR(check(&s, &why), err);                                                                               \
        CHECK_STR(why, field);                                                                                         \
        BUFFER(out_, WIRE_RECORD_MAX);                                                                                 \
        if (strcmp(field, "range") != 0) {                                                                             \
            CHECK_ERR(wire_record_pack(&s.record, &out_), err);                                                        \
            CHECK_INT(out_.len, 0);                                                                                    \
        }                                                                                                              \
    } while (0)
#define ACCEPTED(kind, change)                                                                                         \
    do {                                                                                                               \
        struct sample s;                                                                                               \
        sample_init(&s);                                                                                               \
        choose(&s, WEIR__V1__RECORD__KIND_##kind);                                                                     \
        change;                                                                                                        \
        CHECK_OK(check(&s, NULL));                                                                                     \
    } while (0)

static void fill_text(size_t len)
{
    memset(text, 'x', len);
    text[len] = '\0';
}

static void a_block_that_breaks_a_limit_is_refused_by_name(void **state)
{
    (void)state;
    REFUSED(BLOCK, s.block.samples = 0, ERR_RANGE, "block.samples");
    REFUSED(BLOCK, s.block.samples = BLOCK_SAMPLES_MAX + 1, ERR_RANGE, "block.samples");
    REFUSED(BLOCK, s.block.samples = 31, ERR_MALFORMED, "block.columns");
    REFUSED(BLOCK, s.block.columns.len--, ERR_MALFORMED, "block.columns");
    REFUSED(BLOCK, s.block.columns.len = 0, ERR_MALFORMED, "block.columns");
    REFUSED(BLOCK, s.block.columns.len++, ERR_MALFORMED, "block.columns");
    REFUSED(BLOCK, s.block.period_us = 0, ERR_RANGE, "block.period_us");
    REFUSED(BLOCK, s.block.wall_us = UINT64_MAX, ERR_RANGE, "block clocks");
    REFUSED(BLOCK, s.block.mono_us = UINT64_MAX, ERR_RANGE, "block clocks");
    REFUSED(BLOCK, s.block.times.len = 1, ERR_MALFORMED, "block.times");
}

static void a_time_column_must_name_every_sample(void **state)
{
    (void)state;
    struct sample s;
    const char *why = NULL;
    int64_t distances[32] = {0, 5, 7};
    BUFFER(out, 100);
    sample_init(&s);
    choose(&s, WEIR__V1__RECORD__KIND_BLOCK);
    CHECK_OK(block_column_encode(distances, 32, &out));
    memcpy(s.times, out.ptr, out.len);
    s.block.times.len = out.len;
    s.block.period_us = 0;
    CHECK_OK(check(&s, &why));
    distances[4] = BLOCK_MISSING;
    buffer_reset(&out);
    CHECK_OK(block_column_encode(distances, 32, &out));
    memcpy(s.times, out.ptr, out.len);
    s.block.times.len = out.len;
    CHECK_ERR(check(&s, &why), ERR_MALFORMED);
    CHECK_STR(why, "block.times");
}

static void an_event_that_breaks_a_limit_is_refused_by_name(void **state)
{
    (void)state;
    fill_text(WIRE_TEXT_MAX);
    ACCEPTED(EVENT, s.event.value = NAN);
    ACCEPTED(EVENT, s.event.value = -1e300);
    ACCEPTED(EVENT, s.event.severity = (Weir__V1__Severity)7);
    REFUSED(EVENT, s.event.value = INFINITY, ERR_RANGE, "event.value");
    REFUSED(EVENT, s.event.value = -INFINITY, ERR_RANGE, "event.value");
    REFUSED(EVENT, s.event.id = empty, ERR_RANGE, "event.id");
    REFUSED(EVENT, s.event.id = text, ERR_RANGE, "event.id");
    REFUSED(EVENT, s.event.text = latin1, ERR_RANGE, "event.text");
    REFUSED(EVENT, s.event.channel = latin1, ERR_RANGE, "event.text");
    REFUSED(EVENT, s.event.wall_us = UINT64_MAX, ERR_RANGE, "event clocks");
    REFUSED(EVENT, fill_text(WIRE_TEXT_MAX + 1), ERR_RANGE, "event.text");
    fill_text(3);
    struct sample s;
    const char *why = NULL;
    sample_init(&s);
    choose(&s, WEIR__V1__RECORD__KIND_EVENT);
    size_t len = weir__v1__record__pack(&s.record, packed);
    uint8_t *letter = memchr(packed, 'x', len);
    while (letter[0] != 'x' || letter[1] != 'x') { /* the text, not the id */
        letter++;
    }
    *letter = '\0';
    CHECK_ERR(wire_record_check(slice_of(packed, len), 1, 1, &why), ERR_RANGE);
    CHECK_STR(why, "event.text");
}

static void a_range_must_equal_its_numbers(void **state)
{
    (void)state;
    REFUSED(GAP, s.gap.from = 4, ERR_RANGE, "range");
    REFUSED(GAP, s.gap.to = 10, ERR_RANGE, "range");
    REFUSED(GAP, s.gap.from = 0, ERR_RANGE, "range");
    REFUSED(SUPPRESSED, s.suppressed.to = UINT64_MAX, ERR_RANGE, "range");
    REFUSED(SUPPRESSED, s.suppressed.rule = latin1, ERR_RANGE, "range.rule");
    ACCEPTED(GAP, s.gap.reason = (Weir__V1__GapReason)9);
}

static void health_and_descriptions_are_held_to_their_limits(void **state)
{
    (void)state;
    REFUSED(HEALTH, s.health.gaps = UINT64_MAX, ERR_RANGE, "health");
    REFUSED(DESCRIBE, s.channel.resolution = NAN, ERR_RANGE, "describe.channel");
    REFUSED(DESCRIBE, s.channel.resolution = INFINITY, ERR_RANGE, "describe.channel");
    REFUSED(DESCRIBE, s.channel.resolution = 0, ERR_RANGE, "describe.channel");
    REFUSED(DESCRIBE, s.channel.resolution = -1, ERR_RANGE, "describe.channel");
    REFUSED(DESCRIBE, s.channel.name = empty, ERR_RANGE, "describe.channel");
    REFUSED(DESCRIBE, s.channel.unit = latin1, ERR_RANGE, "describe.channel");
    REFUSED(DESCRIBE, s.describe.set = 0, ERR_RANGE, "describe.set");
    REFUSED(DESCRIBE, s.describe.source = latin1, ERR_RANGE, "describe.software");
    REFUSED(DESCRIBE, s.describe.n_channel = BLOCK_CHANNELS_MAX + 1, ERR_RANGE, "describe.channel");
    REFUSED(CURATED, s.block.samples = 31, ERR_MALFORMED, "block.columns");
    REFUSED(CURATED, s.window.mean = NAN, ERR_RANGE, "curated.window");
    REFUSED(CURATED, s.window.max = INFINITY, ERR_RANGE, "curated.window");
    REFUSED(CURATED, s.window.length_us = 0, ERR_RANGE, "curated.window");
    REFUSED(CURATED, s.window.channel = BLOCK_CHANNELS_MAX, ERR_RANGE, "curated.window");
    REFUSED(CURATED, s.window.rule = empty, ERR_RANGE, "curated.window");
    REFUSED(CURATED, s.bands[2] = NAN, ERR_RANGE, "curated.window");
    REFUSED(CURATED, s.window.n_band = WIRE_BANDS_MAX + 1, ERR_RANGE, "curated.window");
    REFUSED(CURATED, s.curated.n_window = WIRE_WINDOWS_MAX + 1, ERR_RANGE, "curated.window");
    REFUSED(CURATED, (s.curated.n_window = 0, s.curated.block = NULL, s.curated.describe = NULL), ERR_RANGE, "curated");
    REFUSED(CURATED, s.describe.set = 0, ERR_RANGE, "describe.set");
    REFUSED(CURATED, s.channel.resolution = NAN, ERR_RANGE, "describe.channel");
    REFUSED(CURATED, s.channel.name = empty, ERR_RANGE, "describe.channel");
    REFUSED(CURATED, s.describe.n_channel = BLOCK_CHANNELS_MAX + 1, ERR_RANGE, "describe.channel");
    ACCEPTED(DESCRIBE, s.describe.n_channel = BLOCK_CHANNELS_MAX);
}

static void inference_refused(const struct sample *s, const char *expected)
{
    const char *why = NULL;
    CHECK_ERR(check(s, &why), ERR_RANGE);
    CHECK_STR(why, expected);
}

static void an_inference_that_breaks_a_limit_is_refused_by_name(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    choose(&s, WEIR__V1__RECORD__KIND_INFERENCE);
    Weir__V1__Inference *i = &s.inference;
    const Weir__V1__Inference sound = *i;
    CHECK_OK(check(&s, NULL));
    i->by = (Weir__V1__AnsweredBy)7; /* who will answer one day */
    i->asked = (Weir__V1__Asked)9;
    CHECK_OK(check(&s, NULL));
    const float wrong[] = {NAN, INFINITY, -0.01F, 1.01F};
    for (size_t k = 0; k < COUNT_OF(wrong); k++) {
        *i = sound;
        i->confidence = wrong[k];
        inference_refused(&s, "inference.confidence");
        *i = sound;
        i->own_confidence = wrong[k];
        inference_refused(&s, "inference.confidence");
        *i = sound;
        i->score = wrong[k];
        if (k < 2) {
            inference_refused(&s, "inference.confidence");
        } else {
            CHECK_OK(check(&s, NULL));
        }
    }
    *i = sound;
    i->model = 0;
    inference_refused(&s, "inference.model");
    *i = sound;
    i->window_us = (uint64_t)INT64_MAX + 1;
    inference_refused(&s, "inference clocks");
    *i = sound;
    i->label = latin1;
    inference_refused(&s, "inference.label");
    *i = sound;
    i->engine = text;
    fill_text(WIRE_NAME_MAX + 1);
    inference_refused(&s, "inference.label");
    fill_text(WIRE_NAME_MAX);
    CHECK_OK(check(&s, NULL));
}

static void an_inference_coded_by_hand_is_what_protobuf_makes_of_it(void **state)
{
    (void)state;
    const struct wire_inference full = {.model = 1, .config = UINT64_MAX, .wall_us = INT64_MAX, .mono_us = INT64_MAX,
                                        .window_us = INT64_MAX, .own_model = 5, .quality = WEIR__V1__CLOCK_QUALITY__GATEWAY,
                                        .by = WEIR__V1__ANSWERED_BY__BY_PERSON, .asked = WEIR__V1__ASKED__ASKED_OFFLINE,
                                        .answer = UINT32_MAX, .own_answer = UINT32_MAX, .took_ms = UINT32_MAX,
                                        .repeats = UINT32_MAX, .skipped = UINT32_MAX, .confidence = 0.5F, .score = -1e30F,
                                        .own_confidence = 1, .label = text, .engine = text};
    const struct wire_inference least = {.model = 9, .label = empty, .engine = empty};
    const struct wire_inference zeros = {.model = 9, .confidence = -0.0F, .score = -0.0F, .own_confidence = -0.0F,
                                         .label = empty, .engine = empty};
    const struct wire_inference *const cases[] = {&full, &least, &zeros};
    fill_text(WIRE_NAME_MAX);
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        const struct wire_inference *w = cases[k];
        struct sample s;
        sample_init(&s);
        choose(&s, WEIR__V1__RECORD__KIND_INFERENCE);
        s.inference = (Weir__V1__Inference)WEIR__V1__INFERENCE__INIT;
        Weir__V1__Inference *i = &s.inference;
        i->model = w->model, i->config = w->config, i->wall_us = w->wall_us, i->mono_us = w->mono_us;
        i->quality = w->quality, i->window_us = w->window_us, i->answer = w->answer, i->confidence = w->confidence;
        i->score = w->score, i->by = w->by, i->asked = w->asked, i->own_model = w->own_model, i->own_answer = w->own_answer;
        i->own_confidence = w->own_confidence, i->took_ms = w->took_ms, i->repeats = w->repeats, i->skipped = w->skipped;
        i->label = w == &full ? text : empty;
        i->engine = i->label;
        BUFFER(out, WIRE_RECORD_MAX);
        CHECK_OK(wire_record_pack(&s.record, &out));
        uint8_t *record = malloc(WIRE_INFERENCE_MAX);
        size_t len = 0;
        CHECK_OK(wire_inference_encode(w, record, &len));
        CHECK(slice_equal(slice_of(record, len), buffer_slice(&out)));
        free(record);
    }
    struct wire_inference bad = full;
    uint8_t record[WIRE_INFERENCE_MAX];
    size_t len = 77;
    bad.confidence = NAN;
    CHECK_ERR(wire_inference_encode(&bad, record, &len), ERR_RANGE);
    bad = full;
    fill_text(WIRE_NAME_MAX + 1);
    CHECK_ERR(wire_inference_encode(&bad, record, &len), ERR_RANGE);
    CHECK_INT(len, 77);
}

static void numbers_and_span_must_agree(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    choose(&s, WEIR__V1__RECORD__KIND_HEALTH);
    size_t len = weir__v1__record__pack(&s.record, packed);
    struct slice record = slice_of(packed, len);
    static const uint64_t bad[][2] = {{0, 0}, {1, 2}, {2, 1}, {0, UINT64_MAX}, {UINT64_MAX, UINT64_MAX},
                                      {WIRE_NUMBER_MAX + 1, WIRE_NUMBER_MAX + 1}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *why = NULL;
        CHECK_ERR(wire_record_check(record, bad[i][0], bad[i][1], &why), ERR_RANGE);
        CHECK_STR(why, "span");
    }
    CHECK_OK(wire_record_check(record, 1, 1, NULL));
    CHECK_OK(wire_record_check(record, WIRE_NUMBER_MAX, WIRE_NUMBER_MAX, NULL));
    s.record.span = 5; /* only ranges cover more than one */
    const char *why = NULL;
    CHECK_ERR(check(&s, &why), ERR_RANGE);
    CHECK_STR(why, "span");
}

static void what_is_still_to_come_is_accepted_but_not_unpacked(void **state)
{
    (void)state;
    struct arena arena;
    Weir__V1__Record *again = NULL;
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    /* schema 1, field 20 unknown; then schema 2 with a block that is none. */
    struct slice kind = slice_of("\x08\x01\xa2\x01\x02hi", 7), schema = slice_of("\x08\x02\x52\x01z", 5);
    CHECK_OK(wire_record_check(kind, 1, 1, NULL));
    CHECK_ERR(wire_record_unpack(kind, &arena, &again), ERR_UNSUPPORTED);
    CHECK_OK(wire_record_check(schema, 1, 1, NULL));
    CHECK_ERR(wire_record_unpack(schema, &arena, &again), ERR_UNSUPPORTED);
    CHECK_ERR(wire_record_check(slice_of("\x10\x01", 2), 1, 1, NULL), ERR_RANGE); /* schema 0 */
    CHECK_ERR(wire_record_check(slice_of(NULL, 0), 1, 1, NULL), ERR_RANGE);
    arena_deinit(&arena);
}

/* Schema 1, Curated of so many descriptions. */
static void put_curated(const struct slice message, unsigned times, struct buffer *out)
{
    enum { SCHEMA = 1 << 3, CURATED = 16 << 3 | 2, DESCRIBE = 6 << 3 | 2 };
    BUFFER(body, 4096);
    for (unsigned i = 0; i < times; i++) {
        buffer_put_u8(&body, DESCRIBE);
        buffer_put_varint(&body, message.len);
        buffer_put_slice(&body, message);
    }
    buffer_reset(out);
    buffer_put_u8(out, SCHEMA);
    buffer_put_u8(out, WIRE_SCHEMA);
    buffer_put_varint(out, CURATED);
    buffer_put_varint(out, body.len);
    buffer_put_slice(out, buffer_slice(&body));
}

static void a_description_is_found_alone_and_within_what_rules_left(void **state)
{
    (void)state;
    struct sample s;
    struct slice alone, within;
    uint8_t message[4096];
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        sample_init(&s);
        choose(&s, kinds[i]);
        bool has = kinds[i] == WEIR__V1__RECORD__KIND_DESCRIBE || kinds[i] == WEIR__V1__RECORD__KIND_CURATED;
        CHECK_INT(wire_record_describe(slice_of(packed, weir__v1__record__pack(&s.record, packed)), &within), has);
    }
    alone = slice_of(message, weir__v1__describe__pack(&s.describe, message));
    BUFFER(record, 8192);
    put_curated(alone, 1, &record);
    CHECK_OK(wire_record_check(buffer_slice(&record), 1, 1, NULL));
    CHECK(wire_record_describe(buffer_slice(&record), &within) && slice_equal(alone, within));
    record.len--;
    CHECK(!wire_record_describe(buffer_slice(&record), &within));
    const char *why = "";
    put_curated(alone, 2, &record); /* protobuf would make one of both, with all their channels */
    CHECK_ERR(wire_record_check(buffer_slice(&record), 1, 1, &why), ERR_MALFORMED);
    CHECK_STR(why, "curated.describe");
}

static void two_kinds_in_one_record_are_malformed(void **state)
{
    (void)state;
    const char *why = NULL;
    CHECK_OK(wire_record_check(slice_of("\x08\x01\x62\x00", 4), 1, 1, NULL));
    CHECK_ERR(wire_record_check(slice_of("\x08\x01\x62\x00\x62\x00", 6), 1, 1, &why), ERR_MALFORMED);
    CHECK_STR(why, "kind");
}

static void unpacking_stays_within_the_arena(void **state)
{
    (void)state;
    struct arena arena;
    Weir__V1__Record *again = NULL;
    /* A description of 40,000 empty channels: 80 KB on the wire, megabytes when unpacked. */
    BUFFER(channels, WIRE_RECORD_MAX);
    BUFFER(out, WIRE_RECORD_MAX);
    for (int i = 0; i < 40000; i++) {
        buffer_put(&channels, "\x12\x00", 2);
    }
    buffer_put(&out, "\x08\x01\x7a", 3);
    buffer_put_varint(&out, channels.len);
    buffer_put_slice(&out, buffer_slice(&channels));
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    CHECK_ERR(wire_record_unpack(buffer_slice(&out), &arena, &again), ERR_NOMEM);
    arena_reset(&arena);
    CHECK_ERR(wire_record_unpack(slice_of("\x08", 1), &arena, &again), ERR_MALFORMED);
    CHECK_ERR(wire_record_unpack(slice_of(packed, WIRE_RECORD_MAX + 1), &arena, &again), ERR_RANGE);
    CHECK(again == NULL);
    arena_deinit(&arena);
}

static void a_gap_is_declared_with_its_range(void **state)
{
    (void)state;
    struct arena arena;
    Weir__V1__Record *again = NULL;
    uint64_t span;
    BUFFER(out, 1000);
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    CHECK_OK(wire_gap_pack(7, 10, WEIR__V1__GAP_REASON__DAMAGED, 99, &out));
    CHECK_OK(wire_record_check(buffer_slice(&out), 7, 10, NULL));
    CHECK_OK(wire_record_span(buffer_slice(&out), &span));
    CHECK_INT(span, 4);
    CHECK_OK(wire_record_unpack(buffer_slice(&out), &arena, &again));
    CHECK_INT(again->gap->from, 7);
    CHECK_INT(again->gap->reason, WEIR__V1__GAP_REASON__DAMAGED);
    buffer_reset(&out);
    CHECK_OK(wire_gap_pack(7, 7, WEIR__V1__GAP_REASON__OVERFLOW, 0, &out));
    CHECK_OK(wire_record_check(buffer_slice(&out), 7, 7, NULL));
    CHECK_ERR(wire_gap_pack(0, 7, WEIR__V1__GAP_REASON__OVERFLOW, 0, &out), ERR_RANGE);
    CHECK_ERR(wire_gap_pack(8, 7, WEIR__V1__GAP_REASON__OVERFLOW, 0, &out), ERR_RANGE);
    CHECK_ERR(wire_gap_pack(1, UINT64_MAX, WEIR__V1__GAP_REASON__OVERFLOW, 0, &out), ERR_RANGE);
    CHECK_OK(wire_gap_pack(1, WIRE_NUMBER_MAX, WEIR__V1__GAP_REASON__OVERFLOW, 0, &out));
    arena_deinit(&arena);
}

static void a_descriptions_hash_covers_all_but_itself(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    uint32_t set = s.describe.set;
    CHECK(set != 0);
    s.describe.set = 12345;
    CHECK_INT(wire_describe_set(&s.describe), set);
    s.channel.resolution = 0.25;
    CHECK(wire_describe_set(&s.describe) != set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_packed_checked_and_unpacked),
        cmocka_unit_test(a_block_that_breaks_a_limit_is_refused_by_name),
        cmocka_unit_test(a_time_column_must_name_every_sample),
        cmocka_unit_test(an_event_that_breaks_a_limit_is_refused_by_name),
        cmocka_unit_test(a_range_must_equal_its_numbers),
        cmocka_unit_test(health_and_descriptions_are_held_to_their_limits),
        cmocka_unit_test(an_inference_that_breaks_a_limit_is_refused_by_name),
        cmocka_unit_test(an_inference_coded_by_hand_is_what_protobuf_makes_of_it),
        cmocka_unit_test(numbers_and_span_must_agree),
        cmocka_unit_test(what_is_still_to_come_is_accepted_but_not_unpacked),
        cmocka_unit_test(a_description_is_found_alone_and_within_what_rules_left),
        cmocka_unit_test(two_kinds_in_one_record_are_malformed),
        cmocka_unit_test(unpacking_stays_within_the_arena),
        cmocka_unit_test(a_gap_is_declared_with_its_range),
        cmocka_unit_test(a_descriptions_hash_covers_all_but_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
