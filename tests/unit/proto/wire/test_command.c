/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: Command by hand is byte for byte what protobuf-c writes and reads; what breaks a limit is refused on both
 * sides. */
#include "proto/wire/wire.h"

#include <math.h>
#include <stdio.h>

#include "tests/support/check.h"

static struct wire_command some(void)
{
    return (struct wire_command){.site = "plant", .gateway = "gw-1", .device = "pump_1", .rule = "knock", .id = 77,
                                 .deadline_us = 1700000000000000, .for_us = 5000000, .factor = 10};
}

static enum err encode(const struct wire_command *c)
{
    BUFFER(out, WIRE_COMMAND_MAX);
    return wire_command_encode(c, &out);
}

static void commands_are_byte_for_byte_those_of_the_library(void **state)
{
    (void)state;
    static uint8_t packed[4096];
    for (uint64_t seed = 1; seed < 2000; seed++) {
        struct wire_command c = some(), again;
        c.id = mix_u64(seed) | 1;
        c.deadline_us = 1 + (mix_u64(seed + 1) >> (1 + seed % 40));
        c.for_us = 1 + mix_u64(seed + 2) % DAY_US;
        c.factor = seed % 2 ? 1.0001 + (double)(seed % 9000) : 0;
        c.period_us = seed % 2 ? 0 : MS_US + mix_u64(seed) % (DAY_US - MS_US);
        snprintf(c.device, sizeof(c.device), "d%0*llu", (int)(seed % 60) + 1, (unsigned long long)seed % 8);
        BUFFER(out, WIRE_COMMAND_MAX);
        CHECK_OK(wire_command_encode(&c, &out));
        CHECK_OK(wire_command_decode(buffer_slice(&out), &again));
        CHECK(memcmp(&again.id, &c.id, 8) == 0 && again.deadline_us == c.deadline_us && again.for_us == c.for_us);
        CHECK(again.factor == c.factor && again.period_us == c.period_us);
        CHECK_STR(again.device, c.device);
        CHECK_STR(again.rule, c.rule);
        Weir__V1__Command *m = weir__v1__command__unpack(NULL, out.len, out.ptr);
        CHECK(m != NULL && m->sample_faster != NULL && m->id == c.id && m->sample_faster->factor == c.factor);
        CHECK_STR(m->gateway, c.gateway);
        CHECK_INT(weir__v1__command__pack(m, packed), out.len);
        CHECK(memcmp(packed, out.ptr, out.len) == 0);
        weir__v1__command__free_unpacked(m, NULL);
    }
}

static void what_breaks_a_limit_is_not_written(void **state)
{
    (void)state;
    struct wire_command c = some();
    CHECK_OK(encode(&c));
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        c = some();                                                                                                    \
        change;                                                                                                        \
        CHECK_ERR(encode(&c), ERR_RANGE);                                                                              \
    } while (0)
    REFUSED(c.factor = 1);
    REFUSED(c.factor = 10001);
    REFUSED(c.factor = NAN);
    REFUSED(c.factor = 0);
    REFUSED(c.period_us = 5000); /* a factor is there as well */
    REFUSED((c.factor = 0, c.period_us = 999));
    REFUSED(c.id = 0);
    REFUSED(c.deadline_us = 0);
    REFUSED(c.deadline_us = UINT64_MAX);
    REFUSED(c.for_us = 0);
    REFUSED(c.for_us = DAY_US + 1);
    REFUSED(c.rule[0] = '\0');
    REFUSED(c.site[1] = '/');
}

static enum err decode(const Weir__V1__Command *m)
{
    static uint8_t packed[8192];
    struct wire_command c;
    CHECK(weir__v1__command__get_packed_size(m) <= sizeof(packed));
    return wire_command_decode(slice_of(packed, weir__v1__command__pack(m, packed)), &c);
}

static void what_breaks_a_limit_is_not_read(void **state)
{
    (void)state;
    static char text[2000];
    Weir__V1__SampleFaster good_faster = WEIR__V1__SAMPLE_FASTER__INIT, f;
    Weir__V1__Command good = WEIR__V1__COMMAND__INIT, m;
    good_faster.factor = 10;
    good_faster.for_us = 1000;
    good_faster.rule = (char[]){"knock"};
    good.version = WIRE_VERSION;
    good.site = (char[]){"s"};
    good.gateway = (char[]){"g"};
    good.device = (char[]){"d"};
    good.id = 1;
    good.deadline_us = 1;
    good.sample_faster = &f;
    f = good_faster;
    CHECK_OK(decode(&good));
    m = good, m.version = 2;
    CHECK_ERR(decode(&m), ERR_UNSUPPORTED);
    m = good, m.sample_faster = NULL; /* something that a later gateway may ask for */
    CHECK_ERR(decode(&m), ERR_UNSUPPORTED);
    m = good, m.device = (char[]){"a/b"};
    CHECK_ERR(decode(&m), ERR_RANGE);
    m = good, m.id = 0;
    CHECK_ERR(decode(&m), ERR_RANGE);
    f.factor = INFINITY;
    CHECK_ERR(decode(&good), ERR_RANGE);
    f = good_faster, f.period_us = 1000;
    CHECK_ERR(decode(&good), ERR_RANGE);
    memset(text, 'x', sizeof(text) - 1);
    f = good_faster, f.rule = text;
    CHECK_ERR(decode(&good), ERR_RANGE);
    struct wire_command c;
    CHECK_ERR(wire_command_decode(slice_str("\x08\x01\xff"), &c), ERR_MALFORMED);
    CHECK_ERR(wire_command_decode(slice_of(NULL, 0), &c), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_byte_for_byte_those_of_the_library),
        cmocka_unit_test(what_breaks_a_limit_is_not_written),
        cmocka_unit_test(what_breaks_a_limit_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
