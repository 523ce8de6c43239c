/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-gateway: the parts of the real world put together, rules and settings read again, signals. Exit: 0 ended on
 * request, 1 failed, 2 configuration.
 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "core/log/log.h"
#include "core/loop/loop.h"
#include "gateway/filter/filter.h"
#include "gateway/gatewayd/app.h"
#include "gateway/gatewayd/trial.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2 };

/* ---- rules ---- */
enum { WHY_MAX = 400 };

/* For the status, until it is put right. problems: every mistake, a line each; none: otherwise says what it was. */
static void write_why(const char *what, const struct buffer *problems, const char *otherwise, char ret_why[WHY_MAX])
{
    struct slice line = buffer_line(problems);
    line = line.len > 0 ? line : slice_str(otherwise);
    snprintf(ret_why, WHY_MAX, "%s not taken, what ran before stays in force: %.*s", what,
             (int)min_u64(line.len, WHY_MAX), (const char *)line.ptr);
}

/* The file and what runs differ. */
static void tell_reload(struct app *app, const char *what, const struct buffer *text)
{
    char why[WHY_MAX];
    write_why(what, text, "", why);
    gateway_tell_reload(app->gateway, why);
}

/* Tried again while a commit is under way. */
static void take_rules(struct app *app)
{
    if (app->next_rules == NULL) {
        return;
    }
    enum err err = gateway_set_rules(app->gateway, app->next_rules);
    if (err == ERR_AGAIN) {
        return;
    }
    if (err == OK) {
        log_info("new rules in force", KV_HEX("version", rules_version(app->next_rules)),
                 KV_U64("rules", rules_count(app->next_rules)));
        rules_free(app->rules);
        app->rules = take(app->next_rules);
        return;
    }
    log_error("rules not taken, the running ones stay in force", KV_STR("file", app->settings.rules_file),
              KV_STR("reason", app_why_not(err)));
    BUFFER(why, WHY_MAX);
    buffer_printf(&why, "%s: %s", app->settings.rules_file, app_why_not(err));
    tell_reload(app, "rules", &why);
    rules_free(take(app->next_rules));
}

/* Whether the file is good. */
static bool reload_rules(struct app *app)
{
    BUFFER(problems, 64 * 1024);
    if (app->rules == NULL) {
        return true;
    }
    rules_free(take(app->next_rules));
    if (settings_load_rules(&app->settings, app->settings.rules_file, &app->next_rules, &problems) != OK) {
        tell_reload(app, "rules", &problems);
        daemon_log_lines(LOG_ERROR, "rules not taken, the running ones stay in force", &problems);
        return false;
    }
    if (rules_version(app->next_rules) == rules_version(app->rules)) {
        rules_free(take(app->next_rules));
        return true;
    }
    take_rules(app);
    return true;
}

static enum err open_rules(struct app *app, struct fault *reterr)
{
    const struct settings *s = &app->settings;
    BUFFER(problems, 16 * 1024);
    if (s->rules_key[0] != '\0') {
        TRY(crypt_key_load(s->rules_key, app->pseudonym_key, reterr));
    }
    if (s->rules_file[0] == '\0') {
        return OK;
    }
    enum err err = settings_load_rules(s, s->rules_file, &app->rules, &problems);
    if (err != OK) {
        daemon_log_lines(LOG_ERROR, "rules", &problems);
        return fault_set(reterr, err, "rules.file: %s", s->rules_file);
    }
    return OK;
}

static enum err open_limits(struct app *app, struct fault *reterr)
{
    BUFFER(problems, 64 * 1024);
    enum err err = limits_new(&app->settings, NULL, &app->limits, &problems);
    if (err != OK) {
        daemon_log_lines(LOG_ERROR, "health.calibrations", &problems);
        return fault_set(reterr, err, "health.calibrations");
    }
    return OK;
}

static void set_desk(struct app *app)
{
    app->desk.loop = app->loop;
    app->desk.max_us = app->settings.rules_fetch_max_us;
    app->desk.unmasked = app->settings.rules_fetch_unmasked;
}

/* Models are opened anew in the background. */
static void reload_asks(struct app *app)
{
    struct fault fault = {.code = OK};
    CLEANUP(settings_escalation_freep) struct settings_escalation *fresh = NULL;
    enum err err = settings_escalation_new(&app->settings, options_path(), &fresh);
    err = err == OK ? gateway_set_escalate(app->gateway, &fresh->settings, &fault) : err;
    if (err != OK) {
        const char *reason = fault.text[0] != '\0' ? fault.text : err_name(err);
        BUFFER(why, WHY_MAX);
        log_error("escalate: not taken, the running settings stay in force", KV_STR("reason", reason));
        buffer_put_str(&why, reason);
        tell_reload(app, "escalate", &why);
        return;
    }
    settings_escalation_free(app->asks);
    app->asks = take(fresh);
}

/* In the status until it is put right. */
static void reload_limits(struct app *app)
{
    struct limits *fresh = NULL;
    BUFFER(problems, 64 * 1024);
    enum err err = limits_new(&app->settings, app->limits, &fresh, &problems);
    err = err == OK ? gateway_set_health(app->gateway, &fresh->options) : err;
    if (err != OK) {
        char why[WHY_MAX];
        write_why("health.calibrations", &problems, err_name(err), why);
        gateway_tell_health(app->gateway, why);
        daemon_log_lines(LOG_ERROR, "health.calibrations not taken, the running ones stay in force", &problems);
        limits_free(fresh, app->limits);
        return;
    }
    gateway_tell_health(app->gateway, NULL);
    limits_free(app->limits, fresh);
    app->limits = fresh;
}

/* ---- signals ---- */
static void on_stop(void *arg)
{
    struct app *app = arg;
    if (app->publish != NULL) {
        publish_stop(app->publish);
    }
    gateway_stop(app->gateway);
}

static bool stopped(void *arg)
{
    struct app *app = arg;
    return gateway_stopped(app->gateway);
}

static const char *failure(void *arg)
{
    struct app *app = arg;
    return gateway_failure(app->gateway);
}

static void on_reload(void *arg, int signo)
{
    struct app *app = arg;
    struct settings fresh = {0};
    size_t sets = 0;
    const char *const *set = options_sets(&sets);
    BUFFER(text, 64 * 1024);
    (void)signo;
    if (options_load(&settings_reload_program, options_path(), set, sets, &fresh, &text) != OK) {
        tell_reload(app, "configuration", &text);
        daemon_log_lines(LOG_ERROR, "configuration not taken, the running one stays in force", &text);
        return;
    }
    options_apply_live(&settings_program, &app->settings, &fresh, &text);
    options_free(&settings_program, &fresh);
    log_setup("weir-gateway", (enum log_level)app->settings.log_level);
    gateway_set_fleet(app->gateway, app->settings.offline_after_us, (unsigned)app->settings.max_frames_per_s);
    struct budget_rules budget;
    settings_budget(&app->settings, &budget);
    gateway_set_budget(app->gateway, &budget);
    set_desk(app);
    gateway_tell_reload(app->gateway, NULL);
    reload_asks(app);
    reload_limits(app);
    if (reload_rules(app)) {
        log_info("configuration read again");
    }
    daemon_log_lines(LOG_INFO, "configuration", &text);
}

static void on_watch(void *arg)
{
    struct app *app = arg;
    take_rules(app);
    fetch_sweep(&app->desk, gateway_filter(app->gateway));
}

static const struct daemon_life_ops life_ops = {
    .failure = failure, .stop = on_stop, .stopped = stopped, .watch = on_watch, .reload = on_reload};

/* ---- start ---- */
static uint64_t ring_bytes(const struct settings *s)
{
    enum { RING_PRESET = 64 << 20 };
    if (s->rules_ring != 0) {
        return (uint64_t)s->rules_ring;
    }
    return s->store.size / 4 < RING_PRESET ? (uint64_t)s->store.size / 4 : RING_PRESET;
}

/* Names the machine's present boot (proc(5)): random, so any 64 bits of it do. 0 = the system does not say. */
static uint64_t machine_boot_id(void)
{
    uint64_t id = 0;
    char text[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL && fgets(text, sizeof(text), file) != NULL) {
        for (const char *c = text; isxdigit((unsigned char)*c) || *c == '-'; c++) {
            id = mix_u64(id + (unsigned char)*c);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return id;
}

static enum err open_gateway(struct app *app, struct fault *reterr)
{
    const struct settings *s = &app->settings;
    bool parent = app->parent_count > 0;
    struct gateway_options options = {
        .site = s->site,
        .gateway = s->id,
        .parent_site = parent ? app->parents[0].site : NULL,
        .parent = parent ? app->parents[0].id : NULL,
        .other_parents = app->parents + 1,
        .other_parent_count = parent ? app->parent_count - 1 : 0,
        .failover_after_us = s->failover_after_us,
        .failback_after_us = s->failback_after_us,
        .software = WEIR_VERSION,
        .aead = app->aead,
        .commit_delay_us = s->commit_delay_us,
        .commit_entries = (unsigned)s->commit_entries,
        .uplink_window = {.max_frames = (unsigned)s->uplink_frames},
        .uplink_frame_bytes = (size_t)s->uplink_frame_bytes,
        .uplink_frame_entries = (unsigned)s->uplink_frame_entries,
        .offline_after_us = s->offline_after_us,
        .device_frames_per_s = (unsigned)s->max_frames_per_s,
        .rules = app->rules,
        .ring_bytes = ring_bytes(s),
        .boot_id = machine_boot_id(),
        .trail = (unsigned)s->rules_trail,
        .publish = app->publish,
    };
    if (settings_escalation_new(s, options_path(), &app->asks) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    options.escalate = &app->asks->settings;
    if (app->limits->options.count > 0) {
        options.health = &app->limits->options;
    }
    settings_budget(s, &options.uplink_budget);
    if (s->rules_key[0] != '\0') {
        options.pseudonym_key = slice_of(app->pseudonym_key, CRYPT_KEY_BYTES);
    }
    TRY(gateway_new(app->loop, app->down.bus, app->up[0].bus, app->store, &options, &app->gateway, reterr));
    set_desk(app);
    if (s->socket[0] != '\0') {
        TRY(control_server_new(app->loop, s->socket, app_routes, app, &app->control, reterr));
    }
    app->life = (struct daemon_life){.program = "weir-gateway",
                                     .ops = &life_ops,
                                     .loop = app->loop,
                                     .store = app->store,
                                     .store_path = s->store.path,
                                     .arg = app};
    enum err err = daemon_life_begin(&app->life);
    err = err == OK && app->publish != NULL ? publish_start(app->publish) : err;
    err = err == OK ? gateway_start(app->gateway) : err;
    return err == OK ? OK : fault_set(reterr, err, "cannot start: %s", err_name(err));
}

static enum err open_parent(struct app *app, const char *site, const char *id, const struct daemon_broker *broker,
                            struct fault *reterr)
{
    struct daemon_link *link = &app->up[app->parent_count];
    TRY(daemon_link_open(app->loop, broker, app->settings.id, link, reterr));
    app->parents[app->parent_count++] = (struct uplink_parent){
        .site = site[0] != '\0' ? site : app->settings.site, .id = id, .bus = link->bus};
    return OK;
}

static enum err open_links(struct app *app, struct fault *reterr)
{
    const struct settings *s = &app->settings;
    const struct settings_parent *parents = s->parents.items;
    app->settings.broker.version = publish_version(&app->settings.publish);
    TRY(daemon_link_open(app->loop, &app->settings.broker, app->settings.id, &app->down, reterr));
    if (s->parent_id[0] != '\0') {
        TRY(open_parent(app, s->parent_site, s->parent_id, &s->parent, reterr));
    }
    for (size_t i = 0; i < s->parents.count; i++) {
        TRY(open_parent(app, parents[i].site, s->parents.names[i], &parents[i].broker, reterr));
    }
    return publish_open(app->loop, app->down.bus, &app->settings.publish, &app->settings.broker, app->settings.site,
                        app->settings.id, WEIR_VERSION, &app->publish, reterr);
}

static int run(struct app *app)
{
    struct fault fault = {.code = OK};
    char owner[ID_MAX + 16];
    snprintf(owner, sizeof(owner), "gateway %s", app->settings.id);
    if (loop_new(&app->loop) != OK) {
        log_error("cannot start: the event loop cannot be made", KV_STR("reason", strerror(errno)));
        return EXIT_FAILED;
    }
    enum err err = open_rules(app, &fault);
    err = err == OK ? open_limits(app, &fault) : err;
    err = err == OK ? open_links(app, &fault) : err;
    if (err != OK) {
        log_error("cannot start", KV_STR("reason", fault.text), KV_ERR(err));
        return err == ERR_NOMEM || err == ERR_IO ? EXIT_FAILED : EXIT_CONFIG; /* the machine, or a setting */
    }
    err = daemon_store_open(app->loop, &app->settings.store, GATEWAY_TABLES, GATEWAY_TABLE_COUNT, GATEWAY_TABLE_META,
                            owner, &app->store, &app->aead, NULL, &fault);
    err = err == OK ? open_gateway(app, &fault) : err;
    if (err != OK) {
        log_error("cannot start", KV_STR("reason", fault.text), KV_ERR(err));
        return EXIT_FAILED;
    }
    return daemon_life_run(&app->life) == OK ? EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct options_program program = settings_program;
    program.trial = trial_run;
    loop_hold_signal(SIGHUP); /* to verify a store takes its time */
    switch (options_main(&program, argc, argv, &app.settings)) {
    case OPTIONS_DONE:
        return EXIT_OK;
    case OPTIONS_BAD:
        return EXIT_CONFIG;
    case OPTIONS_RUN:
        break;
    }
    log_setup("weir-gateway", (enum log_level)app.settings.log_level);
    (void)signal(SIGPIPE, SIG_IGN);
    int exit_code = run(&app);
    daemon_life_end(&app.life);
    control_server_free(app.control);
    fetch_deinit(&app.desk);
    if (app.publish != NULL) {
        publish_stop(app.publish); /* says so on the plant's session, where it has not yet */
    }
    daemon_link_close(&app.down);
    for (size_t i = 0; i < COUNT_OF(app.up); i++) {
        daemon_link_close(&app.up[i]);
    }
    gateway_free(app.gateway);
    settings_escalation_free(app.asks);
    publish_free(app.publish);
    limits_free(app.limits, NULL);
    rules_free(app.rules);
    rules_free(app.shadow);
    rules_free(app.next_rules);
    store_close(app.store);
    crypt_aead_free(app.aead);
    loop_free(app.loop);
    options_free(&settings_program, &app.settings);
    return exit_code;
}
