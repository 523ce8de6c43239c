/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest - the gateway's receiving end: what devices and child gateways publish becomes durable Forwards.
 *
 *   plant's broker -> bus -> ingest: quota and account (fleet) -> proto/receive -> core/inbox -> spool -> uplink
 *
 * Sets the handlers of the plant's bus. Who claims another's name, sends what does not decode, or more than its
 * quota, is refused, counted for the sender and logged with its name; nobody else notices. Nothing that a sender
 * can do is fatal.
 */
#ifndef GATEWAY_INGEST_INGEST_H
#define GATEWAY_INGEST_INGEST_H

#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "gateway/fleet/fleet.h"
#include "proto/path/path.h"
#include "proto/receive/receive.h"

struct ingest;

struct ingest_options {
    const char *site, *gateway; /* identities; copied */
    struct inbox_options inbox;
};
struct ingest_handlers {
    void (*on_durable)(void *arg); /* the uplink may go on */
    /* A live message on <...>/<peer>/ask, if the owner has subscribed to it; borrowed until return. May be NULL. */
    void (*on_ask)(void *arg, const char *peer, struct slice payload);
    void *arg;
};

/* All borrowed for the life of the ingest. The spools' epochs must exist. */
enum err ingest_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                    struct fleet *fleet, const struct ingest_options *options, const struct ingest_handlers *handlers,
                    struct ingest **ret_ingest, struct fault *reterr) MUST_CHECK;
void ingest_free(struct ingest *ingest);
DEFINE_CLEANUP(struct ingest, ingest_free)
/* While held, every message is dropped (senders repeat): for the moment in which the spool is renumbered. */
void ingest_hold(struct ingest *ingest, bool held);
/* The gateway's own path, told to gateways below: receive_set_path. */
void ingest_set_path(struct ingest *ingest, const struct path *path);
struct inbox *ingest_inbox(struct ingest *ingest);
/* As receive_has_gateway. */
bool ingest_has_gateway(const struct ingest *ingest, const char *peer);
void ingest_stats(const struct ingest *ingest, struct receive_stats *ret_stats);

#endif
