/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-power-cut: makes states of the disks after a power cut out of a recording (recorder.c), and looks at each.
 *
 *   weir-power-cut --record DIR --devices N [--states N] [--seed S] [--jobs N] [--scratch DIR] [--live DIR]
 *                  [--state K --build DIR]
 *
 * DIR holds `base` (the tree when the recording began), `inodes` (disk.h) and the logs. --live compares the end of the
 * recording with the real files first: a recorder that misses something makes the run fail. --state K --build DIR
 * leaves state K in DIR and looks at nothing. All states are determined by the recording, the seed and their number.
 *
 * One state is one instant for all machines. Cut points: a third just after the beginning of a send that carries a
 * promise, a third around a call on a file, a sixth around a call on names, the rest anywhere.
 * Closing line: states= lost= corrupt= phantom= duplicated= order_broken= promises= records= waiting= torn=; exit 1
 * when one of the first five is not 0, 2 when the run itself failed.
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log/log.h"
#include "tests/support/power_cut/disk.h"
#include "tests/support/power_cut/survey.h"

enum { JOBS_MAX = 64, TOLD_MAX = 5, COMPLAINTS_MAX = 16 * 1024, NAMES_AROUND = 40 };

struct options {
    const char *record, *scratch, *live, *build;
    uint64_t states, seed, state;
    unsigned devices, jobs;
};
struct point {
    uint64_t state, stamp;
    struct cut cut;
};
struct result { /* of a job, shared */
    struct tally tally;
    uint64_t states, bad, waiting, torn;
};

/* ---- cut points ---- */
struct stamps {
    uint64_t *files, *names; /* owned: begins and ends */
    size_t file_count, name_count;
    const uint64_t *promises;
    size_t promise_count;
};

static void collect_stamps(const struct recording *r, const struct facts *facts, struct stamps *ret)
{
    *ret = (struct stamps){.files = grown(NULL, 2 * r->count * sizeof(uint64_t)),
                           .names = grown(NULL, 2 * r->count * sizeof(uint64_t))};
    for (size_t i = 0; i < r->count; i++) {
        const struct recording_entry *head = r->entries[i].head;
        bool names = head->kind == RECORDING_CREATE || head->kind == RECORDING_MKDIR ||
                     head->kind == RECORDING_RENAME || head->kind == RECORDING_UNLINK;
        if (head->kind != RECORDING_SEND) {
            uint64_t *list = names ? ret->names : ret->files;
            size_t *count = names ? &ret->name_count : &ret->file_count;
            list[(*count)++] = head->begin;
            list[(*count)++] = head->end;
        }
    }
    ret->promises = facts_stamps(facts, &ret->promise_count);
}

static struct point point_of(const struct options *o, const struct stamps *stamps, uint64_t last, uint64_t state)
{
    struct chance c = {mix_u64(o->seed ^ mix_u64(state + 1))};
    struct point p = {.state = state, .cut = {.seed = mix_u64(c.state ^ 77)}};
    uint64_t kind = chance_below(&c, 6);
    if (kind < 2 && stamps->promise_count > 0) {
        p.stamp = stamps->promises[chance_below(&c, stamps->promise_count)] + 1;
    } else if (kind < 4 && stamps->file_count > 0) {
        p.stamp = stamps->files[chance_below(&c, stamps->file_count)] + chance_below(&c, 2);
    } else if (kind < 5 && stamps->name_count > 0) {
        p.stamp = stamps->names[chance_below(&c, stamps->name_count)] + chance_below(&c, NAMES_AROUND);
    } else {
        p.stamp = 1 + chance_below(&c, last);
    }
    bool alike = chance_below(&c, 2) == 0;
    enum cut_mode mode = (enum cut_mode)chance_below(&c, CUT_MODES);
    for (unsigned m = 0; m < DISK_MACHINES; m++) {
        p.cut.mode[m] = alike ? mode : (enum cut_mode)chance_below(&c, CUT_MODES);
    }
    return p;
}

static int by_stamp(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    return x->stamp < y->stamp ? -1 : x->stamp > y->stamp;
}

/* ---- one state ---- */
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void fresh_dir(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (mkdir(path, 0700) != 0) {
        give_up("%s: %s", path, strerror(errno));
    }
}

static void tell(const struct options *o, const struct point *p, const struct tally *t, struct buffer *complaints)
{
    char modes[256] = "";
    size_t at = 0;
    for (unsigned m = 1; m <= o->devices + 2 && m < DISK_MACHINES; m++) {
        at += (size_t)snprintf(modes + at, sizeof modes - at, " %s", cut_mode_name(p->cut.mode[m]));
    }
    buffer_put_u8(complaints, 0);
    fprintf(stderr,
            "state %" PRIu64 " (stamp %" PRIu64 ", kept:%s): lost=%" PRIu64 " corrupt=%" PRIu64 " phantom=%" PRIu64
            " duplicated=%" PRIu64 " order_broken=%" PRIu64
            "\n%s  to build it: weir-power-cut --record %s --devices %u --seed %" PRIu64 " --state %" PRIu64
            " --build NEW\n",
            p->state, p->stamp, modes, t->lost, t->corrupt, t->phantom, t->duplicated, t->order,
            buffer_err(complaints) == OK ? (const char *)complaints->ptr : "  (too much to tell)\n", o->record,
            o->devices, o->seed, p->state);
}

static void add(struct tally *sum, const struct tally *t)
{
    sum->lost += t->lost;
    sum->corrupt += t->corrupt;
    sum->phantom += t->phantom;
    sum->duplicated += t->duplicated;
    sum->order += t->order;
    sum->promises += t->promises;
    sum->records += t->records;
}

static struct disk *disk_of(const struct options *o)
{
    char base[PATH_MAX], inodes[PATH_MAX];
    snprintf(base, sizeof base, "%s/base", o->record);
    snprintf(inodes, sizeof inodes, "%s/inodes", o->record);
    return disk_new(base, inodes);
}

static struct survey *survey_of_base(const struct options *o, const struct facts *facts, const char *dir)
{
    struct cut_stats stats;
    BUFFER(complaints, COMPLAINTS_MAX);
    struct disk *disk = disk_of(o);
    disk_cut(disk, &(struct cut){0}, dir, &stats);
    disk_free(disk);
    return survey_new(dir, o->devices, facts, &complaints);
}

/* ---- a job: every jobs-th point ---- */
static void look(const struct options *o, struct disk *disk, const struct point *p, const struct survey *base,
                 const struct facts *facts, const char *dir, struct result *result)
{
    struct cut_stats stats;
    struct tally tally = {0};
    BUFFER(complaints, COMPLAINTS_MAX);
    fresh_dir(dir);
    disk_advance(disk, p->stamp);
    disk_cut(disk, &p->cut, dir, &stats);
    struct survey *survey = survey_new(dir, o->devices, facts, &complaints);
    survey_judge(survey, base, facts, p->stamp, &tally);
    survey_free(survey);
    if (!tally_clean(&tally) && result->bad++ < TOLD_MAX) {
        tell(o, p, &tally, &complaints);
    }
    add(&result->tally, &tally);
    result->states++;
    result->waiting += stats.waiting;
    result->torn += stats.torn;
}

static void job(const struct options *o, const struct recording *recording, const struct facts *facts,
                const struct point *points, unsigned number, struct result *result)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/power-cut-%d", o->scratch, (int)getpid());
    fresh_dir(dir);
    struct survey *before = survey_of_base(o, facts, dir);
    struct disk *disk = disk_of(o);
    disk_play(disk, recording);
    for (uint64_t i = number; i < o->states; i += o->jobs) {
        look(o, disk, &points[i], before, facts, dir, result);
    }
    disk_free(disk);
    survey_free(before);
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void run_jobs(const struct options *o, const struct recording *recording, const struct facts *facts,
                     const struct point *points, struct result *results)
{
    pid_t pids[JOBS_MAX];
    for (unsigned i = 0; i < o->jobs; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            job(o, recording, facts, points, i, &results[i]);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < o->jobs; i++) {
        int status = 0;
        if (pids[i] < 0 || waitpid(pids[i], &status, 0) < 0 || status != 0) {
            give_up("a job ended early (status %d)", status);
        }
    }
}

/* ---- the whole ---- */
static int conclude(const struct options *o, const struct result *results, unsigned differing, unsigned changed)
{
    struct result sum = {0};
    for (unsigned i = 0; i < o->jobs; i++) {
        add(&sum.tally, &results[i].tally);
        sum.states += results[i].states;
        sum.bad += results[i].bad;
        sum.waiting += results[i].waiting;
        sum.torn += results[i].torn;
    }
    const struct tally *t = &sum.tally;
    printf("states=%" PRIu64 " lost=%" PRIu64 " corrupt=%" PRIu64 " phantom=%" PRIu64 " duplicated=%" PRIu64
           " order_broken=%" PRIu64 " bad_states=%" PRIu64 " promises=%" PRIu64 " records=%" PRIu64 " waiting=%" PRIu64
           " torn=%" PRIu64 " unrecorded=%u changed=%u\n",
           sum.states, t->lost, t->corrupt, t->phantom, t->duplicated, t->order, sum.bad, t->promises, t->records,
           sum.waiting, sum.torn, differing, changed);
    return differing > 0 || sum.states != o->states ? 2 : !tally_clean(t) || changed > 0 ? 1 : 0;
}

static unsigned compare_live(const struct options *o, const struct recording *recording)
{
    struct disk *disk = disk_of(o);
    disk_play(disk, recording);
    disk_advance(disk, UINT64_MAX);
    unsigned differing = disk_compare(disk, o->live);
    disk_free(disk);
    return differing;
}

static void build_one(const struct options *o, const struct recording *recording, const struct point *p)
{
    struct cut_stats stats;
    struct disk *disk = disk_of(o);
    disk_play(disk, recording);
    disk_advance(disk, p->stamp);
    fresh_dir(o->build);
    disk_cut(disk, &p->cut, o->build, &stats);
    disk_free(disk);
    printf("state=%" PRIu64 " stamp=%" PRIu64 " waiting=%" PRIu64 " kept=%" PRIu64 " torn=%" PRIu64 "\n", p->state,
           p->stamp, stats.waiting, stats.kept, stats.torn);
}

static int look_at_states(const struct options *o, const struct recording *recording, const struct facts *facts,
                          const struct stamps *stamps)
{
    unsigned differing = o->live != NULL ? compare_live(o, recording) : 0;
    struct point *points = grown(NULL, o->states * sizeof *points);
    struct result *results =
        mmap(NULL, JOBS_MAX * sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (results == MAP_FAILED) {
        give_up("out of memory");
    }
    for (uint64_t i = 0; i < o->states; i++) {
        points[i] = point_of(o, stamps, recording->last, i);
    }
    qsort(points, o->states, sizeof *points, by_stamp);
    run_jobs(o, recording, facts, points, results);
    int status = conclude(o, results, differing, facts_changed(facts));
    munmap(results, JOBS_MAX * sizeof *results);
    free(points);
    return status;
}

static int run(const struct options *o)
{
    struct recording recording;
    struct stamps stamps;
    int status = 0;
    recording_load(&recording, o->record);
    struct facts *facts = facts_new(&recording);
    collect_stamps(&recording, facts, &stamps);
    if (o->build != NULL) {
        struct point p = point_of(o, &stamps, recording.last, o->state);
        build_one(o, &recording, &p);
    } else {
        status = look_at_states(o, &recording, facts, &stamps);
    }
    free(stamps.files);
    free(stamps.names);
    facts_free(facts);
    recording_free(&recording);
    return status;
}

static bool take_number(const char *name, const char *value, struct options *o)
{
    uint64_t number = strtoull(value, NULL, 10);
    if (strcmp(name, "--states") == 0) {
        o->states = number;
    } else if (strcmp(name, "--seed") == 0) {
        o->seed = number;
    } else if (strcmp(name, "--state") == 0) {
        o->state = number;
    } else if (strcmp(name, "--devices") == 0) {
        o->devices = (unsigned)number;
    } else if (strcmp(name, "--jobs") == 0) {
        o->jobs = (unsigned)min_u64(max_u64(number, 1), JOBS_MAX);
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.scratch = "/dev/shm", .states = 100, .seed = 1, .devices = 1, .jobs = 1};
    log_setup("weir-power-cut", LOG_ERROR);
    for (int i = 1; i < argc; i += 2) {
        const char **slot = strcmp(argv[i], "--record") == 0    ? &o.record
                            : strcmp(argv[i], "--scratch") == 0 ? &o.scratch
                            : strcmp(argv[i], "--live") == 0    ? &o.live
                            : strcmp(argv[i], "--build") == 0   ? &o.build
                                                                : NULL;
        if (i + 1 >= argc || (slot == NULL && !take_number(argv[i], argv[i + 1], &o))) {
            give_up("%s is not understood, or has no value", argv[i]);
        }
        if (slot != NULL) {
            *slot = argv[i + 1];
        }
    }
    if (o.record == NULL) {
        give_up("--record is missing");
    }
    return run(&o);
}
