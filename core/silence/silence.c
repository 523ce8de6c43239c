/* SPDX-License-Identifier: Apache-2.0 */
#include "core/silence/silence.h"

#include <stdio.h>

void silence_answer(struct silence *s, unsigned lane, enum window_verdict verdict)
{
    s->lane[lane].answered = true;
    s->lane[lane].verdict = verdict;
}

enum silence_news silence_look(struct silence *s, bool up, const struct silence_lane lanes[SILENCE_LANES],
                               int64_t now_us)
{
    bool silent = s->silent, waited = false;
    for (unsigned i = 0; i < SILENCE_LANES; i++) {
        const struct silence_lane *now = &lanes[i];
        bool moved = s->lane[i].epoch != now->epoch || s->lane[i].acked != now->acked;
        s->lane[i].epoch = now->epoch;
        s->lane[i].acked = now->acked;
        if (!up || now->durable <= now->acked) {
            s->lane[i].since_us = 0;
        } else if (moved || s->lane[i].since_us == 0) {
            s->lane[i].since_us = max_i64(now_us, 1);
            s->lane[i].answered = false;
        }
        waited = waited || (s->lane[i].since_us != 0 && now_us - s->lane[i].since_us >= SILENCE_US);
    }
    s->silent = waited;
    if (!up || silent == s->silent) {
        return SILENCE_NO_NEWS;
    }
    return s->silent ? SILENCE_BEGAN : SILENCE_ENDED;
}

bool silence_why(const struct silence *s, const char *peer, const char *we, int64_t now_us,
                 char ret_text[SILENCE_WHY_MAX])
{
    int worst = -1;
    ret_text[0] = '\0';
    for (int i = 0; s->silent && i < SILENCE_LANES; i++) {
        int64_t since_us = s->lane[i].since_us;
        if (since_us != 0 && (worst < 0 || since_us < s->lane[worst].since_us)) {
            worst = i;
        }
    }
    if (worst < 0) {
        return false;
    }
    bool answered = s->lane[worst].answered;
    long long for_s = (now_us - s->lane[worst].since_us) / SECOND_US;
    if (answered && s->lane[worst].verdict == WINDOW_REFUSED) {
        snprintf(ret_text, SILENCE_WHY_MAX, "connected, but %s refuses %s's frames, for %lld s now (its log says why)",
                 peer, we, for_s);
    } else if (answered && s->lane[worst].verdict == WINDOW_FULL) {
        snprintf(ret_text, SILENCE_WHY_MAX, "connected, but %s has no room: it has taken nothing for %lld s", peer,
                 for_s);
    } else {
        snprintf(ret_text, SILENCE_WHY_MAX,
                 "connected, but %s has acknowledged nothing for %lld s (is it running? does the broker let us publish "
                 "and read our acks?)",
                 peer, for_s);
    }
    return true;
}
