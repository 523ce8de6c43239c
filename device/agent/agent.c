/* SPDX-License-Identifier: Apache-2.0 */
#include "device/agent/agent.h"

#include <math.h>
#include <stdio.h>

#include "core/log/log.h"
#include "device/agent/agent_internal.h"

#define START_EVENT_RETRY_US SECOND_US

/* ---- limits ---- */

static enum err limit_find(const struct agent *a, const char *channel, size_t *ret_index)
{
    size_t count;
    const struct sense_channel *channels = sense_channels(a->sense, &count);
    *ret_index = SIZE_MAX;
    if (channel == NULL || channel[0] == '\0') {
        return OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(channels[i].name, channel) == 0) {
            *ret_index = i;
            return OK;
        }
    }
    return ERR_RANGE;
}

enum err agent_set_limit(struct agent *a, const struct agent_limit *limit)
{
    size_t index;
    TRY(limit_find(a, limit->channel, &index));
    if (index != a->limit_channel) {
        a->beyond = a->limit_untold = false;
    }
    a->limit_channel = index;
    a->above = limit->above;
    a->below = limit->below;
    return OK;
}

static void limit_tell(struct agent *a)
{
    size_t count;
    const struct sense_channel *c = &sense_channels(a->sense, &count)[a->limit_channel];
    char text[200];
    snprintf(text, sizeof text, "%s is %g %s, %s %g..%g", c->name, a->limit_value, c->unit,
             a->beyond ? "outside" : "back within", a->below, a->above);
    enum err err = report_event(a->report, REPORT_ALARM, a->beyond ? "limit-exceeded" : "limit-returned", text, c->name,
                                a->limit_value);
    a->limit_untold = err != OK; /* with the next sample again */
    a->stats.limit_alarms += err == OK && a->beyond;
}

static void limit_watch(struct agent *a)
{
    if (a->limit_channel == SIZE_MAX || isnan(a->values[a->limit_channel])) {
        return;
    }
    double value = a->values[a->limit_channel];
    bool beyond = value > a->above || value < a->below;
    if (beyond != a->beyond) {
        a->beyond = beyond;
        a->limit_untold = !a->limit_untold; /* gone before it could be told: nothing to tell */
        a->limit_value = value;
    }
    if (a->limit_untold) {
        limit_tell(a);
    }
}

/* ---- sampling ---- */

enum err agent_sample_now(struct agent *a)
{
    if (a->stopped || !report_ready(a->report)) {
        return ERR_AGAIN;
    }
    struct sense_place place;
    report_place(a->report, &place);
    enum err err = sense_read(a->sense, &place, a->values);
    if (err != OK) {
        a->stats.sense_errors++;
        log_warn("the driver gives no sample", KV_STR("driver", sense_driver(a->sense)), KV_ERR(err));
        return err;
    }
    TRY(report_sample(a->report, a->values));
    limit_watch(a);
    thought_sample(a);
    struct report_stats stats;
    report_stats(a->report, &stats);
    if (a->options.stop_after_samples > 0 && stats.samples >= a->options.stop_after_samples) {
        agent_stop(a);
    }
    return OK;
}

int64_t agent_next_due(int64_t due_us, int64_t now_us, int64_t period_us, uint64_t *ret_missed)
{
    int64_t late = (now_us - due_us) / period_us; /* periods */
    *ret_missed = late > AGENT_LATE_PERIODS ? (uint64_t)late : 0;
    return due_us + ((int64_t)*ret_missed + 1) * period_us;
}

static void sample_due(void *arg)
{
    struct agent *a = arg;
    uint64_t missed;
    a->due_us = a->next_us;
    a->next_us = agent_next_due(a->next_us, loop_now_us(a->loop), a->period_us, &missed);
    if (missed > 0) {
        a->stats.missed += missed;
        log_warn("too late, samples are skipped", KV_U64("missed", missed));
    }
    enum err err = agent_sample_now(a);
    if (err == ERR_NOT_FOUND) {
        log_info("the source has ended", KV_STR("driver", sense_driver(a->sense)));
        agent_stop(a);
    }
    a->due_us = 0;
    if (!a->stopped) {
        loop_timer_at(&a->sample_timer, a->next_us);
    }
}

static void sampling_start(struct agent *a)
{
    if (a->period_us > 0 && !a->stopped) {
        a->next_us = loop_now_us(a->loop);
        loop_timer_at(&a->sample_timer, a->next_us);
    }
}

void agent_pace(struct agent *a, int64_t period_us)
{
    int64_t last_us = a->next_us - a->period_us; /* when the last sample was due */
    a->period_us = period_us;
    report_set_period(a->report, period_us);
    if (loop_timer_pending(&a->sample_timer)) {
        a->next_us = max_i64(last_us + period_us, loop_now_us(a->loop));
        loop_timer_at(&a->sample_timer, a->next_us);
    }
}

int64_t agent_period_us(const struct agent *a)
{
    return a->period_us;
}

enum err agent_set_bounds(struct agent *a, const struct agent_bounds *bounds)
{
    fast_end(a);
    a->options.bounds = *bounds;
    return fast_listen(a);
}

void agent_set_period(struct agent *a, int64_t period_us)
{
    if (period_us == a->options.period_us) {
        return;
    }
    fast_end(a);
    a->options.period_us = a->period_us = period_us;
    report_set_period(a->report, period_us);
    loop_timer_cancel(&a->sample_timer);
    if (report_ready(a->report)) {
        sampling_start(a);
    }
}

/* ---- beside the samples ---- */

/* One timer for what is told now and then: the start's event until it is told, then health. */
static void health_due(void *arg)
{
    struct agent *a = arg;
    if (a->start_id != NULL) {
        if (report_event(a->report, REPORT_ALARM, a->start_id, a->start_text, NULL, NAN) != OK) {
            loop_timer_in(&a->health_timer, START_EVENT_RETRY_US);
            return;
        }
        free(take(a->start_id));
    } else if (a->options.health_period_us > 0) {
        uint64_t rss_bytes = a->options.rss_bytes ? a->options.rss_bytes() : 0;
        enum err err = report_health(a->report, rss_bytes);
        if (err != OK) {
            log_debug("no room for a health report", KV_ERR(err));
        }
    }
    if (a->options.health_period_us > 0 && !a->stopped) {
        loop_timer_in(&a->health_timer, a->options.health_period_us);
    }
}

static void on_ready(void *arg)
{
    struct agent *a = arg;
    struct report_stats stats;
    report_stats(a->report, &stats);
    log_info("ready", KV_STR("device", a->device), KV_HEX("epoch", stats.lane[1].epoch),
             KV_U64("stored", stats.lane[1].durable - stats.lane[1].acked));
    if (a->start_id != NULL || a->options.health_period_us > 0) {
        loop_timer_in(&a->health_timer, a->start_id ? 0 : a->options.health_period_us);
    }
    sampling_start(a);
}

/* ---- life ---- */

static enum err agent_fill(struct agent *a, struct fault *reterr)
{
    struct report_options *report = &a->options.report;
    if (report->channels == NULL) {
        report->channels = sense_channels(a->sense, &report->channel_count);
    }
    report->source = report->source ? report->source : sense_driver(a->sense);
    report->period_us = report->period_us ? report->period_us : a->options.period_us;
    a->period_us = a->options.period_us;
    const struct agent_start_event *event = &a->options.start_event;
    if (event->id != NULL) {
        a->start_id = strdup(event->id);
        a->start_text = strdup(event->text ? event->text : "");
        if (a->start_id == NULL || a->start_text == NULL) {
            return fault_set(reterr, ERR_NOMEM, "out of memory");
        }
    }
    if (agent_set_limit(a, &a->options.limit) != OK) {
        return fault_set(reterr, ERR_RANGE, "alarm.channel \"%.60s\": driver %s has no such channel",
                         a->options.limit.channel, sense_driver(a->sense));
    }
    TRY(thought_load(a, reterr));
    TRY(report_new(a->loop, a->bus, a->store, report, on_ready, a, &a->report, reterr));
    if (fast_listen(a) != OK || thought_listen(a) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    snprintf(a->site, sizeof a->site, "%s", report->site);
    snprintf(a->device, sizeof a->device, "%s", report->device);
    return OK;
}

enum err agent_new(struct loop *loop, struct bus *bus, struct store *store, struct sense *sense,
                   const struct agent_options *options, struct agent **ret_agent, struct fault *reterr)
{
    CLEANUP(agent_freep) struct agent *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    a->loop = loop;
    a->bus = bus;
    a->store = store;
    a->sense = sense;
    a->options = *options;
    a->limit_channel = SIZE_MAX;
    a->started_us = loop_now_us(loop);
    loop_timer_init(&a->sample_timer, loop, sample_due, a);
    loop_timer_init(&a->health_timer, loop, health_due, a);
    TRY(agent_fill(a, reterr));
    *ret_agent = take(a);
    return OK;
}

void agent_free(struct agent *a)
{
    if (a == NULL) {
        return;
    }
    loop_timer_cancel(&a->sample_timer);
    loop_timer_cancel(&a->health_timer);
    thought_free(a);
    fast_free(a);
    report_free(a->report);
    free(a->start_id);
    free(a->start_text);
    free(a);
}

struct report *agent_report(struct agent *a)
{
    return a->report;
}

void agent_stop(struct agent *a)
{
    if (a->stopped) {
        return;
    }
    fast_end(a);
    a->stopped = true;
    loop_timer_cancel(&a->sample_timer);
    if (a->start_id == NULL) {
        loop_timer_cancel(&a->health_timer);
    }
    thought_end(a);
    report_flush(a->report);
}

bool agent_stopped(const struct agent *a)
{
    return a->stopped;
}

int64_t agent_due_us(const struct agent *a)
{
    return a->due_us;
}

void agent_stats(const struct agent *a, struct agent_stats *ret_stats)
{
    *ret_stats = a->stats;
    ret_stats->sense_bad = sense_bad(a->sense);
    fast_stats(a, &ret_stats->commands);
}
