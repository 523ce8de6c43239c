/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file sink: a batch is lines at the end of the newest file, the last of them with the commit, then one fsync.
 * A write that fails is undone by opening the file anew, as after a crash.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/sinks/encode.h"
#include "cloud-bridge/sinks/file_internal.h"

/* The beginning is read again on opening (file_open.c, read_record): its order is fixed. The end is left open,
 * since the last line of the batch gets the commit. */
static void begin_line(struct file_sink *f, const struct sink_item *item, uint64_t first, uint64_t last,
                       const char *kind)
{
    if (f->line_open) {
        buffer_put_str(&f->out, "}\n");
    }
    f->line_open = true;
    const struct wire_forward *fw = &item->forward;
    buffer_printf(&f->out,
                  "{\"lane\":%u,\"position\":%" PRIu64 ",\"device\":\"%s\",\"epoch\":\"%016" PRIx64
                  "\",\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"hop\":%u,\"kind\":\"%s\"",
                  item->lane, item->position, fw->device, fw->epoch, first, last, receive_is_hop(fw) ? 1U : 0U, kind);
}

static enum err write_item(struct file_sink *f, const struct sink_item *item)
{
    const struct wire_forward *fw = &item->forward;
    struct sink_mark *mark = sink_marks_find(&f->marks, fw->device, fw->epoch);
    struct sink_step step;
    if (fw->first > fw->last) {
        return OK;
    }
    if (mark == NULL) {
        TRY(sink_marks_add(&f->marks, fw->device, fw->epoch, fw->lane, receive_is_hop(fw), &mark));
    }
    sink_mark_step(mark, fw, &step);
    if (step.skip) {
        return OK;
    }
    if (step.lost_first <= step.lost_last) {
        begin_line(f, item, step.lost_first, step.lost_last, sink_kind_name(SINK_GAP));
        buffer_printf(&f->out, ",\"reason\":\"%s\"", sink_reason_name(WEIR__V1__GAP_REASON__UPSTREAM_LOST));
    }
    sink_reader_read(&f->reader, fw->record);
    begin_line(f, item, step.first, step.last, sink_kind_name(f->reader.kind));
    struct json j;
    json_init(&j, &f->out);
    j.need_comma = true; /* inside the object that begin_line has begun */
    sink_record_json(&j, &f->reader, fw, NULL);
    sink_mark_take(&f->marks, mark, &step, fw, f->reader.kind, 0);
    return f->out.len > FILE_FLUSH_BYTES ? file_sink_flush(f) : buffer_err(&f->out);
}

static enum err write_all(struct file_sink *f, const struct sink_batch *batch)
{
    file_sink_begin(f);
    for (size_t i = 0; i < batch->count; i++) {
        TRY(write_item(f, &batch->items[i]));
    }
    if (!f->line_open) {
        return OK; /* nothing new: the position is found again by the marks */
    }
    /* begin_line left the object open; the commit ends it */
    file_sink_put_commit(f, batch->epoch, batch->position);
    TRY(file_sink_flush(f));
    if (fsync(f->fd) != 0) {
        return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    }
    return OK;
}

static enum err file_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct file_sink *f = self;
    if (f->damaged) {
        TRY(file_sink_recover(f, reterr));
        f->damaged = false;
    }
    f->damaged = true; /* until all has gone well */
    if (f->size >= f->rotate_bytes) {
        TRY(file_sink_rotate(f, reterr));
    }
    enum err err = write_all(f, batch);
    if (err != OK) {
        return fault_set(reterr, err, "%s: file %u cannot be written: %s", f->dir, f->number, err_name(err));
    }
    f->damaged = false;
    f->size = f->written;
    memcpy(f->epoch, batch->epoch, sizeof(f->epoch));
    memcpy(f->position, batch->position, sizeof(f->position));
    sink_marks_settle(&f->marks);
    return OK;
}

static enum err file_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    struct file_sink *f = self;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        ret_position[i] = f->epoch[i] == epoch[i] ? f->position[i] : 0;
    }
    return OK;
}

static void file_close(void *self)
{
    struct file_sink *f = self;
    if (f == NULL) {
        return;
    }
    if (f->fd >= 0) {
        close(f->fd);
    }
    if (f->dir_fd >= 0) {
        close(f->dir_fd);
    }
    buffer_deinit(&f->out);
    sink_marks_clear(&f->marks);
    sink_reader_deinit(&f->reader);
    free(f);
}
DEFINE_CLEANUP(void, file_close)

static const struct sink_ops file_ops = {
    .name = "file", .write = file_write, .position = file_position, .close = file_close};

/* Makes the directory's own name durable. One that was there may stand where we cannot look: its maker has seen to
 * it. */
static enum err sync_name(const struct file_sink *f, bool made)
{
    int above = openat(f->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = above >= 0 && fsync(above) == 0;
    if (above >= 0) {
        close(above);
    }
    return good || !made ? OK : ERR_IO;
}

enum err sink_file_open(const char *path, uint64_t rotate_bytes, struct sink *ret_sink, struct fault *reterr)
{
    struct file_sink *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    f->fd = f->dir_fd = -1;
    CLEANUP(file_closep) void *guard = f;
    buffer_init(&f->out, FILE_BUFFER_MAX);
    f->rotate_bytes = rotate_bytes;
    snprintf(f->dir, sizeof(f->dir), "%s", path);
    if (sink_reader_init(&f->reader) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    bool made = mkdir(path, 0750) == 0;
    if (!made && errno != EEXIST) {
        return fault_set(reterr, ERR_IO, "%s: cannot be made: %s", path, strerror(errno));
    }
    f->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0) {
        return fault_set(reterr, ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    if (sync_name(f, made) != OK) {
        return fault_set(reterr, ERR_IO, "%s: the directory above it cannot be synced: %s", path, strerror(errno));
    }
    TRY(file_sink_recover(f, reterr));
    *ret_sink = (struct sink){.ops = &file_ops, .self = take(guard)};
    return OK;
}
