/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CSV sink's state, and the form of its files.
 *
 *   <dir>/.readings.part                                     being written; likewise .windows, .events, .records
 *   <dir>/readings_<bridge>_<e0>-<from>-<to>_<e1>-<from>-<to>.csv    closed: never changes any more
 *   <dir>/.weir-csv.journal                                  how far the parts are good, marks, names of channels
 *
 * A name carries the range of the bridge's spool that is in the file: per lane the spool's epoch and the first and last
 * position. So the same range has the same name, and a range that is written again replaces itself. A batch is rows
 * in the parts, fsynced, then the journal's commit with the parts' sizes; what stands behind those sizes never was. A
 * file with a
 * single line, its head, is not made.
 *
 *   writing --full, old, spool's epoch changed, sink closed--> commit "closing" -> parts renamed -> folder fsynced
 *      ^                                                                                               |
 *      '------------------------------ commit: sizes 0, range begins behind <--------------------------'
 *
 * A crash at any arrow is finished on opening. Without a journal (lost) the position is read off the newest name.
 */
#ifndef CLOUD_BRIDGE_SINKS_CSV_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_CSV_INTERNAL_H

#include "cloud-bridge/sinks/encode.h"
#include "cloud-bridge/sinks/sinks_internal.h"
#include "core/base/buffer.h"

enum csv_kind { CSV_READINGS, CSV_WINDOWS, CSV_EVENTS, CSV_RECORDS, CSV_KINDS };
enum { CSV_PATH_MAX = 512, CSV_NAME_MAX = 256, CSV_FLUSH_BYTES = 1 << 20, CSV_BUFFER_MAX = 64 << 20,
       CSV_EXTRA_BYTES = 1 + 8 * (INBOX_LANES + CSV_KINDS) };

struct csv_range { /* of one lane; empty: to = from - 1 */
    uint64_t epoch, from, to;
};
struct csv_part {
    int fd;           /* -1 = not open */
    uint64_t size;    /* committed */
    uint64_t written; /* with the batch in hand */
    struct buffer out;
};
struct csv_sink {
    char dir[CSV_PATH_MAX], bridge[ID_MAX + 1];
    uint64_t rotate_bytes;
    int64_t rotate_us;
    int dir_fd;
    bool damaged; /* the last write failed: recover before the next */
    bool blind;   /* the journal was lost: what a stream begins with is not known */
    bool closing;
    uint64_t from[INBOX_LANES]; /* first position of the files in hand */
    int64_t begun_us;           /* clock of the tick that first saw rows in them, 0 = none has */
    struct csv_part parts[CSV_KINDS];
    struct sink_journal *journal;
    struct sink_journal_state state; /* epoch, position: committed */
    struct sink_marks marks;
    struct sink_names *names;
    struct sink_reader reader;
};

void csv_name_write(enum csv_kind kind, const char *bridge, const struct csv_range range[INBOX_LANES],
                    char ret_name[CSV_NAME_MAX]);
/* ERR_NOT_FOUND: not a name of this bridge's files. */
enum err csv_name_read(const char *name, const char *bridge, struct csv_range ret_range[INBOX_LANES]) MUST_CHECK;
/* Opens journal and parts; finishes what a crash left half. */
enum err csv_recover(struct csv_sink *c, struct fault *reterr) MUST_CHECK;
/* Renames the parts into place and begins new ones; not when no position has been reached since they were begun: they
 * have no name yet. */
enum err csv_rotate(struct csv_sink *c, struct fault *reterr) MUST_CHECK;
/* Where the next row of this kind goes; a new file has its head. */
struct buffer *csv_rows(struct csv_sink *c, enum csv_kind kind);
/* Writes the buffers that hold more than `more` bytes to their parts. */
enum err csv_flush(struct csv_sink *c, size_t more, struct fault *reterr) MUST_CHECK;
/* Writes the buffers to the parts and makes all durable with these positions. */
enum err csv_commit(struct csv_sink *c, const uint64_t epoch[INBOX_LANES], const uint64_t position[INBOX_LANES],
                    struct fault *reterr) MUST_CHECK;

/* ---- fields: RFC 4180, quoted where needed; csv_end ends the line ---- */
void csv_text(struct buffer *out, const char *text);
void csv_u64(struct buffer *out, uint64_t value);
void csv_hex(struct buffer *out, uint64_t value);
void csv_f64(struct buffer *out, double value); /* what is no number is empty */
void csv_time(struct buffer *out, uint64_t wall_us);
void csv_end(struct buffer *out);

#endif
