/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the comparison of the devices' books with the gateway's ledger finds every record that one side has and the
 * other lacks, blames no device for what others did under its name, and refuses what is no ledger.
 */
#include "simulators/load/books.h"

#include "tests/support/check.h"

static const struct books_device two[] = {
    {.lane = {{.epoch = 0xa0, .durable = 0}, {.epoch = 0xa1, .durable = 10, .acked = 10}}},
    {.lane = {{.epoch = 0xb0, .durable = 2, .acked = 1}, {.epoch = 0xb1, .durable = 20, .acked = 18, .gaps = 3}}},
};

static char complaints[4096];

static struct books_account compare(const char *streams)
{
    struct books_account account;
    char answer[4096];
    BUFFER(out, sizeof(complaints) - 1);
    snprintf(answer, sizeof(answer), "{\"program\":\"gateway\",\"streams\":[%s]}", streams);
    books_count(two, COUNT_OF(two), &account);
    CHECK_OK(books_compare(two, COUNT_OF(two), "dev", slice_str(answer), NULL, &account, &out));
    snprintf(complaints, sizeof(complaints), "%.*s", (int)out.len, (const char *)out.ptr);
    return account;
}

#define STREAM(device, epoch, lane, hwm, gaps)                                                                         \
    "{\"device\":\"" device "\",\"epoch\":\"" epoch "\",\"lane\":" lane ",\"top\":0,\"hwm\":" hwm ",\"gaps\":" gaps    \
    ",\"suppressed\":0,\"closed\":false}"
#define DEV1 STREAM("dev-1", "00000000000000a1", "1", "10", "0")
#define DEV2_ALARM STREAM("dev-2", "00000000000000b0", "0", "2", "0")
#define DEV2 STREAM("dev-2", "00000000000000b1", "1", "19", "3")

static void books_that_agree_add_up(void **state)
{
    (void)state;
    struct books_account a = compare(DEV1 "," DEV2 "," DEV2_ALARM);
    CHECK(books_adds_up(&a));
    CHECK(a.compared);
    CHECK_INT(a.durable, 32);
    CHECK_INT(a.acked, 26);
    CHECK_INT(a.waiting, 3);
    CHECK_INT(a.committed, 28);
    CHECK_INT(a.gaps, 3);
    CHECK_INT(a.streams, 3);
    CHECK_STR(complaints, "");
}

static void an_acknowledged_record_that_the_gateway_lacks_is_lost(void **state)
{
    (void)state;
    struct books_account a = compare(STREAM("dev-1", "00000000000000a1", "1", "7", "0") "," DEV2 "," DEV2_ALARM);
    CHECK(!books_adds_up(&a));
    CHECK_INT(a.lost, 3);
    CHECK_INT(a.missing, 0);
    CHECK_CONTAINS(complaints, "dev-1 lane 1: acknowledged, but not there");
}

static void a_stream_that_the_gateway_does_not_know_is_lost_as_a_whole(void **state)
{
    (void)state;
    struct books_account a = compare(DEV1 "," DEV2_ALARM);
    CHECK_INT(a.lost, 18);
    CHECK_INT(a.missing, 1);
    CHECK_CONTAINS(complaints, "dev-2 lane 1: the gateway knows no such stream");
}

static void a_record_that_was_never_durable_is_a_phantom(void **state)
{
    (void)state;
    struct books_account a = compare(DEV1 "," DEV2 "," STREAM("dev-2", "00000000000000b0", "0", "5", "0"));
    CHECK(!books_adds_up(&a));
    CHECK_INT(a.phantom, 3);
    CHECK_INT(a.lost, 0);
}

static void a_gap_that_no_device_declared_does_not_add_up(void **state)
{
    (void)state;
    struct books_account a = compare(DEV1 "," STREAM("dev-2", "00000000000000b1", "1", "19", "5") "," DEV2_ALARM);
    CHECK(!books_adds_up(&a));
    CHECK_INT(a.undeclared, 2);
    CHECK_INT(a.lost, 2);
    CHECK_INT(a.committed, 10 + 14 + 2);
    CHECK_CONTAINS(complaints, "dev-2 lane 1: 2 records stand at the gateway as a gap that the device did not declare");
}

static void what_a_device_declared_lost_counts_as_no_record(void **state)
{
    (void)state;
    const struct books_device one = {.lane = {{0}, {.epoch = 1, .durable = 20, .acked = 8, .gaps = 7, .gaps_waiting = 4}}};
    struct books_account a;
    books_count(&one, 1, &a);
    CHECK_INT(a.acked, 5);
    CHECK_INT(a.waiting, 8);
    CHECK_INT(a.gaps, 7);
    CHECK_INT(a.gaps_acked, 3);
    CHECK_INT(a.acked + a.waiting + a.gaps, a.durable);
}

static void streams_of_an_earlier_run_are_not_forged_unless_they_have_moved(void **state)
{
    (void)state;
    const char *answer = "{\"streams\":[" STREAM("dev-1", "00000000000000f1", "1", "99", "0") ","
                         STREAM("dev-2", "00000000000000f2", "1", "5", "0") "]}";
    const char *later = "{\"streams\":[" DEV1 "," DEV2 "," DEV2_ALARM ","
                        STREAM("dev-2", "00000000000000f2", "1", "6", "0") ","
                        STREAM("dev-1", "00000000000000f1", "1", "99", "0") "]}";
    struct books_known before;
    struct books_account account;
    BUFFER(out, 1000);
    CHECK_OK(books_know(slice_str(answer), &before));
    books_count(two, COUNT_OF(two), &account);
    CHECK_OK(books_compare(two, COUNT_OF(two), "dev", slice_str(later), &before, &account, &out));
    CHECK_INT(account.strangers, 1);
    books_known_deinit(&before);
    CHECK_ERR(books_know(slice_str("{\"streams\":3}"), &before), ERR_MALFORMED);
}

static void others_streams_are_counted_and_not_held_against_a_device(void **state)
{
    (void)state;
    struct books_account a = compare(DEV1 "," DEV2 "," DEV2_ALARM
                                     "," STREAM("dev-1", "00000000000000ff", "1", "99", "9")
                                     "," STREAM("dev-flood-1", "0000000000000001", "1", "500", "0")
                                     "," STREAM("dev-3", "0000000000000001", "1", "5", "0")
                                     "," STREAM("dev-1x", "00000000000000a1", "1", "5", "0")
                                     "," STREAM("dev-01", "00000000000000a1", "1", "5", "0"));
    CHECK(books_adds_up(&a));
    CHECK_INT(a.strangers, 1);
    CHECK_INT(a.streams, 8);
}

static void what_is_no_ledger_is_refused(void **state)
{
    (void)state;
    const char *const answers[] = {"", "[]", "{\"streams\":3}", "{\"streams\":[",
                                   "{\"streams\":[{\"device\":\"dev-1\"}]}",
                                   "{\"streams\":[" STREAM("dev-1", "00000000000000a1", "7", "1", "0") "]}",
                                   "{\"streams\":[" STREAM("dev-1", "00000000000000a1", "1", "-1", "0") "]}"};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct books_account account;
        BUFFER(out, 1000);
        books_count(two, COUNT_OF(two), &account);
        CHECK_ERR(books_compare(two, COUNT_OF(two), "dev", slice_str(answers[i]), NULL, &account, &out), ERR_MALFORMED);
        CHECK(!account.compared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_that_agree_add_up),
        cmocka_unit_test(an_acknowledged_record_that_the_gateway_lacks_is_lost),
        cmocka_unit_test(a_stream_that_the_gateway_does_not_know_is_lost_as_a_whole),
        cmocka_unit_test(a_record_that_was_never_durable_is_a_phantom),
        cmocka_unit_test(a_gap_that_no_device_declared_does_not_add_up),
        cmocka_unit_test(what_a_device_declared_lost_counts_as_no_record),
        cmocka_unit_test(streams_of_an_earlier_run_are_not_forged_unless_they_have_moved),
        cmocka_unit_test(others_streams_are_counted_and_not_held_against_a_device),
        cmocka_unit_test(what_is_no_ledger_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
