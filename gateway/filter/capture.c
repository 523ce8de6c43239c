/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures: curate says from when to when raw rows of a stream are wanted; here they are copied from the ring.
 *
 * Per stream the places of the newest records are known (FILTER_RECENT). A trigger asks for those that overlap;
 * what comes while the capture is open is asked for as it comes. Copies are made at the end of a batch, since the
 * raw spool is being read until then. A place that the ring has lost is left out; no place is copied twice.
 */
#include "gateway/filter/filter_internal.h"

#include <stdio.h>

#include "core/crypt/crypt.h"

bool filter_record_times(struct slice record, uint64_t *ret_from_us, uint64_t *ret_to_us)
{
    return curate_record_times(record, ret_from_us, ret_to_us);
}

static enum err ask(struct filter *f, struct filter_stream *s, const struct rule *rule, uint64_t position)
{
    if (f->copy_count == f->copy_cap) {
        size_t cap = f->copy_cap == 0 ? 64 : 2 * f->copy_cap;
        struct filter_copy *copies = realloc(f->copies, cap * sizeof(*copies));
        if (copies == NULL) {
            return ERR_NOMEM;
        }
        f->copies = copies;
        f->copy_cap = cap;
    }
    f->copies[f->copy_count++] = (struct filter_copy){.stream = s, .rule = rule, .position = position};
    return OK;
}

static void remember(struct filter_stream *s, const struct filter_place *place, bool asked)
{
    if (s->recent_count == FILTER_RECENT) {
        memmove(s->recent, s->recent + 1, (FILTER_RECENT - 1) * sizeof(*s->recent));
        s->recent_count--;
        s->asked >>= 1;
    }
    s->asked |= (uint64_t)asked << s->recent_count;
    s->recent[s->recent_count++] = *place;
}

/* Places of before, each once: the first rule that asks names the copy. */
static enum err ask_back(struct filter *f, struct filter_stream *s, const struct curate_capture *c)
{
    for (unsigned k = 0; k < s->recent_count; k++) {
        if (s->recent[k].to_us >= c->from_us && s->recent[k].from_us < c->to_us && (s->asked >> k & 1) == 0) {
            s->asked |= UINT64_C(1) << k;
            TRY(ask(f, s, c->rule, s->recent[k].position));
        }
    }
    return OK;
}

static bool last_of_rule(const struct curate_result *result, unsigned i)
{
    for (unsigned k = i + 1; k < result->capture_count; k++) {
        if (result->captures[k].rule == result->captures[i].rule) {
            return false;
        }
    }
    return true;
}

/* Tells that a device is to sample faster: one of our own, and only where the capture is not over yet. */
static void tell(struct filter *f, const struct wire_forward *forward, const struct filter_place *place,
                 const struct curate_result *result)
{
    if (f->handlers.on_capture == NULL || strcmp(forward->gateway, f->gateway) != 0) {
        return;
    }
    for (unsigned i = 0; i < result->capture_count; i++) {
        const struct curate_capture *c = &result->captures[i];
        if ((c->rule->faster == 0 && c->rule->every_us == 0) || c->to_us <= place->to_us || !last_of_rule(result, i)) {
            continue;
        }
        uint64_t id = mix_u64(forward->epoch ^ mix_u64(forward->first ^ mix_u64(c->rule->index + UINT64_C(1))));
        f->handlers.on_capture(f->handlers.arg, &(struct filter_capture){.device = forward->device,
                                                                         .rule = c->rule,
                                                                         .until_us = c->to_us,
                                                                         .id = id != 0 ? id : 1});
    }
}

enum err filter_capture_note(struct filter *f, struct filter_stream *s, const struct wire_forward *forward,
                             uint64_t position, const struct curate_result *result)
{
    struct filter_place place = {.position = position};
    if (!f->may_capture || !filter_record_times(forward->record, &place.from_us, &place.to_us)) {
        return OK;
    }
    /* An end farther ahead than a trigger can ask for was told by a clock that has been set back since. */
    bool open = s->capture_rule != NULL && place.from_us < s->capture_until_us &&
                s->capture_until_us - place.from_us <= (uint64_t)(s->capture_rule->after_us + MINUTE_US);
    s->capture_rule = open ? s->capture_rule : NULL;
    s->capture_until_us = open ? s->capture_until_us : 0;
    tell(f, forward, &place, result);
    for (unsigned i = 0; i < result->capture_count; i++) {
        const struct curate_capture *c = &result->captures[i];
        TRY(ask_back(f, s, c));
        if (s->capture_rule == NULL || c->to_us > s->capture_until_us) {
            s->capture_rule = c->rule;
            s->capture_until_us = c->to_us;
        }
    }
    if (s->capture_rule != NULL) {
        TRY(ask(f, s, s->capture_rule, position));
    }
    remember(s, &place, s->capture_rule != NULL);
    return OK;
}

struct copying {
    struct filter *filter;
    const struct filter_copy *copy;
    struct wire_forward forward;
    bool found;
    enum err err;
};

static bool on_place(void *arg, const struct spool_entry *entry)
{
    struct copying *c = arg;
    struct filter *f = c->filter;
    if (entry->damaged || entry->last != c->copy->position || wire_forward_decode(entry->body, &c->forward) != OK) {
        return false;
    }
    struct slice record;
    c->err = curate_capture_record(f->curate, c->copy->stream->state, c->copy->rule, c->forward.record, &record);
    if (c->err == OK) {
        c->forward.record = record; /* curate's own memory */
        c->found = true;
    }
    return false;
}

/* The next record of the stream of captures. */
static enum err put(struct filter *f, struct filter_stream *s, struct wire_forward *forward)
{
    if (s->capture_epoch == 0) {
        s->capture_epoch = loop_random(f->loop) | 1;
        s->capture_next = 1;
    }
    forward->epoch = s->capture_epoch;
    forward->first = forward->last = forward->top = s->capture_next++;
    forward->lane = 0;
    snprintf(forward->gateway, sizeof(forward->gateway), "%s", f->gateway);
    return filter_append(f, 0, forward);
}

/* Captures overtake the stream that they are of: what their channels are goes ahead of them. */
static enum err describe(struct filter *f, struct filter_stream *s, const struct wire_forward *of)
{
    struct wire_forward forward = *of;
    enum err err = curate_describe(f->curate, s->state, &forward.record);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    uint32_t set = crypt_crc32c(1, forward.record.ptr, forward.record.len);
    if (set == s->capture_set) {
        return OK;
    }
    s->capture_set = set;
    return put(f, s, &forward);
}

static enum err copy_one(struct filter *f, const struct filter_copy *copy)
{
    struct copying c = {.filter = f, .copy = copy};
    struct filter_stream *s = copy->stream;
    TRY(spool_read(f->raw[1], copy->position, on_place, &c));
    if (c.err != OK && c.err != ERR_MALFORMED) {
        return c.err;
    }
    if (!c.found) {
        return OK;
    }
    buffer_reset(&f->record); /* curate's memory is used again for the description */
    buffer_put_slice(&f->record, c.forward.record);
    TRY(buffer_err(&f->record));
    TRY(describe(f, s, &c.forward));
    c.forward.record = buffer_slice(&f->record);
    s->counts.captured++;
    f->stats.captured++;
    return put(f, s, &c.forward);
}

enum err filter_capture_copy(struct filter *f)
{
    for (size_t i = 0; i < f->copy_count; i++) {
        TRY(copy_one(f, &f->copies[i]));
    }
    f->copy_count = 0;
    return OK;
}
