/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-fleet simulate: seeds in, verdict out. Each seed is a plan (plan_make.c), carried out on a world of its own with
 * all checks (run.c). The first seed that fails is cut down to what matters (shrink.c), saved, and the run ends.
 */
#include "simulators/trial/trial.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/log/log.h"
#include "core/loop/loop.h"
#include "core/options/options.h"
#include "simulators/trial/run.h"

struct settings {
    int64_t seeds, first, seed, shrink_runs;
    char *plan, *save;
    int mistake;
    bool json, twice, print_plan, verbose;
};
#define AT(field) offsetof(struct settings, field)
static const struct option table[] = {
    {.name = "seeds", .type = OPTION_INT, .offset = AT(seeds), .min = 1, .max = 1e9, .preset = "200",
     .help = "how many seeds, one after the other"},
    {.name = "first", .type = OPTION_INT, .offset = AT(first), .min = 0, .max = 1e15, .preset = "1",
     .help = "the first of them"},
    {.name = "seed", .type = OPTION_INT, .offset = AT(seed), .min = -1, .max = 1e15, .preset = "-1",
     .help = "this one seed only; -1 = as seeds and first say"},
    {.name = "plan", .type = OPTION_FILE, .offset = AT(plan), .preset = "",
     .help = "this plan only, instead of seeds: a file as a failing run saves it"},
    {.name = "mistake", .type = OPTION_ENUM, .offset = AT(mistake),
     .words = "none|ack-before-commit|send-before-fsync|sink-without-mark|trim-before-ack|unsynced-epoch|"
              "state-without-records",
     .preset = "none", .help = "plants this mistake in every world; the checks must find it"},
    {.name = "json", .type = OPTION_BOOL, .offset = AT(json), .preset = "false",
     .help = "the report on stdout as JSON"},
    {.name = "twice", .type = OPTION_BOOL, .offset = AT(twice), .preset = "false",
     .help = "runs every seed a second time and compares the digests of everything that happened"},
    {.name = "shrink-runs", .type = OPTION_INT, .offset = AT(shrink_runs), .min = 0, .max = 1e6, .preset = "400",
     .help = "runs spent on cutting a failing plan down; 0 = not at all"},
    {.name = "save", .type = OPTION_PATH, .offset = AT(save), .preset = "",
     .help = "file for the cut-down plan of a failing seed; empty = simulate-SEED[-MISTAKE].plan in the current "
             "directory, never over a file that is there, and not when a plan is replayed"},
    {.name = "print-plan", .type = OPTION_BOOL, .offset = AT(print_plan), .preset = "false",
     .help = "prints the plan of every seed before it runs"},
    {.name = "verbose", .type = OPTION_BOOL, .offset = AT(verbose), .preset = "false",
     .help = "a line per seed, and what the simulated programs log"},
    {.name = NULL}};
/* A plan says itself which world it is for. */
static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    if (s->plan != NULL && s->plan[0] != '\0' && (s->seed >= 0 || s->first != 1)) {
        buffer_put_str(problems, "seed: a plan names its own seed; give either --plan or --seed\n");
        return ERR_RANGE;
    }
    return OK;
}

static const struct options_program program = {
    .name = "weir-fleet simulate",
    .summary = "devices, gateways, bridge and sink on a virtual clock, with faults from a seed",
    .table = table,
    .settings_size = sizeof(struct settings),
    .needs_no_file = true,
    .example = "weir-fleet simulate --seeds 1000",
    .check = check,
    .exits = "Exit: 0 every check held, 1 one did not, or the run was broken off, 2 usage\n"};

static volatile sig_atomic_t interrupted;

static void on_signal(int signo)
{
    (void)signo;
    interrupted = 1;
}

struct trial {
    const struct settings *settings;
    struct loop *clock; /* a real one, for the wall clock */
    int64_t began_us, told_us;
    uint64_t done, failed_seed, unlike;
    bool failed;
    struct world_report sum;
    uint64_t injected[PLAN_KIND_COUNT];
    int64_t max_drain_us;
    double device_days;
    uint64_t drain_late;
};

/* ---- sums ---- */
static void add_up(struct trial *t, const struct plan *plan, const struct run_result *r)
{
    const struct world_report *from = &r->report;
    const struct {
        uint64_t *to, value;
    } sums[] = {{&t->sum.durable, from->durable},         {&t->sum.delivered, from->delivered},
                {&t->sum.readings, from->readings},       {&t->sum.lost, from->lost + from->waiting},
                {&t->sum.duplicated, from->duplicated},   {&t->sum.reordered, from->reordered},
                {&t->sum.corrupt, from->corrupt},         {&t->sum.phantom, from->phantom},
                {&t->sum.undeclared, from->undeclared},   {&t->sum.unfounded, from->unfounded},
                {&t->sum.order_broken, from->order_broken}, {&t->sum.acked_early, from->acked_early},
                {&t->sum.over_cap, from->over_cap},       {&t->sum.gaps, from->gaps},
                {&t->sum.miscounted, from->miscounted},   {&t->sum.suppressed, from->suppressed},
                {&t->sum.curated, from->curated},         {&t->sum.captured, from->captured},
                {&t->sum.windows, from->windows},
                {&t->sum.hop_gaps, from->hop_gaps},       {&t->sum.events, from->events},
                {&t->sum.alarms, from->alarms},           {&t->drain_late, !r->drained}};
    for (size_t i = 0; i < COUNT_OF(sums); i++) {
        *sums[i].to += sums[i].value;
    }
    for (int i = 0; i < PLAN_KIND_COUNT; i++) {
        t->injected[i] += r->injected[i];
    }
    t->sum.digest = mix_u64(t->sum.digest ^ from->digest);
    t->sum.max_disk_bytes = max_u64(t->sum.max_disk_bytes, from->max_disk_bytes);
    t->max_drain_us = max_i64(t->max_drain_us, r->drain_us);
    t->device_days += (double)r->simulated_us / (double)DAY_US * plan->world.devices;
}

static double elapsed_s(const struct trial *t)
{
    return (double)max_i64(loop_fresh_now_us(t->clock) - t->began_us, 1) / 1e6;
}

/* ---- one plan ---- */
static enum err run_once(const struct plan *plan, struct run_result *r)
{
    *r = (struct run_result){.drained = false};
    buffer_init(&r->complaints, 512 * 1024);
    return run_plan(plan, &interrupted, r);
}

static bool still_fails(void *arg, const struct plan *plan)
{
    (void)arg;
    struct run_result r;
    bool fails = run_once(plan, &r) == OK && r.violations > 0 && !r.interrupted;
    buffer_deinit(&r.complaints);
    return fails;
}

static enum err save(const char *path, const char *mode, const struct buffer *text)
{
    FILE *f = fopen(path, mode);
    if (f == NULL) {
        return ERR_IO;
    }
    bool good = fwrite(text->ptr, 1, text->len, f) == text->len;
    return fclose(f) == 0 && good ? OK : ERR_IO;
}

static void tell_shrunk(const struct trial *t, const struct plan *plan, unsigned runs)
{
    char path[4096];
    struct run_result r;
    BUFFER(text, 1 << 20);
    plan_print(plan, &text);
    if (t->settings->save != NULL && t->settings->save[0] != '\0') {
        (void)snprintf(path, sizeof(path), "%s", t->settings->save);
    } else {
        bool planted = plan->world.mistake != WORLD_MISTAKE_NONE;
        (void)snprintf(path, sizeof(path), "simulate-%" PRIu64 "%s%s.plan", t->failed_seed, planted ? "-" : "",
                       planted ? world_mistake_name(plan->world.mistake) : "");
    }
    (void)fprintf(stderr, "\ncut down in %u runs to %zu faults:\n\n%.*s\n", runs, plan->count, (int)text.len,
                  (const char *)text.ptr);
    if (run_once(plan, &r) == OK && r.violations > 0) {
        (void)fprintf(stderr, "%s\n", (const char *)r.complaints.ptr);
    }
    buffer_deinit(&r.complaints);
    bool named = t->settings->save != NULL && t->settings->save[0] != '\0';
    bool replayed = t->settings->plan != NULL && t->settings->plan[0] != '\0';
    if (replayed && !named) {
        return; /* it stands above, and in the file that it came from */
    }
    if (save(path, named ? "w" : "wx", &text) == OK) {
        (void)fprintf(stderr, "replay: weir-fleet simulate --plan %s\n", path);
    } else if (!named && errno == EEXIST) {
        (void)fprintf(stderr, "%s is there already and was left alone; --save FILE writes elsewhere\n", path);
    } else {
        (void)fprintf(stderr, "weir-fleet simulate: %s cannot be written; the plan stands above\n", path);
    }
}

static void tell_failure(struct trial *t, const struct plan *plan, const struct run_result *r)
{
    const char *mistake = world_mistake_name(plan->world.mistake);
    (void)fprintf(stderr, "seed %" PRIu64 " fails:\n%s", t->failed_seed, (const char *)r->complaints.ptr);
    if (t->settings->plan == NULL || t->settings->plan[0] == '\0') {
        (void)fprintf(stderr, "replay: weir-fleet simulate --seed %" PRIu64 "%s%s\n", t->failed_seed,
                      plan->world.mistake ? " --mistake " : "", plan->world.mistake ? mistake : "");
    }
    if (t->settings->shrink_runs == 0) {
        return;
    }
    struct plan small = {.entries = NULL};
    unsigned runs = 0;
    if (shrink_plan(plan, still_fails, NULL, (unsigned)t->settings->shrink_runs, &small, &runs) == OK) {
        tell_shrunk(t, &small, runs);
        plan_deinit(&small);
    }
}

static enum err run_twice(struct trial *t, const struct plan *plan, const struct run_result *first)
{
    struct run_result again;
    enum err err = run_once(plan, &again);
    if (err == OK && !again.interrupted && again.report.digest != first->report.digest) {
        t->unlike++;
        t->failed = true;
        (void)fprintf(stderr,
                      "seed %" PRIu64 ": the second run was another one: %016" PRIx64 ", first %016" PRIx64 "\n",
                      plan->world.seed, again.report.digest, first->report.digest);
    }
    buffer_deinit(&again.complaints);
    return err;
}

static void tell_seed(const struct trial *t, const struct plan *plan, const struct run_result *r)
{
    const struct world_report *w = &r->report;
    if (t->settings->verbose) {
        (void)fprintf(stderr,
                      "seed %" PRIu64 ": devices=%u lines=%u site=%d faults=%zu durable=%" PRIu64 " delivered=%" PRIu64
                      " gaps=%" PRIu64 " hop_gaps=%" PRIu64 " absorbed=%" PRIu64 " drain_s=%.1f events=%" PRIu64
                      " violations=%" PRIu64 " digest=%016" PRIx64 "\n",
                      plan->world.seed, plan->world.devices, plan->world.lines, plan->world.site, plan->count,
                      w->durable, w->delivered, w->gaps, w->hop_gaps, w->absorbed, (double)r->drain_us / 1e6,
                      w->events, r->violations, w->digest);
    }
}

/* Runs the plan and adds it up. */
static enum err try_plan(struct trial *t, const struct plan *plan)
{
    struct run_result r;
    if (t->settings->print_plan) {
        BUFFER(text, 1 << 20);
        plan_print(plan, &text);
        (void)fprintf(stderr, "%.*s\n", (int)text.len, (const char *)text.ptr);
    }
    enum err err = run_once(plan, &r);
    if (err == OK && !r.interrupted) {
        t->done++;
        add_up(t, plan, &r);
        tell_seed(t, plan, &r);
    }
    if (err == OK && !r.interrupted && r.violations > 0) {
        t->failed = true;
        t->failed_seed = plan->world.seed;
        tell_failure(t, plan, &r);
    } else if (err == OK && !r.interrupted && t->settings->twice) {
        err = run_twice(t, plan, &r);
    }
    buffer_deinit(&r.complaints);
    return err;
}

/* ---- seeds ---- */
static void tell_progress(struct trial *t, int64_t left)
{
    int64_t now_us = loop_fresh_now_us(t->clock);
    if (now_us - t->told_us < (isatty(STDERR_FILENO) ? SECOND_US : 10 * SECOND_US)) {
        return;
    }
    t->told_us = now_us;
    double s = elapsed_s(t);
    (void)fprintf(stderr, "%" PRIu64 " seeds, %.1f a second, %.0f device-days a second, about %.0f s to go\n", t->done,
                  (double)t->done / s, t->device_days / s, (double)left * s / (double)t->done);
}

static enum err try_seeds(struct trial *t)
{
    const struct settings *s = t->settings;
    uint64_t first = (uint64_t)(s->seed >= 0 ? s->seed : s->first);
    int64_t count = s->seed >= 0 ? 1 : s->seeds;
    for (int64_t i = 0; i < count && !interrupted && !t->failed; i++) {
        struct plan plan;
        TRY(plan_make(first + (uint64_t)i, (enum world_mistake)s->mistake, &plan));
        enum err err = try_plan(t, &plan);
        plan_deinit(&plan);
        TRY(err);
        if (t->done > 0) {
            tell_progress(t, count - i - 1);
        }
    }
    return OK;
}

static int try_file(struct trial *t)
{
    const char *path = t->settings->plan;
    BUFFER(text, 2 << 20);
    FILE *f = fopen(path, "r");
    char block[4096];
    for (size_t n; f != NULL && (n = fread(block, 1, sizeof(block), f)) > 0;) {
        buffer_put(&text, block, n);
    }
    bool good = f != NULL && !ferror(f) && buffer_err(&text) == OK;
    if (f != NULL) {
        (void)fclose(f);
    }
    if (!good) {
        (void)fprintf(stderr, "weir-fleet simulate: %s cannot be read: %s\n", path,
                      buffer_err(&text) == ERR_FULL ? "more than 2 MiB" : strerror(errno));
        return 2;
    }
    struct plan plan;
    struct fault fault = {0};
    if (plan_parse(buffer_slice(&text), &plan, &fault) != OK) {
        (void)fprintf(stderr, "%s: %s\n", path, fault.text);
        return 2;
    }
    if (t->settings->mistake != WORLD_MISTAKE_NONE) {
        plan.world.mistake = (enum world_mistake)t->settings->mistake;
    }
    enum err err = try_plan(t, &plan);
    plan_deinit(&plan);
    return err == OK ? 0 : 1;
}

/* ---- the report ---- */
struct figure {
    const char *name;
    uint64_t value;
};

static size_t figures(const struct trial *t, struct figure *out)
{
    const struct world_report *w = &t->sum;
    const struct figure list[] = {{"seeds", t->done},
                                  {"records", w->durable},
                                  {"readings", w->readings},
                                  {"lost", w->lost},
                                  {"duplicated", w->duplicated},
                                  {"reordered", w->reordered},
                                  {"corrupt", w->corrupt},
                                  {"phantom", w->phantom},
                                  {"undeclared", w->undeclared},
                                  {"unfounded", w->unfounded},
                                  {"order_broken", w->order_broken},
                                  {"acked_early", w->acked_early},
                                  {"over_cap", w->over_cap},
                                  {"miscounted", w->miscounted},
                                  {"drained_late", t->drain_late},
                                  {"declared", w->gaps},
                                  {"hop_gaps", w->hop_gaps},
                                  {"suppressed", w->suppressed},
                                  {"curated", w->curated},
                                  {"captured", w->captured},
                                  {"windows", w->windows},
                                  {"events", w->events},
                                  {"max_drain_ms", (uint64_t)(t->max_drain_us / MS_US)},
                                  {"max_disk_bytes", w->max_disk_bytes}};
    memcpy(out, list, sizeof(list));
    return COUNT_OF(list);
}

enum { FIGURES_MAX = 32 };

static void report_json(const struct trial *t)
{
    BUFFER(out, 64 * 1024);
    struct json j;
    struct figure list[FIGURES_MAX];
    size_t count = figures(t, list);
    json_init(&j, &out);
    json_object(&j, NULL);
    for (size_t i = 0; i < count; i++) {
        json_u64(&j, list[i].name, list[i].value);
    }
    json_object(&j, "faults");
    for (int i = 0; i < PLAN_KIND_COUNT; i++) {
        json_u64(&j, plan_kind_name((enum plan_kind)i), t->injected[i]);
    }
    json_object_end(&j);
    json_f64(&j, "device_days", t->device_days);
    json_f64(&j, "seconds", elapsed_s(t));
    json_f64(&j, "device_days_per_s", t->device_days / elapsed_s(t));
    json_hex(&j, "digest", t->sum.digest);
    json_bool(&j, "interrupted", interrupted != 0);
    if (t->failed && t->unlike == 0) {
        json_u64(&j, "failed_seed", t->failed_seed);
    }
    json_object_end(&j);
    printf("%.*s\n", (int)out.len, (const char *)out.ptr);
}

static void report_line(const struct trial *t)
{
    struct figure list[FIGURES_MAX];
    size_t count = figures(t, list);
    for (size_t i = 0; i < count; i++) {
        printf("%s=%" PRIu64 " ", list[i].name, list[i].value);
    }
    printf("faults=");
    for (int i = 0; i < PLAN_KIND_COUNT; i++) {
        printf("%s%s:%" PRIu64, i > 0 ? "," : "", plan_kind_name((enum plan_kind)i), t->injected[i]);
    }
    printf(" device_days=%.1f device_days_per_s=%.1f seconds=%.1f digest=%016" PRIx64, t->device_days,
           t->device_days / elapsed_s(t), elapsed_s(t), t->sum.digest);
    if (t->failed && t->unlike == 0) {
        printf(" failed_seed=%" PRIu64, t->failed_seed);
    }
    printf("%s\n", interrupted ? " interrupted=1" : "");
}

static int run_all(const struct settings *s)
{
    struct trial t = {.settings = s};
    CLEANUP(loop_freep) struct loop *clock = NULL;
    if (loop_new(&clock) != OK) {
        (void)fprintf(stderr, "weir-fleet simulate: no event loop\n");
        return 1;
    }
    t.clock = clock;
    t.began_us = t.told_us = loop_fresh_now_us(clock);
    int status = 0;
    if (s->plan != NULL && s->plan[0] != '\0') {
        status = try_file(&t);
    } else {
        enum err err = try_seeds(&t);
        if (err != OK) {
            (void)fprintf(stderr, "weir-fleet simulate: %s\n", err_name(err));
            status = 1;
        }
    }
    if (status == 2) {
        return 2;
    }
    if (s->json) {
        report_json(&t);
    } else {
        report_line(&t);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "weir-fleet simulate: the report cannot be written: %s\n", strerror(errno));
        return 1;
    }
    return t.failed || interrupted ? 1 : status;
}

int trial_main(int argc, char **argv)
{
    struct settings settings = {0};
    switch (options_main(&program, argc, argv, &settings)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_BAD:
        return 2;
    case OPTIONS_RUN:
        break;
    }
    log_setup("simulate", LOG_DEBUG);
    if (!settings.verbose) {
        log_mute();
    }
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    int status = run_all(&settings);
    options_free(&program, &settings);
    return status;
}
