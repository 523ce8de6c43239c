/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: one whole hop, outbox to inbox over the real spools on memory disks, delivers every durable record once and
 * in order through loss, repetition, reordering, crashes and failing disks of either side, and restored images of
 * the sender.
 *
 * Virtual time; every seed is a different history. Records carry a number of their own (their content), so that a new
 * record under an old number is told from a repetition.
 */
#include "core/inbox/inbox.h"
#include "core/outbox/outbox.h"
#include "tests/support/check.h"

enum { TABLE_SPOOL, TABLE_META, TABLE_STREAMS, TABLES, CONTENTS = 20000, PACKETS = 256, ENTRIES = 8, LANE = 1 };

struct packet { /* a frame or an answer on its way */
    struct loop_timer timer;
    bool to_receiver;
    struct window_header header;
    struct { uint64_t first, last; char body[16]; } entries[ENTRIES];
    size_t count;
    struct inbox_answer answer;
};
static struct {
    uint64_t seed, random;
    struct loop_world *world;
    struct loop *net;
    struct packet packets[PACKETS];
    bool healed;
    /* sender */
    struct loop *sloop;
    struct store_disk *sdisk, *image;
    struct store *sstore;
    struct spool *sspool;
    struct outbox *outbox;
    struct loop_timer produce, rebase;
    uint64_t boot_seq, keep_above;
    uint64_t commits[64]; /* last numbers of the batches under way */
    unsigned commit_count;
    bool connected, rebasing, image_used;
    unsigned contents, made_since_heal, roll_backs;
    /* receiver */
    struct loop *rloop;
    struct store_disk *rdisk;
    struct store *rstore;
    struct spool *rspools[INBOX_LANES];
    struct inbox *inbox;
    uint8_t seen[CONTENTS];
} g;

static uint64_t dice(uint64_t sides)
{
    g.random += UINT64_C(0x9e3779b97f4a7c15);
    return mix_u64(g.random) % sides;
}
#define HOLDS(expr)                                                                                                    \
    do {                                                                                                               \
        if (!(expr)) {                                                                                                 \
            fprintf(stderr, "seed %llu: ", (unsigned long long)g.seed);                                                \
            CHECK(expr);                                                                                               \
        }                                                                                                              \
    } while (0)

static void run(int64_t us)
{
    loop_world_run(g.world, loop_world_now_us(g.world) + us);
}

/* ---- network ---- */
static void arrive(void *arg)
{
    struct packet *p = arg;
    if (p->to_receiver && g.inbox != NULL) {
        struct inbox_entry entries[ENTRIES];
        for (size_t i = 0; i < p->count; i++) {
            entries[i] = (struct inbox_entry){p->entries[i].first, p->entries[i].last, slice_str(p->entries[i].body)};
        }
        (void)inbox_frame(g.inbox, "dev", &p->header, entries, p->count);
    } else if (!p->to_receiver && g.outbox != NULL && g.connected) {
        outbox_answer(g.outbox, p->answer.epoch, p->answer.boot, p->answer.verdict, p->answer.hwm, p->answer.owner);
    }
}

static void transmit(const struct packet *packet)
{
    unsigned copies = g.healed ? 1 : dice(100) < 15 ? 0 : dice(100) < 15 ? 2 : 1;
    for (size_t i = 0; i < PACKETS && copies > 0; i++) {
        struct packet *p = &g.packets[i];
        if (!loop_timer_pending(&p->timer)) {
            *p = *packet;
            loop_timer_init(&p->timer, g.net, arrive, p);
            loop_timer_in(&p->timer, g.healed || dice(10) > 0 ? MS_US : (int64_t)dice(3000) * MS_US);
            copies--;
        }
    }
}

/* ---- sender ---- */
static enum err on_send(void *arg, const struct window_header *header, const struct spool_entry *entries, size_t count)
{
    (void)arg;
    struct packet p = {.to_receiver = true, .header = *header, .count = count};
    for (size_t i = 0; i < count; i++) {
        HOLDS(entries[i].body.len < 16);
        p.entries[i].first = entries[i].first;
        p.entries[i].last = entries[i].last;
        memcpy(p.entries[i].body, entries[i].body.ptr, entries[i].body.len);
    }
    if (!g.connected || (!g.healed && dice(30) == 0)) {
        return ERR_AGAIN;
    }
    transmit(&p);
    return OK;
}

static enum err on_damaged(void *arg, uint64_t first, uint64_t last, struct buffer *out)
{
    (void)arg;
    HOLDS(first == last && first == outbox_acked(g.outbox)); /* nothing is damaged here: only a hello's carrier */
    buffer_put_str(out, "gap");
    return buffer_err(out);
}

static void on_rolled_back(void *arg, uint64_t keep_above)
{
    (void)arg;
    g.rebasing = true;
    g.keep_above = keep_above;
    g.roll_backs++;
    loop_timer_in(&g.rebase, (int64_t)dice(100) * MS_US);
}

static void on_rebased(void *arg, enum err result)
{
    (void)arg;
    spool_settle(g.sspool, 0, result);
    if (result != OK) {
        loop_timer_in(&g.rebase, 50 * MS_US);
        return;
    }
    g.rebasing = false;
    outbox_restart(g.outbox, spool_origin(g.sspool));
}

static void try_rebase(void *arg)
{
    (void)arg;
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(g.sstore, &batch));
    if (spool_rebase(g.sspool, batch, g.keep_above) != OK) {
        store_batch_free(batch); /* appends are not settled */
        loop_timer_in(&g.rebase, 20 * MS_US);
        return;
    }
    g.image_used = true; /* a limit that window.h states */
    CHECK_OK(store_commit(g.sstore, batch, on_rebased, NULL));
}

static void on_produced(void *arg, enum err result)
{
    const uint64_t *last = arg;
    spool_settle(g.sspool, *last, result);
    outbox_kick(g.outbox);
}

static void produce(void *arg)
{
    (void)arg;
    loop_timer_in(&g.produce, (int64_t)(5 + dice(60)) * MS_US);
    if (g.rebasing || g.contents > CONTENTS - 20 || (g.healed && g.made_since_heal > 20)) {
        return;
    }
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(g.sstore, &batch));
    for (uint64_t i = dice(4); i < 4; i++) {
        char body[16];
        uint64_t first;
        snprintf(body, sizeof(body), "%u", ++g.contents);
        g.made_since_heal += g.healed;
        CHECK_OK(spool_append(g.sspool, batch, 1, slice_str(body), &first));
    }
    uint64_t *last = &g.commits[g.commit_count++ % COUNT_OF(g.commits)];
    *last = spool_next(g.sspool) - 1;
    CHECK_OK(store_commit(g.sstore, batch, on_produced, last));
}

static void sender_start(void)
{
    static const struct outbox_handlers handlers = {
        .send = on_send, .on_rolled_back = on_rolled_back, .on_damaged = on_damaged};
    const struct spool_options spool = {.table = TABLE_SPOOL, .meta_table = TABLE_META, .lane = LANE};
    CHECK_OK(loop_new_virtual(g.world, &g.sloop));
    loop_set_worker_latency(g.sloop, 3 * MS_US);
    CHECK_OK(store_open_memory(g.sloop, g.sdisk, 2, &g.sstore));
    CHECK_OK(spool_open(g.sloop, g.sstore, &spool, &g.sspool, NULL));
    BUFFER(value, 64);
    g.boot_seq = 0; /* the count of starts is on the disk, too, and goes back with it */
    if (store_get(g.sstore, TABLE_META, slice_str("starts"), &value) == OK) {
        memcpy(&g.boot_seq, value.ptr, 8);
    }
    g.boot_seq++;
    store_disk_set_mode(g.sdisk, STORE_DISK_OK);
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(g.sstore, &batch));
    CHECK_OK(store_put(batch, TABLE_META, slice_str("starts"), slice_of(&g.boot_seq, 8)));
    if (spool_epoch(g.sspool) == 0) {
        CHECK_OK(spool_create(g.sspool, batch));
    }
    CHECK_OK(store_commit(g.sstore, batch, NULL, NULL));
    run(5 * MS_US); /* durable before anything is sent */
    spool_settle(g.sspool, 0, OK);
    const struct outbox_options options = {.window = {.max_frames = 6,
                                                      .max_bytes = 4096,
                                                      .min_rto_us = 50 * MS_US,
                                                      .first_rto_us = 300 * MS_US,
                                                      .max_rto_us = 5 * SECOND_US},
                                           .frame_entries = ENTRIES,
                                           .boot = (uint32_t)(loop_random(g.sloop) | 1),
                                           .boot_seq = g.boot_seq,
                                           .lane = LANE,
                                           .state_table = TABLE_META};
    CHECK_OK(outbox_new(g.sloop, g.sstore, g.sspool, &options, &handlers, &g.outbox));
    loop_timer_init(&g.produce, g.sloop, produce, NULL);
    loop_timer_init(&g.rebase, g.sloop, try_rebase, NULL);
    loop_timer_in(&g.produce, MS_US);
    g.rebasing = false;
    g.connected = false;
}

static void sender_stop(void)
{
    loop_timer_cancel(&g.produce);
    loop_timer_cancel(&g.rebase);
    outbox_free(g.outbox);
    g.outbox = NULL;
    spool_free(g.sspool);
    store_close(g.sstore);
    loop_free(g.sloop);
}

static void sender_connect(bool up)
{
    if (up && !g.connected) {
        g.connected = true;
        outbox_connected(g.outbox);
    } else if (!up && g.connected) {
        g.connected = false;
        outbox_disconnected(g.outbox);
    }
}

/* The limits that window.h states: the image is of a start that was answered, and has a number in it. */
static bool worth_an_image(void)
{
    BUFFER(value, 64);
    return !g.rebasing && spool_durable(g.sspool) > 0 &&
           store_get(g.sstore, TABLE_META, slice_of("outbox/\1", 8), &value) == OK && value.ptr[1] == 1;
}

static void sender_image(void)
{
    if (g.image != NULL && !g.image_used && dice(2) == 0) {
        sender_stop();
        store_disk_free(g.sdisk);
        CHECK_OK(store_disk_clone(g.image, &g.sdisk));
        sender_start();
    } else if (worth_an_image()) {
        store_disk_free(g.image);
        CHECK_OK(store_disk_clone(g.sdisk, &g.image));
        g.image_used = false;
    }
}

/* ---- receiver ---- */
static enum err on_entry(void *arg, const char *sender, const struct window_header *header,
                         const struct inbox_entry *entry, bool forgotten, struct buffer *out)
{
    (void)arg;
    (void)sender;
    HOLDS(!forgotten && entry->first == entry->last);
    buffer_printf(out, "%016llx %llu ", (unsigned long long)header->epoch, (unsigned long long)entry->first);
    buffer_put_slice(out, entry->body);
    return buffer_err(out);
}

static void on_answer(void *arg, const struct inbox_answer *answer)
{
    (void)arg;
    transmit(&(struct packet){.answer = *answer});
}

static void on_durable(void *arg)
{
    (void)arg;
}

static void on_closed(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    (void)arg, (void)sender, (void)epoch, (void)stream;
}

static void receiver_start(void)
{
    static const struct inbox_handlers handlers = {
        .on_entry = on_entry, .on_answer = on_answer, .on_durable = on_durable, .on_closed = on_closed};
    const struct inbox_options options = {.stream_table = TABLE_STREAMS, .max_batch = 16};
    CHECK_OK(loop_new_virtual(g.world, &g.rloop));
    loop_set_worker_latency(g.rloop, (int64_t)(1 + dice(30)) * MS_US);
    CHECK_OK(store_open_memory(g.rloop, g.rdisk, TABLES, &g.rstore));
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(g.rstore, &batch));
    for (uint8_t lane = 0; lane < INBOX_LANES; lane++) {
        const struct spool_options spool = {.table = TABLE_SPOOL, .meta_table = TABLE_META, .lane = lane};
        CHECK_OK(spool_open(g.rloop, g.rstore, &spool, &g.rspools[lane], NULL));
        if (spool_epoch(g.rspools[lane]) == 0) {
            CHECK_OK(spool_create(g.rspools[lane], batch));
        }
    }
    store_disk_set_mode(g.rdisk, STORE_DISK_OK);
    CHECK_OK(store_commit(g.rstore, batch, NULL, NULL));
    run(40 * MS_US);
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        spool_settle(g.rspools[lane], 0, OK);
    }
    CHECK_OK(inbox_new(g.rloop, g.rstore, g.rspools, &options, &handlers, &g.inbox, NULL));
}

static void receiver_stop(void)
{
    inbox_free(g.inbox);
    g.inbox = NULL;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        spool_free(g.rspools[lane]);
    }
    store_close(g.rstore);
    loop_free(g.rloop);
}

/* ---- judging ---- */
struct judge {
    char epoch[17];
    uint64_t number; /* the last of this epoch */
};

static bool judge_entry(void *arg, const struct spool_entry *entry)
{
    struct judge *j = arg;
    char text[64] = {0}, epoch[17];
    unsigned long long number;
    unsigned content;
    HOLDS(!entry->damaged && entry->body.len < sizeof(text));
    memcpy(text, entry->body.ptr, entry->body.len);
    HOLDS(sscanf(text, "%16s %llu %u", epoch, &number, &content) == 3);
    if (strcmp(epoch, j->epoch) != 0) {
        memcpy(j->epoch, epoch, sizeof(epoch));
        j->number = 0;
    }
    HOLDS(number == j->number + 1); /* an epoch that is closed never speaks again */
    j->number = number;
    HOLDS(content < CONTENTS && g.seen[content]++ == 0);
    return true;
}

static bool note_mine(void *arg, const struct spool_entry *entry)
{
    (void)arg;
    char text[16] = {0};
    memcpy(text, entry->body.ptr, entry->body.len);
    unsigned content = (unsigned)strtoul(text, NULL, 10);
    HOLDS(g.seen[content] == 1); /* durable here, so delivered, though not trimmed yet */
    return true;
}

static void step(bool images)
{
    int64_t pause_us = (int64_t)dice(400) * MS_US;
    switch (dice(images ? 13 : 12)) {
    case 0: sender_stop(); sender_start(); break;
    case 1: receiver_stop(); run(pause_us); receiver_start(); break;
    case 2: sender_connect(false); break;
    case 3: case 4: case 5: sender_connect(true); break;
    case 6: store_disk_set_mode(g.rdisk, dice(2) ? STORE_DISK_EIO : STORE_DISK_FULL); break;
    case 7: case 8: store_disk_set_mode(g.rdisk, STORE_DISK_OK); break;
    case 9: store_disk_set_mode(g.sdisk, STORE_DISK_EIO); break;
    case 10: case 11: store_disk_set_mode(g.sdisk, STORE_DISK_OK); break;
    case 12: sender_image(); break;
    }
    run(pause_us);
    outbox_kick(g.outbox); /* the bus has room again */
}

static void run_seed(uint64_t seed, bool images)
{
    memset(&g, 0, sizeof(g));
    g.seed = seed;
    g.random = mix_u64(seed);
    CHECK_OK(loop_world_new(seed, &g.world));
    CHECK_OK(loop_new_virtual(g.world, &g.net));
    CHECK_OK(store_disk_new(64 << 20, &g.sdisk));
    CHECK_OK(store_disk_new(64 << 20, &g.rdisk));
    receiver_start();
    sender_start();
    for (int i = 0; i < 120; i++) {
        step(images);
    }
    store_disk_set_mode(g.rdisk, STORE_DISK_OK);
    store_disk_set_mode(g.sdisk, STORE_DISK_OK);
    g.healed = true;
    sender_connect(true);
    outbox_kick(g.outbox);
    for (int i = 0; i < 600 && (g.made_since_heal <= 20 || g.rebasing ||
                                outbox_acked(g.outbox) < spool_next(g.sspool) - 1); i++) {
        run(SECOND_US / 10);
    }
    HOLDS(g.made_since_heal > 20 && outbox_acked(g.outbox) == spool_durable(g.sspool));
    struct judge judge = {.number = 0};
    CHECK_OK(spool_read(g.rspools[LANE], 1, judge_entry, &judge));
    CHECK_OK(spool_read(g.sspool, spool_trimmed(g.sspool) + 1, note_mine, NULL));
    if (!images) {
        HOLDS(g.roll_backs == 0 && judge.number == spool_durable(g.sspool)); /* none lost: numbers are contiguous */
    }
    sender_stop();
    receiver_stop();
    for (size_t i = 0; i < PACKETS; i++) {
        loop_timer_cancel(&g.packets[i].timer);
    }
    loop_free(g.net);
    loop_world_free(g.world);
    store_disk_free(g.sdisk);
    store_disk_free(g.rdisk);
    store_disk_free(g.image);
}

static uint64_t seeds = 40;

static void a_hop_delivers_once_and_in_order_through_everything(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run_seed(seed, false);
    }
}

static void restored_images_of_the_sender_neither_lose_nor_repeat(void **state)
{
    (void)state;
    unsigned roll_backs = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run_seed(100000 + seed, true);
        roll_backs += g.roll_backs;
    }
    CHECK(roll_backs > seeds / 4);
}

int main(int argc, char **argv)
{
    seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : seeds;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hop_delivers_once_and_in_order_through_everything),
        cmocka_unit_test(restored_images_of_the_sender_neither_lose_nor_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
