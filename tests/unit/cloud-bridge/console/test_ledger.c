/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the ledger calls a stream balanced exactly when every number is accounted for, says in words which inequality
 * is broken when one is, and takes no race between the daemons for a loss.
 */
#include <string.h>

#include "cloud-bridge/console/console_internal.h"
#include "tests/support/check.h"

static struct ledger ledger;
static struct buffer out;
static struct fault fault;

/* Single quotes stand for double ones. */
static cJSON *parse(const char *text)
{
    char copy[4096];
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    cJSON *json = cJSON_Parse(copy);
    CHECK(json != NULL);
    return json;
}

static enum err add(const char *text)
{
    cJSON *json = parse(text);
    enum err err = ledger_add(&ledger, json, &fault);
    cJSON_Delete(json);
    return err;
}

static void add_device(const char *id, int epoch, unsigned long long durable)
{
    char text[500];
    snprintf(text, sizeof(text),
             "{'program':'device','id':'%s','streams':[{'device':'%s','epoch':'%016x','lane':1,'durable':%llu}]}", id,
             id, (unsigned)epoch, durable);
    CHECK_OK(add(text));
}

static void add_gateway(const char *id, const char *device, int epoch, int top, int hwm, const char *closed)
{
    char text[500];
    snprintf(text, sizeof(text),
             "{'program':'gateway','id':'%s','streams':[{'device':'%s','epoch':'%016x','lane':1,'top':%d,'hwm':%d,"
             "'gaps':0,'suppressed':0,'closed':%s}]}",
             id, device, (unsigned)epoch, top, hwm, closed);
    CHECK_OK(add(text));
}

static void add_sink(const char *device, int epoch, int hwm, int records, int gaps, int suppressed)
{
    char text[500];
    snprintf(text, sizeof(text),
             "{'program':'bridge','id':'b-1','streams':[{'device':'%s','epoch':'%016x','lane':1,'hwm':%d,'top':%d,"
             "'records':%d,'readings':9,'gaps':%d,'suppressed':%d}]}",
             device, (unsigned)epoch, hwm, hwm, records, gaps, suppressed);
    CHECK_OK(add(text));
}

static const struct ledger_row *only_row(void)
{
    ledger_close(&ledger);
    CHECK_INT(ledger.count, 1);
    return &ledger.rows[0];
}

static int set_up(void **state)
{
    (void)state;
    buffer_init(&out, 1 << 20);
    ledger = (struct ledger){.device = NULL};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ledger_deinit(&ledger);
    buffer_deinit(&out);
    return 0;
}

static void records_gaps_and_suppressed_make_up_the_mark(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 90, 6, 4);
    add_gateway("gw-1", "pump-1", 7, 110, 105, "false");
    add_device("pump-1", 7, 120);
    const struct ledger_row *row = only_row();
    CHECK_STR(row->verdict, "balanced");
    CHECK_INT(row->read, 120);
    CHECK_INT(row->in_flight, 20);
    CHECK_INT(ledger_exit(&ledger, false), EXIT_OK);
    CHECK_INT(ledger_exit(&ledger, true), EXIT_DEGRADED);
}

static void settled_means_nothing_is_on_its_way(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 120, 120, 0, 0);
    add_gateway("gw-1", "pump-1", 7, 120, 120, "false");
    add_device("pump-1", 7, 120);
    ledger_close(&ledger);
    CHECK_INT(ledger_exit(&ledger, true), EXIT_OK);
}

static void a_lost_number_is_named(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 98, 0, 0);
    add_device("pump-1", 7, 120);
    CHECK_STR(only_row()->verdict, "2 of the sink's 100 unaccounted for");
    CHECK_INT(ledger_exit(&ledger, false), EXIT_DEGRADED);
    CHECK_STR(ledger.total.verdict, "1 of 1 not balanced");
}

static void a_number_counted_twice_is_named(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 98, 2, 1);
    add_device("pump-1", 7, 120);
    CHECK_STR(only_row()->verdict, "1 more accounted for than the sink's 100");
}

static void a_sink_ahead_of_the_gateway_is_named(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 100, 0, 0);
    add_gateway("gw-1", "pump-1", 7, 110, 99, "false");
    add_device("pump-1", 7, 120);
    CHECK_STR(only_row()->verdict, "sink 100 is ahead of the gateway's 99");
}

static void a_gateway_ahead_of_the_device_is_named(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 90, 90, 0, 0);
    add_gateway("gw-1", "pump-1", 7, 110, 100, "false");
    add_device("pump-1", 7, 95);
    CHECK_STR(only_row()->verdict, "gateway 100 is ahead of the device's 95");
}

static void a_phantom_in_the_sink_is_named_without_a_gateway(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 100, 0, 0);
    add_device("pump-1", 7, 95);
    CHECK_STR(only_row()->verdict, "sink 100 is ahead of the device's 95");
}

static void numbers_that_grew_between_the_questions_are_no_loss(void **state)
{
    (void)state;
    /* Asked from the sink towards the device, each a moment later. */
    add_sink("pump-1", 7, 100, 100, 0, 0);
    add_gateway("gw-1", "pump-1", 7, 5000, 5000, "false");
    add_device("pump-1", 7, 10000);
    CHECK(only_row()->balanced);
}

static void a_device_that_does_not_answer_is_taken_at_its_last_word(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 100, 0, 0);
    add_gateway("gw-1", "pump-1", 7, 130, 105, "false");
    const struct ledger_row *row = only_row();
    CHECK_INT(row->read, 130);
    CHECK_INT(row->in_flight, 30);
    CHECK(row->balanced);
}

static void a_sink_alone_can_be_balanced(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 100, 0, 0);
    const struct ledger_row *row = only_row();
    CHECK_INT(row->read, 100);
    CHECK_STR(row->verdict, "balanced");
    ledger_print(&ledger, false, &out);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, "pump-1  0000000000000007  bulk   100        -   100");
}

static void without_a_bridge_nothing_is_called_balanced(void **state)
{
    (void)state;
    add_gateway("gw-1", "pump-1", 7, 130, 105, "false");
    CHECK_STR(only_row()->verdict, "no bridge answered");
    CHECK_INT(ledger_exit(&ledger, false), EXIT_DEGRADED);
}

static void a_bridge_that_knows_no_stream_yet_is_balanced_with_all_in_flight(void **state)
{
    (void)state;
    CHECK_OK(add("{'program':'bridge','id':'b-1','streams':[],'intake':[]}"));
    add_gateway("gw-1", "pump-1", 7, 130, 105, "false");
    const struct ledger_row *row = only_row();
    CHECK(row->balanced);
    CHECK_INT(row->in_flight, 130);
}

static void nothing_more_comes_of_a_closed_stream_than_the_gateway_has(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 100, 0, 0);
    add_gateway("gw-1", "pump-1", 7, 130, 100, "true");
    const struct ledger_row *row = only_row();
    CHECK_STR(row->verdict, "balanced, closed");
    CHECK_INT(row->in_flight, 0);
    CHECK_INT(ledger_exit(&ledger, true), EXIT_OK);
}

static void epochs_of_a_device_are_streams_of_their_own(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 100, 0, 0);
    add_sink("pump-1", 8, 5, 4, 0, 0);
    add_device("pump-1", 8, 10);
    ledger_close(&ledger);
    CHECK_INT(ledger.count, 2);
    CHECK(ledger.rows[0].balanced);
    CHECK(!ledger.rows[1].balanced);
    CHECK_INT(ledger.total.sink_hwm, 105);
    CHECK_INT(ledger.total.in_flight, 5);
    CHECK_STR(ledger.total.verdict, "1 of 2 not balanced");
}

static void a_device_that_moved_counts_at_the_gateway_that_has_more(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 150, 150, 0, 0);
    add_gateway("gw-1", "pump-1", 7, 100, 100, "false");
    add_gateway("gw-2", "pump-1", 7, 200, 180, "false");
    const struct ledger_row *row = only_row();
    CHECK(row->balanced);
    CHECK_INT(row->gateway_hwm, 180);
    CHECK_INT(row->read, 200);
}

static void a_lane_that_does_not_exist_yet_is_left_out(void **state)
{
    (void)state;
    add_device("pump-1", 0, 0);
    ledger_close(&ledger);
    CHECK_INT(ledger.count, 0);
}

static void another_devices_streams_are_left_out_when_one_is_asked_for(void **state)
{
    (void)state;
    ledger.device = "pump-2";
    add_sink("pump-1", 7, 100, 98, 0, 0);
    add_sink("pump-2", 9, 10, 10, 0, 0);
    CHECK_STR(only_row()->device, "pump-2");
    CHECK_INT(ledger_exit(&ledger, false), EXIT_OK);
}

static void a_device_that_nobody_knows_is_not_found(void **state)
{
    (void)state;
    ledger.device = "pump-3";
    add_sink("pump-1", 7, 100, 100, 0, 0);
    ledger_close(&ledger);
    CHECK_INT(ledger_exit(&ledger, false), EXIT_NOT_FOUND);
}

static void a_gateways_own_stream_is_a_hop_and_no_device(void **state)
{
    (void)state;
    CHECK_OK(add("{'program':'bridge','id':'b-1','streams':[{'device':'pump-1','epoch':'0000000000000007','lane':1,"
                 "'hwm':5,'records':5,'gaps':0,'suppressed':0},{'device':'site','epoch':'00000000000000aa','lane':1,"
                 "'hwm':50,'records':1,'gaps':0,'suppressed':0,'hop':true}],'intake':[{'gateway':'site',"
                 "'epoch':'00000000000000aa','lane':1,'hwm':50,'top':60}]}"));
    CHECK_OK(add("{'program':'gateway','id':'site','streams':[{'device':'line','epoch':'00000000000000bb','lane':1,"
                 "'top':9,'hwm':8}],'uplink':[{'epoch':'00000000000000aa','lane':1,'durable':49,'acked':40}]}"));
    CHECK_OK(add("{'program':'gateway','id':'line','streams':[{'device':'pump-1','epoch':'0000000000000007','lane':1,"
                 "'top':9,'hwm':9}],'uplink':[{'epoch':'00000000000000bb','lane':1,'durable':9,'acked':8},"
                 "{'epoch':'00000000000000bc','lane':0,'durable':0,'acked':0},"
                 "{'epoch':'00000000000000bd','lane':0,'durable':3,'acked':0}]}"));
    const struct ledger_row *row = only_row();
    CHECK_STR(row->device, "pump-1");
    CHECK(row->balanced);
    CHECK_INT(ledger.hop_count, 4);
    CHECK_STR(ledger.hops[0].verdict, "balanced");
    CHECK_STR(ledger.hops[1].verdict, "nothing known at the parent");
    CHECK_STR(ledger.hops[2].gateway, "line");
    CHECK_INT(ledger.hops[2].hwm, 8);
    CHECK_STR(ledger.hops[2].verdict, "balanced");
    CHECK_STR(ledger.hops[3].verdict, "parent 50 is ahead of the gateway's 49");
    CHECK_INT(ledger_exit(&ledger, false), EXIT_DEGRADED);
    ledger_print(&ledger, false, &out);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, "HOP OF  EPOCH             LANE   DURABLE  AT PARENT  ACKED  VERDICT\n"
                                          "line    00000000000000bd  alarm        3          -      0  nothing known");
    CHECK_CONTAINS((const char *)out.ptr, "line    00000000000000bb  bulk         9          8      8  balanced\n");
}

static void ledgers_that_do_not_parse_are_refused_whole(void **state)
{
    (void)state;
    const char *bad[] = {
        "{'program':'bridge'}",
        "{'program':'toaster','streams':[]}",
        "{'program':'device','streams':[{'device':'a','epoch':'0000000000000007','durable':1},"
        "{'device':'b','epoch':'7','durable':1}]}",
        "{'program':'device','streams':[{'device':'a b','epoch':'0000000000000007','durable':1}]}",
        "{'program':'device','streams':[{'device':'a','epoch':'000000000000000G','durable':1}]}",
        "{'program':'device','streams':[{'device':'a','epoch':'0000000000000007','durable':-1}]}",
        "{'program':'device','streams':[{'device':'a','epoch':'0000000000000007','durable':1.5}]}",
        "{'program':'device','streams':[{'device':'a','epoch':'0000000000000007','durable':1e300}]}",
        "{'program':'bridge','streams':[{'device':'a','epoch':'0000000000000007','hwm':1,'records':1}]}",
        "{'program':'gateway','id':'g','streams':[],'uplink':[{'epoch':'x','durable':1}]}",
        "{'program':'device','streams':[7]}",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(add(bad[i]), ERR_MALFORMED);
        CHECK_INT(ledger.count, 0);
        CHECK_INT(ledger.tiers, 0);
    }
}

static void the_table_has_a_total_and_leaves_empty_streams_out(void **state)
{
    (void)state;
    add_sink("pump-1", 7, 100, 90, 10, 0);
    add_device("pump-1", 7, 100);
    add_device("pump-2", 8, 0);
    ledger_close(&ledger);
    ledger_print(&ledger, false, &out);
    buffer_put_u8(&out, 0);
    CHECK_STR((const char *)out.ptr,
              "DEVICE  EPOCH             LANE  READ  GATEWAY  SINK  RECORDS  GAPS  SUPPRESSED  IN FLIGHT  VERDICT\n"
              "pump-1  0000000000000007  bulk   100        -   100       90    10           0          0  balanced\n"
              "total                            100        -   100       90    10           0          0  balanced\n");
}

static void json_says_what_is_not_known_as_null(void **state)
{
    (void)state;
    const struct docs docs = {.count = 0};
    add_sink("pump-1", 7, 100, 100, 0, 0);
    add_device("pump-1", 7, 101);
    ledger_close(&ledger);
    ledger_json(&ledger, &docs, &out);
    buffer_put_u8(&out, 0);
    cJSON *json = cJSON_Parse((const char *)out.ptr);
    const cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "streams"), 0);
    CHECK_STR(doc_text(row, "epoch"), "0000000000000007");
    CHECK(cJSON_IsNull(cJSON_GetObjectItem(row, "gateway")));
    CHECK_INT(doc_u64_or_0(row, "in_flight"), 1);
    CHECK(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "total"), "balanced")));
    CHECK(cJSON_IsFalse(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "total"), "settled")));
    cJSON_Delete(json);
}

static void parents_are_asked_before_their_children(void **state)
{
    (void)state;
    CLEANUP(docs_deinit) struct docs docs = {.count = 0};
    struct doc *doc;
    const char *texts[] = {"{'program':'gateway','id':'cell','streams':[]}",
                           "{'program':'gateway','id':'line','streams':[{'device':'cell'}]}",
                           "{'program':'gateway','id':'site','streams':[{'device':'line'},{'device':'other'}]}",
                           "{'program':'device','id':'site'}"};
    unsigned depth[4];
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        CHECK_OK(docs_add(&docs, "x", &doc));
        doc->json = parse(texts[i]);
    }
    ledger_gateway_depths(&docs, depth);
    CHECK_INT(depth[0], 2);
    CHECK_INT(depth[1], 1);
    CHECK_INT(depth[2], 0);
    CHECK_INT(depth[3], 0);
}

static void gateways_that_claim_each_other_do_not_hang_it(void **state)
{
    (void)state;
    CLEANUP(docs_deinit) struct docs docs = {.count = 0};
    struct doc *doc;
    unsigned depth[2];
    CHECK_OK(docs_add(&docs, "x", &doc));
    doc->json = parse("{'program':'gateway','id':'a','streams':[{'device':'b'}]}");
    CHECK_OK(docs_add(&docs, "y", &doc));
    doc->json = parse("{'program':'gateway','id':'b','streams':[{'device':'a'}]}");
    ledger_gateway_depths(&docs, depth);
    CHECK(depth[0] < 10 && depth[1] < 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_gaps_and_suppressed_make_up_the_mark),
        TEST(settled_means_nothing_is_on_its_way),
        TEST(a_lost_number_is_named),
        TEST(a_number_counted_twice_is_named),
        TEST(a_sink_ahead_of_the_gateway_is_named),
        TEST(a_gateway_ahead_of_the_device_is_named),
        TEST(a_phantom_in_the_sink_is_named_without_a_gateway),
        TEST(numbers_that_grew_between_the_questions_are_no_loss),
        TEST(a_device_that_does_not_answer_is_taken_at_its_last_word),
        TEST(a_sink_alone_can_be_balanced),
        TEST(without_a_bridge_nothing_is_called_balanced),
        TEST(a_bridge_that_knows_no_stream_yet_is_balanced_with_all_in_flight),
        TEST(nothing_more_comes_of_a_closed_stream_than_the_gateway_has),
        TEST(epochs_of_a_device_are_streams_of_their_own),
        TEST(a_device_that_moved_counts_at_the_gateway_that_has_more),
        TEST(a_lane_that_does_not_exist_yet_is_left_out),
        TEST(another_devices_streams_are_left_out_when_one_is_asked_for),
        TEST(a_device_that_nobody_knows_is_not_found),
        TEST(a_gateways_own_stream_is_a_hop_and_no_device),
        TEST(ledgers_that_do_not_parse_are_refused_whole),
        TEST(the_table_has_a_total_and_leaves_empty_streams_out),
        TEST(json_says_what_is_not_known_as_null),
        TEST(parents_are_asked_before_their_children),
        TEST(gateways_that_claim_each_other_do_not_hang_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
