/* SPDX-License-Identifier: Apache-2.0 */
#include "core/inbox/inbox.h"

void inbox_counters_json(const struct inbox_stats *s, struct json *j)
{
    json_u64(j, "entries", s->entries);
    json_u64(j, "duplicates", s->duplicates);
    json_u64(j, "holes", s->holes);
    json_u64(j, "forgotten", s->forgotten);
    json_u64(j, "refused", s->refused);
    json_u64(j, "too_many_streams", s->too_many);
    json_u64(j, "stale", s->stale);
    json_u64(j, "need_hello", s->need_hello);
    json_u64(j, "closed", s->closed);
    json_u64(j, "full", s->full);
    json_u64(j, "commits", s->commits);
    json_u64(j, "failed_commits", s->failed_commits);
}
