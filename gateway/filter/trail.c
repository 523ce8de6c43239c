/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of a stream's newest records, and what each rule did to the stream: kept in memory only, for `weir why`.
 *
 * Rules are counted by curate over all streams; what a record has added to them is what its own stream gets. All trails
 * together take at most TRAILS_BYTES_MAX: a stream that comes later has none. A trail goes with its stream's
 * place in memory, and with the rules.
 */
#include "core/log/log.h"
#include "gateway/filter/filter_internal.h"

enum { TRAILS_BYTES_MAX = 32 << 20 };

static struct filter_trail *trail_new(struct filter *f)
{
    size_t rules = rules_count(f->options.rules), places = f->options.trail;
    struct filter_trail *trail = NULL;
    size_t bytes = sizeof(*trail) + rules * sizeof(*trail->stats) + places * sizeof(*trail->places);
    if (f->trail_bytes + bytes > TRAILS_BYTES_MAX || (trail = calloc(1, bytes)) == NULL) {
        return NULL;
    }
    f->trail_bytes += bytes;
    trail->bytes = bytes;
    trail->stats = (struct curate_rule_stats *)(void *)(trail + 1);
    trail->places = (struct filter_step *)(void *)(trail->stats + rules);
    return trail;
}

void filter_counts_add(struct curate_rule_stats *to, const struct curate_rule_stats *d)
{
    to->seen += d->seen;
    to->dropped += d->dropped;
    to->changed += d->changed;
    to->windows += d->windows;
    to->captures += d->captures;
    to->late += d->late;
    to->flagged += d->flagged;
    to->cut += d->cut;
}

struct curate_rule_stats filter_counts_less(const struct curate_rule_stats *a, const struct curate_rule_stats *b)
{
    return (struct curate_rule_stats){.seen = a->seen - b->seen,
                                      .dropped = a->dropped - b->dropped,
                                      .changed = a->changed - b->changed,
                                      .windows = a->windows - b->windows,
                                      .captures = a->captures - b->captures,
                                      .late = a->late - b->late,
                                      .flagged = a->flagged - b->flagged,
                                      .cut = a->cut - b->cut};
}

/* What every rule did to the record in hand. */
static void take_stats(struct filter *f, struct filter_trail *trail, struct filter_step *step)
{
    struct curate_rule_stats sum = {.seen = 0}, now;
    for (size_t i = 0; i < rules_count(f->options.rules); i++) {
        curate_stats(f->curate, i, &now);
        if (memcmp(&now, &f->counted[i], sizeof(now)) == 0) {
            continue;
        }
        struct curate_rule_stats d = filter_counts_less(&now, &f->counted[i]);
        f->counted[i] = now;
        filter_counts_add(&sum, &d);
        if (trail != NULL) {
            filter_counts_add(&trail->stats[i], &d);
        }
    }
    step->dropped = (uint32_t)sum.dropped;
    step->changed = (uint32_t)sum.changed;
    step->windows = (uint32_t)sum.windows;
    step->late = (uint32_t)sum.late;
}

static bool goes_on(const struct filter_step *last, const struct filter_step *step)
{
    return last->outcome == CURATE_DROPPED && step->outcome == CURATE_DROPPED && last->rule == step->rule &&
           last->lane == step->lane && step->first == last->last + 1 && step->captures == 0 && last->captures == 0;
}

static struct filter_step step_of(const struct wire_forward *forward, const struct curate_result *result)
{
    return (struct filter_step){.first = forward->first,
                                .last = forward->last,
                                .received_us = forward->received_us,
                                .until_us = forward->received_us,
                                .captures = (uint16_t)result->capture_count,
                                .rule = result->rule != NULL ? (int16_t)result->rule->index : -1,
                                .outcome = (uint8_t)result->outcome,
                                .lane = forward->lane};
}

static void add_step(struct filter *f, struct filter_stream *s, struct filter_step step)
{
    if (s->trail == NULL) {
        s->trail = trail_new(f);
    }
    struct filter_trail *trail = s->trail;
    take_stats(f, trail, &step);
    if (trail == NULL) {
        return;
    }
    struct filter_step *last =
        trail->count > 0 ? &trail->places[(trail->next + f->options.trail - 1) % f->options.trail] : NULL;
    if (last != NULL && goes_on(last, &step)) {
        last->last = step.last;
        last->until_us = step.received_us;
        last->dropped += step.dropped;
        last->late += step.late;
        return;
    }
    trail->places[trail->next] = step;
    trail->next = (trail->next + 1) % f->options.trail;
    trail->count += trail->count < f->options.trail;
}

void filter_seen(struct filter *f, struct filter_stream *s, const struct wire_forward *forward, uint64_t position,
                 const struct curate_result *result)
{
    struct filter_step again;
    if (position > f->seen[f->lane]) {
        f->seen[f->lane] = position;
        filter_tally_live(f, s, forward, result);
        if (f->options.trail > 0) {
            add_step(f, s, step_of(forward, result));
        }
    } else if (f->options.trail > 0) {
        take_stats(f, NULL, &again);
    }
}

void filter_trail_free(struct filter *f, struct filter_stream *s)
{
    s->taking = (struct filter_taking){.rule = NULL};
    if (s->trail != NULL) {
        f->trail_bytes -= s->trail->bytes;
        free(take(s->trail));
    }
}

void filter_count_anew(struct filter *f)
{
    memset(f->counted, 0, sizeof(f->counted));
    filter_tally_begin(f, &f->live);
    if (f->shadow != NULL && filter_set_shadow(f, f->shadow_rules) != OK) {
        log_warn("the shadow's rules cannot go on beside other rules");
    }
}
