/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/path/path.h"

#include <stdio.h>

#include "core/crypt/crypt.h"

bool path_id_valid(struct slice text)
{
    const uint8_t *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    if (slash == NULL) {
        return false;
    }
    size_t site = (size_t)(slash - text.ptr);
    return id_valid(slice_of(text.ptr, site)) && id_valid(slice_of(slash + 1, text.len - site - 1));
}

void path_begin(struct path *path, const char *site, const char *id)
{
    path->count = 1;
    snprintf(path->ids[0], sizeof(path->ids[0]), "%s/%s", site, id);
}

enum err path_add(struct path *path, struct slice id)
{
    if (!path_id_valid(id)) {
        return ERR_MALFORMED;
    }
    if (path->count == PATH_IDS_MAX) {
        return ERR_FULL;
    }
    char *at = path->ids[path->count++];
    memcpy(at, id.ptr, id.len);
    at[id.len] = '\0';
    return OK;
}

void path_append(struct path *path, const struct path *parent)
{
    bool own = false;
    for (unsigned i = 0; i < parent->count && path->count < PATH_IDS_MAX && !own; i++) {
        memcpy(path->ids[path->count++], parent->ids[i], sizeof(parent->ids[i]));
        own = strcmp(parent->ids[i], path->ids[0]) == 0;
    }
}

bool path_has(const struct path *path, const char *site, const char *id)
{
    struct path own;
    path_begin(&own, site, id);
    for (unsigned i = 0; i < path->count; i++) {
        if (strcmp(path->ids[i], own.ids[0]) == 0) {
            return true;
        }
    }
    return false;
}

bool path_equal(const struct path *a, const struct path *b)
{
    for (unsigned i = 0; i < a->count && i < b->count; i++) {
        if (strcmp(a->ids[i], b->ids[i]) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

uint32_t path_hash(const struct path *path)
{
    uint32_t hash = 0;
    for (unsigned i = 0; i < path->count; i++) {
        hash = crypt_crc32c(hash, path->ids[i], strlen(path->ids[i]) + 1);
    }
    return hash != 0 ? hash : 1;
}

static size_t site_len(const char *id)
{
    return (size_t)(strchr(id, '/') - id);
}

void path_text(const struct path *path, char ret_text[PATH_TEXT_MAX])
{
    bool one_site = true;
    for (unsigned i = 1; i < path->count; i++) {
        size_t len = site_len(path->ids[0]) + 1; /* with the slash */
        one_site = one_site && strncmp(path->ids[0], path->ids[i], len) == 0;
    }
    size_t at = 0;
    ret_text[0] = '\0';
    for (unsigned i = 0; i < path->count; i++) {
        const char *id = one_site ? path->ids[i] + site_len(path->ids[i]) + 1 : path->ids[i];
        at += (size_t)snprintf(ret_text + at, PATH_TEXT_MAX - at, "%s%s", i > 0 ? " -> " : "", id);
    }
}
