/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: `weir why`, `weir rules show`, `weir rules shadow` and `weir fetch` ask the gateway that is meant, say in words
 * what it says, and tell a gateway that is not there from one that refuses and from one that has nothing.
 */
#include <sys/stat.h>

#include "tests/unit/cloud-bridge/console/command.h"

static char folder[] = "/tmp/weir-why-XXXXXX";

/* ---- gateways ---- */
struct daemon {
    const char *id, *rules; /* NULL: it has none */
    struct control_server *server;
};
static struct daemon one, other;
static unsigned shadow_ends;

static int on_status(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)request;
    buffer_printf(body, "{\"program\":\"gateway\",\"id\":\"%s\"}", ((struct daemon *)arg)->id);
    return 200;
}

static int on_rules(void *arg, const struct control_request *request, struct buffer *body)
{
    const struct daemon *d = arg;
    const char *device = control_param(request, "device");
    if (d->rules == NULL) {
        answer("{'error':'this gateway has no rules'}", body);
        return 404;
    }
    if (device != NULL && strcmp(device, "pump-1") != 0) {
        return answer("{'version':'00000000000000aa','devices':[]}", body);
    }
    return answer(d->rules, body);
}

static int on_shadow(void *arg, const struct control_request *request, struct buffer *body)
{
    shadow_ends += control_param(request, "file") == NULL;
    return answer(((struct daemon *)arg)->rules, body);
}

static int on_devices(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)arg;
    (void)request;
    return answer("{'devices':[{'device':'pump-1'},{'device':'fan-1'}]}", body);
}

static int on_fetch(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)arg;
    if (control_param(request, "question") != NULL) {
        return answer("{'records':[],'cursor':0,'left_out':2,'ring_us':1000000,'oldest_us':0,'overtaken':false}", body);
    }
    if (control_param(request, "unmasked") != NULL) {
        answer("{'error':'never'}", body);
        return 403;
    }
    return answer("{'question':1,'masked':true}", body);
}

static const struct control_route ROUTES[] = {{"/status", on_status},       {"/rules", on_rules},
                                              {"/rules/shadow", on_shadow}, {"/devices", on_devices},
                                              {"/fetch", on_fetch},         {NULL, NULL}};

#define RULE(name, do, dropped)                                                                                        \
    "{'name':'" name "','do':'" do "','devices':'*','channels':'temp*','seen':100,'dropped':" dropped                  \
                                   ",'changed':0,'flagged':0,'windows':0,'captures':0,'late':0,'cut':0,'saved':-5}"
#define TALLY(up) "'records':9,'kept':4,'shaped':3,'dropped':2,'bytes_in':2000,'bytes_up':" up
#define STEP(first, last, outcome, rule)                                                                               \
    "{'first':" first ",'last':" last ",'lane':1,'received_us':1763816645123456,'until_us':1,'outcome':'" outcome      \
    "','rule':" rule ",'dropped':7,'changed':0,'windows':1,'late':0,'captures':0}"
static const char WITH_RULES[] =
    "{'version':'00000000000000aa','since_us':1763816645000000,'rules':[" RULE(
        "calm", "deadband",
        "60") "],"
              "'since':{" TALLY(
                  "1000") "},'shadow':{'version':'00000000000000bb','since_us':1763816645000000,"
                          "'rules':[" RULE("calm", "deadband", "80") "," RULE("new", "drop", "1") "]," TALLY(
                              "750") ","
                                     "'live':{'version':'00000000000000aa','rules':[" RULE("calm", "deadband", "60") "," RULE(
                                         "old", "drop",
                                         "1") "]," TALLY("1000") "}},'devices':[{'device':'pump-1','epoch':'"
                                                                 "0000000000000007','records':9,'kept':4,'shaped':3,'"
                                                                 "dropped':2,"
                                                                 "'captured':0,'rules':[" RULE("calm", "deadband", "60") "],'trail':[" STEP(
                                                                     "12", "14", "dropped",
                                                                     "'calm'") "," STEP("11", "11", "shaped",
                                                                                        "'calm'") "," STEP("10", "10",
                                                                                                           "kept",
                                                                                                           "null") "]}]"
                                                                                                                   "}";

static void start(struct daemon *d, const char *id, const char *rules)
{
    char path[200];
    struct fault fault;
    *d = (struct daemon){.id = id, .rules = rules};
    snprintf(path, sizeof(path), "%s/%s.sock", folder, id);
    CHECK_OK(control_server_new(loop, path, ROUTES, d, &d->server, &fault));
}

static int set_up(void **state)
{
    (void)state;
    shadow_ends = 0;
    return loop_new(&loop) == OK && loop_worker_new(loop, "command", &worker) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    control_server_free(take(one.server));
    control_server_free(take(other.server));
    loop_worker_free(take(worker));
    loop_free(take(loop));
    return 0;
}

/* ---- tests ---- */
static void why_says_what_became_of_the_newest_records(void **state)
{
    (void)state;
    start(&one, "gw-1", WITH_RULES);
    CHECK_INT(RUN("why", "pump-1"), EXIT_OK);
    CHECK_CONTAINS(output, "pump-1 at gateway gw-1: rules 00000000000000aa, in force since 2025-11-22T13:04:05Z");
    CHECK_CONTAINS(output, "4 sent as they came, 3 sent shaped, 2 not sent");
    CHECK_CONTAINS(
        output,
        "2025-11-22T13:04:05.123456Z lane 1  12..14           not sent, by calm, 7 values dropped, 1 window closed");
    CHECK_CONTAINS(output, "11               sent, shaped by calm, 7 values dropped");
    CHECK_CONTAINS(output, "10               sent as it came");
    CHECK_INT(RUN("why", "pump-1", "--last", "1"), EXIT_OK);
    CHECK(strstr(output, "sent as it came") == NULL);
    CHECK_INT(RUN("why", "pump-1", "--channel", "flow"), EXIT_OK);
    CHECK_CONTAINS(output, "no rule has seen anything of flow");
    CHECK_INT(RUN("--json", "why", "pump-1", "--last", "2", "--channel", "temp_1"), EXIT_OK);
    CHECK_CONTAINS(output, "\"gateway\":\"gw-1\"");
    CHECK_CONTAINS(output, "\"name\":\"calm\"");
    CHECK(strstr(output, "\"kept\"}") == NULL && strstr(output, "\"first\":10") == NULL);
}

static void several_gateways_are_all_asked_or_the_one_that_is_named(void **state)
{
    (void)state;
    start(&one, "gw-1", WITH_RULES);
    start(&other, "gw-2", NULL);
    CHECK_INT(RUN("why", "pump-1"), EXIT_OK); /* the other has no rules: no word of it */
    CHECK_STR(errors, "");
    CHECK_INT(RUN("why", "pump-1", "--gateway", "gw-2"), EXIT_NOT_FOUND);
    CHECK_CONTAINS(errors, "this gateway has no rules");
    CHECK_INT(RUN("rules", "show"), EXIT_USAGE);
    CHECK_CONTAINS(errors, "there are 2 gateways (gw-1, gw-2); name one with --gateway");
    CHECK_INT(RUN("rules", "show", "--gateway", "gw-1"), EXIT_OK);
    CHECK_CONTAINS(output, "gateway gw-1: rules 00000000000000aa");
    CHECK_CONTAINS(output, "1.0 kB of 2.0 kB went up (50 %)");
    CHECK_CONTAINS(output, "SAVED below 0: records became larger; a value left out still has its place");
    CHECK_INT(RUN("rules", "show", "--gateway", "gw-11"), EXIT_NOT_FOUND);
    CHECK_CONTAINS(errors, "did you mean gw-1?");
}

static void nobody_there_and_nothing_known_are_told_apart(void **state)
{
    (void)state;
    CHECK_INT(RUN("why", "pump-1"), EXIT_UNREACHABLE);
    CHECK_CONTAINS(errors, "no gateway answers in");
    start(&one, "gw-1", WITH_RULES);
    CHECK_INT(RUN("why", "pump-2"), EXIT_NOT_FOUND);
    CHECK_CONTAINS(errors, "did you mean pump-1?");
}

static void the_shadow_s_difference_is_said_in_words_and_in_json(void **state)
{
    (void)state;
    start(&one, "gw-1", WITH_RULES);
    CHECK_INT(RUN("rules", "shadow", "--show"), EXIT_OK);
    CHECK_CONTAINS(output, "would have put 250 B less on the uplink (-25.0 %)");
    CHECK_CONTAINS(output, "old   drop      100       -        1       -");
    CHECK_CONTAINS(output, "new   drop        -     100        -       1");
    CHECK_INT(shadow_ends, 0);
    CHECK_INT(RUN("--json", "rules", "shadow", "--off"), EXIT_OK);
    CHECK_CONTAINS(output, "\"uplink_bytes_saved\":250");
    CHECK_INT(shadow_ends, 1);
}

static void what_makes_no_sense_together_is_usage(void **state)
{
    (void)state;
    start(&one, "gw-1", WITH_RULES);
    CHECK_INT(RUN("rules", "shadow"), EXIT_USAGE);
    CHECK_INT(RUN("rules", "shadow", "--show", "--off"), EXIT_USAGE);
    CHECK_INT(RUN("rules", "shadow", "--show", "--for", "5s"), EXIT_USAGE);
    CHECK_INT(RUN("rules", "shadow", "/nowhere/rules.yaml"), EXIT_USAGE);
    CHECK_CONTAINS(errors, "/nowhere/rules.yaml: No such file");
    CHECK_INT(RUN("rules", "shadow", "x", "--for", "five"), EXIT_USAGE);
    CHECK_INT(RUN("rules", "show", "rules.yaml"), EXIT_USAGE);
    CHECK_INT(RUN("fetch", "pump-1"), EXIT_USAGE);
    CHECK_INT(RUN("fetch", "pump-1", "--from", "now", "--to", "-1h"), EXIT_USAGE);
    CHECK_INT(RUN("fetch", "pump-1", "--from", "-1h", "--format", "xml"), EXIT_USAGE);
    CHECK_INT(shadow_ends, 0);
}

static void a_ring_without_it_and_a_refusal_have_their_own_exits(void **state)
{
    (void)state;
    start(&one, "gw-1", WITH_RULES);
    CHECK_INT(RUN("fetch", "pump-1", "--from", "-1h"), EXIT_NOT_FOUND);
    CHECK_CONTAINS(errors, "the ring of gateway gw-1 has nothing of pump-1; it goes back to 1970-01-01T00:00:01Z");
    CHECK_CONTAINS(errors, "2 records were left out");
    CHECK_STR(output, "");
    CHECK_INT(RUN("fetch", "pump-1", "--from", "-1h", "--unmasked"), EXIT_DENIED);
    CHECK_CONTAINS(errors, "refused: never");
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(why_says_what_became_of_the_newest_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_gateways_are_all_asked_or_the_one_that_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there_and_nothing_known_are_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_shadow_s_difference_is_said_in_words_and_in_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_together_is_usage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ring_without_it_and_a_refusal_have_their_own_exits, set_up, tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
