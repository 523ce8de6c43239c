/* SPDX-License-Identifier: Apache-2.0 */
/* Asks and answers: see the table in infer.h. */
#include <math.h>

#include "device/infer/infer_internal.h"

/* How long an answer stands for the same input, and how long a gateway that has no model for us is left alone. */
#define ANSWER_KEPT_US (10 * MINUTE_US)
#define NO_MODEL_PAUSE_US MINUTE_US
enum { FRAME_BYTES = 64 }; /* what an ask takes beside its payload: topic, MQTT and TCP heads */

bool infer_asks(const struct infer *f)
{
    return f->options.ask != INFER_NEVER;
}

unsigned infer_asking(const struct infer *f)
{
    unsigned count = 0;
    for (size_t i = 0; i < INFER_ASKS_MAX; i++) {
        count += f->asking[i].id != 0;
    }
    return count;
}

/* ---- outcomes ---- */

static void count_outcome(struct infer *f, Weir__V1__Asked asked)
{
    f->stats.answered += asked == WEIR__V1__ASKED__ASKED_ANSWERED;
    f->stats.late += asked == WEIR__V1__ASKED__ASKED_LATE;
    f->stats.refused += asked == WEIR__V1__ASKED__ASKED_REFUSED;
    f->stats.offline += asked == WEIR__V1__ASKED__ASKED_OFFLINE;
}

/* The device's own answer stands. */
static void own_stands(struct infer *f, const struct decision *own, const struct window_of *w, Weir__V1__Asked asked,
                       int64_t took_us)
{
    struct verdict v = infer_own(f, own);
    count_outcome(f, asked);
    infer_tell(f, &v, own, w, asked, took_us);
}

/* The ask under way whose deadline comes first; NULL = none is. */
static struct asking *first_due(struct infer *f)
{
    struct asking *first = NULL;
    for (size_t i = 0; i < INFER_ASKS_MAX; i++) {
        struct asking *a = &f->asking[i];
        if (a->id != 0 && (first == NULL || a->order < first->order)) { /* all have the same time: it is the oldest */
            first = a;
        }
    }
    return first;
}

static void set_wake(struct infer *f)
{
    const struct asking *a = first_due(f);
    f->host.wake_at(f->host.arg, a != NULL ? a->deadline_us : 0);
}

/* The place is free before anything is told. */
static void close_own(struct infer *f, struct asking *a, Weir__V1__Asked asked)
{
    a->id = 0;
    set_wake(f);
    own_stands(f, &a->own, &a->window, asked, infer_now(f) - a->since_us);
}

void infer_wake(struct infer *f)
{
    struct asking *a = first_due(f);
    int64_t now_us = infer_now(f);
    while (a != NULL && a->deadline_us <= now_us) {
        close_own(f, a, WEIR__V1__ASKED__ASKED_LATE);
        a = first_due(f);
    }
    set_wake(f);
}

void infer_end(struct infer *f)
{
    for (size_t i = 0; i < INFER_ASKS_MAX; i++) {
        if (f->asking[i].id != 0) {
            close_own(f, &f->asking[i], WEIR__V1__ASKED__ASKED_LATE);
        }
    }
    infer_span_end(f);
}

/* ---- answers ---- */

static struct asking *find(struct infer *f, uint64_t id)
{
    for (size_t i = 0; i < INFER_ASKS_MAX; i++) {
        if (f->asking[i].id == id) {
            return &f->asking[i];
        }
    }
    return NULL;
}

static void take_answer(struct infer *f, struct asking *a, const struct wire_answer *answer)
{
    struct verdict v = {
        .decision = {.class = answer->answer, .confidence = (double)answer->confidence, .score = (double)answer->score},
        .by = WEIR__V1__ANSWERED_BY__BY_GATEWAY,
        .model = answer->model};
    memcpy(v.engine, answer->engine, sizeof(v.engine));
    /* Of features alone: another window may look the same to our network, and not to the one up there that saw it all.
     */
    struct cached *c = a->features ? infer_cached(f, a->hash) : NULL;
    if (c != NULL) {
        c->answer = v;
        c->answer_until_us = infer_now(f) + ANSWER_KEPT_US;
    }
    a->id = 0;
    set_wake(f);
    count_outcome(f, WEIR__V1__ASKED__ASKED_ANSWERED);
    infer_tell(f, &v, &a->own, &a->window, WEIR__V1__ASKED__ASKED_ANSWERED, infer_now(f) - a->since_us);
}

/* Whoever says "smaller" leaves it to us what an ask carries. */
static bool window_may_do(const struct infer *f)
{
    return f->ring != NULL && f->leaves_it_to_us && infer_ask_window_bytes(f) + INFER_ASK_HEAD_MAX <= f->ask.max;
}

void infer_answer(struct infer *f, struct slice bytes)
{
    struct wire_answer answer;
    struct asking *a = NULL;
    if (wire_answer_decode(bytes, &answer) == OK && strcmp(answer.device, f->device) == 0) {
        a = find(f, answer.id); /* an id is never 0 */
    }
    if (a == NULL) {
        f->stats.strays++;
        return;
    }
    bool is_ours = answer.model != 0 && answer.answer < infer_classes(f);
    if (answer.status == WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN && is_ours) {
        take_answer(f, a, &answer);
        return;
    }
    bool bad = answer.status == WEIR__V1__ANSWER_STATUS__ANSWER_BAD;
    if (bad && a->features && window_may_do(f)) {
        f->options.ask = INFER_WINDOW; /* the model up there makes other features: from now on it gets the window */
    } else if (bad || answer.status == WEIR__V1__ANSWER_STATUS__ANSWER_NO_MODEL) {
        f->no_model_until_us = infer_now(f) + NO_MODEL_PAUSE_US;
    }
    close_own(f, a, WEIR__V1__ASKED__ASKED_REFUSED);
}

/* ---- asks ---- */

static bool is_int8(const struct infer *f)
{
    return nn_input_info(f->nn, 0)->type == NN_INT8;
}

size_t infer_ask_features_bytes(const struct infer *f)
{
    return f->info->inputs * (is_int8(f) ? 1 : sizeof(float));
}

/* One scale serves all channels only where they share it. */
static bool same_resolution(const struct infer *f)
{
    for (unsigned i = 1; i < f->info->features.channels; i++) {
        if (f->resolution[i] != f->resolution[0]) {
            return false;
        }
    }
    return (float)f->resolution[0] > 0;
}

size_t infer_ask_window_bytes(const struct infer *f)
{
    return (size_t)f->info->features.window * f->info->features.channels *
           sizeof(float); /* values may be beyond 16 bits */
}

static void put_features(struct infer *f, struct wire_ask *ask)
{
    ask->rows = 1;
    ask->columns = (uint32_t)f->info->inputs;
    ask->form = WEIR__V1__FORM__FEATURES_FLOAT32;
    size_t bytes = infer_ask_features_bytes(f);
    if (!is_int8(f)) {
        memcpy(f->values, f->row, bytes);
    } else {
        const struct nn_tensor *in = nn_input_info(f->nn, 0);
        for (size_t i = 0; i < bytes; i++) {
            f->values[i] = (uint8_t)nn_quantize(in, f->row[i]);
        }
        ask->form = WEIR__V1__FORM__FEATURES_INT8;
        ask->scale = in->scale;
        ask->zero_point = in->zero_point;
    }
    ask->values = slice_of(f->values, bytes);
}

/* The window in order of time. */
static void unroll(const struct infer *f, float *out)
{
    size_t channels = f->info->features.channels, window = f->info->features.window;
    size_t oldest = f->ring_at * channels, all = window * channels;
    memcpy(out, f->ring + oldest, (all - oldest) * sizeof(*out));
    memcpy(out + all - oldest, f->ring, oldest * sizeof(*out));
}

static void put_window(struct infer *f, struct wire_ask *ask)
{
    float *values = (float *)(void *)f->values;
    unroll(f, values);
    wire_ask_window(ask, values, f->info->features.window, f->info->features.channels,
                    same_resolution(f) ? f->resolution[0] : 0);
}

/* Whichever is smaller, once it is known how small the window can be told. */
static void put_values(struct infer *f, struct wire_ask *ask)
{
    size_t features = infer_ask_features_bytes(f);
    if (f->options.ask != INFER_FEATURES && f->ring_count == f->info->features.window &&
        (f->options.ask == INFER_WINDOW || infer_ask_window_bytes(f) / 2 < features)) {
        put_window(f, ask);
        if (f->options.ask == INFER_WINDOW || ask->values.len < features) {
            return;
        }
        ask->scale = 0;
    }
    put_features(f, ask);
}

static enum err send_ask(struct infer *f, uint64_t id, const struct decision *own)
{
    struct wire_ask ask = {.id = id,
                           .model = f->info->id,
                           .deadline_ms = (uint32_t)max_i64(f->options.ask_deadline_us / MS_US, 1),
                           .own_answer = own->class,
                           .own_confidence = (float)own->confidence};
    memcpy(ask.site, f->site, sizeof(ask.site));
    memcpy(ask.gateway, f->gateway, sizeof(ask.gateway));
    memcpy(ask.device, f->device, sizeof(ask.device));
    put_values(f, &ask);
    f->asks_features = ask.form == WEIR__V1__FORM__FEATURES_INT8 || ask.form == WEIR__V1__FORM__FEATURES_FLOAT32;
    buffer_reset(&f->ask);
    TRY(wire_ask_encode(&ask, &f->ask));
    if (!credit_has(&f->bytes, (double)(f->ask.len + FRAME_BYTES), infer_now(f))) {
        f->stats.beyond_bytes++;
        return ERR_FULL;
    }
    TRY(f->handlers.ask(f->handlers.arg, buffer_slice(&f->ask)));
    credit_spend(&f->bytes, (double)(f->ask.len + FRAME_BYTES));
    f->stats.ask_bytes += f->ask.len;
    return OK;
}

void infer_ask_about(struct infer *f, uint64_t hash, const struct decision *own, const struct window_of *w)
{
    int64_t now_us = infer_now(f);
    const struct cached *c = infer_cached(f, hash);
    if (c != NULL && c->answer_until_us > now_us) {
        struct verdict v = c->answer;
        count_outcome(f, WEIR__V1__ASKED__ASKED_ANSWERED);
        infer_tell(f, &v, own, w, WEIR__V1__ASKED__ASKED_ANSWERED, 0);
        return;
    }
    if (now_us < f->no_model_until_us) {
        own_stands(f, own, w, WEIR__V1__ASKED__ASKED_REFUSED, 0);
        return;
    }
    struct asking *a = find(f, 0);
    uint64_t id = f->host.random(f->host.arg);
    if (a == NULL || !credit_has(&f->asks, 1, now_us) || send_ask(f, id, own) != OK) {
        own_stands(f, own, w, WEIR__V1__ASKED__ASKED_OFFLINE, 0);
        return;
    }
    credit_spend(&f->asks, 1);
    f->stats.asked++;
    a->id = id;
    a->hash = hash;
    a->own = *own;
    a->features = f->asks_features;
    a->window = *w;
    a->since_us = now_us;
    a->deadline_us = now_us + f->options.ask_deadline_us;
    a->order = f->stats.asked;
    set_wake(f);
}
