/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gatewayd/limits.h"

#include <stdio.h>

enum { TEXT_MAX = 16 << 20 };

static bool same(const struct calibration *a, const struct calibration *b)
{
    BUFFER(x, TEXT_MAX);
    BUFFER(y, TEXT_MAX);
    if (a->model != b->model || a->channels != b->channels || strcmp(a->name, b->name) != 0) {
        return false; /* to write each of many beside each of many takes seconds */
    }
    return calibration_write(a, &x) == OK && calibration_write(b, &y) == OK &&
           slice_equal(buffer_slice(&x), buffer_slice(&y));
}

static bool owns(const struct limits *l, const struct calibration *c)
{
    for (size_t i = 0; l != NULL && i < COUNT_OF(l->owned); i++) {
        if (l->owned[i] == c) {
            return true;
        }
    }
    return false;
}

/* The one that was there before, where it is the same and not taken by another row. */
static struct calibration *settled(const struct limits *before, const struct limits *l, struct calibration *fresh)
{
    for (size_t i = 0; before != NULL && i < before->options.count; i++) {
        if (!owns(l, before->owned[i]) && same(before->owned[i], fresh)) {
            calibration_free(fresh);
            return before->owned[i];
        }
    }
    return fresh;
}

static enum err read_row(const struct settings *s, size_t i, const struct limits *before, struct limits *l,
                         struct buffer *problems)
{
    const struct settings_calibration *row = (const struct settings_calibration *)s->calibrations.items + i;
    struct calibration *fresh = NULL;
    TRY(calibration_load(row->file, &fresh, problems));
    l->owned[i] = settled(before, l, fresh);
    snprintf(l->devices[i], sizeof(l->devices[i]), "%s", row->devices);
    l->rows[i] = (struct health_calibration){.calibration = l->owned[i], .devices = l->devices[i]};
    l->options.count = i + 1;
    return OK;
}

enum err limits_new(const struct settings *s, const struct limits *before, struct limits **ret_limits,
                    struct buffer *problems)
{
    struct limits *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return ERR_NOMEM;
    }
    l->options = (struct health_options){
        .calibrations = l->rows, .memory_bytes = (size_t)s->health_memory, .stale_us = s->health_stale_us};
    for (size_t i = 0; i < s->calibrations.count; i++) {
        enum err err = read_row(s, i, before, l, problems);
        if (err != OK) {
            limits_free(l, before);
            return err;
        }
    }
    *ret_limits = l;
    return OK;
}

void limits_free(struct limits *l, const struct limits *kept)
{
    for (size_t i = 0; l != NULL && i < COUNT_OF(l->owned); i++) {
        if (l->owned[i] != NULL && !owns(kept, l->owned[i])) {
            calibration_free(l->owned[i]);
        }
    }
    free(l);
}
