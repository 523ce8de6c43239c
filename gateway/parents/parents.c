/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/parents/parents.h"

#include <assert.h>

#define NEVER INT64_MIN

void parents_init(struct parents *p, const struct parents_options *options, int64_t now_us)
{
    assert(options->count >= 1 && options->count <= PARENTS_MAX);
    *p = (struct parents){.options = *options, .since_us = now_us, .fine_us = now_us};
    for (unsigned i = 0; i < options->count; i++) {
        p->parent[i] = (struct parent){.there_since_us = NEVER,
                                       .probed_us = NEVER,
                                       .answered_us = NEVER,
                                       .failback_us = options->failback_us};
    }
}

void parents_link(struct parents *p, unsigned i, bool up)
{
    p->parent[i].up = up;
    p->parent[i].probed_us = NEVER; /* a new session is probed at once */
    if (!up) {
        p->parent[i].there_since_us = NEVER;
    }
}

void parents_heard(struct parents *p, unsigned i, int64_t now_us)
{
    struct parent *parent = &p->parent[i];
    parent->answered_us = now_us;
    if (parent->there_since_us == NEVER && parent->up && !parent->looped) {
        parent->there_since_us = now_us;
    }
}

void parents_fine(struct parents *p, int64_t now_us)
{
    p->fine_us = now_us;
}

void parents_loop(struct parents *p, unsigned i, bool looped)
{
    p->parent[i].looped = looped;
    if (looped) {
        p->parent[i].there_since_us = NEVER;
    }
}

bool parents_sends(const struct parents *p)
{
    return !p->parent[p->active].looped;
}

bool parents_there(const struct parents *p, unsigned i)
{
    return p->parent[i].there_since_us != NEVER;
}

/* Where to go from the one in use; itself when there is nowhere. */
static unsigned next_best(const struct parents *p)
{
    for (unsigned i = 0; i < p->options.count; i++) {
        if (i != p->active && parents_there(p, i)) {
            return i;
        }
    }
    for (unsigned k = 1; k < p->options.count; k++) {
        unsigned i = (p->active + k) % p->options.count;
        if (!p->parent[i].looped) {
            return i;
        }
    }
    return p->active;
}

static void go(struct parents *p, unsigned to, enum parents_reason reason, int64_t now_us,
               struct parents_actions *actions)
{
    actions->go = true;
    actions->reason = reason;
    actions->from = p->active;
    p->active = to;
    p->since_us = p->fine_us = now_us; /* it is given the time to come up */
    p->parent[to].probed_us = NEVER;
}

/* Leaves the one in use, if there is anywhere to go. */
static void leave(struct parents *p, enum parents_reason reason, int64_t now_us, struct parents_actions *actions)
{
    struct parent *old = &p->parent[p->active];
    unsigned to = next_best(p);
    if (to == p->active) {
        p->fine_us = now_us; /* asked again after another failover */
        return;
    }
    bool briefly = now_us - p->since_us < PARENTS_LONG * old->failback_us;
    int64_t doubled_us = min_i64(2 * old->failback_us, PARENTS_DOUBLED_MAX * p->options.failback_us);
    old->failback_us = briefly ? doubled_us : p->options.failback_us;
    old->there_since_us = NEVER;
    go(p, to, reason, now_us, actions);
}

static void go_back(struct parents *p, int64_t now_us, struct parents_actions *actions)
{
    for (unsigned i = 0; i < p->active; i++) {
        const struct parent *parent = &p->parent[i];
        bool answers = parent->answered_us != NEVER && parent->answered_us >= parent->probed_us;
        if (parent->there_since_us != NEVER && answers && now_us - parent->there_since_us >= parent->failback_us) {
            go(p, i, PARENTS_BACK, now_us, actions);
            return;
        }
    }
}

static void probe(struct parents *p, unsigned i, int64_t now_us, struct parents_actions *actions)
{
    struct parent *parent = &p->parent[i];
    bool wanted = i < p->active || parent->looped;
    if (!wanted || !parent->up ||
        (parent->probed_us != NEVER && now_us - parent->probed_us < p->options.probe_us)) {
        return;
    }
    if (parent->probed_us != NEVER && parent->answered_us < parent->probed_us) {
        parent->there_since_us = NEVER;
    }
    parent->probed_us = now_us;
    actions->probe |= 1u << i;
}

void parents_look(struct parents *p, int64_t now_us, struct parents_actions *ret_actions)
{
    *ret_actions = (struct parents_actions){.go = false};
    if (p->parent[p->active].looped) {
        leave(p, PARENTS_LOOPED, now_us, ret_actions);
    } else if (now_us - p->fine_us >= p->options.failover_us) {
        leave(p, PARENTS_SILENT, now_us, ret_actions);
    }
    if (!ret_actions->go) {
        go_back(p, now_us, ret_actions);
    }
    if (!p->parent[p->active].started) {
        p->parent[p->active].started = true;
        ret_actions->start = 1u << p->active;
    }
    for (unsigned i = 0; i < p->options.count; i++) {
        probe(p, i, now_us, ret_actions);
    }
}
