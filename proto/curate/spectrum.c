/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Energy per frequency band of so many consecutive values: a radix-2 Fourier transform (Cooley and Tukey 1965), no
 * window function, so that the bands over all frequencies add up to the mean square (Parseval). The sample rate is
 * taken from the values' times; where these are uneven by more than 20 %, or records are missing, the result is
 * partial.
 */
#include <math.h>

#include "proto/curate/curate_internal.h"

void spectrum_tables(struct curate *c)
{
    for (unsigned i = 0; i < RULE_SPECTRUM_SAMPLES_MAX / 2; i++) {
        double angle = 2 * M_PI * i / RULE_SPECTRUM_SAMPLES_MAX;
        c->sine[i] = sin(angle);
        c->cosine[i] = cos(angle);
    }
}

static void bit_reverse(double *re, unsigned count)
{
    for (unsigned i = 1, j = 0; i < count; i++) {
        unsigned bit = count >> 1;
        for (; (j & bit) != 0; bit >>= 1) {
            j ^= bit;
        }
        j ^= bit;
        if (i < j) {
            double t = re[i];
            re[i] = re[j];
            re[j] = t;
        }
    }
}

/* c->re (real values) -> c->re, c->im. */
static void transform(struct curate *c, unsigned count)
{
    double *re = c->re, *im = c->im;
    memset(im, 0, count * sizeof(*im));
    bit_reverse(re, count);
    for (unsigned half = 1; half < count; half *= 2) {
        unsigned stride = RULE_SPECTRUM_SAMPLES_MAX / 2 / half;
        for (unsigned start = 0; start < count; start += 2 * half) {
            for (unsigned k = 0; k < half; k++) {
                unsigned a = start + k, b = a + half;
                double wr = c->cosine[k * stride], wi = -c->sine[k * stride];
                double xr = re[b] * wr - im[b] * wi, xi = re[b] * wi + im[b] * wr;
                re[b] = re[a] - xr;
                im[b] = im[a] - xi;
                re[a] += xr;
                im[a] += xi;
            }
        }
    }
}

void spectrum_bands(struct curate *c, const double *values, unsigned count, double rate_hz, const double (*range)[2],
                    unsigned bands, double *band)
{
    memcpy(c->re, values, count * sizeof(*values));
    transform(c, count);
    memset(band, 0, bands * sizeof(*band));
    for (unsigned k = 0; k <= count / 2; k++) {
        double hz = k * rate_hz / count, sides = k == 0 || k == count / 2 ? 1 : 2;
        double energy = sides * (c->re[k] * c->re[k] + c->im[k] * c->im[k]) / ((double)count * count);
        for (unsigned i = 0; i < bands; i++) {
            band[i] += hz >= range[i][0] && hz < range[i][1] ? energy : 0;
        }
    }
}

static enum err spectrum_close(struct run *r, struct op *op)
{
    struct spectrum *p = &op->spectrum;
    double band[RULE_BANDS_MAX], mean = (double)(p->last - p->first) / (p->samples - 1);
    struct closed closed = {.start = p->first,
                            .length = (int64_t)round(mean * p->samples),
                            .band = band,
                            .bands = op->rule->bands,
                            .partial = p->partial || (double)p->longest > 1.2 * mean ||
                                       (double)p->shortest < 0.8 * mean};
    moments_add(&closed.moments, p->values, p->samples);
    spectrum_bands(r->c, p->values, p->samples, 1e6 / mean, op->rule->band, op->rule->bands, band);
    r->c->stats[op->rule->index].windows++;
    p->count = 0;
    p->partial = false;
    return queue_window(r->c, r->s, r->channel, op->rule, op->name, &closed);
}

static enum err spectrum_value(struct run *r, struct op *op, int64_t t, double v)
{
    struct spectrum *p = &op->spectrum;
    if (p->count > 0 && t <= p->last) { /* the clock went back: no rate can be told */
        r->c->stats[op->rule->index].cut += p->count;
        p->count = 0;
        p->partial = true;
    }
    if (p->count == 0) {
        p->first = t;
        p->shortest = INT64_MAX;
        p->longest = 0;
    } else {
        p->shortest = min_i64(p->shortest, t - p->last);
        p->longest = max_i64(p->longest, t - p->last);
    }
    p->last = t;
    p->values[p->count++] = v;
    return p->count == p->samples ? spectrum_close(r, op) : OK;
}

enum err spectrum_step(struct run *r, struct op *op)
{
    struct spectrum *p = &op->spectrum;
    if (p->values == NULL) {
        p->values = calloc(p->samples, sizeof(*p->values));
        if (p->values == NULL) {
            return ERR_NOMEM;
        }
    }
    for (size_t i = 0; i < r->in->count; i++) {
        TRY(spectrum_value(r, op, r->in->t[i], r->in->v[i]));
    }
    if (op->rule->raw == RULE_RAW_DROP) {
        r->in->count = 0;
    }
    return OK;
}
