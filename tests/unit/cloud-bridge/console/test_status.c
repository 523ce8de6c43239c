/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: one screen tells what every daemon does and names everything that is not well, however many devices there are.
 */
#include <string.h>

#include "cloud-bridge/console/console_internal.h"
#include "tests/support/check.h"

static struct docs docs;
static struct buffer out;

static void add(const char *json)
{
    struct doc *doc;
    char path[40];
    snprintf(path, sizeof(path), "/run/weir/%zu.sock", docs.count);
    CHECK_OK(docs_add(&docs, path, &doc));
    doc->json = cJSON_Parse(json);
    CHECK(doc->json != NULL);
}

static void add_unreachable(const char *cause)
{
    struct doc *doc;
    CHECK_OK(docs_add(&docs, "/run/weir/x.sock", &doc));
    (void)fault_set(&doc->fault, ERR_IO, "%s", cause);
}

static void add_daemon(const char *program, int id, const char *state, int read, const char *why)
{
    BUFFER(text, 4096);
    buffer_printf(&text,
                  "{\"program\":\"%s\",\"id\":\"%s-%d\",\"state\":\"%s\",\"why\":[%s],\"uptime_s\":%d,"
                  "\"links\":[{\"name\":\"broker\",\"up\":%s}],\"store\":{\"used_bytes\":25,\"cap_bytes\":100},"
                  "\"tier\":{\"read\":%d,\"sent\":%d,\"committed\":%d,\"delivered\":%d}}",
                  program, program, id, state, why, 100 + id, strcmp(state, "ok") == 0 ? "true" : "false", read,
                  read - 1, read - 2, strcmp(program, "device") == 0 ? 0 : read - 3);
    buffer_put_u8(&text, 0);
    add((const char *)text.ptr);
}

static const char *screen(enum exit_code want)
{
    buffer_reset(&out);
    CHECK_INT(status_screen(&docs, false, &out), want);
    buffer_put_u8(&out, 0);
    return (const char *)out.ptr;
}

static int set_up(void **state)
{
    (void)state;
    buffer_init(&out, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    docs_deinit(&docs);
    buffer_deinit(&out);
    return 0;
}

static void daemons_are_lines_in_the_order_of_the_path(void **state)
{
    (void)state;
    add_daemon("bridge", 1, "ok", 10, "");
    add_daemon("device", 1, "ok", 12345, "");
    add_daemon("gateway", 1, "ok", 50, "");
    CHECK_STR(screen(EXIT_OK),
              "TIER     NAME       STATE   READ   SENT  COMMITTED  DELIVERED  LINKS      STORE    UP\n"
              "device   device-1   ok     12345  12344      12343          -  broker up    25%  101s\n"
              "gateway  gateway-1  ok        50     49         48         47  broker up    25%  101s\n"
              "bridge   bridge-1   ok        10      9          8          7  broker up    25%  101s\n");
}

static void what_is_degraded_is_said_in_words(void **state)
{
    (void)state;
    add_daemon("gateway", 1, "degraded", 50, "\"the parent's broker is not connected\",\"second\"");
    const char *text = screen(EXIT_DEGRADED);
    CHECK_CONTAINS(text, "degraded");
    CHECK_CONTAINS(text, "broker DOWN");
    CHECK_CONTAINS(text, "\ngateway gateway-1: the parent's broker is not connected\ngateway gateway-1: second\n");
}

static void four_devices_are_named_and_five_are_together(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        add_daemon("device", i, "ok", 100, "");
    }
    CHECK_CONTAINS(screen(EXIT_OK), "device-3");
    add_daemon("device", 4, "ok", 100, "");
    const char *text = screen(EXIT_OK);
    CHECK(strstr(text, "device-3") == NULL);
    CHECK_CONTAINS(text, "device  5 together  ok      500   495        490          -  5 of 5 up    25%  100s\n");
}

static void the_unhealthy_among_many_are_named(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        add_daemon("device", i, i == 7 ? "degraded" : "ok", 100, i == 7 ? "\"not connected to the broker\"" : "");
    }
    const char *text = screen(EXIT_DEGRADED);
    CHECK_CONTAINS(text, "20 together  19 of 20 ok");
    CHECK_CONTAINS(text, "19 of 20 up");
    CHECK_CONTAINS(text, "device  device-7     degraded");
    CHECK_CONTAINS(text, "device device-7: not connected to the broker\n");
    CHECK(strstr(text, "device-8") == NULL);
}

static void a_thousand_unhealthy_ones_do_not_flood_the_screen(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        add_daemon("device", i, "degraded", 100, "\"not connected to the broker\"");
    }
    const char *text = screen(EXIT_DEGRADED);
    size_t lines = 0;
    for (const char *c = text; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    CHECK_INT(lines, 1 + 1 + 20 + 20 + 1);
    CHECK_CONTAINS(text, "and 980 more; --json has them all");
}

static void the_unreachable_are_named_with_the_cause(void **state)
{
    (void)state;
    add_daemon("gateway", 1, "ok", 50, "");
    add_unreachable("nobody listens on /run/weir/x.sock");
    CHECK_CONTAINS(screen(EXIT_DEGRADED), "unreachable: nobody listens on /run/weir/x.sock\n");
}

static void nothing_reachable_is_said_by_the_exit_code(void **state)
{
    (void)state;
    CHECK_STR(screen(EXIT_UNREACHABLE), "");
    add_unreachable("nobody listens");
    CHECK_STR(screen(EXIT_UNREACHABLE), "unreachable: nobody listens\n");
}

static void documents_that_lack_everything_do_no_harm(void **state)
{
    (void)state;
    add("{}");
    add("{\"program\":\"gateway\"}");
    add("{\"program\":\"bridge\",\"id\":7,\"state\":[],\"why\":\"x\",\"links\":[1,{}],\"store\":{\"cap_bytes\":-1},"
        "\"tier\":{\"read\":1e300,\"sent\":-5,\"committed\":0.5},\"uptime_s\":\"long\"}");
    add("{\"program\":\"device\",\"id\":\"\\u001b[31mred\\u009b\",\"state\":\"ok\"}");
    const char *text = screen(EXIT_DEGRADED);
    CHECK_CONTAINS(text, "gateway              unknown");
    CHECK_CONTAINS(text, "?[31mred??");
    CHECK(strchr(text, '\033') == NULL);
}

static void colour_is_only_where_it_is_asked_for(void **state)
{
    (void)state;
    add_daemon("gateway", 1, "degraded", 50, "");
    CHECK(strchr(screen(EXIT_DEGRADED), '\033') == NULL);
    buffer_reset(&out);
    CHECK_INT(status_screen(&docs, true, &out), EXIT_DEGRADED);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, "\033[1;31mdegraded\033[0m");
}

static void json_has_the_sums_the_daemons_and_the_unreachable(void **state)
{
    (void)state;
    add_daemon("device", 1, "ok", 10, "");
    add_daemon("device", 2, "ok", 20, "");
    add_daemon("bridge", 1, "ok", 5, "");
    add_unreachable("nobody \"there\"");
    CHECK_INT(status_json(&docs, &out), EXIT_DEGRADED);
    buffer_put_u8(&out, 0);
    cJSON *json = cJSON_Parse((const char *)out.ptr);
    CHECK(json != NULL);
    CHECK_STR(doc_text(json, "state"), "degraded");
    const cJSON *tier = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "tiers"), 0);
    CHECK_STR(doc_text(tier, "tier"), "device");
    CHECK_INT(doc_u64_or_0(tier, "read"), 30);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(json, "daemons")), 3);
    CHECK_STR(doc_text(cJSON_GetArrayItem(cJSON_GetObjectItem(json, "unreachable"), 0), "cause"), "nobody \"there\"");
    cJSON_Delete(json);
}

static void ages_are_short(void **state)
{
    (void)state;
    char age[32];
    const struct {
        int64_t s;
        const char *text;
    } rows[] = {{0, "0s"},        {119, "119s"},      {120, "2min"}, {7200, "2h00"},
                {90061, "25h01"}, {400000, "4d15h"}, {-5, "0s"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        put_age(rows[i].s, age, sizeof(age));
        CHECK_STR(age, rows[i].text);
    }
}

/* Nothing is wrong with a gateway that does as it was told; the operator is told what it holds back. */
static void an_uplink_that_rests_or_waits_is_told_and_is_no_fault(void **state)
{
    (void)state;
    add("{\"program\":\"gateway\",\"id\":\"farm-1\",\"state\":\"ok\",\"why\":[],\"links\":[{\"name\":\"parent\",\"up\":"
        "false,\"resting\":true}],\"uplink\":{\"open\":false,\"when\":\"02:00-03:00\",\"window_in_s\":7380,\"backlog\":"
        "{\"live\":{\"records\":900,\"waits_for\":\"the uplink is closed\"}}}}");
    add("{\"program\":\"gateway\",\"id\":\"farm-2\",\"state\":\"ok\",\"why\":[],\"links\":[],\"uplink\":{\"open\":true,"
        "\"when\":\"always\\u001b\",\"backlog\":{\"live\":{\"records\":7,\"waits_for\":\"the budget is spent\","
        "\"goes_on_in_s\":90}}}}");
    add("{\"program\":\"gateway\",\"id\":\"farm-3\",\"state\":\"ok\",\"uplink\":{\"open\":true,\"when\":\"always\","
        "\"backlog\":{\"live\":{\"records\":7,\"waits_for\":null}}}}");
    const char *text = screen(EXIT_OK);
    CHECK_CONTAINS(text, "parent resting");
    CHECK_CONTAINS(text, "\nfarm-1: uplink closed (02:00-03:00), next window in 2h03, 900 records wait\n");
    CHECK_CONTAINS(text, "\nfarm-2: uplink open (always?), 7 records wait: the budget is spent, it goes on in 90s\n");
    CHECK(strstr(text, "farm-3: uplink") == NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(daemons_are_lines_in_the_order_of_the_path),
        TEST(an_uplink_that_rests_or_waits_is_told_and_is_no_fault),
        TEST(what_is_degraded_is_said_in_words),
        TEST(four_devices_are_named_and_five_are_together),
        TEST(the_unhealthy_among_many_are_named),
        TEST(a_thousand_unhealthy_ones_do_not_flood_the_screen),
        TEST(the_unreachable_are_named_with_the_cause),
        TEST(nothing_reachable_is_said_by_the_exit_code),
        TEST(documents_that_lack_everything_do_no_harm),
        TEST(colour_is_only_where_it_is_asked_for),
        TEST(json_has_the_sums_the_daemons_and_the_unreachable),
        TEST(ages_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
