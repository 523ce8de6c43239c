/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what a person queries in weir.db is what the devices measured, once, whatever was written twice, half, or cut
 * off in the middle; and the query is quick.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/cloud-bridge/sinks/rig.h"

/* SQLite's calls come here, since a program's own names go before the C library's. Files whose name ends so cannot be
 * opened for writing; NULL = all can. */
static const char *unopenable;
static bool unwritable; /* every write fails with EIO */

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    if (unwritable) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

int open64(const char *path, int flags, ...);
int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(more, unsigned) : 0;
    va_end(more);
    size_t len = strlen(path), end = unopenable ? strlen(unopenable) : 0;
    if (unopenable != NULL && (flags & O_ACCMODE) == O_RDWR && len >= end &&
        strcmp(path + len - end, unopenable) == 0) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static enum err rig_open(struct rig *r, struct fault *reterr)
{
    return sink_sqlite_open(r->path, &r->sink, reterr);
}

static int start(void **state)
{
    return rig_start(state, "weir.db", 0);
}

/* All rows of a query, columns by '|', rows by ';'. A connection of its own, as a person's would be. */
static const char *ask(struct rig *r, const char *sql)
{
    static char text[16384];
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    size_t len = 0;
    text[0] = '\0';
    CHECK_INT(sqlite3_open_v2(r->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 30000); /* the writer recovers its log after a kill */
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        fail();
    }
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            const char *value = (const char *)sqlite3_column_text(stmt, i);
            const char *before = i > 0 ? "|" : len > 0 ? ";" : "";
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", before, value ? value : "-");
            CHECK(len < sizeof(text));
        }
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return text;
}

static void readings_are_what_a_person_would_query(void **state)
{
    struct rig *r = *state;
    batch_describe(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_block(&r->b, "other", 1, 3);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select ts, channel, value, unit, epoch, number, idx, quality, \"set\" from readings"
                     " where device = 'pump-7' order by ts, channel"),
              "2026-01-01T00:00:02.000Z|flow \"raw\"|5.0||0000000000000abd|2|0|ntp|7;"
              "2026-01-01T00:00:02.000Z|pressure|0.2|bar|0000000000000abd|2|0|ntp|7;"
              "2026-01-01T00:00:02.250Z|pressure|0.3|bar|0000000000000abd|2|1|ntp|7");
    CHECK_STR(ask(r, "select distinct channel, unit from readings where device = 'other' order by channel"),
              "c0|-;c1|-");
}

static void a_description_that_comes_late_names_the_rows_before_it(void **state)
{
    struct rig *r = *state;
    batch_block(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select distinct channel from readings order by channel"), "c0;c1");
    again(r);
    batch_describe(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select distinct channel from readings order by channel"), "flow \"raw\";pressure");
}

static void the_query_of_a_device_in_order_of_time_needs_no_sort(void **state)
{
    struct rig *r = *state;
    const char *plan = ask(r, "explain query plan select * from readings where device = 'x' order by ts");
    CHECK_CONTAINS(plan, "SEARCH r USING PRIMARY KEY (device=?)");
    CHECK(strstr(plan, "TEMP B-TREE") == NULL);
    CHECK(strstr(plan, "SCAN") == NULL);
    plan = ask(r, "explain query plan select * from readings where device = 'x' and ts > '2026-01-01' order by ts");
    CHECK_CONTAINS(plan, "SEARCH r USING PRIMARY KEY (device=? AND ts>?)");
}

static void every_kind_of_record_has_its_table(void **state)
{
    struct rig *r = *state;
    const uint8_t later[] = {0x08, 0x63, 0xa2, 0x06, 0x03, 'n', 'e', 'w'};
    batch_event(&r->b, "pump-7", 1, 1);
    batch_health(&r->b, "pump-7", 1, 1);
    batch_gap(&r->b, "pump-7", 2, 5, 5);
    batch_suppressed(&r->b, "pump-7", 6, 9, 9);
    batch_raw(&r->b, "pump-7", 10, slice_of(later, sizeof(later)), 10);
    batch_raw(&r->b, "pump-7", 11, slice_str("\xff\xff"), 11);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select device, ts, severity, id, text, channel, value from events"),
              "pump-7|2026-01-01T00:00:00.000Z|alarm|limit-exceeded|over \"8 bar\"\n|pressure|8.5");
    CHECK_STR(ask(r, "select device, uptime_s, rss_bytes from healths"), "pump-7|60|4096");
    CHECK_STR(ask(r, "select device, first, last, reason from gaps"), "pump-7|2|5|overflow");
    CHECK_STR(ask(r, "select first, last, rule, rule_version from suppressed_range"), "6|9|deadband|3");
    CHECK_STR(ask(r, "select device, epoch, lane, first, last, rule, version from suppressed"),
              "pump-7|0000000000000abd|1|6|9|deadband|3");
    CHECK_STR(ask(r, "select first, schema, hex(record) from unread order by first"),
              "10|99|0863A206036E6577;11|0|FFFF");
    CHECK_STR(ask(r, "select device, epoch, lane, hwm, top, records, readings, gaps, suppressed from streams"
                     " order by lane"),
              "pump-7|0000000000000abc|0|1|3|1|0|0|0;pump-7|0000000000000abd|1|11|13|3|0|4|4");
    CHECK_STR(ask(r, "select first, last, kind from records where lane = 1 order by first"),
              "1|1|health;2|5|gap;6|9|suppressed;10|10|unread;11|11|unread");
}

static void a_curated_record_has_its_rows_and_its_windows(void **state)
{
    struct rig *r = *state;
    batch_describe(&r->b, "pump-7", 1, 1);
    batch_curated(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    again(r);
    batch_curated(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select ts, channel, value from readings order by channel"),
              "2026-01-01T00:00:02.000Z|flow \"raw\"|5.0;2026-01-01T00:00:02.000Z|pressure|0.2");
    CHECK_STR(ask(r, "select ts, seconds, channel, unit, rule, count, mean, std, min, max, rms, partial, late, rules,"
                     " number from windows order by channel desc"),
              "2026-01-01T00:00:00.000Z|60.0|pressure|bar|minute|4|3.0|2.0|1.0|5.0|3.46410161513775|0|0|"
              "0000000000000abc|2;"
              "2026-01-01T00:00:00.000Z|60.0|flow \"raw\"||minute|4|3.0|2.0|1.0|5.0|3.46410161513775|1|2|"
              "0000000000000abc|2");
    CHECK_STR(ask(r, "select channel, round(p50, 1), p95 between 4.95 and 5, p99 <= max from windows order by channel desc"),
              "pressure|2.0|1|1;flow \"raw\"|-|-|-");
    CHECK_STR(ask(r, "select kind, ts, readings from records where first = 2"),
              "curated|2026-01-01T00:00:00.000Z|2");
}

static void a_curated_record_that_brings_names_is_named(void **state)
{
    struct rig *r = *state;
    batch_curated_named(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select channel, unit, value from readings order by channel"),
              "flow \"raw\"||5.0;pressure|bar|0.2");
    CHECK_STR(ask(r, "select distinct channel, unit from windows order by channel"), "flow \"raw\"|;pressure|bar");
    CHECK_STR(ask(r, "select number, config from description"), "2|0000000000c0ffee");
    again(r);
    batch_curated_named(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select count(*) from description"), "1");
}

static void a_database_of_the_first_version_is_brought_up_to_date(void **state)
{
    struct rig *r = *state;
    sqlite3 *db = NULL;
    batch_block(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    CHECK_INT(sqlite3_open(r->path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "drop view inferences; drop table inference; drop view windows; drop table \"window\";"
                               "pragma user_version = 1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    open_sink(r);
    again(r);
    batch_curated(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select count(*) from windows"), "2");
    CHECK_STR(ask(r, "select count(*) from windows where p50 is not null"), "1");
    CHECK_STR(ask(r, "select hwm, records from streams"), "2|2");
    CHECK_STR(ask(r, "select count(*) from inferences"), "0");
}

static void a_database_of_the_third_version_keeps_its_windows_and_gets_inferences(void **state)
{
    struct rig *r = *state;
    sqlite3 *db = NULL;
    batch_curated(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    CHECK_INT(sqlite3_open(r->path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "drop view inferences; drop table inference; pragma user_version = 3", NULL, NULL, NULL),
              SQLITE_OK);
    sqlite3_close(db);
    open_sink(r);
    again(r);
    batch_inference(&r->b, "pump-7", false, 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select count(*) from windows"), "2");
    CHECK_STR(ask(r, "select label from inferences"), "inner-race");
}

static void an_inference_is_one_row_with_who_answered_and_what_the_device_thought(void **state)
{
    struct rig *r = *state;
    batch_inference(&r->b, "pump-7", true, 1, 1);
    batch_inference(&r->b, "pump-7", false, 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select device, ts, model, label, confidence, score, answered_by, engine, asked, own_answer,"
                     " own_confidence, took_ms, seconds, own_model, skipped, config from inferences order by number"),
              "pump-7|2026-01-01T00:00:00.000Z|0000000000000b0b|inner-race|0.75|1.5|gateway|plant/gw1|answered|1|0.5|31|1.5|"
              "0000000000dec0de|7|00000000000000c0;"
              "pump-7|2026-01-01T00:00:00.000Z|0000000000dec0de|inner-race|0.75|1.5|device||no|-|-|-|1.5|-|7|00000000000000c0");
    CHECK_STR(ask(r, "select kind, readings from records where first = 1"), "inference|0");
}

static void a_database_of_the_second_version_gets_quantiles_for_what_comes(void **state)
{
    struct rig *r = *state;
    sqlite3 *db = NULL;
    batch_curated(&r->b, "pump-7", 1, 1);
    batch_suppressed(&r->b, "pump-7", 2, 5, 2);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    CHECK_INT(sqlite3_open(r->path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db,
                           "drop view inferences; drop table inference;"
                           "drop view suppressed; drop view windows; alter table \"window\" drop column p50;"
                           "alter table \"window\" drop column p95; alter table \"window\" drop column p99;"
                           "create view windows as select 1 from \"window\" w; pragma user_version = 2",
                           NULL, NULL, NULL),
              SQLITE_OK);
    sqlite3_close(db);
    open_sink(r);
    again(r);
    batch_curated(&r->b, "pump-7", 6, 3);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select number, channel, round(p50, 1) from windows where channel = 'c0' order by number"),
              "1|c0|-;6|c0|2.0");
    CHECK_STR(ask(r, "select device, first, last from suppressed"), "pump-7|2|5");
}

static void readings_are_counted_as_the_rows_that_are_there(void **state)
{
    struct rig *r = *state;
    batch_thinned(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select first, readings from records order by first"), "1|1;2|3");
    CHECK_STR(ask(r, "select readings from streams"), "4");
    CHECK_STR(ask(r, "select count(*) from readings"), "4");
}

static void a_batch_written_again_changes_nothing(void **state)
{
    struct rig *r = *state;
    char before[8192];
    batch_describe(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_gap(&r->b, "pump-7", 3, 6, 6);
    batch_block(&r->b, "pump-7", 7, 7);
    batch_write(&r->b, &r->sink);
    snprintf(before, sizeof(before), "%s", ask(r, "select * from streams"));
    CHECK_STR(before, "pump-7|0000000000000abd|1|7|9|3|6|4|0|0");
    batch_write(&r->b, &r->sink);
    close_sink(r);
    open_sink(r);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select * from streams"), before);
    CHECK_STR(ask(r, "select count(*) from reading"), "6");
    CHECK_STR(ask(r, "select count(*) from record"), "4");
}

static void a_mark_that_was_set_back_by_hand_doubles_nothing(void **state)
{
    struct rig *r = *state;
    sqlite3 *db = NULL;
    batch_block(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    CHECK_INT(sqlite3_open(r->path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "update stream set hwm = 0", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    open_sink(r);
    batch_block(&r->b, "pump-7", 3, 3);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select count(*) from reading"), "9");
    CHECK_STR(ask(r, "select hwm, records, readings, gaps from streams"), "3|3|9|0");
}

static void a_jump_is_recorded_as_lost_upstream(void **state)
{
    struct rig *r = *state;
    batch_block(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 5, 5);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select first, last, reason from gaps"), "2|4|upstream_lost");
    CHECK_STR(ask(r, "select hwm, records, gaps from streams"), "5|2|3");
}

static void of_an_overlapping_range_only_the_new_part_counts(void **state)
{
    struct rig *r = *state;
    batch_block(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_gap(&r->b, "pump-7", 1, 6, 6);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select first, last, reason from gaps"), "3|6|overflow");
    CHECK_STR(ask(r, "select hwm, records, gaps from streams"), "6|2|4");
}

static void the_gap_of_a_hop_stands_apart_and_has_no_jumps(void **state)
{
    struct rig *r = *state;
    batch_gap(&r->b, "gw", 100, 110, 1);
    batch_gap(&r->b, "gw", 500, 501, 2);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select device, first, last, hop from gaps order by first"), "gw|100|110|1;gw|500|501|1");
    CHECK_STR(ask(r, "select hwm, gaps, hop from streams"), "501|13|1");
}

static void an_unreadable_entry_is_passed_over_and_the_position_moves(void **state)
{
    struct rig *r = *state;
    batch_block(&r->b, "pump-7", 1, 1);
    r->b.items[r->b.batch.count++] = (struct sink_item){.lane = 1, .position = 2, .forward = {.first = 1, .last = 0}};
    batch_block(&r->b, "pump-7", 3, 3);
    batch_write(&r->b, &r->sink);
    CHECK_INT(batch_position(&r->sink, 1), 3);
    CHECK_STR(ask(r, "select first, last, reason from gaps"), "2|2|upstream_lost");
}

static void positions_belong_to_the_epoch_of_the_spool(void **state)
{
    struct rig *r = *state;
    const uint64_t other[INBOX_LANES] = {1, 2};
    uint64_t position[INBOX_LANES] = {9, 9};
    batch_event(&r->b, "pump-7", 1, 4);
    batch_block(&r->b, "pump-7", 1, 17);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    open_sink(r);
    CHECK_INT(batch_position(&r->sink, 0), 4);
    CHECK_INT(batch_position(&r->sink, 1), 17);
    CHECK_OK(r->sink.ops->position(r->sink.self, other, position));
    CHECK_INT(position[0] + position[1], 0);
}

/* A process of its own that is killed while it writes batch after batch. It never returns to the test's runner. */
static void write_until_killed(struct rig *r)
{
    for (uint64_t number = 1;; number += 8) {
        for (uint64_t i = 0; i < 8; i++) {
            batch_block(&r->b, "pump-7", number + i, number + i);
        }
        if (r->sink.ops->write(r->sink.self, &r->b.batch, NULL) != OK) {
            _exit(1);
        }
        again(r);
    }
}

static uint64_t hwm_of(struct rig *r)
{
    return strtoull(ask(r, "select coalesce(max(hwm), 0) from streams"), NULL, 10);
}

static void a_kill_in_the_middle_leaves_whole_batches_and_their_position(void **state)
{
    struct rig *r = *state;
    close_sink(r);
    for (unsigned kills = 0; kills < 5; kills++) {
        open_sink(r);
        uint64_t before = hwm_of(r);
        close_sink(r);
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* not left behind by a test that fails */
            open_sink(r);
            write_until_killed(r);
        }
        for (unsigned polls = 0; polls < 100000 && hwm_of(r) < before + 8; polls++) {
        }
        kill(child, SIGKILL);
        CHECK(waitpid(child, NULL, 0) == child);
        open_sink(r);
        uint64_t hwm = hwm_of(r);
        CHECK(hwm > before);
        CHECK_INT(hwm % 8, 0);
        CHECK_INT(batch_position(&r->sink, 1) % 8, 0);
        CHECK_INT(strtoull(ask(r, "select count(*) from reading"), NULL, 10), hwm * 3);
        CHECK_INT(strtoull(ask(r, "select readings from streams union all select 0 limit 1"), NULL, 10), hwm * 3);
        close_sink(r);
    }
    open_sink(r);
}

/* The first item of the batch goes well, the second fails. */
static void a_failed_batch_leaves_nothing_and_may_come_again(void **state)
{
    struct rig *r = *state;
    sqlite3 *db = NULL;
    struct fault fault = {.code = OK};
    batch_block(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    CHECK_INT(sqlite3_open(r->path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "drop view events; alter table event rename to hidden", NULL, NULL, NULL), SQLITE_OK);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_event(&r->b, "pump-7", 1, 1);
    CHECK(r->sink.ops->write(r->sink.self, &r->b.batch, &fault) != OK);
    CHECK_CONTAINS(fault.text, "weir.db");
    CHECK_INT(batch_position(&r->sink, 1), 1);
    CHECK_STR(ask(r, "select hwm, records, readings, gaps from streams"), "1|1|3|0");
    CHECK_INT(sqlite3_exec(db, "alter table hidden rename to event", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select hwm, records, readings, gaps from streams order by lane"), "1|1|0|0;2|2|6|0");
}

static void a_database_that_could_only_be_read_is_refused(void **state)
{
    static const char *const files[] = {"weir.db.2", "-wal", "-shm"};
    struct rig *r = *state;
    char copy[sizeof(r->path) + 8], command[400];
    batch_block(&r->b, "pump-7", 9, 9);
    batch_write(&r->b, &r->sink);
    again(r);
    snprintf(copy, sizeof(copy), "%s.2", r->path); /* as after a kill: with its log, and open to nobody */
    snprintf(command, sizeof(command), "for s in '' -wal -shm; do cp %s$s %s$s; done", r->path, copy);
    CHECK_INT(system(command), 0);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct fault fault = {.code = OK};
        struct sink sink = {0};
        unopenable = files[i];
        enum err err = sink_sqlite_open(copy, &sink, &fault);
        unopenable = NULL;
        CHECK_ERR(err, ERR_DENIED);
        CHECK_CONTAINS(fault.text, "readonly");
        CHECK_CONTAINS(fault.text, copy);
    }
    batch_block(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select hwm, records, readings, gaps from streams"), "9|2|6|7"); /* late, into the hole before 9 */
}

static void after_a_disk_error_the_database_is_opened_again_as_soon_as_that_works(void **state)
{
    struct rig *r = *state;
    struct fault fault = {.code = OK};
    batch_block(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    batch_block(&r->b, "pump-7", 2, 2);
    unwritable = true;
    CHECK_ERR(r->sink.ops->write(r->sink.self, &r->b.batch, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "weir.db: disk I/O error");
    unwritable = false;
    unopenable = "-wal";
    CHECK_ERR(r->sink.ops->write(r->sink.self, &r->b.batch, &fault), ERR_DENIED);
    unopenable = NULL;
    batch_write(&r->b, &r->sink);
    CHECK_STR(ask(r, "select hwm, records, readings, gaps from streams"), "2|2|6|0");
}

static void remove_file(struct rig *r, const char *suffix)
{
    char path[128];
    snprintf(path, sizeof(path), "%s%s", r->path, suffix);
    CHECK_INT(unlink(path), 0);
}

static void check_notices_the_loss_and_begins_again(struct rig *r)
{
    struct fault fault = {.code = OK};
    again(r);
    batch_block(&r->b, "pump-7", 4, 4);
    CHECK_ERR(r->sink.ops->write(r->sink.self, &r->b.batch, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, r->path);
    CHECK_CONTAINS(fault.text, "is gone or was replaced while open");
    batch_write(&r->b, &r->sink);
}

static void write_three(struct rig *r)
{
    for (uint64_t number = 1; number <= 3; number++) {
        batch_block(&r->b, "pump-7", number, number);
    }
    batch_write(&r->b, &r->sink);
}

static void a_database_that_is_removed_is_noticed_and_a_new_one_shows_the_jump(void **state)
{
    struct rig *r = *state;
    write_three(r);
    remove_file(r, "");
    remove_file(r, "-wal");
    remove_file(r, "-shm");
    check_notices_the_loss_and_begins_again(r);
    CHECK_STR(ask(r, "select hwm, records, readings, gaps from streams"), "4|1|3|3");
    CHECK_STR(ask(r, "select first, last, reason from gaps"), "1|3|upstream_lost");
    CHECK_INT(batch_position(&r->sink, 1), 4);
}

/* What lies in the old log, beside which the other database is put, belongs to the old one alone. */
static void a_database_that_is_replaced_is_noticed_and_the_other_one_is_continued(void **state)
{
    struct rig *r = *state;
    char path[sizeof(r->path)], other[sizeof(r->path)];
    snprintf(path, sizeof(path), "%s", r->path);
    snprintf(other, sizeof(other), "%s/other.db", r->folder);
    close_sink(r);
    memcpy(r->path, other, sizeof(other));
    open_sink(r);
    batch_block(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    memcpy(r->path, path, sizeof(path));
    open_sink(r);
    again(r);
    write_three(r);
    CHECK_INT(rename(other, path), 0);
    check_notices_the_loss_and_begins_again(r);
    CHECK_STR(ask(r, "pragma integrity_check"), "ok");
    CHECK_STR(ask(r, "select hwm, records, readings, gaps from streams"), "4|2|6|2");
    CHECK_STR(ask(r, "select first, last, reason from gaps"), "2|3|upstream_lost");
}

static void the_ledger_is_bounded_and_of_one_device_if_asked(void **state)
{
    struct rig *r = *state;
    struct sink_sqlite_reader *reader = NULL;
    struct json j;
    BUFFER(all, 4096);
    BUFFER(one, 4096);
    batch_block(&r->b, "a", 1, 1);
    batch_block(&r->b, "b", 1, 2);
    batch_write(&r->b, &r->sink);
    CHECK_OK(sink_sqlite_reader_open(r->path, &reader, NULL));
    json_init(&j, &all);
    json_array(&j, NULL);
    CHECK_OK(sink_sqlite_ledger_json(reader, NULL, 1, &j));
    json_array_end(&j);
    buffer_put_u8(&all, 0);
    CHECK(strstr((const char *)all.ptr, "},{") == NULL);
    json_init(&j, &one);
    json_array(&j, NULL);
    CHECK_OK(sink_sqlite_ledger_json(reader, "b", 100, &j));
    json_array_end(&j);
    buffer_put_u8(&one, 0);
    CHECK_STR((const char *)one.ptr, "[{\"device\":\"b\",\"epoch\":\"0000000000000abd\",\"lane\":1,\"hwm\":1,\"top\":3,"
                                     "\"records\":1,\"readings\":3,\"gaps\":0,\"suppressed\":0,\"hop\":false}]");
    sink_sqlite_reader_free(reader);
}

static const char *tail(struct sink_sqlite_reader *reader, int64_t after, size_t limit)
{
    static char text[8192];
    BUFFER(out, sizeof(text) - 1);
    CHECK_OK(sink_sqlite_tail_json(reader, "pump-7", after, limit, &out));
    CHECK_OK(buffer_err(&out));
    memcpy(text, out.ptr, out.len);
    text[out.len] = '\0';
    return text;
}

static int64_t last_row(const char *text)
{
    int64_t row = -1;
    for (const char *at = text; (at = strstr(at, "\"row\":")) != NULL; at += 6) {
        row = strtoll(at + 6, NULL, 10);
    }
    return row;
}

static unsigned rows_of(const char *text)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, "\"row\":")) != NULL; at += 6) {
        count++;
    }
    return count;
}

static void a_tail_begins_with_the_newest_and_follows_without_a_hole(void **state)
{
    struct rig *r = *state;
    struct sink_sqlite_reader *reader = NULL;
    batch_describe(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_block(&r->b, "other", 1, 3);
    batch_block(&r->b, "pump-7", 3, 4);
    batch_write(&r->b, &r->sink);
    CHECK_OK(sink_sqlite_reader_open(r->path, &reader, NULL));
    const char *text = tail(reader, -1, 2);
    CHECK_INT(rows_of(text), 2);
    CHECK_CONTAINS(text, "\"ts\":\"2026-01-01T00:00:03.250Z\",\"channel\":\"pressure\",\"value\":0.4,\"unit\":\"bar\","
                         "\"epoch\":\"0000000000000abd\",\"number\":3}");
    int64_t row = last_row(text);
    CHECK_INT(rows_of(tail(reader, row, 100)), 0);
    again(r);
    batch_block(&r->b, "pump-7", 4, 5);
    batch_write(&r->b, &r->sink);
    CHECK_INT(rows_of(tail(reader, row, 2)), 2);
    CHECK_INT(rows_of(tail(reader, last_row(tail(reader, row, 2)), 100)), 1);
    CHECK_INT(rows_of(tail(reader, 0, 100)), 9);
    CHECK_INT(rows_of(tail(reader, -1, 100)), 9);
    CHECK_INT(rows_of(tail(reader, -1, 0)), 0);
    BUFFER(out, 1024);
    CHECK_OK(sink_sqlite_tail_json(reader, "nobody", -1, 10, &out));
    buffer_put_u8(&out, 0);
    CHECK_STR((const char *)out.ptr, "{\"readings\":[]}");
    sink_sqlite_reader_free(reader);
}

static void a_tail_of_what_rules_left_has_as_many_readings_as_were_asked_for(void **state)
{
    struct rig *r = *state;
    struct sink_sqlite_reader *reader = NULL;
    sqlite3 *db = NULL;
    batch_describe(&r->b, "pump-7", 1, 1);
    for (uint64_t number = 2; number <= 9; number++) {
        batch_thinned(&r->b, "pump-7", number, number);
    }
    batch_write(&r->b, &r->sink);
    CHECK_OK(sink_sqlite_reader_open(r->path, &reader, NULL));
    for (unsigned pass = 0; pass < 2; pass++) {
        CHECK_INT(rows_of(tail(reader, -1, 1)), 1);
        CHECK_INT(rows_of(tail(reader, -1, 3)), 3);
        CHECK_INT(rows_of(tail(reader, -1, 100)), 8);
        CHECK_CONTAINS(tail(reader, -1, 1), "\"value\":2.5,\"unit\":\"\",\"epoch\":\"0000000000000abd\",\"number\":9}");
        /* once more as an earlier version has counted: what is missing too */
        CHECK_INT(sqlite3_open(r->path, &db), SQLITE_OK);
        CHECK_INT(sqlite3_exec(db, "update record set readings = 4 where kind = 'curated'", NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
    }
    sink_sqlite_reader_free(reader);
}

static void a_database_of_another_program_or_a_later_version_is_refused(void **state)
{
    struct rig *r = *state;
    struct sink sink;
    struct fault fault = {.code = OK};
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/other.db", r->folder);
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "create table t(x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    CHECK_ERR(sink_sqlite_open(path, &sink, &fault), ERR_CONFLICT);
    CHECK_CONTAINS(fault.text, "other.db");
    CHECK_INT(sqlite3_open(r->path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "pragma user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    CHECK_ERR(sink_sqlite_open(r->path, &sink, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "99");
}

static void a_file_that_is_no_database_is_refused_with_its_name(void **state)
{
    struct rig *r = *state;
    struct sink sink;
    struct fault fault = {.code = OK};
    char path[128];
    snprintf(path, sizeof(path), "%s/text.db", r->folder);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    for (unsigned i = 0; i < 1000; i++) {
        fprintf(f, "this is no database\n");
    }
    fclose(f);
    CHECK_ERR(sink_sqlite_open(path, &sink, &fault), ERR_MALFORMED);
    CHECK_CONTAINS(fault.text, "text.db");
    CHECK(sink_sqlite_open("/nowhere/weir.db", &sink, &fault) != OK);
    CHECK_CONTAINS(fault.text, "/nowhere/weir.db");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(readings_are_what_a_person_would_query),
        TEST(a_description_that_comes_late_names_the_rows_before_it),
        TEST(the_query_of_a_device_in_order_of_time_needs_no_sort),
        TEST(every_kind_of_record_has_its_table),
        TEST(a_curated_record_has_its_rows_and_its_windows),
        TEST(a_curated_record_that_brings_names_is_named),
        TEST(a_database_of_the_second_version_gets_quantiles_for_what_comes),
        TEST(readings_are_counted_as_the_rows_that_are_there),
        TEST(a_database_of_the_first_version_is_brought_up_to_date),
        TEST(a_database_of_the_third_version_keeps_its_windows_and_gets_inferences),
        TEST(an_inference_is_one_row_with_who_answered_and_what_the_device_thought),
        TEST(a_batch_written_again_changes_nothing),
        TEST(a_mark_that_was_set_back_by_hand_doubles_nothing),
        TEST(a_jump_is_recorded_as_lost_upstream),
        TEST(of_an_overlapping_range_only_the_new_part_counts),
        TEST(the_gap_of_a_hop_stands_apart_and_has_no_jumps),
        TEST(an_unreadable_entry_is_passed_over_and_the_position_moves),
        TEST(positions_belong_to_the_epoch_of_the_spool),
        TEST(a_kill_in_the_middle_leaves_whole_batches_and_their_position),
        TEST(a_failed_batch_leaves_nothing_and_may_come_again),
        TEST(a_database_that_could_only_be_read_is_refused),
        TEST(after_a_disk_error_the_database_is_opened_again_as_soon_as_that_works),
        TEST(a_database_that_is_removed_is_noticed_and_a_new_one_shows_the_jump),
        TEST(a_database_that_is_replaced_is_noticed_and_the_other_one_is_continued),
        TEST(the_ledger_is_bounded_and_of_one_device_if_asked),
        TEST(a_tail_of_what_rules_left_has_as_many_readings_as_were_asked_for),
        TEST(a_tail_begins_with_the_newest_and_follows_without_a_hole),
        TEST(a_database_of_another_program_or_a_later_version_is_refused),
        TEST(a_file_that_is_no_database_is_refused_with_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
