/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: records in RAM reach a gateway once each and in order, whatever is lost on the way; what RAM could not keep is
 * declared; and a gateway that closes the epoch gets the rest in a new one.
 */
#include "device/micro/outlet.h"

#include "tests/support/check.h"

enum { LANE = 1, RING_BYTES = 1024, SENT_MAX = 256, RECORD_MAX = 128 };
#define WALL_US UINT64_C(1767225600000000)

struct fixture {
    struct outlet outlet;
    void *memory;
    uint64_t bits, described[OUTLET_LANES];
    bool refuses; /* the link takes nothing now */
    struct sent {
        uint8_t bytes[2048];
        size_t len;
    } sent[SENT_MAX];
    unsigned sent_count, read_count;
    struct window_stream stream[OUTLET_LANES];
    uint64_t epoch[OUTLET_LANES];        /* the gateway's */
    uint64_t seen, gap_numbers, entries; /* entries: also those that it had */
    unsigned lost_every, frames;         /* 0 = none; so many have come */
};

static enum err send_frame(void *arg, struct slice frame)
{
    struct fixture *f = arg;
    if (f->refuses || f->sent_count == SENT_MAX) {
        return ERR_AGAIN;
    }
    struct sent *s = &f->sent[f->sent_count++];
    CHECK(frame.len <= sizeof(s->bytes));
    memcpy(s->bytes, frame.ptr, frame.len);
    s->len = frame.len;
    return OK;
}

static void describe(void *arg, uint8_t lane)
{
    struct fixture *f = arg;
    f->described[lane]++;
}

static uint64_t random_bits(void *arg)
{
    struct fixture *f = arg;
    return f->bits = mix_u64(f->bits) | 1;
}

static struct outlet_options options_of(void)
{
    return (struct outlet_options){.device = "small-1",
                                   .software = "test",
                                   .lane_bytes = {RING_BYTES, RING_BYTES},
                                   .record_max = RECORD_MAX,
                                   .frame_bytes = 256,
                                   .window = {.max_frames = OUTLET_FRAMES,
                                              .first_frames = 2,
                                              .max_bytes = 16384,
                                              .min_rto_us = 200 * MS_US,
                                              .max_rto_us = MINUTE_US,
                                              .first_rto_us = SECOND_US}};
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const struct outlet_options options = options_of();
    const struct outlet_handlers handlers = {.send = send_frame, .describe = describe, .random = random_bits, .arg = f};
    *state = f;
    f->memory = malloc(outlet_bytes(&options)); /* to the byte: what is written beyond it is seen */
    return outlet_init(&f->outlet, &options, &handlers, f->memory) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->memory);
    free(f);
    return 0;
}

/* A record that says its number, as an event. */
static void put(struct fixture *f, uint64_t number)
{
    BUFFER(record, RECORD_MAX);
    const struct wire_event event = {.id = "n", .text = "0123456789", .channel = "", .value = (double)number};
    CHECK_OK(wire_event_encode(&event, &record));
    outlet_put(&f->outlet, LANE, buffer_slice(&record));
}

/* As a gateway takes them: every number once, an event with the number that it says, less what went in the epoch
 * before. */
static void take_entry(struct fixture *f, struct window_stream *s, const struct wire_entry *e, uint64_t from,
                       uint64_t shift)
{
    CHECK_OK(wire_record_check(e->body, e->first, e->last, NULL));
    if (e->last < from) {
        return;
    }
    CHECK_INT(max_u64(e->first, from), s->pending + 1);
    struct arena arena;
    Weir__V1__Record *record;
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    CHECK_OK(wire_record_unpack(e->body, &arena, &record));
    if (record->kind_case == WEIR__V1__RECORD__KIND_GAP) {
        f->gap_numbers += e->last - s->pending;
    } else {
        CHECK_INT((uint64_t)record->event->value, e->first + shift);
        f->seen++;
    }
    arena_deinit(&arena);
    s->pending = s->hwm = e->last;
}

static void answer(struct fixture *f, const struct window_header *h, enum window_verdict verdict, uint64_t hwm,
                   uint32_t owner, int64_t now_us)
{
    const struct wire_ack ack = {
        .epoch = h->epoch, .boot = h->boot, .lane = h->lane, .verdict = verdict, .hwm = hwm, .owner = owner};
    outlet_ack(&f->outlet, &ack, now_us);
}

static struct window_header header_of(const struct sent *s, struct wire_entry *entries, size_t max, size_t *ret_count)
{
    struct wire_frame frame;
    const char *why = "";
    if (wire_frame_decode(slice_of(s->bytes, s->len), false, &frame, entries, max, &why) != OK) {
        fail_msg("a frame that no gateway takes: %s", why);
    }
    *ret_count = frame.count;
    return frame.header;
}

/* The gateway reads what was sent; shift: what its numbers are behind those that were put. */
static void deliver(struct fixture *f, int64_t now_us, uint64_t shift)
{
    struct wire_entry entries[OUTLET_ENTRIES + 1];
    for (; f->read_count < f->sent_count; f->read_count++) {
        size_t count;
        if (f->lost_every > 0 && ++f->frames % f->lost_every == 0) {
            continue;
        }
        struct window_header h = header_of(&f->sent[f->read_count], entries, COUNT_OF(entries), &count);
        struct window_stream *s = &f->stream[h.lane];
        if (f->epoch[h.lane] != h.epoch) {
            *s = (struct window_stream){0};
            f->epoch[h.lane] = h.epoch;
        }
        uint64_t from = 0;
        f->entries += count;
        enum window_verdict verdict = window_receive(s, &h, &from);
        CHECK(verdict != WINDOW_REFUSED && verdict != WINDOW_FORGOTTEN);
        for (size_t i = 0; i < count && verdict == WINDOW_ACCEPT; i++) {
            take_entry(f, s, &entries[i], from, shift);
        }
        answer(f, &h, verdict, s->hwm, 0, now_us);
    }
    f->sent_count = f->read_count = 0;
}

static void run_until_drained(struct fixture *f, int64_t now_us, uint64_t shift)
{
    for (unsigned i = 0; i < 500 && !outlet_drained(&f->outlet); i++, now_us += 100 * MS_US) {
        outlet_run(&f->outlet, now_us, WALL_US);
        deliver(f, now_us, shift);
    }
    CHECK(outlet_drained(&f->outlet));
}

static void every_record_arrives_once_though_frames_are_lost(void **state)
{
    struct fixture *f = *state;
    uint64_t number = 0;
    outlet_link(&f->outlet, true, SECOND_US);
    f->lost_every = 3;
    for (int64_t now_us = SECOND_US; now_us < 30 * SECOND_US; now_us += 500 * MS_US) {
        put(f, ++number);
        outlet_run(&f->outlet, now_us, WALL_US);
        deliver(f, now_us, 0);
    }
    run_until_drained(f, 31 * SECOND_US, 0);
    CHECK_INT(f->seen + f->gap_numbers, number);
    CHECK_INT(f->gap_numbers, f->outlet.stats.dropped);
    CHECK_INT(f->gap_numbers, 0);
}

static void a_good_link_carries_every_record_once(void **state)
{
    struct fixture *f = *state;
    uint64_t number = 0;
    outlet_link(&f->outlet, true, SECOND_US);
    for (int64_t now_us = SECOND_US; number < 200; now_us += 30 * MS_US) {
        put(f, ++number);
        outlet_run(&f->outlet, now_us, WALL_US);
        if (number % 3 == 0) {
            deliver(f, now_us, 0);
        }
    }
    run_until_drained(f, 7 * SECOND_US, 0); /* before any timeout */
    CHECK_INT(f->seen, number);
    CHECK_INT(f->entries, number);
}

static void what_waits_while_the_link_is_down_goes_when_it_is_up(void **state)
{
    struct fixture *f = *state;
    for (uint64_t number = 1; number <= 10; number++) {
        put(f, number);
    }
    outlet_run(&f->outlet, SECOND_US, WALL_US);
    CHECK_INT(f->sent_count, 0);
    outlet_link(&f->outlet, true, 2 * SECOND_US);
    outlet_run(&f->outlet, 2 * SECOND_US, WALL_US);
    CHECK(f->sent_count > 0);
    outlet_link(&f->outlet, false, 2 * SECOND_US); /* the frames are gone with it */
    f->sent_count = 0;
    outlet_link(&f->outlet, true, 3 * SECOND_US);
    run_until_drained(f, 3 * SECOND_US, 0);
    CHECK_INT(f->seen, 10);
    CHECK_INT(f->outlet.lanes[LANE].tail, 0);
}

static void a_link_that_takes_nothing_now_gets_it_later(void **state)
{
    struct fixture *f = *state;
    f->refuses = true;
    outlet_link(&f->outlet, true, SECOND_US);
    put(f, 1);
    outlet_run(&f->outlet, SECOND_US, WALL_US);
    CHECK_INT(f->sent_count, 0);
    f->refuses = false;
    run_until_drained(f, 2 * SECOND_US, 0);
    CHECK_INT(f->seen, 1);
}

static void a_full_ring_lets_go_of_the_oldest_and_declares_them(void **state)
{
    struct fixture *f = *state;
    enum { RECORDS = 100 };
    for (uint64_t number = 1; number <= RECORDS; number++) {
        put(f, number);
    }
    uint64_t dropped = f->outlet.stats.dropped;
    CHECK(dropped > 0 && dropped < RECORDS);
    CHECK(f->described[LANE] > 0); /* it may have gone with them */
    outlet_link(&f->outlet, true, SECOND_US);
    run_until_drained(f, SECOND_US, 0);
    CHECK_INT(f->gap_numbers, dropped);
    CHECK_INT(f->seen, RECORDS - dropped);
}

/* Records that are under way go as well, and a part of them may have arrived. */
static void a_ring_that_overflows_while_frames_are_under_way_declares_no_number_twice(void **state)
{
    struct fixture *f = *state;
    uint64_t number = 0;
    outlet_link(&f->outlet, true, SECOND_US);
    for (int64_t now_us = SECOND_US; number < 300; now_us += 50 * MS_US) {
        put(f, ++number);
        outlet_run(&f->outlet, now_us, WALL_US);
        if (number % 37 == 0) {
            f->lost_every = 2;
            deliver(f, now_us, 0);
        }
    }
    f->lost_every = 0;
    run_until_drained(f, MINUTE_US, 0);
    CHECK(f->gap_numbers > 0);
    CHECK_INT(f->seen + f->gap_numbers, number);
    CHECK(f->gap_numbers <= f->outlet.stats.dropped);
}

/* Of this boot, so that what the receiver has is ours; the rest begins at 1 in an epoch that replaces the old one. */
static void a_closed_epoch_goes_on_as_another_with_what_is_left(void **state)
{
    struct fixture *f = *state;
    struct wire_entry entries[OUTLET_ENTRIES + 1];
    size_t count;
    for (uint64_t number = 1; number <= 8; number++) {
        put(f, number);
    }
    outlet_link(&f->outlet, true, SECOND_US);
    outlet_run(&f->outlet, SECOND_US, WALL_US);
    struct window_header h = header_of(&f->sent[0], entries, COUNT_OF(entries), &count);
    answer(f, &h, WINDOW_ROLLED_BACK, 3, h.boot, SECOND_US);
    CHECK_INT(f->outlet.stats.epochs, 1);
    CHECK(f->outlet.lanes[LANE].epoch != h.epoch);
    CHECK(f->described[LANE] > 0);
    f->sent_count = 0;
    outlet_run(&f->outlet, 2 * SECOND_US, WALL_US);
    CHECK(f->sent_count > 0);
    struct window_header next = header_of(&f->sent[0], entries, COUNT_OF(entries), &count);
    CHECK_INT(next.first, 1);
    CHECK(next.has_hello && next.replaces == h.epoch);
    run_until_drained(f, 3 * SECOND_US, 3);
    CHECK_INT(f->seen, 5);
}

/* What was let go is declared there as well. */
static void a_closed_epoch_takes_what_was_not_declared_along(void **state)
{
    struct fixture *f = *state;
    struct wire_entry entries[OUTLET_ENTRIES + 1];
    size_t count;
    for (uint64_t number = 1; number <= 100; number++) {
        put(f, number);
    }
    uint64_t dropped = f->outlet.stats.dropped;
    outlet_link(&f->outlet, true, SECOND_US);
    outlet_run(&f->outlet, SECOND_US, WALL_US);
    struct window_header h = header_of(&f->sent[0], entries, COUNT_OF(entries), &count);
    answer(f, &h, WINDOW_ROLLED_BACK, 20, h.boot, SECOND_US);
    f->sent_count = 0;
    run_until_drained(f, 2 * SECOND_US, 20);
    CHECK_INT(f->gap_numbers, dropped - 20);
    CHECK_INT(f->seen, 100 - dropped);
}

static void answers_for_others_change_nothing(void **state)
{
    struct fixture *f = *state;
    put(f, 1);
    const struct wire_ack acks[] = {
        {.epoch = f->outlet.lanes[LANE].epoch + 1, .boot = f->outlet.boot, .lane = LANE, .hwm = 1},
        {.epoch = f->outlet.lanes[LANE].epoch, .boot = f->outlet.boot + 1, .lane = LANE, .hwm = 1},
        {.epoch = f->outlet.lanes[LANE].epoch, .boot = f->outlet.boot, .lane = 9, .hwm = 1}};
    for (size_t i = 0; i < COUNT_OF(acks); i++) {
        outlet_ack(&f->outlet, &acks[i], SECOND_US);
    }
    CHECK_INT(f->outlet.stats.strays, COUNT_OF(acks));
    CHECK(!outlet_drained(&f->outlet));
}

static void rings_that_hold_no_two_records_are_refused(void **state)
{
    struct fixture *f = *state;
    struct outlet_options options = options_of();
    struct outlet_handlers handlers = f->outlet.handlers;
    struct outlet other;
    options.lane_bytes[0] = 2 * RECORD_MAX;
    CHECK_ERR(outlet_init(&other, &options, &handlers, f->memory), ERR_RANGE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_record_arrives_once_though_frames_are_lost),
        TEST(a_good_link_carries_every_record_once),
        TEST(what_waits_while_the_link_is_down_goes_when_it_is_up),
        TEST(a_link_that_takes_nothing_now_gets_it_later),
        TEST(a_full_ring_lets_go_of_the_oldest_and_declares_them),
        TEST(a_ring_that_overflows_while_frames_are_under_way_declares_no_number_twice),
        TEST(a_closed_epoch_goes_on_as_another_with_what_is_left),
        TEST(a_closed_epoch_takes_what_was_not_declared_along),
        TEST(answers_for_others_change_nothing),
        TEST(rings_that_hold_no_two_records_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
