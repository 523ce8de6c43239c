/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what `weir explain` works out is right where it can be worked out by hand: which samples a window was made of,
 * what an answer hangs on, which channel is unlike the normal run, which of many models has an id; and what is asked
 * wrongly ends with a sentence.
 */
#include <math.h>
#include <sys/stat.h>

#include "cloud-bridge/console/explain.h"
#include "tests/support/check.h"
#include "tests/support/tiny_model.h"

static char folder[] = "/tmp/weir-explain-XXXXXX";

static const char *path(const char *name)
{
    static char paths[8][200];
    static unsigned at;
    char *p = paths[at++ % COUNT_OF(paths)];
    snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
    return p;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "w");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

#define TREES                                                                                                          \
    "{\"version\":[1,7,4],\"learner\":{\"objective\":{\"name\":\"reg:squarederror\"},"                                 \
    "\"learner_model_param\":{\"base_score\":\"0\",\"num_class\":\"0\",\"num_feature\":\"1\"},"                        \
    "\"gradient_booster\":{\"name\":\"gbtree\",\"model\":{\"tree_info\":[0],\"trees\":[{\"left_children\":[1,-1,-1],"  \
    "\"right_children\":[2,-1,-1],\"split_indices\":[0,0,0],\"split_conditions\":[0.5,2,5],"                           \
    "\"default_left\":[0,0,0],\"split_type\":[0,0,0]}]}}}}"

static int start(void **state)
{
    (void)state;
    CHECK(mkdtemp(folder) != NULL);
    CHECK_INT(mkdir(path("a"), 0700), 0);
    CHECK_INT(mkdir(path("a/b"), 0700), 0);
    CHECK_INT(mkdir(path("empty"), 0700), 0);
    CHECK(tiny_model_write(path("a/b"), "tiny",
                           "model: tiny\nchannels: [temp, moist]\nrate: 10\nwindow: 4\nunsure_below: 0.8\n", "temp",
                           "moist"));
    write_text("a/forest.onnx", "what only another engine can read");
    write_text("a/forest.json", TREES);
    write_text("a/forest.yaml",
               "model: forest\nnetwork: forest.onnx\nchannels: [temp]\nrate: 10\nwindow: 2\noutput: score\n"
               "normal_below: 3\nfeatures:\n  m: {kind: mean, channel: temp}\n");
    write_text("a/far.onnx", "alone");
    write_text("a/far.yaml", "model: far\nnetwork: far.onnx\nchannels: [temp]\nwindow: 2\noutput: score\n"
                             "features:\n  m: {kind: mean, channel: temp}\n");
    write_text("a/other.yaml", "rules: {}\n");
    return 0;
}

static int end(void **state)
{
    char command[200];
    (void)state;
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

/* ---- what an answer hangs on ---- */
/* 1 x + 2 y - 8 z + 0 v; class 1 above 0. */
static struct occlusion_answer linear(void *arg, const float *row)
{
    double margin = (double)row[0] + 2 * (double)row[1] - 8 * (double)row[2];
    ++*(unsigned *)arg;
    return (struct occlusion_answer){.decision = {.class = margin > 0, .confidence = 0.5}, .margin = margin};
}

static void the_part_that_changes_most_comes_first(void **state)
{
    static const float row[] = {5, 5, 1, 9}, normal[] = {0, 1, 0.5F, 0};
    static const unsigned one_each[] = {0, 1, 2, 3}, together[] = {0, 0, 1, 7};
    float scratch[4];
    unsigned asked = 0;
    struct occlusion_effect effects[4];
    struct occlusion o = {.row = row,
                          .normal = normal,
                          .part = one_each,
                          .inputs = 4,
                          .parts = 4,
                          .scratch = scratch,
                          .answer = linear,
                          .arg = &asked};
    (void)state;
    occlusion_run(&o, linear(&asked, row).margin, effects);
    CHECK_INT(asked, 5);
    CHECK_INT(effects[0].part, 1); /* 2 x (5 - 1) for it */
    CHECK(effects[0].change == 8 && effects[0].without.margin == -1 && effects[0].without.decision.class == 0);
    CHECK_INT(effects[1].part, 0);
    CHECK(effects[1].change == 5);
    CHECK_INT(effects[2].part, 2); /* against it */
    CHECK(effects[2].change == -4 && effects[2].without.decision.class == 1);
    CHECK_INT(effects[3].part, 3);
    CHECK(effects[3].change == 0);
    o.part = together;
    o.parts = 2;
    occlusion_run(&o, 7, effects);
    CHECK_INT(effects[0].part, 0);
    CHECK(effects[0].change == 13);
    CHECK(effects[1].change == -4);
}

static struct occlusion_answer nothing(void *arg, const float *row)
{
    (void)arg;
    return (struct occlusion_answer){.margin = row[0] > 0 ? 1 : (double)NAN};
}

static void an_answer_that_is_no_number_is_no_change(void **state)
{
    static const float row[] = {1, 1}, normal[] = {0, 0};
    static const unsigned part[] = {0, 1};
    float scratch[2];
    struct occlusion_effect effects[2];
    const struct occlusion o = {
        .row = row, .normal = normal, .part = part, .inputs = 2, .parts = 2, .scratch = scratch, .answer = nothing};
    (void)state;
    occlusion_run(&o, 1, effects);
    CHECK(effects[0].change == 0 && effects[1].change == 0);
}

static void what_channels_add_is_the_whole_of_t2_and_spe(void **state)
{
    double rows[500][4], t2 = 0, spe = 0, each_t2[4], each_spe[4];
    struct drift_pca pca;
    uint64_t seed = 7;
    (void)state;
    for (unsigned n = 0; n < 500; n++) {
        double level = (double)(mix_u64(seed++) >> 11) / 0x1p53;
        for (unsigned i = 0; i < 4; i++) {
            rows[n][i] = level * (i + 1) + (double)(mix_u64(seed++) >> 11) / 0x1p53 / 10;
        }
    }
    CHECK_OK(drift_pca_fit(&pca, &rows[0][0], 500, 4, 0.9));
    rows[3][2] += 5;
    drift_pca_score(&pca, rows[3], &t2, &spe);
    occlusion_of_pca(&pca, rows[3], each_t2, each_spe);
    CHECK(fabs(each_t2[0] + each_t2[1] + each_t2[2] + each_t2[3] - t2) < 1e-9 * t2);
    CHECK(fabs(each_spe[0] + each_spe[1] + each_spe[2] + each_spe[3] - spe) < 1e-9 * spe);
    CHECK(each_spe[2] > each_spe[0] + each_spe[1] + each_spe[3]);
    rows[3][2] = NAN;
    drift_pca_score(&pca, rows[3], &t2, &spe);
    occlusion_of_pca(&pca, rows[3], each_t2, each_spe);
    CHECK(each_spe[2] == 0);
    CHECK(fabs(each_spe[0] + each_spe[1] + each_spe[3] - spe) < 1e-9 * (spe + 1e-9));
    drift_pca_deinit(&pca);
}

/* ---- windows ---- */
enum { ROWS = 90 };
static int64_t times[ROWS], records[ROWS];
static float values[ROWS][2];
static struct evidence_samples samples = {
    .times = times, .records = records, .values = values[0], .rows = ROWS, .channels = 2};

static void sample_every(int64_t period_us)
{
    samples.rows = ROWS;
    for (unsigned i = 0; i < ROWS; i++) {
        times[i] = SECOND_US * 1000 + i * period_us + (i % 2 == 0 ? 300 : -300); /* clocks are never quite even */
        values[i][0] = (float)i;
        values[i][1] = -(float)i;
    }
}

static const struct feature mean = {.kind = FEATURE_MEAN};
static const struct features_options every_30ms = {
    .channels = 2, .window = 8, .hop = 8, .rate_hz = 100.0F / 3, .features = &mean, .count = 1};

static void a_window_takes_every_third_sample_of_a_faster_device(void **state)
{
    CLEANUP(explain_window_deinit) struct explain_window w = {.rows = 0};
    (void)state;
    sample_every(10 * MS_US);
    CHECK_OK(explain_window_at(&samples, 60, &every_30ms, &w));
    CHECK_INT(w.values_missing, 0);
    CHECK(w.last_us == times[60] && w.first_us == times[60 - 7 * 3]);
    for (unsigned row = 0; row < 8; row++) {
        CHECK_INT(w.values[row * 2], 60 - (7 - row) * 3);
    }
    double is_mean, is_std;
    explain_moments(&w, 1, &is_mean, &is_std);
    CHECK(is_mean == -49.5 && fabs(is_std - 3 * sqrt(63.0 / 12)) < 1e-6);
}

static void a_block_that_began_late_is_of_the_window_all_the_same(void **state)
{
    CLEANUP(explain_window_deinit) struct explain_window w = {.rows = 0};
    (void)state;
    sample_every(30 * MS_US);
    for (unsigned i = 0; i < ROWS; i++) {
        records[i] = i < 56 ? 1 : i < 59 ? 2 : 3;
        times[i] += i >= 56 && i < 59 ? 27 * MS_US : 0; /* 57 ms after the one before, 3 ms before the next */
    }
    CHECK_OK(explain_window_at(&samples, 60, &every_30ms, &w));
    CHECK_INT(w.rows_missing, 0);
    for (unsigned row = 0; row < 8; row++) {
        CHECK_INT(w.values[row * 2], 60 - (7 - row));
    }
    for (unsigned i = 56; i + 1 < ROWS; i++) { /* one is gone */
        times[i] = SECOND_US * 1000 + (i + 1) * 30 * MS_US;
    }
    CHECK_OK(explain_window_at(&samples, 60, &every_30ms, &w));
    CHECK_INT(w.rows_missing, 1);
    CHECK(isnan(w.values[2 * 2]));
    CHECK_INT(w.values[1 * 2], 55);
    memset(records, 0, sizeof(records));
}

static void what_is_not_in_the_sink_is_missing_and_counted(void **state)
{
    CLEANUP(explain_window_deinit) struct explain_window w = {.rows = 0};
    (void)state;
    sample_every(10 * MS_US);
    for (unsigned i = 50; i < ROWS - 6; i++) { /* samples 50 to 55 are gone */
        times[i] = times[i + 6];
        memcpy(values[i], values[i + 6], sizeof(values[i]));
    }
    samples.rows = ROWS - 6;
    values[45][1] = NAN;
    CHECK_OK(explain_window_at(&samples, 60 - 6, &every_30ms, &w));
    CHECK_INT(w.values[7 * 2], 60);
    CHECK_INT(w.values[6 * 2], 57);
    CHECK(isnan(w.values[5 * 2]) && isnan(w.values[4 * 2]));
    CHECK_INT(w.values[3 * 2], 48);
    CHECK_INT(w.values[2 * 2], 45);
    CHECK_INT(w.rows_missing, 2);
    CHECK_INT(w.missing[0], 2);
    CHECK_INT(w.missing[1], 3);
    CHECK_INT(w.values_missing, 5);
    CHECK_OK(explain_window_at(&samples, 6, &every_30ms, &w)); /* used again, and before the first sample */
    CHECK_INT(w.rows_missing, 5);
}

static void a_window_ends_with_a_sample_of_its_millisecond(void **state)
{
    size_t ends[EXPLAIN_ENDS_MAX], near = 0;
    (void)state;
    sample_every(10 * MS_US);
    CHECK_INT(explain_ends(&samples, times[40] / 1000 * 1000, 100, ends, &near), 2);
    CHECK_INT(near, 1);
    CHECK_INT(ends[0], 40);
    CHECK_INT(explain_ends(&samples, times[40] / 1000 * 1000 + 4 * MS_US, 100, ends, &near),
              2); /* clocks are not quite one */
    CHECK_INT(ends[0], 40);
    CHECK_INT(ends[1], 41);
    CHECK_INT(near, 2);
    CHECK_INT(explain_ends(&samples, times[ROWS - 1] + SECOND_US, 100, ends, &near), 0);
    for (unsigned i = 0; i < ROWS; i++) {
        times[i] = SECOND_US + i * 100; /* ten within a millisecond */
    }
    size_t count = explain_ends(&samples, SECOND_US + 4 * MS_US, 10000, ends, &near);
    CHECK(count >= 10 && count <= EXPLAIN_ENDS_MAX);
    for (unsigned i = 0; i < 10; i++) {
        CHECK_INT(ends[i], 49 - i);
    }
    CHECK_INT(explain_ends(&samples, SECOND_US + 4 * MS_US, 1, ends, &near), EXPLAIN_ENDS_MAX);
    CHECK_INT(ends[0], 49);
}

/* ---- the window that an event was told of ---- */
enum { TOLD_ROWS = 600, TOLD_MAX = TOLD_ROWS };
static int64_t told_times[TOLD_ROWS], told_records[TOLD_ROWS];
static float told_values[TOLD_ROWS][2];
static struct calibration normal;
static struct judged {
    size_t end;
    double of[EXPLAIN_LEVEL + 1];
} judged[TOLD_MAX];

static void make_normal(void)
{
    static const struct feature features[] = {{.kind = FEATURE_MEAN},
                                              {.kind = FEATURE_MEAN, .channel = 1},
                                              {.kind = FEATURE_STD},
                                              {.kind = FEATURE_STD, .channel = 1}};
    static double rows[400][4];
    uint64_t seed = 11;
    for (unsigned n = 0; n < 400; n++) {
        double level = (double)(mix_u64(seed++) >> 11) / 0x1p53;
        for (unsigned i = 0; i < 4; i++) {
            rows[n][i] = level * (i + 1) + (double)(mix_u64(seed++) >> 11) / 0x1p53;
        }
    }
    normal.channels = 2;
    normal.lambda = 0.1;
    normal.features = (struct features_options){
        .channels = 2, .window = 8, .hop = 6, .rate_hz = 10, .features = features, .count = 4};
    CHECK_OK(drift_pca_fit(&normal.pca, &rows[0][0], 400, 4, 0.6));
    CHECK_OK(drift_levels_fit(&normal.levels, &rows[0][0], 400, 4, 0.1, 0.9));
    for (unsigned i = 0; i < TOLD_ROWS; i++) {
        told_times[i] = SECOND_US * 1000 + i * 100 * MS_US + (i % 3) * MS_US;
        told_values[i][0] = (float)((mix_u64(seed++) >> 40) % 4000) / 1000;
        told_values[i][1] = (float)((mix_u64(seed++) >> 40) % 4000) / 1000;
    }
}

/* As the gateway does it: a sample at a time, from the first that it saw. */
static size_t judge_from(size_t first)
{
    struct features *f = NULL;
    struct drift_ewma average = {.lambda = normal.lambda};
    double off[4] = {0};
    size_t bytes = (features_bytes(&normal.features) + 15) / 16 * 16, count = 0;
    void *memory = aligned_alloc(16, bytes);
    CHECK(memory != NULL);
    CHECK_OK(features_init(&normal.features, memory, bytes, &f, NULL));
    for (size_t i = first; i < TOLD_ROWS; i++) {
        float row[FEATURES_MAX];
        double x[4];
        unsigned which;
        if (!features_push(f, told_values[i]) || !features_row(f, row)) {
            continue;
        }
        struct judged *j = &judged[count++];
        for (unsigned d = 0; d < 4; d++) {
            x[d] = (double)row[d];
        }
        j->end = i;
        drift_pca_score(&normal.pca, x, &j->of[EXPLAIN_T2], &j->of[EXPLAIN_SPE]);
        j->of[EXPLAIN_EWMA_SPE] = drift_ewma_add(&average, j->of[EXPLAIN_SPE]);
        j->of[EXPLAIN_LEVEL] = drift_levels_add(&normal.levels, off, x, &which);
    }
    free(memory);
    return count;
}

static struct explain_told told_of(enum explain_statistic statistic, double value, size_t anchor)
{
    const struct evidence_samples all = {
        .times = told_times, .records = told_records, .values = told_values[0], .rows = TOLD_ROWS, .channels = 2};
    const struct explain_told_search search = {.calibration = &normal,
                                               .samples = &all,
                                               .statistic = statistic,
                                               .value = value,
                                               .from_us = told_times[TOLD_ROWS / 2],
                                               .anchor = anchor};
    struct explain_told told;
    CHECK_OK(explain_told(&search, &told));
    return told;
}

/* An event has six digits. */
static double as_told(double value)
{
    char text[40];
    snprintf(text, sizeof(text), "%.6g", value);
    return atof(text);
}

static void the_window_that_an_event_was_told_of_is_found_by_its_value(void **state)
{
    static const size_t firsts[] = {0, 4}; /* the gateway's hops are the device's; it began anew behind the device */
    (void)state;
    make_normal();
    for (size_t f = 0; f < COUNT_OF(firsts); f++) {
        size_t anchor = 7 + 6 * 50, count = judge_from(firsts[f]);
        for (size_t n = count - 12; n < count; n++) {
            for (enum explain_statistic s = EXPLAIN_SPE; s <= EXPLAIN_LEVEL; s++) {
                struct explain_told told = told_of(s, as_told(judged[n].of[s]), anchor);
                CHECK(told.is && fabs(told.value - judged[n].of[s]) <= 1e-4 * judged[n].of[s]);
                CHECK_INT(told.end, judged[n].end);
            }
        }
    }
    drift_pca_deinit(&normal.pca);
}

static void a_value_that_no_window_comes_to_is_not_told_as_one(void **state)
{
    (void)state;
    make_normal();
    size_t count = judge_from(0);
    for (enum explain_statistic s = EXPLAIN_NO_STATISTIC; s <= EXPLAIN_LEVEL; s++) {
        struct explain_told told = told_of(s, s == EXPLAIN_NO_STATISTIC ? (double)NAN : 1e9, judged[40].end);
        CHECK(!told.is);
        CHECK_INT(told.end, judged[count - 1].end); /* the newest that was judged */
    }
    CHECK(!told_of(EXPLAIN_SPE, judged[10].of[EXPLAIN_SPE], judged[40].end).is); /* long before the event */
    drift_pca_deinit(&normal.pca);
}

static void behind_a_gap_windows_begin_anew(void **state)
{
    (void)state;
    make_normal();
    for (size_t i = 401; i < TOLD_ROWS; i++) {
        told_times[i] += 10 * SECOND_US;
    }
    size_t count = judge_from(401);
    struct explain_told told = told_of(EXPLAIN_SPE, as_told(judged[count - 3].of[EXPLAIN_SPE]), judged[count - 1].end);
    CHECK(told.is);
    CHECK_INT(told.end, judged[count - 3].end);
    drift_pca_deinit(&normal.pca);
}

/* ---- models ---- */
static uint64_t id_of(const char *name)
{
    CLEANUP(model_freep) struct model *model = NULL;
    BUFFER(problems, 4096);
    CHECK_OK(model_load(path(name), &model, &problems));
    return model_info(model)->id;
}

static void a_model_is_found_by_its_id_and_answers(void **state)
{
    static const float hot[] = {9, 1};
    CLEANUP(answerer_deinit) struct answerer a = {.outputs = 0};
    struct fault fault = {.code = OK};
    (void)state;
    CHECK_OK(answerer_find(folder, id_of("a/b/tiny.yaml"), &a, &fault));
    struct decision d = answerer_decide(&a, hot);
    CHECK_STR(answerer_label(&a, d.class), "hot");
    a.class = 2;
    struct occlusion_answer wet = answerer_ask(&a, hot);
    CHECK(fabs(wet.margin - (1 - 9)) < 1e-5); /* the logits by hand: 4, 9, 1 */
    a.class = 1;
    CHECK(fabs(answerer_ask(&a, hot).margin - 5) < 1e-5);
    CHECK(answerer_decide(&a, (const float[]){NAN, 1}).confidence == 0);
}

static void trees_beside_what_only_another_engine_reads_answer_for_it(void **state)
{
    CLEANUP(answerer_deinit) struct answerer a = {.outputs = 0};
    struct fault fault = {.code = OK};
    (void)state;
    CHECK_OK(answerer_find(path("a"), id_of("a/forest.yaml"), &a, &fault));
    struct decision low = answerer_decide(&a, (const float[]){0.25F}),
                    high = answerer_decide(&a, (const float[]){0.75F});
    CHECK(low.score == 2 && low.class == 0 && high.score == 5 && high.class == 1);
    CHECK_STR(answerer_label(&a, high.class), "not-normal");
    a.class = 1;
    CHECK(answerer_ask(&a, (const float[]){0.75F}).margin == 2); /* above the limit of 3 */
    CHECK(answerer_ask(&a, (const float[]){0.25F}).margin == -1);
}

static void models_that_are_not_there_are_told_with_those_that_are(void **state)
{
    struct answerer a;
    struct fault fault = {.code = OK};
    (void)state;
    CHECK_ERR(answerer_find(path("a"), 0x1234, &a, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "no description of model 0000000000001234; there is ");
    CHECK_CONTAINS(fault.text, "forest ");
    answerer_deinit(&a);
    CHECK_ERR(answerer_find(path("empty"), 0x1234, &a, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "there is none of any model");
    answerer_deinit(&a);
    CHECK_ERR(answerer_find(path("absent"), 0x1234, &a, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "absent: No such file");
    answerer_deinit(&a);
    CHECK_ERR(answerer_find(path("a"), id_of("a/far.yaml"), &a, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "there is none of that name beside it");
    answerer_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_part_that_changes_most_comes_first),
        cmocka_unit_test(an_answer_that_is_no_number_is_no_change),
        cmocka_unit_test(what_channels_add_is_the_whole_of_t2_and_spe),
        cmocka_unit_test(a_window_takes_every_third_sample_of_a_faster_device),
        cmocka_unit_test(a_block_that_began_late_is_of_the_window_all_the_same),
        cmocka_unit_test(what_is_not_in_the_sink_is_missing_and_counted),
        cmocka_unit_test(a_window_ends_with_a_sample_of_its_millisecond),
        cmocka_unit_test(the_window_that_an_event_was_told_of_is_found_by_its_value),
        cmocka_unit_test(a_value_that_no_window_comes_to_is_not_told_as_one),
        cmocka_unit_test(behind_a_gap_windows_begin_anew),
        cmocka_unit_test(a_model_is_found_by_its_id_and_answers),
        cmocka_unit_test(trees_beside_what_only_another_engine_reads_answer_for_it),
        cmocka_unit_test(models_that_are_not_there_are_told_with_those_that_are),
    };
    return cmocka_run_group_tests(tests, start, end);
}
