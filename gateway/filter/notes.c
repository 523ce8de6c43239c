/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes: events that the gateway itself tells, on the same ordered path as its devices' records.
 *
 * A note stands in the hop's own stream, as its gaps do: device and gateway are both the gateway, epoch and number are
 * those of the curated alarm lane. So the sink has it exactly once. A note waits here until a commit has taken it; what
 * a failed commit takes back goes into the next one, with new numbers.
 */
#include <stdio.h>

#include "gateway/filter/filter_internal.h"
#include "proto/receive/receive.h"

enum err filter_note(struct filter *f, const char *id, const char *text, uint64_t *ret_note)
{
    if (f->note_count == FILTER_NOTES) {
        return ERR_FULL;
    }
    struct filter_waiting *note = &f->notes[f->note_count++];
    *note =
        (struct filter_waiting){.wall_us = (uint64_t)loop_wall_us(f->loop), .mono_us = (uint64_t)loop_now_us(f->loop)};
    snprintf(note->id, sizeof(note->id), "%s", id);
    snprintf(note->text, sizeof(note->text), "%s", text);
    filter_kick(f);
    *ret_note = f->notes_done + f->note_count;
    return OK;
}

bool filter_noted(const struct filter *f, uint64_t note)
{
    return note <= f->notes_done;
}

static enum err append_note(struct filter *f, struct filter_waiting *waiting)
{
    const struct receive_note note = {
        .id = waiting->id, .text = waiting->text, .wall_us = waiting->wall_us, .mono_us = waiting->mono_us};
    struct wire_forward forward;
    TRY(receive_hop_note(f->gateway, spool_epoch(f->curated[0]), spool_next(f->curated[0]), &note, &f->record,
                         &forward));
    return filter_append(f, 0, &forward);
}

enum err filter_notes_append(struct filter *f)
{
    for (unsigned i = 0; i < f->note_count; i++) {
        TRY(append_note(f, &f->notes[i]));
        f->notes_appended = i + 1;
    }
    return OK;
}

void filter_notes_settle(struct filter *f, enum err result)
{
    unsigned done = result == OK ? f->notes_appended : 0;
    f->notes_appended = 0;
    f->notes_done += done;
    f->note_count -= done;
    memmove(f->notes, f->notes + done, f->note_count * sizeof(*f->notes));
}
