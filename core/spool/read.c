/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading in order. Numbers are contiguous, so a hole shows: an entry that is missing, or whose key was damaged,
 * comes as a damaged range exactly as one whose seal does not verify.
 */
#include "core/spool/spool_internal.h"

struct reading {
    struct spool *spool;
    uint64_t from, durable; /* places */
    uint64_t next;          /* place expected next; 0 = not known yet */
    bool (*fn)(void *arg, const struct spool_entry *entry);
    void *arg;
    bool stopped;
    enum err err;
};

/* An entry in places. One that was cut by a rebase begins below number 1: its rest is what counts. */
static bool give(struct reading *r, const struct spool_entry *entry)
{
    uint64_t shift = r->spool->lane.shift;
    struct spool_entry numbered = *entry;
    numbered.first = max_u64(entry->first, shift + 1) - shift;
    numbered.last = entry->last - shift;
    r->next = entry->last + 1;
    r->stopped = !r->fn(r->arg, &numbered);
    return !r->stopped;
}

static bool give_damaged(struct reading *r, uint64_t first, uint64_t last)
{
    struct spool_entry entry = {.first = first, .last = last, .damaged = true};
    return give(r, &entry);
}

/* The first entry of a read may begin below `from`. Its seal tells where; a damaged one is asked of its predecessor. */
static bool begin(struct reading *r, uint64_t last, bool good, uint64_t first)
{
    if (good && first <= r->from) {
        r->next = first;
        return true;
    }
    uint64_t before;
    r->err = read_predecessor(r->spool, last, &before);
    r->next = before + 1;
    return r->err == OK;
}

static bool on_entry(void *arg, struct slice key, struct slice value)
{
    struct reading *r = arg;
    struct spool *s = r->spool;
    uint64_t last, first = 0;
    struct slice body;
    if (!entry_key_parse(key, s->options.lane, s->lane.key_epoch, &last)) {
        return true;
    }
    enum entry_state state = entry_open(key, value, s->options.aead, &s->plain, &first, &body);
    if (state == ENTRY_NO_MEMORY) {
        r->err = ERR_NOMEM;
        return false;
    }
    bool good = state == ENTRY_GOOD && first >= 1 && first <= last;
    if (r->next == 0 && !begin(r, last, good, first)) {
        return false;
    }
    if (!good || first < r->next) {
        return give_damaged(r, r->next, last);
    }
    if (first > r->next && !give_damaged(r, r->next, first - 1)) {
        return false;
    }
    struct spool_entry entry = {.first = first, .last = last, .body = body};
    return give(r, &entry);
}

enum err spool_read(struct spool *spool, uint64_t from, bool (*fn)(void *arg, const struct spool_entry *entry),
                    void *arg)
{
    const struct lane *lane = &spool->lane;
    from = from > UINT64_MAX - lane->shift ? UINT64_MAX : max_u64(from + lane->shift, lane->trimmed + 1);
    if (from > lane->durable || (spool->staging && lane->epoch != 0)) {
        return OK;
    }
    struct reading r = {.spool = spool, .from = from, .durable = lane->durable, .fn = fn, .arg = arg};
    struct entry_key first = entry_key(spool->options.lane, lane->key_epoch, from);
    struct entry_key last = entry_key(spool->options.lane, lane->key_epoch, lane->durable);
    TRY(store_foreach(spool->store, spool->options.table, entry_key_slice(&first), entry_key_slice(&last), on_entry,
                      &r));
    if (r.err == OK && !r.stopped && r.next <= r.durable) {
        /* nothing more in the table, although there should be */
        (void)give_damaged(&r, r.next != 0 ? r.next : from, r.durable);
    }
    return r.err;
}

static bool remember_last(void *arg, struct slice key, struct slice value)
{
    struct reading *r = arg;
    (void)value;
    (void)entry_key_parse(key, r->spool->options.lane, r->spool->lane.key_epoch, &r->next);
    return true;
}

enum err read_predecessor(struct spool *spool, uint64_t last, uint64_t *ret_last)
{
    const struct lane *lane = &spool->lane;
    *ret_last = lane->trimmed;
    if (last <= lane->trimmed + 1) {
        return OK;
    }
    uint64_t upto = last - 1, reach = 1;
    for (;;) {
        /* The store reads forwards only: look at ever longer stretches before `last`. */
        uint64_t from = upto - lane->trimmed > reach ? upto - reach + 1 : lane->trimmed + 1;
        struct reading r = {.spool = spool};
        struct entry_key a = entry_key(spool->options.lane, lane->key_epoch, from);
        struct entry_key b = entry_key(spool->options.lane, lane->key_epoch, upto);
        TRY(store_foreach(spool->store, spool->options.table, entry_key_slice(&a), entry_key_slice(&b), remember_last,
                          &r));
        if (r.next != 0) {
            *ret_last = r.next;
            return OK;
        }
        if (from == lane->trimmed + 1) {
            return OK;
        }
        reach *= 8;
    }
}
