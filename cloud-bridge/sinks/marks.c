/* SPDX-License-Identifier: Apache-2.0 */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->hop = true, (element)->id = -1)

#include "cloud-bridge/sinks/sinks_internal.h"

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

void sink_mark_step(const struct sink_mark *mark, const struct wire_forward *f, struct sink_step *ret_step)
{
    uint64_t hwm = mark->stream.hwm;
    *ret_step = (struct sink_step){.first = f->first, .last = f->last, .lost_first = 1, .lost_last = 0};
    if (f->last <= hwm) {
        ret_step->skip = true;
    } else if (f->first <= hwm) {
        ret_step->first = hwm + 1;
    } else if (f->first > hwm + 1 && !mark->hop) {
        ret_step->lost_first = hwm + 1;
        ret_step->lost_last = f->first - 1;
    }
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
    s->hwm = step->last;
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
