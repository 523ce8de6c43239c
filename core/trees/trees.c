/* SPDX-License-Identifier: Apache-2.0 */
#include "core/trees/trees.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

/* Children stand next to one another: the right one is child + 1. */
struct node {
    float value;      /* condition, or a leaf's value */
    uint32_t feature; /* MISSING_LEFT | index */
    uint32_t child;   /* of the left one; 0: a leaf, since the first node of all is a root */
};
#define MISSING_LEFT UINT32_C(0x80000000)
enum transform { IDENTITY, LOGISTIC, SOFTMAX };

struct trees {
    struct node *nodes; /* owned */
    uint32_t *roots;    /* owned; per tree */
    uint16_t *classes;  /* owned; per tree, the output it adds to */
    size_t node_count, tree_count, features, outputs;
    enum transform transform;
    float base; /* where sums begin */
};

struct loader {
    struct trees *trees;
    size_t cap;
    uint32_t *queue; /* nodes of the file's tree, in the order in which they are laid out */
    uint8_t *seen;
    size_t queue_cap;
    struct fault *reterr;
};

/* ---- reading JSON ---- */
static const cJSON *path(const cJSON *at, const char *const *names)
{
    for (; *names != NULL && at != NULL; names++) {
        at = cJSON_GetObjectItemCaseSensitive(at, *names);
    }
    return at;
}
#define PATH(at, ...) path(at, (const char *const[]){__VA_ARGS__, NULL})

/* XGBoost writes the numbers of its parameters as strings. */
static double parameter(const cJSON *item, double preset)
{
    if (cJSON_IsNumber(item)) {
        return item->valuedouble;
    }
    char *end = NULL;
    double v = cJSON_IsString(item) ? strtod(item->valuestring, &end) : preset;
    return end != NULL && (*end != '\0' || end == item->valuestring) ? NAN : v;
}

struct columns { /* of one tree */
    const cJSON *left, *right, *index, *condition, *missing;
};

static enum err bad_tree(struct loader *l, size_t tree, const char *what)
{
    return fault_set(l->reterr, ERR_MALFORMED, "tree %zu: %s", tree, what);
}

/* ---- one tree ---- */
struct row {
    double left, right, index, condition;
    bool missing_left;
};

/* cJSON's arrays are lists: their numbers are taken out once. */
static enum err take_rows(struct loader *l, const cJSON *tree, size_t number, struct row **ret_rows, size_t *ret_count)
{
    const struct columns c = {PATH(tree, "left_children"), PATH(tree, "right_children"), PATH(tree, "split_indices"),
                              PATH(tree, "split_conditions"), PATH(tree, "default_left")};
    int count = cJSON_GetArraySize(c.left);
    if (count < 1 || cJSON_GetArraySize(c.right) != count || cJSON_GetArraySize(c.index) != count ||
        cJSON_GetArraySize(c.condition) != count || cJSON_GetArraySize(c.missing) != count) {
        return bad_tree(l, number, "its columns differ in length, or are missing");
    }
    if (cJSON_GetArraySize(PATH(tree, "categories_nodes")) > 0) {
        return fault_set(l->reterr, ERR_UNSUPPORTED, "tree %zu has categorical splits", number);
    }
    struct row *rows = calloc((size_t)count, sizeof(*rows));
    if (rows == NULL) {
        return fault_set(l->reterr, ERR_NOMEM, "out of memory");
    }
    const cJSON *left = c.left->child, *right = c.right->child, *index = c.index->child, *condition = c.condition->child,
                *missing = c.missing->child;
    for (int i = 0; i < count; i++) {
        rows[i] = (struct row){left->valuedouble, right->valuedouble, index->valuedouble, condition->valuedouble,
                               cJSON_IsTrue(missing) || missing->valuedouble == 1};
        left = left->next;
        right = right->next;
        index = index->next;
        condition = condition->next;
        missing = missing->next;
    }
    *ret_rows = rows;
    *ret_count = (size_t)count;
    return OK;
}

static enum err grow(struct loader *l, size_t count)
{
    struct trees *t = l->trees;
    if (count > TREES_NODES_MAX - t->node_count) {
        return fault_set(l->reterr, ERR_RANGE, "more than %d nodes", TREES_NODES_MAX);
    }
    if (t->node_count + count > l->cap) {
        size_t cap = 2 * (t->node_count + count);
        struct node *nodes = realloc(t->nodes, cap * sizeof(*nodes));
        if (nodes == NULL) {
            return fault_set(l->reterr, ERR_NOMEM, "out of memory");
        }
        t->nodes = nodes;
        l->cap = cap;
    }
    if (count > l->queue_cap) {
        free(l->queue);
        free(l->seen);
        l->queue = calloc(count, sizeof(*l->queue));
        l->seen = calloc(count, 1);
        l->queue_cap = l->queue != NULL && l->seen != NULL ? count : 0;
        if (l->queue_cap == 0) {
            return fault_set(l->reterr, ERR_NOMEM, "out of memory");
        }
    }
    memset(l->seen, 0, count);
    return OK;
}

static bool is_child(struct loader *l, double child, size_t count)
{
    if (!(child >= 1 && child < (double)count) || child != floor(child) || l->seen[(size_t)child] != 0) {
        return false;
    }
    l->seen[(size_t)child] = 1;
    return true;
}

/* Breadth first: the nodes of the file that are reached from its node 0, each at most once. */
static enum err lay_out(struct loader *l, const struct row *rows, size_t count, size_t number)
{
    struct trees *t = l->trees;
    TRY(grow(l, count));
    uint32_t first = (uint32_t)t->node_count;
    size_t laid = 1;
    l->queue[0] = 0;
    t->roots[number] = first;
    for (size_t i = 0; i < laid; i++) {
        const struct row *r = &rows[l->queue[i]];
        struct node *n = &t->nodes[first + i];
        *n = (struct node){.value = (float)r->condition};
        if (!isfinite(r->condition)) {
            return bad_tree(l, number, "a condition is not a number");
        }
        if (r->left == -1) {
            continue;
        }
        if (!is_child(l, r->left, count) || !is_child(l, r->right, count)) {
            return bad_tree(l, number, "a child is not in the tree, or has two parents");
        }
        if (!(r->index >= 0 && r->index < (double)t->features) || r->index != floor(r->index)) {
            return bad_tree(l, number, "a split is on a feature that there is not");
        }
        n->feature = (uint32_t)r->index | (r->missing_left ? MISSING_LEFT : 0);
        n->child = first + (uint32_t)laid;
        l->queue[laid++] = (uint32_t)r->left;
        l->queue[laid++] = (uint32_t)r->right;
    }
    t->node_count += laid;
    return OK;
}

static enum err read_trees(struct loader *l, const cJSON *model)
{
    struct trees *t = l->trees;
    const cJSON *trees = PATH(model, "trees"), *info = PATH(model, "tree_info");
    int count = cJSON_GetArraySize(trees);
    if (count < 1 || cJSON_GetArraySize(info) != count) {
        return fault_set(l->reterr, ERR_MALFORMED, "there are no trees, or tree_info differs in length");
    }
    t->tree_count = (size_t)count;
    t->roots = calloc(t->tree_count, sizeof(*t->roots));
    t->classes = calloc(t->tree_count, sizeof(*t->classes));
    if (t->roots == NULL || t->classes == NULL) {
        return fault_set(l->reterr, ERR_NOMEM, "out of memory");
    }
    size_t number = 0;
    const cJSON *class = info->child, *tree;
    cJSON_ArrayForEach(tree, trees) {
        struct row *rows = NULL;
        size_t row_count = 0;
        if (!(class->valuedouble >= 0 && class->valuedouble < (double)t->outputs)) {
            return bad_tree(l, number, "is for a class that there is not");
        }
        t->classes[number] = (uint16_t)class->valuedouble;
        TRY(take_rows(l, tree, number, &rows, &row_count));
        enum err err = lay_out(l, rows, row_count, number);
        free(rows);
        TRY(err);
        class = class->next;
        number++;
    }
    return OK;
}

/* ---- the model ---- */
static enum err read_objective(struct loader *l, const cJSON *learner)
{
    struct trees *t = l->trees;
    const cJSON *name = PATH(learner, "objective", "name"), *parameters = PATH(learner, "learner_model_param");
    const char *objective = cJSON_IsString(name) ? name->valuestring : "";
    double base = parameter(PATH(parameters, "base_score"), 0.5), classes = parameter(PATH(parameters, "num_class"), 0);
    double features = parameter(PATH(parameters, "num_feature"), 0);
    if (!(features >= 1 && features <= TREES_FEATURES_MAX) || !(classes >= 0 && classes <= TREES_CLASSES_MAX) || !isfinite(base)) {
        return fault_set(l->reterr, ERR_RANGE, "num_feature, num_class or base_score is missing or out of range");
    }
    t->features = (size_t)features;
    t->outputs = classes >= 2 ? (size_t)classes : 1;
    t->base = (float)base;
    if (strncmp(objective, "reg:", 4) == 0 && strcmp(objective, "reg:logistic") != 0 && strcmp(objective, "reg:gamma") != 0 &&
        strcmp(objective, "reg:tweedie") != 0) {
        t->transform = IDENTITY;
    } else if (strcmp(objective, "binary:logistic") == 0 || strcmp(objective, "binary:logitraw") == 0) {
        bool raw = objective[10] == 't';
        if (!(base > 0 && base < 1)) {
            return fault_set(l->reterr, ERR_RANGE, "base_score must be between 0 and 1");
        }
        t->base = raw ? t->base : -logf(1.0F / t->base - 1.0F);
        t->transform = raw ? IDENTITY : LOGISTIC;
    } else if (strcmp(objective, "multi:softprob") == 0 && t->outputs > 1) {
        t->transform = SOFTMAX;
    } else {
        return fault_set(l->reterr, ERR_UNSUPPORTED, "objective \"%.60s\"", objective);
    }
    return OK;
}

static enum err read_model(struct loader *l, const cJSON *root)
{
    const cJSON *learner = PATH(root, "learner"), *booster = PATH(learner, "gradient_booster");
    const cJSON *name = PATH(booster, "name");
    if (!cJSON_IsObject(learner) || !cJSON_IsString(name)) {
        return fault_set(l->reterr, ERR_MALFORMED, "not a model that XGBoost has saved: no learner.gradient_booster.name");
    }
    if (strcmp(name->valuestring, "gbtree") != 0) {
        return fault_set(l->reterr, ERR_UNSUPPORTED, "booster \"%.60s\"; gbtree is supported", name->valuestring);
    }
    TRY(read_objective(l, learner));
    return read_trees(l, PATH(booster, "model"));
}

enum err trees_load(struct slice text, struct trees **ret_trees, struct fault *reterr)
{
    if (text.len > TREES_FILE_MAX) {
        return fault_set(reterr, ERR_RANGE, "larger than %d MiB", TREES_FILE_MAX >> 20);
    }
    CLEANUP(trees_freep) struct trees *t = calloc(1, sizeof(*t));
    struct loader l = {.trees = t, .reterr = reterr};
    cJSON *root = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    enum err err = t == NULL      ? fault_set(reterr, ERR_NOMEM, "out of memory")
                   : root == NULL ? fault_set(reterr, ERR_MALFORMED, "not JSON")
                                  : read_model(&l, root);
    cJSON_Delete(root);
    free(l.queue);
    free(l.seen);
    TRY(err);
    *ret_trees = take(t);
    return OK;
}

void trees_free(struct trees *t)
{
    if (t != NULL) {
        free(t->nodes);
        free(t->roots);
        free(t->classes);
        free(t);
    }
}

size_t trees_features(const struct trees *t)
{
    return t->features;
}

size_t trees_outputs(const struct trees *t)
{
    return t->outputs;
}

size_t trees_nodes(const struct trees *t)
{
    return t->node_count;
}

size_t trees_count(const struct trees *t)
{
    return t->tree_count;
}

/* ---- running ---- */
static float walk(const struct node *nodes, uint32_t at, const float *row)
{
    const struct node *n = &nodes[at];
    while (n->child != 0) {
        float x = row[n->feature & ~MISSING_LEFT];
        uint32_t right = x < n->value ? 0 : 1;
        if (isnan(x)) {
            right = (n->feature & MISSING_LEFT) == 0;
        }
        n = &nodes[n->child + right];
    }
    return n->value;
}

static void softmax(float *v, size_t count)
{
    float most = v[0], sum = 0;
    for (size_t i = 1; i < count; i++) {
        most = fmaxf(most, v[i]);
    }
    for (size_t i = 0; i < count; i++) {
        v[i] = expf(v[i] - most);
        sum += v[i];
    }
    for (size_t i = 0; i < count; i++) {
        v[i] /= sum;
    }
}

void trees_run(const struct trees *t, size_t rows, const float *in, float *out)
{
    for (size_t r = 0; r < rows; r++, in += t->features, out += t->outputs) {
        for (size_t i = 0; i < t->outputs; i++) {
            out[i] = t->base;
        }
        for (size_t n = 0; n < t->tree_count; n++) {
            out[t->classes[n]] += walk(t->nodes, t->roots[n], in);
        }
        if (t->transform == LOGISTIC) {
            out[0] = 1.0F / (1.0F + expf(-out[0]));
        } else if (t->transform == SOFTMAX) {
            softmax(out, t->outputs);
        }
    }
}
