/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_internal - what the parts of the disk share.
 *
 *   disk.c   playing a recording        disk_cut.c   a state        disk_tree.c   the tree before it, and after it
 *
 * Nodes are files and directories, by inode; a new file with the inode of an old one is a new node. A file's content is
 * `bytes`, all durable, and the operations behind it in order of their beginning; durable ones at the head of the list
 * are folded into `bytes`. Names are the same for all directories together: `links`, and operations behind them.
 */
#ifndef TESTS_SUPPORT_POWER_CUT_DISK_INTERNAL_H
#define TESTS_SUPPORT_POWER_CUT_DISK_INTERNAL_H

#include <uthash.h>

#include "tests/support/power_cut/disk.h"

/* What an operation on names is about, found when it began: an inode may have another node later. */
struct naming {
    struct node *dir, *dir2, *node; /* NULL: not watched */
};
struct op {
    const struct recorded *call;
    struct naming naming;
    bool durable;
};
struct ops {
    struct op *list; /* owned */
    size_t first, count, room;
};
struct content {
    uint8_t *bytes; /* owned; zeros from size to room */
    uint64_t size, room;
};
struct node {
    uint64_t inode;
    unsigned machine;
    bool is_dir;
    struct content content;
    struct ops ops;
    struct node *next; /* of all */
    UT_hash_handle hh; /* by inode: the newest */
};
struct link {
    struct node *dir, *node;
    char name[64];
};
struct links {
    struct link *list; /* owned */
    size_t count, room;
};
struct event {
    uint64_t stamp;
    const struct recorded *call;
};
struct disk {
    struct node *root, *all, *by_inode;
    struct links links;
    struct ops names;
    struct event *events; /* owned: begins and ends */
    size_t event_count, at;
    struct content scratch;
};

/* ---- disk.c ---- */
void content_resize(struct content *c, uint64_t size);
void content_put(struct content *c, uint64_t at, const uint8_t *bytes, uint64_t len);
void content_apply(struct content *c, const struct recorded *call);
struct node *disk_node_add(struct disk *disk, uint64_t inode, unsigned machine, bool is_dir);
struct link *links_find(struct links *links, const struct node *dir, struct slice name);
void links_bind(struct links *links, struct node *dir, struct slice name, struct node *node);
void links_apply(struct links *links, const struct op *op);

/* ---- disk_cut.c ---- */
/* The file's content at the cut: disk->scratch, or the node's own where nothing waits. */
const struct content *disk_content_at(struct disk *disk, const struct cut *cut, const struct node *node,
                                      struct cut_stats *stats);
/* Names at the cut; machines choose each for themselves. ret_links->list is the caller's to free. */
void disk_names_at(struct disk *disk, const struct cut *cut, struct links *ret_links, struct cut_stats *stats);

#endif
