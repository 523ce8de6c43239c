/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a gateway answers asks on its buses, and what it has to tell of its own goes up exactly once, in the hop's own
 * stream, through starts, failed commits and full stores, with rules and without.
 */
#include <unistd.h>

#include "gateway/escalate/escalate.h"
#include "gateway/gatewayd/gatewayd.h"
#include "proto/rules/rules.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"
#include "tests/support/model_files.h"

enum { EVENTS = 128, TEXT = 200 };

struct rig {
    struct loop_world *world;
    struct bus_hub *plant, *cloud;
    struct loop *loop, *peer_loop;
    struct store_disk *disk;
    struct store *store;
    struct bus *down, *up, *device, *parent;
    struct gateway *gateway;
    struct rules *rules;
    char dir[40], model[64];
    struct wire_answer answer;
    unsigned answers;
    struct wire_ask ask; /* that the parent got last */
    unsigned asks;
    bool acknowledges;
    struct {
        uint64_t number;
        char id[32], text[TEXT];
    } events[EVENTS]; /* at the parent, by their numbers */
    unsigned event_count;
};

static void run(struct rig *r, int64_t us)
{
    loop_world_run(r->world, loop_world_now_us(r->world) + us);
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    (void)arg;
    (void)state;
    (void)reason;
}

static void on_answer(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct rig *r = arg;
    CHECK(slice_equal(topic, slice_str("weir/v1/site/gw/pump/answer")) && !retained);
    CHECK_OK(wire_answer_decode(payload, &r->answer));
    r->answers++;
}

static void take_event(struct rig *r, const struct wire_forward *forward)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    Weir__V1__Record *record = NULL;
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    CHECK_STR(forward->device, "gw");
    CHECK_STR(forward->gateway, "gw");
    CHECK_OK(wire_record_unpack(forward->record, &arena, &record));
    for (unsigned i = 0; i < r->event_count; i++) {
        if (r->events[i].number == forward->first) { /* again: the same, or only what carries a hello */
            CHECK(record->kind_case == WEIR__V1__RECORD__KIND_GAP || strcmp(record->event->text, r->events[i].text) == 0);
            return;
        }
    }
    CHECK_INT(record->kind_case, WEIR__V1__RECORD__KIND_EVENT);
    CHECK(r->event_count < EVENTS);
    r->events[r->event_count].number = forward->first;
    snprintf(r->events[r->event_count].id, sizeof(r->events[0].id), "%s", record->event->id);
    snprintf(r->events[r->event_count++].text, TEXT, "%s", record->event->text);
}

static void take_frame(struct rig *r, struct slice payload)
{
    static struct wire_entry entries[WIRE_RECORDS_MAX];
    struct wire_frame frame;
    BUFFER(text, 256);
    CHECK_OK(wire_frame_decode(payload, true, &frame, entries, WIRE_RECORDS_MAX, NULL));
    for (size_t i = 0; i < frame.count && frame.header.lane == 0; i++) {
        struct wire_forward forward;
        CHECK_OK(wire_forward_decode(entries[i].body, &forward));
        if (forward.first == entries[i].first && forward.epoch == frame.header.epoch) { /* no probe */
            take_event(r, &forward);
        }
    }
    if (r->acknowledges) {
        struct wire_ack ack = {.epoch = frame.header.epoch,
                               .boot = frame.header.boot,
                               .hwm = frame.header.last,
                               .lane = frame.header.lane,
                               .verdict = WINDOW_ACCEPT};
        wire_ack_encode(&ack, &text);
        CHECK_OK(bus_publish(r->parent, slice_str("weir/v1/hq/site-gw/gw/ack"), buffer_slice(&text), 0, false));
    }
}

static void on_up(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct rig *r = arg;
    (void)retained;
    if (slice_equal(topic, slice_str("weir/v1/hq/site-gw/gw/ask"))) {
        CHECK_OK(wire_ask_decode(payload, &r->ask));
        r->asks++;
        return;
    }
    take_frame(r, payload);
}

static void start_gateway(struct rig *r)
{
    static const char *const any[] = {"*"};
    static struct escalate_model model;
    static struct escalate_settings settings;
    model = (struct escalate_model){
        .name = "heavy", .description = r->model, .answers_for = any, .for_count = 1, .self_test = ""};
    settings =
        (struct escalate_settings){.models = &model, .model_count = 1, .labels_per_hour = 100, .ask_parent = true};
    struct gateway_options options = {.site = "site",
                                      .gateway = "gw",
                                      .parent_site = "hq",
                                      .parent = "site-gw",
                                      .software = "1",
                                      .escalate = &settings,
                                      .rules = r->rules};
    CHECK_OK(store_open_memory(r->loop, r->disk, GATEWAY_TABLE_COUNT, &r->store));
    CHECK_OK(bus_new_memory(r->plant, r->loop, "gw", &r->down));
    CHECK_OK(bus_new_memory(r->cloud, r->loop, "gw", &r->up));
    CHECK_OK(gateway_new(r->loop, r->down, r->up, r->store, &options, &r->gateway, NULL));
    CHECK_OK(gateway_start(r->gateway));
}

static void kill_gateway(struct rig *r)
{
    bus_free(r->down);
    bus_free(r->up);
    gateway_free(r->gateway);
    store_close(r->store);
}

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    char path[64];
    snprintf(r->dir, sizeof(r->dir), "/tmp/weir-asks-XXXXXX");
    CHECK(mkdtemp(r->dir) != NULL);
    snprintf(path, sizeof(path), "%s/net.tflite", r->dir);
    model_files_linear(path, 2, 2, NULL);
    snprintf(r->model, sizeof(r->model), "%s/model.yaml", r->dir);
    model_files_text(r->model, "model: heavy\nnetwork: net.tflite\nchannels: [x]\nwindow: 2\nfeatures:\n"
                               "  all: {kind: raw, channel: x}\nclasses: [a, b]\nunsure_below: 0.8\n");
    CHECK_OK(loop_world_new(3, &r->world));
    CHECK_OK(bus_hub_new(r->world, &r->plant));
    CHECK_OK(bus_hub_new(r->world, &r->cloud));
    CHECK_OK(loop_new_virtual(r->world, &r->loop));
    loop_set_worker_latency(r->loop, MS_US);
    CHECK_OK(loop_new_virtual(r->world, &r->peer_loop));
    CHECK_OK(store_disk_new(16 << 20, &r->disk));
    CHECK_OK(bus_new_memory(r->plant, r->peer_loop, "pump", &r->device));
    bus_set_handlers(r->device, &(struct bus_handlers){.on_message = on_answer, .on_state = on_state, .arg = r});
    CHECK_OK(bus_subscribe(r->device, "weir/v1/site/gw/pump/answer", 0));
    CHECK_OK(bus_start(r->device));
    CHECK_OK(bus_new_memory(r->cloud, r->peer_loop, "site-gw", &r->parent));
    bus_set_handlers(r->parent, &(struct bus_handlers){.on_message = on_up, .on_state = on_state, .arg = r});
    CHECK_OK(bus_subscribe(r->parent, "weir/v1/hq/site-gw/+/up", 0));
    CHECK_OK(bus_subscribe(r->parent, "weir/v1/hq/site-gw/+/ask", 0));
    CHECK_OK(bus_start(r->parent));
    r->acknowledges = true;
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    char path[64];
    kill_gateway(r);
    bus_free(r->device);
    bus_free(r->parent);
    store_disk_free(r->disk);
    loop_free(r->loop);
    loop_free(r->peer_loop);
    bus_hub_free(r->plant);
    bus_hub_free(r->cloud);
    loop_world_free(r->world);
    rules_free(r->rules);
    snprintf(path, sizeof(path), "%s/net.tflite", r->dir);
    (void)unlink(path);
    (void)unlink(r->model);
    (void)rmdir(r->dir);
    free(r);
    return 0;
}

static void ask(struct rig *r, uint64_t id, float a, float b)
{
    const float row[] = {a, b};
    BUFFER(out, WIRE_ASK_MAX);
    struct wire_ask question = {.site = "site",
                                .gateway = "gw",
                                .device = "pump",
                                .id = id,
                                .model = 7,
                                .deadline_ms = 200,
                                .rows = 1,
                                .columns = 2,
                                .form = WEIR__V1__FORM__FEATURES_FLOAT32,
                                .values = slice_of(row, sizeof(row))};
    CHECK_OK(wire_ask_encode(&question, &out));
    CHECK_OK(bus_publish(r->device, slice_str("weir/v1/site/gw/pump/ask"), buffer_slice(&out), 0, false));
}

static void a_device_that_asks_is_answered_on_its_own_topic(void **state)
{
    struct rig *r = *state;
    BUFFER(text, 65536);
    start_gateway(r);
    run(r, SECOND_US);
    ask(r, 5, 1, 4);
    run(r, 100 * MS_US);
    CHECK_INT(r->answers, 1);
    CHECK_INT(r->answer.id, 5);
    CHECK_INT(r->answer.status, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN);
    CHECK_INT(r->answer.answer, 1);
    CHECK_STR(r->answer.engine, "site/gw");
    gateway_status_json(r->gateway, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "\"escalation\":{\"asks\":1,\"answered\":1,");
    CHECK_INT(r->asks, 0);
}

static void what_it_is_unsure_of_goes_to_the_parent_and_comes_back(void **state)
{
    struct rig *r = *state;
    BUFFER(out, WIRE_ANSWER_MAX);
    start_gateway(r);
    run(r, SECOND_US);
    ask(r, 6, 1, 1.5F);
    run(r, 50 * MS_US);
    CHECK_INT(r->asks, 1);
    CHECK_STR(r->ask.device, "pump");
    CHECK_INT(r->ask.hops, 1);
    struct wire_answer answer = {
        .device = "pump", .engine = "hq/site-gw", .id = r->ask.id, .model = 9, .answer = 1, .confidence = 1};
    CHECK_OK(wire_answer_encode(&answer, &out));
    CHECK_OK(bus_publish(r->parent, slice_str("weir/v1/hq/site-gw/gw/answer"), buffer_slice(&out), 0, false));
    run(r, 50 * MS_US);
    CHECK_INT(r->answers, 1);
    CHECK_INT(r->answer.id, 6);
    CHECK_STR(r->answer.engine, "hq/site-gw");
    CHECK_INT(r->event_count, 0);
}

static void the_label_that_nobody_knew_is_asked_for_in_the_gateways_own_stream(void **state)
{
    struct rig *r = *state;
    start_gateway(r);
    run(r, SECOND_US);
    bus_hub_set_link(r->cloud, "gw", BUS_LINK_DOWN); /* so that the parent cannot be asked */
    run(r, SECOND_US);
    ask(r, 7, 1, 1.5F);
    run(r, 100 * MS_US);
    CHECK_INT(r->answer.status, WEIR__V1__ANSWER_STATUS__ANSWER_UNSURE);
    bus_hub_set_link(r->cloud, "gw", BUS_LINK_UP);
    run(r, MINUTE_US);
    CHECK_INT(r->event_count, 1);
    CHECK_STR(r->events[0].id, "label-requested");
    CHECK_CONTAINS(r->events[0].text, "device=site/gw/pump model=0000000000000007");
    CHECK(gateway_drained(r->gateway));
}

static void note(struct rig *r, unsigned n)
{
    char text[32];
    snprintf(text, sizeof(text), "note %u", n);
    CHECK_OK(gateway_note(r->gateway, "test-note", text));
}

/* note 1..count, each once and in order. */
static void check_notes(const struct rig *r, unsigned count)
{
    char text[32];
    CHECK_INT(r->event_count, count);
    for (unsigned i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "note %u", i + 1);
        CHECK_STR(r->events[i].text, text);
        CHECK(i == 0 || r->events[i].number > r->events[i - 1].number);
    }
}

/* The disk fails when a commit is under way, when the next has begun, and when it has ended. */
static void tell_beside_a_fault(struct rig *r, enum store_disk_mode mode, int64_t after_us, unsigned *n)
{
    note(r, ++*n);
    run(r, 500); /* its commit is under way */
    note(r, ++*n);
    run(r, after_us);
    store_disk_set_mode(r->disk, mode);
    run(r, 300);
    note(r, ++*n);
    run(r, 12 * SECOND_US);
    store_disk_set_mode(r->disk, STORE_DISK_OK);
    run(r, MINUTE_US);
    check_notes(r, *n);
}

static void tell_through_faults(struct rig *r)
{
    unsigned n = 0;
    store_disk_set_mode(r->disk, STORE_DISK_EIO);
    start_gateway(r);
    note(r, ++n); /* before it has begun */
    run(r, 3 * SECOND_US);
    CHECK_INT(r->event_count, 0);
    store_disk_set_mode(r->disk, STORE_DISK_OK);
    run(r, 30 * SECOND_US);
    check_notes(r, n);
    for (int64_t after_us = 0; after_us <= 2000; after_us += 250) {
        tell_beside_a_fault(r, after_us % 500 == 0 ? STORE_DISK_EIO : STORE_DISK_FULL, after_us, &n);
    }
    store_disk_set_mode(r->disk, STORE_DISK_EIO);
    note(r, ++n);
    run(r, 3 * MS_US); /* failed: its number is free */
    store_disk_set_mode(r->disk, STORE_DISK_OK);
    note(r, ++n); /* takes it */
    run(r, MINUTE_US);
    check_notes(r, n);
    for (unsigned i = 0; i < 64; i++) {
        note(r, ++n);
    }
    CHECK_ERR(gateway_note(r->gateway, "test-note", "one more"), ERR_FULL);
    run(r, MINUTE_US);
    check_notes(r, n);
    CHECK(gateway_drained(r->gateway));
}

static void what_it_tells_arrives_once_and_in_order_whatever_the_disk_does(void **state)
{
    tell_through_faults(*state);
}

static void and_so_it_does_with_rules(void **state)
{
    struct rig *r = *state;
    BUFFER(problems, 4096);
    CHECK_OK(rules_load(NULL, &r->rules, &problems));
    tell_through_faults(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_device_that_asks_is_answered_on_its_own_topic, start, end),
        cmocka_unit_test_setup_teardown(what_it_is_unsure_of_goes_to_the_parent_and_comes_back, start, end),
        cmocka_unit_test_setup_teardown(the_label_that_nobody_knew_is_asked_for_in_the_gateways_own_stream, start, end),
        cmocka_unit_test_setup_teardown(what_it_tells_arrives_once_and_in_order_whatever_the_disk_does, start, end),
        cmocka_unit_test_setup_teardown(and_so_it_does_with_rules, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
