/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file sink's state and the form of its files.
 *
 * <dir>/weir-00000001.jsonl, weir-00000002.jsonl, ...   JSON lines:
 *
 *   {"weir":"records","version":3,"streams":[{"device","epoch","lane","hop","hwm","holes":"31-50,.."},...],
 *    "commit":{...}}                                                                                      head
 *   {"lane","position","device","epoch","first","last","hop","kind",...}                                  a record
 *   {"lane","position","device","epoch","first","last","hop","kind",...,
 *    "commit":{"epoch":[..],"position":[..],"crc":"8 hex digits"}}
 *
 * The last line of a batch carries `commit`. Its crc is the CRC-32C of all bytes of the batch before `,"crc"`: after
 * a power cut the end of a batch may be on the disk and sectors before it not, which then read as zeros. What stands
 * behind the last commit that verifies is the torn tail of a batch that never was, and is cut off on opening. The head
 * repeats every stream's mark, so that opening reads one file, not all.
 *
 * A jump is a line of kind gap with "reason":"upstream_lost" behind "kind", and nothing else. What comes late is a line
 * behind it with numbers of that gap: of the two the record holds. Version 2 had no holes in its head.
 */
#ifndef CLOUD_BRIDGE_SINKS_FILE_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_FILE_INTERNAL_H

#include "cloud-bridge/sinks/sinks_internal.h"
#include "core/base/buffer.h"

enum { FILE_PATH_MAX = 512, FILE_FLUSH_BYTES = 1 << 20, FILE_BUFFER_MAX = 16 << 20 };

struct file_sink {
    char dir[FILE_PATH_MAX];
    int dir_fd, fd; /* -1 = not open */
    unsigned number;
    uint64_t rotate_bytes;
    uint64_t size;      /* committed bytes of the file */
    uint64_t written;   /* of the file, with the batch in hand */
    uint32_t crc;       /* of what is written of the batch in hand */
    bool line_open;     /* a line waits for its end */
    bool damaged;       /* the last write failed: recover before the next */
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
    struct sink_marks marks;
    struct sink_reader reader;
    struct buffer out;
};

/* Finds the newest file, cuts its torn tail, reads marks and positions; makes the first file if there is none. */
enum err file_sink_recover(struct file_sink *f, struct fault *reterr) MUST_CHECK;
/* Closes the file in hand and begins the next one, durable with its head. */
enum err file_sink_rotate(struct file_sink *f, struct fault *reterr) MUST_CHECK;
/* Begins a batch: nothing is written, nothing counted. */
void file_sink_begin(struct file_sink *f);
/* Writes out what is in the buffer. */
enum err file_sink_flush(struct file_sink *f) MUST_CHECK;
/* ,"commit":{...} for these positions, the end of the line and of the batch. */
void file_sink_put_commit(struct file_sink *f, const uint64_t epoch[INBOX_LANES],
                          const uint64_t position[INBOX_LANES]);

#endif
