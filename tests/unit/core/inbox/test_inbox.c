/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an inbox answers only what is durable, once per stream and commit; keeps entries and high-water marks in step
 * through crashes, failing disks and full stores; and refuses, holds off or closes the streams that it must.
 */
#include "core/inbox/inbox.h"
#include "tests/support/check.h"

enum { TABLE_SPOOL, TABLE_META, TABLE_STREAMS, TABLES, ANSWERS = 512 };

struct answer {
    char sender[16];
    uint64_t epoch, hwm;
    uint32_t boot;
    enum window_verdict verdict;
};
static struct {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct spool *spools[INBOX_LANES];
    struct inbox *inbox;
    struct inbox_options options;
    uint64_t spool_max_bytes;
    struct answer answers[ANSWERS];
    size_t answer_count;
    unsigned durable, closed, too_many;
    unsigned crowds; /* times that it was told */
    bool crowded;
    char too_many_sender[16], too_many_why[100];
    bool one_stream; /* numbers of the stream and of the spool are the same */
    enum err entry_result;
    uint64_t note_gaps, note_suppressed;
    char log[4096]; /* what on_entry was given */
} g;

static enum err on_entry(void *arg, const char *sender, const struct window_header *header,
                         const struct inbox_entry *entry, bool forgotten, struct buffer *out)
{
    (void)arg;
    (void)header;
    inbox_note(g.inbox, g.note_gaps, g.note_suppressed);
    if (g.entry_result != OK) {
        return g.entry_result;
    }
    size_t len = strlen(g.log);
    snprintf(g.log + len, sizeof(g.log) - len, "%s%llu-%llu ", forgotten ? "!" : "", (unsigned long long)entry->first,
             (unsigned long long)entry->last);
    CHECK(!forgotten || entry->body.len == 0);
    buffer_printf(out, "%s:%llu:", sender, (unsigned long long)entry->first);
    buffer_put_slice(out, entry->body);
    return buffer_err(out);
}

static void on_answer(void *arg, const struct inbox_answer *answer)
{
    (void)arg;
    CHECK(g.answer_count < ANSWERS);
    CHECK(!g.one_stream || answer->hwm == spool_durable(g.spools[1]));
    struct answer *a = &g.answers[g.answer_count++];
    *a = (struct answer){
        .epoch = answer->epoch, .hwm = answer->hwm, .boot = answer->boot, .verdict = answer->verdict};
    snprintf(a->sender, sizeof(a->sender), "%s", answer->sender);
}

static void on_durable(void *arg)
{
    (void)arg;
    g.durable++;
}

static void on_closed(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    (void)arg;
    (void)sender;
    (void)epoch;
    CHECK(stream->closed);
    g.closed++;
}

static void on_too_many(void *arg, const char *sender, const char *why)
{
    (void)arg;
    g.too_many++;
    snprintf(g.too_many_sender, sizeof(g.too_many_sender), "%s", sender);
    snprintf(g.too_many_why, sizeof(g.too_many_why), "%s", why);
}

static void on_crowded(void *arg, bool crowded)
{
    (void)arg;
    CHECK(crowded != g.crowded);
    g.crowded = crowded;
    g.crowds += crowded;
}

static void settle_both(void *arg, enum err result)
{
    (void)arg;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        spool_settle(g.spools[lane], spool_next(g.spools[lane]) - 1, result);
    }
}

static void run(int64_t us)
{
    loop_world_run(g.world, loop_world_now_us(g.world) + us);
}

static void start(void)
{
    static const struct inbox_handlers handlers = {
        .on_entry = on_entry, .on_answer = on_answer, .on_durable = on_durable, .on_closed = on_closed,
        .on_too_many = on_too_many, .on_crowded = on_crowded};
    CHECK_OK(loop_new_virtual(g.world, &g.loop));
    loop_set_worker_latency(g.loop, 10 * MS_US);
    CHECK_OK(store_open_memory(g.loop, g.disk, TABLES, &g.store));
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(g.store, &batch));
    for (uint8_t lane = 0; lane < INBOX_LANES; lane++) {
        const struct spool_options options = {
            .table = TABLE_SPOOL, .meta_table = TABLE_META, .lane = lane, .max_bytes = g.spool_max_bytes};
        CHECK_OK(spool_open(g.loop, g.store, &options, &g.spools[lane], NULL));
        if (spool_epoch(g.spools[lane]) == 0) {
            CHECK_OK(spool_create(g.spools[lane], batch));
        }
    }
    CHECK_OK(store_commit(g.store, batch, settle_both, NULL));
    run(20 * MS_US);
    CHECK_OK(inbox_new(g.loop, g.store, g.spools, &g.options, &handlers, &g.inbox, NULL));
}

static void crash(void)
{
    inbox_free(g.inbox);
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        spool_free(g.spools[lane]);
    }
    store_close(g.store);
    loop_free(g.loop);
}

static int set_up_sized(uint64_t disk_bytes)
{
    memset(&g, 0, sizeof(g));
    g.options = (struct inbox_options){.stream_table = TABLE_STREAMS};
    CHECK_OK(loop_world_new(1, &g.world));
    CHECK_OK(store_disk_new(disk_bytes, &g.disk));
    start();
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_sized(16 << 20);
}

static int tear_down(void **state)
{
    (void)state;
    crash();
    store_disk_free(g.disk);
    loop_world_free(g.world);
    return 0;
}

static void restart(void)
{
    crash();
    g.answer_count = 0;
    start();
}

/* ---- frames ---- */
static struct window_header header(uint64_t epoch, uint64_t base, uint64_t first, uint64_t last)
{
    return (struct window_header){.epoch = epoch,
                                  .first = first,
                                  .last = last,
                                  .base = base,
                                  .top = max_u64(last, 100),
                                  .boot = 7,
                                  .lane = 1,
                                  .has_hello = true,
                                  .boot_seq = 1,
                                  .boot_top = 100};
}

static enum window_verdict give(const char *sender, const struct window_header *h, size_t body_len)
{
    static uint8_t body[8192];
    struct inbox_entry entries[256];
    size_t count = 0;
    memset(body, 'x', sizeof(body));
    for (uint64_t n = h->first; n <= h->last; n++) {
        CHECK(count < COUNT_OF(entries));
        entries[count++] = (struct inbox_entry){n, n, slice_of(body, body_len)};
    }
    return inbox_frame(g.inbox, sender, h, entries, count);
}

static enum window_verdict frame(const char *sender, uint64_t epoch, uint64_t base, uint64_t first, uint64_t last)
{
    const struct window_header h = header(epoch, base, first, last);
    return give(sender, &h, 10);
}

static uint64_t hwm_of(const char *sender, uint64_t epoch)
{
    const struct window_stream *s = inbox_stream(g.inbox, sender, epoch);
    return s != NULL ? s->hwm : 0;
}

static const struct answer *last_answer(void)
{
    CHECK(g.answer_count > 0);
    return &g.answers[g.answer_count - 1];
}

static bool count_one(void *arg, const struct spool_entry *entry)
{
    CHECK(!entry->damaged);
    ++*(uint64_t *)arg;
    return true;
}

static uint64_t spooled(uint8_t lane)
{
    uint64_t count = 0;
    CHECK_OK(spool_read(g.spools[lane], 1, count_one, &count));
    return count;
}

/* ---- tests ---- */
static void the_answer_follows_the_commit(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(5 * MS_US);
    CHECK_INT(g.answer_count, 0);
    CHECK_INT(hwm_of("a", 1), 0);
    CHECK_INT(spooled(1), 0);
    run(30 * MS_US);
    CHECK_INT(g.answer_count, 1);
    CHECK(last_answer()->verdict == WINDOW_ACCEPT && last_answer()->hwm == 5 && last_answer()->boot == 7);
    CHECK_INT(g.durable, 1);
    CHECK_INT(spooled(1), 5);
}

static void one_commit_takes_all_that_came_and_answers_each_stream_once(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        CHECK_INT(frame("a", 1, 1, 1 + i, 1 + i), WINDOW_ACCEPT);
        CHECK_INT(frame("b", 1, 1, 1 + i, 1 + i), WINDOW_ACCEPT);
        CHECK_INT(frame("b", 2, 1, 1 + i, 1 + i), WINDOW_ACCEPT);
    }
    run(15 * MS_US);
    struct inbox_stats stats;
    inbox_stats(g.inbox, &stats);
    CHECK_INT(stats.commits, 1);
    CHECK_INT(g.answer_count, 3);
    CHECK(hwm_of("a", 1) == 20 && hwm_of("b", 1) == 20 && hwm_of("b", 2) == 20);
    CHECK_INT(spooled(1), 60);
}

static void commits_clock_themselves(void **state)
{
    (void)state;
    g.one_stream = true;
    for (uint64_t n = 1; n <= 100; n++) { /* one frame a millisecond, a commit takes ten */
        CHECK_INT(frame("a", 1, n, n, n), WINDOW_ACCEPT);
        run(MS_US);
    }
    run(50 * MS_US);
    struct inbox_stats stats;
    inbox_stats(g.inbox, &stats);
    CHECK(stats.commits >= 9 && stats.commits <= 12);
    CHECK_INT(hwm_of("a", 1), 100);
    CHECK_INT(g.answer_count, stats.commits);
}

static void an_answer_that_may_wait_waits_for_a_frame_that_asks_or_for_a_while(void **state)
{
    (void)state;
    struct window_header h = header(1, 1, 1, 1);
    h.may_wait = true;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    run(95 * MS_US);
    CHECK_INT(hwm_of("a", 1), 1);
    CHECK_INT(g.answer_count, 0);
    run(50 * MS_US);
    CHECK_INT(g.answer_count, 1);
    CHECK_INT(last_answer()->hwm, 1);
    run(SECOND_US);
    CHECK_INT(g.answer_count, 1);
    for (h.first = h.last = 2; h.first <= 9; h.first = ++h.last) {
        CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    }
    run(12 * MS_US);
    CHECK_INT(g.answer_count, 1);
    CHECK_INT(frame("a", 1, 2, 10, 10), WINDOW_ACCEPT); /* asks */
    run(12 * MS_US);
    CHECK_INT(g.answer_count, 2);
    CHECK_INT(last_answer()->hwm, 10);
    run(SECOND_US);
    CHECK_INT(g.answer_count, 2);
    h = header(1, 1, 11, 100);
    h.may_wait = true; /* but nothing is left that could follow */
    const struct inbox_entry rest = {.first = 11, .last = 100, .body = slice_str("x")};
    CHECK_INT(inbox_frame(g.inbox, "a", &h, &rest, 1), WINDOW_ACCEPT);
    run(12 * MS_US);
    CHECK_INT(g.answer_count, 3);
    CHECK_INT(last_answer()->hwm, 100);
}

static void a_frame_that_asks_is_answered_by_its_own_commit_and_not_by_the_one_before(void **state)
{
    (void)state;
    struct window_header h = header(1, 1, 1, 1);
    h.may_wait = true;
    h.top = 1000;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    run(5 * MS_US); /* submitted; takes ten */
    h.first = h.last = 2;
    h.may_wait = false;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    h.first = h.last = 3;
    h.may_wait = true;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    run(7 * MS_US);
    CHECK_INT(hwm_of("a", 1), 1);
    CHECK_INT(g.answer_count, 0);
    run(10 * MS_US);
    CHECK_INT(hwm_of("a", 1), 3);
    CHECK_INT(g.answer_count, 1);
    CHECK_INT(last_answer()->hwm, 3);
    run(SECOND_US);
    CHECK_INT(g.answer_count, 1);
}

static void a_sender_with_much_under_way_gets_one_answer_for_a_quarter_of_it(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 12; n++) { /* nothing more to send, but the answers are far behind */
        struct window_header h = header(1, 1, n, n);
        h.base = n > 8 ? n - 7 : 1;
        CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
        run(12 * MS_US);
        CHECK_INT(hwm_of("a", 1), n);
        CHECK_INT(g.answer_count, n <= 4 ? n : 4 + (n - 4) / 2);
    }
    struct window_header last = header(1, 6, 13, 13);
    last.top = last.boot_top = 13;
    CHECK_INT(give("a", &last, 10), WINDOW_ACCEPT);
    run(12 * MS_US);
    CHECK_INT(g.answer_count, 8);
    run(50 * MS_US); /* nothing follows: soon all the same */
    CHECK_INT(g.answer_count, 9);
    CHECK_INT(last_answer()->hwm, 13);
}

static void a_frame_that_asks_and_is_lost_with_its_commit_asks_again(void **state)
{
    (void)state;
    struct window_header h = header(1, 1, 1, 9);
    h.top = 1000;
    store_disk_set_mode(g.disk, STORE_DISK_EIO);
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    run(50 * MS_US);
    CHECK_INT(g.answer_count, 0);
    store_disk_set_mode(g.disk, STORE_DISK_OK);
    run(SECOND_US);
    h.last = 4;
    h.may_wait = true;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 4);
    CHECK_INT(g.answer_count, 0);
    h.first = h.last = 5;
    h.may_wait = false;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(g.answer_count, 1);
    CHECK_INT(last_answer()->hwm, 5);
}

/* When the commit of `entries` numbers above hwm became durable, us after the one before was submitted. */
static int64_t second_commit_us(uint64_t entries)
{
    uint64_t hwm = hwm_of("a", 1);
    run(10 * SECOND_US);
    CHECK_INT(frame("a", 1, hwm + 1, hwm + 1, hwm + 1), WINDOW_ACCEPT);
    int64_t begun_us = loop_now_us(g.loop);
    run(11 * MS_US);
    CHECK_INT(hwm_of("a", 1), hwm + 1);
    CHECK_INT(frame("a", 1, hwm + 2, hwm + 2, hwm + 1 + entries), WINDOW_ACCEPT);
    while (hwm_of("a", 1) == hwm + 1) {
        CHECK(loop_now_us(g.loop) < begun_us + 10 * SECOND_US);
        run(MS_US);
    }
    return loop_now_us(g.loop) - begun_us;
}

static void a_crowd_waits_half_the_distance_where_commits_are_short(void **state)
{
    (void)state;
    g.options.max_delay_us = SECOND_US;
    restart();
    int64_t few_us = second_commit_us(63), crowd_us = second_commit_us(64);
    CHECK(few_us > SECOND_US && few_us < 1020 * MS_US);
    CHECK(crowd_us > 500 * MS_US && crowd_us < 520 * MS_US);
    g.options.max_delay_us = 60 * MS_US; /* a commit takes 10 ms: a quarter of the time would be 40 */
    restart();
    crowd_us = second_commit_us(64);
    CHECK(crowd_us > 45 * MS_US && crowd_us < 60 * MS_US);
    g.options.max_delay_us = 30 * MS_US;
    restart();
    crowd_us = second_commit_us(64);
    CHECK(crowd_us > 35 * MS_US && crowd_us < 45 * MS_US);
}

static void commits_keep_their_distance_unless_one_is_large_or_an_alarm(void **state)
{
    (void)state;
    g.options.max_delay_us = SECOND_US;
    g.options.max_batch = 50;
    restart();
    run(2 * SECOND_US);
    CHECK_INT(frame("a", 1, 1, 1, 3), WINDOW_ACCEPT); /* alone: at once */
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 3);
    CHECK_INT(frame("a", 1, 4, 4, 5), WINDOW_ACCEPT);
    run(900 * MS_US);
    CHECK_INT(hwm_of("a", 1), 3);
    run(200 * MS_US);
    CHECK_INT(hwm_of("a", 1), 5);
    CHECK_INT(frame("a", 1, 6, 6, 60), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 60);
    struct window_header alarm = header(2, 1, 1, 1);
    alarm.lane = 0;
    CHECK_INT(frame("a", 1, 61, 61, 61), WINDOW_ACCEPT);
    CHECK_INT(give("a", &alarm, 10), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 2), 1);
    CHECK_INT(hwm_of("a", 1), 61);
    CHECK_INT(spooled(0), 1);
}

static void what_is_not_new_is_told_apart(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    CHECK_INT(frame("a", 1, 1, 3, 8), WINDOW_ACCEPT);    /* overlap */
    CHECK_INT(frame("a", 1, 1, 2, 4), WINDOW_DUPLICATE); /* accepted, not durable: the commit answers */
    CHECK_INT(frame("a", 1, 1, 12, 14), WINDOW_HOLE);    /* likewise */
    CHECK_INT(g.answer_count, 0);
    run(15 * MS_US);
    CHECK_INT(g.answer_count, 1);
    CHECK(last_answer()->verdict == WINDOW_HOLE && last_answer()->hwm == 8);
    CHECK_STR(g.log, "1-1 2-2 3-3 4-4 5-5 6-6 7-7 8-8 ");
    CHECK_INT(frame("a", 1, 1, 2, 4), WINDOW_DUPLICATE);
    CHECK(g.answer_count == 2 && last_answer()->verdict == WINDOW_DUPLICATE && last_answer()->hwm == 8);
    CHECK_INT(frame("a", 1, 1, 10, 11), WINDOW_HOLE);
    CHECK(g.answer_count == 3 && last_answer()->verdict == WINDOW_HOLE && last_answer()->hwm == 8);
}

static void answers_at_once_are_limited_per_stream(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    CHECK_INT(frame("b", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(15 * MS_US);
    g.answer_count = 0;
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(frame("a", 1, 1, 10, 11), WINDOW_HOLE);
        CHECK_INT(frame("b", 1, 1, 10, 11), WINDOW_HOLE);
        struct window_header stranger = header(99, 1, 1, 1);
        stranger.has_hello = false;
        CHECK_INT(give("c", &stranger, 1), WINDOW_NEED_HELLO);
    }
    CHECK_INT(g.answer_count, 3);
    run(6 * MS_US);
    CHECK_INT(frame("a", 1, 1, 10, 11), WINDOW_HOLE);
    CHECK_INT(g.answer_count, 4);
}

static void streams_survive_a_crash_with_what_was_durable(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(frame("a", 1, 1, 6, 9), WINDOW_ACCEPT);
    run(5 * MS_US); /* the commit is under way */
    restart();
    CHECK_INT(hwm_of("a", 1), 5);
    CHECK_INT(spooled(1), 5);
    struct window_header known = header(1, 1, 6, 9);
    known.has_hello = false; /* the boot was remembered, too */
    CHECK_INT(give("a", &known, 10), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 9);
    CHECK_INT(spooled(1), 9);
}

static void a_failed_commit_answers_nothing_and_takes_everything_back(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(40 * MS_US);
    g.answer_count = g.durable = 0;
    store_disk_set_mode(g.disk, STORE_DISK_EIO);
    g.note_gaps = 2;
    CHECK_INT(frame("a", 1, 1, 6, 9), WINDOW_ACCEPT);
    CHECK_INT(frame("b", 1, 1, 1, 3), WINDOW_ACCEPT);
    run(5 * MS_US);
    CHECK_INT(frame("a", 1, 1, 10, 12), WINDOW_ACCEPT); /* stands on what will fail */
    CHECK_INT(frame("c", 1, 1, 1, 1), WINDOW_ACCEPT);
    run(30 * MS_US);
    CHECK(g.answer_count == 0 && g.durable == 0);
    const struct window_stream *s = inbox_stream(g.inbox, "a", 1);
    CHECK(s->hwm == 5 && s->pending == 5 && s->gaps == 0);
    CHECK_INT(inbox_stream(g.inbox, "c", 1)->pending, 0);
    CHECK_INT(spool_next(g.spools[1]), 6);
    store_disk_set_mode(g.disk, STORE_DISK_OK);
    g.note_gaps = 0;
    CHECK_INT(frame("a", 1, 1, 10, 12), WINDOW_HOLE);
    CHECK_INT(frame("a", 1, 1, 6, 12), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 12);
    CHECK_INT(spooled(1), 12);
}

static void every_crash_point_keeps_entries_and_marks_in_step(void **state)
{
    (void)state;
    uint64_t next = 1;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 5; i++) {
            uint64_t last = next + (uint64_t)((round + i) % 3);
            enum window_verdict verdict = frame("a", 1, 1, next, last);
            CHECK_INT(verdict, WINDOW_ACCEPT);
            next = last + 1;
            run((int64_t)((round * 7 + i * 3) % 13) * MS_US);
        }
        restart();
        CHECK_INT(spooled(1), hwm_of("a", 1));
        CHECK(hwm_of("a", 1) < next);
        next = hwm_of("a", 1) + 1;
    }
    CHECK(next > 100);
}

static void a_full_store_takes_alarms_only_and_recovers(void **state)
{
    (void)state;
    CHECK_INT(tear_down(NULL), 0);
    g.options.reserve_pct = 0;
    set_up_sized(1 << 20);
    g.options.reserve_pct = 20;
    restart();
    uint64_t next = 1;
    enum window_verdict verdict = WINDOW_ACCEPT;
    for (int i = 0; i < 2000 && verdict == WINDOW_ACCEPT; i++) {
        struct window_header h = header(1, 1, next, next + 9);
        h.top = 1000000;
        verdict = give("a", &h, 200);
        next += 10;
        run(15 * MS_US);
    }
    CHECK_INT(verdict, WINDOW_FULL);
    CHECK(last_answer()->verdict == WINDOW_FULL && last_answer()->hwm == hwm_of("a", 1));
    struct store_usage usage;
    store_usage(g.store, &usage);
    CHECK(usage.used_bytes < usage.cap_bytes * 81 / 100 && usage.used_bytes > usage.cap_bytes * 70 / 100);
    struct window_header alarm = header(2, 1, 1, 10);
    alarm.lane = 0;
    CHECK_INT(give("a", &alarm, 200), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 2), 10);
    struct store_batch *batch = inbox_batch(g.inbox); /* the uplink has delivered half of it */
    CHECK(batch != NULL);
    CHECK_OK(spool_trim(g.spools[1], batch, spool_durable(g.spools[1]) / 2));
    run(200 * MS_US);
    struct window_header again = header(1, 1, hwm_of("a", 1) + 1, hwm_of("a", 1) + 5);
    again.top = 1000000;
    CHECK_INT(give("a", &again, 200), WINDOW_ACCEPT);
    run(40 * MS_US);
    CHECK(last_answer()->verdict == WINDOW_ACCEPT && last_answer()->hwm == again.last);
}

static void a_lane_that_is_full_takes_the_part_of_a_frame_that_fits(void **state)
{
    (void)state;
    CHECK_INT(tear_down(NULL), 0);
    set_up_sized(16 << 20);
    g.spool_max_bytes = 2000;
    restart();
    uint64_t next = 1;
    for (int i = 0; i < 50; i++) {
        (void)frame("a", 1, 1, next, next + 2);
        run(15 * MS_US);
        next = hwm_of("a", 1) + 1;
    }
    CHECK(last_answer()->verdict == WINDOW_FULL && next > 5);
    CHECK(spool_bytes(g.spools[1]) <= 2000);
    CHECK_INT(spooled(1), next - 1);
}

static void a_disk_that_says_full_is_given_rest(void **state)
{
    (void)state;
    store_disk_set_mode(g.disk, STORE_DISK_FULL);
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(g.answer_count, 0);
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_FULL);
    CHECK_INT(last_answer()->verdict, WINDOW_FULL);
    store_disk_set_mode(g.disk, STORE_DISK_OK);
    run(2 * SECOND_US);
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 5);
}

static void a_receiver_without_a_past_declares_what_it_never_had(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 61, 71, 75), WINDOW_HOLE);
    CHECK_INT(frame("a", 1, 61, 61, 65), WINDOW_FORGOTTEN);
    run(40 * MS_US);
    CHECK_STR(g.log, "!1-60 61-61 62-62 63-63 64-64 65-65 ");
    CHECK_INT(last_answer()->hwm, 65);
    CHECK_INT(spool_durable(g.spools[1]), 65); /* the gap covers as many numbers there */
    restart();
    const struct window_stream *s = inbox_stream(g.inbox, "a", 1);
    CHECK(s->gaps == 60 && s->suppressed == 0 && s->hwm == 65);
}

static void ranges_are_cut_to_what_is_new_and_counts_are_kept(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 4), WINDOW_ACCEPT);
    run(15 * MS_US);
    const struct window_header h = header(1, 1, 3, 21);
    const struct inbox_entry entries[] = {{3, 20, slice_str("range")}, {21, 21, slice_str("one")}};
    g.note_gaps = 16;
    g.note_suppressed = 1;
    CHECK_INT(inbox_frame(g.inbox, "a", &h, entries, 2), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_STR(g.log, "1-1 2-2 3-3 4-4 5-20 21-21 ");
    CHECK_INT(spool_durable(g.spools[1]), 21);
    restart();
    const struct window_stream *s = inbox_stream(g.inbox, "a", 1);
    CHECK(s->gaps == 32 && s->suppressed == 2 && s->hwm == 21);
}

static void a_roll_back_is_answered_when_it_is_durable_and_stays(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 50), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(frame("a", 1, 1, 51, 60), WINDOW_ACCEPT); /* under way when the old image speaks */
    run(MS_US);
    g.answer_count = 0;
    struct window_header old = header(1, 41, 41, 45);
    old.boot = 8;
    old.boot_seq = 2;
    old.boot_top = 55; /* above what is durable, below what is accepted */
    CHECK_INT(give("a", &old, 10), WINDOW_ROLLED_BACK);
    CHECK_INT(give("a", &old, 10), WINDOW_ROLLED_BACK);
    CHECK_INT(g.closed, 1);
    CHECK_INT(g.answer_count, 0);
    run(12 * MS_US); /* the commit under way */
    CHECK_INT(hwm_of("a", 1), 60);
    CHECK_INT(g.answer_count, 0); /* no ACCEPT any more, not yet ROLLED_BACK */
    run(12 * MS_US);
    CHECK_INT(g.answer_count, 1);
    CHECK(last_answer()->verdict == WINDOW_ROLLED_BACK && last_answer()->boot == 8 && last_answer()->hwm == 60);
    CHECK_INT(frame("a", 1, 1, 61, 70), WINDOW_ROLLED_BACK); /* the other instance is told, too */
    CHECK(g.answer_count == 2 && last_answer()->boot == 7 && last_answer()->hwm == 60);
    restart();
    CHECK_INT(give("a", &old, 10), WINDOW_ROLLED_BACK);
    CHECK(g.closed == 1 && last_answer()->hwm == 60);
}

static void a_close_that_fails_to_commit_is_tried_again(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 50), WINDOW_ACCEPT);
    run(15 * MS_US);
    g.answer_count = 0;
    store_disk_set_mode(g.disk, STORE_DISK_EIO);
    struct window_header old = header(1, 41, 41, 45);
    old.boot = 8;
    old.boot_seq = 2;
    old.boot_top = 45;
    CHECK_INT(give("a", &old, 10), WINDOW_ROLLED_BACK);
    run(30 * MS_US);
    CHECK_INT(g.answer_count, 0);
    store_disk_set_mode(g.disk, STORE_DISK_OK);
    CHECK_INT(give("a", &old, 10), WINDOW_ROLLED_BACK);
    run(30 * MS_US);
    CHECK(g.answer_count == 1 && last_answer()->verdict == WINDOW_ROLLED_BACK);
    CHECK_INT(g.closed, 1);
}

static void an_earlier_start_is_stale_until_it_claims(void **state)
{
    (void)state;
    struct window_header h = header(1, 1, 1, 5);
    h.boot_seq = 9;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    run(15 * MS_US);
    struct window_header stale = header(1, 1, 6, 9);
    stale.boot = 3;
    stale.boot_seq = 8;
    CHECK_INT(give("a", &stale, 10), WINDOW_STALE);
    CHECK(last_answer()->verdict == WINDOW_STALE && last_answer()->boot == 3);
    CHECK_INT(frame("a", 1, 1, 6, 9), WINDOW_STALE); /* boot 7, but as its first start */
    h.first = 6, h.last = 7;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT); /* nobody else suffers */
    stale.replaces = stale.epoch;
    CHECK_INT(give("a", &stale, 10), WINDOW_ROLLED_BACK);
    run(40 * MS_US);
    CHECK(last_answer()->verdict == WINDOW_ROLLED_BACK && last_answer()->boot == 3 && last_answer()->hwm == 7);
}

static void a_new_epoch_closes_the_one_it_replaces_in_the_same_commit(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(15 * MS_US);
    struct window_header h = header(2, 1, 1, 3);
    h.replaces = 1;
    CHECK_INT(give("a", &h, 10), WINDOW_ACCEPT);
    CHECK_INT(give("b", &h, 10), WINDOW_ACCEPT); /* never heard of b's epoch 1: remembered as closed all the same */
    run(15 * MS_US);
    restart();
    CHECK(inbox_stream(g.inbox, "a", 1)->closed && inbox_stream(g.inbox, "b", 1)->closed);
    CHECK_INT(hwm_of("a", 2), 3);
    CHECK_INT(g.closed, 1);
    CHECK_INT(frame("b", 1, 1, 1, 5), WINDOW_ROLLED_BACK); /* a late frame of the old epoch */
    CHECK_INT(spooled(1), 11);
}

static void frames_that_are_not_sound_are_refused(void **state)
{
    (void)state;
    const struct window_header h = header(1, 1, 1, 3);
    const struct inbox_entry good[] = {{1, 1, slice_str("a")}, {2, 2, slice_str("b")}, {3, 3, slice_str("c")}};
    struct inbox_entry e[3];
    for (int i = 0; i < 6; i++) {
        memcpy(e, good, sizeof(e));
        struct window_header bad = h;
        switch (i) {
        case 0: e[1].first = 3; break;                /* hole */
        case 1: e[1].first = 1; break;                /* overlap */
        case 2: e[2].last = 4; break;                 /* longer than the header says */
        case 3: e[1].last = 0; break;                 /* backwards */
        case 4: bad.lane = INBOX_LANES; break;
        case 5: bad.epoch = 0; break;
        }
        CHECK_INT(inbox_frame(g.inbox, "a", &bad, e, 3), WINDOW_REFUSED);
    }
    CHECK_INT(inbox_frame(g.inbox, "a", &h, good, 2), WINDOW_REFUSED);
    CHECK_INT(inbox_frame(g.inbox, "a", &h, good, 0), WINDOW_REFUSED);
    CHECK_INT(inbox_frame(g.inbox, "a/b", &h, good, 3), WINDOW_REFUSED);
    CHECK_INT(inbox_frame(g.inbox, "", &h, good, 3), WINDOW_REFUSED);
    struct window_header wrap = header(1, 1, 1, UINT64_MAX);
    const struct inbox_entry all = {1, UINT64_MAX, slice_str("x")};
    CHECK_INT(inbox_frame(g.inbox, "a", &wrap, &all, 1), WINDOW_REFUSED);
    struct inbox_stats stats;
    inbox_stats(g.inbox, &stats);
    CHECK_INT(stats.streams, 0);
    CHECK_INT(stats.refused, 11);
    CHECK_INT(inbox_frame(g.inbox, "a", &h, good, 3), WINDOW_ACCEPT);
}

static void streams_are_bounded(void **state)
{
    (void)state;
    g.options.max_streams = 5;
    restart();
    for (uint64_t epoch = 1; epoch <= 5; epoch++) {
        CHECK_INT(frame("a", epoch, 1, 1, 1), WINDOW_ACCEPT);
    }
    CHECK_INT(frame("a", 6, 1, 1, 1), WINDOW_REFUSED);
    CHECK_INT(last_answer()->verdict, WINDOW_REFUSED);
    CHECK_INT(frame("b", 6, 1, 1, 1), WINDOW_REFUSED);
    CHECK_INT(frame("a", 5, 1, 2, 2), WINDOW_ACCEPT); /* those that are known go on */
    g.options.max_streams = 0;
    restart();
    for (uint64_t epoch = 1; epoch <= 1024; epoch++) {
        CHECK_INT(frame("c", epoch, 1, 1, 1), WINDOW_ACCEPT);
    }
    CHECK_INT(frame("c", 1025, 1, 1, 1), WINDOW_REFUSED); /* one sender does not use up the table */
    CHECK_INT(frame("d", 1025, 1, 1, 1), WINDOW_ACCEPT);
}

static void the_owner_is_told_who_has_too_many_streams_once_a_minute(void **state)
{
    (void)state;
    for (uint64_t epoch = 1; epoch <= 1024; epoch++) {
        CHECK_INT(frame("c", epoch, 1, 1, 1), WINDOW_ACCEPT);
        if (epoch % 256 == 0) {
            run(50 * MS_US);
            g.answer_count = 0;
        }
    }
    CHECK_INT(g.too_many, 0);
    for (uint64_t epoch = 2001; epoch <= 2010; epoch++) {
        CHECK_INT(frame("c", epoch, 1, 1, 1), WINDOW_REFUSED);
        run(SECOND_US);
    }
    CHECK_INT(g.too_many, 1);
    CHECK_STR(g.too_many_sender, "c");
    CHECK_CONTAINS(g.too_many_why, "1,024 streams");
    run(MINUTE_US);
    CHECK_INT(frame("c", 2001, 1, 1, 1), WINDOW_REFUSED);
    CHECK_INT(g.too_many, 2);
    struct inbox_stats stats;
    inbox_stats(g.inbox, &stats);
    CHECK_INT(stats.too_many, 11);
    g.options.max_streams = 1024;
    restart();
    CHECK_INT(frame("d", 1, 1, 1, 1), WINDOW_REFUSED);
    CHECK_STR(g.too_many_sender, "d");
    CHECK_CONTAINS(g.too_many_why, "all senders");
}

static void an_entry_that_cannot_be_stored_ends_the_frame(void **state)
{
    (void)state;
    g.entry_result = ERR_NOMEM;
    g.note_gaps = 7;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_FULL);
    CHECK_INT(inbox_stream(g.inbox, "a", 1)->gaps, 0);
    g.entry_result = OK;
    g.note_gaps = 0;
    run(15 * MS_US);
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 5);
}

static void a_slow_disk_bounds_what_waits_behind_it(void **state)
{
    (void)state;
    g.options.max_batch = 10;
    restart();
    CHECK_INT(frame("a", 1, 1, 1, 1), WINDOW_ACCEPT);
    run(MS_US); /* under way */
    uint64_t next = 2;
    while (frame("a", 1, 1, next, next) == WINDOW_ACCEPT) {
        next++;
    }
    CHECK_INT(next, 2 + 40);
    CHECK_INT(g.crowds, 1);
    CHECK(g.crowded);
    CHECK_INT(g.answer_count, 0);
    struct inbox_stats stats;
    inbox_stats(g.inbox, &stats);
    CHECK_INT(stats.overrun, 1);
    run(30 * MS_US);
    CHECK_INT(hwm_of("a", 1), 41);
    CHECK(!g.crowded);
    CHECK(last_answer()->verdict == WINDOW_HOLE && last_answer()->hwm == 41); /* it need not wait for its timeout */
}

static void who_came_too_late_for_a_batch_is_told_to_come_again(void **state)
{
    (void)state;
    g.options.max_batch = 10;
    restart();
    CHECK_INT(frame("b", 2, 1, 1, 5), WINDOW_ACCEPT);
    run(30 * MS_US);
    CHECK_INT(frame("a", 1, 1, 1, 1), WINDOW_ACCEPT);
    run(MS_US); /* under way */
    for (uint64_t next = 2; next <= 41; next++) {
        CHECK_INT(frame("a", 1, 1, next, next), WINDOW_ACCEPT);
    }
    CHECK_INT(frame("b", 2, 1, 6, 9), WINDOW_FULL);
    g.answer_count = 0;
    run(30 * MS_US);
    bool told = false;
    for (size_t i = 0; i < g.answer_count; i++) {
        const struct answer *a = &g.answers[i];
        told = told || (strcmp(a->sender, "b") == 0 && a->verdict == WINDOW_HOLE && a->hwm == 5);
    }
    CHECK(told);
}

static void the_owner_is_told_of_a_crowd_before_anything_is_dropped_and_also_when_the_commit_fails(void **state)
{
    (void)state;
    g.options.max_batch = 10;
    restart();
    CHECK_INT(frame("a", 1, 1, 1, 1), WINDOW_ACCEPT);
    run(MS_US); /* under way */
    uint64_t next = 2;
    for (; next < 2 + 19; next++) {
        CHECK_INT(frame("a", 1, 1, next, next), WINDOW_ACCEPT);
        CHECK(!g.crowded);
    }
    CHECK_INT(frame("a", 1, 1, next, next), WINDOW_ACCEPT);
    CHECK(g.crowded);
    store_disk_set_mode(g.disk, STORE_DISK_EIO);
    run(30 * MS_US);
    CHECK(!g.crowded);
}

static void others_operations_ride_in_the_batch(void **state)
{
    (void)state;
    struct store_batch *batch = inbox_batch(g.inbox);
    CHECK(batch != NULL);
    CHECK_OK(store_put(batch, TABLE_META, slice_str("position"), slice_str("17")));
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    CHECK(inbox_batch(g.inbox) == batch);
    run(15 * MS_US);
    BUFFER(value, 64);
    CHECK_OK(store_get(g.store, TABLE_META, slice_str("position"), &value));
    struct inbox_stats stats;
    inbox_stats(g.inbox, &stats);
    CHECK_INT(stats.commits, 1);
}

static void a_damaged_record_costs_only_its_own_stream(void **state)
{
    (void)state;
    CHECK_INT(frame("a", 1, 1, 1, 5), WINDOW_ACCEPT);
    CHECK_INT(frame("b", 1, 1, 1, 5), WINDOW_ACCEPT);
    run(15 * MS_US);
    uint8_t key[10] = {'a', 0, 0, 0, 0, 0, 0, 0, 0, 1};
    BUFFER(value, 256);
    CHECK_OK(store_get(g.store, TABLE_STREAMS, slice_of(key, sizeof(key)), &value));
    value.ptr[15] ^= 4; /* hwm */
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(g.store, &batch));
    CHECK_OK(store_put(batch, TABLE_STREAMS, slice_of(key, sizeof(key)), buffer_slice(&value)));
    CHECK_OK(store_commit(g.store, batch, NULL, NULL));
    run(15 * MS_US);
    restart();
    struct inbox_stats stats;
    inbox_stats(g.inbox, &stats);
    CHECK(stats.damaged_streams == 1 && stats.streams == 1);
    CHECK_INT(hwm_of("b", 1), 5);
    CHECK_INT(frame("a", 1, 6, 6, 8), WINDOW_FORGOTTEN);
    run(15 * MS_US);
    CHECK_INT(hwm_of("a", 1), 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_answer_follows_the_commit),
        TEST(one_commit_takes_all_that_came_and_answers_each_stream_once),
        TEST(commits_clock_themselves),
        TEST(an_answer_that_may_wait_waits_for_a_frame_that_asks_or_for_a_while),
        TEST(a_frame_that_asks_is_answered_by_its_own_commit_and_not_by_the_one_before),
        TEST(a_frame_that_asks_and_is_lost_with_its_commit_asks_again),
        TEST(a_sender_with_much_under_way_gets_one_answer_for_a_quarter_of_it),
        TEST(commits_keep_their_distance_unless_one_is_large_or_an_alarm),
        TEST(a_crowd_waits_half_the_distance_where_commits_are_short),
        TEST(what_is_not_new_is_told_apart),
        TEST(answers_at_once_are_limited_per_stream),
        TEST(streams_survive_a_crash_with_what_was_durable),
        TEST(a_failed_commit_answers_nothing_and_takes_everything_back),
        TEST(every_crash_point_keeps_entries_and_marks_in_step),
        TEST(a_full_store_takes_alarms_only_and_recovers),
        TEST(a_lane_that_is_full_takes_the_part_of_a_frame_that_fits),
        TEST(a_disk_that_says_full_is_given_rest),
        TEST(a_receiver_without_a_past_declares_what_it_never_had),
        TEST(ranges_are_cut_to_what_is_new_and_counts_are_kept),
        TEST(a_roll_back_is_answered_when_it_is_durable_and_stays),
        TEST(a_close_that_fails_to_commit_is_tried_again),
        TEST(an_earlier_start_is_stale_until_it_claims),
        TEST(a_new_epoch_closes_the_one_it_replaces_in_the_same_commit),
        TEST(frames_that_are_not_sound_are_refused),
        TEST(streams_are_bounded),
        TEST(the_owner_is_told_who_has_too_many_streams_once_a_minute),
        TEST(an_entry_that_cannot_be_stored_ends_the_frame),
        TEST(a_slow_disk_bounds_what_waits_behind_it),
        TEST(who_came_too_late_for_a_batch_is_told_to_come_again),
        TEST(the_owner_is_told_of_a_crowd_before_anything_is_dropped_and_also_when_the_commit_fails),
        TEST(others_operations_ride_in_the_batch),
        TEST(a_damaged_record_costs_only_its_own_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
