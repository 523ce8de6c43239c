/* SPDX-License-Identifier: Apache-2.0 */
/* The skip list of sorted.h. */
#include "core/store/sorted.h"

static int order(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int c = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

struct sorted_node *sorted_node_new(struct sorted *s, struct slice key, struct slice value)
{
    /* not the plain counter: keys made with the same mixer would decide their own height */
    uint64_t bits = mix_u64(mix_u64(s->random++) ^ UINT64_C(0xa5b35705c1f0e6d3));
    uint8_t levels = 1;
    while (levels < SORTED_LEVELS && (bits & 3) == 0) {
        levels++;
        bits >>= 2;
    }
    struct sorted_node *n = malloc(sizeof *n + levels * sizeof n->next[0] + key.len + value.len);
    if (n == NULL) {
        return NULL;
    }
    n->levels = levels;
    n->bytes = (uint8_t *)&n->next[levels];
    n->key_len = (uint32_t)key.len;
    n->value_len = (uint32_t)value.len;
    memcpy(n->bytes, key.ptr, key.len);
    if (value.len > 0) {
        memcpy(n->bytes + key.len, value.ptr, value.len);
    }
    return n;
}

void sorted_node_free(struct sorted_node *n)
{
    free(n);
}

void sorted_clear(struct sorted *s)
{
    for (struct sorted_node *n = s->first[0], *next; n != NULL; n = next) {
        next = n->next[0];
        sorted_node_free(n);
    }
    *s = (struct sorted){.random = s->random};
}

/* before[l]: the last node on level l whose key is < key; NULL = the list's head. */
static void find(const struct sorted *s, struct slice key, struct sorted_node *before[SORTED_LEVELS])
{
    struct sorted_node *at = NULL;
    for (int l = SORTED_LEVELS - 1; l >= 0; l--) {
        struct sorted_node *next = at != NULL ? at->next[l] : s->first[l];
        while (next != NULL && order(sorted_key(next), key) < 0) {
            at = next;
            next = at->next[l];
        }
        before[l] = at;
    }
}

static struct sorted_node **link_behind(struct sorted *s, struct sorted_node *before, int level)
{
    return before != NULL ? &before->next[level] : &s->first[level];
}

static void unlink_node(struct sorted *s, struct sorted_node *n, struct sorted_node *before[SORTED_LEVELS])
{
    for (int l = 0; l < n->levels; l++) {
        *link_behind(s, before[l], l) = n->next[l];
        if (s->last[l] == n) {
            s->last[l] = before[l];
        }
    }
    s->count--;
}

void sorted_insert(struct sorted *s, struct sorted_node *n, struct sorted_node **ret_old)
{
    struct sorted_node *before[SORTED_LEVELS];
    *ret_old = NULL;
    if (s->last[0] != NULL && order(sorted_key(s->last[0]), sorted_key(n)) < 0) {
        memcpy(before, s->last, sizeof before);
    } else {
        find(s, sorted_key(n), before);
        struct sorted_node *at = *link_behind(s, before[0], 0);
        if (at != NULL && order(sorted_key(at), sorted_key(n)) == 0) {
            unlink_node(s, at, before);
            *ret_old = at;
        }
    }
    for (int l = 0; l < n->levels; l++) {
        struct sorted_node **link = link_behind(s, before[l], l);
        n->next[l] = *link;
        *link = n;
        if (n->next[l] == NULL) {
            s->last[l] = n;
        }
    }
    s->count++;
}

struct sorted_node *sorted_remove(struct sorted *s, struct slice key)
{
    struct sorted_node *before[SORTED_LEVELS];
    find(s, key, before);
    struct sorted_node *n = *link_behind(s, before[0], 0);
    if (n == NULL || order(sorted_key(n), key) != 0) {
        return NULL;
    }
    unlink_node(s, n, before);
    return n;
}

struct sorted_node *sorted_seek(const struct sorted *s, struct slice from)
{
    if (from.len == 0) {
        return s->first[0];
    }
    struct sorted_node *before[SORTED_LEVELS];
    find(s, from, before);
    return before[0] != NULL ? before[0]->next[0] : s->first[0];
}
