/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status - what /status of a program with a store has in common with the others'.
 */
#ifndef CORE_DAEMON_STATUS_H
#define CORE_DAEMON_STATUS_H

#include "core/base/base.h"
#include "core/base/json.h"
#include "core/store/store.h"

/* The store as an operator must see it. */
struct status_store {
    struct store_usage usage;
    const char *failure; /* borrowed: why the program cannot go on, "" = it can */
    bool nearly_full, failing, broken;
};
void status_store_look(const struct store *store, const char *failure, struct status_store *ret_status);
/* Nothing of it is a reason to be degraded. */
bool status_store_fine(const struct status_store *s);
/* The reasons, a sentence each, into the array "why" that j is in. */
void status_store_why_json(const struct status_store *s, struct json *j);
/* The members of "store", into the object that j is in. */
void status_store_json(const struct status_store *s, struct json *j);

/* Members of "counters", into the object that j is in. */
struct status_counter {
    const char *name;
    uint64_t value;
};
void status_counters_json(const struct status_counter *counters, size_t count, struct json *j);

#endif
