/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of curated records: what is worked out of them when they are written. */
#include <math.h>

#include "cloud-bridge/sinks/module.h"
#include "core/sketch/sketch.h"

const char *const sink_quantile_names[SINK_QUANTILES] = {"p50", "p95", "p99"};

double sink_window_std(const Weir__V1__Window *w)
{
    return w->count > 1 ? sqrt(w->m2 / (double)(w->count - 1)) : 0;
}

bool sink_window_quantiles(const Weir__V1__Window *w, double ret_values[SINK_QUANTILES])
{
    static const double wanted[SINK_QUANTILES] = {0.5, 0.95, 0.99};
    struct sketch sketch;
    for (unsigned i = 0; i < SINK_QUANTILES; i++) {
        ret_values[i] = NAN;
    }
    if (w->sketch.len == 0 || sketch_decode(slice_of(w->sketch.data, w->sketch.len), &sketch) != OK) {
        return false;
    }
    bool any = sketch.count > 0;
    for (unsigned i = 0; any && i < SINK_QUANTILES; i++) { /* a bucket's middle may lie beyond the extremes */
        ret_values[i] = fmax(w->min, fmin(w->max, sketch_quantile(&sketch, wanted[i])));
    }
    sketch_deinit(&sketch);
    return any;
}
