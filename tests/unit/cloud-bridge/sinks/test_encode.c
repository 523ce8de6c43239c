/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: templates are refused where a broker would choke or order be lost, names of channels are found again, and a
 * journal keeps exactly what was committed, whatever is torn off its end.
 */
#include <fcntl.h>

#include "cloud-bridge/sinks/encode.h"
#include "core/crypt/crypt.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

static const char *problems_of(const char *text, enum sink_template_rules rules)
{
    static char problem[512];
    BUFFER(problems, 4096);
    enum err err = sink_template_check(text, rules, "subject", &problems);
    snprintf(problem, sizeof(problem), "%.*s", (int)problems.len, problems.len ? (const char *)problems.ptr : "");
    CHECK_INT(err == OK, problem[0] == '\0');
    return problem;
}

static void a_subject_is_placeholders_and_words(void **state)
{
    (void)state;
    CHECK_STR(problems_of("weir.{site}.{gateway}.{device}", SINK_TEMPLATE_SUBJECT), "");
    CHECK_STR(problems_of("{device}", SINK_TEMPLATE_SUBJECT), "");
    CHECK_CONTAINS(problems_of("weir.{site}", SINK_TEMPLATE_SUBJECT), "{device} must be in it");
    CHECK_CONTAINS(problems_of("weir..{device}", SINK_TEMPLATE_SUBJECT), "empty");
    CHECK_CONTAINS(problems_of("weir.{device}.", SINK_TEMPLATE_SUBJECT), "empty");
    CHECK_CONTAINS(problems_of("", SINK_TEMPLATE_SUBJECT), "empty");
    CHECK_CONTAINS(problems_of("weir.*.{device}", SINK_TEMPLATE_SUBJECT), "a word of");
    CHECK_CONTAINS(problems_of("weir.>.{device}", SINK_TEMPLATE_SUBJECT), "a word of");
    CHECK_CONTAINS(problems_of("we ir.{device}", SINK_TEMPLATE_SUBJECT), "a word of");
    CHECK_CONTAINS(problems_of("$JS.{device}", SINK_TEMPLATE_SUBJECT), "a word of");
    CHECK_CONTAINS(problems_of("dev-{device}", SINK_TEMPLATE_SUBJECT), "a word of");
    CHECK_CONTAINS(problems_of("{site}{device}", SINK_TEMPLATE_SUBJECT), "a word of");
    CHECK_CONTAINS(problems_of("weir.{devise}", SINK_TEMPLATE_SUBJECT), "{devise} is no placeholder");
    CHECK_CONTAINS(problems_of("weir.{device", SINK_TEMPLATE_SUBJECT), "is no placeholder");
}

static void a_topic_may_be_anything_that_mqtt_allows(void **state)
{
    (void)state;
    char longest[SINK_TEMPLATE_MAX + 20];
    memset(longest, 'a', sizeof(longest));
    snprintf(longest + SINK_TEMPLATE_MAX, 20, "/{device}");
    CHECK_STR(problems_of("w\xc3\xa4rme/{site}-{gateway}/{device}/{kind}", SINK_TEMPLATE_TOPIC), "");
    CHECK_STR(problems_of("a.b c/{device}", SINK_TEMPLATE_TOPIC), "");
    CHECK_CONTAINS(problems_of("weir/+/{device}", SINK_TEMPLATE_TOPIC), "without + #");
    CHECK_CONTAINS(problems_of("weir/{device}/#", SINK_TEMPLATE_TOPIC), "without + #");
    CHECK_CONTAINS(problems_of("weir/\x01/{device}", SINK_TEMPLATE_TOPIC), "control");
    CHECK_CONTAINS(problems_of("weir/\xff/{device}", SINK_TEMPLATE_TOPIC), "UTF-8");
    CHECK_CONTAINS(problems_of("$SYS/{device}", SINK_TEMPLATE_TOPIC), "belong to the broker");
    CHECK_CONTAINS(problems_of("/{device}", SINK_TEMPLATE_TOPIC), "empty");
    CHECK_CONTAINS(problems_of(longest, SINK_TEMPLATE_TOPIC), "longer than");
}

static void a_template_is_filled_in_and_what_is_open_becomes_a_star(void **state)
{
    (void)state;
    const struct sink_template_values values = {.site = "plant1", .device = "pump-7", .lane = sink_lane_name(0)};
    BUFFER(out, 256);
    sink_template_render("weir.{site}.{gateway}.{device}.{lane}", &values, &out);
    buffer_put_u8(&out, 0);
    CHECK_STR((const char *)out.ptr, "weir.plant1.*.pump-7.alarm");
}

/* ---- names ---- */
static Weir__V1__ChannelInfo infos[2];
static Weir__V1__ChannelInfo *info_list[2] = {&infos[0], &infos[1]};

static Weir__V1__Describe description(uint32_t set)
{
    static char pressure[] = "pressure", bar[] = "bar", flow[] = "flow", none[] = "";
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    weir__v1__channel_info__init(&infos[0]);
    weir__v1__channel_info__init(&infos[1]);
    infos[0].name = pressure;
    infos[0].unit = bar;
    infos[1].name = flow;
    infos[1].unit = none;
    d.set = set;
    d.n_channel = 2;
    d.channel = info_list;
    return d;
}

static void names_are_kept_per_device_and_set_the_newest_of_them(void **state)
{
    (void)state;
    CLEANUP(sink_names_freep) struct sink_names *names = NULL;
    bool is_new = false;
    CHECK_OK(sink_names_new(&names));
    for (uint32_t set = 1; set <= SINK_NAMES_SETS + 1; set++) {
        const Weir__V1__Describe d = description(set);
        CHECK_OK(sink_names_add(names, "pump-7", &d, &is_new));
        CHECK(is_new);
        CHECK_OK(sink_names_add(names, "pump-7", &d, &is_new));
        CHECK(!is_new);
    }
    CHECK(sink_names_find(names, "pump-7", 1) == NULL);
    CHECK(sink_names_find(names, "pump-8", 2) == NULL);
    const struct sink_names_set *found = sink_names_find(names, "pump-7", 2);
    CHECK(found != NULL);
    CHECK_INT(found->count, 2);
    CHECK_STR(found->name[1], "flow");
    CHECK_STR(found->unit[0], "bar");
}

/* ---- journal ---- */
struct rig {
    char folder[64], path[96];
    struct sink_marks marks;
    struct sink_names *names;
    struct sink_journal *journal;
    struct sink_journal_state state;
};

static enum err open_journal(struct rig *r)
{
    struct fault fault = {.code = OK};
    sink_journal_free(take(r->journal));
    sink_marks_clear(&r->marks);
    sink_names_free(take(r->names));
    CHECK_OK(sink_names_new(&r->names));
    return sink_journal_open(r->path, &r->marks, r->names, &r->state, &r->journal, &fault);
}

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    scratch_new(r->folder);
    snprintf(r->path, sizeof(r->path), "%s/journal", r->folder);
    CHECK_OK(open_journal(r));
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    sink_journal_free(r->journal);
    sink_marks_clear(&r->marks);
    sink_names_free(r->names);
    scratch_free(r->folder);
    free(r);
    return 0;
}

static void mark(struct rig *r, const char *device, uint64_t number)
{
    struct wire_forward f = {.epoch = 5, .first = number, .last = number, .top = number, .lane = 1};
    struct sink_mark *m = sink_marks_find(&r->marks, device, 5);
    struct sink_step step;
    if (m == NULL) {
        CHECK_OK(sink_marks_add(&r->marks, device, 5, 1, false, &m));
    }
    sink_mark_step(m, &f, &step);
    sink_mark_take(&r->marks, m, &step, &f, SINK_BLOCK, 0);
}

static void commit(struct rig *r, uint64_t position)
{
    const uint64_t epoch[INBOX_LANES] = {1, 2}, reached[INBOX_LANES] = {0, position};
    char extra[24];
    struct fault fault = {.code = OK};
    snprintf(extra, sizeof(extra), "extra %d", (int)position);
    CHECK_OK(sink_journal_commit(r->journal, epoch, reached, slice_str(extra), &fault));
}

static uint64_t hwm(struct rig *r, const char *device)
{
    const struct sink_mark *m = sink_marks_find(&r->marks, device, 5);
    return m != NULL ? m->stream.hwm : 0;
}

static off_t size_of(struct rig *r)
{
    struct stat st;
    CHECK_INT(stat(r->path, &st), 0);
    return st.st_size;
}

static void what_was_committed_is_there_again(void **state)
{
    struct rig *r = *state;
    const Weir__V1__Describe d = description(7);
    CHECK(r->state.fresh);
    mark(r, "pump-7", 4);
    mark(r, "valve", 9);
    CHECK_OK(sink_journal_describe(r->journal, "pump-7", &d));
    commit(r, 13);
    CHECK_OK(open_journal(r));
    CHECK(!r->state.fresh);
    CHECK_INT(r->state.epoch[1], 2);
    CHECK_INT(r->state.position[1], 13);
    CHECK_INT(r->state.extra_len, strlen("extra 13"));
    CHECK_INT(hwm(r, "pump-7"), 4);
    CHECK_INT(hwm(r, "valve"), 9);
    CHECK(sink_names_find(r->names, "pump-7", 7) != NULL);
    CHECK_STR(sink_names_find(r->names, "pump-7", 7)->name[0], "pressure");
}

static void whatever_is_torn_off_the_last_commit_that_is_whole_counts(void **state)
{
    struct rig *r = *state;
    mark(r, "pump-7", 1);
    commit(r, 1);
    off_t first = size_of(r);
    mark(r, "pump-7", 2);
    commit(r, 2);
    off_t second = size_of(r);
    for (off_t cut = second - 1; cut >= first; cut--) {
        CHECK_INT(truncate(r->path, cut), 0);
        CHECK_OK(open_journal(r));
        CHECK_INT(r->state.position[1], 1);
        CHECK_INT(hwm(r, "pump-7"), 1);
        CHECK_INT(size_of(r), first);
        mark(r, "pump-7", 2); /* it goes on from there */
        commit(r, 2);
        CHECK_OK(open_journal(r));
        CHECK_INT(r->state.position[1], 2);
        CHECK_INT(hwm(r, "pump-7"), 2);
    }
}

static void a_byte_that_changed_ends_the_journal_there(void **state)
{
    struct rig *r = *state;
    mark(r, "pump-7", 1);
    commit(r, 1);
    off_t first = size_of(r);
    mark(r, "pump-7", 2);
    commit(r, 2);
    off_t second = size_of(r);
    CLEANUP(charp_freep) char *bytes = malloc((size_t)second);
    int fd = open(r->path, O_RDWR);
    CHECK_INT(pread(fd, bytes, (size_t)second, 0), second);
    for (off_t at = first; at < second; at++) {
        char other = (char)(bytes[at] ^ 0x20);
        CHECK_INT(pwrite(fd, bytes, (size_t)second, 0), second);
        CHECK_INT(pwrite(fd, &other, 1, at), 1);
        CHECK_OK(open_journal(r));
        CHECK_INT(r->state.position[1], 1);
    }
    for (off_t at = 0; at < 13; at++) { /* its head */
        char other = (char)(bytes[at] ^ 0x20);
        CHECK_INT(pwrite(fd, bytes, (size_t)second, 0), second);
        CHECK_INT(pwrite(fd, &other, 1, at), 1);
        CHECK_ERR(open_journal(r), ERR_CONFLICT);
        close(fd);
        fd = open(r->path, O_RDWR);
    }
    close(fd);
}

static void it_is_written_anew_before_it_grows_without_end(void **state)
{
    struct rig *r = *state;
    const Weir__V1__Describe d = description(7);
    CHECK_OK(sink_journal_describe(r->journal, "device-1", &d));
    for (uint64_t i = 1; i <= 2000; i++) {
        for (unsigned k = 0; k < 50; k++) {
            char device[32];
            snprintf(device, sizeof(device), "device-%u", k);
            mark(r, device, i);
        }
        commit(r, i);
        CHECK(size_of(r) < 2 << 20);
    }
    CHECK_OK(open_journal(r));
    CHECK_INT(r->state.position[1], 2000);
    CHECK_INT(hwm(r, "device-0"), 2000);
    CHECK_INT(hwm(r, "device-49"), 2000);
    CHECK(sink_names_find(r->names, "device-1", 7) != NULL);
}

/* ---- holes, and journals from before there were any ---- */
static void put_sealed(FILE *f, uint8_t type, struct slice body)
{
    BUFFER(entry, 512);
    buffer_put_u8(&entry, type);
    buffer_put_u32le(&entry, (uint32_t)body.len);
    uint32_t crc = crypt_crc32c(crypt_crc32c(0, entry.ptr, 5), body.ptr, body.len);
    buffer_put_u32le(&entry, crc);
    buffer_put_slice(&entry, body);
    CHECK_INT(fwrite(entry.ptr, 1, entry.len, f), entry.len);
}

static void write_version_1(const char *path)
{
    FILE *f = fopen(path, "w");
    BUFFER(head, 8);
    BUFFER(row, 64);
    BUFFER(end, 64);
    CHECK(f != NULL);
    buffer_put_u32le(&head, 1);
    buffer_put_varint(&row, 1);
    buffer_put_str(&row, "a");
    buffer_put_u64le(&row, 5);
    buffer_put_u8(&row, 1);
    buffer_put_u8(&row, 0);
    buffer_put_varint(&row, 40);
    buffer_put_varint(&row, 41);
    for (uint64_t lane = 0; lane < INBOX_LANES; lane++) {
        buffer_put_u64le(&end, lane + 1);
        buffer_put_u64le(&end, 7 * lane);
    }
    buffer_put_varint(&end, 0);
    put_sealed(f, 'H', buffer_slice(&head));
    put_sealed(f, 'M', buffer_slice(&row));
    put_sealed(f, 'C', buffer_slice(&end));
    fclose(f);
}

static const struct sink_holes *holes(struct rig *r)
{
    const struct sink_mark *m = sink_marks_find(&r->marks, "a", 5);
    CHECK(m != NULL);
    return &m->holes;
}

static void a_journal_without_holes_is_read_and_written_anew_with_them(void **state)
{
    struct rig *r = *state;
    write_version_1(r->path);
    CHECK_OK(open_journal(r));
    CHECK_INT(hwm(r, "a"), 40);
    CHECK_INT(holes(r)->count, 0);
    CHECK_INT(r->state.position[1], 7);
    mark(r, "a", 51);
    CHECK_INT(holes(r)->count, 1);
    commit(r, 8);
    CHECK_OK(open_journal(r));
    CHECK_INT(hwm(r, "a"), 51);
    CHECK_INT(holes(r)->count, 1);
    mark(r, "a", 45);
    commit(r, 9);
    CHECK_OK(open_journal(r));
    CHECK_INT(hwm(r, "a"), 51);
    CHECK_INT(holes(r)->count, 2);
    CHECK_INT(holes(r)->list[0].first, 41);
    CHECK_INT(holes(r)->list[0].last, 44);
    CHECK_INT(holes(r)->list[1].first, 46);
    CHECK_INT(holes(r)->list[1].last, 50);
}

static void another_file_is_not_taken_for_a_journal(void **state)
{
    struct rig *r = *state;
    FILE *f = fopen(r->path, "w");
    fputs("device,ts,channel\n", f);
    fclose(f);
    CHECK_ERR(open_journal(r), ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subject_is_placeholders_and_words),
        cmocka_unit_test(a_topic_may_be_anything_that_mqtt_allows),
        cmocka_unit_test(a_template_is_filled_in_and_what_is_open_becomes_a_star),
        cmocka_unit_test(names_are_kept_per_device_and_set_the_newest_of_them),
        cmocka_unit_test_setup_teardown(what_was_committed_is_there_again, start, end),
        cmocka_unit_test_setup_teardown(whatever_is_torn_off_the_last_commit_that_is_whole_counts, start, end),
        cmocka_unit_test_setup_teardown(a_byte_that_changed_ends_the_journal_there, start, end),
        cmocka_unit_test_setup_teardown(it_is_written_anew_before_it_grows_without_end, start, end),
        cmocka_unit_test_setup_teardown(a_journal_without_holes_is_read_and_written_anew_with_them, start, end),
        cmocka_unit_test_setup_teardown(another_file_is_not_taken_for_a_journal, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
