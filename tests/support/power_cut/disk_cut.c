/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state: what is durable and a chosen part of what waits. Choices are drawn for each file, and for the names of each
 * machine, from the cut's seed, so a state is the same whenever it is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/power_cut/disk_internal.h"

enum { SECTOR = 512, PAGE = 4096, CHUNK = 65536 };

const char *cut_mode_name(enum cut_mode mode)
{
    static const char *const names[CUT_MODES] = {"none", "all", "first", "some", "torn"};
    return names[mode];
}

/* Keeps a write sector by sector. */
static void put_torn(struct content *c, const struct recorded *call, uint64_t sector, uint64_t of_ten,
                     struct chance *chance)
{
    uint64_t at = call->head->offset, end = at + call->data.len;
    if (end > c->size && chance_below(chance, 2) == 0) {
        content_resize(c, end);
    }
    for (uint64_t from = at; from < end;) {
        uint64_t to = min_u64((from / sector + 1) * sector, end);
        if (chance_below(chance, 10) < of_ten) {
            content_put(c, from, call->data.ptr + (from - at), to - from);
        }
        from = to;
    }
}

/* Keeps the beginning of a write. */
static void put_begun(struct content *c, const struct recorded *call, uint64_t sector, struct chance *chance)
{
    uint64_t at = call->head->offset, sectors = call->data.len / sector + 1;
    uint64_t to = min_u64((at / sector + chance_below(chance, sectors + 1)) * sector, at + call->data.len);
    content_put(c, at, call->data.ptr, to > at ? to - at : 0);
}

struct choice {
    struct chance chance;
    enum cut_mode mode;
    uint64_t sector, of_ten;
    size_t first; /* CUT_FIRST: so many of those that wait are kept */
};

static struct choice choose(const struct cut *cut, unsigned machine, uint64_t subject, const struct ops *ops)
{
    struct choice c = {.chance = {mix_u64(cut->seed ^ mix_u64(subject))}, .mode = cut->mode[machine % DISK_MACHINES]};
    size_t waiting = 0;
    for (size_t i = ops->first; i < ops->count; i++) {
        waiting += !ops->list[i].durable;
    }
    c.sector = chance_below(&c.chance, 2) == 0 ? SECTOR : PAGE;
    c.of_ten = 1 + chance_below(&c.chance, 9);
    c.first = chance_below(&c.chance, waiting + 1);
    return c;
}

static void keep_in_part(struct content *c, const struct recorded *call, struct choice *how, size_t number,
                         struct cut_stats *stats)
{
    bool is_write = call->head->kind == RECORDING_WRITE;
    if (how->mode == CUT_FIRST && number == how->first && is_write) {
        put_begun(c, call, how->sector, &how->chance);
        stats->torn++;
    } else if (how->mode == CUT_TORN && is_write) {
        put_torn(c, call, how->sector, how->of_ten, &how->chance);
        stats->torn++;
    } else if (how->mode == CUT_FIRST ? number < how->first : chance_below(&how->chance, 10) < how->of_ten) {
        content_apply(c, call);
        stats->kept++;
    }
}

const struct content *disk_content_at(struct disk *disk, const struct cut *cut, const struct node *node,
                                      struct cut_stats *stats)
{
    const struct ops *ops = &node->ops;
    if (ops->first == ops->count) {
        return &node->content;
    }
    struct content *c = &disk->scratch;
    struct choice how = choose(cut, node->machine, node->inode, ops);
    size_t number = 0;
    content_resize(c, 0);
    content_put(c, 0, node->content.bytes, node->content.size);
    for (size_t i = ops->first; i < ops->count; i++) {
        const struct op *op = &ops->list[i];
        if (op->durable) {
            content_apply(c, op->call);
            continue;
        }
        stats->waiting++;
        if (how.mode == CUT_ALL) {
            content_apply(c, op->call);
            stats->kept++;
        } else if (how.mode != CUT_NONE) {
            keep_in_part(c, op->call, &how, number, stats);
        }
        number++;
    }
    return c;
}

void disk_names_at(struct disk *disk, const struct cut *cut, struct links *ret_links, struct cut_stats *stats)
{
    const struct ops *ops = &disk->names;
    struct choice how[DISK_MACHINES];
    size_t number[DISK_MACHINES] = {0};
    for (unsigned m = 0; m < DISK_MACHINES; m++) {
        how[m] = choose(cut, m, m + 1, ops);
    }
    *ret_links = (struct links){.count = disk->links.count, .room = disk->links.count};
    ret_links->list = grown(NULL, disk->links.count * sizeof *ret_links->list);
    if (disk->links.count > 0) {
        memcpy(ret_links->list, disk->links.list, disk->links.count * sizeof *ret_links->list);
    }
    for (size_t i = ops->first; i < ops->count; i++) {
        unsigned m = ops->list[i].call->head->machine % DISK_MACHINES;
        struct choice *h = &how[m];
        bool keep = h->mode == CUT_ALL || (h->mode == CUT_FIRST && number[m] < h->first) ||
                    ((h->mode == CUT_SOME || h->mode == CUT_TORN) && chance_below(&h->chance, 10) < h->of_ten);
        if (!ops->list[i].durable) {
            stats->waiting++;
            stats->kept += keep;
            number[m]++;
        }
        if (ops->list[i].durable || keep) {
            links_apply(ret_links, &ops->list[i]);
        }
    }
}

static bool is_zero(const uint8_t *bytes, uint64_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static void write_file(const char *path, const struct content *c)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && ftruncate(fd, (off_t)c->size) == 0;
    for (uint64_t at = 0; good && at < c->size; at += CHUNK) {
        uint64_t len = min_u64(CHUNK, c->size - at);
        good = is_zero(c->bytes + at, len) || pwrite(fd, c->bytes + at, len, (off_t)at) == (ssize_t)len;
    }
    if (!good) {
        give_up("%s: %s", path, strerror(errno));
    }
    close(fd);
}

static void write_tree(struct disk *disk, const struct cut *cut, const struct links *links, const struct node *dir,
                       const char *path, struct cut_stats *stats)
{
    for (size_t i = 0; i < links->count; i++) {
        const struct link *l = &links->list[i];
        char below[PATH_MAX];
        if (l->dir != dir) {
            continue;
        }
        snprintf(below, sizeof below, "%s/%s", path, l->name);
        if (!l->node->is_dir) {
            write_file(below, disk_content_at(disk, cut, l->node, stats));
        } else if (mkdir(below, 0700) == 0) {
            write_tree(disk, cut, links, l->node, below, stats);
        } else {
            give_up("%s: %s", below, strerror(errno));
        }
    }
}

void disk_cut(struct disk *disk, const struct cut *cut, const char *dir, struct cut_stats *ret_stats)
{
    struct links links;
    *ret_stats = (struct cut_stats){0};
    disk_names_at(disk, cut, &links, ret_stats);
    write_tree(disk, cut, &links, disk->root, dir, ret_stats);
    free(links.list);
}
