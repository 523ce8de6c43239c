/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: Frames by hand are byte for byte what protobuf-c writes and reads; whatever breaks a limit is refused with the
 * field's name; unknown fields pass.
 */
#include "proto/wire/wire.h"

#include "tests/support/check.h"

static struct wire_entry entries[WIRE_RECORDS_MAX + 1];
static uint8_t packed[4 * WIRE_FRAME_MAX];

/* A record of given span with some content; protobuf-c writes it. */
static struct slice make_record(uint64_t span, uint8_t *out)
{
    Weir__V1__Gap gap = WEIR__V1__GAP__INIT;
    gap.from = 5;
    gap.to = 5 + span - 1;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.span = span;
    record.kind_case = WEIR__V1__RECORD__KIND_GAP;
    record.gap = &gap;
    return slice_of(out, weir__v1__record__pack(&record, out));
}

/* A valid frame of one record of span 1; tests spoil one field. */
struct sample {
    Weir__V1__Frame frame;
    Weir__V1__Hello hello;
    ProtobufCBinaryData record[1];
    uint8_t bytes[64];
};
static void sample_init(struct sample *s)
{
    *s = (struct sample){.frame = WEIR__V1__FRAME__INIT, .hello = WEIR__V1__HELLO__INIT};
    static char name[] = "pump-1";
    s->frame.version = WIRE_VERSION;
    s->frame.sender = name;
    s->frame.epoch = 0x1122334455667788;
    s->frame.first = 10;
    s->frame.behind = 3;
    s->frame.ahead = 20;
    s->frame.boot = 77;
    s->frame.lane = 1;
    s->record[0].len = make_record(1, s->bytes).len;
    s->record[0].data = s->bytes;
    s->frame.record = s->record;
    s->frame.n_record = 1;
}
static enum err decode(const struct sample *s, struct wire_frame *ret, const char **why)
{
    size_t len = weir__v1__frame__pack(&s->frame, packed);
    return wire_frame_decode(slice_of(packed, len), false, ret, entries, WIRE_RECORDS_MAX, why);
}

static uint64_t some_number(uint64_t seed, uint64_t max)
{
    return (mix_u64(seed) >> mix_u64(seed + 1) % 64) % (max + 1);
}

/* A random header that keeps the invariants, for `count` records which cover `numbers`. */
static struct window_header some_header(uint64_t seed, uint64_t numbers)
{
    struct window_header h = {.epoch = mix_u64(seed) | 1, .boot = (uint32_t)mix_u64(seed + 2) | 1};
    h.first = 1 + some_number(seed * 3, WIRE_NUMBER_MAX - numbers);
    h.last = h.first + numbers - 1;
    h.base = h.first - some_number(seed * 5, h.first - 1);
    h.top = h.last + some_number(seed * 7, WIRE_NUMBER_MAX - h.last);
    h.lane = (uint8_t)(seed % 3 == 0 ? seed : seed % 2);
    h.has_hello = seed % 4 == 0;
    h.may_wait = seed % 5 == 0;
    if (h.has_hello) {
        h.boot_seq = some_number(seed * 11, WIRE_NUMBER_MAX);
        h.boot_top = some_number(seed * 13, WIRE_NUMBER_MAX);
        h.replaces = seed % 8 ? mix_u64(seed + 3) : 0;
    }
    return h;
}

static void some_id(uint64_t seed, char id[ID_MAX + 1])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t len = mix_u64(seed) % ID_MAX + 1;
    for (size_t i = 0; i < len; i++) {
        id[i] = letters[mix_u64(seed + i) % 64];
    }
    id[len] = '\0';
}

static void expect_same(const Weir__V1__Frame *f, const char *sender, const struct window_header *h,
                        const struct slice *bodies, size_t count)
{
    CHECK_INT(f->version, WIRE_VERSION);
    CHECK_STR(f->sender, sender);
    CHECK(f->epoch == h->epoch && f->first == h->first && f->boot == h->boot && f->lane == h->lane);
    CHECK(f->behind == h->first - h->base && f->ahead == h->top - h->first);
    CHECK((f->hello != NULL) == h->has_hello);
    if (f->hello != NULL) {
        CHECK(f->hello->boot_seq == h->boot_seq && f->hello->boot_top == h->boot_top);
        CHECK(f->hello->replaces == h->replaces);
        CHECK_STR(f->hello->software, "weir 0.1");
    }
    CHECK_INT(f->n_record, count);
    for (size_t i = 0; i < count; i++) {
        CHECK(slice_equal(slice_of(f->record[i].data, f->record[i].len), bodies[i]));
    }
}

/* Both directions: protobuf-c reads what we write; what it writes from that equals ours; we read it back. */
static void random_frames_are_byte_for_byte_those_of_the_library(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 3000; seed++) {
        uint8_t bytes[9][64];
        struct slice bodies[9];
        size_t count = mix_u64(seed) % 9 + 1;
        uint64_t numbers = 0;
        for (size_t i = 0; i < count; i++) {
            uint64_t span = mix_u64(seed + i) % 3 ? 1 : mix_u64(seed * i) % 1000 + 1;
            bodies[i] = make_record(span, bytes[i]);
            numbers += span;
        }
        char sender[ID_MAX + 1];
        some_id(seed, sender);
        struct window_header h = some_header(seed, numbers);
        BUFFER(out, WIRE_FRAME_MAX);
        CHECK_OK(wire_frame_encode(sender, &h, "weir 0.1", bodies, count, &out));
        Weir__V1__Frame *f = weir__v1__frame__unpack(NULL, out.len, out.ptr);
        CHECK(f != NULL);
        expect_same(f, sender, &h, bodies, count);
        CHECK_INT(weir__v1__frame__pack(f, packed), out.len);
        CHECK(memcmp(packed, out.ptr, out.len) == 0);
        weir__v1__frame__free_unpacked(f, NULL);

        struct wire_frame frame;
        CHECK_OK(wire_frame_decode(buffer_slice(&out), false, &frame, entries, count, NULL));
        CHECK_STR(frame.sender, sender);
        CHECK_INT(frame.count, count);
        const struct window_header *g = &frame.header;
        CHECK(g->epoch == h.epoch && g->first == h.first && g->last == h.last && g->base == h.base && g->top == h.top);
        CHECK(g->boot == h.boot && g->lane == h.lane && g->has_hello == h.has_hello && g->replaces == h.replaces);
        CHECK(g->boot_seq == h.boot_seq && g->boot_top == h.boot_top && g->may_wait == h.may_wait);
        uint64_t next = h.first;
        for (size_t i = 0; i < count; i++) {
            CHECK(entries[i].first == next && slice_equal(entries[i].body, bodies[i]));
            next = entries[i].last + 1;
        }
        CHECK(next == h.last + 1);
    }
}

static void every_cut_of_a_frame_is_refused_or_shorter(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    s.frame.hello = &s.hello;
    s.hello.boot_seq = 300;
    size_t len = weir__v1__frame__pack(&s.frame, packed);
    struct wire_frame frame;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        CHECK(copy != NULL);
        memcpy(copy, packed, cut);
        CHECK(wire_frame_decode(slice_of(copy, cut), false, &frame, entries, 1, NULL) != OK); /* no record yet */
        free(copy);
    }
}

static void fields_in_any_order_with_unknown_ones_between_are_read(void **state)
{
    (void)state;
    struct sample s;
    struct wire_frame frame;
    sample_init(&s);
    /* Record first, then everything else, with fields 99 (varint), 100 (bytes), 101 (fixed32), 102 (fixed64). */
    BUFFER(out, 1000);
    buffer_put_u8(&out, 10 << 3 | 2);
    buffer_put_varint(&out, s.record[0].len);
    buffer_put(&out, s.bytes, s.record[0].len);
    buffer_put(&out, "\x98\x06\xff\x01\xa2\x06\x03xyz\xad\x06" "abcd\xb1\x06" "abcdefgh", 26);
    s.frame.n_record = 0;
    size_t len = weir__v1__frame__pack(&s.frame, packed);
    buffer_put(&out, packed, len);
    CHECK_OK(wire_frame_decode(buffer_slice(&out), false, &frame, entries, 1, NULL));
    CHECK_INT(frame.header.first, 10);
    CHECK_INT(entries[0].first, 10);
}

static void the_last_of_equal_scalars_wins(void **state)
{
    (void)state;
    struct sample s;
    struct wire_frame frame;
    sample_init(&s);
    size_t len = weir__v1__frame__pack(&s.frame, packed);
    static const char more[] = "\x20\x0c\x30\x00\x30\x09"; /* first = 12, ahead = 0, ahead = 9 */
    memcpy(packed + len, more, sizeof(more) - 1);
    len += sizeof(more) - 1;
    CHECK_OK(wire_frame_decode(slice_of(packed, len), false, &frame, entries, 1, NULL));
    CHECK_INT(frame.header.first, 12);
    CHECK_INT(frame.header.top, 21);
    Weir__V1__Frame *f = weir__v1__frame__unpack(NULL, len, packed);
    CHECK(f != NULL && f->first == 12 && f->ahead == 9);
    weir__v1__frame__free_unpacked(f, NULL);
}

/* Protobuf would merge them, protobuf-c does not: nobody writes two, so nobody has to guess. */
static void a_second_hello_is_malformed(void **state)
{
    (void)state;
    struct sample s;
    struct wire_frame frame;
    const char *why = NULL;
    sample_init(&s);
    s.frame.hello = &s.hello;
    size_t len = weir__v1__frame__pack(&s.frame, packed);
    CHECK_OK(wire_frame_decode(slice_of(packed, len), false, &frame, entries, 1, &why));
    memcpy(packed + len, "\x4a\x02\x10\x09", 4);
    CHECK_ERR(wire_frame_decode(slice_of(packed, len + 4), false, &frame, entries, 1, &why), ERR_MALFORMED);
    CHECK_STR(why, "hello");
}

static void a_known_field_of_another_wire_type_is_malformed(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "\x0a\x00",         /* version as bytes */
        "\x10\x01",         /* sender as varint */
        "\x18\x01",         /* epoch as varint */
        "\x25" "abcd",      /* first as fixed32 */
        "\x39" "abcdefgh",  /* boot as fixed64 */
        "\x48\x01",         /* hello as varint */
        "\x50\x01",         /* record as varint */
        "\x4a\x02\x1d\x01", /* hello with replaces as fixed32, cut */
        "\x63",             /* a group */
        "\x07",             /* wire type 7 */
    };
    struct sample s;
    struct wire_frame frame;
    sample_init(&s);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        size_t len = weir__v1__frame__pack(&s.frame, packed), more = strlen(wrong[i]);
        memcpy(packed + len, wrong[i], more);
        if (i == 0) {
            more = 2; /* ends with a NUL */
        }
        CHECK_ERR(wire_frame_decode(slice_of(packed, len + more), false, &frame, entries, 1, NULL), ERR_MALFORMED);
    }
    /* Keys and lengths of more than five bytes: padded with zeros, they would say the same. */
    static const char *const padded[] = {"\x98\x86\x80\x80\x80\x80\x00\x01", "\xa2\x06\x80\x80\x80\x80\x80\x00"};
    for (size_t i = 0; i < COUNT_OF(padded); i++) {
        size_t len = weir__v1__frame__pack(&s.frame, packed);
        memcpy(packed + len, padded[i], 8);
        CHECK_ERR(wire_frame_decode(slice_of(packed, len + 8), false, &frame, entries, 1, NULL), ERR_MALFORMED);
    }
    CHECK_ERR(wire_frame_decode(slice_of("\x00\x01", 2), false, &frame, entries, 1, NULL), ERR_MALFORMED);
}

#define REFUSED(spoil, err, field)                                                                                     \
    do {                                                                                                               \
        struct sample s;                                                                                               \
        struct wire_frame frame_;                                                                                      \
        const char *why = NULL;                                                                                        \
        sample_init(&s);                                                                                               \
        CHECK_OK(decode(&s, &frame_, &why));                                                                           \
        spoil;                                                                                                         \
        CHECK_ERR(decode(&s, &frame_, &why), err);                                                                     \
        CHECK_STR(why, field);                                                                                         \
    } while (0)

static char no_id[] = "pump 1", empty[] = "";

static void what_breaks_a_limit_is_refused_by_name(void **state)
{
    (void)state;
    REFUSED(s.frame.version = 0, ERR_UNSUPPORTED, "version");
    REFUSED(s.frame.version = 2, ERR_UNSUPPORTED, "version");
    REFUSED(s.frame.sender = no_id, ERR_RANGE, "sender");
    REFUSED(s.frame.sender = empty, ERR_RANGE, "sender");
    REFUSED(s.frame.epoch = 0, ERR_RANGE, "epoch");
    REFUSED(s.frame.first = 0, ERR_RANGE, "first");
    REFUSED(s.frame.first = UINT64_MAX, ERR_RANGE, "first");
    REFUSED(s.frame.first = WIRE_NUMBER_MAX + 1, ERR_RANGE, "first");
    REFUSED(s.frame.behind = 10, ERR_RANGE, "behind");
    REFUSED(s.frame.behind = UINT64_MAX, ERR_RANGE, "behind");
    REFUSED(s.frame.ahead = UINT64_MAX, ERR_RANGE, "ahead");
    REFUSED(s.frame.ahead = WIRE_NUMBER_MAX - 9, ERR_RANGE, "ahead");
    REFUSED(s.frame.boot = 0, ERR_RANGE, "boot");
    REFUSED(s.frame.lane = 256, ERR_RANGE, "lane");
    REFUSED(s.frame.n_record = 0, ERR_RANGE, "record count");
    REFUSED((s.frame.hello = &s.hello, s.hello.boot_top = UINT64_MAX), ERR_RANGE, "hello");
    REFUSED((s.frame.hello = &s.hello, s.hello.boot_seq = UINT64_MAX), ERR_RANGE, "hello");
    REFUSED(s.record[0].len = 1, ERR_MALFORMED, "record");
}

static void records_may_not_run_beyond_the_top_or_overflow(void **state)
{
    (void)state;
    static const uint64_t spans[] = {22, 1 << 20, WIRE_NUMBER_MAX, WIRE_NUMBER_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(spans); i++) {
        struct sample s;
        struct wire_frame frame;
        const char *why = NULL;
        sample_init(&s);
        s.record[0].len = make_record(21, s.bytes).len; /* 10..30 = top */
        CHECK_OK(decode(&s, &frame, &why));
        CHECK_INT(frame.header.last, 30);
        s.record[0].len = make_record(spans[i], s.bytes).len;
        CHECK_ERR(decode(&s, &frame, &why), ERR_RANGE);
        CHECK_STR(why, spans[i] > WIRE_NUMBER_MAX ? "record" : "span");
    }
}

static void the_highest_number_is_2_to_the_63_less_one(void **state)
{
    (void)state;
    struct sample s;
    struct wire_frame frame;
    sample_init(&s);
    s.frame.first = WIRE_NUMBER_MAX;
    s.frame.ahead = 0;
    CHECK_OK(decode(&s, &frame, NULL));
    CHECK(frame.header.last == WIRE_NUMBER_MAX && frame.header.top == WIRE_NUMBER_MAX);
}

static void more_records_than_room_and_too_many_bytes_are_refused(void **state)
{
    (void)state;
    struct sample s;
    struct wire_frame frame;
    const char *why = NULL;
    sample_init(&s);
    size_t len = weir__v1__frame__pack(&s.frame, packed);
    CHECK_ERR(wire_frame_decode(slice_of(packed, len), false, &frame, entries, 0, &why), ERR_RANGE);
    CHECK_STR(why, "record count");
    for (size_t i = 0; i < WIRE_RECORDS_MAX; i++) { /* empty records: span 1 */
        memcpy(packed + len + 2 * i, "\x52\x00", 2);
    }
    CHECK_ERR(wire_frame_decode(slice_of(packed, len + 2 * WIRE_RECORDS_MAX), false, &frame, entries,
                                WIRE_RECORDS_MAX + 1, &why), ERR_RANGE);
    CHECK_STR(why, "record count");
    memset(packed, 0, sizeof(packed));
    CHECK_ERR(wire_frame_decode(slice_of(packed, WIRE_FRAME_MAX + 1), false, &frame, entries, 1, &why), ERR_RANGE);
    CHECK_STR(why, "size");
}

static void forwards_are_numbered_by_their_own_ranges(void **state)
{
    (void)state;
    BUFFER(bodies, 1000);
    BUFFER(out, 1000);
    struct wire_forward fw = {.device = "d", .gateway = "g", .epoch = 1, .first = 100, .last = 104};
    CHECK_OK(wire_forward_encode(&fw, &bodies));
    size_t cut = bodies.len;
    fw.first = fw.last = 7;
    CHECK_OK(wire_forward_encode(&fw, &bodies));
    struct slice parts[] = {slice_of(bodies.ptr, cut), slice_of(bodies.ptr + cut, bodies.len - cut)};
    struct window_header h = {.epoch = 9, .first = 3, .base = 1, .top = 8, .boot = 1};
    struct wire_frame frame;
    const char *why = NULL;
    CHECK_OK(wire_frame_encode("gw", &h, NULL, parts, 2, &out));
    CHECK_OK(wire_frame_decode(buffer_slice(&out), true, &frame, entries, 2, NULL));
    CHECK(entries[0].first == 3 && entries[0].last == 7 && entries[1].first == 8 && entries[1].last == 8);
    CHECK_INT(frame.header.last, 8);
    h.top = 7;
    buffer_reset(&out);
    CHECK_OK(wire_frame_encode("gw", &h, NULL, parts, 2, &out));
    CHECK_ERR(wire_frame_decode(buffer_slice(&out), true, &frame, entries, 2, &why), ERR_RANGE);
    CHECK_STR(why, "span");
    struct slice nothing = slice_of("", 0); /* a Forward without a range */
    buffer_reset(&out);
    CHECK_OK(wire_frame_encode("gw", &h, NULL, &nothing, 1, &out));
    CHECK_ERR(wire_frame_decode(buffer_slice(&out), true, &frame, entries, 2, &why), ERR_RANGE);
    CHECK_STR(why, "record");
}

static void the_encoder_refuses_what_the_decoder_would(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct slice body = make_record(1, bytes);
    const struct window_header good = {.epoch = 1, .first = 5, .last = 5, .base = 2, .top = 5, .boot = 1};
    struct window_header h = good;
    BUFFER(out, 1000);
    CHECK_OK(wire_frame_encode("d", &h, NULL, &body, 1, &out));
    CHECK_ERR(wire_frame_encode("d", &h, NULL, &body, 0, &out), ERR_RANGE);
    CHECK_ERR(wire_frame_encode("d d", &h, NULL, &body, 1, &out), ERR_RANGE);
    h.epoch = 0;
    CHECK_ERR(wire_frame_encode("d", &h, NULL, &body, 1, &out), ERR_RANGE);
    h = good, h.boot = 0;
    CHECK_ERR(wire_frame_encode("d", &h, NULL, &body, 1, &out), ERR_RANGE);
    h = good, h.base = 6;
    CHECK_ERR(wire_frame_encode("d", &h, NULL, &body, 1, &out), ERR_RANGE);
    h = good, h.base = 0;
    CHECK_ERR(wire_frame_encode("d", &h, NULL, &body, 1, &out), ERR_RANGE);
    h = good, h.top = 4;
    CHECK_ERR(wire_frame_encode("d", &h, NULL, &body, 1, &out), ERR_RANGE);
    char software[WIRE_NAME_MAX + 2];
    memset(software, 'x', sizeof(software));
    software[sizeof(software) - 1] = '\0';
    h = good, h.has_hello = true;
    CHECK_ERR(wire_frame_encode("d", &h, software, &body, 1, &out), ERR_RANGE);
    software[WIRE_NAME_MAX] = '\0';
    CHECK_OK(wire_frame_encode("d", &h, software, &body, 1, &out));
    BUFFER(small, 20);
    CHECK_ERR(wire_frame_encode("d", &h, NULL, &body, 1, &small), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_frames_are_byte_for_byte_those_of_the_library),
        cmocka_unit_test(every_cut_of_a_frame_is_refused_or_shorter),
        cmocka_unit_test(fields_in_any_order_with_unknown_ones_between_are_read),
        cmocka_unit_test(the_last_of_equal_scalars_wins),
        cmocka_unit_test(a_second_hello_is_malformed),
        cmocka_unit_test(a_known_field_of_another_wire_type_is_malformed),
        cmocka_unit_test(what_breaks_a_limit_is_refused_by_name),
        cmocka_unit_test(records_may_not_run_beyond_the_top_or_overflow),
        cmocka_unit_test(the_highest_number_is_2_to_the_63_less_one),
        cmocka_unit_test(more_records_than_room_and_too_many_bytes_are_refused),
        cmocka_unit_test(forwards_are_numbered_by_their_own_ranges),
        cmocka_unit_test(the_encoder_refuses_what_the_decoder_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
