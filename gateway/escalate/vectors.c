/* SPDX-License-Identifier: Apache-2.0 */
/* Self-tests: a CSV of inputs and the outputs that the engine must give. On the worker that opens models. */
#include <stdio.h>

#include "gateway/escalate/escalate_internal.h"

enum { ROWS_MAX = 10000, NUMBER_MAX = 64 /* bytes of one in a line */ };
#define VECTORS_MAX ((size_t)16 << 20)

/* Numbers of a line, at most `max`; the count, or SIZE_MAX when it is no row of numbers. */
static size_t read_row(const char *line, float *to, size_t max)
{
    size_t n = 0;
    for (char *end; n < max; n++) {
        to[n] = strtof(line, &end);
        if (end == line) {
            return SIZE_MAX;
        }
        line = end + strspn(end, " \t\r\n");
        if (*line == '\0') {
            return n + 1;
        }
        if (*line++ != ',') {
            return SIZE_MAX;
        }
    }
    return SIZE_MAX;
}

static enum err read_vectors(FILE *f, const char *path, const struct engine_info *info, struct buffer *in,
                             struct buffer *out, size_t *ret_rows, struct fault *reterr)
{
    size_t columns = info->inputs + info->outputs, cap = (columns + 1) * NUMBER_MAX, rows = 0;
    CLEANUP(charp_freep) char *line = calloc(1, cap);
    float *row = calloc(columns + 1, sizeof(*row));
    enum err err = row != NULL && line != NULL ? OK : fault_set(reterr, ERR_NOMEM, "out of memory");
    for (size_t number = 1; err == OK && fgets(line, (int)cap, f) != NULL; number++) {
        if (strlen(line) + 1 == cap || (strchr(line, '\n') == NULL && !feof(f))) {
            err = fault_set(reterr, ERR_MALFORMED, "%s:%zu: longer than a line of %zu numbers, or no text", path, number, columns);
            break;
        }
        if (line[strspn(line, " \t\r\n")] == '\0' || line[0] == '#') {
            continue;
        }
        if (read_row(line, row, columns + 1) != columns || rows == ROWS_MAX) {
            err = fault_set(reterr, ERR_MALFORMED,
                            "%s:%zu: %zu numbers are needed: %zu inputs, %zu outputs; %d lines are the most", path,
                            number, columns, info->inputs, info->outputs, ROWS_MAX);
            break;
        }
        buffer_put(in, row, info->inputs * sizeof(*row));
        buffer_put(out, row + info->inputs, info->outputs * sizeof(*row));
        rows++;
    }
    free(row);
    err = err == OK && rows == 0 ? fault_set(reterr, ERR_MALFORMED, "%s: no vectors", path) : err;
    if (err == OK && (buffer_err(in) != OK || buffer_err(out) != OK)) {
        err = fault_set(reterr, ERR_RANGE, "%s: too large", path);
    }
    *ret_rows = rows;
    return err;
}

/* The first row stays at hand, for an engine that is suspected later. */
static enum err keep_probe(struct escalate_loaded *l, const float *in, const float *out, struct fault *reterr)
{
    const struct engine_info *info = engine_info(l->engine);
    l->probe = calloc(info->inputs + info->outputs, sizeof(*l->probe));
    if (l->probe == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    memcpy(l->probe, in, info->inputs * sizeof(*in));
    memcpy(l->probe + info->inputs, out, info->outputs * sizeof(*out));
    return OK;
}

enum err escalate_self_test(const struct escalate_model *m, struct escalate_loaded *l, struct fault *reterr)
{
    BUFFER(in, VECTORS_MAX);
    BUFFER(out, VECTORS_MAX);
    size_t rows = 0;
    l->tolerance = m->tolerance;
    if (m->self_test[0] == '\0') {
        return OK;
    }
    FILE *f = fopen(m->self_test, "re");
    if (f == NULL) {
        return fault_set(reterr, ERR_IO, "%s: cannot be read", m->self_test);
    }
    enum err err = read_vectors(f, m->self_test, engine_info(l->engine), &in, &out, &rows, reterr);
    (void)fclose(f);
    TRY(err);
    const float *inputs = (const float *)(void *)in.ptr, *outputs = (const float *)(void *)out.ptr;
    TRY(engine_self_test(l->engine, inputs, outputs, rows, m->tolerance, reterr));
    return keep_probe(l, inputs, outputs, reterr);
}
