/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the ring: the readings of one device, as far as the raw bulk lane still has them.
 *
 * Every question has rules and a stream of its own, so that nothing that is asked moves what is curated. The stream
 * begins with what the live one knows of the device, and learns from the descriptions it comes by. MASKED is the face
 * that the rules give to captures; AS_IT_CAME is that of a file without rules.
 */
#include <stdio.h>

#include "gateway/filter/filter_internal.h"

struct filter_question {
    struct filter *filter;        /* borrowed; NULL: its rules are not in force any more */
    struct rules *no_rules;       /* owned; AS_IT_CAME */
    struct curate *curate;        /* owned */
    struct curate_stream *stream; /* owned; of this epoch */
    uint64_t epoch;
    char device[ID_MAX + 1];
    uint64_t from_us, to_us;
    struct buffer describe; /* as it was handed out last */
    bool told;              /* ... and no other has come since */
    struct filter_page page;
    unsigned left; /* entries of this page */
    bool (*fn)(void *arg, const struct filter_reading *reading);
    void *arg;
    enum err failure;
    struct filter_question *prev, *next;
};

static const struct rule fetched = {.name = "fetch"};

void filter_question_free(struct filter_question *q)
{
    if (q == NULL) {
        return;
    }
    if (q->filter != NULL) {
        DL_DELETE(q->filter->questions, q);
    }
    curate_stream_free(q->stream);
    curate_free(q->curate);
    rules_free(q->no_rules);
    buffer_deinit(&q->describe);
    free(q);
}

void filter_questions_end(struct filter *f)
{
    struct filter_question *q, *next;
    DL_FOREACH_SAFE (f->questions, q, next) {
        DL_DELETE(f->questions, q);
        curate_stream_free(take(q->stream));
        curate_free(take(q->curate));
        q->filter = NULL;
    }
}

enum err filter_question_new(struct filter *f, const char *device, uint64_t from_us, uint64_t to_us,
                             enum filter_face face, struct filter_question **ret_question)
{
    CLEANUP(filter_question_freep) struct filter_question *q = calloc(1, sizeof(*q));
    BUFFER(problems, 1024);
    if (q == NULL) {
        return ERR_NOMEM;
    }
    buffer_init(&q->describe, WIRE_RECORD_MAX);
    snprintf(q->device, sizeof(q->device), "%s", device);
    q->from_us = from_us;
    q->to_us = to_us;
    if (face == FILTER_AS_IT_CAME) {
        TRY(rules_load(NULL, &q->no_rules, &problems));
    }
    TRY(filter_make_curate(f, q->no_rules != NULL ? q->no_rules : f->options.rules, &q->curate));
    q->filter = f;
    DL_APPEND(f->questions, q);
    *ret_question = take(q);
    return OK;
}

/* What the live rules know of the device's stream; nothing known is no failure. */
static enum err live_state(struct filter *f, const struct wire_forward *forward, struct buffer *state)
{
    struct filter_stream *s = NULL, other = {.key = {.epoch = forward->epoch}};
    memcpy(other.key.device, forward->device, strnlen(forward->device, ID_MAX));
    HASH_FIND(hh, f->streams, &other.key, sizeof(other.key), s);
    if (s != NULL && s->state != NULL) {
        return curate_stream_encode(s->state, state);
    }
    TRY(filter_stream_load(f, &other));
    enum err err = curate_stream_encode(other.state, state);
    filter_stream_unload(f, &other);
    return err;
}

static enum err begin_stream(struct filter_question *q, const struct wire_forward *forward)
{
    BUFFER(state, FILTER_STATE_MAX);
    if (q->stream != NULL && q->epoch == forward->epoch) {
        return OK;
    }
    curate_stream_free(take(q->stream));
    q->epoch = forward->epoch;
    q->told = false;
    TRY(live_state(q->filter, forward, &state));
    enum err err = curate_stream_new(q->curate, q->device, buffer_slice(&state), &q->stream);
    return err == OK || err == ERR_NOMEM ? err : curate_stream_new(q->curate, q->device, (struct slice){0}, &q->stream);
}

/* Hands the description out where it is another one. */
static enum err describe(struct filter_question *q, struct filter_reading *reading)
{
    struct slice record;
    if (q->told) {
        return OK;
    }
    enum err err = curate_describe(q->curate, q->stream, &record);
    if (err == ERR_NOT_FOUND) {
        return OK;
    }
    TRY(err);
    q->told = true;
    if (slice_equal(record, buffer_slice(&q->describe))) {
        return OK;
    }
    buffer_reset(&q->describe);
    buffer_put_slice(&q->describe, record);
    reading->describe = buffer_slice(&q->describe);
    return buffer_err(&q->describe);
}

static enum err take_record(struct filter_question *q, const struct wire_forward *forward, bool *ret_on)
{
    struct filter_reading reading = {
        .epoch = forward->epoch, .number = forward->first, .received_us = forward->received_us};
    struct curate_result unused;
    uint64_t from_us, to_us;
    TRY(begin_stream(q, forward));
    if (!filter_record_times(forward->record, &from_us, &to_us)) {
        q->told = false; /* it may be a description */
        enum err err = curate_record(q->curate, q->stream, forward->record, &unused);
        return err == ERR_MALFORMED ? OK : err;
    }
    q->page.oldest_us = q->page.oldest_us == 0 ? from_us : min_u64(q->page.oldest_us, from_us);
    if (from_us > q->to_us || to_us < q->from_us) {
        return OK;
    }
    TRY(describe(q, &reading));
    enum err err = curate_capture_record(q->curate, q->stream, &fetched, forward->record, &reading.record);
    if (err == ERR_MALFORMED) {
        q->page.left_out++;
        q->told = q->told && reading.describe.len == 0;
        if (reading.describe.len > 0) {
            buffer_reset(&q->describe); /* it was not handed out */
        }
        return OK;
    }
    TRY(err);
    *ret_on = q->fn(q->arg, &reading);
    return OK;
}

static bool on_entry(void *arg, const struct spool_entry *entry)
{
    struct filter_question *q = arg;
    struct wire_forward forward;
    bool on = true;
    q->page.cursor = entry->last + 1;
    q->left--;
    if (entry->damaged || wire_forward_decode(entry->body, &forward) != OK) {
        return q->left > 0;
    }
    q->page.ring_us = q->page.ring_us == 0 ? forward.received_us : q->page.ring_us;
    if (strcmp(forward.device, q->device) == 0) {
        q->failure = take_record(q, &forward, &on);
    }
    return on && q->failure == OK && q->left > 0;
}

enum err filter_question_page(struct filter_question *q, uint64_t cursor, unsigned limit,
                              bool (*fn)(void *arg, const struct filter_reading *reading), void *arg,
                              struct filter_page *ret_page)
{
    if (q->filter == NULL) {
        return ERR_CONFLICT;
    }
    if (limit == 0) {
        return ERR_RANGE;
    }
    const struct spool *ring = q->filter->raw[1];
    uint64_t oldest = spool_trimmed(ring) + 1;
    q->page.overtaken |= cursor != 0 && cursor < oldest;
    q->page.cursor = max_u64(cursor, oldest);
    q->left = limit;
    q->fn = fn;
    q->arg = arg;
    q->failure = OK;
    TRY(spool_read(q->filter->raw[1], q->page.cursor, on_entry, q));
    TRY(q->failure);
    *ret_page = q->page;
    if (q->page.cursor > spool_durable(ring)) {
        ret_page->cursor = 0;
    }
    return OK;
}
