/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every preset of weir-device's table is valid, and settings that contradict each other are told together.
 */
#include "device/agent/settings.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/check.h"

static const char *const basics[] = {"site=plant", "id=pump-1", "gateway=gw-1"};

static enum err load(const char *const *extra, size_t extra_count, struct settings *s, struct buffer *problems)
{
    const char *sets[16];
    memcpy(sets, basics, sizeof basics);
    for (size_t i = 0; i < extra_count; i++) {
        sets[COUNT_OF(basics) + i] = extra[i];
    }
    return options_load(&settings_program, NULL, sets, COUNT_OF(basics) + extra_count, s, problems);
}
#define LOAD(settings, problems, ...)                                                                                  \
    load((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (settings),  \
         (problems))

static void the_presets_are_what_the_help_promises(void **state)
{
    (void)state;
    struct settings s = {0};
    BUFFER(problems, 64 * 1024);
    CHECK_OK(LOAD(&s, &problems, "broker.insecure=true"));
    CHECK_STR(s.id, "pump-1");
    CHECK_INT(s.report.period_us, SECOND_US);
    CHECK_INT(s.run.drain_wait_us, 5 * SECOND_US);
    CHECK_INT(s.broker.backend, 0);
    CHECK(s.alarm.above == HUGE_VAL && s.alarm.below == -HUGE_VAL);
    CHECK_STR(settings_drivers[s.sense.driver], "host");
    CHECK_STR(settings_faults[s.sense.fault], "none");
    options_free(&settings_program, &s);
}

static void contradictions_are_told(void **state)
{
    (void)state;
    struct settings s = {0};
    BUFFER(problems, 64 * 1024);
    CHECK_ERR(LOAD(&s, &problems, "sense.driver=csv", "alarm.channel=x", "alarm.above=1", "alarm.below=2"), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_OK(buffer_err(&problems));
    const char *text = (const char *)problems.ptr;
    CHECK_CONTAINS(text, "without certificates");
    CHECK_CONTAINS(text, "needs sense.path");
    CHECK_CONTAINS(text, "alarm.below 2 is higher than alarm.above 1");
    buffer_reset(&problems);
    CHECK_ERR(LOAD(&s, &problems, "broker.ca=/proc/self/status"), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS((const char *)problems.ptr, "all three or none");
}

static void rules_and_bounds_are_checked_with_the_rest(void **state)
{
    (void)state;
    struct settings s = {0};
    char path[] = "/tmp/weir-test-settings-XXXXXX", set[80];
    BUFFER(problems, 64 * 1024);
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "rules:\n  w: {do: window, length: 1s}\n  k: {do: range}\n", 53) > 0);
    close(fd);
    snprintf(set, sizeof set, "rules.file=%s", path);
    CHECK_ERR(LOAD(&s, &problems, "broker.insecure=true", set, "sense.fastest=10ms"), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS((const char *)problems.ptr, ":2:11: rules.w.do: window is not for a device");
    CHECK_CONTAINS((const char *)problems.ptr, ":3:11: rules.k.do: range needs min or max");
    CHECK_CONTAINS((const char *)problems.ptr, "sense.fastest and sense.fast_for_max go together");
    buffer_reset(&problems);
    CHECK_ERR(LOAD(&s, &problems, "broker.insecure=true", "sense.fastest=1s", "sense.fast_for_max=10s"), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS((const char *)problems.ptr, "sense.fastest: is not shorter than report.period");
    buffer_reset(&problems);
    CHECK_ERR(LOAD(&s, &problems, "broker.insecure=true", "sense.onset=500", "sense.cycle=500"), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS((const char *)problems.ptr, "sense.onset: is not before the end of sense.cycle");
    buffer_reset(&problems);
    CHECK_OK(LOAD(&s, &problems, "broker.insecure=true", "sense.fastest=100ms", "sense.fast_for_max=10s", "sense.onset=499",
                  "sense.cycle=500"));
    CHECK_INT(s.sense.onset, 499);
    CHECK_INT(s.sense.cycle, 500);
    options_free(&settings_program, &s);
    unlink(path);
}

static void a_description_of_a_model_is_checked_with_its_place(void **state)
{
    (void)state;
    struct settings s = {0};
    char path[] = "/tmp/weir-test-settings-XXXXXX", set[80];
    BUFFER(problems, 64 * 1024);
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "model: m\nchanels: [a]\n", 22) == 22);
    close(fd);
    snprintf(set, sizeof set, "infer.model=%s", path);
    CHECK_ERR(LOAD(&s, &problems, "broker.insecure=true", set), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS((const char *)problems.ptr, "infer.model: /tmp/weir-test-settings-");
    CHECK_CONTAINS((const char *)problems.ptr, ":2:1: ");
    buffer_reset(&problems);
    CHECK_OK(LOAD(&s, &problems, "broker.insecure=true", "infer.ask=smaller", "infer.report=changes",
                  "infer.alarm_classes=[hot, wet]"));
    CHECK_STR(s.infer.model, "");
    CHECK_INT(s.infer.ask_deadline_us, 250 * MS_US);
    CHECK_INT(s.infer.ask, 3);
    CHECK_INT(s.infer.report, 1);
    CHECK_INT(s.infer.alarm_classes.count, 2);
    options_free(&settings_program, &s);
    unlink(path);
}

static void the_hash_names_what_shapes_the_data(void **state)
{
    (void)state;
    struct settings a = {0}, b = {0};
    BUFFER(problems, 64 * 1024);
    CHECK_OK(LOAD(&a, &problems, "broker.insecure=true"));
    CHECK_OK(LOAD(&b, &problems, "broker.insecure=true", "broker.port=1884", "log.level=debug"));
    CHECK(settings_hash(&a) == settings_hash(&b));
    options_free(&settings_program, &b);
    CHECK_OK(LOAD(&b, &problems, "broker.insecure=true", "report.period=2s"));
    CHECK(settings_hash(&a) != settings_hash(&b));
    options_free(&settings_program, &a);
    options_free(&settings_program, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_presets_are_what_the_help_promises),
        cmocka_unit_test(contradictions_are_told),
        cmocka_unit_test(rules_and_bounds_are_checked_with_the_rest),
        cmocka_unit_test(a_description_of_a_model_is_checked_with_its_place),
        cmocka_unit_test(the_hash_names_what_shapes_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
