/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every input that ever mattered to a parser is run through it in the normal suite: each file of the folder given
 * goes to the parser's LLVMFuzzerTestOneInput, whole and cut after every eighth part.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return 0;
    }
    uint8_t *data = malloc(1 << 20);
    size_t size = data ? fread(data, 1, 1 << 20, f) : 0;
    fclose(f);
    for (size_t part = 0; part <= 8; part++) {
        size_t len = size * part / 8;
        uint8_t *copy = malloc(len ? len : 1); /* of the exact size, so that a read beyond it is seen */
        if (copy != NULL) {
            memcpy(copy, data, len);
            (void)LLVMFuzzerTestOneInput(copy, len);
            free(copy);
        }
    }
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "no corpus folder %s\n", argc > 1 ? argv[1] : "given");
        return 1;
    }
    size_t count = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[4096];
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", argv[1], e->d_name);
            count += replay(path);
        }
    }
    closedir(dir);
    printf("inputs=%zu\n", count);
    return count > 0 ? 0 : 1;
}
