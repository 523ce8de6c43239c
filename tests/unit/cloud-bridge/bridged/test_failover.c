/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a gateway with several parents goes over to another and back, a parent may be replaced by an empty one,
 * and a loop in the chain is found out; whatever happens, each record is in the sink once. Whole hierarchies in
 * virtual time.
 */
#include "tests/unit/cloud-bridge/bridged/rig.h"

enum { STORE = 64 << 20, DRAIN_S = 600, NUMBERS_MAX = 4096 };

/* ---- where each number is ---- */
struct cover {
    const struct rig_device *device;
    uint64_t epoch, durable;
    uint8_t times[NUMBERS_MAX + 1]; /* as a record */
    bool gap[NUMBERS_MAX + 1];
    unsigned corrupt, late;
};

static void cover_stream(void *arg, const struct sink_stream *stream, bool hop, const struct sink_row *rows,
                         size_t count)
{
    struct cover *c = arg;
    if (hop || strcmp(stream->device, c->device->id) != 0 || stream->epoch != c->epoch) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(rows[i].first >= 1 && rows[i].last <= c->durable && rows[i].last <= NUMBERS_MAX);
        for (uint64_t n = rows[i].first; n <= rows[i].last; n++) {
            c->gap[n] = c->gap[n] || rows[i].kind == SINK_GAP;
            c->times[n] += rows[i].kind != SINK_GAP;
        }
        c->late += rows[i].late;
        c->corrupt += rows[i].kind == SINK_BLOCK &&
                      rows[i].crc != rig_record_crc(c->device->id, c->epoch, rows[i].first);
    }
}

struct verdict {
    uint64_t lost, duplicated, gaps, late, durable;
};

static void judge_lane(struct rig *rig, const struct rig_device *d, uint8_t lane, struct verdict *v)
{
    struct cover c = {
        .device = d, .epoch = spool_epoch(d->spools[lane]), .durable = spool_durable(d->spools[lane])};
    sink_memory_foreach(rig->sinks[0], cover_stream, &c);
    CHECK_INT(c.corrupt, 0);
    for (uint64_t n = 1; n <= c.durable; n++) {
        v->lost += c.times[n] == 0 && !c.gap[n];
        v->gaps += c.gap[n];
        v->duplicated += c.times[n] > 1 || (c.times[n] == 1 && c.gap[n]);
    }
    v->late += c.late;
    v->durable += c.durable;
}

static struct verdict judge(struct rig *rig)
{
    struct verdict v = {.lost = 0};
    for (size_t i = 0; i < rig->device_count; i++) {
        judge_lane(rig, &rig->devices[i], 0, &v);
        judge_lane(rig, &rig->devices[i], 1, &v);
    }
    return v;
}

static void check_whole(struct rig *rig)
{
    struct verdict v = judge(rig);
    CHECK_INT(v.lost, 0);
    CHECK_INT(v.gaps, 0);
    CHECK_INT(v.duplicated, 0);
}

static uint64_t switches(const struct rig_gateway *g)
{
    struct uplink_stats stats = {.switches = 0};
    if (gateway_uplink(g->gateway) == NULL) {
        return 0; /* still booting */
    }
    uplink_stats(gateway_uplink(g->gateway), &stats);
    return stats.switches;
}

static bool uses(const struct rig_gateway *g, const char *parent)
{
    struct uplink_parent_state state;
    for (size_t i = 0; i < uplink_parent_count(gateway_uplink(g->gateway)); i++) {
        uplink_parent_state(gateway_uplink(g->gateway), i, &state);
        if (state.in_use) {
            return strcmp(state.id, parent) == 0;
        }
    }
    return false;
}

static void status_contains(struct rig_gateway *g, const char *text)
{
    BUFFER(out, 64 * 1024);
    gateway_status_json(g->gateway, &out);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, text);
}

/* ---- failover ---- */
struct two_sites {
    struct rig rig;
    struct rig_gateway *a, *b, *line;
    struct rig_device *d;
};

static void two_sites_start(struct two_sites *t, uint64_t seed)
{
    rig_new(&t->rig, seed, 1);
    t->a = rig_add_gateway(&t->rig, "site-a", NULL, STORE);
    t->b = rig_add_gateway(&t->rig, "site-b", NULL, STORE);
    t->line = rig_add_gateway(&t->rig, "line", t->a, STORE);
    rig_add_parent(t->line, t->b);
    t->d = rig_add_device(&t->rig, "d", t->line);
    rig_start(&t->rig);
    rig_run(&t->rig, SECOND_US);
}

static void produce_for(struct two_sites *t, unsigned ticks)
{
    for (unsigned i = 0; i < ticks; i++) {
        rig_produce(t->d, 1, 2);
        if (i % 10 == 0) {
            rig_produce(t->d, 0, 1);
        }
        rig_run(&t->rig, 100 * MS_US);
    }
}

static void what_one_site_holds_back_comes_after_what_the_other_has_delivered(void **state)
{
    (void)state;
    struct two_sites t;
    two_sites_start(&t, 1);
    produce_for(&t, 20);
    bus_hub_set_link(t.rig.hubs[0], "site-a", BUS_LINK_DOWN); /* takes and acknowledges, but passes nothing on */
    produce_for(&t, 20);
    rig_gateway_kill(t.a);
    produce_for(&t, 100);
    CHECK(uses(t.line, "site-b"));
    CHECK_INT(switches(t.line), 1);
    RIG_WAIT(&t.rig, gateway_drained(t.line->gateway) && gateway_drained(t.b->gateway), DRAIN_S);
    rig_run(&t.rig, 10 * SECOND_US);
    struct verdict v = judge(&t.rig);
    CHECK_INT(v.lost, 0);
    CHECK(v.gaps >= 40); /* what site-a has: declared until it comes */
    status_contains(t.line, "sends to the parent site-b: site-a, which is preferred, is not used");

    bus_hub_set_link(t.rig.hubs[0], "site-a", BUS_LINK_UP);
    rig_gateway_start(t.a);
    produce_for(&t, 300);
    CHECK(uses(t.line, "site-a")); /* it was there for long enough */
    CHECK_INT(switches(t.line), 2);
    RIG_WAIT(&t.rig, rig_drained(&t.rig), DRAIN_S);
    v = judge(&t.rig);
    CHECK(v.late > 0);
    check_whole(&t.rig);
    status_contains(t.line, "\"state\":\"ok\"");
    rig_free(&t.rig);
}

static void a_site_that_comes_back_in_time_is_not_left(void **state)
{
    (void)state;
    struct two_sites t;
    two_sites_start(&t, 2);
    for (unsigned i = 0; i < 20; i++) {
        produce_for(&t, 10);
        rig_gateway_kill(t.a);
        produce_for(&t, 30);
        rig_gateway_start(t.a);
        produce_for(&t, 30);
    }
    CHECK_INT(switches(t.line), 0);
    RIG_WAIT(&t.rig, rig_drained(&t.rig), DRAIN_S);
    check_whole(&t.rig);
    rig_free(&t.rig);
}

static void a_site_whose_broker_is_up_and_which_is_not_there_is_left_too(void **state)
{
    (void)state;
    struct two_sites t;
    two_sites_start(&t, 3);
    produce_for(&t, 10);
    RIG_WAIT(&t.rig, rig_drained(&t.rig), DRAIN_S);
    rig_gateway_kill(t.a); /* its hub goes on */
    produce_for(&t, 100);
    CHECK(uses(t.line, "site-b"));
    rig_gateway_start(t.a);
    produce_for(&t, 300);
    CHECK(uses(t.line, "site-a"));
    RIG_WAIT(&t.rig, rig_drained(&t.rig), DRAIN_S);
    check_whole(&t.rig);
    rig_free(&t.rig);
}

/* ---- a storm ---- */
static void some_fault(struct two_sites *t, bool *a_dead, bool *b_dead)
{
    struct rig *rig = &t->rig;
    switch (loop_world_random(rig->world) % 12) {
    case 0:
    case 1:
        if (*a_dead) {
            rig_gateway_start(t->a);
        } else {
            rig_gateway_kill(t->a);
        }
        *a_dead = !*a_dead;
        break;
    case 2:
        if (*b_dead) {
            rig_gateway_start(t->b);
        } else {
            rig_gateway_kill(t->b);
        }
        *b_dead = !*b_dead;
        break;
    case 3:
        rig_gateway_restart(t->line);
        break;
    case 4:
        rig_bridge_restart(rig);
        break;
    case 5:
        bus_hub_set_link(rig->hubs[0], "site-a", BUS_LINK_SILENT);
        break;
    case 6:
        bus_hub_set_link(t->a->down_hub, "line", BUS_LINK_DEAF); /* taken and acknowledged, and not heard */
        break;
    case 7:
        bus_hub_set_link(t->a->down_hub, "line", BUS_LINK_DOWN);
        break;
    case 8:
        bus_hub_restart(t->b->down_hub, 300 * MS_US);
        break;
    case 9:
        bus_hub_set_link(t->b->down_hub, "line", BUS_LINK_SILENT);
        break;
    default:
        for (size_t i = 0; i <= rig->gateway_count; i++) {
            bus_hub_set_link(rig->hubs[i], "*", BUS_LINK_UP);
        }
        break;
    }
}

static uint64_t survive(uint64_t seed)
{
    struct two_sites t;
    struct bus_faults faults = {.loss_ppm = 50000,
                                .duplicate_ppm = 50000,
                                .reorder_ppm = 50000,
                                .delay_us = 2 * MS_US,
                                .jitter_us = 5 * MS_US};
    bool a_dead = false, b_dead = false;
    two_sites_start(&t, seed);
    for (size_t i = 0; i <= t.rig.gateway_count; i++) {
        bus_hub_set_faults(t.rig.hubs[i], &faults);
    }
    for (unsigned i = 0; i < 100; i++) {
        produce_for(&t, 1 + (unsigned)(loop_world_random(t.rig.world) % 8));
        rig_run(&t.rig, (int64_t)(loop_world_random(t.rig.world) % 4) * SECOND_US);
        if (loop_world_random(t.rig.world) % 3 == 0) {
            some_fault(&t, &a_dead, &b_dead);
        }
    }
    for (size_t i = 0; i <= t.rig.gateway_count; i++) {
        bus_hub_set_faults(t.rig.hubs[i], &(struct bus_faults){.delay_us = MS_US});
        bus_hub_set_link(t.rig.hubs[i], "*", BUS_LINK_UP);
    }
    if (a_dead) {
        rig_gateway_start(t.a);
    }
    if (b_dead) {
        rig_gateway_start(t.b);
    }
    uint64_t to_and_fro = switches(t.line);
    RIG_WAIT(&t.rig, rig_drained(&t.rig), DRAIN_S);
    check_whole(&t.rig);
    rig_free(&t.rig);
    return to_and_fro;
}

static void nothing_is_lost_or_doubled_between_two_sites_that_come_and_go(void **state)
{
    (void)state;
    uint64_t to_and_fro = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        to_and_fro += survive(seed);
    }
    CHECK(to_and_fro >= 20); /* else nothing was tried */
}

/* ---- replaced ---- */
static void a_parent_replaced_by_an_empty_one_goes_on_where_the_other_ended(void **state)
{
    (void)state;
    struct rig rig;
    rig_new(&rig, 4, 1);
    struct rig_gateway *site = rig_add_gateway(&rig, "site", NULL, STORE);
    struct rig_gateway *line = rig_add_gateway(&rig, "line", site, STORE);
    struct rig_device *d = rig_add_device(&rig, "d", line);
    rig_start(&rig);
    rig_produce(d, 1, 50);
    rig_produce(d, 0, 3);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);

    rig_gateway_kill(site); /* the same name, an empty store */
    store_disk_free(site->disk);
    CHECK_OK(store_disk_new(STORE, &site->disk));
    rig_produce(d, 1, 50); /* meanwhile: buffered */
    rig_run(&rig, 20 * SECOND_US);
    CHECK(!gateway_drained(line->gateway));
    rig_gateway_start(site);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    check_whole(&rig);

    struct rig_gateway *other = rig_add_gateway(&rig, "site-2", NULL, STORE); /* another name */
    rig_gateway_start(other);
    rig_gateway_kill(line);
    rig_set_parent(line, other);
    rig_gateway_start(line);
    rig_produce(d, 1, 50);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    check_whole(&rig);
    CHECK_INT(judge(&rig).durable, 153);
    rig_free(&rig);
}

static void what_a_parent_had_and_lost_for_good_is_declared(void **state)
{
    (void)state;
    struct rig rig;
    rig_new(&rig, 5, 1);
    struct rig_gateway *site = rig_add_gateway(&rig, "site", NULL, STORE);
    struct rig_gateway *line = rig_add_gateway(&rig, "line", site, STORE);
    struct rig_device *d = rig_add_device(&rig, "d", line);
    rig_start(&rig);
    rig_produce(d, 1, 50);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    bus_hub_set_link(rig.hubs[0], "site", BUS_LINK_DOWN);
    rig_produce(d, 1, 20);
    RIG_WAIT(&rig, rig_device_drained(d) && gateway_drained(line->gateway), DRAIN_S);
    rig_gateway_kill(site);
    store_disk_free(site->disk);
    CHECK_OK(store_disk_new(STORE, &site->disk));
    rig_gateway_start(site);
    bus_hub_set_link(rig.hubs[0], "site", BUS_LINK_UP);
    rig_produce(d, 1, 50);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    struct verdict v = judge(&rig);
    CHECK_INT(v.lost, 0);
    CHECK_INT(v.duplicated, 0);
    CHECK_INT(v.gaps, 20);
    rig_free(&rig);
}

/* ---- loops ---- */
static unsigned data_frames;

static void count_frames(void *arg, const char *client, struct slice topic, struct slice payload)
{
    static struct wire_entry entries[WIRE_RECORDS_MAX];
    struct wire_frame frame;
    struct topic t;
    (void)arg;
    (void)client;
    if (topic_parse(topic, &t) == OK && t.channel == TOPIC_UP &&
        wire_frame_decode(payload, true, &frame, entries, WIRE_RECORDS_MAX, NULL) == OK && frame.header.has_hello) {
        data_frames++; /* a probe says no hello, and a new session always does */
    }
}

static void a_loop_is_refused_with_its_path_and_ends_when_it_is_broken(void **state)
{
    (void)state;
    struct rig rig;
    rig_new(&rig, 6, 1);
    struct rig_gateway *g3 = rig_add_gateway(&rig, "g3", NULL, STORE);
    struct rig_gateway *g2 = rig_add_gateway(&rig, "g2", g3, STORE);
    struct rig_gateway *g1 = rig_add_gateway(&rig, "g1", g2, STORE);
    rig_set_parent(g3, g1);
    struct rig_device *d = rig_add_device(&rig, "d", g1);
    rig_start(&rig);
    rig_run(&rig, MINUTE_US);
    status_contains(g1, "a loop, nothing is sent to the parent g2: g1 -> g2 -> g3 -> g1");
    status_contains(g2, "g2 -> g3 -> g1 -> g2");
    status_contains(g3, "g3 -> g1 -> g2 -> g3");
    status_contains(g1, "\"state\":\"degraded\"");
    for (size_t i = 0; i <= rig.gateway_count; i++) {
        bus_hub_watch(rig.hubs[i], count_frames, NULL);
    }
    data_frames = 0;
    rig_produce(d, 1, 50);
    rig_run(&rig, 5 * MINUTE_US);
    CHECK_INT(data_frames, 0);
    CHECK(rig_device_drained(d)); /* g1 takes and keeps */

    rig_gateway_kill(g3);
    rig_set_parent(g3, NULL);
    rig_gateway_start(g3);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK(data_frames > 0);
    check_whole(&rig);
    status_contains(g1, "\"loop\":null");
    rig_free(&rig);
}

static void a_gateway_in_a_loop_uses_its_next_parent_meanwhile(void **state)
{
    (void)state;
    struct rig rig;
    rig_new(&rig, 7, 1);
    struct rig_gateway *b = rig_add_gateway(&rig, "site-b", NULL, STORE);
    struct rig_gateway *g2 = rig_add_gateway(&rig, "g2", NULL, STORE);
    struct rig_gateway *g1 = rig_add_gateway(&rig, "g1", g2, STORE);
    rig_set_parent(g2, g1);
    rig_add_parent(g1, b);
    struct rig_device *d = rig_add_device(&rig, "d", g1), *e = rig_add_device(&rig, "e", g2);
    rig_start(&rig);
    for (unsigned i = 0; i < 100; i++) {
        rig_produce(d, 1, 2);
        rig_produce(e, 1, 2);
        rig_run(&rig, 500 * MS_US);
    }
    CHECK(uses(g1, "site-b"));
    status_contains(g1, "g1 -> g2 -> g1");
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S); /* g2's path ends at the bridge now: it sends to g1 */
    status_contains(g2, "\"state\":\"ok\"");
    CHECK_INT(switches(g1), 1); /* no to and fro: g2's path has g1 in it for as long as it sends there */
    check_whole(&rig);
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_site_holds_back_comes_after_what_the_other_has_delivered),
        cmocka_unit_test(a_site_that_comes_back_in_time_is_not_left),
        cmocka_unit_test(a_site_whose_broker_is_up_and_which_is_not_there_is_left_too),
        cmocka_unit_test(nothing_is_lost_or_doubled_between_two_sites_that_come_and_go),
        cmocka_unit_test(a_parent_replaced_by_an_empty_one_goes_on_where_the_other_ended),
        cmocka_unit_test(what_a_parent_had_and_lost_for_good_is_declared),
        cmocka_unit_test(a_loop_is_refused_with_its_path_and_ends_when_it_is_broken),
        cmocka_unit_test(a_gateway_in_a_loop_uses_its_next_parent_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
