/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a map of named sections is read like any other part of a configuration: nested or dotted, with defaults, bounds
 * and every mistake at its place; from the command line as well; dumped, sampled, helped and reloaded.
 */
#include <string.h>

#include "core/options/options_internal.h"
#include "tests/support/check.h"

struct rule {
    char *when, *sink;
    int64_t period, depth;
    double share;
    bool keep;
    int mode;
    struct option_list tags;
};
struct settings {
    char *site;
    int64_t wait;
    struct option_sections rules, parents;
};
#define IN(member) offsetof(struct rule, member)
#define AT(member) offsetof(struct settings, member)

static const struct option RULE[] = {
    {.name = "when", .type = OPTION_STRING, .offset = IN(when), .min = 1, .max = 20, .required = true,
     .help = "Which readings."},
    {.name = "sink", .type = OPTION_ID, .offset = IN(sink), .help = "Where to."},
    {.name = "clock.period", .type = OPTION_DURATION, .offset = IN(period), .min = 1000, .max = 3600e6, .preset = "1s",
     .plain_seconds = true, .live = true, .help = "How often."},
    {.name = "clock.depth", .type = OPTION_INT, .offset = IN(depth), .max = 9, .preset = "3", .help = "How deep."},
    {.name = "share", .type = OPTION_NUMBER, .offset = IN(share), .max = 1, .preset = "1", .help = "How much."},
    {.name = "keep_all", .type = OPTION_BOOL, .offset = IN(keep), .preset = "false", .help = "All of it."},
    {.name = "mode", .type = OPTION_ENUM, .offset = IN(mode), .words = "mean|last", .preset = "mean", .help = "How."},
    {.name = "tags", .type = OPTION_LIST, .offset = IN(tags), .max = 3, .preset = "a,b", .help = "Words."},
    {.name = NULL},
};
struct parent {
    int64_t port;
};
static const struct option PARENT[] = {
    {.name = "port", .type = OPTION_INT, .offset = offsetof(struct parent, port), .min = 1, .max = 65535,
     .preset = "8883", .help = "Port."},
    {.name = NULL},
};
static const struct option TABLE[] = {
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .preset = "plant", .help = "The plant."},
    {.name = "rules", .type = OPTION_SECTIONS, .offset = AT(rules), .max = 4, .sections = RULE,
     .section_size = sizeof(struct rule), .help = "What is kept."},
    {.name = "up.parents", .type = OPTION_SECTIONS, .offset = AT(parents), .min = 1, .max = 3,
     .preset = "first, second", .live = true, .sections = PARENT, .section_size = sizeof(struct parent),
     .help = "Where it goes."},
    {.name = "up.wait", .type = OPTION_DURATION, .offset = AT(wait), .preset = "1s", .help = "How long."},
    {.name = NULL},
};

static enum err check_together(const void *arg, struct buffer *found)
{
    const struct settings *s = arg;
    for (size_t i = 0; i < s->rules.count; i++) {
        const struct rule *rule = (const struct rule *)s->rules.items + i;
        if (rule->share == 0.5) {
            buffer_printf(found, "rules.%s.share: no halves\nrules.%s: neither here\n", s->rules.names[i],
                          s->rules.names[i]);
            return ERR_RANGE;
        }
    }
    return OK;
}

static const struct options_program PROGRAM = {.name = "weir-test",
                                               .summary = "tests sections",
                                               .table = TABLE,
                                               .settings_size = sizeof(struct settings),
                                               .needs_no_file = true,
                                               .check = check_together};

static struct settings settings;
static struct buffer problems, printed;

/* Reads text with --set values (ends with NULL) into *into; what it prints goes to printed. */
static enum err read_into(struct settings *into, const char *yaml, const char *const *sets,
                          void (*print)(const struct reading *r, struct buffer *out))
{
    CLEANUP(reading_deinit) struct reading r;
    size_t count = 0;
    buffer_reset(&problems);
    options_free(&PROGRAM, into);
    TRY(reading_init(&r, &PROGRAM, "plant.yaml", into, &problems));
    r.text = slice_str(yaml);
    while (sets[count] != NULL) {
        count++;
    }
    enum err err = reading_run(&r, sets, count);
    if (err == OK && print != NULL) {
        print(&r, &printed);
        buffer_put_u8(&printed, 0);
    }
    buffer_put_u8(&problems, 0);
    return err;
}
#define READ(yaml, ...) read_into(&settings, yaml, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}, NULL)

static const char *said(void)
{
    return (const char *)problems.ptr;
}

static const struct rule *rule(size_t index)
{
    CHECK(index < settings.rules.count);
    return (const struct rule *)settings.rules.items + index;
}

static const struct parent *parent(size_t index)
{
    CHECK(index < settings.parents.count);
    return (const struct parent *)settings.parents.items + index;
}

static int set_up(void **state)
{
    (void)state;
    buffer_init(&problems, 256 * 1024);
    buffer_init(&printed, 256 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    options_free(&PROGRAM, &settings);
    buffer_deinit(&problems);
    buffer_deinit(&printed);
    return 0;
}

static void sections_are_in_the_order_of_the_file_with_their_defaults(void **state)
{
    (void)state;
    CHECK_OK(READ("rules:\n  zebra: {when: z, clock: {period: 5, depth: 1}}\n  Ape_1:\n    when: a\n    tags: [x]\n"
                  "    clock.period: 2min\n"));
    CHECK_INT(settings.rules.count, 2);
    CHECK_STR(settings.rules.names[0], "zebra");
    CHECK_STR(settings.rules.names[1], "Ape_1");
    CHECK_STR(rule(0)->when, "z");
    CHECK_INT(rule(0)->period, 5 * SECOND_US);
    CHECK_INT(rule(0)->depth, 1);
    CHECK_INT(rule(0)->tags.count, 2);
    CHECK_INT(rule(1)->period, 2 * MINUTE_US);
    CHECK_INT(rule(1)->depth, 3);
    CHECK_STR(rule(1)->tags.items[0], "x");
    CHECK(rule(1)->sink == NULL);
}

static void dotted_and_nested_names_are_the_same_section(void **state)
{
    (void)state;
    CHECK_OK(READ("rules.b.when: x\nrules.a: {when: y}\nrules.b.clock: {depth: 2}\nrules.b.clock.period: 7s\n"));
    CHECK_INT(settings.rules.count, 2);
    CHECK_STR(settings.rules.names[0], "b");
    CHECK_INT(rule(0)->depth, 2);
    CHECK_INT(rule(0)->period, 7 * SECOND_US);
    CHECK_STR(rule(1)->when, "y");
    CHECK_OK(READ("up: {parents: {p.port: 1, q: {port: 2}}}\n"));
    CHECK_INT(parent(0)->port, 1);
    CHECK_INT(parent(1)->port, 2);
}

static void sections_of_the_preset_are_there_until_the_file_names_the_map(void **state)
{
    (void)state;
    CHECK_OK(READ(""));
    CHECK_INT(settings.rules.count, 0);
    CHECK_INT(settings.parents.count, 2);
    CHECK_STR(settings.parents.names[1], "second");
    CHECK_INT(parent(1)->port, 8883);
    CHECK_OK(READ("up:\n  parents:\n    # nothing\n"));
    CHECK_INT(settings.parents.count, 2);
    CHECK_OK(READ("up: {parents: {third: }}\n"));
    CHECK_INT(settings.parents.count, 1);
    CHECK_STR(settings.parents.names[0], "third");
    CHECK_OK(READ("up.parents.third.port: 3\n"));
    CHECK_INT(settings.parents.count, 1);
}

static void the_command_line_changes_a_section_or_adds_one_at_the_end(void **state)
{
    (void)state;
    CHECK_OK(READ("rules: {b: {when: x, clock.depth: 99}, a: {when: y}}\n", "rules.new.when=z", "rules.a.when=w",
                  "rules.b.clock.depth=4", "rules.new.tags=p,q,r"));
    CHECK_INT(settings.rules.count, 3);
    CHECK_STR(settings.rules.names[0], "b");
    CHECK_INT(rule(0)->depth, 4); /* over the file, also over a bad value in it */
    CHECK_STR(rule(1)->when, "w");
    CHECK_STR(settings.rules.names[2], "new");
    CHECK_INT(rule(2)->tags.count, 3);
    CHECK_OK(READ("", "up.parents.third.port=3", "up.parents.second.port=2"));
    CHECK_INT(settings.parents.count, 3);
    CHECK_STR(settings.parents.names[0], "first");
    CHECK_INT(parent(1)->port, 2);
    CHECK_INT(parent(2)->port, 3);
}

static void every_mistake_in_a_section_has_its_place_and_its_full_name(void **state)
{
    (void)state;
    CHECK_ERR(READ("rules:\n"
                   "  a:\n"
                   "    when: ''\n"
                   "    clock: {peroid: 1s, depth: 10}\n"
                   "    shrae: 1\n"
                   "    clokc: {depth: 1}\n"
                   "  b: {sink: not one, mode: men}\n"
                   "  c d: {when: x}\n"
                   "  e: 5\n"
                   "  f: {when: [x], [q]: 1, tags: {x: 1}}\n"),
              ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:3:11: rules.a.when: the length of \"\" is outside 1..20");
    CHECK_CONTAINS(said(), "4:13: rules.a.clock.peroid: unknown setting; did you mean rules.a.clock.period?");
    CHECK_CONTAINS(said(), "4:32: rules.a.clock.depth: \"10\" is outside 0..9\n");
    CHECK_CONTAINS(said(), "5:5: rules.a.shrae: unknown setting; did you mean rules.a.share?");
    CHECK_CONTAINS(said(), "6:5: rules.a.clokc: unknown setting; did you mean the section rules.a.clock?");
    CHECK_CONTAINS(said(), "7:13: rules.b.sink: \"not one\" is not an identity");
    CHECK_CONTAINS(said(), "7:28: rules.b.mode: \"men\" is none of mean|last (did you mean mean?)");
    CHECK_CONTAINS(said(), "7:3: rules.b.when is missing: Which readings.");
    CHECK_CONTAINS(said(), "8:3: rules: \"c d\" is not an identity");
    CHECK_CONTAINS(said(), "9:6: rules.e: is a section, not a setting");
    CHECK_CONTAINS(said(), "10:13: rules.f.when: takes one text, not a list");
    CHECK_CONTAINS(said(), "10:18: rules.f: a setting's name is one word");
    CHECK_CONTAINS(said(), "10:32: rules.f.tags: is a setting, not a section");
    CHECK(settings.rules.items == NULL && settings.rules.count == 0);
}

static void a_section_or_a_setting_given_twice_is_refused(void **state)
{
    (void)state;
    CHECK_ERR(
        READ("rules:\n  a: {when: x}\n  a: {when: y}\nrules.b: {when: x}\nrules.b.when: z\nrules: {c: {when: x}}\n"),
        ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:3:3: rules.a: the section is given twice; first on line 2");
    CHECK_CONTAINS(said(), "plant.yaml:5:1: rules.b.when: is given twice; first on line 4");
    CHECK_CONTAINS(said(), "plant.yaml:6:1: rules: is given twice; first on line 2");
}

static void the_number_of_sections_is_bounded(void **state)
{
    (void)state;
    CHECK_ERR(READ("rules: {a: {when: x}, b: {when: x}, c: {when: x}, d: {when: x}, e: {when: x}}\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:1:65: rules: rules.e is one too many; there may be 4");
    CHECK_ERR(READ("up:\n  parents: {}\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:2:12: up.parents: there are 0, which is outside 1..3");
    CHECK_ERR(READ("rules: 5\nup.parents: [a]\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "1:8: rules: is a map of sections; write {NAME: {setting: value}}");
    CHECK_CONTAINS(said(), "2:13: up.parents: is a map of sections");
}

static void a_bad_set_is_named(void **state)
{
    (void)state;
    CHECK_ERR(READ("", "rules.a.whne=x", "rules=5", "rules.a=5", "rules.b c.when=x", "rules..when=x", "rules.a.share=2",
                   "ruels.a.when=x"),
              ERR_RANGE);
    CHECK_CONTAINS(said(), "--set rules.a.whne: unknown setting; did you mean rules.a.when?");
    CHECK_CONTAINS(said(), "--set rules: is a map of sections; write --set rules.NAME.SETTING=value");
    CHECK_CONTAINS(said(), "--set rules.a: names a section; a setting of it must follow");
    CHECK_CONTAINS(said(), "--set rules.b c.when: \"b c\" is not an identity");
    CHECK_CONTAINS(said(), "--set rules..when: \"\" is not an identity");
    CHECK_CONTAINS(said(), "--set rules.a.share: \"2\" is outside 0..1");
    CHECK_CONTAINS(said(), "--set ruels.a.when: unknown setting");
    CHECK_CONTAINS(said(), "plant.yaml: rules.a.when is missing");
}

static void a_sentence_of_the_program_is_put_where_the_section_stands(void **state)
{
    (void)state;
    CHECK_ERR(READ("rules:\n  a: {when: x}\n  b:\n    when: x\n    share: 0.5\n"), ERR_RANGE);
    CHECK_CONTAINS(said(), "plant.yaml:5:12: rules.b.share: no halves\n        share: 0.5\n               ^\n");
    CHECK_CONTAINS(said(), "plant.yaml:3:3: rules.b: neither here\n");
}

static void the_dump_is_a_configuration_of_the_same_settings(void **state)
{
    (void)state;
    struct settings again = {.site = NULL};
    CHECK_OK(read_into(&settings,
                       "rules:\n  b: {when: 'x: {y}', clock.depth: 2, tags: []}\n  '-': {when: '#', share: 0.25}\n",
                       (const char *const[]){"rules.zz.when=q", "rules.b.mode=last", NULL}, options_print_dump));
    CHECK_CONTAINS((const char *)printed.ptr, "rules:\n  b:\n    when: \"x: {y}\"");
    CHECK_CONTAINS((const char *)printed.ptr, "    clock:\n      period: 1s                            # default\n"
                                              "      depth: 2                              # plant.yaml:2\n");
    CHECK_CONTAINS((const char *)printed.ptr, "    mode: last                              # --set\n");
    CHECK_CONTAINS((const char *)printed.ptr, "up:\n  parents:\n    first:\n      port: 8883");
    char *dump = strdup((const char *)printed.ptr);
    CHECK_OK(read_into(&again, dump, (const char *const[]){NULL}, NULL));
    for (const struct option *row = TABLE; row->name != NULL; row++) {
        CHECK(option_equal(row, &settings, &again));
    }
    free(dump);
    CHECK_OK(read_into(&again, "rules: {b: {when: x}}", (const char *const[]){NULL}, NULL));
    CHECK(!option_equal(&TABLE[1], &settings, &again));
    options_free(&PROGRAM, &again);
}

static void one_line_of_yaml_holds_the_map(void **state)
{
    (void)state;
    CHECK_OK(READ("rules: {b: {when: x, share: 0.5e0}}\n", "rules.b.share=0.75"));
    CHECK(option_write(&TABLE[1], &settings, &printed));
    buffer_put_u8(&printed, 0);
    CHECK_STR((const char *)printed.ptr,
              "{b: {when: x, clock.period: 1s, clock.depth: 3, share: 0.75, keep_all: false, "
              "mode: mean, tags: [a, b]}}");
}

static void help_and_sample_show_what_is_in_a_section(void **state)
{
    (void)state;
    options_print_help(&PROGRAM, &printed);
    buffer_put_u8(&printed, 0);
    CHECK_CONTAINS((const char *)printed.ptr, "  rules                   sections 0..4, not set by default\n");
    CHECK_CONTAINS((const char *)printed.ptr,
                   "  rules.NAME.clock.period duration 1ms..1h, default 1s, live; a plain number is seconds\n");
    buffer_reset(&printed);
    options_print_sample(&PROGRAM, &printed);
    buffer_put_u8(&printed, 0);
    CHECK_CONTAINS((const char *)printed.ptr,
                   "\nrules:\n  #NAME:\n    # Which readings. (text, length 1..20, required)\n");
    CHECK_CONTAINS((const char *)printed.ptr,
                   "\n  parents:\n    first:\n      # Port. (whole number 1..65535, default 8883)\n      #port: 8883\n"
                   "    second:\n");
    CHECK_CONTAINS((const char *)printed.ptr, "\n    #when: CHANGE-ME\n");
    CHECK_CONTAINS((const char *)printed.ptr, "\n    #clock:\n      # How often.");
    CHECK_OK(READ((const char *)printed.ptr));
    CHECK_INT(settings.rules.count, 0);
    CHECK_INT(settings.parents.count, 2);
}

static void a_reload_changes_live_settings_of_the_same_sections(void **state)
{
    (void)state;
    struct settings fresh = {.site = NULL};
    CHECK_OK(READ("rules: {a: {when: x}, b: {when: y}}\n"));
    CHECK_OK(read_into(&fresh, "rules: {a: {when: x, clock: {period: 9s, depth: 1}}, b: {when: z}}\n",
                       (const char *const[]){NULL}, NULL));
    options_apply_live(&PROGRAM, &settings, &fresh, &printed);
    buffer_put_u8(&printed, 0);
    CHECK_STR((const char *)printed.ptr, "changed rules.a.clock.period: 1s -> 9s\n"
                                         "needs a restart: rules.a.clock.depth\n"
                                         "needs a restart: rules.b.when\n");
    CHECK_INT(rule(0)->period, 9 * SECOND_US);
    CHECK_INT(rule(0)->depth, 3);
    CHECK_STR(rule(1)->when, "y");
    options_free(&PROGRAM, &fresh);
}

static void a_reload_takes_other_sections_only_when_the_row_is_live(void **state)
{
    (void)state;
    struct settings fresh = {.site = NULL};
    CHECK_OK(READ("rules: {a: {when: x}}\n"));
    CHECK_OK(read_into(&fresh, "rules: {b: {when: x}}\nup: {parents: {second: {port: 5}, new: {}}}\n",
                       (const char *const[]){NULL}, NULL));
    options_apply_live(&PROGRAM, &settings, &fresh, &printed);
    buffer_put_u8(&printed, 0);
    CHECK_STR((const char *)printed.ptr, "needs a restart: rules: a -> b\n"
                                         "changed up.parents: first, second -> second, new\n"
                                         "changed up.parents.second.port: 8883 -> 5\n");
    CHECK_STR(settings.rules.names[0], "a");
    CHECK_STR(settings.parents.names[1], "new");
    CHECK_INT(parent(0)->port, 5);
    options_free(&PROGRAM, &fresh);
}

static void a_live_row_makes_every_setting_in_it_live(void **state)
{
    (void)state;
    struct settings fresh = {.site = NULL};
    CHECK_OK(READ(""));
    CHECK_OK(read_into(&fresh, "up: {parents: {first: {port: 5}, second: {}}}\n", (const char *const[]){NULL}, NULL));
    options_apply_live(&PROGRAM, &settings, &fresh, &printed);
    buffer_put_u8(&printed, 0);
    CHECK_STR((const char *)printed.ptr, "changed up.parents.first.port: 8883 -> 5\n");
    CHECK_INT(parent(0)->port, 5);
    options_free(&PROGRAM, &fresh);
}

static void collect(void *arg, const char *name, const char *value)
{
    buffer_printf(arg, "%s=%s\n", name, value);
}

static void each_setting_in_force_is_told_by_its_full_name(void **state)
{
    (void)state;
    CHECK_OK(READ("rules: {a: {when: x}}\nup: {parents: {p: }}\n"));
    options_each(&PROGRAM, &settings, collect, &printed);
    buffer_put_u8(&printed, 0);
    CHECK_STR((const char *)printed.ptr,
              "site=plant\nrules.a.when=x\nrules.a.clock.period=1s\nrules.a.clock.depth=3\nrules.a.share=1\n"
              "rules.a.keep_all=false\nrules.a.mode=mean\nrules.a.tags=[a, b]\nup.parents.p.port=8883\nup.wait=1s\n");
}

static enum options_outcome command(struct settings *into, const char *const *words)
{
    char storage[12][80], *argv[12];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        snprintf(storage[argc], sizeof(storage[argc]), "%s", words[argc]);
        argv[argc] = storage[argc];
    }
    options_free(&PROGRAM, into);
    return options_main(&PROGRAM, argc, argv, into);
}

static void the_flags_reach_into_sections(void **state)
{
    (void)state;
    CHECK_INT(command(&settings,
                      (const char *const[]){"weir-test", "--rules.pump-1.when", "x", "--rules.pump-1.clock.period=5",
                                            "--rules.pump-1.keep-all", "--site", "s", NULL}),
              OPTIONS_RUN);
    CHECK_STR(settings.rules.names[0], "pump-1");
    CHECK_INT(rule(0)->period, 5 * SECOND_US);
    CHECK(rule(0)->keep);
    CHECK_INT(command(&settings, (const char *const[]){"weir-test", "--rules.a.whne", "x", NULL}), OPTIONS_BAD);
    CHECK_INT(command(&settings, (const char *const[]){"weir-test", "--rules", "x", NULL}), OPTIONS_BAD);
}

/* Whoever checks together sees a number as it was written, and says nothing where something could not be understood. */
static enum err check_beside(const void *arg, struct buffer *found)
{
    const struct settings *s = arg;
    const struct rule *rules = s->rules.items;
    for (size_t i = 0; i < s->rules.count; i++) {
        buffer_printf(found, "rules.%s.mode: depth is %lld\n", s->rules.names[i], (long long)rules[i].depth);
        buffer_printf(found, "rules.%s.clock.depth: again\n", s->rules.names[i]);
    }
    return ERR_RANGE;
}

static void a_check_that_can_is_asked_beside_other_mistakes(void **state)
{
    (void)state;
    struct settings into = {0};
    const struct options_program p = {.name = "weir-test", .summary = "tests", .table = TABLE, .checks_all = true,
                                      .settings_size = sizeof(into), .check = check_beside};
    CLEANUP(reading_deinit) struct reading r;
    buffer_reset(&problems);
    CHECK_OK(reading_init(&r, &p, "plant.yaml", &into, &problems));
    r.text = slice_str("rules:\n  a: {when: x, clock.depth: 70}\n  b: {when: x, clock.depth: seven}\n  c: {wen: x}\n");
    CHECK_ERR(reading_run(&r, NULL, 0), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS(said(), "rules.a.clock.depth: \"70\" is outside 0..9");
    CHECK_CONTAINS(said(), "rules.b.clock.depth: \"seven\" is not a whole number");
    CHECK_CONTAINS(said(), "rules.c.wen: unknown setting");
    CHECK_CONTAINS(said(), "rules.a.mode: depth is 70\n");
    CHECK(strstr(said(), "again") == NULL);
    CHECK(strstr(said(), "rules.b.mode") == NULL && strstr(said(), "rules.c.mode") == NULL);
    CHECK(into.rules.count == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(sections_are_in_the_order_of_the_file_with_their_defaults),
        TEST(dotted_and_nested_names_are_the_same_section),
        TEST(sections_of_the_preset_are_there_until_the_file_names_the_map),
        TEST(the_command_line_changes_a_section_or_adds_one_at_the_end),
        TEST(every_mistake_in_a_section_has_its_place_and_its_full_name),
        TEST(a_section_or_a_setting_given_twice_is_refused),
        TEST(the_number_of_sections_is_bounded),
        TEST(a_bad_set_is_named),
        TEST(a_sentence_of_the_program_is_put_where_the_section_stands),
        TEST(the_dump_is_a_configuration_of_the_same_settings),
        TEST(one_line_of_yaml_holds_the_map),
        TEST(help_and_sample_show_what_is_in_a_section),
        TEST(a_reload_changes_live_settings_of_the_same_sections),
        TEST(a_reload_takes_other_sections_only_when_the_row_is_live),
        TEST(a_live_row_makes_every_setting_in_it_live),
        TEST(each_setting_in_force_is_told_by_its_full_name),
        TEST(the_flags_reach_into_sections),
        TEST(a_check_that_can_is_asked_beside_other_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
