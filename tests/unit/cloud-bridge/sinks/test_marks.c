/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the three sinks decide alike, and rightly, what is new; times and values read as a person would write them.
 * */
#include "cloud-bridge/sinks/sinks_internal.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

static struct sink_step step_of(uint64_t hwm, bool hop, uint64_t first, uint64_t last)
{
    struct sink_mark mark = {.hop = hop, .stream = {.hwm = hwm}};
    struct wire_forward forward = {.first = first, .last = last};
    struct sink_step step;
    sink_mark_step(&mark, &forward, &step);
    return step;
}

static void what_is_at_or_below_the_mark_is_skipped(void **state)
{
    (void)state;
    CHECK(step_of(10, false, 10, 10).skip);
    CHECK(step_of(10, false, 1, 10).skip);
    CHECK(!step_of(10, false, 11, 11).skip);
    CHECK(!step_of(0, false, 1, 1).skip);
}

static void of_a_range_only_the_new_part_is_taken(void **state)
{
    struct sink_step step = step_of(10, false, 5, 15);
    (void)state;
    CHECK_INT(step.first, 11);
    CHECK_INT(step.last, 15);
    CHECK(step.lost_first > step.lost_last);
}

static void a_jump_is_lost_except_in_a_hop(void **state)
{
    struct sink_step step = step_of(10, false, 14, 15), hop = step_of(10, true, 14, 15);
    (void)state;
    CHECK_INT(step.lost_first, 11);
    CHECK_INT(step.lost_last, 13);
    CHECK_INT(step.first, 14);
    CHECK(hop.lost_first > hop.lost_last);
    CHECK_INT(hop.first, 14);
}

static void numbers_are_counted_once_each(void **state)
{
    struct sink_marks marks = {.table = NULL};
    struct sink_mark *m = NULL;
    (void)state;
    CHECK_OK(sink_marks_add(&marks, "a", 5, 1, false, &m));
    CHECK(sink_marks_find(&marks, "a", 5) == m);
    CHECK(sink_marks_find(&marks, "a", 6) == NULL);
    CHECK(sink_marks_find(&marks, "b", 5) == NULL);
    const struct {
        uint64_t first, last;
        enum sink_kind kind;
    } rows[] = {{1, 1, SINK_BLOCK}, {4, 9, SINK_GAP}, {8, 12, SINK_SUPPRESSED}, {13, 13, SINK_UNREAD}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct wire_forward forward = {.first = rows[i].first, .last = rows[i].last, .top = 20};
        struct sink_step step;
        sink_mark_step(m, &forward, &step);
        sink_mark_take(&marks, m, &step, &forward, rows[i].kind, rows[i].kind == SINK_BLOCK ? 16 : 0);
    }
    CHECK_INT(m->stream.hwm, 13);
    CHECK_INT(m->stream.top, 20);
    CHECK_INT(m->stream.records, 2);
    CHECK_INT(m->stream.gaps, 2 + 6);
    CHECK_INT(m->stream.suppressed, 3);
    CHECK_INT(m->stream.readings, 16);
    CHECK(marks.touched == m && m->next_touched == NULL);
    sink_marks_settle(&marks);
    CHECK(marks.touched == NULL && !m->touched);
    sink_marks_clear(&marks);
}

static void what_comes_late_fills_its_hole_and_nothing_else(void **state)
{
    struct sink_mark mark = {.stream = {.hwm = 80}};
    const struct wire_forward inside = {.first = 40, .last = 40}, outside = {.first = 30, .last = 30};
    const struct wire_forward over = {.first = 45, .last = 60}, above = {.first = 49, .last = 90};
    struct sink_step step;
    (void)state;
    sink_holes_add(&mark.holes, 31, 50);
    sink_mark_step(&mark, &inside, &step);
    CHECK(!step.skip && step.fill && step.first == 40 && step.last == 40);
    CHECK(step.hole.first == 31 && step.hole.last == 50 && step.lost_first > step.lost_last);
    sink_mark_move(&mark, &step);
    CHECK_INT(mark.stream.hwm, 80);
    CHECK_INT(mark.holes.count, 2);
    sink_mark_step(&mark, &inside, &step);
    CHECK(step.skip && !step.fill);
    sink_mark_step(&mark, &outside, &step);
    CHECK(step.skip);
    sink_mark_step(&mark, &over, &step);
    CHECK(step.fill && step.first == 45 && step.last == 50);
    sink_mark_step(&mark, &above, &step);
    CHECK(!step.fill && step.first == 81 && step.last == 90);
}

static void of_too_many_holes_the_oldest_goes(void **state)
{
    struct sink_holes holes = {.count = 0}, again;
    char text[SINK_HOLES_BYTES];
    (void)state;
    for (uint64_t i = 1; i <= SINK_HOLES + 1; i++) {
        sink_holes_add(&holes, 10 * i, 10 * i + 4);
    }
    CHECK_INT(holes.count, SINK_HOLES);
    CHECK_INT(holes.list[0].first, 20);
    sink_holes_fill(&holes, 52, 52); /* a split: the oldest makes room */
    sink_holes_write(&holes, text);
    CHECK_STR(text, "30-34,40-44,50-51,53-54,60-64,70-74,80-84,90-94");
    sink_holes_fill(&holes, 32, 32); /* the oldest itself */
    sink_holes_write(&holes, text);
    CHECK_STR(text, "33-34,40-44,50-51,53-54,60-64,70-74,80-84,90-94");
    sink_holes_fill(&holes, 90, 94);
    sink_holes_fill(&holes, 33, 33);
    sink_holes_fill(&holes, 44, 44);
    sink_holes_fill(&holes, 51, 53); /* more than one hole: not a step of ours */
    sink_holes_write(&holes, text);
    CHECK_STR(text, "34-34,40-43,50-51,53-54,60-64,70-74,80-84");
    CHECK_OK(sink_holes_read(text, &again));
    CHECK_INT(memcmp(again.list, holes.list, holes.count * sizeof(holes.list[0])), 0);
    const char *const wrong[] = {
        "1", "1-", "2-1", "0-3", "1-2,2-3", "1-2;4-5", "1-1,3-3,5-5,7-7,9-9,11-11,13-13,15-15,17-17"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_ERR(sink_holes_read(wrong[i], &again), ERR_MALFORMED);
    }
}

static const char *time_of(uint64_t wall_us)
{
    static char text[SINK_TIME_BYTES];
    sink_time(wall_us, text);
    return text;
}

static void times_are_iso_8601_in_utc_with_milliseconds(void **state)
{
    (void)state;
    CHECK_STR(time_of(0), "1970-01-01T00:00:00.000Z");
    CHECK_STR(time_of(UINT64_C(1709210096789999)), "2024-02-29T12:34:56.789Z");
    CHECK_STR(time_of(UINT64_C(951782400000000)), "2000-02-29T00:00:00.000Z");
    CHECK_STR(time_of(UINT64_C(2147483648000000)), "2038-01-19T03:14:08.000Z");
    CHECK_STR(time_of(UINT64_C(4107542399999000)), "2100-02-28T23:59:59.999Z");
    CHECK_STR(time_of(UINT64_C(4107542400000000)), "2100-03-01T00:00:00.000Z");
    CHECK_STR(time_of(UINT64_C(253402300799999999)), "9999-12-31T23:59:59.999Z");
    CHECK_STR(time_of(UINT64_MAX), "9999-12-31T23:59:59.999Z");
}

static void values_are_the_decimals_that_they_stand_for(void **state)
{
    (void)state;
    CHECK(sink_value(3, 0.1) == 0.3);
    CHECK(sink_value(-12345, 0.001) == -12.345);
    CHECK(sink_value(7, 5e-4) == 0.0035);
    CHECK(sink_value(7, 0.5) == 3.5);
    CHECK(sink_value(7, 1) == 7);
    CHECK(sink_value(7, 100) == 700);
    CHECK(sink_value(3, 0.3) == 3 * 0.3);
    CHECK(isfinite(sink_value(1, 1e-300)));
}

static void irregular_and_backward_times_are_summed(void **state)
{
    struct sink_reader reader;
    const int64_t values[] = {1, 2, 3}, distances[] = {0, 1500, -500};
    const double resolutions[] = {1};
    uint64_t earliest, latest;
    BUFFER(columns, 256);
    BUFFER(times, 256);
    BUFFER(bytes, 1024);
    (void)state;
    CHECK_OK(sink_reader_init(&reader));
    CHECK_OK(block_encode(values, resolutions, 1, 3, &columns));
    CHECK_OK(block_column_encode(distances, 3, &times));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.wall_us = 10000;
    block.samples = 3;
    block.columns.data = columns.ptr;
    block.columns.len = columns.len;
    block.times.data = times.ptr;
    block.times.len = times.len;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &block;
    CHECK_OK(wire_record_pack(&record, &bytes));
    sink_reader_read(&reader, buffer_slice(&bytes));
    CHECK_INT(reader.kind, SINK_BLOCK);
    sink_reader_times(&reader, &earliest, &latest);
    CHECK_INT(earliest, 10000);
    CHECK_INT(latest, 11500);
    sink_reader_deinit(&reader);
}

static void bytes_that_do_not_decode_are_unread(void **state)
{
    struct sink_reader reader;
    uint8_t garbage[200];
    (void)state;
    CHECK_OK(sink_reader_init(&reader));
    for (uint64_t seed = 0; seed < 2000; seed++) {
        size_t len = mix_u64(seed) % sizeof(garbage);
        for (size_t i = 0; i < len; i++) {
            garbage[i] = (uint8_t)mix_u64(seed * 1000 + i);
        }
        sink_reader_read(&reader, slice_of(garbage, len));
        CHECK(reader.kind == SINK_UNREAD || reader.record != NULL);
    }
    sink_reader_deinit(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_at_or_below_the_mark_is_skipped),
        cmocka_unit_test(of_a_range_only_the_new_part_is_taken),
        cmocka_unit_test(a_jump_is_lost_except_in_a_hop),
        cmocka_unit_test(numbers_are_counted_once_each),
        cmocka_unit_test(what_comes_late_fills_its_hole_and_nothing_else),
        cmocka_unit_test(of_too_many_holes_the_oldest_goes),
        cmocka_unit_test(times_are_iso_8601_in_utc_with_milliseconds),
        cmocka_unit_test(values_are_the_decimals_that_they_stand_for),
        cmocka_unit_test(irregular_and_backward_times_are_summed),
        cmocka_unit_test(bytes_that_do_not_decode_are_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
