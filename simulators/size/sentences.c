/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer in a few sentences, the way one would say it to somebody who has to decide; what does not work is said
 * first of all in its sentence.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "simulators/size/lines.h"

#define T(value) line_value(LINE_SECONDS, value).t
#define N(value) line_value(LINE_COUNT, value).t
#define B(value) line_value(LINE_BYTES, value).t
#define R(value) line_value(LINE_BYTES_PER_S, value).t

#define RECONNECT_MEAN_S 15 /* back-off up to 30 s with full jitter: core/bus */
#define WASTE 0.75          /* pages filled less are worth a word */

static void PRINTF_LIKE(2, 3) say(struct lines *l, const char *text, ...)
{
    if (l->sentences == SENTENCES_MAX) {
        return;
    }
    va_list args;
    va_start(args, text);
    vsnprintf(l->sentence[l->sentences++], SENTENCE_MAX, text, args);
    va_end(args);
}

static void say_buffers(const struct size_answer *a, struct lines *l)
{
    say(l,
        "A device alone keeps everything for %s; alarms have room of their own for %s. A gateway without its parent "
        "keeps "
        "everything for %s, then pushes back and its devices keep it: the first record is dropped, and declared, after "
        "%s.",
        T(a->device_bulk.lasts_s), T(a->device_alarm.lasts_s), T(a->gateway_bulk.lasts_s), T(a->uplink_out.buffer_s));
    const struct size_entry *e = &a->device_bulk.entry;
    if (e->bytes / e->page_bytes < WASTE) {
        say(l,
            "Records of %s waste room: a page is filled to %.0f %% only. Records below 1,300 bytes, or of just under "
            "4,050, "
            "fill pages better: change report.samples.",
            B(e->body), 100 * e->bytes / e->page_bytes);
    }
}

static void drained(const struct size_drain *d, char *text, size_t size)
{
    if (d->backlog <= 0) {
        snprintf(text, size, "nothing is left to drain");
    } else if (d->rate <= d->live) {
        snprintf(text, size, "it never drains: %s records/s pass at most and %s come in", N(d->rate), N(d->live));
    } else {
        snprintf(text, size, "the backlog of %s records drains in %s at %s times the live rate", N(d->backlog),
                 T(d->lasts_s), N(d->multiple));
    }
}

static void say_outage(const struct size_input *in, const struct size_outage *o, const char *what, struct lines *l)
{
    char drain[256];
    drained(&o->drain, drain, sizeof drain);
    if (isinf(in->outage_s)) {
        say(l, "An endless outage of %s loses everything beyond what fits, declared; after its end %s.", what, drain);
    } else if (in->outage_s <= 0) {
        say(l, "Without an outage of %s nothing is held back and nothing is lost.", what);
    } else if (o->lost > 0) {
        say(l, "An outage of %s of %s loses the oldest %s of it, %s records, declared as a gap; %s.", T(in->outage_s),
            what, T(o->lost_s), N(o->lost), drain);
    } else {
        say(l, "An outage of %s of %s loses nothing; %s.", T(in->outage_s), what, drain);
    }
}

static void say_links(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    double device = in->device_rate / fmax(a->device_link.up, 1e-9),
           uplink = in->uplink_rate / fmax(a->uplink.up, 1e-9);
    if (device < 1) {
        say(l, "A device's link is too slow: live traffic is %s and it carries %s. Its store fills without any outage.",
            R(a->device_link.up), R(in->device_rate));
    }
    if (uplink < 1) {
        say(l,
            "The uplink is too slow: live traffic of %s devices is %s and it carries %s. The stores fill without any "
            "outage.",
            N(a->devices_each), R(a->uplink.up), R(in->uplink_rate));
    }
    say(l,
        "A month costs %s on a device's link and %s on each uplink. A device's disk takes %s a day (its store "
        "rewritten %s "
        "times a year), a gateway's %s (%s times).",
        B(a->device_link.up_month + a->device_link.down_month), B(a->uplink.up_month + a->uplink.down_month),
        B(a->device_written_day), N(a->device_rewrites_year), B(a->gateway_written_day), N(a->gateway_rewrites_year));
}

static void say_gateways(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    static const char *const words[SIZE_BOUNDS] = {
        [SIZE_BY_BROKER] = "its broker's processor",        [SIZE_BY_GATEWAY] = "its own processor",
        [SIZE_BY_CONNECTIONS] = "its broker's connections", [SIZE_BY_FLEET] = "its table of devices",
        [SIZE_BY_FLUSHES] = "its disk's flushes",           [SIZE_BY_UPLINK] = "its uplink"};
    double most = a->devices_max[a->bound];
    if (most < 1) {
        say(l, "Not even one device fits a gateway with headroom %s: %s is the bound.", N(in->headroom),
            words[a->bound]);
    } else if (a->devices_each > most) {
        say(l, "%s gateways are too few: each would have %s devices and carries %s (the nearest bound is %s).",
            N(a->gateways), N(a->devices_each), N(most), words[a->bound]);
    } else {
        say(l, "%s devices need %s gateway%s of up to %s devices; the nearest bound is %s.", N(in->devices),
            N(a->gateways), a->gateways > 1 ? "s" : "", N(most), words[a->bound]);
    }
}

static void say_wanted(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    if (in->wanted_buffer_s > 0) {
        say(l,
            "To keep everything for %s: device.store %s, gateway.store %s (one of the two is enough for an uplink's "
            "outage).",
            T(in->wanted_buffer_s), B(a->wanted_device_store), B(a->wanted_gateway_store));
    }
    if (in->wanted_drain_s > 0) {
        char device[96], uplink[96];
        snprintf(device, sizeof device, isinf(a->wanted_device_rate) ? "no link is fast enough%.0s" : "device.link %s",
                 R(a->wanted_device_rate));
        snprintf(uplink, sizeof uplink,
                 isinf(a->wanted_uplink_rate) ? "no uplink is fast enough%.0s" : "uplink.link %s",
                 R(a->wanted_uplink_rate));
        say(l, "To drain within %s after that outage: %s; %s.", T(in->wanted_drain_s), device, uplink);
    }
}

void lines_say(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    say_buffers(a, l);
    say_outage(in, &a->plant, "the devices' links", l);
    say_outage(in, &a->uplink_out, "the uplink", l);
    say(l, "Before a drain begins, a peer finds the link again: %d s on average, 30 s at most.", RECONNECT_MEAN_S);
    say_gateways(in, a, l);
    say_links(in, a, l);
    say_wanted(in, a, l);
}
