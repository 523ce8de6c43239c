/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whatever parses as a topic is written back as the very same bytes; nothing else is accepted. */
#include "proto/topic/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct topic t;
    if (topic_parse(slice_of(data, size), &t) == OK) {
        char text[TOPIC_MAX + 1];
        topic_format(t.site, t.gateway, t.device, t.channel, text);
        if (!slice_equal(slice_str(text), slice_of(data, size))) {
            abort();
        }
    }
    return 0;
}
