/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CSV file as columns of numbers with a time for each row.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <strings.h>

#include "cloud-bridge/console/replay.h"
#include "core/csv/csv.h"

enum { LINE_BYTES = 64 * 1024, DECIMALS_MAX = 9 };

struct reading {
    FILE *in;
    const char *path;
    char line[LINE_BYTES + 2];
    size_t line_number; /* of `line` */
    char separator;
    size_t columns;
    const struct series_labels *labels; /* borrowed; NULL = none */
    size_t label_column;
    bool has_header, has_time; /* a first column of dates */
    double time_unit_us;       /* above 0: the first column is numbers since 1970 in this unit */
    char *header;              /* owned; the header line, cut into cells */
    char *names[CSV_COLUMNS_MAX];
    struct column {
        bool text, number;
        int decimals;
        double largest;
    } column[CSV_COLUMNS_MAX];
};

static void reading_free(struct reading *g)
{
    if (g == NULL) {
        return;
    }
    if (g->in != NULL) {
        (void)fclose(g->in);
    }
    free(g->header);
    free(g);
}
DEFINE_CLEANUP(struct reading, reading_free)

void series_deinit(struct series *s)
{
    free(s->times);
    free(s->labels);
    for (size_t i = 0; i < s->channels; i++) {
        free(s->channel[i].values);
    }
    *s = (struct series){.rows = 0};
}

/* The next line that is not blank; false at the end. */
static bool next_line(struct reading *g)
{
    while (fgets(g->line, sizeof(g->line), g->in) != NULL) {
        g->line_number++;
        if (g->line[strspn(g->line, " \t\r\n")] != '\0') {
            return true;
        }
    }
    return false;
}

static bool is_header(char *const *cells, size_t count, bool decimal_comma)
{
    bool words = false;
    for (size_t i = 0; i < count; i++) {
        double value;
        int decimals;
        enum csv_cell kind = csv_number(cells[i], decimal_comma, &value, &decimals);
        if (kind == CSV_NUMBER || csv_datetime(cells[i])) {
            return false;
        }
        words |= kind == CSV_TEXT;
    }
    return words;
}

/* Separator, header. */
static enum err read_head(struct reading *g, struct fault *reterr)
{
    char *cells[CSV_COLUMNS_MAX];
    if (!next_line(g)) {
        return fault_set(reterr, ERR_MALFORMED, "%s: the file is empty", g->path);
    }
    char *start = memcmp(g->line, "\xef\xbb\xbf", 3) == 0 ? g->line + 3 : g->line; /* byte order mark */
    g->separator = csv_separator(start);
    g->header = strdup(start);
    if (g->header == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    if (csv_split(g->header, g->separator, cells, &g->columns) != OK) {
        return fault_set(reterr, ERR_MALFORMED, "%s:1: not a line of at most %d cells", g->path, CSV_COLUMNS_MAX);
    }
    g->has_header = is_header(cells, g->columns, g->separator == ';');
    memcpy(g->names, cells, g->columns * sizeof(*cells));
    if (!g->has_header) {
        rewind(g->in);
    }
    return OK;
}

static enum err find_label(struct reading *g, struct fault *reterr)
{
    char names[200] = "";
    if (g->labels == NULL) {
        return OK;
    }
    for (size_t i = 0; g->has_header && i < g->columns; i++) {
        size_t len = strlen(names);
        if (strcmp(g->names[i], g->labels->column) == 0) {
            g->label_column = i;
            return OK;
        }
        snprintf(names + len, sizeof(names) - len, "%s%s", i > 0 ? ", " : "", g->names[i]);
    }
    return fault_set(reterr, ERR_NOT_FOUND, "%s:%zu: there is no column %s with labels; %s%s", g->path, g->line_number,
                     g->labels->column, g->has_header ? "there are " : "the file has no header", names);
}

/* What kinds of cells the columns have, over the whole file. */
static void survey(struct reading *g, struct series *s)
{
    char *cells[CSV_COLUMNS_MAX];
    bool first = true;
    while (next_line(g)) {
        size_t count;
        if (csv_split(g->line, g->separator, cells, &count) != OK || count != g->columns) {
            s->bad++;
            continue;
        }
        g->has_time |= first && csv_datetime(cells[0]);
        first = false;
        for (size_t i = 0; i < count; i++) {
            struct column *c = &g->column[i];
            double value;
            int decimals;
            if (g->labels != NULL && i == g->label_column) {
                continue;
            }
            enum csv_cell kind = csv_number(cells[i], g->separator == ';', &value, &decimals);
            c->text |= kind == CSV_TEXT && !c->number;
            s->bad += kind == CSV_TEXT && c->number;
            if (kind == CSV_NUMBER) {
                c->number = true;
                c->decimals = decimals > c->decimals ? decimals : c->decimals;
                c->largest = fmax(c->largest, fabs(value));
            }
        }
    }
}

static double resolution_of(const struct column *c)
{
    int decimals = c->decimals < DECIMALS_MAX ? c->decimals : DECIMALS_MAX;
    while (decimals > 0 && c->largest * pow(10, decimals) > 0x1p52) {
        decimals--; /* more than a double can tell apart */
    }
    return 1 / pow(10, decimals);
}

static bool name_taken(const struct series *s, const char *name)
{
    bool taken = false;
    for (size_t i = 0; i < s->channels; i++) {
        taken |= strcmp(s->channel[i].name, name) == 0;
    }
    return taken;
}

/* As device/sense makes names fit. */
static void fit_name(const struct series *s, const char *from, char to[48])
{
    char plain[48];
    size_t len = 0;
    for (; from[len] != '\0' && len < sizeof(plain) - 1; len++) {
        bool fits = isalnum((unsigned char)from[len]) || strchr("_.-", from[len]) != NULL;
        plain[len] = fits ? from[len] : '_';
    }
    plain[len] = '\0';
    strcpy(to, len > 0 ? plain : "_");
    for (unsigned n = 2; name_taken(s, to); n++) {
        snprintf(to, 48, "%.40s_%u", plain, n);
    }
}

/* Numbers since 1970 tell their unit by their size: 1e8 s is 1973, 1e11 s would be the year 5138. */
static double unit_since_1970(double largest)
{
    return largest < 1e8    ? 0 /* since the start of something */
           : largest < 1e11 ? 1e6
           : largest < 1e14 ? 1e3
           : largest < 1e17 ? 1
           : largest < 1e20 ? 1e-3
                            : 0;
}

static bool first_is_time(const struct reading *g)
{
    static const char *const times[] = {"datetime", "timestamp", "time", "date", "ts"};
    bool named = false;
    for (size_t i = 0; g->has_header && i < COUNT_OF(times); i++) {
        named |= strcasecmp(g->names[0], times[i]) == 0;
    }
    return named;
}

static enum err add_channels(struct reading *g, struct series *s, struct fault *reterr)
{
    if (first_is_time(g)) {
        bool numbers = g->column[0].number && !g->column[0].text && !g->has_time;
        g->time_unit_us = numbers ? unit_since_1970(g->column[0].largest) : 0;
        g->column[0].text = true;
    }
    s->timed = g->has_time || g->time_unit_us > 0;
    for (size_t i = 0; i < g->columns; i++) {
        char number[32];
        snprintf(number, sizeof(number), "channel_%zu", i + 1);
        bool is_label = g->labels != NULL && i == g->label_column;
        if (is_label || !g->column[i].number || g->column[i].text || (i == 0 && g->has_time)) {
            continue;
        }
        if (s->channels == BLOCK_CHANNELS_MAX) {
            return fault_set(reterr, ERR_MALFORMED, "%s: more than %d columns of numbers", g->path, BLOCK_CHANNELS_MAX);
        }
        struct series_channel *c = &s->channel[s->channels];
        fit_name(s, g->has_header ? g->names[i] : number, c->name);
        c->resolution = resolution_of(&g->column[i]);
        c->column = i;
        s->channels++;
    }
    return s->channels > 0 ? OK : fault_set(reterr, ERR_MALFORMED, "%s: no column of numbers", g->path);
}

static enum err reserve(struct series *s)
{
    if (s->rows < s->cap) {
        return OK;
    }
    size_t cap = s->cap == 0 ? 1024 : 2 * s->cap;
    int64_t *times = realloc(s->times, cap * sizeof(*times));
    if (times == NULL) {
        return ERR_NOMEM;
    }
    s->times = times;
    int *labels = realloc(s->labels, cap * sizeof(*labels));
    if (labels == NULL) {
        return ERR_NOMEM;
    }
    s->labels = labels;
    for (size_t i = 0; i < s->channels; i++) {
        double *values = realloc(s->channel[i].values, cap * sizeof(*values));
        if (values == NULL) {
            return ERR_NOMEM;
        }
        s->channel[i].values = values;
    }
    s->cap = cap;
    return OK;
}

/* Of the next row; false when its cell says none. */
static bool row_time(const struct reading *g, const struct series *s, const char *cell, int64_t period_us,
                     int64_t *ret_us)
{
    double value;
    int decimals;
    if (g->has_time) {
        return csv_time(cell, ret_us);
    }
    if (g->time_unit_us == 0) {
        *ret_us = s->rows == 0 ? 0 : s->times[s->rows - 1] + period_us;
        return true;
    }
    if (csv_number(cell, g->separator == ';', &value, &decimals) != CSV_NUMBER || value < 0) {
        return false;
    }
    *ret_us = llround(value * g->time_unit_us);
    return true;
}

/* Of the next row. */
static enum err row_label(const struct reading *g, struct series *s, const char *cell, struct fault *reterr)
{
    s->labels[s->rows] = cell[0] != '\0' ? g->labels->class_of(g->labels->arg, cell) : -1;
    if (cell[0] != '\0' && s->labels[s->rows] < 0) {
        return fault_set(reterr, ERR_RANGE, "%s:%zu: %s: there is no class \"%.60s\"; there are %.200s", g->path,
                         g->line_number, g->labels->column, cell, g->labels->known);
    }
    return OK;
}

static enum err read_rows(struct reading *g, struct series *s, int64_t period_us, struct fault *reterr)
{
    char *cells[CSV_COLUMNS_MAX];
    size_t count;
    while (next_line(g)) {
        if (csv_split(g->line, g->separator, cells, &count) != OK || count != g->columns) {
            continue;
        }
        if (reserve(s) != OK) {
            return fault_set(reterr, ERR_NOMEM, "out of memory");
        }
        if (!row_time(g, s, cells[0], period_us, &s->times[s->rows])) {
            s->bad++; /* a time made up would stand in windows that never were */
            continue;
        }
        for (size_t i = 0; i < s->channels; i++) {
            struct series_channel *c = &s->channel[i];
            double value;
            int decimals;
            bool number = csv_number(cells[c->column], g->separator == ';', &value, &decimals) == CSV_NUMBER;
            c->values[s->rows] = number ? value : NAN;
        }
        if (g->labels != NULL) {
            TRY(row_label(g, s, cells[g->label_column], reterr));
        }
        s->rows++;
    }
    return OK;
}

enum err series_read(const char *path, int64_t period_us, struct series *ret_series, struct fault *reterr)
{
    return series_read_labelled(path, period_us, NULL, ret_series, reterr);
}

enum err series_read_labelled(const char *path, int64_t period_us, const struct series_labels *labels,
                              struct series *ret_series, struct fault *reterr)
{
    *ret_series = (struct series){.rows = 0};
    CLEANUP(reading_freep) struct reading *g = calloc(1, sizeof(*g));
    if (g == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    g->path = path;
    g->labels = labels;
    g->in = fopen(path, "re");
    if (g->in == NULL) {
        return fault_set(reterr, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
    }
    TRY(read_head(g, reterr));
    TRY(find_label(g, reterr));
    survey(g, ret_series);
    TRY(add_channels(g, ret_series, reterr));
    rewind(g->in);
    g->line_number = 0;
    if (g->has_header) {
        (void)next_line(g);
    }
    return read_rows(g, ret_series, period_us, reterr);
}
