/* SPDX-License-Identifier: Apache-2.0 */
#include "core/csv/csv.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

enum { FILES_MAX = 10000, DEPTH_MAX = 8 };

static int path_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err file_add(struct csv_files *f, const char *path)
{
    if (f->count == FILES_MAX) {
        return ERR_FULL;
    }
    char **paths = realloc(f->paths, (f->count + 1) * sizeof *paths);
    if (paths == NULL) {
        return ERR_NOMEM;
    }
    f->paths = paths;
    f->paths[f->count] = strdup(path);
    if (f->paths[f->count] == NULL) {
        return ERR_NOMEM;
    }
    f->count++;
    return OK;
}

static void dirp_closep(DIR **dir)
{
    if (*dir != NULL) {
        closedir(*dir);
    }
}

static enum err folder_add(struct csv_files *f, const char *folder, unsigned depth)
{
    CLEANUP(dirp_closep) DIR *dir = opendir(folder);
    if (dir == NULL || depth > DEPTH_MAX) {
        return OK; /* an unreadable folder below is as good as empty; none at all is told by the caller */
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[PATH_MAX];
        struct stat st;
        int len = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] == '.' || len < 0 || (size_t)len >= sizeof path || stat(path, &st) != 0) {
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            TRY(folder_add(f, path, depth + 1));
        } else if (len > 4 && strcasecmp(path + len - 4, ".csv") == 0) {
            TRY(file_add(f, path));
        }
    }
    return OK;
}

enum err csv_files_find(const char *path, struct csv_files *f, struct fault *reterr)
{
    struct stat st;
    if (path == NULL || path[0] == '\0') {
        return fault_set(reterr, ERR_NOT_FOUND, "no path to CSV files is given");
    }
    if (stat(path, &st) != 0) {
        return fault_set(reterr, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
    }
    enum err err = S_ISDIR(st.st_mode) ? folder_add(f, path, 0) : file_add(f, path);
    if (err != OK) {
        return fault_set(reterr, err, "%s: %s", path,
                         err == ERR_FULL ? "more than 10000 files" : "out of memory");
    }
    if (f->count == 0) {
        return fault_set(reterr, ERR_NOT_FOUND, "%s: no file *.csv in this folder or below", path);
    }
    qsort(f->paths, f->count, sizeof *f->paths, path_order);
    return OK;
}

void csv_files_deinit(struct csv_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->paths[i]);
    }
    free(f->paths);
    *f = (struct csv_files){0};
}
