/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telemetry_rivals - the same block as others would send it: each in the form its users choose, values as they were
 * read (JSON: the decimals of the file) or as 32-bit floats (CBOR, Sparkplug), integers for packed protobuf.
 */
#include <cbor.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#include "tests/bench/rivals.pb-c.h"
#include "tests/bench/telemetry.h"

static const double *row_of(const struct telemetry_block *b, size_t sample)
{
    return b->series->values[b->from + sample];
}
static uint64_t time_ms(const struct telemetry_block *b, size_t sample)
{
    return (uint64_t)b->series->time_us[b->from + sample] / 1000;
}

/* ---- JSON: [{"ts":ms,"<channel>":value,...},...] ---- */
static void json_encode(const struct telemetry_block *b, struct buffer *out)
{
    cJSON *rows = cJSON_CreateArray();
    for (size_t i = 0; i < TELEMETRY_SAMPLES; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "ts", (double)time_ms(b, i));
        for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
            cJSON_AddNumberToObject(row, b->series->names[c], row_of(b, i)[c]);
        }
        cJSON_AddItemToArray(rows, row);
    }
    char *text = cJSON_PrintUnformatted(rows);
    if (text != NULL) {
        buffer_put_str(out, text);
    }
    cJSON_free(text);
    cJSON_Delete(rows);
}

static bool json_decode(struct slice in)
{
    cJSON *rows = cJSON_ParseWithLength((const char *)in.ptr, in.len);
    bool fits = cJSON_GetArraySize(rows) == TELEMETRY_SAMPLES;
    cJSON_Delete(rows);
    return fits;
}

/* ---- CBOR ---- */
static void cbor_put(cbor_item_t *item, struct buffer *out)
{
    unsigned char *bytes = NULL;
    size_t cap = 0, len = cbor_serialize_alloc(item, &bytes, &cap);
    buffer_put(out, bytes, len);
    free(bytes);
    cbor_decref(&item);
}

/* [[ms, value, ...], ...] */
static void cbor_rows_encode(const struct telemetry_block *b, struct buffer *out)
{
    cbor_item_t *rows = cbor_new_definite_array(TELEMETRY_SAMPLES);
    for (size_t i = 0; i < TELEMETRY_SAMPLES; i++) {
        cbor_item_t *row = cbor_new_definite_array(1 + TELEMETRY_CHANNELS);
        (void)cbor_array_push(row, cbor_move(cbor_build_uint64(time_ms(b, i))));
        for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
            (void)cbor_array_push(row, cbor_move(cbor_build_float4((float)row_of(b, i)[c])));
        }
        (void)cbor_array_push(rows, cbor_move(row));
    }
    cbor_put(rows, out);
}

/* [first ms, [distance in ms, ...], [value, ...], ...] */
static void cbor_columns_encode(const struct telemetry_block *b, struct buffer *out)
{
    cbor_item_t *block = cbor_new_definite_array(2 + TELEMETRY_CHANNELS);
    (void)cbor_array_push(block, cbor_move(cbor_build_uint64(time_ms(b, 0))));
    cbor_item_t *times = cbor_new_definite_array(TELEMETRY_SAMPLES - 1);
    for (size_t i = 1; i < TELEMETRY_SAMPLES; i++) {
        uint64_t distance = time_ms(b, i) - time_ms(b, i - 1);
        (void)cbor_array_push(times, cbor_move(distance < 65536 ? cbor_build_uint16((uint16_t)distance)
                                                                : cbor_build_uint64(distance)));
    }
    (void)cbor_array_push(block, cbor_move(times));
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        cbor_item_t *column = cbor_new_definite_array(TELEMETRY_SAMPLES);
        for (size_t i = 0; i < TELEMETRY_SAMPLES; i++) {
            (void)cbor_array_push(column, cbor_move(cbor_build_float4((float)row_of(b, i)[c])));
        }
        (void)cbor_array_push(block, cbor_move(column));
    }
    cbor_put(block, out);
}

static bool cbor_decode(struct slice in)
{
    struct cbor_load_result result;
    cbor_item_t *item = cbor_load(in.ptr, in.len, &result);
    if (item == NULL) {
        return false;
    }
    cbor_decref(&item);
    return true;
}

/* ---- Sparkplug B: alias, timestamp, datatype, float for each value ---- */
enum { SPARKPLUG_FLOAT = 9, SPARKPLUG_METRICS = TELEMETRY_CHANNELS * TELEMETRY_SAMPLES };

static void sparkplug_put(const struct telemetry_block *b, size_t from, size_t samples, struct buffer *out)
{
    static Rivals__SparkplugMetric metrics[SPARKPLUG_METRICS];
    static Rivals__SparkplugMetric *pointers[SPARKPLUG_METRICS];
    Rivals__SparkplugPayload payload = RIVALS__SPARKPLUG_PAYLOAD__INIT;
    payload.has_timestamp = payload.has_seq = true;
    payload.timestamp = time_ms(b, from);
    payload.seq = from & 0xff;
    payload.metrics = pointers;
    for (size_t i = from; i < from + samples; i++) {
        for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
            Rivals__SparkplugMetric *m = &metrics[payload.n_metrics];
            rivals__sparkplug_metric__init(m);
            m->has_alias = m->has_timestamp = m->has_datatype = true;
            m->alias = c + 1;
            m->timestamp = time_ms(b, i);
            m->datatype = SPARKPLUG_FLOAT;
            m->value_case = RIVALS__SPARKPLUG_METRIC__VALUE_FLOAT_VALUE;
            m->float_value = (float)row_of(b, i)[c];
            pointers[payload.n_metrics++] = m;
        }
    }
    uint8_t *at = buffer_extend(out, rivals__sparkplug_payload__get_packed_size(&payload));
    if (at != NULL) {
        rivals__sparkplug_payload__pack(&payload, at);
    }
}

static void sparkplug_rows_encode(const struct telemetry_block *b, struct buffer *out)
{
    for (size_t i = 0; i < TELEMETRY_SAMPLES; i++) {
        sparkplug_put(b, i, 1, out);
    }
}
static void sparkplug_block_encode(const struct telemetry_block *b, struct buffer *out)
{
    sparkplug_put(b, 0, TELEMETRY_SAMPLES, out);
}
static bool sparkplug_decode(struct slice in)
{
    Rivals__SparkplugPayload *payload = rivals__sparkplug_payload__unpack(NULL, in.len, in.ptr);
    if (payload == NULL) {
        return false;
    }
    rivals__sparkplug_payload__free_unpacked(payload, NULL);
    return true;
}

/* ---- packed sint32 differences ---- */
static int32_t clip(int64_t v)
{
    return (int32_t)min_i64(max_i64(v, INT32_MIN), INT32_MAX);
}

static void packed_encode(const struct telemetry_block *b, struct buffer *out)
{
    static Rivals__PackedColumn columns[TELEMETRY_CHANNELS];
    static Rivals__PackedColumn *pointers[TELEMETRY_CHANNELS];
    static int32_t delta[TELEMETRY_CHANNELS][TELEMETRY_SAMPLES], times[TELEMETRY_SAMPLES];
    Rivals__PackedBlock block = RIVALS__PACKED_BLOCK__INIT;
    const int64_t *time_us = b->series->time_us + b->from;
    block.has_set = block.has_wall_us = block.has_mono_us = block.has_samples = true;
    block.set = 0x12345678;
    block.wall_us = (uint64_t)time_us[0];
    block.mono_us = (uint64_t)b->from * SECOND_US;
    block.samples = TELEMETRY_SAMPLES;
    for (size_t i = 1; i < TELEMETRY_SAMPLES; i++) {
        times[i] = clip(time_us[i] - time_us[i - 1]);
    }
    block.times = times;
    block.n_times = TELEMETRY_SAMPLES;
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        const int64_t *v = b->integers + c * TELEMETRY_SAMPLES;
        for (size_t i = 0; i < TELEMETRY_SAMPLES; i++) {
            delta[c][i] = clip(i ? v[i] - v[i - 1] : v[0]);
        }
        rivals__packed_column__init(&columns[c]);
        columns[c].has_resolution = true;
        columns[c].resolution = (float)b->resolutions[c];
        columns[c].delta = delta[c];
        columns[c].n_delta = TELEMETRY_SAMPLES;
        pointers[c] = &columns[c];
    }
    block.column = pointers;
    block.n_column = TELEMETRY_CHANNELS;
    uint8_t *at = buffer_extend(out, rivals__packed_block__get_packed_size(&block));
    if (at != NULL) {
        rivals__packed_block__pack(&block, at);
    }
}

static bool packed_decode(struct slice in)
{
    Rivals__PackedBlock *block = rivals__packed_block__unpack(NULL, in.len, in.ptr);
    if (block == NULL) {
        return false;
    }
    rivals__packed_block__free_unpacked(block, NULL);
    return true;
}

const struct telemetry_rival telemetry_json = {"JSON rows (cJSON)", json_encode, json_decode};
const struct telemetry_rival telemetry_cbor_rows = {"CBOR rows, float32", cbor_rows_encode, cbor_decode};
const struct telemetry_rival telemetry_cbor_columns = {"CBOR columns, float32", cbor_columns_encode, cbor_decode};
/* 32 payloads one behind the other are read as one by protobuf, which merges: timing them would say nothing. */
const struct telemetry_rival telemetry_sparkplug_rows = {"Sparkplug B, 1 sample a payload", sparkplug_rows_encode,
                                                         NULL};
const struct telemetry_rival telemetry_sparkplug_block = {"Sparkplug B, 32 samples a payload", sparkplug_block_encode,
                                                          sparkplug_decode};
const struct telemetry_rival telemetry_packed = {"protobuf, packed sint32 deltas", packed_encode, packed_decode};
