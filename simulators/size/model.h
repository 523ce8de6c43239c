/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model - a plant on paper: from rates, disks and links to how long buffers last, how long a drain takes, how many
 * gateways.
 *
 *   size_input (what the user knows) + size_constants (what was measured) --size_compute--> size_answer
 *
 * Pure: no clock, no file, no allocation, no state. Units: bytes, seconds, records per second; INFINITY = for ever or
 * without bound. A record is one entry of the bulk lane: a block of samples, or a health report. "Link bytes" are what
 * passes on the wire: payload, MQTT, TLS, and `packet_bytes` for each TCP segment.
 *
 * What a store can hold has two bounds, and the nearer one counts:
 *   by bytes   entries of a lane: the lane's share of the cap
 *   by pages   LMDB fills pages of 4,096 bytes: of what is in use (whole pages) a share of the cap at most
 *
 * Two outages: `plant` (device to gateway is cut, each device is alone with its store) and `uplink` (gateway to parent
 * is cut: the gateway takes records until it is full, then pushes back, and the devices' stores fill).
 */
#ifndef SIMULATORS_SIZE_MODEL_H
#define SIMULATORS_SIZE_MODEL_H

#include <stdbool.h>

/* What was measured beforehand, or on the spot. Names, units, sources: constants.c. */
enum size_constant {
    SIZE_VALUE_BYTES,  /* a value in a column, without the column's head */
    SIZE_COLUMN_BYTES, /* head of a column */
    SIZE_RECORD_HEAD,  /* a block without its columns */
    SIZE_HEALTH_BYTES,
    SIZE_DESCRIBE_BYTES, /* per channel, once in so many records */
    SIZE_PAGE_FILL,      /* pages used / pages that packed entries would take: 1 = packed to the brim */
    SIZE_COMMIT_PAGES,   /* pages written by a commit beside what its records and marks take */
    SIZE_TRIM_PAGES,     /* and when it trims */
    SIZE_STORE_CPU,      /* s per record in large commits, its trim included */
    SIZE_BROKER_CPU,     /* s per frame, its answer included */
    SIZE_GATEWAY_CPU,    /* s per record taken in */
    SIZE_UPLINK_CPU,     /* s per record sent on */
    SIZE_CONSTANTS
};
struct size_constants {
    struct size_constant_value {
        double value;
        char source[120];
    } of[SIZE_CONSTANTS];
};

struct size_input {
    /* the fleet */
    double devices, gateways;                                /* gateways 0 = as many as needed */
    double period_s, channels, samples, max_age_s, health_s; /* health 0 = none */
    double record_bytes;                                     /* of a block record; 0 = by channels and samples */
    double jitter_s;                                         /* how far samples stray from their period */
    double alarms_per_s, alarm_bytes;                        /* a device */
    double name_bytes;                                       /* mean length of the names of site, gateway, device */
    bool sealed;                                             /* stores encrypted */
    /* a device */
    double device_store, device_bulk /* 0 = 85 % of the cap */, device_flush_s;
    double device_rate /* bytes/s, INFINITY = no bound */, device_rtt_s, device_frames, keepalive_s;
    /* a gateway */
    double gateway_store, gateway_flush_s, commit_delay_s;
    double uplink_rate, uplink_rtt_s, uplink_frames, uplink_frame_bytes, uplink_frame_records;
    double descriptors;
    double headroom; /* a gateway carries 1/headroom of what it could */
    bool tls;
    double packet_bytes;
    /* questions */
    double outage_s, wanted_buffer_s, wanted_drain_s; /* wanted 0 = not asked */
};

/* Fixed by the programs; each is held against them by tests. */
#define SIZE_CAP 0.90        /* of a store is filled: core/store */
#define SIZE_BULK 0.85       /* of the cap is the device's bulk lane: device/report */
#define SIZE_ALARM 0.05      /* of the cap is its alarm lane */
#define SIZE_BULK_PAGES 0.92 /* of the cap may be pages in use when a bulk record is appended */
#define SIZE_RESERVE 0.05    /* of the cap is kept for alarms by the gateway: core/inbox */
#define SIZE_PIECE 32.0      /* a full lane drops a part in so many at a time */
enum {
    SIZE_PAGE = 4096,
    SIZE_ENTRY_BYTES = 30, /* key 17, head 13: core/spool */
    SIZE_SEAL_BYTES = 28,  /* nonce 12, tag 16 */
    SIZE_FIXED_PAGES = 10, /* two headers, roots, free list, what lies open in a commit */
    SIZE_DESCRIBE_EVERY = 1000,
    SIZE_RECORD_MAX = 128 * 1024,
    SIZE_DEVICE_FRAME_BYTES = 32 * 1024,
    SIZE_DEVICE_FRAME_RECORDS = 64,
    SIZE_DEVICE_WINDOW_BYTES = 256 * 1024,
    SIZE_UPLINK_WINDOW_BYTES = 2 * 1024 * 1024,
    SIZE_COMMIT_RECORDS = 4096,
    SIZE_FLEET_MAX = 100000, /* devices that a gateway keeps an account of */
};

/* One record in a store. */
struct size_entry {
    double body, bytes; /* as packed; with key and seal */
    double page_bytes;  /* its share of whole pages */
    double per_page;    /* entries in a page; 0 = it takes pages of its own */
};
/* A lane of a store. */
struct size_lane {
    struct size_entry entry;
    double by_bytes, by_pages; /* records; INFINITY = no such bound */
    double records;            /* the smaller one */
    double lasts_s;            /* at the live rate of its owner */
};
/* A link, live. */
struct size_link {
    double frames_per_s, acks_per_s;
    double frame_bytes, ack_bytes; /* on the link, one */
    double up, down;               /* bytes/s, keep-alive and TCP's own answers included */
    double up_month, down_month;   /* bytes in 30 days */
};
/* A hop that empties its backlog. */
struct size_drain {
    double frame_records;                  /* in a full frame */
    double link_bytes;                     /* of a record in such a frame */
    double by_link, by_window, by_gateway; /* records/s that each would allow */
    double rate, live;                     /* records/s: the smallest; what comes in meanwhile */
    double multiple;                       /* rate / live */
    double backlog, lasts_s;               /* records; INFINITY = never */
};
struct size_outage {
    double buffer_s;   /* until the first record is dropped */
    double held, lost; /* records of one device at its end; declared */
    double lost_s;     /* the span of time that the gap covers */
    struct size_drain drain;
};
enum size_bound {
    SIZE_BY_BROKER,
    SIZE_BY_GATEWAY,
    SIZE_BY_CONNECTIONS,
    SIZE_BY_FLEET,
    SIZE_BY_FLUSHES,
    SIZE_BY_UPLINK,
    SIZE_BOUNDS
};
struct size_answer {
    /* a device's records */
    double samples_per_record, record_s; /* block: samples, distance */
    bool closed_by_age, has_times;
    double times_bytes;                                            /* of a block's column of times */
    double block_bytes, record_bytes;                              /* of a block; mean of the bulk lane */
    double blocks_per_s, records_per_s, alarms_per_s, bytes_per_s; /* bytes_per_s: entries into the device's store */
    struct size_lane device_bulk, device_alarm, gateway_bulk, gateway_alarm;
    /* gateways */
    double devices_max[SIZE_BOUNDS]; /* a gateway could carry, headroom left */
    enum size_bound bound;           /* the nearest */
    double gateways, devices_each;
    double gateway_rate; /* records/s into one gateway, alarms included */
    double stream_bytes; /* of its store, for the senders' marks */
    struct size_link device_link, uplink;
    struct size_outage plant, uplink_out;
    double alarm_gateway_s; /* alarms at a gateway whose bulk is full */
    /* disk wear, live: bytes handed to write calls */
    double device_commits_per_s, device_commit_pages, device_written_day;
    double gateway_commits_per_s, gateway_commit_pages, gateway_written_day;
    double device_rewrites_year, gateway_rewrites_year; /* of the whole store */
    /* inverse */
    double wanted_device_store, wanted_gateway_store; /* bytes */
    double wanted_device_rate, wanted_uplink_rate;    /* bytes/s; INFINITY = no rate is enough */
};
void size_compute(const struct size_input *in, const struct size_constants *c, struct size_answer *ret_answer);

/* An entry with this body in a store whose pages are packed as SIZE_PAGE_FILL says. */
struct size_entry size_entry_of(double body, bool sealed, double page_fill);
/* Bytes of a device's record as a Forward. */
double size_forward_bytes(double record_bytes, double name_bytes);
/* Bytes on the link of a PUBLISH with so many bytes of topic and payload: MQTT, TLS, TCP. */
double size_publish_bytes(const struct size_input *in, double topic, double payload);

#endif
