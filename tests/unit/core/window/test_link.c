/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a sender with a backlog keeps a link busy without filling it up: what comes later, an alarm above all, waits
 * for max_queue_us and little more, on links of any speed; a fast link is used to the full; and after a standstill the
 * link carries the backlog, not repetitions.
 *
 * The link: a queue that is served at so many bytes a second, then a delay; the receiver answers each frame at once.
 */
#include "core/window/window.h"
#include "tests/support/check.h"

enum { ENTRY_BYTES = 100, FRAMES = 256 };
#define MAX_QUEUE_US (200 * MS_US)

static const struct window_sender_options OPTIONS = {.max_frames = FRAMES,
                                                     .max_bytes = 2 << 20,
                                                     .min_rto_us = 200 * MS_US,
                                                     .max_rto_us = 30 * SECOND_US,
                                                     .first_rto_us = SECOND_US,
                                                     .max_queue_us = MAX_QUEUE_US};

struct link {
    double bytes_per_us;
    int64_t delay_us; /* there and back */
    int64_t free_us;  /* when the last byte of the queue has left */
    struct {
        uint64_t last;
        int64_t answer_us;
    } frames[FRAMES];
    unsigned head, count;
    uint64_t delivered; /* bytes */
    int64_t worst_queue_us, sum_queue_us;
    uint64_t sent;
};

static void put(struct link *l, uint64_t last, uint64_t bytes, int64_t now_us)
{
    int64_t starts_us = max_i64(l->free_us, now_us);
    l->free_us = starts_us + (int64_t)((double)bytes / l->bytes_per_us);
    int64_t queue_us = l->free_us - now_us;
    l->worst_queue_us = max_i64(l->worst_queue_us, queue_us);
    l->sum_queue_us += queue_us;
    l->sent++;
    l->delivered += bytes;
    unsigned slot = (l->head + l->count++) % FRAMES;
    l->frames[slot].last = last;
    l->frames[slot].answer_us = l->free_us + l->delay_us;
}

/* Sends a backlog for so long; every frame as large as the window says, 32 KiB at most. */
static struct link run(double bytes_per_s, int64_t delay_us, int64_t for_us, uint64_t *ret_allowed)
{
    static struct window_flight flight[FRAMES];
    struct link l = {.bytes_per_us = bytes_per_s / 1e6, .delay_us = delay_us};
    struct window_sender s;
    int64_t now_us = 1;
    window_sender_init(&s, &OPTIONS, flight, 0, UINT64_C(1) << 40);
    window_sender_connected(&s);
    while (now_us < for_us) {
        for (uint64_t from; window_sender_may_send(&s, now_us, &from);) {
            uint64_t entries = max_u64(min_u64(window_sender_frame_bytes(&s), 32 * 1024) / ENTRY_BYTES, 1);
            put(&l, from + entries - 1, entries * ENTRY_BYTES, now_us);
            window_sender_sent(&s, from + entries - 1, entries * ENTRY_BYTES, now_us);
        }
        CHECK(l.count > 0); /* a sender with a backlog never stops */
        now_us = l.frames[l.head].answer_us;
        uint64_t last = l.frames[l.head].last;
        l.head = (l.head + 1) % FRAMES;
        l.count--;
        CHECK(window_sender_answer(&s, WINDOW_ACCEPT, last, now_us));
        CHECK_INT(s.stats.timeouts, 0);
    }
    *ret_allowed = s.allowed_bytes;
    return l;
}

static void a_slow_link_is_kept_busy_and_not_filled_up(void **state)
{
    (void)state;
    static const double rates[] = {16e3, 64e3, 250e3, 1e6, 4e6}; /* bytes a second */
    static const int64_t delays_us[] = {2 * MS_US, 50 * MS_US, 600 * MS_US};
    for (size_t r = 0; r < COUNT_OF(rates); r++) {
        for (size_t d = 0; d < COUNT_OF(delays_us); d++) {
            uint64_t allowed = 0;
            const int64_t for_us = 60 * SECOND_US;
            struct link l = run(rates[r], delays_us[d], for_us, &allowed);
            double used = (double)l.delivered / (rates[r] * 60);
            int64_t mean_us = l.sum_queue_us / (int64_t)l.sent;
            /* The first frame is 4 KiB at most, whatever the link; the sender takes it for a part of the delay. */
            int64_t first_us = (int64_t)(4096 / rates[r] * 1e6);
            CHECK(used > 0.75); /* 4 MB/s and 600 ms ask for more than max_bytes */
            CHECK(l.worst_queue_us < 2 * MAX_QUEUE_US + 2 * first_us);
            CHECK(mean_us < MAX_QUEUE_US + first_us + 150 * MS_US);
        }
    }
}

static void a_fast_link_is_used_up_to_the_windows_bytes(void **state)
{
    (void)state;
    uint64_t allowed = 0;
    struct link l = run(1e9, 5 * MS_US, 2 * SECOND_US, &allowed);
    CHECK_INT(allowed, OPTIONS.max_bytes);
    CHECK((double)l.delivered > 0.9 * (double)OPTIONS.max_bytes / 5e3 * 2e6); /* a window per round trip, at most */
}

/* ---- a link that stands still, as a broker that is stopped, and delivers later what it was given meanwhile ---- */

enum { QUEUE = 1 << 16 };
struct queued {
    uint64_t first, last;
    int64_t arrives_us;
};
struct stall {
    struct window_sender s;
    struct queued *queue;
    unsigned head, count;
    double bytes_per_us;
    int64_t free_us, from_us, until_us, now_us;
    uint64_t hwm, top, carried;
};

static void stall_put(struct stall *t)
{
    for (uint64_t from; window_sender_may_send(&t->s, t->now_us, &from);) {
        uint64_t room = max_u64(min_u64(window_sender_frame_bytes(&t->s), 32 * 1024) / ENTRY_BYTES, 1);
        uint64_t last = min_u64(from + room - 1, window_sender_limit(&t->s));
        uint64_t bytes = (last - from + 1) * ENTRY_BYTES;
        int64_t starts_us = max_i64(t->free_us, t->now_us);
        if (starts_us >= t->from_us && starts_us < t->until_us) {
            starts_us = t->until_us;
        }
        t->free_us = starts_us + (int64_t)((double)bytes / t->bytes_per_us);
        t->carried += bytes;
        CHECK(t->count < QUEUE);
        t->queue[(t->head + t->count++) % QUEUE] = (struct queued){from, last, t->free_us + 5 * MS_US};
        window_sender_sent(&t->s, last, bytes, t->now_us);
    }
}

/* The next arrival or timeout; live entries come every so often. */
static void stall_step(struct stall *t, int64_t entry_every_us)
{
    int64_t due_us = window_sender_deadline(&t->s);
    int64_t next_us = t->now_us + entry_every_us;
    if (t->count > 0) {
        next_us = min_i64(next_us, t->queue[t->head].arrives_us);
    }
    t->now_us = max_i64(due_us != 0 ? min_i64(next_us, due_us) : next_us, t->now_us);
    t->top = max_u64(t->top, (uint64_t)(t->now_us / entry_every_us));
    window_sender_durable(&t->s, t->top);
    while (t->count > 0 && t->queue[t->head].arrives_us <= t->now_us) {
        struct queued q = t->queue[t->head];
        t->head = (t->head + 1) % QUEUE;
        t->count--;
        CHECK(q.first <= t->hwm + 1); /* nothing is lost here */
        enum window_verdict verdict = q.last > t->hwm ? WINDOW_ACCEPT : WINDOW_DUPLICATE;
        t->hwm = max_u64(t->hwm, q.last);
        (void)window_sender_answer(&t->s, verdict, t->hwm, t->now_us);
    }
    if (due_us != 0 && t->now_us >= due_us) {
        window_sender_tick(&t->s, t->now_us);
    }
    stall_put(t);
}

static void after_a_stall_the_link_carries_the_backlog_and_not_repetitions(void **state)
{
    (void)state;
    static const double rates[] = {16e3, 64e3, 250e3, 4e6};
    for (size_t r = 0; r < COUNT_OF(rates); r++) {
        for (int64_t stall_s = 1; stall_s <= 15; stall_s += 7) {
            static struct window_flight flight[FRAMES];
            struct window_sender_options options = OPTIONS;
            options.max_rto_us = MINUTE_US;
            options.max_bytes = 256 * 1024;
            struct stall t = {.bytes_per_us = rates[r] / 1e6, .from_us = 10 * SECOND_US, .now_us = 1};
            t.until_us = t.from_us + stall_s * SECOND_US;
            t.queue = calloc(QUEUE, sizeof(*t.queue));
            CHECK(t.queue != NULL);
            int64_t every_us = (int64_t)(ENTRY_BYTES * 4 / t.bytes_per_us); /* a quarter of what the link carries */
            window_sender_init(&t.s, &options, flight, 0, 0);
            window_sender_connected(&t.s);
            while (t.now_us < t.until_us) {
                stall_step(&t, every_us);
            }
            uint64_t behind = (t.top - t.hwm) * ENTRY_BYTES, before = t.carried;
            const uint64_t on_the_way = 8 + (uint64_t)(0.1 * rates[r] / 4 / ENTRY_BYTES); /* of 100 ms */
            while (t.hwm + on_the_way < t.top) {
                stall_step(&t, every_us);
                CHECK(t.now_us < t.until_us + 4 * MINUTE_US);
            }
            double took_s = (double)(t.now_us - t.until_us) / 1e6;
            double least_s = (double)behind / rates[r] / 0.75; /* a quarter of the link is live */
            CHECK(took_s < 1.4 * least_s + 0.1); /* the start included */
            double carried = (double)(t.carried - before); /* live entries go on */
            CHECK(carried < 1.1 * (double)behind + 0.3 * rates[r] * took_s);
            free(t.queue);
        }
    }
}

static void a_link_that_becomes_slow_is_noticed(void **state)
{
    (void)state;
    static struct window_flight flight[FRAMES];
    struct window_sender s;
    uint64_t from, next = 0;
    window_sender_init(&s, &OPTIONS, flight, 0, UINT64_C(1) << 40);
    window_sender_connected(&s);
    for (int64_t now_us = 1; now_us < SECOND_US; now_us += 10 * MS_US) { /* all of a window within 10 ms */
        while (window_sender_may_send(&s, now_us, &from)) {
            next = from + 99;
            window_sender_sent(&s, next, 32 * 1024, now_us);
        }
        CHECK(window_sender_answer(&s, WINDOW_ACCEPT, next, now_us + 10 * MS_US));
    }
    CHECK_INT(s.allowed_bytes, OPTIONS.max_bytes);
    while (window_sender_may_send(&s, SECOND_US, &from)) {
        next = from + 99;
        window_sender_sent(&s, next, 32 * 1024, SECOND_US);
    }
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, next, SECOND_US + 2100 * MS_US)); /* ten times too long */
    CHECK(s.allowed_bytes > OPTIONS.max_bytes / 12 && s.allowed_bytes < OPTIONS.max_bytes / 8);
    CHECK(window_sender_frame_bytes(&s) <= s.allowed_bytes / 2);
}

static void after_a_new_connection_nothing_is_known_of_the_link(void **state)
{
    (void)state;
    static struct window_flight flight[FRAMES];
    struct window_sender s;
    window_sender_init(&s, &OPTIONS, flight, 0, 100);
    CHECK_INT(s.allowed_bytes, 4096);
    CHECK_INT(window_sender_frame_bytes(&s), 2048);
    s.allowed_bytes = OPTIONS.max_bytes;
    s.min_rtt_us = 5;
    window_sender_connected(&s);
    CHECK_INT(s.allowed_bytes, 4096);
    CHECK_INT(s.min_rtt_us, 0);
}

static void without_a_bound_on_the_queue_only_max_bytes_counts(void **state)
{
    (void)state;
    static struct window_flight flight[FRAMES];
    struct window_sender_options options = OPTIONS;
    struct window_sender s;
    options.max_queue_us = 0;
    window_sender_init(&s, &options, flight, 0, 100);
    window_sender_connected(&s);
    CHECK_INT(s.allowed_bytes, options.max_bytes);
    CHECK_INT(window_sender_frame_bytes(&s), UINT64_MAX);
    window_sender_sent(&s, 10, 1000, 1);
    CHECK(window_sender_answer(&s, WINDOW_ACCEPT, 10, 900 * MS_US));
    CHECK_INT(s.allowed_bytes, options.max_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_link_is_kept_busy_and_not_filled_up),
        cmocka_unit_test(a_fast_link_is_used_up_to_the_windows_bytes),
        cmocka_unit_test(after_a_stall_the_link_carries_the_backlog_and_not_repetitions),
        cmocka_unit_test(a_link_that_becomes_slow_is_noticed),
        cmocka_unit_test(after_a_new_connection_nothing_is_known_of_the_link),
        cmocka_unit_test(without_a_bound_on_the_queue_only_max_bytes_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
