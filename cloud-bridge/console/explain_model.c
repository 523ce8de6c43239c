/* SPDX-License-Identifier: Apache-2.0 */
/* The model that answered: found by its id, run by the code of device and gateway. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/console/explain.h"

enum { PATH_BYTES = 4096, DEPTH_MAX = 6, FILES_MAX = 5000, DESCRIPTION_MAX = 256 * 1024, ALIGN = 16 };

struct search {
    uint64_t id;
    size_t files;
    char found[PATH_BYTES]; /* "" = not yet */
    struct buffer seen;     /* names and ids of other models */
};

static void search_deinit(struct search *s)
{
    buffer_deinit(&s->seen);
}

void answerer_deinit(struct answerer *a)
{
    network_deinit(&a->network);
    trees_free(a->trees);
    free(a->memory);
    free(a->scratch);
    *a = (struct answerer){.outputs = 0};
}

/* ---- finding ---- */
static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

/* The same name with another ending; false: it does not fit. */
static bool with_ending(const char *path, const char *ending, char ret_path[PATH_BYTES])
{
    const char *dot = strrchr(path, '.');
    size_t stem = dot != NULL ? (size_t)(dot - path) : strlen(path);
    return (size_t)snprintf(ret_path, PATH_BYTES, "%.*s%s", (int)stem, path, ending) < PATH_BYTES;
}

/* Not every .yaml is worth reading a network for. */
static bool is_description(const char *path)
{
    char line[1024];
    bool network = false, features = false;
    struct stat st;
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= DESCRIPTION_MAX ? fopen(path, "re") : NULL;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        network |= strncmp(line, "network:", 8) == 0;
        features |= strncmp(line, "features:", 9) == 0;
    }
    if (f != NULL) {
        fclose(f);
    }
    return network && features;
}

static void look_at(struct search *s, const char *path)
{
    BUFFER(problems, 64 * 1024);
    CLEANUP(model_freep) struct model *model = NULL;
    if (!is_description(path)) {
        return;
    }
    if (model_load(path, &model, &problems) != OK) {
        buffer_printf(&s->seen, "%s%s (cannot be read)", s->seen.len > 0 ? ", " : "", path);
        return;
    }
    const struct model_info *info = model_info(model);
    if (info->id == s->id) {
        snprintf(s->found, sizeof(s->found), "%s", path);
        return;
    }
    buffer_printf(&s->seen, "%s%s %016llx", s->seen.len > 0 ? ", " : "", info->name, (unsigned long long)info->id);
}

static void search_in(struct search *s, const char *dir, unsigned depth)
{
    struct dirent **names = NULL;
    int count = scandir(dir, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES];
        struct stat st;
        bool more = s->found[0] == '\0' && s->files < FILES_MAX && names[i]->d_name[0] != '.' &&
                    (size_t)snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name) < sizeof(path) &&
                    stat(path, &st) == 0;
        if (more && S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            search_in(s, path, depth + 1);
        } else if (more && (ends_with(path, ".yaml") || ends_with(path, ".yml"))) {
            s->files++;
            look_at(s, path);
        }
        free(names[i]);
    }
    free(names);
}

/* ---- opening ---- */
static enum err read_all(const char *path, size_t most, struct buffer *out, struct fault *reterr)
{
    char part[16384];
    FILE *f = fopen(path, "rbe");
    buffer_init(out, most);
    for (size_t n; f != NULL && (n = fread(part, 1, sizeof(part), f)) > 0;) {
        buffer_put(out, part, n);
    }
    bool good = f != NULL && feof(f);
    if (f != NULL) {
        fclose(f);
    }
    return good && buffer_err(out) == OK ? OK : fault_set(reterr, ERR_IO, "%s: cannot be read whole", path);
}

static enum err open_trees(const char *path, struct answerer *a, struct fault *reterr)
{
    CLEANUP(buffer_deinit) struct buffer text = {.max = TREES_FILE_MAX};
    struct fault fault = {.code = OK};
    TRY(read_all(path, TREES_FILE_MAX, &text, reterr));
    enum err err = trees_load(buffer_slice(&text), &a->trees, &fault);
    if (err != OK) {
        return fault_set(reterr, err, "%s: %s", path, fault.text);
    }
    a->outputs = trees_outputs(a->trees);
    return trees_features(a->trees) == answerer_info(a)->inputs
               ? OK
               : fault_set(reterr, ERR_RANGE, "%s: takes %zu values, its features give %zu", path,
                           trees_features(a->trees), answerer_info(a)->inputs);
}

/* Of an .onnx the gateway's own engines take the file of the same name that they can run, and so do we. */
static enum err open_beside(struct answerer *a, struct fault *reterr)
{
    char path[PATH_BYTES];
    const char *network = answerer_info(a)->network;
    if (ends_with(network, ".json")) {
        return open_trees(network, a, reterr);
    }
    if (with_ending(network, ".tflite", path) && access(path, R_OK) == 0) {
        struct network with = {.model = NULL};
        enum err err = network_open(path, &with, reterr);
        with.model = take(a->network.model);
        a->network = with;
        TRY(err);
        a->outputs = nn_output_info(with.nn, 0)->elements;
        return nn_inputs(with.nn) == 1 && nn_input_info(with.nn, 0)->elements == answerer_info(a)->inputs
                   ? OK
                   : fault_set(reterr, ERR_RANGE, "%s: does not take what the features give", path);
    }
    if (with_ending(network, ".json", path) && access(path, R_OK) == 0) {
        return open_trees(path, a, reterr);
    }
    return fault_set(reterr, ERR_UNSUPPORTED,
                     "%s: only .tflite and trees in .json can be run here, and there is none of that name beside it",
                     network);
}

static enum err make_room(struct answerer *a, struct fault *reterr)
{
    const struct model_info *info = answerer_info(a);
    size_t bytes = (features_bytes(&info->features) + ALIGN - 1) / ALIGN * ALIGN;
    size_t needed = info->output == MODEL_CLASSES          ? info->class_count
                    : info->output == MODEL_RECONSTRUCTION ? info->inputs
                                                           : 1;
    if (a->outputs < needed) {
        return fault_set(reterr, ERR_RANGE, "%s: gives %zu values, %zu are described", info->network, a->outputs,
                         needed);
    }
    a->scratch = calloc(info->inputs, sizeof(*a->scratch));
    a->memory = aligned_alloc(ALIGN, bytes);
    if (a->network.row == NULL) {
        a->network.row = calloc(info->inputs, sizeof(*a->network.row));
        a->network.output = calloc(a->outputs, sizeof(*a->network.output));
    }
    if (a->scratch == NULL || a->memory == NULL || a->network.row == NULL || a->network.output == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    return features_init(&info->features, a->memory, bytes, &a->features, reterr);
}

enum err answerer_open(const char *path, struct answerer *a, struct fault *reterr)
{
    *a = (struct answerer){.outputs = 0};
    enum err err = network_open(path, &a->network, reterr);
    if (err == ERR_UNSUPPORTED && a->network.model != NULL && a->network.file == NULL) {
        TRY(open_beside(a, reterr));
    } else {
        TRY(err);
        if (a->network.model == NULL) {
            return fault_set(reterr, ERR_RANGE, "%s: a model's description (model.yaml) is needed, not the network alone",
                             path);
        }
        a->outputs = nn_output_info(a->network.nn, 0)->elements;
    }
    return make_room(a, reterr);
}

enum err answerer_find(const char *dir, uint64_t id, struct answerer *a, struct fault *reterr)
{
    CLEANUP(search_deinit) struct search s = {.id = id, .seen = {.max = 200}};
    struct stat st;
    *a = (struct answerer){.outputs = 0};
    if (stat(dir, &st) != 0) {
        return fault_set(reterr, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "--models %s: %s", dir, strerror(errno));
    }
    if (S_ISDIR(st.st_mode)) {
        search_in(&s, dir, 0);
    } else {
        look_at(&s, dir);
    }
    if (s.found[0] == '\0') {
        return fault_set(reterr, ERR_NOT_FOUND, "%s: no description of model %016llx; there %s%.*s%s", dir,
                         (unsigned long long)id, s.seen.len > 0 ? "is " : "is none of any model", (int)s.seen.len,
                         s.seen.len > 0 ? (const char *)s.seen.ptr : "",
                         buffer_err(&s.seen) != OK ? " and others" : "");
    }
    return answerer_open(s.found, a, reterr);
}

/* ---- answering ---- */
const struct model_info *answerer_info(const struct answerer *a)
{
    return model_info(a->network.model);
}

const char *answerer_label(const struct answerer *a, unsigned class)
{
    const struct model_info *info = answerer_info(a);
    if (info->output != MODEL_CLASSES) {
        return class == 0 ? "normal" : "not-normal";
    }
    return class < info->class_count ? info->classes[class] : "";
}

struct decision answerer_decide(struct answerer *a, const float *row)
{
    const struct model_info *info = answerer_info(a);
    for (size_t i = 0; i < info->inputs; i++) {
        if (!isfinite(row[i])) {
            return (struct decision){.unsure = true}; /* no verdict, as the device says */
        }
    }
    memcpy(a->network.row, row, info->inputs * sizeof(*row));
    if (a->trees == NULL) {
        return network_answer(&a->network);
    }
    trees_run(a->trees, 1, row, a->network.output);
    return model_decide(info, row, a->network.output, a->outputs);
}

struct occlusion_answer answerer_ask(void *arg, const float *row)
{
    struct answerer *a = arg;
    struct occlusion_answer answer = {.decision = answerer_decide(a, row)};
    answer.margin = model_margin(answerer_info(a), row, a->network.output, a->outputs, a->class);
    return answer;
}
