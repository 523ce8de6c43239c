/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_verb - `weir model inspect FILE`: what a model is made of, and what it will cost a device.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "cloud-bridge/console/network.h"
#include "core/base/json.h"

enum { OUT_MAX = 1 << 20, SHAPE_MAX = 64 };

static const char *shape_of(const struct nn_tensor *t, char out[SHAPE_MAX])
{
    int at = snprintf(out, SHAPE_MAX, "[");
    for (unsigned i = 0; i < t->rank; i++) {
        at += snprintf(out + at, (size_t)(SHAPE_MAX - at), "%s%u", i > 0 ? "," : "", t->dim[i]);
    }
    snprintf(out + at, (size_t)(SHAPE_MAX - at), "]");
    return out;
}

/* ---- text ---- */
static void put_ends(struct buffer *out, const struct nn *nn, const char *name, size_t count,
                     const struct nn_tensor *(*info)(const struct nn *nn, size_t i))
{
    char shape[SHAPE_MAX];
    for (size_t i = 0; i < count; i++) {
        const struct nn_tensor *t = info(nn, i);
        buffer_printf(out, "%s %zu: %s %s, %zu values", name, i, nn_type_name(t->type), shape_of(t, shape),
                      t->elements);
        if (t->type == NN_INT8) {
            buffer_printf(out, ", value = %.9g * (q - %d)", (double)t->scale, t->zero_point);
        }
        buffer_put_u8(out, '\n');
    }
}

static void put_operators(const struct nn *nn, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "rlllrr", .width = 6};
    static const char *const heads[] = {"#", "OPERATOR", "INPUT", "OUTPUT", "WEIGHTS", "MACS"};
    char shape[SHAPE_MAX];
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    for (size_t i = 0; i < nn_ops(nn); i++) {
        struct nn_op_info op = nn_op(nn, i);
        table_add(&t, PAINT_NONE, "%zu", i);
        table_add(&t, PAINT_NONE, "%s", nn_kind_name(op.kind));
        table_add(&t, PAINT_NONE, "%s %s", nn_type_name(op.input->type), shape_of(op.input, shape));
        table_add(&t, PAINT_NONE, "%s %s", nn_type_name(op.output->type), shape_of(op.output, shape));
        table_add(&t, PAINT_NONE, "%zu", op.weights_bytes);
        table_add(&t, PAINT_NONE, "%" PRIu64, op.macs);
    }
    table_print(&t, color, out);
}

static void put_model(const struct model_info *info, struct buffer *out)
{
    const struct features_options *f = &info->features;
    static const char *const outputs[] = {"classes", "score", "reconstruction"};
    buffer_printf(out,
                  "model %s, id %016" PRIx64
                  "\nnetwork: %s\nwindow: %u samples at %g a second, an answer every %u\nchannels:",
                  info->name, info->id, info->network, f->window, (double)f->rate_hz, f->hop);
    for (unsigned i = 0; i < f->channels; i++) {
        buffer_printf(out, "%s %s", i > 0 ? "," : "", info->channels[i]);
    }
    buffer_put_str(out, "\nfeatures:");
    for (unsigned i = 0; i < f->count; i++) {
        buffer_printf(out, "%s %s of %s", i > 0 ? "," : "", feature_name(f->features[i].kind),
                      info->channels[f->features[i].channel]);
    }
    buffer_printf(out, "\ngives: %s", outputs[info->output]);
    for (size_t i = 0; i < info->class_count; i++) {
        buffer_printf(out, "%s %s", i > 0 ? "," : ":", info->classes[i]);
    }
    if (info->output == MODEL_CLASSES) {
        if (info->unsure_below > 0) {
            buffer_printf(out, "\nunsure below a confidence of %g", info->unsure_below);
        } else {
            buffer_put_str(out, "\nnever unsure");
        }
        buffer_printf(out, ", temperature %g\n", info->temperature);
    } else {
        buffer_printf(out, "\nnormal below %g, unsure within %g of it\n", info->normal_below, info->unsure_band);
    }
}

static void put_text(const struct network *n, bool color, struct buffer *out)
{
    if (n->model != NULL) {
        put_model(model_info(n->model), out);
    }
    if (n->nn == NULL) {
        return;
    }
    put_ends(out, n->nn, "input", nn_inputs(n->nn), nn_input_info);
    put_ends(out, n->nn, "output", nn_outputs(n->nn), nn_output_info);
    put_operators(n->nn, color, out);
    buffer_printf(out,
                  "RAM: %zu bytes: %zu of activations, %zu of tables\nflash: %zu bytes of file, %zu of them weights\n",
                  n->cost.memory_bytes, n->cost.arena_bytes, n->cost.memory_bytes - n->cost.arena_bytes, n->file_bytes,
                  n->cost.weights_bytes);
    if (n->model != NULL) {
        buffer_printf(out, "RAM besides: %zu bytes of the window and its features\n",
                      features_bytes(&model_info(n->model)->features));
    }
    buffer_printf(out, "multiply-accumulates an answer: %" PRIu64 "\n", n->cost.macs);
}

/* ---- JSON ---- */
static void json_tensor(struct json *j, const char *key, const struct nn_tensor *t)
{
    json_object(j, key);
    json_str(j, "type", nn_type_name(t->type));
    json_array(j, "shape");
    for (unsigned i = 0; i < t->rank; i++) {
        json_u64(j, NULL, t->dim[i]);
    }
    json_array_end(j);
    if (t->type == NN_INT8) {
        json_f64(j, "scale", (double)t->scale);
        json_i64(j, "zero_point", t->zero_point);
    }
    json_object_end(j);
}

static void json_model(struct json *j, const struct model_info *info)
{
    json_object(j, "model");
    json_str(j, "name", info->name);
    json_hex(j, "id", info->id);
    json_str(j, "network", info->network);
    json_u64(j, "window", info->features.window);
    json_u64(j, "hop", info->features.hop);
    json_f64(j, "rate", (double)info->features.rate_hz);
    json_array(j, "channels");
    for (unsigned i = 0; i < info->features.channels; i++) {
        json_str(j, NULL, info->channels[i]);
    }
    json_array_end(j);
    json_array(j, "classes");
    for (size_t i = 0; i < info->class_count; i++) {
        json_str(j, NULL, info->classes[i]);
    }
    json_array_end(j);
    json_u64(j, "features_ram_bytes", features_bytes(&info->features));
    json_object_end(j);
}

static void json_network(struct json *j, const struct network *n)
{
    json_array(j, "inputs");
    for (size_t i = 0; i < nn_inputs(n->nn); i++) {
        json_tensor(j, NULL, nn_input_info(n->nn, i));
    }
    json_array_end(j);
    json_array(j, "outputs");
    for (size_t i = 0; i < nn_outputs(n->nn); i++) {
        json_tensor(j, NULL, nn_output_info(n->nn, i));
    }
    json_array_end(j);
    json_array(j, "operators");
    for (size_t i = 0; i < nn_ops(n->nn); i++) {
        struct nn_op_info op = nn_op(n->nn, i);
        json_object(j, NULL);
        json_str(j, "kind", nn_kind_name(op.kind));
        json_tensor(j, "input", op.input);
        json_tensor(j, "output", op.output);
        json_u64(j, "weights_bytes", op.weights_bytes);
        json_u64(j, "macs", op.macs);
        json_object_end(j);
    }
    json_array_end(j);
    json_u64(j, "ram_bytes", n->cost.memory_bytes);
    json_u64(j, "arena_bytes", n->cost.arena_bytes);
    json_u64(j, "tables_bytes", n->cost.memory_bytes - n->cost.arena_bytes);
    json_u64(j, "file_bytes", n->file_bytes);
    json_u64(j, "weights_bytes", n->cost.weights_bytes);
    json_u64(j, "macs", n->cost.macs);
}

static void put_json(const struct network *n, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    if (n->model != NULL) {
        json_model(&j, model_info(n->model));
    }
    if (n->nn != NULL) {
        json_network(&j, n);
    }
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}

enum exit_code model_verb(const struct args *args)
{
    CLEANUP(network_deinit) struct network n = {.model = NULL};
    struct fault fault = {.code = OK};
    BUFFER(out, OUT_MAX);
    if (strcmp(args->words[0], "inspect") != 0) {
        print_message("model inspect FILE; not %s", args->words[0]);
        return EXIT_USAGE;
    }
    enum err err = network_open(args->words[1], &n, &fault);
    if (err == ERR_UNSUPPORTED && n.model != NULL && n.file == NULL) {
        print_message("%s", fault.text); /* the description at least */
    } else if (err != OK) {
        print_message("%s", fault.text);
        return err == ERR_NOT_FOUND ? EXIT_NOT_FOUND : err == ERR_NOMEM || err == ERR_IO ? EXIT_FAILED : EXIT_USAGE;
    }
    if (args->json) {
        put_json(&n, &out);
    } else {
        put_text(&n, args->color, &out);
    }
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}
