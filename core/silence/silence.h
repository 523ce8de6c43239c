/* SPDX-License-Identifier: Apache-2.0 */
/*
 * silence - notices that a sender is connected and yet nothing of it is acknowledged: its receiver is not there, the
 * broker lets one of them not publish or not read, or the receiver refuses.
 *
 * Comes in: where each lane stands, now and then (silence_look), and the verdict of each answer. Goes out: news once
 * when the silence begins and once when it ends, and a sentence for the operator. Pure: no clock, no log.
 *
 *   heard --(up, a lane has waited SILENCE_US and its ack has not moved)--> silent     SILENCE_BEGAN
 *   silent --(each lane's ack has moved, or nothing of it waits any more)-> heard      SILENCE_ENDED
 *   any --(not up)--> heard, no news: being disconnected is told by who noticed it
 */
#ifndef CORE_SILENCE_SILENCE_H
#define CORE_SILENCE_SILENCE_H

#include "core/base/base.h"
#include "core/window/window.h"

enum { SILENCE_LANES = 2, SILENCE_WHY_MAX = 256 };
#define SILENCE_US (30 * SECOND_US)
#define SILENCE_LOOK_US (5 * SECOND_US) /* how far apart the looks may be */

struct silence { /* zeros = heard */
    struct {
        uint64_t epoch, acked;
        int64_t since_us; /* the ack has stood still and something has waited since; 0 = nothing waits */
        bool answered;    /* since then */
        enum window_verdict verdict; /* of the latest answer since then */
    } lane[SILENCE_LANES];
    bool silent;
};
struct silence_lane {
    uint64_t epoch, durable, acked;
};
enum silence_news { SILENCE_NO_NEWS, SILENCE_BEGAN, SILENCE_ENDED };

/* An answer came for this lane: before the look that sees what it acknowledged. */
void silence_answer(struct silence *s, unsigned lane, enum window_verdict verdict);
enum silence_news silence_look(struct silence *s, bool up, const struct silence_lane lanes[SILENCE_LANES],
                               int64_t now_us);
/* The sentence for /status and the log. peer: "the gateway gw-1"; we: "this device". False, and an empty text, while
 * not silent. */
bool silence_why(const struct silence *s, const char *peer, const char *we, int64_t now_us,
                 char ret_text[SILENCE_WHY_MAX]);

#endif
