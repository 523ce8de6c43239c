/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recording - what recorder.c writes and the replayer reads: one entry a call, in a file of its process.
 *
 * Stamps come from one counter that all processes share, taken just before and just after the call, so begin and end of
 * all calls on all machines stand in one order. Integers as in memory; an entry is followed by its two names (without
 * NUL) and its bytes. Files and directories are known by their inode, names by the inode of their directory.
 */
#ifndef TESTS_SUPPORT_POWER_CUT_RECORDING_H
#define TESTS_SUPPORT_POWER_CUT_RECORDING_H

#include <stdint.h>

enum recording_kind {
    RECORDING_CREATE = 1, /* name in parent is now inode */
    RECORDING_MKDIR,      /* likewise, a directory */
    RECORDING_WRITE,      /* bytes at offset */
    RECORDING_TRUNCATE,   /* the size is now offset */
    RECORDING_ALLOCATE,   /* the size is at least offset */
    RECORDING_SYNC,       /* fsync, fdatasync: of a file or a directory */
    RECORDING_RENAME,     /* name in parent became name2 in parent2 */
    RECORDING_UNLINK,     /* name in parent is gone */
    RECORDING_SEND,       /* bytes on the TCP socket `inode` */
};
enum { RECORDING_MAGIC = 0x52434552, RECORDING_DURABLE = 1 /* flag: written through O_DSYNC or O_SYNC */ };

struct recording_entry {
    uint32_t magic;
    uint8_t kind, flags;
    uint16_t machine; /* whose disk: WEIR_RECORD_MACHINE of the process */
    uint64_t begin, end;
    uint64_t inode, parent, parent2;
    uint64_t offset;
    uint32_t name_len, name2_len, data_len, pid;
};

#endif
