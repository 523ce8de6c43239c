/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an answer is a class of the model that asks, found by its name, whatever the order in ours; what cannot be
 * mapped is refused or flagged, never passed on as some other class.
 */
#include <inttypes.h>
#include <stdio.h>

#include "proto/model/model.h"
#include "tests/support/model_files.h"
#include "tests/unit/gateway/escalate/rig.h"

#define HEAD(name)                                                                                                     \
    "model: " name "\nnetwork: net.onnx\nchannels: [x]\nwindow: 2\nfeatures:\n  all: {kind: raw, channel: x}\n"

static const char *names[4];

/* The heavy model says [a, b]; the device's description goes on with `text`. */
static void start(struct rig *r, const char *text)
{
    char whole[400];
    rig_start(r);
    snprintf(whole, sizeof(whole), HEAD("small") "%s", text);
    model_files_text(rig_path(r, "net.onnx"), "the device's");
    model_files_text(rig_path(r, "device.yaml"), whole);
    names[0] = strdup(rig_path(r, "device.yaml"));
    r->models[0].answers_for = names;
    r->models[0].for_count = 1;
}

static void end(struct rig *r)
{
    free((char *)(uintptr_t)names[0]);
    rig_end(r);
}

static uint64_t device_id(const struct rig *r)
{
    BUFFER(problems, 1024);
    CLEANUP(model_freep) struct model *device = NULL;
    CHECK_OK(model_load(rig_path(r, "device.yaml"), &device, &problems));
    return model_info(device)->id;
}

static void ask_as(struct rig *r, uint64_t model, uint64_t id, uint32_t own, float a, float b)
{
    const float row[] = {a, b};
    struct wire_ask ask = rig_make("pump", id, 500, row, 2);
    ask.model = model;
    ask.own_answer = own;
    rig_send(r, "pump", &ask);
    rig_pass(r, 20 * MS_US);
}

static void another_order_of_the_same_classes_is_turned(void **state)
{
    struct rig r;
    (void)state;
    start(&r, "classes: [c, b, a]\n");
    rig_open(&r, false);
    ask_as(&r, device_id(&r), 1, 0, 4, 1); /* a */
    ask_as(&r, device_id(&r), 2, 0, 1, 4); /* b */
    CHECK_INT(rig_status(&r, 1), GIVEN);
    CHECK_INT(rig_answer(&r, 1)->answer, 2);
    CHECK_INT(rig_answer(&r, 2)->answer, 1);
    CHECK_CONTAINS(rig_report(&r), "\"classes\":\"by name\",\"note\":null");
    end(&r);
}

static void a_class_that_the_device_does_not_have_is_for_a_person(void **state)
{
    struct rig r;
    (void)state;
    start(&r, "classes: [b, c]\n");
    rig_open(&r, false);
    CHECK_CONTAINS(rig_report(&r), "device.yaml has no class a\"");
    ask_as(&r, device_id(&r), 1, 0, 1, 4);
    CHECK_INT(rig_answer(&r, 1)->answer, 0);
    CHECK_INT(r.event_count, 0);
    ask_as(&r, device_id(&r), 2, 0, 4, 1); /* sure: a */
    CHECK_INT(rig_status(&r, 2), UNSURE);
    CHECK(rig_answer(&r, 2)->answer == ESCALATE_CLASS_NONE);
    CHECK_INT(r.event_count, 1);
    CHECK_STR(r.events[0].id, "label-requested");
    CHECK_CONTAINS(r.events[0].text, "best=- confidence=0.953 label=a");
    end(&r);
}

static void a_model_of_none_of_the_devices_classes_is_refused(void **state)
{
    struct rig r;
    (void)state;
    start(&r, "classes: [c, d, e]\n");
    rig_open(&r, false);
    CHECK_INT(r.event_count, 1);
    CHECK_CONTAINS(r.events[0].text, "none answers: for: ");
    CHECK_CONTAINS(r.events[0].text, "device.yaml has none of this model's classes: ");
    CHECK_CONTAINS(r.events[0].text, "has no class a, b");
    end(&r);
}

static void a_score_is_normal_or_not(void **state)
{
    struct rig r;
    (void)state;
    start(&r, "output: score\nnormal_below: 0.5\n");
    model_files_text(rig_path(&r, "model.yaml"),
                     "model: heavy\nnetwork: net.tflite\nchannels: [x]\nwindow: 2\nfeatures:\n"
                     "  all: {kind: raw, channel: x}\nclasses: [not-normal, normal]\nunsure_below: 0.8\n");
    rig_open(&r, false);
    ask_as(&r, device_id(&r), 1, 0, 4, 1);
    ask_as(&r, device_id(&r), 2, 0, 1, 4);
    CHECK_INT(rig_answer(&r, 1)->answer, 1);
    CHECK_INT(rig_answer(&r, 2)->answer, 0);
    end(&r);
}

static void patterns_name_many_descriptions(void **state)
{
    struct rig r;
    (void)state;
    start(&r, "classes: [b, a]\n");
    model_files_text(rig_path(&r, "other.yaml"), HEAD("second") "classes: [x, y, a, b]\n");
    free((char *)(uintptr_t)names[0]);
    names[0] = strdup(rig_path(&r, "[do]*e?.yaml"));
    rig_open(&r, false);
    CHECK_INT(r.event_count, 0);
    ask_as(&r, device_id(&r), 1, 0, 1, 4);
    CHECK_INT(rig_status(&r, 1), NO_MODEL); /* device.yaml does not fit the pattern */
    free((char *)(uintptr_t)names[0]);
    names[0] = strdup(rig_path(&r, "[do]*.yaml"));
    struct fault fault = {.code = OK};
    CHECK_OK(escalate_set(r.escalate, &r.settings, &fault));
    rig_pass(&r, 10 * MS_US);
    ask_as(&r, device_id(&r), 2, 0, 1, 4);
    CHECK_INT(rig_status(&r, 2), GIVEN);
    CHECK_INT(rig_answer(&r, 2)->answer, 0);
    free((char *)(uintptr_t)names[0]);
    names[0] = strdup(rig_path(&r, "none-*.yaml"));
    CHECK_OK(escalate_set(r.escalate, &r.settings, &fault));
    rig_pass(&r, 10 * MS_US);
    CHECK_CONTAINS(r.events[0].text, "none-*.yaml: no such file");
    end(&r);
}

static void classes_of_ids_and_of_all_others_come_from_the_settings(void **state)
{
    static const char *const theirs[] = {"b", "a", "c"};
    struct rig r;
    (void)state;
    start(&r, "classes: [a, b]\n");
    free((char *)(uintptr_t)names[0]);
    names[0] = strdup("00000000000000AB");
    names[1] = "*";
    r.models[0].for_count = 2;
    r.models[0].classes = theirs;
    r.models[0].class_count = COUNT_OF(theirs);
    rig_open(&r, false);
    ask_as(&r, 0xab, 1, 2, 1, 4);
    ask_as(&r, 0x77, 2, 2, 4, 1);
    CHECK_INT(rig_answer(&r, 1)->answer, 0);
    CHECK_INT(rig_answer(&r, 2)->answer, 1);
    CHECK_CONTAINS(rig_report(&r), "\"classes\":\"by name\"");
    end(&r);
}

static void classes_that_nobody_tells_are_assumed_and_that_is_said(void **state)
{
    static const char *const any[] = {"*"};
    struct rig r;
    (void)state;
    start(&r, "classes: [a, b]\n");
    r.models[0].answers_for = any;
    rig_open(&r, false);
    CHECK_CONTAINS(rig_report(&r), "\"classes\":\"assumed\"");
    ask_as(&r, 0x77, 1, 1, 1, 4);
    CHECK_INT(rig_answer(&r, 1)->answer, 1);
    ask_as(&r, 0x77, 2, 2, 1, 4); /* it has a third class: they are not ours */
    CHECK_INT(rig_status(&r, 2), BAD);
    end(&r);
}

static void what_has_no_effect_is_noted(void **state)
{
    static const char *const theirs[] = {"b", "a", "c"}, *const any[] = {"*"};
    struct rig r;
    char said[120];
    (void)state;
    start(&r, "classes: [a, b]\n");
    r.models[1] = r.models[0];
    r.models[1].name = "second";
    r.models[1].classes = theirs;
    r.models[1].class_count = COUNT_OF(theirs);
    r.settings.model_count = 2;
    rig_open(&r, false);
    snprintf(said, sizeof(said), "for: %016" PRIx64 " is answered by the model before, heavy\"", device_id(&r));
    CHECK_CONTAINS(rig_report(&r), said);
    CHECK_CONTAINS(rig_report(&r), "\"note\":\"classes: without effect, the descriptions in `for` have their own");
    CHECK_CONTAINS(rig_report(&r), "\"note\":null");
    r.models[0].answers_for = r.models[1].answers_for = any;
    struct fault fault = {.code = OK};
    CHECK_OK(escalate_set(r.escalate, &r.settings, &fault));
    rig_pass(&r, 10 * MS_US);
    CHECK_CONTAINS(rig_report(&r), "for: \\\"*\\\" is answered by the model before, heavy");
    CHECK(strstr(rig_report(&r), "without effect") == NULL);
    end(&r);
}

static void put_refused(void *arg, const char *name, const char *why)
{
    buffer_printf(arg, "%s|%s\n", name, why);
}

static void a_trial_says_what_would_be_refused(void **state)
{
    struct rig r;
    struct fault fault = {.code = OK};
    BUFFER(refused, 4096);
    (void)state;
    start(&r, "classes: [a, b]\n");
    CHECK_OK(escalate_trial(&r.settings, put_refused, &refused, &fault));
    CHECK_INT(refused.len, 0);
    free((char *)(uintptr_t)names[0]);
    names[0] = strdup("pump-small");
    r.models[0].engine = ESCALATE_ONNX; /* its library is not run, all else is read */
    CHECK_OK(escalate_trial(&r.settings, put_refused, &refused, &fault));
    buffer_put_u8(&refused, '\0');
    CHECK_STR((const char *)refused.ptr, "heavy|for: \"pump-small\" is no description (no such file), no id of 16 "
                                         "hexadecimal digits and not \"*\"\n");
    r.settings.batch = ESCALATE_BATCH_MAX + 1;
    CHECK_ERR(escalate_trial(&r.settings, put_refused, &refused, &fault), ERR_RANGE);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_order_of_the_same_classes_is_turned),
        cmocka_unit_test(a_class_that_the_device_does_not_have_is_for_a_person),
        cmocka_unit_test(a_model_of_none_of_the_devices_classes_is_refused),
        cmocka_unit_test(a_score_is_normal_or_not),
        cmocka_unit_test(patterns_name_many_descriptions),
        cmocka_unit_test(classes_of_ids_and_of_all_others_come_from_the_settings),
        cmocka_unit_test(what_has_no_effect_is_noted),
        cmocka_unit_test(a_trial_says_what_would_be_refused),
        cmocka_unit_test(classes_that_nobody_tells_are_assumed_and_that_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
