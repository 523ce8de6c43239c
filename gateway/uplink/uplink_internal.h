/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uplink's parts: uplink.c (lanes: frames, trims, rolled back), links.c (parents: their buses, probes, paths,
 * and to which of them the lanes send).
 */
#ifndef GATEWAY_UPLINK_UPLINK_INTERNAL_H
#define GATEWAY_UPLINK_UPLINK_INTERNAL_H

#include "core/silence/silence.h"
#include "gateway/parents/parents.h"
#include "gateway/uplink/expire.h"
#include "gateway/uplink/meter.h"
#include "gateway/uplink/uplink.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"

struct lane {
    struct uplink *uplink;
    struct spool *spool;
    struct outbox *outbox;
    uint8_t number;
    bool rebasing;
    uint64_t keep_above, replaces;
    struct expire expire;
};
/* One parent. */
struct link {
    struct uplink *uplink;
    struct bus *bus; /* borrowed */
    unsigned number;
    char site[ID_MAX + 1], id[ID_MAX + 1];
    char up_topic[TOPIC_MAX + 1], ack_topic[TOPIC_MAX + 1], ask_topic[TOPIC_MAX + 1], answer_topic[TOPIC_MAX + 1];
    bool up;             /* what its bus last said */
    bool path_known;     /* since it came up: it has said its path, or that it says none */
    bool told_loop;
    uint32_t path_hash;  /* of the path that it said; 0 = it says nothing */
    struct path path;    /* its own */
    int64_t asked_us;    /* when it was last probed; 0 = never */
};
struct uplink {
    struct loop *loop;
    struct store *store;
    struct uplink_handlers handlers;
    struct lane lane[INBOX_LANES];
    char gateway[ID_MAX + 1], site[ID_MAX + 1], software[64];
    struct link links[PARENTS_MAX];
    struct parents parents;
    struct meter *meter; /* owned */
    uint32_t probe_boot; /* nobody's: what it sends is answered NEED_HELLO and taken by none */
    struct path path;    /* our own, as the owner was told */
    bool connected;      /* the outboxes were told so */
    struct buffer frame;
    struct slice bodies[WIRE_RECORDS_MAX];
    uint64_t spans[WIRE_RECORDS_MAX];
    struct loop_timer rebase_timer, look_timer;
    struct silence silence;
    uint64_t marks;      /* sum of the lanes' acknowledged numbers at the last look */
    uint64_t bad_acks, retained_ignored, rebased, switches;
};

/* ---- uplink.c ---- */
/* Something is not acknowledged that may be sent. */
bool uplink_owes(const struct uplink *u, unsigned lane);
void uplink_answered(struct uplink *u, const struct wire_ack *ack);

/* ---- links.c ---- */
enum err uplink_links_open(struct uplink *u, struct bus *bus, const struct uplink_options *options,
                           struct fault *reterr) MUST_CHECK;
/* The one in use. */
static inline struct link *uplink_link(struct uplink *u)
{
    return &u->links[u->parents.active];
}

#endif
