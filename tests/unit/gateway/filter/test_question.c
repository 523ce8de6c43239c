/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a question to the ring is answered with every reading that was recorded and with no field that may not leave;
 * what the gateway notes goes up exactly once; what is told of a stream's newest records, and of rules on trial, is
 * what became of them.
 */
#include <math.h>
#include <stdio.h>

#include "proto/block/block.h"
#include "proto/wire/wire.h"
#include "tests/unit/gateway/filter/rig.h"

static const char still[] = "rules:\n  still: {channels: \"*\", do: on-change}\n";
static const char masked[] = "rules:\n"
                             "  who: {channels: temp, do: hash}\n"
                             "  age: {channels: flow, do: bucket, width: 2}\n"
                             "  no:  {channels: acc, do: drop}\n"
                             "  few: {channels: \"*\", do: rate, rate: 0.01}\n";
enum { RECORDS = 60 };

/* ---- questions ---- */
struct answer {
    struct arena arena;
    unsigned records, describes, most; /* most: of a page */
    size_t channels;
    uint64_t last, values;
    double first[3]; /* of the newest record, by channel */
};

static bool on_reading(void *arg, const struct filter_reading *reading)
{
    struct answer *a = arg;
    Weir__V1__Record *record = NULL;
    static int64_t cells[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX];
    double resolutions[BLOCK_CHANNELS_MAX];
    CHECK(reading->number > a->last);
    a->last = reading->number;
    if (reading->describe.len > 0) {
        a->describes++;
        arena_reset(&a->arena);
        CHECK_OK(wire_record_unpack(reading->describe, &a->arena, &record));
        a->channels = record->describe->n_channel;
    }
    arena_reset(&a->arena);
    CHECK_OK(wire_record_unpack(reading->record, &a->arena, &record));
    CHECK_INT(record->kind_case, WEIR__V1__RECORD__KIND_CURATED);
    const Weir__V1__Block *b = record->curated->block;
    size_t channels;
    CHECK_OK(block_decode(slice_of(b->columns.data, b->columns.len), b->samples, BLOCK_CHANNELS_MAX, cells, resolutions,
                          &channels));
    CHECK_INT(channels, a->channels);
    for (size_t i = 0; i < channels * b->samples; i++) {
        a->values += cells[i] != BLOCK_MISSING;
    }
    for (size_t i = 0; i < channels && i < 3; i++) {
        a->first[i] = block_value(cells[i * b->samples], resolutions[i]);
    }
    return ++a->records % a->most != 0;
}

static struct filter_page ask(struct rig *r, const char *device, uint64_t from_us, uint64_t to_us,
                              enum filter_face face, struct answer *a)
{
    CLEANUP(filter_question_freep) struct filter_question *q = NULL;
    struct filter_page page = {.cursor = 0};
    CHECK_OK(arena_init(&a->arena, WIRE_ARENA_BYTES));
    CHECK_OK(filter_question_new(r->filter, device, from_us, to_us, face, &q));
    do {
        CHECK_OK(filter_question_page(q, page.cursor, 7, on_reading, a, &page));
    } while (page.cursor != 0);
    arena_deinit(&a->arena);
    return page;
}

static void begin(struct rig *r, const char *rules)
{
    rig_init(r, 0);
    r->options.ring_bytes = 1 << 20;
    r->options.trail = 8;
    r->options.pseudonym_key = slice_str("a plant's key of thirty-two byte");
    rig_start(r, rules);
}

static void every_reading_comes_page_by_page_though_rules_sent_few(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, still);
    rig_load(&r, RECORDS); /* d-1: numbers 1..20, 2..20 are blocks */
    rig_drain(&r);
    struct answer all = {.most = 3};
    struct filter_page page = ask(&r, "d-1", 0, UINT64_MAX, FILTER_MASKED, &all);
    CHECK_INT(all.records, RECORDS / 3 - 1);
    CHECK_INT(all.values, (RECORDS / 3 - 1) * 3 * RIG_ROWS);
    CHECK_INT(all.describes, 1);
    CHECK_INT(page.oldest_us, (uint64_t)RIG_WALL_US + 2 * RIG_ROWS * SECOND_US);
    CHECK_INT(page.left_out, 0);
    CHECK(page.ring_us > 0 && !page.overtaken);
    struct answer some = {.most = 1000};
    ask(&r, "d-1", (uint64_t)RIG_WALL_US + 55 * SECOND_US, (uint64_t)RIG_WALL_US + 80 * SECOND_US, FILTER_MASKED,
        &some);
    CHECK_INT(some.records, 4);
    CHECK_INT(some.last, 8);
    struct answer none = {.most = 1000};
    page = ask(&r, "d-7", 0, UINT64_MAX, FILTER_MASKED, &none);
    CHECK_INT(none.records, 0);
    CHECK_INT(page.oldest_us, 0);
    rig_deinit(&r);
}

static void personal_fields_look_as_they_do_upstream_unless_asked_for_as_they_came(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, masked);
    rig_load(&r, RECORDS);
    rig_drain(&r);
    struct answer hidden = {.most = 1000}, open = {.most = 1000};
    ask(&r, "d-1", 0, UINT64_MAX, FILTER_MASKED, &hidden);
    ask(&r, "d-1", 0, UINT64_MAX, FILTER_AS_IT_CAME, &open);
    CHECK_INT(hidden.channels, 2); /* acc stays */
    CHECK_INT(open.channels, 3);
    CHECK_INT(hidden.values, (RECORDS / 3 - 1) * 2 * RIG_ROWS); /* thinning rules do not apply */
    CHECK(hidden.first[0] != open.first[0] && hidden.first[0] > 1e6);
    CHECK(hidden.first[1] == floor(open.first[1] / 2) * 2);
    CHECK(open.first[0] >= 20 && open.first[0] <= 21);
    rig_deinit(&r);
}

static void readings_are_explained_though_the_ring_has_lost_their_description(void **state)
{
    (void)state;
    for (unsigned restarts = 0; restarts < 2; restarts++) {
        struct rig r;
        struct answer a = {.most = 1000};
        rig_init(&r, 0);
        r.options.ring_bytes = 3000;
        r.options.pseudonym_key = slice_str("a plant's key of thirty-two byte");
        rig_start(&r, masked);
        rig_load(&r, RECORDS);
        rig_drain(&r);
        if (restarts == 1) { /* and nothing has come since */
            rig_crash(&r);
            rig_start(&r, masked);
        }
        CHECK(spool_trimmed(r.raw[1]) > 3);
        struct filter_page page = ask(&r, "d-1", 0, UINT64_MAX, FILTER_MASKED, &a);
        CHECK(a.records > 3 && a.records < RECORDS / 3 - 1);
        CHECK_INT(a.describes, 1);
        CHECK_INT(a.channels, 2);
        CHECK_INT(page.left_out, 0);
        CHECK_INT(a.last, RECORDS / 3);
        rig_deinit(&r);
    }
}

static void a_question_changes_nothing_of_what_goes_up(void **state)
{
    (void)state;
    uint64_t outcomes[2];
    for (unsigned asks = 0; asks < 2; asks++) {
        struct rig r;
        struct answer a = {.most = 1000}, b = {.most = 1000};
        begin(&r, "rules:\n  w: {do: window, length: 60s}\n");
        rig_load(&r, RECORDS / 2);
        rig_drain(&r);
        if (asks == 1) {
            ask(&r, "d-1", 0, UINT64_MAX, FILTER_MASKED, &a);
            ask(&r, "d-2", 0, UINT64_MAX, FILTER_AS_IT_CAME, &b);
        }
        CHECK_OK(rig_try_load(&r, RECORDS / 2, RECORDS / 2));
        rig_drain(&r);
        outcomes[asks] = rig_outcome(&r);
        rig_deinit(&r);
    }
    CHECK(outcomes[0] == outcomes[1]);
}

static void other_rules_end_a_question(void **state)
{
    (void)state;
    struct rig r;
    struct answer a = {.most = 1000};
    struct filter_page page;
    struct filter_question *q = NULL;
    struct rules *other = rig_rules(masked);
    begin(&r, still);
    rig_load(&r, RECORDS);
    rig_drain(&r);
    CHECK_OK(filter_question_new(r.filter, "d-1", 0, UINT64_MAX, FILTER_MASKED, &q));
    CHECK_OK(filter_set_rules(r.filter, other));
    CHECK_ERR(filter_question_page(q, 0, 1000, on_reading, &a, &page), ERR_CONFLICT);
    filter_question_free(q);
    rig_deinit(&r);
    rules_free(other);
}

static void a_question_outlives_the_filter(void **state)
{
    (void)state;
    struct rig r;
    struct answer a = {.most = 1000};
    struct filter_page page;
    struct filter_question *q = NULL;
    begin(&r, still);
    CHECK_OK(filter_question_new(r.filter, "d-1", 0, UINT64_MAX, FILTER_MASKED, &q));
    rig_deinit(&r);
    CHECK_ERR(filter_question_page(q, 0, 1000, on_reading, &a, &page), ERR_CONFLICT);
    filter_question_free(q);
}

/* ---- notes ---- */
struct noted {
    unsigned count;
    uint64_t last;
};

static void on_out(void *arg, const struct rig_out *out)
{
    struct noted *n = arg;
    if (out->hop && out->kind == WEIR__V1__RECORD__KIND_EVENT) {
        CHECK(out->first > n->last && out->first == out->last);
        CHECK_STR(out->device, "gw1");
        n->last = out->first;
        n->count++;
    }
}

static void a_note_goes_up_once_however_often_commits_fail(void **state)
{
    (void)state;
    struct rig r;
    struct noted noted = {.count = 0};
    uint64_t notes[3];
    begin(&r, still);
    rig_load(&r, 6);
    rig_drain(&r);
    store_disk_set_mode(r.disk, STORE_DISK_EIO);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_OK(filter_note(r.filter, "told", "by a person", &notes[i]));
        rig_run(&r, 600 * MS_US);
        CHECK(!filter_noted(r.filter, notes[i]));
    }
    CHECK(!filter_idle(r.filter));
    store_disk_set_mode(r.disk, STORE_DISK_OK);
    rig_drain(&r);
    CHECK(filter_noted(r.filter, notes[0]) && filter_noted(r.filter, notes[2]));
    rig_read(&r, 0, on_out, &noted);
    CHECK_INT(noted.count, 3);
    rig_deinit(&r);
}

static void notes_are_bounded_and_wait_while_the_filter_is_held(void **state)
{
    (void)state;
    struct rig r;
    struct noted noted = {.count = 0};
    uint64_t note = 0;
    unsigned taken = 0;
    begin(&r, still);
    rig_drain(&r);
    filter_hold(r.filter, true);
    while (taken < 1000 && filter_note(r.filter, "told", "again", &note) == OK) {
        taken++;
    }
    CHECK_INT(taken, 64);
    rig_run(&r, SECOND_US);
    CHECK(!filter_noted(r.filter, 1) && filter_idle(r.filter));
    filter_hold(r.filter, false);
    rig_drain(&r);
    rig_read(&r, 0, on_out, &noted);
    CHECK_INT(noted.count, 64);
    CHECK(filter_noted(r.filter, 64) && !filter_noted(r.filter, 65));
    rig_deinit(&r);
}

/* ---- what is told ---- */
static char text[256 * 1024];

static const char *report(struct rig *r, const char *device)
{
    BUFFER(out, sizeof(text) - 1);
    filter_report_json(r->filter, device, &out);
    CHECK_OK(buffer_err(&out));
    memcpy(text, out.ptr, out.len);
    text[out.len] = '\0';
    return text;
}

static uint64_t number_in(const char *from, const char *name)
{
    char want[64];
    CHECK(from != NULL);
    snprintf(want, sizeof(want), "\"%s\":", name);
    from = strstr(from, want);
    CHECK(from != NULL);
    return strtoull(from + strlen(want), NULL, 10);
}

static unsigned count_of(const char *from, const char *what)
{
    unsigned count = 0;
    while ((from = strstr(from, what)) != NULL) {
        from++;
        count++;
    }
    return count;
}

static void a_trail_has_the_newest_records_first_and_no_more_than_it_may(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, still);
    rig_load(&r, RECORDS);
    rig_drain(&r);
    const char *trail = strstr(report(&r, "d-1"), "\"trail\":[");
    CHECK(trail != NULL);
    CHECK_INT(count_of(trail, "\"outcome\""), 8);
    CHECK_INT(number_in(trail, "first"), RECORDS / 3);
    CHECK_CONTAINS(trail, "\"outcome\":\"shaped\"");
    CHECK_INT(number_in(strstr(text, "\"device\":\"d-1\""), "seen"), (RECORDS / 3 - 1) * 3 * RIG_ROWS);
    rig_deinit(&r);
}

static void records_that_one_rule_took_in_a_row_are_one_step(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, "rules:\n  none: {do: range, min: 1000, max: 2000}\n");
    rig_load(&r, RECORDS);
    rig_drain(&r);
    const char *trail = strstr(report(&r, "d-1"), "\"trail\":[");
    CHECK(trail != NULL);
    CHECK_INT(count_of(trail, "\"outcome\""), 2); /* the description was kept */
    CHECK_INT(number_in(trail, "first"), 2);
    CHECK_INT(number_in(trail, "last"), RECORDS / 3);
    CHECK_INT(number_in(trail, "dropped"), (RECORDS / 3 - 1) * 3 * RIG_ROWS);
    CHECK_CONTAINS(trail, "\"rule\":\"none\"");
    rig_deinit(&r);
}

static void without_a_trail_nothing_is_remembered(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0);
    r.options.ring_bytes = 1 << 20;
    rig_start(&r, still);
    rig_load(&r, RECORDS);
    rig_drain(&r);
    CHECK(strstr(report(&r, "d-1"), "\"trail\":[") == NULL);
    CHECK_CONTAINS(text, "\"device\":\"d-1\"");
    rig_deinit(&r);
}

static void failed_commits_are_told_once(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, still);
    filter_hold(r.filter, true);
    rig_load(&r, RECORDS);
    filter_hold(r.filter, false);
    for (unsigned i = 0; i < 4; i++) {
        store_disk_set_mode(r.disk, STORE_DISK_EIO);
        rig_run(&r, 20 * MS_US);
        store_disk_set_mode(r.disk, STORE_DISK_OK);
        rig_run(&r, 501 * MS_US);
    }
    rig_drain(&r);
    const char *trail = strstr(report(&r, "d-1"), "\"trail\":[");
    CHECK(trail != NULL);
    CHECK_INT(number_in(strstr(text, "\"device\":\"d-1\""), "seen"), (RECORDS / 3 - 1) * 3 * RIG_ROWS);
    for (unsigned n = RECORDS / 3; n > RECORDS / 3 - 8; n--) {
        char want[32];
        snprintf(want, sizeof(want), "\"first\":%u,", n);
        CHECK_INT(count_of(trail, want), 1);
    }
    CHECK_INT(number_in(strstr(text, "\"since\""), "records"), RECORDS + (RECORDS + 8) / 9);
    rig_deinit(&r);
}

static void the_same_rules_as_a_shadow_make_the_same_of_what_comes(void **state)
{
    (void)state;
    struct rig r;
    struct rules *same = rig_rules(still);
    begin(&r, still);
    rig_load(&r, RECORDS / 2);
    rig_drain(&r);
    CHECK_OK(filter_set_shadow(r.filter, same)); /* in the middle: the descriptions have gone by */
    CHECK_OK(rig_try_load(&r, RECORDS / 2, RECORDS / 2));
    rig_drain(&r);
    const char *shadow = strstr(report(&r, NULL), "\"shadow\":{");
    CHECK(shadow != NULL);
    const char *live = strstr(shadow, "\"live\":{");
    CHECK(live != NULL);
    static const char *const names[] = {"seen", "dropped", "kept", "shaped", "bytes_in", "bytes_up"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        CHECK_INT(number_in(shadow, names[i]), number_in(live, names[i]));
    }
    CHECK_INT(number_in(live, "seen"), RECORDS / 2 * 3 * RIG_ROWS);
    CHECK_OK(filter_set_shadow(r.filter, NULL));
    rig_deinit(&r);
    rules_free(same);
}

static void bytes_on_the_uplink_are_nearly_those_of_the_entries(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    begin(&r, still);
    rig_load(&r, RECORDS);
    rig_drain(&r);
    filter_stats(r.filter, &stats);
    uint64_t told = number_in(strstr(report(&r, NULL), "\"since\""), "bytes_up");
    CHECK(told * 100 >= stats.bytes_out * 99 && told * 99 <= stats.bytes_out * 100);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reading_comes_page_by_page_though_rules_sent_few),
        cmocka_unit_test(personal_fields_look_as_they_do_upstream_unless_asked_for_as_they_came),
        cmocka_unit_test(readings_are_explained_though_the_ring_has_lost_their_description),
        cmocka_unit_test(a_question_changes_nothing_of_what_goes_up),
        cmocka_unit_test(other_rules_end_a_question),
        cmocka_unit_test(a_question_outlives_the_filter),
        cmocka_unit_test(a_note_goes_up_once_however_often_commits_fail),
        cmocka_unit_test(notes_are_bounded_and_wait_while_the_filter_is_held),
        cmocka_unit_test(a_trail_has_the_newest_records_first_and_no_more_than_it_may),
        cmocka_unit_test(records_that_one_rule_took_in_a_row_are_one_step),
        cmocka_unit_test(without_a_trail_nothing_is_remembered),
        cmocka_unit_test(failed_commits_are_told_once),
        cmocka_unit_test(the_same_rules_as_a_shadow_make_the_same_of_what_comes),
        cmocka_unit_test(bytes_on_the_uplink_are_nearly_those_of_the_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
