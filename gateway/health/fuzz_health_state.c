/* SPDX-License-Identifier: Apache-2.0 */
/* States from anybody: refused, or a device that can go on and puts away the same bytes. */
#include <assert.h>

#include "gateway/health/health.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_event(void *arg, const struct health_event *event)
{
    (void)arg;
    return event->text[0] != '\0';
}

static bool put_away(struct health *h, struct buffer *out)
{
    const char *device = NULL;
    return health_dirty(h, &device, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct calibration c = {.name = "m",
                                   .model = 7,
                                   .channels = 2,
                                   .channel = {"a", "b"},
                                   .lambda = 0.1,
                                   .of = CALIBRATION_CONFIDENCE,
                                   .reference = {.bins = 2, .edge = {0.5}, .share = {0.5, 0.5}},
                                   .score_window = 4,
                                   .score_lambda = 0.1,
                                   .page_delta = 0.05,
                                   .page_limit = 20,
                                   .adwin = 1e-5,
                                   .rates = DRIFT_RATES_LIMIT,
                                   .k = 2,
                                   .n = 3};
    c.feature[0] = (struct feature){.kind = FEATURE_MEAN, .channel = 0};
    c.feature[1] = (struct feature){.kind = FEATURE_MEAN, .channel = 1};
    c.features = (struct features_options){
        .channels = 2, .window = 1, .hop = 1, .rate_hz = 1, .features = c.feature, .count = 2};
    struct health_calibration calibrations[] = {{.calibration = &c}};
    struct health_options options = {.calibrations = calibrations, .count = 1, .on_event = on_event};
    struct health *h = NULL;
    BUFFER(first, HEALTH_STATE_MAX);
    BUFFER(second, HEALTH_STATE_MAX);
    assert(health_new(&options, &h) == OK);
    enum err err = health_restore(h, "d", slice_of(data, size), 0);
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    Weir__V1__Inference inference = WEIR__V1__INFERENCE__INIT;
    inference.model = inference.own_model = 7;
    inference.asked = WEIR__V1__ASKED__ASKED_ANSWERED;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_INFERENCE;
    record.inference = &inference;
    BUFFER(bytes, WIRE_RECORD_MAX);
    struct wire_forward forward = {.device = "d", .epoch = 1, .first = 1, .last = 1};
    for (unsigned i = 0; i < 40; i++) {
        buffer_reset(&bytes);
        inference.own_answer = i % 2;
        inference.own_confidence = (float)(i % 3) / 2;
        if (wire_record_pack(&record, &bytes) == OK) {
            forward.record = buffer_slice(&bytes);
            health_record(h, &forward, (int64_t)i);
        }
    }
    if (put_away(h, &first) && err == OK) {
        struct health *other = NULL;
        assert(health_new(&options, &other) == OK);
        assert(health_restore(other, "d", buffer_slice(&first), 0) == OK);
        health_free(other);
    }
    health_free(h);
    return 0;
}
