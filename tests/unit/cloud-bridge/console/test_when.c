/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: durations and times are taken as people write them and nothing else is; times are told as they are, to the
 * microsecond where there is one; records from a gateway's ring become the rows that were recorded.
 */
#include <math.h>

#include "cloud-bridge/console/console_internal.h"
#include "proto/block/block.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"

static void durations_have_a_number_and_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {
        {"10min", 600 * SECOND_US}, {"1.5h", 5400 * SECOND_US}, {"250ms", 250000}, {"7d", 7 * DAY_US}, {"1us", 1}};
    static const char *const bad[] = {"", "10", "min", "-5s", "10 min", "5m", "1e3000s", "0s", "nan", " 5s", "5s "};
    int64_t us;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        CHECK(to_duration(good[i].text, &us));
        CHECK_INT(us, good[i].us);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK(!to_duration(bad[i], &us));
    }
}

static void times_are_dates_or_stand_before_now(void **state)
{
    (void)state;
    static const int64_t NOW_US = INT64_C(1763816645123456);
    static const char *const bad[] = {"", "yesterday", "-", "-5", "13:00", "nowish"};
    int64_t us;
    CHECK(to_time("now", NOW_US, &us));
    CHECK_INT(us, NOW_US);
    CHECK(to_time("-10min", NOW_US, &us));
    CHECK_INT(us, NOW_US - 600 * SECOND_US);
    CHECK(to_time("-300000d", NOW_US, &us) == false || us == 0);
    CHECK(to_time("2025-11-22T13:04:05.123456Z", NOW_US, &us));
    CHECK_INT(us, NOW_US);
    CHECK(to_time("2025-11-22 14:04:05+01:00", NOW_US, &us));
    CHECK_INT(us, NOW_US - 123456);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK(!to_time(bad[i], NOW_US, &us));
    }
}

static void a_stamp_can_be_given_back_as_a_time(void **state)
{
    (void)state;
    static const int64_t at[] = {0, 1, INT64_C(1763816645123456), INT64_C(1763816645120000), INT64_C(1763816645000000)};
    static const char *const told[] = {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z",
                                       "2025-11-22T13:04:05.123456Z", "2025-11-22T13:04:05.120Z",
                                       "2025-11-22T13:04:05Z"};
    int64_t us;
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        CHECK_STR(stamp_of(at[i]).text, told[i]);
        CHECK(to_time(told[i], 0, &us));
        CHECK_INT(us, at[i]);
    }
    CHECK_STR(stamp_of(-1).text, "-");
    CHECK_STR(stamp_of(INT64_MAX).text, "-");
}

static void sizes_are_told_in_words_of_three_digits(void **state)
{
    (void)state;
    CHECK_STR(amount_of(0).text, "0 B");
    CHECK_STR(amount_of(-402).text, "-402 B");
    CHECK_STR(amount_of(1234).text, "1.2 kB");
    CHECK_STR(amount_of(123456).text, "123 kB");
    CHECK_STR(amount_of(9.87e12).text, "9.9 TB");
}

/* ---- readings ---- */
static cJSON *page_record(bool describes, uint32_t set)
{
    static char names[2][8] = {"temp", "flow"}, unit[] = "Cel";
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    Weir__V1__ChannelInfo infos[2], *list[2];
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    static const double resolutions[] = {0.1, 0.01};
    static const int64_t cells[] = {205, BLOCK_MISSING, 207, 1, 2, 3};
    BUFFER(columns, 4096);
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; i < 2; i++) {
        weir__v1__channel_info__init(&infos[i]);
        infos[i].name = names[i];
        infos[i].unit = unit;
        infos[i].resolution = resolutions[i];
        list[i] = &infos[i];
    }
    d.n_channel = 2;
    d.channel = list;
    d.set = set;
    CHECK_OK(block_encode(cells, resolutions, 2, 3, &columns));
    b.set = set;
    b.wall_us = 1000000;
    b.samples = 3;
    b.period_us = 500;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    curated.set = set;
    curated.block = &b;
    record.schema = WIRE_SCHEMA;
    for (unsigned part = describes ? 0 : 1; part < 2; part++) {
        char hex[4096];
        BUFFER(packed, WIRE_RECORD_MAX);
        record.kind_case = part == 0 ? WEIR__V1__RECORD__KIND_DESCRIBE : WEIR__V1__RECORD__KIND_CURATED;
        if (part == 0) {
            record.describe = &d;
        } else {
            record.curated = &curated;
        }
        uint8_t *at = buffer_extend(&packed, weir__v1__record__get_packed_size(&record));
        CHECK(at != NULL && packed.len * 2 < sizeof(hex));
        weir__v1__record__pack(&record, at);
        for (size_t i = 0; i < packed.len; i++) {
            snprintf(hex + 2 * i, 3, "%02x", packed.ptr[i]);
        }
        cJSON_AddStringToObject(json, part == 0 ? "describe" : "record", hex);
    }
    return json;
}

struct rows {
    unsigned count, most;
    double first[8], second[8];
    int64_t time_us[8];
};

static bool on_row(void *arg, const struct reading_row *row)
{
    struct rows *r = arg;
    r->first[r->count] = row->values[0];
    r->second[r->count] = row->values[1];
    r->time_us[r->count] = row->time_us;
    return ++r->count < r->most;
}

static void records_become_the_rows_that_were_recorded(void **state)
{
    (void)state;
    CLEANUP(readings_deinit) struct readings r;
    struct rows rows = {.most = 8};
    cJSON *json = page_record(true, 7);
    CHECK_OK(readings_init(&r));
    CHECK_OK(readings_take(&r, json, on_row, &rows));
    CHECK_INT(rows.count, 3);
    CHECK(rows.first[0] == 20.5 && isnan(rows.first[1]) && rows.first[2] == 20.7);
    CHECK(rows.second[0] == 0.01 && rows.second[2] == 0.03);
    CHECK_INT(rows.time_us[2], 1001000);
    CHECK(r.fresh && r.channels == 2);
    CHECK_STR(r.names[1], "flow");
    CHECK_STR(r.units[0], "Cel");
    r.fresh = false;
    CHECK_OK(readings_take(&r, json, on_row, &rows)); /* described again: the same table */
    CHECK(!r.fresh);
    cJSON_Delete(json);
}

static void a_record_that_no_description_explains_is_no_rows(void **state)
{
    (void)state;
    CLEANUP(readings_deinit) struct readings r;
    struct rows rows = {.most = 8};
    cJSON *alone = page_record(false, 7), *other = page_record(true, 8), *odd = cJSON_CreateObject();
    cJSON_AddStringToObject(odd, "record", "0g");
    CHECK_OK(readings_init(&r));
    CHECK_ERR(readings_take(&r, alone, on_row, &rows), ERR_MALFORMED);
    CHECK_OK(readings_take(&r, other, on_row, &rows));
    CHECK_ERR(readings_take(&r, alone, on_row, &rows), ERR_MALFORMED);
    CHECK_ERR(readings_take(&r, odd, on_row, &rows), ERR_MALFORMED);
    CHECK_INT(rows.count, 3);
    cJSON_Delete(alone);
    cJSON_Delete(other);
    cJSON_Delete(odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_a_number_and_a_unit),
        cmocka_unit_test(times_are_dates_or_stand_before_now),
        cmocka_unit_test(a_stamp_can_be_given_back_as_a_time),
        cmocka_unit_test(sizes_are_told_in_words_of_three_digits),
        cmocka_unit_test(records_become_the_rows_that_were_recorded),
        cmocka_unit_test(a_record_that_no_description_explains_is_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
