/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever budget, windows and times to live hold back or give up, every number still comes to the sink once, as
 * data or declared; alarms overtake; no span of a period costs more than its budget, also when the gateway is killed
 * again and again; and the bill is what was published. Whole hierarchies in virtual time.
 */
#include "tests/unit/cloud-bridge/bridged/rig.h"

#include <cjson/cJSON.h>

#include "gateway/uplink/uplink.h"

enum { STORE = 64 << 20, DRAIN_S = 300, PERIOD_S = 600 };

/* ---- what the gateway publishes, as the hub sees it ---- */
enum { SPENT_MAX = 20000 };
struct seen {
    struct rig *rig;
    struct {
        int64_t at_us;
        uint64_t bytes;
    } spent[SPENT_MAX];
    size_t count;
    uint64_t frames, mqtt; /* of gw */
};

static void on_published(void *arg, const char *client, struct slice topic, struct slice payload)
{
    struct seen *s = arg;
    if (strcmp(client, "gw") != 0) {
        return;
    }
    uint64_t bytes = budget_publish_bytes(topic.len, payload.len);
    CHECK(s->count < SPENT_MAX);
    s->spent[s->count].at_us = loop_world_now_us(s->rig->world);
    s->spent[s->count++].bytes = bytes + budget_packet_overhead(bytes, false);
    s->frames++;
    s->mqtt += bytes;
}

static uint64_t dearest_span(const struct seen *s, int64_t period_us)
{
    uint64_t dearest = 0, sum = 0;
    for (size_t from = 0, i = 0; i < s->count; i++) {
        sum += s->spent[i].bytes;
        while (s->spent[from].at_us <= s->spent[i].at_us - period_us) {
            sum -= s->spent[from++].bytes;
        }
        dearest = max_u64(dearest, sum);
    }
    return dearest;
}

/* ---- a small world: one gateway, two devices ---- */
struct world {
    struct rig rig;
    struct rig_gateway *gw;
    struct rig_device *a, *b;
    struct seen *seen;
};

static void begin(struct world *w, uint64_t seed, const struct budget_rules *budget)
{
    rig_new(&w->rig, seed, 1);
    w->gw = rig_add_gateway(&w->rig, "gw", NULL, STORE);
    w->gw->budget = *budget;
    w->a = rig_add_device(&w->rig, "a", w->gw);
    w->b = rig_add_device(&w->rig, "b", w->gw);
    w->seen = calloc(1, sizeof(*w->seen));
    CHECK(w->seen != NULL);
    w->seen->rig = &w->rig;
    bus_hub_watch(w->rig.hubs[0], on_published, w->seen);
    rig_start(&w->rig);
}

static void end(struct world *w)
{
    rig_free(&w->rig);
    free(w->seen);
}

static uint64_t delivered(const struct world *w, unsigned lane)
{
    struct gateway_stats stats;
    gateway_stats(w->gw->gateway, &stats);
    return stats.uplink_acked[lane];
}

static cJSON *status(const struct world *w)
{
    BUFFER(text, 1 << 20);
    gateway_status_json(w->gw->gateway, &text);
    cJSON *json = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    CHECK(json != NULL);
    return json;
}

static double uplink_number(const struct world *w, const char *const path[], size_t depth)
{
    cJSON *json = status(w), *at = cJSON_GetObjectItem(json, "uplink");
    for (size_t i = 0; i < depth; i++) {
        at = cJSON_GetObjectItem(at, path[i]);
    }
    CHECK(cJSON_IsNumber(at));
    double number = cJSON_GetNumberValue(at);
    cJSON_Delete(json);
    return number;
}
#define UPLINK_NUMBER(w, ...)                                                                                          \
    uplink_number(w, (const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})))

/* Numbers that the sink has as suppressed, and the rows that say so. */
struct given_up {
    uint64_t numbers, rows;
};
static void count_given_up(void *arg, const struct sink_stream *stream, bool hop, const struct sink_row *rows,
                           size_t count)
{
    struct given_up *g = arg;
    (void)stream;
    (void)hop;
    for (size_t i = 0; i < count; i++) {
        bool suppressed = rows[i].kind == SINK_SUPPRESSED;
        g->numbers += suppressed ? rows[i].last - rows[i].first + 1 : 0;
        g->rows += suppressed;
    }
}

static struct given_up given_up(const struct world *w)
{
    struct given_up g = {0};
    sink_memory_foreach(w->rig.sinks[0], count_given_up, &g);
    return g;
}

/* ---- the budget ---- */
static void alarms_go_while_the_rest_waits_for_the_budget_and_nothing_is_lost(void **state)
{
    struct budget_rules budget = {.bytes = 60000, .period_us = PERIOD_S * SECOND_US, .alarm_pct = 20};
    struct world w;
    (void)state;
    begin(&w, 1, &budget);
    for (unsigned i = 0; i < 100; i++) {
        rig_produce(w.a, 1, 20);
        rig_run(&w.rig, 100 * MS_US);
    }
    rig_run(&w.rig, 10 * SECOND_US);
    uint64_t stuck = delivered(&w, 1);
    CHECK(stuck > 100 && stuck < 1500);
    rig_run(&w.rig, 10 * SECOND_US);
    CHECK_INT(delivered(&w, 1), stuck);
    for (unsigned i = 1; i <= 5; i++) { /* with the next look at the latest */
        rig_produce(w.b, 0, 1);
        rig_run(&w.rig, SECOND_US);
        CHECK_INT(delivered(&w, 0), i);
    }
    cJSON *json = status(&w);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "state")), "ok"); /* it is as it was told to be */
    cJSON_Delete(json);
    CHECK(UPLINK_NUMBER(&w, "backlog", "live", "goes_on_in_s") > PERIOD_S - 60);
    CHECK(dearest_span(w.seen, budget.period_us) <= budget.bytes);
    budget.bytes = 100 << 20; /* raised: at once */
    gateway_set_budget(w.gw->gateway, &budget);
    RIG_WAIT(&w.rig, rig_drained(&w.rig), 60);
    CHECK_INT(rig_check_all(&w.rig), 0);
    CHECK_INT(given_up(&w).numbers, 0);
    end(&w);
}

static void what_is_above_the_budget_goes_in_later_periods(void **state)
{
    const struct budget_rules budget = {.bytes = 60000, .period_us = PERIOD_S * SECOND_US, .alarm_pct = 10};
    struct world w;
    (void)state;
    begin(&w, 2, &budget);
    rig_produce(w.a, 1, 1500); /* about 130 kB on the way */
    rig_run(&w.rig, SECOND_US);
    RIG_WAIT(&w.rig, rig_drained(&w.rig), 10 * PERIOD_S);
    CHECK(loop_world_now_us(w.rig.world) > 2 * PERIOD_S * SECOND_US);
    CHECK(dearest_span(w.seen, budget.period_us) <= budget.bytes);
    CHECK_INT(rig_check_all(&w.rig), 0);
    end(&w);
}

/* Killed every few seconds, at any instant: what it forgets must never be budget that was spent. */
static void no_row_of_kills_makes_the_budget_larger(void **state)
{
    const struct budget_rules budget = {.bytes = 200000, .period_us = PERIOD_S * SECOND_US, .alarm_pct = 10};
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world w;
        begin(&w, seed, &budget);
        for (unsigned i = 0; i < 400; i++) {
            rig_produce(w.a, 1, 100);
            if (i % 20 == 0) {
                rig_produce(w.b, 0, 1);
            }
            rig_run(&w.rig, (int64_t)(loop_world_random(w.rig.world) % 30000) * MS_US);
            rig_gateway_restart(w.gw);
        }
        uint64_t dearest = dearest_span(w.seen, budget.period_us);
        CHECK(dearest > budget.bytes / 2); /* and it is not simply burnt */
        CHECK(dearest <= budget.bytes);
        w.gw->budget.bytes = 0;
        rig_gateway_restart(w.gw);
        RIG_WAIT(&w.rig, rig_drained(&w.rig), DRAIN_S);
        CHECK_INT(rig_check_all(&w.rig), 0);
        end(&w);
    }
}

/* Without its state written nothing of the bulk may go; alarms may. */
static void a_disk_that_takes_nothing_holds_the_bulk_lane_only_until_it_does(void **state)
{
    const struct budget_rules budget = {.bytes = 10 << 20, .period_us = PERIOD_S * SECOND_US, .alarm_pct = 10};
    struct world w;
    (void)state;
    begin(&w, 7, &budget);
    bus_hub_set_link(w.rig.hubs[0], "gw", BUS_LINK_DOWN);
    rig_produce(w.a, 1, 2000); /* more than a lease */
    rig_produce(w.b, 0, 5);
    rig_run(&w.rig, 10 * SECOND_US);
    rig_gateway_restart(w.gw);
    rig_run(&w.rig, SECOND_US);
    store_disk_set_mode(w.gw->disk, STORE_DISK_EIO);
    bus_hub_set_link(w.rig.hubs[0], "gw", BUS_LINK_UP);
    rig_run(&w.rig, MINUTE_US);
    CHECK_INT(delivered(&w, 0), 5);
    CHECK_INT(delivered(&w, 1), 0);
    CHECK(w.seen->mqtt < 20000);
    store_disk_set_mode(w.gw->disk, STORE_DISK_OK);
    RIG_WAIT(&w.rig, rig_drained(&w.rig), 60);
    CHECK_INT(rig_check_all(&w.rig), 0);
    CHECK_INT(given_up(&w).numbers, 0);
    end(&w);
}

/* ---- windows ---- */
/* The world begins at midnight UTC; the tests run with TZ=UTC. */
static void a_closed_uplink_holds_no_session_until_its_window_and_alarms_make_one(void **state)
{
    struct budget_rules budget = {.bytes = 0};
    struct world w;
    (void)state;
    CHECK_OK(budget_when_parse("02:00-03:00", &budget, NULL));
    begin(&w, 3, &budget);
    rig_produce(w.a, 1, 100);
    rig_run(&w.rig, MINUTE_US);
    CHECK_INT(bus_state(w.gw->up), BUS_DOWN);
    CHECK_INT(w.seen->frames, 0);
    cJSON *json = status(&w);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "state")), "ok");
    cJSON_Delete(json);
    CHECK_INT(UPLINK_NUMBER(&w, "window_in_s"), 7200 - 60);
    CHECK_INT(UPLINK_NUMBER(&w, "backlog", "live", "records"), 100);
    rig_produce(w.b, 0, 1); /* an alarm: dials in, and leaves again */
    RIG_WAIT(&w.rig, delivered(&w, 0) == 1, 5);
    CHECK_INT(delivered(&w, 1), 0);
    rig_run(&w.rig, 30 * SECOND_US);
    CHECK_INT(bus_state(w.gw->up), BUS_DOWN);
    rig_run(&w.rig, 118 * MINUTE_US); /* 01:59:30 and a little */
    CHECK_INT(delivered(&w, 1), 0);
    RIG_WAIT(&w.rig, rig_drained(&w.rig), 120);
    CHECK_INT(bus_state(w.gw->up), BUS_UP);
    rig_run(&w.rig, HOUR_US + MINUTE_US);
    CHECK_INT(bus_state(w.gw->up), BUS_DOWN);
    CHECK_INT(rig_check_all(&w.rig), 0);
    end(&w);
}

static void alarms_wait_as_well_when_told_so(void **state)
{
    struct budget_rules budget = {.when = BUDGET_ON_REQUEST, .alarms_wait = true};
    struct world w;
    (void)state;
    begin(&w, 4, &budget);
    rig_produce(w.b, 0, 3);
    rig_produce(w.a, 1, 50);
    rig_run(&w.rig, 10 * MINUTE_US);
    CHECK_INT(w.seen->frames, 0);
    CHECK_INT(bus_state(w.gw->up), BUS_DOWN);
    CHECK_OK(gateway_open_uplink(w.gw->gateway, MINUTE_US)); /* on request */
    RIG_WAIT(&w.rig, rig_drained(&w.rig), 30);
    CHECK_INT(rig_check_all(&w.rig), 0);
    rig_run(&w.rig, 2 * MINUTE_US);
    CHECK_INT(bus_state(w.gw->up), BUS_DOWN);
    rig_produce(w.a, 1, 1);
    rig_run(&w.rig, MINUTE_US);
    CHECK(!rig_drained(&w.rig));
    CHECK_OK(gateway_open_uplink(w.gw->gateway, HOUR_US));
    CHECK_OK(gateway_open_uplink(w.gw->gateway, 0)); /* thought better of it */
    rig_run(&w.rig, MINUTE_US);
    CHECK(!rig_drained(&w.rig));
    budget.when = BUDGET_ALWAYS;
    gateway_set_budget(w.gw->gateway, &budget);
    RIG_WAIT(&w.rig, rig_drained(&w.rig), 30);
    CHECK_INT(rig_check_all(&w.rig), 0);
    end(&w);
}

static uint64_t switches(const struct rig_gateway *g)
{
    struct uplink_stats stats;
    uplink_stats(gateway_uplink(g->gateway), &stats);
    return stats.switches;
}

/* At rest no parent is missed; open, the one that is away is left. What waits for a budget is no sign of a silent parent. */
static void a_gateway_with_two_parents_leaves_none_of_them_for_being_closed_or_out_of_budget(void **state)
{
    struct budget_rules budget = {.when = BUDGET_ON_REQUEST, .alarm_pct = 10};
    struct rig rig;
    (void)state;
    rig_new(&rig, 8, 1);
    struct rig_gateway *a = rig_add_gateway(&rig, "site-a", NULL, STORE);
    struct rig_gateway *b = rig_add_gateway(&rig, "site-b", NULL, STORE);
    struct rig_gateway *gw = rig_add_gateway(&rig, "gw", a, STORE);
    rig_add_parent(gw, b);
    gw->budget = budget;
    struct rig_device *d = rig_add_device(&rig, "d", gw);
    rig_start(&rig);
    rig_produce(d, 1, 100);
    rig_run(&rig, 10 * MINUTE_US);
    CHECK_INT(bus_state(gw->up), BUS_DOWN);
    CHECK_INT(bus_state(gw->other_up), BUS_DOWN);
    CHECK_OK(gateway_open_uplink(gw->gateway, MINUTE_US));
    RIG_WAIT(&rig, rig_drained(&rig), 30);
    CHECK_INT(switches(gw), 0);
    rig_run(&rig, 10 * MINUTE_US);
    CHECK_INT(bus_state(gw->up), BUS_DOWN);
    rig_produce(d, 1, 100);
    rig_run(&rig, SECOND_US);
    rig_gateway_kill(a);
    bus_hub_set_link(a->down_hub, "gw", BUS_LINK_DOWN);
    CHECK_OK(gateway_open_uplink(gw->gateway, 30 * MINUTE_US));
    RIG_WAIT(&rig, gateway_drained(gw->gateway) && bridge_drained(rig.bridge.bridge), 5 * 60);
    CHECK_INT(switches(gw), 1);
    bus_hub_set_link(a->down_hub, "gw", BUS_LINK_UP);
    rig_gateway_start(a);
    RIG_WAIT(&rig, switches(gw) == 2, 25 * 60); /* back to the preferred one */
    budget = (struct budget_rules){.bytes = 20000, .period_us = 10 * MINUTE_US, .alarm_pct = 10};
    gateway_set_budget(gw->gateway, &budget);
    rig_produce(d, 1, 1000);
    rig_run(&rig, 8 * MINUTE_US);
    CHECK(!gateway_drained(gw->gateway));
    CHECK_INT(switches(gw), 2);
    budget.bytes = 0;
    gateway_set_budget(gw->gateway, &budget);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    rig_free(&rig);
}

/* ---- times to live ---- */
static void what_has_outlived_its_class_is_declared_and_what_is_younger_arrives(void **state)
{
    const struct budget_rules budget = {.when = BUDGET_ON_REQUEST, .ttl_us = {0, HOUR_US}};
    struct world w;
    (void)state;
    begin(&w, 5, &budget);
    rig_produce(w.a, 1, 1000);
    rig_produce(w.b, 1, 10);
    rig_produce(w.b, 0, 2);
    rig_run(&w.rig, 2 * HOUR_US);
    rig_gateway_restart(w.gw); /* the same boot: the ages are known */
    rig_run(&w.rig, SECOND_US);
    rig_produce(w.a, 1, 100);
    rig_run(&w.rig, 10 * MINUTE_US);
    CHECK_OK(gateway_open_uplink(w.gw->gateway, 10 * MINUTE_US));
    RIG_WAIT(&w.rig, rig_drained(&w.rig), 120);
    CHECK_INT(rig_check_all(&w.rig), 0);
    struct given_up g = given_up(&w);
    CHECK_INT(g.numbers, 1010);
    CHECK(g.rows < 100); /* of one stream in a row: one declaration a frame */
    CHECK_INT(UPLINK_NUMBER(&w, "backlog", "live", "expired"), 1010);
    end(&w);
}

/* Entries expire while their frames are under way, lost and repeated: some went as data before. */
static void expiry_in_the_middle_of_repeats_and_kills_loses_and_doubles_nothing(void **state)
{
    const struct budget_rules budget = {
        .bytes = 40000, .period_us = MINUTE_US, .alarm_pct = 10, .ttl_us = {0, 20 * SECOND_US}};
    uint64_t numbers = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        begin(&w, seed, &budget);
        bus_hub_set_faults(w.rig.hubs[0], &(struct bus_faults){.loss_ppm = 150000,
                                                               .duplicate_ppm = 50000,
                                                               .reorder_ppm = 50000,
                                                               .delay_us = 20 * MS_US,
                                                               .jitter_us = 50 * MS_US});
        for (unsigned i = 0; i < 200; i++) {
            rig_produce(w.a, 1, 1 + (unsigned)(loop_world_random(w.rig.world) % 10));
            rig_produce(w.b, (uint8_t)(i % 10 == 0 ? 0 : 1), 1);
            rig_run(&w.rig, (int64_t)(loop_world_random(w.rig.world) % 1500) * MS_US);
            if (loop_world_random(w.rig.world) % 20 == 0) {
                rig_gateway_restart(w.gw);
            } else if (loop_world_random(w.rig.world) % 20 == 0) {
                rig_bridge_restart(&w.rig);
            }
        }
        bus_hub_set_faults(w.rig.hubs[0], &(struct bus_faults){.delay_us = MS_US});
        RIG_WAIT(&w.rig, rig_drained(&w.rig), 20 * 60);
        CHECK_INT(rig_check_all(&w.rig), 0);
        numbers += given_up(&w).numbers;
        end(&w);
    }
    CHECK(numbers > 1000); /* it did happen */
}

/* ---- the bill ---- */
static void the_bill_is_what_was_published(void **state)
{
    const struct budget_rules budget = {.bytes = 0};
    struct world w;
    struct bus_stats bus;
    (void)state;
    begin(&w, 6, &budget);
    bus_hub_set_faults(w.rig.hubs[0], &(struct bus_faults){.loss_ppm = 100000, .delay_us = MS_US});
    for (unsigned i = 0; i < 50; i++) {
        rig_produce(w.a, 1, 20);
        rig_produce(w.b, 0, 1);
        rig_run(&w.rig, 100 * MS_US);
    }
    RIG_WAIT(&w.rig, rig_drained(&w.rig), DRAIN_S);
    bus_stats(w.gw->up, &bus);
    double link = UPLINK_NUMBER(&w, "bill", "ever", "link", "bytes"), all = UPLINK_NUMBER(&w, "bill", "ever", "bytes");
    /* the twin's probes count without a packet's head; frames as they would be on a wire */
    double frames = (double)w.seen->mqtt + (double)bus.bytes_in;
    CHECK(all - link <= frames && all - link >= frames * 0.99);
    CHECK(link > 100.0 * (double)w.seen->frames && link < 400.0 * ((double)w.seen->frames + (double)bus.received));
    CHECK_INT(UPLINK_NUMBER(&w, "bill", "ever", "live", "records"), 1000);
    CHECK_INT(UPLINK_NUMBER(&w, "bill", "today", "alarms", "records"), 50);
    CHECK(UPLINK_NUMBER(&w, "bill", "month", "repeats", "records") > 0);
    CHECK(UPLINK_NUMBER(&w, "bill", "month", "protocol", "bytes") > 0);
    end(&w);
}

static int utc(void **state)
{
    (void)state;
    return setenv("TZ", "UTC", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alarms_go_while_the_rest_waits_for_the_budget_and_nothing_is_lost),
        cmocka_unit_test(what_is_above_the_budget_goes_in_later_periods),
        cmocka_unit_test(no_row_of_kills_makes_the_budget_larger),
        cmocka_unit_test(a_disk_that_takes_nothing_holds_the_bulk_lane_only_until_it_does),
        cmocka_unit_test(a_closed_uplink_holds_no_session_until_its_window_and_alarms_make_one),
        cmocka_unit_test(alarms_wait_as_well_when_told_so),
        cmocka_unit_test(a_gateway_with_two_parents_leaves_none_of_them_for_being_closed_or_out_of_budget),
        cmocka_unit_test(what_has_outlived_its_class_is_declared_and_what_is_younger_arrives),
        cmocka_unit_test(expiry_in_the_middle_of_repeats_and_kills_loses_and_doubles_nothing),
        cmocka_unit_test(the_bill_is_what_was_published),
    };
    return cmocka_run_group_tests(tests, utc, NULL);
}
