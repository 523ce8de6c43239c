/* SPDX-License-Identifier: Apache-2.0 */
#include "device/agent/trial.h"

#include "core/loop/loop.h"

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

struct sense_options trial_sense_options(const struct settings *s)
{
    return (struct sense_options){.driver = settings_drivers[s->sense.driver],
                                  .path = s->sense.path,
                                  .seed = (uint64_t)s->sense.seed,
                                  .bits = (unsigned)s->sense.bits,
                                  .channels = (unsigned)s->sense.channels,
                                  .fault = settings_faults[s->sense.fault],
                                  .onset = (uint64_t)s->sense.onset,
                                  .cycle = (uint64_t)s->sense.cycle};
}

struct infer_options trial_infer_options(const struct settings *s)
{
    return (struct infer_options){.model = s->infer.model,
                                  .report = (enum infer_report)s->infer.report,
                                  .report_every_us = s->infer.report_every_us,
                                  .ask = (enum infer_ask)s->infer.ask,
                                  .ask_deadline_us = s->infer.ask_deadline_us,
                                  .asks_per_minute = (unsigned)s->infer.asks_per_minute,
                                  .macs_per_day = (uint64_t)s->infer.macs_per_day,
                                  .bytes_per_day = (uint64_t)s->infer.bytes_per_day,
                                  .sketch_us = s->infer.sketch_us,
                                  .alarm_classes = (const char *const *)s->infer.alarm_classes.items,
                                  .alarm_count = s->infer.alarm_classes.count};
}

static bool has_channel(const struct sense *sense, const char *name)
{
    size_t count;
    const struct sense_channel *channels = sense_channels(sense, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(channels[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void try_model(struct loop *loop, const struct settings *s, const struct sense *sense, struct buffer *problems)
{
    CLEANUP(infer_freep) struct infer *infer = NULL;
    struct fault why = {.code = OK};
    struct infer_options options = trial_infer_options(s);
    options.site = s->site;
    options.gateway = s->gateway;
    options.device = s->id;
    options.channels = sense_channels(sense, &options.channel_count);
    options.period_us = s->report.period_us;
    if (infer_new(loop, &options, &(struct infer_handlers){.tell = NULL}, &infer, &why) != OK) {
        bool names_it = strncmp(why.text, "infer.", strlen("infer.")) == 0;
        buffer_printf(problems, "%s%s\n", names_it ? "" : "infer.model: ", why.text);
    } else if (s->infer.sketch_us > 0 && has_channel(sense, infer_outcome_name(infer))) {
        buffer_printf(problems, "infer.sketch: a channel of the sensors is called %s\n", infer_outcome_name(infer));
    }
}

enum err trial_run(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    CLEANUP(loop_freep) struct loop *loop = NULL;
    CLEANUP(sense_closep) struct sense *sense = NULL;
    const struct sense_options options = trial_sense_options(s);
    struct fault why = {.code = OK};
    size_t before = problems->len;
    TRY(loop_new(&loop));
    if (sense_open(loop, &options, &sense, &why) != OK) {
        buffer_printf(problems, "%s: %s\n", given(s->sense.path) ? "sense.path" : "sense.driver", why.text);
        return ERR_RANGE;
    }
    if (given(s->alarm.channel) && !has_channel(sense, s->alarm.channel)) {
        buffer_printf(problems, "alarm.channel: driver %s has no channel \"%s\"\n", sense_driver(sense), s->alarm.channel);
    }
    if (given(s->infer.model)) {
        try_model(loop, s, sense, problems);
    }
    return problems->len > before ? ERR_RANGE : OK;
}
