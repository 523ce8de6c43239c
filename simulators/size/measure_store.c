/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real spool in a real store, in a folder of its own on the disk in question:
 *
 *   PLAIN    a record a commit                                           -> pages written by a commit
 *   SINGLE   the same, the one before trimmed with it                    -> flush, pages written by a trim
 *   GROUP    many a commit, those before trimmed with them               -> time per record of a busy gateway
 *   EMPTY, FILL, COUNT   pages counted, records added, pages counted     -> bytes that a record takes in pages
 *
 * One commit is under way at a time; its done begins the next. The bytes written are what the process has handed to
 * write calls (/proc/self/io, wchar): nothing else writes meanwhile.
 */
#include "simulators/size/measure.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"

enum { SINGLES = 150, GROUPS = 30, GROUP = 512, FILL_COMMITS = 40, FILL = 64, STORE_BYTES = 64 * 1024 * 1024 };
enum phase { PHASE_PLAIN, PHASE_SINGLE, PHASE_GROUP, PHASE_EMPTY, PHASE_FILL, PHASE_COUNT, PHASES };
#define TIME_MAX_US (5 * SECOND_US)
#define COUNT_US (250 * MS_US) /* the store counts its pages ten times a second */
static const struct {
    unsigned commits, records;
    bool trims;
    int64_t pause_us;
} plan[PHASES] = {
    [PHASE_PLAIN] = {SINGLES, 1, false, 0},        [PHASE_SINGLE] = {SINGLES, 1, true, 0},
    [PHASE_GROUP] = {GROUPS, GROUP, true, 0},      [PHASE_EMPTY] = {2, 1, true, COUNT_US},
    [PHASE_FILL] = {FILL_COMMITS, FILL, false, 0}, [PHASE_COUNT] = {1, 1, false, COUNT_US},
};

struct figures {
    unsigned commits;
    double written, used; /* bytes */
    int64_t *commit_us;   /* of each; owned; NULL = not wanted */
};
struct bench {
    struct loop *loop;
    struct store *store;
    struct spool *spool;
    uint8_t *body;
    size_t body_len;
    enum phase phase;
    bool created;
    struct loop_timer limit; /* of a phase */
    bool over;
    struct loop_timer pause;
    double written_before, used_before;
    struct figures got[PHASES];
    enum err err;
};

static double bytes_written(void)
{
    unsigned long long read, wrote = 0;
    FILE *f = fopen("/proc/self/io", "re");
    if (f == NULL) {
        return 0;
    }
    if (fscanf(f, "rchar: %llu wchar: %llu", &read, &wrote) != 2) {
        wrote = 0;
    }
    (void)fclose(f);
    return (double)wrote;
}

static double bytes_used(struct bench *b)
{
    struct store_usage usage;
    store_usage(b->store, &usage);
    return (double)usage.used_bytes;
}

static void begin_phase(struct bench *b, enum phase phase)
{
    b->phase = phase;
    b->over = false;
    if (phase == PHASES) {
        loop_stop(b->loop);
        return;
    }
    b->written_before = bytes_written();
    b->used_before = bytes_used(b);
    loop_timer_in(&b->limit, TIME_MAX_US);
    loop_timer_in(&b->pause, plan[phase].pause_us);
}

static void end_phase(struct bench *b)
{
    struct figures *f = &b->got[b->phase];
    f->written = bytes_written() - b->written_before;
    f->used = bytes_used(b) - b->used_before;
    loop_timer_cancel(&b->limit);
    begin_phase(b, b->phase + 1);
}

static void done(void *arg, enum err result)
{
    struct bench *b = arg;
    struct store_usage usage;
    store_usage(b->store, &usage);
    spool_settle(b->spool, spool_next(b->spool) - 1, result);
    if (result != OK) {
        b->err = result;
        loop_stop(b->loop);
        return;
    }
    if (!b->created) {
        b->created = true;
        begin_phase(b, PHASE_PLAIN);
        return;
    }
    struct figures *f = &b->got[b->phase];
    if (f->commit_us != NULL) {
        f->commit_us[f->commits] = usage.last_commit_us;
    }
    f->commits++;
    if (f->commits == plan[b->phase].commits || (b->over && f->commits >= 5)) {
        end_phase(b);
    } else {
        loop_timer_in(&b->pause, plan[b->phase].pause_us);
    }
}

static enum err fill(struct bench *b, struct store_batch *batch)
{
    uint64_t number;
    if (plan[b->phase].trims) {
        TRY(spool_trim(b->spool, batch, spool_durable(b->spool)));
    }
    for (unsigned i = 0; i < plan[b->phase].records; i++) {
        for (size_t at = 0; at + 8 <= b->body_len; at += 8) { /* no two alike: disks compress */
            uint64_t word = loop_random(b->loop);
            memcpy(b->body + at, &word, sizeof word);
        }
        TRY(spool_append(b->spool, batch, 1, slice_of(b->body, b->body_len), &number));
    }
    return OK;
}

static void commit_next(void *arg)
{
    struct bench *b = arg;
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    enum err err = store_batch_new(b->store, &batch);
    err = err == OK ? fill(b, batch) : err;
    err = err == OK ? store_commit(b->store, batch, done, b) : err;
    if (err != OK) {
        b->err = err;
        loop_stop(b->loop);
        return;
    }
    (void)take(batch);
}

static void on_limit(void *arg)
{
    struct bench *b = arg;
    b->over = true;
}

static enum err begin(struct bench *b)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(store_batch_new(b->store, &batch));
    TRY(spool_create(b->spool, batch));
    TRY(store_commit(b->store, batch, done, b));
    (void)take(batch);
    return OK;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double median_s(int64_t *us, unsigned count)
{
    qsort(us, count, sizeof *us, by_value);
    return count > 0 ? (double)us[count / 2] / (double)SECOND_US : 0;
}

static double pages_of(const struct figures *f)
{
    return f->written / f->commits / SIZE_PAGE;
}

static void conclude(struct bench *b, double body, struct size_constants *c, struct buffer *notes)
{
    struct figures *single = &b->got[PHASE_SINGLE], *group = &b->got[PHASE_GROUP];
    struct size_entry packed = size_entry_of(body, false, 1);
    double flush_s = median_s(single->commit_us, single->commits), group_s = median_s(group->commit_us, group->commits);
    double records = (double)b->got[PHASE_FILL].commits * FILL + 1;
    double in_pages = (b->got[PHASE_FILL].used + b->got[PHASE_COUNT].used) / records;
    double plain_pages = pages_of(&b->got[PHASE_PLAIN]), single_pages = pages_of(single);
    measure_set(c, SIZE_PAGE_FILL, in_pages / packed.page_bytes, "measured: spool in LMDB, filled");
    measure_set(c, SIZE_COMMIT_PAGES, fmax(plain_pages - packed.page_bytes / SIZE_PAGE, 1),
                "measured: commits of one record");
    measure_set(c, SIZE_TRIM_PAGES, fmax(single_pages - plain_pages, 0),
                "measured: commits of one record, trimmed behind");
    measure_set(c, SIZE_STORE_CPU, fmax(group_s - flush_s, 0) / GROUP,
                "measured: commits of 512 records, trimmed behind");
    buffer_printf(
        notes,
        "store: a record of %.0f bytes is %.0f bytes in the spool (memory) and %.0f in LMDB's pages (model %.0f)\n"
        "store: a commit of one record takes %.3f ms (median of %u) and writes %.1f pages of 4 KiB\n"
        "store: commits of %d with %d trimmed: %.0f records/s\n",
        body, packed.bytes, in_pages, packed.page_bytes, flush_s * 1e3, single->commits, single_pages, GROUP, GROUP,
        GROUP / fmax(group_s, 1e-9));
}

static enum err run(struct bench *b, const char *folder, double body, struct fault *reterr)
{
    static const char *const tables[] = {"spool", "meta"};
    const struct store_options store = {.path = folder, .tables = tables, .table_count = 2, .size_bytes = STORE_BYTES};
    const struct spool_options spool = {.table = 0, .meta_table = 1, .lane = 1};
    b->body_len = (size_t)fmin(fmax(body, 8), 8000);
    b->body = calloc(1, b->body_len);
    b->got[PHASE_SINGLE].commit_us = calloc(SINGLES, sizeof(int64_t));
    b->got[PHASE_GROUP].commit_us = calloc(GROUPS, sizeof(int64_t));
    if (b->body == NULL || b->got[PHASE_SINGLE].commit_us == NULL || b->got[PHASE_GROUP].commit_us == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    TRY(loop_new(&b->loop));
    TRY(store_open(b->loop, &store, &b->store, NULL, 0, reterr));
    TRY(spool_open(b->loop, b->store, &spool, &b->spool, reterr));
    loop_timer_init(&b->limit, b->loop, on_limit, b);
    loop_timer_init(&b->pause, b->loop, commit_next, b);
    enum err err = begin(b);
    err = err == OK ? loop_run(b->loop) : err;
    err = err == OK ? b->err : err;
    return err == OK ? OK : fault_set(reterr, err, "%s: the store in %s does not take records", err_name(err), folder);
}

static void bench_deinit(struct bench *b)
{
    if (b->loop != NULL) {
        loop_timer_cancel(&b->limit);
        loop_timer_cancel(&b->pause);
    }
    spool_free(b->spool);
    store_close(b->store);
    loop_free(b->loop);
    free(b->body);
    free(b->got[PHASE_SINGLE].commit_us);
    free(b->got[PHASE_GROUP].commit_us);
}

enum err measure_store(const struct size_settings *s, double block_bytes, struct size_constants *c,
                       struct buffer *notes, struct fault *reterr)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s/weir-size-XXXXXX", s->measure_path);
    if (mkdtemp(folder) == NULL) {
        return fault_set(reterr, ERR_IO, "no folder can be made in measure_path %s", s->measure_path);
    }
    struct bench b = {0};
    enum err err = run(&b, folder, block_bytes, reterr);
    if (err == OK) {
        conclude(&b, (double)b.body_len, c, notes);
    }
    bench_deinit(&b);
    measure_clear(folder);
    return err;
}
