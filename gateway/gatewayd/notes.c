/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes: events that the gateway itself tells, on the same ordered path as its devices' records.
 *
 *   gateway_note --with rules--> gateway/filter (its notes.c)
 *                '-- without --> here -> raw alarm lane, in the inbox's batch -> uplink
 *
 * A note stands in the hop's own stream, as its gaps do: device and gateway are both the gateway, epoch and number are
 * those of the lane. It waits here until a commit has taken it: a commit that failed (the inbox counts them) took its
 * number back, and it is appended again. Nothing is appended beyond the store's cap, so that it never makes a batch of
 * others fail.
 */
#include <stdio.h>

#include "core/log/log.h"
#include "gateway/gatewayd/gatewayd_internal.h"
#include "proto/receive/receive.h"
#include "proto/wire/wire.h"

enum { NOTE_ROOM = 64 * 1024 };

static uint64_t failed_commits(const struct gateway *g)
{
    struct inbox_stats stats;
    inbox_stats(ingest_inbox(g->ingest), &stats);
    return stats.failed_commits;
}

static enum err pack(const struct gateway *g, struct gateway_own_note *own, uint64_t number, struct buffer *out)
{
    const struct receive_note note = {
        .id = own->id, .text = own->text, .wall_us = own->wall_us, .mono_us = own->mono_us};
    struct wire_forward forward;
    BUFFER(packed, 1024);
    TRY(receive_hop_note(g->gateway, spool_epoch(g->spools[0]), number, &note, &packed, &forward));
    return wire_forward_encode(&forward, out);
}

static enum err append(struct gateway *g, struct gateway_own_note *note)
{
    BUFFER(body, 2048);
    uint64_t number = 0;
    struct store_usage usage;
    store_usage(g->store, &usage);
    if (usage.used_bytes + NOTE_ROOM > usage.cap_bytes) {
        return ERR_FULL;
    }
    TRY(pack(g, note, spool_next(g->spools[0]), &body));
    struct store_batch *batch = inbox_batch(ingest_inbox(g->ingest));
    if (batch == NULL) {
        return ERR_NOMEM;
    }
    TRY(spool_append(g->spools[0], batch, 1, buffer_slice(&body), &number));
    note->number = number;
    note->failed_commits = failed_commits(g);
    return OK;
}

static void hand_to_filter(struct gateway *g)
{
    uint64_t ignored;
    unsigned done = 0;
    while (done < g->note_count && filter_note(g->filter, g->notes[done].id, g->notes[done].text, &ignored) == OK) {
        done++;
    }
    g->note_count -= done;
    memmove(g->notes, g->notes + done, g->note_count * sizeof(g->notes[0]));
}

/* What a failed commit took back is appended again, before what came after it. */
static void take_back(struct gateway *g)
{
    uint64_t failed = failed_commits(g);
    for (unsigned i = 0; i < g->note_count; i++) {
        struct gateway_own_note *note = &g->notes[i];
        note->number = note->failed_commits == failed ? note->number : 0;
    }
}

static void append_all(void *arg)
{
    struct gateway *g = arg;
    if (g->ingest == NULL || g->note_count == 0) {
        return; /* it is starting; looked at when that is done */
    }
    if (g->filter != NULL) {
        hand_to_filter(g); /* what it does not take yet waits for the next look */
        return;
    }
    take_back(g);
    for (unsigned i = 0; i < g->note_count && !g->holding; i++) {
        enum err err = g->notes[i].number == 0 ? append(g, &g->notes[i]) : OK;
        if (err != OK) {
            log_debug("an event of our own waits", KV_STR("event", g->notes[i].id), KV_ERR(err));
            return;
        }
    }
}

void gateway_notes_look(struct gateway *g)
{
    unsigned done = 0;
    if (g->note_count == 0) {
        return;
    }
    take_back(g);
    while (done < g->note_count && g->notes[done].number != 0 &&
           g->notes[done].number <= spool_durable(g->spools[0])) {
        done++; /* in the order of their numbers */
    }
    g->note_count -= done;
    memmove(g->notes, g->notes + done, g->note_count * sizeof(g->notes[0]));
    if (g->note_count > 0) {
        loop_task_post(&g->note_task);
    }
}

void gateway_notes_init(struct gateway *g)
{
    loop_task_init(&g->note_task, g->loop, append_all, g);
}

enum err gateway_note(struct gateway *g, const char *id, const char *text)
{
    if (g->note_count == GATEWAY_NOTES) {
        return ERR_FULL;
    }
    struct gateway_own_note *note = &g->notes[g->note_count++];
    *note = (struct gateway_own_note){.wall_us = (uint64_t)max_i64(loop_wall_us(g->loop), 0),
                                      .mono_us = (uint64_t)loop_now_us(g->loop)};
    snprintf(note->id, sizeof(note->id), "%s", id);
    snprintf(note->text, sizeof(note->text), "%s", text);
    loop_task_post(&g->note_task);
    return OK;
}
