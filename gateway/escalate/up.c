/* SPDX-License-Identifier: Apache-2.0 */
/* Further up: the parent, and at the top a person. */
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "core/crypt/crypt.h"
#include "core/log/log.h"
#include "gateway/escalate/escalate_internal.h"

enum { LEAST_MS = 2 };

/* ---- labels ---- */
static bool may_label(struct escalate *e)
{
    double per_hour = e->plan->s.labels_per_hour;
    int64_t now_us = loop_now_us(e->loop);
    e->label_tokens += (double)(now_us - e->label_at_us) / HOUR_US * per_hour;
    e->label_tokens = e->label_tokens > per_hour ? per_hour : e->label_tokens;
    e->label_at_us = now_us;
    if (e->label_tokens < 1) {
        return false;
    }
    e->label_tokens -= 1;
    return true;
}

static void ask_person(struct escalate *e, const struct escalate_wait *w)
{
    uint8_t digest[CRYPT_SHA256_BYTES];
    uint64_t input = 0;
    char text[400], best[16] = "-"; /* a class that the device does not have */
    if (!may_label(e)) {
        e->stats.labels_dropped++;
        return;
    }
    crypt_sha256(w->ask.values, digest);
    for (unsigned i = 0; i < sizeof(input); i++) {
        input = input << 8 | digest[i];
    }
    if (w->best_class != ESCALATE_CLASS_NONE) {
        snprintf(best, sizeof(best), "%" PRIu32, w->best_class);
    }
    snprintf(text, sizeof(text),
             "device=%s/%s/%s model=%016" PRIx64 " own=%" PRIu32
             " own_confidence=%.3f best=%s confidence=%.3f label=%s by=%016" PRIx64 " input=%016" PRIx64,
             w->ask.site, w->ask.gateway, w->ask.device, w->ask.model, w->ask.own_answer, (double)w->ask.own_confidence,
             best, w->best.confidence, w->label[0] != '\0' ? w->label : "-", w->best_model, input);
    if (e->handlers.on_event == NULL || e->handlers.on_event(e->handlers.arg, "label-requested", text) != OK) {
        e->stats.labels_dropped++;
        log_warn("a request for a label is not taken", KV_STR("device", w->ask.device));
        return;
    }
    e->stats.labels++;
}

void escalate_top(struct escalate *e, struct escalate_wait *w)
{
    struct wire_answer own = escalate_own(e, w);
    ask_person(e, w);
    escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_UNSURE, &own);
}

/* ---- the parent ---- */
static uint32_t left_ms(const struct escalate *e, int64_t due_us)
{
    return (uint32_t)(max_i64(due_us - loop_now_us(e->loop), 0) / MS_US);
}

bool escalate_up_unknown(const struct escalate *e)
{
    return e->handlers.ask_up != NULL && e->plan->s.ask_parent && !e->up_proven && e->up_waiting > 0;
}

bool escalate_may_go_up(struct escalate *e, const struct wire_ask *ask, int64_t due_us)
{
    return e->handlers.ask_up != NULL && e->plan->s.ask_parent && ask->hops < WIRE_ASK_HOPS_MAX &&
           !escalate_up_unknown(e) && loop_now_us(e->loop) >= e->up_rest_until_us && left_ms(e, due_us) >= LEAST_MS;
}

bool escalate_go_up(struct escalate *e, struct escalate_wait *w)
{
    if (!escalate_may_go_up(e, &w->ask, w->due_us)) {
        return false;
    }
    struct wire_ask ask = w->ask;
    ask.id = e->next_up_id++;
    e->next_up_id += e->next_up_id == 0 ? 1 : 0;
    ask.deadline_ms = left_ms(e, w->due_us);
    ask.hops++;
    if (e->handlers.ask_up(e->handlers.arg, &ask) != OK) {
        return false;
    }
    w->up_id = ask.id;
    w->state = ESCALATE_UP;
    e->up_waiting++;
    e->stats.up++;
    if (w->slot != NULL) {
        w->slot->up++;
    }
    return true;
}

/* Nothing better came from above. status: what the parent said. */
static void fall_back(struct escalate *e, struct escalate_wait *w, Weir__V1__AnswerStatus status)
{
    if (w->has_best) {
        escalate_top(e, w);
    } else {
        escalate_answer(e, w, status, NULL);
    }
}

void escalate_up_late(struct escalate *e, struct escalate_wait *w)
{
    e->stats.up_unanswered++;
    e->up_misses++;
    if ((!e->up_proven || e->up_misses >= ESCALATE_UP_MISSES_MAX) && loop_now_us(e->loop) >= e->up_rest_until_us) {
        log_info("the parent answers no asks: it is left alone for a while",
                 KV_I64("seconds", e->up_rest_us / SECOND_US));
        e->up_proven = false;
        e->up_rest_until_us = loop_now_us(e->loop) + e->up_rest_us;
        e->up_rest_us = min_i64(2 * e->up_rest_us, ESCALATE_UP_REST_MOST_US);
    }
    fall_back(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_BUSY);
}

void escalate_answered(struct escalate *e, struct slice payload)
{
    struct wire_answer answer;
    struct escalate_wait *w;
    if (wire_answer_decode(payload, &answer) != OK) {
        e->stats.malformed++;
        log_warn("the parent's answer does not decode");
        return;
    }
    e->up_proven = true;
    e->up_misses = 0;
    e->up_rest_until_us = 0;
    e->up_rest_us = ESCALATE_UP_REST_US;
    DL_FOREACH2(e->waits, w, all_next) {
        if (w->state == ESCALATE_UP && w->up_id == answer.id && strcmp(w->ask.device, answer.device) == 0) {
            break;
        }
    }
    if (w == NULL) {
        return; /* it came too late, and the device has been answered */
    }
    e->stats.up_answered++;
    if (answer.status == WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN ||
        answer.status == WEIR__V1__ANSWER_STATUS__ANSWER_UNSURE) {
        escalate_answer(e, w, answer.status, &answer);
    } else {
        fall_back(e, w, answer.status);
    }
    escalate_set_due(e);
}
