/* SPDX-License-Identifier: Apache-2.0 */
/* Maps the logs and cuts them into entries. */
#include "tests/support/power_cut/recorded.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void give_up(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("weir-power-cut: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void *grown(void *block, size_t bytes)
{
    void *larger = realloc(block, bytes > 0 ? bytes : 1);
    if (larger == NULL) {
        give_up("out of memory");
    }
    return larger;
}

static struct slice map_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        give_up("%s: %s", path, strerror(errno));
    }
    if (st.st_size == 0) {
        close(fd);
        return slice_of(NULL, 0);
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        give_up("%s: %s", path, strerror(errno));
    }
    return slice_of(map, (size_t)st.st_size);
}

static struct slice cut(const char *path, struct slice *rest, size_t len)
{
    if (len > rest->len) {
        give_up("%s: cut short", path);
    }
    struct slice part = slice_of(rest->ptr, len);
    *rest = slice_of(rest->ptr + len, rest->len - len);
    return part;
}

static void load_file(struct recording *r, const char *path)
{
    struct slice rest = map_file(path);
    size_t room = r->count;
    while (rest.len > 0) {
        struct recording_entry *head = grown(NULL, sizeof *head); /* entries are not aligned in the file */
        memcpy(head, cut(path, &rest, sizeof *head).ptr, sizeof *head);
        if (head->magic != RECORDING_MAGIC) {
            give_up("%s: an entry does not begin where it should", path);
        }
        if (r->count == room) {
            room = room * 2 + 1024;
            r->entries = grown(r->entries, room * sizeof *r->entries);
        }
        struct recorded *e = &r->entries[r->count++];
        e->head = head;
        e->name = cut(path, &rest, head->name_len);
        e->name2 = cut(path, &rest, head->name2_len);
        e->data = cut(path, &rest, head->data_len);
        r->last = max_u64(r->last, head->end);
    }
}

static int by_begin(const void *a, const void *b)
{
    const struct recorded *x = a, *y = b;
    return x->head->begin < y->head->begin ? -1 : x->head->begin > y->head->begin;
}

void recording_load(struct recording *r, const char *dir)
{
    *r = (struct recording){0};
    DIR *list = opendir(dir);
    if (list == NULL) {
        give_up("%s: %s", dir, strerror(errno));
    }
    for (struct dirent *e; (e = readdir(list)) != NULL;) {
        size_t len = strlen(e->d_name);
        char path[PATH_MAX];
        if (len > 4 && strcmp(e->d_name + len - 4, ".log") == 0) {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            load_file(r, path);
        }
    }
    closedir(list);
    if (r->count == 0) {
        give_up("%s: nothing is recorded there", dir);
    }
    qsort(r->entries, r->count, sizeof *r->entries, by_begin);
}

void recording_free(struct recording *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free((void *)(uintptr_t)r->entries[i].head);
    }
    free(r->entries);
    *r = (struct recording){0};
}
