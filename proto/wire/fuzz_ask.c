/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: for any bytes: an accepted Ask or Answer is within its limits and comes back equal when it is written again. */
#include <math.h>

#include "proto/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void try_answer(struct slice in)
{
    struct wire_answer a, b;
    if (wire_answer_decode(in, &a) != OK) {
        return;
    }
    BUFFER(out, WIRE_ANSWER_MAX);
    expect(wire_answer_encode(&a, &out) == OK && wire_answer_decode(buffer_slice(&out), &b) == OK);
    expect(a.id == b.id && a.model == b.model && a.status == b.status && a.answer == b.answer && a.took_us == b.took_us);
    expect(a.confidence == b.confidence && a.score == b.score && strcmp(a.engine, b.engine) == 0 && strcmp(a.device, b.device) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float values[WIRE_ASK_MAX];
    struct wire_ask a, b;
    try_answer(slice_of(data, size));
    if (wire_ask_decode(slice_of(data, size), &a) != OK) {
        return 0;
    }
    wire_ask_values(&a, values);
    expect(isfinite(values[0]) || a.scale > 1e30F);
    BUFFER(out, WIRE_ASK_MAX + 64);
    enum err err = wire_ask_encode(&a, &out);
    expect(err == OK || (err == ERR_RANGE && size > WIRE_ASK_MAX - 64));
    if (err == OK) {
        expect(wire_ask_decode(buffer_slice(&out), &b) == OK);
        expect(a.id == b.id && a.model == b.model && a.deadline_ms == b.deadline_ms && a.own_answer == b.own_answer);
        expect(a.rows == b.rows && a.columns == b.columns && a.hops == b.hops && a.form == b.form && a.scale == b.scale);
        expect(a.zero_point == b.zero_point && a.own_confidence == b.own_confidence && slice_equal(a.values, b.values));
        expect(strcmp(a.site, b.site) == 0 && strcmp(a.gateway, b.gateway) == 0 && strcmp(a.device, b.device) == 0);
    }
    return 0;
}
