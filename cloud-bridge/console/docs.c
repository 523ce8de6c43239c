/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs - the daemons' answers as JSON documents, each with the socket it came from or the reason why there is none.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/control/control.h"

enum { SOCKETS_MAX = 20000, ANSWER_MAX = 32 << 20 };
static const int64_t TIMEOUT_US = 3 * SECOND_US;

void docs_deinit(struct docs *docs)
{
    for (size_t i = 0; i < docs->count; i++) {
        free(docs->items[i].socket);
        cJSON_Delete(docs->items[i].json);
    }
    free(docs->items);
    *docs = (struct docs){.count = 0};
}

enum err docs_add(struct docs *docs, const char *socket, struct doc **ret_doc)
{
    struct doc *items = realloc(docs->items, (docs->count + 1) * sizeof(*items));
    if (items == NULL) {
        return ERR_NOMEM;
    }
    docs->items = items;
    char *copy = strdup(socket);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    items[docs->count] = (struct doc){.socket = copy};
    *ret_doc = &items[docs->count++];
    return OK;
}

static bool is_socket_name(const char *name)
{
    size_t len = strlen(name);
    return len > 5 && name[0] != '.' && strcmp(name + len - 5, ".sock") == 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct doc *)a)->socket, ((const struct doc *)b)->socket);
}

static void dir_close(DIR **dir)
{
    if (*dir != NULL) {
        closedir(*dir);
    }
}

enum err docs_find(const char *run, struct docs *ret_docs, struct fault *reterr)
{
    CLEANUP(docs_deinit) struct docs docs = {.count = 0};
    CLEANUP(dir_close) DIR *dir = opendir(run);
    if (dir == NULL) {
        enum err err = errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
        return fault_set(reterr, err, "cannot read the folder %s: %s", run, strerror(errno));
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[4096];
        struct doc *doc;
        if (is_socket_name(entry->d_name) && docs.count < SOCKETS_MAX) {
            snprintf(path, sizeof(path), "%s/%s", run, entry->d_name);
            TRY(docs_add(&docs, path, &doc));
        }
    }
    if (docs.count > 0) {
        qsort(docs.items, docs.count, sizeof(docs.items[0]), by_path);
    }
    *ret_docs = docs;
    docs = (struct docs){.count = 0};
    return OK;
}

void doc_ask(struct doc *doc, const char *target)
{
    BUFFER(body, ANSWER_MAX);
    int status = 0;
    cJSON_Delete(doc->json);
    doc->json = NULL;
    doc->fault = (struct fault){.code = OK};
    if (control_call(doc->socket, target, TIMEOUT_US, &status, &body, &doc->fault) != OK) {
        return;
    }
    cJSON *json = cJSON_ParseWithLength((const char *)body.ptr, body.len);
    if (status == 200 && cJSON_IsObject(json)) {
        doc->json = json;
        return;
    }
    const char *said = doc_text(json, "error");
    enum err class = status == 404   ? ERR_NOT_FOUND
                     : status == 403 ? ERR_DENIED
                     : status == 400 ? ERR_RANGE
                     : status == 200 ? ERR_MALFORMED
                                     : ERR_IO;
    if (class == ERR_DENIED || class == ERR_RANGE) {
        fault_set(&doc->fault, class, "refused: %.300s", said);
    } else {
        fault_set(&doc->fault, class, "%s answers %d%s%.200s", doc->socket, status,
                  status == 200 ? " but no JSON object" : ": ", said);
    }
    cJSON_Delete(json);
}

void docs_ask(struct docs *docs, const char *target)
{
    for (size_t i = 0; i < docs->count; i++) {
        doc_ask(&docs->items[i], target);
    }
}

enum err target_for(const char *path, const char *device, char **ret_target)
{
    BUFFER(out, 4096);
    buffer_put_str(&out, path);
    for (const char *c = device; device != NULL && *c != '\0'; c++) {
        bool plain = id_valid(slice_of(c, 1));
        buffer_printf(&out, plain ? "%c" : "%%%02x", (unsigned char)*c);
    }
    buffer_put_u8(&out, 0);
    TRY(buffer_err(&out));
    *ret_target = strdup((const char *)out.ptr);
    return *ret_target ? OK : ERR_NOMEM;
}

const char *doc_text(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) && item->valuestring ? item->valuestring : "";
}

bool doc_u64(const cJSON *object, const char *name, uint64_t *ret_value)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(value >= 0 && value <= 9007199254740992.0) || value != floor(value)) {
        return false;
    }
    *ret_value = (uint64_t)value;
    return true;
}

uint64_t doc_u64_or_0(const cJSON *object, const char *name)
{
    uint64_t value = 0;
    return doc_u64(object, name, &value) ? value : 0;
}

int64_t doc_i64_or_0(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
    return value >= -9007199254740992.0 && value <= 9007199254740992.0 ? (int64_t)value : 0;
}

bool doc_is(const cJSON *object, const char *program)
{
    return object != NULL && strcmp(doc_text(object, "program"), program) == 0;
}
