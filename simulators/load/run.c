/* SPDX-License-Identifier: Apache-2.0 */
/* The run: is the broker there, phases, what is noted every second, signals. See load_internal.h for the phases. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "simulators/load/load_internal.h"

#define TICK_US (250 * MS_US)
#define PROBE_US (8 * SECOND_US) /* a broker that was just started may take a moment */
enum { TICKS_A_SECOND = 4, PATH_BYTES = 4096, BROKER_GONE_PCT = 50, TOLD_AGAIN_S = 10, STOPPED_IN_TICKS = 8, UNANSWERED_S = 5 };

void load_say(struct load *load, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    progress_clear(&load->progress);
    (void)fprintf(stderr, "weir-fleet: %s\n", text);
}

void load_fail(struct load *load, const char *what, enum err err)
{
    if (load->failure[0] == '\0') {
        (void)snprintf(load->failure, sizeof(load->failure), "%.300s (%s)", what[0] != '\0' ? what : "failed",
                       err_name(err));
    }
    loop_stop(load->loop);
}

enum err load_tls(const struct load *load, const char *id, struct crypt_tls **ret_tls, struct fault *reterr)
{
    const struct scenario *s = load->scenario;
    *ret_tls = NULL;
    if (s->broker.insecure) {
        return OK;
    }
    char cert[PATH_BYTES], key[PATH_BYTES];
    if (scenario_certificate(s, id, PATH_BYTES, cert, key) != OK) {
        return fault_set(reterr, ERR_FULL, "broker.certificates: the path is too long");
    }
    const struct crypt_tls_options files = {.ca_path = s->broker.ca, .cert_path = cert, .key_path = key};
    return crypt_tls_new(&files, ret_tls, reterr);
}

/* ---- is there a broker? ---- */

struct probe {
    struct loop *loop;
    bool up;
    char reason[REASON_MAX];
};

static void probe_state(void *arg, enum bus_state state, const char *reason)
{
    struct probe *p = arg;
    (void)snprintf(p->reason, sizeof(p->reason), "%s", reason);
    if (state == BUS_UP) {
        p->up = true;
        loop_stop(p->loop);
    }
}

static void probe_over(void *arg)
{
    loop_stop(arg);
}

static enum err find_broker(struct load *load, struct fault *reterr)
{
    const struct scenario *s = load->scenario;
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = NULL;
    CLEANUP(bus_freep) struct bus *bus = NULL; /* before tls */
    struct probe probe = {.loop = load->loop};
    char id[ID_MAX + 1];
    scenario_identity(s, 0, id);
    TRY(load_tls(load, id, &tls, reterr));
    const struct bus_options options = {
        .host = s->broker.host, .port = (uint16_t)s->broker.port, .client_id = id, .tls = tls};
    const struct bus_handlers handlers = {.on_state = probe_state, .arg = &probe};
    TRY(bus_new(BUS_NATIVE, load->loop, &options, &bus, reterr));
    bus_set_handlers(bus, &handlers);
    TRY(bus_start(bus));
    struct loop_timer over;
    loop_timer_init(&over, load->loop, probe_over, load->loop);
    loop_timer_in(&over, PROBE_US);
    enum err err = loop_run(load->loop);
    loop_timer_cancel(&over);
    if (err != OK) {
        return fault_set(reterr, err, "the event loop failed");
    }
    if (!probe.up && !load->interrupted) {
        return fault_set(reterr, ERR_TIMEOUT, "no broker at %.120s port %u: %.180s", s->broker.host,
                         (unsigned)s->broker.port, probe.reason[0] ? probe.reason : "no answer");
    }
    return OK;
}

/* ---- phases ---- */

/* Brings the books up to date. */
static uint64_t count_waiting(struct load *load)
{
    uint64_t waiting = 0;
    for (size_t i = 0; i < load->devices; i++) {
        member_observe(&load->members[i]);
        for (unsigned lane = 0; lane < BOOKS_LANES; lane++) {
            const struct books_lane *book = &load->books[i].lane[lane];
            waiting += book->durable - min_u64(book->acked, book->durable);
        }
    }
    return waiting;
}

static void begin_load(struct load *load)
{
    struct fault fault = {.text = ""};
    load->phase = PHASE_LOAD;
    load->load_us = loop_now_us(load->loop);
    load->rss_connected = machine_rss_bytes();
    load->rss_devices = load->connected;
    faults_begin(load);
    enum err err = actors_begin(load, &fault);
    if (err != OK) {
        load_fail(load, fault.text, err);
    }
}

static void begin_drain(struct load *load)
{
    if (load->phase == PHASE_LOAD) {
        faults_end(load);
        actors_end(load);
        (void)count_waiting(load);
        struct books_account account;
        books_count(load->books, load->devices, &account);
        load->gaps_in_load = account.gaps_acked;
    }
    load->phase = PHASE_DRAIN;
    load->drain_us = loop_now_us(load->loop);
    for (size_t i = 0; i < load->devices; i++) {
        if (load->members[i].disk == NULL) {
            loop_timer_cancel(&load->members[i].start); /* broken off in the ramp */
        }
    }
}

/* The devices end their sampling one after the other over two seconds: what all flushed in the same instant would be a
 * burst that no schedule has. Those that come back only now end at once. */
static void stop_more(struct load *load)
{
    size_t more = load->devices / STOPPED_IN_TICKS + 1;
    load->stopped = load->stopped + more < load->devices ? load->stopped + more : load->devices;
    for (size_t i = 0; i < load->stopped; i++) {
        if (load->members[i].agent != NULL) {
            agent_stop(load->members[i].agent);
        }
    }
}

static bool settled(const struct load *load)
{
    if (load->stopped < load->devices) {
        return false;
    }
    for (size_t i = 0; i < load->devices; i++) {
        const struct member *m = &load->members[i];
        if (m->disk != NULL && !member_settled(m)) {
            return false;
        }
    }
    return true;
}

static void finish(struct load *load)
{
    load->phase = PHASE_OVER;
    loop_stop(load->loop);
}

static void move_on(struct load *load, int64_t now_us)
{
    const struct scenario *s = load->scenario;
    switch (load->phase) {
    case PHASE_RAMP:
        if ((now_us - load->began_us >= s->ramp_us && load->ever_connected == load->devices) ||
            now_us - load->began_us >= s->ramp_us + RAMP_GRACE_US) {
            begin_load(load);
        }
        break;
    case PHASE_LOAD:
        if (now_us - load->load_us >= s->for_us) {
            begin_drain(load);
        }
        break;
    case PHASE_DRAIN:
        stop_more(load);
        if (settled(load) || now_us - load->drain_us >= s->drain_us) {
            finish(load);
        }
        break;
    case PHASE_OVER:
        break;
    }
}

/* ---- every second ---- */

/* Links alone prove a broker only. */
static void watch_gateway(struct load *load, uint64_t waiting)
{
    const struct scenario *s = load->scenario;
    bool answered = load->second_acked > 0 || waiting == 0 || load->connected * 2 < load->devices;
    load->unanswered = answered ? 0 : load->unanswered + 1;
    if (load->unanswered == UNANSWERED_S) {
        load_say(load, "no answer from gateway %s/%s: does one run with this site and id?", s->site, s->gateway);
    }
}

static void watch_broker(struct load *load)
{
    load->told_broker -= load->told_broker > 0;
    if (load->lost_now * 100 > load->devices * BROKER_GONE_PCT && load->told_broker == 0) {
        load_say(load, "%zu of %zu links went at once: %s; the run goes on", load->lost_now, load->devices,
                 load->reason);
        load->told_broker = TOLD_AGAIN_S;
    }
    load->lost_now = 0;
}

static void note_second(struct load *load)
{
    const struct histogram *h = &load->recent[load->recent_at];
    uint64_t rss = machine_rss_bytes();
    load->rss_most = max_u64(load->rss_most, rss);
    series_add(&load->rate, (double)load->second_acked);
    series_add(&load->made_rate, (double)(load->made - load->last_made));
    series_add(&load->links, (double)load->connected);
    series_add(&load->p50, h->count > 0 ? (double)histogram_percentile(h, 50) : (double)NAN);
    series_add(&load->p99, h->count > 0 ? (double)histogram_percentile(h, 99) : (double)NAN);
    uint64_t waiting = count_waiting(load);
    series_add(&load->waiting, (double)waiting);
    series_add(&load->memory, (double)rss);
    load->last_made = load->made;
    load->recent_at = (load->recent_at + 1) % RECENT;
    histogram_reset(&load->recent[load->recent_at]);
    watch_broker(load);
    watch_gateway(load, waiting);
}

static void show(struct load *load, int64_t now_us, double rate)
{
    static struct histogram window; /* too large for comfort on a stack */
    histogram_reset(&window);
    for (unsigned i = 0; i < RECENT; i++) {
        histogram_merge(&window, &load->recent[i]);
    }
    bool any = window.count > 0;
    const struct scenario *s = load->scenario;
    const struct progress_state state = {
        .phase = load->phase == PHASE_RAMP ? "ramp" : load->phase == PHASE_LOAD ? "load" : "drain",
        .elapsed_us = now_us - load->began_us,
        .total_us = load->phase == PHASE_DRAIN ? 0 : s->ramp_us + s->for_us,
        .connected = load->connected,
        .wanted = load->devices,
        .rate = rate,
        .rate_unit = "rec/s",
        .p50_us = any ? histogram_percentile(&window, 50) : -1,
        .p99_us = any ? histogram_percentile(&window, 99) : -1,
        .p999_us = any ? histogram_percentile(&window, 99.9) : -1,
        .trouble = load->lost_links,
        .trouble_name = "links lost",
    };
    progress_show(&load->progress, now_us, &state);
}

static void on_tick(void *arg)
{
    struct load *load = arg;
    int64_t now_us = loop_now_us(load->loop);
    loop_timer_at(&load->tick, load->tick.due_us + TICK_US);
    if (load->ticks++ % TICKS_A_SECOND == TICKS_A_SECOND - 1) {
        load->last_rate = (double)load->second_acked;
        note_second(load);
        load->second_acked = 0;
    }
    move_on(load, now_us);
    if (load->phase != PHASE_OVER) {
        show(load, now_us, load->last_rate);
    }
}

static void on_stop(void *arg, int signo)
{
    struct load *load = arg;
    (void)signo;
    if (load->interrupted || load->began_us == 0) {
        load->interrupted = true;
        finish(load);
        return;
    }
    load->interrupted = true;
    load_say(load, "stopping: waiting for what is under way; once more ends it at once, the report comes in any case");
    if (load->phase == PHASE_RAMP || load->phase == PHASE_LOAD) {
        begin_drain(load);
    }
}

/* ---- the run ---- */

static enum err open_senses(struct load *load, struct fault *reterr)
{
    for (unsigned i = 0; i < load->scenario->classes.count; i++) {
        const struct sense_options options = {
            .driver = "pattern", .channels = (unsigned)scenario_class(load->scenario, i)->channels};
        TRY(sense_open(load->loop, &options, &load->senses[i], reterr));
    }
    return OK;
}

static enum err make_fleet(struct load *load, struct fault *reterr)
{
    load->rss_before = machine_rss_bytes();
    load->devices = (size_t)load->scenario->devices;
    load->members = calloc(load->devices, sizeof(*load->members));
    load->books = calloc(load->devices, sizeof(*load->books));
    if (load->members == NULL || load->books == NULL) {
        load->devices = 0;
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    load->began_us = loop_now_us(load->loop);
    for (size_t i = 0; i < load->devices; i++) {
        struct member *m = &load->members[i];
        member_init(m, load, (unsigned)i);
        loop_timer_at(&m->start, load->began_us + scenario_connect_us(load->scenario, (unsigned)i));
    }
    return OK;
}

enum err load_run(struct load *load, struct fault *reterr)
{
    TRY(loop_on_signal(load->loop, SIGINT, on_stop, load));
    TRY(loop_on_signal(load->loop, SIGTERM, on_stop, load));
    TRY(find_broker(load, reterr));
    if (load->interrupted) {
        return fault_set(reterr, ERR_AGAIN, "ended before it began");
    }
    account_before(load);
    TRY(open_senses(load, reterr));
    TRY(make_fleet(load, reterr));
    loop_timer_init(&load->tick, load->loop, on_tick, load);
    loop_timer_in(&load->tick, TICK_US);
    enum err err = loop_run(load->loop);
    load->ended_us = loop_now_us(load->loop);
    loop_timer_cancel(&load->tick);
    progress_clear(&load->progress);
    if (load->phase != PHASE_DRAIN && load->phase != PHASE_OVER) {
        faults_end(load);
    }
    actors_end(load);
    return err == OK ? OK : fault_set(reterr, err, "the event loop failed");
}
