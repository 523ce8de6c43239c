/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sinks are opened as the bridge opens them, asked for their positions, and read from outside: SQLite through a
 * connection of its own, the file sink's lines with a JSON parser that is not ours.
 */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/support/power_cut/survey_internal.h"

enum { FILES_MAX = 10000, ROTATE_BYTES = 1 << 20 };

static void corrupt(struct survey *s, const char *what, const char *why)
{
    s->tally.corrupt++;
    complain(s, "%s: %s", what, why);
}

static void ask_position(struct survey *s, enum sink_index index, const struct sink *sink)
{
    uint64_t epochs[INBOX_LANES] = {s->bridge[0].epoch, s->bridge[1].epoch}, positions[INBOX_LANES] = {0};
    if (sink->ops->position(sink->self, epochs, positions) != OK) {
        corrupt(s, sink->ops->name, "does not tell its position");
    }
    for (unsigned lane = 0; lane < LANES; lane++) {
        s->bridge[lane].position[index] = positions[lane];
    }
}

/* ---- SQLite ---- */
static sqlite3_stmt *prepare(struct survey *s, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        corrupt(s, "weir.db", sqlite3_errmsg(db));
    }
    return stmt;
}

/* False at the end; an error counts. */
static bool row(struct survey *s, sqlite3 *db, sqlite3_stmt *stmt)
{
    int rc = stmt != NULL ? sqlite3_step(stmt) : SQLITE_DONE;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        corrupt(s, "weir.db", sqlite3_errmsg(db));
    }
    return rc == SQLITE_ROW;
}

static uint64_t column(sqlite3_stmt *stmt, int index)
{
    return (uint64_t)sqlite3_column_int64(stmt, index);
}

/* Readings by record, counted on the way. */
static void check_readings(struct survey *s, sqlite3 *db, struct found *f, int64_t id, uint32_t *counts,
                           uint64_t numbers)
{
    sqlite3_stmt *q = prepare(s, db,
                              "select x.number, x.idx, x.channel, x.value, r.kind = 'curated' from reading x"
                              " join record r on r.stream = x.stream and r.first = x.number where x.device ="
                              " (select device from stream where id = ?1) and x.stream = ?1");
    sqlite3_bind_int64(q, 1, id);
    while (row(s, db, q)) {
        uint64_t number = column(q, 0);
        if (number <= numbers) {
            counts[number]++;
        }
        if (column(q, 4) != 0) {
            survey_part(s, f, number, (unsigned)column(q, 2), sqlite3_column_double(q, 3));
        } else {
            survey_reading(s, f, number, (unsigned)column(q, 1), (unsigned)column(q, 2), sqlite3_column_double(q, 3));
        }
    }
    sqlite3_finalize(q);
}

static void check_stream(struct survey *s, sqlite3 *db, struct found *f, int64_t id, uint64_t hwm)
{
    CLEANUP(charp_freep) char *block = grown(NULL, (hwm + 1) * sizeof(uint32_t));
    uint32_t *counts = (uint32_t *)(void *)block;
    memset(counts, 0, (hwm + 1) * sizeof *counts);
    check_readings(s, db, f, id, counts, hwm);
    sqlite3_stmt *q = prepare(s, db,
                              "select first, last, readings, kind = 'curated' from record where stream = ?"
                              " order by id");
    uint64_t reached = 0;
    sqlite3_bind_int64(q, 1, id);
    while (row(s, db, q)) {
        uint64_t first = column(q, 0), last = column(q, 1);
        survey_join(s, f, SINK_SQLITE, first, last, &reached);
        bool curated = column(q, 3) != 0; /* cells without a value are claimed */
        if (last <= hwm && counts[last] != column(q, 2) && !(curated && counts[last] < column(q, 2))) {
            s->tally.corrupt++;
            complain(s, "%s: record %" PRIu64 " has %u of %" PRIu64 " readings in weir.db", f->key, last, counts[last],
                     column(q, 2));
        }
    }
    sqlite3_finalize(q);
    if (reached != hwm) {
        s->tally.corrupt++;
        complain(s, "%s: the mark in weir.db is %" PRIu64 ", its rows end at %" PRIu64, f->key, hwm, reached);
    }
    f->sink_hwm[SINK_SQLITE] = reached;
}

static void read_tables(struct survey *s, sqlite3 *db)
{
    sqlite3_stmt *q = prepare(s, db, "pragma integrity_check(1)");
    while (row(s, db, q)) {
        const char *verdict = (const char *)sqlite3_column_text(q, 0);
        if (strcmp(verdict, "ok") != 0) {
            corrupt(s, "weir.db", verdict);
        }
    }
    sqlite3_finalize(q);
    q = prepare(s, db,
                "select s.id, d.name, s.epoch, s.hwm from stream s join device d on d.id = s.device where s.hop = 0");
    while (row(s, db, q)) {
        struct found *f = survey_stream(s, (const char *)sqlite3_column_text(q, 1),
                                        strtoull((const char *)sqlite3_column_text(q, 2), NULL, 16));
        check_stream(s, db, f, sqlite3_column_int64(q, 0), column(q, 3));
    }
    sqlite3_finalize(q);
}

static void survey_sqlite(struct survey *s)
{
    char path[PATH_MAX];
    struct sink sink = {0};
    struct fault fault = {0};
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/weir.db", s->dir);
    if (sink_sqlite_open(path, &sink, &fault) != OK) {
        corrupt(s, "weir.db", fault.text);
        return;
    }
    ask_position(s, SINK_SQLITE, &sink);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK) {
        read_tables(s, db);
    } else {
        corrupt(s, "weir.db", "cannot be opened by a reader");
    }
    sqlite3_close(db);
    sink.ops->close(sink.self);
}

/* ---- the file sink ---- */
static uint64_t number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? (uint64_t)item->valuedouble : 0;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text != NULL ? text : "";
}

static void check_samples(struct survey *s, const struct found *f, uint64_t number, const cJSON *line)
{
    const cJSON *sample, *value, *samples = cJSON_GetObjectItemCaseSensitive(line, "readings");
    unsigned index = 0;
    cJSON_ArrayForEach(sample, samples)
    {
        unsigned channel = 0;
        cJSON_ArrayForEach(value, cJSON_GetObjectItemCaseSensitive(sample, "values"))
        {
            survey_reading(s, f, number, index, channel++, value->valuedouble);
        }
        index++;
    }
    if (index == 0) {
        s->tally.corrupt++;
        complain(s, "%s: record %" PRIu64 " has no readings in its line", f->key, number);
    }
}

static void check_line(struct survey *s, const char *line, size_t len, unsigned file)
{
    char name[32];
    snprintf(name, sizeof name, "file %u", file);
    cJSON *json = len > 0 && line[len - 1] == '\n' && strlen(line) == len ? cJSON_Parse(line) : NULL;
    if (json == NULL) {
        corrupt(s, name, "a line that is no JSON");
        return;
    }
    if (text_of(json, "device")[0] != '\0' && number_of(json, "hop") == 0) {
        struct found *f = survey_stream(s, text_of(json, "device"), strtoull(text_of(json, "epoch"), NULL, 16));
        uint64_t last = number_of(json, "last");
        survey_join(s, f, SINK_FILE, number_of(json, "first"), last, &f->sink_hwm[SINK_FILE]);
        if (strcmp(text_of(json, "kind"), "block") == 0) {
            check_samples(s, f, last, json);
        }
    }
    cJSON_Delete(json);
}

static void read_files(struct survey *s, const char *dir)
{
    CLEANUP(charp_freep) char *line = NULL;
    size_t cap = 0;
    for (unsigned n = 1; n < FILES_MAX; n++) {
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s/weir-%08u.jsonl", dir, n);
        FILE *in = fopen(path, "re");
        if (in == NULL) {
            break;
        }
        for (ssize_t len; (len = getline(&line, &cap, in)) > 0;) {
            check_line(s, line, (size_t)len, n);
        }
        fclose(in);
    }
}

static void survey_file(struct survey *s)
{
    char path[PATH_MAX];
    struct sink sink = {0};
    struct fault fault = {0};
    snprintf(path, sizeof path, "%s/out", s->dir);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/out/files", s->dir);
    if (sink_file_open(path, ROTATE_BYTES, &sink, &fault) != OK) {
        corrupt(s, "files", fault.text);
        return;
    }
    ask_position(s, SINK_FILE, &sink);
    sink.ops->close(sink.self);
    read_files(s, path);
}

void survey_sinks(struct survey *s)
{
    survey_sqlite(s);
    survey_file(s);
}
