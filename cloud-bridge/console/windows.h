/* SPDX-License-Identifier: Apache-2.0 */
/*
 * windows - recorded, labelled data as a model's windows, made as a device makes them: every `hop` rows, anew after a
 * gap in the rows' times and in every file.
 *
 *   CSV files --series_read_labelled--> rows --core/features--> a window with its input row, its samples and its labels
 */
#ifndef CLOUD_BRIDGE_CONSOLE_WINDOWS_H
#define CLOUD_BRIDGE_CONSOLE_WINDOWS_H

#include "cloud-bridge/console/replay.h"
#include "core/csv/csv.h"
#include "proto/model/model.h"

struct window {           /* borrowed until the callback returns */
    size_t file;          /* in their order */
    int64_t at_us;        /* of the last sample; without times in the file from 0 on */
    int lowest, highest;  /* labels of its rows; below 0 = a row has none */
    const float *row;     /* the model's input, [inputs]; finite */
    const float *samples; /* [window][channels] in order of time, NaN = missing */
    double step;          /* of all channels, by their decimals in the file; 0 = they differ */
};
struct windows {
    const struct model_info *info;
    struct series_labels labels;
    /* Anything but OK ends the reading. */
    enum err (*fn)(void *arg, const struct window *window, struct fault *reterr);
    void *arg;
    uint64_t files, rows, bad, gaps;
    uint64_t longest; /* rows of the longest stretch without a gap */
    uint64_t blank;   /* windows in which a channel has no value, or whose features are not numbers */
};
/* data: a file, or a folder with CSV files. Channels are found by their names. ERR_NOT_FOUND: no data, channel or
 * column of labels; ERR_RANGE: a label, or rows that are not the model's rate apart; ERR_MALFORMED, ERR_NOMEM; or fn's.
 */
enum err windows_each(struct windows *w, const char *data, struct fault *reterr) MUST_CHECK;
/* "; windows were cut by N gaps in the times (...)", for the end of a sentence that no window is left; "" without a
 * gap. */
void windows_cut_sentence(const struct windows *w, char *out, size_t size);

/* ---- a file by itself ---- */
/* The model's channels in a series. ERR_NOT_FOUND: one is missing; the sentence lists those that there are. */
enum err windows_channels(const struct model_info *info, const struct series *series, const char *path,
                          const struct series_channel *ret_channel[FEATURES_CHANNELS_MAX],
                          struct fault *reterr) MUST_CHECK;
/* ERR_RANGE: rows that are not the model's rate apart. A model of single rows takes each for itself. */
enum err windows_check_rate(const struct model_info *info, const struct series *series, const char *path,
                            struct fault *reterr) MUST_CHECK;
/* The longest from one row to the next, us, that is not a gap. */
double windows_gap_us(const struct model_info *info, const struct series *series);
/* Whether row n stands behind a gap, or before the row before it. */
bool windows_gap_before(const struct series *series, size_t n, double gap_us);

#endif
