/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "core/drift/drift.h"

double drift_ewma_add(struct drift_ewma *e, double x)
{
    if (!isfinite(x)) {
        return e->value;
    }
    e->value = e->begun ? e->value + e->lambda * (x - e->value) : x;
    e->begun = true;
    return e->value;
}

/* ---- a window against a reference ---- */
static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static unsigned bin_of(const struct drift_reference *r, double x)
{
    unsigned low = 0, high = r->bins - 1; /* the first edge above x */
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (x < r->edge[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static void add_edge(struct drift_reference *r, double edge)
{
    if (r->bins == 1 || edge > r->edge[r->bins - 2]) {
        r->edge[r->bins - 1] = edge;
        r->bins++;
    }
}

enum err drift_reference_fit(struct drift_reference *r, double *values, size_t count, unsigned bins)
{
    if (bins < 2 || bins > DRIFT_BINS_MAX || count < bins) {
        return ERR_RANGE;
    }
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return ERR_RANGE;
        }
    }
    *r = (struct drift_reference){.bins = 1};
    qsort(values, count, sizeof(*values), ascending);
    size_t above = 0; /* the first that is above the least */
    while (above < count && values[above] == values[0]) {
        above++;
    }
    if (above == count) { /* all are alike: below, equal, above */
        add_edge(r, values[0]);
        if (bins > 2) {
            add_edge(r, nextafter(values[0], INFINITY));
        }
    }
    for (unsigned i = 1; i < bins && above < count; i++) {
        size_t at = count * i / bins;
        add_edge(r, values[at > above ? at : above]);
    }
    for (size_t i = 0; i < count; i++) {
        r->share[bin_of(r, values[i])] += 1.0 / (double)count;
    }
    return OK;
}

enum err drift_window_init(struct drift_window *w, unsigned size)
{
    memset(w, 0, sizeof(*w));
    w->size = size;
    return size >= 1 && size <= DRIFT_WINDOW_MAX ? OK : ERR_RANGE;
}

void drift_window_add(struct drift_window *w, const struct drift_reference *r, double x)
{
    if (!isfinite(x)) {
        return;
    }
    if (w->filled == w->size) {
        w->count[w->bin[w->at]]--;
    } else {
        w->filled++;
    }
    unsigned bin = bin_of(r, x);
    w->bin[w->at] = (uint8_t)bin;
    w->count[bin]++;
    w->at = (w->at + 1) % w->size;
}

bool drift_window_full(const struct drift_window *w)
{
    return w->filled == w->size;
}

double drift_psi(const struct drift_window *w, const struct drift_reference *r)
{
    double psi = 0, least = 0.5 / (double)(w->filled > 0 ? w->filled : 1);
    for (unsigned i = 0; i < r->bins; i++) {
        double p = fmax(w->count[i] / (double)(w->filled > 0 ? w->filled : 1), least), q = fmax(r->share[i], least);
        psi += (p - q) * log(p / q);
    }
    return psi;
}

double drift_ks(const struct drift_window *w, const struct drift_reference *r)
{
    double p = 0, q = 0, most = 0;
    for (unsigned i = 0; i < r->bins && w->filled > 0; i++) {
        p += w->count[i] / (double)w->filled;
        q += r->share[i];
        most = fmax(most, fabs(p - q));
    }
    return most;
}

/* ---- thresholds, alarms ---- */
double drift_limit(const double *values, size_t count, double margin)
{
    double most = NAN;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, values[i]);
    }
    return most + fabs(most) * (margin - 1);
}

bool drift_confirm_add(struct drift_confirm *c, bool beyond)
{
    uint64_t mask = c->n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << c->n) - 1;
    c->beyond = (c->beyond << 1 | beyond) & mask;
    bool was = c->raised;
    if ((unsigned)__builtin_popcountll(c->beyond) >= c->k) {
        c->raised = true;
    } else if (c->beyond == 0) {
        c->raised = false;
    }
    return c->raised && !was;
}

/* ---- sensors ---- */
const char *drift_fault_name(enum drift_fault fault)
{
    static const char *const names[] = {"none", "stuck", "spike", "noise", "missing"};
    return (unsigned)fault < COUNT_OF(names) ? names[fault] : "unknown";
}

static double median3(const double v[3])
{
    return fmax(fmin(v[0], v[1]), fmin(fmax(v[0], v[1]), v[2]));
}

/* Not moved by a few spikes. */
static double median_step(const struct drift_sensor *s)
{
    double sorted[COUNT_OF(s->steps)];
    for (unsigned i = 0; i < COUNT_OF(sorted); i++) { /* of every sample of every channel: qsort would take most of the time */
        unsigned at = i;
        for (; at > 0 && sorted[at - 1] > s->steps[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = s->steps[i];
    }
    return sorted[COUNT_OF(sorted) / 2];
}

/* What the limits are held against: step from the median, median of the steps, values that were equal in a row. */
static void observe(struct drift_sensor *s, double x, double *ret_step, double *ret_noise)
{
    double before = s->last[(s->seen + 2) % 3];
    *ret_step = s->seen >= 3 ? fabs(x - median3(s->last)) : 0;
    if (s->seen == 0 || x != before) {
        s->equal = 1;
    } else if (s->equal < DRIFT_RUN_MAX) {
        s->equal++;
    }
    s->steps[s->seen % DRIFT_STEPS] = s->seen > 0 ? fabs(x - before) : 0;
    s->last[s->seen % 3] = x;
    s->seen++;
    *ret_noise = s->seen > DRIFT_STEPS ? median_step(s) : 0;
}

/* So many in a row are too many, when `longest` were normal. */
static unsigned too_many(unsigned longest, double margin)
{
    return (unsigned)fmin(longest * margin + DRIFT_RUN_SLACK, DRIFT_RUN_MAX);
}

enum err drift_sensor_fit(struct drift_sensor *s, const double *values, size_t count, double margin)
{
    *s = (struct drift_sensor){.stuck_after = 0};
    double spike = 0, noise = 0, step, median;
    unsigned longest = 1, absent = 0, most_absent = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            most_absent = ++absent > most_absent ? absent : most_absent;
            continue;
        }
        absent = 0;
        observe(s, values[i], &step, &median);
        spike = fmax(spike, step);
        noise = fmax(noise, median);
        longest = s->equal > longest ? s->equal : longest;
    }
    bool enough = s->seen >= 32, moves = longest < s->seen;
    *s = (struct drift_sensor){.stuck_after = moves ? too_many(longest, margin) : 0,
                               .missing_after = too_many(most_absent, margin),
                               .spike = spike * margin,
                               .noise = noise * margin};
    return enough && margin > 1 && isfinite(s->spike) && isfinite(s->noise) ? OK : ERR_RANGE;
}

enum drift_fault drift_sensor_add(struct drift_sensor *s, double x)
{
    double step, noise;
    if (!isfinite(x)) {
        s->missing += s->missing < DRIFT_RUN_MAX;
        return s->missing_after > 0 && s->missing >= s->missing_after ? DRIFT_FAULT_MISSING : DRIFT_FAULT_NONE;
    }
    s->missing = 0;
    observe(s, x, &step, &noise);
    if (s->stuck_after > 0 && s->equal >= s->stuck_after) {
        return DRIFT_FAULT_STUCK;
    }
    if (s->noise > 0 && noise > s->noise) {
        return DRIFT_FAULT_NOISE;
    }
    return s->spike > 0 && step > s->spike ? DRIFT_FAULT_SPIKE : DRIFT_FAULT_NONE;
}
