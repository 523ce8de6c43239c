/* SPDX-License-Identifier: Apache-2.0 */
/* What `weir cascade calibrate` found, for people and for programs. */
#include "cloud-bridge/console/cascade_print.h"

#include <math.h>
#include <stdio.h>

#include "core/base/json.h"

#define PERCENT(part, whole) (100 * (double)(part) / (double)(whole))

/* ---- text ---- */
static void put_data(const struct tuning *t, struct buffer *out)
{
    const struct model_info *info = answerer_info(&t->device);
    buffer_printf(out, "%zu windows of %u rows, from %llu rows in %llu file%s;", t->count, info->features.window,
                  (unsigned long long)t->windows.rows, (unsigned long long)t->windows.files,
                  t->windows.files == 1 ? "" : "s");
    buffer_printf(out, " left out: %llu across a change of label, %llu without a label, %llu without values\n",
                  (unsigned long long)t->mixed, (unsigned long long)t->unlabelled,
                  (unsigned long long)t->windows.blank);
    for (size_t i = 0; i < info->class_count; i++) {
        buffer_printf(out, "%s%s %llu", i > 0 ? ", " : "classes: ", info->classes[i],
                      (unsigned long long)t->per_class[i]);
    }
    buffer_put_u8(out, '\n');
    if (t->windows.bad > 0) {
        bool one = t->windows.bad == 1;
        buffer_printf(out, "%llu cell%s or row%s not as the others and %s taken as missing\n",
                      (unsigned long long)t->windows.bad, one ? "" : "s", one ? " is" : "s are", one ? "was" : "were");
    }
}

void cascade_warnings(const struct tuning *t, struct buffer *out)
{
    const struct model_info *info = answerer_info(&t->device);
    for (size_t i = 0; i < info->class_count; i++) {
        if (t->per_class[i] == 0) {
            buffer_printf(out, "no window of class %s: nothing is said about it\n", info->classes[i]);
        } else if (t->per_class[i] < TUNING_FEW) {
            buffer_printf(out, "only %llu windows of class %s\n", (unsigned long long)t->per_class[i],
                          info->classes[i]);
        }
    }
    if (t->has_whole && (double)t->gateway_right + 0.01 * (double)t->count < (double)t->whole_right) {
        buffer_printf(out,
                      "the gateway's model is right in %.2f %% of the asks but in %.2f %% on its own features: are the "
                      "device's features what it was trained on? --ask window\n",
                      PERCENT(t->gateway_right, t->count), PERCENT(t->whole_right, t->count));
    }
    if (t->gateway_unsure * 10 > t->count) {
        buffer_printf(out,
                      "the gateway is unsure itself of %.1f %% (its unsure_below): there the device's own answer "
                      "stands\n",
                      PERCENT(t->gateway_unsure, t->count));
    }
    if (t->error_after > t->error_before) {
        buffer_printf(
            out,
            "the calibration error got worse, %.2f %% from %.2f %%: the temperature explains the labels best, "
            "but look at more data before believing the confidence\n",
            100 * t->error_after, 100 * t->error_before);
    }
}

enum { ROWS_MAX = 16, DIGITS = 4, DIGITS_MAX = 17 };
struct shown {
    const char *what[ROWS_MAX];
    const struct cascade_point *point[ROWS_MAX];
    size_t count;
};

static void show(struct shown *s, const char *what, const struct cascade_point *p)
{
    s->what[s->count] = what;
    s->point[s->count++] = p;
}

/* So many that thresholds which differ look different. */
static int digits_of(const struct shown *s)
{
    int digits = DIGITS;
    for (size_t i = 0; i < s->count; i++) {
        for (size_t k = 0; k < i; k++) {
            double a = s->point[i]->threshold, b = s->point[k]->threshold;
            char x[40], y[40];
            for (; a != b && digits < DIGITS_MAX; digits++) {
                snprintf(x, sizeof(x), "%.*g", digits, a);
                snprintf(y, sizeof(y), "%.*g", digits, b);
                if (strcmp(x, y) != 0) {
                    break;
                }
            }
        }
    }
    return digits;
}

static void put_point(struct table *t, const char *what, const struct cascade_point *p, int digits)
{
    table_add(t, PAINT_NONE, "%s", what);
    table_add(t, PAINT_NONE, "%.*g", digits, p->threshold);
    table_add(t, PAINT_NONE, "%.1f %%", 100 * p->escalated);
    table_add(t, PAINT_NONE, "%.2f %%", 100 * p->accuracy);
    table_add(t, PAINT_NONE, "%.1f", p->bytes);
    table_add(t, PAINT_NONE, "%.2f ms", p->latency_us / 1000);
}

static void put_curve(const struct tuning *tuning, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "lrrrrr", .width = 6};
    static const char *const heads[] = {"", "THRESHOLD", "ASKS", "RIGHT", "BYTES", "LATENCY"};
    static const double shares[] = {0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1};
    size_t at = 0, last = SIZE_MAX;
    struct shown shown = {.count = 0};
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    for (size_t s = 0; s < COUNT_OF(shares); s++) {
        while (at + 1 < tuning->point_count && tuning->points[at].escalated < shares[s]) {
            at++;
        }
        if (at != last) {
            show(&shown, at == 0 ? "never" : "", &tuning->points[at]);
        }
        last = at;
    }
    show(&shown, "as it was", &tuning->before);
    if (tuning->found) {
        show(&shown, "picked", &tuning->chosen);
    }
    for (size_t i = 0; i < shown.count; i++) {
        put_point(&t, shown.what[i], shown.point[i], digits_of(&shown));
    }
    table_print(&t, color, out);
}

void cascade_goal_sentence(const struct cascade_goal *goal, char *out, size_t size)
{
    if (goal->bytes_max > 0) {
        snprintf(out, size, "the most accurate within %g bytes an inference", goal->bytes_max);
    } else {
        snprintf(out, size, "at most %g points lost to asking about everything, %g standard errors on the safe side",
                 100 * goal->loss_max, goal->errors);
    }
}

void cascade_print(const struct tuning *t, bool color, struct buffer *out)
{
    char goal[160];
    put_data(t, out);
    buffer_printf(out, "temperature: %g; calibration error %.2f %% with it, %.2f %% without", t->temperature,
                  100 * t->error_after, 100 * t->error_plain);
    double before = answerer_info(&t->device)->temperature;
    if (before < 1 || before > 1) {
        buffer_printf(out, ", %.2f %% with %g as it was", 100 * t->error_before, before);
    }
    buffer_put_u8(out, '\n');
    buffer_printf(out, "right: device alone %.2f %%, gateway alone %.2f %%", 100 * t->device_alone.accuracy,
                  PERCENT(t->gateway_right, t->count));
    if (t->found) {
        buffer_printf(out, ", cascade %.2f %%", 100 * t->chosen.accuracy);
    }
    buffer_printf(out, "\nan ask: %s, %.0f bytes there and back; round trip %g ms\n", t->form, t->cost.ask_bytes,
                  t->options.rtt_us / 1e3);
    put_curve(t, color, out);
    cascade_goal_sentence(&t->options.goal, goal, sizeof(goal));
    if (t->found) {
        bool kept = t->options.goal.bytes_max > 0 ||
                    t->chosen.gap - t->options.goal.errors * t->chosen.gap_error >= -t->options.goal.loss_max;
        buffer_printf(out, "threshold %g: %s%s\n", t->chosen.threshold,
                      kept ? "" : "the most accurate that asks no more, which is not known to keep: ", goal);
    }
}

/* ---- JSON ---- */
static void json_point(struct json *j, const char *key, const struct cascade_point *p)
{
    json_object(j, key);
    json_f64(j, "threshold", p->threshold);
    json_f64(j, "escalated", p->escalated);
    json_f64(j, "accuracy", p->accuracy);
    json_f64(j, "gap", p->gap);
    json_f64(j, "gap_error", p->gap_error);
    json_f64(j, "bytes", p->bytes);
    json_f64(j, "latency_us", p->latency_us);
    json_object_end(j);
}

static void json_data(struct json *j, const struct tuning *t)
{
    const struct model_info *info = answerer_info(&t->device);
    json_object(j, "data");
    json_u64(j, "files", t->windows.files);
    json_u64(j, "rows", t->windows.rows);
    json_u64(j, "windows", t->count);
    json_u64(j, "mixed", t->mixed);
    json_u64(j, "unlabelled", t->unlabelled);
    json_u64(j, "blank", t->windows.blank);
    json_u64(j, "gaps", t->windows.gaps);
    json_u64(j, "bad", t->windows.bad);
    json_object(j, "classes");
    for (size_t i = 0; i < info->class_count; i++) {
        json_u64(j, info->classes[i], t->per_class[i]);
    }
    json_object_end(j);
    json_object_end(j);
}

void cascade_json(const struct tuning *t, const char *written, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_data(&j, t);
    json_f64(&j, "temperature", t->temperature);
    json_f64(&j, "calibration_error", t->error_after);
    json_f64(&j, "calibration_error_before", t->error_before);
    json_f64(&j, "calibration_error_at_1", t->error_plain);
    json_f64(&j, "device_alone", t->device_alone.accuracy);
    json_f64(&j, "gateway_alone", (double)t->gateway_right / (double)t->count);
    json_f64(&j, "gateway_own_features", t->has_whole ? (double)t->whole_right / (double)t->count : NAN);
    json_f64(&j, "gateway_unsure", (double)t->gateway_unsure / (double)t->count);
    json_str(&j, "ask", t->form);
    json_bool(&j, "asks_differ", t->forms_differ);
    json_f64(&j, "result_bytes", t->cost.result_bytes);
    json_f64(&j, "ask_bytes", t->cost.ask_bytes);
    json_f64(&j, "device_us", t->cost.device_us);
    json_f64(&j, "ask_us", t->cost.ask_us);
    json_point(&j, "before", &t->before);
    if (t->found) {
        json_point(&j, "picked", &t->chosen);
    } else {
        json_str(&j, "picked", NULL);
    }
    json_str(&j, "written", written);
    json_array(&j, "curve");
    for (size_t i = 0; i < t->point_count; i++) {
        json_point(&j, NULL, &t->points[i]);
    }
    json_array_end(&j);
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}
