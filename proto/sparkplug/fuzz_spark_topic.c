/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a topic that parses is written again byte for byte; its parts lie inside of it and are valid identifiers.
 */
#include "proto/sparkplug/sparkplug.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *text(char at[SPARKPLUG_ID_MAX + 1], struct slice s)
{
    snprintf(at, SPARKPLUG_ID_MAX + 1, "%.*s", (int)s.len, (const char *)s.ptr);
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sparkplug_topic t;
    if (sparkplug_topic_parse(slice_of(data, size), &t) != OK) {
        return 0;
    }
    char group[SPARKPLUG_ID_MAX + 1], node[SPARKPLUG_ID_MAX + 1], device[SPARKPLUG_ID_MAX + 1];
    BUFFER(out, 1024);
    if (t.type == SPARKPLUG_STATE) {
        sparkplug_state_topic_put(&out, text(node, t.node));
    } else {
        bool has_device = t.type >= SPARKPLUG_DBIRTH;
        sparkplug_topic_put(&out, t.type, text(group, t.group), text(node, t.node),
                            has_device ? text(device, t.device) : NULL);
    }
    if (buffer_err(&out) == OK && !slice_equal(buffer_slice(&out), slice_of(data, size))) {
        abort();
    }
    return 0;
}
