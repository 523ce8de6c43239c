/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame from the spool. Bodies are copied once: the store's pages are ours only while they are being read.
 *
 * Invariant: the entries of a frame cover first..last without a hole, whatever the spool has to say about them.
 */
#include "core/outbox/outbox_internal.h"

enum { JOINED_MAX = 4096 };

static enum err reserve(struct outbox_frame *frame, const struct outbox_options *options)
{
    if (frame->entries == NULL) {
        buffer_init(&frame->bodies, options->frame_bytes + 2 * SPOOL_BODY_MAX);
        frame->entries = calloc(options->frame_entries, sizeof(*frame->entries));
    }
    if (frame->offsets == NULL) {
        frame->offsets = calloc(options->frame_entries, sizeof(*frame->offsets));
    }
    return frame->entries != NULL && frame->offsets != NULL ? OK : ERR_NOMEM;
}

void outbox_frame_release(struct outbox_frame *frame)
{
    buffer_deinit(&frame->bodies);
    free(take(frame->offsets));
    free(take(frame->entries));
}

/* The body of first..last has been appended at offset. Takes it back and says false when it is too much. */
static bool keep(struct outbox *o, uint64_t first, uint64_t last, size_t offset, bool damaged)
{
    struct outbox_frame *f = &o->frame;
    if (f->err == OK) {
        f->err = buffer_err(&f->bodies);
    }
    if (f->err != OK) {
        return false;
    }
    if (f->count > 0 && f->bodies.len > f->bytes) {
        f->bodies.len = offset;
        return false;
    }
    f->entries[f->count] = (struct spool_entry){.first = first, .last = last, .damaged = damaged};
    f->offsets[f->count] = offset;
    f->count++;
    f->next = last + 1;
    return f->count < o->options.frame_entries && f->next <= f->limit;
}

/* A declared gap in the place of what cannot be sent. */
static bool add_gap(struct outbox *o, uint64_t first, uint64_t last)
{
    struct outbox_frame *f = &o->frame;
    size_t offset = f->bodies.len;
    f->err = o->handlers.on_damaged(o->handlers.arg, first, last, &f->bodies);
    return keep(o, first, last, offset, true);
}

/* The last body has come to stand for both entries. Bounded: a frame does not look at more than so many entries. */
static bool join(struct outbox *o, const struct spool_entry *entry, size_t offset)
{
    struct outbox_frame *f = &o->frame;
    size_t at = f->offsets[f->count - 1], len = f->bodies.len - offset;
    memmove(f->bodies.ptr + at, f->bodies.ptr + offset, len);
    f->bodies.len = at + len;
    f->entries[f->count - 1].last = entry->last;
    f->next = entry->last + 1;
    return ++f->joined < JOINED_MAX && f->next <= f->limit;
}

/* A sound entry, as the owner would have it. */
static bool add_sound(struct outbox *o, const struct spool_entry *entry)
{
    struct outbox_frame *f = &o->frame;
    size_t offset = f->bodies.len;
    bool joined = false;
    if (o->handlers.on_entry == NULL) {
        if (f->count > 0 && offset + entry->body.len > f->bytes) {
            return false;
        }
        buffer_put_slice(&f->bodies, entry->body);
        return keep(o, entry->first, entry->last, offset, false);
    }
    size_t before = f->count > 0 ? f->offsets[f->count - 1] : offset;
    f->err = o->handlers.on_entry(o->handlers.arg, entry, slice_of(f->bodies.ptr + before, offset - before), &joined,
                                  &f->bodies);
    if (joined && f->count > 0 && f->err == OK && buffer_err(&f->bodies) == OK) {
        return join(o, entry, offset);
    }
    return keep(o, entry->first, entry->last, offset, false);
}

static bool add_entry(void *arg, const struct spool_entry *entry)
{
    struct outbox *o = arg;
    struct outbox_frame *f = &o->frame;
    if (entry->first > f->next && !add_gap(o, f->next, min_u64(entry->first - 1, f->limit))) {
        return false;
    }
    if (entry->last > f->limit) { /* held: the part that may go is declared, the entry follows whole */
        return f->count == 0 && add_gap(o, f->next, f->limit);
    }
    if (entry->damaged) {
        return add_gap(o, entry->first, entry->last);
    }
    return add_sound(o, entry);
}

static void begin(struct outbox_frame *f, uint64_t from, uint64_t limit, size_t bytes)
{
    buffer_reset(&f->bodies);
    f->count = 0;
    f->joined = 0;
    f->err = OK;
    f->next = from;
    f->limit = limit;
    f->bytes = bytes;
}

static enum err complete(struct outbox_frame *f)
{
    TRY(f->err);
    for (size_t i = 0; i < f->count; i++) {
        size_t end = i + 1 < f->count ? f->offsets[i + 1] : f->bodies.len;
        f->entries[i].body = slice_of(f->bodies.ptr + f->offsets[i], end - f->offsets[i]);
    }
    return OK;
}

enum err outbox_frame_build(struct outbox *o, uint64_t from)
{
    struct outbox_frame *f = &o->frame;
    TRY(reserve(f, &o->options));
    begin(f, from, window_sender_limit(&o->window),
          (size_t)min_u64(o->options.frame_bytes, window_sender_frame_bytes(&o->window)));
    TRY(spool_read(o->spool, from, add_entry, o));
    if (f->err == OK && f->count == 0) { /* durable, but gone */
        (void)add_gap(o, f->next, f->limit);
    }
    return complete(f);
}

enum err outbox_frame_carrier(struct outbox *o, uint64_t number)
{
    TRY(reserve(&o->frame, &o->options));
    begin(&o->frame, number, number, o->options.frame_bytes);
    (void)add_gap(o, number, number);
    return complete(&o->frame);
}
