/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever is lost, doubled, reordered, crashed or set back between one sender and one receiver, what the
 * receiver holds is 1..hwm in order, nothing twice, and in the end everything that the sender ever made durable.
 *
 * Both machines of core/window run here with disks that lose what is not committed. Every content has a number of its
 * own, so that a new record under an old number is told from a repetition. After each seed's faults the world is
 * healed and must drain.
 */
#include "core/window/window.h"
#include "tests/support/check.h"

enum { NUMBERS = 512, EPOCHS = 40, CONTENTS = 1024, NET = 48, FRAME = 5, STEPS = 2000 };
enum { GAP = CONTENTS, CARRIER = CONTENTS + 1 };

struct sender_disk {
    uint64_t epoch, durable, trimmed, boot_seq, boot_top;
    bool answered, replaced_known;
    uint64_t replaces;
    uint16_t log[NUMBERS];
    bool mine[CONTENTS]; /* ever durable in this history */
};
struct stream {
    uint64_t epoch; /* 0 = free */
    struct window_stream s;
    uint16_t log[NUMBERS];
    uint64_t submitted; /* in the commit under way */
    bool submitted_closed, in_commit, closed_durable;
};
struct receiver_disk {
    struct stream streams[EPOCHS];
    uint8_t seen[CONTENTS];
};
struct frame {
    struct window_header header;
    uint16_t contents[FRAME];
};
struct answer {
    uint64_t epoch, hwm;
    uint32_t boot;
    enum window_verdict verdict;
};
enum faults { SENDER_SET_BACK = 1, RECEIVER_SET_BACK = 2 };

static struct {
    uint64_t random, seed;
    unsigned faults;
    bool healing;
    int64_t now_us;
    uint64_t epochs_made;
    uint32_t boots_made;
    unsigned contents_made;
    /* sender */
    struct sender_disk sd, sender_image;
    bool sender_up, has_sender_image, stale;
    uint64_t keep_above, appended;
    uint32_t boot;
    struct window_sender w;
    /* receiver */
    struct receiver_disk rd, receiver_image;
    struct stream streams[EPOCHS];
    bool commit_under_way, has_receiver_image;
    bool forgiven[CONTENTS]; /* were at a receiver that was lost or set back */
    /* network */
    struct frame frames[NET];
    struct answer answers[NET];
    unsigned frame_count, answer_count;
    unsigned rolled_back, forgotten, set_backs, stales;
} g;

static uint64_t dice(uint64_t sides)
{
    g.random += UINT64_C(0x9e3779b97f4a7c15);
    return mix_u64(g.random) % sides;
}
static bool chance(unsigned pct)
{
    return dice(100) < pct;
}
#define HOLDS(expr)                                                                                                    \
    do {                                                                                                               \
        if (!(expr)) {                                                                                                 \
            fprintf(stderr, "seed %llu faults %u: ", (unsigned long long)g.seed, g.faults);                            \
            CHECK(expr);                                                                                               \
        }                                                                                                              \
    } while (0)

/* ---- sender ---- */
static void sender_open_window(void)
{
    static const struct window_sender_options options = {
        .max_frames = 4, .max_bytes = 18, .min_rto_us = 20, .first_rto_us = 100, .max_rto_us = 2000};
    static struct window_flight flight[4];
    window_sender_init(&g.w, &options, flight, g.sd.trimmed, g.sd.durable);
    if (!g.sd.answered) {
        window_sender_hold(&g.w, g.sd.boot_top);
    }
    g.appended = g.sd.durable;
    g.stale = false;
}

static void sender_start(void)
{
    if (g.sender_up) {
        return;
    }
    if (g.sd.epoch == 0) {
        g.sd = (struct sender_disk){.epoch = ++g.epochs_made, .answered = true, .boot_seq = 1};
    } else {
        g.sd.boot_seq++;
        if (g.sd.answered) {
            g.sd.boot_top = g.sd.durable;
            g.sd.answered = g.sd.durable == 0; /* nothing that could fork */
        }
    }
    g.boot = ++g.boots_made;
    g.sender_up = true;
    sender_open_window();
    window_sender_connected(&g.w);
}

static void sender_append(void)
{
    if (g.sender_up && g.appended + 1 < NUMBERS && g.contents_made < CONTENTS - 1 && !g.stale) {
        g.sd.log[++g.appended] = (uint16_t)++g.contents_made;
    }
}

static void sender_commit(void)
{
    if (!g.sender_up || g.stale) {
        return;
    }
    if (chance(10) && !g.healing) {
        g.appended = g.sd.durable;
        return;
    }
    for (; g.sd.durable < g.appended; g.sd.durable++) {
        g.sd.mine[g.sd.log[g.sd.durable + 1]] = true;
    }
    window_sender_durable(&g.w, g.sd.durable);
    if (g.w.hello_acked && !g.sd.answered) { /* durable with the same batch */
        g.sd.answered = true;
        window_sender_release(&g.w);
    }
    g.sd.trimmed = chance(50) ? g.w.base - 1 : g.sd.trimmed;
}

static void sender_send(void)
{
    uint64_t from;
    if (!g.sender_up || !window_sender_may_send(&g.w, g.now_us, &from)) {
        return;
    }
    struct frame f = {.header = {.epoch = g.sd.epoch,
                                 .boot = g.boot,
                                 .boot_seq = g.sd.boot_seq,
                                 .boot_top = g.sd.boot_top,
                                 .replaces = g.sd.replaces}};
    uint64_t last = from;
    if (from < g.w.base) {
        f.contents[0] = CARRIER;
    } else {
        last = min_u64(from + dice(FRAME), window_sender_limit(&g.w));
        HOLDS(from > g.sd.trimmed && last <= g.sd.durable);
        for (uint64_t n = from; n <= last; n++) {
            f.contents[n - from] = g.sd.log[n];
        }
    }
    window_sender_header(&g.w, from, last, &f.header);
    window_sender_sent(&g.w, last, last - from + 1, g.now_us);
    if (g.frame_count < NET) {
        g.frames[g.frame_count++] = f;
    }
}

/* A new epoch for what the receiver does not have; atomic and durable. */
static void sender_rebase(void)
{
    if (!g.sender_up || !g.stale) {
        return;
    }
    uint64_t kept = 0;
    for (uint64_t n = max_u64(g.keep_above, g.sd.trimmed) + 1; n <= g.sd.durable; n++) {
        g.sd.log[++kept] = g.sd.log[n];
    }
    HOLDS(g.epochs_made + 1 < EPOCHS);
    g.has_sender_image = false; /* the limits that window.h states */
    g.sd.replaces = g.sd.epoch;
    g.sd.epoch = ++g.epochs_made;
    g.sd.durable = kept;
    g.sd.trimmed = 0;
    g.sd.boot_top = kept;
    g.sd.answered = true; /* begun in this start: no earlier one can have been heard */
    sender_open_window();
    window_sender_connected(&g.w);
}

static void sender_receive(const struct answer *a)
{
    if (!g.sender_up || a->epoch != g.sd.epoch || a->boot != g.boot || g.stale) {
        return;
    }
    (void)window_sender_answer(&g.w, a->verdict, a->hwm, g.now_us);
    if (g.w.state == WINDOW_STALE_EPOCH) {
        g.stale = true;
        g.keep_above = min_u64(a->hwm, g.sd.boot_top);
        g.rolled_back++;
    }
}

static void sender_crash(void)
{
    g.sender_up = false;
}

static void sender_set_back(void)
{
    if (g.has_sender_image && dice(3) == 0) {
        g.sd = g.sender_image;
        g.sender_up = false;
        g.set_backs++;
    } else if (g.sd.epoch != 0 && g.sd.answered && g.sd.durable > 0) { /* the limits that window.h states */
        g.sender_image = g.sd;
        g.has_sender_image = true;
    }
}

/* ---- receiver ---- */
static struct stream *stream_of(uint64_t epoch)
{
    struct stream *st = &g.streams[epoch];
    st->epoch = epoch;
    return st;
}

static void reply(const struct stream *st, uint32_t boot, enum window_verdict verdict)
{
    if (g.answer_count < NET) {
        g.answers[g.answer_count++] = (struct answer){st->epoch, st->s.hwm, boot, verdict};
    }
}

static void receiver_submit(void)
{
    if (g.commit_under_way) {
        return;
    }
    for (unsigned i = 0; i < EPOCHS; i++) {
        struct stream *st = &g.streams[i];
        st->in_commit = st->epoch != 0;
        st->submitted = st->s.pending;
        st->submitted_closed = st->s.closed;
    }
    g.commit_under_way = true;
}

static void make_durable(struct stream *st)
{
    struct stream *disk = &g.rd.streams[st->epoch];
    for (uint64_t n = st->s.hwm + 1; n <= st->submitted; n++) {
        disk->log[n] = st->log[n];
        if (st->log[n] < CONTENTS) {
            HOLDS(g.rd.seen[st->log[n]] == 0); /* nothing twice */
            g.rd.seen[st->log[n]]++;
        }
    }
    bool moved = st->submitted > st->s.hwm, closed_now = st->submitted_closed && !st->closed_durable;
    st->s.hwm = st->submitted;
    st->closed_durable = st->submitted_closed;
    disk->epoch = st->epoch;
    disk->s = st->s;
    disk->s.pending = disk->s.hwm;
    disk->s.closed = disk->closed_durable = st->submitted_closed;
    if (moved || closed_now) {
        reply(st, st->s.boot, st->closed_durable ? WINDOW_ROLLED_BACK : WINDOW_ACCEPT);
    }
}

static void receiver_done(void)
{
    if (!g.commit_under_way) {
        return;
    }
    bool failed = chance(15) && !g.healing;
    g.commit_under_way = false;
    for (unsigned i = 0; i < EPOCHS; i++) {
        struct stream *st = &g.streams[i];
        if (failed) {
            st->s.pending = st->s.hwm; /* what came in since then stood on it */
        } else if (st->in_commit) {
            make_durable(st);
        }
        st->in_commit = false;
    }
}

static void receiver_receive(const struct frame *f)
{
    struct stream *st = stream_of(f->header.epoch);
    uint64_t from = 0;
    enum window_verdict verdict = window_receive(&st->s, &f->header, &from);
    g.stales += verdict == WINDOW_STALE;
    switch (verdict) {
    case WINDOW_FORGOTTEN:
        g.forgotten++;
        for (uint64_t n = st->s.pending + 1; n < from; n++) {
            st->log[n] = GAP;
        }
        st->s.pending = from - 1;
        /* fall through */
    case WINDOW_ACCEPT:
        HOLDS(from == st->s.pending + 1);
        for (uint64_t n = from; n <= f->header.last; n++) {
            st->log[n] = f->contents[n - f->header.first];
        }
        st->s.pending = f->header.last;
        break;
    case WINDOW_ROLLED_BACK:
        if (st->closed_durable) {
            reply(st, f->header.boot, verdict);
        }
        break;
    case WINDOW_DUPLICATE:
    case WINDOW_HOLE:
    case WINDOW_NEED_HELLO:
    case WINDOW_STALE:
        reply(st, f->header.boot, verdict);
        break;
    case WINDOW_REFUSED:
    case WINDOW_FULL:
        HOLDS(false);
    }
}

static void receiver_open(void)
{
    g.commit_under_way = false;
    memcpy(g.streams, g.rd.streams, sizeof(g.streams));
}

static void receiver_set_back(void)
{
    unsigned what = (unsigned)dice(4);
    if (what == 0) {
        g.receiver_image = g.rd;
        g.has_receiver_image = true;
        return;
    }
    if (what == 1 && !g.has_receiver_image) {
        return;
    }
    for (unsigned c = 0; c < CONTENTS; c++) {
        g.forgiven[c] = g.forgiven[c] || g.rd.seen[c];
    }
    if (what == 1) {
        g.rd = g.receiver_image;
        receiver_open();
        g.set_backs++;
    } else if (what == 2 && dice(3) == 0) {
        memset(&g.rd, 0, sizeof(g.rd));
        receiver_open();
        g.set_backs++;
    }
}

/* ---- network: takes any message; loses, doubles, reorders ---- */
static void deliver(bool to_receiver)
{
    unsigned *count = to_receiver ? &g.frame_count : &g.answer_count;
    if (*count == 0) {
        return;
    }
    unsigned which = g.healing || chance(70) ? 0 : (unsigned)dice(*count);
    struct frame f = g.frames[which];
    struct answer a = g.answers[which];
    if (g.healing || !chance(20)) { /* taken out; else a copy stays */
        (*count)--;
        if (to_receiver) {
            memmove(&g.frames[which], &g.frames[which + 1], (*count - which) * sizeof(f));
        } else {
            memmove(&g.answers[which], &g.answers[which + 1], (*count - which) * sizeof(a));
        }
    }
    if (!g.healing && chance(20)) {
        return;
    }
    if (to_receiver) {
        receiver_receive(&f);
    } else {
        sender_receive(&a);
    }
}

static void pass_time(void)
{
    g.now_us += 1 + (int64_t)dice(60);
    int64_t due_us = g.sender_up ? window_sender_deadline(&g.w) : 0;
    if (due_us != 0 && g.now_us >= due_us) {
        window_sender_tick(&g.w, g.now_us);
    }
}

static void check_always(void)
{
    const struct stream *disk = &g.rd.streams[g.sd.epoch];
    uint64_t hwm = disk->s.hwm;
    for (uint64_t n = 1; n <= hwm; n++) {
        HOLDS(disk->log[n] != 0);
        if ((g.faults & SENDER_SET_BACK) == 0 && n <= g.sd.durable && disk->log[n] < CONTENTS) {
            HOLDS(disk->log[n] == g.sd.log[n]);
        }
    }
    if ((g.faults & SENDER_SET_BACK) == 0) {
        HOLDS(hwm <= g.sd.durable);
        HOLDS(g.rolled_back == 0 && !disk->s.closed); /* no false alarm */
    }
    if ((g.faults & RECEIVER_SET_BACK) == 0) {
        HOLDS(g.forgotten == 0);
        HOLDS(g.sd.trimmed <= hwm);
        HOLDS(!g.sender_up || g.w.base - 1 <= hwm);
    }
}

static void one_step(void)
{
    switch (dice(16)) {
    case 0: case 1: sender_append(); break;
    case 2: case 3: sender_commit(); break;
    case 4: case 5: case 6: sender_send(); break;
    case 7: case 8: case 9: deliver(true); break;
    case 10: case 11: deliver(false); break;
    case 12: receiver_submit(); break;
    case 13: receiver_done(); break;
    case 14: pass_time(); break;
    case 15:
        switch (g.healing ? 0 : dice(12)) {
        case 0: sender_start(); sender_rebase(); break;
        case 1: sender_start(); break;
        case 2: sender_start(); break;
        case 3: sender_rebase(); break;
        case 4: sender_crash(); break;
        case 5: receiver_open(); break;
        case 6: if (g.sender_up && !g.stale) { window_sender_disconnected(&g.w); } break;
        case 7: if (g.sender_up && !g.stale) { window_sender_connected(&g.w); } break;
        case 8: sender_crash(); sender_start(); break;
        case 9: if (g.faults & SENDER_SET_BACK) { sender_set_back(); } break;
        case 10: if (g.faults & RECEIVER_SET_BACK) { receiver_set_back(); } break;
        case 11: g.frame_count = g.answer_count = 0; break; /* the broker's database is wiped */
        }
        break;
    }
}

static bool drained(void)
{
    return g.sender_up && !g.stale && g.appended == g.sd.durable && g.w.base == g.sd.durable + 1;
}

static void run_seed(uint64_t seed, unsigned faults)
{
    memset(&g, 0, sizeof(g));
    g.seed = seed;
    g.faults = faults;
    g.random = mix_u64(seed);
    for (unsigned i = 0; i < STEPS && g.epochs_made < EPOCHS - 8; i++) {
        one_step();
        check_always();
    }
    g.healing = true;
    sender_start();
    if (!g.stale) {
        window_sender_connected(&g.w);
    }
    unsigned last_words = g.contents_made + 3; /* what is made after the faults arrives as well */
    for (unsigned i = 0; i < 200000 && !(drained() && g.contents_made >= last_words); i++) {
        if (g.contents_made < last_words || dice(16) >= 2) {
            one_step();
        }
        check_always();
    }
    HOLDS(drained());
    for (unsigned c = 1; c < CONTENTS; c++) {
        HOLDS(!g.sd.mine[c] || g.rd.seen[c] == 1 || g.forgiven[c]);
    }
}

static void run_seeds(unsigned faults, uint64_t from, uint64_t count, unsigned *ret_set_backs,
                      unsigned *ret_rolled_back)
{
    *ret_set_backs = *ret_rolled_back = 0;
    for (uint64_t seed = from; seed < from + count; seed++) {
        run_seed(seed, faults);
        *ret_set_backs += g.set_backs;
        *ret_rolled_back += g.rolled_back;
    }
}

static uint64_t seeds = 300;

static void nothing_is_lost_or_doubled_by_network_and_crashes(void **state)
{
    (void)state;
    unsigned set_backs, rolled_back;
    run_seeds(0, 1, seeds, &set_backs, &rolled_back);
    CHECK_INT(set_backs, 0);
}

static void a_sender_set_back_to_an_old_image_is_found_out(void **state)
{
    (void)state;
    unsigned set_backs, rolled_back;
    run_seeds(SENDER_SET_BACK, 100000, seeds, &set_backs, &rolled_back);
    CHECK(set_backs > seeds && rolled_back > seeds / 2);
}

static void a_receiver_that_lost_its_store_declares_the_gap(void **state)
{
    (void)state;
    unsigned set_backs, rolled_back;
    run_seeds(RECEIVER_SET_BACK, 200000, seeds, &set_backs, &rolled_back);
    CHECK(set_backs > seeds);
    CHECK_INT(rolled_back, 0);
}

int main(int argc, char **argv)
{
    seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : seeds;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_doubled_by_network_and_crashes),
        cmocka_unit_test(a_sender_set_back_to_an_old_image_is_found_out),
        cmocka_unit_test(a_receiver_that_lost_its_store_declares_the_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
