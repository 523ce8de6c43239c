/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drift_verb - `weir drift calibrate`: from a recorded normal run to the limits that travel with a model; `weir drift
 * show`: what the gateways make of devices and models.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/console/console_internal.h"
#include "cloud-bridge/console/network.h"
#include "cloud-bridge/console/windows.h"
#include "core/base/json.h"
#include "core/csv/csv.h"
#include "proto/calibration/calibration.h"

enum { OUT_MAX = 8 << 20, PATH_BYTES = 4096 };
#define MARGIN 1.2
#define ROWS_MAX ((size_t)50 * 1000 * 1000) /* values */

/* ---- calibrate ---- */
struct recorded {
    const struct model_info *info;
    struct network *network; /* borrowed; nn NULL: no scores */
    double *values;          /* owned; [rows][channels] */
    size_t rows, cap;
    size_t *starts; /* owned; of pieces that do not follow one another: files, and what stands behind a gap */
    size_t pieces, pieces_cap;
    size_t files, gaps;
    double *scores; /* owned */
    size_t score_count, score_cap;
    void *memory; /* owned */
    struct features *features;
};

static void recorded_deinit(struct recorded *r)
{
    free(r->values);
    free(r->starts);
    free(r->scores);
    free(r->memory);
}

static enum err put_score(struct recorded *r, double score)
{
    if (r->score_count == r->score_cap) {
        size_t cap = r->score_cap == 0 ? 1024 : 2 * r->score_cap;
        double *scores = realloc(r->scores, cap * sizeof(*scores));
        if (scores == NULL) {
            return ERR_NOMEM;
        }
        r->scores = scores;
        r->score_cap = cap;
    }
    r->scores[r->score_count++] = score;
    return OK;
}

static enum err put_row(struct recorded *r, const double *row)
{
    unsigned channels = r->info->features.channels;
    float values[FEATURES_CHANNELS_MAX];
    if (r->rows == r->cap) {
        size_t cap = r->cap == 0 ? 4096 : 2 * r->cap;
        double *grown = cap * channels <= ROWS_MAX ? realloc(r->values, cap * channels * sizeof(*grown)) : NULL;
        if (grown == NULL) {
            return cap * channels <= ROWS_MAX ? ERR_NOMEM : ERR_FULL;
        }
        r->values = grown;
        r->cap = cap;
    }
    memcpy(r->values + r->rows++ * channels, row, channels * sizeof(*row));
    for (unsigned i = 0; i < channels; i++) {
        values[i] = (float)row[i];
    }
    if (r->network->nn == NULL || !features_push(r->features, values) || !features_row(r->features, r->network->row)) {
        return OK;
    }
    struct decision d = network_answer(r->network);
    /* As a record carries it. An int8 network gives few different values, so the limits of bins are such values; one
     * that is rounded otherwise in the field than here would fall on their other side. */
    return put_score(r, (double)(float)(r->info->output == MODEL_CLASSES ? d.confidence : d.score));
}

/* The next row does not follow the one before. */
static enum err begin_piece(struct recorded *r)
{
    features_reset(r->features);
    if (r->pieces == r->pieces_cap) {
        size_t cap = r->pieces_cap == 0 ? 64 : 2 * r->pieces_cap;
        size_t *starts = realloc(r->starts, cap * sizeof(*starts));
        if (starts == NULL) {
            return ERR_NOMEM;
        }
        r->starts = starts;
        r->pieces_cap = cap;
    }
    r->starts[r->pieces++] = r->rows;
    return OK;
}

static enum err add_file(struct recorded *r, const char *path, struct fault *reterr)
{
    CLEANUP(series_deinit) struct series series = {.rows = 0};
    const struct series_channel *channel[FEATURES_CHANNELS_MAX];
    double row[FEATURES_CHANNELS_MAX];
    TRY(series_read(path, (int64_t)(1e6 / (double)r->info->features.rate_hz), &series, reterr));
    TRY(windows_channels(r->info, &series, path, channel, reterr));
    TRY(windows_check_rate(r->info, &series, path, reterr));
    double gap_us = windows_gap_us(r->info, &series);
    for (size_t n = 0; n < series.rows; n++) {
        bool gap = windows_gap_before(&series, n, gap_us);
        enum err err = n == 0 || gap ? begin_piece(r) : OK;
        r->gaps += gap;
        for (unsigned i = 0; i < r->info->features.channels; i++) {
            row[i] = channel[i]->values[n];
        }
        err = err == OK ? put_row(r, row) : err;
        if (err != OK) {
            return fault_set(reterr, err,
                             err == ERR_FULL ? "%s: too much data; give a part of it" : "%s: out of memory", path);
        }
    }
    r->files++;
    return OK;
}

static enum err read_run(struct recorded *r, const char *data, struct fault *reterr)
{
    CLEANUP(csv_files_deinit) struct csv_files files = {.count = 0};
    size_t bytes = (features_bytes(&r->info->features) + 15) / 16 * 16;
    TRY(csv_files_find(data, &files, reterr));
    r->memory = aligned_alloc(16, bytes);
    if (r->memory == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    TRY(features_init(&r->info->features, r->memory, bytes, &r->features, reterr));
    for (size_t i = 0; i < files.count; i++) {
        TRY(add_file(r, files.paths[i], reterr));
    }
    return OK;
}

static enum err fit(const struct recorded *r, double margin, bool steady, struct calibration **ret_c,
                    struct buffer *notes, struct fault *reterr)
{
    struct calibration_run run = {
        .name = r->info->name,
        .model = r->info->id,
        .channel = r->info->channels,
        .channels = r->info->features.channels,
        .window = r->info->features.window,
        .hop = r->info->features.hop,
        .rate_hz = (double)r->info->features.rate_hz,
        .values = r->values,
        .rows = r->rows,
        .starts = r->starts,
        .pieces = r->pieces,
        .of = r->network->nn == NULL             ? CALIBRATION_NONE
              : r->info->output == MODEL_CLASSES ? CALIBRATION_CONFIDENCE
                                                 : CALIBRATION_SCORE,
        .scores = r->scores,
        .score_count = r->score_count,
        .margin = margin,
        .steady = steady,
    };
    return calibration_fit(&run, ret_c, notes, reterr);
}

static bool write_text(const char *path, const struct buffer *text)
{
    FILE *f = fopen(path, "wbe");
    bool good = f != NULL && fwrite(text->ptr, 1, text->len, f) == text->len && fflush(f) == 0;
    good = good && (fsync(fileno(f)) == 0 || errno == EINVAL); /* a pipe cannot */
    int why = errno;
    if (f != NULL && fclose(f) != 0 && good) {
        return false;
    }
    errno = why;
    return good;
}

/* Into a file beside it, which then takes the name: limits that are in use are whole, whatever happens. */
static enum exit_code write_out(const char *path, const struct buffer *text)
{
    char beside[PATH_BYTES];
    struct stat st;
    bool special = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if ((size_t)snprintf(beside, sizeof(beside), "%s.%d.new", path, (int)getpid()) >= sizeof(beside)) {
        print_message("%s: too long a path", path);
        return EXIT_FAILED;
    }
    bool good = write_text(special ? path : beside, text) && (special || rename(beside, path) == 0);
    if (!good) {
        print_message("%s: cannot be written: %s", path, strerror(errno));
        (void)(special ? 0 : unlink(beside));
    }
    return good ? EXIT_OK : EXIT_FAILED;
}

/* Without a power of ten. */
static const char *plain(double value, char out[32])
{
    snprintf(out, 32, fabs(value) < 999.5 ? "%.3g" : "%.0f", value);
    return out;
}

static bool keeps_all(const struct calibration *c)
{
    return c->pca.components == c->pca.dimensions; /* nothing is left over that SPE could be of */
}

/* Else nothing was there that could have raised an alarm. */
static bool counts_alarms(const struct calibration *c)
{
    return c->pca.components > 0 || c->of != CALIBRATION_NONE;
}

/* Much may still be ahead of what the run has shown. */
static bool is_short(const struct calibration *c)
{
    return c->alarms_at_most > 1 && c->alarms_at_most > 2 * c->alarms_per_week;
}

static void put_size(const struct recorded *r, const struct calibration *c, struct buffer *out)
{
    double days = c->days;
    buffer_printf(out, "%s: %zu row%s in %zu file%s, %.3g %s at %g samples a second; %zu answers\n", c->name, r->rows,
                  r->rows == 1 ? "" : "s", r->files, r->files == 1 ? "" : "s",
                  days >= 2      ? days
                  : days >= 0.25 ? days * 24
                                 : days * 1440,
                  days >= 2      ? "days"
                  : days >= 0.25 ? "hours"
                                 : "minutes",
                  (double)c->features.rate_hz, r->score_count);
    if (r->gaps > 0) {
        size_t longest = 0;
        for (size_t i = 0; i < r->pieces; i++) {
            size_t end = i + 1 < r->pieces ? r->starts[i + 1] : r->rows;
            longest = end - r->starts[i] > longest ? end - r->starts[i] : longest;
        }
        buffer_printf(out,
                      "%zu gap%s in the times: windows begin anew behind each (the longest stretch without one: %zu "
                      "rows, the window is %u)\n",
                      r->gaps, r->gaps == 1 ? "" : "s", longest, c->features.window);
    }
}

static void put_inputs(const struct calibration *c, struct buffer *out)
{
    char t2[32], spe[32], average[32];
    if (c->pca.components > 0 && keeps_all(c)) {
        buffer_printf(out, "inputs: %u components of %u; limits T2 %s, SPE none: all components are kept\n",
                      c->pca.components, c->pca.dimensions, plain(c->t2_limit, t2));
    } else if (c->pca.components > 0) {
        buffer_printf(out, "inputs: %u components of %u; limits T2 %s, SPE %s, its average %s\n", c->pca.components,
                      c->pca.dimensions, plain(c->t2_limit, t2), plain(c->spe_limit, spe),
                      plain(c->ewma_limit, average));
    }
    if (c->levels.dimensions > 0) {
        buffer_printf(out, "levels of steady inputs: limit %.4g times what 99 %% of the run reach\n", c->level_limit);
    }
}

static void put_scores(const struct calibration *c, struct buffer *out)
{
    if (c->of != CALIBRATION_NONE) {
        buffer_printf(out, "%s: %u bins, window %u; limits PSI %.4g, KS %.4g, average within %.4g of %.4g\n",
                      c->of == CALIBRATION_SCORE ? "score" : "confidence", c->reference.bins, c->score_window,
                      c->psi_limit, c->ks_limit, c->score_limit, c->score_mean);
    }
    if (c->sketches.samples > 0) {
        buffer_printf(out, "sketches: judged by %u samples", c->sketches.samples);
        if (c->sketches.answers > 0) {
            buffer_printf(out, ", %u answers", c->sketches.answers);
        }
        buffer_put_str(out, " at a time\n");
    }
}

static void put_alarms(const struct calibration *c, struct buffer *out)
{
    char a_week[32], at_most[32];
    const char *scores = c->of == CALIBRATION_SCORE        ? "the score"
                         : c->of == CALIBRATION_CONFIDENCE ? "the confidence"
                                                           : "";
    if (!counts_alarms(c)) {
        buffer_put_str(out, "expected false alarms of a device: not known without figures for inputs or scores\n");
        return;
    }
    buffer_printf(out,
                  "expected false alarms of a device (confirmed ones of %s%s%s, not of sketches or sensors): %s a week "
                  "on parts of this run, with 95 %% at most %s\n",
                  c->pca.components > 0 ? "inputs" : "", c->pca.components > 0 && scores[0] != '\0' ? " and of " : "",
                  scores, plain(c->alarms_per_week, a_week), plain(c->alarms_at_most, at_most));
}

static void put_summary(const struct recorded *r, const struct calibration *c, const char *out_path, struct buffer *out)
{
    put_size(r, c, out);
    put_inputs(c, out);
    put_scores(c, out);
    put_alarms(c, out);
    buffer_printf(out, "written to %s\n", out_path);
}

static void json_inputs(struct json *j, const struct calibration *c)
{
    json_object(j, "inputs");
    json_u64(j, "components", c->pca.components);
    json_u64(j, "dimensions", c->pca.dimensions);
    json_f64(j, "t2_limit", c->t2_limit);
    json_f64(j, "spe_limit", keeps_all(c) ? NAN : c->spe_limit);
    json_f64(j, "spe_average_limit", keeps_all(c) ? NAN : c->ewma_limit);
    json_f64(j, "level_limit", c->levels.dimensions > 0 ? c->level_limit : NAN);
    json_object_end(j);
}

static void json_scores(struct json *j, const struct calibration *c)
{
    json_object(j, "scores");
    json_str(j, "of", c->of == CALIBRATION_SCORE ? "score" : "confidence");
    json_u64(j, "window", c->score_window);
    json_f64(j, "psi_limit", c->psi_limit);
    json_f64(j, "ks_limit", c->ks_limit);
    json_f64(j, "mean", c->score_mean);
    json_f64(j, "average_limit", c->score_limit);
    json_object_end(j);
}

static void json_notes(struct json *j, const struct buffer *notes)
{
    json_array(j, "notes");
    for (size_t at = 0; at < notes->len;) {
        char line[400];
        const uint8_t *end = memchr(notes->ptr + at, '\n', notes->len - at);
        size_t len = end != NULL ? (size_t)(end - notes->ptr) - at : notes->len - at;
        snprintf(line, sizeof(line), "%.*s", (int)len, (const char *)notes->ptr + at);
        json_str(j, NULL, line);
        at += len + 1;
    }
    json_array_end(j);
}

/* Figures that there are none of are null; `notes` says why. */
static void put_summary_json(const struct recorded *r, const struct calibration *c, const struct buffer *notes,
                             const char *out_path, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "name", c->name);
    json_hex(&j, "model", c->model);
    json_u64(&j, "files", r->files);
    json_u64(&j, "rows", r->rows);
    json_u64(&j, "gaps", r->gaps);
    json_u64(&j, "answers", r->score_count);
    json_f64(&j, "rate", (double)c->features.rate_hz);
    json_f64(&j, "days", c->days);
    if (c->pca.components > 0) {
        json_inputs(&j, c);
    } else {
        json_str(&j, "inputs", NULL);
    }
    if (c->of != CALIBRATION_NONE) {
        json_scores(&j, c);
    } else {
        json_str(&j, "scores", NULL);
    }
    json_u64(&j, "sketch_samples", c->sketches.samples);
    json_u64(&j, "sketch_answers", c->sketches.answers);
    json_f64(&j, "false_alarms_per_week", counts_alarms(c) ? c->alarms_per_week : NAN);
    json_f64(&j, "false_alarms_per_week_at_most", counts_alarms(c) ? c->alarms_at_most : NAN);
    json_notes(&j, notes);
    json_str(&j, "written", out_path);
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}

static enum exit_code calibrate_exit(enum err err, const struct fault *fault)
{
    print_message("%s", fault->text);
    return err == ERR_NOT_FOUND ? EXIT_NOT_FOUND : err == ERR_NOMEM || err == ERR_IO ? EXIT_FAILED : EXIT_USAGE;
}

static enum exit_code calibrate(const struct args *args)
{
    CLEANUP(network_deinit) struct network network = {.model = NULL};
    CLEANUP(recorded_deinit) struct recorded r = {.network = &network};
    CLEANUP(calibration_freep) struct calibration *c = NULL;
    struct fault fault = {.code = OK};
    const char *out_path = args->out != NULL ? args->out : "drift.yaml";
    double margin = MARGIN;
    BUFFER(notes, 4096);
    BUFFER(text, 1 << 20);
    BUFFER(out, 64 * 1024);
    if (args->data == NULL || args->model == NULL || args->words[1] != NULL) {
        print_message(
            "usage: weir drift calibrate --data DIR --model model.yaml [--out drift.yaml] [--margin 1.2] [--steady]");
        return EXIT_USAGE;
    }
    if (!cascade_number("--margin", args->margin, MARGIN, 0, 1000, &margin)) {
        return EXIT_USAGE;
    }
    enum err err = network_open(args->model, &network, &fault);
    if (err == ERR_UNSUPPORTED && network.model != NULL && network.file == NULL) {
        print_message("%s: no figures for scores", fault.text);
        err = OK;
    }
    if (err == OK && network.model == NULL) {
        err = fault_set(&fault, ERR_RANGE, "%s: a model's description (model.yaml) is needed, not the network alone",
                        args->model);
    }
    if (err != OK) {
        return calibrate_exit(err, &fault);
    }
    r.info = model_info(network.model);
    err = read_run(&r, args->data, &fault);
    err = err == OK ? fit(&r, margin, args->steady, &c, &notes, &fault) : err;
    if (err != OK) {
        return calibrate_exit(err, &fault);
    }
    if (calibration_write(c, &text) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    enum exit_code code = write_out(out_path, &text);
    if (counts_alarms(c) && is_short(c)) {
        print_message("warning: the run is short: the bound on false alarms is far above what was counted; a longer "
                      "run says more");
    }
    if (args->json) {
        put_summary_json(&r, c, &notes, code == EXIT_OK ? out_path : NULL, &out);
    } else {
        buffer_put_slice(&out, buffer_slice(&notes));
        put_summary(&r, c, out_path, &out);
    }
    return code != EXIT_OK ? code : print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

/* ---- show ---- */
/* "spe 12.1 > 4", an age, or "-". */
static void add_figure(struct table *t, const cJSON *device, const char *name)
{
    const cJSON *figure = cJSON_GetObjectItemCaseSensitive(device, name),
                *age = cJSON_GetObjectItemCaseSensitive(figure, "age_s");
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(figure, "value"),
                *limit = cJSON_GetObjectItemCaseSensitive(figure, "limit");
    char text[24];
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(figure, "beyond"))) {
        if (cJSON_IsNumber(value) && cJSON_IsNumber(limit)) {
            const cJSON *channel = cJSON_GetObjectItemCaseSensitive(figure, "channel"); /* of sketches */
            table_add(t, PAINT_BAD, "%s%s%s %.3g > %.3g", cJSON_IsString(channel) ? channel->valuestring : "",
                      cJSON_IsString(channel) ? " " : "", doc_text(figure, "statistic"), value->valuedouble,
                      limit->valuedouble);
        } else {
            table_add(t, PAINT_BAD, "beyond");
        }
    } else if (cJSON_IsNumber(age)) {
        put_age(doc_i64_or_0(figure, "age_s"), text, sizeof(text));
        table_add(t, PAINT_NONE, "ok, %s ago", text);
    } else {
        table_add(t, PAINT_NONE, "-");
    }
}

static void add_sensors(struct table *t, const cJSON *device)
{
    const cJSON *sensors = cJSON_GetObjectItemCaseSensitive(device, "sensors"),
                *first = sensors != NULL ? sensors->child : NULL;
    int count = cJSON_GetArraySize(sensors);
    if (count == 0) {
        table_add(t, PAINT_NONE, "%s",
                  cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(device, "calibrated")) ? "ok" : "-");
    } else if (count == 1) {
        table_add(t, PAINT_BAD, "%s %s", doc_text(first, "channel"), doc_text(first, "fault"));
    } else {
        table_add(t, PAINT_BAD, "%s %s and %d more", doc_text(first, "channel"), doc_text(first, "fault"), count - 1);
    }
}

static void put_devices(const cJSON *health, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "lllllll", .width = 7};
    static const char *const heads[] = {"DEVICE", "MODEL", "INPUTS", "SCORES", "DISAGREEMENT", "SENSORS", "STATE"};
    const cJSON *device;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(health, "devices"))
    {
        const char *name = doc_text(device, "name"), *state = doc_text(device, "state");
        table_add(&t, PAINT_NONE, "%s", doc_text(device, "device"));
        table_add(&t, PAINT_NONE, "%s", name[0] != '\0' ? name : doc_text(device, "model"));
        add_figure(&t, device, "inputs");
        add_figure(&t, device, "scores");
        add_figure(&t, device, "disagreement");
        add_sensors(&t, device);
        table_add(&t,
                  strcmp(state, "ok") == 0        ? PAINT_GOOD
                  : strcmp(state, "unknown") == 0 ? PAINT_NONE
                                                  : PAINT_BAD,
                  "%s", state);
    }
    table_print(&t, color, out);
}

static void put_coverage(const cJSON *health, struct buffer *out)
{
    const cJSON *model, *why, *stats = cJSON_GetObjectItemCaseSensitive(health, "stats");
    cJSON_ArrayForEach(model, cJSON_GetObjectItemCaseSensitive(health, "models"))
    {
        cJSON_ArrayForEach(why, cJSON_GetObjectItemCaseSensitive(model, "without_figures"))
        {
            buffer_printf(out, "model %s: %s\n", doc_text(model, "name"), cJSON_IsString(why) ? why->valuestring : "");
        }
    }
    uint64_t uncalibrated = doc_u64_or_0(stats, "without_calibration"),
             left_out = doc_u64_or_0(stats, "left_out_devices");
    if (uncalibrated > 0) {
        buffer_printf(
            out,
            "%" PRIu64
            " devices run no model that there is a calibration of: only disagreement and cohorts are watched\n",
            uncalibrated);
    }
    if (left_out > 0) {
        buffer_printf(out, "about %" PRIu64 " devices do not fit into health.memory\n", left_out);
    }
}

static bool all_well(const cJSON *health)
{
    const cJSON *device;
    cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(health, "devices"))
    {
        const char *state = doc_text(device, "state");
        if (strcmp(state, "ok") != 0 && strcmp(state, "unknown") != 0) {
            return false;
        }
    }
    return true;
}

static void put_json(const cJSON *json, struct buffer *out)
{
    char *text = cJSON_PrintUnformatted(json);
    buffer_put_str(out, text ? text : "null");
    buffer_put_u8(out, '\n');
    cJSON_free(text);
}

static enum exit_code show(const struct args *args)
{
    CLEANUP(gateways_deinit) struct gateways gateways = {.count = 0};
    char *target = NULL;
    size_t seen = 0;
    bool well = true;
    BUFFER(out, OUT_MAX);
    enum exit_code code = gateways_find(args, &gateways);
    if (code != EXIT_OK) {
        return code;
    }
    if (args->words[1] != NULL && target_for("/health?device=", args->words[1], &target) != OK) {
        return EXIT_FAILED;
    }
    for (size_t i = 0; code == EXIT_OK && i < gateways.count; i++) {
        code = gateway_ask(&gateways.items[i], target != NULL ? target : "/health");
        const cJSON *health = cJSON_GetObjectItemCaseSensitive(gateways.items[i].doc->json, "health");
        int devices = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(health, "devices"));
        if (code != EXIT_OK || (args->words[1] != NULL && devices == 0)) {
            continue;
        }
        seen++;
        well &= all_well(health);
        if (args->json) {
            put_json(gateways.items[i].doc->json, &out);
            continue;
        }
        buffer_printf(&out, "%sgateway %s\n", seen > 1 ? "\n" : "", gateways.items[i].id);
        put_devices(health, args->color, &out);
        put_coverage(health, &out);
    }
    free(target);
    if (code == EXIT_OK && seen == 0) {
        print_message("no gateway knows device %s", args->words[1] != NULL ? args->words[1] : "");
        return EXIT_NOT_FOUND;
    }
    return code != EXIT_OK ? code : !print_out(&out) ? EXIT_FAILED : well ? EXIT_OK : EXIT_DEGRADED;
}

enum exit_code drift_verb(const struct args *args)
{
    if (strcmp(args->words[0], "calibrate") == 0) {
        return calibrate(args);
    }
    if (strcmp(args->words[0], "show") == 0) {
        return show(args);
    }
    print_message("drift show or drift calibrate; not %s", args->words[0]);
    return EXIT_USAGE;
}
