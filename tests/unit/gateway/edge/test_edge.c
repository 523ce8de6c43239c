/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the edge node says what Sparkplug 3.0 asks of it, in order, whatever becomes of session, host and devices: each
 * test is a transcript of events and the messages that come of them.
 */
#include "tests/support/check.h"

#include "gateway/edge/edge.h"
#include "proto/schema/sparkplug_b.pb-c.h"

enum { LOG_MAX = 4096 };

struct said {
    char topic[200];
    unsigned qos;
    Weir__Sparkplug__Payload *payload; /* owned */
};
struct fixture {
    struct edge *edge;
    struct said said[LOG_MAX];
    size_t count, read;
    unsigned room; /* messages that the session takes; UINT_MAX = any number */
    int64_t now_ms;
};
static struct fixture f;

static bool on_send(void *arg, struct slice topic, struct slice payload, unsigned qos)
{
    (void)arg;
    if (f.room == 0) {
        return false;
    }
    f.room -= f.room != UINT_MAX;
    CHECK(f.count < LOG_MAX);
    struct said *s = &f.said[f.count++];
    snprintf(s->topic, sizeof(s->topic), "%.*s", (int)topic.len, (const char *)topic.ptr);
    s->qos = qos;
    s->payload = weir__sparkplug__payload__unpack(NULL, payload.len, payload.ptr);
    CHECK(s->payload != NULL);
    return true;
}

static void begin(const struct edge_options *more)
{
    struct edge_options o = *more;
    o.group = "plant";
    o.node = "gw1";
    o.software = "0.1";
    f = (struct fixture){.room = UINT_MAX, .now_ms = 1000000};
    CHECK_OK(edge_new(&o, &(struct edge_handlers){.send = on_send}, &f.edge, NULL));
}

static void end(void)
{
    edge_free(f.edge);
    for (size_t i = 0; i < f.count; i++) {
        weir__sparkplug__payload__free_unpacked(f.said[i].payload, NULL);
    }
}

static void pump(void)
{
    while (edge_pump(f.edge, f.now_ms) == 0) {
    }
}

static const struct said *next(const char *topic)
{
    if (f.read == f.count) {
        fail_msg("nothing was said, expected %s", topic);
    }
    const struct said *s = &f.said[f.read++];
    CHECK_STR(s->topic, topic);
    return s;
}

static void nothing_more(void)
{
    if (f.read != f.count) {
        fail_msg("%s was said, expected nothing", f.said[f.read].topic);
    }
}

/* Connects; gives the bdSeq of the will. */
static int64_t connect(enum edge_wish wish)
{
    BUFFER(topic, 200);
    BUFFER(payload, 200);
    edge_connecting(f.edge, false, f.now_ms, &topic, &payload);
    CHECK(slice_equal(buffer_slice(&topic), slice_str("spBv1.0/plant/NDEATH/gw1")));
    Weir__Sparkplug__Payload *p = weir__sparkplug__payload__unpack(NULL, payload.len, payload.ptr);
    CHECK(p != NULL && !p->has_seq && p->n_metrics == 1);
    CHECK_STR(p->metrics[0]->name, "bdSeq");
    CHECK_INT(p->metrics[0]->datatype, SPARKPLUG_INT64);
    int64_t bd_seq = (int64_t)p->metrics[0]->long_value;
    weir__sparkplug__payload__free_unpacked(p, NULL);
    CHECK_INT(edge_connected(f.edge), wish);
    return bd_seq;
}

static struct edge_device *device(const char *id)
{
    struct edge_device *d = NULL;
    CHECK_OK(edge_device(f.edge, id, &d));
    return d;
}

static uint64_t metric(const char *id, const char *name)
{
    uint64_t m = 0;
    CHECK_OK(edge_metric(f.edge, device(id), name, "bar", SPARKPLUG_DOUBLE, &m));
    return m;
}

static void value(uint64_t m, double v, int64_t ms)
{
    edge_value(f.edge, m, v, ms, false);
}

static enum edge_wish hear(const char *topic, const char *payload)
{
    return edge_message(f.edge, slice_str(topic), slice_str(payload), false, f.now_ms);
}

static void ask_rebirth(bool retained)
{
    const struct sparkplug_metric m = {.name = "Node Control/Rebirth", .datatype = SPARKPLUG_BOOLEAN, .number = 1};
    BUFFER(out, 200);
    CHECK_OK(sparkplug_encode(1, SPARKPLUG_NO_SEQ, &m, 1, &out));
    CHECK_INT(edge_message(f.edge, slice_str("spBv1.0/plant/NCMD/gw1"), buffer_slice(&out), retained, f.now_ms), EDGE_STAY);
}

static const Weir__Sparkplug__Metric *by_name(const struct said *s, const char *name)
{
    for (size_t i = 0; i < s->payload->n_metrics; i++) {
        if (strcmp(s->payload->metrics[i]->name, name) == 0) {
            return s->payload->metrics[i];
        }
    }
    fail_msg("%s has no metric %s", s->topic, name);
    return NULL;
}

static void births_come_first_and_data_by_alias_behind_them(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    uint64_t flow = metric("pump", "flow"), temp = metric("pump", "temp");
    edge_device_online(f.edge, device("pump"), true);
    device("silent"); /* never there */
    edge_device_online(f.edge, device("bare"), true); /* without metrics: nothing to tell */
    value(flow, 1.5, 999000);
    CHECK_INT(connect(EDGE_STAY), 0);
    pump();
    const struct said *s = next("spBv1.0/plant/NBIRTH/gw1");
    CHECK_INT(s->payload->seq, 0);
    CHECK_INT(s->qos, 0);
    CHECK_INT(by_name(s, "bdSeq")->long_value, 0);
    CHECK(!by_name(s, "Node Control/Rebirth")->boolean_value && !by_name(s, "Node Control/Rebirth")->has_alias);
    s = next("spBv1.0/plant/DBIRTH/gw1/pump");
    CHECK_INT(s->payload->seq, 1);
    CHECK_INT(s->payload->timestamp, 1000000);
    CHECK_INT(s->payload->n_metrics, 2);
    CHECK(by_name(s, "flow")->double_value == 1.5);
    CHECK_INT(by_name(s, "flow")->timestamp, 999000);
    CHECK_INT(by_name(s, "flow")->alias, flow);
    CHECK(by_name(s, "temp")->is_null && by_name(s, "temp")->value_case == 0);
    nothing_more(); /* the value was in the birth */
    CHECK_INT(edge_state(f.edge), EDGE_ONLINE);
    value(temp, 20, 1000100);
    value(flow, 1.5, 1000100); /* unchanged */
    value(flow, 1.75, 1000200);
    pump();
    s = next("spBv1.0/plant/DDATA/gw1/pump");
    CHECK_INT(s->payload->seq, 2);
    CHECK_INT(s->payload->n_metrics, 2);
    CHECK(s->payload->metrics[0]->name == NULL && !s->payload->metrics[0]->has_datatype);
    CHECK_INT(s->payload->metrics[0]->alias, temp);
    CHECK(s->payload->metrics[1]->double_value == 1.75 && !s->payload->metrics[1]->is_historical);
    nothing_more();
    end();
}

static void the_sequence_wraps_behind_255_across_node_and_devices(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    uint64_t a = metric("a", "x"), b = metric("b", "x");
    edge_device_online(f.edge, device("a"), true);
    edge_device_online(f.edge, device("b"), true);
    (void)connect(EDGE_STAY);
    for (int i = 0; i < 600; i++) {
        f.now_ms += 10;
        value(i % 2 ? a : b, i, f.now_ms);
        pump();
    }
    CHECK(f.count > 600);
    for (size_t i = 0; i < f.count; i++) {
        CHECK(f.said[i].payload->has_seq);
        CHECK_INT(f.said[i].payload->seq, i % 256);
    }
    end();
}

static void every_connect_raises_bd_seq_and_the_birth_repeats_it(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    for (int i = 0; i < 300; i++) {
        CHECK_INT(connect(EDGE_STAY), i % 256);
        pump();
        CHECK_INT(by_name(next("spBv1.0/plant/NBIRTH/gw1"), "bdSeq")->long_value, i % 256);
        edge_disconnected(f.edge);
        f.now_ms += 2000;
    }
    end();
}

static void what_waited_without_a_session_goes_out_behind_the_births_as_historical(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    uint64_t flow = metric("pump", "flow");
    edge_device_online(f.edge, device("pump"), true);
    for (int i = 0; i < 5; i++) {
        value(flow, i, 500 + i);
    }
    (void)connect(EDGE_STAY);
    pump();
    next("spBv1.0/plant/NBIRTH/gw1");
    CHECK(by_name(next("spBv1.0/plant/DBIRTH/gw1/pump"), "flow")->double_value == 4);
    const struct said *s = next("spBv1.0/plant/DDATA/gw1/pump");
    CHECK_INT(s->payload->n_metrics, 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK(s->payload->metrics[i]->is_historical && s->payload->metrics[i]->double_value == (double)i);
    }
    nothing_more();
    edge_value(f.edge, flow, 7, 400, true); /* stored, and older than what is known */
    edge_value(f.edge, flow, 9, 600, true); /* stored, and the newest */
    value(flow, 10, 700);
    value(flow, 11, 300); /* a clock that was set back: still the newest, in a message of its own */
    pump();
    s = next("spBv1.0/plant/DDATA/gw1/pump");
    CHECK_INT(s->payload->n_metrics, 3);
    CHECK(s->payload->metrics[0]->is_historical && s->payload->metrics[1]->is_historical);
    CHECK(!s->payload->metrics[2]->is_historical);
    s = next("spBv1.0/plant/DDATA/gw1/pump");
    CHECK_INT(s->payload->n_metrics, 1);
    CHECK(!s->payload->metrics[0]->is_historical && s->payload->metrics[0]->double_value == 11);
    f.now_ms += 5000;
    ask_rebirth(false);
    pump();
    next("spBv1.0/plant/NBIRTH/gw1");
    CHECK(by_name(next("spBv1.0/plant/DBIRTH/gw1/pump"), "flow")->double_value == 11);
    nothing_more();
    end();
}

static void a_full_ring_drops_the_oldest_and_says_how_many(void **state)
{
    (void)state;
    begin(&(struct edge_options){.waiting_max = 10});
    uint64_t flow = metric("pump", "flow"), temp = metric("pump", "temp");
    edge_device_online(f.edge, device("pump"), true);
    (void)connect(EDGE_STAY);
    pump();
    f.read = f.count;
    f.room = 0;
    value(temp, 1, 1);
    for (int i = 0; i < 25; i++) {
        value(flow, i, 10 + i);
    }
    value(temp, 1, 50); /* equal to one that was dropped: goes out */
    f.room = UINT_MAX;
    f.now_ms += 5000;
    pump();
    const struct said *s = next("spBv1.0/plant/DDATA/gw1/pump");
    CHECK_INT(s->payload->n_metrics, 10);
    CHECK(s->payload->metrics[0]->double_value == 16);
    CHECK_INT(s->payload->metrics[9]->alias, temp);
    s = next("spBv1.0/plant/NDATA/gw1");
    CHECK_INT(s->payload->n_metrics, 1);
    CHECK_INT(s->payload->metrics[0]->long_value, 17);
    struct edge_stats stats;
    edge_stats(f.edge, &stats);
    CHECK_INT(stats.dropped, 17);
    CHECK_INT(stats.waiting, 0);
    end();
}

static void a_clock_that_was_set_back_holds_nothing_up(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    (void)metric("pump", "flow");
    (void)connect(EDGE_STAY);
    pump();
    f.read = f.count;
    f.now_ms -= 500000;
    edge_device_online(f.edge, device("pump"), true); /* changes how many devices are online */
    pump();
    (void)next("spBv1.0/plant/DBIRTH/gw1/pump");
    const struct said *s = next("spBv1.0/plant/NDATA/gw1");
    CHECK_INT(s->payload->metrics[0]->long_value, 1);
    CHECK_INT(s->payload->metrics[0]->timestamp, f.now_ms);
    nothing_more();
    CHECK_INT(edge_pump(f.edge, f.now_ms), -1);
    end();
}

static void values_of_one_millisecond_become_the_last_of_them(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    uint64_t flow = metric("pump", "flow");
    edge_device_online(f.edge, device("pump"), true);
    (void)connect(EDGE_STAY);
    pump();
    f.read = f.count;
    value(flow, 1, 5000);
    value(flow, 2, 5000);
    value(flow, 3, 5001);
    pump();
    const struct said *s = next("spBv1.0/plant/DDATA/gw1/pump");
    CHECK_INT(s->payload->n_metrics, 2);
    CHECK(s->payload->metrics[0]->double_value == 2 && s->payload->metrics[1]->double_value == 3);
    end();
}

static void a_new_metric_is_born_before_its_data_and_before_older_deaths(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    uint64_t x = metric("a", "x"), y = metric("b", "y");
    edge_device_online(f.edge, device("a"), true);
    edge_device_online(f.edge, device("b"), true);
    (void)connect(EDGE_STAY);
    pump();
    f.read = f.count;
    value(x, 1, 10);
    edge_device_online(f.edge, device("a"), false); /* dies behind its data */
    uint64_t z = metric("b", "z");
    value(y, 2, 11);
    value(z, 3, 12);
    value(z, 4, 13);
    pump();
    const struct said *s = next("spBv1.0/plant/DBIRTH/gw1/b");
    CHECK_INT(s->payload->n_metrics, 2);
    CHECK(by_name(s, "z")->double_value == 4);
    next("spBv1.0/plant/DDATA/gw1/a");
    s = next("spBv1.0/plant/DDEATH/gw1/a");
    CHECK_INT(s->payload->n_metrics, 0);
    CHECK(s->payload->has_seq && s->payload->has_timestamp);
    s = next("spBv1.0/plant/DDATA/gw1/b");
    CHECK_INT(s->payload->n_metrics, 1);
    CHECK(s->payload->metrics[0]->is_historical && s->payload->metrics[0]->alias == z);
    nothing_more();
    value(x, 5, 20); /* of a device that is not there */
    pump();
    nothing_more();
    edge_device_online(f.edge, device("a"), true);
    pump();
    CHECK(by_name(next("spBv1.0/plant/DBIRTH/gw1/a"), "x")->double_value == 5);
    CHECK_OK(edge_metric_unit(f.edge, x, "bar")); /* as it was */
    CHECK_OK(edge_metric_unit(f.edge, x, "Pa"));
    pump();
    CHECK_STR(by_name(next("spBv1.0/plant/DBIRTH/gw1/a"), "x")->properties->values[0]->string_value, "Pa");
    nothing_more();
    edge_metric_forget(f.edge, x);
    pump();
    CHECK(by_name(next("spBv1.0/plant/DBIRTH/gw1/a"), "x")->is_null);
    edge_metric_forget(f.edge, x); /* it is told */
    pump();
    nothing_more();
    value(x, 5, 30); /* equal to the one before, and yet told */
    pump();
    CHECK(next("spBv1.0/plant/DDATA/gw1/a")->payload->metrics[0]->double_value == 5);
    end();
}

static void a_device_that_is_back_before_its_death_was_told_does_not_die(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    (void)metric("a", "x");
    edge_device_online(f.edge, device("a"), true);
    (void)connect(EDGE_STAY);
    pump();
    f.read = f.count;
    f.room = 0;
    edge_device_online(f.edge, device("a"), false);
    pump();
    edge_device_online(f.edge, device("a"), true);
    f.room = UINT_MAX;
    pump();
    nothing_more();
    end();
}

static void a_busy_session_gets_every_birth_once_and_in_order(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    char id[16];
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof(id), "d%03d", i);
        (void)metric(id, "x");
        edge_device_online(f.edge, device(id), true);
    }
    f.room = 0;
    (void)connect(EDGE_STAY);
    while (edge_state(f.edge) != EDGE_ONLINE) {
        CHECK(f.count < 400);
        f.room = 7;
        pump();
    }
    next("spBv1.0/plant/NBIRTH/gw1");
    for (int i = 0; i < 300; i++) {
        char topic[64];
        snprintf(topic, sizeof(topic), "spBv1.0/plant/DBIRTH/gw1/d%03d", i);
        CHECK_INT(next(topic)->payload->seq, (i + 1) % 256);
    }
    nothing_more();
    end();
}

static void a_rebirth_stops_data_tells_everything_anew_and_cannot_be_asked_for_at_any_rate(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    uint64_t x = metric("a", "x");
    edge_device_online(f.edge, device("a"), true);
    int64_t bd_seq = connect(EDGE_STAY);
    pump();
    f.read = f.count;
    f.now_ms += 5000;
    value(x, 1, f.now_ms);
    ask_rebirth(false);
    pump();
    const struct said *s = next("spBv1.0/plant/NBIRTH/gw1");
    CHECK_INT(s->payload->seq, 0);
    CHECK_INT(by_name(s, "bdSeq")->long_value, bd_seq);
    CHECK(by_name(next("spBv1.0/plant/DBIRTH/gw1/a"), "x")->double_value == 1);
    nothing_more();
    for (int i = 0; i < 100; i++) { /* a flood: one more, a second later */
        ask_rebirth(false);
        f.now_ms++;
        value(x, i, f.now_ms);
        CHECK(edge_pump(f.edge, f.now_ms) > 0);
    }
    nothing_more();
    f.now_ms += EDGE_REBIRTH_MS;
    pump();
    next("spBv1.0/plant/NBIRTH/gw1");
    next("spBv1.0/plant/DBIRTH/gw1/a");
    s = next("spBv1.0/plant/DDATA/gw1/a"); /* meanwhile, as history */
    CHECK(s->payload->metrics[0]->is_historical);
    nothing_more();
    ask_rebirth(true); /* one that was retained is for somebody else */
    f.now_ms += 5000;
    pump();
    nothing_more();
    struct edge_stats stats;
    edge_stats(f.edge, &stats);
    CHECK_INT(stats.rebirths, 101);
    CHECK_INT(stats.ignored_commands, 1);
    end();
}

static void foreign_and_broken_messages_change_nothing(void **state)
{
    (void)state;
    begin(&(struct edge_options){.host = "scada"});
    (void)connect(EDGE_STAY);
    CHECK_INT(hear("spBv1.0/STATE/other", "{\"online\":true,\"timestamp\":1}"), EDGE_STAY);
    CHECK_INT(hear("spBv1.0/STATE/scada", "ONLINE"), EDGE_STAY);
    CHECK_INT(hear("STATE/scada", "{\"online\":true,\"timestamp\":1}"), EDGE_STAY);
    CHECK_INT(hear("spBv1.0/plant/NCMD/gw2", "x"), EDGE_STAY);
    CHECK_INT(hear("spBv1.0/plant/NCMD/gw1", "garbage"), EDGE_STAY);
    CHECK_INT(hear("spBv1.0/plant/DCMD/gw1/a", ""), EDGE_STAY);
    CHECK_INT(hear("spBv1.0/plant/NDATA/gw1", "x"), EDGE_STAY);
    ask_rebirth(false);
    pump();
    nothing_more();
    CHECK_INT(edge_state(f.edge), EDGE_WAITING);
    struct edge_stats stats;
    edge_stats(f.edge, &stats);
    CHECK_INT(stats.bad_states, 1);
    CHECK_INT(stats.bad_commands, 1);
    CHECK_INT(stats.ignored_commands, 2);
    end();
}

static void births_wait_for_the_primary_host_and_end_with_it(void **state)
{
    (void)state;
    begin(&(struct edge_options){.host = "scada"});
    uint64_t x = metric("a", "x");
    edge_device_online(f.edge, device("a"), true);
    (void)connect(EDGE_STAY);
    value(x, 1, 10);
    value(x, 2, 20);
    pump();
    nothing_more();
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":true,\"timestamp\":100}"), EDGE_STAY);
    pump();
    next("spBv1.0/plant/NBIRTH/gw1");
    next("spBv1.0/plant/DBIRTH/gw1/a");
    CHECK(next("spBv1.0/plant/DDATA/gw1/a")->payload->metrics[0]->is_historical);
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":false,\"timestamp\":99}"), EDGE_STAY); /* of its life before */
    value(x, 3, 30);
    pump();
    next("spBv1.0/plant/DDATA/gw1/a");
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":false,\"timestamp\":100}"), EDGE_LEAVE);
    const struct said *s = next("spBv1.0/plant/NDEATH/gw1");
    CHECK(!s->payload->has_seq);
    CHECK_INT(s->qos, 1);
    CHECK_INT(s->payload->n_metrics, 1);
    CHECK_INT(by_name(s, "bdSeq")->long_value, 0);
    value(x, 4, 40);
    pump();
    nothing_more();
    edge_disconnected(f.edge);
    CHECK_INT(connect(EDGE_MOVE), 1); /* the last word was offline */
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":false,\"timestamp\":100}"), EDGE_MOVE);
    edge_leave(f.edge, f.now_ms); /* also a session that waited is declared dead before it is left */
    CHECK_INT(by_name(next("spBv1.0/plant/NDEATH/gw1"), "bdSeq")->long_value, 1);
    edge_leave(f.edge, f.now_ms);
    nothing_more();
    CHECK_INT(connect(EDGE_MOVE), 2);
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":true,\"timestamp\":50}"), EDGE_STAY); /* older: not believed */
    pump();
    nothing_more();
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":true,\"timestamp\":200}"), EDGE_STAY);
    pump();
    CHECK_INT(by_name(next("spBv1.0/plant/NBIRTH/gw1"), "bdSeq")->long_value, 2);
    end();
}

static void a_state_that_came_before_the_session_was_whole_counts_and_another_server_has_another_clock(void **state)
{
    (void)state;
    begin(&(struct edge_options){.host = "scada"});
    BUFFER(topic, 200);
    BUFFER(payload, 200);
    edge_connecting(f.edge, false, f.now_ms, &topic, &payload);
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":true,\"timestamp\":1000}"), EDGE_STAY);
    CHECK_INT(edge_connected(f.edge), EDGE_STAY);
    pump();
    next("spBv1.0/plant/NBIRTH/gw1");
    edge_disconnected(f.edge);
    f.now_ms += 5000;
    buffer_reset(&topic);
    edge_connecting(f.edge, true, f.now_ms, &topic, &payload);
    CHECK_INT(edge_connected(f.edge), EDGE_STAY); /* nothing is known of the host there */
    pump();
    nothing_more();
    CHECK_INT(hear("spBv1.0/STATE/scada", "{\"online\":true,\"timestamp\":5}"), EDGE_STAY);
    pump();
    next("spBv1.0/plant/NBIRTH/gw1");
    end();
}

static void an_orderly_stop_says_so_and_is_final(void **state)
{
    (void)state;
    begin(&(struct edge_options){0});
    uint64_t x = metric("a", "x");
    edge_device_online(f.edge, device("a"), true);
    (void)connect(EDGE_STAY);
    pump();
    f.read = f.count;
    edge_stop(f.edge, f.now_ms);
    CHECK_INT(by_name(next("spBv1.0/plant/NDEATH/gw1"), "bdSeq")->long_value, 0);
    value(x, 1, 1);
    ask_rebirth(false);
    CHECK_INT(edge_connected(f.edge), EDGE_STAY);
    pump();
    edge_stop(f.edge, f.now_ms);
    nothing_more();
    end();
}

static void bounds_hold(void **state)
{
    (void)state;
    begin(&(struct edge_options){.devices_max = 2, .metrics_max = 3});
    struct edge_device *d = NULL;
    uint64_t m = 0;
    (void)device("a");
    (void)device("b");
    CHECK_OK(edge_device(f.edge, "a", &d));
    CHECK_ERR(edge_device(f.edge, "c", &d), ERR_FULL);
    CHECK_ERR(edge_device(f.edge, "c/d", &d), ERR_RANGE);
    (void)metric("a", "x");
    (void)metric("a", "y");
    CHECK_ERR(edge_metric(f.edge, d, "", "", SPARKPLUG_DOUBLE, &m), ERR_RANGE);
    CHECK_ERR(edge_metric(f.edge, d, "\xff", "", SPARKPLUG_DOUBLE, &m), ERR_RANGE);
    (void)metric("b", "x");
    CHECK_ERR(edge_metric(f.edge, d, "z", "", SPARKPLUG_DOUBLE, &m), ERR_FULL);
    end();
    begin(&(struct edge_options){0});
    static char long_name[SPARKPLUG_NAME_MAX + 1];
    memset(long_name, 'n', sizeof(long_name) - 1);
    enum err err = OK;
    for (unsigned i = 0; i < EDGE_DEVICE_METRICS_MAX && err == OK; i++) {
        long_name[0] = (char)('a' + i % 26);
        err = edge_metric(f.edge, device("a"), long_name, long_name, SPARKPLUG_DOUBLE, &m);
    }
    CHECK_INT(err, ERR_FULL); /* its birth would be too long for a message */
    edge_device_online(f.edge, device("a"), true);
    (void)connect(EDGE_STAY);
    pump();
    next("spBv1.0/plant/NBIRTH/gw1");
    next("spBv1.0/plant/DBIRTH/gw1/a");
    end();
    struct edge *e = NULL;
    struct fault fault;
    CHECK_ERR(edge_new(&(struct edge_options){.group = "a/b", .node = "n"}, &(struct edge_handlers){0}, &e, &fault),
              ERR_RANGE);
    CHECK_CONTAINS(fault.text, "a/b");
}

static void its_filters_are_commands_and_the_hosts_state(void **state)
{
    (void)state;
    begin(&(struct edge_options){.host = "scada"});
    static const char *const want[] = {"spBv1.0/plant/NCMD/gw1", "spBv1.0/plant/DCMD/gw1/+", "spBv1.0/STATE/scada"};
    for (unsigned i = 0; i < 3; i++) {
        BUFFER(out, 100);
        CHECK(edge_filter(f.edge, i, &out));
        CHECK(slice_equal(buffer_slice(&out), slice_str(want[i])));
    }
    BUFFER(out, 100);
    CHECK(!edge_filter(f.edge, 3, &out));
    end();
    begin(&(struct edge_options){0});
    CHECK(!edge_filter(f.edge, 2, &out));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(births_come_first_and_data_by_alias_behind_them),
        cmocka_unit_test(the_sequence_wraps_behind_255_across_node_and_devices),
        cmocka_unit_test(every_connect_raises_bd_seq_and_the_birth_repeats_it),
        cmocka_unit_test(what_waited_without_a_session_goes_out_behind_the_births_as_historical),
        cmocka_unit_test(a_full_ring_drops_the_oldest_and_says_how_many),
        cmocka_unit_test(a_clock_that_was_set_back_holds_nothing_up),
        cmocka_unit_test(values_of_one_millisecond_become_the_last_of_them),
        cmocka_unit_test(a_new_metric_is_born_before_its_data_and_before_older_deaths),
        cmocka_unit_test(a_device_that_is_back_before_its_death_was_told_does_not_die),
        cmocka_unit_test(a_busy_session_gets_every_birth_once_and_in_order),
        cmocka_unit_test(a_rebirth_stops_data_tells_everything_anew_and_cannot_be_asked_for_at_any_rate),
        cmocka_unit_test(foreign_and_broken_messages_change_nothing),
        cmocka_unit_test(births_wait_for_the_primary_host_and_end_with_it),
        cmocka_unit_test(a_state_that_came_before_the_session_was_whole_counts_and_another_server_has_another_clock),
        cmocka_unit_test(an_orderly_stop_says_so_and_is_final),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(its_filters_are_commands_and_the_hosts_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
