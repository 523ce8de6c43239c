/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_internal - what the parts of the edge share: edge.c the session, birth.c devices, metrics and births, data.c the
 * ring.
 */
#ifndef GATEWAY_EDGE_EDGE_INTERNAL_H
#define GATEWAY_EDGE_EDGE_INTERNAL_H

#include "gateway/edge/edge.h"

#include <uthash.h>

enum {
    MESSAGE_MAX = 1 << 20,       /* bytes; the largest packet of our brokers */
    DEVICE_TEXT_MAX = 512 << 10, /* bytes of a device's names and units: its birth fits a message */
    METRICS_PER_MESSAGE = 500,
    MESSAGES_PER_PUMP = 64,
};
#define NEVER INT64_MIN
enum { EDGE_QUEUE_BIRTHS, EDGE_QUEUE_DEATHS, EDGE_QUEUES };

struct metric {
    char *name, *unit; /* owned */
    struct edge_device *device;
    struct metric *next; /* of the device */
    uint64_t alias;
    enum sparkplug_datatype datatype;
    bool null;
    bool resend;       /* an earlier value was dropped: the next one goes out even if equal to it */
    double value;
    int64_t value_ms;
    uint64_t queued_at; /* position of its newest value in the ring */
    uint64_t told_to;   /* values before this position: the newest was in the last birth */
};

struct edge_device {
    struct edge_device *next;         /* all, in the order made */
    struct edge_device *next_pending[EDGE_QUEUES];
    bool pending[EDGE_QUEUES];
    struct metric *first, **end;
    size_t count, text;   /* metrics, bytes of their names and units */
    bool want, born;      /* is there; the host knows */
    bool stale;           /* born, but a metric is new */
    uint64_t death_at;    /* position in the ring behind its last data */
    UT_hash_handle hh;
    bool lost;            /* no memory for its entry */
    char id[SPARKPLUG_ID_MAX + 1];
};

struct entry {
    uint32_t metric; /* index */
    bool historical;
    double value;
    int64_t ms;
};

struct edge {
    struct edge_handlers handlers;
    char group[SPARKPLUG_ID_MAX + 1], node[SPARKPLUG_ID_MAX + 1], host[SPARKPLUG_ID_MAX + 1], software[64];
    size_t devices_max, metrics_max;
    enum edge_state state;
    int bd_seq;
    unsigned seq; /* of the next message */

    bool host_known, host_online; /* a STATE has come; and said so in this session */
    uint64_t host_ms;

    struct edge_device *by_id, *devices, **devices_end;
    size_t online;
    struct edge_queue { /* what is to be told while ONLINE, if it still holds then */
        struct edge_device *first, **end;
    } queues[EDGE_QUEUES];
    struct metric **metrics; /* owned array of owned; alias = index + FIRST_ALIAS */
    size_t metric_count, metric_cap;

    bool born;               /* BIRTHING: NBIRTH was sent */
    struct edge_device *next_birth;
    int64_t born_ms;         /* start of the session's last births; NEVER = none */

    struct entry *ring; /* owned; [head, tail) wait, at position % ring_size */
    size_t ring_size;
    uint64_t head, tail;

    double told_online, told_dropped; /* node metrics as the host knows them */
    int64_t node_told_ms;

    struct buffer topic, payload;
    struct arena arena;
    struct sparkplug_metric *scratch; /* owned; for the longest message */
    struct edge_stats stats;
};

enum { ALIAS_SOFTWARE = 1, ALIAS_ONLINE, ALIAS_DROPPED, FIRST_ALIAS = 16 };

/* edge.c */
/* Encodes and hands over; the sequence goes on when it was taken. ERR_AGAIN: not now; ERR_FULL, ERR_NOMEM: cannot be. */
enum err edge_send(struct edge *e, enum sparkplug_type type, const char *device, int64_t now_ms,
                   const struct sparkplug_metric *metrics, size_t count) MUST_CHECK;

/* birth.c */
void edge_begin_births(struct edge *e);
/* One message of the births; *ret_more: not the last one. ERR_AGAIN. */
enum err edge_birth_step(struct edge *e, int64_t now_ms, bool *ret_more) MUST_CHECK;
/* The first in the queue. ERR_AGAIN. */
enum err edge_queued_birth_step(struct edge *e, int64_t now_ms) MUST_CHECK;
enum err edge_queued_death_step(struct edge *e, int64_t now_ms) MUST_CHECK;
void edge_clear_queues(struct edge *e);
void edge_devices_deinit(struct edge *e);

/* data.c */
/* One DDATA from the head of the ring. ERR_AGAIN. */
enum err edge_data_step(struct edge *e, int64_t now_ms) MUST_CHECK;

#endif
