/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path - the way up from a receiver of records: itself, its parent, its parent's parent, each as "site/id".
 *
 *   bridge       cloud/bridge1
 *   site         plant/site1, cloud/bridge1                  = itself and what its parent says (Ack.path)
 *   line         plant/line1, plant/site1, cloud/bridge1
 *
 * Who finds itself in its parent's path would get its own records back for ever. Its own path then ends where it
 * stands in it a second time, so that each member of a loop sees the whole of it and nobody's path grows. Values;
 * pure.
 */
#ifndef PROTO_PATH_PATH_H
#define PROTO_PATH_PATH_H

#include "core/base/base.h"

enum {
    PATH_IDS_MAX = 16,
    PATH_ID_MAX = 2 * ID_MAX + 1,
    PATH_TEXT_MAX = PATH_IDS_MAX * (PATH_ID_MAX + 4) + 1, /* with the NUL */
};

struct path {
    unsigned count;
    char ids[PATH_IDS_MAX][PATH_ID_MAX + 1];
};

/* "site/id", both identities. */
bool path_id_valid(struct slice text);
/* Of one that has no parent, or does not know its path: itself alone. */
void path_begin(struct path *path, const char *site, const char *id);
/* Appends one. ERR_MALFORMED, ERR_FULL. */
enum err path_add(struct path *path, struct slice id) MUST_CHECK;
/* Appends the parent's path, up to PATH_IDS_MAX, and not beyond path's own first id. */
void path_append(struct path *path, const struct path *parent);
bool path_has(const struct path *path, const char *site, const char *id);
bool path_equal(const struct path *a, const struct path *b);
/* Never 0. */
uint32_t path_hash(const struct path *path);
/* "g1 -> g2 -> g3"; with their sites where these are not all the same. */
void path_text(const struct path *path, char ret_text[PATH_TEXT_MAX]);

#endif
