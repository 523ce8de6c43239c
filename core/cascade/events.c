/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cascade/cascade.h"

/* Mean of the last answers, without drift of a running sum: summed anew, since a search has few of them. */
struct mean {
    const struct cascade_answer *answers;
    int64_t period_us;
    unsigned size, filled;
};

static bool mean_add(struct mean *m, size_t i, double *ret_mean)
{
    bool pause = i > 0 && m->answers[i].at_us - m->answers[i - 1].at_us > 2 * m->period_us;
    double sum = 0;
    m->filled = pause ? 1 : m->filled < m->size ? m->filled + 1 : m->size;
    for (unsigned k = 0; k < m->filled; k++) {
        sum += m->answers[i - k].score;
    }
    *ret_mean = sum / m->filled;
    return m->filled == m->size;
}

/* The event that an alarm at answer i counts for: the one it stands in, or the last one, as long as the mean holds
 * answers of it. */
struct span {
    size_t begin, end; /* answers [begin, end) */
    bool any, found;
};

static bool belongs(const struct span *event, size_t i, unsigned average)
{
    return event->any && i < event->end + average - 1;
}

struct cascade_rates cascade_apply(const struct cascade_answer *answers, size_t count, int64_t period_us,
                                   const struct cascade_rule *rule)
{
    struct cascade_rates r = {0};
    struct mean mean = {.answers = answers, .period_us = period_us, .size = rule->average};
    struct span event = {0};
    int64_t silent_until = INT64_MIN;
    double delays = 0, level;
    size_t quiet = 0, found = 0;
    for (size_t i = 0; i < count; i++) {
        if (answers[i].event && (i == 0 || !answers[i - 1].event)) {
            event = (struct span){.begin = i, .end = i, .any = true};
            r.events++;
        }
        event.end = answers[i].event ? i + 1 : event.end;
        quiet += !answers[i].event;
        if (!mean_add(&mean, i, &level) || !(level >= rule->limit) || answers[i].at_us < silent_until) {
            continue;
        }
        silent_until = answers[i].at_us + rule->suppress_us;
        r.alarms++;
        if (!belongs(&event, i, rule->average)) {
            r.false_alarms++;
        } else if (!event.found) {
            event.found = true;
            found++;
            delays += (double)(answers[i].at_us - answers[event.begin].at_us);
        }
    }
    r.missed = r.events - found;
    r.quiet_hours = (double)quiet * (double)period_us / (double)HOUR_US;
    r.false_per_hour = r.quiet_hours > 0 ? (double)r.false_alarms / r.quiet_hours : 0;
    r.miss_rate = r.events > 0 ? (double)r.missed / (double)r.events : 0;
    r.delay_us = found > 0 ? delays / (double)found : 0;
    return r;
}

static bool better(const struct cascade_rates *a, const struct cascade_rates *b)
{
    return a->missed != b->missed               ? a->missed < b->missed
           : a->false_alarms != b->false_alarms ? a->false_alarms < b->false_alarms
                                                : a->delay_us < b->delay_us;
}

enum err cascade_search(const struct cascade_answer *answers, size_t count, int64_t period_us,
                        const struct cascade_grid *grid, double false_per_hour_max, struct cascade_trial *trials,
                        struct cascade_trial *ret_choice)
{
    const struct cascade_trial *best = NULL;
    struct cascade_trial *t = trials;
    for (size_t a = 0; a < grid->average_count; a++) {
        if (grid->averages[a] < 1 || grid->averages[a] > CASCADE_AVERAGE_MAX) {
            return ERR_RANGE;
        }
    }
    for (size_t a = 0; a < grid->average_count; a++) {
        for (size_t l = 0; l < grid->limit_count; l++) {
            for (size_t s = 0; s < grid->suppress_count; s++, t++) {
                t->rule = (struct cascade_rule){grid->averages[a], grid->limits[l], grid->suppress_us[s]};
                t->rates = cascade_apply(answers, count, period_us, &t->rule);
                if (t->rates.false_per_hour <= false_per_hour_max &&
                    (best == NULL || better(&t->rates, &best->rates))) {
                    best = t;
                }
            }
        }
    }
    if (best == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_choice = *best;
    return OK;
}
