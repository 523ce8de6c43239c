/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever decodes as a stream encodes to the same bytes again, and nothing reads beyond its input. */
#include "core/window/window.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct window_stream stream;
    if (window_stream_decode(slice_of(data, size), &stream) == OK) {
        uint8_t out[WINDOW_STREAM_BYTES];
        size_t len = window_stream_encode(&stream, stream.hwm, out);
        if (len != size || memcmp(out, data, len) != 0 || stream.pending != stream.hwm) {
            abort();
        }
    }
    return 0;
}
