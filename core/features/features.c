/* SPDX-License-Identifier: Apache-2.0 */
#include "core/features/features.h"

#include <math.h>

struct features {
    struct features_options options;
    float *ring;          /* [window][channels] */
    float *x;             /* one channel of the window, in order */
    float *re, *im, *hann, *sine; /* window each; NULL without BANDS; sine: a full turn */
    size_t at, filled, since; /* ring position of the next sample; samples in it; since the last row */
    float last[FEATURES_CHANNELS_MAX];
    uint64_t seen; /* bits: channels that had a value since the reset */
};

static const char *const names[FEATURE_KINDS] = {
    [FEATURE_RAW] = "raw",   [FEATURE_MEAN] = "mean",   [FEATURE_STD] = "std",           [FEATURE_RMS] = "rms",
    [FEATURE_MIN] = "min",   [FEATURE_MAX] = "max",     [FEATURE_PEAK] = "peak",         [FEATURE_CREST] = "crest",
    [FEATURE_SKEWNESS] = "skewness", [FEATURE_KURTOSIS] = "kurtosis", [FEATURE_BANDS] = "bands"};

const char *feature_name(enum feature_kind kind)
{
    return (unsigned)kind < FEATURE_KINDS ? names[kind] : "unknown";
}

enum feature_kind feature_kind_of(struct slice name)
{
    for (unsigned k = 0; k < FEATURE_KINDS; k++) {
        if (slice_equal(name, slice_str(names[k]))) {
            return (enum feature_kind)k;
        }
    }
    return FEATURE_KINDS;
}

/* ---- what the options mean ---- */
static bool power_of_two(unsigned n)
{
    return n >= 2 && (n & (n - 1)) == 0;
}

static bool has_bands(const struct features_options *o)
{
    for (unsigned i = 0; i < o->count; i++) {
        if (o->features[i].kind == FEATURE_BANDS) {
            return true;
        }
    }
    return false;
}

static size_t width(const struct features_options *o, const struct feature *f)
{
    return f->kind == FEATURE_RAW ? o->window : f->kind == FEATURE_BANDS ? f->bands : 1;
}

static float upper_hz(const struct features_options *o, const struct feature *f)
{
    return f->high_hz > 0 ? f->high_hz : o->rate_hz / 2;
}

static size_t unsound(struct fault *reterr, unsigned n, const char *what)
{
    (void)fault_set(reterr, ERR_RANGE, "feature %u: %s", n, what);
    return 0;
}

size_t features_outputs(const struct features_options *o, struct fault *reterr)
{
    size_t outputs = 0;
    if (o->channels < 1 || o->channels > FEATURES_CHANNELS_MAX || o->window < 1 || o->window > FEATURES_WINDOW_MAX || o->hop < 1 ||
        o->hop > o->window || o->count < 1 || o->count > FEATURES_MAX) {
        (void)fault_set(reterr, ERR_RANGE, "channels (1 to %d), window (1 to %d), hop (1 to window) or features (1 to %d) is out of range",
                        FEATURES_CHANNELS_MAX, FEATURES_WINDOW_MAX, FEATURES_MAX);
        return 0;
    }
    for (unsigned i = 0; i < o->count; i++) {
        const struct feature *f = &o->features[i];
        if ((unsigned)f->kind >= FEATURE_KINDS || f->channel >= o->channels) {
            return unsound(reterr, i, "there is no such kind or channel");
        }
        if (f->kind == FEATURE_BANDS && (!power_of_two(o->window) || !(o->rate_hz > 0) || f->bands < 1 || f->bands > FEATURES_BANDS_MAX)) {
            return unsound(reterr, i, "bands need a window that is a power of two, a rate, and 1 to 1024 of them");
        }
        if (f->kind == FEATURE_BANDS && !(f->low_hz >= 0 && f->low_hz < upper_hz(o, f) && upper_hz(o, f) <= o->rate_hz / 2)) {
            return unsound(reterr, i, "the bands' range must lie between 0 and half the rate");
        }
        outputs += width(o, f);
    }
    return outputs;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

size_t features_bytes(const struct features_options *o)
{
    size_t floats = aligned(o->window * sizeof(float));
    return aligned(sizeof(struct features)) + aligned((size_t)o->window * o->channels * sizeof(float)) + floats +
           (has_bands(o) ? 4 * floats : 0);
}

enum err features_init(const struct features_options *o, void *memory, size_t bytes, struct features **ret_features,
                       struct fault *reterr)
{
    if (features_outputs(o, reterr) == 0) {
        return ERR_RANGE;
    }
    if (bytes < features_bytes(o) || (uintptr_t)memory % 16 != 0) {
        return fault_set(reterr, ERR_FULL, "the features take %zu bytes of aligned memory", features_bytes(o));
    }
    uint8_t *at = memory;
    size_t floats = aligned(o->window * sizeof(float));
    struct features *f = memory;
    memset(memory, 0, features_bytes(o));
    f->options = *o;
    at += aligned(sizeof(*f));
    f->ring = (void *)at;
    at += aligned((size_t)o->window * o->channels * sizeof(float));
    f->x = (void *)at;
    if (has_bands(o)) {
        float **tables[] = {&f->re, &f->im, &f->hann, &f->sine};
        for (size_t i = 0; i < COUNT_OF(tables); i++) {
            at += floats;
            *tables[i] = (void *)at;
        }
        for (unsigned i = 0; i < o->window; i++) {
            double turn = 2 * M_PI * i / o->window;
            f->hann[i] = (float)(0.5 - 0.5 * cos(turn));
            f->sine[i] = (float)sin(turn);
        }
    }
    *ret_features = f;
    return OK;
}

void features_reset(struct features *f)
{
    f->filled = f->since = 0;
    f->seen = 0;
}

/* ---- samples ---- */
bool features_push(struct features *f, const float *values)
{
    const struct features_options *o = &f->options;
    float *row = f->ring + f->at * o->channels;
    for (unsigned c = 0; c < o->channels; c++) {
        if (!isnan(values[c])) {
            f->last[c] = values[c];
            f->seen |= UINT64_C(1) << c;
        }
        row[c] = (f->seen >> c & 1) != 0 ? f->last[c] : NAN;
    }
    f->at = (f->at + 1) % o->window;
    f->filled += f->filled < o->window;
    f->since++;
    if (f->filled < o->window || f->since < o->hop) {
        return false;
    }
    f->since = 0;
    return true;
}

/* ---- one channel ---- */
struct moments {
    float mean, std, rms, min, max, peak, skewness, kurtosis;
};

static struct moments moments_of(const float *x, size_t n)
{
    struct moments m = {.min = x[0], .max = x[0]};
    double sum = 0, square = 0, m2 = 0, m3 = 0, m4 = 0; /* a device without a double unit does this once per window */
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
        square += (double)x[i] * (double)x[i];
        m.min = fminf(m.min, x[i]);
        m.max = fmaxf(m.max, x[i]);
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - mean;
        m2 += d * d;
        m3 += d * d * d;
        m4 += d * d * d * d;
    }
    m2 /= (double)n;
    m.mean = (float)mean;
    m.std = (float)sqrt(m2);
    m.rms = (float)sqrt(square / (double)n);
    m.peak = (float)fmax((double)m.max - mean, mean - (double)m.min);
    m.skewness = (float)(m2 > 0 ? m3 / (double)n / (m2 * sqrt(m2)) : 0);
    m.kurtosis = (float)(m2 > 0 ? m4 / (double)n / (m2 * m2) : 0);
    return m;
}

static void bit_reverse(float *v, unsigned count)
{
    for (unsigned i = 1, j = 0; i < count; i++) {
        unsigned bit = count >> 1;
        for (; (j & bit) != 0; bit >>= 1) {
            j ^= bit;
        }
        j ^= bit;
        if (i < j) {
            float t = v[i];
            v[i] = v[j];
            v[j] = t;
        }
    }
}

/* f->re (real values) -> f->re, f->im */
static void transform(struct features *f)
{
    unsigned n = f->options.window, quarter = n / 4;
    memset(f->im, 0, n * sizeof(*f->im));
    bit_reverse(f->re, n);
    for (unsigned half = 1; half < n; half *= 2) {
        for (unsigned k = 0; k < half; k++) {
            unsigned turn = k * (n / 2 / half);
            float cosine = n >= 4 ? f->sine[(turn + quarter) % n] : 1.0F, sine = -f->sine[turn];
            for (unsigned a = k; a < n; a += 2 * half) {
                unsigned b = a + half;
                float xr = f->re[b] * cosine - f->im[b] * sine, xi = f->re[b] * sine + f->im[b] * cosine;
                f->re[b] = f->re[a] - xr;
                f->im[b] = f->im[a] - xi;
                f->re[a] += xr;
                f->im[a] += xi;
            }
        }
    }
}

/* Hann's window takes 3/8 of the energy on average; the bands are made up for it. */
static void bands_of(struct features *f, const struct feature *feature, float mean, float *out)
{
    const struct features_options *o = &f->options;
    unsigned n = o->window;
    float low = feature->low_hz, step = (upper_hz(o, feature) - low) / (float)feature->bands;
    float scale = 8.0F / 3.0F / ((float)n * (float)n);
    for (unsigned i = 0; i < n; i++) {
        f->re[i] = (f->x[i] - mean) * f->hann[i];
    }
    transform(f);
    memset(out, 0, feature->bands * sizeof(*out));
    for (unsigned k = 0; k <= n / 2; k++) {
        float place = ((float)k * o->rate_hz / (float)n - low) / step, sides = k == 0 || k == n / 2 ? 1.0F : 2.0F;
        if (place >= 0 && place < (float)feature->bands) {
            out[(unsigned)place] += sides * scale * (f->re[k] * f->re[k] + f->im[k] * f->im[k]);
        }
    }
    for (unsigned b = 0; b < feature->bands; b++) {
        out[b] = logf(1e-12F + out[b]);
    }
}

static void feature_out(struct features *f, const struct feature *feature, const struct moments *m, float *out)
{
    switch (feature->kind) {
    case FEATURE_RAW:
        memcpy(out, f->x, f->options.window * sizeof(*out));
        return;
    case FEATURE_MEAN:
        *out = m->mean;
        return;
    case FEATURE_STD:
        *out = m->std;
        return;
    case FEATURE_RMS:
        *out = m->rms;
        return;
    case FEATURE_MIN:
        *out = m->min;
        return;
    case FEATURE_MAX:
        *out = m->max;
        return;
    case FEATURE_PEAK:
        *out = m->peak;
        return;
    case FEATURE_CREST:
        *out = m->std > 0 ? m->peak / m->std : 0;
        return;
    case FEATURE_SKEWNESS:
        *out = m->skewness;
        return;
    case FEATURE_KURTOSIS:
        *out = m->kurtosis;
        return;
    case FEATURE_BANDS:
        bands_of(f, feature, m->mean, out);
        return;
    case FEATURE_KINDS:
        return;
    }
}

/* The window begins at row `first` of `rows`. Features of one channel need not stand together; its moments are worked out
 * again when they don't. */
static bool row_of(struct features *f, const float *rows, size_t first, float *out)
{
    const struct features_options *o = &f->options;
    unsigned channel = o->channels;
    struct moments m = {0};
    size_t at = 0;
    for (unsigned i = 0; i < o->count; i++) {
        const struct feature *feature = &o->features[i];
        if (feature->channel != channel) {
            channel = feature->channel;
            for (size_t k = 0; k < o->window; k++) {
                f->x[k] = rows[(first + k) % o->window * o->channels + channel];
            }
            for (size_t k = o->window; k-- > 1 && !isnan(f->x[k]);) { /* before its first value a channel has that one */
                f->x[k - 1] = isnan(f->x[k - 1]) ? f->x[k] : f->x[k - 1];
            }
            if (isnan(f->x[0])) {
                return false;
            }
            m = moments_of(f->x, o->window);
        }
        feature_out(f, feature, &m, out + at);
        at += width(o, feature);
    }
    for (size_t i = 0; i < at; i++) {
        out[i] -= o->offset != NULL ? o->offset[i] : 0;
        out[i] *= o->factor != NULL ? o->factor[i] : 1;
    }
    return true;
}

bool features_row(struct features *f, float *ret_row)
{
    return f->filled == f->options.window && row_of(f, f->ring, f->at, ret_row);
}

bool features_of(struct features *f, const float *window, float *ret_row)
{
    return row_of(f, window, 0, ret_row);
}
