/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/sinks/csv_internal.h"
#include "core/base/cursor.h"

static const struct {
    const char *name, *part, *head;
} kinds[CSV_KINDS] = {
    [CSV_READINGS] = {"readings", ".readings.part", "device,ts,channel,value,unit,quality,epoch,number\n"},
    [CSV_WINDOWS] =
        {"windows", ".windows.part",
         "device,start,length_us,channel,unit,rule,count,mean,std,min,max,partial,late,rules,epoch,number,"
         "p50,p95,p99\n"},
    [CSV_EVENTS] = {"events", ".events.part", "device,ts,severity,id,text,channel,value,epoch,number\n"},
    [CSV_RECORDS] = {"records", ".records.part", "device,epoch,first,last,lane,kind,why,gateway,received\n"},
};
static const char journal_name[] = ".weir-csv.journal";

/* ---- names ---- */
void csv_name_write(enum csv_kind kind, const char *bridge, const struct csv_range r[INBOX_LANES],
                    char ret_name[CSV_NAME_MAX])
{
    snprintf(ret_name, CSV_NAME_MAX,
             "%s_%s_%016" PRIx64 "-%012" PRIu64 "-%012" PRIu64 "_%016" PRIx64 "-%012" PRIu64 "-%012" PRIu64 ".csv",
             kinds[kind].name, bridge, r[0].epoch, r[0].from, r[0].to, r[1].epoch, r[1].from, r[1].to);
}

enum err csv_name_read(const char *name, const char *bridge, struct csv_range r[INBOX_LANES])
{
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        size_t kind = strlen(kinds[k].name), id = strlen(bridge);
        char again[CSV_NAME_MAX];
        if (strncmp(name, kinds[k].name, kind) != 0 || name[kind] != '_' || strncmp(name + kind + 1, bridge, id) != 0 ||
            sscanf(name + kind + 1 + id,
                   "_%16" SCNx64 "-%19" SCNu64 "-%19" SCNu64 "_%16" SCNx64 "-%19" SCNu64 "-%19" SCNu64, &r[0].epoch,
                   &r[0].from, &r[0].to, &r[1].epoch, &r[1].from, &r[1].to) != 6) {
            continue;
        }
        csv_name_write((enum csv_kind)k, bridge, r, again);
        if (strcmp(again, name) == 0) {
            return OK;
        }
    }
    return ERR_NOT_FOUND;
}

/* ---- the journal's extra: closing u8 | from u64le each lane | size u64le each kind ---- */
static struct slice extra_of(const struct csv_sink *c, const uint64_t sizes[CSV_KINDS], uint8_t bytes[CSV_EXTRA_BYTES])
{
    uint64_t numbers[INBOX_LANES + CSV_KINDS];
    memcpy(numbers, c->from, sizeof(c->from));
    memcpy(numbers + INBOX_LANES, sizes, CSV_KINDS * sizeof(*sizes));
    bytes[0] = c->closing;
    memcpy(bytes + 1, numbers, sizeof(numbers)); /* little-endian: asserted in base.c */
    return slice_of(bytes, CSV_EXTRA_BYTES);
}

static enum err read_extra(struct csv_sink *c)
{
    struct cursor at = cursor_of(slice_of(c->state.extra, c->state.extra_len));
    c->closing = cursor_u8(&at) != 0;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        c->from[i] = cursor_u64le(&at);
    }
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        c->parts[k].size = c->parts[k].written = cursor_u64le(&at);
    }
    return cursor_end(&at);
}

static enum err io_fault(const struct csv_sink *c, const char *name, struct fault *reterr)
{
    enum err err = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    return fault_set(reterr, err, "%s/%s: %s", c->dir, name, strerror(errno));
}

static enum err commit_journal(struct csv_sink *c, const uint64_t sizes[CSV_KINDS], const uint64_t epoch[INBOX_LANES],
                               const uint64_t position[INBOX_LANES], struct fault *reterr)
{
    uint8_t bytes[CSV_EXTRA_BYTES];
    TRY(sink_journal_commit(c->journal, epoch, position, extra_of(c, sizes, bytes), reterr));
    memcpy(c->state.epoch, epoch, sizeof(c->state.epoch));
    memcpy(c->state.position, position, sizeof(c->state.position));
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        c->parts[k].size = c->parts[k].written = sizes[k];
    }
    return OK;
}

/* ---- parts ---- */
static enum err open_part(struct csv_sink *c, unsigned k, struct fault *reterr)
{
    struct csv_part *p = &c->parts[k];
    if (p->fd >= 0) {
        return OK;
    }
    p->fd = openat(c->dir_fd, kinds[k].part, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (p->fd < 0 || ftruncate(p->fd, (off_t)p->size) != 0) {
        return io_fault(c, kinds[k].part, reterr);
    }
    return OK;
}

static enum err write_part(struct csv_sink *c, unsigned k, struct fault *reterr)
{
    struct csv_part *p = &c->parts[k];
    struct slice rest = buffer_slice(&p->out);
    TRY(buffer_err(&p->out));
    TRY(open_part(c, k, reterr));
    while (rest.len > 0) {
        ssize_t n = pwrite(p->fd, rest.ptr, rest.len, (off_t)p->written);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return io_fault(c, kinds[k].part, reterr);
        }
        rest = slice_of(rest.ptr + n, rest.len - (size_t)n);
        p->written += (uint64_t)n;
    }
    buffer_reset(&p->out);
    return OK;
}

struct buffer *csv_rows(struct csv_sink *c, enum csv_kind kind)
{
    struct csv_part *p = &c->parts[kind];
    if (p->written == 0 && p->out.len == 0) {
        buffer_put_str(&p->out, kinds[kind].head);
    }
    return &p->out;
}

enum err csv_flush(struct csv_sink *c, size_t more, struct fault *reterr)
{
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        if (c->parts[k].out.len > more) {
            TRY(write_part(c, k, reterr));
        }
    }
    return OK;
}

enum err csv_commit(struct csv_sink *c, const uint64_t epoch[INBOX_LANES], const uint64_t position[INBOX_LANES],
                    struct fault *reterr)
{
    uint64_t sizes[CSV_KINDS];
    bool created = false;
    TRY(csv_flush(c, 0, reterr));
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        const struct csv_part *p = &c->parts[k];
        sizes[k] = p->written;
        if (p->written > p->size && fsync(p->fd) != 0) {
            return io_fault(c, kinds[k].part, reterr);
        }
        created = created || (p->size == 0 && p->written > 0);
    }
    if (created && fsync(c->dir_fd) != 0) {
        return io_fault(c, "", reterr);
    }
    return commit_journal(c, sizes, epoch, position, reterr);
}

/* ---- closing ---- */
static enum err rename_part(struct csv_sink *c, unsigned k, struct fault *reterr)
{
    struct csv_part *p = &c->parts[k];
    struct csv_range range[INBOX_LANES];
    char name[CSV_NAME_MAX];
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        range[i] = (struct csv_range){.epoch = c->state.epoch[i], .from = c->from[i], .to = c->state.position[i]};
    }
    csv_name_write((enum csv_kind)k, c->bridge, range, name);
    if (p->fd >= 0) {
        if (ftruncate(p->fd, (off_t)p->size) != 0) {
            return io_fault(c, kinds[k].part, reterr);
        }
        close(p->fd);
        p->fd = -1;
    }
    if (renameat(c->dir_fd, kinds[k].part, c->dir_fd, name) != 0 &&
        errno != ENOENT) { /* ENOENT: done before the crash */
        return io_fault(c, kinds[k].part, reterr);
    }
    return OK;
}

enum err csv_rotate(struct csv_sink *c, struct fault *reterr)
{
    const uint64_t none[CSV_KINDS] = {0};
    uint64_t sizes[CSV_KINDS], bytes = 0;
    bool moved = false;
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        sizes[k] = c->parts[k].size;
        bytes += sizes[k];
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        moved = moved || c->state.position[i] >= c->from[i];
    }
    if (bytes > 0 && !moved) {
        return OK;
    }
    if (bytes > 0) {
        c->closing = true;
        TRY(commit_journal(c, sizes, c->state.epoch, c->state.position, reterr));
        for (unsigned k = 0; k < CSV_KINDS; k++) {
            if (sizes[k] > 0) {
                TRY(rename_part(c, k, reterr));
            }
        }
        if (fsync(c->dir_fd) != 0) {
            return io_fault(c, "", reterr);
        }
    }
    c->closing = false;
    c->begun_us = 0;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        c->from[i] = c->state.position[i] + 1;
    }
    return commit_journal(c, none, c->state.epoch, c->state.position, reterr);
}

/* ---- opening ---- */
/* The journal is gone: the newest name says how far the files are. */
static enum err read_names(struct csv_sink *c, struct fault *reterr)
{
    int fd = openat(c->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return io_fault(c, "", reterr);
    }
    uint64_t newest = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct csv_range range[INBOX_LANES];
        if (csv_name_read(e->d_name, c->bridge, range) != OK || range[0].to + range[1].to < newest) {
            continue;
        }
        c->blind = true;
        newest = range[0].to + range[1].to;
        for (unsigned i = 0; i < INBOX_LANES; i++) {
            c->state.epoch[i] = range[i].epoch;
            c->state.position[i] = range[i].to;
        }
    }
    closedir(dir);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        c->from[i] = c->state.position[i] + 1;
    }
    return OK;
}

/* What the journal calls good must be there. */
static enum err check_part(struct csv_sink *c, unsigned k, struct fault *reterr)
{
    struct stat st;
    bool there = fstatat(c->dir_fd, kinds[k].part, &st, 0) == 0;
    if (c->parts[k].size == 0) {
        if (there && st.st_size > 0 && c->state.extra_len == 0) {
            return fault_set(reterr, ERR_CONFLICT,
                             "%s/%s is there, but %s is not: put that back, or move the file away", c->dir,
                             kinds[k].part, journal_name);
        }
        if (unlinkat(c->dir_fd, kinds[k].part, 0) != 0 && errno != ENOENT) {
            return io_fault(c, kinds[k].part, reterr);
        }
        return OK;
    }
    if (!there || (uint64_t)st.st_size < c->parts[k].size) {
        return fault_set(
            reterr, ERR_IO,
            "%s/%s is gone or shorter than what was committed: put it back, or remove %s and lose what it held", c->dir,
            kinds[k].part, journal_name);
    }
    return open_part(c, k, reterr);
}

/* A part that an earlier version began has other columns. */
static bool has_our_head(const struct csv_sink *c, unsigned k)
{
    char head[256];
    size_t len = strlen(kinds[k].head);
    return c->parts[k].size == 0 || (len <= sizeof(head) && pread(c->parts[k].fd, head, len, 0) == (ssize_t)len &&
                                     memcmp(head, kinds[k].head, len) == 0);
}

enum err csv_recover(struct csv_sink *c, struct fault *reterr)
{
    char path[CSV_PATH_MAX + sizeof(journal_name)];
    snprintf(path, sizeof(path), "%s/%s", c->dir, journal_name);
    sink_journal_free(take(c->journal));
    sink_marks_clear(&c->marks);
    sink_names_free(take(c->names));
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        if (c->parts[k].fd >= 0) {
            close(c->parts[k].fd);
            c->parts[k].fd = -1;
        }
        c->parts[k].size = c->parts[k].written = 0;
        buffer_reset(&c->parts[k].out);
    }
    if (sink_names_new(&c->names) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    TRY(sink_journal_open(path, &c->marks, c->names, &c->state, &c->journal, reterr));
    if (c->state.extra_len == 0) {
        TRY(read_names(c, reterr));
    } else if (read_extra(c) != OK) {
        return fault_set(reterr, ERR_CONFLICT, "%s: not the journal of a CSV sink", path);
    }
    if (c->closing) {
        TRY(csv_rotate(c, reterr));
    }
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        TRY(check_part(c, k, reterr));
    }
    for (unsigned k = 0; k < CSV_KINDS; k++) {
        if (!has_our_head(c, k)) {
            TRY(csv_rotate(c, reterr));
        }
    }
    if (c->state.extra_len == 0) { /* from here on a part without a commit is the beginning of one that never was */
        const uint64_t none[CSV_KINDS] = {0};
        TRY(commit_journal(c, none, c->state.epoch, c->state.position, reterr));
    }
    c->damaged = false;
    return OK;
}
