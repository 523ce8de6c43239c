/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model that is loaded, onto this device: held against its channels, rhythm and budget, memory laid out. Needs no OS.
 *
 *   memory: struct infer | core/features | row | output | window | values of an ask | sketch | core/nn | the ask,
 * encoded
 *
 * core/nn says what it needs only when it is loaded, so it stands behind what is known before.
 */
#include <math.h>
#include <stdio.h>

#include "device/infer/infer_internal.h"

enum { BLOCK_ALIGN = 64, RECORD_FIXED_MAX = 136 };

/* The sentence begins with the place in the description, which the caller knows by the key. */
#define MISFIT(f, key, err, ...) ((f)->misfit = (key), fault_set(reterr, err, __VA_ARGS__))

static const char *const score_labels[] = {"normal", "not-normal"};

const char *infer_label(const struct infer *f, unsigned class)
{
    if (f->info->output != MODEL_CLASSES) {
        return class < COUNT_OF(score_labels) ? score_labels[class] : "";
    }
    return class < f->info->class_count ? f->info->classes[class] : "";
}

unsigned infer_classes(const struct infer *f)
{
    return f->info->output == MODEL_CLASSES ? (unsigned)f->info->class_count : (unsigned)COUNT_OF(score_labels);
}

/* ---- the device ---- */

static void names_of(const struct infer_options *o, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < o->channel_count && at + 2 < size; i++) {
        int n = snprintf(out + at, size - at, "%s%s", i > 0 ? ", " : "", o->channels[i].name);
        at += n > 0 ? (size_t)n : 0;
    }
}

static enum err find_channels(struct infer *f, size_t wanted, const struct infer_options *o, struct fault *reterr)
{
    for (size_t i = 0; i < wanted; i++) {
        f->channel[i] = UINT32_MAX;
        for (size_t c = 0; c < o->channel_count; c++) {
            if (strcmp(o->channels[c].name, f->info->channels[i]) == 0) {
                f->channel[i] = (unsigned)c;
                f->resolution[i] = o->channels[c].resolution;
            }
        }
        if (f->channel[i] == UINT32_MAX) {
            char names[200];
            names_of(o, names, sizeof(names));
            return MISFIT(f, "channels", ERR_RANGE, "channels: this device has no \"%s\"; it has %s",
                          f->info->channels[i], names);
        }
    }
    return OK;
}

static enum err check_rate(struct infer *f, struct fault *reterr)
{
    double rate = (double)f->info->features.rate_hz, period_us = 1e6 / rate;
    int64_t device_us = f->options.period_us;
    if (device_us == 0) {
        return OK; /* whoever takes the samples knows */
    }
    f->model_period_us = (int64_t)(period_us + 0.5);
    double every = period_us / (double)device_us;
    if (every < 0.99 || fabs(every - nearbyint(every)) > 0.01 * every) {
        return MISFIT(f, "rate", ERR_RANGE,
                      "rate: %g samples a second are needed, this device takes %g (every n-th may be taken)", rate,
                      1e6 / (double)device_us);
    }
    return OK;
}

static enum err find_alarms(struct infer *f, const struct infer_options *o, struct fault *reterr)
{
    for (size_t i = 0; i < o->alarm_count; i++) {
        bool found = false;
        for (unsigned c = 0; c < infer_classes(f); c++) {
            bool same = strcmp(infer_label(f, c), o->alarm_classes[i]) == 0;
            f->alarms[c] |= same;
            found |= same;
        }
        if (!found) {
            return MISFIT(f, "classes", ERR_RANGE, "classes: \"%s\" of infer.alarm_classes is none of them",
                          o->alarm_classes[i]);
        }
    }
    return OK;
}

/* What of the network's output is looked at. */
static size_t outputs_of(const struct model_info *info)
{
    return info->output == MODEL_CLASSES ? info->class_count : info->output == MODEL_RECONSTRUCTION ? info->inputs : 1;
}

static enum err check_network(struct infer *f, struct fault *reterr)
{
    const struct nn_tensor *in = nn_input_info(f->nn, 0), *out = nn_output_info(f->nn, 0);
    if (nn_inputs(f->nn) != 1 || nn_outputs(f->nn) != 1 || in->type == NN_INT32 || out->type == NN_INT32) {
        return MISFIT(f, "network", ERR_RANGE, "network: %s has not one input and one output of int8 or float32",
                      f->info->network);
    }
    if (in->elements != f->info->inputs) {
        return MISFIT(f, "features", ERR_RANGE, "features: they are %zu numbers, the network takes %zu",
                      f->info->inputs, in->elements);
    }
    size_t needed = outputs_of(f->info);
    if (f->info->output == MODEL_SCORE ? out->elements < needed : out->elements != needed) {
        return MISFIT(f, f->info->output == MODEL_CLASSES ? "classes" : "output", ERR_RANGE,
                      "the network gives %zu numbers, %zu are described", out->elements, needed);
    }
    return OK;
}

static enum err check_budget(struct infer *f, struct fault *reterr)
{
    const struct infer_options *o = &f->options;
    if (o->macs_per_day > 0 && o->macs_per_day < 2 * f->stats.macs) {
        return fault_set(reterr, ERR_RANGE, "infer.macs_per_day: %llu is less than two runs of the network, %llu each",
                         (unsigned long long)o->macs_per_day, (unsigned long long)f->stats.macs);
    }
    size_t once = f->record_max + (infer_asks(f) ? f->ask.cap : 0);
    if (o->bytes_per_day > 0 && o->bytes_per_day < 2 * once) {
        return fault_set(reterr, ERR_RANGE,
                         "infer.bytes_per_day: %llu is less than two answers with their asks, %zu each",
                         (unsigned long long)o->bytes_per_day, once);
    }
    int64_t now_us = infer_now(f);
    credit_init_day(&f->macs, (double)o->macs_per_day, (double)f->stats.macs, now_us);
    credit_init_day(&f->bytes, (double)o->bytes_per_day, (double)once, now_us);
    credit_init(&f->asks, o->asks_per_minute, MINUTE_US, fmin(INFER_ASKS_MAX, o->asks_per_minute), now_us);
    return OK;
}

/* ---- memory ---- */

/* Places in the caller's memory, one after the other. */
static size_t place(size_t *at, size_t bytes)
{
    size_t start = *at;
    *at += (bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
    return start;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t window_floats(const struct model_info *info)
{
    return (size_t)info->features.window * info->features.channels;
}

struct plan {
    size_t features, features_bytes, row, output, ring, values, values_bytes, sketch, windows, nn;
};

static void lay_out(const struct model_info *info, const struct infer_options *o, struct plan *p)
{
    bool window = o->ask == INFER_WINDOW || o->ask == INFER_SMALLER;
    unsigned channels = info->features.channels;
    size_t at = 0;
    p->features_bytes = features_bytes(&info->features);
    p->values_bytes = o->ask == INFER_NEVER ? 0 : 4 * max_size(info->inputs, window ? window_floats(info) : 0);
    (void)place(&at, sizeof(struct infer));
    p->features = place(&at, p->features_bytes);
    p->row = place(&at, info->inputs * sizeof(float));
    p->output = place(&at, outputs_of(info) * sizeof(float));
    p->ring = place(&at, window ? window_floats(info) * sizeof(float) : 0);
    p->values = place(&at, p->values_bytes);
    p->sketch = place(&at, o->sketch_us > 0 ? sizeof(struct infer_sketch) + infer_sketch_bytes(channels) : 0);
    p->windows = place(&at, o->sketch_us > 0 ? (channels + 1) * sizeof(struct infer_window) : 0);
    p->nn = at;
}

/* Bytes of an ask whose values take so many, as features and as a window; 0 = nobody asks, or none is small enough. */
static size_t ask_room(enum infer_ask ask, size_t features, size_t window)
{
    size_t most = ask == INFER_FEATURES ? features : ask == INFER_WINDOW ? window : 0;
    size_t least = most > 0 ? most : features < window || window == 0 ? features : window;
    if (ask == INFER_NEVER || least + INFER_ASK_HEAD_MAX > WIRE_ASK_MAX) {
        return 0;
    }
    bool both = ask == INFER_SMALLER && max_size(features, window) + INFER_ASK_HEAD_MAX <= WIRE_ASK_MAX;
    return (both ? max_size(features, window) : least) + INFER_ASK_HEAD_MAX;
}

size_t infer_bytes(const struct model_info *info, const struct infer_options *o, size_t nn_bytes, bool int8_input)
{
    struct plan p;
    lay_out(info, o, &p);
    size_t total = p.nn;
    (void)place(&total, nn_bytes);
    (void)place(&total,
                ask_room(o->ask, info->inputs * (int8_input ? 1 : sizeof(float)), window_floats(info) * sizeof(float)));
    return total;
}

/* The network into what is left of the memory, the ask behind it. */
static enum err fill_rest(struct infer *f, const struct infer_model *model, size_t at, size_t len, struct fault *reterr)
{
    struct nn_cost cost;
    uint8_t *block = (uint8_t *)f;
    TRY(nn_load(model->network, block + at, len - at, &(struct nn_options){.kernels = model->kernels}, &f->nn, &cost,
                reterr));
    TRY(check_network(f, reterr));
    f->stats.macs = cost.macs;
    (void)place(&at, cost.memory_bytes);
    size_t features = infer_ask_features_bytes(f), window = infer_ask_window_bytes(f);
    size_t room = ask_room(f->options.ask, features, window);
    if (f->options.ask != INFER_NEVER && room == 0) {
        return fault_set(reterr, ERR_RANGE, "infer.ask: %zu bytes do not fit into a question of %d",
                         f->options.ask == INFER_FEATURES   ? features
                         : f->options.ask == INFER_WINDOW   ? window
                         : features < window || window == 0 ? features
                                                            : window,
                         WIRE_ASK_MAX);
    }
    if (at + room > len) {
        return fault_set(reterr, ERR_FULL, "the model needs %zu bytes of memory, there are %zu", at + room, len);
    }
    buffer_init_over(&f->ask, block + at, room);
    f->stats.memory_bytes = at + room;
    return OK;
}

/* f: zeroed, of len bytes. */
static enum err fill(struct infer *f, const struct infer_model *model, size_t len, struct fault *reterr)
{
    uint8_t *block = (uint8_t *)f;
    struct plan p;
    lay_out(f->info, &f->options, &p);
    if (p.nn > len) {
        return fault_set(reterr, ERR_FULL, "the model needs more than %zu bytes of memory, there are %zu", p.nn, len);
    }
    TRY(features_init(&f->info->features, block + p.features, p.features_bytes, &f->features, reterr));
    f->row = (float *)(void *)(block + p.row);
    f->output = (float *)(void *)(block + p.output);
    f->ring = p.values > p.ring ? (float *)(void *)(block + p.ring) : NULL;
    f->values = block + p.values;
    f->outputs = outputs_of(f->info);
    if (f->options.sketch_us > 0) {
        f->sketch = (struct infer_sketch *)(void *)(block + p.sketch);
        f->windows = (struct infer_window *)(void *)(block + p.windows);
        infer_sketch_init(f->sketch, f->options.sketch_us, f->info->features.channels, f->sketch + 1);
    }
    return fill_rest(f, model, p.nn, len, reterr);
}

static void set_options(struct infer *f, const struct infer_options *o)
{
    f->options = *o;
    f->options.channels = NULL; /* borrowed for the start only, as these */
    f->options.alarm_classes = NULL;
    f->options.model = NULL;
    f->leaves_it_to_us = o->ask == INFER_SMALLER;
    f->options.ask_deadline_us = o->ask_deadline_us > 0 ? o->ask_deadline_us : 250 * MS_US;
    f->options.asks_per_minute = o->asks_per_minute > 0 ? o->asks_per_minute : 60;
    snprintf(f->site, sizeof(f->site), "%s", o->site);
    snprintf(f->gateway, sizeof(f->gateway), "%s", o->gateway);
    snprintf(f->device, sizeof(f->device), "%s", o->device);
    size_t label = 0;
    for (unsigned c = 0; c < infer_classes(f); c++) {
        label = max_size(label, strlen(infer_label(f, c)));
    }
    f->record_max = RECORD_FIXED_MAX + label + (o->ask != INFER_NEVER ? 2 * ID_MAX + 1 : 0);
}

static enum err check_labels(struct infer *f, struct fault *reterr)
{
    for (unsigned c = 0; c < infer_classes(f); c++) {
        if (strlen(infer_label(f, c)) > WIRE_NAME_MAX) {
            return MISFIT(f, "classes", ERR_RANGE, "classes: a name is longer than %d bytes", WIRE_NAME_MAX);
        }
    }
    return OK;
}

static enum err fit(struct infer *f, const struct infer_model *model, const struct infer_options *o, size_t len,
                    struct fault *reterr)
{
    set_options(f, o);
    TRY(check_labels(f, reterr));
    TRY(find_channels(f, f->info->features.channels, o, reterr));
    TRY(check_rate(f, reterr));
    TRY(find_alarms(f, o, reterr));
    TRY(fill(f, model, len, reterr));
    return check_budget(f, reterr);
}

enum err infer_place(void *memory, size_t len, const struct infer_model *model, const struct infer_options *options,
                     const struct infer_host *host, const struct infer_handlers *handlers, struct infer **ret_infer,
                     const char **ret_key, struct fault *reterr)
{
    struct infer *f = memory;
    *ret_key = NULL;
    if (len < sizeof(*f) || (uintptr_t)memory % BLOCK_ALIGN != 0) {
        return fault_set(reterr, ERR_FULL, "the model needs more than %zu bytes of memory, aligned to %d", sizeof(*f),
                         BLOCK_ALIGN);
    }
    memset(memory, 0, len);
    f->info = model->info;
    f->host = *host;
    f->handlers = *handlers;
    enum err err = fit(f, model, options, len, reterr);
    *ret_key = f->misfit;
    TRY(err);
    *ret_infer = f;
    return OK;
}
