/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account at the end: what the devices hold, what was acknowledged, what the gateway says it has; who was lost; how
 * long things took; what a device costs. Then the report, and the exit status: 1 where something does not add up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/control/control.h"
#include "simulators/load/load_internal.h"

#define GATEWAY_WAIT_US (60 * SECOND_US)
enum { LEDGER_BYTES = 32 << 20, WIDTH = 100 };

struct account {
    struct load *load;
    struct books_account ledger;
    size_t never, gone; /* devices: never connected; not connected at the end */
    bool unasked;       /* the gateway was to be asked and did not answer */
    char why[400];
    struct buffer complaints;
};

/* ---- what there is to account for ---- */

static void close_devices(struct account *a)
{
    struct load *load = a->load;
    for (size_t i = 0; i < load->devices; i++) {
        struct member *m = &load->members[i];
        bool begun = m->disk != NULL;
        a->never += begun && !m->ever_up;
        a->gone += begun && m->ever_up && !m->up;
        member_close(m);
        load->unmeasured += m->dues[0].unmeasured + m->dues[1].unmeasured;
    }
}

void account_before(struct load *load)
{
    const struct scenario *s = load->scenario;
    BUFFER(answer, LEDGER_BYTES);
    struct fault fault = {.text = ""};
    int status = 0;
    if (s->gateway_socket == NULL || s->gateway_socket[0] == '\0') {
        return;
    }
    if (control_call(s->gateway_socket, "/ledger", GATEWAY_WAIT_US, &status, &answer, &fault) != OK || status != 200 ||
        books_know(buffer_slice(&answer), &load->before) != OK) {
        load_say(load, "the gateway's ledger could not be read before the run: streams of earlier runs will be called "
                 "forged. %.200s", fault.text);
    }
}

static void ask_gateway(struct account *a)
{
    const struct scenario *s = a->load->scenario;
    BUFFER(answer, LEDGER_BYTES);
    struct fault fault = {.text = ""};
    int status = 0;
    if (s->gateway_socket == NULL || s->gateway_socket[0] == '\0') {
        return;
    }
    enum err err = control_call(s->gateway_socket, "/ledger", GATEWAY_WAIT_US, &status, &answer, &fault);
    if (err == OK && status == 200) {
        err = books_compare(a->load->books, a->load->devices, s->prefix, buffer_slice(&answer), &a->load->before,
                            &a->ledger, &a->complaints);
        (void)snprintf(fault.text, sizeof(fault.text), "its answer is no gateway's ledger (%s)", err_name(err));
    }
    if (err != OK || status != 200) {
        a->unasked = true;
        (void)snprintf(a->why, sizeof(a->why), "%s", fault.text[0] != '\0' ? fault.text : "no ledger there");
    }
}

/* ---- figures ---- */

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

static void put_delivery(const struct account *a, struct figures *f)
{
    const char *g = "Delivery";
    const struct books_account *l = &a->ledger;
    figures_count(f, g, "durable", l->durable, "", "records made durable by the devices",
                  "acknowledged, waiting, or declared lost since");
    figures_count(f, g, "acked", l->acked, "", "delivered", "durable at the gateway, says its acknowledgement");
    figures_count(f, g, "waiting", l->waiting, "", "waiting at the devices", "durable there, not acknowledged");
    if (l->compared) {
        figures_count(f, g, "committed", l->committed, "", "in the gateway's ledger", "its own high-water marks, gaps left out");
        figures_count(f, g, "lost", l->lost, "", "lost", "acknowledged, but not in the gateway's ledger; or there as an undeclared gap");
        figures_count(f, g, "phantom", l->phantom, "", "phantoms",
                      "in the gateway's ledger, but never durable at the device");
        figures_count(f, g, "undeclared", l->undeclared, "", "undeclared gaps",
                      "of the lost: the gateway has them as gaps that no device declared");
        figures_count(f, g, "forged_streams", l->strangers, "", "forged streams",
                      "new under our devices' names, but of no epoch of theirs");
        figures_count(f, g, "gateway_streams", l->streams, "", "streams at the gateway", NULL);
    }
    figures_count(f, g, "gaps", l->gaps, "", "declared lost by devices", "their store was full, or damaged");
}

static void put_devices(const struct account *a, struct figures *f)
{
    const char *g = "Devices";
    const struct load *load = a->load;
    figures_count(f, g, "devices", load->devices, "", "devices", NULL);
    figures_count(f, g, "never_connected", a->never, "", "never connected", NULL);
    figures_count(f, g, "gone", a->gone, "", "not connected at the end", NULL);
    figures_count(f, g, "connects", load->connects, "", "connects", NULL);
    figures_count(f, g, "links_lost", load->lost_links, "", "links lost", "that the scenario did not cut");
    figures_count(f, g, "crashes", load->crashes, "", "crashes", NULL);
    figures_count(f, g, "storms", load->storms, "", "storms", NULL);
    figures_count(f, g, "links_cut", load->cut, "", "links cut in storms", NULL);
    figures_count(f, g, "offline_spells", load->spells, "", "offline spells", NULL);
    figures_count(f, g, "alarms", load->alarms, "", "alarms raised", NULL);
    figures_count(f, g, "samples", load->samples, "", "samples", NULL);
    figures_count(f, g, "samples_missed", load->missed, "", "samples missed",
                  "by their schedule more than ten periods late: this machine is too slow for the scenario");
    figures_count(f, g, "samples_refused", load->refused, "", "samples refused",
                  "by a device whose store takes nothing");
}

static void put_speed(const struct account *a, struct figures *f)
{
    const char *g = "Speed";
    const struct load *load = a->load;
    int64_t until_us = load->drain_us != 0 ? load->drain_us : load->ended_us;
    double span_s = load->load_us != 0 ? seconds(until_us - load->load_us) : 0;
    struct scenario_rates offered;
    scenario_rates(load->scenario, &offered);
    figures_number(f, g, "offered_per_s", offered.records, "/s", "records offered", "by the scenario, all devices up");
    figures_number(f, g, "acked_per_s", span_s > 0 ? (double)(load->acked_in_load - min_u64(load->acked_in_load, load->gaps_in_load)) / span_s : 0, "/s",
                   "records acknowledged", "over the time of load");
    figures_duration(f, g, "latency_p50_us", histogram_percentile(&load->latency, 50), "latency p50",
                     "from when the schedule wanted it sent to acknowledged; link up all the time");
    figures_duration(f, g, "latency_p99_us", histogram_percentile(&load->latency, 99), "latency p99", NULL);
    figures_duration(f, g, "latency_p999_us", histogram_percentile(&load->latency, 99.9), "latency p99.9", NULL);
    figures_duration(f, g, "all_p99_us", histogram_percentile(&load->all, 99), "p99 of every record",
                     "offline spells, crashes and reconnects included");
    figures_duration(f, g, "connect_p99_us", histogram_percentile(&load->connect, 99), "first connect p99", NULL);
    figures_duration(f, g, "reconnect_p99_us", histogram_percentile(&load->reconnect, 99), "reconnect p99",
                     "from the loss of the link, back-off included");
    figures_duration(f, g, "drain_us", load->drain_us != 0 ? load->ended_us - load->drain_us : 0, "drain",
                     "from the end of the load until everything was acknowledged");
    figures_count(f, g, "unmeasured", load->unmeasured, "", "records without a latency",
                  "too many outstanding at once");
}

static uint64_t bytes_per_device(const struct load *load)
{
    return load->rss_devices > 0 && load->rss_connected > load->rss_before
               ? (load->rss_connected - load->rss_before) / load->rss_devices
               : 0;
}

static void put_memory(const struct account *a, struct figures *f)
{
    const char *g = "Memory of this process";
    const struct load *load = a->load;
    figures_bytes(f, g, "bytes_per_device", bytes_per_device(load), "a connected device",
                  "(resident with all connected - before) / devices: state, store in memory, session");
    figures_bytes(f, g, "rss_before", load->rss_before, "before", NULL);
    figures_bytes(f, g, "rss_connected", load->rss_connected, "all connected", NULL);
    figures_bytes(f, g, "rss_most", load->rss_most, "most", NULL);
}

static void put_actors(const struct account *a, struct figures *f)
{
    const char *g = "Bad actors";
    const struct load *load = a->load;
    for (unsigned kind = SCENARIO_GARBAGE; kind <= SCENARIO_TWIN; kind++) {
        char id[48], label[64];
        const char *name = scenario_actor_name((enum scenario_actor)kind);
        if (load->bad_sent[kind] + load->bad_held[kind] > 0) {
            (void)snprintf(id, sizeof(id), "bad_%s", name);
            (void)snprintf(label, sizeof(label), "messages: %s", name);
            figures_count(f, g, id, load->bad_sent[kind], "", label, NULL);
        }
    }
}

static void put_plots(const struct account *a, struct figures *f)
{
    const struct load *load = a->load;
    figures_histogram(f, "latency", "Latency, link up all the time", &load->latency);
    figures_histogram(f, "all", "Latency of every record", &load->all);
    if (load->alarm.count > 0) {
        figures_histogram(f, "alarm", "Latency of alarms", &load->alarm);
    }
    figures_histogram(f, "connect", "First connect", &load->connect);
    if (load->reconnect.count > 0) {
        figures_histogram(f, "reconnect", "Reconnect, back-off included", &load->reconnect);
    }
    figures_plot(f, "rates", "Records a second", "/s", FIGURES_LINEAR);
    figures_line(f, "acknowledged", &load->rate);
    figures_line(f, "blocks made", &load->made_rate);
    figures_plot(f, "latencies", "Latency of each second", "us", FIGURES_LOG);
    figures_line(f, "p50", &load->p50);
    figures_line(f, "p99", &load->p99);
    figures_plot(f, "links", "Devices connected", "", FIGURES_LINEAR);
    figures_line(f, "connected", &load->links);
    figures_plot(f, "backlog", "Records waiting at the devices", "", FIGURES_LINEAR);
    figures_line(f, "waiting", &load->waiting);
    figures_plot(f, "memory", "Resident memory of this process", "B", FIGURES_LINEAR);
    figures_line(f, "resident", &load->memory);
}

static void put_settings(const struct account *a, struct figures *f)
{
    const struct scenario *s = a->load->scenario;
    char text[200], a_text[FIGURES_SHORT], b_text[FIGURES_SHORT];
    (void)snprintf(text, sizeof(text), "%" PRId64, s->devices);
    figures_setting(f, "devices", text);
    figures_setting(f, "for", figures_show_duration(s->for_us, a_text));
    figures_setting(f, "ramp", figures_show_duration(s->ramp_us, a_text));
    (void)snprintf(text, sizeof(text), "%.100s port %" PRId64 "%s", s->broker.host, s->broker.port,
                   s->broker.insecure ? ", plain TCP" : ", mTLS");
    figures_setting(f, "broker", text);
    (void)snprintf(text, sizeof(text), "%" PRId64, s->seed);
    figures_setting(f, "seed", text);
    for (unsigned i = 0; i < s->classes.count; i++) {
        const struct scenario_class *c = scenario_class(s, i);
        char name[32];
        (void)snprintf(name, sizeof(name), "class %u", i + 1);
        (void)snprintf(text, sizeof(text), "%u devices, a sample every %s, %" PRId64 " in a record, %" PRId64
                       " channels, commit takes %s", scenario_class_devices(s, i),
                       figures_show_duration(c->period_us, a_text), c->samples, c->channels,
                       figures_show_duration(c->flush_us, b_text));
        figures_setting(f, name, text);
    }
}

/* ---- the verdict ---- */

static bool nothing_lost(const struct account *a)
{
    return books_adds_up(&a->ledger) && !a->unasked && a->ledger.waiting == 0 && a->ledger.gaps_acked == a->ledger.gaps;
}

/* Everything has arrived but what the devices had no room for. */
static void put_gaps(const struct account *a, struct figures *f, const char *devices)
{
    const struct books_account *l = &a->ledger;
    figures_verdict(f, FIGURES_GAPS, "%s%s devices; %" PRIu64 " records delivered, %" PRIu64
                    " declared lost (a device's store overflowed)%s.",
                    a->load->interrupted ? "Broken off by a signal. " : "", devices, l->acked, l->gaps,
                    l->compared ? "" : "; the gateway's books were not read");
}

static void put_verdict(const struct account *a, struct figures *f)
{
    const struct load *load = a->load;
    const struct books_account *l = &a->ledger;
    size_t lost = a->never + a->gone;
    char n[FIGURES_SHORT], d[FIGURES_SHORT];
    figures_show_count((double)l->durable, n);
    figures_show_count((double)load->devices, d);
    if (load->failure[0] != '\0') {
        figures_verdict(f, FIGURES_PARTIAL, "Broken off: %s", load->failure);
    } else if (lost == 0 && nothing_lost(a) && l->gaps > 0) {
        put_gaps(a, f, d);
    } else if (lost == 0 && nothing_lost(a)) {
        figures_verdict(f, load->interrupted ? FIGURES_PARTIAL : FIGURES_GOOD,
                        "%s%s devices, all connected at the end; %s records, every one acknowledged%s.",
                        load->interrupted ? "Broken off by a signal. " : "", d, n,
                        l->compared ? ", and the gateway's ledger has them all" : "; the gateway's books were not read");
    } else {
        char who[120];
        if (lost > 0) {
            (void)snprintf(who, sizeof(who), "%zu of %s devices not connected at the end", lost, d);
        } else {
            (void)snprintf(who, sizeof(who), "%s devices, all connected at the end", d);
        }
        figures_verdict(f, FIGURES_BAD, "%s; of %s records %" PRIu64
                        " are delivered, %" PRIu64 " declared lost by devices, %" PRIu64 " waiting, %" PRIu64
                        " lost at the gateway, %" PRIu64 " there that never were%s.", who, n,
                        l->acked - min_u64(l->acked, l->lost), l->gaps, l->waiting, l->lost, l->phantom,
                        a->unasked ? "; its books could not be read" : l->compared ? "" : "; its books were not read");
    }
}

static void put_notes(const struct account *a, struct figures *f)
{
    const struct load *load = a->load;
    if (a->unasked) {
        figures_note(f, FIGURES_ERROR, "The gateway's ledger could not be read: %s", a->why);
    } else if (!a->ledger.compared) {
        figures_note(f, FIGURES_WARNING,
                     "The gateway's ledger was not read: --gateway_socket names its control socket.");
    }
    const char *text = (const char *)a->complaints.ptr;
    for (size_t at = 0; at < a->complaints.len;) {
        size_t len = strcspn(text + at, "\n");
        figures_note(f, FIGURES_ERROR, "%.*s", (int)len, text + at);
        at += len + 1;
    }
    if (load->lost_links > 0) {
        figures_note(f, FIGURES_WARNING, "%" PRIu64 " links went that nobody here had cut; the last reason: %s",
                     load->lost_links, load->reason);
    }
    if (a->never + a->gone > 0 && load->refusal[0] != '\0') {
        figures_note(f, FIGURES_ERROR, "A device that could not connect was told: %s", load->refusal);
    }
    if (a->ledger.gaps > 0) {
        figures_note(f, FIGURES_WARNING,
                     "%" PRIu64 " records were declared lost (a device's store overflowed): give them more room "
                     "(classes.NAME.store).", a->ledger.gaps);
    }
    if (load->missed > 0) {
        figures_note(f, FIGURES_WARNING,
                     "%" PRIu64 " samples were left out: this machine is too slow for the scenario.", load->missed);
    }
}

static void put_headlines(const struct account *a, struct figures *f)
{
    size_t lost = a->never + a->gone;
    figures_headline(f, "acked_per_s", FIGURES_PLAIN);
    figures_headline(f, "latency_p50_us", FIGURES_PLAIN);
    figures_headline(f, "latency_p99_us", FIGURES_PLAIN);
    bool holes = a->ledger.lost > 0 || a->ledger.gaps > 0;
    figures_headline(f, a->ledger.lost > 0 ? "lost" : a->ledger.gaps > 0 ? "gaps" : "waiting",
                     holes || a->ledger.waiting > 0 ? FIGURES_ALARMING : FIGURES_FINE);
    figures_headline(f, a->never > 0 ? "never_connected" : "gone", lost == 0 ? FIGURES_FINE : FIGURES_ALARMING);
    figures_headline(f, "bytes_per_device",
                     bytes_per_device(a->load) <= BYTES_PER_DEVICE_MAX ? FIGURES_FINE : FIGURES_PLAIN);
}

/* ---- the report ---- */

static enum err make_figures(const struct account *a, struct figures **ret_figures)
{
    const struct scenario *s = a->load->scenario;
    char title[120], when[64] = "", n[FIGURES_SHORT], t[FIGURES_SHORT];
    (void)snprintf(title, sizeof(title), "%s devices for %s", figures_show_count((double)s->devices, n),
                   figures_show_duration(s->for_us, t));
    time_t wall = (time_t)(loop_wall_us(a->load->loop) / SECOND_US);
    struct tm tm;
    if (gmtime_r(&wall, &tm) != NULL) {
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &tm);
    }
    TRY(figures_new(title, when, ret_figures));
    struct figures *f = *ret_figures;
    put_verdict(a, f);
    put_delivery(a, f);
    put_devices(a, f);
    put_speed(a, f);
    put_memory(a, f);
    put_actors(a, f);
    put_headlines(a, f);
    put_notes(a, f);
    put_plots(a, f);
    put_settings(a, f);
    return OK;
}

/* False when the report did not get where it was to go. */
static bool print(const struct account *a, const struct figures *f)
{
    BUFFER(out, FIGURES_HTML_MAX);
    const struct scenario *s = a->load->scenario;
    if (s->json) {
        figures_render_json(f, &out);
    } else {
        figures_render_text(f, WIDTH, &out);
    }
    struct fault fault = {.text = ""};
    bool printed = buffer_err(&out) == OK && fwrite(out.ptr, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    if (!printed) {
        load_say(a->load, "the report could not be written to standard output: %s",
                 buffer_err(&out) != OK ? err_name(buffer_err(&out)) : strerror(errno));
    }
    if (s->html != NULL && s->html[0] != '\0' && figures_save_html(f, s->html, &fault) != OK) {
        load_say(a->load, "%s", fault.text);
        return false;
    }
    return printed;
}

int account_give(struct load *load)
{
    struct account a = {.load = load};
    buffer_init(&a.complaints, 64 * 1024);
    close_devices(&a);
    books_count(load->books, load->devices, &a.ledger);
    ask_gateway(&a);
    CLEANUP(figures_freep) struct figures *figures = NULL;
    enum err err = make_figures(&a, &figures);
    bool shown = false;
    if (err == OK) {
        shown = print(&a, figures);
    } else {
        load_say(load, "no report: %s", err_name(err));
    }
    bool good = shown && !load->interrupted && a.ledger.gaps == 0 && load->failure[0] == '\0' && a.never + a.gone == 0 && nothing_lost(&a);
    buffer_deinit(&a.complaints);
    return good ? 0 : 1;
}
