/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a shadow counts every record once and changes nothing of what goes up; a report's counts are those of what is
 * durable.
 */
#include "tests/unit/gateway/filter/rig.h"

static const char rules[] = "rules:\n  still: {channels: \"*\", do: on-change}\n";
enum { RECORDS = 60 };

static uint64_t member(struct rig *r, const char *after, const char *name)
{
    static char text[256 * 1024], want[64];
    BUFFER(out, sizeof(text) - 1);
    filter_report_json(r->filter, "d-1", &out);
    memcpy(text, out.ptr, out.len);
    text[out.len] = '\0';
    snprintf(want, sizeof(want), "\"%s\":", name);
    const char *from = strstr(text, after);
    CHECK(from != NULL);
    from = strstr(from, want);
    CHECK(from != NULL);
    return strtoull(from + strlen(want), NULL, 10);
}

static uint64_t run_once(bool shadow, bool fails, uint64_t *ret_seen, uint64_t *ret_shadow_seen)
{
    struct rig r;
    struct rules *other = rig_rules("rules:\n  other: {channels: temp, do: range, min: 1000, max: 2000}\n");
    rig_init(&r, 0);
    r.options.batch_entries = 10;
    rig_start(&r, rules);
    if (shadow) {
        CHECK_OK(filter_set_shadow(r.filter, other));
    }
    filter_hold(r.filter, true);
    rig_load(&r, RECORDS);
    filter_hold(r.filter, false);
    for (unsigned i = 0; fails && i < 8; i++) { /* a failure, half a second, a batch, a failure ... */
        store_disk_set_mode(r.disk, STORE_DISK_EIO);
        rig_run(&r, 20 * MS_US);
        store_disk_set_mode(r.disk, STORE_DISK_OK);
        rig_run(&r, 501 * MS_US);
    }
    store_disk_set_mode(r.disk, STORE_DISK_OK);
    rig_drain(&r);
    struct filter_stats stats;
    filter_stats(r.filter, &stats);
    CHECK(!fails || stats.failed_commits > 2);
    *ret_seen = member(&r, "\"still\"", "seen");
    *ret_shadow_seen = shadow ? member(&r, "\"other\"", "seen") : 0;
    CHECK_INT(member(&r, "\"device\":\"d-1\"", "records"), RECORDS / 3);
    uint64_t outcome = rig_outcome(&r);
    CHECK_OK(filter_set_shadow(r.filter, NULL));
    rig_deinit(&r);
    rules_free(other);
    return outcome;
}

static void a_shadow_counts_every_record_once_and_changes_nothing(void **state)
{
    (void)state;
    uint64_t seen, shadow_seen, plain = run_once(false, false, &seen, &shadow_seen);
    CHECK_INT(seen, (RECORDS - 3) * 3 * RIG_ROWS);
    CHECK(run_once(true, false, &seen, &shadow_seen) == plain);
    CHECK_INT(seen, (RECORDS - 3) * 3 * RIG_ROWS);
    CHECK_INT(shadow_seen, (RECORDS - 3) * RIG_ROWS);
    CHECK(run_once(true, true, &seen, &shadow_seen) == plain);
    CHECK_INT(seen, (RECORDS - 3) * 3 * RIG_ROWS); /* failed commits count nothing twice */
    CHECK_INT(shadow_seen, (RECORDS - 3) * RIG_ROWS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shadow_counts_every_record_once_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
