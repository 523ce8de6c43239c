/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health - whether devices still see, and their models still say, what they did when the models were made. Per device
 * and the model it runs; fed with durable records in order, tells what is confirmed.
 *
 *   Describe  --> which channels, which model       --> calibration of that model, or of the device's name
 *   Block     --> every channel's sensor            --> sensor-fault    stuck, spike, noise, missing
 *             --> windows of all channels, PCA      --> data-drift      t2, spe, ewma_spe, level
 *   Inference --> the device's own confidence/score --> data-drift      psi, ks, ewma
 *             --> own answer and gateway's differ   --> concept-drift   page_hinkley, adwin, rates
 *   Curated   --> sketches, of what is not seen one
 *                 by one: channels, answers         --> data-drift      mean, spread; mean, psi, ks
 *   tick      --> devices against their cohort      --> cohort-outlier  confidence, disagreement
 *
 * An event is told once, when k of the last n observations were beyond a limit (a sensor's: k of 4 n; a changed rate of
 * disagreement: it stays nearer to the new than to the old one), and "<event>-ended" when none of the last n was, or
 * when the device has another model or description. A sensor under suspicion counts as missing in the inputs, so that a
 * stuck one is not told as drift as well. Inputs move and answers do not: data drift; answers go wrong while inputs
 * look as ever: concept drift, which only disagreement sees.
 *
 * Scores are judged of devices that tell every answer; one that tells changes alone (repeats) sends no fair part of
 * them, and is judged by its sketches. So are inputs whose samples do not come, or not at the model's rate.
 * Disagreement is judged of what was asked and answered in either case.
 *
 * No I/O, no clock: handed records and the time. Memory is bounded as a whole: where it is full the device that has been
 * silent for longest, for stale_us at least, is forgotten to make room; without such a one a new device does not fit
 * and is counted, and what is known of the others stays. States survive a restart as bytes (health_dirty, health_restore), but for windows
 * that were being filled and what is told of a cohort.
 */
#ifndef GATEWAY_HEALTH_HEALTH_H
#define GATEWAY_HEALTH_HEALTH_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "proto/calibration/calibration.h"
#include "proto/wire/wire.h"

struct health;

enum { HEALTH_CALIBRATIONS_MAX = 64, HEALTH_COHORT_MIN = 5, HEALTH_TEXT_MAX = 400 };

struct health_calibration {
    const struct calibration *calibration; /* borrowed */
    const char *devices; /* pattern of names (rule_glob) that it is for as well; NULL or "" = whose model it is */
};
struct health_event {
    const char *id; /* "data-drift", "data-drift-ended", ... */
    const char *device;
    const char *text; /* device, model, statistic, value, limit, channel: key=value; borrowed */
};
struct health_options {
    const struct health_calibration *calibrations; /* borrowed for the life of the health */
    size_t count;
    size_t memory_bytes; /* of all devices; 0 = 64 MiB */
    int64_t stale_us;    /* figures older than that are none, and who is silent for so long may make room; 0 = 1 h */
    /* Tells it, or says not now (false): it is offered again with the next tick. */
    bool (*on_event)(void *arg, const struct health_event *event);
    void *arg;
};
struct health_stats {
    uint64_t records, inferences, blocks, unreadable;
    uint64_t left_out;         /* records of devices that do not fit */
    uint64_t left_out_devices; /* of them, estimated */
    uint64_t sketches;
    uint64_t other_rate;       /* blocks whose samples are farther apart than the calibration's: no windows of them */
    uint64_t events;
    size_t devices, bytes;
};

/* ERR_RANGE, ERR_NOMEM. */
enum err health_new(const struct health_options *options, struct health **ret_health) MUST_CHECK;
/* Other calibrations (borrowed from now on), memory and age. A device whose calibration is the same object as before
 * keeps all that is known of it; what was told of the others ends and they begin anew, without a calibration where
 * memory does not suffice. ERR_RANGE: nothing changes. */
enum err health_set(struct health *health, const struct health_options *options) MUST_CHECK;
void health_free(struct health *health);
DEFINE_CLEANUP(struct health, health_free)
/* A durable record; now_us: any clock that does not go back. Bounded by the record. What cannot be read is counted. */
void health_record(struct health *health, const struct wire_forward *forward, int64_t now_us);
/* Cohorts, events that were not taken: once a minute or so. */
void health_tick(struct health *health, int64_t now_us);
void health_stats(const struct health *health, struct health_stats *ret_stats);
/* {"devices":[...],"models":[...],"stats":{...}}; device NULL = all. */
void health_json(const struct health *health, const char *device, int64_t now_us, struct buffer *out);

/* ---- restarts ---- */
enum { HEALTH_STATE_MAX = 64 * 1024 };
/* The next device that changed since it was last put away: its state is appended. False: none. */
bool health_dirty(struct health *health, const char **ret_device, struct buffer *out);
/* The state of that device, changed or not. False: nothing is known of it. */
bool health_state(struct health *health, const char *device, struct buffer *out);
/* Before the first record. Bytes may be from anybody. ERR_MALFORMED, ERR_RANGE: of another calibration or damaged, the
 * device begins anew; ERR_FULL: memory_bytes; ERR_NOMEM. */
enum err health_restore(struct health *health, const char *device, struct slice state, int64_t now_us) MUST_CHECK;

#endif
