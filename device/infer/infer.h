/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer - what a device makes of its samples by itself, and whom it asks when it is not sure.
 *
 *   sample --the model's channels, its rate--> window --core/features--> row --core/nn--> output --proto/model-->
 * decision
 *
 * What becomes of a window, first row that holds:
 *
 *   a channel was missing throughout                 no row: `blank`
 *   the budget has not enough for it                 not looked at: `skipped`, told with the next record
 *   the features are not numbers                     told: no label, confidence 0 (no verdict)
 *   input as one of the last CACHE_ROWS, quantised   the network is not run again: `cached`; go on with that decision
 *   sure, or nobody is to be asked                   told: the device's, NOT_ASKED
 *   unsure, the gateway has answered these features  told: the gateway's, ASKED_ANSWERED
 *   unsure, the gateway said lately: no such model   told: the device's, ASKED_REFUSED
 *   unsure, no connection, ASKS_MAX under way, more
 *           asks than a minute has, or bytes         told: the device's, ASKED_OFFLINE
 *   unsure                                           ASKING
 *
 *   ASKING --given, in time, one of our classes----------------> told: the gateway's, ASKED_ANSWERED
 *   ASKING --unsure | busy | no model | bad | no class of ours-> told: the device's, ASKED_REFUSED
 *   ASKING --deadline, infer_end-------------------------------> told: the device's, ASKED_LATE
 *   an answer to no ask under way, or for another device ------> `strays`, dropped
 * Bad, where the ask carried features and INFER_SMALLER leaves the choice: from then on asks carry the window.
 *
 * Told: a Record with an Inference, handed to `tell`. With INFER_CHANGES only when class, answerer or outcome of asking
 * differ from the record before, or report_every_us has passed; the others are counted in the next one's `repeats`.
 * A record is an alarm when its class is one of alarm_classes and that of the record before was another.
 *
 * Budget: macs_per_day bounds what the network computes, bytes_per_day records and asks, in any 24 hours; spread
 * evenly, an hour's worth may be saved up. Samples may come faster than the model's rate (every n-th is taken), never
 * slower; a gap in them begins a new window.
 * Sketches (sketch.h): every span, statistics of the model's channels and of what it says, whatever is told of single
 * windows. Those that bytes_per_day has not enough for are left out.
 * Memory: one block at the start, the description aside; none afterwards. No file, socket or clock after infer_new.
 * infer_place takes the block, the model and the time from its caller: that much runs without an OS.
 */
#ifndef DEVICE_INFER_INFER_H
#define DEVICE_INFER_INFER_H

#include "core/base/base.h"
#include "device/infer/sketch.h"
#include "device/sense/sense.h"

struct infer;
struct loop;
struct model_info;

enum infer_report { INFER_ALL, INFER_CHANGES };
enum infer_ask { INFER_NEVER, INFER_FEATURES, INFER_WINDOW, INFER_SMALLER };
enum { INFER_ASKS_MAX = 4, INFER_CACHE_ROWS = 16, INFER_NETWORK_MAX = 64 << 20 };
struct infer_options {
    const char *model;                    /* file of the description (proto/model) */
    const char *site, *gateway, *device;  /* identities; copied */
    const struct sense_channel *channels; /* of the samples; borrowed for infer_new */
    size_t channel_count;
    int64_t period_us; /* of the samples; 0 = the model's rate is taken for granted */
    enum infer_report report;
    int64_t report_every_us; /* INFER_CHANGES: a record so often at least; 0 = only on changes */
    enum infer_ask ask;
    int64_t ask_deadline_us;              /* 1 ms..60 s; 0 = 250 ms */
    unsigned asks_per_minute;             /* 0 = 60 */
    uint64_t macs_per_day, bytes_per_day; /* 0 = no bound */
    int64_t sketch_us; /* statistics of inputs and answers so often (sketch.h); 0 = none */
    const char *const *alarm_classes;     /* borrowed for infer_new */
    size_t alarm_count;
};
struct infer_handlers {
    /* A whole Record, borrowed. Anything but OK: it is counted as `untold` and gone. */
    enum err (*tell)(void *arg, struct slice record, bool is_alarm);
    /* An Ask for the topic of that name, borrowed. Anything but OK: there is no connection. May be NULL with
     * INFER_NEVER. */
    enum err (*ask)(void *arg, struct slice ask);
    /* Statistics of a span, borrowed; the channel is one of options.channels, or INFER_OUTCOME. Anything but OK: they
     * are counted as untold and gone. May be NULL with sketch_us = 0. */
    enum err (*tell_windows)(void *arg, const struct infer_window *windows, size_t count);
    void *arg;
};
struct infer_sample {
    const double *values; /* one for each of options.channels; NaN = missing */
    int64_t mono_us;
    uint64_t wall_us;
    bool synced; /* the wall clock was */
};
struct infer_stats {
    uint64_t windows; /* that were full; each is one of the next six or answered by a run of the network (runs) */
    uint64_t blank, skipped, cached, runs;
    uint64_t no_verdict;
    uint64_t unsure;
    uint64_t asked, answered, refused, late, offline; /* asked: sent; the others: outcomes told */
    uint64_t strays;
    uint64_t told, repeats, untold, alarms;
    uint64_t gaps; /* in the samples */
    uint64_t sketches, sketches_untold;
    /* how often a budget was spent: a window not looked at; for bytes also an ask or a sketch left out */
    uint64_t beyond_macs, beyond_bytes;
    uint64_t ask_bytes, record_bytes;
    int64_t run_us; /* of all windows that were looked at */
    uint64_t macs;  /* of one run */
    size_t memory_bytes;
};

/* What infer needs of the machine that it runs on. */
struct infer_host {
    int64_t (*now_us)(void *arg);              /* monotonic, > 0; may stand still during a call */
    int64_t (*fresh_now_us)(void *arg);        /* the same clock for measuring within one */
    uint64_t (*random)(void *arg);             /* never 0 */
    /* infer_wake is due then, and not when it was; 0 = not at all. May be NULL with INFER_NEVER. */
    void (*wake_at)(void *arg, int64_t at_us);
    void *arg;
};
/* A model that somebody has loaded; borrowed for the life of the infer. */
struct infer_model {
    const struct model_info *info;
    struct slice network;  /* aligned to 16 */
    const char *kernels;   /* nn_options; NULL = the fastest */
};
/* Without an OS, into the caller's memory (aligned to 64, borrowed). What takes how much is settled here; ERR_FULL: too
 * little, the sentence says how much is needed. Other errors as infer_new; *ret_key: the key of the description that
 * does not fit, NULL = none. options: as infer_new, the model aside. */
enum err infer_place(void *memory, size_t len, const struct infer_model *model, const struct infer_options *options,
                     const struct infer_host *host, const struct infer_handlers *handlers, struct infer **ret_infer,
                     const char **ret_key, struct fault *reterr) MUST_CHECK;
/* The time that wake_at asked for has come. */
void infer_wake(struct infer *infer);

/* Loads the description and the network. ERR_RANGE: the model does not fit the channels, the period or the budget, or
 * options; ERR_MALFORMED, ERR_UNSUPPORTED, ERR_IO: its files; ERR_NOMEM. The sentence begins with file:line of the
 * description where there is one. */
enum err infer_new(struct loop *loop, const struct infer_options *options, const struct infer_handlers *handlers,
                   struct infer **ret_infer, struct fault *reterr) MUST_CHECK;
/* What infer_new gave. Nothing is told. Accepts NULL. */
void infer_free(struct infer *infer);
DEFINE_CLEANUP(struct infer, infer_free)
/* From a handler; may call tell and ask. Bounded by features and network. */
void infer_sample(struct infer *infer, const struct infer_sample *sample);
/* What came on the topic of answers. */
void infer_answer(struct infer *infer, struct slice answer);
/* No more samples come: what is being asked is told as it stands. */
void infer_end(struct infer *infer);
uint64_t infer_model(const struct infer *infer); /* id */
const char *infer_model_name(const struct infer *infer);
bool infer_asks(const struct infer *infer);       /* answers are to be listened for */
unsigned infer_asking(const struct infer *infer); /* asks under way */
void infer_stats(const struct infer *infer, struct infer_stats *ret_stats);
/* What the sketches' outcome is called (proto/outcome). */
const char *infer_outcome_name(const struct infer *infer);
/* The open span's outcomes; count 0: none, or no sketches. */
struct moments infer_outcome(const struct infer *infer);

#endif
