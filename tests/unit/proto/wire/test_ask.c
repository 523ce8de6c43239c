/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: Ask and Answer by hand are byte for byte what protobuf-c writes and reads; what breaks a limit is refused on both
 * sides; values come out as they went in, in every form. */
#include "proto/wire/wire.h"

#include <math.h>
#include <stdio.h>

#include "tests/support/check.h"

static uint8_t values[4000];

static struct wire_ask some(Weir__V1__Form form)
{
    static const size_t size[] = {4, 1, 4, 2};
    struct wire_ask a = {.site = "plant", .gateway = "gw-1", .device = "pump_1", .id = 77, .model = 5, .deadline_ms = 200, .own_answer = 2,
                         .own_confidence = 0.5F, .form = form, .rows = 10, .columns = 3, .scale = 0.1F, .zero_point = -3, .hops = 1};
    a.values = slice_of(values, 30 * size[form]);
    return a;
}

static void asks_are_byte_for_byte_those_of_the_library(void **state)
{
    static uint8_t packed[WIRE_ASK_MAX];
    (void)state;
    for (uint64_t seed = 1; seed < 1000; seed++) {
        struct wire_ask a = some((Weir__V1__Form)(seed % 4)), again;
        for (size_t i = 0; i < sizeof(values) / 4; i++) {
            float f = (float)(mix_u64(seed + i) % 1000) - 500;
            memcpy(values + 4 * i, &f, 4);
        }
        a.id = mix_u64(seed) | 1;
        a.model = mix_u64(seed + 1);
        a.zero_point = (int32_t)(seed % 65536) - 32768;
        a.hops = (uint32_t)(seed % 3);
        a.own_confidence = seed % 5 == 0 ? -0.0F : a.own_confidence;
        BUFFER(out, WIRE_ASK_MAX);
        CHECK_OK(wire_ask_encode(&a, &out));
        CHECK_OK(wire_ask_decode(buffer_slice(&out), &again));
        CHECK(again.id == a.id && again.zero_point == a.zero_point && slice_equal(again.values, a.values));
        Weir__V1__Ask *m = weir__v1__ask__unpack(NULL, out.len, out.ptr);
        CHECK(m != NULL && m->id == a.id && m->hops == a.hops && m->zero_point == a.zero_point && m->values.len == a.values.len);
        CHECK_INT(weir__v1__ask__pack(m, packed), out.len);
        CHECK(memcmp(packed, out.ptr, out.len) == 0);
        weir__v1__ask__free_unpacked(m, NULL);
    }
}

static void answers_are_byte_for_byte_those_of_the_library(void **state)
{
    static uint8_t packed[WIRE_ANSWER_MAX];
    (void)state;
    for (uint64_t seed = 1; seed < 1000; seed++) {
        struct wire_answer a = {.device = "pump_1", .engine = "plant/gw-1", .id = mix_u64(seed) | 1, .model = mix_u64(seed + 1),
                                .status = (Weir__V1__AnswerStatus)(seed % 5), .answer = (uint32_t)(seed % 7), .took_us = (uint32_t)seed,
                                .confidence = (float)(seed % 100) / 100, .score = seed % 5 == 0 ? -0.0F : (float)seed - 500},
                           again;
        a.engine[seed % 9 == 0 ? 0 : 6] = seed % 9 == 0 ? '\0' : 'g';
        BUFFER(out, WIRE_ANSWER_MAX);
        CHECK_OK(wire_answer_encode(&a, &out));
        CHECK_OK(wire_answer_decode(buffer_slice(&out), &again));
        CHECK(again.confidence == a.confidence && again.score == a.score);
        CHECK_STR(again.engine, a.engine);
        Weir__V1__Answer *m = weir__v1__answer__unpack(NULL, out.len, out.ptr);
        CHECK(m != NULL && m->id == a.id && m->score == a.score);
        CHECK_INT(weir__v1__answer__pack(m, packed), out.len);
        CHECK(memcmp(packed, out.ptr, out.len) == 0);
        weir__v1__answer__free_unpacked(m, NULL);
    }
}

static void what_breaks_a_limit_is_refused(void **state)
{
    struct wire_ask a;
    float nan = NAN;
    (void)state;
    memset(values, 0, sizeof(values));
#define REFUSED(form, change)                                                                                          \
    do {                                                                                                               \
        BUFFER(out, WIRE_ASK_MAX);                                                                                     \
        a = some(WEIR__V1__FORM__##form);                                                                              \
        change;                                                                                                        \
        CHECK_ERR(wire_ask_encode(&a, &out), ERR_RANGE);                                                               \
    } while (0)
    REFUSED(RAW_FLOAT32, a.id = 0);
    REFUSED(RAW_FLOAT32, a.deadline_ms = 0);
    REFUSED(RAW_FLOAT32, a.deadline_ms = WIRE_DEADLINE_MAX_MS + 1);
    REFUSED(RAW_FLOAT32, a.own_confidence = 1.5F);
    REFUSED(RAW_FLOAT32, a.own_confidence = NAN);
    REFUSED(RAW_FLOAT32, a.rows = 11);
    REFUSED(RAW_FLOAT32, a.rows = 0);
    REFUSED(RAW_FLOAT32, a.values.len--);
    REFUSED(FEATURES_INT8, a.scale = 0);
    REFUSED(RAW_INT16, a.scale = INFINITY);
    REFUSED(RAW_INT16, a.zero_point = 40000);
    REFUSED(RAW_INT16, a.hops = WIRE_ASK_HOPS_MAX + 1);
    REFUSED(RAW_INT16, a.device[0] = '/');
    memcpy(values + 8, &nan, 4);
    REFUSED(FEATURES_FLOAT32, (void)0);
}

static void values_come_out_as_they_went_in(void **state)
{
    float out[30];
    (void)state;
    for (int i = 0; i < 30; i++) {
        int16_t wide = (int16_t)(i * 100 - 1000);
        memcpy(values + 2 * i, &wide, 2);
    }
    struct wire_ask a = some(WEIR__V1__FORM__RAW_INT16);
    wire_ask_values(&a, out);
    CHECK(fabs((double)out[29] - 0.1 * (1900 + 3)) < 1e-4);
    values[4] = (uint8_t)-100;
    a = some(WEIR__V1__FORM__FEATURES_INT8);
    wire_ask_values(&a, out);
    CHECK(fabs((double)out[4] - 0.1 * (-100 + 3)) < 1e-5);
    float f = -2.5F;
    memcpy(values + 4 * 7, &f, 4);
    a = some(WEIR__V1__FORM__FEATURES_FLOAT32);
    wire_ask_values(&a, out);
    CHECK(out[7] == -2.5F);
}

static void a_window_becomes_an_ask_without_loss(void **state)
{
    float window[] = {NAN, 1.25F, 0.5F, NAN, -0.75F, 3}, back[6]; /* three rows of two */
    const float held[] = {0.5F, 1.25F, 0.5F, 1.25F, -0.75F, 3};
    struct wire_ask ask = {.id = 1};
    (void)state;
    wire_ask_window(&ask, window, 3, 2, 0.25);
    CHECK_INT(ask.form, WEIR__V1__FORM__RAW_INT16);
    CHECK_INT(ask.values.len, 12);
    wire_ask_values(&ask, back);
    for (size_t i = 0; i < 6; i++) {
        CHECK(back[i] == held[i]);
    }
    float odd[] = {0.3F, 1}, large[] = {20000, 1}, shared[] = {1, 2};
    wire_ask_window(&ask, odd, 2, 1, 0.25); /* no whole step */
    CHECK_INT(ask.form, WEIR__V1__FORM__RAW_FLOAT32);
    CHECK_INT(ask.values.len, 8);
    wire_ask_window(&ask, large, 2, 1, 0.25); /* more steps than 16 bits count */
    CHECK_INT(ask.form, WEIR__V1__FORM__RAW_FLOAT32);
    wire_ask_window(&ask, shared, 1, 2, 0); /* no common step */
    CHECK_INT(ask.form, WEIR__V1__FORM__RAW_FLOAT32);
    CHECK_INT(ask.rows, 1);
    CHECK_INT(ask.columns, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_are_byte_for_byte_those_of_the_library),
        cmocka_unit_test(answers_are_byte_for_byte_those_of_the_library),
        cmocka_unit_test(what_breaks_a_limit_is_refused),
        cmocka_unit_test(values_come_out_as_they_went_in),
        cmocka_unit_test(a_window_becomes_an_ask_without_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
