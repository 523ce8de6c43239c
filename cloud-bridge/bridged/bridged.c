/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wiring and the life of a bridge.
 *
 *   boot: epochs of new lanes --commit--> sinks tell their positions --+-- none ahead --> run
 *                                                                      '-- ahead: spool_rebase --commit--> run
 *
 * A sink that knows more of a lane than the spool shows that the spool came back from an old image. Its numbers
 * would be given out a second time and the sink's position would hide the new records, so the lane begins a new
 * epoch.
 */
#include "cloud-bridge/bridged/bridged.h"

#include <stdio.h>

#include "cloud-bridge/bridged/bridged_internal.h"
#include "core/log/log.h"

enum { BOOT_RETRY_US = 1000000, DEAD_MAX_BYTES = 1 << 20 };

static void fail(struct bridge *b, const char *what, const char *why)
{
    snprintf(b->failure, sizeof(b->failure), "%s: %s", what, why);
    log_error(what, KV_STR("reason", why));
}

static void on_durable(void *arg)
{
    struct bridge *b = arg;
    sinks_kick(b->sinks);
}

static struct store_batch *on_batch(void *arg)
{
    struct bridge *b = arg;
    return b->intake != NULL ? inbox_batch(intake_inbox(b->intake)) : NULL;
}

/* ---- boot ---- */
static enum err make_intake(struct bridge *b, struct fault *reterr)
{
    struct intake_options options = {
        .site = b->site,
        .bridge = b->id,
        .inbox = {.stream_table = BRIDGE_TABLE_STREAMS,
                  .max_batch = b->options.commit_entries,
                  .max_delay_us = b->options.commit_delay_us},
    };
    struct intake_handlers on = {.on_durable = on_durable, .arg = b};
    return intake_new(b->loop, b->bus, b->store, b->spools, &options, &on, &b->intake, reterr);
}

static void run(struct bridge *b)
{
    struct fault fault = {.code = OK};
    if (make_intake(b, &fault) != OK) {
        fail(b, "the bridge cannot start", fault.text);
        return;
    }
    intake_hold(b->intake, b->stopping);
    enum err err = bus_start(b->bus);
    if (err != OK) {
        fail(b, "the bridge cannot start its bus", err_name(err));
        return;
    }
    log_info("running", KV_STR("site", b->site), KV_STR("bridge", b->id), KV_U64("sinks", sinks_count(b->sinks)));
    sinks_kick(b->sinks);
}

static void settle(struct bridge *b, enum err result)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(b->spools[i], spool_next(b->spools[i]) - 1, result);
    }
}

/* False when it has failed for good or waits to be tried again. */
static bool committed(struct bridge *b, enum err result)
{
    settle(b, result);
    if (result == OK) {
        return true;
    }
    if (store_broken(b->store)) {
        fail(b, "the store cannot be written", err_name(result));
    } else {
        log_error("the start cannot be made durable, will try again", KV_ERR(result));
        loop_timer_in(&b->boot_timer, BOOT_RETRY_US);
    }
    return false;
}

static void on_rebased(void *arg, enum err result)
{
    struct bridge *b = arg;
    if (!committed(b, result)) {
        return;
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (sinks_ahead(b->sinks, i)) {
            b->rebased++;
            sinks_rebased(b->sinks, i);
        }
    }
    run(b);
}

static enum err rebase(struct bridge *b)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(store_batch_new(b->store, &batch));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (sinks_ahead(b->sinks, i)) {
            log_error("a sink holds more of this lane than the store: the store was restored from an old image",
                      KV_U64("lane", i), KV_HEX("epoch", spool_epoch(b->spools[i])),
                      KV_U64("durable", spool_durable(b->spools[i])));
            TRY(spool_rebase(b->spools[i], batch, spool_trimmed(b->spools[i])));
        }
    }
    return store_commit(b->store, take(batch), on_rebased, b);
}

static void open_sinks(struct bridge *b)
{
    struct sinks_handlers on = {
        .batch = on_batch, .arg = b, .store = b->store, .table = BRIDGE_TABLE_SINKS, .dead = b->dead};
    struct fault fault = {.code = OK};
    struct sink *given = b->given;
    size_t count = b->given_count;
    b->given_count = 0;
    if (sinks_new(b->loop, b->spools, given, count, &on, &b->sinks, &fault) != OK) {
        fail(b, "the sinks cannot be opened", fault.text);
    }
}

static void go_on(struct bridge *b)
{
    if (b->sinks == NULL) {
        open_sinks(b);
    }
    if (b->sinks == NULL) {
        return;
    }
    if (!sinks_ahead(b->sinks, 0) && !sinks_ahead(b->sinks, 1)) {
        run(b);
        return;
    }
    enum err err = rebase(b);
    if (err != OK) {
        fail(b, "the bridge cannot begin a new epoch", err_name(err));
    }
}

static void on_booted(void *arg, enum err result)
{
    struct bridge *b = arg;
    dead_created(b->dead, result);
    if (committed(b, result)) {
        go_on(b);
    }
}

static enum err boot(struct bridge *b)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(store_batch_new(b->store, &batch));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (spool_epoch(b->spools[i]) == 0) {
            TRY(spool_create(b->spools[i], batch));
        }
    }
    TRY(dead_create(b->dead, batch));
    TRY(sinks_prepare(b->store, batch, BRIDGE_TABLE_SINKS, b->given, b->given_count, b->spools));
    return store_commit(b->store, take(batch), on_booted, b);
}

static void on_boot_timer(void *arg)
{
    struct bridge *b = arg;
    enum err err = b->sinks == NULL ? boot(b) : OK;
    if (err != OK) {
        fail(b, "the bridge cannot start", err_name(err));
    } else if (b->sinks != NULL) {
        go_on(b);
    }
}

/* ---- the public face ---- */
static enum err take_sinks(struct bridge *b, struct sink *sinks, size_t count)
{
    b->given = calloc(count ? count : 1, sizeof(*b->given));
    if (b->given == NULL) {
        return ERR_NOMEM;
    }
    memcpy(b->given, sinks, count * sizeof(*sinks));
    b->given_count = count;
    return OK;
}

static enum err make(struct loop *loop, struct bus *bus, struct store *store, const struct bridge_options *options,
                     struct bridge *b, struct fault *reterr)
{
    if (!id_valid(slice_str(options->site)) || !id_valid(slice_str(options->bridge))) {
        return fault_set(reterr, ERR_RANGE, "site and id must be [A-Za-z0-9_-]{1,64}");
    }
    b->loop = loop;
    b->bus = bus;
    b->store = store;
    b->options = *options;
    snprintf(b->site, sizeof(b->site), "%s", options->site);
    snprintf(b->id, sizeof(b->id), "%s", options->bridge);
    snprintf(b->software, sizeof(b->software), "%s", options->software ? options->software : "");
    b->options.site = b->site;
    b->options.bridge = b->id;
    b->options.software = b->software;
    loop_timer_init(&b->boot_timer, loop, on_boot_timer, b);
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct spool_options spool = {
            .table = BRIDGE_TABLE_SPOOL, .meta_table = BRIDGE_TABLE_META, .lane = i, .aead = options->aead};
        TRY(spool_open(loop, store, &spool, &b->spools[i], reterr));
    }
    struct dead_options dead = {.table = BRIDGE_TABLE_SINKS,
                                .meta_table = BRIDGE_TABLE_META,
                                .aead = options->aead,
                                .max_bytes = options->dead_max_bytes ? options->dead_max_bytes : DEAD_MAX_BYTES};
    TRY(dead_open(loop, store, &dead, &b->dead, reterr));
    b->started_us = loop_now_us(loop);
    return OK;
}

enum err bridge_new(struct loop *loop, struct bus *bus, struct store *store, struct sink *sinks, size_t sink_count,
                    const struct bridge_options *options, struct bridge **ret_bridge, struct fault *reterr)
{
    CLEANUP(bridge_freep) struct bridge *b = calloc(1, sizeof(*b));
    if (b == NULL || take_sinks(b, sinks, sink_count) != OK) {
        for (size_t i = 0; i < sink_count; i++) {
            sinks[i].ops->close(sinks[i].self);
        }
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    TRY(make(loop, bus, store, options, b, reterr));
    *ret_bridge = take(b);
    return OK;
}

void bridge_free(struct bridge *b)
{
    if (b == NULL) {
        return;
    }
    loop_timer_cancel(&b->boot_timer);
    sinks_free(b->sinks);
    dead_free(b->dead);
    for (size_t i = 0; i < b->given_count; i++) {
        b->given[i].ops->close(b->given[i].self);
    }
    free(b->given);
    intake_free(b->intake);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_free(b->spools[i]);
    }
    free(b);
}

enum err bridge_start(struct bridge *b)
{
    return boot(b);
}

void bridge_stop(struct bridge *b)
{
    b->stopping = true;
    if (b->intake != NULL) {
        intake_hold(b->intake, true);
    }
    if (b->sinks != NULL) {
        sinks_stop(b->sinks);
    }
}

static bool nothing_pending(const struct bridge *b)
{
    return store_commits_pending(b->store) == 0 && spool_next(b->spools[0]) == spool_durable(b->spools[0]) + 1 &&
           spool_next(b->spools[1]) == spool_durable(b->spools[1]) + 1;
}

bool bridge_stopped(const struct bridge *b)
{
    return b->stopping && nothing_pending(b) && (b->sinks == NULL || sinks_idle(b->sinks));
}

const char *bridge_failure(const struct bridge *b)
{
    return b->failure[0] != '\0' ? b->failure : NULL;
}

bool bridge_drained(struct bridge *b)
{
    return b->intake != NULL && nothing_pending(b) && sinks_drained(b->sinks);
}

void bridge_stats(struct bridge *b, struct bridge_stats *ret_stats)
{
    *ret_stats = (struct bridge_stats){.rebased = b->rebased};
    if (b->intake != NULL) {
        struct receive_stats receive;
        intake_stats(b->intake, &receive);
        inbox_stats(intake_inbox(b->intake), &ret_stats->inbox);
        ret_stats->frames = receive.frames;
        ret_stats->decode_errors = receive.decode_errors;
        ret_stats->identity_errors = receive.identity_errors;
        ret_stats->retained_ignored = receive.retained_ignored;
        ret_stats->records_refused = receive.records_refused;
        ret_stats->devices_refused = receive.channel_errors;
    }
    if (b->sinks != NULL) {
        sinks_stats(b->sinks, 0, &ret_stats->sink);
    }
}

struct inbox *bridge_inbox(struct bridge *b)
{
    return b->intake ? intake_inbox(b->intake) : NULL;
}
