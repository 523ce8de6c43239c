/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the command as a person uses it: usage errors name the nearest, exit codes say what is the matter, data alone
 * goes to stdout; asked of daemons played by control servers with fixed documents.
 *
 * The daemons run on the test's loop, the command on a worker's thread.
 */
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/cloud-bridge/console/command.h"

static char folder[] = "/tmp/weir-console-XXXXXX";

/* ---- daemons ---- */
struct daemon {
    const char *name, *status, *ledger, *tail, *bill;
    const char *asked_for; /* NULL: the uplink was not asked for */
    struct control_server *server;
};
static unsigned asked; /* digits: in which order the ledgers were asked */

static int on_status(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)request;
    return answer(((struct daemon *)arg)->status, body);
}

static int on_ledger(void *arg, const struct control_request *request, struct buffer *body)
{
    struct daemon *d = arg;
    const char *device = control_param(request, "device");
    asked = asked * 10 + (unsigned)(d->name[0] - '0');
    if (device != NULL && strcmp(device, "pump-1") != 0) {
        buffer_put_str(body, "{\"error\":\"no such device\"}");
        return 404;
    }
    return answer(d->ledger, body);
}

static int on_tail(void *arg, const struct control_request *request, struct buffer *body)
{
    CHECK_STR(control_param(request, "device"), "pump-1");
    CHECK_STR(control_param(request, "limit"), "3");
    CHECK_STR(control_param(request, "after"), "-1");
    return answer(((struct daemon *)arg)->tail, body);
}

static int on_bill(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)request;
    return answer(((struct daemon *)arg)->bill, body);
}

static int on_uplink_open(void *arg, const struct control_request *request, struct buffer *body)
{
    struct daemon *d = arg;
    static char seconds[16];
    snprintf(seconds, sizeof(seconds), "%s", control_param(request, "for"));
    d->asked_for = seconds;
    return answer("{'program':'gateway','id':'gw-1','uplink':{'open':true,'when':'on-request','asked_for_s':1800,'backlog':"
                  "{'live':{'records':17,'waits_for':null}}}}", body);
}

static const struct control_route ROUTES[] = {
    {"/bill", on_bill}, {"/uplink/open", on_uplink_open},
    {"/status", on_status}, {"/ledger", on_ledger}, {"/tail", on_tail}, {NULL, NULL}};

static struct daemon device = {
    .name = "1-device",
    .status = "{'program':'device','id':'pump-1','state':'ok','tier':{'read':10}}",
    .ledger = "{'program':'device','id':'pump-1','streams':[{'device':'pump-1','epoch':'0000000000000007','lane':1,"
              "'durable':10}]}"};
static struct daemon gateway = {
    .name = "2-gateway",
    .status = "{'program':'gateway','id':'gw-1','state':'ok','tier':{'read':9}}",
    .ledger = "{'program':'gateway','id':'gw-1','streams':[{'device':'pump-1','epoch':'0000000000000007','lane':1,"
              "'hwm':9,'top':10}]}",
    .bill = "{'program':'gateway','id':'gw-1','budget':{'bytes':1000000,'period_s':86400,'spent':250000,'left_for_live':650000,"
            "'left_for_alarms':750000},'bill':{'date':20260101,'today':{'alarms':{'records':1,'bytes':50},'live':{'records':3,"
            "'bytes':150},'bytes':200},'month':{'alarms':{'records':10,'bytes':1000},'live':{'records':30,'bytes':3000},"
            "'bytes':4000},'ever':{'bytes':5000000}}}"};
static struct daemon bridge = {
    .name = "3-bridge",
    .status = "{'program':'bridge','id':'b-1','state':'ok','tier':{'read':8}}",
    .ledger = "{'program':'bridge','id':'b-1','streams':[{'device':'pump-1','epoch':'0000000000000007','lane':1,"
              "'hwm':8,'records':8,'gaps':0,'suppressed':0}]}",
    .tail = "{'readings':[{'row':1,'ts':'2026-01-01T00:00:00Z','channel':'temp','value':1,'unit':'Cel'}]}"};

static void start(struct daemon *d)
{
    char path[200];
    struct fault fault;
    snprintf(path, sizeof(path), "%s/%s.sock", folder, d->name);
    CHECK_OK(control_server_new(loop, path, ROUTES, d, &d->server, &fault));
}

static int set_up(void **state)
{
    (void)state;
    asked = 0;
    return loop_new(&loop) == OK && loop_worker_new(loop, "command", &worker) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    struct daemon *all[] = {&device, &gateway, &bridge};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        control_server_free(all[i]->server);
        all[i]->server = NULL;
    }
    loop_worker_free(worker);
    loop_free(loop);
    return 0;
}

/* ---- tests ---- */
static void wrong_usage_is_exit_2_with_the_nearest_name(void **state)
{
    (void)state;
    CHECK_INT(RUN("satus"), EXIT_USAGE);
    CHECK_STR(errors, "weir: unknown verb satus; did you mean status?\n");
    CHECK_INT(RUN("ledger", "--devcie", "x"), EXIT_USAGE);
    CHECK_STR(errors, "weir: unknown option --devcie; did you mean --device?\n");
    CHECK_INT(RUN("ledger", "--device"), EXIT_USAGE);
    CHECK_INT(RUN("ledger", "pump-1"), EXIT_USAGE);
    CHECK_CONTAINS(errors, "unexpected argument pump-1");
    CHECK_INT(RUN("status", "--watch=soon"), EXIT_USAGE);
    CHECK_INT(RUN("tail", "x", "--lines", "0"), EXIT_USAGE);
    CHECK_CONTAINS(errors, "--lines takes a whole number 1..10000");
    CHECK_INT(RUN("fetch", "pump-1"), EXIT_USAGE);
    CHECK_CONTAINS(errors, "fetch needs --from");
    CHECK_INT(RUN("tail"), EXIT_USAGE);
    CHECK_CONTAINS(errors, "usage: weir tail DEVICE");
    CHECK_INT(RUN("--json=yes", "status"), EXIT_USAGE);
    CHECK_INT(RUN("--json"), EXIT_USAGE);
    CHECK_STR(output, "");
}

static void help_has_an_example_for_every_verb(void **state)
{
    (void)state;
    CHECK_INT(RUN("--help"), EXIT_OK);
    CHECK_CONTAINS(output, "ledger [--device D] [--settled]");
    const char *verbs[] = {"status", "ledger", "tail"};
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        char want[40];
        snprintf(want, sizeof(want), "Example: weir %s ", verbs[i]);
        CHECK_INT(RUN(verbs[i], "--help"), EXIT_OK);
        CHECK_CONTAINS(output, want);
        CHECK_INT(WEIR("help", verbs[i]), EXIT_OK);
        CHECK_CONTAINS(output, want);
    }
    CHECK_INT(WEIR("help", "satus"), EXIT_USAGE);
    CHECK_INT(WEIR("--version"), EXIT_OK);
    CHECK_STR(output, "weir 1.2.3\n");
}

static void nothing_reachable_is_exit_4_with_the_cause(void **state)
{
    (void)state;
    CHECK_INT(RUN("status"), EXIT_UNREACHABLE);
    CHECK_CONTAINS(errors, "there is no control socket (*.sock) in /tmp/weir-console-");
    CHECK_INT(WEIR("--run", "/no/such", "ledger"), EXIT_UNREACHABLE);
    CHECK_CONTAINS(errors, "cannot read the folder /no/such: No such file or directory; name the folder");
    CHECK_INT(RUN("tail", "pump-1"), EXIT_UNREACHABLE);
    CHECK_CONTAINS(errors, "no bridge answers in");
    CHECK_STR(output, "");
}

static void the_folder_may_come_from_the_environment(void **state)
{
    (void)state;
    start(&gateway);
    setenv("WEIR_RUN", folder, 1);
    CHECK_INT(WEIR("status"), EXIT_OK);
    unsetenv("WEIR_RUN");
    CHECK_CONTAINS(output, "gw-1");
}

static void the_bill_is_a_table_with_the_budget(void **state)
{
    (void)state;
    start(&gateway);
    CHECK_INT(RUN("bill"), EXIT_OK);
    CHECK_CONTAINS(output, "alarms         1     50  25.0%       10   1000  25.0%");
    CHECK_CONTAINS(output, "live           3    150  75.0%       30   3000  75.0%");
    CHECK_CONTAINS(output, "spent 250 kB (25%), left for live records 650 kB, for alarms 750 kB");
    CHECK_INT(RUN("--json", "bill"), EXIT_OK);
    cJSON *json = cJSON_Parse(output);
    CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "budget"), "spent")), 250000);
    cJSON_Delete(json);
    CHECK_INT(RUN("bill", "--gateway", "gw-2"), EXIT_NOT_FOUND);
    gateway.bill = NULL; /* no parent */
    CHECK_INT(RUN("bill"), EXIT_NOT_FOUND);
    CHECK_STR(output, "");
}

static void an_uplink_is_opened_for_a_while(void **state)
{
    (void)state;
    start(&gateway);
    CHECK_INT(RUN("uplink", "open", "gw-1", "--for", "30min"), EXIT_OK);
    CHECK_STR(gateway.asked_for, "1800");
    CHECK_STR(output, "gw-1: uplink open (on-request), for 30min more, 17 records wait\n");
    CHECK_INT(RUN("uplink", "open", "gw-1"), EXIT_OK);
    CHECK_STR(gateway.asked_for, "600");
    CHECK_INT(RUN("uplink", "close", "gw-1"), EXIT_OK);
    CHECK_STR(gateway.asked_for, "0");
    gateway.asked_for = NULL;
    CHECK_INT(RUN("uplink", "show", "gw-1"), EXIT_NOT_FOUND); /* this one's status has no uplink */
    CHECK_CONTAINS(errors, "gateway gw-1 has no parent");
    CHECK_INT(RUN("uplink", "ajar", "gw-1"), EXIT_USAGE);
    CHECK_INT(RUN("uplink", "open"), EXIT_USAGE);
    CHECK_INT(RUN("uplink", "open", "gw-2"), EXIT_NOT_FOUND);
    CHECK(gateway.asked_for == NULL);
}

static void status_asks_every_socket(void **state)
{
    (void)state;
    start(&device);
    start(&gateway);
    start(&bridge);
    CHECK_INT(RUN("status"), EXIT_OK);
    CHECK_CONTAINS(output, "device   pump-1  ok       10");
    CHECK_CONTAINS(output, "bridge   b-1     ok        8");
    CHECK_STR(errors, "");
    CHECK_INT(RUN("--json", "status"), EXIT_OK);
    cJSON *json = cJSON_Parse(output);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(json, "daemons")), 3);
    cJSON_Delete(json);
}

static void a_dead_daemon_is_named(void **state)
{
    (void)state;
    char path[200];
    start(&gateway);
    snprintf(path, sizeof(path), "%s/dead.sock", folder);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fclose(f);
    CHECK_INT(RUN("status"), EXIT_DEGRADED);
    CHECK_CONTAINS(output, "unreachable: nobody listens on /tmp/weir-console-");
    unlink(path);
}

static void the_ledger_asks_from_the_sink_towards_the_device(void **state)
{
    (void)state;
    start(&device);
    start(&gateway);
    start(&bridge);
    CHECK_INT(RUN("ledger"), EXIT_OK);
    CHECK_INT(asked, 321);
    CHECK_CONTAINS(output, "pump-1  0000000000000007  bulk    10        9     8        8     0           0          2"
                           "  balanced\n");
    CHECK_STR(errors, "");
    CHECK_INT(RUN("ledger", "--settled"), EXIT_DEGRADED);
    CHECK_INT(RUN("ledger", "--device", "pump-1", "--json"), EXIT_OK);
    CHECK_CONTAINS(output, "\"in_flight\":2,\"balanced\":true");
}

static void an_unknown_device_is_exit_3_with_the_nearest(void **state)
{
    (void)state;
    start(&device);
    start(&bridge);
    CHECK_INT(RUN("ledger", "--device", "pmup-1"), EXIT_NOT_FOUND);
    CHECK_STR(errors, "weir: no device pmup-1 is known; did you mean pump-1?\n");
    CHECK_INT(RUN("tail", "pump-11"), EXIT_NOT_FOUND);
    CHECK_STR(errors, "weir: nothing of a device pump-11 is in the sink; did you mean pump-1?\n");
    CHECK_INT(RUN("ledger", "--device", "a b/%&?"), EXIT_NOT_FOUND);
    CHECK_STR(output, "");
}

static void tail_once_prints_and_ends(void **state)
{
    (void)state;
    start(&device);
    start(&bridge);
    CHECK_INT(RUN("tail", "pump-1", "--once", "--lines", "3"), EXIT_OK);
    CHECK_CONTAINS(output, "2026-01-01T00:00:00Z         temp");
    CHECK_INT(RUN("--json", "tail", "--once", "--lines=3", "pump-1"), EXIT_OK);
    CHECK_STR(output, "{\"row\":1,\"ts\":\"2026-01-01T00:00:00Z\",\"channel\":\"temp\",\"value\":1,"
                      "\"unit\":\"Cel\"}\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    unsetenv("WEIR_RUN");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(wrong_usage_is_exit_2_with_the_nearest_name),
        TEST(help_has_an_example_for_every_verb),
        TEST(nothing_reachable_is_exit_4_with_the_cause),
        TEST(the_folder_may_come_from_the_environment),
        TEST(the_bill_is_a_table_with_the_budget),
        TEST(an_uplink_is_opened_for_a_while),
        TEST(status_asks_every_socket),
        TEST(a_dead_daemon_is_named),
        TEST(the_ledger_asks_from_the_sink_towards_the_device),
        TEST(an_unknown_device_is_exit_3_with_the_nearest),
        TEST(tail_once_prints_and_ends),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
