/* SPDX-License-Identifier: Apache-2.0 */
/* series - points over the time of a run, in memory that does not grow. */
#include <math.h>

#include "simulators/figures/figures.h"

void series_init(struct series *s, enum series_fold fold)
{
    memset(s, 0, sizeof(*s));
    s->fold = fold;
    s->step = 1;
}

/* Two neighbours of the same length; NaN = nothing known. */
static double fold(const struct series *s, double earlier, double later)
{
    if (isnan(earlier) || isnan(later)) {
        return isnan(later) ? earlier : later;
    }
    switch (s->fold) {
    case SERIES_MEAN:
        return (earlier + later) / 2;
    case SERIES_MAX:
        return fmax(earlier, later);
    case SERIES_MIN:
        return fmin(earlier, later);
    case SERIES_LAST:
        return later;
    }
    return later;
}

static double open_point(const struct series *s)
{
    return s->known == 0 ? NAN : s->fold == SERIES_MEAN ? s->open / s->known : s->open;
}

static void halve(struct series *s)
{
    for (size_t i = 0; i < s->count / 2; i++) {
        s->points[i] = fold(s, s->points[2 * i], s->points[2 * i + 1]);
    }
    s->count /= 2;
    s->step *= 2;
}

void series_add(struct series *s, double value)
{
    if (!isnan(value)) {
        s->open = s->known == 0 ? value : s->fold == SERIES_MEAN ? s->open + value : fold(s, s->open, value);
        s->known++;
    }
    if (++s->gathered < s->step) {
        return;
    }
    s->points[s->count++] = open_point(s);
    s->gathered = s->known = 0;
    if (s->count == SERIES_POINTS) {
        halve(s);
    }
}

size_t series_count(const struct series *s)
{
    return s->count + (s->gathered > 0);
}

double series_at(const struct series *s, size_t index)
{
    return index < s->count ? s->points[index] : open_point(s);
}
