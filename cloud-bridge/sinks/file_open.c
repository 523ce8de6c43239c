/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and rotating the file sink's files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/sinks/file_internal.h"
#include "core/crypt/crypt.h"
#include "core/log/log.h"

enum { NAME_MAX_BYTES = 32, PREFIX_BYTES = 400, COMMIT_BYTES = 160 };
#define HEAD "{\"weir\":\"records\",\"version\":3,"
static const char head_2[] = "{\"weir\":\"records\",\"version\":2,";
_Static_assert(sizeof(HEAD) == sizeof(head_2), "heads are told apart by one byte");

static void file_name(unsigned number, char ret_name[NAME_MAX_BYTES])
{
    snprintf(ret_name, NAME_MAX_BYTES, "weir-%08u.jsonl", number);
}

static enum err io_fault(struct fault *reterr, const struct file_sink *f, const char *what)
{
    enum err err = errno == ENOSPC || errno == EDQUOT ? ERR_FULL
                   : errno == EACCES || errno == EROFS || errno == EPERM ? ERR_DENIED
                                                                         : ERR_IO;
    return fault_set(reterr, err, "%s: %s: %s", f->dir, what, strerror(errno));
}

/* 0 when there is none. */
static enum err newest(struct file_sink *f, unsigned *ret_number, struct fault *reterr)
{
    int fd = openat(f->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    *ret_number = 0;
    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return io_fault(reterr, f, "cannot be listed");
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        unsigned number = 0;
        char name[NAME_MAX_BYTES];
        if (sscanf(e->d_name, "weir-%8u.jsonl", &number) == 1 && number > *ret_number) {
            file_name(number, name);
            if (strcmp(name, e->d_name) == 0) {
                *ret_number = number;
            }
        }
    }
    closedir(dir);
    return OK;
}

void file_sink_put_commit(struct file_sink *f, const uint64_t epoch[INBOX_LANES],
                          const uint64_t position[INBOX_LANES])
{
    buffer_printf(&f->out,
                  ",\"commit\":{\"epoch\":[\"%016" PRIx64 "\",\"%016" PRIx64 "\"],"
                  "\"position\":[%" PRIu64 ",%" PRIu64 "]",
                  epoch[0], epoch[1], position[0], position[1]);
    buffer_printf(&f->out, ",\"crc\":\"%08" PRIx32 "\"}}\n", crypt_crc32c(f->crc, f->out.ptr, f->out.len));
}

struct commit {
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
    uint32_t crc;
    size_t covered; /* bytes of the line that crc is over */
};

/* Strings escape their quotes, so the key cannot stand inside one. */
static bool parse_commit(const char *line, size_t len, struct commit *ret)
{
    static const char key[] = ",\"commit\":{";
    size_t tail = len < COMMIT_BYTES ? len : COMMIT_BYTES;
    const char *at = memmem(line + len - tail, tail, key, sizeof(key) - 1);
    int covered = -1, end = -1;
    bool good = at != NULL &&
                sscanf(at,
                       ",\"commit\":{\"epoch\":[\"%16" SCNx64 "\",\"%16" SCNx64 "\"],"
                       "\"position\":[%" SCNu64 ",%" SCNu64 "]%n,\"crc\":\"%8" SCNx32 "\"}}\n%n",
                       &ret->epoch[0], &ret->epoch[1], &ret->position[0], &ret->position[1], &covered, &ret->crc,
                       &end) == INBOX_LANES * 2 + 1 &&
                end == (int)(line + len - at);
    ret->covered = good ? (size_t)(at - line) + (size_t)covered : 0;
    return good;
}

static enum err find_mark(struct file_sink *f, const char *device, uint64_t epoch, unsigned lane, unsigned hop,
                          struct sink_mark **ret_mark)
{
    *ret_mark = sink_marks_find(&f->marks, device, epoch);
    return *ret_mark != NULL ? OK : sink_marks_add(&f->marks, device, epoch, (uint8_t)lane, hop != 0, ret_mark);
}

/* Behind the hwm: } or ,"holes":"..."} */
static enum err read_holes(const char *at, struct sink_holes *ret_holes)
{
    static const char key[] = ",\"holes\":\"";
    char text[SINK_HOLES_BYTES];
    *ret_holes = (struct sink_holes){.count = 0};
    if (*at == '}') {
        return OK;
    }
    size_t len = strncmp(at, key, sizeof(key) - 1) == 0 ? strcspn(at + sizeof(key) - 1, "\"") : sizeof(text);
    if (len >= sizeof(text)) {
        return ERR_MALFORMED;
    }
    memcpy(text, at + sizeof(key) - 1, len);
    text[len] = '\0';
    return sink_holes_read(text, ret_holes);
}

static enum err read_head(struct file_sink *f, const char *line)
{
    static const char key[] = "{\"device\":\"";
    for (const char *at = line; (at = strstr(at, key)) != NULL; at++) {
        char device[ID_MAX + 1];
        uint64_t epoch, hwm;
        unsigned lane, hop;
        int end = -1;
        struct sink_mark *mark = NULL;
        if (sscanf(at,
                   "{\"device\":\"%64[A-Za-z0-9_-]\",\"epoch\":\"%16" SCNx64 "\","
                   "\"lane\":%u,\"hop\":%u,\"hwm\":%" SCNu64 "%n",
                   device, &epoch, &lane, &hop, &hwm, &end) != 5 ||
            end < 0) {
            return ERR_MALFORMED;
        }
        TRY(find_mark(f, device, epoch, lane, hop, &mark));
        mark->stream.hwm = hwm;
        TRY(read_holes(at + end, &mark->holes));
    }
    return OK;
}

/* As when it was written: jumps are lines of their own. */
static void apply_line(struct sink_mark *mark, bool is_jump, uint64_t first, uint64_t last)
{
    struct sink_step step = {
        .first = first, .last = last, .lost_first = 1, .lost_last = 0, .fill = last <= mark->stream.hwm};
    if (is_jump) {
        step.lost_first = first;
        step.lost_last = last;
    }
    sink_mark_move(mark, &step);
}

static enum err read_record(struct file_sink *f, const char *line, size_t len)
{
    static const char jump[] = ",\"kind\":\"gap\",\"reason\":\"upstream_lost\"";
    char prefix[PREFIX_BYTES + 1];
    size_t part = len < PREFIX_BYTES ? len : PREFIX_BYTES;
    char device[ID_MAX + 1];
    uint64_t position, epoch, first, last;
    unsigned lane, hop;
    int end = -1;
    struct sink_mark *mark = NULL;
    memcpy(prefix, line, part); /* sscanf measures its whole input; a line may have megabytes */
    prefix[part] = '\0';
    if (sscanf(prefix,
               "{\"lane\":%u,\"position\":%" SCNu64 ",\"device\":\"%64[A-Za-z0-9_-]\",\"epoch\":\"%16" SCNx64
               "\",\"first\":%" SCNu64 ",\"last\":%" SCNu64 ",\"hop\":%u%n",
               &lane, &position, device, &epoch, &first, &last, &hop, &end) != 7 ||
        end < 0 || first > last) {
        return ERR_MALFORMED;
    }
    TRY(find_mark(f, device, epoch, lane, hop, &mark));
    apply_line(mark, strncmp(prefix + end, jump, sizeof(jump) - 1) == 0 && last > mark->stream.hwm, first, last);
    return OK;
}

/* A head that is only torn is, as far as it goes, the same, or zero where a sector was not written. */
static bool is_torn_head(const char *line, size_t len)
{
    for (size_t i = 0; i < len && i < sizeof(HEAD) - 1; i++) {
        if (line[i] != HEAD[i] && line[i] != head_2[i] && line[i] != '\0') {
            return false;
        }
    }
    return true;
}

/* Where the torn tail begins; 0 when not even the head is whole. Lines are read twice: what counts is known only at
 * the last commit. */
static enum err find_committed(struct file_sink *f, FILE *in, uint64_t *ret_end)
{
    CLEANUP(charp_freep) char *line = NULL;
    size_t cap = 0;
    uint64_t at = 0, begun = 0; /* of the line, of its batch */
    uint32_t crc = 0;
    bool head_good = false, has_batches = false;
    ssize_t len;
    *ret_end = 0;
    for (; (len = getline(&line, &cap, in)) > 0; at += (uint64_t)len) {
        struct commit commit;
        if (at == 0 && !is_torn_head(line, (size_t)len)) {
            return ERR_MALFORMED;
        }
        bool is_last = line[len - 1] == '\n' && parse_commit(line, (size_t)len, &commit);
        has_batches = has_batches || (is_last && at > 0);
        if (!is_last && at > 0) {
            crc = crypt_crc32c(crc, line, (size_t)len);
            continue;
        }
        if (is_last && crypt_crc32c(crc, line, commit.covered) == commit.crc) {
            *ret_end = at + (uint64_t)len;
            memcpy(f->epoch, commit.epoch, sizeof(f->epoch));
            memcpy(f->position, commit.position, sizeof(f->position));
            head_good = head_good || at == 0;
        } else {
            log_warn("a batch in the file sink does not verify", KV_STR("dir", f->dir), KV_U64("file", f->number),
                     KV_U64("offset", begun));
        }
        crc = 0;
        begun = at + (uint64_t)len;
    }
    if (ferror(in)) {
        return ERR_IO;
    }
    return has_batches && !head_good ? ERR_MALFORMED : OK; /* batches are written when the head is synced */
}

static enum err read_marks(struct file_sink *f, FILE *in, uint64_t end)
{
    CLEANUP(charp_freep) char *line = NULL;
    size_t cap = 0;
    uint64_t at = 0;
    ssize_t len;
    while (at < end && (len = getline(&line, &cap, in)) > 0) {
        enum err err = at == 0 ? read_head(f, line) : read_record(f, line, (size_t)len);
        at += (uint64_t)len;
        if (err == ERR_MALFORMED) { /* damaged on the disk: the line stays as it is, the marks around it hold */
            log_warn("a line of the file sink does not parse", KV_STR("dir", f->dir), KV_U64("file", f->number),
                     KV_U64("offset", at - (uint64_t)len));
        } else {
            TRY(err);
        }
    }
    return ferror(in) ? ERR_IO : OK;
}

static enum err read_file(struct file_sink *f, uint64_t *ret_end, struct fault *reterr)
{
    FILE *in = fdopen(dup(f->fd), "r");
    if (in == NULL) {
        return io_fault(reterr, f, "cannot be read");
    }
    rewind(in);
    enum err err = find_committed(f, in, ret_end);
    if (err == OK && *ret_end > 0) {
        rewind(in);
        err = read_marks(f, in, *ret_end);
    }
    fclose(in);
    if (err == ERR_MALFORMED) {
        return fault_set(reterr, err, "%s: file %u is not a file of this sink", f->dir, f->number);
    }
    return err == OK ? OK : fault_set(reterr, err, "%s: file %u: %s", f->dir, f->number, err_name(err));
}

static enum err open_file(struct file_sink *f, unsigned number, int flags, struct fault *reterr)
{
    char name[NAME_MAX_BYTES];
    file_name(number, name);
    if (f->fd >= 0) {
        close(f->fd);
    }
    f->fd = openat(f->dir_fd, name, flags | O_CLOEXEC, 0640);
    f->number = number;
    return f->fd >= 0 ? OK : io_fault(reterr, f, name);
}

static enum err cut(struct file_sink *f, uint64_t end, struct fault *reterr)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        return io_fault(reterr, f, "cannot be read");
    }
    if ((uint64_t)st.st_size > end) {
        log_info("torn tail cut off", KV_STR("dir", f->dir), KV_U64("file", f->number),
                 KV_U64("bytes", (uint64_t)st.st_size - end));
        if (ftruncate(f->fd, (off_t)end) != 0) {
            return io_fault(reterr, f, "cannot be cut");
        }
    }
    if (lseek(f->fd, (off_t)end, SEEK_SET) < 0) {
        return io_fault(reterr, f, "cannot be written");
    }
    f->size = f->written = end;
    /* What the last commit says may be from a process that was killed before its sync. */
    return fsync(f->fd) == 0 && fsync(f->dir_fd) == 0 ? OK : io_fault(reterr, f, "cannot be synced");
}

enum err file_sink_recover(struct file_sink *f, struct fault *reterr)
{
    unsigned number = 0;
    uint64_t end = 0;
    sink_marks_clear(&f->marks);
    memset(f->epoch, 0, sizeof(f->epoch));
    memset(f->position, 0, sizeof(f->position));
    for (;;) {
        TRY(newest(f, &number, reterr));
        if (number == 0) {
            f->number = 0;
            return file_sink_rotate(f, reterr);
        }
        TRY(open_file(f, number, O_RDWR, reterr));
        TRY(read_file(f, &end, reterr));
        if (end > 0) {
            return cut(f, end, reterr);
        }
        char name[NAME_MAX_BYTES]; /* died while it began this file: the one before has everything */
        file_name(number, name);
        if (unlinkat(f->dir_fd, name, 0) != 0) {
            return io_fault(reterr, f, name);
        }
    }
}

void file_sink_begin(struct file_sink *f)
{
    buffer_reset(&f->out);
    f->crc = 0;
    f->line_open = false;
}

enum err file_sink_flush(struct file_sink *f)
{
    TRY(buffer_err(&f->out));
    f->crc = crypt_crc32c(f->crc, f->out.ptr, f->out.len);
    for (size_t done = 0; done < f->out.len;) {
        ssize_t n = write(f->fd, f->out.ptr + done, f->out.len - done);
        if (n < 0 && errno != EINTR) {
            return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
        }
        if (n > 0) {
            done += (size_t)n;
            f->written += (uint64_t)n;
        }
    }
    buffer_reset(&f->out);
    return OK;
}

enum err file_sink_rotate(struct file_sink *f, struct fault *reterr)
{
    TRY(open_file(f, f->number + 1, O_RDWR | O_CREAT | O_EXCL, reterr));
    f->size = f->written = 0;
    file_sink_begin(f);
    buffer_put_str(&f->out, HEAD "\"streams\":[");
    const char *comma = "";
    for (struct sink_mark *m = f->marks.table; m != NULL; m = m->hh.next) {
        char holes[SINK_HOLES_BYTES];
        sink_holes_write(&m->holes, holes);
        buffer_printf(&f->out,
                      "%s{\"device\":\"%s\",\"epoch\":\"%016" PRIx64 "\","
                      "\"lane\":%u,\"hop\":%u,\"hwm\":%" PRIu64 "%s%s%s}",
                      comma, m->stream.device, m->stream.epoch, m->stream.lane, m->hop ? 1U : 0U, m->stream.hwm,
                      m->holes.count > 0 ? ",\"holes\":\"" : "", holes, m->holes.count > 0 ? "\"" : "");
        comma = ",";
        if (f->out.len > FILE_FLUSH_BYTES) {
            TRY(file_sink_flush(f));
        }
    }
    buffer_put_str(&f->out, "]");
    file_sink_put_commit(f, f->epoch, f->position);
    enum err err = file_sink_flush(f);
    if (err != OK || fsync(f->fd) != 0 || fsync(f->dir_fd) != 0) {
        return io_fault(reterr, f, "a new file cannot be written");
    }
    f->size = f->written;
    return OK;
}
