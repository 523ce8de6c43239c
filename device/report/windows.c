/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of spans on their way out: a Curated record of the device's own, whose channels the description names. */
#include "device/report/report_internal.h"

static struct wire_window wire_of(const char *rule, const struct report_window *w)
{
    const struct moments *m = &w->moments;
    return (struct wire_window){.channel = w->channel,
                                .rule = rule,
                                .start_us = w->start_us,
                                .length_us = w->length_us,
                                .count = m->count,
                                .mean = m->mean,
                                .m2 = m->m2,
                                .min = m->min,
                                .max = m->max,
                                .sketch = w->sketch,
                                .partial = w->partial};
}

enum err report_windows(struct report *r, const char *rule, const struct report_window *windows, size_t count)
{
    struct wire_window out[REPORT_WINDOWS_MAX];
    if (!r->ready) {
        return ERR_AGAIN;
    }
    if (count < 1 || count > REPORT_WINDOWS_MAX) {
        return ERR_RANGE;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = wire_of(rule, &windows[i]);
        if (windows[i].channel >= r->options.channel_count + r->options.window_channels) {
            return ERR_RANGE;
        }
    }
    report_close_block(r); /* its age is over as well */
    return compose_windows(&r->compose, out, count);
}
