/* SPDX-License-Identifier: Apache-2.0 */
/* rig - escalate in virtual time: a device that asks, a parent that answers or does not, models whose output is their
 * input. */
#ifndef TESTS_UNIT_GATEWAY_ESCALATE_RIG_H
#define TESTS_UNIT_GATEWAY_ESCALATE_RIG_H

#include "gateway/escalate/escalate.h"
#include "tests/support/check.h"

enum { RIG_ANSWERS = 4096, RIG_EVENTS = 64 };
enum { RIG_DEVICE_MODEL = 0x77 };
#define RIG_RUN_US (2 * MS_US) /* what a batch takes */

struct rig {
    struct loop_world *world;
    struct loop *loop;
    struct escalate *escalate;
    char dir[64];
    struct escalate_settings settings;
    struct escalate_model models[4];
    /* what came out */
    struct {
        char peer[ID_MAX + 1];
        struct wire_answer answer;
        int64_t at_us;
    } answers[RIG_ANSWERS];
    unsigned answer_count;
    struct {
        char id[32], text[400];
    } events[RIG_EVENTS];
    unsigned event_count;
    struct wire_ask up; /* the last one */
    unsigned up_count;
    bool parent_there; /* asks are handed over */
    unsigned runs, largest;
    enum err run_fails, event_fails;
    float poison;               /* a row with this value makes any run fail; 0 = none */
    bool own_open;              /* engines are opened by the rig: */
    const struct engine *wanted; /* the last one with a library, on the same network as ours; compared, never used */
    bool wanted_fails, wanted_gives_nan;
};

/* A folder with model.yaml ("heavy": two raw values of one channel, classes a and b, unsure below 0.8) on net.tflite.
 */
void rig_start(struct rig *r);
/* settings: as they stand in r->settings. Waits until the models are open. */
void rig_open(struct rig *r, bool parent);
void rig_end(struct rig *r);
void rig_pass(struct rig *r, int64_t us);
const char *rig_path(const struct rig *r, const char *name);
/* Asks with the row (a, b), as `device`. */
void rig_ask(struct rig *r, const char *device, uint64_t id, uint32_t deadline_ms, float a, float b);
void rig_send(struct rig *r, const char *peer, const struct wire_ask *ask);
struct wire_ask rig_make(const char *device, uint64_t id, uint32_t deadline_ms, const float *values, uint32_t columns);
/* The answer with this id; NULL: none. */
const struct wire_answer *rig_answer(const struct rig *r, uint64_t id);
int64_t rig_answered_at(const struct rig *r, uint64_t id);
/* The status of the answer with this id; -1: none. */
int rig_status(const struct rig *r, uint64_t id);
/* The parent says this to the last ask. */
void rig_parent(struct rig *r, Weir__V1__AnswerStatus status, uint32_t answer);
struct escalate_stats rig_stats(const struct rig *r);
/* escalate_json as a text; valid until the next call. */
const char *rig_report(const struct rig *r);

#define GIVEN WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN
#define UNSURE WEIR__V1__ANSWER_STATUS__ANSWER_UNSURE
#define BUSY WEIR__V1__ANSWER_STATUS__ANSWER_BUSY
#define NO_MODEL WEIR__V1__ANSWER_STATUS__ANSWER_NO_MODEL
#define BAD WEIR__V1__ANSWER_STATUS__ANSWER_BAD

#endif
