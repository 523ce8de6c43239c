/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the receiver's table in window.h is the receiver's behaviour, row by row; and the persistent form of a stream
 * survives and refuses what it must.
 */
#include "core/window/window.h"
#include "tests/support/check.h"

enum { LANE = 1, KNOWN = 0xb007, OTHER = 0xc0de };

/* Durable to 10, accepted to 15; boot KNOWN is the sender's third start. */
static struct window_stream stream_at_15(void)
{
    return (struct window_stream){.hwm = 10, .pending = 15, .top = 40, .boot = KNOWN, .boot_seq = 3, .lane = LANE};
}

static struct window_header frame(uint64_t base, uint64_t first, uint64_t last)
{
    return (struct window_header){
        .epoch = 77, .first = first, .last = last, .base = base, .top = 50, .boot = KNOWN, .lane = LANE};
}

static struct window_header hello(uint32_t boot, uint64_t boot_seq, uint64_t boot_top)
{
    struct window_header h = frame(11, 16, 20);
    h.has_hello = true;
    h.boot = boot;
    h.boot_seq = boot_seq;
    h.boot_top = boot_top;
    return h;
}

struct row {
    const char *name;
    struct window_header header;
    enum window_verdict verdict;
    uint64_t from; /* 0: not given */
    bool closes;
    bool adopts;
};

static void run_row(const struct row *row)
{
    struct window_stream s = stream_at_15(), before = s;
    uint64_t from = 0;
    enum window_verdict verdict = window_receive(&s, &row->header, &from);
    if (verdict != row->verdict || from != row->from || s.closed != row->closes ||
        s.boot != (row->adopts ? row->header.boot : before.boot) ||
        s.boot_seq != (row->adopts ? row->header.boot_seq : before.boot_seq) || s.pending != before.pending ||
        s.hwm != before.hwm) {
        fprintf(stderr, "row \"%s\": %s from %llu, closed %d, boot %x; expected %s from %llu\n", row->name,
                window_verdict_name(verdict), (unsigned long long)from, s.closed, s.boot,
                window_verdict_name(row->verdict), (unsigned long long)row->from);
        fail();
    }
}

static void numbers_are_judged_by_the_table(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"joins on", frame(11, 16, 20), WINDOW_ACCEPT, 16, false, false},
        {"overlaps", frame(11, 12, 20), WINDOW_ACCEPT, 16, false, false},
        {"one number beyond", frame(1, 1, 16), WINDOW_ACCEPT, 16, false, false},
        {"all known, not durable", frame(11, 11, 15), WINDOW_DUPLICATE, 0, false, false},
        {"all known, durable", frame(1, 1, 10), WINDOW_DUPLICATE, 0, false, false},
        {"one missing", frame(11, 17, 20), WINDOW_HOLE, 0, false, false},
        {"one missing, base just joins", frame(16, 17, 20), WINDOW_HOLE, 0, false, false},
        {"base beyond, frame begins at base", frame(18, 18, 20), WINDOW_FORGOTTEN, 18, false, false},
        {"base beyond by one number", frame(17, 17, 17), WINDOW_FORGOTTEN, 17, false, false},
        {"base beyond, but base itself still to come", frame(18, 19, 20), WINDOW_HOLE, 0, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        run_row(&rows[i]);
    }
}

static void headers_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    struct window_header good = hello(KNOWN, 3, 9), bad[12];
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        bad[i] = good;
    }
    bad[0].first = 0, bad[0].base = 0;
    bad[1].last = bad[1].first - 1;
    bad[2].base = 0;
    bad[3].base = bad[3].first + 1;
    bad[4].top = bad[4].last - 1; /* a number that is not durable at its sender */
    bad[5].epoch = 0;
    bad[6].boot = 0;
    bad[7].boot_top = bad[7].top + 1;
    bad[8].lane = 0;
    bad[9].last = bad[9].top = UINT64_MAX;
    bad[10].last = bad[10].top = WINDOW_NUMBER_MAX + 1;
    bad[11].first = UINT64_MAX, bad[11].last = 3;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char name[32];
        snprintf(name, sizeof(name), "bad header %zu", i);
        run_row(&(struct row){name, bad[i], WINDOW_REFUSED, 0, false, false});
    }
    run_row(&(struct row){"the good one", good, WINDOW_ACCEPT, 16, false, false});
    good.last = good.top = WINDOW_NUMBER_MAX;
    run_row(&(struct row){"the highest number", good, WINDOW_ACCEPT, 16, false, false});
}

static void boots_are_judged_by_the_table(void **state)
{
    (void)state;
    struct window_header silent = frame(11, 16, 20), claim = hello(OTHER, 2, 50), own_claim = hello(KNOWN, 3, 50),
                         newer_claim = hello(OTHER, 9, 50), other_replaced = hello(OTHER, 4, 50);
    silent.boot = OTHER;
    claim.replaces = own_claim.replaces = newer_claim.replaces = claim.epoch;
    other_replaced.replaces = claim.epoch + 1;
    const struct row rows[] = {
        {"known boot says hello again", hello(KNOWN, 3, 0), WINDOW_ACCEPT, 16, false, false},
        {"new boot without hello", silent, WINDOW_NEED_HELLO, 0, false, false},
        {"next boot", hello(OTHER, 4, 50), WINDOW_ACCEPT, 16, false, true},
        {"next boot, starts not heard between", hello(OTHER, 9, 50), WINDOW_ACCEPT, 16, false, true},
        {"next boot began at what is pending", hello(OTHER, 4, 15), WINDOW_ACCEPT, 16, false, true},
        {"next boot began below what is pending", hello(OTHER, 4, 14), WINDOW_ROLLED_BACK, 0, true, false},
        {"next boot began below what is durable", hello(OTHER, 4, 9), WINDOW_ROLLED_BACK, 0, true, false},
        {"same start under another boot", hello(OTHER, 3, 50), WINDOW_ROLLED_BACK, 0, true, false},
        {"earlier start", hello(OTHER, 2, 50), WINDOW_STALE, 0, false, false},
        {"earlier start that began below", hello(OTHER, 2, 3), WINDOW_STALE, 0, false, false},
        {"same random boot, earlier start", hello(KNOWN, 2, 50), WINDOW_STALE, 0, false, false},
        {"earlier start claims", claim, WINDOW_ROLLED_BACK, 0, true, false},
        {"known start claims", own_claim, WINDOW_ROLLED_BACK, 0, true, false},
        {"later start claims", newer_claim, WINDOW_ROLLED_BACK, 0, true, false},
        {"takes over from another epoch", other_replaced, WINDOW_ACCEPT, 16, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        run_row(&rows[i]);
    }
}

static void a_closed_stream_stays_closed_whoever_asks(void **state)
{
    (void)state;
    struct window_header asks[] = {frame(11, 16, 20), hello(KNOWN, 3, 50), hello(OTHER, 4, 50), hello(OTHER, 2, 50)};
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        struct window_stream s = stream_at_15();
        uint64_t from = 0;
        s.closed = true;
        CHECK_INT(window_receive(&s, &asks[i], &from), WINDOW_ROLLED_BACK);
        CHECK(s.closed && s.boot == KNOWN && from == 0);
    }
}

static void a_new_stream_needs_a_hello_and_then_takes_any_start(void **state)
{
    (void)state;
    struct window_stream s = {0};
    struct window_header h = frame(1, 1, 5);
    uint64_t from = 0;
    CHECK_INT(window_receive(&s, &h, &from), WINDOW_NEED_HELLO);
    h.has_hello = true;
    CHECK_INT(window_receive(&s, &h, &from), WINDOW_ACCEPT);
    CHECK_INT(from, 1);
    CHECK_INT(s.lane, LANE);
    CHECK_INT(s.top, 50);
}

static void a_receiver_that_lost_its_store_declares_what_was_acknowledged(void **state)
{
    (void)state;
    struct window_stream s = {0};
    struct window_header h = frame(61, 71, 80);
    uint64_t from = 0;
    h.has_hello = true;
    h.top = h.boot_top = 90;
    CHECK_INT(window_receive(&s, &h, &from), WINDOW_HOLE); /* 61..70 are on their way: no gap may swallow them */
    h.first = 61;
    CHECK_INT(window_receive(&s, &h, &from), WINDOW_FORGOTTEN);
    CHECK_INT(from, 61);
}

static void a_duplicate_as_first_frame_makes_the_boot_known(void **state)
{
    (void)state;
    struct window_stream s = stream_at_15();
    struct window_header h = hello(OTHER, 4, 50);
    uint64_t from = 0;
    h.base = h.first = 3;
    h.last = 8;
    CHECK_INT(window_receive(&s, &h, &from), WINDOW_DUPLICATE);
    CHECK_INT(s.boot, OTHER);
    h = frame(11, 16, 20);
    h.boot = OTHER;
    CHECK_INT(window_receive(&s, &h, &from), WINDOW_ACCEPT);
}

static void every_small_header_keeps_the_promises(void **state)
{
    (void)state;
    /* All numbers 0..6 in every place: acceptance always joins on, gaps never cover what the sender still has. */
    unsigned accepted = 0, forgotten = 0;
    for (unsigned code = 0; code < 7 * 7 * 7 * 7 * 7; code++) {
        struct window_stream s = {
            .hwm = 0, .pending = code % 7, .top = 6, .boot = KNOWN, .boot_seq = 1, .lane = LANE};
        struct window_header h = frame(code / 7 % 7, code / 49 % 7, code / 343 % 7);
        h.top = code / 2401 % 7;
        uint64_t from = 0;
        enum window_verdict verdict = window_receive(&s, &h, &from);
        bool sound = h.base >= 1 && h.base <= h.first && h.first <= h.last && h.last <= h.top;
        CHECK((verdict == WINDOW_REFUSED) == !sound);
        if (verdict == WINDOW_ACCEPT) {
            CHECK(from == s.pending + 1 && from >= h.first && from <= h.last);
            accepted++;
        } else if (verdict == WINDOW_FORGOTTEN) {
            CHECK(from == h.base && from == h.first && from > s.pending + 1);
            forgotten++;
        } else if (verdict == WINDOW_HOLE) {
            CHECK(h.first > s.pending + 1 && h.base < h.first);
        } else if (sound) {
            CHECK(verdict == WINDOW_DUPLICATE && h.last <= s.pending);
        }
    }
    CHECK(accepted > 50 && forgotten > 50);
}

static void a_stream_survives_its_persistent_form(void **state)
{
    (void)state;
    struct window_stream s = stream_at_15(), back;
    s.gaps = 4;
    s.suppressed = 5;
    s.closed = true;
    uint8_t out[WINDOW_STREAM_BYTES];
    size_t len = window_stream_encode(&s, 12, out);
    CHECK_OK(window_stream_decode(slice_of(out, len), &back));
    CHECK(back.hwm == 12 && back.pending == 12 && back.top == 40 && back.boot == KNOWN && back.boot_seq == 3);
    CHECK(back.lane == LANE && back.closed && back.gaps == 4 && back.suppressed == 5);
    for (size_t cut = 0; cut < len; cut++) {
        CHECK_ERR(window_stream_decode(slice_of(out, cut), &back), ERR_MALFORMED);
    }
    out[0] = 2;
    CHECK_ERR(window_stream_decode(slice_of(out, len), &back), ERR_MALFORMED);
    out[0] = 1;
    out[1] = 2;
    CHECK_ERR(window_stream_decode(slice_of(out, len), &back), ERR_MALFORMED);
    len = window_stream_encode(&s, 41, out); /* more durable than its sender ever had */
    CHECK_ERR(window_stream_decode(slice_of(out, len), &back), ERR_MALFORMED);
}

static void every_verdict_has_a_name(void **state)
{
    (void)state;
    for (enum window_verdict v = WINDOW_ACCEPT; v <= WINDOW_FULL; v++) {
        CHECK(strcmp(window_verdict_name(v), "unknown") != 0);
    }
    CHECK_STR(window_verdict_name(WINDOW_ROLLED_BACK), "rolled-back");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_judged_by_the_table),
        cmocka_unit_test(headers_that_contradict_themselves_are_refused),
        cmocka_unit_test(boots_are_judged_by_the_table),
        cmocka_unit_test(a_closed_stream_stays_closed_whoever_asks),
        cmocka_unit_test(a_new_stream_needs_a_hello_and_then_takes_any_start),
        cmocka_unit_test(a_receiver_that_lost_its_store_declares_what_was_acknowledged),
        cmocka_unit_test(a_duplicate_as_first_frame_makes_the_boot_known),
        cmocka_unit_test(every_small_header_keeps_the_promises),
        cmocka_unit_test(a_stream_survives_its_persistent_form),
        cmocka_unit_test(every_verdict_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
