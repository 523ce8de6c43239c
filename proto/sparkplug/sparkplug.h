/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparkplug - topics and payloads of Sparkplug B (Eclipse Sparkplug 3.0), as an edge node speaks them: all its own
 * messages are written here, commands and a host's STATE are read. No state, no I/O: gateway/edge has the node's life.
 *
 *   spBv1.0/<group>/<type>/<node>[/<device>]      payload: protobuf (proto/schema/sparkplug_b.proto)
 *   spBv1.0/STATE/<host>                          payload: {"online": true, "timestamp": 1668114759262}
 *
 * Reading is bounded: SPARKPLUG_COMMAND_MAX bytes, unpacked into the caller's arena, whose size is the memory limit.
 */
#ifndef PROTO_SPARKPLUG_SPARKPLUG_H
#define PROTO_SPARKPLUG_SPARKPLUG_H

#include "core/base/arena.h"
#include "core/base/base.h"
#include "core/base/buffer.h"

enum {
    SPARKPLUG_COMMAND_MAX = 64 * 1024,  /* bytes of a command that is looked at */
    SPARKPLUG_STATE_MAX = 1024,         /* of a STATE */
    SPARKPLUG_ARENA_BYTES = 512 * 1024, /* enough for any command that is not made to hurt */
    SPARKPLUG_ID_MAX = 128,             /* bytes of a group, node, device or host id */
    SPARKPLUG_NAME_MAX = 512,           /* bytes of a metric's name */
};

/* ---- topics ---- */
enum sparkplug_type {
    SPARKPLUG_NBIRTH,
    SPARKPLUG_NDATA,
    SPARKPLUG_NDEATH,
    SPARKPLUG_NCMD,
    SPARKPLUG_DBIRTH, /* from here on with a device */
    SPARKPLUG_DDATA,
    SPARKPLUG_DDEATH,
    SPARKPLUG_DCMD,
    SPARKPLUG_STATE,
};
struct sparkplug_topic {
    enum sparkplug_type type;
    struct slice group, node, device; /* views into the topic; of STATE: node is the host, the rest is empty */
};
/* 1..SPARKPLUG_ID_MAX bytes of UTF-8 without NUL, '/', '+', '#'. */
bool sparkplug_id_valid(struct slice id);
/* ERR_MALFORMED: none of the forms above. */
enum err sparkplug_topic_parse(struct slice topic, struct sparkplug_topic *ret_topic) MUST_CHECK;
/* Appends the topic. device only for the types that have one; it may be "+" for a filter. */
void sparkplug_topic_put(struct buffer *out, enum sparkplug_type type, const char *group, const char *node,
                         const char *device);
void sparkplug_state_topic_put(struct buffer *out, const char *host);

/* ---- payloads ---- */
enum sparkplug_datatype { /* numbers of the specification; those that are written here */
    SPARKPLUG_INT32 = 3,
    SPARKPLUG_INT64 = 4,
    SPARKPLUG_DOUBLE = 10,
    SPARKPLUG_BOOLEAN = 11,
    SPARKPLUG_STRING = 12,
};
struct sparkplug_metric {
    const char *name;      /* NULL: by alias alone, then no datatype is written either */
    uint64_t alias;        /* 0 = none */
    uint64_t timestamp_ms;
    enum sparkplug_datatype datatype;
    bool historical, null; /* null: no value is written */
    double number;         /* INT32, INT64, DOUBLE; BOOLEAN: not 0 */
    const char *text;      /* STRING */
    const char *unit;      /* property engUnit; NULL or "" = none */
};
#define SPARKPLUG_NO_SEQ (-1)
/* Appends the payload. seq 0..255 or SPARKPLUG_NO_SEQ. ERR_FULL, ERR_NOMEM; out is then as long as it was. */
enum err sparkplug_encode(uint64_t timestamp_ms, int seq, const struct sparkplug_metric *metrics, size_t count,
                          struct buffer *out) MUST_CHECK;

struct sparkplug_command {
    bool rebirth;   /* there was a metric Node Control/Rebirth of value true */
    size_t metrics; /* in all */
};
/* Of an NCMD or DCMD. The arena is reset. ERR_RANGE: too long; ERR_MALFORMED; ERR_NOMEM: over the arena's budget. */
enum err sparkplug_command_decode(struct slice payload, struct arena *arena,
                                  struct sparkplug_command *ret_command) MUST_CHECK;

struct sparkplug_state {
    bool online;
    uint64_t timestamp_ms;
};
/* ERR_RANGE: too long, or a timestamp below 0 or above 2^53; ERR_MALFORMED: not an object with both members. */
enum err sparkplug_state_decode(struct slice payload, struct sparkplug_state *ret_state) MUST_CHECK;

#endif
