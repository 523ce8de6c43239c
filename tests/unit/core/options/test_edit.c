/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: setting a value in a configuration changes that value and no other byte, however the file is written; where it
 * cannot, it says so. */
#include "core/options/edit.h"

#include "tests/support/check.h"

static char result[1000];
static struct fault fault;

static const char *edited(const char *text, const char *value)
{
    BUFFER(out, sizeof(result) - 1);
    fault = (struct fault){.code = OK};
    enum err err = options_edit(slice_str(text), "temperature", value, &out, &fault);
    if (err != OK) {
        snprintf(result, sizeof(result), "%s: %s", err_name(err), fault.text);
        return result;
    }
    memcpy(result, out.ptr, out.len);
    result[out.len] = '\0';
    return result;
}

static void a_value_is_replaced_and_nothing_else(void **state)
{
    (void)state;
    CHECK_STR(edited("# head\nmodel: a\ntemperature:   1.0   # warm\nunsure_below: 0\n", "1.25"),
              "# head\nmodel: a\ntemperature:   1.25   # warm\nunsure_below: 0\n");
    CHECK_STR(edited("model: a\ntemperature: \"1\"", "2"), "model: a\ntemperature: 2");
    CHECK_STR(edited("{model: a, temperature: 1, x: 2}", "0.5"), "{model: a, temperature: 0.5, x: 2}");
    CHECK_STR(edited("temperature: 1\r\nmodel: a\r\n", "3"), "temperature: 3\r\nmodel: a\r\n");
    CHECK_STR(edited("model: a\ntemperature:\nx: 1\n", "3"), "model: a\ntemperature: 3\nx: 1\n");
}

static void characters_of_several_bytes_before_it_do_no_harm(void **state)
{
    (void)state;
    CHECK_STR(edited("# Wälzlager \xe2\x86\x92 \xf0\x9f\x94\xa7\nmodel: \"ä\"\ntemperature: 1 # ü\n", "7"),
              "# Wälzlager \xe2\x86\x92 \xf0\x9f\x94\xa7\nmodel: \"ä\"\ntemperature: 7 # ü\n");
    CHECK_STR(edited("\xef\xbb\xbf"
                     "model: ä\ntemperature: 1\n",
                     "7"),
              "\xef\xbb\xbf"
              "model: ä\ntemperature: 7\n");
}

static void only_the_top_level_counts(void **state)
{
    (void)state;
    CHECK_STR(
        edited("features:\n  temperature: {kind: mean}\nlist: [temperature, 1]\nmodel: temperature\ntemperature: 1\n",
               "9"),
        "features:\n  temperature: {kind: mean}\nlist: [temperature, 1]\nmodel: temperature\ntemperature: 9\n");
}

static void a_missing_key_gets_a_line_of_its_own(void **state)
{
    (void)state;
    CHECK_STR(edited("model: a  # the name\nclasses:\n  - x\n  - y\n", "2"),
              "model: a  # the name\ntemperature: 2\nclasses:\n  - x\n  - y\n");
    CHECK_STR(edited("  model: a\n  rate: 5", "2"), "  model: a\n  rate: 5\n  temperature: 2");
    CHECK_STR(edited("---\nmodel: a\n...\n", "2"), "---\nmodel: a\ntemperature: 2\n...\n");
    CHECK_STR(edited("{model: a}", "2"), "{temperature: 2, model: a}");
    CHECK_STR(edited("{ model: a,\n  classes: [x] }\n", "2"), "{ temperature: 2, model: a,\n  classes: [x] }\n");
}

static void what_cannot_be_replaced_is_told(void **state)
{
    (void)state;
    CHECK_CONTAINS(edited("model: &t 1\ntemperature: *t\n", "2"), "unsupported: line 2: temperature: its value cannot");
    CHECK_CONTAINS(edited("model: a\ntemperature: &t 1\n", "2"), "unsupported: line 2");
    CHECK_CONTAINS(edited("model: a\ntemperature: |\n  1\n", "2"), "unsupported: line 2");
    CHECK_CONTAINS(edited("model: a\ntemperature: [1]\n", "2"), "unsupported: line 2");
    CHECK_CONTAINS(edited("temperature: 1\nmodel: a\ntemperature: 2\n", "2"), "twice");
    CHECK_CONTAINS(edited("model: [\n", "2"), "malformed: line");
    CHECK_CONTAINS(edited("", "2"), "malformed");
    CHECK_CONTAINS(edited("- a\n- b\n", "2"), "malformed");
    CHECK_CONTAINS(edited("word", "2"), "malformed");
    CHECK_CONTAINS(edited("? [a]\n: b\n", "2"), "malformed");
    CHECK_CONTAINS(edited("\xff\xfem", "2"), "UTF-16");
    CHECK_CONTAINS(edited("a: \"\xff\"\n", "2"), "malformed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_replaced_and_nothing_else),
        cmocka_unit_test(characters_of_several_bytes_before_it_do_no_harm),
        cmocka_unit_test(only_the_top_level_counts),
        cmocka_unit_test(a_missing_key_gets_a_line_of_its_own),
        cmocka_unit_test(what_cannot_be_replaced_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
