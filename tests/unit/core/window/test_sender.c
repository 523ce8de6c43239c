/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the sender's table in window.h is the sender's behaviour: what goes out when, what an answer moves, and that no
 * answer, however late or absurd, makes it skip a number or stand still for ever.
 */
#include "core/window/window.h"
#include "tests/support/check.h"

static const struct window_sender_options OPTIONS = {.max_frames = 4,
                                                     .max_bytes = 1000,
                                                     .min_rto_us = 10 * MS_US,
                                                     .max_rto_us = 10 * SECOND_US,
                                                     .first_rto_us = SECOND_US};

static struct window_flight flight[4];

/* Ten entries a frame, 100 bytes. Returns the number of frames sent. */
static unsigned pump(struct window_sender *s, int64_t now_us)
{
    unsigned frames = 0;
    for (uint64_t from; window_sender_may_send(s, now_us, &from); frames++) {
        window_sender_sent(s, from < s->base ? from : min_u64(from + 9, window_sender_limit(s)), 100, now_us);
    }
    return frames;
}

/* Connected, 1..100 durable, first frame answered: the window is open. */
static struct window_sender open_sender(void)
{
    struct window_sender s;
    window_sender_init(&s, &OPTIONS, flight, 0, 100);
    window_sender_connected(&s);
    CHECK_INT(pump(&s, 1000), 1);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 10, 2000));
    return s;
}

static void nothing_goes_out_before_the_connection_and_nothing_that_is_not_durable(void **state)
{
    (void)state;
    struct window_sender s;
    uint64_t from;
    window_sender_init(&s, &OPTIONS, flight, 5, 5);
    CHECK(!window_sender_may_send(&s, 1, &from));
    window_sender_connected(&s);
    CHECK(window_sender_may_send(&s, 1, &from));
    CHECK_INT(from, 5); /* only to say hello: does the receiver still know us? */
    window_sender_durable(&s, 7);
    CHECK(window_sender_may_send(&s, 1, &from));
    CHECK_INT(from, 6);
    window_sender_disconnected(&s);
    CHECK(!window_sender_may_send(&s, 1, &from));
    CHECK_INT(window_sender_deadline(&s), 0);
}

static void after_connecting_one_frame_probes_and_then_the_window_opens(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    CHECK_INT(pump(&s, 3000), 4);
    CHECK_INT(s.state, WINDOW_WAIT);
    CHECK_INT(s.next, 51);
    CHECK(!window_sender_answer(&s, WINDOW_DUPLICATE, 10, 4000));
    CHECK_INT(pump(&s, 4000), 0);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 30, 5000));
    CHECK_INT(pump(&s, 5000), 2);
    CHECK_INT(s.stats.repeated_frames, 0);
}

/* As pump, and the frames that may not wait, as bits from the first. */
static unsigned asks(struct window_sender *s, uint64_t bytes, unsigned *ret_frames)
{
    unsigned bits = 0;
    *ret_frames = 0;
    for (uint64_t from; window_sender_may_send(s, 3000, &from); ++*ret_frames) {
        struct window_header h = {.epoch = 9};
        uint64_t last = min_u64(from + 9, window_sender_limit(s));
        window_sender_header(s, from, last, &h);
        bits |= h.may_wait ? 0 : 1U << *ret_frames;
        window_sender_sent(s, last, bytes, 3000);
    }
    return bits;
}

static struct window_sender wide_sender(struct window_flight ring[16], unsigned first_frames, uint64_t max_bytes)
{
    struct window_sender s;
    struct window_sender_options options = OPTIONS;
    options.max_frames = 16;
    options.first_frames = first_frames;
    options.max_bytes = max_bytes;
    window_sender_init(&s, &options, ring, 0, 100000);
    window_sender_connected(&s);
    return s;
}

static void an_answer_is_asked_for_every_half_window_and_by_the_last_frame(void **state)
{
    (void)state;
    struct window_flight ring[16];
    struct window_sender s = wide_sender(ring, 0, 1000000);
    unsigned frames;
    CHECK_INT(asks(&s, 10, &frames), 1); /* the probe */
    CHECK_INT(frames, 1);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 10, 3000));
    CHECK_INT(asks(&s, 10, &frames), 1 << 7 | 1 << 15);
    CHECK_INT(frames, 16);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 130, 3000)); /* not asked for */
    CHECK_INT(asks(&s, 10, &frames), 1 << 7);
    CHECK_INT(frames, 12);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 250, 3000));
    CHECK_INT(asks(&s, 10, &frames), 1 << 3 | 1 << 11); /* four of the eight went before */
    CHECK_INT(frames, 12);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 410, 3000));
    s.top = 451;
    CHECK_INT(asks(&s, 10, &frames), 1 << 4); /* nothing follows it */
    CHECK_INT(frames, 5);
}

static void an_answer_is_asked_for_before_the_bytes_run_out(void **state)
{
    (void)state;
    struct window_flight ring[16];
    struct window_sender s = wide_sender(ring, 0, 1000);
    unsigned frames;
    CHECK_INT(asks(&s, 10, &frames), 1);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 10, 3000));
    CHECK_INT(asks(&s, 100, &frames), 1 << 3 | 1 << 7); /* the fourth has 300 bytes before it, of 1,000 */
    CHECK_INT(frames, 10);
}

static void the_window_widens_with_answers_and_shrinks_with_losses(void **state)
{
    (void)state;
    struct window_flight ring[16];
    struct window_sender s = wide_sender(ring, 4, 1000000);
    CHECK_INT(s.frames, 4);
    CHECK_INT(pump(&s, 1000), 1);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 10, 1000));
    CHECK_INT(s.frames, 4); /* a probe shows nothing */
    CHECK_INT(pump(&s, 2000), 4);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 50, 2000));
    CHECK_INT(s.frames, 8);
    CHECK_INT(pump(&s, 3000), 8);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 130, 3000));
    CHECK_INT(s.frames, 16);
    CHECK_INT(pump(&s, 4000), 16);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 290, 4000));
    CHECK_INT(s.frames, 16);
    CHECK_INT(pump(&s, 5000), 16);
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, 290, 5000));
    CHECK_INT(s.frames, 8);
    CHECK_INT(pump(&s, 5000), 8);
    window_sender_tick(&s, window_sender_deadline(&s));
    CHECK_INT(s.frames, 4);
}

static void a_sender_that_has_no_use_for_a_wide_window_gets_none(void **state)
{
    (void)state;
    struct window_flight ring[16];
    struct window_sender s = wide_sender(ring, 4, 1000000);
    for (uint64_t hwm = 10; hwm < 800; hwm += 10) { /* one at a time */
        uint64_t from;
        CHECK(window_sender_may_send(&s, SECOND_US, &from));
        window_sender_sent(&s, hwm, 1, SECOND_US);
        CHECK(window_sender_answer(&s, WINDOW_ACCEPT, hwm, SECOND_US));
    }
    CHECK_INT(s.frames, 4);
    CHECK_INT(pump(&s, SECOND_US), 4);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 830, SECOND_US));
    CHECK_INT(s.frames, 8);
    window_sender_disconnected(&s);
    window_sender_connected(&s);
    CHECK_INT(s.frames, 4);
}

static void bytes_close_the_window_but_one_frame_always_goes(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    uint64_t from;
    CHECK(window_sender_may_send(&s, 3000, &from));
    window_sender_sent(&s, 20, 5000, 3000); /* larger than the whole window */
    CHECK(!window_sender_may_send(&s, 3000, &from));
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 20, 4000));
    CHECK_INT(s.flight_bytes, 0);
    CHECK(window_sender_may_send(&s, 4000, &from));
}

static void a_first_frame_that_is_known_moves_on_to_what_is_not(void **state)
{
    (void)state;
    struct window_sender s;
    uint64_t from;
    window_sender_init(&s, &OPTIONS, flight, 20, 100); /* trimmed to 20; the receiver has 60 */
    window_sender_connected(&s);
    CHECK_INT(pump(&s, 1000), 1);
    CHECK(window_sender_answer(&s, WINDOW_DUPLICATE, 60, 2000));
    CHECK(window_sender_may_send(&s, 2000, &from));
    CHECK_INT(from, 61);
    CHECK(s.hello_acked);
}

static void an_answer_inside_a_frame_moves_base_and_keeps_the_frame(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    CHECK_INT(pump(&s, 3000), 4);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 15, 4000));
    CHECK_INT(s.base, 16);
    CHECK_INT(s.flight_count, 4);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 50, 4000));
    CHECK_INT(s.flight_count, 0);
    CHECK_INT(window_sender_deadline(&s), 0);
}

static void old_and_absurd_answers_change_nothing(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    CHECK_INT(pump(&s, 3000), 4);
    CHECK(!window_sender_answer(&s, WINDOW_ACCEPT, 3, 4000));
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, 3, 4000));
    CHECK(!window_sender_answer(&s, WINDOW_ACCEPT, 101, 4000));
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, UINT64_MAX, 4000));
    CHECK(!window_sender_answer(&s, WINDOW_FULL, 5000, 4000));
    CHECK_INT(s.base, 11);
    CHECK_INT(s.next, 51);
    CHECK_INT(s.flight_count, 4);
    CHECK_INT(s.stats.absurd_acks, 3);
    CHECK_INT(s.paused_until_us, 0);
}

static void a_hole_rewinds_once_per_recovery(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    uint64_t from;
    CHECK_INT(pump(&s, 3000), 4); /* 11..50; 21..30 is lost */
    CHECK(window_sender_answer(&s, WINDOW_HOLE, 20, 4000));
    CHECK(window_sender_may_send(&s, 4000, &from));
    CHECK_INT(from, 21);
    CHECK_INT(pump(&s, 4000), 4);
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, 20, 4100)); /* of the frame behind */
    CHECK_INT(s.next, 61);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 40, 5000));
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, 20, 5100)); /* late */
    CHECK_INT(s.next, 61);
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, 40, 5200)); /* another one */
    CHECK_INT(s.next, 41);
}

static void a_timeout_rewinds_probes_and_doubles_up_to_its_bound(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    CHECK_INT(pump(&s, 3000), 4);
    int64_t now_us = 3000, last_rto_us = 0;
    for (int i = 0; i < 12; i++) {
        int64_t due_us = window_sender_deadline(&s);
        CHECK(due_us > now_us);
        window_sender_tick(&s, due_us - 1);
        CHECK_INT(s.stats.timeouts, i);
        now_us = due_us;
        window_sender_tick(&s, now_us);
        CHECK_INT(s.next, 11);
        CHECK(s.rto_us == OPTIONS.max_rto_us || s.rto_us >= 2 * last_rto_us);
        last_rto_us = s.rto_us;
        CHECK_INT(pump(&s, now_us), 1);
    }
    CHECK_INT(s.rto_us, OPTIONS.max_rto_us);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 20, now_us + 5));
    CHECK_INT(s.rto_us, OPTIONS.max_rto_us); /* Karn: a repeated frame says nothing about the way */
    CHECK_INT(pump(&s, now_us + 5), 4);
}

static void the_timeout_follows_the_round_trip(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    CHECK(s.srtt_us == 1000 && s.rttvar_us == 500);
    CHECK_INT(s.rto_us, OPTIONS.min_rto_us);
    int64_t now_us = SECOND_US;
    window_sender_durable(&s, 100000);
    for (uint64_t hwm = 20; hwm <= 2000; hwm += 10) {
        uint64_t from;
        CHECK(window_sender_may_send(&s, now_us, &from));
        window_sender_sent(&s, hwm, 1, now_us);
        now_us += 40 * MS_US;
        CHECK(window_sender_answer(&s, WINDOW_ACCEPT, hwm, now_us));
    }
    CHECK(s.srtt_us > 39 * MS_US && s.srtt_us <= 40 * MS_US);
    CHECK(s.rto_us >= 40 * MS_US && s.rto_us < 45 * MS_US);
}

static void a_receiver_that_asks_for_a_hello_gets_it_once_per_recovery(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    struct window_header h = {.epoch = 9, .replaces = 4};
    CHECK_INT(pump(&s, 3000), 4);
    window_sender_header(&s, 11, 20, &h);
    CHECK(!h.has_hello && h.base == 11 && h.top == 100 && h.replaces == 4);
    CHECK(!window_sender_answer(&s, WINDOW_NEED_HELLO, 0, 4000));
    CHECK_INT(s.next, 11);
    window_sender_header(&s, 11, 20, &h);
    CHECK(h.has_hello);
    CHECK_INT(pump(&s, 4000), 4);
    CHECK(!window_sender_answer(&s, WINDOW_NEED_HELLO, 0, 4100));
    CHECK_INT(s.next, 51);
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, 0, 4200)); /* a receiver with a new store: old number, known hello */
    window_sender_header(&s, 11, 20, &h);
    CHECK(!h.has_hello);
}

static void a_need_for_hello_interrupts_another_recovery(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    CHECK_INT(pump(&s, 3000), 4);
    CHECK(!window_sender_answer(&s, WINDOW_HOLE, 10, 4000));
    CHECK_INT(pump(&s, 4000), 4);
    CHECK(!window_sender_answer(&s, WINDOW_NEED_HELLO, 0, 4100));
    CHECK_INT(s.next, 11);
}

static void a_stale_sender_claims_its_epoch(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    struct window_header h = {.epoch = 9};
    CHECK_INT(pump(&s, 3000), 4);
    CHECK(!window_sender_answer(&s, WINDOW_STALE, 100, 4000));
    window_sender_header(&s, 11, 20, &h);
    CHECK(h.has_hello && h.replaces == 9);
    CHECK_INT(s.next, 11);
}

static void an_answer_to_a_boot_that_is_not_known_acknowledges_nothing(void **state)
{
    (void)state;
    const enum window_verdict verdicts[] = {WINDOW_NEED_HELLO, WINDOW_STALE, WINDOW_ROLLED_BACK, WINDOW_REFUSED};
    for (size_t i = 0; i < COUNT_OF(verdicts); i++) {
        struct window_sender s = open_sender();
        CHECK_INT(pump(&s, 3000), 4);
        CHECK(!window_sender_answer(&s, verdicts[i], 40, 4000));
        CHECK_INT(s.base, 11);
        CHECK(!window_sender_answer(&s, verdicts[i], 4000, 5000));
        CHECK_INT(s.stats.absurd_acks, 0);
    }
}

static void a_full_receiver_is_asked_again_later_and_less_and_less_often(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    uint64_t from;
    CHECK_INT(pump(&s, 3000), 4);
    CHECK(window_sender_answer(&s, WINDOW_FULL, 20, 4000));
    int64_t first_us = window_sender_deadline(&s);
    CHECK(first_us > 4000);
    CHECK_INT(s.state, WINDOW_WAIT);
    CHECK(!window_sender_answer(&s, WINDOW_FULL, 20, 4100)); /* the other frames of the same window */
    CHECK_INT(window_sender_deadline(&s), first_us);
    CHECK(!window_sender_may_send(&s, first_us - 1, &from));
    window_sender_tick(&s, first_us);
    CHECK_INT(pump(&s, first_us), 1);
    CHECK_INT(s.next, 31);
    CHECK(!window_sender_answer(&s, WINDOW_FULL, 20, first_us + 1));
    CHECK(window_sender_deadline(&s) - first_us > first_us - 4000);
    window_sender_tick(&s, window_sender_deadline(&s));
    CHECK_INT(pump(&s, first_us * 10), 1);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 30, first_us * 10 + 1));
    CHECK_INT(pump(&s, first_us * 10 + 1), 4);
}

static void a_rolled_back_sender_says_nothing_more(void **state)
{
    (void)state;
    struct window_sender s = open_sender();
    uint64_t from;
    CHECK_INT(pump(&s, 3000), 4);
    CHECK(!window_sender_answer(&s, WINDOW_ROLLED_BACK, UINT64_MAX, 4000));
    CHECK_INT(s.state, WINDOW_STALE_EPOCH);
    CHECK_INT(window_sender_deadline(&s), 0);
    CHECK(!window_sender_answer(&s, WINDOW_ACCEPT, 50, 5000));
    window_sender_connected(&s);
    window_sender_disconnected(&s);
    window_sender_tick(&s, 6000);
    CHECK(!window_sender_may_send(&s, 7000, &from));
    CHECK_INT(s.state, WINDOW_STALE_EPOCH);
    CHECK_INT(s.base, 11);
}

static void what_is_above_the_hold_waits_for_the_release(void **state)
{
    (void)state;
    struct window_sender s;
    uint64_t from;
    window_sender_init(&s, &OPTIONS, flight, 0, 25);
    window_sender_hold(&s, 15);
    window_sender_connected(&s);
    CHECK_INT(pump(&s, 1000), 1);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 10, 2000));
    CHECK_INT(pump(&s, 2000), 1);
    CHECK_INT(s.next, 16);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 15, 3000));
    CHECK(!window_sender_may_send(&s, 3000, &from)); /* answered, but the owner has not made that durable */
    window_sender_release(&s);
    CHECK(window_sender_may_send(&s, 3000, &from));
    CHECK_INT(from, 16);
}

static void a_hello_is_carried_by_a_number_that_is_known_when_nothing_else_may_go(void **state)
{
    (void)state;
    struct window_sender s;
    struct window_header h = {.epoch = 9};
    uint64_t from;
    window_sender_init(&s, &OPTIONS, flight, 15, 15); /* all delivered and trimmed */
    window_sender_hold(&s, 15);
    window_sender_connected(&s);
    CHECK(window_sender_may_send(&s, 1000, &from)); /* also when nothing waits: an idle stream is missed so */
    CHECK_INT(from, 15);
    window_sender_durable(&s, 20);
    CHECK(window_sender_may_send(&s, 1000, &from));
    CHECK_INT(from, 15);
    window_sender_header(&s, from, from, &h);
    CHECK(h.has_hello && h.base == 15 && h.first == 15 && h.last == 15 && h.top == 20);
    window_sender_sent(&s, from, 10, 1000);
    CHECK(!window_sender_may_send(&s, 1001, &from));
    CHECK(window_sender_deadline(&s) > 1000);
    window_sender_tick(&s, window_sender_deadline(&s));
    CHECK(window_sender_may_send(&s, 2 * SECOND_US, &from)); /* lost: again */
    window_sender_sent(&s, from, 10, 2 * SECOND_US);
    CHECK(!window_sender_answer(&s, WINDOW_DUPLICATE, 15, 3 * SECOND_US));
    CHECK_INT(window_sender_deadline(&s), 0);
    CHECK(!window_sender_may_send(&s, 3 * SECOND_US, &from));
    window_sender_release(&s);
    CHECK(window_sender_may_send(&s, 3 * SECOND_US, &from));
    CHECK_INT(from, 16);
}

static void a_drained_sender_that_greets_is_quiet_again_once_it_is_answered(void **state)
{
    (void)state;
    struct window_sender s;
    uint64_t from;
    window_sender_init(&s, &OPTIONS, flight, 15, 15);
    window_sender_connected(&s);
    CHECK(window_sender_may_send(&s, 1000, &from));
    window_sender_sent(&s, from, 10, 1000);
    CHECK(!window_sender_answer(&s, WINDOW_DUPLICATE, 15, 2000));
    CHECK(!window_sender_may_send(&s, 2000, &from));
    CHECK_INT(window_sender_deadline(&s), 0);
    window_sender_greet(&s);
    CHECK(window_sender_may_send(&s, 3000, &from));
    CHECK_INT(from, 15);
    window_sender_disconnected(&s);
    window_sender_greet(&s);
    CHECK(!window_sender_may_send(&s, 4000, &from));
}

/* Every sequence of six answers out of this alphabet: no number is skipped and the sender can always go on. */
static void no_sequence_of_answers_skips_a_number_or_stops_the_sender(void **state)
{
    (void)state;
    enum { LETTERS = 8, LENGTH = 6 };
    unsigned total = 1;
    for (int i = 0; i < LENGTH; i++) {
        total *= LETTERS;
    }
    for (unsigned code = 0; code < total; code++) {
        struct window_sender s = open_sender();
        int64_t now_us = 3000;
        uint64_t hwm = 10; /* what the receiver has */
        unsigned rest = code;
        for (int i = 0; i < LENGTH; i++, rest /= LETTERS) {
            (void)pump(&s, now_us);
            now_us += 500;
            switch (rest % LETTERS) {
            case 0: hwm = min_u64(hwm + 7, s.high); (void)window_sender_answer(&s, WINDOW_ACCEPT, hwm, now_us); break;
            case 1: (void)window_sender_answer(&s, WINDOW_HOLE, hwm, now_us); break;
            case 2: (void)window_sender_answer(&s, WINDOW_ACCEPT, 2, now_us); break;
            case 3: (void)window_sender_answer(&s, WINDOW_NEED_HELLO, hwm, now_us); break;
            case 4: (void)window_sender_answer(&s, WINDOW_FULL, hwm, now_us); break;
            case 5: window_sender_connected(&s); break;
            case 6: (void)window_sender_answer(&s, WINDOW_DUPLICATE, 99999, now_us); break;
            case 7: now_us = max_i64(now_us, window_sender_deadline(&s)); window_sender_tick(&s, now_us); break;
            }
            CHECK(s.base == hwm + 1 || s.base <= hwm);
            CHECK(s.next >= s.base && s.next <= s.top + 1);
        }
        (void)pump(&s, now_us);
        int64_t due_us = window_sender_deadline(&s);
        CHECK(due_us != 0 || s.base > s.top); /* something will happen, whatever was lost */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_goes_out_before_the_connection_and_nothing_that_is_not_durable),
        cmocka_unit_test(after_connecting_one_frame_probes_and_then_the_window_opens),
        cmocka_unit_test(an_answer_is_asked_for_every_half_window_and_by_the_last_frame),
        cmocka_unit_test(an_answer_is_asked_for_before_the_bytes_run_out),
        cmocka_unit_test(the_window_widens_with_answers_and_shrinks_with_losses),
        cmocka_unit_test(a_sender_that_has_no_use_for_a_wide_window_gets_none),
        cmocka_unit_test(bytes_close_the_window_but_one_frame_always_goes),
        cmocka_unit_test(a_first_frame_that_is_known_moves_on_to_what_is_not),
        cmocka_unit_test(an_answer_inside_a_frame_moves_base_and_keeps_the_frame),
        cmocka_unit_test(old_and_absurd_answers_change_nothing),
        cmocka_unit_test(a_hole_rewinds_once_per_recovery),
        cmocka_unit_test(a_timeout_rewinds_probes_and_doubles_up_to_its_bound),
        cmocka_unit_test(the_timeout_follows_the_round_trip),
        cmocka_unit_test(a_receiver_that_asks_for_a_hello_gets_it_once_per_recovery),
        cmocka_unit_test(a_need_for_hello_interrupts_another_recovery),
        cmocka_unit_test(a_stale_sender_claims_its_epoch),
        cmocka_unit_test(an_answer_to_a_boot_that_is_not_known_acknowledges_nothing),
        cmocka_unit_test(a_full_receiver_is_asked_again_later_and_less_and_less_often),
        cmocka_unit_test(a_rolled_back_sender_says_nothing_more),
        cmocka_unit_test(what_is_above_the_hold_waits_for_the_release),
        cmocka_unit_test(a_hello_is_carried_by_a_number_that_is_known_when_nothing_else_may_go),
        cmocka_unit_test(a_drained_sender_that_greets_is_quiet_again_once_it_is_answered),
        cmocka_unit_test(no_sequence_of_answers_skips_a_number_or_stops_the_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
