/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/uplink/meter.h"

#include <time.h>

#include "core/log/log.h"
#include "gateway/uplink/meter_internal.h"
#include "proto/wire/wire.h"

#define REST_WORTH_US (15 * MINUTE_US)
enum { LINGER_US = 5000000, LOOK_US = 1000000, IDLE_LOOK_US = 5000000, SAVE_US = 1000000 };
#define SAVE_BUDGET_US MINUTE_US
#define SAVE_BILL_US (10 * MINUTE_US)
#define STATE_KEY "budget"

/* ---- the state in the store ---- */
static enum err load(struct meter *m)
{
    BUFFER(record, BUDGET_RECORD_MAX);
    enum err err = store_get(m->store, m->options.meta_table, slice_str(STATE_KEY), &record);
    if (err == ERR_NOT_FOUND) {
        return OK;
    }
    TRY(err);
    err = budget_decode(&m->budget, buffer_slice(&record), m->options.boot_id, loop_now_us(m->loop));
    if (err != OK) {
        log_error("the state of the uplink's budget cannot be read: all of it counts as spent", KV_ERR(err));
        budget_all_spent(&m->budget, loop_now_us(m->loop));
    }
    return OK;
}

static enum err put_state(struct meter *m, struct store_batch *batch)
{
    BUFFER(record, BUDGET_RECORD_MAX);
    uint64_t lease = m->stopping ? 0 : budget_lease(&m->budget, m->lease_wanted);
    TRY(budget_encode(&m->budget, m->options.boot_id, lease, loop_now_us(m->loop), &record));
    TRY(store_put(batch, m->options.meta_table, slice_str(STATE_KEY), buffer_slice(&record)));
    m->save_serial = store_batch_serial(batch);
    m->save_end = m->budget.charged + lease;
    m->saved_us = loop_now_us(m->loop);
    m->dirty = false;
    return OK;
}

void meter_save(struct meter *m, struct store_batch *batch)
{
    if (m->dirty && (m->lease_wanted > 0 || loop_now_us(m->loop) - m->saved_us >= SAVE_US) &&
        put_state(m, batch) != OK) {
        log_debug("the state of the budget is written later");
    }
}

/* In a batch of somebody who commits it soon. */
static void save_now(struct meter *m)
{
    struct store_batch *batch = m->handlers.batch(m->handlers.arg);
    if (batch != NULL && put_state(m, batch) != OK) {
        log_debug("the state of the budget is written later");
    }
}

void meter_committed(struct meter *m)
{
    if (m->save_serial == 0 || store_telling(m->store) != m->save_serial) {
        return;
    }
    m->save_serial = 0;
    m->budget.lease_end = m->save_end;
    m->lease_wanted = 0;
    if (m->wait[1] == METER_LEASE) {
        m->wait[1] = METER_FREE;
        m->handlers.kick(m->handlers.arg);
    }
}

static void plan_save(struct meter *m)
{
    int64_t since_us = loop_now_us(m->loop) - m->saved_us;
    bool budget = m->options.rules.bytes > 0 || m->options.rules.ttl_us[0] > 0 || m->options.rules.ttl_us[1] > 0;
    /* a lease that was asked for and did not come: its batch failed */
    bool lost = m->lease_wanted > 0 && since_us >= SAVE_US;
    if (lost || (m->dirty && since_us >= (budget ? SAVE_BUDGET_US : SAVE_BILL_US))) {
        save_now(m);
    }
}

/* ---- when ---- */
/* Local time of day, and the date: for windows and bills, nothing else. */
static unsigned local_second(struct meter *m, uint32_t *ret_date)
{
    time_t wall = (time_t)(loop_wall_us(m->loop) / SECOND_US);
    struct tm tm;
    if (localtime_r(&wall, &tm) == NULL) {
        *ret_date = 0;
        return 0;
    }
    *ret_date = (uint32_t)((tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday);
    return (unsigned)(tm.tm_hour * 3600 + tm.tm_min * 60 + min_i64(tm.tm_sec, 59));
}

static bool requested(const struct meter *m)
{
    return m->open_until_us > loop_now_us(m->loop);
}

static void look_at_window(struct meter *m)
{
    uint32_t date;
    unsigned second = local_second(m, &date);
    m->in_window = budget_open(&m->options.rules, second, &m->changes_in_s);
    bool open = m->in_window || requested(m);
    bill_date(&m->budget.bill, date);
    if (open != m->open && m->options.rules.when != BUDGET_ALWAYS) {
        log_info(open ? "uplink open" : "uplink closed", KV_U64("waiting", m->lane[1].durable - m->lane[1].acked));
    }
    m->open = open;
}

static bool something_waits(const struct meter *m, unsigned lane)
{
    return m->lane[lane].durable > m->lane[lane].acked;
}

/* Until a budget comes back that is farther away than what a session costs in signs of life alone: about 200 bytes in
 * 30 s, against a TLS handshake. */
static bool waits_long(const struct meter *m, unsigned lane)
{
    return m->wait[lane] == METER_BUDGET && m->wait_until_us[lane] - loop_now_us(m->loop) > REST_WORTH_US;
}

static void look_at_link(struct meter *m)
{
    int64_t now_us = loop_now_us(m->loop);
    bool needed =
        (m->open && !waits_long(m, 1)) || (!meter_closed_for(m, 0) && something_waits(m, 0) && !waits_long(m, 0));
    m->needed_us = needed ? now_us : m->needed_us;
    bool rest = !needed && now_us - m->needed_us >= (m->resting ? 0 : LINGER_US);
    if (rest != m->resting) {
        m->resting = rest;
        m->handlers.rest(m->handlers.arg, rest);
    }
}

static void look_at_lanes(struct meter *m)
{
    bool kick = false;
    for (unsigned i = 0; i < BUDGET_LANES; i++) {
        bool over = m->wait[i] == METER_CLOSED
                        ? !meter_closed_for(m, i)
                        : m->wait[i] == METER_BUDGET && loop_now_us(m->loop) >= m->wait_until_us[i];
        if (over) {
            m->wait[i] = METER_FREE;
            kick = true;
        }
    }
    if (kick) {
        m->handlers.kick(m->handlers.arg);
    }
}

void meter_look(struct meter *m)
{
    m->handlers.look(m->handlers.arg);
    look_at_window(m);
    look_at_link(m);
    look_at_lanes(m);
}

static bool has_rules(const struct meter *m)
{
    const struct budget_rules *r = &m->options.rules;
    return r->bytes > 0 || r->when != BUDGET_ALWAYS || r->ttl_us[0] > 0 || r->ttl_us[1] > 0;
}

static void on_timer(void *arg)
{
    struct meter *m = arg;
    meter_look(m);
    plan_save(m);
    loop_timer_in(&m->timer, has_rules(m) ? LOOK_US : IDLE_LOOK_US);
}

bool meter_resting(const struct meter *m)
{
    return m->resting;
}

void meter_open(struct meter *m, int64_t for_us)
{
    m->open_until_us = for_us > 0 ? loop_now_us(m->loop) + for_us : 0;
    meter_look(m);
}

void meter_stop(struct meter *m)
{
    m->stopping = true;
    if (m->options.rules.bytes > 0 || m->dirty) {
        save_now(m);
    }
}

void meter_set(struct meter *m, const struct budget_rules *rules)
{
    m->options.rules = *rules;
    budget_set(&m->budget, rules);
    for (unsigned i = 0; i < BUDGET_LANES; i++) {
        m->wait_until_us[i] = 0; /* asked again */
    }
    meter_look(m);
    loop_timer_in(&m->timer, LOOK_US);
}

/* ---- what goes ---- */
void meter_lane(struct meter *m, unsigned lane, uint64_t epoch, uint64_t durable, uint64_t acked, uint64_t bytes)
{
    m->lane[lane] = (struct meter_lane){.durable = durable, .acked = acked, .bytes = bytes};
    m->dirty |= budget_note(&m->budget, lane, epoch, durable, loop_now_us(m->loop));
}

void meter_rebased(struct meter *m, unsigned lane, uint64_t epoch, uint64_t keep_above)
{
    budget_rebased(&m->budget, lane, epoch, keep_above);
}

bool meter_may(struct meter *m, unsigned lane, uint64_t bytes)
{
    int64_t now_us = loop_now_us(m->loop), wait_us = 0;
    if (meter_closed_for(m, lane) || (m->stopping && lane != 0)) {
        m->wait[lane] = METER_CLOSED;
        return false;
    }
    uint64_t cost = bytes + budget_packet_overhead(bytes, m->options.rules.tls);
    enum err err = budget_may(&m->budget, lane, cost, now_us, &wait_us);
    if (err == OK) {
        m->wait[lane] = METER_FREE;
    } else if (err == ERR_FULL) { /* the next part of the lease, first */
        m->wait[lane] = METER_LEASE;
        m->lease_wanted = cost;
        save_now(m);
    } else {
        m->wait[lane] = METER_BUDGET;
        m->wait_until_us[lane] = now_us + wait_us;
    }
    return err == OK;
}

bool meter_waits(const struct meter *m, unsigned lane)
{
    return m->wait[lane] != METER_FREE;
}

static void charge(struct meter *m, unsigned lane, enum bill_purpose purpose, uint64_t records, uint64_t bytes)
{
    bill_add(&m->budget.bill, purpose, records, bytes);
    budget_spend(&m->budget, lane, bytes, loop_now_us(m->loop));
    m->dirty = true;
}

/* Below MQTT. Charged to the bulk lane's account, unless an alarm caused it. */
static void charge_link(struct meter *m, unsigned lane, uint64_t mqtt_bytes)
{
    charge(m, lane, BILL_LINK, 0, budget_packet_overhead(mqtt_bytes, m->options.rules.tls));
}

void meter_sent(struct meter *m, const struct meter_frame *f)
{
    uint64_t number = f->first, bodies = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct wire_forward forward = {.record = slice_of(NULL, 0)};
        bool readable = wire_forward_decode(f->bodies[i], &forward) == OK;
        enum bill_purpose purpose = f->carrier          ? BILL_PROTOCOL
                                    : number <= f->high ? BILL_REPEATS
                                    : readable          ? bill_purpose_of(f->lane, forward.record)
                                    : f->lane == 0      ? BILL_ALARMS
                                                        : BILL_LIVE;
        bill_add(&m->budget.bill, purpose, purpose != BILL_PROTOCOL, f->bodies[i].len);
        number += f->spans[i];
        bodies += f->bodies[i].len;
    }
    budget_spend(&m->budget, f->lane, bodies, loop_now_us(m->loop));
    charge(m, f->lane, BILL_PROTOCOL, 0, f->bytes - bodies);
    charge_link(m, f->lane, f->bytes);
    m->bus[f->bus].own_out += f->bytes;
    if (m->options.rules.bytes > 0 && m->budget.charged > m->budget.lease_end && m->save_serial == 0) {
        save_now(m); /* alarms do not wait for the lease, but it follows them */
    }
}

/* What the bus wrote beside our frames, and what it read. A frame that was handed over and never written, because the
 * session ended, stays charged. */
void meter_bus(struct meter *m, unsigned number, const struct bus *bus)
{
    struct meter_bus *b = &m->bus[number];
    struct bus_stats stats;
    bus_stats(bus, &stats);
    uint64_t out = stats.bytes_out - b->seen.bytes_out, in = stats.bytes_in - b->seen.bytes_in;
    uint64_t own = min_u64(out, b->own_out), connects = stats.connects - b->seen.connects;
    uint64_t received = stats.received - b->seen.received;
    b->own_out -= own;
    if (bus_state(bus) != BUS_UP) {
        b->own_out = 0;
    }
    b->seen = stats;
    if (out - own > 0) {
        charge(m, 1, BILL_PROTOCOL, 0, out - own);
        charge_link(m, 1, out - own);
    }
    if (in > 0) { /* each message for itself, as if none shared a segment */
        uint64_t packets = max_u64(received, 1);
        charge(m, 1, BILL_PROTOCOL, 0, in);
        charge(m, 1, BILL_LINK, 0, packets * budget_packet_overhead(in / packets, m->options.rules.tls));
    }
    if (connects > 0) {
        charge(m, 1, BILL_LINK, 0, connects * budget_connect_overhead(m->options.rules.tls));
    }
}

uint64_t meter_expired(struct meter *m, unsigned lane)
{
    return budget_expired(&m->budget, lane, loop_now_us(m->loop));
}

void meter_count_expired(struct meter *m, unsigned lane, uint64_t numbers)
{
    m->expired[lane] += numbers;
}

/* ---- life ---- */
enum err meter_new(struct loop *loop, struct store *store, const struct meter_options *options,
                   const struct meter_handlers *handlers, struct meter **ret_meter)
{
    CLEANUP(meter_freep) struct meter *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return ERR_NOMEM;
    }
    m->loop = loop;
    m->store = store;
    m->options = *options;
    m->handlers = *handlers;
    m->saved_us = m->needed_us = loop_now_us(loop);
    budget_init(&m->budget, &options->rules, loop_now_us(loop));
    TRY(load(m));
    loop_timer_init(&m->timer, loop, on_timer, m);
    look_at_window(m);
    m->resting = !m->open; /* until something waits */
    loop_timer_in(&m->timer, 0);
    *ret_meter = take(m);
    return OK;
}

void meter_free(struct meter *m)
{
    if (m != NULL) {
        loop_timer_cancel(&m->timer);
        free(m);
    }
}
