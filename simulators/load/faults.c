/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scenario does to the devices while there is load: crashes, storms, offline spells; and the alarms that they
 * raise. Each is a stream of events of its own, in time with the scenario's chance.
 */
#include <math.h>
#include <stdio.h>

#include "device/report/report.h"
#include "simulators/load/load_internal.h"

/* ---- chance ---- */

uint64_t chance_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return mix_u64(*state);
}

double chance_fraction(uint64_t *state)
{
    return (double)(chance_next(state) >> 11) / 9007199254740992.0; /* 2^53 */
}

int64_t chance_gap_us(uint64_t *state, int64_t mean_us)
{
    return (int64_t)(-(double)mean_us * log(1.0 - chance_fraction(state))) + 1;
}

/* ---- crashes ---- */

static void crash_one(void *arg)
{
    struct load *load = arg;
    const struct scenario *s = load->scenario;
    loop_timer_in(&load->churn, chance_gap_us(&load->chance, (int64_t)(1e6 / s->churn.rate)));
    struct member *m = &load->members[chance_next(&load->chance) % load->devices];
    if (m->agent == NULL) {
        return; /* hit again while it is down */
    }
    member_crash(m);
    load->crashes++;
    loop_timer_in(&m->start, s->churn.down_us);
}

/* ---- storms ---- */

static void storm(void *arg)
{
    struct load *load = arg;
    loop_timer_in(&load->storm, load->scenario->storm.every_us);
    load->storms++;
    for (size_t i = 0; i < load->devices; i++) {
        struct member *m = &load->members[i];
        if (m->up && !m->spelled && chance_fraction(&load->chance) < load->scenario->storm.share) {
            member_set_link(m, BUS_LINK_DOWN);
            member_set_link(m, BUS_LINK_UP); /* and let it try at once, by its own back-off */
            load->cut++;
        }
    }
}

/* ---- offline spells ---- */

static void spell(void *arg)
{
    struct member *m = arg;
    const struct scenario *s = m->load->scenario;
    m->spelled = !m->spelled;
    m->load->spells += m->spelled;
    member_set_link(m, m->spelled ? BUS_LINK_DOWN : BUS_LINK_UP);
    loop_timer_in(&m->spell, m->spelled ? s->offline.for_us : chance_gap_us(&m->chance, s->offline.every_us));
}

/* ---- alarms ---- */

static void alarm_raise(void *arg)
{
    struct member *m = arg;
    struct load *load = m->load;
    loop_timer_in(&m->alarm, chance_gap_us(&m->chance, scenario_class(load->scenario, m->class)->alarm_every_us));
    if (m->agent == NULL) {
        return;
    }
    struct report *report = agent_report(m->agent);
    if (report_event(report, REPORT_ALARM, "simulated", "raised by the scenario", NULL, NAN) == OK) {
        struct report_stats stats;
        report_stats(report, &stats);
        dues_put(&m->dues[0], stats.lane[0].top, loop_now_us(load->loop));
        load->alarms++;
    }
}

/* ---- all of them ---- */

static void begin_for(struct member *m)
{
    struct load *load = m->load;
    const struct scenario *s = load->scenario;
    loop_timer_init(&m->spell, load->loop, spell, m);
    loop_timer_init(&m->alarm, load->loop, alarm_raise, m);
    if (scenario_goes_offline(s, m->number)) {
        loop_timer_in(&m->spell, chance_gap_us(&m->chance, s->offline.every_us));
    }
    int64_t alarm_every_us = scenario_class(s, m->class)->alarm_every_us;
    if (alarm_every_us > 0) {
        loop_timer_in(&m->alarm, chance_gap_us(&m->chance, alarm_every_us));
    }
}

void faults_begin(struct load *load)
{
    const struct scenario *s = load->scenario;
    loop_timer_init(&load->churn, load->loop, crash_one, load);
    loop_timer_init(&load->storm, load->loop, storm, load);
    if (s->churn.rate > 0) {
        loop_timer_in(&load->churn, chance_gap_us(&load->chance, (int64_t)(1e6 / s->churn.rate)));
    }
    if (s->storm.every_us > 0) {
        loop_timer_in(&load->storm, s->storm.every_us);
    }
    for (size_t i = 0; i < load->devices; i++) {
        begin_for(&load->members[i]);
    }
}

void faults_end(struct load *load)
{
    loop_timer_cancel(&load->churn);
    loop_timer_cancel(&load->storm);
    for (size_t i = 0; i < load->devices; i++) {
        struct member *m = &load->members[i];
        loop_timer_cancel(&m->spell);
        loop_timer_cancel(&m->alarm);
        if (m->spelled) {
            m->spelled = false;
            member_set_link(m, BUS_LINK_UP);
        }
        if (m->agent == NULL && m->disk != NULL) {
            loop_timer_in(&m->start, 0);
        }
    }
}
