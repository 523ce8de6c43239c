/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csv - replays recorded series: one row per sample, endlessly.
 *
 *   files (sorted) -> the seed picks the first -> header, separator, kinds of columns, resolutions (open)
 *                  -> row -> values (read) ... end of file -> next file -> ... -> first file again
 *
 * The first file decides the channels; later files are matched by header name (by position without headers), and a
 * channel that a file does not have is missing there. A first column of dates is skipped; columns of text are left out.
 * A row that does not parse is an error at open if it is among the first CHECKED_ROWS, and missing values later.
 * Memory: one line of at most LINE_BYTES; files are streamed.
 */
#include "device/sense/sense_internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "core/csv/csv.h"
#include "proto/block/block.h"

enum {
    LINE_BYTES = 64 * 1024,
    CHECKED_ROWS = 50,
    SURVEYED_ROWS = 1000, /* for ranges and decimal places */
    DECIMALS_MAX = 9,
    BITS_MAX = 32,
};

struct csv {
    struct csv_files files;
    size_t file; /* the one that is open */
    FILE *in;
    uint64_t line_number;
    char separator;
    bool has_header;
    bool line_held; /* the line in hand is a row that was read to look at it */
    size_t columns; /* of the open file */
    int column[SENSE_CHANNELS_MAX];       /* of each channel in the open file, -1 = not there */
    char *header_name[SENSE_CHANNELS_MAX]; /* owned; NULL without headers */
    int position[SENSE_CHANNELS_MAX];     /* of each channel in the first file */
    char line[LINE_BYTES + 1];
};

/* What the first rows say about each column. */
struct survey {
    struct survey_column {
        enum { KIND_UNKNOWN, KIND_NUMBER, KIND_TEXT, KIND_TIME } kind;
        double low, high;
        int decimals;
    } columns[CSV_COLUMNS_MAX];
    uint64_t rows;
};

/* ---- lines ---- */

/* Next line that is not blank into c->line. ERR_NOT_FOUND at the end, ERR_RANGE when it is too long (it is skipped). */
static enum err line_read(struct csv *c)
{
    for (;;) {
        size_t len = 0;
        bool blank = true, long_line = false;
        int ch;
        while ((ch = getc_unlocked(c->in)) != EOF && ch != '\n') {
            blank = blank && isspace(ch);
            long_line = long_line || len == LINE_BYTES;
            if (!long_line) {
                c->line[len++] = ch == '\0' ? '?' : (char)ch;
            }
        }
        if (ch == EOF && len == 0) {
            return ERR_NOT_FOUND;
        }
        c->line_number++;
        c->line[len] = '\0';
        if (long_line) {
            return ERR_RANGE;
        }
        if (!blank) {
            return OK;
        }
    }
}

/* Next row's cells. As line_read, and ERR_MALFORMED: not as many cells as columns. */
static enum err row_read(struct csv *c, char *cells[CSV_COLUMNS_MAX])
{
    if (!c->line_held) {
        TRY(line_read(c));
    }
    c->line_held = false;
    size_t count;
    TRY(csv_split(c->line, c->separator, cells, &count));
    return count == c->columns ? OK : ERR_MALFORMED;
}

/* ---- opening a file ---- */

static void file_close(struct csv *c)
{
    if (c->in != NULL) {
        (void)fclose(c->in);
        c->in = NULL;
    }
}

static bool is_header(struct csv *c, char *const *cells, size_t count)
{
    bool words = false;
    for (size_t i = 0; i < count; i++) {
        double value;
        int decimals;
        enum csv_cell kind = csv_number(cells[i], c->separator == ';', &value, &decimals);
        if (kind == CSV_NUMBER || csv_datetime(cells[i])) {
            return false;
        }
        words = words || kind == CSV_TEXT;
    }
    return words;
}

/* Opens files[file] and reads its first line; *ret_cells point into c->line when it is a header. */
static enum err file_open(struct csv *c, char *ret_cells[CSV_COLUMNS_MAX], struct fault *reterr)
{
    const char *path = c->files.paths[c->file];
    file_close(c);
    c->in = fopen(path, "re");
    if (c->in == NULL) {
        return fault_set(reterr, ERR_NOT_FOUND, "driver csv: %s: %s", path, strerror(errno));
    }
    c->line_number = 0;
    c->line_held = false;
    enum err err = line_read(c);
    if (err != OK) {
        return fault_set(reterr, ERR_MALFORMED, "driver csv: %s:%llu: %s", path, (unsigned long long)c->line_number,
                         err == ERR_RANGE ? "line longer than 65536 bytes" : "the file is empty");
    }
    if (memcmp(c->line, "\xef\xbb\xbf", 3) == 0) { /* byte order mark */
        memmove(c->line, c->line + 3, strlen(c->line + 3) + 1);
    }
    c->separator = csv_separator(c->line);
    char *copy = strdup(c->line);
    if (copy == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    err = csv_split(c->line, c->separator, ret_cells, &c->columns);
    if (err != OK) {
        free(copy);
        return fault_set(reterr, ERR_MALFORMED, "driver csv: %s:1: %s", path,
                         err == ERR_FULL ? "more than 256 columns" : "a quote is not closed");
    }
    c->has_header = is_header(c, ret_cells, c->columns);
    if (!c->has_header) {
        strcpy(c->line, copy); /* the split has cut it up; it is the first row */
        c->line_held = true;
    }
    free(copy);
    return OK;
}

/* Finds the channels in a file that was opened. False when it has none of them. */
static bool file_match(struct csv *c, size_t channels, char *const *cells)
{
    bool any = false;
    for (size_t i = 0; i < channels; i++) {
        c->column[i] = -1;
        if (c->header_name[i] == NULL || !c->has_header) {
            c->column[i] = (size_t)c->position[i] < c->columns ? c->position[i] : -1;
        }
        for (size_t k = 0; c->column[i] < 0 && c->has_header && c->header_name[i] != NULL && k < c->columns; k++) {
            c->column[i] = strcmp(cells[k], c->header_name[i]) == 0 ? (int)k : -1;
        }
        any = any || c->column[i] >= 0;
    }
    return any;
}

/* ---- describing the channels ---- */

static enum err cell_survey(struct csv *c, struct survey_column *column, const char *cell)
{
    double value;
    int decimals;
    if (column->kind == KIND_TIME || column->kind == KIND_TEXT) {
        return OK;
    }
    enum csv_cell kind = csv_number(cell, c->separator == ';', &value, &decimals);
    if (kind == CSV_TEXT && column->kind == KIND_NUMBER) {
        return ERR_MALFORMED;
    }
    if (kind == CSV_TEXT) {
        column->kind = KIND_TEXT; /* nothing but missing cells above it */
    }
    if (kind == CSV_NUMBER) {
        bool first = column->kind == KIND_UNKNOWN;
        column->kind = KIND_NUMBER;
        column->low = first ? value : fmin(column->low, value);
        column->high = first ? value : fmax(column->high, value);
        column->decimals = decimals > column->decimals ? decimals : column->decimals;
    }
    return OK;
}

static enum err row_fault(struct csv *c, enum err err, const char *cell, struct fault *reterr)
{
    const char *path = c->files.paths[c->file];
    unsigned long long line = c->line_number;
    if (err == ERR_RANGE) {
        return fault_set(reterr, ERR_MALFORMED, "driver csv: %s:%llu: line longer than 65536 bytes", path, line);
    }
    if (cell != NULL) {
        return fault_set(reterr, ERR_MALFORMED, "driver csv: %s:%llu: \"%.40s\" is not a number", path, line, cell);
    }
    return fault_set(reterr, ERR_MALFORMED, "driver csv: %s:%llu: the row does not have %zu cells separated by '%c'",
                     path, line, c->columns, c->separator);
}

static enum err rows_survey(struct csv *c, struct survey *s, struct fault *reterr)
{
    char *cells[CSV_COLUMNS_MAX];
    for (; s->rows < SURVEYED_ROWS; s->rows++) {
        enum err err = row_read(c, cells);
        if (err == ERR_NOT_FOUND) {
            break;
        }
        if (err != OK && s->rows < CHECKED_ROWS) {
            return row_fault(c, err, NULL, reterr);
        }
        for (size_t i = 0; err == OK && i < c->columns; i++) {
            if (i == 0 && s->rows == 0 && csv_datetime(cells[0])) {
                s->columns[0].kind = KIND_TIME;
            }
            if (cell_survey(c, &s->columns[i], cells[i]) != OK && s->rows < CHECKED_ROWS) {
                return row_fault(c, ERR_MALFORMED, cells[i], reterr);
            }
        }
    }
    if (s->rows == 0) {
        return fault_set(reterr, ERR_MALFORMED, "driver csv: %s: no row below the header", c->files.paths[c->file]);
    }
    return OK;
}

static double column_resolution(const struct survey_column *column, const struct sense_options *options)
{
    double range = column->high - column->low;
    if (options->resolution > 0) {
        return options->resolution;
    }
    if (options->bits > 0 && range > 0) {
        return block_resolution_round(range / pow(2, options->bits));
    }
    int decimals = column->decimals < DECIMALS_MAX ? column->decimals : DECIMALS_MAX;
    double largest = fmax(fabs(column->low), fabs(column->high));
    while (decimals > 0 && largest * pow(10, decimals) > 0x1p52) {
        decimals--; /* more than a double can tell apart */
    }
    return 1 / pow(10, decimals);
}

static bool is_label(const char *name)
{
    return strcmp(name, "anomaly") == 0 || strcmp(name, "changepoint") == 0;
}

static const char *unit_of(const char *name)
{
    static const struct {
        const char *name, *unit;
    } known[] = { /* SKAB's valve test bench, from its README */
        {"Accelerometer1RMS", "[g]"}, {"Accelerometer2RMS", "[g]"}, {"Current", "A"},
        {"Pressure", "bar"},          {"Temperature", "Cel"},       {"Thermocouple", "Cel"},
        {"Voltage", "V"},             {"Volume Flow RateRMS", "L/min"},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].unit;
        }
    }
    return "";
}

static bool is_time_name(const char *name)
{
    static const char *const names[] = {"datetime", "timestamp", "time", "date", "ts"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcasecmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* header: names of the columns, NULL without a header line. */
static enum err channels_add(struct sense *sense, const struct survey *s, char *const *header,
                             const struct sense_options *options, struct fault *reterr)
{
    struct csv *c = sense->state;
    for (size_t i = 0; i < c->columns; i++) {
        if (s->columns[i].kind == KIND_TEXT || s->columns[i].kind == KIND_TIME) {
            continue;
        }
        char number[32];
        snprintf(number, sizeof number, "channel_%zu", i + 1);
        const char *name = header ? header[i] : number;
        size_t at = sense->channel_count;
        double resolution = is_label(name) ? 1 : column_resolution(&s->columns[i], options);
        if (sense_channel_add(sense, name, unit_of(name), resolution) != OK) {
            return fault_set(reterr, ERR_RANGE, "driver csv: %s: more than %d columns of numbers",
                             c->files.paths[c->file], SENSE_CHANNELS_MAX);
        }
        c->position[at] = c->column[at] = (int)i;
        c->header_name[at] = header ? strdup(header[i]) : NULL;
        if (header != NULL && c->header_name[at] == NULL) {
            return fault_set(reterr, ERR_NOMEM, "out of memory");
        }
    }
    if (sense->channel_count == 0) {
        return fault_set(reterr, ERR_MALFORMED, "driver csv: %s: no column of numbers", c->files.paths[c->file]);
    }
    return OK;
}

/* Reads the first rows of the first file, describes the channels, and opens the file again. */
static enum err file_survey(struct sense *sense, const struct sense_options *options, struct fault *reterr)
{
    struct csv *c = sense->state;
    struct survey survey = {0};
    char *cells[CSV_COLUMNS_MAX];
    TRY(file_open(c, cells, reterr));
    if (c->has_header && is_time_name(cells[0])) {
        survey.columns[0].kind = KIND_TIME;
    }
    TRY(rows_survey(c, &survey, reterr));
    TRY(file_open(c, cells, reterr));
    return channels_add(sense, &survey, c->has_header ? cells : NULL, options, reterr);
}

static enum err csv_open(struct sense *sense, const struct sense_options *options, struct fault *reterr)
{
    struct csv *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    sense->state = c;
    if (options->bits > BITS_MAX || options->resolution < 0) {
        return fault_set(reterr, ERR_RANGE, "driver csv: bits is %u and resolution %g; 0..%d and >= 0 are possible",
                         options->bits, options->resolution, BITS_MAX);
    }
    TRY(csv_files_find(options->path, &c->files, reterr));
    c->file = (size_t)(options->seed % c->files.count);
    return file_survey(sense, options, reterr);
}

/* ---- reading ---- */

/* Opens the next file that has one of our channels. ERR_IO when there is none in a whole turn. */
static enum err file_next(struct sense *sense)
{
    struct csv *c = sense->state;
    char *cells[CSV_COLUMNS_MAX];
    for (size_t tried = 0; tried < c->files.count; tried++) {
        c->file = (c->file + 1) % c->files.count;
        if (file_open(c, cells, NULL) == OK && file_match(c, sense->channel_count, cells)) {
            return OK;
        }
        sense->bad++;
    }
    return ERR_IO;
}

static void row_values(struct sense *sense, char *const *cells, double *values)
{
    struct csv *c = sense->state;
    for (size_t i = 0; i < sense->channel_count; i++) {
        int decimals;
        if (c->column[i] >= 0 &&
            csv_number(cells[c->column[i]], c->separator == ';', &values[i], &decimals) == CSV_TEXT) {
            sense->bad++;
        }
    }
}

static enum err csv_read(struct sense *sense, const struct sense_place *place, double *values)
{
    (void)place;
    struct csv *c = sense->state;
    char *cells[CSV_COLUMNS_MAX];
    enum err err = c->in ? row_read(c, cells) : ERR_NOT_FOUND;
    for (size_t turns = 0; err == ERR_NOT_FOUND; turns++) {
        if (turns > c->files.count) {
            return ERR_IO; /* headers only, everywhere */
        }
        TRY(file_next(sense));
        err = row_read(c, cells);
    }
    if (err == OK) {
        row_values(sense, cells, values);
    } else {
        sense->bad++; /* the row stays a sample of its own, with nothing in it, so that the pace is kept */
    }
    return OK;
}

static void csv_close(struct sense *sense)
{
    struct csv *c = sense->state;
    if (c == NULL) {
        return;
    }
    file_close(c);
    for (size_t i = 0; i < SENSE_CHANNELS_MAX; i++) {
        free(c->header_name[i]);
    }
    csv_files_deinit(&c->files);
    free(c);
}

const struct sense_driver sense_driver_csv = {.name = "csv", .open = csv_open, .read = csv_read, .close = csv_close};
