/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the uplink may talk: always, in windows of the local day, or when somebody asks for it. A day on which the clock
 * is put forward or back has windows that are an hour shorter or longer.
 */
#include <stdio.h>

#include "gateway/budget/budget.h"

enum { DAY_MIN = 24 * 60, DAY_S = DAY_MIN * 60 };

static enum err parse_span(const char *text, size_t len, struct budget_span *ret_span, struct fault *reterr)
{
    char word[16] = "";
    unsigned from_h, from_m, to_h, to_m;
    int end = 0;
    snprintf(word, sizeof(word), "%.*s", (int)len, text);
    if (len >= sizeof(word) || sscanf(word, "%2u:%2u-%2u:%2u%n", &from_h, &from_m, &to_h, &to_m, &end) != 4 ||
        word[end] != '\0' || from_m > 59 || to_m > 59 || from_h * 60 + from_m >= DAY_MIN ||
        to_h * 60 + to_m > DAY_MIN || from_h * 60 + from_m == to_h * 60 + to_m) {
        return fault_set(reterr, ERR_RANGE, "\"%.*s\" is no window; write always, on-request, or 02:00-03:00", (int)len,
                         text);
    }
    *ret_span = (struct budget_span){from_h * 60 + from_m, to_h * 60 + to_m};
    return OK;
}

enum err budget_when_parse(const char *text, struct budget_rules *ret_rules, struct fault *reterr)
{
    struct budget_span spans[BUDGET_SPANS_MAX];
    size_t count = 0;
    if (strcmp(text, "always") == 0 || strcmp(text, "on-request") == 0) {
        ret_rules->when = text[0] == 'a' ? BUDGET_ALWAYS : BUDGET_ON_REQUEST;
        ret_rules->span_count = 0;
        return OK;
    }
    for (const char *at = text;; at++) {
        at += strspn(at, " ");
        size_t len = strcspn(at, ",");
        size_t word = len;
        while (word > 0 && at[word - 1] == ' ') {
            word--;
        }
        if (count == BUDGET_SPANS_MAX) {
            return fault_set(reterr, ERR_RANGE, "has more than %d windows", BUDGET_SPANS_MAX);
        }
        TRY(parse_span(at, word, &spans[count++], reterr));
        at += len;
        if (*at == '\0') {
            break;
        }
    }
    ret_rules->when = BUDGET_IN_WINDOWS;
    memcpy(ret_rules->spans, spans, count * sizeof(spans[0]));
    ret_rules->span_count = count;
    return OK;
}

static bool inside(const struct budget_rules *rules, unsigned second)
{
    for (size_t i = 0; i < rules->span_count; i++) {
        unsigned from = rules->spans[i].from_min * 60, to = rules->spans[i].to_min * 60;
        if (from < to ? second >= from && second < to : second >= from || second < to) {
            return true;
        }
    }
    return false;
}

bool budget_open(const struct budget_rules *rules, unsigned second_of_day, int64_t *ret_changes_in_s)
{
    *ret_changes_in_s = -1;
    if (rules->when != BUDGET_IN_WINDOWS) {
        return rules->when == BUDGET_ALWAYS;
    }
    bool open = inside(rules, second_of_day);
    for (size_t i = 0; i < 2 * rules->span_count; i++) { /* it can only change at an edge */
        const struct budget_span *span = &rules->spans[i / 2];
        unsigned edge = (i % 2 == 0 ? span->from_min : span->to_min) * 60 % DAY_S;
        int64_t in_s = (int64_t)(edge + DAY_S - second_of_day - 1) % DAY_S + 1;
        if (inside(rules, edge) != open && (*ret_changes_in_s < 0 || in_s < *ret_changes_in_s)) {
            *ret_changes_in_s = in_s;
        }
    }
    return open;
}
