/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GATEWAY_UPLINK_METER_INTERNAL_H
#define GATEWAY_UPLINK_METER_INTERNAL_H

#include "gateway/uplink/meter.h"

/* Why a lane does not send. */
enum meter_wait {
    METER_FREE,
    METER_CLOSED, /* no window */
    METER_BUDGET, /* until bytes come back */
    METER_LEASE,  /* until the state is durable */
};
struct meter_lane {
    uint64_t durable, acked, bytes;
};
struct meter_bus {
    struct bus_stats seen;
    uint64_t own_out; /* published, not yet written */
};
struct meter {
    struct loop *loop;
    struct store *store;
    struct meter_options options;
    struct meter_handlers handlers;
    struct budget budget;
    struct loop_timer timer;
    struct meter_lane lane[BUDGET_LANES];
    struct meter_bus bus[METER_BUSES];
    /* waiting */
    enum meter_wait wait[BUDGET_LANES];
    int64_t wait_until_us[BUDGET_LANES];
    uint64_t expired[BUDGET_LANES]; /* numbers declared in this start */
    /* windows */
    bool open, resting;
    bool in_window;        /* by the schedule */
    int64_t changes_in_s;  /* by the schedule; -1 = never */
    int64_t open_until_us; /* asked for */
    int64_t needed_us;     /* when the link was last needed */
    /* the state */
    bool dirty, stopping;
    int64_t saved_us;
    uint64_t save_serial; /* of the batch under way; 0 = none */
    uint64_t save_end;    /* the lease's end that it makes durable */
    uint64_t lease_wanted;
};

/* No window is open for it. */
static inline bool meter_closed_for(const struct meter *m, unsigned lane)
{
    return !m->open && (lane != 0 || m->options.rules.alarms_wait);
}

#endif
