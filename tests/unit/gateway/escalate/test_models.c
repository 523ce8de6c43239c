/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an engine answers only when it does what its vectors say; where it does not, another one of the same model or
 * the one before goes on, and it is told; models change while asks wait and run, and each is still answered once.
 */
#include <unistd.h>

#include "proto/model/model.h"
#include "tests/support/model_files.h"
#include "tests/unit/gateway/escalate/rig.h"

#define LONG "1.0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000,"
#define DESCRIPTION                                                                                                    \
    "model: heavy\nchannels: [x]\nwindow: 2\nfeatures:\n  all: {kind: raw, channel: x}\nclasses: [a, "                 \
    "b]\nunsure_below: 0.8\n"
static const float turned[] = {0, 1, 1, 0}, three_out[] = {1, 0, 0, 1, 0, 0}, turned_more[] = {0, 2, 2, 0};

static void put(const struct rig *r, const char *name, const char *text)
{
    model_files_text(rig_path(r, name), text);
}

static void set(struct rig *r)
{
    struct fault fault = {.code = OK};
    CHECK_OK(escalate_set(r->escalate, &r->settings, &fault));
}

static uint32_t answer_to(struct rig *r, uint64_t id)
{
    rig_ask(r, "pump", id, 500, 1, 4);
    rig_pass(r, 50 * MS_US);
    CHECK_INT(rig_status(r, id), GIVEN);
    return rig_answer(r, id)->answer;
}

static void an_engine_that_fails_its_vectors_is_refused_and_told(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    put(&r, "vectors.csv", "# x0, x1, out0, out1\n1,2,1,2\n\n3, 4, 3, 4.5\r\n");
    r.models[0].self_test = rig_path(&r, "vectors.csv");
    rig_open(&r, false);
    CHECK_INT(r.event_count, 1);
    CHECK_STR(r.events[0].id, "engine-refused");
    CHECK_STR(r.events[0].text, "model=heavy: none answers: self-test: row 1, output 1 is 4, expected 4.5");
    CHECK_CONTAINS(rig_report(&r), "\"name\":\"heavy\",\"state\":\"none\",\"problem\":\"self-test: row 1");
    rig_ask(&r, "pump", 1, 200, 1, 4);
    CHECK_INT(rig_status(&r, 1), NO_MODEL);
    put(&r, "vectors.csv", "1,2,1,2\n3,4,3,4\n");
    set(&r);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(answer_to(&r, 2), 1);
    CHECK_CONTAINS(rig_report(&r), "\"problem\":null");
    rig_end(&r);
}

static void a_model_that_cannot_be_opened_says_why(void **state)
{
    struct rig r;
    static const struct {
        const char *description, *vectors, *why;
    } cases[] = {
        {NULL, NULL, "missing.yaml"},
        {DESCRIPTION "network: missing.tflite\n", NULL, "missing.tflite"},
        {DESCRIPTION "network: vectors.csv\n", "1,2,1,2\n", "vectors.csv: "},
        {DESCRIPTION "network: net.tflite\n", "1,2,1\n", "vectors.csv:1: 4 numbers are needed: 2 inputs, 2 outputs"},
        {DESCRIPTION "network: net.tflite\n", "1,2,1,2,3\n", "vectors.csv:1: 4 numbers"},
        {DESCRIPTION "network: net.tflite\n", "1,2,1,b\n", "vectors.csv:1: 4 numbers"},
        {DESCRIPTION "network: net.tflite\n", "# none\n", "no vectors"},
        {DESCRIPTION "network: net.tflite\n", LONG LONG LONG LONG, "vectors.csv:1: longer than a line of 4 numbers"},
        {DESCRIPTION "network: net.tflite\n", "1,2,1,nan\n", "row 0, output 1"},
        {DESCRIPTION "network: wide.tflite\n", NULL,
         "it takes 2 inputs and gives 3 outputs; the description says 2 and 2"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        rig_start(&r);
        model_files_linear(rig_path(&r, "wide.tflite"), 2, 3, three_out);
        const char *description = rig_path(&r, cases[i].description != NULL ? "other.yaml" : "missing.yaml");
        put(&r, "vectors.csv", cases[i].vectors != NULL ? cases[i].vectors : "");
        if (cases[i].description != NULL) {
            put(&r, "other.yaml", cases[i].description);
        }
        struct escalate_model model = r.models[0];
        model.description = description;
        model.self_test = cases[i].vectors != NULL ? rig_path(&r, "vectors.csv") : "";
        r.settings.models = &model;
        rig_open(&r, false);
        CHECK_INT(r.event_count, 1);
        CHECK_CONTAINS(r.events[0].text, cases[i].why);
        CHECK_CONTAINS(rig_report(&r), cases[i].why);
        rig_end(&r);
    }
}

static void where_the_wanted_engine_fails_our_own_takes_over(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    put(&r, "net.onnx", "no model at all");
    put(&r, "other.yaml", DESCRIPTION "network: net.onnx\n");
    struct escalate_model model = r.models[0];
    model.description = rig_path(&r, "other.yaml");
    model.engine = ESCALATE_ONNX;
    r.settings.models = &model;
    r.settings.onnxruntime = "/nonexistent/libonnxruntime.so";
    rig_open(&r, false);
    CHECK_INT(r.event_count, 1);
    CHECK_CONTAINS(r.events[0].text, "model=heavy: our own engine answers: /nonexistent/libonnxruntime.so");
    CHECK_CONTAINS(rig_report(&r), "\"engine\":\"own\"");
    CHECK_INT(answer_to(&r, 1), 1);
    r.settings.onnxruntime = "";
    set(&r);
    rig_pass(&r, 10 * MS_US);
    CHECK_CONTAINS(r.events[1].text, "escalate.onnxruntime names no library");
    CHECK_INT(answer_to(&r, 2), 1);
    rig_end(&r);
}

static void onnx_runtime_answers_where_there_is_one(void **state)
{
    struct rig r;
    (void)state;
    if (getenv("WEIR_ONNXRUNTIME") == NULL) {
        skip();
    }
    rig_start(&r);
    model_files_onnx(rig_path(&r, "net.onnx"), 2); /* turns signs, unlike the .tflite beside it */
    put(&r, "vectors.csv", "1,2,-1,-2\n");
    r.models[0].engine = ESCALATE_ONNX;
    r.models[0].self_test = rig_path(&r, "vectors.csv");
    r.settings.onnxruntime = getenv("WEIR_ONNXRUNTIME");
    rig_open(&r, false);
    CHECK_CONTAINS(rig_report(&r), "\"engine\":\"onnxruntime\"");
    CHECK_INT(answer_to(&r, 1), 0);
    put(&r, "vectors.csv", "1,2,1,2\n"); /* as the .tflite: the library is refused */
    set(&r);
    rig_pass(&r, 10 * MS_US);
    CHECK_CONTAINS(r.events[0].text, "our own engine answers: self-test: row 0, output 0 is -1, expected 1");
    CHECK_INT(answer_to(&r, 2), 1);
    rig_end(&r);
}

/* Instead of ONNX Runtime: a network that is not what the vectors say. */
static enum err open_turned(void *arg, const char *library, const char *path, size_t batch_max,
                            struct engine **ret_engine, struct fault *reterr)
{
    struct rig *r = arg;
    (void)path;
    return engine_open_network(rig_path(r, library != NULL ? "wide.tflite" : "net.tflite"), batch_max, ret_engine,
                               reterr);
}

static void on_answer(void *arg, const char *peer, const struct wire_answer *answer)
{
    struct rig *r = arg;
    (void)peer;
    r->answers[r->answer_count++].answer = *answer;
}

static void a_library_whose_answers_are_wrong_is_refused(void **state)
{
    struct rig r;
    struct fault fault;
    (void)state;
    rig_start(&r);
    model_files_linear(rig_path(&r, "wide.tflite"), 2, 2, turned);
    put(&r, "vectors.csv", "1,2,1,2\n");
    r.models[0].engine = ESCALATE_ONNX;
    r.models[0].self_test = rig_path(&r, "vectors.csv");
    r.settings.onnxruntime = "some library";
    struct escalate_handlers on = {.on_answer = on_answer, .open = open_turned, .arg = &r};
    CHECK_OK(escalate_new(r.loop, "site", "gw", &r.settings, &on, &r.escalate, &fault));
    rig_pass(&r, 10 * MS_US);
    CHECK_CONTAINS(rig_report(&r), "\"state\":\"answers\",\"problem\":\"self-test: row 0, output 0 is 2, expected 1\"");
    CHECK_INT(answer_to(&r, 1), 1);
    rig_end(&r);
}

static void a_new_model_takes_over_and_the_batch_that_runs_ends_on_the_old_one(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    CHECK_INT(answer_to(&r, 1), 1);
    loop_set_worker_latency(r.loop, RIG_RUN_US);
    model_files_linear(rig_path(&r, "net.tflite"), 2, 2, turned);
    for (uint64_t id = 2; id <= 9; id++) { /* a batch runs, another waits */
        rig_ask(&r, "pump", id, 500, 1, 4);
    }
    set(&r);
    CHECK(rig_stats(&r).opening);
    rig_pass(&r, 50 * MS_US);
    CHECK(!rig_stats(&r).opening);
    for (uint64_t id = 2; id <= 9; id++) {
        CHECK_INT(rig_status(&r, id), GIVEN);
    }
    CHECK_INT(rig_answer(&r, 2)->answer, 1);
    uint64_t old_model = rig_answer(&r, 2)->model;
    CHECK_INT(answer_to(&r, 20), 0);
    CHECK(rig_answer(&r, 20)->model != old_model);
    rig_end(&r);
}

static void a_model_that_cannot_be_opened_any_more_keeps_the_one_it_had(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    CHECK_INT(answer_to(&r, 1), 1);
    put(&r, "net.tflite", "damaged");
    set(&r);
    rig_pass(&r, 10 * MS_US);
    CHECK_CONTAINS(r.events[0].text, "model=heavy: the one before answers: ");
    CHECK_INT(answer_to(&r, 2), 1);
    rig_end(&r);
}

static void what_waits_for_a_model_that_is_gone_or_another_is_told(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.wait_us = SECOND_US;
    rig_open(&r, false);
    rig_ask(&r, "pump", 1, 2000, 1, 4);
    put(&r, "other.yaml",
        "model: heavy\nnetwork: wide.tflite\nchannels: [x]\nwindow: 3\nfeatures:\n"
        "  all: {kind: raw, channel: x}\nclasses: [a, b]\n");
    model_files_linear(rig_path(&r, "wide.tflite"), 3, 2, three_out);
    struct escalate_model model = r.models[0];
    model.description = rig_path(&r, "other.yaml");
    r.settings.models = &model;
    set(&r);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 1), BAD);
    const float row[] = {4, 1, 0};
    struct wire_ask ask = rig_make("pump", 2, 2000, row, 3);
    rig_send(&r, "pump", &ask);
    r.settings.model_count = 0;
    set(&r);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 2), NO_MODEL);
    CHECK_CONTAINS(rig_report(&r), "\"models\":[]");
    rig_end(&r);
}

static void a_model_taken_away_while_its_batch_runs_still_answers_it(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    loop_set_worker_latency(r.loop, 100 * MS_US); /* of the engine's worker, which is made with the first ask */
    for (uint64_t id = 1; id <= 4; id++) {
        rig_ask(&r, "pump", id, 500, 1, 4);
    }
    r.settings.model_count = 0;
    set(&r);
    rig_pass(&r, 10 * MS_US);
    rig_ask(&r, "pump", 9, 500, 1, 4);
    CHECK_INT(rig_status(&r, 9), NO_MODEL);
    rig_pass(&r, 100 * MS_US);
    for (uint64_t id = 1; id <= 4; id++) {
        CHECK_INT(rig_status(&r, id), GIVEN);
    }
    rig_end(&r);
}

static void while_models_are_opened_the_last_settings_count(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    model_files_linear(rig_path(&r, "net.tflite"), 2, 2, turned_more);
    set(&r);
    r.settings.model_count = 0;
    set(&r);
    r.settings.model_count = 1;
    r.settings.quota = 1;
    set(&r);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(answer_to(&r, 1), 0);
    rig_ask(&r, "pump", 2, 500, 1, 4);
    CHECK_INT(rig_status(&r, 2), BUSY); /* the quota */
    struct fault fault = {.code = OK};
    r.settings.batch = ESCALATE_BATCH_MAX + 1;
    CHECK_ERR(escalate_set(r.escalate, &r.settings, &fault), ERR_RANGE);
    r.settings.batch = 2;
    r.models[0].name = "not a name";
    CHECK_ERR(escalate_set(r.escalate, &r.settings, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "not a name");
    rig_pass(&r, SECOND_US);
    CHECK_INT(answer_to(&r, 3), 0);
    rig_end(&r);
}

static void the_model_that_names_the_device_goes_before_one_for_all(void **state)
{
    struct rig r;
    static const char *mine[1];
    (void)state;
    rig_start(&r);
    put(&r, "device.yaml",
        "model: small\nnetwork: net.onnx\nchannels: [x]\nwindow: 2\nfeatures:\n  all: {kind: raw, channel: x}\n"
        "classes: [a, b]\n");
    put(&r, "net.onnx", "the device's");
    put(&r, "other.yaml", DESCRIPTION "network: wide.tflite\n");
    model_files_linear(rig_path(&r, "wide.tflite"), 2, 2, turned);
    mine[0] = rig_path(&r, "device.yaml");
    r.models[1] = (struct escalate_model){.name = "special",
                                          .description = rig_path(&r, "other.yaml"),
                                          .answers_for = mine,
                                          .for_count = 1,
                                          .self_test = ""};
    r.settings.model_count = 2;
    rig_open(&r, false);
    BUFFER(problems, 1024);
    CLEANUP(model_freep) struct model *device = NULL;
    CHECK_OK(model_load(mine[0], &device, &problems));
    const float row[] = {1, 4};
    struct wire_ask ask = rig_make("pump", 1, 200, row, 2);
    rig_send(&r, "pump", &ask);
    ask.id = 2;
    ask.model = model_info(device)->id;
    rig_send(&r, "pump", &ask);
    rig_pass(&r, 50 * MS_US);
    CHECK_INT(rig_answer(&r, 1)->answer, 1);
    CHECK_INT(rig_answer(&r, 2)->answer, 0);
    rig_end(&r);
}

static void it_may_end_while_models_are_opened_and_a_batch_runs(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, true);
    for (uint64_t id = 1; id <= 9; id++) {
        rig_ask(&r, "pump", id, 500, 1, id == 1 ? 1.5F : 4);
    }
    set(&r);
    set(&r);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_that_fails_its_vectors_is_refused_and_told),
        cmocka_unit_test(a_model_that_cannot_be_opened_says_why),
        cmocka_unit_test(where_the_wanted_engine_fails_our_own_takes_over),
        cmocka_unit_test(onnx_runtime_answers_where_there_is_one),
        cmocka_unit_test(a_library_whose_answers_are_wrong_is_refused),
        cmocka_unit_test(a_new_model_takes_over_and_the_batch_that_runs_ends_on_the_old_one),
        cmocka_unit_test(a_model_that_cannot_be_opened_any_more_keeps_the_one_it_had),
        cmocka_unit_test(what_waits_for_a_model_that_is_gone_or_another_is_told),
        cmocka_unit_test(a_model_taken_away_while_its_batch_runs_still_answers_it),
        cmocka_unit_test(while_models_are_opened_the_last_settings_count),
        cmocka_unit_test(the_model_that_names_the_device_goes_before_one_for_all),
        cmocka_unit_test(it_may_end_while_models_are_opened_and_a_batch_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
