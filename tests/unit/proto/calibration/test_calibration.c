/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: limits of a normal run let another normal run pass and hold what is not normal; a file says the same as what it
 * was written from; a file that says something else is refused with a sentence, whatever it says.
 */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "proto/calibration/calibration.h"
#include "tests/support/check.h"

enum { CHANNELS = 3, ROWS = 12000, SCORES = 2000 };
static const char *const NAMES[CHANNELS] = {"flow", "pressure", "a: \"b\" #c"};
static uint64_t seed;

static double uniform(void)
{
    seed = mix_u64(seed);
    return (double)(seed >> 11) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform());
}

static void row_of(double *row)
{
    double a = normal();
    row[0] = 10 + a;
    row[1] = 3 * a + 0.2 * normal();
    row[2] = 5;
}

static bool steady;

static struct calibration *fitted(size_t rows, size_t scores, struct buffer *notes)
{
    static double values[ROWS * CHANNELS], said[SCORES];
    static const size_t starts[] = {0, 5000};
    struct calibration *c = NULL;
    seed = 4;
    for (size_t i = 0; i < rows; i++) {
        row_of(values + i * CHANNELS);
    }
    for (size_t i = 0; i < scores; i++) {
        said[i] = 0.9 + 0.1 * uniform();
    }
    struct calibration_run run = {.name = "pump",
                                  .model = 0xfeedbeef12345678,
                                  .channel = NAMES,
                                  .channels = CHANNELS,
                                  .window = 8,
                                  .hop = 4,
                                  .rate_hz = 10,
                                  .values = values,
                                  .rows = rows,
                                  .starts = starts,
                                  .pieces = 2,
                                  .of = scores > 0 ? CALIBRATION_CONFIDENCE : CALIBRATION_NONE,
                                  .scores = said,
                                  .score_count = scores,
                                  .margin = 1.2,
                                  .steady = steady};
    CHECK_OK(calibration_fit(&run, &c, notes, NULL));
    return c;
}

static void limits_let_the_normal_pass_and_hold_the_rest(void **state)
{
    BUFFER(notes, 4096);
    CLEANUP(calibration_freep) struct calibration *c = fitted(ROWS, SCORES, &notes);
    (void)state;
    CHECK_INT(notes.len, 0);
    CHECK_INT(calibration_inputs(c), 6);
    CHECK_INT(c->of, CALIBRATION_CONFIDENCE);
    CHECK(c->alarms_per_week >= 0 && c->alarms_at_most > c->alarms_per_week);
    CHECK(fabs(c->days - ROWS / 10.0 / 86400) < 1e-9);
    CHECK_INT(c->sensor[2].stuck_after, 0); /* it never moved */
    CHECK(c->sensor[0].stuck_after >= 10 && c->sensor[0].stuck_after < 20);
    double t2, spe, row[6] = {10, 0, 5, 1, 3, 0}; /* means, then deviations, as they were */
    drift_pca_score(&c->pca, row, &t2, &spe);
    CHECK(t2 < c->t2_limit && spe < c->spe_limit);
    row[1] = 3; /* pressure without flow */
    drift_pca_score(&c->pca, row, &t2, &spe);
    CHECK(t2 > c->t2_limit || spe > c->spe_limit);
    CHECK(c->ks_limit < 0.5 && c->psi_limit > 0 && fabs(c->score_mean - 0.95) < 0.005);
}

static void write_file(const char *path, const struct buffer *text)
{
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL && fwrite(text->ptr, 1, text->len, f) == text->len);
    CHECK_INT(fclose(f), 0);
}

/* 600 rows and 100 answers are a batch. */
static void sketches_have_limits_of_batches_of_the_run(void **state)
{
    BUFFER(notes, 4096);
    CLEANUP(calibration_freep) struct calibration *c = fitted(ROWS, SCORES, &notes);
    const struct calibration_sketches *s = &c->sketches;
    (void)state;
    CHECK_INT(s->samples, 600);
    CHECK_INT(s->answers, 100);
    CHECK(fabs(s->mean[0] - 10) < 0.1 && fabs(s->deviation[0] - 1) < 0.05);
    CHECK(s->mean_limit[0] > 3 / sqrt(600) && s->mean_limit[0] < 10 / sqrt(600));
    CHECK(s->spread_limit[0] > 0.1 && s->spread_limit[0] < 0.6);
    CHECK(s->deviation[2] == 0); /* it never moved: it is not judged */
    CHECK(s->outcome.bins == CALIBRATION_BINS && fabs(s->outcome_mean - 0.05) < 0.005);
    CHECK(s->outcome_limit > 0.005 && s->outcome_limit < 0.03 && s->psi_limit > 0.1 && s->ks_limit > 0.1 && s->ks_limit < 0.5);
}

static void a_file_of_before_has_no_sketches_and_is_read(void **state)
{
    BUFFER(notes, 4096);
    BUFFER(text, 1 << 20);
    BUFFER(problems, 4096);
    CLEANUP(calibration_freep) struct calibration *c = fitted(ROWS, SCORES, &notes), *read = NULL;
    char path[] = "/tmp/weir-calibration-XXXXXX";
    (void)state;
    CHECK(close(mkstemp(path)) == 0);
    c->sketches.samples = 0;
    CHECK_OK(calibration_write(c, &text));
    buffer_put_u8(&text, 0);
    CHECK(strstr((const char *)text.ptr, "sketches") == NULL);
    text.len--;
    write_file(path, &text);
    CHECK_OK(calibration_load(path, &read, &problems));
    CHECK(read->sketches.samples == 0 && read->sketches.answers == 0 && read->reference.bins == c->reference.bins);
    CHECK_INT(unlink(path), 0);
}

static void too_little_is_left_out_and_said(void **state)
{
    BUFFER(notes, 4096);
    CLEANUP(calibration_freep) struct calibration *c = fitted(100, 50, &notes);
    (void)state;
    buffer_put_u8(&notes, 0);
    CHECK_INT(c->pca.components, 0);
    CHECK_INT(c->of, CALIBRATION_NONE);
    CHECK_CONTAINS((const char *)notes.ptr, "inputs: 24 windows are too few");
    CHECK_CONTAINS((const char *)notes.ptr, "scores: 50 answers are too few");
    CHECK_CONTAINS((const char *)notes.ptr, "sketches: 100 rows are too few");
}

static void a_file_says_what_it_was_written_from(void **state)
{
    BUFFER(notes, 4096);
    BUFFER(text, 1 << 20);
    BUFFER(again, 1 << 20);
    BUFFER(problems, 1 << 16);
    CLEANUP(calibration_freep) struct calibration *c = fitted(ROWS, SCORES, &notes), *read = NULL;
    char path[] = "/tmp/weir-calibration-XXXXXX";
    (void)state;
    CHECK(close(mkstemp(path)) == 0);
    CHECK_OK(calibration_write(c, &text));
    write_file(path, &text);
    if (calibration_load(path, &read, &problems) != OK) {
        buffer_put_u8(&problems, 0);
        CHECK_STR((const char *)problems.ptr, "");
    }
    CHECK_OK(calibration_write(read, &again));
    CHECK(slice_equal(buffer_slice(&text), buffer_slice(&again)));
    CHECK(read->model == c->model);
    CHECK_STR(read->channel[2], NAMES[2]);
    CHECK_INT(read->pca.components, c->pca.components);
    CHECK_INT(read->sketches.samples, c->sketches.samples);
    CHECK_INT(read->sketches.outcome.bins, c->sketches.outcome.bins);
    CHECK_INT(unlink(path), 0);
}

static void levels_are_in_the_file_where_they_were_asked_for(void **state)
{
    BUFFER(notes, 4096);
    BUFFER(text, 1 << 20);
    BUFFER(problems, 1 << 16);
    steady = true;
    CLEANUP(calibration_freep) struct calibration *c = fitted(ROWS, SCORES, &notes), *read = NULL;
    steady = false;
    char path[] = "/tmp/weir-calibration-XXXXXX";
    (void)state;
    CHECK_INT(notes.len, 0); /* nothing wanders */
    CHECK(c->levels.dimensions == 6 && c->levels.reach[0] > 0 && c->levels.reach[2] == 0);
    CHECK(c->level_limit > 1.2 && c->level_limit < 5);
    CHECK(close(mkstemp(path)) == 0);
    CHECK_OK(calibration_write(c, &text));
    write_file(path, &text);
    CHECK_OK(calibration_load(path, &read, &problems));
    CHECK_INT(unlink(path), 0);
    CHECK(memcmp(&read->levels, &c->levels, sizeof(c->levels)) == 0);
    CHECK(fabs(read->level_limit - c->level_limit) < 1e-6 && read->rates == DRIFT_RATES_LIMIT);
}

/* Every line damaged in turn: refused with a sentence, or something that can be used. */
static void a_damaged_file_is_refused_or_sound(void **state)
{
    BUFFER(notes, 4096);
    BUFFER(text, 1 << 20);
    CLEANUP(calibration_freep) struct calibration *c = fitted(ROWS, SCORES, &notes);
    static const char *const damage[] = {"nan", "-1", "1e999", "\"\"", "\"1 2\"", "[a]", "99999999999"};
    char path[] = "/tmp/weir-calibration-XXXXXX";
    unsigned refused = 0, taken = 0;
    (void)state;
    CHECK(close(mkstemp(path)) == 0);
    CHECK_OK(calibration_write(c, &text));
    for (size_t at = 0; at < text.len;) {
        const uint8_t *end = memchr(text.ptr + at, '\n', text.len - at),
                      *colon = memchr(text.ptr + at, ':', text.len - at);
        size_t next = (size_t)(end - text.ptr) + 1;
        for (size_t d = 0; colon != NULL && colon < end && d < COUNT_OF(damage); d++) {
            BUFFER(bad, 1 << 20);
            BUFFER(problems, 1 << 16);
            struct calibration *read = NULL;
            buffer_put(&bad, text.ptr, (size_t)(colon + 1 - text.ptr));
            buffer_printf(&bad, " %s\n", damage[d]);
            buffer_put(&bad, text.ptr + next, text.len - next);
            write_file(path, &bad);
            enum err err = calibration_load(path, &read, &problems);
            if (err == OK) {
                taken++;
                CHECK(read->k >= 1 && read->k <= read->n && read->channels >= 1 && read->score_window >= 1);
                CHECK(read->of == CALIBRATION_NONE || read->reference.bins >= 1);
                calibration_free(read);
            } else {
                refused++;
                CHECK(problems.len > 10);
            }
        }
        at = next;
    }
    CHECK(refused > 5 * taken && taken > 0);
    CHECK_INT(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_let_the_normal_pass_and_hold_the_rest),
        cmocka_unit_test(sketches_have_limits_of_batches_of_the_run),
        cmocka_unit_test(a_file_of_before_has_no_sketches_and_is_read),
        cmocka_unit_test(too_little_is_left_out_and_said),
        cmocka_unit_test(a_file_says_what_it_was_written_from),
        cmocka_unit_test(levels_are_in_the_file_where_they_were_asked_for),
        cmocka_unit_test(a_damaged_file_is_refused_or_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
