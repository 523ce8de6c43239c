/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: appended and fsynced once a commit; written anew beside itself and renamed into place when it has grown.
 *
 *   HEAD version u32le | MARK device epoch lane hop hwm top holes (first last)* | NAMES device set count (name unit)*
 *   COMMIT ...
 *
 * Version 1 had no holes. One of that version is written anew with the first commit.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/sinks/encode.h"
#include "core/base/cursor.h"
#include "core/crypt/crypt.h"

enum { HEAD = 'H', MARK = 'M', NAMES = 'N', COMMIT = 'C' };
enum { VERSION = 2, ENTRY_HEAD_BYTES = 9, REWRITE_MIN_BYTES = 1 << 20, FILE_MAX = 1 << 30 };

struct sink_journal {
    char *path, *temporary, *folder; /* owned */
    struct sink_marks *marks;        /* borrowed */
    struct sink_names *names;        /* borrowed */
    struct buffer out;
    uint64_t size, compact; /* of the file; when it was written last */
    int fd;
    bool old; /* of an earlier version */
};

/* ---- writing entries ---- */
static size_t begin_entry(struct buffer *out, uint8_t type)
{
    size_t at = out->len;
    buffer_put_u8(out, type);
    buffer_put_u64le(out, 0);
    return at;
}

static void end_entry(struct buffer *out, size_t at)
{
    if (buffer_err(out) != OK) {
        return;
    }
    uint32_t len = (uint32_t)(out->len - at - ENTRY_HEAD_BYTES), crc;
    memcpy(out->ptr + at + 1, &len, sizeof(len));
    crc = crypt_crc32c(0, out->ptr + at, 5);
    crc = crypt_crc32c(crc, out->ptr + at + ENTRY_HEAD_BYTES, len);
    memcpy(out->ptr + at + 5, &crc, sizeof(crc));
}

static void put_text(struct buffer *out, const char *text)
{
    buffer_put_varint(out, strlen(text));
    buffer_put_str(out, text);
}

static void put_head(struct buffer *out)
{
    size_t at = begin_entry(out, HEAD);
    buffer_put_u32le(out, VERSION);
    end_entry(out, at);
}

static void put_mark(struct buffer *out, const struct sink_mark *m)
{
    size_t at = begin_entry(out, MARK);
    put_text(out, m->stream.device);
    buffer_put_u64le(out, m->stream.epoch);
    buffer_put_u8(out, m->stream.lane);
    buffer_put_u8(out, m->hop);
    buffer_put_varint(out, m->stream.hwm);
    buffer_put_varint(out, m->stream.top);
    buffer_put_varint(out, m->holes.count);
    for (unsigned i = 0; i < m->holes.count; i++) {
        buffer_put_varint(out, m->holes.list[i].first);
        buffer_put_varint(out, m->holes.list[i].last);
    }
    end_entry(out, at);
}

static enum err put_names(void *arg, const char *device, const struct sink_names_set *set)
{
    struct buffer *out = arg;
    size_t at = begin_entry(out, NAMES);
    put_text(out, device);
    buffer_put_u32le(out, set->set);
    buffer_put_varint(out, set->count);
    for (size_t i = 0; i < set->count; i++) {
        put_text(out, set->name[i]);
        put_text(out, set->unit[i]);
    }
    end_entry(out, at);
    return buffer_err(out);
}

static void put_commit(struct buffer *out, const uint64_t epoch[INBOX_LANES], const uint64_t position[INBOX_LANES],
                       struct slice extra)
{
    size_t at = begin_entry(out, COMMIT);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        buffer_put_u64le(out, epoch[i]);
        buffer_put_u64le(out, position[i]);
    }
    buffer_put_varint(out, extra.len);
    buffer_put_slice(out, extra);
    end_entry(out, at);
}

/* ---- reading entries ---- */
static bool get_text(struct cursor *c, char *ret_text, size_t cap)
{
    struct slice s = cursor_bytes(c, cursor_varint(c));
    if (c->failed || s.len >= cap || memchr(s.ptr, '\0', s.len) != NULL) {
        c->failed = true;
        return false;
    }
    memcpy(ret_text, s.ptr, s.len);
    ret_text[s.len] = '\0';
    return true;
}

static enum err read_holes(struct cursor *c, struct sink_holes *ret_holes)
{
    uint64_t count = cursor_varint(c);
    *ret_holes = (struct sink_holes){.count = 0};
    if (c->failed || count > SINK_HOLES) {
        return ERR_MALFORMED;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = cursor_varint(c), last = cursor_varint(c);
        sink_holes_add(ret_holes, first, last);
    }
    return OK;
}

static enum err read_mark(struct sink_journal *j, struct cursor c)
{
    char device[ID_MAX + 1];
    struct sink_mark *mark;
    struct sink_holes holes = {.count = 0};
    if (!get_text(&c, device, sizeof(device))) {
        return ERR_MALFORMED;
    }
    uint64_t epoch = cursor_u64le(&c);
    uint8_t lane = cursor_u8(&c), hop = cursor_u8(&c);
    uint64_t hwm = cursor_varint(&c), top = cursor_varint(&c);
    if (!j->old) {
        TRY(read_holes(&c, &holes));
    }
    TRY(cursor_end(&c));
    mark = sink_marks_find(j->marks, device, epoch);
    if (mark == NULL) {
        TRY(sink_marks_add(j->marks, device, epoch, lane, hop != 0, &mark));
    }
    mark->stream.hwm = hwm;
    mark->stream.top = top;
    mark->holes = holes;
    return OK;
}

static enum err read_names(struct sink_journal *j, struct cursor c)
{
    char device[ID_MAX + 1];
    Weir__V1__Describe describe;
    weir__v1__describe__init(&describe);
    if (!get_text(&c, device, sizeof(device))) {
        return ERR_MALFORMED;
    }
    describe.set = cursor_u32le(&c);
    describe.n_channel = cursor_varint(&c);
    if (c.failed || describe.n_channel > BLOCK_CHANNELS_MAX) {
        return ERR_MALFORMED;
    }
    size_t n = describe.n_channel ? describe.n_channel : 1;
    CLEANUP(charp_freep) char *texts = calloc(n, 2 * (size_t)(WIRE_NAME_MAX + 1));
    CLEANUP(charp_freep) char *infos = calloc(n, sizeof(Weir__V1__ChannelInfo) + sizeof(Weir__V1__ChannelInfo *));
    if (texts == NULL || infos == NULL) {
        return ERR_NOMEM;
    }
    Weir__V1__ChannelInfo *info = (Weir__V1__ChannelInfo *)(void *)infos;
    describe.channel = (Weir__V1__ChannelInfo **)(void *)(info + n);
    for (size_t i = 0; i < describe.n_channel; i++) {
        weir__v1__channel_info__init(&info[i]);
        describe.channel[i] = &info[i];
        info[i].name = texts + 2 * i * (WIRE_NAME_MAX + 1);
        info[i].unit = info[i].name + WIRE_NAME_MAX + 1;
        if (!get_text(&c, info[i].name, WIRE_NAME_MAX + 1) || !get_text(&c, info[i].unit, WIRE_NAME_MAX + 1)) {
            return ERR_MALFORMED;
        }
    }
    TRY(cursor_end(&c));
    return sink_names_add(j->names, device, &describe, NULL);
}

static enum err read_commit(struct sink_journal_state *state, struct cursor c)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        state->epoch[i] = cursor_u64le(&c);
        state->position[i] = cursor_u64le(&c);
    }
    struct slice extra = cursor_bytes(&c, cursor_varint(&c));
    TRY(cursor_end(&c));
    if (extra.len > sizeof(state->extra)) {
        return ERR_RANGE;
    }
    memcpy(state->extra, extra.ptr, extra.len);
    state->extra_len = extra.len;
    return OK;
}

/* One entry that verifies; false at the end and at the first that does not. */
static bool next_entry(struct cursor *c, uint8_t *ret_type, struct slice *ret_body)
{
    struct cursor at = *c;
    const uint8_t *head = at.at;
    uint8_t type = cursor_u8(&at);
    uint32_t len = cursor_u32le(&at), crc = cursor_u32le(&at);
    struct slice body = cursor_bytes(&at, len);
    if (at.failed || crypt_crc32c(crypt_crc32c(0, head, 5), body.ptr, body.len) != crc) {
        return false;
    }
    *c = at;
    *ret_type = type;
    *ret_body = body;
    return true;
}

static size_t committed_bytes(struct slice file)
{
    struct cursor c = cursor_of(file);
    size_t end = 0;
    uint8_t type;
    struct slice body;
    while (next_entry(&c, &type, &body)) {
        end = type == COMMIT ? (size_t)(c.at - file.ptr) : end;
    }
    return end;
}

static enum err apply(struct sink_journal *j, struct slice committed, struct sink_journal_state *state)
{
    struct cursor c = cursor_of(committed);
    uint8_t type;
    struct slice body;
    if (!next_entry(&c, &type, &body) || type != HEAD) {
        return ERR_CONFLICT;
    }
    struct cursor head = cursor_of(body);
    uint32_t version = cursor_u32le(&head);
    if (version > VERSION) {
        return ERR_UNSUPPORTED;
    }
    j->old = version < VERSION;
    while (next_entry(&c, &type, &body)) {
        if (type == MARK) {
            TRY(read_mark(j, cursor_of(body)));
        } else if (type == NAMES) {
            TRY(read_names(j, cursor_of(body)));
        } else if (type == COMMIT) {
            TRY(read_commit(state, cursor_of(body)));
        } else {
            return ERR_UNSUPPORTED;
        }
    }
    return OK;
}

/* ---- the file ---- */
static enum err io_fault(const struct sink_journal *j, const char *what, struct fault *reterr)
{
    enum err err = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    return fault_set(reterr, err, "%s: %s: %s", j->path, what, strerror(errno));
}

static enum err write_all(int fd, struct slice s, uint64_t at)
{
    while (s.len > 0) {
        ssize_t n = pwrite(fd, s.ptr, s.len, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return ERR_IO;
        }
        s = slice_of(s.ptr + n, s.len - (size_t)n);
        at += (uint64_t)n;
    }
    return OK;
}

static enum err sync_folder(const struct sink_journal *j)
{
    int fd = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 ? fsync(fd) : -1;
    if (fd >= 0) {
        close(fd);
    }
    return rc == 0 ? OK : ERR_IO;
}

/* What is in out becomes the whole file. */
static enum err replace(struct sink_journal *j, struct fault *reterr)
{
    TRY(buffer_err(&j->out));
    int fd = open(j->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        return io_fault(j, "cannot be written anew", reterr);
    }
    if (write_all(fd, buffer_slice(&j->out), 0) != OK || fsync(fd) != 0 || rename(j->temporary, j->path) != 0 ||
        sync_folder(j) != OK) {
        enum err err = io_fault(j, "cannot be written anew", reterr);
        close(fd);
        return err;
    }
    if (j->fd >= 0) {
        close(j->fd);
    }
    j->fd = fd;
    j->size = j->compact = j->out.len;
    return OK;
}

static enum err read_file(struct sink_journal *j, struct sink_journal_state *state, struct fault *reterr)
{
    struct stat st;
    if (fstat(j->fd, &st) != 0) {
        return io_fault(j, "cannot be read", reterr);
    }
    if (st.st_size > FILE_MAX) {
        return fault_set(reterr, ERR_CONFLICT, "%s: too large for a journal", j->path);
    }
    size_t len = (size_t)st.st_size, got = 0;
    CLEANUP(charp_freep) char *bytes = malloc(len + 1);
    if (bytes == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    while (got < len) {
        ssize_t n = pread(j->fd, bytes + got, len - got, (off_t)got);
        if (n <= 0) {
            return io_fault(j, "cannot be read", reterr);
        }
        got += (size_t)n;
    }
    j->size = committed_bytes(slice_of(bytes, len));
    j->compact = max_u64(j->size / 4, 1);
    enum err err = apply(j, slice_of(bytes, j->size), state);
    if (err != OK) {
        return fault_set(reterr, err, "%s: %s", j->path,
                         err == ERR_UNSUPPORTED ? "written by a later version"
                                                : "not a journal of a sink, or damaged at its beginning");
    }
    if (j->size < len && ftruncate(j->fd, (off_t)j->size) != 0) {
        return io_fault(j, "its torn end cannot be cut", reterr);
    }
    return OK;
}

enum err sink_journal_open(const char *path, struct sink_marks *marks, struct sink_names *names,
                           struct sink_journal_state *ret_state, struct sink_journal **ret_journal,
                           struct fault *reterr)
{
    CLEANUP(sink_journal_freep) struct sink_journal *j = calloc(1, sizeof(*j));
    if (j == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    j->fd = -1;
    j->marks = marks;
    j->names = names;
    buffer_init(&j->out, FILE_MAX);
    j->path = strdup(path);
    j->folder = strdup(path);
    if (asprintf(&j->temporary, "%s.new", path) < 0) {
        j->temporary = NULL;
    }
    if (j->path == NULL || j->folder == NULL || j->temporary == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    const char *folder = dirname(j->folder); /* in place, or "." */
    memmove(j->folder, folder, strlen(folder) + 1);
    memset(ret_state, 0, sizeof(*ret_state));
    j->fd = open(path, O_RDWR | O_CLOEXEC);
    if (j->fd >= 0) {
        TRY(read_file(j, ret_state, reterr));
    } else if (errno == ENOENT) {
        ret_state->fresh = true;
        put_head(&j->out);
        put_commit(&j->out, ret_state->epoch, ret_state->position, slice_of(NULL, 0));
        TRY(replace(j, reterr));
    } else {
        return io_fault(j, "cannot be opened", reterr);
    }
    buffer_reset(&j->out);
    *ret_journal = take(j);
    return OK;
}

void sink_journal_free(struct sink_journal *j)
{
    if (j == NULL) {
        return;
    }
    if (j->fd >= 0) {
        close(j->fd);
    }
    buffer_deinit(&j->out);
    free(j->path);
    free(j->temporary);
    free(j->folder);
    free(j);
}

enum err sink_journal_describe(struct sink_journal *j, const char *device, const Weir__V1__Describe *describe)
{
    bool is_new = false;
    TRY(sink_names_add(j->names, device, describe, &is_new));
    return is_new ? put_names(&j->out, device, sink_names_find(j->names, device, describe->set)) : OK;
}

static enum err rewrite(struct sink_journal *j, const uint64_t epoch[INBOX_LANES], const uint64_t position[INBOX_LANES],
                        struct slice extra, struct fault *reterr)
{
    buffer_reset(&j->out);
    put_head(&j->out);
    for (const struct sink_mark *m = j->marks->table; m != NULL; m = m->hh.next) {
        put_mark(&j->out, m);
    }
    TRY(sink_names_foreach(j->names, put_names, &j->out));
    put_commit(&j->out, epoch, position, extra);
    return replace(j, reterr);
}

static enum err append(struct sink_journal *j, const uint64_t epoch[INBOX_LANES], const uint64_t position[INBOX_LANES],
                       struct slice extra, struct fault *reterr)
{
    for (const struct sink_mark *m = j->marks->touched; m != NULL; m = m->next_touched) {
        put_mark(&j->out, m);
    }
    put_commit(&j->out, epoch, position, extra);
    TRY(buffer_err(&j->out));
    if (write_all(j->fd, buffer_slice(&j->out), j->size) != OK || fsync(j->fd) != 0) {
        return io_fault(j, "cannot be written", reterr);
    }
    j->size += j->out.len;
    return OK;
}

enum err sink_journal_commit(struct sink_journal *j, const uint64_t epoch[INBOX_LANES],
                             const uint64_t position[INBOX_LANES], struct slice extra, struct fault *reterr)
{
    bool grown = j->old || (j->size > REWRITE_MIN_BYTES && j->size / 4 > j->compact);
    TRY(grown ? rewrite(j, epoch, position, extra, reterr) : append(j, epoch, position, extra, reterr));
    j->old = false;
    buffer_reset(&j->out);
    sink_marks_settle(j->marks);
    return OK;
}
