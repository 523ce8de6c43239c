/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an engine that fails, gives no numbers or does not return while it is in force is refused, told, and replaced
 * by ours where there is one; an ask that no engine can take harms itself alone; whatever an engine does, every ask is
 * answered in time and other models answer as ever.
 */
#include "tests/support/model_files.h"
#include "tests/unit/gateway/escalate/rig.h"

#define DESCRIPTION                                                                                                    \
    "model: heavy\nchannels: [x]\nwindow: 2\nfeatures:\n  all: {kind: raw, channel: x}\nclasses: [a, "                 \
    "b]\nunsure_below: 0.8\n"

/* A wanted engine on a library that is not there, and ours beside it. */
static void start(struct rig *r, bool ours)
{
    rig_start(r);
    r->own_open = true;
    model_files_text(rig_path(r, "net.onnx"), "for the id");
    if (ours) {
        model_files_text(rig_path(r, "other.yaml"), DESCRIPTION "network: net.onnx\n");
    } else { /* its own name has neither .tflite nor .json */
        model_files_text(rig_path(r, "wide.onnx"), "for the id");
        model_files_text(rig_path(r, "other.yaml"), DESCRIPTION "network: wide.onnx\n");
    }
    free((char *)(uintptr_t)r->models[0].description);
    r->models[0].description = strdup(rig_path(r, "other.yaml"));
    r->models[0].engine = ESCALATE_ONNX;
    r->settings.onnxruntime = "a library";
    rig_open(r, false);
    CHECK_INT(r->event_count, 0);
    CHECK_CONTAINS(rig_report(r), ours ? "\"standby\":\"own\"" : "\"standby\":null");
}

static void end(struct rig *r)
{
    (void)remove(rig_path(r, "wide.onnx"));
    rig_end(r);
}

static void ask(struct rig *r, uint64_t id, int status)
{
    rig_ask(r, "pump", id, 500, 1, 4);
    rig_pass(r, 20 * MS_US);
    CHECK_INT(rig_status(r, id), status);
}

static void ours_takes_over_from_an_engine_that_fails_again_and_again(void **state)
{
    struct rig r;
    (void)state;
    start(&r, true);
    ask(&r, 1, GIVEN);
    r.wanted_fails = true;
    ask(&r, 2, BUSY);
    ask(&r, 3, BUSY);
    CHECK_INT(r.event_count, 0);
    CHECK(escalate_fine(r.escalate, NULL));
    ask(&r, 4, BUSY);
    CHECK_INT(r.event_count, 1);
    CHECK_STR(r.events[0].id, "engine-refused");
    CHECK_STR(r.events[0].text,
              "model=heavy: our own engine answers: failed 3 times in a row: planted in the wanted one");
    CHECK_CONTAINS(rig_report(&r), "\"problem\":\"failed 3 times in a row");
    CHECK(!escalate_fine(r.escalate, NULL));
    ask(&r, 5, GIVEN);
    CHECK_INT(rig_answer(&r, 5)->answer, 1);
    r.wanted_fails = false;
    struct fault fault = {.code = OK};
    CHECK_OK(escalate_set(r.escalate, &r.settings, &fault)); /* tried again */
    rig_pass(&r, 10 * MS_US);
    CHECK(escalate_fine(r.escalate, NULL));
    CHECK_CONTAINS(rig_report(&r), "\"standby\":\"own\"");
    CHECK_INT(r.event_count, 1);
    end(&r);
}

static void failures_that_are_not_in_a_row_are_forgiven(void **state)
{
    struct rig r;
    (void)state;
    start(&r, true);
    for (uint64_t id = 1; id <= 30; id++) {
        r.wanted_fails = id % 3 != 0;
        ask(&r, id, r.wanted_fails ? BUSY : GIVEN);
    }
    CHECK_INT(r.event_count, 0);
    CHECK_INT(rig_stats(&r).failed_batches, 20);
    end(&r);
}

static void what_is_no_number_is_no_answer_and_counts_as_failing(void **state)
{
    struct rig r;
    (void)state;
    start(&r, true);
    r.wanted_gives_nan = true;
    ask(&r, 1, BUSY);
    ask(&r, 2, BUSY);
    ask(&r, 3, BUSY);
    CHECK_INT(r.event_count, 1);
    CHECK_CONTAINS(r.events[0].text, "our own engine answers: failed 3 times in a row: output 0 is no number");
    ask(&r, 4, GIVEN);
    end(&r);
}

static void without_ours_nobody_answers_and_it_is_said(void **state)
{
    struct rig r;
    (void)state;
    start(&r, false);
    r.wanted_fails = true;
    ask(&r, 1, BUSY);
    ask(&r, 2, BUSY);
    rig_ask(&r, "pump", 3, 500, 1, 4);
    rig_pass(&r, 5 * MS_US); /* it runs */
    rig_ask(&r, "pump", 4, 500, 1, 4);
    rig_pass(&r, 20 * MS_US);
    CHECK_INT(rig_status(&r, 3), BUSY);
    CHECK_INT(rig_status(&r, 4), NO_MODEL);
    CHECK_CONTAINS(r.events[0].text, "model=heavy: none answers: failed 3 times");
    ask(&r, 5, NO_MODEL);
    CHECK_CONTAINS(rig_report(&r), "\"state\":\"none\"");
    end(&r);
}

static void an_ask_that_no_engine_can_take_harms_itself_alone(void **state)
{
    struct rig r;
    (void)state;
    start(&r, true);
    r.poison = 13;
    rig_ask(&r, "pump", 1, 500, 1, 4);
    rig_ask(&r, "wild", 2, 500, 1, 13);
    rig_ask(&r, "pump", 3, 500, 4, 1);
    rig_pass(&r, 20 * MS_US);
    CHECK_INT(rig_status(&r, 1), GIVEN);
    CHECK_INT(rig_status(&r, 2), BUSY);
    CHECK_INT(rig_status(&r, 3), GIVEN);
    CHECK_INT(rig_answer(&r, 3)->answer, 0);
    for (uint64_t id = 10; id < 30; id++) { /* alone in their batches: it passes a row of zeros all the same */
        rig_ask(&r, "wild", id, 500, 1, 13);
        rig_pass(&r, 20 * MS_US);
        CHECK_INT(rig_status(&r, id), BUSY);
    }
    CHECK_INT(r.event_count, 0);
    CHECK_INT(rig_stats(&r).failed_rows, 21);
    end(&r);
}

static void what_overflows_is_bad_before_the_engine_sees_it(void **state)
{
    struct rig r;
    const int8_t values[] = {100, 100};
    (void)state;
    start(&r, true);
    struct wire_ask a = rig_make("pump", 1, 500, NULL, 2);
    a.form = WEIR__V1__FORM__FEATURES_INT8;
    a.scale = 3e38F;
    a.values = slice_of(values, sizeof(values));
    rig_send(&r, "pump", &a);
    rig_pass(&r, 20 * MS_US);
    CHECK_INT(rig_status(&r, 1), BAD);
    CHECK_INT(rig_stats(&r).failed_rows, 0);
    end(&r);
}

static void an_engine_that_does_not_return_delays_no_other_model_and_is_refused(void **state)
{
    static const char *const special[] = {"00000000000000AB"};
    const float row[] = {1, 4};
    struct rig r;
    (void)state;
    start(&r, true);
    r.models[1] = (struct escalate_model){.name = "special",
                                          .description = rig_path(&r, "model.yaml"),
                                          .answers_for = special,
                                          .for_count = 1,
                                          .self_test = ""};
    r.settings.model_count = 2;
    struct fault fault = {.code = OK};
    CHECK_OK(escalate_set(r.escalate, &r.settings, &fault));
    rig_pass(&r, 10 * MS_US);
    loop_set_worker_latency(r.loop, HOUR_US);
    rig_ask(&r, "pump", 1, 500, 1, 4); /* makes the worker that hangs */
    rig_pass(&r, 100 * MS_US);
    loop_set_worker_latency(r.loop, RIG_RUN_US);
    for (uint64_t id = 2; id < 60; id++) {
        rig_ask(&r, "pump", id, 500, 1, 4);
        struct wire_ask other = rig_make("pump", 1000 + id, 200, row, 2);
        other.model = 0xab;
        rig_send(&r, "pump", &other);
        rig_pass(&r, 100 * MS_US);
        CHECK_INT(rig_status(&r, 1000 + id), GIVEN);
    }
    CHECK_CONTAINS(rig_report(&r), "\"state\":\"hangs\"");
    CHECK(!escalate_fine(r.escalate, NULL));
    CHECK_INT(r.event_count, 0);
    rig_pass(&r, SECOND_US);
    for (uint64_t id = 1; id < 60; id++) {
        CHECK_INT(rig_status(&r, id), BUSY);
    }
    rig_pass(&r, ESCALATE_HANG_US);
    CHECK_INT(r.event_count, 1);
    CHECK_STR(r.events[0].text, "model=heavy: our own engine answers: has not returned for 10 s");
    ask(&r, 100, GIVEN);
    CHECK_INT(rig_stats(&r).waiting, 0);
    end(&r);
}

static void whoever_is_ready_to_wait_longer_is_waited_for(void **state)
{
    struct rig r;
    (void)state;
    start(&r, true);
    loop_set_worker_latency(r.loop, 30 * SECOND_US);
    rig_ask(&r, "pump", 1, 60000, 1, 4);
    rig_pass(&r, 29 * SECOND_US);
    CHECK_INT(r.event_count, 0);
    rig_pass(&r, 2 * SECOND_US);
    CHECK_INT(rig_status(&r, 1), GIVEN);
    CHECK_INT(r.event_count, 0);
    end(&r);
}

static void a_replaced_engine_that_does_not_return_leaves_the_new_one_alone(void **state)
{
    struct rig r;
    (void)state;
    start(&r, true);
    loop_set_worker_latency(r.loop, HOUR_US);
    rig_ask(&r, "pump", 1, 500, 1, 4);
    rig_pass(&r, SECOND_US);
    loop_set_worker_latency(r.loop, RIG_RUN_US);
    struct fault fault = {.code = OK};
    CHECK_OK(escalate_set(r.escalate, &r.settings, &fault));
    rig_pass(&r, ESCALATE_HANG_US);
    CHECK_INT(r.event_count, 0);
    ask(&r, 2, GIVEN);
    end(&r);
}

static void it_may_end_while_an_engine_does_not_return(void **state)
{
    struct rig r;
    (void)state;
    start(&r, true);
    loop_set_worker_latency(r.loop, HOUR_US);
    for (uint64_t id = 1; id <= 9; id++) {
        rig_ask(&r, "pump", id, 500, 1, 4);
        rig_pass(&r, 100 * MS_US);
    }
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_takes_over_from_an_engine_that_fails_again_and_again),
        cmocka_unit_test(failures_that_are_not_in_a_row_are_forgiven),
        cmocka_unit_test(what_is_no_number_is_no_answer_and_counts_as_failing),
        cmocka_unit_test(without_ours_nobody_answers_and_it_is_said),
        cmocka_unit_test(an_ask_that_no_engine_can_take_harms_itself_alone),
        cmocka_unit_test(what_overflows_is_bad_before_the_engine_sees_it),
        cmocka_unit_test(an_engine_that_does_not_return_delays_no_other_model_and_is_refused),
        cmocka_unit_test(whoever_is_ready_to_wait_longer_is_waited_for),
        cmocka_unit_test(a_replaced_engine_that_does_not_return_leaves_the_new_one_alone),
        cmocka_unit_test(it_may_end_while_an_engine_does_not_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
