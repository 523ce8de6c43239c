/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a scenario is the same fleet for the same seed, shares hold, identities are those of weir-pki; what cannot be
 * is refused with a sentence that says what to do; the samples are good.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "simulators/scenario/scenario.h"
#include "tests/support/check.h"

static const char *samples;
static struct scenario s;
static struct buffer problems;

static enum err load_file(const char *path, const char *const *sets)
{
    size_t count = 0;
    while (sets[count] != NULL) {
        count++;
    }
    buffer_reset(&problems);
    options_free(&scenario_program, &s);
    enum err err = options_load(&scenario_program, path, sets, count, &s, &problems);
    buffer_put_u8(&problems, 0);
    return err;
}
#define LOAD(...) load_file(NULL, (const char *const[]){"broker.insecure=true", __VA_ARGS__ __VA_OPT__(, ) NULL})
#define LOAD_TLS(...) load_file(NULL, (const char *const[]){__VA_ARGS__, NULL})

static const char *said(void)
{
    return (const char *)problems.ptr;
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
    options_free(&scenario_program, &s);
    buffer_deinit(&problems);
    return 0;
}

static void a_few_flags_are_a_scenario(void **state)
{
    (void)state;
    CHECK_OK(LOAD("devices=1900", "for=60", "ramp=0.5min"));
    CHECK_INT(s.devices, 1900);
    CHECK_INT(s.for_us, 60 * SECOND_US);
    CHECK_INT(s.ramp_us, 30 * SECOND_US);
    CHECK_INT(s.classes.count, 1);
    CHECK_STR(s.classes.names[0], "plain");
    CHECK_INT(scenario_class(&s, 0)->period_us, SECOND_US);
    CHECK_INT(scenario_connections(&s), 1900);
    CHECK_OK(LOAD("classes.plain.period=100ms", "classes.fast.share=2"));
    CHECK_INT(s.classes.count, 2);
    CHECK_INT(scenario_class(&s, 0)->period_us, 100000);
}

static void every_sample_is_good(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"steady.yaml", "storms.yaml", "bad_actors.yaml"};
    static const unsigned CLASSES[] = {3, 1, 1}, CONNECTIONS[] = {2000, 1000, 522};
    for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
        char path[600];
        struct scenario_rates rates;
        (void)snprintf(path, sizeof(path), "%s/%s", samples, NAMES[i]);
        enum err err = load_file(path, (const char *const[]){"broker.insecure=true", NULL});
        if (err != OK) {
            fprintf(stderr, "%s", said());
        }
        CHECK_OK(err);
        CHECK_INT(s.classes.count, CLASSES[i]);
        CHECK_INT(scenario_connections(&s), CONNECTIONS[i]);
        scenario_rates(&s, &rates);
        CHECK(rates.records > 50 && rates.records < 5000); /* a laptop runs it */
    }
}

static void check_shares(const char *seed)
{
    CHECK_OK(LOAD(seed, "devices=19000", "ramp=20s", "classes.a.share=70", "classes.b.share=25", "classes.c.share=5",
                  "classes.plain.share=0", "offline.share=0.1", "clock.share=0.25", "clock.skew=1h"));
    const double want[] = {0, 0.70, 0.25, 0.05}; /* plain is first, as it is there by default */
    for (unsigned from = 0; from < 19000; from += 1000) {
        unsigned counts[4] = {0}, offline = 0, skewed = 0, both = 0;
        for (unsigned d = from; d < from + 1000; d++) {
            bool spells = scenario_goes_offline(&s, d), wrong = scenario_skew_us(&s, d) != 0;
            counts[scenario_class_of(&s, d)]++;
            offline += spells;
            skewed += wrong;
            both += spells && wrong;
        }
        for (unsigned i = 0; i < 4; i++) {
            CHECK(fabs(counts[i] - 1000 * want[i]) <= 4);
        }
        CHECK(fabs(offline - 100.0) <= 4);
        CHECK(fabs(skewed - 250.0) <= 4);
        CHECK(fabs(both - 25.0) <= 8); /* one does not decide the other */
    }
    CHECK_INT(scenario_class_devices(&s, 0), 0);
    CHECK_INT(scenario_class_devices(&s, 1) + scenario_class_devices(&s, 2) + scenario_class_devices(&s, 3), 19000);
}

static void shares_hold_in_every_stretch_of_the_fleet(void **state)
{
    (void)state;
    check_shares("seed=1");
    check_shares("seed=2");
    check_shares("seed=3");
    check_shares("seed=4");
}

static void the_same_seed_is_the_same_fleet(void **state)
{
    (void)state;
    unsigned classes[100], same = 0;
    int64_t skews[100];
    CHECK_OK(LOAD("classes.a.share=1", "classes.plain.share=1", "clock.share=1", "seed=7"));
    uint64_t chance = scenario_chance_seed(&s, 5, 2);
    for (unsigned d = 0; d < 100; d++) {
        classes[d] = scenario_class_of(&s, d);
        skews[d] = scenario_skew_us(&s, d);
        CHECK(skews[d] != 0 && skews[d] >= -HOUR_US && skews[d] <= HOUR_US);
    }
    CHECK_OK(LOAD("classes.a.share=1", "classes.plain.share=1", "clock.share=1", "seed=7"));
    for (unsigned d = 0; d < 100; d++) {
        CHECK_INT(scenario_class_of(&s, d), classes[d]);
        CHECK_INT(scenario_skew_us(&s, d), skews[d]);
    }
    CHECK(scenario_chance_seed(&s, 5, 2) == chance);
    CHECK(scenario_chance_seed(&s, 5, 3) != chance && scenario_chance_seed(&s, 6, 2) != chance);
    CHECK_OK(LOAD("clock.share=1", "seed=8"));
    CHECK(scenario_chance_seed(&s, 5, 2) != chance);
    for (unsigned d = 0; d < 100; d++) {
        same += scenario_skew_us(&s, d) == skews[d];
    }
    CHECK_INT(same, 0);
}

static void first_connects_are_spread_over_the_ramp(void **state)
{
    (void)state;
    CHECK_OK(LOAD("devices=1000", "ramp=10s"));
    CHECK_INT(scenario_connect_us(&s, 0), 0);
    CHECK_INT(scenario_connect_us(&s, 500), 5 * SECOND_US);
    CHECK_INT(scenario_connect_us(&s, 999), 9990 * MS_US);
    CHECK_OK(LOAD("devices=10", "ramp=0s"));
    CHECK_INT(scenario_connect_us(&s, 9), 0);
}

static void bad_actors_follow_the_devices_and_no_two_have_one_victim(void **state)
{
    (void)state;
    char id[ID_MAX + 1];
    bool taken[20] = {false};
    CHECK_OK(LOAD("devices=20", "bad.garbage=2", "bad.flood=1", "bad.thieves=9", "bad.twins=11", "prefix=x"));
    CHECK_INT(scenario_connections(&s), 43);
    CHECK_INT(scenario_actor(&s, 0), SCENARIO_DEVICE);
    CHECK_INT(scenario_actor(&s, 19), SCENARIO_DEVICE);
    CHECK_INT(scenario_actor(&s, 20), SCENARIO_GARBAGE);
    CHECK_INT(scenario_actor(&s, 22), SCENARIO_FLOOD);
    CHECK_INT(scenario_actor(&s, 23), SCENARIO_THIEF);
    CHECK_INT(scenario_actor(&s, 32), SCENARIO_TWIN);
    CHECK_INT(scenario_actor(&s, 42), SCENARIO_TWIN);
    for (unsigned c = 23; c < 43; c++) {
        unsigned victim = scenario_victim(&s, c);
        CHECK(victim < 20 && !taken[victim]);
        taken[victim] = true;
    }
    scenario_identity(&s, 0, id);
    CHECK_STR(id, "x-1");
    scenario_identity(&s, 21, id);
    CHECK_STR(id, "x-garbage-2");
    scenario_identity(&s, 23, id);
    CHECK_STR(id, "x-thief-1");
    char want[ID_MAX + 1];
    scenario_identity(&s, scenario_victim(&s, 40), want);
    scenario_identity(&s, 40, id);
    CHECK_STR(id, want);
}

static void rates_are_what_the_classes_offer(void **state)
{
    (void)state;
    struct scenario_rates rates;
    CHECK_OK(LOAD("devices=100", "ramp=10s", "classes.plain.period=100ms", "classes.plain.samples=10",
                  "classes.plain.alarm_every=50s", "classes.plain.health=10s", "churn.rate=2", "bad.garbage=3",
                  "bad.rate=2", "bad.flood=2", "bad.flood_rate=100"));
    scenario_rates(&s, &rates);
    CHECK(fabs(rates.samples - 1000) < 1e-6 && fabs(rates.records - 100) < 1e-6 && fabs(rates.alarms - 2) < 1e-6);
    CHECK(fabs(rates.health - 10) < 1e-6 && fabs(rates.connects - 10) < 1e-6 && fabs(rates.bad - 206) < 1e-6);
    CHECK_OK(LOAD("devices=100", "classes.plain.period=1s", "classes.plain.samples=100", "classes.plain.max_age=3s"));
    scenario_rates(&s, &rates);
    CHECK(fabs(rates.records - 25) < 1e-6); /* closed by age: four samples */
}

static void what_cannot_be_is_refused_with_a_way_out(void **state)
{
    (void)state;
    CHECK_ERR(LOAD("devices=15000", "ramp=30s", "classes.plain.period=1ms", "classes.plain.samples=1"), ERR_RANGE);
    CHECK_CONTAINS(said(),
                   "devices: the scenario offers 15000000 messages per second (15000000 records, 0 of bad actors), "
                   "and no single broker takes more than 400000; fewer devices,");
    CHECK_CONTAINS(said(), "devices: 15000000 samples per second are more than one process can take");
    CHECK_ERR(LOAD("devices=10000", "ramp=10ms"), ERR_RANGE);
    CHECK_CONTAINS(said(),
                   "ramp: 10000 devices need at least 1s: a broker takes no more than 20000 connects per second");
    CHECK_ERR(LOAD("classes.plain.share=0", "classes.b.share=0"), ERR_RANGE);
    CHECK_CONTAINS(said(), "classes: the shares add up to 0, so that no device belongs to any class");
    CHECK_ERR(LOAD("devices=10", "classes.rare.share=0.001"), ERR_RANGE);
    CHECK_CONTAINS(said(), "classes.rare.share: 0.001 of 1.001 is less than one of 10 devices");
    CHECK_ERR(LOAD("classes.plain.samples=1024", "classes.plain.channels=64"), ERR_RANGE);
    CHECK_CONTAINS(said(), "classes.plain.samples: 1024 samples of 64 channels may not fit into one record");
    CHECK_ERR(LOAD("devices=10", "churn.rate=5", "churn.down=2s"), ERR_RANGE);
    CHECK_CONTAINS(said(), "churn.rate: 5 crashes per second of 2s each would keep 10 devices down, and there are 10");
    CHECK_ERR(LOAD("storm.every=10ms", "storm.share=0", "offline.share=0.5", "offline.every=5s", "offline.for=5s",
                   "clock.share=1", "clock.skew=0s", "devices=3", "bad.thieves=2", "bad.twins=2",
                   "prefix=0123456789012345678901234567890123456789012345678"),
              ERR_RANGE);
    CHECK_CONTAINS(said(), "storm.every: less than 1s between storms");
    CHECK_CONTAINS(said(), "storm.share: 0 of the links cut is no storm");
    CHECK_CONTAINS(said(), "offline.for: spells of 5s that begin every 5s would never end");
    CHECK_CONTAINS(said(), "clock.skew: 0s is not wrong");
    CHECK_CONTAINS(said(), "bad.thieves: 2 thieves and 2 twins need a device each, and there are 3");
    CHECK_CONTAINS(said(), "prefix: at most 48 characters");
    CHECK_ERR(LOAD("html=/no/such/folder/r.html", "gateway_socket=/no/such/socket"), ERR_RANGE);
    CHECK_CONTAINS(said(), "html: nothing can be written into /no/such/folder/: No such file or directory");
    CHECK_CONTAINS(said(), "gateway_socket: /no/such/socket: No such file or directory");
}

static void only_this_machine_is_loaded_unless_said_otherwise(void **state)
{
    (void)state;
    static const char *const OURS[] = {"broker.host=localhost", "broker.host=127.0.0.1", "broker.host=127.9.9.9",
                                       "broker.host=::1"},
                             *const OTHERS[] = {"broker.host=plant.example",
                                                "broker.host=10.0.0.1",
                                                "broker.host=127.0.0.1.evil.example",
                                                "broker.host=::2",
                                                "broker.host=0.0.0.0",
                                                "broker.host=128.0.0.1"};
    for (size_t i = 0; i < COUNT_OF(OURS); i++) {
        CHECK_OK(LOAD(OURS[i]));
    }
    for (size_t i = 0; i < COUNT_OF(OTHERS); i++) {
        CHECK_ERR(LOAD(OTHERS[i]), ERR_RANGE);
        CHECK_CONTAINS(said(), "is not this machine; to load a broker elsewhere say allow_remote, and ask its owner");
        CHECK_OK(LOAD(OTHERS[i], "allow_remote=true"));
    }
}

static void touch(const char *folder, const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fclose(f);
}

static void every_connection_needs_its_certificate(void **state)
{
    (void)state;
    char folder[] = "/tmp/weir-scenario-XXXXXX", ca[100], certificates[100], command[100];
    CHECK_ERR(LOAD_TLS("devices=2"), ERR_RANGE);
    CHECK_CONTAINS(said(), "broker.ca: must be named, so that the broker can be verified");
    CHECK_CONTAINS(said(), "broker.certificates: must be named");
    CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(ca, sizeof(ca), "broker.ca=%s/ca.crt", folder);
    (void)snprintf(certificates, sizeof(certificates), "broker.certificates=%s", folder);
    touch(folder, "ca.crt");
    touch(folder, "fleet-1.crt");
    touch(folder, "fleet-1.key");
    touch(folder, "fleet-2.crt");
    CHECK_ERR(LOAD_TLS("devices=3", "bad.twins=1", ca, certificates), ERR_RANGE);
    CHECK_CONTAINS(said(), "broker.certificates: fleet-2.crt or fleet-2.key cannot be read in ");
    CHECK_CONTAINS(said(), "; weir-pki batch FOLDER fleet 1 3 makes the devices'");
    CHECK_OK(LOAD_TLS("devices=1", "bad.twins=1", ca, certificates));
    char cert[100], key[100], want[100];
    CHECK_OK(scenario_certificate(&s, "fleet-1", sizeof(cert), cert, key));
    (void)snprintf(want, sizeof(want), "%s/fleet-1.key", folder);
    CHECK_STR(key, want);
    CHECK_ERR(scenario_certificate(&s, "fleet-1", 10, cert, key), ERR_FULL);
    CHECK_ERR(LOAD_TLS("devices=1", "bad.garbage=1", ca, certificates), ERR_RANGE);
    CHECK_CONTAINS(said(), "fleet-garbage-1.crt");
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_INT(system(command), 0);
}

static void too_few_descriptors_are_told_with_what_to_raise(void **state)
{
    (void)state;
    struct fault why = {.code = OK};
    struct rlimit before, limit;
    CHECK_OK(LOAD("devices=5000"));
    CHECK_OK(scenario_check(&s, 6000, &problems));
    buffer_reset(&problems);
    CHECK_ERR(scenario_check(&s, 5000, &problems), ERR_RANGE);
    buffer_put_u8(&problems, 0);
    CHECK_CONTAINS(said(),
                   "devices: 5000 connections need 5064 open files, and this process may have 5000: raise the hard "
                   "limit (ulimit -Hn, LimitNOFILE= of the unit, nofile in limits.conf)");
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK(before.rlim_max >= 5064);
    limit = (struct rlimit){.rlim_cur = 256, .rlim_max = before.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_OK(scenario_raise_descriptors(&s, &why));
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_INT(limit.rlim_cur, 5064);
    limit = (struct rlimit){.rlim_cur = 256, .rlim_max = 4000}; /* cannot be taken back: the last test */
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_ERR(scenario_raise_descriptors(&s, &why), ERR_DENIED);
    CHECK_CONTAINS(why.text, "5000 connections need 5064 open files, and this process may have 4000: raise");
    CHECK_ERR(LOAD("devices=5000"), ERR_RANGE);
    CHECK_CONTAINS(said(), "this process may have 4000");
}

int main(int argc, char **argv)
{
    samples = argc > 1 ? argv[1] : "simulators/scenario/samples";
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_few_flags_are_a_scenario),
        TEST(every_sample_is_good),
        TEST(shares_hold_in_every_stretch_of_the_fleet),
        TEST(the_same_seed_is_the_same_fleet),
        TEST(first_connects_are_spread_over_the_ramp),
        TEST(bad_actors_follow_the_devices_and_no_two_have_one_victim),
        TEST(rates_are_what_the_classes_offer),
        TEST(what_cannot_be_is_refused_with_a_way_out),
        TEST(only_this_machine_is_loaded_unless_said_otherwise),
        TEST(every_connection_needs_its_certificate),
        TEST(too_few_descriptors_are_told_with_what_to_raise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
