/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cascade/cascade.h"

#include <math.h>

static bool asks(const struct cascade_case *c, double threshold)
{
    return !(c->confidence >= threshold); /* also when it is not a number */
}

/* What stands in the end is right, and where it is not the same as the larger model's answer: better or worse. */
struct tally {
    size_t asked, right, better, worse;
};

static struct cascade_point point_of(const struct tally *t, size_t count, const struct cascade_cost *cost,
                                     double threshold)
{
    double n = (double)count, share = (double)t->asked / n, gap = ((double)t->better - (double)t->worse) / n;
    /* Of paired answers (McNemar 1947); one case more that differs, so that none at all is not taken for certainty. */
    double variance = ((double)(t->better + t->worse) + 1) / n - gap * gap;
    return (struct cascade_point){.threshold = threshold,
                                  .escalated = share,
                                  .accuracy = (double)t->right / n,
                                  .gap = gap,
                                  .gap_error = sqrt(fmax(variance, 0) / n),
                                  .bytes = cost->result_bytes + share * cost->ask_bytes,
                                  .latency_us = cost->device_us + share * cost->ask_us};
}

/* Counts a case as asked or not. */
static void tally_add(struct tally *t, const struct cascade_case *c, bool ask)
{
    t->asked += ask;
    t->right += ask ? c->gateway_right : c->device_right;
    t->better += !ask && c->device_right && !c->gateway_right;
    t->worse += !ask && !c->device_right && c->gateway_right;
}

/* From not asked to asked. */
static void tally_ask(struct tally *t, const struct cascade_case *c)
{
    t->asked++;
    t->right = t->right + c->gateway_right - c->device_right;
    t->better -= c->device_right && !c->gateway_right;
    t->worse -= !c->device_right && c->gateway_right;
}

struct cascade_point cascade_measure(const struct cascade_case *cases, size_t count, const struct cascade_cost *cost,
                                     double threshold)
{
    struct tally t = {0};
    for (size_t i = 0; i < count; i++) {
        tally_add(&t, &cases[i], asks(&cases[i], threshold));
    }
    return point_of(&t, count, cost, threshold);
}

/* What is not a number stands first: it always asks. */
static int by_confidence(const void *a, const void *b)
{
    double x = ((const struct cascade_case *)a)->confidence, y = ((const struct cascade_case *)b)->confidence;
    x = isnan(x) ? -1 : x;
    y = isnan(y) ? -1 : y;
    return (x > y) - (x < y);
}

size_t cascade_curve(struct cascade_case *cases, size_t count, const struct cascade_cost *cost,
                     struct cascade_point *points)
{
    struct tally t = {0};
    size_t n = 0;
    if (count == 0) {
        return 0;
    }
    qsort(cases, count, sizeof(*cases), by_confidence);
    for (size_t i = 0; i < count; i++) {
        tally_add(&t, &cases[i], isnan(cases[i].confidence));
    }
    points[n++] = point_of(&t, count, cost, 0);
    for (size_t i = t.asked; i < count; i++) {
        double here = cases[i].confidence, next = i + 1 < count ? cases[i + 1].confidence : 1;
        tally_ask(&t, &cases[i]);
        if (here < next) {
            /* The least number above `here` where the two are so close that there is none between. */
            double between = fmax(here + (next - here) / 2, nextafter(here, 2));
            points[n++] = point_of(&t, count, cost, between);
        }
    }
    return n;
}

enum err cascade_pick_bytes(const struct cascade_point *points, size_t count, double bytes_max,
                            struct cascade_point *ret_point)
{
    const struct cascade_point *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cascade_point *p = &points[i];
        if (p->bytes <= bytes_max && (best == NULL || p->accuracy > best->accuracy ||
                                      (p->accuracy >= best->accuracy && p->escalated < best->escalated))) {
            best = p;
        }
    }
    if (best == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_point = *best;
    return OK;
}

enum err cascade_pick_accuracy(const struct cascade_point *points, size_t count, double accuracy_min,
                               struct cascade_point *ret_point)
{
    const struct cascade_point *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (points[i].accuracy >= accuracy_min && (best == NULL || points[i].escalated < best->escalated)) {
            best = &points[i];
        }
    }
    if (best == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_point = *best;
    return OK;
}

enum err cascade_pick_gap(const struct cascade_point *points, size_t count, double loss_max, double errors,
                          struct cascade_point *ret_point)
{
    const struct cascade_point *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cascade_point *p = &points[i];
        if (p->gap - errors * p->gap_error >= -loss_max && (best == NULL || p->escalated < best->escalated)) {
            best = p;
        }
    }
    if (best == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_point = *best;
    return OK;
}
