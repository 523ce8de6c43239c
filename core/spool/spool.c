/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers, bytes and what a batch may come to.
 *
 *   append   ring of pending entries -> settle(OK): durable     settle(failure): gone, next = durable + 1
 *   trim     trimmed moves at once; keys go with the batch. A trim always deletes from the beginning of the epoch, so
 *            one whose batch failed is made good by the next.
 *   drop     as a trim, but taken back on failure: its gap record went down with it
 *   create,  a second lane state is staged; it takes the first one's place on settle(OK) of its own batch. A rebase
 *   rebase   moves no entry: the record says that numbers begin anew behind a place (spool_internal.h)
 * Whether a settle is that of the batch in question is asked of the store (store_telling): trims under way before a
 * rebase settle as well.
 */
#include "core/spool/spool_internal.h"

#include "core/loop/loop.h"

enum { RING_FIRST = 8 };

enum err spool_open(struct loop *loop, struct store *store, const struct spool_options *options,
                    struct spool **ret_spool, struct fault *reterr)
{
    CLEANUP(spool_freep) struct spool *spool = calloc(1, sizeof *spool);
    if (spool == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory: lane %u of the store", options->lane);
    }
    spool->loop = loop;
    spool->store = store;
    spool->options = *options;
    buffer_init(&spool->plain, 1024 * 1024 + 1);
    TRY(meta_load(store, options, &spool->plain, &spool->lane, &spool->repaired, reterr));
    spool->acked = spool->lane.trimmed;
    *ret_spool = take(spool);
    return OK;
}

void spool_free(struct spool *spool)
{
    if (spool == NULL) {
        return;
    }
    buffer_deinit(&spool->plain);
    free(spool->ring);
    free(spool);
}

/* ---- looking ---- */
uint64_t spool_epoch(const struct spool *spool)
{
    return spool->lane.epoch;
}

uint64_t spool_origin(const struct spool *spool)
{
    return spool->lane.origin;
}

bool spool_repaired(const struct spool *spool)
{
    return spool->repaired;
}

uint64_t spool_trimmed(const struct spool *spool)
{
    return spool->lane.trimmed - spool->lane.shift;
}

uint64_t spool_durable(const struct spool *spool)
{
    return spool->lane.durable - spool->lane.shift;
}

uint64_t spool_next(const struct spool *spool)
{
    const struct lane *lane = spool->staging ? &spool->staged : &spool->lane;
    return lane->next - lane->shift;
}

/* Of a number that a caller named; the highest there is instead of one beyond all. */
static uint64_t place_of(const struct lane *lane, uint64_t number)
{
    return number > UINT64_MAX - lane->shift ? UINT64_MAX : number + lane->shift;
}

uint64_t spool_bytes(const struct spool *spool)
{
    return (spool->staging ? spool->staged.bytes : spool->lane.bytes) + spool->pending_bytes;
}

uint64_t spool_room(const struct spool *spool)
{
    uint64_t max = spool->options.max_bytes, bytes = spool_bytes(spool);
    if (max == 0) {
        return UINT64_MAX;
    }
    return bytes < max ? max - bytes : 0;
}

/* ---- the ring of pending entries ---- */
static enum err ring_reserve(struct spool *spool)
{
    if (spool->ring_count < spool->ring_cap) {
        return OK;
    }
    size_t cap = spool->ring_cap > 0 ? 2 * spool->ring_cap : RING_FIRST;
    struct pending *ring = malloc(cap * sizeof *ring);
    if (ring == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < spool->ring_count; i++) {
        ring[i] = spool->ring[(spool->ring_head + i) & (spool->ring_cap - 1)];
    }
    free(spool->ring);
    spool->ring = ring;
    spool->ring_cap = cap;
    spool->ring_head = 0;
    return OK;
}

static void ring_push(struct spool *spool, uint64_t last, uint64_t bytes)
{
    size_t at = (spool->ring_head + spool->ring_count) & (spool->ring_cap - 1);
    spool->ring[at] = (struct pending){.last = last, .bytes = bytes};
    spool->ring_count++;
    spool->pending_bytes += bytes;
}

static void ring_clear(struct spool *spool)
{
    spool->ring_head = 0;
    spool->ring_count = 0;
    spool->pending_bytes = 0;
}

/* ---- appending ---- */
enum err spool_append(struct spool *spool, struct store_batch *batch, uint64_t span, struct slice body,
                      uint64_t *ret_first)
{
    struct lane *lane = spool->staging ? &spool->staged : &spool->lane;
    if (lane->epoch == 0) {
        return ERR_AGAIN;
    }
    if (body.len > SPOOL_BODY_MAX || span == 0 || span > UINT64_MAX - 1 - lane->next) {
        return ERR_RANGE;
    }
    size_t bytes = entry_bytes(spool->options.aead, body.len);
    if (bytes > spool_room(spool)) {
        return ERR_FULL;
    }
    TRY(ring_reserve(spool));
    uint64_t first = lane->next, last = first + span - 1;
    struct entry_key key = entry_key(spool->options.lane, lane->key_epoch, last);
    TRY(entry_put(batch, spool->options.table, spool->options.aead, &key, first, body));
    ring_push(spool, last, bytes);
    lane->next = last + 1;
    *ret_first = first - lane->shift;
    return OK;
}

/* ---- walking over keys, for trims and recounts ---- */
struct tally {
    const struct spool *spool;
    uint64_t wanted; /* stop when so many bytes are counted */
    uint64_t bytes, last;
};

static bool add_to_tally(void *arg, struct slice key, struct slice value)
{
    struct tally *t = arg;
    const struct spool *s = t->spool;
    uint64_t last, bytes = key.len + value.len;
    if (!entry_key_parse(key, s->options.lane, s->lane.key_epoch, &last)) {
        return true;
    }
    if (last >= s->patch.first && last < s->patch.last) {
        return true; /* swallowed by the replacement under way */
    }
    t->bytes += last == s->patch.last ? s->patch.bytes : bytes;
    t->last = last;
    return t->bytes < t->wanted;
}

/* Entries whose last is in from..to, until wanted bytes are together. */
static enum err tally(const struct spool *spool, uint64_t from, uint64_t to, uint64_t wanted, struct tally *ret_tally)
{
    *ret_tally = (struct tally){.spool = spool, .wanted = wanted, .last = from - 1};
    if (from > to) {
        return OK;
    }
    struct entry_key a = entry_key(spool->options.lane, spool->lane.key_epoch, from);
    struct entry_key b = entry_key(spool->options.lane, spool->lane.key_epoch, to);
    return store_foreach(spool->store, spool->options.table, entry_key_slice(&a), entry_key_slice(&b), add_to_tally,
                         ret_tally);
}

static enum err delete_places(const struct spool *spool, struct store_batch *batch, uint64_t from, uint64_t to)
{
    struct entry_key a = entry_key(spool->options.lane, spool->lane.key_epoch, from);
    struct entry_key b = entry_key(spool->options.lane, spool->lane.key_epoch, to);
    return store_delete_range(batch, spool->options.table, entry_key_slice(&a), entry_key_slice(&b));
}

/* ---- trimming and dropping ---- */
/* Puts the deletions of everything up to upto, which is a last place of an entry, and the record that says so. */
static enum err put_trim(struct spool *spool, struct store_batch *batch, uint64_t upto)
{
    struct lane after = spool->lane;
    after.trimmed = upto;
    TRY(delete_places(spool, batch, 0, upto));
    return meta_put(batch, &spool->options, &after);
}

enum err spool_trim(struct spool *spool, struct store_batch *batch, uint64_t upto)
{
    struct lane *lane = &spool->lane;
    upto = min_u64(place_of(lane, upto), lane->durable);
    if (upto <= lane->trimmed || spool->staging) {
        return OK; /* a rebase under way replaces what would be trimmed */
    }
    struct tally t;
    TRY(tally(spool, lane->trimmed + 1, upto, UINT64_MAX, &t));
    if (t.last <= lane->trimmed) {
        return OK;
    }
    TRY(put_trim(spool, batch, t.last));
    lane->trimmed = t.last;
    lane->bytes -= min_u64(t.bytes, lane->bytes);
    spool->acked = t.last;
    return OK;
}

static void begin_dropping(struct spool *spool, const struct store_batch *batch)
{
    spool->dropping = true;
    spool->drop_serial = store_batch_serial(batch);
}

enum err spool_drop_oldest(struct spool *spool, struct store_batch *batch, uint64_t bytes, uint64_t keep_above,
                           uint64_t *ret_first, uint64_t *ret_last)
{
    struct lane *lane = &spool->lane;
    *ret_first = lane->trimmed - lane->shift + 1;
    *ret_last = lane->trimmed - lane->shift;
    uint64_t room = spool->options.max_bytes != 0 ? spool_room(spool) : 0;
    if (room >= bytes || spool->staging) {
        return OK;
    }
    struct tally t;
    TRY(tally(spool, lane->trimmed + 1, min_u64(place_of(lane, keep_above), lane->durable), bytes - room, &t));
    if (t.last <= lane->trimmed) {
        return OK;
    }
    TRY(put_trim(spool, batch, t.last));
    begin_dropping(spool, batch);
    spool->drop_first = lane->trimmed + 1;
    spool->drop_last = t.last;
    *ret_last = t.last - lane->shift;
    lane->trimmed = t.last;
    lane->bytes -= min_u64(t.bytes, lane->bytes);
    return OK;
}

/* An entry ends at this place. */
static enum err check_boundary(const struct spool *spool, uint64_t last)
{
    if (last == spool->lane.trimmed) {
        return OK;
    }
    struct tally t;
    TRY(tally(spool, last, last, UINT64_MAX, &t));
    return t.last == last ? OK : ERR_RANGE;
}

static bool was_just_dropped(const struct spool *spool, const struct store_batch *batch, uint64_t first, uint64_t last)
{
    return spool->dropping && spool->drop_serial == store_batch_serial(batch) && first == spool->drop_first &&
           last == spool->drop_last && last == spool->lane.trimmed;
}

enum err spool_replace(struct spool *spool, struct store_batch *batch, uint64_t first, uint64_t last, struct slice body)
{
    struct lane *lane = &spool->lane;
    if (first == 0 || last < first || last > spool_durable(spool) || body.len > SPOOL_BODY_MAX) {
        return ERR_RANGE;
    }
    first = place_of(lane, first);
    last = place_of(lane, last);
    if (spool->staging) {
        return ERR_AGAIN;
    }
    if (spool->patch.last > lane->trimmed && (first > spool->patch.first || last < spool->patch.last)) {
        return ERR_AGAIN; /* one at a time, unless the new one swallows the one under way */
    }
    struct tally t = {.bytes = 0};
    bool dropped = first <= lane->trimmed;
    if (dropped && !was_just_dropped(spool, batch, first, last)) {
        return ERR_RANGE; /* of what was dropped, all or nothing: the rest would be a hole */
    }
    if (!dropped) {
        TRY(check_boundary(spool, first - 1));
        TRY(check_boundary(spool, last));
        TRY(tally(spool, first, last, UINT64_MAX, &t));
    }
    TRY(delete_places(spool, batch, first, last));
    struct entry_key key = entry_key(spool->options.lane, lane->key_epoch, last);
    TRY(entry_put(batch, spool->options.table, spool->options.aead, &key, first, body));
    if (dropped) {
        struct lane after = *lane;
        after.trimmed = first - 1;
        TRY(meta_put(batch, &spool->options, &after));
        lane->trimmed = first - 1;
        spool->drop_last = 0;
    }
    begin_dropping(spool, batch);
    spool->patch.first = first;
    spool->patch.last = last;
    spool->patch.bytes = entry_bytes(spool->options.aead, body.len);
    lane->bytes -= min_u64(t.bytes, lane->bytes);
    lane->bytes += spool->patch.bytes;
    return OK;
}

/* ---- creation and rebase ---- */
static void stage(struct spool *spool, const struct store_batch *batch, const struct lane *lane)
{
    spool->staged = *lane;
    spool->staged_serial = store_batch_serial(batch);
    spool->staging = true;
}

enum err spool_create(struct spool *spool, struct store_batch *batch)
{
    if (spool->lane.epoch != 0 || spool->staging) {
        return ERR_CONFLICT;
    }
    struct lane lane = {.epoch = loop_random(spool->loop), .next = 1};
    lane.key_epoch = lane.epoch;
    TRY(meta_put(batch, &spool->options, &lane));
    stage(spool, batch, &lane);
    return OK;
}

/* Numbers begin anew behind place `keep`; with nothing behind it the places do as well. */
static enum err rebased(const struct spool *spool, uint64_t keep, struct lane *ret_lane)
{
    *ret_lane = (struct lane){.epoch = loop_random(spool->loop), .origin = spool->lane.epoch, .next = 1};
    ret_lane->key_epoch = ret_lane->epoch;
    if (ret_lane->epoch == spool->lane.epoch || ret_lane->epoch == spool->lane.key_epoch) {
        return ERR_AGAIN; /* once in 2^63 */
    }
    if (keep < spool->lane.durable) {
        struct tally t;
        TRY(tally(spool, keep + 1, spool->lane.durable, UINT64_MAX, &t));
        ret_lane->key_epoch = spool->lane.key_epoch;
        ret_lane->shift = ret_lane->trimmed = keep;
        ret_lane->durable = spool->lane.durable;
        ret_lane->next = spool->lane.next;
        ret_lane->bytes = t.bytes;
    }
    return OK;
}

enum err spool_rebase(struct spool *spool, struct store_batch *batch, uint64_t keep_above)
{
    struct lane *lane = &spool->lane;
    if (lane->epoch == 0 || spool->staging || spool->ring_count > 0 || spool->dropping) {
        return ERR_AGAIN;
    }
    uint64_t keep = min_u64(max_u64(place_of(lane, keep_above), lane->trimmed), lane->durable);
    struct lane next;
    TRY(rebased(spool, keep, &next));
    TRY(delete_places(spool, batch, 0, keep < lane->durable ? keep : UINT64_MAX));
    TRY(meta_put(batch, &spool->options, &next));
    if (next.key_epoch == next.epoch) {
        TRY(meta_drop_copy(batch, &spool->options));
    }
    stage(spool, batch, &next);
    return OK;
}

/* ---- settling ---- */
/* True when the batch with this serial is the one being told, or when nobody can say. */
static bool concerns(const struct spool *spool, uint64_t serial)
{
    uint64_t telling = store_telling(spool->store);
    return telling == 0 || telling == serial;
}

static void count_bytes(struct spool *spool)
{
    struct lane *lane = &spool->lane;
    struct tally t;
    if (tally(spool, lane->trimmed + 1, lane->durable, UINT64_MAX, &t) == OK) {
        lane->bytes = t.bytes; /* otherwise the store is failing, and the figure is the least of it */
    }
}

static void settle_appends(struct spool *spool, uint64_t last)
{
    while (spool->ring_count > 0 && spool->ring[spool->ring_head].last <= last) {
        struct pending done = spool->ring[spool->ring_head];
        spool->ring_head = (spool->ring_head + 1) & (spool->ring_cap - 1);
        spool->ring_count--;
        spool->pending_bytes -= done.bytes;
        spool->lane.bytes += done.bytes;
        spool->lane.durable = done.last;
    }
}

static void settle_good(struct spool *spool, uint64_t last)
{
    if (spool->staging && concerns(spool, spool->staged_serial)) {
        spool->lane = spool->staged;
        spool->acked = spool->lane.trimmed;
        spool->staging = false;
    }
    if (spool->staging) {
        return; /* the ring belongs to what is staged; this was an earlier trim */
    }
    settle_appends(spool, place_of(&spool->lane, last));
    if (spool->dropping && concerns(spool, spool->drop_serial)) {
        spool->dropping = false;
        spool->patch.last = 0;
    }
}

static void settle_failed(struct spool *spool)
{
    struct lane *lane = &spool->lane;
    spool->staging = false;
    ring_clear(spool);
    lane->next = lane->durable + 1;
    if (spool->dropping) {
        /* Earlier drops may have gone through: the committed record knows how far. */
        spool->dropping = false;
        spool->patch.last = 0;
        lane->trimmed = max_u64(spool->acked, meta_trimmed(spool->store, &spool->options));
        count_bytes(spool);
    }
}

void spool_settle(struct spool *spool, uint64_t last, enum err result)
{
    if (result == OK) {
        settle_good(spool, last);
    } else {
        settle_failed(spool);
    }
}
