/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk - what may be on the disks when the power fails, from a recording of what programs did to their files.
 *
 * Two kinds of operations wait until something makes them durable:
 *
 *   on a file   write, truncate, allocate        when an fsync of the file that began after them has returned; a write
 *                                                through O_DSYNC or O_SYNC when it has returned itself
 *   on names    create, mkdir, rename, unlink    when an fsync of their directory, on the same machine, that began
 *                                                after them has returned; a file's own fsync does not bind its name
 *
 * At a cut, what is durable is there; of what waits a part is, chosen anew for each machine:
 *
 *   CUT_NONE    nothing
 *   CUT_ALL     everything
 *   CUT_FIRST   the oldest operations of each file, the last of them perhaps torn, names likewise: an ordered disk
 *   CUT_SOME    any subset of whole operations
 *   CUT_TORN    any subset of sectors of 512 or 4096 bytes; a file may have grown over sectors that were not written,
 *               which then are zeros
 *
 * Of overlapping writes the later one wins where both are kept. A file whose name is lost is not there. A call that
 * was under way at the cut is among those that wait.
 *
 * Not modelled: damage to what is durable (bits that rot, a sector that fails while it is written again), and
 * directories that lose names that were durable.
 */
#ifndef TESTS_SUPPORT_POWER_CUT_DISK_H
#define TESTS_SUPPORT_POWER_CUT_DISK_H

#include "tests/support/power_cut/recorded.h"

enum { DISK_MACHINES = 16 };
struct disk;

/* The disks as they were when the recording began, all durable: the tree below dir, with the inodes that it had while
 * it was recorded: a line "inode machine path" for each entry, the root's path being "." */
struct disk *disk_new(const char *dir, const char *inodes);
void disk_free(struct disk *disk);
/* recording is borrowed for the life of the disk; called once. */
void disk_play(struct disk *disk, const struct recording *recording);
/* Goes on to just before the call or the return that has this stamp. Never backwards. */
void disk_advance(struct disk *disk, uint64_t stamp);

enum cut_mode { CUT_NONE, CUT_ALL, CUT_FIRST, CUT_SOME, CUT_TORN, CUT_MODES };
const char *cut_mode_name(enum cut_mode mode);
struct cut {
    uint64_t seed;
    enum cut_mode mode[DISK_MACHINES];
};
struct cut_stats {
    uint64_t waiting, kept, torn; /* operations */
};
/* Makes the state in the empty directory dir. Nothing of disk changes. */
void disk_cut(struct disk *disk, const struct cut *cut, const char *dir, struct cut_stats *ret_stats);
/* What differs between the tree below dir and everything played so far, as sentences on stderr. Returns how many.
 * Contents of files that are only mapped (lock.mdb, *-shm) are left out. */
unsigned disk_compare(struct disk *disk, const char *dir);

#endif
