/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the model's answers at its limits are what one would say without it, and its constants and shares are those of
 * the programs: the real agent, the real spool in a real store.
 */
#include "simulators/size/model.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/base.h"
#include "simulators/size/lines.h"
#include "simulators/size/measure.h"
#include "simulators/size/settings.h"
#include "tests/support/check.h"

#define CHECK_NEAR(expr, expected, share)                                                                              \
    do {                                                                                                               \
        double near_is_ = (expr), near_want_ = (expected);                                                             \
        if (!(fabs(near_is_ - near_want_) <= (share)*fabs(near_want_))) {                                              \
            fprintf(stderr, "%s:%d: %s is %g, expected %g\n", __FILE__, __LINE__, #expr, near_is_, near_want_);        \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)

struct plant {
    struct size_settings settings;
    struct size_input in;
    struct size_constants constants;
    struct size_answer answer;
    struct lines lines;
};

/* The presets of the command line, with changes NAME=VALUE, ... NULL. */
static struct plant plant_with(const char *first, ...)
{
    struct plant p = {.answer = {0}};
    const char *sets[16];
    size_t count = 0;
    va_list more;
    va_start(more, first);
    for (const char *set = first; set != NULL; set = va_arg(more, const char *)) {
        sets[count++] = set;
    }
    va_end(more);
    BUFFER(problems, 8192);
    if (options_load(&size_program, NULL, sets, count, &p.settings, &problems) != OK) {
        fail_msg("%.*s", (int)problems.len, (const char *)problems.ptr);
    }
    size_presets(&p.settings, &p.constants);
    size_input_of(&p.settings, &p.in);
    return p;
}

static void compute(struct plant *p)
{
    size_compute(&p->in, &p->constants, &p->answer);
    lines_fill(&p->in, &p->constants, &p->answer, &p->lines);
}

static void plant_free(struct plant *p)
{
    options_free(&size_program, &p->settings);
}

static bool says(const struct plant *p, const char *part)
{
    for (size_t i = 0; i < p->lines.sentences; i++) {
        if (strstr(p->lines.sentence[i], part) != NULL) {
            return true;
        }
    }
    return false;
}

static double line_of(const struct plant *p, const char *section, const char *key)
{
    for (size_t i = 0; i < p->lines.count; i++) {
        if (strcmp(p->lines.line[i].section, section) == 0 && strcmp(p->lines.line[i].key, key) == 0) {
            return p->lines.line[i].value;
        }
    }
    fail_msg("no line %s.%s", section, key);
    return 0;
}

static void no_outage_loses_nothing_and_leaves_nothing_to_drain(void **state)
{
    (void)state;
    struct plant p = plant_with("outage=0s", NULL);
    compute(&p);
    CHECK(p.answer.plant.lost == 0 && p.answer.plant.held == 0 && p.answer.plant.drain.lasts_s == 0);
    CHECK(p.answer.uplink_out.lost == 0 && p.answer.uplink_out.drain.lasts_s == 0);
    CHECK(says(&p, "Without an outage of the uplink nothing is held back and nothing is lost"));
    plant_free(&p);
}

static void an_endless_outage_loses_all_but_what_fits_and_drains_what_fits(void **state)
{
    (void)state;
    struct plant p = plant_with(NULL, NULL);
    p.in.outage_s = INFINITY;
    compute(&p);
    const struct size_outage *o = &p.answer.plant;
    CHECK(isinf(o->lost));
    CHECK(o->held <= p.answer.device_bulk.records && o->held > 0.95 * p.answer.device_bulk.records);
    CHECK(isfinite(o->drain.lasts_s) && o->drain.lasts_s > 0);
    CHECK(says(&p, "An endless outage of the devices' links loses everything beyond what fits"));
    plant_free(&p);
}

static void a_link_slower_than_the_live_rate_never_drains_and_is_told_so(void **state)
{
    (void)state;
    struct plant p = plant_with("device.link=8B", "uplink.link=1KiB", "gateways=1", NULL);
    compute(&p);
    CHECK(p.answer.plant.drain.multiple < 1 && isinf(p.answer.plant.drain.lasts_s));
    CHECK(says(&p, "it never drains"));
    CHECK(says(&p, "A device's link is too slow"));
    CHECK(says(&p, "The uplink is too slow"));
    BUFFER(json, 1 << 20);
    lines_json(&p.lines, &p.constants, &p.answer, (struct slice){0}, &json);
    buffer_put_u8(&json, 0);
    CHECK_CONTAINS((const char *)json.ptr, "\"drain_s\":null");
    plant_free(&p);
}

static void what_is_lost_and_what_is_held_make_up_the_outage(void **state)
{
    (void)state;
    struct plant p = plant_with("device.store=1MiB", "gateway.store=4MiB", "devices=50", "outage=30d", NULL);
    compute(&p);
    double made = 30 * 86400 * p.answer.records_per_s;
    CHECK(p.answer.plant.lost > 0 && p.answer.uplink_out.lost > 0);
    CHECK_NEAR(p.answer.plant.lost + p.answer.plant.held, made, 1e-9);
    CHECK_NEAR(p.answer.uplink_out.lost + p.answer.uplink_out.held, 50 * made, 1e-9);
    CHECK(p.answer.plant.held <= p.answer.device_bulk.records);
    CHECK_NEAR(p.answer.uplink_out.buffer_s, p.answer.gateway_bulk.lasts_s + p.answer.device_bulk.lasts_s, 1e-12);
    plant_free(&p);
}

static void a_loss_just_beyond_the_buffer_is_one_piece_of_the_lane(void **state)
{
    (void)state;
    struct plant p = plant_with("device.store=1MiB", NULL);
    compute(&p);
    p.in.outage_s = p.answer.device_bulk.lasts_s + 2 * p.answer.record_s;
    compute(&p);
    CHECK_NEAR(p.answer.plant.lost, p.answer.device_bulk.by_bytes / SIZE_PIECE, 0.001);
    plant_free(&p);
}

static void the_store_that_a_wanted_buffer_needs_has_that_buffer(void **state)
{
    (void)state;
    static const char *const samples[] = {"report.samples=4", "report.samples=300", "report.samples=1000"};
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        struct plant p =
            plant_with(samples[i], "report.max_age=1h", "sense.driver=pattern", "buffer=7d", "devices=20", NULL);
        compute(&p);
        double device = p.answer.wanted_device_store, gateway = p.answer.wanted_gateway_store;
        p.in.device_store = device;
        p.in.gateway_store = gateway;
        compute(&p);
        CHECK(p.answer.device_bulk.lasts_s >= 7 * 86400 && p.answer.device_bulk.lasts_s < 7.1 * 86400);
        CHECK(p.answer.gateway_bulk.lasts_s >= 7 * 86400 && p.answer.gateway_bulk.lasts_s < 7.1 * 86400);
        plant_free(&p);
    }
}

static void the_link_that_a_wanted_drain_needs_drains_in_that_time(void **state)
{
    (void)state;
    struct plant p = plant_with("drain=1h", "outage=1d", NULL);
    compute(&p);
    p.in.device_rate = p.answer.wanted_device_rate;
    p.in.uplink_rate = p.answer.wanted_uplink_rate;
    p.in.gateways = p.answer.gateways;
    compute(&p);
    CHECK_NEAR(p.answer.plant.drain.lasts_s, 3600, 0.01);
    CHECK_NEAR(p.answer.uplink_out.drain.lasts_s, 3600, 0.01);
    p.in.wanted_drain_s = 1e-3; /* no window is that wide */
    compute(&p);
    CHECK(isinf(p.answer.wanted_uplink_rate));
    CHECK(says(&p, "no uplink is fast enough"));
    plant_free(&p);
}

static void each_bound_can_be_the_nearest(void **state)
{
    (void)state;
    static const struct {
        enum size_bound bound;
        const char *set[3];
    } cases[] = {
        {SIZE_BY_GATEWAY, {"report.period=10ms", "report.samples=1", "uplink.link=0B"}},
        {SIZE_BY_CONNECTIONS, {"report.period=10s", "uplink.link=0B", NULL}},
        {SIZE_BY_FLEET, {"report.period=1h", "gateway.descriptors=1000000", "uplink.link=0B"}},
        {SIZE_BY_FLUSHES, {"report.period=100ms", "gateway.flush=10s", "uplink.link=0B"}},
        {SIZE_BY_UPLINK, {"uplink.link=64KiB", NULL, NULL}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct plant p = plant_with("devices=1000000", cases[i].set[0], cases[i].set[1], cases[i].set[2], NULL);
        compute(&p);
        CHECK_INT(p.answer.bound, cases[i].bound);
        CHECK(p.answer.gateways * p.answer.devices_max[p.answer.bound] >= 1e6);
        CHECK((p.answer.gateways - 1) * p.answer.devices_max[p.answer.bound] < 1e6);
        plant_free(&p);
    }
    struct plant p = plant_with("devices=1000000", "uplink.link=0B", "report.period=10ms", "report.samples=1", NULL);
    p.constants.of[SIZE_BROKER_CPU].value = 1e-4;
    compute(&p);
    CHECK_INT(p.answer.bound, SIZE_BY_BROKER);
    plant_free(&p);
}

static void at_the_uplinks_bound_the_uplink_carries_headroom_times_the_traffic(void **state)
{
    (void)state;
    struct plant p = plant_with("devices=1000000", "uplink.link=64KiB", "headroom=3", NULL);
    compute(&p);
    CHECK_NEAR(p.answer.uplink.up, 64 * 1024 / 3.0, 0.01);
    plant_free(&p);
}

static void too_few_gateways_are_told(void **state)
{
    (void)state;
    struct plant p = plant_with("devices=100000", "gateways=2", NULL);
    compute(&p);
    CHECK(says(&p, "2 gateways are too few"));
    plant_free(&p);
}

static void entries_fill_pages_as_the_real_store_does(void **state)
{
    (void)state;
    /* Small, just below and above half a page, one page, over one page. */
    static const double bodies[] = {60, 700, 1400, 2040, 4090, 7900};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct plant p = plant_with("measure_path=/tmp", NULL);
        struct fault fault = {.text = ""};
        BUFFER(notes, 8192);
        if (measure_store(&p.settings, bodies[i], &p.constants, &notes, &fault) != OK) {
            fail_msg("%s", fault.text);
        }
        double fill = p.constants.of[SIZE_PAGE_FILL].value; /* in pages, real / model */
        if (fill < 0.97 || fill > 1.03) {
            fail_msg("bodies of %.0f bytes: pages are %.3f of the model's", bodies[i], fill);
        }
        CHECK_NEAR(p.constants.of[SIZE_COMMIT_PAGES].value, 4, 0.25);
        plant_free(&p);
    }
}

static void a_record_has_the_bytes_that_the_real_agent_gives_it(void **state)
{
    (void)state;
    static const char *const drivers[] = {"sense.driver=pump", "sense.driver=pattern"};
    static const char *const samples[] = {"report.samples=8", "report.samples=32", "report.samples=100"};
    static const char *const jitters[] = {"sense.jitter=0s", "sense.jitter=50ms"};
    for (size_t i = 0; i < COUNT_OF(drivers) * COUNT_OF(samples) * COUNT_OF(jitters); i++) {
        struct plant p = plant_with(drivers[i % 2], samples[i / 2 % 3], jitters[i / 6], "report.max_age=1h", NULL);
        struct fault fault = {.text = ""};
        BUFFER(notes, 8192);
        compute(&p);
        double model = p.answer.block_bytes;
        if (measure_records(&p.settings, &p.in, &notes, &fault) != OK) {
            fail_msg("%s", fault.text);
        }
        CHECK_NEAR(model, p.in.record_bytes, 0.12);
        plant_free(&p);
    }
}

static void values_stand_at_the_end_of_their_formulas_units(void **state)
{
    (void)state;
    CHECK_STR(line_value(LINE_SECONDS, INFINITY).t, "for ever");
    CHECK_STR(line_value(LINE_SECONDS, 0).t, "0 s");
    CHECK_STR(line_value(LINE_SECONDS, 604800).t, "7 d");
    CHECK_STR(line_value(LINE_SECONDS, 0.004).t, "4 ms");
    CHECK_STR(line_value(LINE_BYTES, 67108864).t, "64 MiB");
    CHECK_STR(line_value(LINE_COUNT, 1234567).t, "1,234,567");
    CHECK_STR(line_value(LINE_BYTES_PER_S, INFINITY).t, "no bound");
    struct plant p = plant_with("outage=1d", NULL);
    compute(&p);
    CHECK(p.lines.count > 40 && p.lines.count < LINES_MAX);
    CHECK_NEAR(line_of(&p, "device", "buffer_s"), p.answer.device_bulk.lasts_s, 1e-12);
    plant_free(&p);
}

static void impossible_settings_are_refused_with_the_name_and_the_range(void **state)
{
    (void)state;
    static const struct {
        const char *set[2], *part[2];
    } cases[] = {
        {{"devices=0", NULL}, {"devices", "1..1000000000"}},
        {{"report.period=1us", NULL}, {"report.period", "1ms..1d"}},
        {{"device.store=1KiB", NULL}, {"device.store", "1MiB..1TiB"}},
        {{"device.store=9999TiB", NULL}, {"device.store", "1MiB..1TiB"}},
        {{"headroom=0.5", NULL}, {"headroom", "1..1000"}},
        {{"gateways=5", "devices=2"}, {"gateways 5", "allowed 0..2"}},
        {{"report.bulk=90MiB", NULL}, {"report.bulk", "allowed are 0B.."}},
        {{"gateway.store=1MiB", "devices=19000"}, {"gateway.store", "19000 devices"}},
        {{"sense.channels=64", "sense.value_bytes=8"}, {"sense.channels 64", "131072 at most"}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct size_settings s = {0};
        const char *sets[] = {cases[i].set[0], cases[i].set[1] != NULL ? cases[i].set[1] : cases[i].set[0],
                              i == 8 ? "report.samples=1024" : cases[i].set[0],
                              i == 8 ? "report.max_age=1h" : cases[i].set[0]};
        BUFFER(problems, 16384);
        CHECK(options_load(&size_program, NULL, sets, COUNT_OF(sets), &s, &problems) != OK);
        buffer_put_u8(&problems, 0);
        CHECK_CONTAINS((const char *)problems.ptr, cases[i].part[0]);
        CHECK_CONTAINS((const char *)problems.ptr, cases[i].part[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_outage_loses_nothing_and_leaves_nothing_to_drain),
        cmocka_unit_test(an_endless_outage_loses_all_but_what_fits_and_drains_what_fits),
        cmocka_unit_test(a_link_slower_than_the_live_rate_never_drains_and_is_told_so),
        cmocka_unit_test(what_is_lost_and_what_is_held_make_up_the_outage),
        cmocka_unit_test(a_loss_just_beyond_the_buffer_is_one_piece_of_the_lane),
        cmocka_unit_test(the_store_that_a_wanted_buffer_needs_has_that_buffer),
        cmocka_unit_test(the_link_that_a_wanted_drain_needs_drains_in_that_time),
        cmocka_unit_test(each_bound_can_be_the_nearest),
        cmocka_unit_test(at_the_uplinks_bound_the_uplink_carries_headroom_times_the_traffic),
        cmocka_unit_test(too_few_gateways_are_told),
        cmocka_unit_test(entries_fill_pages_as_the_real_store_does),
        cmocka_unit_test(a_record_has_the_bytes_that_the_real_agent_gives_it),
        cmocka_unit_test(values_stand_at_the_end_of_their_formulas_units),
        cmocka_unit_test(impossible_settings_are_refused_with_the_name_and_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
