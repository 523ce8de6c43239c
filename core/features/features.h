/* SPDX-License-Identifier: Apache-2.0 */
/*
 * features - from samples to a model's input: sliding windows of several channels, a row of features per window.
 *
 *   sample (one value per channel) --features_push--> ring of `window` samples --every `hop`: features_row--> float32 row
 *
 * The same code on the device and on the gateway (for a raw window that a device hands up), so that both models see the same
 * numbers. float32 throughout; no allocation after features_init; needs no OS. A value that is missing (NaN) takes the
 * channel's one before, as a sensor that holds does; a window in which a channel was missing throughout gives no row.
 *
 * Kinds, over the n values x of one channel in the window:
 *   RAW       the values, oldest first                       n outputs
 *   MEAN      sum x / n
 *   STD       sqrt(sum (x - mean)^2 / n)
 *   RMS       sqrt(sum x^2 / n)
 *   MIN MAX
 *   PEAK      largest |x - mean|
 *   CREST     PEAK / STD; 0 when STD is 0
 *   SKEWNESS  sum (x - mean)^3 / n / STD^3; 0 when STD is 0
 *   KURTOSIS  sum (x - mean)^4 / n / STD^4; 0 when STD is 0
 *   BANDS     energy of x - mean in equal bands of the spectrum from low_hz to high_hz, ln(1e-12 + energy); Hann window
 *             (Harris 1978), radix-2 transform (Cooley and Tukey 1965), so n must be a power of two; over all frequencies the
 *             energies add up to about STD^2
 * Then, if given, every output becomes (output - offset) * factor: z-scores, or any scaling.
 */
#ifndef CORE_FEATURES_FEATURES_H
#define CORE_FEATURES_FEATURES_H

#include "core/base/base.h"

struct features;

enum feature_kind {
    FEATURE_RAW,
    FEATURE_MEAN,
    FEATURE_STD,
    FEATURE_RMS,
    FEATURE_MIN,
    FEATURE_MAX,
    FEATURE_PEAK,
    FEATURE_CREST,
    FEATURE_SKEWNESS,
    FEATURE_KURTOSIS,
    FEATURE_BANDS,
    FEATURE_KINDS
};
enum { FEATURES_MAX = 64, FEATURES_CHANNELS_MAX = 64, FEATURES_WINDOW_MAX = 65536, FEATURES_BANDS_MAX = 1024 };
struct feature {
    enum feature_kind kind;
    unsigned channel;      /* below options.channels */
    unsigned bands;        /* BANDS */
    float low_hz, high_hz; /* BANDS; high_hz 0 = half the rate */
};
struct features_options {
    unsigned channels, window, hop; /* samples; 1 <= hop <= window */
    float rate_hz;                  /* of the samples; BANDS need it */
    const struct feature *features; /* borrowed for the life of the features; their outputs stand one after another */
    unsigned count;
    const float *offset, *factor;   /* borrowed likewise, features_outputs() each; NULL: none */
};

/* Outputs of a row; 0: the options are not sound (reterr says what, ERR_RANGE). */
size_t features_outputs(const struct features_options *options, struct fault *reterr);
/* Memory that features_init takes, for sound options. */
size_t features_bytes(const struct features_options *options);
/* memory: 16-byte aligned, the caller's. ERR_RANGE, ERR_FULL. */
enum err features_init(const struct features_options *options, void *memory, size_t bytes, struct features **ret_features,
                       struct fault *reterr) MUST_CHECK;
/* values: one per channel. True: a window is full and `hop` samples have come since the last one: features_row. */
bool features_push(struct features *features, const float *values);
/* The row of the window that ends with the last sample; false when a channel was missing throughout. */
bool features_row(struct features *features, float *ret_row);
/* A whole window [window][channels] at once, instead of pushing it. */
bool features_of(struct features *features, const float *window, float *ret_row);
/* After a gap in the samples: begins anew. */
void features_reset(struct features *features);
/* Words of the kinds, lower case; FEATURE_KINDS when there is none. */
const char *feature_name(enum feature_kind kind);
enum feature_kind feature_kind_of(struct slice name);

#endif
