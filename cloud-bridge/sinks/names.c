/* SPDX-License-Identifier: Apache-2.0 */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->failed = true)

#include <stdio.h>

#include "cloud-bridge/sinks/encode.h"

/* One allocation: the struct, the pointers, the texts. */
struct entry {
    struct sink_names_set set;
    struct entry *older;
};
struct device {
    char name[ID_MAX + 1];
    bool failed;
    struct entry *newest;
    UT_hash_handle hh;
};
struct sink_names {
    struct device *table;
};

enum err sink_names_new(struct sink_names **ret_names)
{
    *ret_names = calloc(1, sizeof(**ret_names));
    return *ret_names != NULL ? OK : ERR_NOMEM;
}

void sink_names_free(struct sink_names *names)
{
    if (names == NULL) {
        return;
    }
    for (struct device *d = names->table, *next; d != NULL; d = next) {
        next = d->hh.next;
        HASH_DEL(names->table, d);
        for (struct entry *e = d->newest, *older; e != NULL; e = older) {
            older = e->older;
            free(e);
        }
        free(d);
    }
    free(names);
}

static struct device *find(const struct sink_names *names, const char *device)
{
    struct device *d = NULL;
    HASH_FIND_STR(names->table, device, d);
    return d;
}

static struct entry *entry_of(const Weir__V1__Describe *describe)
{
    size_t text = 0, n = describe->n_channel;
    for (size_t i = 0; i < n; i++) {
        text += strlen(describe->channel[i]->name) + strlen(describe->channel[i]->unit) + 2;
    }
    struct entry *e = calloc(1, sizeof(*e) + 2 * n * sizeof(char *) + text);
    if (e == NULL) {
        return NULL;
    }
    e->set = (struct sink_names_set){.set = describe->set, .count = n, .name = (const char **)(e + 1)};
    e->set.unit = e->set.name + n;
    char *at = (char *)(e->set.unit + n);
    for (size_t i = 0; i < n; i++) {
        e->set.name[i] = at;
        at = stpcpy(at, describe->channel[i]->name) + 1;
        e->set.unit[i] = at;
        at = stpcpy(at, describe->channel[i]->unit) + 1;
    }
    return e;
}

enum err sink_names_add(struct sink_names *names, const char *device, const Weir__V1__Describe *describe, bool *ret_new)
{
    bool ignored;
    ret_new = ret_new != NULL ? ret_new : &ignored;
    *ret_new = false;
    struct device *d = find(names, device);
    unsigned sets = 0;
    for (struct entry **at = d != NULL ? &d->newest : NULL; at != NULL && *at != NULL; at = &(*at)->older) {
        if ((*at)->set.set == describe->set) { /* a hash of its content: the same */
            return OK;
        }
        if (++sets == SINK_NAMES_SETS) {
            free(*at);
            *at = NULL;
            break;
        }
    }
    struct entry *e = entry_of(describe);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    if (d == NULL) {
        d = calloc(1, sizeof(*d));
        if (d == NULL) {
            free(e);
            return ERR_NOMEM;
        }
        snprintf(d->name, sizeof(d->name), "%s", device);
        HASH_ADD_STR(names->table, name, d);
        if (d->failed) {
            free(d);
            free(e);
            return ERR_NOMEM;
        }
    }
    e->older = d->newest;
    d->newest = e;
    *ret_new = true;
    return OK;
}

const struct sink_names_set *sink_names_find(const struct sink_names *names, const char *device, uint32_t set)
{
    const struct device *d = find(names, device);
    const struct entry *e = d != NULL ? d->newest : NULL;
    while (e != NULL && e->set.set != set) {
        e = e->older;
    }
    return e != NULL ? &e->set : NULL;
}

enum err sink_names_foreach(const struct sink_names *names,
                            enum err (*fn)(void *arg, const char *device, const struct sink_names_set *set), void *arg)
{
    for (const struct device *d = names->table; d != NULL; d = d->hh.next) {
        const struct entry *oldest_first[SINK_NAMES_SETS];
        size_t count = 0;
        for (const struct entry *e = d->newest; e != NULL; e = e->older) {
            oldest_first[count++] = e;
        }
        while (count > 0) {
            TRY(fn(arg, d->name, &oldest_first[--count]->set));
        }
    }
    return OK;
}
