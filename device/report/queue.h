/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue - records that are not durable yet, in the order in which they get their numbers.
 *
 *   head ... mark ... tail       head..mark is in the commit under way; a failed one leaves everything where it is
 *
 * One block of memory, which grows only while commits do not keep up, `cap` at most. A record is kept until the commit that
 * carries it is durable, so that a failing disk costs nothing but time until the queue is full.
 */
#ifndef DEVICE_REPORT_QUEUE_H
#define DEVICE_REPORT_QUEUE_H

#include "core/base/base.h"

enum { QUEUE_LANES = 2, QUEUE_HEAD_BYTES = 8 };

struct queue {
    uint8_t *bytes; /* owned */
    size_t cap, head, mark, tail; /* cap: of bytes */
    size_t first, max;            /* of cap */
    unsigned count[QUEUE_LANES];  /* records between head and tail */
    unsigned marked[QUEUE_LANES]; /* of these before mark */
};

enum err queue_init(struct queue *q, size_t first, size_t max) MUST_CHECK;
void queue_deinit(struct queue *q);
/* Bytes of a body that would still fit. */
size_t queue_room(const struct queue *q);
/* Makes sure that a body of so many bytes fits now. False: no room below max, or no memory. */
bool queue_reserve(struct queue *q, size_t len);
/* ERR_FULL. Cannot fail within what was reserved. */
enum err queue_put(struct queue *q, uint8_t lane, struct slice body) MUST_CHECK;
/* Takes the next record behind mark and moves mark behind it; false at the tail. The body is borrowed until the next
 * queue_put or queue_commit. */
bool queue_next(struct queue *q, uint8_t *ret_lane, struct slice *ret_body);
/* The one that queue_next gave last is not in the commit after all. */
void queue_unnext(struct queue *q, uint8_t lane, struct slice body);
/* What is before mark is durable: forget it. */
void queue_commit(struct queue *q);
/* The commit has failed: mark goes back to head. */
void queue_rewind(struct queue *q);
/* Bytes of the lane's records behind mark, and how many there are. */
size_t queue_waiting(const struct queue *q, uint8_t lane, unsigned *ret_count);
static inline bool queue_empty(const struct queue *q)
{
    return q->head == q->tail;
}

#endif
