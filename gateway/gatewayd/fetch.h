/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch - the desk where people ask for readings that the ring still has.
 *
 *   /fetch?device=D&from=US&to=US[&unmasked=1] -> {"question":Q}            what is asked is noted (below)
 *   /fetch?question=Q&cursor=C                 -> {"wait":true}             until the note is durable
 *                                              -> {"records":[...],"cursor":C}   cursor 0: that was all
 *   /fetch?question=Q&end=1                    -> {}                        the asker has enough
 *
 * Nobody sees a reading before it is durable who asked for what; how much was given is noted at the end. Notes are
 * events of the gateway's own stream (gateway/filter): they reach the sink exactly once, in order, like a device's. A
 * question that is refused (too long a span, as it came without permission) is noted, too. Few questions are open at a
 * time; one that is left alone ends.
 */
#ifndef GATEWAY_GATEWAYD_FETCH_H
#define GATEWAY_GATEWAYD_FETCH_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/control/control.h"
#include "core/loop/loop.h"
#include "gateway/filter/filter.h"

enum { FETCH_SEATS = 4 };

struct fetch_desk {
    struct loop *loop; /* borrowed */
    int64_t max_us;    /* longest span */
    bool unmasked;     /* may be asked for */
    uint64_t questions;
    struct fetch_seat {
        struct filter_question *question; /* owned; NULL = free */
        uint64_t id, note, records, bytes;
        uint32_t uid;
        int64_t used_us;
        char device[ID_MAX + 1];
    } seats[FETCH_SEATS];
};

/* The route. filter NULL: there is no ring. */
int fetch_answer(struct fetch_desk *desk, struct filter *filter, const struct control_request *request,
                 struct buffer *body);
/* Ends what was left alone. */
void fetch_sweep(struct fetch_desk *desk, struct filter *filter);
void fetch_deinit(struct fetch_desk *desk);

#endif
