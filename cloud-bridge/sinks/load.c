/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded modules stay: libraries behind them (libpq, libnats) leave threads and exit handlers in the process.
 */
#include "cloud-bridge/sinks/load.h"

#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_PREFIX "weir-sink-"
#define FILE_SUFFIX ".so"

static const char *const installed = WEIR_SINK_DIR;

/* <prefix>/lib/weir for the program <prefix>/bin/weir-bridge; false when /proc does not tell. */
static bool folder_beside(char *out, size_t size)
{
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (len <= 0) {
        return false;
    }
    program[len] = '\0';
    for (unsigned i = 0; i < 2; i++) {
        char *slash = strrchr(program, '/');
        if (slash == NULL) {
            return false;
        }
        *slash = '\0';
    }
    return snprintf(out, size, "%s/lib/weir", program) < (int)size;
}

/* Every loadable type in a folder: nearest is offered each, and list receives the names. */
static void offer_folder(const char *folder, struct options_nearest *nearest, struct buffer *list,
                         char (*names)[ID_MAX + 1], size_t *count, size_t max)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    for (const struct dirent *e; (e = readdir(dir)) != NULL && *count < max;) {
        size_t len = strlen(e->d_name), around = strlen(FILE_PREFIX FILE_SUFFIX);
        if (len > around && len - around <= ID_MAX && strncmp(e->d_name, FILE_PREFIX, strlen(FILE_PREFIX)) == 0 &&
            strcmp(e->d_name + len - strlen(FILE_SUFFIX), FILE_SUFFIX) == 0) {
            char *name = names[(*count)++];
            snprintf(name, ID_MAX + 1, "%.*s", (int)(len - around), e->d_name + strlen(FILE_PREFIX));
            options_nearest_offer(nearest, name);
            buffer_printf(list, ", %s", name);
        }
    }
    closedir(dir);
}

static enum err not_found(const char *type, const char *beside, struct fault *reterr)
{
    enum { NAMES_MAX = 32 };
    char names[NAMES_MAX][ID_MAX + 1];
    size_t count = 0;
    struct options_nearest nearest = {.word = type};
    BUFFER(list, 4096);
    for (size_t i = 0; sink_modules_builtin[i] != NULL; i++) {
        options_nearest_offer(&nearest, sink_modules_builtin[i]->name);
        buffer_printf(&list, "%s%s", i ? ", " : "", sink_modules_builtin[i]->name);
    }
    if (beside[0] != '\0') {
        offer_folder(beside, &nearest, &list, names, &count, NAMES_MAX);
    }
    if (strcmp(beside, installed) != 0) {
        offer_folder(installed, &nearest, &list, names, &count, NAMES_MAX);
    }
    buffer_put_u8(&list, '\0');
    return fault_set(reterr, ERR_NOT_FOUND,
                     "no sink of type %s: " FILE_PREFIX "%s" FILE_SUFFIX
                     " is neither in %s nor in %s%s%s%s; there are %.100s",
                     type, type, beside[0] ? beside : "-", installed, nearest.best ? "; did you mean " : "",
                     nearest.best ? nearest.best : "", nearest.best ? "?" : "",
                     buffer_err(&list) == OK ? (const char *)list.ptr : "many");
}

enum err sink_module_load(const char *path, const char *type, const struct sink_module **ret_module,
                          struct fault *reterr)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL) {
        return fault_set(reterr, ERR_IO, "%s cannot be loaded: %s", path, dlerror());
    }
    const struct sink_module *module = dlsym(handle, "weir_sink_module");
    if (module == NULL) {
        return fault_set(reterr, ERR_UNSUPPORTED, "%s is not a sink: it has no weir_sink_module", path);
    }
    if (module->abi != SINK_MODULE_ABI || module->layout != SINK_MODULE_LAYOUT) {
        return fault_set(reterr, ERR_UNSUPPORTED,
                         "%s is of another version: ABI %u (layout %u), this program has %u (%u)", path, module->abi,
                         module->layout, (unsigned)SINK_MODULE_ABI, (unsigned)SINK_MODULE_LAYOUT);
    }
    if (module->name == NULL || strcmp(module->name, type) != 0 || module->table == NULL || module->open == NULL) {
        return fault_set(reterr, ERR_UNSUPPORTED, "%s is not a sink of type %s but of %s", path, type,
                         module->name ? module->name : "none");
    }
    *ret_module = module;
    return OK;
}

enum err sink_module_find(const char *type, const struct sink_module **ret_module, struct fault *reterr)
{
    char beside[PATH_MAX] = "", path[PATH_MAX + 2 * ID_MAX];
    if (!id_valid(slice_str(type))) {
        return fault_set(reterr, ERR_RANGE, "a type is [A-Za-z0-9_-]{1,64}");
    }
    for (size_t i = 0; sink_modules_builtin[i] != NULL; i++) {
        if (strcmp(sink_modules_builtin[i]->name, type) == 0) {
            *ret_module = sink_modules_builtin[i];
            return OK;
        }
    }
    if (!folder_beside(beside, sizeof(beside))) {
        beside[0] = '\0';
    }
    const char *const folders[] = {beside, installed};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        snprintf(path, sizeof(path), "%s/" FILE_PREFIX "%s" FILE_SUFFIX, folders[i], type);
        if (folders[i][0] != '\0' && access(path, F_OK) == 0) {
            return sink_module_load(path, type, ret_module, reterr);
        }
    }
    return not_found(type, beside, reterr);
}

enum err sink_module_open(const struct sink_module *module, const struct sink_place *place, const void *item,
                          struct sink *ret_sink, struct fault *reterr)
{
    TRY(module->open(place, item, ret_sink, reterr));
    snprintf(ret_sink->name, sizeof(ret_sink->name), "%s", place->name);
    return OK;
}
