/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario - what `weir-fleet load` is to do: how many devices of which classes, against which broker, and what goes
 * wrong on the way. A YAML file, flags, or both (core/options); samples are in simulators/scenario/samples.
 *
 * Everything that chance decides about a device (class, clock, whether it has offline spells, whose name a thief takes)
 * is a function of seed and device number, so that two runs of one scenario are of the same fleet.
 *
 * Numbers: 0 .. devices-1 are the fleet's own devices, devices .. connections-1 the bad actors, in the order garbage,
 * flood, thieves, twins. Identities: PREFIX-1 .. PREFIX-N for devices (as `weir-pki batch` numbers certificates),
 * PREFIX-garbage-1, PREFIX-flood-1, PREFIX-thief-1 for bad actors; a twin has the identity of its victim.
 */
#ifndef SIMULATORS_SCENARIO_SCENARIO_H
#define SIMULATORS_SCENARIO_SCENARIO_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/options/options.h"

enum { SCENARIO_DEVICES_MAX = 100000, SCENARIO_CLASSES_MAX = 16, SCENARIO_BAD_MAX = 10000 };

/* Devices of one kind. */
struct scenario_class {
    double share;           /* weight among the classes' shares; 0 = none */
    int64_t period_us;      /* between samples */
    int64_t samples;        /* per record at most: 1..1024 */
    int64_t channels;       /* 1..64 */
    int64_t max_age_us;     /* a record is closed when its first sample is so old */
    int64_t alarm_every_us; /* mean time between a device's alarms; 0 = none */
    int64_t health_us;      /* between health records; 0 = none */
    int64_t window;         /* frames under way to the gateway at most */
    int64_t store_bytes;    /* of a device */
    int64_t flush_us;       /* latency of a commit on the device's (modelled) disk */
};

enum scenario_progress { SCENARIO_PROGRESS_AUTO, SCENARIO_PROGRESS_LINES, SCENARIO_PROGRESS_OFF };

struct scenario {
    int64_t devices;
    int64_t for_us;   /* of load, after the ramp */
    int64_t ramp_us;  /* over which the first connects are spread evenly */
    int64_t drain_us; /* at most, at the end, until everything is acknowledged */
    int64_t seed;
    char *site, *gateway, *prefix;
    struct {
        char *host;
        int64_t port;
        bool insecure;
        char *ca;           /* "" only when insecure */
        char *certificates; /* folder with ID.crt and ID.key of every connection */
        int64_t keepalive_us;
    } broker;
    bool allow_remote;
    char *gateway_socket;           /* control socket of the gateway, for its side of the ledger; "" = none */
    bool json;                      /* report on stdout as JSON instead of text */
    char *html;                     /* file for the report as a page; "" = none */
    int progress;                   /* enum scenario_progress */
    struct option_sections classes; /* of struct scenario_class; at least one */
    struct {
        double rate;     /* crashes per second over the fleet; 0 = none. A crash: no DISCONNECT, memory gone */
        int64_t down_us; /* until the device starts again from its store */
    } churn;
    struct {
        int64_t every_us; /* 0 = none */
        double share;     /* of the links, cut at the same instant */
    } storm;
    struct {
        double share;     /* of the devices that have spells; 0 = none */
        int64_t every_us; /* mean time between the beginnings of a device's spells */
        int64_t for_us;   /* how long the device has no network; it goes on sampling */
    } offline;
    struct {
        double share;    /* of the devices whose wall clock is wrong */
        int64_t skew_us; /* by at most so much, either way */
    } clock;
    struct {
        int64_t garbage;   /* connections that publish random bytes on telemetry topics of their own */
        int64_t flood;     /* connections that publish well-formed frames as fast as flood_rate */
        int64_t thieves;   /* own connection, topics and payloads of another device */
        int64_t twins;     /* a second connection with a device's own client identity */
        double rate;       /* messages a second of a garbage connection, a thief and a twin */
        double flood_rate; /* messages a second of a flood connection */
    } bad;
};

/* For options_main; runs scenario_check. The settings struct is struct scenario. */
extern const struct options_program scenario_program;

/* Sentences about what does not go together or is impossible; ERR_RANGE if any. descriptors: what this process may
 * have open at most (its hard limit), 0 = not known. */
enum err scenario_check(const struct scenario *scenario, uint64_t descriptors, struct buffer *problems) MUST_CHECK;
/* Raises the process's soft limit of descriptors as far as the scenario needs. ERR_DENIED: the sentence says how many
 * there are, how many are needed and what the system must allow. */
enum err scenario_raise_descriptors(const struct scenario *scenario, struct fault *reterr) MUST_CHECK;
/* Connections in all: devices and bad actors. */
unsigned scenario_connections(const struct scenario *scenario);
/* Descriptors that a run needs: one for each connection, and a few for the process. */
uint64_t scenario_descriptors(const struct scenario *scenario);

/* Index into classes. Shares hold for every stretch of device numbers, not only over the whole fleet. */
unsigned scenario_class_of(const struct scenario *scenario, unsigned device);
const struct scenario_class *scenario_class(const struct scenario *scenario, unsigned index);
/* Devices of the class. */
unsigned scenario_class_devices(const struct scenario *scenario, unsigned index);
/* When the device connects first, from the start of the run: 0 .. ramp. */
int64_t scenario_connect_us(const struct scenario *scenario, unsigned device);
bool scenario_goes_offline(const struct scenario *scenario, unsigned device);
/* Offset of the device's wall clock, -skew .. +skew; 0 for most. */
int64_t scenario_skew_us(const struct scenario *scenario, unsigned device);
/* Independent stream of chance for a device (jitter, gaps between alarms): next number, state is the caller's. */
uint64_t scenario_chance_seed(const struct scenario *scenario, unsigned device, unsigned purpose);

enum scenario_actor { SCENARIO_DEVICE, SCENARIO_GARBAGE, SCENARIO_FLOOD, SCENARIO_THIEF, SCENARIO_TWIN };
enum scenario_actor scenario_actor(const struct scenario *scenario, unsigned connection);
const char *scenario_actor_name(enum scenario_actor actor);
/* Device whose identity a thief or twin uses; no two have the same one. Only for thieves and twins. */
unsigned scenario_victim(const struct scenario *scenario, unsigned connection);
/* Client identity of the connection. */
void scenario_identity(const struct scenario *scenario, unsigned connection, char ret_id[ID_MAX + 1]);
/* Folder/ID.crt and Folder/ID.key; ERR_FULL: longer than size. Not for insecure. */
enum err scenario_certificate(const struct scenario *scenario, const char *id, size_t size, char *ret_cert,
                              char *ret_key) MUST_CHECK;

/* What the fleet's own devices offer by the scenario when all are up. */
struct scenario_rates {
    double samples, records, alarms; /* per second; records without alarms and health */
    double health;
    double crashes;  /* per second */
    double connects; /* per second during the ramp */
    double bad;      /* messages per second of bad actors */
};
void scenario_rates(const struct scenario *scenario, struct scenario_rates *ret_rates);

#endif
