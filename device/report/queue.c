/* SPDX-License-Identifier: Apache-2.0 */
#include "device/report/queue.h"

#include <assert.h>

/* Layout of a record: length u32 | lane u32 | body. */

enum err queue_init(struct queue *q, size_t first, size_t max)
{
    *q = (struct queue){.cap = first, .first = first, .max = max, .bytes = malloc(first)};
    return q->bytes ? OK : ERR_NOMEM;
}

void queue_deinit(struct queue *q)
{
    free(q->bytes);
    *q = (struct queue){0};
}

size_t queue_room(const struct queue *q)
{
    size_t free_bytes = q->max - (q->tail - q->head);
    return free_bytes > QUEUE_HEAD_BYTES ? free_bytes - QUEUE_HEAD_BYTES : 0;
}

static void to_front(struct queue *q)
{
    memmove(q->bytes, q->bytes + q->head, q->tail - q->head);
    q->mark -= q->head;
    q->tail -= q->head;
    q->head = 0;
}

static bool set_cap(struct queue *q, size_t cap)
{
    uint8_t *bytes = realloc(q->bytes, cap);
    if (bytes == NULL) {
        return false;
    }
    q->bytes = bytes;
    q->cap = cap;
    return true;
}

bool queue_reserve(struct queue *q, size_t len)
{
    size_t need = q->tail - q->head + QUEUE_HEAD_BYTES + len;
    if (need <= q->cap) {
        return true;
    }
    size_t cap = 2 * q->cap > need ? 2 * q->cap : need;
    return need <= q->max && set_cap(q, cap < q->max ? cap : q->max);
}

enum err queue_put(struct queue *q, uint8_t lane, struct slice body)
{
    assert(lane < QUEUE_LANES);
    if (!queue_reserve(q, body.len)) {
        return ERR_FULL;
    }
    if (q->cap - q->tail < QUEUE_HEAD_BYTES + body.len) {
        to_front(q);
    }
    uint32_t head[2] = {(uint32_t)body.len, lane};
    memcpy(q->bytes + q->tail, head, QUEUE_HEAD_BYTES);
    memcpy(q->bytes + q->tail + QUEUE_HEAD_BYTES, body.ptr, body.len);
    q->tail += QUEUE_HEAD_BYTES + body.len;
    q->count[lane]++;
    return OK;
}

static size_t record_at(const struct queue *q, size_t at, uint8_t *ret_lane, struct slice *ret_body)
{
    uint32_t head[2];
    memcpy(head, q->bytes + at, QUEUE_HEAD_BYTES);
    *ret_lane = (uint8_t)head[1];
    *ret_body = slice_of(q->bytes + at + QUEUE_HEAD_BYTES, head[0]);
    return at + QUEUE_HEAD_BYTES + head[0];
}

bool queue_next(struct queue *q, uint8_t *ret_lane, struct slice *ret_body)
{
    if (q->mark == q->tail) {
        return false;
    }
    q->mark = record_at(q, q->mark, ret_lane, ret_body);
    q->marked[*ret_lane]++;
    return true;
}

void queue_unnext(struct queue *q, uint8_t lane, struct slice body)
{
    q->mark -= QUEUE_HEAD_BYTES + body.len;
    q->marked[lane]--;
}

void queue_commit(struct queue *q)
{
    q->head = q->mark;
    for (unsigned lane = 0; lane < QUEUE_LANES; lane++) {
        q->count[lane] -= q->marked[lane];
        q->marked[lane] = 0;
    }
    if (q->head == q->tail) {
        q->head = q->mark = q->tail = 0;
        if (q->cap > q->first) {
            (void)set_cap(q, q->first); /* smaller always goes; if not, it stays large */
        }
    }
}

void queue_rewind(struct queue *q)
{
    q->mark = q->head;
    memset(q->marked, 0, sizeof q->marked);
}

size_t queue_waiting(const struct queue *q, uint8_t lane, unsigned *ret_count)
{
    size_t bytes = 0;
    *ret_count = 0;
    for (size_t at = q->mark; at < q->tail;) {
        uint8_t of;
        struct slice body;
        at = record_at(q, at, &of, &body);
        if (of == lane) {
            bytes += body.len;
            ++*ret_count;
        }
    }
    return bytes;
}
