/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evidence - what the bridge's SQLite sink has about one decision: the inference, the readings of its window, what is
 * missing of them and why, events of the device near it.
 *
 * Opened read-only, everything in one read transaction: a bridge that is writing meanwhile is neither held up nor seen
 * half-way. Only evidence.c includes sqlite3.h.
 */
#ifndef CLOUD_BRIDGE_CONSOLE_EVIDENCE_H
#define CLOUD_BRIDGE_CONSOLE_EVIDENCE_H

#include "core/base/base.h"

struct evidence;

enum { EVIDENCE_NAME = 136, EVIDENCE_TEXT = 408, EVIDENCE_REASONS_MAX = 20, EVIDENCE_EVENTS_MAX = 20 };
#define EVIDENCE_VALUES_MAX ((size_t)16 << 20)

struct evidence_inference {
    int64_t device_id;
    uint64_t number;
    unsigned lane;
    char epoch[20], ts[32];
    int64_t time_us; /* ts: whole milliseconds */
    uint64_t model, config, own_model;
    int64_t window_us; /* from the window's first sample to its last */
    unsigned answer, own_answer;
    char label[EVIDENCE_NAME], answered_by[16], engine[EVIDENCE_NAME], asked[16];
    double confidence, score, own_confidence;
    bool was_asked;
    uint64_t took_ms, repeats, skipped;
    char gateway[EVIDENCE_NAME]; /* that took it in; "" unknown */
    int64_t received_us;
    uint64_t others; /* inferences of that number in other epochs */
};
struct evidence_key {
    const char *device, *epoch; /* epoch NULL: the newest that has the number */
    uint64_t number;            /* 0: by time */
    int64_t at_us;              /* the newest at or before it */
};
struct evidence_samples {
    int64_t *times;   /* owned; ascending */
    int64_t *records; /* owned; number of the record that a sample came in */
    float *values;    /* owned; [rows][channels]; NaN = not in the sink */
    size_t rows, cap, channels;
};
struct evidence_reason {
    char kind[16];            /* gap, suppressed, window, curated */
    char name[EVIDENCE_NAME]; /* reason or rule */
    uint64_t first, last;     /* records */
};
struct evidence_event {
    char source[EVIDENCE_NAME]; /* whose stream it is in: the device, or a gateway */
    char ts[32], severity[16], id[EVIDENCE_NAME], text[EVIDENCE_TEXT];
    int64_t time_us;
    uint64_t number;
};

/* ERR_NOT_FOUND: no such file; ERR_CONFLICT: not a database of a bridge; ERR_UNSUPPORTED: of a version that this
 * program does not read; ERR_DENIED, ERR_MALFORMED, ERR_IO, ERR_NOMEM. reterr names the file. */
enum err evidence_open(const char *path, struct evidence **ret_evidence, struct fault *reterr) MUST_CHECK;
void evidence_free(struct evidence *evidence);
DEFINE_CLEANUP(struct evidence, evidence_free)
/* What went wrong with the database; for ERR_IO and the like of the functions below. */
void evidence_fault(const struct evidence *evidence, enum err err, struct fault *reterr);

/* ERR_NOT_FOUND: no such device. */
enum err evidence_device(struct evidence *evidence, const char *device, int64_t *ret_id) MUST_CHECK;
/* ERR_NOT_FOUND: the device has no such inference. */
enum err evidence_inference(struct evidence *evidence, const struct evidence_key *key,
                            struct evidence_inference *ret_inference) MUST_CHECK;
/* What the device called that class when its model answered by itself. ERR_NOT_FOUND: it never did. */
enum err evidence_label(struct evidence *evidence, int64_t device_id, uint64_t model, unsigned class,
                        char ret_label[EVIDENCE_NAME]) MUST_CHECK;
/* How many the device has, the times of the first and the last. */
enum err evidence_span(struct evidence *evidence, int64_t device_id, uint64_t *ret_count, char ret_first[32],
                       char ret_last[32]) MUST_CHECK;
/* Readings from from_us to to_us, a row per sample. ERR_FULL: more than EVIDENCE_VALUES_MAX. */
enum err evidence_samples(struct evidence *evidence, int64_t device_id, int64_t from_us, int64_t to_us,
                          const char *const *channels, size_t count, struct evidence_samples *ret_samples) MUST_CHECK;
/* Another row, all of it missing. ERR_FULL, ERR_NOMEM. */
enum err evidence_samples_add(struct evidence_samples *samples, int64_t time_us, int64_t record) MUST_CHECK;
void evidence_samples_deinit(struct evidence_samples *samples); /* harmless when zeroed */
/* Why readings of that time may be missing. */
enum err evidence_reasons(struct evidence *evidence, int64_t device_id, int64_t from_us, int64_t to_us,
                          struct evidence_reason ret_reasons[EVIDENCE_REASONS_MAX], size_t *ret_count) MUST_CHECK;
/* Events of the device, or of gateways about it, nearest to at_us first. */
enum err evidence_events(struct evidence *evidence, const char *device, int64_t from_us, int64_t to_us, int64_t at_us,
                         struct evidence_event ret_events[EVIDENCE_EVENTS_MAX], size_t *ret_count) MUST_CHECK;
/* The newest of that id about the device at or before at_us. ERR_NOT_FOUND. */
enum err evidence_event(struct evidence *evidence, const char *device, const char *id, int64_t at_us,
                        struct evidence_event *ret_event) MUST_CHECK;
/* Inferences of the device beside at_us: the newest before, the oldest after; number 0 = none. */
enum err evidence_beside(struct evidence *evidence, const struct evidence_inference *of,
                         struct evidence_inference *ret_before, struct evidence_inference *ret_after) MUST_CHECK;
/* Of the device's newest `most` inferences up to at_us: mean of its own confidence, of the score; asked and answered,
 * and of these answered otherwise than it said itself. */
struct evidence_answers {
    uint64_t count, answered, differed;
    double confidence, score;
};
enum err evidence_answers(struct evidence *evidence, int64_t device_id, int64_t at_us, unsigned most,
                          struct evidence_answers *ret_answers) MUST_CHECK;

#endif
