/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the link, in the bytes in which it does: asks through their encoder and decoder, answers, records. */
#include <stdio.h>

#include "core/nn/nn.h"
#include "proto/askcost/askcost.h"
#include "proto/wire/wire.h"
#include "tests/bench/cascade.d/bench.h"

__attribute__((noreturn)) static void give_up(const char *what)
{
    fprintf(stderr, "bench-cascade: %s cannot be coded\n", what);
    exit(2);
}

static struct wire_ask ask_of(const struct set *set, struct tier *small, const float *window, const float *row,
                              float *values)
{
    struct wire_ask ask = {.model = tier_info(small)->id, .own_answer = 3, .own_confidence = 0.5F};
    askcost_names(&ask);
    if (set->ask_window) {
        memcpy(values, window, set->window * sizeof(*window));
        wire_ask_window(&ask, values, (uint32_t)set->window, 1, (double)set->resolution);
        return ask;
    }
    const struct nn_tensor *in = tier_input(small);
    ask.form = WEIR__V1__FORM__FEATURES_INT8;
    ask.scale = in->scale;
    ask.zero_point = in->zero_point;
    ask.rows = 1;
    ask.columns = (uint32_t)in->elements;
    for (size_t i = 0; i < in->elements; i++) {
        ((uint8_t *)values)[i] = (uint8_t)nn_quantize(in, row[i]);
    }
    ask.values = slice_of(values, in->elements);
    return ask;
}

size_t ask_row(const struct set *set, struct tier *small, struct tier *large, const float *window, float *ret_row)
{
    static float values[WIRE_ASK_MAX / sizeof(float)], own[4096], received[4096];
    struct wire_ask ask, decoded;
    BUFFER(message, WIRE_ASK_MAX);
    tier_row(small, window, own);
    ask = ask_of(set, small, window, own, values);
    if (wire_ask_encode(&ask, &message) != OK || wire_ask_decode(buffer_slice(&message), &decoded) != OK ||
        (size_t)decoded.rows * decoded.columns > COUNT_OF(received)) {
        give_up("an ask");
    }
    wire_ask_values(&decoded, received);
    if (set->ask_window) {
        tier_row(large, received, ret_row);
    } else {
        memcpy(ret_row, received, decoded.columns * sizeof(*ret_row));
    }
    return message.len;
}

struct askcost ask_cost(const struct set *set, size_t ask, double overhead)
{
    struct askcost cost;
    uint64_t window_us = (uint64_t)((float)set->window / set->rate_hz * 1e6F);
    if (askcost_of(set->classes[3], window_us, ask, overhead, &cost) != OK) {
        give_up("a record or an answer");
    }
    return cost;
}
