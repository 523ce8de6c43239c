/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a description gives what its file says; its id changes with everything that answers depend on and with nothing else;
 * what is wrong is named with file and place; decisions are calibrated as stated.
 */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "proto/model/model.h"
#include "tests/support/check.h"

static char dir[] = "/tmp/weir-model-XXXXXX";

static const char *put(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
    return path;
}

#define GOOD                                                                                                           \
    "model: bearing\nnetwork: net.tflite\nchannels: [acc, temp]\nrate: 1000\nwindow: 64\nhop: 32\n"                     \
    "features:\n  level: {kind: rms, channel: acc}\n  spectrum: {kind: bands, channel: acc, bands: 4}\n"                \
    "  heat: {kind: mean, channel: temp}\nscaling: scaling.csv\nclasses: [normal, worn]\ntemperature: 2\nunsure_below: 0.8\n"
#define SCALING "0,1\n1,2\n1,2\n1,2\n1,2\n20,0.1\n"

static struct model *load(const char *text)
{
    BUFFER(problems, 4096);
    struct model *m = NULL;
    if (model_load(put("model.yaml", text), &m, &problems) != OK) {
        fprintf(stderr, "%.*s", (int)problems.len, (const char *)problems.ptr);
        fail();
    }
    return m;
}

static void a_description_says_what_its_file_says(void **state)
{
    (void)state;
    put("net.tflite", "network");
    put("scaling.csv", SCALING);
    CLEANUP(model_freep) struct model *m = load(GOOD);
    const struct model_info *i = model_info(m);
    CHECK_STR(i->name, "bearing");
    CHECK_INT(i->inputs, 6);
    CHECK_INT(i->features.hop, 32);
    CHECK_INT(i->features.features[2].channel, 1);
    CHECK(i->features.offset[5] == 20 && i->features.factor[5] == 0.1F);
    CHECK_INT(i->class_count, 2);
    CHECK_STR(i->classes[1], "worn");
}

static void the_id_is_of_all_that_answers_depend_on(void **state)
{
    (void)state;
    put("net.tflite", "network");
    put("scaling.csv", SCALING);
    CLEANUP(model_freep) struct model *a = load(GOOD), *b = load("# a remark\n" GOOD);
    CHECK(model_info(a)->id == model_info(b)->id);
    put("net.tflite", "another");
    CLEANUP(model_freep) struct model *c = load(GOOD);
    CHECK(model_info(a)->id != model_info(c)->id && model_info(a)->config == model_info(c)->config);
    put("net.tflite", "network");
    put("scaling.csv", "0,1\n1,2\n1,2\n1,2\n1,2\n20,0.2\n");
    CLEANUP(model_freep) struct model *d = load(GOOD);
    CHECK(model_info(a)->id != model_info(d)->id);
    put("scaling.csv", SCALING);
    CLEANUP(model_freep) struct model *e = load(GOOD "unsure_band: 0.1\n");
    CHECK(model_info(a)->id != model_info(e)->id && model_info(a)->config != model_info(e)->config);
}

static void expect(const char *text, const char *part)
{
    BUFFER(problems, 4096);
    struct model *m = NULL;
    CHECK(model_load(put("model.yaml", text), &m, &problems) != OK);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS((const char *)problems.ptr, part);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    put("net.tflite", "network");
    put("scaling.csv", SCALING);
    expect(GOOD "colour: red\n", "model.yaml:15:1");
    expect("model: a\nnetwork: missing.tflite\nchannels: [a]\n", "missing.tflite");
    expect("model: a\nnetwork: net.tflite\nchannels: [a]\nclasses: [x, y]\n", "features");
    expect("model: a\nnetwork: net.tflite\nchannels: [a]\nfeatures: {f: {kind: rms, channel: b}}\nclasses: [x, y]\n",
           "features.f.channel: there is no \"b\"; there are a\n");
    expect("model: a\nnetwork: net.tflite\nchannels: [a]\nfeatures: {f: {kind: tone, channel: a}}\nclasses: [x, y]\n", 
           "features.f.kind: there is no \"tone\"; there are raw, mean, std, rms, min, max, peak, crest, skewness, kurtosis, bands\n");
    expect("model: a\nnetwork: net.tflite\nchannels: [a]\nwindow: 12\nfeatures: {f: {kind: bands, channel: a}}\nclasses: [x, y]\n",
           "power of two");
    expect("model: a\nnetwork: net.tflite\nchannels: [a]\nfeatures: {f: {kind: rms, channel: a}}\nclasses: [x]\n",
           "at least two are needed, or output: score, or output: reconstruction");
    put("scaling.csv", "0,1\n1,x\n");
    expect(GOOD, "scaling.csv:2");
    put("scaling.csv", "0,1\n");
    expect(GOOD, "scaling.csv:2");
}

static void a_confidence_is_tempered(void **state)
{
    const struct model_info info = {.output = MODEL_CLASSES, .class_count = 3, .temperature = 2, .unsure_below = 0.8};
    const float logits[] = {1, 3, -1}, certain[] = {0, 12, 0}, odd[] = {1, NAN, 0};
    (void)state;
    struct decision d = model_decide(&info, NULL, logits, 3);
    CHECK_INT(d.class, 1);
    CHECK(fabs(d.confidence - exp(1.5) / (exp(0.5) + exp(1.5) + exp(-0.5))) < 1e-9);
    CHECK(fabs(d.score - 2) < 1e-6);
    CHECK(d.unsure);
    float sum = expf(1) + expf(3) + expf(-1), given[] = {expf(1) / sum, expf(3) / sum, expf(-1) / sum};
    CHECK(fabs(model_decide(&info, NULL, given, 3).confidence - d.confidence) < 1e-5); /* a network that ends in a softmax */
    CHECK(!model_decide(&info, NULL, certain, 3).unsure);
    d = model_decide(&info, NULL, odd, 3);
    CHECK(d.unsure && d.confidence == 0);
}

static void a_score_is_unsure_near_its_limit(void **state)
{
    const struct model_info info = {.output = MODEL_RECONSTRUCTION, .normal_below = 1, .unsure_band = 0.5};
    const float row[] = {0, 0}, near[] = {1, 1.1F}, far[] = {2, 2}, same[] = {0, 0};
    (void)state;
    struct decision d = model_decide(&info, row, near, 2);
    CHECK(fabs(d.score - (1 + 1.21) / 2) < 1e-6);
    CHECK(d.class == 1 && d.unsure && d.confidence > 0.5 && d.confidence < 1);
    CHECK(!model_decide(&info, row, far, 2).unsure);
    d = model_decide(&info, row, same, 2);
    CHECK(d.class == 0 && !d.unsure && d.confidence == 1);
}

static void a_margin_is_of_any_class_and_its_sign_says_whether_it_is_the_one(void **state)
{
    const struct model_info info = {.output = MODEL_CLASSES, .class_count = 3, .temperature = 2};
    const struct model_info score = {.output = MODEL_RECONSTRUCTION, .normal_below = 1};
    const float logits[] = {1, 3, -1}, odd[] = {1, NAN, 0}, row[] = {0, 0}, near[] = {1, 1.1F};
    (void)state;
    CHECK(fabs(model_margin(&info, NULL, logits, 3, 1) - model_decide(&info, NULL, logits, 3).score) < 1e-9);
    CHECK(fabs(model_margin(&info, NULL, logits, 3, 0) + 2) < 1e-9);
    CHECK(fabs(model_margin(&info, NULL, logits, 3, 2) + 4) < 1e-9);
    float sum = expf(1) + expf(3) + expf(-1), given[] = {expf(1) / sum, expf(3) / sum, expf(-1) / sum};
    CHECK(fabs(model_margin(&info, NULL, given, 3, 2) + 4) < 1e-5);
    CHECK(isnan(model_margin(&info, NULL, odd, 3, 0)));
    CHECK(fabs(model_margin(&score, row, near, 2, 1) - 0.105) < 1e-6);
    CHECK(fabs(model_margin(&score, row, near, 2, 0) + 0.105) < 1e-6);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"model.yaml", "net.tflite", "scaling.csv"};
    char path[128];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_description_says_what_its_file_says),
        cmocka_unit_test(the_id_is_of_all_that_answers_depend_on),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_confidence_is_tempered),
        cmocka_unit_test(a_score_is_unsure_near_its_limit),
        cmocka_unit_test(a_margin_is_of_any_class_and_its_sign_says_whether_it_is_the_one),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
