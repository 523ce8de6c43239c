/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an agent with a model tells what it makes of its samples by the same ordered, durable way as the samples, cuts
 * no block short for it, asks by its topic and hears answers from its own alone; an agent without one does none of it.
 */
#include "device/agent/agent.h"

#include <stdio.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "core/base/buffer.h"
#include "tests/support/check.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/device/report/rig.h"

#define HEAD "model: tiny\nchannels: [pattern_0, pattern_1]\nrate: 1\nunsure_below: 0.8\n"
#define KIND WEIR__V1__RECORD__KIND_INFERENCE

static char dir[] = "/tmp/weir-thought-XXXXXX", path[128];
static struct infer_options infer;

/* Asks as they leave the device. */
static struct {
    size_t count;
    uint64_t id;
    char topic[128];
} asks;

static void on_traffic(void *arg, const char *client, struct slice topic, struct slice payload)
{
    (void)arg;
    struct wire_ask ask;
    if (strcmp(client, "dev-1") == 0 && topic.len > 4 && memcmp(topic.ptr + topic.len - 4, "/ask", 4) == 0) {
        CHECK_OK(wire_ask_decode(payload, &ask));
        asks.count++;
        asks.id = ask.id;
        snprintf(asks.topic, sizeof(asks.topic), "%.*s", (int)topic.len, (const char *)topic.ptr);
    }
}

static struct rig *thinking(const char *window, enum infer_ask ask)
{
    char head[256];
    snprintf(head, sizeof(head), HEAD "%s", window);
    CHECK(tiny_model_write(dir, "tiny", head, "pattern_0", "pattern_1"));
    snprintf(path, sizeof(path), "%s/tiny.yaml", dir);
    infer = (struct infer_options){.model = path, .ask = ask, .ask_deadline_us = 500 * MS_US};
    struct rig *rig = rig_new(4 << 20);
    rig->options.infer = &infer;
    memset(&asks, 0, sizeof(asks));
    bus_hub_watch(rig->hub, on_traffic, NULL);
    return rig;
}

static struct infer_stats figures(const struct rig *rig)
{
    struct infer_stats s;
    infer_stats(agent_infer(rig->agent), &s);
    return s;
}

static void answer(struct rig *rig, const char *topic)
{
    struct wire_answer a = {.id = asks.id,
                            .model = 0xabc,
                            .status = WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN,
                            .answer = 1,
                            .confidence = 0.9F,
                            .device = "dev-1",
                            .engine = "sim/gw"};
    BUFFER(out, WIRE_ANSWER_MAX);
    CHECK_OK(wire_answer_encode(&a, &out));
    CHECK_OK(bus_publish(rig->receiver_bus, slice_str(topic), buffer_slice(&out), 0, false));
}

static size_t with_asked(const struct rig_stream *s, int asked)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        count += s->records[i].kind == KIND && s->records[i].asked == asked;
    }
    return count;
}

static void answers_follow_their_blocks_and_cut_none_short(void **state)
{
    (void)state;
    struct rig *rig = thinking("window: 3\nhop: 1\n", INFER_NEVER);
    rig_start(rig);
    rig_run(rig, 100 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *bulk = rig_current(rig, 1);
    rig_expect_whole(bulk);
    CHECK_INT(rig->refused_records, 0);
    uint64_t samples = rig_stats(rig).samples, last_mono_us = 0, blocks = 0;
    CHECK_INT(rig_count(bulk, KIND), samples - 2);
    uint64_t taken, lost;
    report_inferences(agent_report(rig->agent), &taken, &lost);
    CHECK_INT(taken, samples - 2);
    CHECK_INT(lost, 0);
    for (size_t i = 0; i < bulk->count; i++) {
        const struct rig_record *r = &bulk->records[i];
        if (r->kind == WEIR__V1__RECORD__KIND_BLOCK) {
            blocks++;
            CHECK(r->samples == 4 || blocks == (samples + 3) / 4);
        } else if (r->kind == KIND) {
            CHECK(r->mono_us > last_mono_us); /* in order */
            last_mono_us = r->mono_us;
            CHECK(r->model == infer_model(agent_infer(rig->agent)));
        } else if (r->kind == WEIR__V1__RECORD__KIND_DESCRIBE) {
            CHECK(r->model == infer_model(agent_infer(rig->agent)));
        }
    }
    rig_free(rig);
}

static void an_answer_is_there_after_a_power_cut_if_its_block_is(void **state)
{
    (void)state;
    struct rig *rig = thinking("window: 1\n", INFER_NEVER);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_start(rig);
    rig_run(rig, 30 * SECOND_US + 500 * MS_US);
    rig_crash(rig);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig->options.infer = NULL;
    rig_start(rig);
    rig_run(rig, MINUTE_US);
    struct rig_stream *bulk = rig_current(rig, 1);
    rig_expect_whole(bulk);
    uint64_t cut_us = 30 * SECOND_US + 500 * MS_US;
    size_t samples = 0;
    for (size_t i = 0; i < bulk->count; i++) {
        const struct rig_record *r = &bulk->records[i];
        samples += r->kind == WEIR__V1__RECORD__KIND_BLOCK && r->mono_us < cut_us ? r->samples : 0;
    }
    CHECK_INT(samples, 28); /* the block under construction is gone */
    CHECK_INT(rig_count(bulk, KIND), samples);
    CHECK(agent_infer(rig->agent) == NULL);
    rig_free(rig);
}

static void an_alarm_class_overtakes(void **state)
{
    (void)state;
    static const char *const hot[] = {"hot"};
    struct rig *rig = thinking("window: 1\n", INFER_NEVER);
    infer.alarm_classes = hot;
    infer.alarm_count = 1;
    rig_start(rig);
    rig_run(rig, 50 * SECOND_US);
    struct rig_stream *alarms = rig_current(rig, 0);
    CHECK(alarms != NULL);
    CHECK(rig_count(alarms, KIND) > 2);
    CHECK_INT(rig_count(alarms, KIND), figures(rig).alarms);
    for (size_t i = 0; i < alarms->count; i++) {
        CHECK(alarms->records[i].kind != KIND || alarms->records[i].answer == 1);
    }
    rig_expect_whole(alarms);
    rig_free(rig);
}

static void asks_go_out_and_answers_from_its_own_topic_stand(void **state)
{
    (void)state;
    struct rig *rig = thinking("window: 1\n", INFER_FEATURES);
    rig_start(rig);
    for (unsigned i = 0; i < 400 && asks.count == 0; i++) {
        rig_run(rig, 100 * MS_US);
    }
    CHECK_INT(asks.count, 1);
    CHECK_STR(asks.topic, "weir/v1/sim/gw/dev-1/ask");
    answer(rig, "weir/v1/sim/gw/dev-2/answer");
    answer(rig, "weir/v1/other/gw/dev-1/answer");
    rig_run(rig, 50 * MS_US);
    CHECK_INT(figures(rig).answered, 0);
    answer(rig, "weir/v1/sim/gw/dev-1/answer");
    rig_run(rig, 50 * MS_US);
    CHECK_INT(figures(rig).answered, 1);
    answer(rig, "weir/v1/sim/gw/dev-1/answer"); /* twice, as a broker may */
    rig_run(rig, 5 * SECOND_US);
    CHECK_INT(figures(rig).strays, 1);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *bulk = rig_current(rig, 1);
    CHECK_INT(with_asked(bulk, WEIR__V1__ASKED__ASKED_ANSWERED), 1);
    for (size_t i = 0; i < bulk->count; i++) {
        const struct rig_record *r = &bulk->records[i];
        CHECK(r->kind != KIND || r->asked != WEIR__V1__ASKED__ASKED_ANSWERED ||
              (r->model == 0xabc && r->by == WEIR__V1__ANSWERED_BY__BY_GATEWAY && r->answer == 1));
    }
    rig_free(rig);
}

static void without_a_connection_the_own_answer_stands_at_once(void **state)
{
    (void)state;
    struct rig *rig = thinking("window: 1\n", INFER_FEATURES);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_start(rig);
    rig_run(rig, 50 * SECOND_US);
    CHECK(figures(rig).offline > 3);
    CHECK_INT(figures(rig).asked, 0);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, MINUTE_US);
    for (unsigned i = 0; i < 1000 && infer_asking(agent_infer(rig->agent)) == 0; i++) {
        rig_run(rig, 100 * MS_US);
    }
    CHECK_INT(infer_asking(agent_infer(rig->agent)), 1);
    agent_stop(rig->agent); /* asks under way are told as they stand */
    CHECK_INT(infer_asking(agent_infer(rig->agent)), 0);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *bulk = rig_current(rig, 1);
    CHECK_INT(with_asked(bulk, WEIR__V1__ASKED__ASKED_OFFLINE), figures(rig).offline);
    CHECK_INT(with_asked(bulk, WEIR__V1__ASKED__ASKED_LATE), figures(rig).asked);
    CHECK(figures(rig).asked > 3);
    CHECK_INT(rig_count(bulk, KIND), rig_stats(rig).samples);
    rig_free(rig);
}

static void the_status_shows_it_and_an_agent_without_a_model_has_none_of_it(void **state)
{
    (void)state;
    for (unsigned with = 0; with < 2; with++) {
        struct rig *rig = thinking("window: 1\n", INFER_NEVER);
        rig->options.infer = with ? &infer : NULL;
        rig_start(rig);
        rig_run(rig, 20 * SECOND_US);
        BUFFER(text, 64 * 1024);
        agent_status_json(rig->agent, &text);
        cJSON *status = cJSON_ParseWithLength((const char *)text.ptr, text.len);
        CHECK(status != NULL);
        const cJSON *own = cJSON_GetObjectItem(status, "infer");
        CHECK((own != NULL) == with);
        if (with) {
            CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(own, "model")), "tiny");
            CHECK_INT(cJSON_GetObjectItem(own, "inferences")->valueint, rig_stats(rig).samples);
            CHECK(cJSON_GetObjectItem(own, "memory_bytes")->valueint > 1000);
            CHECK_INT(cJSON_GetObjectItem(own, "macs")->valueint, 6);
        } else {
            CHECK(agent_infer(rig->agent) == NULL);
            CHECK_INT(rig_count(rig_current(rig, 1), KIND), 0);
        }
        cJSON_Delete(status);
        rig_free(rig);
    }
}

static void a_budget_that_is_spent_is_in_the_status_for_an_hour(void **state)
{
    (void)state;
    struct rig *rig = thinking("window: 1\n", INFER_NEVER);
    infer.macs_per_day = 12; /* two runs */
    rig_start(rig);
    rig_run(rig, MINUTE_US);
    CHECK(figures(rig).beyond_macs > 0);
    for (unsigned round = 0; round < 2; round++) {
        BUFFER(text, 64 * 1024);
        agent_status_json(rig->agent, &text);
        buffer_put_u8(&text, '\0');
        const char *why = strstr((const char *)text.ptr, "infer.macs_per_day is spent: windows left out ");
        CHECK((why != NULL) == (round == 0));
        CHECK(strstr((const char *)text.ptr, "infer.bytes_per_day is spent") == NULL);
        agent_stop(rig->agent); /* no more samples: nothing is left out any more */
        rig_run(rig, HOUR_US);
    }
    rig_free(rig);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : 1;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    snprintf(path, sizeof(path), "%s/tiny.tflite", dir);
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_follow_their_blocks_and_cut_none_short),
        cmocka_unit_test(an_answer_is_there_after_a_power_cut_if_its_block_is),
        cmocka_unit_test(an_alarm_class_overtakes),
        cmocka_unit_test(asks_go_out_and_answers_from_its_own_topic_stand),
        cmocka_unit_test(without_a_connection_the_own_answer_stands_at_once),
        cmocka_unit_test(the_status_shows_it_and_an_agent_without_a_model_has_none_of_it),
        cmocka_unit_test(a_budget_that_is_spent_is_in_the_status_for_an_hour),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
