/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever is done to a spool, in whatever order, with several commits under way, disks that fail and power
 * that goes, it holds what a list in memory holds.
 *
 * The model keeps what the disk must hold (changed by a batch when it is told OK, never otherwise), what it will
 * hold when all that is under way goes well, and how the spool must look from outside at this moment.
 */
#include "tests/unit/core/spool/world.h"

enum { ENTRIES_MAX = 4000, OPS_MAX = 64, FLIGHT_MAX = 4, STEPS = 3000, MAX_BYTES = 40000 };

struct model_entry {
    uint64_t first, last, body; /* body: what its bytes are made from */
    size_t len;
};
struct disk {
    uint64_t epoch, trimmed;
    struct model_entry entries[ENTRIES_MAX];
    size_t count;
};
enum model_op_kind { MODEL_APPEND, MODEL_DELETE_UPTO, MODEL_REPLACE, MODEL_TRIMMED, MODEL_REBASE };
struct model_op {
    enum model_op_kind kind;
    struct model_entry entry;
    uint64_t number; /* DELETE_UPTO, TRIMMED: upto; REBASE: keep above */
};
struct model_batch {
    struct run *run;
    struct store_batch *batch;
    struct model_op ops[OPS_MAX];
    size_t count;
    uint64_t last; /* for settle */
    bool drops;
};
struct view {
    uint64_t trimmed, durable, next, acked;
    bool staging;
    unsigned dropping; /* batches under way that drop or replace */
};
struct run {
    struct world w;
    struct disk disk, hoped;
    struct view view;
    struct model_batch flight[FLIGHT_MAX], filling;
    size_t in_flight;
    uint64_t random;
    unsigned told, failed;
};

static uint64_t draw(struct run *r, uint64_t below)
{
    r->random = mix_u64(r->random);
    return (r->random >> 11) % below;
}

static size_t size_of(const struct run *r, const struct model_entry *e)
{
    return 30 + e->len + (r->w.aead != NULL ? 28 : 0);
}

static void make_body(const struct model_entry *e, uint8_t *out)
{
    for (size_t i = 0; i < e->len; i++) {
        out[i] = (uint8_t)mix_u64(e->body + i);
    }
}

static bool readable(const struct run *r, const struct model_entry *e)
{
    return e->last > r->view.trimmed && e->last <= r->view.durable;
}

/* ---- the disk of the model ---- */
static void disk_apply(struct disk *d, const struct model_op *op)
{
    size_t kept = 0;
    switch (op->kind) {
    case MODEL_APPEND:
        CHECK(d->count < ENTRIES_MAX);
        d->entries[d->count++] = op->entry;
        break;
    case MODEL_DELETE_UPTO:
        for (size_t i = 0; i < d->count; i++) {
            if (d->entries[i].last > op->number) {
                d->entries[kept++] = d->entries[i];
            }
        }
        d->count = kept;
        d->trimmed = op->number;
        break;
    case MODEL_REPLACE:
        for (size_t i = 0; i < d->count; i++) {
            if (d->entries[i].last < op->entry.first || d->entries[i].last > op->entry.last) {
                d->entries[kept++] = d->entries[i];
            }
        }
        memmove(d->entries + 1, d->entries, kept * sizeof d->entries[0]); /* always the oldest */
        d->entries[0] = op->entry;
        d->count = kept + 1;
        break;
    case MODEL_TRIMMED: d->trimmed = op->number; break;
    case MODEL_REBASE: {
        uint64_t next = 1;
        for (size_t i = 0; i < d->count; i++) {
            struct model_entry e = d->entries[i];
            if (e.last > op->number) {
                uint64_t span = e.last - max_u64(e.first - 1, op->number);
                e.first = next;
                e.last = next + span - 1;
                next += span;
                d->entries[kept++] = e;
            }
        }
        d->count = kept;
        d->trimmed = 0;
        break;
    }
    }
}

/* ---- batches ---- */
static void begin_batch(struct run *r)
{
    r->filling = (struct model_batch){.run = r, .batch = world_batch(&r->w)};
}

static void note(struct run *r, struct model_op op)
{
    CHECK(r->filling.count < OPS_MAX);
    r->filling.ops[r->filling.count++] = op;
    disk_apply(&r->hoped, &op);
}

static bool room_for_ops(const struct run *r)
{
    return r->filling.count + 4 < OPS_MAX;
}

static void forget_first(struct run *r)
{
    memmove(r->flight, r->flight + 1, --r->in_flight * sizeof r->flight[0]);
}

static void on_told(void *arg, enum err result)
{
    struct run *r = arg;
    struct model_batch *b = &r->flight[0];
    struct view *v = &r->view;
    r->told++;
    spool_settle(r->w.spool, b->last, result);
    bool rebased = false;
    if (result == OK) {
        for (size_t i = 0; i < b->count; i++) {
            disk_apply(&r->disk, &b->ops[i]);
            rebased |= b->ops[i].kind == MODEL_REBASE;
        }
        v->dropping -= b->drops;
        if (rebased) {
            v->staging = false;
            v->trimmed = 0;
            v->acked = 0;
            r->disk.epoch = spool_epoch(r->w.spool);
        }
        if (!v->staging) {
            v->durable = r->disk.count > 0 ? r->disk.entries[r->disk.count - 1].last : rebased ? 0 : v->durable;
        }
    } else {
        r->failed++;
        r->hoped = r->disk;
        v->staging = false;
        v->next = v->durable + 1;
        if (v->dropping > 0) {
            v->trimmed = max_u64(v->acked, r->disk.trimmed);
        }
        v->dropping = 0;
        for (size_t i = 0; i < r->in_flight; i++) {
            r->flight[i].drops = false;
        }
        r->filling.drops = false; /* doomed as well */
    }
    forget_first(r);
}

static void submit(struct run *r)
{
    if (r->in_flight == FLIGHT_MAX) {
        return;
    }
    r->filling.last = r->view.next - 1;
    r->flight[r->in_flight++] = r->filling;
    CHECK_OK(store_commit(r->w.store, r->filling.batch, on_told, r));
    begin_batch(r);
}

/* ---- operations ---- */
static void do_append(struct run *r)
{
    uint8_t body[600];
    struct model_entry e = {.first = r->view.next, .body = draw(r, 1u << 30)};
    e.len = draw(r, 10) == 0 ? draw(r, 600) : draw(r, 60);
    e.last = e.first + (draw(r, 12) == 0 ? draw(r, 9) : 0);
    make_body(&e, body);
    uint64_t room = spool_room(r->w.spool), first = 0;
    enum err err = spool_append(r->w.spool, r->filling.batch, e.last - e.first + 1, slice_of(body, e.len), &first);
    if (size_of(r, &e) > room) {
        CHECK_ERR(err, ERR_FULL);
        return;
    }
    CHECK_OK(err);
    CHECK_INT(first, e.first);
    note(r, (struct model_op){.kind = MODEL_APPEND, .entry = e});
    r->view.next = e.last + 1;
}

static uint64_t some_number(struct run *r)
{
    return r->view.trimmed + draw(r, r->view.durable - r->view.trimmed + 3);
}

static void do_trim(struct run *r)
{
    uint64_t upto = some_number(r), cut = r->view.trimmed;
    CHECK_OK(spool_trim(r->w.spool, r->filling.batch, upto));
    for (size_t i = 0; i < r->hoped.count && !r->view.staging; i++) {
        const struct model_entry *e = &r->hoped.entries[i];
        cut = readable(r, e) && e->last <= upto ? e->last : cut;
    }
    if (cut > r->view.trimmed) {
        note(r, (struct model_op){.kind = MODEL_DELETE_UPTO, .number = cut});
        r->view.trimmed = cut;
        r->view.acked = cut;
    }
}

static void mark_drop(struct run *r)
{
    r->view.dropping += !r->filling.drops;
    r->filling.drops = true;
}

static void put_gap(struct run *r, uint64_t first, uint64_t last)
{
    struct model_entry e = {.first = first, .last = last, .body = draw(r, 1u << 30), .len = draw(r, 30)};
    uint8_t body[32];
    make_body(&e, body);
    CHECK_OK(spool_replace(r->w.spool, r->filling.batch, first, last, slice_of(body, e.len)));
    note(r, (struct model_op){.kind = MODEL_REPLACE, .entry = e});
    mark_drop(r);
}

static void do_drop(struct run *r)
{
    uint64_t bytes = 1 + draw(r, MAX_BYTES / 4), keep_above = some_number(r), first, last, cut = r->view.trimmed;
    uint64_t room = spool_room(r->w.spool), freed = 0, from = r->view.trimmed + 1;
    CHECK_OK(spool_drop_oldest(r->w.spool, r->filling.batch, bytes, keep_above, &first, &last));
    for (size_t i = 0; i < r->hoped.count && !r->view.staging; i++) {
        const struct model_entry *e = &r->hoped.entries[i];
        if (readable(r, e) && e->last <= keep_above && room + freed < bytes) {
            freed += size_of(r, e);
            cut = e->last;
        }
    }
    CHECK_INT(first, from);
    CHECK_INT(last, cut);
    if (cut == r->view.trimmed) {
        return;
    }
    note(r, (struct model_op){.kind = MODEL_DELETE_UPTO, .number = cut});
    mark_drop(r);
    r->view.trimmed = cut;
    if (draw(r, 2) == 0) {
        put_gap(r, first, last);
        note(r, (struct model_op){.kind = MODEL_TRIMMED, .number = first - 1});
        r->view.trimmed = first - 1;
    }
}

static void do_replace(struct run *r)
{
    uint64_t last = 0, wanted = 1 + draw(r, 5);
    for (size_t i = 0; i < r->hoped.count && wanted > 0; i++) {
        if (readable(r, &r->hoped.entries[i])) {
            last = r->hoped.entries[i].last;
            wanted--;
        }
    }
    if (last != 0 && !r->view.staging) {
        put_gap(r, r->view.trimmed + 1, last);
    }
}

static void do_rebase(struct run *r)
{
    bool pending = r->view.next != r->view.durable + 1 || r->view.dropping > 0 || r->view.staging;
    uint64_t keep_above = some_number(r);
    enum err err = spool_rebase(r->w.spool, r->filling.batch, keep_above);
    if (pending) {
        CHECK_ERR(err, ERR_AGAIN);
        return;
    }
    CHECK_OK(err);
    uint64_t floor = max_u64(keep_above, r->view.trimmed), next = 1;
    for (size_t i = 0; i < r->hoped.count; i++) {
        const struct model_entry *e = &r->hoped.entries[i];
        next += e->last > floor ? e->last - max_u64(e->first - 1, floor) : 0;
    }
    note(r, (struct model_op){.kind = MODEL_REBASE, .number = floor});
    r->view.staging = true;
    r->view.next = next;
    if (draw(r, 2) == 0) {
        submit(r);
    }
}

static void do_restart(struct run *r)
{
    store_batch_free(r->filling.batch);
    r->in_flight = 0;
    r->hoped = r->disk;
    store_disk_set_mode(r->w.disk, STORE_DISK_OK);
    uint64_t durable = r->disk.count > 0 ? r->disk.entries[r->disk.count - 1].last : r->disk.trimmed;
    world_restart(&r->w);
    CHECK(spool_epoch(r->w.spool) == r->disk.epoch);
    r->view = (struct view){
        .trimmed = r->disk.trimmed, .acked = r->disk.trimmed, .durable = durable, .next = durable + 1};
    begin_batch(r);
}

/* ---- comparison ---- */
struct comparison {
    struct run *run;
    size_t at;
};

static bool compare_entry(void *arg, const struct spool_entry *entry)
{
    struct comparison *c = arg;
    const struct disk *d = &c->run->disk;
    CHECK(c->at < d->count);
    const struct model_entry *e = &d->entries[c->at++];
    uint8_t body[600];
    make_body(e, body);
    CHECK(!entry->damaged);
    CHECK_INT(entry->first, e->first);
    CHECK_INT(entry->last, e->last);
    CHECK(slice_equal(entry->body, slice_of(body, e->len)));
    return true;
}

static void compare(struct run *r)
{
    const struct spool *s = r->w.spool;
    CHECK_INT(spool_trimmed(s), r->view.trimmed);
    CHECK_INT(spool_durable(s), r->view.durable);
    CHECK_INT(spool_next(s), r->view.next);
    uint64_t from = draw(r, 2) ? 0 : some_number(r), bytes = 0;
    struct comparison c = {.run = r};
    while (c.at < r->disk.count && (r->disk.entries[c.at].last < from || !readable(r, &r->disk.entries[c.at]))) {
        c.at++;
    }
    CHECK_OK(spool_read(r->w.spool, from, compare_entry, &c));
    if (r->view.staging) {
        return;
    }
    for (; c.at < r->disk.count; c.at++) {
        CHECK(!readable(r, &r->disk.entries[c.at]));
    }
    for (size_t i = 0; i < r->hoped.count; i++) {
        bytes += r->hoped.entries[i].last > r->view.trimmed ? size_of(r, &r->hoped.entries[i]) : 0;
    }
    CHECK_INT(spool_bytes(s), bytes);
}

static void step(struct run *r)
{
    uint64_t what = draw(r, 100);
    if (what >= 45 && what < 60) {
        loop_world_run(r->w.world, loop_world_now_us(r->w.world) + (int64_t)draw(r, 3 * WORLD_LATENCY_US));
    } else if (what >= 60 && what < 75) {
        submit(r);
    } else if (what >= 75 && what < 78) {
        static const enum store_disk_mode modes[] = {STORE_DISK_OK, STORE_DISK_OK, STORE_DISK_EIO, STORE_DISK_FULL};
        store_disk_set_mode(r->w.disk, modes[draw(r, COUNT_OF(modes))]);
    } else if (what == 78 && draw(r, 3) == 0) {
        do_restart(r);
    } else if (!room_for_ops(r)) {
        submit(r);
    } else if (what < 45) {
        do_append(r);
    } else if (what < 88) {
        do_trim(r);
    } else if (what < 93) {
        do_drop(r);
    } else if (what < 97) {
        do_replace(r);
    } else {
        do_rebase(r);
    }
    compare(r);
}

static void run_model(uint64_t seed, struct crypt_aead *aead)
{
    static struct run r;
    memset(&r, 0, sizeof r);
    r.random = seed;
    world_begin(&r.w, aead);
    spool_free(r.w.spool);
    r.w.max_bytes = MAX_BYTES;
    CHECK_OK(world_try_open(&r.w));
    world_create(&r.w);
    r.disk.epoch = spool_epoch(r.w.spool);
    r.view.next = 1;
    begin_batch(&r);
    for (int i = 0; i < STEPS; i++) {
        step(&r);
    }
    CHECK(r.told > 100 && r.failed > 5);
    store_batch_free(r.filling.batch);
    world_end(&r.w);
}

static void a_spool_holds_what_a_list_in_memory_holds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        run_model(seed, NULL);
    }
}

static void an_encrypted_spool_holds_what_a_list_in_memory_holds(void **state)
{
    (void)state;
    static const uint8_t key[CRYPT_KEY_BYTES] = {3};
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    CHECK_OK(crypt_aead_new(key, &aead));
    for (uint64_t seed = 1001; seed <= 1050; seed++) {
        run_model(seed, aead);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spool_holds_what_a_list_in_memory_holds),
        cmocka_unit_test(an_encrypted_spool_holds_what_a_list_in_memory_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
