/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's states as bytes:
 *   version u8 = 2 | model u64 | calibration's mark u64 | flags u8: 1 concept told, 2 inputs told, 4 scores told
 *   | asked, differed, scores varint | level f64 (infinite: none) | page | adwin | rate
 *   | rates | kind u8 | its lambda f64 and rate
 *   | calibrated u8: 1 = spe, levels, inputs', scores' confirm, set u32, channels varint x (column u8, sensor, confirm,
 *   told u8, confirm and told of its sketches), outcome's column u8, window u8 x (window, score)
 * States of a model whose calibration has changed since are not taken: the mark says so.
 */
#include <math.h>
#include <stdio.h>

#include "core/base/cursor.h"
#include "gateway/health/health_internal.h"

enum { VERSION = 2, CONCEPT = 1, INPUTS = 2, SCORES = 4 };

/* What states depend on. */
static uint64_t mark_of(const struct calibration *c)
{
    uint64_t mark = 0;
    if (c == NULL) {
        return 0;
    }
    const uint64_t parts[] = {c->model, c->channels, c->features.window, c->score_window, c->reference.bins, c->k,
                              c->n,     c->of,       c->sketches.samples,     c->sketches.answers};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        mark = mix_u64(mark ^ parts[i]);
    }
    return mark;
}

static void put_calibrated(const struct device *d, struct buffer *out)
{
    drift_put_ewma(&d->spe, out);
    drift_put_levels(&d->calibration->levels, d->level_off, out);
    drift_put_confirm(&d->inputs.confirm, out);
    drift_put_confirm(&d->scores.confirm, out);
    buffer_put_u32le(out, d->set);
    buffer_put_varint(out, d->calibration->channels);
    for (unsigned i = 0; i < d->calibration->channels; i++) {
        buffer_put_u8(out, d->map[i]);
        drift_put_sensor(&d->channels[i].sensor, out);
        drift_put_confirm(&d->channels[i].fault.confirm, out);
        buffer_put_u8(out, d->channels[i].fault.told);
        drift_put_confirm(&d->channels[i].moved.confirm, out);
        buffer_put_u8(out, d->channels[i].moved.told);
    }
    buffer_put_u8(out, d->outcome_channel);
    if (d->window != NULL) {
        drift_put_window(d->window, out);
        drift_put_ewma(&d->score, out);
    }
}

static void put_device(const struct device *d, struct buffer *out)
{
    buffer_put_u8(out, VERSION);
    buffer_put_u64le(out, d->model);
    buffer_put_u64le(out, mark_of(d->calibration));
    buffer_put_u8(out, (uint8_t)((d->concept.told ? CONCEPT : 0) | (d->inputs.told ? INPUTS : 0) |
                                 (d->scores.told ? SCORES : 0)));
    buffer_put_varint(out, d->asked);
    buffer_put_varint(out, d->differed);
    buffer_put_varint(out, d->scores_seen);
    buffer_put_f64le(out, d->level);
    drift_put_page_hinkley(&d->page, out);
    drift_put_adwin(&d->adwin, out);
    drift_put_ewma(&d->rate, out);
    drift_put_rates(&d->rates, out);
    buffer_put_u8(out, (uint8_t)d->kind);
    buffer_put_f64le(out, d->kind_rate.lambda);
    drift_put_ewma(&d->kind_rate, out);
    drift_put_confirm(&d->concept.confirm, out);
    buffer_put_u8(out, d->calibration != NULL);
    if (d->calibration != NULL) {
        put_calibrated(d, out);
    }
}

bool health_dirty(struct health *h, const char **ret_device, struct buffer *out)
{
    struct device *d = h->dirty_at != NULL ? h->dirty_at : h->first;
    for (; d != NULL; d = d->next) {
        if (d->dirty) {
            d->dirty = false;
            h->dirty_at = d->next;
            *ret_device = d->id;
            put_device(d, out);
            return true;
        }
    }
    h->dirty_at = NULL;
    return false;
}

bool health_state(struct health *h, const char *device, struct buffer *out)
{
    struct device *d = NULL;
    HASH_FIND_STR(h->by_id, device, d);
    if (d == NULL) {
        return false;
    }
    d->dirty = false;
    put_device(d, out);
    return true;
}

static enum err get_calibrated(struct cursor *in, struct device *d)
{
    TRY(drift_get_ewma(in, &d->spe));
    TRY(drift_get_levels(in, &d->calibration->levels, d->level_off));
    TRY(drift_get_confirm(in, &d->inputs.confirm));
    TRY(drift_get_confirm(in, &d->scores.confirm));
    d->set = cursor_u32le(in); /* blocks can be read at once, not only behind the next description */
    if (cursor_varint(in) != d->calibration->channels) {
        return ERR_RANGE;
    }
    for (unsigned i = 0; i < d->calibration->channels; i++) {
        d->map[i] = cursor_u8(in); /* any: a column that a block does not have is none */
        TRY(drift_get_sensor(in, &d->channels[i].sensor));
        TRY(drift_get_confirm(in, &d->channels[i].fault.confirm));
        d->channels[i].fault.told = cursor_u8(in) == 1;
        TRY(drift_get_confirm(in, &d->channels[i].moved.confirm));
        d->channels[i].moved.told = cursor_u8(in) == 1;
    }
    d->outcome_channel = cursor_u8(in);
    if (d->window != NULL) {
        TRY(drift_get_window(in, d->calibration->reference.bins, d->window));
        TRY(drift_get_ewma(in, &d->score));
    }
    return OK;
}

static enum err get_device(struct cursor *in, struct device *d)
{
    uint8_t flags = cursor_u8(in);
    d->asked = cursor_varint(in);
    d->differed = cursor_varint(in);
    d->scores_seen = cursor_varint(in);
    d->level = cursor_f64le(in);
    TRY(drift_get_page_hinkley(in, &d->page));
    TRY(drift_get_adwin(in, &d->adwin));
    TRY(drift_get_ewma(in, &d->rate));
    TRY(drift_get_rates(in, &d->rates));
    d->kind = cursor_u8(in);
    d->kind_rate.lambda = cursor_f64le(in);
    TRY(drift_get_ewma(in, &d->kind_rate));
    TRY(drift_get_confirm(in, &d->concept.confirm));
    if (d->kind > DRIFT_KINDS_MAX || !(d->kind_rate.lambda > 0 && d->kind_rate.lambda <= 1)) {
        return ERR_RANGE;
    }
    if (isnan(d->level) || d->differed > d->asked || flags > (CONCEPT | INPUTS | SCORES) ||
        (cursor_u8(in) == 1) != (d->calibration != NULL)) {
        return ERR_RANGE;
    }
    if (d->calibration != NULL) {
        TRY(get_calibrated(in, d));
    }
    TRY(cursor_end(in));
    d->concept.told = (flags & CONCEPT) != 0;
    d->inputs.told = (flags & INPUTS) != 0;
    d->scores.told = (flags & SCORES) != 0;
    return OK;
}

enum err health_restore(struct health *h, const char *device, struct slice state, int64_t now_us)
{
    struct cursor in = cursor_of(state);
    uint8_t version = cursor_u8(&in);
    uint64_t model = cursor_u64le(&in), mark = cursor_u64le(&in);
    h->now_us = now_us;
    TRY(cursor_err(&in));
    if (version != VERSION || !id_valid(slice_str(device))) {
        return ERR_MALFORMED;
    }
    struct device *d = health_device(h, device);
    if (d == NULL) {
        return ERR_FULL;
    }
    TRY(health_set_model(h, d, model));
    if (mark != mark_of(d->calibration)) {
        return ERR_RANGE;
    }
    enum err err = get_device(&in, d);
    if (err != OK) {
        enum err again = health_begin_anew(h, d, d->calibration);
        return again == OK ? err : again;
    }
    d->dirty = false;
    return err;
}
