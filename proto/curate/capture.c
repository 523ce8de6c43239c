/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures: what triggers of one record ask for -> ranges of wall clock that were not asked for before.
 *
 * Channels come one after the other, so that a later channel's trigger may stand before an earlier channel's: ranges
 * are noted on the way and settled when the record is through, in the order of time. Of every rule the stream
 * remembers the last range asked for, and what lies in it is not asked for again. Only the last: a clock that went
 * back before its begin gives new rows for times that may have been asked for long ago.
 */
#include "proto/curate/curate_internal.h"

static int by_rule_and_time(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    return x->rule != y->rule   ? (x->rule->index > y->rule->index) - (x->rule->index < y->rule->index)
           : x->from != y->from ? (x->from > y->from) - (x->from < y->from)
                                : (x->to > y->to) - (x->to < y->to);
}

/* Beyond the bound each rule's ranges become one: too much goes up rather than too little. */
static void join_all(struct curate *c)
{
    size_t count = 0;
    qsort(c->wanted, c->wanted_count, sizeof(*c->wanted), by_rule_and_time);
    for (size_t i = 0; i < c->wanted_count; i++) {
        struct wanted *last = count > 0 ? &c->wanted[count - 1] : NULL;
        if (last != NULL && last->rule == c->wanted[i].rule) {
            last->to = max_i64(last->to, c->wanted[i].to);
        } else {
            c->wanted[count++] = c->wanted[i];
        }
    }
    c->wanted_count = count;
}

static void note(struct curate *c, const struct rule *rule, int64_t from, int64_t to)
{
    struct wanted *last = c->wanted_count > 0 ? &c->wanted[c->wanted_count - 1] : NULL;
    if (last != NULL && last->rule == rule && from <= last->to && to >= last->from) {
        last->from = min_i64(last->from, from);
        last->to = max_i64(last->to, to);
        return;
    }
    if (c->wanted_count == WANTED_MAX) {
        join_all(c);
    }
    c->wanted[c->wanted_count++] = (struct wanted){.rule = rule, .from = from, .to = to};
}

enum err capture_step(struct run *r, struct op *op)
{
    const struct rule *rule = op->rule;
    for (size_t i = 0; i < r->in->count; i++) {
        if (r->in->v[i] > rule->above || r->in->v[i] < rule->below) {
            int64_t t = r->in->t[i];
            r->c->stats[rule->index].captures++;
            note(r->c, rule, max_i64(t - rule->before_us, 0), t + rule->after_us + 1);
        }
    }
    return OK;
}

/* Beyond its share of CURATE_CAPTURES_MAX a rule's last range is prolonged. */
static void give(struct curate *c, const struct rule *rule, int64_t from, int64_t to)
{
    struct curate_capture *last = c->capture_count > 0 ? &c->captures[c->capture_count - 1] : NULL;
    if (from >= to) {
        return;
    }
    if (last == NULL || last->rule != rule) {
        c->capture_room = c->capture_share;
    } else if ((uint64_t)from == last->to_us || c->capture_room == 0) {
        last->to_us = (uint64_t)to;
        return;
    }
    c->capture_room--;
    c->captures[c->capture_count++] =
        (struct curate_capture){.rule = rule, .from_us = (uint64_t)from, .to_us = (uint64_t)to};
}

/* All but what lies in the range asked for last. */
static void settle(struct curate *c, struct captured *last, const struct wanted *w)
{
    if (w->to < last->from || w->from > last->to) {
        give(c, w->rule, w->from, w->to);
        *last = (struct captured){.from = w->from, .to = w->to};
        return;
    }
    give(c, w->rule, w->from, last->from);
    give(c, w->rule, max_i64(w->from, last->to), w->to);
    last->from = min_i64(last->from, w->from);
    last->to = max_i64(last->to, w->to);
}

void captures_settle(struct curate *c, struct curate_stream *s)
{
    if (c->wanted_count == 0) {
        return;
    }
    qsort(c->wanted, c->wanted_count, sizeof(*c->wanted), by_rule_and_time);
    size_t rules = 1;
    for (size_t i = 1; i < c->wanted_count; i++) {
        rules += c->wanted[i].rule != c->wanted[i - 1].rule;
    }
    c->capture_share = CURATE_CAPTURES_MAX / rules; /* at least one: there are no more rules than that */
    for (size_t i = 0; i < c->wanted_count;) {
        struct wanted whole = c->wanted[i++];
        while (i < c->wanted_count && c->wanted[i].rule == whole.rule && c->wanted[i].from <= whole.to) {
            whole.to = max_i64(whole.to, c->wanted[i++].to);
        }
        settle(c, &s->captured[whole.rule->index], &whole);
    }
}
