/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - an ordered key-value store with atomic, durable batches.
 *
 * A batch is a list of puts and deletes built on the loop and committed as one LMDB transaction on the store's own
 * worker thread; done is called on the loop after the fsync. Batches commit in the order of submission. Data is moved:
 * after store_commit the batch belongs to the store.
 *
 *   store_batch_new -> store_put/store_delete ... -> store_commit ----worker: txn, fsync----> done(OK)
 *                                                                  '-> done(ERR_FULL|ERR_IO): nothing of it happened
 *
 * A failure is told to everything that builds upon it: when a batch fails, the batches submitted behind it fail
 * with the same error, their done are called right after its own, and a batch that was begun before the failure was
 * told fails when it is submitted. So a queue of numbered records never gets a hole from a failed commit, and a
 * caller that was told begins a new batch.
 *
 * After done(ERR_IO) the store has closed and reopened its environment; when even that fails every later commit says
 * ERR_IO and store_broken() is true: the daemon ends with a message, the supervisor restarts it.
 *
 * Facts about LMDB 0.9.24 that shape this wrapper (lmdb.h "Caveats", measured): default sync only (NOMETASYNC and
 * NOSYNC lose acknowledged commits); no WRITEMAP (SIGBUS on a full disk); a process opens an environment once;
 * never on network file systems; a read transaction pins pages, so none lives across a return to the loop; a
 * completely full environment cannot be emptied, so the file is preallocated and filled to cap_pct; a full disk
 * shows as ENOSPC or EIO; pages carry no checksum, so the layers above seal every record (core/crypt).
 *
 * One process per store: the file `lock` in the directory is held by flock and carries the holder's pid.
 * At start the environment is verified in a child process (opening a damaged file can crash); the files of a store that
 * does not verify are moved to `<path>.quarantine-<n>` (to `<path>/quarantine-<n>` where the parent directory is
 * not ours) and a new one is begun: store_open's ret_quarantined tells.
 * The map is an eighth (at least 1 MiB) larger than the file: room for batches that free room when a reader pins
 * pages, so a full store can always be emptied.
 */
#ifndef CORE_STORE_STORE_H
#define CORE_STORE_STORE_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/loop/loop.h"

struct store;
struct store_batch;
struct store_disk;

enum { STORE_TABLES_MAX = 8, STORE_KEY_MAX = 255 };

struct store_options {
    const char *path;            /* directory, made if missing (mode 0700) */
    const char *const *tables;   /* names; the index is the table's number in every call */
    unsigned table_count;
    uint64_t size_bytes;         /* preallocated file = map; an existing larger map is kept. >= 1 MiB */
    unsigned cap_pct;            /* share of the map that commits may fill; 0 = 90 */
    bool read_only;              /* for dump tools: no lock, no worker, other processes may be writing */
    int64_t modelled_flush_us;   /* added to every commit, for benchmarks of slow disks; 0 = none */
};

/* Blocks: forks the verifying child and reads every page. Call it before threads of others exist.
 * ERR_CONFLICT: another process holds it (its pid is in the text), or a table is missing (read_only). ERR_DENIED:
 * read-only file system or wrong owner. ERR_FULL: no room to preallocate. ERR_TIMEOUT: the disk did not answer
 * while verifying. ERR_UNSUPPORTED: a network file system. ERR_RANGE: options. ERR_NOT_FOUND: nothing there
 * (read_only). ERR_IO, ERR_NOMEM. read_only: not in a process that has the store open as well (lmdb.h "Caveats").
 * ret_quarantined (may be NULL) receives the path of the copy that was set aside, or an empty string; give PATH_MAX
 * bytes. After a quarantine reterr->text says why. */
enum err store_open(struct loop *loop, const struct store_options *options, struct store **ret_store,
                    char *ret_quarantined, size_t quarantined_size, struct fault *reterr) MUST_CHECK;
/* Waits for the commit in hand; queued batches are dropped without done. Batches still being built may be freed
 * afterwards. May be called from done, not from a reader's fn. Accepts NULL. */
void store_close(struct store *store);
DEFINE_CLEANUP(struct store, store_close)

/* ---- writing ---- */
/* ERR_NOMEM only. */
enum err store_batch_new(struct store *store, struct store_batch **ret_batch) MUST_CHECK;
void store_batch_free(struct store_batch *batch);
DEFINE_CLEANUP(struct store_batch, store_batch_free)
/* Copies key (1..STORE_KEY_MAX bytes) and value (<= 1 MiB). Later operations win over earlier ones. ERR_NOMEM. */
enum err store_put(struct store_batch *batch, unsigned table, struct slice key, struct slice value) MUST_CHECK;
/* As store_put, but gives the value's bytes to be filled in before the next call on the batch. */
enum err store_put_reserve(struct store_batch *batch, unsigned table, struct slice key, size_t value_len,
                           uint8_t **ret_value) MUST_CHECK;
/* A missing key is no error. */
enum err store_delete(struct store_batch *batch, unsigned table, struct slice key) MUST_CHECK;
/* All keys from..to, both included. */
enum err store_delete_range(struct store_batch *batch, unsigned table, struct slice from, struct slice to) MUST_CHECK;
size_t store_batch_bytes(const struct store_batch *batch);
size_t store_batch_ops(const struct store_batch *batch);
/* done(arg, OK | ERR_FULL | ERR_IO | ERR_NOMEM) on the loop. Above the cap a batch passes if it frees at least as
 * many bytes as it adds. The batch is consumed on OK only: ERR_NOMEM, nothing is queued. */
enum err store_commit(struct store *store, struct store_batch *batch, void (*done)(void *arg, enum err result),
                      void *arg) MUST_CHECK;
size_t store_commits_pending(const struct store *store);
bool store_broken(const struct store *store);
/* Names a batch; never 0, never repeated within a store. */
uint64_t store_batch_serial(const struct store_batch *batch);
/* Serial of the batch whose done is being called at this moment; 0 outside done. */
uint64_t store_telling(const struct store *store);

/* ---- reading: what is committed, not what is pending ---- */
/* Appends the value to ret_value. ERR_NOT_FOUND, ERR_IO, ERR_NOMEM. */
enum err store_get(struct store *store, unsigned table, struct slice key, struct buffer *ret_value) MUST_CHECK;
/* In key order from..to (both included; an empty `to` means to the end). key and value are borrowed until fn returns;
 * fn returns false to stop. The store must not be closed in fn. ERR_IO. */
enum err store_foreach(struct store *store, unsigned table, struct slice from, struct slice to,
                       bool (*fn)(void *arg, struct slice key, struct slice value), void *arg) MUST_CHECK;

struct store_usage {
    uint64_t size_bytes; /* of the file */
    uint64_t cap_bytes;  /* what commits may fill */
    uint64_t used_bytes; /* pages in use; freed pages are not counted */
    uint64_t commits, failed_commits;
    enum err failing;        /* why the latest commit failed; OK when it did not */
    int64_t failing_since_us; /* loop time of the first failure of the row; 0 = the latest commit succeeded */
    int64_t last_commit_us; /* duration of the last commit, modelled flush included */
};
void store_usage(const struct store *store, struct store_usage *ret_usage);

/* ---- the in-memory twin ---- */
/* A disk outlives its store: store_close on a memory store is a crash (unfinished commits are lost). */
enum err store_disk_new(uint64_t size_bytes, struct store_disk **ret_disk) MUST_CHECK;
void store_disk_free(struct store_disk *disk);
/* A deep copy, for restoring an old image. */
enum err store_disk_clone(const struct store_disk *disk, struct store_disk **ret_disk) MUST_CHECK;
/* While set, commits fail with ERR_FULL (no room) or ERR_IO. */
enum store_disk_mode { STORE_DISK_OK, STORE_DISK_FULL, STORE_DISK_EIO, STORE_DISK_LIES /* done before durable */ };
void store_disk_set_mode(struct store_disk *disk, enum store_disk_mode mode);
/* A planted fault of the disk: with STORE_DISK_LIES, what was reported done since the last store_disk_settle is undone
 * by the next close. */
void store_disk_settle(struct store_disk *disk);
/* How many of the batches that are under way the next close still makes durable (their done is never called): a power
 * cut may come between a commit and the news of it. Then 0 again. */
void store_disk_set_cut(struct store_disk *disk, unsigned batches);
/* For checkers. fn is told of every value as it becomes part of a table, and (undone) when a power cut takes it out
 * again. NULL ends it. A clone is not watched. */
void store_disk_watch(struct store_disk *disk,
                      void (*fn)(void *arg, unsigned table, struct slice key, struct slice value, bool undone),
                      void *arg);
/* What a power cut now would leave of this key; borrowed until the disk changes. ERR_NOT_FOUND. */
enum err store_disk_get(const struct store_disk *disk, unsigned table, struct slice key,
                        struct slice *ret_value) MUST_CHECK;
/* All entries of a table in key order. */
void store_disk_foreach(const struct store_disk *disk, unsigned table,
                        void (*fn)(void *arg, struct slice key, struct slice value), void *arg);
/* A planted fault: takes a key out of a disk that is not open. */
void store_disk_erase(struct store_disk *disk, unsigned table, struct slice key);
uint64_t store_disk_used(const struct store_disk *disk); /* bytes */
/* latency of a commit is the loop's worker latency. ERR_CONFLICT when the disk is open already. */
enum err store_open_memory(struct loop *loop, struct store_disk *disk, unsigned table_count,
                           struct store **ret_store) MUST_CHECK;

#endif
