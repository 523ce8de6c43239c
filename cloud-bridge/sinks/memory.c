/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory sink: for virtual time. A batch is built beside the disk and joined to it at the end, so that a batch is
 * there whole or not at all.
 */
#include "cloud-bridge/sinks/sinks_internal.h"
#include "core/crypt/crypt.h"

struct stream {
    struct sink_mark_key key;
    struct sink_stream stream;
    bool hop;
    struct sink_holes holes;
    struct sink_row *rows;
    size_t count, cap;
    struct stream *next;
};
struct sink_memory_disk {
    enum sink_memory_mode mode;
    struct stream *streams, **end;
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
};
struct memory {
    struct sink_memory_disk *disk; /* borrowed */
    struct sink_marks marks;
    struct sink_reader reader;
};

enum err sink_memory_disk_new(struct sink_memory_disk **ret_disk)
{
    struct sink_memory_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL) {
        return ERR_NOMEM;
    }
    disk->end = &disk->streams;
    *ret_disk = disk;
    return OK;
}

void sink_memory_disk_free(struct sink_memory_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    for (struct stream *s = disk->streams, *next; s != NULL; s = next) {
        next = s->next;
        free(s->rows);
        free(s);
    }
    free(disk);
}

void sink_memory_set_mode(struct sink_memory_disk *disk, enum sink_memory_mode mode)
{
    disk->mode = mode;
}

void sink_memory_foreach(struct sink_memory_disk *disk,
                         void (*fn)(void *arg, const struct sink_stream *stream, bool hop, const struct sink_row *rows,
                                    size_t count),
                         void *arg)
{
    for (struct stream *s = disk->streams; s != NULL; s = s->next) {
        fn(arg, &s->stream, s->hop, s->rows, s->count);
    }
}

/* A mark's id is its stream's place; looked for once per mark and opening. */
static enum err stream_of(struct memory *m, struct sink_mark *mark, struct stream **ret_stream)
{
    struct stream *s = (struct stream *)(intptr_t)mark->id;
    if (s == NULL) {
        for (s = m->disk->streams; s != NULL && memcmp(&s->key, &mark->key, sizeof(s->key)) != 0; s = s->next) {
        }
    }
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            return ERR_NOMEM;
        }
        s->key = mark->key;
        s->stream = mark->stream;
        s->hop = mark->hop;
        *m->disk->end = s;
        m->disk->end = &s->next;
    }
    mark->id = (int64_t)(intptr_t)s;
    *ret_stream = s;
    return OK;
}

static enum err add_row(struct stream *s, const struct sink_row *row)
{
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct sink_row *rows = realloc(s->rows, cap * sizeof(*rows));
        if (rows == NULL) {
            return ERR_NOMEM;
        }
        s->rows = rows;
        s->cap = cap;
    }
    s->rows[s->count++] = *row;
    return OK;
}

/* A hole is a row; what is filled is cut out of it. The last that holds first..last: the rest of a split stands
 * behind. */
static enum err cut_hole(struct stream *s, uint64_t first, uint64_t last)
{
    for (size_t i = s->count; i > 0; i--) {
        struct sink_row *row = &s->rows[i - 1], above;
        if (row->kind != SINK_GAP || row->reason != WEIR__V1__GAP_REASON__UPSTREAM_LOST || row->first > first ||
            row->last < last) {
            continue;
        }
        above = *row;
        above.first = last + 1;
        row->last = first - 1;
        if (row->first > row->last) {
            s->count--;
            memmove(row, row + 1, (s->count - (i - 1)) * sizeof(*row));
        }
        return above.first <= above.last ? add_row(s, &above) : OK;
    }
    return ERR_CONFLICT;
}

static enum err write_item(struct memory *m, const struct sink_item *item)
{
    const struct wire_forward *f = &item->forward;
    struct sink_mark *mark = sink_marks_find(&m->marks, f->device, f->epoch);
    struct sink_step step;
    struct stream *s = NULL;
    if (f->first > f->last) {
        return OK;
    }
    if (mark == NULL) {
        TRY(sink_marks_add(&m->marks, f->device, f->epoch, f->lane, receive_is_hop(f), &mark));
    }
    sink_mark_step(mark, f, &step);
    if (step.skip) {
        return OK;
    }
    TRY(stream_of(m, mark, &s));
    sink_reader_read(&m->reader, f->record);
    if (step.lost_first <= step.lost_last) {
        struct sink_row lost = {.first = step.lost_first,
                                .last = step.lost_last,
                                .kind = SINK_GAP,
                                .reason = WEIR__V1__GAP_REASON__UPSTREAM_LOST};
        TRY(add_row(s, &lost));
    }
    if (step.fill) {
        TRY(cut_hole(s, step.first, step.last));
    }
    struct sink_row row = {.first = step.first,
                           .last = step.last,
                           .late = step.fill,
                           .kind = m->reader.kind,
                           .crc = crypt_crc32c(0, f->record.ptr, f->record.len)};
    if (m->reader.kind == SINK_GAP) {
        row.reason = m->reader.record->gap->reason;
    }
    TRY(add_row(s, &row));
    sink_mark_take(&m->marks, mark, &step, f, m->reader.kind, sink_reader_readings(&m->reader));
    return OK;
}

static enum err memory_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct memory *m = self;
    if (m->disk->mode == SINK_MEMORY_FAILS) {
        return fault_set(reterr, ERR_IO, "the memory sink was told to fail");
    }
    for (size_t i = 0; i < batch->count; i++) {
        enum err err = write_item(m, &batch->items[i]);
        if (err != OK) {
            return fault_set(reterr, err, "the memory sink is out of memory"); /* ends a simulation */
        }
    }
    for (struct sink_mark *mark = m->marks.touched; mark != NULL; mark = mark->next_touched) {
        struct stream *s = NULL;
        TRY(stream_of(m, mark, &s));
        s->stream = mark->stream;
        s->holes = mark->holes;
    }
    sink_marks_settle(&m->marks);
    memcpy(m->disk->epoch, batch->epoch, sizeof(m->disk->epoch));
    memcpy(m->disk->position, batch->position, sizeof(m->disk->position));
    return OK;
}

static enum err memory_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    struct memory *m = self;
    bool forgets = m->disk->mode == SINK_MEMORY_WITHOUT_MARK;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        ret_position[i] = !forgets && m->disk->epoch[i] == epoch[i] ? m->disk->position[i] : 0;
    }
    return OK;
}

static void memory_close(void *self)
{
    struct memory *m = self;
    sink_marks_clear(&m->marks);
    sink_reader_deinit(&m->reader);
    free(m);
}

static const struct sink_ops memory_ops = {
    .name = "memory", .write = memory_write, .position = memory_position, .close = memory_close};

enum err sink_memory_open(struct sink_memory_disk *disk, struct sink *ret_sink)
{
    struct memory *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return ERR_NOMEM;
    }
    m->disk = disk;
    enum err err = sink_reader_init(&m->reader);
    for (struct stream *s = disk->streams; err == OK && s != NULL; s = s->next) {
        struct sink_mark *mark = NULL;
        if (disk->mode == SINK_MEMORY_WITHOUT_MARK) {
            break;
        }
        err = sink_marks_add(&m->marks, s->stream.device, s->stream.epoch, s->stream.lane, s->hop, &mark);
        if (err == OK) {
            mark->stream = s->stream;
            mark->holes = s->holes;
        }
    }
    if (err != OK) {
        memory_close(m);
        return err;
    }
    *ret_sink = (struct sink){.ops = &memory_ops, .self = m};
    return OK;
}
