/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch on its worker's thread: values, features, engine, decisions. Of what the batch points to only its own
 * buffers, features and engine are written.
 */
#include <math.h>
#include <stdio.h>

#include "gateway/escalate/escalate_internal.h"

static bool is_raw(const struct wire_ask *ask)
{
    return ask->form == WEIR__V1__FORM__RAW_FLOAT32 || ask->form == WEIR__V1__FORM__RAW_INT16;
}

/* A row for each ask; zeros for what cannot be taken. */
static void fill_rows(struct escalate_batch *b, size_t inputs)
{
    for (unsigned i = 0; i < b->count; i++) {
        float *row = b->rows + i * inputs;
        const struct wire_ask *ask = &b->waits[i]->ask;
        b->fits[i] = true;
        if (is_raw(ask)) {
            wire_ask_values(ask, b->window);
            b->fits[i] = features_of(b->loaded->features, b->window, row);
        } else {
            wire_ask_values(ask, row);
        }
        for (size_t k = 0; k < inputs && b->fits[i]; k++) { /* a scale may be anything, and so may what becomes of sums */
            b->fits[i] = isfinite(row[k]);
        }
        if (!b->fits[i]) {
            memset(row, 0, inputs * sizeof(*row));
        }
    }
}

static enum err run(struct escalate_batch *b, const float *in, size_t rows, float *out)
{
    return b->handlers.run != NULL ? b->handlers.run(b->handlers.arg, b->loaded->engine, in, rows, out, &b->fault)
                                   : engine_run(b->loaded->engine, in, rows, out, &b->fault);
}

static bool numbers(struct escalate_batch *b, const float *out, size_t outputs)
{
    for (size_t i = 0; i < outputs; i++) {
        if (!isfinite(out[i])) {
            b->fault = (struct fault){.code = ERR_DENIED};
            snprintf(b->fault.text, sizeof(b->fault.text), "output %zu is no number", i);
            return false;
        }
    }
    return true;
}

/* The first vector, or zeros: what any engine can do that is in order. */
static bool passes_probe(struct escalate_batch *b, size_t inputs, size_t outputs)
{
    const float *want = b->loaded->probe != NULL ? b->loaded->probe + inputs : NULL;
    if (want != NULL) {
        memcpy(b->rows, b->loaded->probe, inputs * sizeof(*want));
    } else {
        memset(b->rows, 0, inputs * sizeof(*b->rows));
    }
    if (run(b, b->rows, 1, b->out) != OK || !numbers(b, b->out, outputs)) {
        return false;
    }
    for (size_t i = 0; want != NULL && i < outputs; i++) {
        double w = (double)want[i];
        if (fabs((double)b->out[i] - w) > b->loaded->tolerance * fmax(1, fabs(w))) {
            b->fault = (struct fault){.code = ERR_DENIED};
            snprintf(b->fault.text, sizeof(b->fault.text), "self-test: output %zu is %g, expected %g", i,
                     (double)b->out[i], w);
            return false;
        }
    }
    return true;
}

void escalate_work(void *arg)
{
    struct escalate_batch *b = arg;
    const struct model_info *info = model_info(b->loaded->model);
    size_t inputs = info->inputs, outputs = engine_info(b->loaded->engine)->outputs;
    bool nothing = true, failed = false;
    fill_rows(b, inputs);
    bool whole = run(b, b->rows, b->count, b->out) == OK;
    for (unsigned i = 0; i < b->count; i++) {
        const float *row = b->rows + i * inputs;
        float *out = b->out + i * outputs;
        bool ran = whole || (b->count > 1 && run(b, row, 1, out) == OK); /* which of them it was */
        b->failed[i] = !ran || !numbers(b, out, outputs);
        if (!b->failed[i]) {
            b->decisions[i] = model_decide(info, row, out, outputs);
        }
        failed = failed || (b->failed[i] && b->fits[i]);
        nothing = nothing && b->failed[i];
    }
    if (nothing && failed && b->suspect) {
        b->broken = !passes_probe(b, inputs, outputs);
    }
}
