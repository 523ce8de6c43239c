/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fast - the gateway's commands: sample faster for a while, within the bounds of agent_options.bounds.
 *
 *   command -> decoded, for this very device, not seen, not expired, faster, credit left -> one of COMMANDS in force
 *   the fastest of those in force is the period; each ends at its own end; none left = the usual period
 *
 *   USUAL --a command is taken--> FAST --the last one ends, or the credit does--> USUAL
 *   credit +1 s per s             -1 s per s
 *
 * A command's end is the earliest of: its deadline, which is in this device's own wall clock as its blocks tell it;
 * the time that it asks for, counted from its arrival by the monotonic clock, so that a wall clock that jumps prolongs
 * nothing; the credit.
 */
#include <stdio.h>

#include "core/log/log.h"
#include "device/agent/agent_internal.h"
#include "proto/wire/wire.h"

enum { COMMANDS = 8, BEGIN_PART = 4 };
#define TELL_EVERY_US (10 * SECOND_US)

struct fast {
    struct report_listener listener;
    struct loop_timer timer;
    struct fast_command { /* in force while until_us lies ahead; then only its id is of use */
        uint64_t id;
        int64_t period_us, until_us;
    } commands[COMMANDS];
    bool running;
    int64_t credit_us, credit_at_us; /* as of then */
    int64_t told_us;                 /* when a beginning was told */
    bool told;                       /* of this stretch */
    struct agent_command_stats stats;
};

static void account(struct agent *a)
{
    struct fast *f = a->fast;
    int64_t now_us = loop_now_us(a->loop), passed_us = now_us - f->credit_at_us;
    f->credit_at_us = now_us;
    f->stats.fast_us += f->running ? passed_us : 0;
    int64_t credit_us = f->credit_us + (f->running ? -passed_us : passed_us);
    f->credit_us = min_i64(max_i64(credit_us, 0), a->options.bounds.longest_us);
}

static void tell(struct agent *a, const char *rule)
{
    struct fast *f = a->fast;
    int64_t now_us = loop_now_us(a->loop);
    char text[160];
    if (f->running && now_us - f->told_us < TELL_EVERY_US) {
        return;
    }
    if (f->running) {
        snprintf(text, sizeof text, "every %lld ms instead of %lld ms, asked for by the gateway's rule %.64s",
                 (long long)(a->period_us / MS_US), (long long)(a->options.period_us / MS_US), rule);
        log_info("sampling faster", KV_STR("device", a->device), KV_STR("rule", rule),
                 KV_I64("period_ms", a->period_us / MS_US));
        f->told = report_event(a->report, REPORT_INFO, "sampling-faster", text, NULL, (double)a->period_us / 1e6) == OK;
        f->told_us = now_us;
    } else if (f->told) {
        snprintf(text, sizeof text, "every %lld ms again", (long long)(a->period_us / MS_US));
        log_info("sampling as usual", KV_STR("device", a->device), KV_I64("period_ms", a->period_us / MS_US));
        f->told = report_event(a->report, REPORT_INFO, "sampling-normal", text, NULL, (double)a->period_us / 1e6) != OK;
    }
}

/* Puts the fastest command that is left in force. rule: of the one that has just come; NULL = none has. */
static void choose(struct agent *a, const char *rule)
{
    struct fast *f = a->fast;
    int64_t now_us = loop_now_us(a->loop), period_us = a->options.period_us, next_us = INT64_MAX;
    account(a);
    for (size_t i = 0; i < COMMANDS; i++) {
        struct fast_command *c = &f->commands[i];
        c->until_us = f->credit_us > 0 ? c->until_us : 0;
        if (c->until_us > now_us) {
            period_us = min_i64(period_us, c->period_us);
            next_us = min_i64(next_us, c->until_us);
        }
    }
    bool was_running = f->running;
    f->running = next_us != INT64_MAX;
    if (period_us != a->period_us) {
        agent_pace(a, period_us);
    }
    if (f->running != was_running) {
        tell(a, rule ? rule : "");
    }
    loop_timer_cancel(&f->timer);
    if (f->running) {
        loop_timer_at(&f->timer, min_i64(next_us, now_us + f->credit_us));
    }
}

static void due(void *arg)
{
    choose(arg, NULL);
}

/* A free place, or that of the command that ends first. */
static struct fast_command *place_for(struct fast *f)
{
    struct fast_command *place = &f->commands[0];
    for (size_t i = 1; i < COMMANDS; i++) {
        place = f->commands[i].until_us < place->until_us ? &f->commands[i] : place;
    }
    return place;
}

static bool seen(const struct fast *f, uint64_t id)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (f->commands[i].id == id) {
            return true;
        }
    }
    return false;
}

static bool for_us(const struct agent *a, const struct wire_command *c)
{
    return strcmp(c->site, a->site) == 0 && strcmp(c->device, a->device) == 0 &&
           strcmp(c->gateway, report_gateway(a->report)) == 0;
}

/* As asked, within the bounds; not shorter than the usual one: 0. */
static int64_t period_of(const struct agent *a, const struct wire_command *c)
{
    int64_t usual_us = a->options.period_us;
    int64_t asked_us = c->factor > 0 ? (int64_t)((double)usual_us / c->factor) : (int64_t)c->period_us;
    int64_t period_us = max_i64(asked_us, a->options.bounds.fastest_us);
    return period_us < usual_us ? period_us : 0;
}

static void on_command(void *arg, struct slice payload)
{
    struct agent *a = arg;
    struct fast *f = a->fast;
    struct wire_command c;
    if (a->stopped || a->options.bounds.fastest_us <= 0 || wire_command_decode(payload, &c) != OK || !for_us(a, &c)) {
        f->stats.refused++;
        return;
    }
    if (seen(f, c.id)) {
        f->stats.repeated++;
        return;
    }
    uint64_t wall_us = report_wall_us(a->report);
    if (c.deadline_us <= wall_us) {
        f->stats.expired++;
        return;
    }
    int64_t period_us = period_of(a, &c);
    if (period_us == 0) {
        f->stats.too_slow++;
        return;
    }
    account(a);
    if (f->credit_us < (f->running ? 1 : a->options.bounds.longest_us / BEGIN_PART)) {
        f->stats.spent++;
        return;
    }
    uint64_t lasts_us = min_u64(c.for_us, c.deadline_us - wall_us);
    *place_for(f) = (struct fast_command){
        .id = c.id, .period_us = period_us, .until_us = loop_now_us(a->loop) + (int64_t)lasts_us};
    f->stats.obeyed++;
    choose(a, c.rule);
}

void fast_end(struct agent *a)
{
    if (a->fast == NULL) {
        return;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        a->fast->commands[i].until_us = 0;
    }
    choose(a, NULL);
}

enum err fast_listen(struct agent *a)
{
    if (a->fast != NULL) {
        account(a);
        return OK;
    }
    if (a->options.bounds.fastest_us <= 0 || a->options.period_us <= 0) {
        return OK;
    }
    struct fast *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    f->listener = (struct report_listener){.channel = TOPIC_CMD, .fn = on_command, .arg = a};
    if (report_listen(a->report, &f->listener) != OK) {
        free(f);
        return ERR_NOMEM;
    }
    loop_timer_init(&f->timer, a->loop, due, a);
    f->credit_us = a->options.bounds.longest_us;
    f->credit_at_us = loop_now_us(a->loop);
    f->told_us = f->credit_at_us - TELL_EVERY_US;
    a->fast = f;
    return OK;
}

void fast_free(struct agent *a)
{
    if (a->fast != NULL) {
        loop_timer_cancel(&a->fast->timer);
        free(a->fast);
        a->fast = NULL;
    }
}

void fast_stats(const struct agent *a, struct agent_command_stats *ret_stats)
{
    *ret_stats = (struct agent_command_stats){.obeyed = 0};
    if (a->fast != NULL) {
        *ret_stats = a->fast->stats;
        ret_stats->fast_us += a->fast->running ? loop_now_us(a->loop) - a->fast->credit_at_us : 0;
    }
}

bool fast_running(const struct agent *a)
{
    return a->fast != NULL && a->fast->running;
}
