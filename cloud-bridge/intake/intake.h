/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake - the bridge's receiving end: what gateways publish (<...>/up) becomes durable, then acknowledged.
 *
 *   cloud's broker -> bus -> intake -> proto/receive -> core/inbox -> spool -> sinks
 *
 * Sets the bus's handlers. Forwards only: a device that publishes to a bridge without a gateway between them is
 * refused, counted and logged, since nothing here knows devices (quota, who is there); a gateway beside the bridge
 * costs little.
 */
#ifndef CLOUD_BRIDGE_INTAKE_INTAKE_H
#define CLOUD_BRIDGE_INTAKE_INTAKE_H

#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "proto/receive/receive.h"

struct intake;

struct intake_options {
    const char *site, *bridge; /* identities; copied */
    struct inbox_options inbox;
};
struct intake_handlers {
    void (*on_durable)(void *arg); /* the sinks may go on */
    void *arg;
};

/* All borrowed for the life of the intake. The spools' epochs must exist. */
enum err intake_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                    const struct intake_options *options, const struct intake_handlers *handlers,
                    struct intake **ret_intake, struct fault *reterr) MUST_CHECK;
void intake_free(struct intake *intake);
DEFINE_CLEANUP(struct intake, intake_free)
/* Drops every message from now on: gateways repeat. */
void intake_hold(struct intake *intake, bool held);
struct inbox *intake_inbox(struct intake *intake);
void intake_stats(const struct intake *intake, struct receive_stats *ret_stats);

#endif
