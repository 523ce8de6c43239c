/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csv_files - which files a replay consists of.
 */
#ifndef DEVICE_SENSE_CSV_FILES_H
#define DEVICE_SENSE_CSV_FILES_H

#include "core/base/base.h"

struct csv_files {
    char **paths; /* owned, sorted */
    size_t count;
};

/* path: a file, or a folder, of which every *.csv at most 8 levels down is taken, in the order of the paths' bytes;
 * names that begin with a dot are passed over. *f is zeroed by the caller and deinited also on failure.
 * ERR_NOT_FOUND: nothing there; ERR_FULL: more than 10,000. */
enum err csv_files_find(const char *path, struct csv_files *f, struct fault *reterr) MUST_CHECK;
void csv_files_deinit(struct csv_files *f);

#endif
