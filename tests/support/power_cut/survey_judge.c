/* SPDX-License-Identifier: Apache-2.0 */
/* What was found against what had been promised; what is held by whom, hop by hop. */
#include <inttypes.h>

#include "tests/support/power_cut/survey_internal.h"

static const char gateway_name[] = "gw1";

struct judging {
    struct survey *survey;
    const struct survey *base;
    const struct facts *facts;
    uint64_t stamp;
    struct tally *tally;
};

/* Somebody must have everything up to `promised`. */
static void hold(struct judging *j, const char *stream, uint64_t epoch, const char *who, uint64_t has,
                 uint64_t promised)
{
    j->tally->promises += promised > 0;
    if (has < promised) {
        j->tally->lost += promised - has;
        complain(j->survey, "%s/%016" PRIx64 ": %s has %" PRIu64 ", promised were %" PRIu64, stream, epoch, who, has,
                 promised);
    }
}

static void in_order(struct judging *j, const char *stream, uint64_t low, uint64_t high, const char *what)
{
    if (low > high) {
        j->tally->order++;
        complain(j->survey, "%s: %s %" PRIu64 " > %" PRIu64, stream, what, low, high);
    }
}

static void no_phantom(struct judging *j, const char *stream, const char *who, uint64_t has, uint64_t durable)
{
    if (has > durable) {
        j->tally->phantom += has - durable;
        complain(j->survey, "%s: %s has %" PRIu64 ", the source only %" PRIu64, stream, who, has, durable);
    }
}

/* Every number that the device has given is in each sink or on the way there. */
static void check_cover(struct judging *j, const struct found *f)
{
    static const char *const names[SINKS] = {"weir.db", "files"};
    for (unsigned sink = 0; sink < SINKS; sink++) {
        uint8_t places = (uint8_t)(AT_DEVICE | AT_GATEWAY | AT_BRIDGE | AT_SINK << sink);
        uint64_t lost = 0, example = 0;
        for (uint64_t n = 1; n <= f->durable; n++) {
            if (n >= f->room || (f->at[n] & places) == 0) {
                lost++;
                example = n;
            }
        }
        if (lost > 0) {
            j->tally->lost += lost;
            complain(j->survey, "%s: %" PRIu64 " numbers are nowhere on the way to %s, the last is %" PRIu64, f->key,
                     lost, names[sink], example);
        }
    }
    for (uint64_t n = f->durable + 1; n < f->room; n++) {
        j->tally->phantom += f->at[n] != 0;
    }
}

/* A stream that begins at the gateway: without a hole from 1 on, each number in each sink or on the way there. */
static void judge_captures(struct judging *j, const struct found *f)
{
    uint64_t top = f->room;
    while (top > 0 && (top >= f->room || f->at[top] == 0)) {
        top--;
    }
    for (unsigned sink = 0; sink < SINKS; sink++) {
        uint8_t places = (uint8_t)(AT_GATEWAY | AT_BRIDGE | AT_SINK << sink);
        for (uint64_t n = 1; n <= top; n++) {
            if ((f->at[n] & places) == 0) {
                j->tally->lost++;
                complain(j->survey, "%s: captured %" PRIu64 " of %" PRIu64 " is nowhere", f->key, n, top);
            }
        }
    }
}

static void judge_stream(struct judging *j, const struct found *f)
{
    if (survey_is_captures(f) && facts_promised(j->facts, SENT, f->device, f->epoch, j->stamp) == 0) {
        judge_captures(j, f);
        return;
    }
    const struct found *base = NULL;
    if (j->base != NULL) {
        HASH_FIND_STR(j->base->streams, f->key, base);
    }
    uint64_t sent = facts_promised(j->facts, SENT, f->device, f->epoch, j->stamp);
    uint64_t acked = facts_promised(j->facts, ACKED, f->device, f->epoch, j->stamp);
    hold(j, f->device, f->epoch, f->at_device ? "the device" : "the device, which does not know this epoch,",
         f->durable, max_u64(sent, base != NULL ? base->durable : 0));
    hold(j, f->device, f->epoch, "the gateway", f->gateway_hwm, max_u64(acked, base != NULL ? base->gateway_hwm : 0));
    for (unsigned i = 0; base != NULL && i < SINKS; i++) {
        hold(j, f->device, f->epoch, "a sink", f->sink_hwm[i], base->sink_hwm[i]);
    }
    in_order(j, f->key, f->trimmed, f->gateway_hwm, "trimmed at the device, held by the gateway:");
    no_phantom(j, f->key, "the gateway", f->gateway_hwm, f->durable);
    check_cover(j, f);
}

static void judge_hop(struct judging *j, unsigned lane)
{
    const struct found_lane *g = &j->survey->gateway[lane], *b = &j->survey->bridge[lane];
    uint64_t durable = 0, hwm = 0;
    if (j->base != NULL && j->base->gateway[lane].epoch == g->epoch) {
        durable = j->base->gateway[lane].durable;
        hwm = j->base->gateway[lane].bridge_hwm;
    }
    hold(j, gateway_name, g->epoch, "the gateway", g->durable,
         max_u64(durable, facts_promised(j->facts, SENT, gateway_name, g->epoch, j->stamp)));
    hold(j, gateway_name, g->epoch, "the bridge", g->bridge_hwm,
         max_u64(hwm, facts_promised(j->facts, ACKED, gateway_name, g->epoch, j->stamp)));
    in_order(j, gateway_name, g->trimmed, g->bridge_hwm, "trimmed at the gateway, held by the bridge:");
    no_phantom(j, gateway_name, "the bridge", g->bridge_hwm, g->durable);
    for (unsigned i = 0; i < SINKS; i++) {
        in_order(j, "the bridge's lane", b->trimmed, b->position[i], "trimmed at the bridge, held by a sink:");
        no_phantom(j, "the bridge's lane", "a sink's position", b->position[i], b->durable);
    }
}

/* Streams that were spoken of, but are nowhere. */
static void know_spoken(void *arg, const char *sender, uint64_t epoch)
{
    struct judging *j = arg;
    if (strcmp(sender, gateway_name) != 0) {
        if (facts_promised(j->facts, SENT, sender, epoch, j->stamp) > 0) {
            (void)survey_stream(j->survey, sender, epoch);
        }
        return;
    }
    bool known = false;
    for (unsigned lane = 0; lane < LANES; lane++) {
        known = known || j->survey->gateway[lane].epoch == epoch;
    }
    if (!known) {
        hold(j, sender, epoch, "the gateway, which does not know this epoch,", 0,
             facts_promised(j->facts, SENT, sender, epoch, j->stamp));
    }
}

void survey_judge(struct survey *s, const struct survey *base, const struct facts *facts, uint64_t stamp,
                  struct tally *tally)
{
    struct judging j = {s, base, facts, stamp, tally};
    facts_foreach(facts, know_spoken, &j);
    if (base != NULL) {
        for (const struct found *f = base->streams; f != NULL; f = f->hh.next) {
            (void)survey_stream(s, f->device, f->epoch);
        }
    }
    for (const struct found *f = s->streams; f != NULL; f = f->hh.next) {
        judge_stream(&j, f);
    }
    for (unsigned lane = 0; lane < LANES; lane++) {
        judge_hop(&j, lane);
    }
    tally->lost += s->tally.lost;
    tally->corrupt += s->tally.corrupt;
    tally->duplicated += s->tally.duplicated;
    tally->records += s->tally.records;
}

bool tally_clean(const struct tally *t)
{
    return t->lost + t->corrupt + t->phantom + t->duplicated + t->order == 0;
}
