/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a configuration file is read as a person meant it, or every mistake in it is named at once with file, line,
 * column, the source line and what would be right.
 */
#include <string.h>
#include <unistd.h>

#include "core/options/options_internal.h"
#include "tests/support/check.h"
#include "tests/unit/core/options/table.h"

static struct settings settings;
static struct buffer problems;

static enum err read_with(const char *yaml, size_t len, const char *const *sets, size_t count)
{
    CLEANUP(reading_deinit) struct reading r;
    buffer_reset(&problems);
    memset(&settings, 0, sizeof(settings));
    TRY(reading_init(&r, &PROGRAM, "plant.yaml", &settings, &problems));
    r.text = slice_of(yaml, len);
    enum err err = reading_run(&r, sets, count);
    buffer_put_u8(&problems, 0);
    return err;
}

static enum err read_yaml(const char *yaml)
{
    return read_with(yaml, strlen(yaml), NULL, 0);
}

static const char *said(void)
{
    return (const char *)problems.ptr;
}

static unsigned count_of(const char *part)
{
    unsigned count = 0;
    for (const char *at = said(); (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

static int set_up(void **state)
{
    (void)state;
    buffer_init(&problems, 256 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    options_free(&PROGRAM, &settings);
    buffer_deinit(&problems);
    return 0;
}

static void nested_and_dotted_names_are_the_same_setting(void **state)
{
    (void)state;
    CHECK_OK(read_yaml("site: plant-a\nid: gw-1\nbroker:\n  host: h\n  tls.ca: ''\nbroker.port: 1884\n"));
    CHECK_STR(settings.site, "plant-a");
    CHECK_STR(settings.host, "h");
    CHECK_INT(settings.port, 1884);
    options_free(&PROGRAM, &settings);
    CHECK_OK(read_yaml("{site: plant-a, id: gw-1, broker: {tls: {ca: ''}, host: h}}"));
    CHECK_STR(settings.host, "h");
}

static void what_is_not_written_has_its_default(void **state)
{
    (void)state;
    CHECK_OK(read_yaml("site: plant-a\nid: gw-1\nbroker:\n# all comments\nlog:\n"));
    CHECK_INT(settings.port, 8883);
    CHECK_INT(settings.level, 2);
    CHECK_INT(settings.backend, 1);
    CHECK_INT(settings.keepalive, 30 * SECOND_US);
    CHECK_INT(settings.size, 64 << 20);
    CHECK_INT(settings.channels.count, 2);
    CHECK_STR(settings.channels.items[1], "b");
    CHECK(settings.text == NULL);
    CHECK_STR(settings.ca, "");
}

static void every_mistake_is_reported_at_once_with_its_place(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: plant a\nbroker:\n  prot: 1\n  port: 99999\n  keepalive: 5\n  insecure: maybe\n"
                        "store: {size: 10MB}\nlog: {level: inf}\n"),
              ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:1:7: site: \"plant a\" is not an identity");
    CHECK_CONTAINS(said(), "plant.yaml:3:3: broker.prot: unknown setting; did you mean broker.port?");
    CHECK_CONTAINS(said(), "plant.yaml:4:9: broker.port: \"99999\" is outside 1..65535\n"
                           "      port: 99999\n            ^\n");
    CHECK_CONTAINS(said(), "plant.yaml:5:14: broker.keepalive: \"5\" has no unit; write for example 5s");
    CHECK_CONTAINS(said(), "plant.yaml:6:13: broker.insecure: \"maybe\" is neither true nor false");
    CHECK_CONTAINS(said(), "plant.yaml:7:15: store.size: \"10MB\": unknown unit \"MB\"; did you mean MiB?");
    CHECK_CONTAINS(said(), "plant.yaml:8:14: log.level: \"inf\" is none of error|warn|info|debug (did you mean info?)");
    CHECK_CONTAINS(said(), "id is missing: Who this is.");
    CHECK_INT(count_of("plant.yaml:"), 8);
    CHECK(settings.site == NULL && settings.port == 0);
}

static void an_unknown_section_is_named_once_with_the_nearest(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: a\nid: b\nbrokr:\n  host: h\n  port: 1\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:3:1: brokr: unknown setting; did you mean the section broker?");
    CHECK_INT(count_of("plant.yaml:"), 1);
}

static void a_name_in_the_wrong_place_is_pointed_to_the_right_one(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: a\nid: b\nhost: h\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "host: unknown setting; did you mean broker.host?");
}

static void a_setting_or_section_given_twice_is_refused(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: a\nid: b\nbroker: {port: 5}\nsite: c\nbroker.port: 6\nbroker: {host: x}\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:4:1: site: is given twice; first on line 1");
    CHECK_CONTAINS(said(), "plant.yaml:5:1: broker.port: is given twice; first on line 3");
    CHECK_CONTAINS(said(), "plant.yaml:6:1: broker: the section is given twice; first on line 3");
}

static void wrong_kinds_are_refused(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: {a: b}\nid: [x]\nbroker: 5\nbroker.host:\nsense.channels: a\nbroker.port: ~\n[q]: 1\n"),
              ERR_RANGE);
    CHECK_CONTAINS(said(), "1:7: site: is a setting, not a section");
    CHECK_CONTAINS(said(), "2:5: id: takes one identity, not a list");
    CHECK_CONTAINS(said(), "3:9: broker: is a section, not a setting");
    CHECK_CONTAINS(said(), "4:1: broker.host: has no value; write \"\" to leave it empty");
    CHECK_CONTAINS(said(), "5:17: sense.channels: takes a list; write [a, b]");
    CHECK_CONTAINS(said(), "6:1: broker.port: has no value");
    CHECK_CONTAINS(said(), "a setting's name is one word");
}

static void a_list_is_bounded_and_flat(void **state)
{
    (void)state;
    CHECK_OK(read_yaml("site: a\nid: b\nsense.channels: [x, 'y z']\n"));
    CHECK_INT(settings.channels.count, 2);
    CHECK_STR(settings.channels.items[1], "y z");
    options_free(&PROGRAM, &settings);
    CHECK_OK(read_yaml("site: a\nid: b\nsense.channels: []\n"));
    CHECK_INT(settings.channels.count, 0);
    options_free(&PROGRAM, &settings);
    CHECK_ERR(read_yaml("site: a\nid: b\nsense.channels: [a,b,c,d,e]\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "sense.channels: has 5 items, which is outside 0..4");
    CHECK_ERR(read_yaml("site: a\nid: b\nsense.channels: [a,[b]]\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "3:20: sense.channels: an item of a list is one text");
}

static void anchors_aliases_and_tags_are_refused(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: &x a\nid: *x\nbroker: !own {port: 1}\n"), ERR_MALFORMED);
    CHECK_CONTAINS(said(), "plant.yaml:1:7: anchors (&name) are not used");
    CHECK_CONTAINS(said(), "plant.yaml:2:5: aliases (*name) are not used");
    CHECK_CONTAINS(said(), "plant.yaml:3:9: tags (!name) are not used");
    CHECK_INT(count_of("is missing"), 0);
}

static void depth_and_documents_are_bounded(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}"), ERR_MALFORMED);
    CHECK_CONTAINS(said(), "nested deeper than 8 levels");
    CHECK_ERR(read_yaml("site: a\n---\nid: b\n"), ERR_MALFORMED);
    CHECK_CONTAINS(said(), "plant.yaml:2:1: a second document begins");
    char deep[100000];
    memset(deep, '[', sizeof(deep));
    CHECK_ERR(read_with(deep, sizeof(deep), NULL, 0), ERR_MALFORMED);
    CHECK_CONTAINS(said(), "nested deeper than 8 levels");
}

static void what_is_no_yaml_is_reported_at_its_place(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: a\nbroker:\n\thost: x\n"), ERR_MALFORMED);
    CHECK_CONTAINS(said(), "plant.yaml:3:1: not YAML:");
    CHECK_ERR(read_yaml("site: a\nid: \"\xff\"\n"), ERR_MALFORMED);
    CHECK_CONTAINS(said(), "plant.yaml:2:6: not YAML:");
    CHECK_ERR(read_yaml("- a\n- b\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:1:1: a configuration is a mapping");
}

static void terminal_controls_do_not_reach_the_terminal(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("\"\\e[31mx\": 1\nsite: \"\\e]0;t\"\nid: \"a\\0b\"\n"), ERR_RANGE);
    CHECK(strchr(said(), '\033') == NULL);
    CHECK_CONTAINS(said(), "?[31mx: unknown setting");
}

static void problems_are_counted_beyond_forty(void **state)
{
    (void)state;
    BUFFER(yaml, 1 << 20);
    for (int i = 0; i < 20000; i++) {
        buffer_printf(&yaml, "k%d: 1\n", i);
    }
    CHECK_ERR(read_with((const char *)yaml.ptr, yaml.len, NULL, 0), ERR_RANGE);
    CHECK_INT(count_of("unknown setting"), OPTIONS_PROBLEMS_MAX);
    CHECK_CONTAINS(said(), "plant.yaml: and more");
}

static void the_caret_stands_under_the_character_also_behind_wide_ones(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("{site: \"\xc3\xa4\xc3\xb6\", id: b}"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:1:8: site:");
    CHECK_CONTAINS(said(), "\n           ^\n");
    BUFFER(yaml, 4096);
    buffer_put_str(&yaml, "{id: b, ");
    buffer_printf(&yaml, "%1000s", "");
    buffer_put_str(&yaml, "site: 'x y'}");
    CHECK_ERR(read_with((const char *)yaml.ptr, yaml.len, NULL, 0), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:1:1015: site:");
    CHECK(problems.len < 500);
}

static void the_command_line_stands_over_the_file(void **state)
{
    (void)state;
    const char *sets[] = {"broker.port=5", "sense.channels=p, q,r", "broker.tls.ca="};
    const char *yaml = "site: a\nid: b\nbroker: {port: nonsense, tls: {ca: /no/such/file}}\n";
    CHECK_OK(read_with(yaml, strlen(yaml), sets, 3));
    CHECK_INT(settings.port, 5);
    CHECK_INT(settings.channels.count, 3);
    CHECK_STR(settings.channels.items[1], "q");
}

static void mistakes_on_the_command_line_are_named(void **state)
{
    (void)state;
    const char *sets[] = {"broker.prot=5", "site", "broker.port=0"};
    CHECK_ERR(read_with("id: b\n", 6, sets, 3), ERR_RANGE);
    CHECK_CONTAINS(said(), "--set broker.prot: unknown setting; did you mean broker.port?");
    CHECK_CONTAINS(said(), "--set site: has no value; write --set name=value");
    CHECK_CONTAINS(said(), "--set broker.port: \"0\" is outside 1..65535");
}

static void conflicting_settings_are_reported_where_they_stand(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml("site: a\nid: b\nbroker:\n  port: 1883\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:4:9: broker.port: 1883 is the port without TLS\n      port: 1883\n");
    CHECK_CONTAINS(said(), "plant.yaml: log.level: another sentence\n");
    CHECK_OK(read_yaml("site: a\nid: b\nbroker: {port: 1883, insecure: true}\n"));
}

static void an_empty_file_lacks_only_what_is_required(void **state)
{
    (void)state;
    CHECK_ERR(read_yaml(""), ERR_RANGE);
    CHECK_INT(count_of("is missing"), 2);
    CHECK_ERR(read_yaml("# nothing\n"), ERR_RANGE);
    CHECK_INT(count_of("is missing"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nested_and_dotted_names_are_the_same_setting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_written_has_its_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_mistake_is_reported_at_once_with_its_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_section_is_named_once_with_the_nearest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_in_the_wrong_place_is_pointed_to_the_right_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_setting_or_section_given_twice_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_kinds_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_is_bounded_and_flat, set_up, tear_down),
        cmocka_unit_test_setup_teardown(anchors_aliases_and_tags_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(depth_and_documents_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_yaml_is_reported_at_its_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(terminal_controls_do_not_reach_the_terminal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(problems_are_counted_beyond_forty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_caret_stands_under_the_character_also_behind_wide_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_command_line_stands_over_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_on_the_command_line_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(conflicting_settings_are_reported_where_they_stand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_file_lacks_only_what_is_required, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
