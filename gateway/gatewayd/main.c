/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-gateway: the parts of the real world put together, signals, the control socket. Exit: 0 ended on request, 1
 * failed, 2 configuration.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "core/control/control.h"
#include "core/daemon/daemon.h"
#include "core/log/log.h"
#include "core/loop/loop.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/gatewayd/settings.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2 };
enum { WATCH_US = 250000, STOPPING_US = 5000, STOP_LIMIT_US = 10000000 };

struct app {
    struct settings settings;
    struct loop *loop;
    struct crypt_aead *aead;
    struct store *store;
    struct daemon_link down, up;
    struct gateway *gateway;
    struct control_server *control;
    struct loop_timer watch;
    int64_t stop_by_us; /* 0 = not stopping */
    bool told_store;    /* that it takes no commits */
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

static const struct control_route routes[] = {
    {"/status", answer_status}, {"/ledger", answer_ledger}, {"/devices", answer_devices}, {NULL, NULL}};

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
    if (options_load(&settings_program, options_path(), set, sets, &fresh, &text) != OK) {
        daemon_log_lines(LOG_ERROR, "configuration not taken, the running one stays in force", &text);
        return;
    }
    options_apply_live(&settings_program, &app->settings, &fresh, &text);
    options_free(&settings_program, &fresh);
    log_setup("weir-gateway", (enum log_level)app->settings.log_level);
    gateway_set_fleet(app->gateway, app->settings.offline_after_us, (unsigned)app->settings.max_frames_per_s);
    log_info("configuration read again");
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
    daemon_watch_store(app->loop, app->store, app->settings.store.path, &app->told_store);
    loop_timer_in(&app->watch, app->stop_by_us != 0 ? STOPPING_US : WATCH_US);
}

/* ---- start ---- */
static enum err open_gateway(struct app *app, struct fault *reterr)
{
    const struct settings *s = &app->settings;
    bool parent = s->parent_id[0] != '\0';
    struct gateway_options options = {
        .site = s->site,
        .gateway = s->id,
        .parent_site = s->parent_site[0] != '\0' ? s->parent_site : NULL,
        .parent = parent ? s->parent_id : NULL,
        .software = WEIR_VERSION,
        .aead = app->aead,
        .commit_delay_us = s->commit_delay_us,
        .commit_entries = (unsigned)s->commit_entries,
        .uplink_window = {.max_frames = (unsigned)s->uplink_frames},
        .uplink_frame_bytes = (size_t)s->uplink_frame_bytes,
        .uplink_frame_entries = (unsigned)s->uplink_frame_entries,
        .offline_after_us = s->offline_after_us,
        .device_frames_per_s = (unsigned)s->max_frames_per_s,
    };
    TRY(gateway_new(app->loop, app->down.bus, app->up.bus, app->store, &options, &app->gateway, reterr));
    if (s->socket[0] != '\0') {
        TRY(control_server_new(app->loop, s->socket, routes, app, &app->control, reterr));
    }
    enum err err = loop_on_signal(app->loop, SIGTERM, on_end, app);
    err = err == OK ? loop_on_signal(app->loop, SIGINT, on_end, app) : err;
    err = err == OK ? loop_on_signal(app->loop, SIGHUP, on_reload, app) : err;
    err = err == OK ? gateway_start(app->gateway) : err;
    if (err != OK) {
        return fault_set(reterr, err, "cannot start: %s", err_name(err));
    }
    loop_timer_init(&app->watch, app->loop, on_watch, app);
    loop_timer_in(&app->watch, WATCH_US);
    return OK;
}

static enum err open_links(struct app *app, struct fault *reterr)
{
    TRY(daemon_link_open(app->loop, &app->settings.broker, app->settings.id, &app->down, reterr));
    if (app->settings.parent_id[0] != '\0') {
        TRY(daemon_link_open(app->loop, &app->settings.parent, app->settings.id, &app->up, reterr));
    }
    return OK;
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
    enum err err = open_links(app, &fault);
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
    daemon_link_close(&app.down);
    daemon_link_close(&app.up);
    gateway_free(app.gateway);
    store_close(app.store);
    crypt_aead_free(app.aead);
    loop_free(app.loop);
    options_free(&settings_program, &app.settings);
    return exit_code;
}
