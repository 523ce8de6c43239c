/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: records come in the order of their numbers: a description before what it describes, inferences behind the block
 * that they do not cut short, alarms at once; and what finds no room is refused, not lost.
 */
#include "device/compose/compose.h"

#include "tests/support/check.h"

enum { SAMPLES = 4, PUT_MAX = 64 };

static const struct sense_channel channels[] = {{"a", "Cel", 0.1}};

struct rig {
    struct compose compose;
    void *memory, *held;
    struct buffer describe, scratch;
    char put[PUT_MAX]; /* D, B, E, I, C (windows); in lower case: alarm lane */
    unsigned count, blocks, lost;
    bool no_room, takes_blocks_away;
};

static bool room(void *arg, size_t bytes, unsigned records)
{
    const struct rig *rig = arg;
    CHECK(bytes > 0 && records > 0);
    return !rig->no_room;
}

static void put(void *arg, uint8_t lane, struct slice record)
{
    struct rig *rig = arg;
    struct arena arena;
    Weir__V1__Record *r;
    CHECK(rig->count < PUT_MAX - 1);
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    CHECK_OK(wire_record_unpack(record, &arena, &r));
    char kind = r->kind_case == WEIR__V1__RECORD__KIND_DESCRIBE    ? 'D'
                : r->kind_case == WEIR__V1__RECORD__KIND_BLOCK     ? 'B'
                : r->kind_case == WEIR__V1__RECORD__KIND_EVENT     ? 'E'
                : r->kind_case == WEIR__V1__RECORD__KIND_INFERENCE ? 'I'
                                                                   : 'C';
    rig->put[rig->count++] = (char)(lane == COMPOSE_ALARM ? kind - 'A' + 'a' : kind);
    rig->put[rig->count] = '\0';
    arena_deinit(&arena);
}

static enum err shape(void *arg, struct slice *record, bool *ret_left)
{
    const struct rig *rig = arg;
    uint64_t span;
    CHECK_OK(wire_record_span(*record, &span));
    *ret_left = !rig->takes_blocks_away;
    return OK;
}

static void on_block(void *arg)
{
    struct rig *rig = arg;
    CHECK_INT(rig->put[rig->count - 1], 'B');
    rig->blocks++;
}

static void on_lost(void *arg, enum err err, unsigned samples, const char *why)
{
    struct rig *rig = arg;
    CHECK(err != OK && why != NULL);
    rig->lost += samples;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    const struct compose_options options = {.channels = channels,
                                            .channel_count = 1,
                                            .samples_per_record = SAMPLES,
                                            .period_us = SECOND_US,
                                            .max_age_us = 10 * SECOND_US,
                                            .describe_every = 1000};
    const struct compose_out out = {.room = room, .put = put, .on_block = on_block, .on_lost = on_lost, .arg = rig};
    const struct compose_description description = {.channels = channels, .channel_count = 1};
    *state = rig;
    rig->memory = malloc(compose_bytes(&options)); /* to the byte */
    rig->held = malloc(256);
    buffer_init(&rig->describe, 4096);
    buffer_init(&rig->scratch, COMPOSE_EVENT_MAX);
    compose_init(&rig->compose, &options, &out, rig->memory, &rig->describe, &rig->scratch);
    compose_hold_in(&rig->compose, rig->held, 256);
    return compose_describe(&description, &rig->compose.set, &rig->describe) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    buffer_deinit(&rig->describe);
    buffer_deinit(&rig->scratch);
    free(rig->memory);
    free(rig->held);
    free(rig);
    return 0;
}

static enum err sample(struct rig *rig, int64_t at)
{
    return compose_sample(&rig->compose, (double[]){20}, at * SECOND_US, at * SECOND_US, true);
}

static enum err infer(struct rig *rig, bool is_alarm)
{
    uint8_t record[WIRE_INFERENCE_MAX];
    size_t len;
    const struct wire_inference i = {
        .model = 1, .confidence = 0.5F, .label = "a label of some length, so that few fit", .engine = ""};
    CHECK_OK(wire_inference_encode(&i, record, &len));
    return compose_inference(&rig->compose, is_alarm, slice_of(record, len));
}

static void inferences_stand_behind_their_block_and_alarms_go_at_once(void **state)
{
    struct rig *rig = *state;
    CHECK_OK(sample(rig, 1));
    CHECK_OK(infer(rig, false));
    CHECK_STR(rig->put, "D");
    CHECK_OK(infer(rig, true));
    CHECK_STR(rig->put, "Ddi");
    for (int64_t at = 2; at <= SAMPLES; at++) {
        CHECK_OK(sample(rig, at));
    }
    CHECK_STR(rig->put, "DdiBI");
    CHECK_INT(rig->blocks, 1);
    CHECK_OK(infer(rig, false)); /* no block to stand behind */
    CHECK_STR(rig->put, "DdiBII");
    CHECK_INT(rig->compose.held.taken, 3);
}

static void more_inferences_than_can_be_held_close_the_block(void **state)
{
    struct rig *rig = *state;
    CHECK_OK(sample(rig, 1));
    for (unsigned i = 0; i < 5; i++) {
        CHECK_OK(infer(rig, false));
    }
    CHECK_CONTAINS(rig->put, "DBI");
    CHECK_INT(rig->compose.held.lost, 0);
    compose_close(&rig->compose);
    CHECK_STR(rig->put, "DBIIIII");
}

static void an_event_closes_the_block_an_alarm_does_not(void **state)
{
    struct rig *rig = *state;
    const struct compose_event alarm = {.severity = WEIR__V1__SEVERITY__ALARM, .id = "x"},
                               event = {.severity = WEIR__V1__SEVERITY__INFO, .id = "x"}, nameless = {.id = NULL};
    CHECK_OK(sample(rig, 1));
    CHECK_OK(compose_event(&rig->compose, &alarm, SECOND_US, 1));
    CHECK_STR(rig->put, "Dde");
    CHECK_OK(compose_event(&rig->compose, &event, SECOND_US, 1));
    CHECK_STR(rig->put, "DdeBE");
    CHECK_ERR(compose_event(&rig->compose, &nameless, SECOND_US, 1), ERR_RANGE);
    compose_describe_soon(&rig->compose, COMPOSE_BULK);
    CHECK_OK(sample(rig, 2)); /* the description goes before the block's number is given */
    CHECK_STR(rig->put, "DdeBED");
    const struct wire_window window = {
        .rule = "sketch", .start_us = 1, .length_us = 1, .count = 1, .mean = 2, .min = 2, .max = 2};
    CHECK_OK(compose_windows(&rig->compose, &window, 1));
    CHECK_STR(rig->put, "DdeBEDBC");
}

static void a_block_is_due_when_it_is_old_and_a_clock_that_jumps_closes_it(void **state)
{
    struct rig *rig = *state;
    CHECK_OK(sample(rig, 1));
    CHECK_INT(rig->compose.close_at_us, 11 * SECOND_US);
    CHECK_OK(compose_sample(&rig->compose, (double[]){1}, 2 * SECOND_US, 500 * SECOND_US, true));
    CHECK_STR(rig->put, "DB");
    CHECK_INT(rig->compose.close_at_us, 12 * SECOND_US);
    compose_close(&rig->compose);
    CHECK_INT(rig->compose.close_at_us, 0);
    CHECK_STR(rig->put, "DBB");
}

static void what_finds_no_room_is_refused_and_counted(void **state)
{
    struct rig *rig = *state;
    rig->no_room = true;
    CHECK_ERR(sample(rig, 1), ERR_AGAIN);
    CHECK_ERR(infer(rig, false), ERR_FULL);
    CHECK_INT(rig->compose.stats.refused, 1);
    CHECK_STR(rig->put, "");
    rig->no_room = false;
    CHECK_OK(sample(rig, 2));
    rig->compose.out.shape = shape;
    rig->no_room = true; /* lost between the first sample and the end of the block */
    compose_close(&rig->compose);
    CHECK_INT(rig->lost, 1);
    CHECK_INT(rig->compose.stats.refused, 2);
    CHECK_STR(rig->put, "D");
}

static void a_block_that_rules_take_whole_costs_no_number(void **state)
{
    struct rig *rig = *state;
    rig->compose.out.shape = shape;
    rig->takes_blocks_away = true;
    for (int64_t at = 1; at <= SAMPLES; at++) {
        CHECK_OK(sample(rig, at));
    }
    CHECK_STR(rig->put, "D");
    CHECK_INT(rig->compose.stats.thinned_blocks, 1);
    CHECK_INT(rig->blocks, 0);
}

static void texts_are_cut_at_a_characters_border(void **state)
{
    (void)state;
    char out[6];
    CHECK_INT(compose_text("abcd\xc3\xa9", out, sizeof(out)), 4);
    CHECK_STR(out, "abcd");
    CHECK_INT(compose_text("a\xffz", out, sizeof(out)), 3);
    CHECK_STR(out, "a?z");
    CHECK_INT(compose_text(NULL, out, sizeof(out)), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(inferences_stand_behind_their_block_and_alarms_go_at_once),
        TEST(more_inferences_than_can_be_held_close_the_block),
        TEST(an_event_closes_the_block_an_alarm_does_not),
        TEST(a_block_is_due_when_it_is_old_and_a_clock_that_jumps_closes_it),
        TEST(what_finds_no_room_is_refused_and_counted),
        TEST(a_block_that_rules_take_whole_costs_no_number),
        cmocka_unit_test(texts_are_cut_at_a_characters_border),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
