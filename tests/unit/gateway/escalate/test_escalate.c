/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: each ask is answered once, in time or by saying so: in batches, within quota and deadline, from the parent
 * where we are unsure, by a person in the end; nobody waits for another.
 */
#include "tests/unit/gateway/escalate/rig.h"

static void a_sure_answer_is_given_with_its_model_and_confidence(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    rig_ask(&r, "pump", 1, 200, 1, 4);
    CHECK_INT(rig_status(&r, 1), -1);
    rig_pass(&r, 10 * MS_US);
    const struct wire_answer *a = rig_answer(&r, 1);
    CHECK_INT(rig_status(&r, 1), GIVEN);
    CHECK_INT(a->answer, 1);
    CHECK(a->confidence > 0.952F && a->confidence < 0.953F); /* 1 / (1 + e^-3) */
    CHECK(a->score == 3);
    CHECK_STR(a->device, "pump");
    CHECK_STR(a->engine, "site/gw");
    CHECK(a->model != 0 && a->model != RIG_DEVICE_MODEL);
    CHECK_INT(a->took_us, RIG_RUN_US);
    CHECK_STR(r.answers[0].peer, "pump");
    rig_end(&r);
}

static void a_raw_window_goes_through_the_models_own_features(void **state)
{
    struct rig r;
    const int16_t window[] = {10, -30};
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    struct wire_ask ask = rig_make("pump", 1, 200, NULL, 0);
    ask.form = WEIR__V1__FORM__RAW_INT16;
    ask.rows = 2;
    ask.columns = 1;
    ask.scale = 0.25F;
    ask.zero_point = 2;
    ask.values = slice_of(window, sizeof(window));
    rig_send(&r, "pump", &ask);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 1), GIVEN);
    CHECK_INT(rig_answer(&r, 1)->answer, 0);
    CHECK(rig_answer(&r, 1)->score == 10); /* 0.25 x 8 and 0.25 x -32 */
    rig_end(&r);
}

static void a_raw_window_beyond_all_numbers_is_bad(void **state)
{
    struct rig r;
    const int16_t window[] = {32767, -32768};
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    struct wire_ask ask = rig_make("pump", 1, 200, NULL, 0);
    ask.form = WEIR__V1__FORM__RAW_INT16;
    ask.rows = 2;
    ask.columns = 1;
    ask.scale = 3e38F;
    ask.values = slice_of(window, sizeof(window));
    rig_send(&r, "pump", &ask);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 1), BAD);
    rig_end(&r);
}

static void what_the_model_cannot_take_is_bad(void **state)
{
    struct rig r;
    const float three[] = {1, 2, 3};
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    struct wire_ask ask = rig_make("pump", 1, 200, three, 3);
    rig_send(&r, "pump", &ask);
    ask = rig_make("pump", 2, 200, three, 1);
    ask.form = WEIR__V1__FORM__RAW_FLOAT32; /* a window of one sample */
    rig_send(&r, "pump", &ask);
    ask = rig_make("pump", 3, 200, three, 2);
    ask.form = WEIR__V1__FORM__RAW_FLOAT32; /* of two channels */
    rig_send(&r, "pump", &ask);
    CHECK_INT(rig_status(&r, 1), BAD);
    CHECK_INT(rig_status(&r, 2), BAD);
    CHECK_INT(rig_status(&r, 3), BAD);
    CHECK_INT(r.runs, 0);
    rig_end(&r);
}

static void who_asks_in_anothers_name_is_not_answered(void **state)
{
    struct rig r;
    const float row[] = {1, 4};
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    struct wire_ask ask = rig_make("valve", 1, 200, row, 2);
    rig_send(&r, "pump", &ask);
    ask = rig_make("pump", 2, 200, row, 2);
    snprintf(ask.gateway, sizeof(ask.gateway), "elsewhere");
    rig_send(&r, "pump", &ask);
    escalate_ask(r.escalate, "pump", slice_str("rubbish"));
    rig_pass(&r, SECOND_US);
    CHECK_INT(r.answer_count, 0);
    CHECK_INT(rig_stats(&r).identity, 2);
    CHECK_INT(rig_stats(&r).malformed, 1);
    rig_send(&r, "line", &ask); /* a gateway below, for its device */
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 2), GIVEN);
    CHECK_STR(r.answers[0].peer, "line");
    CHECK_STR(r.answers[0].answer.device, "pump");
    ask = rig_make("valve", 3, 200, row, 2); /* of this gateway: whoever says that it is one */
    rig_send(&r, "line", &ask);
    rig_pass(&r, SECOND_US);
    CHECK_INT(r.answer_count, 1);
    CHECK_INT(rig_stats(&r).identity, 3);
    rig_end(&r);
}

static void a_gateway_that_is_not_known_yet_shares_one_quota(void **state)
{
    struct rig r;
    const float row[] = {1, 4};
    (void)state;
    rig_start(&r);
    r.settings.quota = 5;
    rig_open(&r, false);
    for (uint64_t id = 1; id <= 20; id++) {
        char device[16];
        snprintf(device, sizeof(device), "pump-%u", (unsigned)id);
        struct wire_ask ask = rig_make(device, id, 200, row, 2);
        snprintf(ask.gateway, sizeof(ask.gateway), "new");
        rig_send(&r, "new", &ask);
        ask.id += 100;
        rig_send(&r, "line", &ask); /* one that is known */
    }
    rig_pass(&r, 100 * MS_US);
    CHECK_INT(rig_stats(&r).quota, 15);
    CHECK_INT(rig_stats(&r).given, 25);
    CHECK_INT(rig_status(&r, 120), GIVEN);
    CHECK_INT(rig_status(&r, 20), BUSY);
    rig_end(&r);
}

static void only_the_models_it_is_for_are_answered(void **state)
{
    static const char *const others[] = {"00000000000000AB"};
    struct rig r;
    (void)state;
    rig_start(&r);
    r.models[0].answers_for = others;
    rig_open(&r, false);
    rig_ask(&r, "pump", 1, 200, 1, 4);
    CHECK_INT(rig_status(&r, 1), NO_MODEL);
    const float row[] = {1, 4};
    struct wire_ask ask = rig_make("pump", 2, 200, row, 2);
    ask.model = 0xab;
    rig_send(&r, "pump", &ask);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 2), GIVEN);
    rig_end(&r);
}

static void a_batch_starts_when_it_is_full_or_the_oldest_has_waited(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    for (uint64_t id = 1; id <= 4; id++) {
        rig_ask(&r, "pump", id, 200, 1, 4);
    }
    rig_pass(&r, RIG_RUN_US); /* full: at once */
    CHECK_INT(r.answer_count, 4);
    CHECK_INT(r.runs, 1);
    CHECK_INT(r.largest, 4);
    rig_ask(&r, "pump", 5, 200, 1, 4);
    rig_pass(&r, 3 * MS_US);
    rig_ask(&r, "pump", 6, 200, 1, 4);
    rig_pass(&r, 2 * MS_US + RIG_RUN_US - 1);
    CHECK_INT(r.answer_count, 4);
    rig_pass(&r, 1); /* 5 ms after the oldest */
    CHECK_INT(r.answer_count, 6);
    CHECK_INT(r.runs, 2);
    rig_end(&r);
}

static void a_deadline_that_presses_starts_the_batch(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.wait_us = SECOND_US;
    rig_open(&r, false);
    int64_t asked_us = loop_now_us(r.loop);
    rig_ask(&r, "pump", 1, 100, 1, 4);
    rig_pass(&r, SECOND_US);
    CHECK_INT(rig_status(&r, 1), GIVEN);
    CHECK_INT(rig_answered_at(&r, 1) - asked_us, 45 * MS_US + RIG_RUN_US); /* half of 90 ms */
    rig_end(&r);
}

static void no_answer_comes_later_than_its_deadline(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    loop_set_worker_latency(r.loop, 300 * MS_US); /* slower than anybody waits */
    int64_t asked_us = loop_now_us(r.loop);
    rig_ask(&r, "pump", 1, 100, 1, 4);
    rig_pass(&r, SECOND_US);
    CHECK_INT(rig_status(&r, 1), BUSY);
    CHECK_INT(rig_answered_at(&r, 1) - asked_us, 90 * MS_US);
    CHECK_INT(r.runs, 1);
    CHECK_INT(r.answer_count, 1); /* what came of the batch is dropped */
    rig_end(&r);
}

static void what_cannot_be_in_time_is_told_so_at_once(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.batch = 1;
    rig_open(&r, false);
    loop_set_worker_latency(r.loop, 40 * MS_US);
    rig_ask(&r, "pump", 1, 1000, 1, 4); /* so that it knows what a batch takes */
    rig_pass(&r, SECOND_US);
    for (uint64_t id = 10; id < 20; id++) {
        rig_ask(&r, "pump", id, 200, 1, 4);
    }
    for (uint64_t id = 10; id < 14; id++) { /* 40, 80, 120, 160 ms; 180 is late */
        CHECK_INT(rig_status(&r, id), -1);
    }
    for (uint64_t id = 14; id < 20; id++) {
        CHECK_INT(rig_status(&r, id), BUSY);
    }
    rig_pass(&r, SECOND_US);
    for (uint64_t id = 10; id < 14; id++) {
        CHECK_INT(rig_status(&r, id), GIVEN);
    }
    rig_end(&r);
}

static void after_a_slow_batch_it_tries_again(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    loop_set_worker_latency(r.loop, 400 * MS_US);
    rig_ask(&r, "pump", 1, 100, 1, 4);
    rig_pass(&r, SECOND_US);
    CHECK_INT(rig_status(&r, 1), BUSY);
    rig_ask(&r, "pump", 2, 100, 1, 4); /* nobody before it: tried, whatever the mean says */
    rig_pass(&r, SECOND_US);
    CHECK_INT(r.runs, 2);
    rig_end(&r);
}

static void a_device_over_its_quota_is_told_busy_and_the_others_are_answered(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.quota = 10;
    rig_open(&r, false);
    for (uint64_t id = 1; id <= 100; id++) {
        rig_ask(&r, "wild", id, 200, 1, 4);
    }
    rig_ask(&r, "calm", 200, 200, 1, 4);
    rig_pass(&r, 100 * MS_US);
    CHECK_INT(rig_stats(&r).quota, 90);
    CHECK_INT(rig_stats(&r).given, 11);
    CHECK_INT(rig_status(&r, 10), GIVEN);
    CHECK_INT(rig_status(&r, 11), BUSY);
    CHECK_INT(rig_status(&r, 200), GIVEN);
    rig_pass(&r, 400 * MS_US); /* half a second: five more */
    for (uint64_t id = 301; id <= 310; id++) {
        rig_ask(&r, "wild", id, 200, 1, 4);
    }
    rig_pass(&r, 100 * MS_US);
    CHECK_INT(rig_stats(&r).quota, 95);
    rig_end(&r);
}

static void the_queue_is_bounded(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.queue = 8;
    rig_open(&r, false);
    for (uint64_t id = 1; id <= 20; id++) {
        rig_ask(&r, "pump", id, 1000, 1, 4);
    }
    CHECK_INT(rig_stats(&r).busy, 12);
    CHECK_INT(rig_stats(&r).waiting, 8);
    rig_pass(&r, SECOND_US);
    CHECK_INT(rig_stats(&r).given, 8);
    CHECK_INT(rig_stats(&r).waiting, 0);
    rig_end(&r);
}

static void an_unsure_answer_at_the_top_asks_a_person(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    rig_ask(&r, "pump", 1, 200, 1, 1.5F);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 1), UNSURE);
    CHECK_INT(rig_answer(&r, 1)->answer, 1);
    CHECK_INT(r.event_count, 1);
    CHECK_STR(r.events[0].id, "label-requested");
    CHECK_CONTAINS(r.events[0].text,
                   "device=site/gw/pump model=0000000000000077 own=1 own_confidence=0.500 best=1 confidence=0.622 "
                   "label=b by=");
    char *input = strstr(r.events[0].text, "input=");
    CHECK(input != NULL && strlen(input) == 22);
    for (uint64_t id = 2; id <= 20; id++) {
        rig_ask(&r, "pump", id, 200, 1, 1.5F);
    }
    rig_pass(&r, 100 * MS_US);
    CHECK_INT(rig_stats(&r).unsure, 20);
    CHECK_INT(rig_stats(&r).labels, 10); /* an hour's worth */
    CHECK_INT(rig_stats(&r).labels_dropped, 10);
    rig_pass(&r, HOUR_US / 10);
    r.event_fails = ERR_FULL;
    rig_ask(&r, "pump", 30, 200, 1, 1.5F);
    rig_pass(&r, 100 * MS_US);
    CHECK_INT(rig_stats(&r).labels_dropped, 11);
    CHECK_INT(rig_status(&r, 30), UNSURE);
    rig_end(&r);
}

static void what_we_are_unsure_of_goes_up_and_the_answer_comes_down(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, true);
    rig_ask(&r, "pump", 7, 200, 1, 1.5F);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(r.up_count, 1);
    CHECK_STR(r.up.device, "pump");
    CHECK_STR(r.up.gateway, "gw");
    CHECK_INT(r.up.model, RIG_DEVICE_MODEL);
    CHECK_INT(r.up.hops, 1);
    CHECK_INT(r.up.own_answer, 1);
    CHECK(r.up.deadline_ms >= 170 && r.up.deadline_ms <= 175); /* 180 less 7 */
    CHECK_INT(r.answer_count, 0);
    rig_parent(&r, GIVEN, 0);
    CHECK_INT(rig_status(&r, 7), GIVEN);
    CHECK_INT(rig_answer(&r, 7)->answer, 0);
    CHECK_INT(rig_answer(&r, 7)->model, 0x99);
    CHECK_STR(rig_answer(&r, 7)->engine, "hq/site-gw");
    CHECK_INT(r.event_count, 0);
    rig_parent(&r, GIVEN, 0); /* again: nobody waits for it */
    CHECK_INT(r.answer_count, 1);
    rig_ask(&r, "pump", 8, 200, 1, 1.5F);
    rig_pass(&r, 10 * MS_US);
    rig_parent(&r, UNSURE, 1); /* who was unsure last has asked for a label */
    CHECK_INT(rig_status(&r, 8), UNSURE);
    CHECK_INT(r.event_count, 0);
    rig_end(&r);
}

static void a_parent_that_does_not_help_leaves_us_the_best_guess(void **state)
{
    struct rig r;
    static const Weir__V1__AnswerStatus says[] = {BUSY, NO_MODEL, BAD};
    (void)state;
    rig_start(&r);
    rig_open(&r, true);
    for (unsigned i = 0; i < COUNT_OF(says); i++) {
        rig_ask(&r, "pump", i + 1, 200, 1, 1.5F);
        rig_pass(&r, 10 * MS_US);
        rig_parent(&r, says[i], 0);
        CHECK_INT(rig_status(&r, i + 1), UNSURE);
        CHECK_INT(rig_answer(&r, i + 1)->answer, 1);
        CHECK_INT(r.event_count, i + 1);
    }
    r.parent_there = false; /* its link is down */
    rig_ask(&r, "pump", 9, 200, 1, 1.5F);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 9), UNSURE);
    rig_end(&r);
}

/* Asks what we are unsure of; how long the answer took. */
static int64_t unsure_takes(struct rig *r, uint64_t id)
{
    int64_t asked_us = loop_now_us(r->loop);
    rig_ask(r, "pump", id, 200, 1, 1.5F);
    rig_pass(r, 500 * MS_US);
    CHECK_INT(rig_status(r, id), UNSURE);
    return rig_answered_at(r, id) - asked_us;
}

static void a_parent_that_never_answers_is_left_alone_for_a_while(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.labels_per_hour = 100;
    rig_open(&r, true);
    rig_ask(&r, "pump", 1, 200, 1, 1.5F);
    rig_pass(&r, 10 * MS_US);
    rig_ask(&r, "pump", 2, 200, 1, 1.5F); /* whether it answers is being tried */
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 1), -1);
    CHECK_INT(rig_status(&r, 2), UNSURE);
    rig_pass(&r, SECOND_US);
    CHECK_INT(rig_status(&r, 1), UNSURE);
    CHECK_INT(unsure_takes(&r, 3), 7 * MS_US); /* at once */
    CHECK_INT(r.up_count, 1);
    rig_pass(&r, ESCALATE_UP_REST_US);
    CHECK_INT(unsure_takes(&r, 4), 180 * MS_US); /* no later */
    rig_pass(&r, ESCALATE_UP_REST_US);
    CHECK_INT(unsure_takes(&r, 5), 7 * MS_US);
    rig_pass(&r, ESCALATE_UP_REST_US); /* twice as long as before */
    CHECK_INT(unsure_takes(&r, 6), 180 * MS_US);
    CHECK_INT(r.up_count, 3);
    rig_end(&r);
}

static void a_parent_that_answered_once_is_given_some_misses(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.labels_per_hour = 100;
    rig_open(&r, true);
    rig_ask(&r, "pump", 1, 200, 1, 1.5F);
    rig_pass(&r, 10 * MS_US);
    rig_parent(&r, GIVEN, 0);
    for (uint64_t id = 2; id < 2 + ESCALATE_UP_MISSES_MAX; id++) {
        CHECK_INT(unsure_takes(&r, id), 180 * MS_US);
    }
    CHECK_INT(unsure_takes(&r, 50), 7 * MS_US);
    rig_pass(&r, ESCALATE_UP_REST_US);
    rig_ask(&r, "pump", 51, 200, 1, 1.5F);
    rig_pass(&r, 10 * MS_US);
    rig_parent(&r, GIVEN, 0);
    CHECK_INT(rig_status(&r, 51), GIVEN);
    CHECK_INT(unsure_takes(&r, 52), 180 * MS_US);
    CHECK_INT(unsure_takes(&r, 53), 180 * MS_US);
    rig_end(&r);
}

static void an_ask_without_a_model_here_is_the_parents(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    r.settings.model_count = 0;
    rig_open(&r, true);
    rig_ask(&r, "pump", 1, 200, 1, 4);
    CHECK_INT(r.up_count, 1);
    rig_parent(&r, GIVEN, 1);
    CHECK_INT(rig_status(&r, 1), GIVEN);
    rig_ask(&r, "pump", 2, 200, 1, 4);
    rig_parent(&r, NO_MODEL, 0);
    CHECK_INT(rig_status(&r, 2), NO_MODEL);
    rig_ask(&r, "pump", 3, 200, 1, 4);
    rig_pass(&r, SECOND_US);
    CHECK_INT(rig_status(&r, 3), BUSY);
    const float row[] = {1, 4};
    struct wire_ask ask = rig_make("pump", 4, 200, row, 2);
    ask.hops = WIRE_ASK_HOPS_MAX; /* it goes round */
    snprintf(ask.gateway, sizeof(ask.gateway), "line");
    rig_send(&r, "line", &ask);
    CHECK_INT(rig_status(&r, 4), NO_MODEL);
    CHECK_INT(r.event_count, 0);
    rig_end(&r);
}

static void an_engine_that_fails_answers_busy_or_leaves_it_to_the_parent(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    rig_open(&r, true);
    r.run_fails = ERR_IO;
    rig_ask(&r, "pump", 1, 200, 1, 4);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(r.up_count, 1);
    rig_parent(&r, GIVEN, 1);
    CHECK_INT(rig_status(&r, 1), GIVEN);
    r.parent_there = false;
    rig_ask(&r, "pump", 2, 200, 1, 4);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 2), BUSY);
    CHECK_INT(rig_stats(&r).failed_batches, 2);
    r.run_fails = OK;
    rig_ask(&r, "pump", 3, 200, 1, 4);
    rig_pass(&r, 10 * MS_US);
    CHECK_INT(rig_status(&r, 3), GIVEN);
    rig_end(&r);
}

static void a_thousand_asks_are_answered_once_each_and_in_time(void **state)
{
    static struct rig r;
    static int64_t asked_us[1001];
    unsigned given = 0;
    (void)state;
    rig_start(&r);
    r.settings.batch = 32;
    r.settings.queue = 512;
    r.settings.labels_per_hour = 50;
    rig_open(&r, false);
    for (uint64_t id = 1; id <= 1000; id++) {
        char device[16];
        snprintf(device, sizeof(device), "d%u", (unsigned)(id % 17));
        float b = id % 23 == 0 ? 0.5F : (float)(id % 5) - 6;
        asked_us[id] = loop_now_us(r.loop);
        rig_ask(&r, device, id, 20 + (uint32_t)(id % 50), 0, b);
        rig_pass(&r, (int64_t)(mix_u64(id) % 300));
    }
    rig_pass(&r, SECOND_US);
    CHECK_INT(r.answer_count, 1000);
    for (uint64_t id = 1; id <= 1000; id++) {
        int status = rig_status(&r, id);
        CHECK(rig_answered_at(&r, id) - asked_us[id] <= (20 + (int64_t)(id % 50)) * MS_US);
        CHECK(status == BUSY || status == (id % 23 == 0 ? UNSURE : GIVEN));
        given += status != BUSY;
    }
    CHECK(given >= 990);
    CHECK(r.runs < 200);
    CHECK_INT(rig_stats(&r).asks, 1000);
    CHECK_INT(rig_stats(&r).given + rig_stats(&r).unsure + rig_stats(&r).busy, 1000);
    rig_end(&r);
}

static void the_report_says_how_it_goes(void **state)
{
    struct rig r;
    struct json j;
    BUFFER(text, 8192);
    (void)state;
    rig_start(&r);
    rig_open(&r, false);
    for (uint64_t id = 1; id <= 8; id++) {
        rig_ask(&r, "pump", id, 200, 1, 4);
    }
    rig_pass(&r, 100 * MS_US);
    json_init(&j, &text);
    json_object(&j, NULL);
    escalate_json(r.escalate, &j);
    json_object_end(&j);
    buffer_put_u8(&text, 0);
    const char *is = (const char *)text.ptr;
    CHECK_CONTAINS(is, "{\"asks\":8,\"answered\":8,\"unsure\":0,\"busy\":0,\"no_model\":0,");
    CHECK_CONTAINS(is, "\"models\":[{\"name\":\"heavy\",\"state\":\"answers\",\"problem\":null,\"model\":\"");
    CHECK_CONTAINS(is, "\"engine\":\"own\",\"detail\":\"");
    CHECK_CONTAINS(is, "\"batch_mean\":4,");
    CHECK_CONTAINS(is, "\"p50_ms\":1.99");
    CHECK_CONTAINS(is, "\"p99_ms\":3.98"); /* the second four waited for the first */
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sure_answer_is_given_with_its_model_and_confidence),
        cmocka_unit_test(a_raw_window_goes_through_the_models_own_features),
        cmocka_unit_test(a_raw_window_beyond_all_numbers_is_bad),
        cmocka_unit_test(what_the_model_cannot_take_is_bad),
        cmocka_unit_test(who_asks_in_anothers_name_is_not_answered),
        cmocka_unit_test(a_gateway_that_is_not_known_yet_shares_one_quota),
        cmocka_unit_test(only_the_models_it_is_for_are_answered),
        cmocka_unit_test(a_batch_starts_when_it_is_full_or_the_oldest_has_waited),
        cmocka_unit_test(a_deadline_that_presses_starts_the_batch),
        cmocka_unit_test(no_answer_comes_later_than_its_deadline),
        cmocka_unit_test(what_cannot_be_in_time_is_told_so_at_once),
        cmocka_unit_test(after_a_slow_batch_it_tries_again),
        cmocka_unit_test(a_device_over_its_quota_is_told_busy_and_the_others_are_answered),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(an_unsure_answer_at_the_top_asks_a_person),
        cmocka_unit_test(what_we_are_unsure_of_goes_up_and_the_answer_comes_down),
        cmocka_unit_test(a_parent_that_does_not_help_leaves_us_the_best_guess),
        cmocka_unit_test(a_parent_that_never_answers_is_left_alone_for_a_while),
        cmocka_unit_test(a_parent_that_answered_once_is_given_some_misses),
        cmocka_unit_test(an_ask_without_a_model_here_is_the_parents),
        cmocka_unit_test(an_engine_that_fails_answers_busy_or_leaves_it_to_the_parent),
        cmocka_unit_test(a_thousand_asks_are_answered_once_each_and_in_time),
        cmocka_unit_test(the_report_says_how_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
