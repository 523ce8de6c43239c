/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the gateway knows who is there, and one sender gone wild takes nothing from the others. */
#include "gateway/fleet/fleet.h"
#include "tests/support/check.h"

struct rig {
    struct loop_world *world;
    struct loop *loop;
    struct fleet *fleet;
};

static void start(struct rig *r, int64_t offline_after_us, unsigned frames_per_s)
{
    struct fleet_options options = {.offline_after_us = offline_after_us, .frames_per_s = frames_per_s};
    CHECK_OK(loop_world_new(1, &r->world));
    CHECK_OK(loop_new_virtual(r->world, &r->loop));
    CHECK_OK(fleet_new(r->loop, &options, &r->fleet));
}

static void end(struct rig *r)
{
    fleet_free(r->fleet);
    loop_free(r->loop);
    loop_world_free(r->world);
}

static void pass(struct rig *r, int64_t us)
{
    loop_world_run(r->world, loop_world_now_us(r->world) + us);
}

static unsigned admitted(struct rig *r, const char *id, unsigned frames)
{
    unsigned count = 0;
    for (unsigned i = 0; i < frames; i++) {
        count += fleet_admit(r->fleet, id, 100) ? 1 : 0;
    }
    return count;
}

static void a_silent_device_goes_offline_and_comes_back(void **state)
{
    struct rig r;
    (void)state;
    start(&r, 10 * SECOND_US, 0);
    CHECK(fleet_admit(r.fleet, "a", 10));
    CHECK(fleet_admit(r.fleet, "b", 10));
    CHECK_INT(fleet_online(r.fleet), 2);
    pass(&r, 6 * SECOND_US);
    CHECK(fleet_admit(r.fleet, "b", 10));
    pass(&r, 6 * SECOND_US);
    CHECK_INT(fleet_online(r.fleet), 1);
    CHECK_INT(fleet_devices(r.fleet), 2);
    CHECK(fleet_admit(r.fleet, "a", 10));
    CHECK_INT(fleet_online(r.fleet), 2);
    end(&r);
}

static void a_device_known_from_its_streams_is_offline_until_it_is_heard(void **state)
{
    struct rig r;
    BUFFER(text, 4096);
    (void)state;
    start(&r, 0, 0);
    fleet_known_stream(r.fleet, "a");
    fleet_known_stream(r.fleet, "a");
    CHECK_INT(fleet_devices(r.fleet), 1);
    CHECK_INT(fleet_online(r.fleet), 0);
    fleet_json(r.fleet, &text);
    buffer_put_u8(&text, 0);
    CHECK_STR((const char *)text.ptr, "{\"devices\":[{\"device\":\"a\",\"online\":false,\"last_seen_s\":null,"
                                      "\"epochs\":2,\"frames\":0,\"records\":0,\"refused\":0}]}");
    end(&r);
}

static void the_account_of_a_device_counts_frames_records_and_refusals(void **state)
{
    struct rig r;
    BUFFER(text, 4096);
    (void)state;
    start(&r, 0, 0);
    CHECK(fleet_admit(r.fleet, "a", 10));
    fleet_count_frame(r.fleet, "a", 3);
    fleet_count_frame(r.fleet, "a", 0);
    fleet_count_refused(r.fleet, "a");
    fleet_count_refused(r.fleet, "stranger");
    pass(&r, 1500 * MS_US);
    fleet_json(r.fleet, &text);
    buffer_put_u8(&text, 0);
    CHECK_STR((const char *)text.ptr, "{\"devices\":[{\"device\":\"a\",\"online\":true,\"last_seen_s\":1.5,"
                                      "\"epochs\":0,\"frames\":2,\"records\":3,\"refused\":1}]}");
    end(&r);
}

static void a_device_over_its_quota_is_throttled_and_the_others_are_not(void **state)
{
    struct rig r;
    (void)state;
    start(&r, 0, 100);
    CHECK_INT(admitted(&r, "wild", 1000), 100); /* a second's worth at once */
    CHECK_INT(admitted(&r, "calm", 50), 50);
    pass(&r, SECOND_US / 2);
    CHECK_INT(admitted(&r, "wild", 1000), 50);
    pass(&r, 60 * SECOND_US);
    CHECK_INT(admitted(&r, "wild", 1000), 100); /* no credit beyond a second */
    end(&r);
}

static void a_changed_quota_is_in_force_at_once(void **state)
{
    struct rig r;
    (void)state;
    start(&r, 0, 10);
    CHECK_INT(admitted(&r, "a", 100), 10);
    fleet_set_options(r.fleet, &(struct fleet_options){.frames_per_s = 0});
    CHECK_INT(admitted(&r, "a", 100), 100);
    end(&r);
}

static void beyond_the_bound_the_longest_silent_device_is_forgotten(void **state)
{
    struct rig r;
    char id[16];
    (void)state;
    start(&r, 0, 0);
    CHECK(fleet_admit(r.fleet, "first", 1));
    for (unsigned i = 1; i < FLEET_DEVICES_MAX; i++) {
        snprintf(id, sizeof(id), "d%u", i);
        CHECK(fleet_admit(r.fleet, id, 1));
    }
    CHECK(fleet_admit(r.fleet, "first", 1)); /* now d1 is the silent one */
    CHECK(fleet_admit(r.fleet, "one-more", 1));
    CHECK_INT(fleet_devices(r.fleet), FLEET_DEVICES_MAX);
    CHECK_INT(fleet_online(r.fleet), FLEET_DEVICES_MAX);
    BUFFER(text, 64 << 20);
    fleet_json(r.fleet, &text);
    buffer_put_u8(&text, 0);
    CHECK(strstr((const char *)text.ptr, "\"first\"") != NULL);
    CHECK(strstr((const char *)text.ptr, "\"d1\"") == NULL);
    end(&r);
}

struct presence {
    char log[200];
};

static void on_presence(void *arg, const char *id, bool online)
{
    struct presence *p = arg;
    size_t len = strlen(p->log);
    snprintf(p->log + len, sizeof(p->log) - len, "%c%s ", online ? '+' : '-', id);
}

static void coming_and_going_is_told_once(void **state)
{
    struct rig r;
    struct presence p = {{0}};
    (void)state;
    start(&r, 10 * SECOND_US, 0);
    fleet_on_presence(r.fleet, on_presence, &p);
    fleet_known_stream(r.fleet, "never");
    CHECK(fleet_admit(r.fleet, "a", 10));
    CHECK(fleet_admit(r.fleet, "b", 10));
    CHECK(fleet_admit(r.fleet, "a", 10));
    pass(&r, 6 * SECOND_US);
    CHECK(fleet_admit(r.fleet, "b", 10));
    pass(&r, 6 * SECOND_US);
    CHECK_INT(fleet_online(r.fleet), 1);
    CHECK_INT(fleet_online(r.fleet), 1);
    CHECK(fleet_admit(r.fleet, "a", 10));
    CHECK_STR(p.log, "+a +b -a +a ");
    for (unsigned i = 0; i < FLEET_DEVICES_MAX; i++) { /* everybody known is forgotten for somebody new */
        char id[16];
        snprintf(id, sizeof(id), "d%u", i);
        fleet_on_presence(r.fleet, i + 1 < FLEET_DEVICES_MAX ? on_presence : NULL, &p);
        fleet_known_stream(r.fleet, id);
    }
    CHECK_STR(p.log, "+a +b -a +a -b ");
    CHECK_INT(fleet_online(r.fleet), 0);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_device_goes_offline_and_comes_back),
        cmocka_unit_test(a_device_known_from_its_streams_is_offline_until_it_is_heard),
        cmocka_unit_test(the_account_of_a_device_counts_frames_records_and_refusals),
        cmocka_unit_test(a_device_over_its_quota_is_throttled_and_the_others_are_not),
        cmocka_unit_test(a_changed_quota_is_in_force_at_once),
        cmocka_unit_test(coming_and_going_is_told_once),
        cmocka_unit_test(beyond_the_bound_the_longest_silent_device_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
