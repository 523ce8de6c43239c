/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CSV sink: rows of each kind for batch tools. `records` has one line for every record, whatever its kind, so that
 * every number of a stream is accounted for in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/sinks/csv_internal.h"
#include "cloud-bridge/sinks/load.h"

/* ---- fields ---- */
static void separate(struct buffer *out)
{
    if (out->len > 0 && out->ptr[out->len - 1] != '\n') {
        buffer_put_u8(out, ',');
    }
}

void csv_text(struct buffer *out, const char *text)
{
    separate(out);
    if (strpbrk(text, ",\"\r\n") == NULL) {
        buffer_put_str(out, text);
        return;
    }
    buffer_put_u8(out, '"');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"') {
            buffer_put_u8(out, '"');
        }
        buffer_put_u8(out, (uint8_t)*at);
    }
    buffer_put_u8(out, '"');
}

void csv_u64(struct buffer *out, uint64_t value)
{
    separate(out);
    buffer_printf(out, "%" PRIu64, value);
}

void csv_hex(struct buffer *out, uint64_t value)
{
    separate(out);
    buffer_printf(out, "%016" PRIx64, value);
}

void csv_f64(struct buffer *out, double value)
{
    struct json j;
    separate(out);
    if (value - value == 0) {
        json_init(&j, out);
        json_f64(&j, NULL, value);
    }
}

void csv_time(struct buffer *out, uint64_t wall_us)
{
    char text[SINK_TIME_BYTES];
    sink_time(wall_us, text);
    separate(out);
    buffer_printf(out, "%.23s%03uZ", text, (unsigned)(wall_us % 1000));
}

void csv_end(struct buffer *out)
{
    buffer_put_u8(out, '\n');
}

/* ---- rows ---- */
struct row {
    struct csv_sink *c;
    const struct wire_forward *f;
    const struct sink_names_set *names; /* of the set in hand; NULL = unknown */
    uint64_t number;
    const char *quality;
};

static const char *quality_name(Weir__V1__ClockQuality quality)
{
    switch (quality) {
    case WEIR__V1__CLOCK_QUALITY__UNSYNCED:
        return "unsynced";
    case WEIR__V1__CLOCK_QUALITY__NTP:
        return "ntp";
    case WEIR__V1__CLOCK_QUALITY__GATEWAY:
        return "gateway";
    case _WEIR__V1__CLOCK_QUALITY_IS_INT_SIZE:
        break;
    }
    return "unknown";
}

static void put_channel(struct buffer *out, const struct row *row, uint32_t channel)
{
    if (row->names != NULL && channel < row->names->count) {
        csv_text(out, row->names->name[channel]);
    } else { /* its description has not come yet */
        separate(out);
        buffer_printf(out, "#%u", channel);
    }
}

static void put_unit(struct buffer *out, const struct row *row, uint32_t channel)
{
    csv_text(out, row->names != NULL && channel < row->names->count ? row->names->unit[channel] : "");
}

static enum err put_reading(void *arg, const struct sink_reading *reading)
{
    const struct row *row = arg;
    struct buffer *out = csv_rows(row->c, CSV_READINGS);
    csv_text(out, row->f->device);
    csv_time(out, reading->wall_us);
    put_channel(out, row, reading->channel);
    csv_f64(out, reading->value);
    put_unit(out, row, reading->channel);
    csv_text(out, row->quality);
    csv_hex(out, row->f->epoch);
    csv_u64(out, row->number);
    csv_end(out);
    return buffer_err(out);
}

static enum err put_block(struct row *row)
{
    const struct sink_reader *r = &row->c->reader;
    row->names = sink_names_find(row->c->names, row->f->device, r->block->set);
    row->quality = quality_name(r->block->quality);
    return sink_reader_foreach(r, put_reading, row);
}

static enum err put_windows(struct row *row)
{
    const Weir__V1__Curated *curated = row->c->reader.curated;
    struct buffer *out = csv_rows(row->c, CSV_WINDOWS);
    row->names = sink_names_find(row->c->names, row->f->device, curated->set);
    for (size_t i = 0; i < curated->n_window; i++) {
        const Weir__V1__Window *w = curated->window[i];
        double quantiles[SINK_QUANTILES];
        csv_text(out, row->f->device);
        csv_time(out, w->start_us);
        csv_u64(out, w->length_us);
        put_channel(out, row, w->channel);
        put_unit(out, row, w->channel);
        csv_text(out, w->rule);
        csv_u64(out, w->count);
        csv_f64(out, w->mean);
        csv_f64(out, sink_window_std(w));
        csv_f64(out, w->min);
        csv_f64(out, w->max);
        csv_u64(out, w->partial);
        csv_u64(out, w->late);
        csv_hex(out, curated->rules);
        csv_hex(out, row->f->epoch);
        csv_u64(out, row->number);
        (void)sink_window_quantiles(w, quantiles);
        for (unsigned q = 0; q < SINK_QUANTILES; q++) {
            csv_f64(out, quantiles[q]);
        }
        csv_end(out);
    }
    return buffer_err(out);
}

static enum err put_event(struct row *row)
{
    const Weir__V1__Event *e = row->c->reader.record->event;
    struct buffer *out = csv_rows(row->c, CSV_EVENTS);
    csv_text(out, row->f->device);
    csv_time(out, e->wall_us);
    csv_text(out, sink_severity_name(e->severity));
    csv_text(out, e->id);
    csv_text(out, e->text);
    csv_text(out, e->channel);
    csv_f64(out, e->value);
    csv_hex(out, row->f->epoch);
    csv_u64(out, row->number);
    csv_end(out);
    return buffer_err(out);
}

static enum err put_record(struct csv_sink *c, const struct wire_forward *f, uint64_t first, uint64_t last,
                           enum sink_kind kind, const char *why)
{
    struct buffer *out = csv_rows(c, CSV_RECORDS);
    csv_text(out, f->device);
    csv_hex(out, f->epoch);
    csv_u64(out, first);
    csv_u64(out, last);
    csv_text(out, f->lane == 0 ? "alarm" : "bulk");
    csv_text(out, sink_kind_name(kind));
    csv_text(out, why);
    csv_text(out, f->gateway);
    csv_time(out, f->received_us);
    csv_end(out);
    return buffer_err(out);
}

static enum err put_content(struct row *row)
{
    struct csv_sink *c = row->c;
    const struct sink_reader *r = &c->reader;
    if (r->describe != NULL) {
        TRY(sink_journal_describe(c->journal, row->f->device, r->describe));
    }
    if (r->kind == SINK_EVENT) {
        TRY(put_event(row));
    }
    if (r->curated != NULL) {
        TRY(put_windows(row));
    }
    return r->block != NULL ? put_block(row) : OK;
}

/* Why there is nothing else of it: of gaps and suppressed ranges. */
static const char *why(const struct sink_reader *r)
{
    return r->kind == SINK_GAP          ? sink_reason_name(r->record->gap->reason)
           : r->kind == SINK_SUPPRESSED ? r->record->suppressed->rule
                                        : "";
}

static enum err write_item(struct csv_sink *c, const struct sink_item *item, struct fault *reterr)
{
    const struct wire_forward *f = &item->forward;
    struct sink_mark *mark = sink_marks_find(&c->marks, f->device, f->epoch);
    struct sink_step step;
    if (f->first > f->last) {
        return OK;
    }
    if (mark == NULL) {
        TRY(sink_marks_add(&c->marks, f->device, f->epoch, f->lane, receive_is_hop(f), &mark));
        mark->stream.hwm = c->blind ? f->first - 1 : 0;
    }
    sink_item_step(mark, item, &step);
    if (step.skip) {
        return OK;
    }
    if (step.lost_first <= step.lost_last) {
        TRY(put_record(c, f, step.lost_first, step.lost_last, SINK_GAP,
                       sink_reason_name(WEIR__V1__GAP_REASON__UPSTREAM_LOST)));
    }
    sink_reader_read(&c->reader, f->record);
    struct row row = {.c = c, .f = f, .number = step.last};
    TRY(put_content(&row));
    TRY(put_record(c, f, step.first, step.last, c->reader.kind, why(&c->reader)));
    if (!step.replay) {
        sink_mark_take(&c->marks, mark, &step, f, c->reader.kind, 0);
    }
    return csv_flush(c, CSV_FLUSH_BYTES, reterr);
}

/* ---- writing ---- */
static bool rotation_due(const struct csv_sink *c, const struct sink_batch *batch)
{
    uint64_t bytes = 0;
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        bytes += c->parts[k].size;
    }
    bool epoch_changed = false;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        epoch_changed = epoch_changed || c->state.epoch[i] != batch->epoch[i];
    }
    return epoch_changed || bytes >= c->rotate_bytes;
}

/* A lane of a new epoch begins where the batch does. */
static void begin_epochs(struct csv_sink *c, const struct sink_batch *batch)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (c->state.epoch[lane] == batch->epoch[lane]) {
            continue;
        }
        c->from[lane] = batch->position[lane] + 1;
        for (size_t i = batch->count; i > 0; i--) {
            const struct sink_item *item = &batch->items[i - 1];
            c->from[lane] = item->lane == lane && item->position != 0 ? item->position : c->from[lane];
        }
        c->state.epoch[lane] = batch->epoch[lane];
        c->state.position[lane] = c->from[lane] - 1;
    }
}

static enum err write_all(struct csv_sink *c, const struct sink_batch *batch, struct fault *reterr)
{
    if (rotation_due(c, batch)) {
        TRY(csv_rotate(c, reterr));
        begin_epochs(c, batch);
    }
    for (size_t i = 0; i < batch->count; i++) {
        TRY(write_item(c, &batch->items[i], reterr));
    }
    return csv_commit(c, batch->epoch, batch->position, reterr);
}

static enum err csv_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct csv_sink *c = self;
    if (c->damaged) {
        TRY(csv_recover(c, reterr));
    }
    c->damaged = true; /* until all has gone well */
    enum err err = write_all(c, batch, reterr);
    if (err == OK) {
        c->damaged = false;
    } else if (reterr != NULL && reterr->text[0] == '\0') {
        (void)fault_set(reterr, err, "%s: cannot be written: %s", c->dir, err_name(err));
    }
    return err;
}

/* By age: also when nothing comes any more. */
static enum err csv_tick(void *self, int64_t now_us, struct fault *reterr)
{
    struct csv_sink *c = self;
    uint64_t bytes = 0;
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        bytes += c->parts[k].size;
    }
    if (c->damaged || c->rotate_us == 0 || bytes == 0) {
        return OK;
    }
    if (c->begun_us == 0) {
        c->begun_us = now_us;
        return OK;
    }
    if (now_us - c->begun_us < c->rotate_us) {
        return OK;
    }
    c->damaged = true; /* until all has gone well */
    TRY(csv_rotate(c, reterr));
    c->damaged = false;
    return OK;
}

static enum err csv_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    const struct csv_sink *c = self;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        ret_position[i] = c->state.epoch[i] == epoch[i] ? c->state.position[i] : 0;
    }
    return OK;
}

static void csv_free(void *self)
{
    struct csv_sink *c = self;
    if (c == NULL) {
        return;
    }
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        if (c->parts[k].fd >= 0) {
            close(c->parts[k].fd);
        }
        buffer_deinit(&c->parts[k].out);
    }
    if (c->dir_fd >= 0) {
        close(c->dir_fd);
    }
    sink_journal_free(c->journal);
    sink_marks_clear(&c->marks);
    sink_names_free(c->names);
    sink_reader_deinit(&c->reader);
    free(c);
}
DEFINE_CLEANUP(void, csv_free)

/* An orderly end puts what there is into place. */
static void csv_close(void *self)
{
    struct csv_sink *c = self;
    if (!c->damaged && csv_rotate(c, NULL) != OK) {
        /* it is done on the next opening */
    }
    csv_free(c);
}

static const struct sink_ops csv_ops = {
    .name = "csv", .write = csv_write, .position = csv_position, .close = csv_close, .tick = csv_tick};

enum err sink_csv_open(const struct sink_csv_settings *settings, const char *bridge, struct sink *ret_sink,
                       struct fault *reterr)
{
    struct csv_sink *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    c->dir_fd = -1;
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        c->parts[k].fd = -1;
        buffer_init(&c->parts[k].out, CSV_BUFFER_MAX);
    }
    CLEANUP(csv_freep) void *guard = c;
    const char *path = settings->path;
    c->rotate_bytes = (uint64_t)settings->rotate;
    c->rotate_us = settings->rotate_age_us;
    snprintf(c->bridge, sizeof(c->bridge), "%s", bridge);
    if (sink_reader_init(&c->reader) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    if (snprintf(c->dir, sizeof(c->dir), "%s", path) >= (int)sizeof(c->dir) - 64) {
        return fault_set(reterr, ERR_RANGE, "%s: path too long", path);
    }
    if (mkdir(path, 0750) != 0 && errno != EEXIST) {
        return fault_set(reterr, ERR_IO, "%s: cannot be made: %s", path, strerror(errno));
    }
    c->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir_fd < 0) {
        return fault_set(reterr, ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    TRY(csv_recover(c, reterr));
    *ret_sink = (struct sink){.ops = &csv_ops, .self = take(guard)};
    return OK;
}
