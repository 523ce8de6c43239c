/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/console/tuning.h"

#include <math.h>
#include <stdio.h>

#include "proto/askcost/askcost.h"

void tuning_deinit(struct tuning *t)
{
    answerer_deinit(&t->device);
    answerer_deinit(&t->gateway);
    loop_free(t->loop);
    free(t->outputs);
    free(t->labels);
    free(t->cases);
    free(t->points);
    free(t->values);
    free(t->sent);
    *t = (struct tuning){.loop = NULL};
}

static const struct model_info *device_info(const struct tuning *t)
{
    return answerer_info(&t->device);
}

static const struct model_info *gateway_info(const struct tuning *t)
{
    return answerer_info(&t->gateway);
}

/* ---- the models beside one another ---- */
static int class_of(const struct model_info *info, const char *name)
{
    for (size_t i = 0; i < info->class_count; i++) {
        if (strcmp(info->classes[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static enum err map_classes(struct tuning *t, struct fault *reterr)
{
    const struct model_info *device = device_info(t), *gateway = gateway_info(t);
    for (size_t i = 0; i < gateway->class_count; i++) {
        int place = class_of(device, gateway->classes[i]);
        if (place < 0) {
            return fault_set(reterr, ERR_RANGE, "%s: classes: %s is no class of %s", gateway->path, gateway->classes[i],
                             device->path);
        }
        t->class_map[i] = (uint8_t)place;
    }
    for (size_t i = 0; i < device->class_count; i++) {
        if (class_of(gateway, device->classes[i]) < 0) {
            return fault_set(reterr, ERR_RANGE, "%s: classes: %s is no class of %s", device->path, device->classes[i],
                             gateway->path);
        }
    }
    return OK;
}

/* Whether the gateway's model takes the device's windows. */
static bool takes_windows(const struct tuning *t)
{
    const struct model_info *device = device_info(t), *gateway = gateway_info(t);
    bool good =
        device->features.window == gateway->features.window && device->features.channels == gateway->features.channels;
    for (unsigned i = 0; good && i < device->features.channels; i++) {
        good = strcmp(device->channels[i], gateway->channels[i]) == 0;
    }
    return good;
}

/* As a device that may choose: what is smaller, or what the gateway takes. */
static enum err choose_form(struct tuning *t, struct fault *reterr)
{
    const struct model_info *device = device_info(t), *gateway = gateway_info(t);
    bool int8 = nn_input_info(t->device.network.nn, 0)->type == NN_INT8, features = device->inputs == gateway->inputs;
    size_t features_bytes = device->inputs * (int8 ? 1 : sizeof(float)),
           window_bytes = (size_t)device->features.window * device->features.channels * sizeof(int16_t);
    t->has_whole = takes_windows(t);
    if (t->options.ask == TUNING_FEATURES && !features) {
        return fault_set(reterr, ERR_RANGE,
                         "%s: takes %zu values, the features of %s are %zu: asks must carry the "
                         "window (--ask window)",
                         gateway->path, gateway->inputs, device->path, device->inputs);
    }
    if (!t->has_whole && (t->options.ask == TUNING_WINDOW || !features)) {
        return fault_set(reterr, ERR_RANGE, "%s: channels, window: not those of %s, so it cannot take its windows",
                         gateway->path, device->path);
    }
    t->asks_window = t->options.ask == TUNING_WINDOW || !features ||
                     (t->options.ask == TUNING_SMALLER && t->has_whole && window_bytes < features_bytes);
    return OK;
}

static enum err has_classes(const struct answerer *a, struct fault *reterr)
{
    const struct model_info *info = answerer_info(a);
    if (info->output != MODEL_CLASSES) {
        return fault_set(reterr, ERR_RANGE, "%s: gives a score; only models with classes can be calibrated so",
                         info->path);
    }
    return OK;
}

enum err tuning_open(struct tuning *t, const struct tuning_options *options, struct fault *reterr)
{
    t->options = *options;
    TRY(answerer_open(options->device, &t->device, reterr));
    TRY(answerer_open(options->gateway, &t->gateway, reterr));
    TRY(has_classes(&t->device, reterr));
    TRY(has_classes(&t->gateway, reterr));
    if (t->device.trees != NULL) {
        return fault_set(reterr, ERR_UNSUPPORTED, "%s: a device runs .tflite networks only", device_info(t)->network);
    }
    TRY(map_classes(t, reterr));
    TRY(choose_form(t, reterr));
    const struct features_options *f = &device_info(t)->features;
    t->values = calloc(max_u64((uint64_t)f->window * f->channels, device_info(t)->inputs), sizeof(*t->values));
    t->sent = calloc(gateway_info(t)->inputs, sizeof(*t->sent));
    bool good = t->values != NULL && t->sent != NULL && loop_new(&t->loop) == OK;
    return good ? OK : fault_set(reterr, ERR_NOMEM, "out of memory");
}

/* ---- asks ---- */
/* What the window is to the gateway when it is asked: t->sent becomes its network's input. */
static enum err ask_about(struct tuning *t, const struct window *w, struct fault *reterr)
{
    float *values = t->values;
    const struct features_options *f = &device_info(t)->features;
    size_t inputs = device_info(t)->inputs;
    const struct nn_tensor *in = nn_input_info(t->device.network.nn, 0);
    struct wire_ask ask = {.model = device_info(t)->id, .own_confidence = 0.5F}, got;
    BUFFER(message, WIRE_ASK_MAX);
    askcost_names(&ask);
    if (t->asks_window) {
        memcpy(values, w->samples, (size_t)f->window * f->channels * sizeof(*values));
        wire_ask_window(&ask, values, f->window, f->channels, w->step);
    } else {
        ask.rows = 1;
        ask.columns = (uint32_t)inputs;
        ask.form = in->type == NN_INT8 ? WEIR__V1__FORM__FEATURES_INT8 : WEIR__V1__FORM__FEATURES_FLOAT32;
        ask.scale = in->scale;
        ask.zero_point = in->zero_point;
        for (size_t i = 0; i < inputs && in->type == NN_INT8; i++) {
            ((uint8_t *)values)[i] = (uint8_t)nn_quantize(in, w->row[i]);
        }
        ask.values = in->type == NN_INT8 ? slice_of(values, inputs) : slice_of(w->row, inputs * sizeof(float));
    }
    if (wire_ask_encode(&ask, &message) != OK || wire_ask_decode(buffer_slice(&message), &got) != OK) {
        return fault_set(reterr, ERR_RANGE, "a window does not fit into an ask (64 KiB%s)",
                         t->asks_window ? "; --ask features may" : "");
    }
    static const char *const forms[] = {"features, float32", "features, int8", "window, float32", "window, int16"};
    const char *form = forms[ask.form == WEIR__V1__FORM__FEATURES_FLOAT32 ? 0
                             : ask.form == WEIR__V1__FORM__FEATURES_INT8  ? 1
                             : ask.form == WEIR__V1__FORM__RAW_FLOAT32    ? 2
                                                                          : 3];
    t->forms_differ |= t->form != NULL && t->form != form;
    t->form = form;
    t->ask_bytes += message.len;
    if (!t->asks_window) {
        wire_ask_values(&got, t->sent);
        return OK;
    }
    wire_ask_values(&got, values);
    return features_of(t->gateway.features, values, t->sent)
               ? OK
               : fault_set(reterr, ERR_RANGE, "%s: its features of a window are no numbers", gateway_info(t)->path);
}

/* ---- one window ---- */
static enum err reserve(struct tuning *t, struct fault *reterr)
{
    size_t classes = device_info(t)->class_count;
    if (t->count < t->cap) {
        return OK;
    }
    size_t cap = t->cap == 0 ? 1024 : 2 * t->cap;
    if (cap * classes > TUNING_OUTPUTS_MAX) {
        return fault_set(reterr, ERR_FULL, "too much data; give a part of it");
    }
    float *outputs = realloc(t->outputs, cap * classes * sizeof(*outputs));
    t->outputs = outputs != NULL ? outputs : t->outputs;
    uint8_t *labels = realloc(t->labels, cap);
    t->labels = labels != NULL ? labels : t->labels;
    struct cascade_case *cases = realloc(t->cases, cap * sizeof(*cases));
    t->cases = cases != NULL ? cases : t->cases;
    if (outputs == NULL || labels == NULL || cases == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    t->cap = cap;
    return OK;
}

/* The gateway's answer, its class as one of the device's. */
static struct decision answer_of_gateway(struct tuning *t, const float *row)
{
    struct decision d = answerer_decide(&t->gateway, row);
    d.class = t->class_map[d.class];
    return d;
}

static enum err on_window(void *arg, const struct window *w, struct fault *reterr)
{
    struct tuning *t = arg;
    size_t classes = device_info(t)->class_count;
    if (w->lowest != w->highest || w->lowest < 0) {
        t->unlabelled += w->highest < 0;
        t->mixed += w->highest >= 0;
        return OK;
    }
    TRY(reserve(t, reterr));
    float *sent = t->sent;
    unsigned label = (unsigned)w->lowest;
    int64_t before_us = loop_fresh_now_us(t->loop);
    struct decision own = answerer_decide(&t->device, w->row);
    int64_t between_us = loop_fresh_now_us(t->loop);
    memcpy(t->outputs + t->count * classes, t->device.network.output, classes * sizeof(float));
    TRY(ask_about(t, w, reterr));
    int64_t asked_us = loop_fresh_now_us(t->loop);
    struct decision answer = answer_of_gateway(t, sent);
    t->gateway_us += (uint64_t)(loop_fresh_now_us(t->loop) - asked_us);
    t->device_us += (uint64_t)(between_us - before_us);
    if (t->has_whole && features_of(t->gateway.features, w->samples, sent)) {
        t->whole_right += answer_of_gateway(t, sent).class == label;
    }
    t->gateway_right += answer.class == label;
    t->gateway_unsure += answer.unsure;
    bool stands = !answer.unsure; /* else the device keeps its own */
    t->cases[t->count] =
        (struct cascade_case){own.confidence, own.class == label, stands ? answer.class == label : own.class == label};
    t->labels[t->count++] = (uint8_t)label;
    t->per_class[label]++;
    return OK;
}

/* ---- all of them ---- */
static int label_of(void *arg, const char *cell)
{
    return class_of(arg, cell);
}

static void list_classes(const struct model_info *info, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < info->class_count && len < size; i++) {
        len += (size_t)snprintf(out + len, size - len, "%s%s", i > 0 ? ", " : "", info->classes[i]);
    }
}

static enum err read_windows(struct tuning *t, const struct model_info *info, struct windows *w, struct fault *reterr)
{
    char known[400];
    list_classes(info, known, sizeof(known));
    w->info = info;
    w->labels = (struct series_labels){
        .column = t->options.label_column, .class_of = label_of, .arg = (void *)(uintptr_t)info, .known = known};
    return windows_each(w, t->options.data, reterr);
}

/* Confidences at a temperature. */
static double temper(struct tuning *t, double temperature)
{
    struct model_info info = *device_info(t);
    info.temperature = temperature;
    for (size_t i = 0; i < t->count; i++) {
        const float *output = t->outputs + i * info.class_count;
        t->cases[i].confidence = model_decide(&info, NULL, output, info.class_count).confidence;
    }
    return cascade_calibration_error(t->cases, t->count, TUNING_BINS);
}

/* Of four digits: what stands in the file is what the curve was made with. */
static double four_digits(double value)
{
    char text[40];
    snprintf(text, sizeof(text), "%.4g", value);
    return strtod(text, NULL);
}

static void floats_free(float *floats)
{
    free(floats);
}
DEFINE_CLEANUP(float, floats_free)

static enum err find_temperature(struct tuning *t, struct fault *reterr)
{
    size_t classes = device_info(t)->class_count;
    double of_window[MODEL_CLASSES_MAX], temperature;
    CLEANUP(floats_freep) float *logits = calloc(t->count * classes, sizeof(*logits));
    if (logits == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < t->count; i++) {
        if (!model_logits(t->outputs + i * classes, classes, of_window)) {
            return fault_set(reterr, ERR_RANGE, "%s: gives what is no number", device_info(t)->network);
        }
        for (size_t c = 0; c < classes; c++) {
            logits[i * classes + c] = (float)of_window[c];
        }
    }
    if (cascade_temperature(logits, t->labels, t->count, classes, &temperature, NULL) != OK) {
        return fault_set(reterr, ERR_RANGE, "no temperature fits these answers");
    }
    t->temperature = four_digits(temperature);
    return OK;
}

static enum err find_cost(struct tuning *t, struct fault *reterr)
{
    const struct model_info *info = device_info(t);
    const char *label = "";
    struct askcost cost;
    for (size_t i = 0; i < info->class_count; i++) {
        label = strlen(info->classes[i]) > strlen(label) ? info->classes[i] : label;
    }
    uint64_t window_us = (uint64_t)((double)(info->features.window - 1) * 1e6 / (double)info->features.rate_hz);
    if (askcost_of(label, window_us, (size_t)(t->ask_bytes / t->count), t->options.overhead, &cost) != OK) {
        return fault_set(reterr, ERR_RANGE, "%s: classes: %s is no text that a record takes", info->path, label);
    }
    t->cost = (struct cascade_cost){.result_bytes = cost.record,
                                    .ask_bytes = cost.ask + cost.answer + cost.longer_record,
                                    .device_us = (double)t->device_us / (double)t->count,
                                    .ask_us = t->options.rtt_us + (double)t->gateway_us / (double)t->count};
    return OK;
}

static enum err settle(struct tuning *t, struct fault *reterr)
{
    const struct model_info *info = device_info(t);
    TRY(find_temperature(t, reterr));
    TRY(find_cost(t, reterr));
    t->error_plain = temper(t, 1);
    t->error_before = temper(t, info->temperature);
    t->before = cascade_measure(t->cases, t->count, &t->cost, info->unsure_below);
    t->error_after = temper(t, t->temperature);
    t->points = calloc(t->count + 1, sizeof(*t->points));
    if (t->points == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    t->point_count = cascade_curve(t->cases, t->count, &t->cost, t->points);
    t->device_alone = t->points[0];
    t->found = cascade_choose(t->points, t->point_count, &t->cost, &t->options.goal, &t->chosen) == OK;
    if (t->found) {
        double threshold = cascade_shorten(t->cases, t->count, t->chosen.threshold);
        t->chosen = cascade_measure(t->cases, t->count, &t->cost, threshold);
    }
    return OK;
}

enum err tuning_run(struct tuning *t, struct fault *reterr)
{
    t->windows = (struct windows){.fn = on_window, .arg = t};
    TRY(read_windows(t, device_info(t), &t->windows, reterr));
    if (t->count == 0) {
        char cut[160];
        windows_cut_sentence(&t->windows, cut, sizeof(cut));
        return fault_set(reterr, ERR_RANGE,
                         "%s: no window of %u rows with one label: %llu rows, %llu windows across a change of label, "
                         "%llu without a label, %llu without values%s",
                         t->options.data, device_info(t)->features.window, (unsigned long long)t->windows.rows,
                         (unsigned long long)t->mixed, (unsigned long long)t->unlabelled,
                         (unsigned long long)t->windows.blank, cut);
    }
    return settle(t, reterr);
}

/* ---- the file that was written ---- */
struct recount {
    struct answerer answerer; /* owned */
    size_t count, asked, right;
};

static void recount_deinit(struct recount *r)
{
    answerer_deinit(&r->answerer);
}

static enum err on_again(void *arg, const struct window *w, struct fault *reterr)
{
    struct recount *r = arg;
    (void)reterr;
    if (w->lowest == w->highest && w->lowest >= 0) {
        struct decision d = answerer_decide(&r->answerer, w->row);
        r->count++;
        r->asked += d.unsure;
        r->right += d.class == (unsigned)w->lowest;
    }
    return OK;
}

enum err tuning_verify(const struct tuning *t, const char *path, struct fault *reterr)
{
    CLEANUP(recount_deinit) struct recount r = {.count = 0};
    struct windows w = {.fn = on_again, .arg = &r};
    double n = (double)t->count;
    TRY(answerer_open(path, &r.answerer, reterr));
    const struct model_info *info = answerer_info(&r.answerer);
    struct tuning again = {.options = t->options};
    TRY(read_windows(&again, info, &w, reterr));
    if (info->temperature != t->temperature || info->unsure_below != t->chosen.threshold || r.count != t->count ||
        r.asked != (size_t)llround(t->chosen.escalated * n) ||
        r.right != (size_t)llround(t->device_alone.accuracy * n)) {
        return fault_set(reterr, ERR_CONFLICT, "%s: read back, it asks about %zu of %zu windows, not %.0f", path,
                         r.asked, r.count, t->chosen.escalated * n);
    }
    return OK;
}
