/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a recording: what waits, what has become durable. disk_internal.h has the form. */
#include "tests/support/power_cut/disk_internal.h"

/* ---- contents ---- */
static void reserve(struct content *c, uint64_t size)
{
    if (size > c->room) {
        uint64_t room = max_u64(size, c->room * 2);
        c->bytes = grown(c->bytes, room);
        memset(c->bytes + c->room, 0, room - c->room);
        c->room = room;
    }
}

void content_resize(struct content *c, uint64_t size)
{
    reserve(c, size);
    if (size < c->size) {
        memset(c->bytes + size, 0, c->size - size);
    }
    c->size = size;
}

void content_put(struct content *c, uint64_t at, const uint8_t *bytes, uint64_t len)
{
    if (at + len > c->size) {
        content_resize(c, at + len);
    }
    if (len > 0) {
        memcpy(c->bytes + at, bytes, len);
    }
}

void content_apply(struct content *c, const struct recorded *call)
{
    switch ((enum recording_kind)call->head->kind) {
    case RECORDING_WRITE:
        content_put(c, call->head->offset, call->data.ptr, call->data.len);
        break;
    case RECORDING_TRUNCATE:
        content_resize(c, call->head->offset);
        break;
    case RECORDING_ALLOCATE:
        content_resize(c, max_u64(c->size, call->head->offset));
        break;
    case RECORDING_CREATE:
    case RECORDING_MKDIR:
    case RECORDING_SYNC:
    case RECORDING_RENAME:
    case RECORDING_UNLINK:
    case RECORDING_SEND:
        break;
    }
}

static struct op *ops_add(struct ops *ops, const struct recorded *call)
{
    if (ops->count == ops->room) {
        ops->room = ops->room * 2 + 16;
        ops->list = grown(ops->list, ops->room * sizeof *ops->list);
    }
    ops->list[ops->count] = (struct op){.call = call};
    return &ops->list[ops->count++];
}

static void fold_content(struct node *node)
{
    struct ops *ops = &node->ops;
    for (; ops->first < ops->count && ops->list[ops->first].durable; ops->first++) {
        content_apply(&node->content, ops->list[ops->first].call);
    }
    if (ops->first == ops->count) {
        ops->first = ops->count = 0;
    }
}

/* ---- nodes and names ---- */
struct node *disk_node_add(struct disk *disk, uint64_t inode, unsigned machine, bool is_dir)
{
    struct node *node = grown(NULL, sizeof *node), *old = NULL;
    *node = (struct node){.inode = inode, .machine = machine % DISK_MACHINES, .is_dir = is_dir, .next = disk->all};
    disk->all = node;
    HASH_REPLACE(hh, disk->by_inode, inode, sizeof inode, node, old);
    return node;
}

static struct node *node_find(const struct disk *disk, uint64_t inode)
{
    struct node *node = NULL;
    HASH_FIND(hh, disk->by_inode, &inode, sizeof inode, node);
    return node;
}

struct link *links_find(struct links *links, const struct node *dir, struct slice name)
{
    for (size_t i = 0; i < links->count; i++) {
        struct link *l = &links->list[i];
        if (l->dir == dir && strlen(l->name) == name.len && memcmp(l->name, name.ptr, name.len) == 0) {
            return l;
        }
    }
    return NULL;
}

void links_bind(struct links *links, struct node *dir, struct slice name, struct node *node)
{
    struct link *l = links_find(links, dir, name);
    if (l == NULL) {
        if (links->count == links->room) {
            links->room = links->room * 2 + 32;
            links->list = grown(links->list, links->room * sizeof *links->list);
        }
        l = &links->list[links->count++];
        if (name.len >= sizeof l->name) {
            give_up("a name of %zu bytes", name.len);
        }
        l->dir = dir;
        memcpy(l->name, name.ptr, name.len);
        l->name[name.len] = '\0';
    }
    l->node = node;
}

static void unbind(struct links *links, const struct node *dir, struct slice name)
{
    struct link *l = links_find(links, dir, name);
    if (l != NULL) {
        *l = links->list[--links->count];
    }
}

static void rename_in(struct links *links, const struct naming *n, const struct recorded *call)
{
    struct link *from = links_find(links, n->dir, call->name);
    if (from != NULL && from->node == n->node) {
        unbind(links, n->dir, call->name);
    }
    links_bind(links, n->dir2, call->name2, n->node);
}

void links_apply(struct links *links, const struct op *op)
{
    const struct recorded *call = op->call;
    const struct naming *n = &op->naming;
    if (n->dir == NULL) {
        return;
    }
    switch ((enum recording_kind)call->head->kind) {
    case RECORDING_CREATE:
    case RECORDING_MKDIR:
        links_bind(links, n->dir, call->name, n->node);
        break;
    case RECORDING_UNLINK:
        unbind(links, n->dir, call->name);
        break;
    case RECORDING_RENAME:
        if (n->dir2 != NULL && n->node != NULL) {
            rename_in(links, n, call);
        }
        break;
    case RECORDING_WRITE:
    case RECORDING_TRUNCATE:
    case RECORDING_ALLOCATE:
    case RECORDING_SYNC:
    case RECORDING_SEND:
        break;
    }
}

static void fold_names(struct disk *disk)
{
    struct ops *ops = &disk->names;
    for (; ops->first < ops->count && ops->list[ops->first].durable; ops->first++) {
        links_apply(&disk->links, &ops->list[ops->first]);
    }
    if (ops->first == ops->count) {
        ops->first = ops->count = 0;
    }
}

/* ---- playing ---- */
static void add_naming(struct disk *disk, const struct recorded *call)
{
    struct op *op = ops_add(&disk->names, call);
    op->naming = (struct naming){node_find(disk, call->head->parent), node_find(disk, call->head->parent2),
                                 node_find(disk, call->head->inode)};
}

static void on_begin(struct disk *disk, const struct recorded *call)
{
    struct node *node;
    switch ((enum recording_kind)call->head->kind) {
    case RECORDING_CREATE:
    case RECORDING_MKDIR:
        (void)disk_node_add(disk, call->head->inode, call->head->machine, call->head->kind == RECORDING_MKDIR);
        add_naming(disk, call);
        break;
    case RECORDING_RENAME:
    case RECORDING_UNLINK:
        add_naming(disk, call);
        break;
    case RECORDING_WRITE:
    case RECORDING_TRUNCATE:
    case RECORDING_ALLOCATE:
        node = node_find(disk, call->head->inode);
        if (node != NULL) {
            (void)ops_add(&node->ops, call);
        }
        break;
    case RECORDING_SYNC:
    case RECORDING_SEND:
        break;
    }
}

static void sync_file(struct node *node, const struct recorded *call)
{
    for (size_t i = node->ops.first; i < node->ops.count; i++) {
        struct op *op = &node->ops.list[i];
        op->durable = op->durable || op->call->head->end < call->head->begin;
    }
    fold_content(node);
}

static void sync_dir(struct disk *disk, const struct node *dir, const struct recorded *call)
{
    for (size_t i = disk->names.first; i < disk->names.count; i++) {
        struct op *op = &disk->names.list[i];
        const struct recording_entry *head = op->call->head;
        uint64_t where = head->kind == RECORDING_RENAME ? head->parent2 : head->parent;
        if (where == dir->inode && head->machine == call->head->machine && head->end < call->head->begin) {
            op->durable = true;
        }
    }
    fold_names(disk);
}

static void on_end(struct disk *disk, const struct recorded *call)
{
    struct node *node = node_find(disk, call->head->inode);
    if (node == NULL) {
        return;
    }
    if (call->head->kind == RECORDING_SYNC && node->is_dir) {
        sync_dir(disk, node, call);
    } else if (call->head->kind == RECORDING_SYNC) {
        sync_file(node, call);
    } else if (call->head->kind == RECORDING_WRITE && (call->head->flags & RECORDING_DURABLE) != 0) {
        for (size_t i = node->ops.first; i < node->ops.count; i++) {
            node->ops.list[i].durable = node->ops.list[i].durable || node->ops.list[i].call == call;
        }
        fold_content(node);
    }
}

static int by_stamp(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    return x->stamp < y->stamp ? -1 : x->stamp > y->stamp;
}

void disk_play(struct disk *disk, const struct recording *recording)
{
    disk->events = grown(NULL, 2 * recording->count * sizeof *disk->events);
    for (size_t i = 0; i < recording->count; i++) {
        const struct recorded *call = &recording->entries[i];
        if (call->head->kind != RECORDING_SEND) {
            disk->events[disk->event_count++] = (struct event){call->head->begin, call};
            disk->events[disk->event_count++] = (struct event){call->head->end, call};
        }
    }
    qsort(disk->events, disk->event_count, sizeof *disk->events, by_stamp);
}

void disk_advance(struct disk *disk, uint64_t stamp)
{
    for (; disk->at < disk->event_count && disk->events[disk->at].stamp < stamp; disk->at++) {
        const struct event *e = &disk->events[disk->at];
        if (e->stamp == e->call->head->begin) {
            on_begin(disk, e->call);
        } else {
            on_end(disk, e->call);
        }
    }
}
