/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sorted - an ordered map of byte strings in memory: a skip list (Pugh 1990). Order is memcmp, a prefix first, as
 * LMDB's.
 *
 * Nodes are handed out on removal, so that an undo log keeps them and puts them back. Appending behind the last key
 * costs no search.
 */
#ifndef CORE_STORE_SORTED_H
#define CORE_STORE_SORTED_H

#include "core/base/base.h"

enum { SORTED_LEVELS = 12 }; /* a level holds a quarter of the one below: 4^12 entries before it slows down */

struct sorted_node {
    uint8_t *bytes; /* key, then value, behind the links */
    uint32_t key_len, value_len;
    uint8_t levels;
    struct sorted_node *next[];
};
struct sorted {
    struct sorted_node *first[SORTED_LEVELS], *last[SORTED_LEVELS];
    uint64_t random; /* state of the level generator: the same operations give the same list */
    size_t count;
};

static inline struct slice sorted_key(const struct sorted_node *n)
{
    return slice_of(n->bytes, n->key_len);
}
static inline struct slice sorted_value(const struct sorted_node *n)
{
    return slice_of(n->bytes + n->key_len, n->value_len);
}
static inline struct sorted_node *sorted_next(const struct sorted_node *n)
{
    return n->next[0];
}

/* A zeroed struct is an empty map. */
void sorted_clear(struct sorted *s);
/* A node of its own, to be inserted. NULL when out of memory. */
struct sorted_node *sorted_node_new(struct sorted *s, struct slice key, struct slice value);
void sorted_node_free(struct sorted_node *n);
/* Inserts n; *ret_old: the node with the same key that it has replaced (the caller's now), or NULL. */
void sorted_insert(struct sorted *s, struct sorted_node *n, struct sorted_node **ret_old);
/* Takes the node out (the caller's now); NULL when there is none. */
struct sorted_node *sorted_remove(struct sorted *s, struct slice key);
/* The first node whose key is >= from (from empty: the very first); NULL behind the end. */
struct sorted_node *sorted_seek(const struct sorted *s, struct slice from);

#endif
