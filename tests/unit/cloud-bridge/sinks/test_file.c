/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the files hold each record once as a line of JSON, whatever was torn off, written twice or left half, and the
 * sink finds its place again by reading one file.
 */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <fcntl.h>

#include "tests/unit/cloud-bridge/sinks/rig.h"

static enum err rig_open(struct rig *r, struct fault *reterr)
{
    return sink_file_open(r->path, r->rotate, &r->sink, reterr);
}

static void reopen(struct rig *r)
{
    close_sink(r);
    open_sink(r);
}

static int start(void **state)
{
    return rig_start(state, "records", 1 << 20);
}

static void file_path(struct rig *r, unsigned number, char path[160])
{
    snprintf(path, 160, "%s/weir-%08u.jsonl", r->path, number);
}

static long size_of(struct rig *r, unsigned number)
{
    char path[160];
    struct stat st;
    file_path(r, number, path);
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

static void cut_to(struct rig *r, unsigned number, long size)
{
    char path[160];
    file_path(r, number, path);
    CHECK_INT(truncate(path, size), 0);
}

static void append_text(struct rig *r, unsigned number, const char *text)
{
    char path[160];
    file_path(r, number, path);
    FILE *f = fopen(path, "a");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

/* Reads all files as a person's program would; "first-last kind" of the device's records, by ' '. Fails on bad
 * JSON. */
static const char *records_of(struct rig *r, const char *device)
{
    static char text[16384];
    size_t len = 0;
    text[0] = '\0';
    for (unsigned number = 1;; number++) {
        char path[160], *line = NULL;
        size_t cap = 0;
        file_path(r, number, path);
        FILE *f = fopen(path, "r");
        if (f == NULL) {
            return text;
        }
        while (getline(&line, &cap, f) > 0) {
            cJSON *json = cJSON_Parse(line);
            if (json == NULL) {
                fprintf(stderr, "%s: not JSON: %s\n", path, line);
                fail();
            }
            const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(json, "device"));
            if (name != NULL && strcmp(name, device) == 0) {
                len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%g-%g %s", len ? " " : "",
                                        cJSON_GetNumberValue(cJSON_GetObjectItem(json, "first")),
                                        cJSON_GetNumberValue(cJSON_GetObjectItem(json, "last")),
                                        cJSON_GetStringValue(cJSON_GetObjectItem(json, "kind")));
            }
            cJSON_Delete(json);
        }
        free(line);
        fclose(f);
    }
}

static void blocks(struct rig *r, uint64_t first, uint64_t last)
{
    again(r);
    for (uint64_t number = first; number <= last; number++) {
        batch_block(&r->b, "pump-7", number, number);
    }
    batch_write(&r->b, &r->sink);
}

static void a_record_is_one_line_with_its_readings(void **state)
{
    struct rig *r = *state;
    char path[160], *line = NULL;
    size_t cap = 0;
    blocks(r, 1, 1);
    file_path(r, 1, path);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    CHECK(getline(&line, &cap, f) > 0); /* the head */
    CHECK(getline(&line, &cap, f) > 0);
    CHECK_STR(line, "{\"lane\":1,\"position\":1,\"device\":\"pump-7\",\"epoch\":\"0000000000000abd\",\"first\":1,"
                    "\"last\":1,\"hop\":0,\"kind\":\"block\",\"gateway\":\"gw\","
                    "\"received\":\"2026-01-01T00:00:00.000Z\",\"set\":7,"
                    "\"quality\":1,\"readings\":[{\"ts\":\"2026-01-01T00:00:01.000Z\",\"values\":[0.1,5]},"
                    "{\"ts\":\"2026-01-01T00:00:01.250Z\",\"values\":[0.2,null]}],"
                    "\"commit\":{\"epoch\":[\"0000000000000100\",\"0000000000000101\"],\"position\":[0,1],"
                    "\"crc\":\"f0f94bdf\"}}\n");
    free(line);
    fclose(f);
}

static void every_kind_of_record_is_written_as_json(void **state)
{
    struct rig *r = *state;
    batch_event(&r->b, "pump-7", 1, 1);
    batch_describe(&r->b, "pump-7", 1, 1);
    batch_health(&r->b, "pump-7", 2, 2);
    batch_gap(&r->b, "pump-7", 3, 4, 4);
    batch_suppressed(&r->b, "pump-7", 5, 6, 6);
    batch_raw(&r->b, "pump-7", 7, slice_str("\xff\xff"), 7);
    batch_inference(&r->b, "pump-7", true, 8, 8);
    batch_write(&r->b, &r->sink);
    CHECK_STR(records_of(r, "pump-7"),
              "1-1 event 1-1 describe 2-2 health 3-4 gap 5-6 suppressed 7-7 unread 8-8 inference");
    CHECK_INT(batch_position(&r->sink, 0), 1);
    CHECK_INT(batch_position(&r->sink, 1), 8);
}

static void a_batch_written_again_changes_nothing(void **state)
{
    struct rig *r = *state;
    blocks(r, 1, 3);
    long size = size_of(r, 1);
    batch_write(&r->b, &r->sink);
    reopen(r);
    batch_write(&r->b, &r->sink);
    CHECK_INT(size_of(r, 1), size);
    CHECK_INT(batch_position(&r->sink, 1), 3);
}

static void jumps_and_overlaps_are_judged_by_the_marks_also_after_opening_again(void **state)
{
    struct rig *r = *state;
    blocks(r, 1, 2);
    reopen(r);
    again(r);
    batch_gap(&r->b, "pump-7", 1, 4, 4);
    batch_block(&r->b, "pump-7", 8, 8);
    batch_write(&r->b, &r->sink);
    CHECK_STR(records_of(r, "pump-7"), "1-1 block 2-2 block 3-4 gap 5-7 gap 8-8 block");
}

static void a_torn_tail_of_any_length_is_cut_and_the_batch_comes_again_whole(void **state)
{
    struct rig *r = *state;
    blocks(r, 1, 2);
    long whole = size_of(r, 1);
    blocks(r, 3, 5);
    long longer = size_of(r, 1);
    for (long size = longer - 1; size >= whole; size -= 7) {
        cut_to(r, 1, size);
        reopen(r);
        CHECK_INT(size_of(r, 1), whole);
        CHECK_INT(batch_position(&r->sink, 1), 2);
        CHECK_STR(records_of(r, "pump-7"), "1-1 block 2-2 block");
        blocks(r, 3, 5);
        CHECK_INT(size_of(r, 1), longer);
        CHECK_STR(records_of(r, "pump-7"), "1-1 block 2-2 block 3-3 block 4-4 block 5-5 block");
    }
}

static void zero_out(struct rig *r, unsigned number, long from, long to)
{
    static const char zeros[512];
    char path[160];
    file_path(r, number, path);
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0 && to - from <= (long)sizeof(zeros));
    CHECK_INT(pwrite(fd, zeros, (size_t)(to - from), from), to - from);
    close(fd);
}

static void a_batch_with_a_hole_before_its_commit_is_cut_and_comes_again_whole(void **state)
{
    struct rig *r = *state;
    blocks(r, 1, 2);
    long whole = size_of(r, 1);
    blocks(r, 3, 8);
    long longer = size_of(r, 1);
    CHECK(longer > whole + 1024);
    for (long at = whole; at < longer; at += 97) { /* as sectors that were not written before the power failed */
        zero_out(r, 1, at, at + 512 < longer ? at + 512 : longer);
        reopen(r);
        CHECK_INT(size_of(r, 1), whole);
        CHECK_INT(batch_position(&r->sink, 1), 2);
        blocks(r, 3, 8);
        CHECK_INT(size_of(r, 1), longer);
        CHECK_STR(records_of(r, "pump-7"),
                  "1-1 block 2-2 block 3-3 block 4-4 block 5-5 block 6-6 block 7-7 block 8-8 block");
    }
}

static void a_new_file_with_a_hole_in_its_head_is_taken_away(void **state)
{
    struct rig *r = *state;
    close_sink(r);
    r->rotate = 1;
    open_sink(r);
    blocks(r, 1, 1);
    long head = size_of(r, 1); /* every batch rotates: file 1 is a head and nothing else */
    close_sink(r);
    for (long from = 0; from < head; from += 11) {
        char path[160];
        file_path(r, 2, path);
        CHECK_INT(unlink(path), 0);
        open_sink(r);
        blocks(r, 1, 1);
        close_sink(r);
        cut_to(r, 2, head);
        zero_out(r, 2, from, from + 40 < head ? from + 40 : head);
        open_sink(r);
        CHECK_INT(size_of(r, 2), -1);
        blocks(r, 1, 1);
        CHECK_STR(records_of(r, "pump-7"), "1-1 block");
        close_sink(r);
    }
    open_sink(r);
}

static void a_damaged_head_with_batches_behind_it_is_refused_and_kept(void **state)
{
    struct rig *r = *state;
    struct fault fault = {.code = OK};
    struct sink sink;
    blocks(r, 1, 2);
    long size = size_of(r, 1);
    for (long from = 0; from < 130; from += 9) {
        zero_out(r, 1, from, from + 9);
        CHECK_ERR(sink_file_open(r->path, r->rotate, &sink, &fault), ERR_MALFORMED);
        CHECK_INT(size_of(r, 1), size);
    }
}

static void garbage_behind_the_last_commit_is_cut(void **state)
{
    struct rig *r = *state;
    blocks(r, 1, 2);
    long whole = size_of(r, 1);
    append_text(r, 1, "{\"lane\":1,\"position\":99,\"device\":\"x\"}\nrubbish");
    reopen(r);
    CHECK_INT(size_of(r, 1), whole);
    CHECK_INT(batch_position(&r->sink, 1), 2);
}

static void files_rotate_and_the_marks_go_along(void **state)
{
    struct rig *r = *state;
    close_sink(r);
    r->rotate = 600;
    open_sink(r);
    again(r);
    batch_event(&r->b, "quiet", 1, 1);
    batch_write(&r->b, &r->sink);
    for (uint64_t number = 1; number <= 10; number++) {
        blocks(r, number, number);
    }
    CHECK(size_of(r, 3) > 0);
    reopen(r);
    CHECK_INT(batch_position(&r->sink, 1), 10);
    blocks(r, 1, 11); /* all but the last are known, from files that are not read any more */
    again(r);
    batch_event(&r->b, "quiet", 1, 1);
    batch_write(&r->b, &r->sink);
    CHECK_STR(records_of(r, "quiet"), "1-1 event");
    CHECK_STR(records_of(r, "pump-7"), "1-1 block 2-2 block 3-3 block 4-4 block 5-5 block 6-6 block 7-7 block "
                                       "8-8 block 9-9 block 10-10 block 11-11 block");
}

static void a_new_file_that_was_not_finished_is_taken_away(void **state)
{
    struct rig *r = *state;
    blocks(r, 1, 2);
    append_text(r, 2, "{\"weir\":\"records\",\"version\":2,\"streams\":[{\"device\":\"pu");
    reopen(r);
    CHECK_INT(size_of(r, 2), -1);
    CHECK_INT(batch_position(&r->sink, 1), 2);
    append_text(r, 2, "{\"wei");
    reopen(r);
    CHECK_INT(size_of(r, 2), -1);
    append_text(r, 2, "");
    reopen(r);
    CHECK_INT(size_of(r, 2), -1);
}

static void the_position_of_an_unknown_spool_is_zero(void **state)
{
    struct rig *r = *state;
    const uint64_t other[INBOX_LANES] = {1, BATCH_SPOOL_1};
    uint64_t position[INBOX_LANES] = {9, 9};
    batch_event(&r->b, "pump-7", 1, 5);
    batch_write(&r->b, &r->sink);
    CHECK_OK(r->sink.ops->position(r->sink.self, other, position));
    CHECK_INT(position[0], 0);
}

static void a_write_that_fails_leaves_nothing_and_may_come_again(void **state)
{
    struct rig *r = *state;
    struct fault fault = {.code = OK};
    char path[160], away[192];
    blocks(r, 1, 2);
    /* The next file cannot be made: its name is taken by a folder. */
    close_sink(r);
    r->rotate = 1;
    open_sink(r);
    file_path(r, 2, path);
    CHECK_INT(mkdir(path, 0700), 0);
    again(r);
    batch_block(&r->b, "pump-7", 3, 3);
    CHECK(r->sink.ops->write(r->sink.self, &r->b.batch, &fault) != OK);
    CHECK_CONTAINS(fault.text, r->path);
    snprintf(away, sizeof(away), "%s-away", path);
    CHECK_INT(rename(path, away), 0);
    batch_write(&r->b, &r->sink);
    CHECK_STR(records_of(r, "pump-7"), "1-1 block 2-2 block 3-3 block");
}

static void a_file_of_somebody_else_is_refused(void **state)
{
    struct rig *r = *state;
    struct sink sink;
    struct fault fault = {.code = OK};
    append_text(r, 7, "hello\n");
    CHECK_ERR(sink_file_open(r->path, 1000, &sink, &fault), ERR_MALFORMED);
    CHECK_CONTAINS(fault.text, "file 7");
    CHECK(sink_file_open("/nowhere/at/all", 1000, &sink, &fault) != OK);
    CHECK_CONTAINS(fault.text, "/nowhere/at/all");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_is_one_line_with_its_readings),
        TEST(every_kind_of_record_is_written_as_json),
        TEST(a_batch_written_again_changes_nothing),
        TEST(jumps_and_overlaps_are_judged_by_the_marks_also_after_opening_again),
        TEST(a_torn_tail_of_any_length_is_cut_and_the_batch_comes_again_whole),
        TEST(a_batch_with_a_hole_before_its_commit_is_cut_and_comes_again_whole),
        TEST(a_new_file_with_a_hole_in_its_head_is_taken_away),
        TEST(a_damaged_head_with_batches_behind_it_is_refused_and_kept),
        TEST(garbage_behind_the_last_commit_is_cut),
        TEST(files_rotate_and_the_marks_go_along),
        TEST(a_new_file_that_was_not_finished_is_taken_away),
        TEST(the_position_of_an_unknown_spool_is_zero),
        TEST(a_write_that_fails_leaves_nothing_and_may_come_again),
        TEST(a_file_of_somebody_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
