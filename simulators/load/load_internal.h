/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_internal - the state of a run and how its files share the work.
 *
 *   load.c     the verb: settings, broker reachable?, run, report, exit code
 *   run.c      the loop: phases, ticks, progress, signals
 *   member.c   one device: its parts, its links, its latencies
 *   faults.c   what the scenario does to the devices: crashes, storms, offline spells, alarms
 *   actor.c    the bad actors
 *   dues.c     which record was due when                      books.c   the gateway's books against the devices'
 *   account.c  the account at the end, as figures             machine.c memory of the process, is a host ours
 *
 *   RAMP --all have been connected, or RAMP_GRACE_US after the ramp--> LOAD --for, or a signal--> DRAIN
 *   DRAIN --all connected and acknowledged, or drain--> over
 *
 * Faults and bad actors are at work during LOAD only: what they leave behind must mend itself in DRAIN.
 */
#ifndef SIMULATORS_LOAD_LOAD_INTERNAL_H
#define SIMULATORS_LOAD_LOAD_INTERNAL_H

#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/crypt/crypt.h"
#include "core/loop/loop.h"
#include "core/store/store.h"
#include "device/agent/agent.h"
#include "simulators/figures/figures.h"
#include "simulators/load/dues.h"
#include "simulators/load/books.h"
#include "simulators/scenario/scenario.h"

#define RAMP_GRACE_US (20 * SECOND_US)
#define BYTES_PER_DEVICE_MAX (24 * 1024) /* what an idle connected device may cost */
enum { RECENT = 5 /* seconds that the progress line looks back */, REASON_MAX = 256 };

enum phase { PHASE_RAMP, PHASE_LOAD, PHASE_DRAIN, PHASE_OVER };

struct load;

struct member {
    struct load *load;
    struct store_disk *disk; /* owned; outlives crashes */
    /* owned, while the device is alive: */
    struct store *store;
    struct bus *bus;
    struct crypt_tls *tls;
    struct agent *agent;
    struct loop_timer start, spell, alarm;
    uint64_t chance; /* state */
    uint64_t gaps_before[BOOKS_LANES]; /* declared by earlier lives of the device */
    struct dues dues[BOOKS_LANES];
    int64_t wanted_us;    /* since when it wants a connection; 0 = has one, or is dead */
    int64_t disturbed_us; /* the link was last not there, or came back */
    uint32_t number;
    uint8_t class;
    bool up, ever_up;
    bool spelled;   /* in an offline spell */
    bool disturbed; /* by the scenario: the link that goes is no news */
    bool shared;    /* a twin has its identity */
};

struct actor {
    struct load *load;
    enum scenario_actor kind;
    char id[ID_MAX + 1], topic_id[ID_MAX + 1]; /* who it says it is; whose topic it uses */
    struct bus *bus;       /* owned */
    struct crypt_tls *tls; /* owned */
    struct loop_timer timer;
    uint64_t chance, epoch, number;
    double owed; /* messages */
};

struct load {
    const struct scenario *scenario;
    struct loop *loop;
    struct sense *senses[SCENARIO_CLASSES_MAX]; /* one a class: the pattern driver keeps nothing of a device */
    struct member *members; /* owned */
    struct books_device *books; /* owned; one a device, as last seen */
    size_t devices;
    struct actor *actors; /* owned */
    size_t actor_count;
    enum phase phase;
    int64_t began_us, load_us, drain_us, ended_us; /* when the phases began */
    struct loop_timer tick, churn, storm;
    size_t stopped; /* DRAIN: so many devices have ended their sampling */
    uint64_t chance; /* of the faults that concern the fleet */
    struct progress progress;
    char failure[400]; /* of our own: the run cannot go on */
    bool interrupted;
    unsigned told_broker; /* seconds for which the loss of the broker is not told again */
    unsigned unanswered;  /* seconds without an acknowledgement although there are links and records wait */
    struct books_known before; /* the gateway's streams before the run */

    /* devices */
    size_t alive, connected, ever_connected;
    size_t lost_now; /* links lost since the last tick that nobody here cut */
    char reason[REASON_MAX];  /* why the last link went */
    char refusal[REASON_MAX]; /* why the last attempt failed */
    uint64_t rss_before, rss_connected, rss_most;
    size_t rss_devices; /* connected when rss_connected was taken */

    /* counters since the start */
    uint64_t made, acked, acked_in_load; /* blocks that got a number; numbers acknowledged, declared gaps included */
    uint64_t gaps_in_load;               /* of acked_in_load */
    uint64_t crashes, storms, cut, spells, alarms, lost_links, connects;
    uint64_t samples, refused, missed, damaged; /* of devices that have been closed: at the end, of all */
    uint64_t unmeasured;
    uint64_t bad_sent[SCENARIO_TWIN + 1], bad_held[SCENARIO_TWIN + 1];
    uint64_t second_acked; /* in this second */
    double last_rate;
    unsigned ticks;

    struct histogram latency;   /* link up all the time from due to acknowledged */
    struct histogram all;       /* every record */
    struct histogram alarm;     /* link up all the time */
    struct histogram connect, reconnect;
    struct histogram recent[RECENT]; /* of `latency`, a second each */
    unsigned recent_at;
    struct series rate, made_rate, links, p50, p99, waiting, memory;
    uint64_t last_made;
};

/* ---- chance ---- */
uint64_t chance_next(uint64_t *state);
/* 0 <= x < 1 */
double chance_fraction(uint64_t *state);
/* Of an event that comes every mean_us on average (a Poisson stream). */
int64_t chance_gap_us(uint64_t *state, int64_t mean_us);

/* ---- member.c ---- */
void member_init(struct member *m, struct load *load, unsigned number);
/* Timer: the device's first start, or the next after a crash. */
void member_start(void *member);
/* Without a word to anybody; the disk stays. Nothing when it is dead. */
void member_crash(struct member *m);
/* Leaves the broker politely; its books and counts are complete then. Nothing when it is dead. */
void member_close(struct member *m);
void member_deinit(struct member *m);
/* Writes the device's side into the books. */
void member_observe(struct member *m);
/* Everything that it has is acknowledged and its link is there. */
bool member_settled(const struct member *m);
/* The scenario cuts the link, or gives it back. */
void member_set_link(struct member *m, enum bus_link link);

/* ---- faults.c ---- */
void faults_begin(struct load *load);
/* No more of them; what is down comes back. */
void faults_end(struct load *load);

/* ---- actor.c ---- */
enum err actors_begin(struct load *load, struct fault *reterr) MUST_CHECK;
void actors_end(struct load *load);

/* ---- run.c ---- */
/* ERR_TIMEOUT: no broker; ERR_NOMEM, ERR_IO. What has been counted stays for the account. */
enum err load_run(struct load *load, struct fault *reterr) MUST_CHECK;
/* Certificate and key of an identity; *ret_tls NULL when the broker is insecure. */
enum err load_tls(const struct load *load, const char *id, struct crypt_tls **ret_tls, struct fault *reterr) MUST_CHECK;
/* A message on stderr beside the progress line. */
void load_say(struct load *load, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Ends the run: something of our own has failed. */
void load_fail(struct load *load, const char *what, enum err err);

/* ---- account.c ---- */
/* Asks the gateway what it has before the run; without an answer nothing of it will be left out. */
void account_before(struct load *load);
/* Closes the devices, asks the gateway, writes the report, says what the exit status is. */
int account_give(struct load *load);

/* ---- machine.c ---- */
/* An address of this machine for the connection to come from, so that thousands of them do not share one range of ports
 * (the kernel searches it for long when it is half full); NULL where the host is not in 127.0.0.0/8. */
enum { SOURCE_BYTES = 16 };
const char *load_source(const char *host, unsigned connection, char text[SOURCE_BYTES]);
/* Resident memory of this process; 0 = not known. */
uint64_t machine_rss_bytes(void);

#endif
