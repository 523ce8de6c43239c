/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One device: the product's agent over a disk in memory and a session of its own with the real broker.
 *
 *   (disk) --member_start--> alive --member_crash--> (disk) --member_start--> ...
 *
 * A crash frees everything but the disk: the memory store then forgets what was not durable, as a power cut would.
 */
#include <stdio.h>

#include "device/report/report.h"
#include "simulators/load/load_internal.h"

enum { PURPOSE_MEMBER = 1, OUT_LIMIT = 256 * 1024 };

void member_init(struct member *m, struct load *load, unsigned number)
{
    m->load = load;
    m->number = number;
    m->class = (uint8_t)scenario_class_of(load->scenario, number);
    m->chance = scenario_chance_seed(load->scenario, number, PURPOSE_MEMBER);
    loop_timer_init(&m->start, load->loop, member_start, m);
}

/* ---- what the report tells ---- */

static void on_link(void *arg, bool up, const char *reason)
{
    struct member *m = arg;
    struct load *load = m->load;
    int64_t now_us = loop_now_us(load->loop);
    if (up == m->up) { /* an attempt that failed, or a subscription that was refused */
        (void)snprintf(load->refusal, sizeof(load->refusal), "%s", reason);
        return;
    }
    m->disturbed_us = now_us;
    m->up = up;
    if (!up) {
        load->connected--;
        m->wanted_us = now_us;
        if (!m->disturbed && !m->shared) {
            load->lost_links++;
            load->lost_now++;
            (void)snprintf(load->reason, sizeof(load->reason), "%s", reason);
        }
        return;
    }
    load->connected++;
    load->connects++;
    histogram_record(m->ever_up ? &load->reconnect : &load->connect, now_us - m->wanted_us);
    load->ever_connected += !m->ever_up;
    m->ever_up = true;
    m->wanted_us = 0;
    m->disturbed = false;
}

static void on_block(void *arg, uint64_t number)
{
    struct member *m = arg;
    m->load->made++;
    int64_t due_us = agent_due_us(m->agent);
    if (m->load->phase != PHASE_DRAIN) { /* what is flushed at the end has no place in the schedule */
        dues_put(&m->dues[1], number, due_us != 0 ? due_us : loop_now_us(m->load->loop)); /* 0: closed by its age */
    }
}

static void on_acked(void *arg, uint8_t lane, uint64_t acked)
{
    struct member *m = arg;
    struct load *load = m->load;
    struct books_lane *book = &load->books[m->number].lane[lane];
    int64_t now_us = loop_fresh_now_us(load->loop);
    uint64_t news = acked > book->acked ? acked - book->acked : 0; /* a new epoch begins at 1 again */
    load->acked += news;
    load->acked_in_load += load->phase == PHASE_LOAD ? news : 0;
    load->second_acked += news;
    book->acked = acked;
    struct due due;
    while (dues_take(&m->dues[lane], acked, &due)) {
        int64_t latency_us = now_us - due.due_us;
        histogram_record(&load->all, latency_us);
        if (due.due_us > m->disturbed_us) {
            histogram_record(lane == 0 ? &load->alarm : &load->latency, latency_us);
            histogram_record(&load->recent[load->recent_at], latency_us);
        }
    }
}

/* ---- life ---- */

static enum err open_bus(struct member *m, const char *id, struct fault *reterr)
{
    const struct scenario *s = m->load->scenario;
    char source[SOURCE_BYTES];
    TRY(load_tls(m->load, id, &m->tls, reterr));
    const struct bus_options options = {.host = s->broker.host,
                                        .port = (uint16_t)s->broker.port,
                                        .client_id = id,
                                        .source = load_source(s->broker.host, m->number, source),
                                        .tls = m->tls,
                                        .keepalive_s = (unsigned)(s->broker.keepalive_us / SECOND_US),
                                        .out_limit_bytes = OUT_LIMIT};
    return bus_new(BUS_NATIVE, m->load->loop, &options, &m->bus, reterr);
}

static enum err open_agent(struct member *m, const char *id, struct fault *reterr)
{
    const struct scenario *s = m->load->scenario;
    const struct scenario_class *class = scenario_class(s, m->class);
    const struct agent_options options = {
        .report = {.site = s->site,
                   .gateway = s->gateway,
                   .device = id,
                   .software = "weir-fleet",
                   .samples_per_record = (unsigned)class->samples,
                   .max_age_us = class->max_age_us,
                   .boot_id = (uint64_t)s->seed + 1,
                   .window = {.max_frames = (unsigned)class->window},
                   .wall_skew_us = scenario_skew_us(s, m->number),
                   .watcher = {.on_link = on_link, .on_block = on_block, .on_acked = on_acked, .arg = m}},
        .period_us = class->period_us,
        .health_period_us = class->health_us,
    };
    return agent_new(m->load->loop, m->bus, m->store, m->load->senses[m->class], &options, &m->agent, reterr);
}

static enum err start(struct member *m, struct fault *reterr)
{
    const struct scenario_class *class = scenario_class(m->load->scenario, m->class);
    char id[ID_MAX + 1];
    scenario_identity(m->load->scenario, m->number, id);
    if (m->disk == NULL && store_disk_new((uint64_t)class->store_bytes, &m->disk) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    loop_set_worker_latency(m->load->loop, class->flush_us); /* of the store that is opened now */
    enum err err = store_open_memory(m->load->loop, m->disk, REPORT_TABLE_COUNT, &m->store);
    if (err != OK) {
        return fault_set(reterr, err, "%s: the store in memory does not open: %s", id, err_name(err));
    }
    TRY(open_bus(m, id, reterr));
    TRY(open_agent(m, id, reterr));
    return bus_start(m->bus);
}

void member_start(void *arg)
{
    struct member *m = arg;
    struct fault fault = {.text = "out of memory"};
    m->load->alive++;
    m->wanted_us = loop_now_us(m->load->loop);
    m->disturbed_us = m->wanted_us;
    enum err err = start(m, &fault);
    if (err != OK) {
        load_fail(m->load, fault.text, err);
        return;
    }
    if (m->spelled) {
        member_set_link(m, BUS_LINK_DOWN);
    }
}

void member_observe(struct member *m)
{
    if (m->agent == NULL || !report_ready(agent_report(m->agent))) {
        return;
    }
    struct report_stats stats;
    report_stats(agent_report(m->agent), &stats);
    for (unsigned lane = 0; lane < BOOKS_LANES; lane++) {
        struct books_lane *book = &m->load->books[m->number].lane[lane];
        book->epoch = stats.lane[lane].epoch;
        book->durable = stats.lane[lane].durable;
        book->acked = stats.lane[lane].acked;
        book->gaps = m->gaps_before[lane] + stats.lane[lane].gap_numbers + (lane == 1 ? stats.damaged : 0);
        book->gaps_waiting = stats.lane[lane].gap_waiting;
    }
}

/* What the agent has counted goes with it. */
static void inherit(struct member *m)
{
    struct load *load = m->load;
    struct report_stats stats;
    struct agent_stats agent;
    report_stats(agent_report(m->agent), &stats);
    agent_stats(m->agent, &agent);
    load->samples += stats.samples;
    load->refused += stats.refused;
    load->damaged += stats.damaged;
    load->missed += agent.missed;
    for (unsigned lane = 0; lane < BOOKS_LANES; lane++) {
        m->gaps_before[lane] = load->books[m->number].lane[lane].gaps;
    }
}

void member_close(struct member *m)
{
    if (m->agent != NULL) {
        member_observe(m);
        inherit(m);
        m->load->connected -= m->up;
        m->load->alive--;
    }
    m->up = false;
    m->wanted_us = 0;
    agent_free(take(m->agent));
    bus_free(take(m->bus));
    crypt_tls_free(take(m->tls));
    store_close(take(m->store));
}

void member_crash(struct member *m)
{
    if (m->agent == NULL) {
        return;
    }
    member_set_link(m, BUS_LINK_DOWN); /* a dead process takes no leave */
    member_close(m);
    for (unsigned lane = 0; lane < BOOKS_LANES; lane++) {
        dues_forget_above(&m->dues[lane], m->load->books[m->number].lane[lane].durable);
    }
}

void member_deinit(struct member *m)
{
    if (m->load == NULL) {
        return;
    }
    loop_timer_cancel(&m->start);
    loop_timer_cancel(&m->spell);
    loop_timer_cancel(&m->alarm);
    member_close(m);
    store_disk_free(take(m->disk));
    for (unsigned lane = 0; lane < BOOKS_LANES; lane++) {
        dues_deinit(&m->dues[lane]);
    }
}

bool member_settled(const struct member *m)
{
    return m->agent != NULL && m->up && report_drained(agent_report(m->agent));
}

void member_set_link(struct member *m, enum bus_link link)
{
    if (m->bus == NULL) {
        return;
    }
    m->disturbed = m->disturbed || link == BUS_LINK_DOWN;
    m->disturbed_us = loop_now_us(m->load->loop);
    enum err err = bus_set_link(m->bus, link);
    if (err != OK) { /* the native back-end can */
        load_fail(m->load, "a link cannot be cut", err);
    }
}
