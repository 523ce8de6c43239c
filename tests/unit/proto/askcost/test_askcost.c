/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what an ask costs is counted as it goes over the link: message by message, and only what asking adds. */
#include "proto/askcost/askcost.h"

#include "tests/support/check.h"

static void messages_are_counted_with_topic_and_head(void **state)
{
    struct askcost small, large;
    /* weir/v1/plant/gw-1/device-00042/ask is 35 bytes: head 2 (3 from 128 bytes on), its length 2 */
    (void)state;
    CHECK_OK(askcost_of("normal", 1000000, 50, 0, &small));
    CHECK_INT(small.ask, 2 + 2 + 35 + 50);
    CHECK_OK(askcost_of("normal", 1000000, 500, ASKCOST_OVERHEAD, &large));
    CHECK_INT(large.ask, 3 + 2 + 35 + 500 + 74);
    CHECK_INT(large.answer - small.answer, 74);
    CHECK_INT(large.record, small.record);
}

static void a_record_is_longer_by_who_answered(void **state)
{
    char endless[2 * WIRE_NAME_MAX];
    struct askcost of, longer;
    memset(endless, 'x', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    (void)state;
    CHECK_OK(askcost_of("a", 1000000, 50, 0, &of));
    CHECK_OK(askcost_of("abcdef", 1000000, 50, 0, &longer));
    CHECK_INT(longer.record - of.record, 5);
    CHECK_INT(longer.longer_record, of.longer_record);
    CHECK(of.longer_record > 20 && of.record > 40 && of.record < 80);
    CHECK_ERR(askcost_of(endless, 1, 1, 0, &of), ERR_RANGE);
}

static void its_names_make_a_sound_ask(void **state)
{
    const float value = 1;
    struct wire_ask ask = {
        .form = WEIR__V1__FORM__FEATURES_FLOAT32, .rows = 1, .columns = 1, .values = slice_of(&value, 4)};
    BUFFER(message, WIRE_ASK_MAX);
    (void)state;
    askcost_names(&ask);
    CHECK_OK(wire_ask_encode(&ask, &message));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_counted_with_topic_and_head),
        cmocka_unit_test(a_record_is_longer_by_who_answered),
        cmocka_unit_test(its_names_make_a_sound_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
