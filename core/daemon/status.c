/* SPDX-License-Identifier: Apache-2.0 */
#include "core/daemon/status.h"

enum { NEARLY_FULL_PCT = 90 };

void status_store_look(const struct store *store, const char *failure, struct status_store *ret_status)
{
    struct status_store s = {.failure = failure};
    store_usage(store, &s.usage);
    s.nearly_full = s.usage.used_bytes >= s.usage.cap_bytes / 100 * NEARLY_FULL_PCT;
    s.broken = store_broken(store) || failure[0] != '\0';
    s.failing = s.usage.failing != OK && !s.broken;
    *ret_status = s;
}

bool status_store_fine(const struct status_store *s)
{
    return !s->nearly_full && !s->broken && !s->failing;
}

void status_store_why_json(const struct status_store *s, struct json *j)
{
    if (s->nearly_full) {
        json_str(j, NULL, "the store is nearly full");
    }
    if (s->failing) {
        json_str(j, NULL,
                 s->usage.failing == ERR_FULL ? "the store does not take records: no room"
                                              : "the store does not take records: its commits fail");
    }
    if (s->broken) {
        json_str(j, NULL, s->failure[0] != '\0' ? s->failure : "the store is broken");
    }
}

void status_store_json(const struct status_store *s, struct json *j)
{
    json_u64(j, "used_bytes", s->usage.used_bytes);
    json_u64(j, "cap_bytes", s->usage.cap_bytes);
    json_u64(j, "size_bytes", s->usage.size_bytes);
    json_i64(j, "last_commit_us", s->usage.last_commit_us);
}

void status_counters_json(const struct status_counter *counters, size_t count, struct json *j)
{
    for (size_t i = 0; i < count; i++) {
        json_u64(j, counters[i].name, counters[i].value);
    }
}
