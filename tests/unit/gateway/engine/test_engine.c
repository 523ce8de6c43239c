/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every engine gives what its model says, a batch the same as one by one; its self-test lets nothing pass that is
 * off or not a number; what cannot be opened is told with its path. ONNX Runtime is tried where WEIR_ONNXRUNTIME names
 * its library.
 */
#include "gateway/engine/engine.h"

#include <math.h>
#include <unistd.h>

#include "tests/support/check.h"
#include "tests/support/model_files.h"
#include "tests/support/tflite_build.h"

enum { BATCH = 8 };
static char dir[] = "/tmp/weir-engine-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[4][128];
    static unsigned next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof(path[0]), "%s/%s", dir, name);
    return to;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const files[] = {"net.tflite", "trees.json", "net.onnx", "bad"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        (void)unlink(path_of(files[i]));
    }
    return rmdir(dir);
}

static void run(struct engine *engine, const float *in, size_t batch, float *out)
{
    struct fault fault = {.code = OK};
    if (engine_run(engine, in, batch, out, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
}

/* One by one, and together in batches of every size: the same, to `within`. */
static void check_batches(struct engine *engine, double within)
{
    const struct engine_info *info = engine_info(engine);
    float in[BATCH * 16], one[BATCH * 16], out[BATCH * 16];
    CHECK(info->inputs <= 16 && info->outputs <= 16);
    for (size_t i = 0; i < BATCH * info->inputs; i++) {
        in[i] = (float)(mix_u64(i) % 2001) / 1000 - 1;
    }
    for (size_t n = 0; n < BATCH; n++) {
        run(engine, in + n * info->inputs, 1, one + n * info->outputs);
    }
    for (size_t batch = 1; batch <= BATCH; batch++) {
        memset(out, 0x7f, sizeof(out));
        run(engine, in, batch, out);
        for (size_t i = 0; i < batch * info->outputs; i++) {
            CHECK(fabs((double)(out[i] - one[i])) <= within);
        }
        CHECK_INT(((const uint8_t *)&out[batch * info->outputs])[0], 0x7f); /* and not more */
    }
    CHECK_ERR(engine_run(engine, in, 0, out, NULL), ERR_RANGE);
    CHECK_ERR(engine_run(engine, in, BATCH + 1, out, NULL), ERR_RANGE);
}

static struct engine *open_network(void)
{
    struct engine *engine = NULL;
    struct fault fault = {.code = OK};
    if (engine_open_network(path_of("net.tflite"), BATCH, &engine, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
    return engine;
}

static void a_network_gives_its_output_for_one_row_and_for_many(void **state)
{
    static const float weights[] = {1, 2, 0, -1, 0.5F, 0.25F};
    const float in[] = {3, 4, 8};
    float out[2];
    (void)state;
    model_files_linear(path_of("net.tflite"), 3, 2, weights);
    CLEANUP(engine_freep) struct engine *engine = open_network();
    CHECK_STR(engine_info(engine)->name, "own");
    CHECK_INT(engine_info(engine)->inputs, 3);
    CHECK_INT(engine_info(engine)->outputs, 2);
    run(engine, in, 1, out);
    CHECK(out[0] == 11 && out[1] == 1); /* 3 + 8; -3 + 2 + 2 */
    check_batches(engine, 1e-5);
}

static void a_deep_network_gives_the_same_in_batches(void **state)
{
    (void)state;
    model_files_layers(path_of("net.tflite"), 16, 32, 4, 7);
    CLEANUP(engine_freep) struct engine *engine = open_network();
    check_batches(engine, 1e-5);
}

/* in -> int8 (scale 0.5, zero point 3) -> RELU -> the same scale. */
static void write_int8(void)
{
    static const float scale[] = {0.5F};
    _Alignas(16) static uint8_t file[4096];
    struct build_model m = {.tensor_count = 2, .op_count = 1, .output = 1};
    for (int i = 0; i < 2; i++) {
        m.tensors[i] = (struct build_tensor){BUILD_INT8, 2, {1, 4}, scale, 1, 3, 0, NULL, 0};
    }
    m.ops[0] = (struct build_op){.code = 19, .inputs = {0}, .input_count = 1, .output = 1};
    size_t len = tflite_build(&m, file, sizeof(file));
    FILE *f = fopen(path_of("net.tflite"), "we");
    CHECK(f != NULL && fwrite(file, 1, len, f) == len && fclose(f) == 0);
}

static void an_int8_network_is_quantised_on_the_way_in_and_out(void **state)
{
    const float in[] = {1.2F, -4, 0.3F, 1000};
    float out[4];
    (void)state;
    write_int8();
    CLEANUP(engine_freep) struct engine *engine = open_network();
    run(engine, in, 1, out);
    CHECK(out[0] == 1 && out[1] == 0 && out[2] == 0.5F && out[3] == 62); /* saturated: (127 - 3) / 2 */
    check_batches(engine, 0);
}

static void trees_give_their_sums_for_one_row_and_for_many(void **state)
{
    const float in[] = {0.5F, 7};
    float out[1];
    (void)state;
    model_files_text(
        path_of("trees.json"),
        "{\"version\":[1,7,4],\"learner\":{\"objective\":{\"name\":\"reg:squarederror\"},\"learner_model_param\":"
        "{\"base_score\":\"2\",\"num_class\":\"0\",\"num_feature\":\"2\"},\"gradient_booster\":{\"name\":\"gbtree\","
        "\"model\":{\"tree_info\":[0],\"trees\":[{\"left_children\":[1,-1,-1],\"right_children\":[2,-1,-1],"
        "\"split_indices\":[0,0,0],\"split_conditions\":[1,0.25,-8],\"default_left\":[1,0,0]}]}}}}");
    CLEANUP(engine_freep) struct engine *engine = NULL;
    CHECK_OK(engine_open_trees(path_of("trees.json"), BATCH, &engine, NULL));
    CHECK_STR(engine_info(engine)->detail, "trees");
    run(engine, in, 1, out);
    CHECK(out[0] == 2.25F);
    check_batches(engine, 0);
}

static void the_self_test_refuses_what_is_off_and_what_is_no_number(void **state)
{
    static const float same[] = {1, 0, 0, 1};
    const float in[] = {1, 2, 3, 400};
    float expected[] = {1, 2, 3, 400.3F};
    struct fault fault = {.code = OK};
    (void)state;
    model_files_linear(path_of("net.tflite"), 2, 2, same);
    CLEANUP(engine_freep) struct engine *engine = open_network();
    CHECK_OK(engine_self_test(engine, in, expected, 2, 1e-3, &fault)); /* 0.3 of 400 */
    CHECK_ERR(engine_self_test(engine, in, expected, 2, 1e-4, &fault), ERR_DENIED);
    CHECK_CONTAINS(fault.text, "row 1, output 1 is 400, expected 400.3");
    expected[0] = 1.01F;
    CHECK_ERR(engine_self_test(engine, in, expected, 1, 1e-3, &fault), ERR_DENIED);
    CHECK_CONTAINS(fault.text, "row 0, output 0");
    expected[0] = NAN;
    CHECK_ERR(engine_self_test(engine, in, expected, 1, 1e9, &fault), ERR_DENIED);
    const float nan_in[] = {NAN, 2};
    expected[0] = 1;
    CHECK_ERR(engine_self_test(engine, nan_in, expected, 1, 1e9, &fault), ERR_DENIED);
    CHECK_OK(engine_self_test(engine, in, expected, 0, 0, &fault));
}

static void what_cannot_be_opened_is_told_with_its_path(void **state)
{
    struct engine *engine = NULL;
    struct fault fault = {.code = OK};
    (void)state;
    CHECK_ERR(engine_open_network(path_of("missing"), 1, &engine, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "missing: cannot be read");
    CHECK_ERR(engine_open_trees(path_of("missing"), 1, &engine, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "missing: cannot be read");
    model_files_text(path_of("bad"), "neither flatbuffer nor JSON");
    CHECK_ERR(engine_open_network(path_of("bad"), 1, &engine, &fault), ERR_MALFORMED);
    CHECK_CONTAINS(fault.text, path_of("bad"));
    CHECK_ERR(engine_open_trees(path_of("bad"), 1, &engine, &fault), ERR_MALFORMED);
    CHECK_CONTAINS(fault.text, path_of("bad"));
    model_files_text(path_of("bad"), "");
    CHECK_ERR(engine_open_network(path_of("bad"), 1, &engine, &fault), ERR_MALFORMED);
    CHECK(engine == NULL);
}

static void a_library_that_is_none_is_refused(void **state)
{
    struct engine *engine = NULL;
    struct fault fault = {.code = OK};
    (void)state;
    CHECK_ERR(engine_open_onnx("/nonexistent/libonnxruntime.so", "x.onnx", 1, &engine, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "/nonexistent/libonnxruntime.so");
    CHECK_ERR(engine_open_onnx("libm.so.6", "x.onnx", 1, &engine, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "libm.so.6: is not ONNX Runtime");
    CHECK(engine == NULL);
}

static void onnx_runtime_gives_what_the_model_says(void **state)
{
    const char *library = getenv("WEIR_ONNXRUNTIME");
    struct engine *bad = NULL;
    struct fault fault = {.code = OK};
    const float in[] = {1, -2, 3, 4}, expected[] = {-1, 2, -3, -4};
    float out[4];
    (void)state;
    if (library == NULL) {
        skip();
    }
    model_files_onnx(path_of("net.onnx"), 2);
    CLEANUP(engine_freep) struct engine *engine = NULL;
    if (engine_open_onnx(library, path_of("net.onnx"), BATCH, &engine, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
    CHECK_STR(engine_info(engine)->name, "onnxruntime");
    CHECK_INT(engine_info(engine)->inputs, 2);
    run(engine, in, 2, out);
    CHECK(memcmp(out, expected, sizeof(out)) == 0);
    CHECK_OK(engine_self_test(engine, in, expected, 2, 0, &fault));
    check_batches(engine, 0);
    model_files_text(path_of("bad"), "no model");
    CHECK_ERR(engine_open_onnx(library, path_of("bad"), BATCH, &bad, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "bad");
    CHECK_ERR(engine_open_onnx(library, path_of("missing"), BATCH, &bad, &fault), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_gives_its_output_for_one_row_and_for_many),
        cmocka_unit_test(a_deep_network_gives_the_same_in_batches),
        cmocka_unit_test(an_int8_network_is_quantised_on_the_way_in_and_out),
        cmocka_unit_test(trees_give_their_sums_for_one_row_and_for_many),
        cmocka_unit_test(the_self_test_refuses_what_is_off_and_what_is_no_number),
        cmocka_unit_test(what_cannot_be_opened_is_told_with_its_path),
        cmocka_unit_test(a_library_that_is_none_is_refused),
        cmocka_unit_test(onnx_runtime_gives_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
