/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what was jumped over and comes late is taken, once, by every sink that keeps marks, whatever is offered again
 * and wherever the sink is closed and opened in between; what never comes stays a gap.
 */
#include <dirent.h>
#include <sqlite3.h>

#include "cloud-bridge/sinks/encode.h"
#include "cloud-bridge/sinks/load.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

enum { NUMBERS = 80, CHUNKS = 4, PIECE = 3 };

enum which { MEMORY, SQLITE, FILES, CSV };
struct rig {
    enum which which;
    char folder[64], path[96];
    struct sink_memory_disk *disk;
    struct sink sink;
    struct batch b;
    uint64_t position, random;
    unsigned records[NUMBERS + 1], gaps[NUMBERS + 1]; /* as read back */
    int64_t counted;                                  /* gaps of the stream's row; -1 = it has none */
};

static uint64_t dice(struct rig *r, uint64_t sides)
{
    r->random = mix_u64(r->random + 1);
    return r->random % sides;
}

static void open_sink(struct rig *r)
{
    struct fault fault = {.code = OK};
    const struct sink_csv_settings settings = {.path = r->path, .rotate = 600};
    switch (r->which) {
    case MEMORY:
        CHECK_OK(sink_memory_open(r->disk, &r->sink));
        break;
    case SQLITE:
        CHECK_OK(sink_sqlite_open(r->path, &r->sink, &fault));
        break;
    case FILES:
        CHECK_OK(sink_file_open(r->path, 900, &r->sink, &fault));
        break;
    case CSV:
        CHECK_OK(sink_csv_open(&settings, "bridge1", &r->sink, &fault));
        break;
    }
}

static void close_sink(struct rig *r)
{
    r->sink.ops->close(r->sink.self);
}

static void begin(struct rig *r, enum which which, uint64_t seed)
{
    memset(r, 0, sizeof(*r));
    r->which = which;
    r->random = seed;
    scratch_new(r->folder);
    snprintf(r->path, sizeof(r->path), "%s/sink", r->folder);
    CHECK_OK(sink_memory_disk_new(&r->disk));
    batch_begin(&r->b);
    open_sink(r);
}

static void end(struct rig *r)
{
    batch_end(&r->b);
    sink_memory_disk_free(r->disk);
    scratch_free(r->folder);
}

static void put(struct rig *r, uint64_t number)
{
    batch_block(&r->b, "pump", number, ++r->position);
}

static void flush(struct rig *r)
{
    batch_write(&r->b, &r->sink);
    batch_end(&r->b);
    batch_begin(&r->b);
}

static void put_range(struct rig *r, uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last; n++) {
        put(r, n);
        if (r->b.batch.count == BATCH_MAX) {
            flush(r);
        }
    }
    flush(r);
}

static void reopen(struct rig *r)
{
    close_sink(r);
    open_sink(r);
}

/* ---- reading back ---- */
static void note(unsigned *counts, uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last && n <= NUMBERS; n++) {
        counts[n]++;
    }
}

static void note_rows(void *arg, const struct sink_stream *stream, bool hop, const struct sink_row *rows, size_t count)
{
    struct rig *r = arg;
    (void)hop;
    r->counted = (int64_t)stream->gaps;
    for (size_t i = 0; i < count; i++) {
        note(rows[i].kind == SINK_GAP ? r->gaps : r->records, rows[i].first, rows[i].last);
    }
}

static int note_sql(void *arg, int columns, char **values, char **names)
{
    struct rig *r = arg;
    (void)columns;
    (void)names;
    if (strcmp(values[0], "stream") == 0) {
        r->counted = strtoll(values[1], NULL, 10);
    } else {
        note(strcmp(values[0], "gap") == 0 ? r->gaps : r->records, strtoull(values[1], NULL, 10),
             strtoull(values[2], NULL, 10));
    }
    return 0;
}

static void read_sqlite(struct rig *r)
{
    sqlite3 *db = NULL;
    CHECK_INT(sqlite3_open_v2(r->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "select 'record', first, last from record where kind <> 'gap';"
                               "select 'gap', first, last from gap; select 'stream', gaps, 0 from stream",
                           note_sql, r, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void read_line(struct rig *r, const char *line)
{
    unsigned long long first, last;
    char kind[16] = "";
    const char *at = strstr(line, "\"first\":");
    if (r->which == FILES && at != NULL &&
        sscanf(at, "\"first\":%llu,\"last\":%llu,\"hop\":0,\"kind\":\"%15[a-z]", &first, &last, kind) == 3) {
        note(strcmp(kind, "gap") == 0 ? r->gaps : r->records, first, last);
    }
    if (r->which == CSV && sscanf(line, "pump,%*x,%llu,%llu,bulk,%15[a-z]", &first, &last, kind) == 3) {
        note(strcmp(kind, "gap") == 0 ? r->gaps : r->records, first, last);
    }
}

static void read_folder(struct rig *r)
{
    DIR *dir = opendir(r->path);
    CHECK(dir != NULL);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[400], line[4096];
        if (strncmp(e->d_name, r->which == CSV ? "records_" : "weir-", r->which == CSV ? 8 : 5) != 0) {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s", r->path, e->d_name);
        FILE *in = fopen(path, "re");
        CHECK(in != NULL);
        while (fgets(line, sizeof(line), in) != NULL) {
            read_line(r, line);
        }
        fclose(in);
    }
    closedir(dir);
}

/* Closes the sink. */
static void read_back(struct rig *r)
{
    memset(r->records, 0, sizeof(r->records));
    memset(r->gaps, 0, sizeof(r->gaps));
    r->counted = -1;
    close_sink(r);
    if (r->which == MEMORY) {
        sink_memory_foreach(r->disk, note_rows, r);
    } else if (r->which == SQLITE) {
        read_sqlite(r);
    } else {
        read_folder(r);
    }
}

/* Files are not rewritten: a gap stands there for what was filled later, and the record holds. */
static bool keeps_gaps(const struct rig *r)
{
    return r->which == FILES || r->which == CSV;
}

static void check_all(struct rig *r, const bool came[NUMBERS + 1], uint64_t top)
{
    int64_t missing = 0;
    read_back(r);
    for (uint64_t n = 1; n <= top; n++) {
        if (r->records[n] != (came[n] ? 1 : 0) || (!came[n] && r->gaps[n] != 1) ||
            (came[n] && r->gaps[n] != 0 && !keeps_gaps(r))) {
            fprintf(stderr, "sink %d: number %d came %d: %u records, %u gaps\n", (int)r->which, (int)n, came[n],
                    r->records[n], r->gaps[n]);
            fail();
        }
        missing += came[n] ? 0 : 1;
    }
    if (r->counted >= 0) {
        CHECK_INT(r->counted, missing);
    }
}

/* ---- stories ---- */
static void each(void (*story)(struct rig *r), uint64_t seed)
{
    static struct rig rig;
    for (enum which which = MEMORY; which <= CSV; which++) {
        begin(&rig, which, seed);
        story(&rig);
        end(&rig);
    }
}

static void tell_splitting(struct rig *r)
{
    bool came[NUMBERS + 1] = {false};
    put_range(r, 1, 30);
    put_range(r, 51, 80);
    reopen(r);
    put_range(r, 41, 45);
    reopen(r);
    put_range(r, 46, 46);
    put_range(r, 31, 33);
    reopen(r);
    put_range(r, 31, 34); /* 31..33 once more */
    for (uint64_t n = 1; n <= NUMBERS; n++) {
        came[n] = n <= 34 || (n >= 41 && n <= 46) || n >= 51;
    }
    check_all(r, came, NUMBERS);
    open_sink(r);
    put_range(r, 31, 50);
    memset(came, true, sizeof(came));
    check_all(r, came, NUMBERS);
}

static void a_hole_shrinks_splits_and_ends(void **state)
{
    (void)state;
    each(tell_splitting, 1);
}

static void tell_one_batch(struct rig *r)
{
    bool came[NUMBERS + 1];
    memset(came, true, sizeof(came));
    for (uint64_t n = 1; n <= 10; n++) {
        put(r, n);
    }
    for (uint64_t n = 15; n <= 20; n++) {
        put(r, n);
    }
    put(r, 12);
    put(r, 25);
    put(r, 11);
    put(r, 13);
    flush(r);
    came[14] = came[21] = came[22] = came[23] = came[24] = false;
    check_all(r, came, 25);
}

static void a_jump_and_what_fills_it_may_come_in_one_batch(void **state)
{
    (void)state;
    each(tell_one_batch, 1);
}

static void tell_ranges(struct rig *r)
{
    put_range(r, 1, 10);
    put_range(r, 31, 40);
    batch_suppressed(&r->b, "pump", 5, 20, ++r->position); /* what of it lies in the hole */
    flush(r);
    batch_gap(&r->b, "pump", 21, 24, ++r->position); /* declared by somebody else: no hole any more */
    flush(r);
    put_range(r, 21, 25);
    batch_suppressed(&r->b, "pump", 28, 45, ++r->position); /* the mark and the hole: the part above the mark */
    flush(r);
    read_back(r);
    for (uint64_t n = 1; n <= 45; n++) {
        bool is_gap = (n >= 21 && n <= 24) || (n >= 26 && n <= 30);
        CHECK_INT(r->records[n], is_gap ? 0 : 1);
        CHECK(keeps_gaps(r) || (r->gaps[n] == 1) == is_gap);
    }
    CHECK(r->counted < 0 || r->counted == 9);
}

static void ranges_fill_what_of_them_lies_in_the_hole(void **state)
{
    (void)state;
    each(tell_ranges, 1);
}

/* Two ways: one brings most in order; the other one a few chunks, in pieces, later and in any order. */
static void tell_two_ways(struct rig *r)
{
    uint64_t order[NUMBERS], late[NUMBERS];
    bool came[NUMBERS + 1] = {false}, is_late[NUMBERS + 1] = {false};
    size_t count = 0, pieces = 0;
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++) {
        uint64_t first = 2 + chunk * (NUMBERS / CHUNKS) + dice(r, 8), last = first + 2 * PIECE - 1;
        for (uint64_t n = first; n <= last; n++) {
            is_late[n] = true;
        }
        late[pieces++] = first;
        late[pieces++] = first + PIECE;
    }
    for (uint64_t n = 1; n <= NUMBERS; n++) {
        if (!is_late[n]) {
            order[count++] = n;
        }
    }
    for (size_t i = pieces; i > 1; i--) {
        size_t other = dice(r, i);
        uint64_t first = late[i - 1];
        late[i - 1] = late[other];
        late[other] = first;
    }
    uint64_t lost = dice(r, pieces); /* this piece never comes */
    for (size_t i = 0; i < pieces; i++) {
        for (uint64_t n = late[i]; n < late[i] + PIECE && i != lost; n++) {
            order[count++] = n;
        }
    }
    for (size_t at = 0, before = 0; at < count;) {
        size_t from = dice(r, 3) == 0 ? before : at; /* what went before comes again as well */
        size_t to = min_u64(at + 1 + dice(r, 20), count);
        for (size_t i = from; i < to; i++) {
            put(r, order[i]);
            came[order[i]] = true;
        }
        flush(r);
        if (dice(r, 3) == 0) {
            reopen(r);
        }
        before = at;
        at = to;
    }
    check_all(r, came, NUMBERS);
}

static void records_that_come_by_two_ways_are_there_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        each(tell_two_ways, seed);
    }
}

/* ---- earlier forms ---- */
static void a_file_of_version_2_is_read(void **state)
{
    static struct rig r;
    (void)state;
    begin(&r, FILES, 1);
    put_range(&r, 1, 10);
    put_range(&r, 16, 20);
    close_sink(&r);
    char path[200], bytes[8192];
    snprintf(path, sizeof(path), "%s/weir-00000001.jsonl", r.path);
    FILE *f = fopen(path, "r+e");
    CHECK(f != NULL && fread(bytes, 1, 100, f) == 100);
    char *at = memmem(bytes, 100, "\"version\":3,\"streams\":[],", 25);
    CHECK(at != NULL);
    /* its seal is over the head's bytes: the same head of version 2, as that version sealed it */
    const char head[] =
        "{\"weir\":\"records\",\"version\":2,\"streams\":[],\"commit\":{\"epoch\":[\"0000000000000000\","
        "\"0000000000000000\"],\"position\":[0,0],\"crc\":\"5a4fe4f0\"}}\n";
    rewind(f);
    CHECK(fwrite(head, 1, sizeof(head) - 1, f) == sizeof(head) - 1);
    fclose(f);
    open_sink(&r);
    put_range(&r, 11, 15);
    read_back(&r);
    for (uint64_t n = 1; n <= 20; n++) {
        CHECK_INT(r.records[n], 1);
    }
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hole_shrinks_splits_and_ends),
        cmocka_unit_test(a_jump_and_what_fills_it_may_come_in_one_batch),
        cmocka_unit_test(ranges_fill_what_of_them_lies_in_the_hole),
        cmocka_unit_test(records_that_come_by_two_ways_are_there_once),
        cmocka_unit_test(a_file_of_version_2_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
