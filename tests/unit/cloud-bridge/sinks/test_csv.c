/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the CSV files hold each record once, under names that say their range; a batch tool sees complete files only,
 * whatever was cut off, repeated or left half.
 */
#include <dirent.h>
#include <fcntl.h>

#include "cloud-bridge/sinks/csv_internal.h"
#include "cloud-bridge/sinks/load.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

struct rig {
    char folder[64], path[96];
    struct sink_csv_settings settings;
    struct sink sink;
    struct batch b;
    char text[65536];
};

static enum err try_open(struct rig *r, struct fault *fault)
{
    return sink_csv_open(&r->settings, "bridge1", &r->sink, fault);
}

static void open_sink(struct rig *r)
{
    struct fault fault = {.code = OK};
    if (try_open(r, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
}

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    scratch_new(r->folder);
    snprintf(r->path, sizeof(r->path), "%s/csv", r->folder);
    r->settings = (struct sink_csv_settings){.path = r->path, .rotate = 1 << 20};
    open_sink(r);
    batch_begin(&r->b);
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    if (r->sink.ops != NULL) {
        r->sink.ops->close(r->sink.self);
    }
    batch_end(&r->b);
    scratch_free(r->folder);
    free(r);
    return 0;
}

static void again(struct rig *r)
{
    batch_end(&r->b);
    batch_begin(&r->b);
}

static void close_sink(struct rig *r)
{
    r->sink.ops->close(r->sink.self);
    r->sink.ops = NULL;
}

/* The process ends without closing: what the folder holds is copied away, and put back after the close. */
static void crash(struct rig *r)
{
    char command[400];
    snprintf(command, sizeof(command), "cp -r %s %s.crash", r->path, r->path);
    CHECK_INT(system(command), 0);
    close_sink(r);
    snprintf(command, sizeof(command), "rm -r %s && mv %s.crash %s", r->path, r->path, r->path);
    CHECK_INT(system(command), 0);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All lines of a kind's closed files (in the order of their names) but the heads, joined by '|'; *files their number.
 * */
static const char *rows(struct rig *r, const char *kind, unsigned *files)
{
    char *names[64], path[512];
    size_t count = 0, len = 0;
    DIR *dir = opendir(r->path);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, kind, strlen(kind)) == 0) {
            names[count++] = strdup(e->d_name);
        }
    }
    closedir(dir);
    qsort(names, count, sizeof(names[0]), compare);
    r->text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char line[1024];
        snprintf(path, sizeof(path), "%s/%s", r->path, names[i]);
        FILE *f = fopen(path, "r");
        CHECK(fgets(line, sizeof(line), f) != NULL && strncmp(line, "device,", 7) == 0);
        while (fgets(line, sizeof(line), f) != NULL) {
            line[strcspn(line, "\n")] = '\0';
            len += (size_t)snprintf(r->text + len, sizeof(r->text) - len, "%s%s", len ? "|" : "", line);
        }
        fclose(f);
        free(names[i]);
    }
    if (files != NULL) {
        *files = (unsigned)count;
    }
    return r->text;
}

static void blocks(struct rig *r, uint64_t first, uint64_t last)
{
    again(r);
    for (uint64_t number = first; number <= last; number++) {
        batch_block(&r->b, "pump-7", number, number);
    }
    batch_write(&r->b, &r->sink);
}

/* "first first ..." of the lines of records. */
static const char *numbers(struct rig *r)
{
    static char text[4096];
    size_t len = 0;
    text[0] = '\0';
    char *lines = strdup(rows(r, "records_", NULL)), *rest = lines;
    for (char *line; (line = strsep(&rest, "|")) != NULL && *line != '\0';) {
        unsigned first, last;
        CHECK_INT(sscanf(line, "pump-7,%*[^,],%u,%u", &first, &last), 2);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", len ? " " : "", first);
    }
    free(lines);
    return text;
}

static void rows_of_each_kind_stand_in_files_of_their_own(void **state)
{
    struct rig *r = *state;
    unsigned files;
    batch_event(&r->b, "pump-7", 1, 1);
    batch_describe(&r->b, "pump-7", 1, 1);
    batch_block(&r->b, "pump-7", 2, 2);
    batch_suppressed(&r->b, "pump-7", 3, 5, 3);
    batch_curated(&r->b, "pump-7", 6, 4);
    batch_write(&r->b, &r->sink);
    CHECK_STR(rows(r, "readings_", &files), "");
    CHECK_INT(files, 0); /* nothing is in place before it is complete */
    close_sink(r);
    CHECK_STR(rows(r, "readings_", &files),
              "pump-7,2026-01-01T00:00:02.000000Z,pressure,0.2,bar,ntp,0000000000000abd,2|"
              "pump-7,2026-01-01T00:00:02.000000Z,\"flow \"\"raw\"\"\",5,,ntp,0000000000000abd,2|"
              "pump-7,2026-01-01T00:00:02.250000Z,pressure,0.3,bar,ntp,0000000000000abd,2|"
              "pump-7,2026-01-01T00:00:06.000000Z,pressure,0.6,bar,unsynced,0000000000000abd,6|"
              "pump-7,2026-01-01T00:00:06.000000Z,\"flow \"\"raw\"\"\",5,,unsynced,0000000000000abd,6");
    CHECK_INT(files, 1);
    CHECK_STR(rows(r, "windows_", NULL),
              "pump-7,2026-01-01T00:00:00.000000Z,60000000,pressure,bar,minute,4,3,2,1,5,0,0,0000000000000abc,"
              "0000000000000abd,6,1.9807201947470996,5,5|"
              "pump-7,2026-01-01T00:00:00.000000Z,60000000,\"flow \"\"raw\"\"\",,minute,4,3,2,1,5,1,2,0000000000000abc,"
              "0000000000000abd,6,,,");
    CHECK_STR(rows(r, "records_", NULL),
              "pump-7,0000000000000abc,1,1,alarm,event,,gw,2026-01-01T00:00:00.000000Z|"
              "pump-7,0000000000000abd,1,1,bulk,describe,,gw,2026-01-01T00:00:00.000000Z|"
              "pump-7,0000000000000abd,2,2,bulk,block,,gw,2026-01-01T00:00:00.000000Z|"
              "pump-7,0000000000000abd,3,5,bulk,suppressed,deadband,gw,2026-01-01T00:00:00.000000Z|"
              "pump-7,0000000000000abd,6,6,bulk,curated,,gw,2026-01-01T00:00:00.000000Z");
    char path[256];
    snprintf(path, sizeof(path), "%s/events_bridge1_0000000000000100-000000000001-000000000001_0000000000000101-"
             "000000000001-000000000004.csv", r->path);
    CHECK_INT(access(path, F_OK), 0);
}

static void a_curated_record_that_brings_names_is_named(void **state)
{
    struct rig *r = *state;
    batch_curated_named(&r->b, "pump-7", 6, 4);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    CHECK_STR(rows(r, "readings_", NULL),
              "pump-7,2026-01-01T00:00:06.000000Z,pressure,0.6,bar,unsynced,0000000000000abd,6|"
              "pump-7,2026-01-01T00:00:06.000000Z,\"flow \"\"raw\"\"\",5,,unsynced,0000000000000abd,6");
}

static void a_text_with_line_ends_stays_one_field(void **state)
{
    struct rig *r = *state;
    (void)r;
    BUFFER(out, 256);
    csv_text(&out, "a,b");
    csv_text(&out, "over \"8\"\r\nbar");
    csv_text(&out, "");
    csv_f64(&out, NAN);
    csv_f64(&out, 0.1);
    csv_end(&out);
    csv_text(&out, "next");
    buffer_put_u8(&out, 0);
    CHECK_STR((const char *)out.ptr, "\"a,b\",\"over \"\"8\"\"\r\nbar\",,,0.1\nnext");
}

static void names_are_read_back_and_foreign_ones_are_not(void **state)
{
    (void)state;
    const struct csv_range range[INBOX_LANES] = {{.epoch = 0xabc, .from = 1, .to = 0},
                                                 {.epoch = 7, .from = 10, .to = 99}};
    struct csv_range read[INBOX_LANES];
    char name[CSV_NAME_MAX];
    csv_name_write(CSV_WINDOWS, "bridge_1-a", range, name);
    CHECK_STR(name, "windows_bridge_1-a_0000000000000abc-000000000001-000000000000_0000000000000007-000000000010-"
                    "000000000099.csv");
    CHECK_OK(csv_name_read(name, "bridge_1-a", read));
    CHECK_INT(memcmp(read, range, sizeof(range)), 0);
    CHECK_ERR(csv_name_read(name, "bridge_1", read), ERR_NOT_FOUND);
    CHECK_ERR(csv_name_read(name, "bridge", read), ERR_NOT_FOUND);
    CHECK_ERR(csv_name_read("windows_bridge_1-a_1-1-0_7-10-99.csv", "bridge_1-a", read), ERR_NOT_FOUND);
    CHECK_ERR(csv_name_read("readings.csv", "bridge_1-a", read), ERR_NOT_FOUND);
}

static void a_crash_keeps_what_was_committed_and_no_more(void **state)
{
    struct rig *r = *state;
    char path[160];
    blocks(r, 1, 3);
    blocks(r, 4, 4);
    crash(r);
    snprintf(path, sizeof(path), "%s/.records.part", r->path);
    FILE *f = fopen(path, "a"); /* a batch that was under way */
    fputs("pump-7,0000000000000abd,5,5,bulk,bl", f);
    fclose(f);
    open_sink(r);
    CHECK_INT(batch_position(&r->sink, 1), 4);
    blocks(r, 3, 6); /* what is there is offered again */
    close_sink(r);
    CHECK_STR(numbers(r), "1 2 3 4 5 6");
}

static void a_file_that_an_earlier_version_began_gets_no_rows_of_other_columns(void **state)
{
    struct rig *r = *state;
    char command[400];
    unsigned files;
    batch_curated(&r->b, "pump-7", 1, 1);
    batch_write(&r->b, &r->sink);
    crash(r);
    snprintf(command, sizeof(command), "sed -i 's/,p50,p95,p99$/,old,old,old/' %s/.windows.part", r->path);
    CHECK_INT(system(command), 0);
    open_sink(r);
    CHECK(rows(r, "windows_", &files)[0] != '\0');
    CHECK_INT(files, 1);
    again(r);
    batch_curated(&r->b, "pump-7", 2, 2);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    rows(r, "windows_", &files);
    CHECK_INT(files, 2);
    CHECK_STR(numbers(r), "1 2");
}

static void a_crash_while_files_are_renamed_is_finished(void **state)
{
    struct rig *r = *state;
    const struct csv_range range[INBOX_LANES] = {{.epoch = BATCH_SPOOL_0, .from = 1, .to = 0},
                                                 {.epoch = BATCH_SPOOL_1, .from = 1, .to = 3}};
    char name[CSV_NAME_MAX], path[CSV_NAME_MAX + 100];
    struct fault fault = {.code = OK};
    unsigned files;
    blocks(r, 1, 3);
    csv_name_write(CSV_RECORDS, "bridge1", range, name);
    snprintf(path, sizeof(path), "%s/%s", r->path, name);
    CHECK_INT(mkdir(path, 0700), 0); /* the second of the two renames fails */
    CHECK_ERR(csv_rotate(r->sink.self, &fault), ERR_IO);
    ((struct csv_sink *)r->sink.self)->damaged = true; /* as a write that fails leaves it */
    (void)rows(r, "readings_", &files);
    CHECK_INT(files, 1);
    crash(r);
    CHECK_INT(rmdir(path), 0);
    open_sink(r);
    CHECK_INT(batch_position(&r->sink, 1), 3);
    CHECK_STR(numbers(r), "1 2 3");
    blocks(r, 4, 5);
    close_sink(r);
    CHECK_STR(numbers(r), "1 2 3 4 5");
    (void)rows(r, "readings_", &files);
    CHECK_INT(files, 2);
}

static void files_are_closed_by_size_by_age_and_by_a_new_epoch(void **state)
{
    struct rig *r = *state;
    unsigned files;
    close_sink(r);
    r->settings.rotate = 4096;
    r->settings.rotate_age_us = 60000000;
    open_sink(r);
    blocks(r, 1, 40); /* more than 4 KiB */
    blocks(r, 41, 41);
    (void)rows(r, "records_", &files);
    CHECK_INT(files, 1);
    const struct sink_ops *ops = r->sink.ops;
    CHECK_OK(ops->tick(r->sink.self, 5000000, NULL));
    CHECK_OK(ops->tick(r->sink.self, 64999999, NULL));
    (void)rows(r, "records_", &files);
    CHECK_INT(files, 1);
    CHECK_OK(ops->tick(r->sink.self, 65000000, NULL));
    (void)rows(r, "records_", &files);
    CHECK_INT(files, 2);
    CHECK_OK(ops->tick(r->sink.self, 900000000, NULL)); /* of nothing no file is made */
    (void)rows(r, "records_", &files);
    CHECK_INT(files, 2);
    blocks(r, 42, 42);
    again(r);
    batch_block(&r->b, "pump-7", 43, 1);
    r->b.batch.epoch[1] = 0x999;
    batch_write(&r->b, &r->sink);
    (void)rows(r, "records_", &files);
    CHECK_INT(files, 3);
    close_sink(r);
    (void)rows(r, "records_", &files);
    CHECK_INT(files, 4);
    CHECK_CONTAINS(numbers(r), "40 41 42 43");
}

static void rows_without_a_position_never_replace_a_file(void **state)
{
    struct rig *r = *state;
    for (uint64_t first = 1; first < 7; first += 3) { /* what was given up for this sink */
        again(r);
        batch_gap(&r->b, "pump-7", first, first + 2, 0);
        batch_write(&r->b, &r->sink);
        CHECK_OK(csv_rotate(r->sink.self, NULL));
    }
    again(r);
    batch_block(&r->b, "pump-7", 7, 1);
    batch_write(&r->b, &r->sink);
    close_sink(r);
    CHECK_STR(numbers(r), "1 4 7");
}

static void without_its_journal_the_newest_name_says_how_far_it_is(void **state)
{
    struct rig *r = *state;
    char path[160];
    blocks(r, 1, 3);
    close_sink(r);
    open_sink(r);
    blocks(r, 4, 9);
    close_sink(r);
    snprintf(path, sizeof(path), "%s/.weir-csv.journal", r->path);
    CHECK_INT(unlink(path), 0);
    open_sink(r);
    CHECK_INT(batch_position(&r->sink, 1), 9);
    blocks(r, 10, 11);
    close_sink(r);
    CHECK_STR(numbers(r), "1 2 3 4 5 6 7 8 9 10 11"); /* and no gap is declared for what it does not remember */
}

static void a_jump_is_a_gap_and_an_unreadable_entry_is_passed(void **state)
{
    struct rig *r = *state;
    blocks(r, 1, 2);
    again(r);
    batch_block(&r->b, "pump-7", 5, 4);
    r->b.items[1] = (struct sink_item){.lane = 1, .position = 5, .forward = {.first = 1, .last = 0}};
    r->b.batch.count = 2;
    r->b.batch.position[1] = 5;
    batch_write(&r->b, &r->sink);
    close_sink(r);
    CHECK_CONTAINS(rows(r, "records_", NULL), "pump-7,0000000000000abd,3,4,bulk,gap,upstream_lost");
    open_sink(r);
    CHECK_INT(batch_position(&r->sink, 1), 5);
}

static void a_part_that_was_taken_away_is_told(void **state)
{
    struct rig *r = *state;
    struct fault fault = {.code = OK};
    char path[160];
    blocks(r, 1, 2);
    crash(r);
    snprintf(path, sizeof(path), "%s/.readings.part", r->path);
    CHECK_INT(unlink(path), 0);
    CHECK_ERR(try_open(r, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, ".readings.part is gone");
    r->sink.ops = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_of_each_kind_stand_in_files_of_their_own, start, end),
        cmocka_unit_test_setup_teardown(a_curated_record_that_brings_names_is_named, start, end),
        cmocka_unit_test_setup_teardown(a_text_with_line_ends_stays_one_field, start, end),
        cmocka_unit_test(names_are_read_back_and_foreign_ones_are_not),
        cmocka_unit_test_setup_teardown(a_crash_keeps_what_was_committed_and_no_more, start, end),
        cmocka_unit_test_setup_teardown(a_crash_while_files_are_renamed_is_finished, start, end),
        cmocka_unit_test_setup_teardown(a_file_that_an_earlier_version_began_gets_no_rows_of_other_columns, start, end),
        cmocka_unit_test_setup_teardown(files_are_closed_by_size_by_age_and_by_a_new_epoch, start, end),
        cmocka_unit_test_setup_teardown(rows_without_a_position_never_replace_a_file, start, end),
        cmocka_unit_test_setup_teardown(without_its_journal_the_newest_name_says_how_far_it_is, start, end),
        cmocka_unit_test_setup_teardown(a_jump_is_a_gap_and_an_unreadable_entry_is_passed, start, end),
        cmocka_unit_test_setup_teardown(a_part_that_was_taken_away_is_told, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
