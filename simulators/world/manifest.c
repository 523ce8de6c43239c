/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each number of each node's stream stands for. A gap names numbers only, those of a device or those of a hop;
 * with this the checker knows which records were declared lost, and need not take a gap's length for an excuse.
 *
 * In: every entry that a disk takes in (device: a Record, gateway and bridge: a Forward). One page per node, lane and
 * epoch, its lines in the order of their places (core/spool); a place that is put again after a failed commit
 * replaces its line.
 */
#include <uthash.h>

#include "proto/receive/receive.h"
#include "simulators/world/world_internal.h"

struct page_key {
    uint64_t epoch;
    uint32_t node, lane;
};
struct page {
    struct page_key key;
    uint64_t alias_of, shift; /* the epoch under which the lines are; 0 = this one */
    struct manifest_line *lines; /* owned; by last */
    size_t count, cap;
    UT_hash_handle hh;
};
struct manifest {
    struct page *pages;
};

enum err manifest_new(struct manifest **ret_manifest)
{
    *ret_manifest = calloc(1, sizeof(**ret_manifest));
    return *ret_manifest != NULL ? OK : ERR_NOMEM;
}

void manifest_free(struct manifest *m)
{
    if (m == NULL) {
        return;
    }
    struct page *p, *next;
    HASH_ITER(hh, m->pages, p, next)
    {
        HASH_DEL(m->pages, p);
        free(p->lines);
        free(p);
    }
    free(m);
}

static struct page *find(const struct manifest *m, unsigned node, uint8_t lane, uint64_t epoch)
{
    struct page_key key = {.epoch = epoch, .node = node, .lane = lane};
    struct page *p = NULL;
    HASH_FIND(hh, m->pages, &key, sizeof(key), p);
    return p;
}

static struct page *page_of(struct manifest *m, unsigned node, uint8_t lane, uint64_t epoch)
{
    struct page *p = find(m, node, lane, epoch);
    if (p == NULL) {
        p = calloc(1, sizeof(*p));
        if (p == NULL) {
            abort(); /* a checker that cannot count must not go on */
        }
        p->key = (struct page_key){.epoch = epoch, .node = node, .lane = lane};
        HASH_ADD(hh, m->pages, key, sizeof(p->key), p);
    }
    return p;
}

/* The first line whose last is >= number. */
static size_t seek(const struct page *p, uint64_t number)
{
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->lines[mid].last < number) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

void manifest_put(struct manifest *m, unsigned node, uint8_t lane, uint64_t epoch, const struct manifest_line *line)
{
    struct page *p = page_of(m, node, lane, epoch);
    size_t at = seek(p, line->last);
    if (at < p->count) {
        if (p->lines[at].last == line->last && line->what != MANIFEST_RANGE) {
            struct manifest_line before = p->lines[at]; /* a gap in the place of records: what they were is asked for */
            p->lines[at] = *line;
            p->lines[at].content_before = before.content != line->content ? before.content : before.content_before;
        }
        return;
    }
    if (p->count == p->cap) {
        size_t cap = p->cap > 0 ? 2 * p->cap : 64;
        struct manifest_line *lines = realloc(p->lines, cap * sizeof(*lines));
        if (lines == NULL) {
            abort();
        }
        p->lines = lines;
        p->cap = cap;
    }
    p->lines[p->count++] = *line;
}

void manifest_alias(struct manifest *m, unsigned node, uint8_t lane, uint64_t epoch, uint64_t key_epoch, uint64_t shift)
{
    struct page *p = page_of(m, node, lane, epoch);
    p->alias_of = key_epoch;
    p->shift = shift;
}

void manifest_foreach(const struct manifest *m, unsigned node, uint8_t lane, uint64_t epoch, uint64_t first,
                      uint64_t last, void (*fn)(void *arg, const struct manifest_line *line), void *arg)
{
    const struct page *p = find(m, node, lane, epoch);
    if (p != NULL && p->alias_of != 0) {
        first += p->shift;
        last += p->shift;
        p = find(m, node, lane, p->alias_of);
    }
    for (size_t i = p != NULL ? seek(p, first) : 0; p != NULL && i < p->count && p->lines[i].first <= last; i++) {
        fn(arg, &p->lines[i]);
    }
}
