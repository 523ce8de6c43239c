/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules on trial beside the live ones, and what both would put on the uplink: the same records, the same measure.
 *
 * A stream of the shadow begins with the state that the live rules have of it, as if its rules had come into force
 * then.
 */
#include "core/log/log.h"
#include "gateway/filter/filter_internal.h"

enum { SUPPRESSED_BYTES = 24 }; /* of a record, without the rule's name */

static size_t varint(uint64_t v)
{
    size_t bytes = 1;
    for (; v >= 128; v >>= 7) {
        bytes++;
    }
    return bytes;
}

/* Bytes of a Forward with a record of len bytes: a tag each, the epoch as it is. */
static uint64_t entry_bytes(const struct wire_forward *f, size_t len)
{
    return 2 + strlen(f->device) + 9 + 1 + varint(f->first) + 1 + varint(f->last) + (f->lane != 0 ? 2 : 0) + 1 +
           varint(len) + len + 1 + varint(f->received_us) + 2 + strlen(f->gateway) + 1 + varint(f->top);
}

/* What a record costs on the uplink. Numbers that one rule took in a row are one entry per batch. */
static uint64_t up_bytes(const struct filter *f, struct filter_taking *taking, const struct wire_forward *forward,
                         const struct curate_result *result)
{
    const struct rule *rule = result->outcome == CURATE_DROPPED ? result->rule : NULL;
    bool goes_on = rule != NULL && taking->rule == rule && taking->commit == f->stats.commits;
    *taking = (struct filter_taking){.rule = rule, .commit = f->stats.commits};
    if (rule != NULL) {
        return goes_on ? 0 : entry_bytes(forward, SUPPRESSED_BYTES + strlen(rule->name));
    }
    return entry_bytes(forward, result->outcome == CURATE_SHAPED ? result->record.len : forward->record.len);
}

static void count(struct filter_tally *t, uint64_t in, uint64_t up, const struct curate_result *result)
{
    t->records++;
    t->bytes_in += in;
    t->bytes_up += up;
    t->kept += result->outcome == CURATE_KEPT;
    t->shaped += result->outcome == CURATE_SHAPED;
    t->dropped += result->outcome == CURATE_DROPPED;
    if (result->rule != NULL) {
        t->whole[result->rule->index] += result->outcome == CURATE_DROPPED;
    }
}

void filter_tally_live(struct filter *f, struct filter_stream *s, const struct wire_forward *forward,
                       const struct curate_result *result)
{
    uint64_t up = up_bytes(f, &s->taking, forward, result), in = entry_bytes(forward, forward->record.len);
    count(&f->live, in, up, result);
    if (f->shadow != NULL && s->shadow != NULL) { /* the same records for both */
        count(&f->beside, in, up, result);
    }
}

/* A stream begins where the live one stands. */
static enum err begin(struct filter *f, struct filter_stream *s)
{
    BUFFER(state, FILTER_STATE_MAX);
    TRY(curate_stream_encode(s->state, &state));
    enum err err = curate_stream_new(f->shadow, s->key.device, buffer_slice(&state), &s->shadow);
    if (err == ERR_MALFORMED || err == ERR_CONFLICT) {
        err = curate_stream_new(f->shadow, s->key.device, (struct slice){0}, &s->shadow);
    }
    return err;
}

void filter_shadow_record(struct filter *f, struct filter_stream *s, const struct wire_forward *forward,
                          uint64_t position)
{
    struct curate_result result = {.outcome = CURATE_KEPT};
    if (f->shadow == NULL || position <= f->shadowed[f->lane]) {
        return;
    }
    f->shadowed[f->lane] = position;
    if (s->shadow == NULL && begin(f, s) != OK) {
        return;
    }
    enum err err = curate_record(f->shadow, s->shadow, forward->record, &result);
    if (err == ERR_MALFORMED) { /* as with the live rules: it goes up as it is */
        result = (struct curate_result){.outcome = CURATE_KEPT};
    } else if (err != OK) {
        log_debug("the shadow's rules cannot take a record", KV_STR("device", s->key.device));
        curate_stream_free(take(s->shadow));
        return;
    }
    uint64_t up = up_bytes(f, &s->shadow_taking, forward, &result);
    count(&f->tried, entry_bytes(forward, forward->record.len), up, &result);
}

static void drop_shadow(struct filter *f)
{
    for (struct filter_stream *s = f->streams; s != NULL; s = s->hh.next) {
        curate_stream_free(take(s->shadow));
        s->shadow_taking = (struct filter_taking){.rule = NULL};
    }
    curate_free(take(f->shadow));
    f->shadow_rules = NULL;
}

void filter_tally_begin(struct filter *f, struct filter_tally *tally)
{
    *tally = (struct filter_tally){.since_us = (uint64_t)loop_wall_us(f->loop)};
}

enum err filter_set_shadow(struct filter *f, const struct rules *rules)
{
    struct curate *curate = NULL;
    if (rules != NULL) {
        TRY(filter_make_curate(f, rules, &curate));
    }
    drop_shadow(f);
    memcpy(f->shadowed, f->reached, sizeof(f->shadowed));
    f->shadow = curate;
    f->shadow_rules = rules;
    filter_tally_begin(f, &f->tried);
    filter_tally_begin(f, &f->beside);
    for (size_t i = 0; i < rules_count(f->options.rules); i++) {
        struct curate_rule_stats now;
        curate_stats(f->curate, i, &now);
        f->beside_from[i] = filter_counts_less(&now, &f->rule_again[i]);
    }
    return OK;
}
