/* SPDX-License-Identifier: Apache-2.0 */
/*
 * escalate - answers the devices whose own model is unsure, from heavier ones, in time or not at all.
 *
 *   ask, plant's bus --escalate_ask--> checks, quota -> queue of its model --batch--> engine, on a worker's thread
 *                                                                              |
 *   answer, plant's bus <-- on_answer ------------------------- sure enough ---+-- unsure --ask_up--> the parent
 *
 * No socket, no store: asks come in by calls, everything goes out through the handlers, on the loop's thread. Nothing
 * of the gateway waits behind it and nothing here is durable: an answer that comes too late is worth nothing.
 *
 * States of an ask; the first fit counts. "late" is the deadline less a margin for the way back: a tenth of it, at most
 * 20 ms.
 *
 *   state    event                                                action, next state
 *   -        does not decode; names another site, gateway or      counted; not answered
 *            device than its topic (a gateway below may)
 *   -        over the quota of its device                         BUSY
 *   -        no model for it; a parent answers                    ask_up                                    -> UP
 *   -        no model for it; models are being opened yet, or     BUSY
 *            nobody knows yet whether the parent answers
 *   -        no model for it                                      NO_MODEL
 *   -        features or window are not what the model takes      BAD
 *   -        queue full, or the batches before it take too long   BUSY
 *   -        otherwise                                                                                      -> QUEUED
 *   QUEUED   `batch` of its model wait, or the oldest waits       engine_run on its worker                  -> RUNNING
 *            `wait`, or a deadline presses; no batch of it runs
 *   QUEUED   late                                                 BUSY
 *   QUEUED   other models are in force: does not fit, none        BAD, NO_MODEL
 *   RUNNING  late                                                 BUSY; what comes of it is dropped
 *   RUNNING  ran, sure, of a class that the asker's model has     GIVEN
 *   RUNNING  ran, anything else; a parent answers, there is time  ask_up                                    -> UP
 *   RUNNING  ran, anything else                                   UNSURE with the best guess; a label is asked for
 *   RUNNING  the engine failed on it; a parent answers            ask_up                                    -> UP
 *   RUNNING  the engine failed on it                              BUSY
 *   UP       parent: GIVEN, UNSURE                                handed down (the one above has asked for the label)
 *   UP       parent: anything else, or late; own best guess       UNSURE with it; a label is asked for
 *   UP       parent: anything else, no guess                      handed down
 *   UP       late, no guess                                       BUSY
 *
 * Each ask is answered once, or, where the first row says so, never. Each model has a worker of its own and runs one
 * batch at a time; its duration is known from the ones before (a running mean), which says what can be in time; one
 * that is overdue is taken to need as long again as it is. An ask that finds nobody before it is always tried. "A
 * parent answers": one that has not answered anything yet is asked one thing at a time, and when that stays without an
 * answer (a bridge answers none) it is left alone for UP_REST_US, the next time twice as long, up to UP_REST_MOST_US;
 * so is one that did answer once and leaves UP_MISSES_MAX asks in a row without.
 *
 * Labels. What nobody up here was sure of becomes an event "label-requested" with device, both answers and the input's
 * hash, for a person. At most labels_per_hour.
 *
 * Engines. A model's description is opened, its engine made and held against its self-test vectors, on a worker of its
 * own. An engine that cannot be opened or fails them is refused with an event "engine-refused"; another one of the same
 * model takes over: with engine onnx that is our own on the .tflite (or .json) beside the .onnx, which is opened and
 * tested with it and stands by. With escalate_set all are opened anew and swapped then; the batch that runs ends on the
 * old one, a model that cannot be opened any more keeps the one it had.
 *
 * An engine fails on an ask when it returns an error or anything but numbers. A batch that fails is run again row by
 * row, so that an ask harms itself alone. After ESCALATE_FAILURES_MAX batches in a row that gave nothing (one may be a
 * library's passing want of memory, two a coincidence) the engine is held against the first of its vectors, or a row of
 * zeros where it has none, since a device can send what no engine digests: only when it fails that, too, it is refused
 * at run time as above, and stays so until escalate_set. So is, without that look, one that has not returned for
 * ESCALATE_HANG_US and longer than anybody in the batch was ready to wait; its thread is let go.
 *
 * Classes. An answer is a class of the model that asks: of what our model says the name is looked up among that model's
 * classes (a score's are "normal" and "not-normal"). A device's classes are known from its description, for ids and "*"
 * from `classes`; where neither says, they are taken to be our model's own, which the report tells ("assumed") and an
 * own answer beyond them disproves: BAD. A description of whose classes ours has none is refused with the model.
 */
#ifndef GATEWAY_ESCALATE_ESCALATE_H
#define GATEWAY_ESCALATE_ESCALATE_H

#include "core/base/base.h"
#include "core/base/json.h"
#include "core/loop/loop.h"
#include "gateway/engine/engine.h"
#include "proto/wire/wire.h"

struct escalate;

enum { ESCALATE_MODELS_MAX = 32, ESCALATE_FOR_MAX = 64, ESCALATE_BATCH_MAX = 256 };
enum { ESCALATE_UP_MISSES_MAX = 4, ESCALATE_FAILURES_MAX = 3 };
/* Of wire_answer.answer: a class that the asker's model does not have; only with UNSURE. */
#define ESCALATE_CLASS_NONE UINT32_MAX
#define ESCALATE_HANG_US (10 * SECOND_US)
#define ESCALATE_UP_REST_US (30 * SECOND_US)
#define ESCALATE_UP_REST_MOST_US (10 * MINUTE_US)

enum escalate_kind { ESCALATE_OWN, ESCALATE_ONNX };

/* All strings are copied. */
struct escalate_model {
    const char *name;        /* identity */
    const char *description; /* proto/model */
    /* The device models it answers for: ids as 16 hexadecimal digits, paths of their descriptions (patterns as glob(3)
     * takes them), or "*". It always answers for itself. */
    const char *const *answers_for;
    size_t for_count;
    const char *const *classes; /* of the device models that are ids or "*", in their order; none = our own */
    size_t class_count;
    enum escalate_kind engine;
    const char *self_test; /* CSV: a line per row, inputs, then the expected outputs; "" = none */
    double tolerance;      /* as engine_self_test's */
};
struct escalate_settings {
    /* In order: the first that names the device's model answers, then the first "*". */
    const struct escalate_model *models;
    size_t model_count;
    const char *onnxruntime;  /* path of the library; "" = none */
    unsigned batch;           /* 1..ESCALATE_BATCH_MAX; 0 = 32 */
    int64_t wait_us;          /* that an ask waits for others at most; 0: only for the batch that runs */
    unsigned quota;           /* asks a second of one device; 0 = no bound */
    unsigned queue;           /* asks that are not answered yet; 0 = 512 */
    unsigned labels_per_hour; /* 0 = none */
    bool ask_parent;
};
struct escalate_handlers {
    /* To the peer that asked: a device, or a gateway below. */
    void (*on_answer)(void *arg, const char *peer, const struct wire_answer *answer);
    /* Whether the peer is known as a gateway below: asks for any device, each with a quota of its own. NULL: none is. */
    bool (*is_gateway)(void *arg, const char *peer);
    /* Hands an ask to the parent; its answer comes by escalate_answered. Anything but OK: it cannot be asked now. NULL:
     * none. */
    enum err (*ask_up)(void *arg, const struct wire_ask *ask);
    /* What a person should know, durably. id: a stable word; text: at most 399 bytes. Not OK: it is not taken now. */
    enum err (*on_event)(void *arg, const char *id, const char *text);
    /* For tests; NULL: gateway/engine's. open: path of the network, library NULL for our own engines. */
    enum err (*open)(void *arg, const char *library, const char *path, size_t batch_max, struct engine **ret_engine,
                     struct fault *reterr);
    enum err (*run)(void *arg, struct engine *engine, const float *in, size_t batch, float *out, struct fault *reterr);
    void *arg;
};
struct escalate_stats {
    uint64_t asks; /* that decoded and named their device truly */
    uint64_t malformed, identity, quota, given, unsure, busy, no_model, bad;
    uint64_t up, up_answered, up_unanswered;
    uint64_t labels, labels_dropped;
    uint64_t batches, rows, failed_batches, failed_rows, refused; /* refused: engines, at run time */
    size_t waiting; /* not answered yet */
    bool opening;   /* models are being opened */
};

/* site, gateway: our identity; copied. Begins to open the models. ERR_RANGE: a setting; ERR_NOMEM. */
enum err escalate_new(struct loop *loop, const char *site, const char *gateway,
                      const struct escalate_settings *settings, const struct escalate_handlers *handlers,
                      struct escalate **ret_escalate, struct fault *reterr) MUST_CHECK;
/* Waits for what its workers have in hand, but for none longer than a second. Accepts NULL. */
void escalate_free(struct escalate *escalate);
DEFINE_CLEANUP(struct escalate, escalate_free)
/* Numbers are in force at once, models when they have been opened. While some are being opened, the last call counts.
 * ERR_RANGE, ERR_NOMEM: all stays as it was. */
enum err escalate_set(struct escalate *escalate, const struct escalate_settings *settings,
                      struct fault *reterr) MUST_CHECK;
/* Opens every model as escalate_new would and lets go of it, without answering anybody; of one with engine onnx the
 * description, `for` and features alone, since a library's code is run only when it is to answer. refused: called for
 * each that would not answer, by the name in the settings. ERR_RANGE: a setting; ERR_NOMEM. */
enum err escalate_trial(const struct escalate_settings *settings,
                        void (*refused)(void *arg, const char *name, const char *why), void *arg,
                        struct fault *reterr) MUST_CHECK;
/* A message on <...>/<peer>/ask. */
void escalate_ask(struct escalate *escalate, const char *peer, struct slice payload);
/* A message on our own <...>/answer at the parent. */
void escalate_answered(struct escalate *escalate, struct slice payload);
/* What an operator has to see to, a string each into the array that the caller has begun; j NULL: only whether there is
 * anything. True: nothing. */
bool escalate_fine(const struct escalate *escalate, struct json *j);
void escalate_stats(const struct escalate *escalate, struct escalate_stats *ret_stats);
/* Members of an object that the caller has begun: counts, "models": [{"name", "engine", "detail", "p50_ms", ...}]. */
void escalate_json(const struct escalate *escalate, struct json *j);

#endif
