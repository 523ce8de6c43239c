/* SPDX-License-Identifier: Apache-2.0 */
/* The tree before the recording is read, the one after it compared with what is really there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/power_cut/disk_internal.h"

static void read_file(const char *path, struct content *c)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        give_up("%s: %s", path, strerror(errno));
    }
    content_resize(c, (uint64_t)st.st_size);
    for (uint64_t at = 0; at < c->size;) {
        ssize_t n = pread(fd, c->bytes + at, c->size - at, (off_t)at);
        if (n <= 0) {
            give_up("%s: cannot be read", path);
        }
        at += (uint64_t)n;
    }
    close(fd);
}

static struct node *find_path(struct disk *disk, const char *path, size_t len)
{
    struct node *node = disk->root;
    for (const char *at = path; at < path + len;) {
        size_t part = 0;
        while (at + part < path + len && at[part] != '/') {
            part++;
        }
        struct link *l = links_find(&disk->links, node, slice_of(at, part));
        if (l == NULL) {
            give_up("%s: its directory is not in the list of inodes before it", path);
        }
        node = l->node;
        at += part + 1;
    }
    return node;
}

static void add_base(struct disk *disk, const char *dir, const char *path, uint64_t inode, unsigned machine)
{
    char full[PATH_MAX];
    struct stat st;
    if (strcmp(path, ".") == 0) {
        disk->root = disk_node_add(disk, inode, machine, true);
        return;
    }
    snprintf(full, sizeof full, "%s/%s", dir, path);
    if (disk->root == NULL || stat(full, &st) != 0) {
        give_up("%s: %s", full, strerror(errno));
    }
    const char *slash = strrchr(path, '/');
    struct node *parent = slash != NULL ? find_path(disk, path, (size_t)(slash - path)) : disk->root;
    struct node *node = disk_node_add(disk, inode, machine, S_ISDIR(st.st_mode));
    links_bind(&disk->links, parent, slice_str(slash != NULL ? slash + 1 : path), node);
    if (!node->is_dir) {
        read_file(full, &node->content);
    }
}

struct disk *disk_new(const char *dir, const char *inodes)
{
    struct disk *disk = grown(NULL, sizeof *disk);
    *disk = (struct disk){0};
    FILE *list = fopen(inodes, "r");
    if (list == NULL) {
        give_up("%s: %s", inodes, strerror(errno));
    }
    unsigned long long inode;
    unsigned machine;
    char path[512];
    while (fscanf(list, "%llu %u %511s", &inode, &machine, path) == 3) {
        add_base(disk, dir, path, inode, machine);
    }
    fclose(list);
    if (disk->root == NULL) {
        give_up("%s: no line for the root", inodes);
    }
    return disk;
}

void disk_free(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    HASH_CLEAR(hh, disk->by_inode);
    for (struct node *node = disk->all, *next; node != NULL; node = next) {
        next = node->next;
        free(node->content.bytes);
        free(node->ops.list);
        free(node);
    }
    free(disk->links.list);
    free(disk->names.list);
    free(disk->events);
    free(disk->scratch.bytes);
    free(disk);
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static unsigned compare_dir(struct disk *disk, const struct links *links, const struct node *dir, const char *path)
{
    static const struct cut all = {.mode = {[0 ... DISK_MACHINES - 1] = CUT_ALL}};
    struct cut_stats stats = {0};
    unsigned differing = 0;
    for (size_t i = 0; i < links->count; i++) {
        const struct link *l = &links->list[i];
        char below[PATH_MAX];
        struct stat st;
        if (l->dir != dir) {
            continue;
        }
        snprintf(below, sizeof below, "%s/%s", path, l->name);
        if (stat(below, &st) != 0 || S_ISDIR(st.st_mode) != l->node->is_dir) {
            fprintf(stderr, "%s: in the recording, not on the disk\n", below);
            differing++;
        } else if (l->node->is_dir) {
            differing += compare_dir(disk, links, l->node, below);
        } else if (!ends_with(l->name, "lock.mdb") && !ends_with(l->name, "-shm")) {
            struct content real = {0};
            const struct content *made = disk_content_at(disk, &all, l->node, &stats);
            read_file(below, &real);
            uint64_t same = 0, both = min_u64(real.size, made->size);
            while (same < both && real.bytes[same] == made->bytes[same]) {
                same++;
            }
            if (same != real.size || same != made->size) {
                fprintf(stderr, "%s: %llu bytes, recorded %llu, the same up to %llu\n", below,
                        (unsigned long long)real.size, (unsigned long long)made->size, (unsigned long long)same);
                differing++;
            }
            free(real.bytes);
        }
    }
    return differing;
}

unsigned disk_compare(struct disk *disk, const char *dir)
{
    static const struct cut all = {.mode = {[0 ... DISK_MACHINES - 1] = CUT_ALL}};
    struct cut_stats stats = {0};
    struct links links;
    disk_names_at(disk, &all, &links, &stats);
    unsigned differing = compare_dir(disk, &links, disk->root, dir);
    free(links.list);
    return differing;
}
