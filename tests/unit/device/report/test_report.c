/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the report takes what it can keep, says no to what it cannot, and allocates nothing for a sample.
 */
#include "device/report/report.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/check.h"
#include "tests/unit/device/report/rig.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

static unsigned allocations;

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    allocations++;
    return __real_realloc(ptr, size);
}

static void a_sample_allocates_nothing(void **state)
{
    (void)state;
    static const char *const drivers[] = {"pattern", "pump", "host"};
    for (size_t d = 0; d < COUNT_OF(drivers); d++) {
        struct rig *rig = rig_new(4 << 20);
        rig->options.period_us = 0;
        rig->options.report.samples_per_record = 64;
        rig->sense_options.driver = drivers[d];
        rig_start(rig);
        rig_run(rig, SECOND_US);
        for (unsigned i = 0; i < 10; i++) {
            CHECK_OK(agent_sample_now(rig->agent));
        }
        rig_run(rig, SECOND_US);
        allocations = 0;
        for (unsigned i = 0; i < 64; i++) { /* one of them closes the block and puts it into the queue */
            CHECK_OK(agent_sample_now(rig->agent));
        }
        CHECK_INT(allocations, 0);
        rig_run(rig, SECOND_US);
        CHECK(allocations > 0); /* the commit: the counter counts */
        rig_free(rig);
    }
}

static void nothing_is_taken_before_the_start_is_durable(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    store_disk_set_mode(rig->disk, STORE_DISK_EIO);
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US);
    struct report *report = agent_report(rig->agent);
    CHECK(!report_ready(report));
    CHECK(!report_drained(report));
    CHECK_ERR(report_sample(report, (double[]){1, 2, 3}), ERR_AGAIN);
    CHECK_ERR(report_event(report, REPORT_ALARM, "x", NULL, NULL, 0), ERR_AGAIN);
    CHECK_ERR(report_health(report, 1), ERR_AGAIN);
    CHECK_INT(rig->frames, 0);
    CHECK_INT(rig_stats(rig).refused, 1);
    store_disk_set_mode(rig->disk, STORE_DISK_OK);
    rig_run(rig, 30 * SECOND_US);
    CHECK(report_ready(report));
    rig_expect_whole(rig_current(rig, 1));
    CHECK(rig_current(rig, 1)->window.hwm > 2);
    rig_free(rig);
}

static void expect_refused(struct rig *rig, const char *part)
{
    struct fault fault = {0};
    struct agent *agent = NULL;
    struct store *store = NULL;
    struct sense *sense = NULL;
    struct bus *bus = NULL;
    CHECK_OK(store_open_memory(rig->device_loop, rig->disk, REPORT_TABLE_COUNT, &store));
    CHECK_OK(bus_new_memory(rig->hub, rig->device_loop, "dev-1", &bus));
    CHECK_OK(sense_open(rig->device_loop, &rig->sense_options, &sense, NULL));
    CHECK_ERR(agent_new(rig->device_loop, bus, store, sense, &rig->options, &agent, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, part);
    bus_free(bus);
    sense_close(sense);
    store_close(store);
}

static void options_that_cannot_work_are_told(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    const struct agent_options good = rig->options;
    rig->options.report.device = "not an id";
    expect_refused(rig, "device \"not an id\" is not an identity");
    rig->options = good;
    rig->options.report.samples_per_record = 0;
    expect_refused(rig, "0 samples in a record");
    rig->options.report.samples_per_record = 1024;
    rig->sense_options.channels = 64;
    expect_refused(rig, "may not fit into a record");
    rig->sense_options.channels = 3;
    rig->options = good;
    rig->options.report.bulk_bytes = 100;
    expect_refused(rig, "the bulk lane has room for 100 bytes");
    rig->options = good;
    rig->options.limit.channel = "nowhere";
    expect_refused(rig, "alarm.channel \"nowhere\"");
    rig->options = good;
    rig_start(rig);
    rig_run(rig, SECOND_US);
    CHECK(report_ready(agent_report(rig->agent)));
    rig_free(rig);
}

static void an_old_block_is_closed_although_it_is_not_full(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig->options.period_us = 0;
    rig->options.report.max_age_us = 5 * SECOND_US;
    rig_start(rig);
    rig_run(rig, SECOND_US);
    CHECK_OK(agent_sample_now(rig->agent));
    rig_run(rig, 4 * SECOND_US);
    CHECK_INT(rig_stats(rig).lane[1].durable, 1); /* the description */
    rig_run(rig, 2 * SECOND_US);
    CHECK_INT(rig_stats(rig).lane[1].durable, 2);
    CHECK(report_drained(agent_report(rig->agent)));
    rig_free(rig);
}

static void values_that_are_missing_travel_as_missing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig->options.period_us = 0;
    rig_start(rig);
    rig_run(rig, SECOND_US);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_OK(report_sample(agent_report(rig->agent), (double[]){NAN, HUGE_VAL, 1e300}));
    }
    rig_run(rig, SECOND_US);
    CHECK_INT(rig->refused_records, 0);
    CHECK_INT(rig_count(rig_current(rig, 1), WEIR__V1__RECORD__KIND_BLOCK), 1);
    rig_free(rig);
}

static void the_state_of_the_clock_travels_with_the_block(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US);
    report_set_synced(agent_report(rig->agent), true);
    rig_run(rig, 10 * SECOND_US);
    struct rig_stream *s = rig_current(rig, 1);
    CHECK_INT(s->records[1].quality, WEIR__V1__CLOCK_QUALITY__UNSYNCED);
    CHECK_INT(s->records[s->count - 1].quality, WEIR__V1__CLOCK_QUALITY__NTP);
    rig_free(rig);
}

static void acknowledged_records_leave_the_store(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig_start(rig);
    rig_run(rig, HOUR_US);
    struct report_stats stats = rig_stats(rig);
    CHECK(stats.lane[1].durable > 900);
    CHECK(stats.lane[1].bytes < 4096);
    CHECK(stats.commits < stats.records + stats.records / 4); /* trims go along */
    rig_free(rig);
}

static void a_device_without_samples_trims_as_well(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig_start(rig);
    rig_run(rig, MINUTE_US);
    agent_stop(rig->agent);
    rig_run(rig, MINUTE_US);
    CHECK_INT(rig_stats(rig).lane[1].bytes, 0);
    uint64_t frames = rig->frames;
    rig_crash(rig);
    rig_start(rig);
    rig_run(rig, MS_US);
    CHECK_INT(rig->frames, frames); /* nothing to send again */
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_allocates_nothing),
        cmocka_unit_test(nothing_is_taken_before_the_start_is_durable),
        cmocka_unit_test(options_that_cannot_work_are_told),
        cmocka_unit_test(an_old_block_is_closed_although_it_is_not_full),
        cmocka_unit_test(values_that_are_missing_travel_as_missing),
        cmocka_unit_test(the_state_of_the_clock_travels_with_the_block),
        cmocka_unit_test(acknowledged_records_leave_the_store),
        cmocka_unit_test(a_device_without_samples_trims_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
