/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: parents are a list in the order of the file, one `parent` still is enough, models that answer are sections, and
 * every mistake is named. */
#include "gateway/gatewayd/settings.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/support/check.h"

#define HEAD "site: s\nid: g1\nbroker: {host: h, insecure: true}\nstore: {path: st, size: 8MiB}\n"

static char path[64], rules_path[80];
static struct settings settings;
static struct buffer problems;

/* What is said against it; "" when it is good: then settings is filled in. */
static const char *read_text(const char *text)
{
    options_free(&settings_program, &settings);
    memset(&settings, 0, sizeof(settings));
    buffer_deinit(&problems);
    buffer_init(&problems, 1 << 20);
    FILE *out = fopen(path, "w");
    CHECK(out != NULL && fputs(HEAD, out) >= 0 && fputs(text, out) >= 0 && fclose(out) == 0);
    if (options_load(&settings_program, path, NULL, 0, &settings, &problems) == OK) {
        return "";
    }
    buffer_put_u8(&problems, '\0');
    CHECK_OK(buffer_err(&problems));
    return (const char *)problems.ptr;
}

static void one_parent_is_enough_and_none_is_allowed(void **state)
{
    (void)state;
    CHECK_STR(read_text(""), "");
    CHECK_INT(settings.parents.count, 0);
    CHECK_STR(read_text("parent: {host: p, id: a, insecure: true}\n"), "");
    CHECK_STR(settings.parent_id, "a");
    CHECK_INT(settings.failover_after_us, 60 * SECOND_US);
}

static void further_parents_stand_in_the_order_of_the_file(void **state)
{
    (void)state;
    CHECK_STR(read_text("parent: {host: p, id: a, insecure: true, failover_after: 5s, failback_after: 7s}\n"
                        "parents:\n  z: {host: q, port: 1884, site: other, insecure: true, reconnect: 1s}\n"
                        "  b: {host: r, insecure: true}\n"),
              "");
    const struct settings_parent *parents = settings.parents.items;
    CHECK_INT(settings.parents.count, 2);
    CHECK_STR(settings.parents.names[0], "z");
    CHECK_STR(parents[0].site, "other");
    CHECK_STR(parents[0].broker.host, "q");
    CHECK_INT(parents[0].broker.port, 1884);
    CHECK_INT(parents[0].broker.reconnect_us, SECOND_US);
    CHECK_STR(settings.parents.names[1], "b");
    CHECK_INT(parents[1].broker.port, 8883);
    CHECK_INT(settings.failover_after_us, 5 * SECOND_US);
    CHECK_INT(settings.failback_after_us, 7 * SECOND_US);
}

static void a_gateway_is_not_its_own_parent(void **state)
{
    (void)state;
    CHECK_CONTAINS(read_text("parent: {host: p, id: g1, insecure: true}\n"),
                   "parent.id: is our own id; records would go round: g1 -> g1");
    CHECK_CONTAINS(read_text("parents: {g1: {host: p, insecure: true}}\n"), "parents.g1: is our own id");
}

static void mistakes_in_further_parents_are_named(void **state)
{
    (void)state;
    CHECK_CONTAINS(read_text("parent: {host: p, id: a, insecure: true}\nparents: {a: {host: p, insecure: true}}\n"),
                   "parents.a: is parent.id already");
    CHECK_CONTAINS(read_text("parents: {b: {insecure: true}}\n"), "parents.b.host: a broker is needed");
    CHECK_CONTAINS(read_text("parents: {b: {host: p}}\n"), "parents.b.insecure");
    CHECK_CONTAINS(read_text("parents: {b: {host: p, insecure: true, prot: 3}}\n"), "prot");
    CHECK_CONTAINS(read_text("parent: {failover_after: 10ms}\n"), "failover_after");
    BUFFER(many, 4096);
    buffer_put_str(&many, "parents:\n");
    for (int i = 0; i < 8; i++) {
        buffer_printf(&many, "  p%d: {host: p, insecure: true}\n", i);
    }
    buffer_put_u8(&many, '\0');
    CHECK(strlen(read_text((const char *)many.ptr)) > 0);
}

static void models_that_answer_are_sections_with_paths_from_the_files_folder(void **state)
{
    (void)state;
    char text[512], device[128];
    CLEANUP(settings_escalation_freep) struct settings_escalation *asks = NULL;
    CHECK_STR(read_text(""), "");
    CHECK_OK(settings_escalation_new(&settings, path, &asks));
    CHECK_INT(asks->settings.model_count, 0);
    CHECK_INT(asks->settings.batch, 32);
    CHECK_INT(asks->settings.wait_us, 5 * MS_US);
    CHECK_INT(asks->settings.quota, 20);
    CHECK(asks->settings.ask_parent);
    settings_escalation_free(take(asks));
    snprintf(text, sizeof(text),
             "escalate:\n  wait: 2ms\n  ask_parent: false\n  onnxruntime: /lib/ort.so\n  models:\n    heavy: {model: %s, "
             "for: [dev/model.yaml, /abs/model.yaml, 0123456789abcdef], engine: onnx, tolerance: 0.5}\n"
             "    rest: {model: %s}\n",
             path, path);
    CHECK_STR(read_text(text), "");
    CHECK_OK(settings_escalation_new(&settings, path, &asks));
    const struct escalate_model *heavy = &asks->settings.models[0], *rest = &asks->settings.models[1];
    CHECK_INT(asks->settings.model_count, 2);
    CHECK_INT(asks->settings.wait_us, 2 * MS_US);
    CHECK(!asks->settings.ask_parent);
    CHECK_STR(asks->settings.onnxruntime, "/lib/ort.so");
    CHECK_STR(heavy->name, "heavy");
    CHECK_STR(heavy->description, path);
    CHECK_INT(heavy->engine, ESCALATE_ONNX);
    CHECK(heavy->tolerance == 0.5);
    CHECK_INT(heavy->for_count, 3);
    snprintf(device, sizeof(device), "%.*s/dev/model.yaml", (int)(strrchr(path, '/') - path), path);
    CHECK_STR(heavy->answers_for[0], device);
    CHECK_STR(heavy->answers_for[1], "/abs/model.yaml");
    CHECK_STR(heavy->answers_for[2], "0123456789abcdef");
    CHECK_INT(rest->engine, ESCALATE_OWN);
    CHECK_INT(rest->for_count, 1);
    CHECK_STR(rest->answers_for[0], "*");
    CHECK_STR(rest->self_test, "");
    CHECK_CONTAINS(read_text("escalate: {models: {heavy: {model: /nonexistent/model.yaml}}}\n"),
                   "/nonexistent/model.yaml");
    CHECK_CONTAINS(read_text("escalate: {models: {heavy: {engine: own}}}\n"), "escalate.models.heavy.model");
}

static void the_link_costs_what_tls_does_where_a_parent_speaks_it(void **state)
{
    (void)state;
    struct budget_rules rules;
    CHECK_STR(read_text("parent: {host: p, id: a, insecure: true}\n"), "");
    settings_budget(&settings, &rules);
    CHECK(!rules.tls);
    CHECK_STR(read_text("parents: {b: {host: p, insecure: true}}\n"), ""); /* and no preferred one */
    settings_budget(&settings, &rules);
    CHECK(!rules.tls);
    struct settings_parent *parents = settings.parents.items;
    parents[0].broker.insecure = false; /* as with certificates, which would be looked at in the file */
    settings_budget(&settings, &rules);
    CHECK(rules.tls);
}

/* What starts is what was checked: the file of rules is read for --check as well, but not for a reload, which judges it
 * on its own. */
static void rules_are_checked_with_the_key_that_they_need(void **state)
{
    (void)state;
    char text[300];
    struct settings fresh = {0};
    FILE *out = fopen(rules_path, "w");
    CHECK(out != NULL && fputs("rules:\n  calm: {do: deadband, abs: 1}\n  badge: {do: hash}\n", out) >= 0 && fclose(out) == 0);
    snprintf(text, sizeof(text), "parent: {host: p, id: a, insecure: true}\nrules:\n  file: %s\n", rules_path);
    CHECK_CONTAINS(read_text(text), ":7:9: rules.file: ");
    CHECK_CONTAINS((const char *)problems.ptr, ".yaml.rules:3:15: rules.badge.do: hash needs the plant's key, and the gateway's "
                                               "rules.key names none\n");
    BUFFER(none, 4096);
    CHECK_OK(options_load(&settings_reload_program, path, NULL, 0, &fresh, &none));
    options_free(&settings_reload_program, &fresh);
    snprintf(text, sizeof(text), "parent: {host: p, id: a, insecure: true}\nrules: {file: %s, key: %s}\n", rules_path, path);
    CHECK_STR(read_text(text), "");
    out = fopen(rules_path, "w");
    CHECK(out != NULL && fputs("rules: {calm: {do: deadband}, c: {do: capture}}\n", out) >= 0 && fclose(out) == 0);
    CHECK_CONTAINS(read_text(text), "rules.calm.abs: deadband needs abs or percent");
    CHECK_CONTAINS((const char *)problems.ptr, "rules.c.do: capture needs above or below");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_parent_is_enough_and_none_is_allowed),
        cmocka_unit_test(further_parents_stand_in_the_order_of_the_file),
        cmocka_unit_test(a_gateway_is_not_its_own_parent),
        cmocka_unit_test(mistakes_in_further_parents_are_named),
        cmocka_unit_test(models_that_answer_are_sections_with_paths_from_the_files_folder),
        cmocka_unit_test(the_link_costs_what_tls_does_where_a_parent_speaks_it),
        cmocka_unit_test(rules_are_checked_with_the_key_that_they_need),
    };
    snprintf(path, sizeof(path), "/tmp/weir-gateway-settings-%d.yaml", (int)getpid());
    snprintf(rules_path, sizeof(rules_path), "%s.rules", path);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    options_free(&settings_program, &settings);
    buffer_deinit(&problems);
    (void)unlink(path);
    (void)unlink(rules_path);
    return failed;
}
