/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What escalate's files share: escalate.c (asks from arrival to answer), batch.c (queues, batches, their ends), work.c
 * (a batch on its worker's thread), up.c (the parent, labels), models.c (opening and swapping), vectors.c (self-tests),
 * classes.c (ours and the device's), quota.c, settings.c, report.c.
 */
#ifndef GATEWAY_ESCALATE_ESCALATE_INTERNAL_H
#define GATEWAY_ESCALATE_ESCALATE_INTERNAL_H

#include "core/features/features.h"
#include "core/sketch/sketch.h"
#include "gateway/escalate/escalate.h"
#include "proto/model/model.h"

enum { ESCALATE_CLASS_UNKNOWN = UINT16_MAX, ESCALATE_PROBLEM = 400 };
/* A device model that is answered for. */
struct escalate_known {
    uint64_t id;
    bool assumed;                    /* nobody has told its classes */
    unsigned classes;                /* that it has */
    uint16_t of[MODEL_CLASSES_MAX]; /* our class -> its class, or ESCALATE_CLASS_UNKNOWN */
};
/* A model that is open: immutable but for the engine's inside, which only the engine's worker touches. */
struct escalate_loaded {
    unsigned refs; /* the slot, and the batch that runs on it; the loop's thread only */
    struct model *model;
    struct engine *engine;
    void *features_memory; /* owned */
    struct features *features;
    struct escalate_known known[ESCALATE_FOR_MAX + 1];
    unsigned known_count;
    bool any;                     /* "*" is among them: */
    struct escalate_known others; /* whoever is none of the known */
    char note[ESCALATE_PROBLEM];  /* classes that not every device has; "" */
    float *probe;                 /* owned; the first vector's inputs and outputs; NULL = no vectors */
    double tolerance;
};
/* A model by its name in the settings; outlives reloads. */
struct escalate_slot {
    struct escalate *escalate;
    char name[ID_MAX + 1];
    bool configured;
    struct escalate_loaded *loaded;  /* NULL: could not be opened, ever, or is refused */
    struct escalate_loaded *standby; /* our own engine for the same; NULL = none */
    char problem[ESCALATE_PROBLEM];  /* why the last attempt failed, or another engine took over; "" */
    struct escalate_wait *queue;     /* oldest first */
    unsigned queued;
    struct escalate_batch *batch; /* owned unless its worker was let go; NULL = none yet */
    bool running;                 /* the worker has it */
    struct loop_worker *worker;   /* made when first needed */
    struct loop_timer hang_timer; /* while it runs */
    unsigned failures;            /* batches in a row without anything */
    double batch_us;              /* running mean; 0 = none yet */
    uint64_t asks, given, unsure, busy, bad, no_model, up, batches, rows, failed, failed_rows;
    struct sketch latency; /* us from arrival to an answer that says something */
    struct escalate_slot *next;
};
enum escalate_state { ESCALATE_QUEUED, ESCALATE_RUNNING, ESCALATE_UP, ESCALATE_ANSWERED /* while its batch runs */ };
/* An ask that is not answered yet. */
struct escalate_wait {
    char peer[ID_MAX + 1];
    struct wire_ask ask;        /* its values point to bytes */
    struct escalate_slot *slot; /* NULL: no model of ours */
    enum escalate_state state;
    int64_t arrived_us, due_us; /* due: when it must be answered */
    uint64_t up_id;
    bool has_best;
    struct decision best;
    uint32_t best_class; /* the asker's; ESCALATE_CLASS_NONE */
    uint64_t best_model;
    uint32_t took_us;
    char label[48];                            /* of the best guess; "" = none, or too long */
    struct escalate_wait *prev, *next;         /* in the slot's queue */
    struct escalate_wait *all_prev, *all_next; /* of all */
    uint8_t bytes[];
};
/* A batch. The worker reads waits' asks and writes what follows; the loop leaves both alone meanwhile. */
struct escalate_batch {
    struct escalate_slot *slot;         /* the loop's */
    struct escalate_handlers handlers;
    struct escalate_loaded *loaded;     /* a reference; NULL = does not run */
    unsigned count;
    struct escalate_wait *waits[ESCALATE_BATCH_MAX];
    bool suspect; /* if this one fails, too, the engine is held against its probe */
    float *rows, *out, *window; /* owned */
    size_t rows_cap, out_cap, window_cap;
    bool fits[ESCALATE_BATCH_MAX], failed[ESCALATE_BATCH_MAX];
    struct decision decisions[ESCALATE_BATCH_MAX];
    bool broken; /* the engine fails its probe */
    struct fault fault; /* of the last row that failed, or the probe */
    int64_t started_us;
};
/* Settings, with all that they point to. */
struct escalate_plan {
    struct escalate_settings s;
    struct escalate_model models[ESCALATE_MODELS_MAX];
    const char *answers_for[ESCALATE_MODELS_MAX][ESCALATE_FOR_MAX];
    const char *classes[ESCALATE_MODELS_MAX][MODEL_CLASSES_MAX];
    char *owned[ESCALATE_MODELS_MAX * (ESCALATE_FOR_MAX + MODEL_CLASSES_MAX + 3) + 1]; /* the strings */
    size_t owned_count;
};
/* What became of one model. */
struct escalate_opened {
    struct escalate_loaded *loaded;  /* owned; NULL: problem says why */
    struct escalate_loaded *standby; /* owned; our own engine, should loaded's be refused */
    char problem[ESCALATE_PROBLEM];  /* with loaded: why another engine than the wanted one */
};
/* Models being opened: the worker's until its done. */
struct escalate_opening {
    struct escalate *escalate; /* the loop's */
    struct escalate_handlers handlers;
    struct escalate_plan *plan; /* owned */
    struct escalate_opened result[ESCALATE_MODELS_MAX];
};
struct escalate_account {
    uint64_t key;
    double tokens;
    int64_t at_us;
    struct escalate_account *hash_next; /* of its bucket */
};
enum { ESCALATE_BUCKETS = 4096, ESCALATE_ACCOUNTS_MAX = 65536 };

struct escalate {
    struct loop *loop;
    struct escalate_handlers handlers;
    char site[ID_MAX + 1], gateway[ID_MAX + 1];
    struct escalate_plan *plan;                   /* in force */
    struct escalate_plan *next_plan;              /* waits for the opening under way; NULL = none */
    struct escalate_opening *opening;             /* NULL = none */
    bool opened;                                  /* once */
    struct loop_worker *open_worker;              /* made when first needed */
    struct escalate_slot *slots;                  /* in order of the settings, what was taken out of them last */
    struct escalate_wait *waits;                  /* all that are not answered */
    size_t wait_bytes;
    struct loop_timer start_timer, due_timer;
    /* the parent */
    uint64_t next_up_id;
    bool up_proven;      /* the parent has answered, and not missed too many since */
    unsigned up_waiting; /* asks that the parent has */
    unsigned up_misses;  /* in a row */
    int64_t up_rest_until_us, up_rest_us;
    double label_tokens;
    int64_t label_at_us;
    struct escalate_account *accounts[ESCALATE_BUCKETS];
    size_t account_count;
    struct escalate_stats stats;
};

/* ---- escalate.c ---- */
/* Answers and ends it; frees it unless it is in the batch that runs. with: the verdict; NULL: none. */
void escalate_answer(struct escalate *e, struct escalate_wait *w, Weir__V1__AnswerStatus status,
                     const struct wire_answer *with);
/* What we would answer ourselves with the best guess. */
struct wire_answer escalate_own(const struct escalate *e, const struct escalate_wait *w);
bool escalate_is_gateway(const struct escalate *e, const char *peer);
/* After each change of what waits. */
void escalate_set_due(struct escalate *e);
/* Whether the model takes what is asked. */
bool escalate_fits(const struct escalate_loaded *loaded, const struct wire_ask *ask);
/* The slot that answers for this device model; NULL: none. */
struct escalate_slot *escalate_slot_for(struct escalate *e, uint64_t model);

/* ---- batch.c ---- */
void escalate_queue(struct escalate *e, struct escalate_wait *w);
void escalate_unqueue(struct escalate *e, struct escalate_wait *w);
/* When an ask that is queued now is likely to be answered; now when nobody is before it. */
int64_t escalate_estimate(const struct escalate *e, const struct escalate_slot *slot);
/* Starts every batch that is due and whose model runs none; says when to look again. */
void escalate_start(struct escalate *e);
/* Its batch, should it run: waited for a second, then let go. */
void escalate_end_batch(struct escalate_slot *slot);
/* Whether what runs should have returned long since. */
bool escalate_overdue(const struct escalate *e, const struct escalate_slot *slot);

/* ---- work.c ---- */
/* On the worker's thread; arg: a batch. */
void escalate_work(void *arg);

/* ---- up.c ---- */
bool escalate_may_go_up(struct escalate *e, const struct wire_ask *ask, int64_t due_us);
/* It may answer, but the ask that will show it is under way. */
bool escalate_up_unknown(const struct escalate *e);
/* False: it could not be handed over. The wait is in no queue. */
bool escalate_go_up(struct escalate *e, struct escalate_wait *w);
/* Its time is over without an answer of the parent. */
void escalate_up_late(struct escalate *e, struct escalate_wait *w);
/* Nobody further up: the best guess, and a label is asked for. */
void escalate_top(struct escalate *e, struct escalate_wait *w);

/* ---- models.c ---- */
enum err escalate_open_models(struct escalate *e, struct escalate_plan *plan) MUST_CHECK;
void escalate_loaded_unref(struct escalate_loaded *loaded);
void escalate_opening_free(struct escalate_opening *opening);
/* The engine in force answers no more: ours that stands by takes over. */
void escalate_refuse(struct escalate *e, struct escalate_slot *slot, const char *why);

/* ---- vectors.c ---- */
/* Holds the engine against the file, where there is one, and keeps its first line as the probe. */
enum err escalate_self_test(const struct escalate_model *m, struct escalate_loaded *loaded,
                            struct fault *reterr) MUST_CHECK;

/* ---- classes.c ---- */
/* Adds a device model; its description, or NULL: what the settings say of its classes. id 0: all others. ERR_RANGE:
 * too many, or it has none of our classes. */
enum err escalate_know(const struct escalate_model *m, struct escalate_loaded *loaded, uint64_t id,
                       const struct model_info *device, struct fault *reterr) MUST_CHECK;
/* NULL: the model does not answer for it. */
const struct escalate_known *escalate_known_of(const struct escalate_loaded *loaded, uint64_t id);
/* Of our class; NULL: it has no name. */
const char *escalate_label(const struct model_info *info, unsigned class);

/* ---- quota.c ---- */
bool escalate_admit(struct escalate *e, const char *peer, const struct wire_ask *ask);
void escalate_accounts_free(struct escalate *e);

/* ---- settings.c ---- */
/* ERR_RANGE, ERR_NOMEM. Fills in what is 0. */
enum err escalate_plan_new(const struct escalate_settings *settings, struct escalate_plan **ret_plan,
                           struct fault *reterr) MUST_CHECK;
void escalate_plan_free(struct escalate_plan *plan);

#endif
