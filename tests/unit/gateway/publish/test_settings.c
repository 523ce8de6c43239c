/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: settings that cannot work together are told before the start, and those that can become views.
 */
#include "tests/support/check.h"

#include "gateway/publish/publish.h"

struct settings {
    struct publish_settings publish;
};
static const struct option table[] = {PUBLISH_OPTIONS(struct settings, publish), {.name = NULL}};
static const struct options_program program = {
    .name = "test", .summary = "", .table = table, .settings_size = sizeof(struct settings)};
static const struct daemon_broker plain = {.host = (char *)(uintptr_t)"127.0.0.1", .port = 1883, .insecure = true};

static void load(struct publish_settings *s, const char *const *sets, size_t count)
{
    BUFFER(problems, 4096);
    *s = (struct publish_settings){0};
    enum err err = options_load(&program, NULL, sets, count, s, &problems);
    if (err != OK) {
        fail_msg("%.*s", (int)problems.len, (const char *)problems.ptr);
    }
}

static void nothing_is_published_by_default(void **state)
{
    (void)state;
    struct publish_settings s;
    BUFFER(problems, 4096);
    load(&s, NULL, 0);
    CHECK_OK(publish_check(&s, &plain, "hall", "gw1", &problems));
    struct publish *p = (struct publish *)(uintptr_t)1;
    struct loop *loop;
    CHECK_OK(loop_new(&loop));
    CHECK_OK(publish_open(loop, NULL, &s, &plain, "hall", "gw1", "0.1", &p, NULL));
    CHECK(p == NULL);
    options_free(&program, &s);
    loop_free(loop);
}

static void the_plants_session_speaks_mqtt_5_only_for_a_namespace(void **state)
{
    (void)state;
    static const char *const topic = "publish.topic={device}/{metric}", *const old = "publish.mqtt=3";
    struct publish_settings s;
    load(&s, NULL, 0);
    CHECK_INT(publish_version(&s), BUS_MQTT_3);
    options_free(&program, &s);
    load(&s, (const char *const[]){topic}, 1);
    CHECK_INT(publish_version(&s), BUS_MQTT_5);
    options_free(&program, &s);
    load(&s, (const char *const[]){topic, old}, 2);
    CHECK_INT(publish_version(&s), BUS_MQTT_3);
    options_free(&program, &s);
}

static void what_cannot_be_is_told_by_its_key(void **state)
{
    (void)state;
    static const struct {
        const char *sets[3];
        const char *says;
    } rows[] = {
        {{"publish.topic={line}/{device}/{metric}"}, "publish.topic: "},
        {{"sparkplug.node=n"}, "sparkplug.group: missing"},
        {{"sparkplug.servers=a:1"}, "sparkplug.group: missing"},
        {{"sparkplug.group=a/b"}, "sparkplug.group: \"a/b\""},
        {{"sparkplug.group=g", "sparkplug.primary_host=#"}, "sparkplug.primary_host: \"#\""},
        {{"sparkplug.group=g", "sparkplug.id=gw1"}, "sparkplug.id: is our own id"},
        {{"sparkplug.group=g", "sparkplug.servers=nowhere"}, "\"nowhere\" is not host:port"},
        {{"sparkplug.group=g", "sparkplug.servers=a:1, :2"}, "\":2\" is not host:port"},
        {{"sparkplug.group=g", "sparkplug.servers=a:0"}, "\"a:0\" is not host:port"},
        {{"sparkplug.group=g", "sparkplug.host=b"}, "anybody could be anybody"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct publish_settings s;
        BUFFER(problems, 4096);
        size_t count = 0;
        while (count < 3 && rows[i].sets[count] != NULL) {
            count++;
        }
        load(&s, rows[i].sets, count);
        CHECK_ERR(publish_check(&s, &plain, "hall", "gw1", &problems), ERR_RANGE);
        buffer_put_u8(&problems, 0);
        CHECK_CONTAINS((const char *)problems.ptr, rows[i].says);
        options_free(&program, &s);
    }
}

static void a_session_of_its_own_needs_a_certificate_of_its_own(void **state)
{
    (void)state;
    const struct daemon_broker tls = {.host = (char *)(uintptr_t)"b", .port = 8883, .ca = (char *)(uintptr_t)"ca.pem",
                                      .cert = (char *)(uintptr_t)"c.pem", .key = (char *)(uintptr_t)"k.pem"};
    struct publish_settings s;
    BUFFER(problems, 4096);
    const char *const sets[] = {"sparkplug.group=g"};
    load(&s, sets, 1);
    CHECK_ERR(publish_check(&s, &tls, "hall", "gw1", &problems), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS((const char *)problems.ptr, "sparkplug.ca, sparkplug.cert, sparkplug.key");
    CHECK_CONTAINS((const char *)problems.ptr, "missing: cert key"); /* the authority is the plant's */
    options_free(&program, &s);
}

static void settings_become_views(void **state)
{
    (void)state;
    const char *const sets[] = {"publish.topic={site}/{device}/{metric}", "sparkplug.group=g",
                                "sparkplug.servers=127.0.0.1:2"};
    struct publish_settings s;
    BUFFER(problems, 4096);
    struct loop *loop;
    struct bus *bus = NULL;
    struct publish *p = NULL;
    CHECK_OK(loop_new(&loop));
    CHECK_OK(bus_new(BUS_NATIVE, loop, &(struct bus_options){.host = "127.0.0.1", .port = 1, .client_id = "gw1"}, &bus,
                     NULL));
    load(&s, sets, COUNT_OF(sets));
    CHECK_OK(publish_check(&s, &plain, "hall", "gw1", &problems));
    struct fault fault = {.code = OK};
    CHECK_OK(publish_open(loop, bus, &s, &plain, "hall", "gw1", "0.1", &p, &fault));
    struct publish_stats stats;
    publish_stats(p, &stats);
    CHECK(stats.namespace_on && stats.sparkplug_on);
    CHECK_OK(publish_start(p));
    publish_stop(p);
    publish_free(p);
    bus_free(bus);
    options_free(&program, &s);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_published_by_default),
        cmocka_unit_test(the_plants_session_speaks_mqtt_5_only_for_a_namespace),
        cmocka_unit_test(what_cannot_be_is_told_by_its_key),
        cmocka_unit_test(a_session_of_its_own_needs_a_certificate_of_its_own),
        cmocka_unit_test(settings_become_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
