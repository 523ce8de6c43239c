/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish_internal - what the parts of publish share: names.c topics, source.c records into values, uns.c the unified
 * namespace, session.c the Sparkplug session.
 */
#ifndef GATEWAY_PUBLISH_PUBLISH_INTERNAL_H
#define GATEWAY_PUBLISH_PUBLISH_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#include "core/crypt/crypt.h"
#include "gateway/publish/publish.h"
#include "proto/block/block.h"

enum {
    LEVELS_MAX = 16,
    SLUG_MAX = 2 * WIRE_NAME_MAX + 16, /* a channel, a rule */
    TOPIC_BYTES_MAX = 1024,
    SETS_MAX = 4,           /* descriptions kept of a device */
    DEVICE_METRICS_MAX = 512,
    BIRTH_STATS = 5,        /* Sparkplug metrics of a window */
};

/* ---- names.c ---- */
enum level_kind { LEVEL_TEXT, LEVEL_GATEWAY, LEVEL_DEVICE, LEVEL_METRIC };
struct names {
    struct level {
        enum level_kind kind;
        char text[SLUG_MAX];
    } levels[LEVELS_MAX];
    size_t count;
};
/* Fills in what does not change. ERR_RANGE. */
enum err names_parse(struct names *names, const struct publish_options *options, struct fault *reterr) MUST_CHECK;
/* Appends a topic; metric as it came out of names_slug, or two such with a '/' between. */
void names_put(const struct names *names, const char *gateway, const char *device, const char *metric,
               struct buffer *out);
void names_slug(struct slice name, char ret_slug[WIRE_NAME_MAX + 1]);

/* ---- the table ---- */
struct value {
    double value;
    int64_t ts_ms;
    bool uncertain;
    uint64_t model, epoch, number;
    /* of windows */
    uint64_t count, length_ms;
    double min, max, std, p50, p95, p99;
    bool partial, has_quantiles;
};
struct metric {
    struct device *device;
    char *name; /* owned; of a window: <channel>/<rule> */
    char *unit; /* owned */
    char *slug; /* owned; as in the topic */
    struct metric *channel; /* of a window: what it is of */
    bool is_window, has_value;
    bool gone; /* the newest description is without it: what the broker keeps of it is cleared */
    struct value value;
    uint64_t aliases[BIRTH_STATS]; /* of the edge; 0 = none */
    /* uns.c: cooling for an interval after a publication; a value that comes meanwhile makes it dirty */
    bool ready, cooling, dirty;
    int64_t cool_at_us;
    struct metric *next_ready, *next_cooling, *next;
    UT_hash_handle hh, by_slug;
    bool lost;
};
struct set {
    uint32_t id;
    uint64_t model;
    size_t count;
    struct metric *channels[BLOCK_CHANNELS_MAX]; /* NULL: refused */
};
struct device {
    char id[ID_MAX + 1], gateway[ID_MAX + 1]; /* gateway: the first one of its last record */
    struct set *sets[SETS_MAX]; /* owned; newest first */
    struct metric *by_name, *by_slug, *first;
    size_t metrics;
    bool known, online; /* known: its state is worth telling */
    bool state_ready;
    struct device *next, *next_state;
    struct edge_device *edge;
    UT_hash_handle hh;
    bool lost;
};

struct session; /* session.c */

struct publish {
    struct loop *loop;
    struct bus *plant; /* borrowed */
    char site[ID_MAX + 1], gateway[ID_MAX + 1];
    int64_t historical_after_us;
    size_t devices_max, metrics_max;
    bool stopped;
    bool relayed; /* some device talks through a gateway below */

    struct device *by_id, *devices;
    struct arena arena;
    int64_t *values, *times; /* owned; of one block */
    double resolutions[BLOCK_CHANNELS_MAX];
    int64_t slot_us, slot_used_us; /* of the loop's time */

    bool uns;
    enum publish_form form;
    int64_t interval_us;
    struct names names;
    struct metric *ready, **ready_end, *cooling, **cooling_end;
    struct device *states, **states_end;
    bool gateway_state_ready;
    uint64_t connects; /* of the plant's session, when everything was last told anew */
    struct loop_timer pump, watch;
    struct buffer topic, payload;

    struct session *session; /* NULL: no Sparkplug */
    struct edge *edge;       /* owned by the session; NULL */
    struct crypt_tls *tls;   /* owned; after the session */
    struct publish_stats stats;
};

/* ---- source.c ---- */
enum err source_init(struct publish *p) MUST_CHECK;
void source_deinit(struct publish *p);
/* NULL: refused, counted. */
struct device *source_device(struct publish *p, const char *id);
void source_device_online(struct publish *p, struct device *d, bool online);

/* ---- uns.c ---- */
enum err uns_init(struct publish *p, const struct publish_options *options, struct fault *reterr) MUST_CHECK;
void uns_value(struct publish *p, struct metric *m); /* it has another value */
void uns_state(struct publish *p, struct device *d);
void uns_stop(struct publish *p);
void uns_deinit(struct publish *p);

/* ---- session.c ---- */
enum err session_new(struct publish *p, const struct publish_options *options, struct fault *reterr) MUST_CHECK;
enum err session_start(struct session *s) MUST_CHECK;
void session_kick(struct session *s); /* the edge has something */
void session_stop(struct session *s);
void session_free(struct session *s);

#endif
