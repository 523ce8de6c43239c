/* SPDX-License-Identifier: Apache-2.0 */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->hop = true, (element)->id = -1)

#include "cloud-bridge/sinks/sinks_internal.h"

#include <inttypes.h>
#include <stdio.h>

_Static_assert(sizeof(struct sink_mark_key) == ID_MAX + 8 + 8, "the key is hashed as bytes: no padding");

static struct sink_mark_key key_of(const char *device, uint64_t epoch)
{
    struct sink_mark_key key;
    memset(&key, 0, sizeof(key));
    snprintf(key.device, sizeof(key.device), "%s", device);
    key.epoch = epoch;
    return key;
}

struct sink_mark *sink_marks_find(struct sink_marks *marks, const char *device, uint64_t epoch)
{
    struct sink_mark_key key = key_of(device, epoch);
    struct sink_mark *m = NULL;
    HASH_FIND(hh, marks->table, &key, sizeof(key), m);
    return m;
}

enum err sink_marks_add(struct sink_marks *marks, const char *device, uint64_t epoch, uint8_t lane, bool hop,
                        struct sink_mark **ret_mark)
{
    struct sink_mark *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return ERR_NOMEM;
    }
    m->key = key_of(device, epoch);
    HASH_ADD(hh, marks->table, key, sizeof(m->key), m);
    if (m->id < 0) {
        free(m);
        return ERR_NOMEM;
    }
    snprintf(m->stream.device, sizeof(m->stream.device), "%s", device);
    m->stream.epoch = epoch;
    m->stream.lane = lane;
    m->hop = hop;
    *ret_mark = m;
    return OK;
}

/* ---- holes ---- */
static void remove_hole(struct sink_holes *h, unsigned index)
{
    h->count--;
    memmove(h->list + index, h->list + index + 1, (h->count - index) * sizeof(h->list[0]));
}

void sink_holes_add(struct sink_holes *h, uint64_t first, uint64_t last)
{
    if (h->count == SINK_HOLES) {
        remove_hole(h, 0);
    }
    h->list[h->count++] = (struct sink_hole){.first = first, .last = last};
}

/* The highest that first..last meets; -1 = none. */
static int find_hole(const struct sink_holes *h, uint64_t first, uint64_t last)
{
    int index = (int)h->count - 1;
    while (index >= 0 && h->list[index].first > last) {
        index--;
    }
    return index >= 0 && h->list[index].last >= first ? index : -1;
}

void sink_holes_fill(struct sink_holes *h, uint64_t first, uint64_t last)
{
    int found = find_hole(h, first, last);
    if (found < 0 || h->list[found].first > first || h->list[found].last < last) {
        return;
    }
    unsigned index = (unsigned)found;
    struct sink_hole below = {.first = h->list[index].first, .last = first - 1};
    struct sink_hole above = {.first = last + 1, .last = h->list[index].last};
    if (below.first > below.last && above.first > above.last) {
        remove_hole(h, index);
    } else if (below.first > below.last) {
        h->list[index] = above;
    } else if (above.first > above.last) {
        h->list[index] = below;
    } else {
        unsigned at = index + 1;
        h->list[index] = below;
        if (h->count == SINK_HOLES) { /* the oldest makes room: perhaps the part below itself */
            remove_hole(h, 0);
            at--;
        }
        memmove(h->list + at + 1, h->list + at, (h->count - at) * sizeof(h->list[0]));
        h->list[at] = above;
        h->count++;
    }
}

void sink_holes_write(const struct sink_holes *h, char ret_text[SINK_HOLES_BYTES])
{
    size_t len = 0;
    ret_text[0] = '\0';
    for (unsigned i = 0; i < h->count; i++) {
        len += (size_t)snprintf(ret_text + len, SINK_HOLES_BYTES - len, "%s%" PRIu64 "-%" PRIu64, i > 0 ? "," : "",
                                h->list[i].first, h->list[i].last);
    }
}

enum err sink_holes_read(const char *text, struct sink_holes *ret_holes)
{
    struct sink_holes h = {.count = 0};
    uint64_t above = 0;
    while (*text != '\0') {
        struct sink_hole hole;
        int end = -1;
        if (h.count == SINK_HOLES ||
            sscanf(text, "%19" SCNu64 "-%19" SCNu64 "%n", &hole.first, &hole.last, &end) != 2 || end < 0 ||
            hole.first <= above || hole.last < hole.first || (text[end] != ',' && text[end] != '\0')) {
            return ERR_MALFORMED;
        }
        above = hole.last;
        h.list[h.count++] = hole;
        text += end + (text[end] == ',');
    }
    *ret_holes = h;
    return OK;
}

/* ---- steps ---- */
static void step_below(const struct sink_mark *mark, const struct wire_forward *f, struct sink_step *step)
{
    int index = find_hole(&mark->holes, f->first, f->last);
    step->skip = index < 0;
    step->fill = index >= 0;
    if (step->fill) {
        step->hole = mark->holes.list[index];
        step->first = max_u64(f->first, step->hole.first);
        step->last = min_u64(f->last, step->hole.last);
    }
}

void sink_mark_step(const struct sink_mark *mark, const struct wire_forward *f, struct sink_step *ret_step)
{
    uint64_t hwm = mark->stream.hwm;
    *ret_step = (struct sink_step){.first = f->first, .last = f->last, .lost_first = 1, .lost_last = 0};
    if (f->last <= hwm) {
        step_below(mark, f, ret_step);
    } else if (f->first <= hwm) {
        ret_step->first = hwm + 1;
    } else if (f->first > hwm + 1 && !mark->hop) {
        ret_step->lost_first = hwm + 1;
        ret_step->lost_last = f->first - 1;
    }
}

void sink_item_step(const struct sink_mark *mark, const struct sink_item *item, struct sink_step *ret_step)
{
    if (item->replay) {
        *ret_step = (struct sink_step){.replay = true,
                                       .first = item->forward.first,
                                       .last = item->forward.last,
                                       .lost_first = 1,
                                       .lost_last = 0,
                                       .skip = item->forward.last > mark->stream.hwm};
    } else {
        sink_mark_step(mark, &item->forward, ret_step);
    }
}

void sink_mark_move(struct sink_mark *mark, const struct sink_step *step)
{
    if (step->fill) {
        sink_holes_fill(&mark->holes, step->first, step->last);
    }
    if (step->lost_first <= step->lost_last) {
        sink_holes_add(&mark->holes, step->lost_first, step->lost_last);
    }
    mark->stream.hwm = max_u64(mark->stream.hwm, step->last);
}

void sink_mark_take(struct sink_marks *marks, struct sink_mark *mark, const struct sink_step *step,
                    const struct wire_forward *f, enum sink_kind kind, uint64_t readings)
{
    struct sink_stream *s = &mark->stream;
    uint64_t numbers = step->last - step->first + 1;
    if (!mark->touched) {
        mark->touched = true;
        mark->next_touched = marks->touched;
        marks->touched = mark;
    }
    s->top = max_u64(s->top, max_u64(f->top, f->last));
    if (step->replay || step->fill) {
        s->gaps -= min_u64(s->gaps, numbers);
    }
    if (step->lost_first <= step->lost_last) {
        s->gaps += step->lost_last - step->lost_first + 1;
    }
    if (kind == SINK_GAP) {
        s->gaps += numbers;
    } else if (kind == SINK_SUPPRESSED) {
        s->suppressed += numbers;
    } else {
        s->records += numbers;
    }
    s->readings += readings;
    sink_mark_move(mark, step);
}

void sink_marks_settle(struct sink_marks *marks)
{
    for (struct sink_mark *m = marks->touched, *next; m != NULL; m = next) {
        next = m->next_touched;
        m->touched = false;
        m->next_touched = NULL;
    }
    marks->touched = NULL;
}

void sink_marks_clear(struct sink_marks *marks)
{
    for (struct sink_mark *m = marks->table, *next; m != NULL; m = next) {
        next = m->hh.next;
        HASH_DEL(marks->table, m);
        free(m);
    }
    marks->table = NULL;
    marks->touched = NULL;
}
