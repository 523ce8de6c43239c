/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-gateway: the parts of the real world put together, signals, the control socket. Exit: 0 ended on request, 1
 * failed, 2 configuration.
 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "core/base/json.h"
#include "core/control/control.h"
#include "core/daemon/daemon.h"
#include "core/log/log.h"
#include "core/crypt/crypt.h"
#include "core/loop/loop.h"
#include "gateway/filter/filter.h"
#include "gateway/gatewayd/fetch.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/gatewayd/settings.h"
#include "gateway/parents/parents.h"
#include "gateway/publish/publish.h"
#include "gateway/uplink/uplink.h"
#include "proto/rules/rules.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2 };
enum { UPLINK_OPEN_S = 600, UPLINK_OPEN_MAX_S = 31 * 86400 };
enum { WATCH_US = 250000, STOPPING_US = 5000, STOP_LIMIT_US = 10000000 };

struct app {
    struct settings settings;
    struct loop *loop;
    struct crypt_aead *aead;
    struct store *store;
    struct daemon_link down, up[PARENTS_MAX]; /* up: the preferred parent's first */
    struct uplink_parent parents[PARENTS_MAX];
    size_t parent_count;
    struct publish *publish; /* NULL: no views for subscribers in the plant */
    struct gateway *gateway;
    struct control_server *control;
    struct fetch_desk desk;
    struct loop_timer watch;
    int64_t stop_by_us; /* 0 = not stopping */
    bool told_store;    /* that it takes no commits */
    struct rules *rules, *shadow; /* owned; in force */
    struct rules *next_rules;     /* owned; wait for the commit under way */
    uint8_t pseudonym_key[CRYPT_KEY_BYTES];
    int exit;
};

/* ---- the operator's questions ---- */
static int answer_status(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    (void)request;
    gateway_status_json(app->gateway, body);
    return 200;
}

static int answer_ledger(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    gateway_ledger_json(app->gateway, control_param(request, "device"), body);
    return 200;
}

static int answer_devices(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    (void)request;
    gateway_devices_json(app->gateway, body);
    return 200;
}

static int answer_error(struct buffer *body, int status, const char *text)
{
    struct json j;
    buffer_reset(body);
    json_init(&j, body);
    json_object(&j, NULL);
    json_str(&j, "error", text);
    json_object_end(&j);
    return status;
}

/* Rules that parse and still are not taken. */
static const char *why_not(enum err err)
{
    return err == ERR_UNSUPPORTED ? "the gateway was started without rules.file"
           : err == ERR_DENIED    ? "a rule with do: hash needs the plant's key (rules.key)"
                                  : err_name(err);
}

/* ?device=D adds what became of that device's records. */
static int answer_rules(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    if (gateway_filter(app->gateway) == NULL) {
        return answer_error(body, 404, "this gateway has no rules");
    }
    filter_report_json(gateway_filter(app->gateway), control_param(request, "device"), body);
    return 200;
}

/* ?file=PATH runs the rules in that file beside the live ones; without file the shadow ends. */
static int answer_shadow(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    const char *path = control_param(request, "file");
    struct rules *rules = NULL;
    BUFFER(problems, 16 * 1024);
    if (path != NULL && settings_load_rules(&app->settings, path, &rules, &problems) != OK) {
        buffer_put_u8(&problems, 0);
        return answer_error(body, 400, problems.ptr ? (const char *)problems.ptr : "the file cannot be read");
    }
    enum err err = gateway_set_shadow(app->gateway, rules);
    if (err != OK) {
        rules_free(rules);
        return answer_error(body, err == ERR_UNSUPPORTED ? 404 : err == ERR_DENIED ? 400 : 503, why_not(err));
    }
    rules_free(app->shadow);
    app->shadow = rules;
    return answer_rules(app, request, body);
}

/* Readings from the ring; see fetch.h. */
static int answer_fetch(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    return fetch_answer(&app->desk, gateway_filter(app->gateway), request, body);
}

static int answer_bill(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    (void)request;
    return gateway_bill_json(app->gateway, body) == OK ? 200 : answer_error(body, 404, "this gateway has no parent");
}

/* ?for=SECONDS; 0 ends it. */
static int answer_uplink_open(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    const char *text = control_param(request, "for");
    char *end = NULL;
    uint64_t seconds = text != NULL ? strtoull(text, &end, 10) : UPLINK_OPEN_S;
    if ((text != NULL && (!isdigit((unsigned char)text[0]) || *end != '\0')) || seconds > UPLINK_OPEN_MAX_S) {
        return answer_error(body, 400, "for is a number of seconds, a month at most");
    }
    enum err err = gateway_open_uplink(app->gateway, (int64_t)seconds * SECOND_US);
    if (err != OK) {
        return answer_error(body, err == ERR_UNSUPPORTED ? 404 : 503,
                            err == ERR_UNSUPPORTED ? "this gateway has no parent" : "the gateway is starting");
    }
    log_info(seconds > 0 ? "uplink asked for" : "uplink not asked for any more", KV_U64("seconds", seconds));
    gateway_status_json(app->gateway, body);
    return 200;
}

static const struct control_route routes[] = {{"/status", answer_status}, {"/ledger", answer_ledger},
                                              {"/devices", answer_devices}, {"/rules", answer_rules},
                                              {"/rules/shadow", answer_shadow}, {"/fetch", answer_fetch},
                                              {"/bill", answer_bill}, {"/uplink/open", answer_uplink_open},
                                              {NULL, NULL}};

/* ---- rules ---- */
/* In the status until it is put right: the file and what runs differ. text: every mistake, a line each. */
static void tell_reload(struct app *app, const char *what, const struct buffer *text)
{
    char why[400];
    const uint8_t *end = text->len > 0 ? memchr(text->ptr, '\n', text->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text->ptr) : text->len;
    snprintf(why, sizeof(why), "%s not taken, what ran before stays in force: %.*s", what, (int)min_u64(len, sizeof(why)),
             len > 0 ? (const char *)text->ptr : "");
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
              KV_STR("reason", why_not(err)));
    BUFFER(why, 400);
    buffer_printf(&why, "%s: %s", app->settings.rules_file, why_not(err));
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

static void set_desk(struct app *app)
{
    app->desk.loop = app->loop;
    app->desk.max_us = app->settings.rules_fetch_max_us;
    app->desk.unmasked = app->settings.rules_fetch_unmasked;
}

/* ---- signals ---- */
static void on_end(void *arg, int signo)
{
    struct app *app = arg;
    if (app->stop_by_us != 0) {
        return;
    }
    log_info("stopping", KV_STR("signal", signo == SIGINT ? "SIGINT" : "SIGTERM"));
    daemon_notify("STOPPING=1");
    app->stop_by_us = loop_now_us(app->loop) + STOP_LIMIT_US;
    if (app->publish != NULL) {
        publish_stop(app->publish);
    }
    gateway_stop(app->gateway);
    loop_timer_in(&app->watch, STOPPING_US);
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
    if (reload_rules(app)) {
        log_info("configuration read again");
    }
    daemon_log_lines(LOG_INFO, "configuration", &text);
}

/* Sees to what cannot be waited for by an event: failure, and the end of stopping. */
static void on_watch(void *arg)
{
    struct app *app = arg;
    const char *failure = gateway_failure(app->gateway);
    if (store_broken(app->store) || failure != NULL) {
        log_error("cannot go on", KV_STR("store", app->settings.store.path),
                  KV_STR("reason", failure ? failure : "the store cannot be written any more"));
        app->exit = EXIT_FAILED;
        loop_stop(app->loop);
        return;
    }
    if (app->stop_by_us != 0 && (gateway_stopped(app->gateway) || loop_now_us(app->loop) >= app->stop_by_us)) {
        loop_stop(app->loop);
        return;
    }
    take_rules(app);
    fetch_sweep(&app->desk, gateway_filter(app->gateway));
    daemon_watch_store(app->loop, app->store, app->settings.store.path, &app->told_store);
    loop_timer_in(&app->watch, app->stop_by_us != 0 ? STOPPING_US : WATCH_US);
}

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
    settings_budget(s, &options.uplink_budget);
    if (s->rules_key[0] != '\0') {
        options.pseudonym_key = slice_of(app->pseudonym_key, CRYPT_KEY_BYTES);
    }
    TRY(gateway_new(app->loop, app->down.bus, app->up[0].bus, app->store, &options, &app->gateway, reterr));
    set_desk(app);
    if (s->socket[0] != '\0') {
        TRY(control_server_new(app->loop, s->socket, routes, app, &app->control, reterr));
    }
    enum err err = loop_on_signal(app->loop, SIGTERM, on_end, app);
    err = err == OK ? loop_on_signal(app->loop, SIGINT, on_end, app) : err;
    err = err == OK ? loop_on_signal(app->loop, SIGHUP, on_reload, app) : err;
    err = err == OK && app->publish != NULL ? publish_start(app->publish) : err;
    err = err == OK ? gateway_start(app->gateway) : err;
    if (err != OK) {
        return fault_set(reterr, err, "cannot start: %s", err_name(err));
    }
    loop_timer_init(&app->watch, app->loop, on_watch, app);
    loop_timer_in(&app->watch, WATCH_US);
    return OK;
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
    daemon_notify("READY=1");
    if (loop_run(app->loop) != OK) {
        log_error("the event loop failed", KV_STR("reason", strerror(errno)));
        return EXIT_FAILED;
    }
    return app->exit;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    loop_hold_signal(SIGHUP); /* to verify a store takes its time */
    switch (options_main(&settings_program, argc, argv, &app.settings)) {
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
    loop_timer_cancel(&app.watch);
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
    publish_free(app.publish);
    rules_free(app.rules);
    rules_free(app.shadow);
    rules_free(app.next_rules);
    store_close(app.store);
    crypt_aead_free(app.aead);
    loop_free(app.loop);
    options_free(&settings_program, &app.settings);
    return exit_code;
}
