/* SPDX-License-Identifier: Apache-2.0 */
/* Between device/infer, report and bus. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "core/base/json.h"
#include "core/log/log.h"
#include "device/agent/agent_internal.h"
#include "proto/block/block.h"
#include "proto/outcome/outcome.h"

struct budget {
    uint64_t beyond;  /* times that it was spent, as of the last sample */
    int64_t last_us;  /* when it was; 0 = never */
    int64_t said_us;  /* when the log said so; 0 = never */
};

struct thought {
    struct infer *infer; /* owned */
    struct budget macs, bytes;
    struct report_listener listener;
    char topic[TOPIC_MAX + 1]; /* of asks */
    unsigned outcome;          /* channel of the sketches' outcome; UINT_MAX: there is no room for one */
    struct sense_channel channels[SENSE_CHANNELS_MAX]; /* the sensors', and that one behind them */
};

static enum err tell(void *arg, struct slice record, bool is_alarm)
{
    const struct agent *a = arg;
    return report_inference(a->report, is_alarm, record);
}

static enum err tell_windows(void *arg, const struct infer_window *windows, size_t count)
{
    const struct agent *a = arg;
    struct report_window out[REPORT_WINDOWS_MAX];
    size_t told = 0;
    for (size_t i = 0; i < count && told < REPORT_WINDOWS_MAX; i++) {
        const struct infer_window *w = &windows[i];
        unsigned channel = w->channel == INFER_OUTCOME ? a->thought->outcome : w->channel;
        if (channel != UINT_MAX) {
            out[told++] = (struct report_window){.channel = channel,
                                                 .start_us = w->start_us,
                                                 .length_us = w->length_us,
                                                 .moments = w->moments,
                                                 .sketch = w->sketch,
                                                 .partial = w->partial};
        }
    }
    return told > 0 ? report_windows(a->report, OUTCOME_RULE, out, told) : OK;
}

/* The description names what sketches say of the answers, behind the sensors' channels. */
static enum err name_outcome(struct agent *a, struct fault *reterr)
{
    struct thought *t = a->thought;
    struct report_options *report = &a->options.report;
    size_t count = report->channel_count;
    const char *name = infer_outcome_name(t->infer);
    t->outcome = UINT_MAX;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(report->channels[i].name, name) == 0) {
            return fault_set(reterr, ERR_RANGE, "infer.sketch: a channel of the sensors is called %s", name);
        }
    }
    if (count >= SENSE_CHANNELS_MAX) {
        return OK;
    }
    memcpy(t->channels, report->channels, count * sizeof(*t->channels));
    t->channels[count] = (struct sense_channel){.resolution = OUTCOME_RESOLUTION};
    snprintf(t->channels[count].name, sizeof(t->channels[count].name), "%s", name);
    t->outcome = (unsigned)count;
    report->channels = t->channels;
    report->window_channels = 1;
    return OK;
}

/* Only while there is a session: what waits for the next one comes too late. */
static enum err ask(void *arg, struct slice bytes)
{
    const struct agent *a = arg;
    return bus_publish(a->bus, slice_str(a->thought->topic), bytes, 0, false);
}

static void on_answer(void *arg, struct slice payload)
{
    const struct agent *a = arg;
    infer_answer(a->thought->infer, payload);
}

enum err thought_load(struct agent *a, struct fault *reterr)
{
    const struct report_options *report = &a->options.report;
    const struct infer_handlers handlers = {.tell = tell, .ask = ask, .tell_windows = tell_windows, .arg = a};
    if (a->options.infer == NULL) {
        return OK;
    }
    struct infer_options options = *a->options.infer;
    options.site = report->site;
    options.gateway = report->gateway;
    options.device = report->device;
    options.channels = report->channels;
    options.channel_count = report->channel_count;
    options.period_us = a->options.period_us;
    a->options.infer = NULL; /* borrowed until here */
    a->thought = calloc(1, sizeof(*a->thought));
    if (a->thought == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    TRY(infer_new(a->loop, &options, &handlers, &a->thought->infer, reterr));
    topic_format(options.site, options.gateway, options.device, TOPIC_ASK, a->thought->topic);
    a->options.report.model = infer_model(a->thought->infer);
    return options.sketch_us > 0 ? name_outcome(a, reterr) : OK;
}

enum err thought_listen(struct agent *a)
{
    struct thought *t = a->thought;
    if (t == NULL || !infer_asks(t->infer)) {
        return OK;
    }
    t->listener = (struct report_listener){.channel = TOPIC_ANSWER, .fn = on_answer, .arg = a};
    return report_listen(a->report, &t->listener);
}

void thought_free(struct agent *a)
{
    if (a->thought != NULL) {
        infer_free(a->thought->infer);
        free(a->thought);
        a->thought = NULL;
    }
}

/* beyond: how often it was spent since the start. In the log once an hour while it goes on. */
static void watch_budget(struct budget *b, const char *setting, uint64_t beyond, int64_t now_us)
{
    if (beyond == b->beyond) {
        return;
    }
    b->beyond = beyond;
    b->last_us = now_us;
    if (b->said_us == 0 || now_us - b->said_us >= HOUR_US) {
        b->said_us = now_us;
        log_warn("a budget is spent, what is beyond it is left out", KV_STR("setting", setting), KV_U64("times", beyond));
    }
}

static void watch_budgets(struct agent *a)
{
    struct infer_stats s;
    struct thought *t = a->thought;
    infer_stats(t->infer, &s);
    watch_budget(&t->macs, "infer.macs_per_day", s.beyond_macs, loop_now_us(a->loop));
    watch_budget(&t->bytes, "infer.bytes_per_day", s.beyond_bytes, loop_now_us(a->loop));
}

static void budget_why(const struct budget *b, const char *what, int64_t now_us, struct json *j)
{
    char text[160];
    if (b->last_us != 0 && now_us - b->last_us < HOUR_US) {
        snprintf(text, sizeof(text), "%s left out %" PRIu64 " times since the start", what, b->beyond);
        json_str(j, NULL, text);
    }
}

void thought_why(const struct agent *a, struct json *j)
{
    if (a->thought != NULL) {
        int64_t now_us = loop_now_us(a->loop);
        budget_why(&a->thought->macs, "infer.macs_per_day is spent: windows", now_us, j);
        budget_why(&a->thought->bytes, "infer.bytes_per_day is spent: windows, asks or sketches", now_us, j);
    }
}

void thought_sample(struct agent *a)
{
    size_t count = 0;
    const struct sense_channel *channels = sense_channels(a->sense, &count);
    /* As the record says it: what is worked out again from the readings is what was thought here. */
    for (size_t i = 0; a->thought != NULL && i < count; i++) {
        a->values[i] = block_value(block_quantise(a->values[i], channels[i].resolution), channels[i].resolution);
    }
    if (a->thought != NULL) {
        const struct infer_sample sample = {.values = a->values,
                                            .mono_us = a->due_us > 0 ? a->due_us : loop_now_us(a->loop),
                                            .wall_us = report_wall_us(a->report),
                                            .synced = report_synced(a->report)};
        infer_sample(a->thought->infer, &sample);
        watch_budgets(a);
    }
}

void thought_end(struct agent *a)
{
    if (a->thought != NULL) {
        infer_end(a->thought->infer);
    }
}

const struct infer *agent_infer(const struct agent *a)
{
    return a->thought != NULL ? a->thought->infer : NULL;
}
