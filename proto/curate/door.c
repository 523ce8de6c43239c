/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Swinging door (Bristol, US patent 4 669 097, 1987) with a guaranteed bound.
 *
 * From the last corner (the pivot) a fan of slopes [low, high] is kept: all lines that pass every value since within
 * e'. A value that leaves the fan empty closes the door: the corner goes out, at the time of the value before, on the
 * line of the fan that comes nearest to that value, rounded to the channel's resolution. Rounding moves the end of
 * the line by half a step at most and its start not at all, so with e' = abs - resolution / 2 every value dropped is
 * within abs of the line between the corners kept. (The textbook's door sends the value itself, which may lie outside
 * its own fan: then values dropped before are off by up to twice the bound.)
 *
 *           ___---* high
 *   pivot *------------- corner
 *           ```---* low
 */
#include <float.h>
#include <math.h>

#include "proto/curate/curate_internal.h"

static void door_open(struct door *d, struct point pivot)
{
    *d = (struct door){.has = true, .pivot = pivot, .last = pivot, .low = -INFINITY, .high = INFINITY, .last_row = -1};
}

/* The point of the fan at p's time that is nearest to p. */
static struct point door_corner(const struct door *d, struct point p, double resolution)
{
    double dt = (double)(p.t - d->pivot.t);
    double slope = fmin(fmax((p.v - d->pivot.v) / dt, d->low), d->high);
    double v = snap(d->pivot.v + slope * dt, resolution);
    return (struct point){p.t, isnan(v) ? p.v : v};
}

struct point door_end(const struct door *d, double resolution)
{
    return d->last.t > d->pivot.t ? door_corner(d, d->last, resolution) : d->last;
}

/* Narrows the fan to what passes p; false: nothing is left, and the fan is as it was. */
static bool door_narrow(struct door *d, struct point p, double tolerance)
{
    double dt = (double)(p.t - d->pivot.t), rise = p.v - d->pivot.v;
    double exact = fmax(tolerance - 8 * DBL_EPSILON * (fabs(p.v) + fabs(d->pivot.v)), 0);
    double low = fmax(d->low, (rise - exact) / dt), high = fmin(d->high, (rise + exact) / dt);
    if (low > high) {
        return false;
    }
    d->low = low;
    d->high = high;
    return true;
}

static void door_hold(struct door *d, const struct series *in, size_t i)
{
    d->last = (struct point){in->t[i], in->v[i]};
    d->last_row = in->row[i];
    d->last_made = in->made[i];
}

/* The corner goes out: the end of this line, and the start of the next. */
static struct point door_close(struct run *r, const struct door *d, double resolution)
{
    struct point corner = door_end(d, resolution);
    series_put(r->out, corner.t, corner.v, d->last_row, d->last_made || corner.v != d->last.v);
    return corner;
}

static void door_value(struct run *r, struct op *op, size_t i, double tolerance)
{
    struct door *d = &op->door;
    struct point p = {r->in->t[i], r->in->v[i]};
    if (d->has && p.t <= d->last.t) { /* the clock went back */
        if (d->last.t != d->pivot.t) {
            door_close(r, d, op->resolution);
        }
        d->has = false;
    }
    if (!d->has || tolerance <= 0) {
        door_open(d, p);
        series_keep(r->out, r->in, i);
        return;
    }
    if (!door_narrow(d, p, tolerance)) {
        door_open(d, door_close(r, d, op->resolution));
        (void)door_narrow(d, p, tolerance); /* one value alone always fits */
    }
    door_hold(d, r->in, i);
    if (op->rule->heartbeat_us > 0 && p.t - d->pivot.t >= op->rule->heartbeat_us) {
        door_open(d, door_close(r, d, op->resolution));
    }
}

enum err door_step(struct run *r, struct op *op)
{
    double tolerance = (op->rule->abs - op->resolution / 2) * (1 - 1e-9);
    for (size_t i = 0; i < r->in->count; i++) {
        door_value(r, op, i, tolerance);
    }
    run_swap(r);
    return OK;
}
