/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wiring and the life of a gateway. The boot is one transaction: epochs of new lanes and the counter of starts, both
 * durable before anything is received or sent.
 */
#include "gateway/gatewayd/gatewayd.h"

#include <stdio.h>

#include "core/log/log.h"
#include "gateway/gatewayd/gatewayd_internal.h"

enum { BOOT_RETRY_US = 1000000, TICK_US = 5000000 };

static void fail(struct gateway *g, const char *what, const char *why)
{
    snprintf(g->failure, sizeof(g->failure), "%s: %s", what, why);
    log_error(what, KV_STR("reason", why));
}

/* ---- what the parts ask of each other ---- */
/* The outgoing spools have more. */
static void on_curated(void *arg)
{
    struct gateway *g = arg;
    if (g->uplink != NULL) {
        uplink_kick(g->uplink);
    }
    if (g->views != NULL) {
        views_kick(g->views);
    }
}

static void on_durable(void *arg)
{
    struct gateway *g = arg;
    gateway_notes_look(g);
    if (g->vitals != NULL) {
        vitals_kick(g->vitals);
    }
    if (g->filter != NULL) {
        filter_kick(g->filter);
    } else {
        on_curated(g);
    }
}

static struct store_batch *on_inbox_batch(void *arg)
{
    struct gateway *g = arg;
    return inbox_batch(ingest_inbox(g->ingest));
}

/* Whoever appends to the uplink's spools settles them: the filter, or the inbox. */
static struct store_batch *on_batch(void *arg)
{
    struct gateway *g = arg;
    return g->filter != NULL ? filter_batch(g->filter) : on_inbox_batch(g);
}

static void hold(struct gateway *g)
{
    if (g->ingest != NULL) {
        ingest_hold(g->ingest, g->stopping || (g->holding && g->filter == NULL));
    }
    if (g->filter != NULL) {
        filter_hold(g->filter, g->holding);
    }
}

static void on_path(void *arg, const struct path *path)
{
    struct gateway *g = arg;
    ingest_set_path(g->ingest, path);
}

static void on_hold(void *arg, bool held)
{
    struct gateway *g = arg;
    g->holding = held;
    hold(g);
    loop_task_post(&g->note_task);
}

/* ---- boot ---- */
static enum err make_ingest(struct gateway *g, struct fault *reterr)
{
    struct ingest_options options = {
        .site = g->site,
        .gateway = g->gateway,
        .inbox = {.stream_table = GATEWAY_TABLE_STREAMS,
                  .max_batch = g->options.commit_entries,
                  .max_delay_us = g->options.commit_delay_us},
    };
    struct ingest_handlers on = {.on_durable = on_durable, .on_ask = gateway_on_ask, .arg = g};
    return ingest_new(g->loop, g->down, g->store, g->spools, g->fleet, &options, &on, &g->ingest, reterr);
}

static enum err make_filter(struct gateway *g, struct fault *reterr)
{
    if (g->curated[0] == NULL) {
        return OK;
    }
    struct filter_options options = {
        .gateway = g->gateway,
        .rules = g->options.rules,
        .pseudonym_key = g->options.pseudonym_key,
        .aead = g->options.aead,
        .state_table = GATEWAY_TABLE_FILTER,
        .ring_bytes = g->options.ring_bytes,
        .trail = g->options.trail,
        .delay_us = g->options.commit_delay_us,
    };
    struct filter_handlers on = {
        .batch = on_inbox_batch, .on_durable = on_curated, .on_capture = gateway_on_capture, .arg = g};
    return filter_new(g->loop, g->store, g->spools, g->curated, &options, &on, &g->filter, reterr);
}

static enum err make_uplink(struct gateway *g, struct fault *reterr)
{
    struct uplink_options options = {
        .parent_site = g->parent_site,
        .parent = g->parent,
        .others = g->options.other_parents,
        .other_count = g->options.other_parent_count,
        .failover_after_us = g->options.failover_after_us,
        .failback_after_us = g->options.failback_after_us,
        .site = g->site,
        .gateway = g->gateway,
        .software = g->software,
        .boot_seq = g->boot_seq,
        .meta_table = GATEWAY_TABLE_META,
        .window = g->options.uplink_window,
        .frame_bytes = g->options.uplink_frame_bytes,
        .frame_entries = g->options.uplink_frame_entries,
        .budget = g->options.uplink_budget,
        .boot_id = g->options.boot_id,
    };
    struct uplink_handlers on = {.batch = on_batch,
                                 .hold = on_hold,
                                 .on_path = on_path,
                                 .on_answer = g->options.escalate != NULL ? gateway_on_parent_answer : NULL,
                                 .arg = g};
    struct spool *const *spools = g->filter != NULL ? g->curated : g->spools;
    return uplink_new(g->loop, g->up, g->store, spools, &options, &on, &g->uplink, reterr);
}

static void on_presence(void *arg, const char *id, bool online)
{
    struct gateway *g = arg;
    publish_device_state(g->options.publish, id, online);
}

static void on_known(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    struct gateway *g = arg;
    (void)epoch;
    (void)stream;
    publish_device_known(g->options.publish, sender);
}

static enum err make_views(struct gateway *g, struct fault *reterr)
{
    if (g->options.publish == NULL) {
        return OK;
    }
    struct views_options options = {
        .publish = g->options.publish,
        .spools = g->filter != NULL ? g->curated : g->spools,
        .aead = g->options.aead,
        .table = GATEWAY_TABLE_VIEWS,
        .batch = on_batch,
        .arg = g,
    };
    inbox_foreach_stream(ingest_inbox(g->ingest), on_known, g);
    fleet_on_presence(g->fleet, on_presence, g);
    enum err err = views_new(g->loop, g->store, &options, &g->views);
    return err == OK ? OK : fault_set(reterr, err, "the plant's views: %s", err_name(err));
}

static enum err on_health_note(void *arg, const char *id, const char *text)
{
    return gateway_note(arg, id, text);
}

static enum err make_vitals(struct gateway *g, struct fault *reterr)
{
    if (g->options.health == NULL) {
        return OK;
    }
    struct vitals_options options = {
        .health = g->options.health,
        .spools = g->spools,
        .aead = g->options.aead,
        .table = GATEWAY_TABLE_HEALTH,
        .batch = on_batch,
        .note = on_health_note,
        .arg = g,
    };
    enum err err = vitals_new(g->loop, g->store, &options, &g->vitals);
    return err == OK ? OK : fault_set(reterr, err, "health: %s", err_name(err));
}

static enum err run(struct gateway *g, struct fault *reterr)
{
    TRY(make_ingest(g, reterr));
    TRY(make_filter(g, reterr));
    if (g->up != NULL) {
        TRY(make_uplink(g, reterr));
        enum err err = bus_start(g->up);
        if (err != OK) {
            return fault_set(reterr, err, "parent's bus: %s", err_name(err));
        }
    }
    hold(g);
    TRY(make_views(g, reterr));
    TRY(make_vitals(g, reterr));
    TRY(gateway_asks_begin(g, reterr));
    loop_task_post(&g->note_task);
    enum err err = bus_start(g->down);
    if (err != OK) {
        return fault_set(reterr, err, "plant's bus: %s", err_name(err));
    }
    loop_timer_in(&g->tick_timer, TICK_US);
    return OK;
}

static void on_booted(void *arg, enum err result)
{
    struct gateway *g = arg;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(g->spools[i], spool_next(g->spools[i]) - 1, result);
        if (g->curated[i] != NULL) {
            spool_settle(g->curated[i], spool_next(g->curated[i]) - 1, result);
        }
    }
    if (result != OK) {
        if (store_broken(g->store)) {
            fail(g, "the store cannot be written", err_name(result));
            return;
        }
        log_error("the start cannot be made durable, will try again", KV_ERR(result));
        loop_timer_in(&g->boot_timer, BOOT_RETRY_US);
        return;
    }
    struct fault fault = {.code = OK};
    if (run(g, &fault) != OK) {
        fail(g, "the gateway cannot start", fault.text);
        return;
    }
    log_info("running", KV_STR("site", g->site), KV_STR("gateway", g->gateway), KV_U64("start", g->boot_seq),
             KV_U64("devices", fleet_devices(g->fleet)), KV_STR("parent", g->up ? g->parent : "none"));
}

static enum err boot(struct gateway *g)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(store_batch_new(g->store, &batch));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (spool_epoch(g->spools[i]) == 0) {
            TRY(spool_create(g->spools[i], batch));
        }
        if (g->curated[i] != NULL && spool_epoch(g->curated[i]) == 0) {
            TRY(spool_create(g->curated[i], batch));
        }
    }
    TRY(uplink_boot(g->store, GATEWAY_TABLE_META, batch, &g->boot_seq));
    return store_commit(g->store, take(batch), on_booted, g);
}

static void on_boot_timer(void *arg)
{
    struct gateway *g = arg;
    enum err err = boot(g);
    if (err != OK) {
        fail(g, "the gateway cannot start", err_name(err));
    }
}

/* ---- housekeeping: who has gone, how fast the store fills ---- */
static void on_tick(void *arg)
{
    struct gateway *g = arg;
    struct bus_stats stats;
    (void)fleet_online(g->fleet);
    gateway_notes_look(g);
    bus_stats(g->down, &stats);
    double rate = (double)(stats.bytes_in - g->last_bytes_in) / ((double)TICK_US / SECOND_US);
    g->last_bytes_in = stats.bytes_in;
    g->bytes_in_per_s += (rate - g->bytes_in_per_s) / 6; /* about half a minute */
    loop_timer_in(&g->tick_timer, TICK_US);
}

/* ---- the public face ---- */
static void copy_options(struct gateway *g, const struct gateway_options *options)
{
    g->options = *options;
    snprintf(g->site, sizeof(g->site), "%s", options->site);
    snprintf(g->gateway, sizeof(g->gateway), "%s", options->gateway);
    snprintf(g->parent_site, sizeof(g->parent_site), "%s", options->parent_site ? options->parent_site : g->site);
    snprintf(g->parent, sizeof(g->parent), "%s", options->parent ? options->parent : "");
    snprintf(g->software, sizeof(g->software), "%s", options->software ? options->software : "");
    g->options.site = g->site;
    g->options.gateway = g->gateway;
    g->options.parent_site = g->parent_site;
    g->options.parent = g->parent;
    g->options.software = g->software;
}

static enum err check_options(const struct gateway_options *options, const struct bus *up, struct fault *reterr)
{
    if (!id_valid(slice_str(options->site)) || !id_valid(slice_str(options->gateway))) {
        return fault_set(reterr, ERR_RANGE, "site and id must be [A-Za-z0-9_-]{1,64}");
    }
    if ((options->parent != NULL) != (up != NULL)) {
        return fault_set(reterr, ERR_RANGE, "a parent needs a bus to it, and a bus a parent");
    }
    if (options->parent != NULL && !id_valid(slice_str(options->parent))) {
        return fault_set(reterr, ERR_RANGE, "the parent's id must be [A-Za-z0-9_-]{1,64}");
    }
    return OK;
}

/* Lanes 2 and 3 of the spool's table. Without rules they are opened only to see whether there ever were any. */
static enum err open_curated(struct gateway *g, struct fault *reterr)
{
    bool once = false;
    for (uint8_t i = 0; i < INBOX_LANES && g->up != NULL; i++) {
        struct spool_options spool = {.table = GATEWAY_TABLE_SPOOL,
                                      .meta_table = GATEWAY_TABLE_META,
                                      .lane = (uint8_t)(INBOX_LANES + i),
                                      .aead = g->options.aead};
        TRY(spool_open(g->loop, g->store, &spool, &g->curated[i], reterr));
        once |= spool_epoch(g->curated[i]) != 0;
    }
    if (g->options.rules != NULL && g->up == NULL) {
        return fault_set(reterr, ERR_RANGE, "rules shape what goes to a parent, and there is none");
    }
    if (g->options.rules == NULL && once) {
        BUFFER(problems, 4096);
        enum err err = rules_load(NULL, &g->no_rules, &problems);
        g->options.rules = g->no_rules;
        return err == OK ? OK : fault_set(reterr, err, "out of memory");
    }
    for (unsigned i = 0; i < INBOX_LANES && g->options.rules == NULL; i++) {
        spool_free(take(g->curated[i]));
    }
    return OK;
}

enum err gateway_new(struct loop *loop, struct bus *down, struct bus *up, struct store *store,
                     const struct gateway_options *options, struct gateway **ret_gateway, struct fault *reterr)
{
    TRY(check_options(options, up, reterr));
    CLEANUP(gateway_freep) struct gateway *g = calloc(1, sizeof(*g));
    if (g == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    g->loop = loop;
    g->down = down;
    g->up = up;
    g->store = store;
    copy_options(g, options);
    loop_timer_init(&g->boot_timer, loop, on_boot_timer, g);
    loop_timer_init(&g->tick_timer, loop, on_tick, g);
    gateway_notes_init(g);
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct spool_options spool = {.table = GATEWAY_TABLE_SPOOL,
                                      .meta_table = GATEWAY_TABLE_META,
                                      .lane = i,
                                      .aead = options->aead};
        TRY(spool_open(loop, store, &spool, &g->spools[i], reterr));
    }
    TRY(open_curated(g, reterr));
    struct fleet_options fleet = {.offline_after_us = options->offline_after_us,
                                  .frames_per_s = options->device_frames_per_s};
    if (fleet_new(loop, &fleet, &g->fleet) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    g->started_us = loop_now_us(loop);
    *ret_gateway = take(g);
    return OK;
}

void gateway_free(struct gateway *g)
{
    if (g == NULL) {
        return;
    }
    loop_timer_cancel(&g->boot_timer);
    loop_timer_cancel(&g->tick_timer);
    loop_task_cancel(&g->note_task);
    escalate_free(g->escalate);
    views_free(g->views);
    vitals_free(g->vitals);
    uplink_free(g->uplink);
    filter_free(g->filter);
    ingest_free(g->ingest);
    fleet_free(g->fleet);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_free(g->spools[i]);
        spool_free(g->curated[i]);
    }
    rules_free(g->no_rules);
    free(g);
}

enum err gateway_start(struct gateway *g)
{
    return boot(g);
}

void gateway_stop(struct gateway *g)
{
    g->stopping = true;
    hold(g);
    if (g->uplink != NULL) {
        uplink_stop(g->uplink);
    }
}

static bool nothing_pending(const struct gateway *g)
{
    if (g->filter != NULL && !filter_idle(g->filter)) {
        return false;
    }
    return store_commits_pending(g->store) == 0 && spool_next(g->spools[0]) == spool_durable(g->spools[0]) + 1 &&
           spool_next(g->spools[1]) == spool_durable(g->spools[1]) + 1;
}

bool gateway_stopped(const struct gateway *g)
{
    return g->stopping && nothing_pending(g);
}

const char *gateway_failure(const struct gateway *g)
{
    return g->failure[0] != '\0' ? g->failure : NULL;
}

void gateway_set_fleet(struct gateway *g, int64_t offline_after_us, unsigned device_frames_per_s)
{
    fleet_set_options(g->fleet, &(struct fleet_options){.offline_after_us = offline_after_us,
                                                        .frames_per_s = device_frames_per_s});
}

bool gateway_drained(struct gateway *g)
{
    if (g->ingest == NULL || !nothing_pending(g)) {
        return false;
    }
    if (g->uplink == NULL) {
        return true;
    }
    struct uplink_stats stats;
    uplink_stats(g->uplink, &stats);
    struct spool *const *spools = g->filter != NULL ? g->curated : g->spools;
    if (g->filter != NULL && !filter_drained(g->filter)) {
        return false;
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (stats.lane[i].acked < spool_durable(spools[i])) {
            return false;
        }
    }
    return true;
}

void gateway_stats(struct gateway *g, struct gateway_stats *ret_stats)
{
    *ret_stats = (struct gateway_stats){.devices = fleet_devices(g->fleet), .devices_online = fleet_online(g->fleet)};
    if (g->ingest != NULL) {
        struct receive_stats receive;
        inbox_stats(ingest_inbox(g->ingest), &ret_stats->inbox);
        ingest_stats(g->ingest, &receive);
        ret_stats->frames = receive.frames;
        ret_stats->decode_errors = receive.decode_errors;
        ret_stats->identity_errors = receive.identity_errors;
        ret_stats->retained_ignored = receive.retained_ignored;
        ret_stats->quota_dropped = receive.quota_dropped;
        ret_stats->records_refused = receive.records_refused;
    }
    if (g->uplink != NULL) {
        struct uplink_stats uplink;
        uplink_stats(g->uplink, &uplink);
        ret_stats->uplink_rebased = uplink.rebased;
        for (unsigned i = 0; i < INBOX_LANES; i++) {
            ret_stats->uplink_acked[i] = uplink.lane[i].acked;
            ret_stats->uplink_top[i] = uplink.lane[i].top;
        }
    }
}

void gateway_set_budget(struct gateway *g, const struct budget_rules *rules)
{
    g->options.uplink_budget = *rules;
    if (g->uplink != NULL) {
        uplink_set_budget(g->uplink, rules);
    }
}

enum err gateway_open_uplink(struct gateway *g, int64_t for_us)
{
    if (g->uplink == NULL) {
        return g->up == NULL ? ERR_UNSUPPORTED : ERR_AGAIN;
    }
    uplink_open(g->uplink, for_us);
    return OK;
}

enum err gateway_set_rules(struct gateway *g, const struct rules *rules)
{
    if (g->curated[0] == NULL) {
        return ERR_UNSUPPORTED;
    }
    if (g->filter != NULL) {
        TRY(filter_set_rules(g->filter, rules));
    }
    g->options.rules = rules;
    return OK;
}

void gateway_tell_reload(struct gateway *g, const char *why)
{
    snprintf(g->reload, sizeof(g->reload), "%s", why != NULL ? why : "");
}

enum err gateway_set_shadow(struct gateway *g, const struct rules *rules)
{
    return g->filter != NULL ? filter_set_shadow(g->filter, rules) : ERR_UNSUPPORTED;
}

struct filter *gateway_filter(struct gateway *g)
{
    return g->filter;
}

enum err gateway_set_health(struct gateway *g, const struct health_options *health)
{
    const struct health_options *before = g->options.health;
    g->options.health = health->count > 0 ? health : NULL;
    enum err err = g->vitals != NULL ? vitals_set(g->vitals, health) : g->ingest != NULL ? make_vitals(g, NULL) : OK;
    g->options.health = err == OK ? g->options.health : before;
    return err;
}

void gateway_tell_health(struct gateway *g, const char *why)
{
    snprintf(g->limits_reload, sizeof(g->limits_reload), "%s", why != NULL ? why : "");
}

enum err gateway_health_json(struct gateway *g, const char *device, struct buffer *out)
{
    if (g->vitals == NULL) {
        return g->options.health == NULL ? ERR_UNSUPPORTED : ERR_AGAIN;
    }
    vitals_json(g->vitals, device, out);
    return OK;
}

struct inbox *gateway_inbox(struct gateway *g)
{
    return g->ingest ? ingest_inbox(g->ingest) : NULL;
}

const struct uplink *gateway_uplink(const struct gateway *g)
{
    return g->uplink;
}
