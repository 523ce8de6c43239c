/* SPDX-License-Identifier: Apache-2.0 */
/* A rules file of any bytes is taken or refused with at least one sentence, and never anything else. */
#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "proto/rules/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/weir-rules-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        return 0;
    }
    bool written = write(fd, data, size) == (ssize_t)size;
    (void)close(fd);
    if (written) {
        BUFFER(problems, 256 * 1024);
        struct rules *rules = NULL;
        if (rules_load(path, &rules, &problems) == OK) {
            assert(rules_version(rules) != 0);
            for (size_t i = 0; i < rules_count(rules); i++) {
                (void)rule_matches(rules_at(rules, i), "pump-7", "pressure");
            }
            rules_free(rules);
        } else {
            assert(problems.len > 0);
        }
    }
    (void)unlink(path);
    return 0;
}
