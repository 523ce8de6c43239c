/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a file from anybody is refused with a sentence or runs, whatever was done to it: every byte changed in several
 * ways, every length cut, random splices. The address sanitizer watches file (of exact size), memory and activations.
 */
#include <stdio.h>

#include "core/nn/nn.h"
#include "tests/support/check.h"
#include "tests/support/tflite_build.h"

enum { MEMORY = 1 << 16 };
static uint8_t original[1 << 14] __attribute__((aligned(16)));
static size_t length;
static unsigned long loaded, refused;

static const float scale[] = {0.05F};
static const int8_t weights[3 * 3 * 2 * 4] = {1, -2, 3, 4};
static const int32_t bias[4] = {5, 6, 7, 8}, axes[] = {1, 2};

static void build(void)
{
    struct build_model m = {.tensor_count = 9, .op_count = 4, .output = 8};
    m.tensors[0] = (struct build_tensor){BUILD_INT8, 4, {1, 6, 6, 2}, scale, 1, -3, 0, NULL, 0};
    m.tensors[1] = (struct build_tensor){BUILD_INT8, 4, {4, 3, 3, 2}, scale, 1, 0, 0, weights, sizeof(weights)};
    m.tensors[2] = (struct build_tensor){BUILD_INT32, 1, {4}, NULL, 0, 0, 0, bias, sizeof(bias)};
    m.tensors[3] = (struct build_tensor){BUILD_INT8, 4, {1, 6, 6, 4}, scale, 1, 1, 0, NULL, 0};
    m.tensors[4] = (struct build_tensor){BUILD_INT8, 4, {1, 3, 3, 4}, scale, 1, 1, 0, NULL, 0};
    m.tensors[5] = (struct build_tensor){BUILD_INT32, 1, {2}, NULL, 0, 0, 0, axes, sizeof(axes)};
    m.tensors[6] = (struct build_tensor){BUILD_INT8, 2, {1, 4}, scale, 1, 1, 0, NULL, 0};
    m.tensors[7] = (struct build_tensor){BUILD_FLOAT32, 2, {1, 4}, NULL, 0, 0, 0, NULL, 0};
    m.tensors[8] = (struct build_tensor){BUILD_FLOAT32, 2, {1, 4}, NULL, 0, 0, 0, NULL, 0};
    m.ops[0] = (struct build_op){3, {0, 1, 2}, 3, 3, {{0, 1, 0}, {1, 4, 1}, {2, 4, 1}, {3, 1, 1}}};
    m.ops[1] = (struct build_op){17, {3}, 1, 4, {{0, 1, 0}, {1, 4, 2}, {2, 4, 2}, {3, 4, 2}, {4, 4, 2}}};
    m.ops[2] = (struct build_op){40, {4, 5}, 2, 6, {{0, 1, 0}}};
    m.ops[3] = (struct build_op){6, {6}, 1, 7, {{0, 1, 0}}};
    m.output = 7;
    length = tflite_build(&m, original, sizeof(original));
}

static void try_file(const uint8_t *bytes, size_t len)
{
    void *file = NULL, *memory = NULL;
    struct nn *nn = NULL;
    struct nn_cost cost;
    struct fault fault = {0};
    CHECK_INT(posix_memalign(&file, 16, len ? len : 1) + posix_memalign(&memory, 16, MEMORY), 0);
    memcpy(file, bytes, len);
    enum err err = nn_load(slice_of(file, len), memory, MEMORY, &(struct nn_options){.macs_max = 1000000}, &nn, &cost, &fault);
    if (err == OK) {
        for (size_t i = 0; i < nn_inputs(nn); i++) {
            memset(nn_input(nn, i), 0x55, nn_input_info(nn, i)->bytes);
        }
        nn_run(nn, 1);
        loaded++;
    } else {
        CHECK(fault.text[0] != '\0');
        refused++;
    }
    free(file);
    free(memory);
}

static void the_file_itself_loads(void **state)
{
    (void)state;
    build();
    loaded = 0;
    try_file(original, length);
    CHECK_INT(loaded, 1);
}

static void every_byte_may_be_anything(void **state)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0x10};
    static uint8_t spoilt[sizeof(original)];
    (void)state;
    for (size_t i = 0; i < length; i++) {
        for (size_t v = 0; v < COUNT_OF(values); v++) {
            memcpy(spoilt, original, length);
            spoilt[i] = values[v];
            try_file(spoilt, length);
        }
    }
    CHECK(refused > 1000);
    CHECK(loaded > 1000); /* most of weights and padding means nothing to the parser */
}

static void every_length_may_be_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < length; i++) {
        try_file(original, i);
    }
}

static void words_may_be_anything(void **state)
{
    static uint8_t spoilt[sizeof(original)];
    uint64_t seed = 1;
    (void)state;
    for (unsigned n = 0; n < 20000; n++) {
        memcpy(spoilt, original, length);
        for (unsigned k = 0; k <= n % 3; k++) {
            seed = mix_u64(seed);
            size_t at = seed % (length / 4) * 4;
            uint32_t value = (uint32_t)(seed >> 32) >> (seed % 31);
            memcpy(spoilt + at, &value, 4);
        }
        try_file(spoilt, length);
    }
}

static void a_pool_that_looks_at_more_than_is_allowed_is_refused(void **state)
{
    enum { SIDE = 256 };
    (void)state;
    struct build_model m = {.tensor_count = 2, .op_count = 1, .output = 1};
    m.tensors[0] = m.tensors[1] = (struct build_tensor){BUILD_INT8, 4, {1, SIDE, SIDE, 1}, scale, 1, 0, 0, NULL, 0};
    m.ops[0] = (struct build_op){17, {0}, 1, 1, {{0, 1, 0}, {1, 4, 1}, {2, 4, 1}, {3, 4, SIDE}, {4, 4, SIDE}}};
    length = tflite_build(&m, original, sizeof(original));
    loaded = refused = 0;
    try_file(original, length); /* nothing is multiplied, and it would take seconds */
    CHECK_INT(refused, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_itself_loads),
        cmocka_unit_test(every_byte_may_be_anything),
        cmocka_unit_test(every_length_may_be_cut),
        cmocka_unit_test(words_may_be_anything),
        cmocka_unit_test(a_pool_that_looks_at_more_than_is_allowed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
