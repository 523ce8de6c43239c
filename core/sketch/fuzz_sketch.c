/* SPDX-License-Identifier: Apache-2.0 */
/* What decodes must encode again to a sketch that answers alike, within the bound. */
#include <assert.h>
#include <math.h>

#include "core/sketch/sketch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sketch s, again;
    if (sketch_decode(slice_of(data, size), &s) != OK) {
        return 0;
    }
    BUFFER(out, 1 << 20);
    assert(sketch_encode(&s, 1 << 20, &out) == OK);
    assert(sketch_decode(buffer_slice(&out), &again) == OK);
    assert(again.count == s.count);
    for (double q = 0; q <= 1; q += 0.25) {
        double a = sketch_quantile(&s, q), b = sketch_quantile(&again, q);
        assert(a == b || (isnan(a) && isnan(b)));
    }
    assert(sketch_merge(&again, &s) == OK);
    sketch_deinit(&s);
    sketch_deinit(&again);
    return 0;
}
