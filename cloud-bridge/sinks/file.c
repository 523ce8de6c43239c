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

#include "cloud-bridge/sinks/file_internal.h"
#include "core/base/json.h"

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

static void put_time(struct json *j, const char *key, uint64_t wall_us)
{
    char text[SINK_TIME_BYTES];
    sink_time(wall_us, text);
    json_str(j, key, text);
}

static void put_block(struct json *j, const struct sink_reader *r)
{
    const Weir__V1__Block *block = r->record->block;
    uint64_t wall_us = block->wall_us;
    json_u64(j, "set", block->set);
    json_u64(j, "quality", (uint64_t)block->quality);
    json_array(j, "readings");
    for (size_t i = 0; i < r->samples; i++) {
        wall_us += (uint64_t)r->times[i];
        json_object(j, NULL);
        put_time(j, "ts", wall_us);
        json_array(j, "values");
        for (size_t c = 0; c < r->channels; c++) {
            int64_t multiple = r->values[c * r->samples + i];
            if (multiple == BLOCK_MISSING) {
                json_str(j, NULL, NULL);
            } else {
                json_f64(j, NULL, sink_value(multiple, r->resolutions[c]));
            }
        }
        json_array_end(j);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_describe(struct json *j, const Weir__V1__Describe *d)
{
    json_u64(j, "set", d->set);
    json_hex(j, "config", d->config);
    json_hex(j, "model", d->model);
    json_str(j, "software", d->software);
    json_str(j, "source", d->source);
    json_array(j, "channels");
    for (size_t i = 0; i < d->n_channel; i++) {
        json_object(j, NULL);
        json_str(j, "name", d->channel[i]->name);
        json_str(j, "unit", d->channel[i]->unit);
        json_f64(j, "resolution", d->channel[i]->resolution);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_event(struct json *j, const Weir__V1__Event *e)
{
    put_time(j, "ts", e->wall_us);
    json_str(j, "severity", sink_severity_name(e->severity));
    json_str(j, "id", e->id);
    json_str(j, "text", e->text);
    json_str(j, "channel", e->channel);
    json_f64(j, "value", e->value);
}

static void put_health(struct json *j, const Weir__V1__Health *h)
{
    put_time(j, "ts", h->wall_us);
    json_u64(j, "uptime_s", h->uptime_s);
    json_u64(j, "rss_bytes", h->rss_bytes);
    json_u64(j, "store_used_bytes", h->store_used_bytes);
    json_u64(j, "store_cap_bytes", h->store_cap_bytes);
    json_u64(j, "records", h->records);
    json_u64(j, "gaps", h->gaps);
    json_u64(j, "connects", h->connects);
    json_u64(j, "samples", h->samples);
}

static void put_unread(struct json *j, const struct sink_reader *r, struct slice record)
{
    static const char hex[] = "0123456789abcdef";
    json_u64(j, "schema", r->schema);
    buffer_put_str(j->out, ",\"record\":\"");
    for (size_t i = 0; i < record.len; i++) {
        buffer_put_u8(j->out, (uint8_t)hex[record.ptr[i] >> 4]);
        buffer_put_u8(j->out, (uint8_t)hex[record.ptr[i] & 15]);
    }
    buffer_put_str(j->out, "\"");
}

static void put_content(struct file_sink *f, const struct wire_forward *fw)
{
    const struct sink_reader *r = &f->reader;
    struct json j;
    json_init(&j, &f->out);
    j.need_comma = true; /* inside the object that begin_line has begun */
    json_str(&j, "gateway", fw->gateway);
    put_time(&j, "received", fw->received_us);
    switch (r->kind) {
    case SINK_BLOCK:
        put_block(&j, r);
        break;
    case SINK_EVENT:
        put_event(&j, r->record->event);
        break;
    case SINK_HEALTH:
        put_health(&j, r->record->health);
        break;
    case SINK_GAP:
        json_str(&j, "reason", sink_reason_name(r->record->gap->reason));
        break;
    case SINK_SUPPRESSED:
        json_str(&j, "rule", r->record->suppressed->rule);
        json_u64(&j, "rule_version", r->record->suppressed->rule_version);
        break;
    case SINK_DESCRIBE:
        put_describe(&j, r->record->describe);
        break;
    case SINK_UNREAD:
        put_unread(&j, r, fw->record);
        break;
    }
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
    put_content(f, fw);
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

/* Makes the directory's own name durable. One that was there may stand where we cannot look: its maker has seen to it. */
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
