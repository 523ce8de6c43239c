/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a model that XGBoost has saved gives what its trees say, also for missing values and several classes; what is no
 * tree is refused with a sentence that names it.
 */
#include <math.h>
#include <stdio.h>

#include "core/trees/trees.h"
#include "tests/support/check.h"

/* Two trees over three features. The first: x0 < 1 ? (x1 < 2 ? 0.25 : -0.5) : 1. Node 3 and 4 stand in front of 2's place. */
#define TREE_1                                                                                                         \
    "{\"left_children\":[1,3,-1,-1,-1],\"right_children\":[2,4,-1,-1,-1],\"split_indices\":[0,1,0,0,0],"                 \
    "\"split_conditions\":[1,2,1,0.25,-0.5],\"default_left\":[1,0,0,0,0],\"categories_nodes\":[]}"
#define TREE_2                                                                                                         \
    "{\"left_children\":[2,-1,-1],\"right_children\":[1,-1,-1],\"split_indices\":[2,0,0],\"split_conditions\":[0,4,-4],"  \
    "\"default_left\":[false,false,false]}"

static char text[4096];

static struct slice model(const char *objective, const char *base, const char *classes, const char *info, const char *trees)
{
    snprintf(text, sizeof(text),
             "{\"version\":[1,7,4],\"learner\":{\"objective\":{\"name\":\"%s\"},\"learner_model_param\":{\"base_score\":\"%s\","
             "\"num_class\":\"%s\",\"num_feature\":\"3\"},\"gradient_booster\":{\"name\":\"gbtree\",\"model\":{\"tree_info\":[%s],"
             "\"trees\":[%s]}}}}",
             objective, base, classes, info, trees);
    return slice_str(text);
}

static struct trees *load(struct slice file)
{
    struct trees *trees = NULL;
    struct fault fault = {.code = OK};
    if (trees_load(file, &trees, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
    return trees;
}

static double one(const struct trees *trees, float a, float b, float c)
{
    float in[] = {a, b, c}, out[1];
    trees_run(trees, 1, in, out);
    return (double)out[0];
}

static void leaves_are_added_to_the_base_score(void **state)
{
    (void)state;
    CLEANUP(trees_freep) struct trees *trees = load(model("reg:squarederror", "5E-1", "0", "0,0", TREE_1 "," TREE_2));
    CHECK_INT(trees_count(trees), 2);
    CHECK_INT(trees_nodes(trees), 8);
    CHECK(one(trees, 0, 0, -1) == 0.5 + 0.25 - 4);
    CHECK(one(trees, 0, 2, -1) == 0.5 - 0.5 - 4); /* 2 is not below 2 */
    CHECK(one(trees, 1, 0, 0) == 0.5 + 1 + 4);
}

static void what_is_missing_goes_where_the_node_says(void **state)
{
    (void)state;
    CLEANUP(trees_freep) struct trees *trees = load(model("reg:squarederror", "0", "0", "0,0", TREE_1 "," TREE_2));
    CHECK(one(trees, NAN, 0, -1) == 0.25 - 4);
    CHECK(one(trees, 0, NAN, -1) == -0.5 - 4);
    CHECK(one(trees, 0, 0, NAN) == 0.25 + 4);
}

static void probabilities_come_of_the_sums(void **state)
{
    (void)state;
    CLEANUP(trees_freep) struct trees *two = load(model("binary:logistic", "0.5", "0", "0", TREE_1));
    CHECK(fabs(one(two, 0, 0, 0) - 1 / (1 + exp(-0.25))) < 1e-7);
    CLEANUP(trees_freep) struct trees *three = load(model("multi:softprob", "0.5", "3", "0,2", TREE_1 "," TREE_2));
    float in[] = {1, 0, 0, 0, 0, -1}, out[6];
    CHECK_INT(trees_outputs(three), 3);
    trees_run(three, 2, in, out);
    CHECK(fabs((double)(out[0] + out[1] + out[2]) - 1) < 1e-6);
    CHECK(fabs((double)out[2] - exp(4) / (exp(1) + 1 + exp(4))) < 1e-6);
    CHECK(fabs((double)out[3] - exp(0.25) / (exp(0.25) + 1 + exp(-4))) < 1e-6);
}

static void expect(struct slice file, enum err code, const char *part)
{
    struct trees *trees = NULL;
    struct fault fault = {.code = OK};
    CHECK_ERR(trees_load(file, &trees, &fault), code);
    CHECK_CONTAINS(fault.text, part);
}

static void what_is_no_tree_is_refused(void **state)
{
#define ODD(left, right, index) "{\"left_children\":[" left "],\"right_children\":[" right "],\"split_indices\":[" index \
    "],\"split_conditions\":[0,1,2],\"default_left\":[0,0,0]}"
    (void)state;
    expect(slice_str("{"), ERR_MALFORMED, "not JSON");
    expect(slice_str("{}"), ERR_MALFORMED, "learner");
    expect(model("rank:pairwise", "0", "0", "0", TREE_1), ERR_UNSUPPORTED, "rank:pairwise");
    expect(model("reg:squarederror", "x", "0", "0", TREE_1), ERR_RANGE, "base_score");
    expect(model("binary:logistic", "1", "0", "0", TREE_1), ERR_RANGE, "base_score");
    expect(model("reg:squarederror", "0", "0", "1", TREE_1), ERR_MALFORMED, "class");
    expect(model("reg:squarederror", "0", "0", "0", ODD("0,-1,-1", "1,-1,-1", "0,0,0")), ERR_MALFORMED, "child");
    expect(model("reg:squarederror", "0", "0", "0", ODD("1,-1,-1", "1,-1,-1", "0,0,0")), ERR_MALFORMED, "two parents");
    expect(model("reg:squarederror", "0", "0", "0", ODD("1,-1,-1", "3,-1,-1", "0,0,0")), ERR_MALFORMED, "child");
    expect(model("reg:squarederror", "0", "0", "0", ODD("1,-1,-1", "2.5,-1,-1", "0,0,0")), ERR_MALFORMED, "child");
    expect(model("reg:squarederror", "0", "0", "0", ODD("1,-1,-1", "2,-1,-1", "3,0,0")), ERR_MALFORMED, "feature");
    expect(model("reg:squarederror", "0", "0", "0", ODD("1,-1", "2,-1,-1", "0,0,0")), ERR_MALFORMED, "length");
    expect(model("reg:squarederror", "0", "0", "0", ODD("1,-1,0", "2,-1,1", "0,0,0")), ERR_MALFORMED, "child");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_are_added_to_the_base_score),
        cmocka_unit_test(what_is_missing_goes_where_the_node_says),
        cmocka_unit_test(probabilities_come_of_the_sums),
        cmocka_unit_test(what_is_no_tree_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
