/* SPDX-License-Identifier: Apache-2.0 */
/* readings - records as a gateway's /fetch gives them, in hexadecimal digits, taken apart into rows. */
#include <math.h>

#include "cloud-bridge/console/console_internal.h"
#include "proto/block/block.h"
#include "proto/wire/wire.h"

static void free_names(struct readings *r)
{
    for (size_t i = 0; i < r->channels; i++) {
        free(r->names[i]);
        free(r->units[i]);
    }
    r->channels = 0;
}

void readings_deinit(struct readings *r)
{
    free_names(r);
    free(r->names);
    free(r->units);
    free(r->cells);
    free(r->times);
    arena_deinit(&r->arena);
}

enum err readings_init(struct readings *r)
{
    *r = (struct readings){.channels = 0};
    r->names = calloc(BLOCK_CHANNELS_MAX, sizeof(*r->names));
    r->units = calloc(BLOCK_CHANNELS_MAX, sizeof(*r->units));
    r->cells = calloc((size_t)BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX, sizeof(*r->cells));
    r->times = calloc(BLOCK_SAMPLES_MAX, sizeof(*r->times));
    TRY(arena_init(&r->arena, WIRE_ARENA_BYTES));
    return r->names != NULL && r->units != NULL && r->cells != NULL && r->times != NULL ? OK : ERR_NOMEM;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum err from_hex(const char *text, struct buffer *out)
{
    for (; text[0] != '\0'; text += 2) {
        int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);
        if (low < 0) {
            return ERR_MALFORMED;
        }
        buffer_put_u8(out, (uint8_t)(high << 4 | low));
    }
    return buffer_err(out);
}

static enum err unpack(struct readings *r, const char *hex, Weir__V1__Record **ret_record)
{
    BUFFER(bytes, WIRE_RECORD_MAX);
    TRY(from_hex(hex, &bytes));
    arena_reset(&r->arena);
    return wire_record_unpack(buffer_slice(&bytes), &r->arena, ret_record);
}

static enum err take_describe(struct readings *r, const char *hex)
{
    Weir__V1__Record *record = NULL;
    TRY(unpack(r, hex, &record));
    if (record->kind_case != WEIR__V1__RECORD__KIND_DESCRIBE || record->describe->n_channel > BLOCK_CHANNELS_MAX) {
        return ERR_MALFORMED;
    }
    const Weir__V1__Describe *d = record->describe;
    bool same = d->n_channel == r->channels;
    for (size_t i = 0; same && i < d->n_channel; i++) {
        same = strcmp(d->channel[i]->name, r->names[i]) == 0 && strcmp(d->channel[i]->unit, r->units[i]) == 0;
    }
    r->set = d->set;
    if (same) {
        return OK; /* a device describes itself again and again */
    }
    free_names(r);
    r->fresh = true;
    for (size_t i = 0; i < d->n_channel; i++) {
        r->names[i] = strdup(d->channel[i]->name);
        r->units[i] = strdup(d->channel[i]->unit);
        r->channels = i + 1;
        if (r->names[i] == NULL || r->units[i] == NULL) {
            return ERR_NOMEM;
        }
    }
    return OK;
}

static enum err take_rows(struct readings *r, const Weir__V1__Block *b,
                          bool (*fn)(void *arg, const struct reading_row *row), void *arg)
{
    double resolutions[BLOCK_CHANNELS_MAX], values[BLOCK_CHANNELS_MAX];
    struct reading_row row = {.time_us = (int64_t)b->wall_us, .values = values};
    size_t channels;
    TRY(block_decode(slice_of(b->columns.data, b->columns.len), b->samples, BLOCK_CHANNELS_MAX, r->cells, resolutions,
                     &channels));
    if (b->set != r->set || channels > r->channels) {
        return ERR_MALFORMED;
    }
    if (b->times.len > 0) {
        TRY(block_column_decode(slice_of(b->times.data, b->times.len), b->samples, r->times));
    }
    for (size_t i = 0; i < b->samples; i++) {
        row.time_us += b->times.len > 0 ? r->times[i] : i == 0 ? 0 : b->period_us;
        for (size_t k = 0; k < channels; k++) {
            int64_t cell = r->cells[k * b->samples + i];
            values[k] = block_value(cell, resolutions[k]);
        }
        for (size_t k = channels; k < r->channels; k++) {
            values[k] = (double)NAN; /* of these there are only windows */
        }
        if (!fn(arg, &row)) {
            return OK;
        }
    }
    return OK;
}

enum err readings_take(struct readings *r, const cJSON *record, bool (*fn)(void *arg, const struct reading_row *row),
                       void *arg)
{
    Weir__V1__Record *unpacked = NULL;
    if (doc_text(record, "describe")[0] != '\0') {
        TRY(take_describe(r, doc_text(record, "describe")));
    }
    TRY(unpack(r, doc_text(record, "record"), &unpacked));
    if (unpacked->kind_case != WEIR__V1__RECORD__KIND_CURATED || unpacked->curated->block == NULL) {
        return ERR_MALFORMED;
    }
    return take_rows(r, unpacked->curated->block, fn, arg);
}
