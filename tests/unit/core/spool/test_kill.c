/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a process that appends and trims without end is killed at any instant, twenty times over, and everything
 * that it had reported durable is there, in order and intact, and nothing that it had not written.
 *
 * The child writes a progress report after each settled batch into memory that it shares with this process, then a byte
 * into a pipe; this process kills it after so many bytes.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "core/spool/spool.h"
#include "tests/unit/core/store/rig.h"

enum { ROUNDS = 20, DEPTH = 3, BODY_MAX = 300 };

struct progress { /* shared; each field written by the child before it is told to anybody */
    volatile uint64_t epoch, durable, trimmed, appended;
};

static struct progress *progress;

static struct slice body_of(uint64_t epoch, uint64_t number, uint8_t out[BODY_MAX])
{
    uint64_t seed = mix_u64(epoch ^ number);
    size_t len = seed % BODY_MAX;
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)mix_u64(seed + i);
    }
    return slice_of(out, len);
}

/* ---- the child ---- */
struct child {
    struct rig rig;
    struct spool *spool;
    int pipe;
};
struct submitted {
    struct child *child;
    uint64_t last, trimmed;
};

static void submit(struct child *c);

static void on_settled(void *arg, enum err result)
{
    struct submitted *s = arg;
    struct child *c = s->child;
    if (result != OK) {
        _exit(2);
    }
    spool_settle(c->spool, s->last, result);
    progress->durable = spool_durable(c->spool);
    progress->trimmed = s->trimmed;
    free(s);
    if (write(c->pipe, ".", 1) != 1) {
        _exit(3);
    }
    submit(c);
}

static void submit(struct child *c)
{
    uint8_t body[BODY_MAX];
    struct store_batch *batch = NULL;
    struct submitted *s = calloc(1, sizeof *s);
    if (s == NULL || store_batch_new(c->rig.store, &batch) != OK) {
        _exit(4);
    }
    uint64_t first, epoch = spool_epoch(c->spool), count = 1 + mix_u64(spool_next(c->spool)) % 40;
    for (uint64_t i = 0; i < count; i++) {
        progress->appended = spool_next(c->spool);
        if (spool_append(c->spool, batch, 1, body_of(epoch, spool_next(c->spool), body), &first) != OK) {
            _exit(5);
        }
    }
    /* keep about 400 entries */
    uint64_t durable = spool_durable(c->spool);
    if (durable > 400 && spool_trim(c->spool, batch, durable - 400) != OK) {
        _exit(6);
    }
    *s = (struct submitted){.child = c, .last = spool_next(c->spool) - 1, .trimmed = spool_trimmed(c->spool)};
    if (store_commit(c->rig.store, batch, on_settled, s) != OK) {
        _exit(7);
    }
}

static void on_created(void *arg, enum err result)
{
    struct child *c = arg;
    if (result != OK) {
        _exit(8);
    }
    spool_settle(c->spool, 0, result);
    progress->epoch = spool_epoch(c->spool);
    for (int i = 0; i < DEPTH; i++) {
        submit(c);
    }
}

static void open_spool(struct rig *rig, struct spool **ret_spool)
{
    struct spool_options options = {.table = 0, .meta_table = 1, .lane = 1};
    CHECK_OK(rig_try_open(rig, 4 * RIG_SIZE));
    CHECK_STR(rig->quarantined, "");
    CHECK_OK(spool_open(rig->loop, rig->store, &options, ret_spool, &rig->fault));
}

static _Noreturn void run_child(const struct rig *parent, int pipe)
{
    static struct child c;
    memcpy(c.rig.path, parent->path, sizeof c.rig.path);
    c.pipe = pipe;
    CHECK_OK(loop_new(&c.rig.loop));
    open_spool(&c.rig, &c.spool);
    if (spool_epoch(c.spool) == 0) {
        struct store_batch *batch = rig_batch(&c.rig);
        if (spool_create(c.spool, batch) != OK || store_commit(c.rig.store, batch, on_created, &c) != OK) {
            _exit(9);
        }
    } else {
        on_created(&c, OK);
    }
    _exit(loop_run(c.rig.loop) == OK ? 10 : 11);
}

/* ---- the parent ---- */
static void kill_after(const struct rig *rig, unsigned commits)
{
    int ends[2], status;
    char bytes[16];
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        run_child(rig, ends[1]);
    }
    close(ends[1]);
    ssize_t n = 1;
    for (unsigned seen = 0; seen < commits && n > 0; seen += (unsigned)n) {
        n = read(ends[0], bytes, sizeof bytes < commits - seen ? sizeof bytes : commits - seen);
    }
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status)); /* otherwise it found something wrong itself */
    close(ends[0]);
}

struct check {
    uint64_t epoch, expected;
};

static bool check_entry(void *arg, const struct spool_entry *entry)
{
    struct check *c = arg;
    uint8_t body[BODY_MAX];
    CHECK(!entry->damaged);
    CHECK_INT(entry->first, c->expected);
    CHECK_INT(entry->last, c->expected);
    CHECK(slice_equal(entry->body, body_of(c->epoch, c->expected, body)));
    c->expected++;
    return true;
}

static void verify(struct rig *rig)
{
    CLEANUP(spool_freep) struct spool *spool = NULL;
    open_spool(rig, &spool);
    if (progress->epoch != 0) {
        CHECK(spool_epoch(spool) == progress->epoch);
    }
    CHECK(spool_durable(spool) >= progress->durable);
    CHECK(spool_durable(spool) <= progress->appended);
    CHECK(spool_trimmed(spool) >= progress->trimmed);
    struct check c = {.epoch = spool_epoch(spool), .expected = spool_trimmed(spool) + 1};
    CHECK_OK(spool_read(spool, 0, check_entry, &c));
    CHECK_INT(c.expected, spool_durable(spool) + 1);
    rig_close(rig);
}

static void nothing_reported_durable_is_lost_by_a_kill(void **state)
{
    (void)state;
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(progress != MAP_FAILED);
    struct rig rig;
    rig_begin(&rig);
    for (unsigned round = 0; round < ROUNDS; round++) {
        kill_after(&rig, round == 0 ? 0 : (unsigned)(mix_u64(round) % 60));
        verify(&rig);
    }
    CHECK(progress->durable > 1000);
    munmap(progress, sizeof *progress);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_reported_durable_is_lost_by_a_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
