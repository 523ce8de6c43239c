/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/model/model.h"

#include <stdio.h>

#include "core/crypt/crypt.h"
#include "core/csv/csv.h"
#include "core/options/options.h"

enum { LINE_MAX_BYTES = 4096 };

struct feature_row {
    char *kind, *channel;
    int64_t bands;
    double low, high;
};
struct settings {
    char *model, *network, *scaling;
    struct option_list channels, classes;
    double rate, temperature, unsure_below, normal_below, unsure_band;
    int64_t window, hop;
    int output;
    struct option_sections features;
};
struct model {
    struct model_info info;
    struct settings settings; /* owns what info points to */
    struct feature features[FEATURES_MAX];
    float *offset, *factor;   /* owned */
    char *path;               /* owned */
};

#define IN(member) offsetof(struct feature_row, member)
static const struct option feature_table[] = {
    {.name = "kind", .type = OPTION_STRING, .offset = IN(kind), .required = true, .max = 16,
     .help = "raw, mean, std, rms, min, max, peak, crest, skewness, kurtosis or bands."},
    {.name = "channel", .type = OPTION_STRING, .offset = IN(channel), .required = true, .max = 256,
     .help = "One of the model's channels."},
    {.name = "bands", .type = OPTION_INT, .offset = IN(bands), .min = 1, .max = FEATURES_BANDS_MAX, .preset = "16",
     .help = "Of kind bands: how many."},
    {.name = "low", .type = OPTION_NUMBER, .offset = IN(low), .max = 1e9, .preset = "0", .help = "Of kind bands: from, in Hz."},
    {.name = "high", .type = OPTION_NUMBER, .offset = IN(high), .max = 1e9, .preset = "0",
     .help = "Of kind bands: to, in Hz; 0 for half the rate."},
    {.name = NULL},
};
#define AT(member) offsetof(struct settings, member)
static const struct option table[] = {
    {.name = "model", .type = OPTION_ID, .offset = AT(model), .required = true, .help = "The model's name."},
    {.name = "network", .type = OPTION_FILE, .offset = AT(network), .required = true,
     .help = "Its network: .tflite; on a gateway also .onnx, or .json as XGBoost saves trees."},
    {.name = "channels", .type = OPTION_LIST, .offset = AT(channels), .required = true, .min = 1, .max = FEATURES_CHANNELS_MAX,
     .help = "Names of the channels that it sees."},
    {.name = "rate", .type = OPTION_NUMBER, .offset = AT(rate), .min = 1e-6, .max = 1e7, .preset = "1", .help = "Samples a second."},
    {.name = "window", .type = OPTION_INT, .offset = AT(window), .min = 1, .max = FEATURES_WINDOW_MAX, .preset = "1",
     .help = "Samples that an answer is made from."},
    {.name = "hop", .type = OPTION_INT, .offset = AT(hop), .max = FEATURES_WINDOW_MAX, .preset = "0",
     .help = "Samples from one answer to the next; 0 for the window."},
    {.name = "features", .type = OPTION_SECTIONS, .offset = AT(features), .max = FEATURES_MAX, .sections = feature_table,
     .section_size = sizeof(struct feature_row), .help = "What the network sees of the window, in order."},
    {.name = "scaling", .type = OPTION_FILE, .offset = AT(scaling), .preset = "",
     .help = "A line per input: offset, factor; input = (feature - offset) * factor."},
    {.name = "output", .type = OPTION_ENUM, .offset = AT(output), .words = "classes|score|reconstruction", .preset = "classes",
     .help = "What the network gives."},
    {.name = "classes", .type = OPTION_LIST, .offset = AT(classes), .help = "Names of its outputs."},
    {.name = "temperature", .type = OPTION_NUMBER, .offset = AT(temperature), .min = 0.01, .max = 100, .preset = "1",
     .help = "Divides the logits before the softmax: a confidence of 0.8 is right in 8 of 10."},
    {.name = "unsure_below", .type = OPTION_NUMBER, .offset = AT(unsure_below), .max = 1, .preset = "0",
     .help = "Confidence below which the gateway is asked."},
    {.name = "normal_below", .type = OPTION_NUMBER, .offset = AT(normal_below), .min = -1e30, .max = 1e30, .preset = "0",
     .help = "Of a score: what is above is not normal."},
    {.name = "unsure_band", .type = OPTION_NUMBER, .offset = AT(unsure_band), .max = 1e30, .preset = "0",
     .help = "Of a score: so near to normal_below it is unsure."},
    {.name = NULL},
};

static enum err told(const char *path, struct buffer *problems, enum err err, const char *sentence)
{
    buffer_printf(problems, "%s: %s\n", path, sentence);
    return err;
}

/* Names are what channels and classes are told by, also between a device's model and its gateway's. */
static enum err check_names(const char *row, const struct option_list *names, struct buffer *problems)
{
    for (size_t i = 1; i < names->count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(names->items[i], names->items[k]) == 0) {
                buffer_printf(problems, "%s: \"%s\" is given twice\n", row, names->items[i]);
                return ERR_RANGE;
            }
        }
    }
    return OK;
}

static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    enum err err = check_names("channels", &s->channels, problems);
    err = check_names("classes", &s->classes, problems) != OK ? ERR_RANGE : err;
    if (s->features.count == 0) {
        buffer_printf(problems, "features: at least one is needed (kind: raw hands the values themselves to the network)\n");
        err = ERR_RANGE;
    }
    if (s->output == MODEL_CLASSES && s->classes.count < 2) {
        buffer_printf(problems, "classes: at least two are needed, or output: score, or output: reconstruction\n");
        err = ERR_RANGE;
    }
    if (s->output != MODEL_CLASSES && s->classes.count != 0) {
        buffer_printf(problems, "classes: given for a score\n");
        err = ERR_RANGE;
    }
    if (s->classes.count > MODEL_CLASSES_MAX) {
        buffer_printf(problems, "classes: more than %d\n", MODEL_CLASSES_MAX);
        err = ERR_RANGE;
    }
    return err;
}

static const struct options_program program = {
    .name = "model", .summary = "Description of a model.", .table = table, .settings_size = sizeof(struct settings), .check = check};

/* ---- features ---- */
/* ...: there is no "rwa"; there are raw, mean, ... */
static void tell_feature(const struct model *m, size_t row, bool of_kind, struct buffer *problems)
{
    const struct feature_row *f = (const struct feature_row *)m->settings.features.items + row;
    buffer_printf(problems, "%s: features.%s.%s: there is no \"%s\"; there are", m->path,
                  m->settings.features.names[row], of_kind ? "kind" : "channel", of_kind ? f->kind : f->channel);
    for (unsigned k = 0; of_kind && k < FEATURE_KINDS; k++) {
        buffer_printf(problems, "%s %s", k > 0 ? "," : "", feature_name((enum feature_kind)k));
    }
    for (size_t c = 0; !of_kind && c < m->settings.channels.count; c++) {
        buffer_printf(problems, "%s %s", c > 0 ? "," : "", m->settings.channels.items[c]);
    }
    buffer_put_u8(problems, '\n');
}

static enum err fill_features(struct model *m, struct buffer *problems)
{
    const struct feature_row *rows = m->settings.features.items;
    for (size_t i = 0; i < m->settings.features.count; i++) {
        struct feature *f = &m->features[i];
        *f = (struct feature){.kind = feature_kind_of(slice_str(rows[i].kind)), .channel = UINT32_MAX, .bands = (unsigned)rows[i].bands,
                              .low_hz = (float)rows[i].low, .high_hz = (float)rows[i].high};
        for (size_t c = 0; c < m->settings.channels.count; c++) {
            f->channel = strcmp(m->settings.channels.items[c], rows[i].channel) == 0 ? (unsigned)c : f->channel;
        }
        if (f->kind == FEATURE_KINDS || f->channel == UINT32_MAX) {
            tell_feature(m, i, f->kind == FEATURE_KINDS, problems);
            return ERR_RANGE;
        }
    }
    struct features_options *o = &m->info.features;
    *o = (struct features_options){.channels = (unsigned)m->settings.channels.count,
                                   .window = (unsigned)m->settings.window,
                                   .hop = (unsigned)(m->settings.hop != 0 ? m->settings.hop : m->settings.window),
                                   .rate_hz = (float)m->settings.rate,
                                   .features = m->features,
                                   .count = (unsigned)m->settings.features.count};
    struct fault fault = {.code = OK};
    m->info.inputs = features_outputs(o, &fault);
    return m->info.inputs != 0 ? OK : told(m->path, problems, ERR_RANGE, fault.text);
}

/* ---- files beside it ---- */
static enum err read_scaling(struct model *m, struct buffer *problems)
{
    char line[LINE_MAX_BYTES], *cells[CSV_COLUMNS_MAX];
    size_t count, n = 0;
    double value[2];
    int decimals;
    if (m->settings.scaling[0] == '\0') {
        return OK;
    }
    m->offset = calloc(m->info.inputs, sizeof(*m->offset));
    m->factor = calloc(m->info.inputs, sizeof(*m->factor));
    FILE *f = m->offset != NULL && m->factor != NULL ? fopen(m->settings.scaling, "r") : NULL;
    if (f == NULL) {
        return told(m->settings.scaling, problems, ERR_IO, "cannot be read");
    }
    for (; fgets(line, sizeof(line), f) != NULL; n++) {
        line[strcspn(line, "\r\n")] = '\0';
        if (n >= m->info.inputs || csv_split(line, ',', cells, &count) != OK || count != 2 ||
            csv_number(cells[0], false, &value[0], &decimals) != CSV_NUMBER ||
            csv_number(cells[1], false, &value[1], &decimals) != CSV_NUMBER) {
            break;
        }
        m->offset[n] = (float)value[0];
        m->factor[n] = (float)value[1];
    }
    bool good = n == m->info.inputs && feof(f);
    fclose(f);
    if (!good) {
        buffer_printf(problems, "%s:%zu: offset and factor are needed, for each of the %zu inputs a line\n", m->settings.scaling,
                      n + 1, m->info.inputs);
        return ERR_MALFORMED;
    }
    m->info.features.offset = m->offset;
    m->info.features.factor = m->factor;
    return OK;
}

/* ---- identity ---- */
static void put_setting(void *arg, const char *name, const char *value)
{
    if (strcmp(name, "network") != 0 && strcmp(name, "scaling") != 0) { /* their bytes count, not where they stand */
        buffer_printf(arg, "%s=%s\n", name, value);
    }
}

static enum err put_file_hash(const char *path, struct buffer *out, struct buffer *problems)
{
    FILE *f = fopen(path, "rb");
    struct buffer bytes;
    uint8_t part[16384], digest[CRYPT_SHA256_BYTES];
    buffer_init(&bytes, MODEL_NETWORK_MAX);
    bool small = f != NULL && fseek(f, 0, SEEK_END) == 0 && ftell(f) <= MODEL_NETWORK_MAX && fseek(f, 0, SEEK_SET) == 0;
    for (size_t n; small && (n = fread(part, 1, sizeof(part), f)) > 0;) {
        buffer_put(&bytes, part, n);
    }
    bool good = small && feof(f) && buffer_err(&bytes) == OK;
    if (f != NULL) {
        fclose(f);
    }
    crypt_sha256(buffer_slice(&bytes), digest);
    buffer_put(out, digest, sizeof(digest));
    buffer_deinit(&bytes);
    return good                 ? OK
           : f != NULL && !small ? told(path, problems, ERR_RANGE, "larger than 256 MiB")
                                 : told(path, problems, ERR_IO, "cannot be read");
}

static uint64_t hash(const struct buffer *b)
{
    uint8_t digest[CRYPT_SHA256_BYTES];
    uint64_t id;
    crypt_sha256(buffer_slice(b), digest);
    memcpy(&id, digest, sizeof(id));
    id = __builtin_bswap64(id);
    return id != 0 ? id : 1;
}

static enum err identify(struct model *m, struct buffer *problems)
{
    BUFFER(text, 1 << 20);
    options_each(&program, &m->settings, put_setting, &text);
    m->info.config = hash(&text);
    TRY(put_file_hash(m->settings.network, &text, problems));
    if (m->settings.scaling[0] != '\0') {
        TRY(put_file_hash(m->settings.scaling, &text, problems));
    }
    m->info.id = hash(&text);
    return buffer_err(&text);
}

/* ---- the whole ---- */
enum err model_load(const char *path, struct model **ret_model, struct buffer *problems)
{
    CLEANUP(model_freep) struct model *m = calloc(1, sizeof(*m));
    if (m == NULL || (m->path = strdup(path)) == NULL) {
        return ERR_NOMEM;
    }
    TRY(options_load(&program, path, NULL, 0, &m->settings, problems));
    const struct settings *s = &m->settings;
    m->info = (struct model_info){.name = s->model,
                                  .path = m->path,
                                  .network = s->network,
                                  .channels = (const char *const *)s->channels.items,
                                  .output = (enum model_output)s->output,
                                  .classes = (const char *const *)s->classes.items,
                                  .class_count = s->classes.count,
                                  .temperature = s->temperature,
                                  .unsure_below = s->unsure_below,
                                  .normal_below = s->normal_below,
                                  .unsure_band = s->unsure_band};
    TRY(fill_features(m, problems));
    TRY(read_scaling(m, problems));
    TRY(identify(m, problems));
    *ret_model = take(m);
    return OK;
}

void model_free(struct model *m)
{
    if (m != NULL) {
        options_free(&program, &m->settings);
        free(m->offset);
        free(m->factor);
        free(m->path);
        free(m);
    }
}

const struct model_info *model_info(const struct model *m)
{
    return &m->info;
}
