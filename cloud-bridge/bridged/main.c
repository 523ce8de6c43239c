/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-bridge: the parts of the real world put together, signals, the control socket. Exit: 0 ended on request, 1
 * failed, 2 configuration.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "cloud-bridge/bridged/bridged.h"
#include "cloud-bridge/bridged/settings.h"
#include "core/base/json.h"
#include "core/control/control.h"
#include "core/daemon/daemon.h"
#include "core/log/log.h"
#include "core/loop/loop.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2 };
enum { LEDGER_ROWS = 20000, TAIL_ROWS = 100, DEAD_ROWS = 1000 };

struct app {
    struct settings_plan plan;
    struct settings settings;
    struct loop *loop;
    struct crypt_aead *aead;
    struct store *store;
    struct daemon_link link;
    struct sink_sqlite_reader *reader; /* NULL without the SQLite sink */
    struct bridge *bridge;
    struct control_server *control;
    struct daemon_life life;
};

/* ---- the operator's questions ---- */
static int answer_status(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    (void)request;
    bridge_status_json(app->bridge, body);
    return 200;
}

static int answer_ledger(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    struct json j;
    enum err err = OK;
    json_init(&j, body);
    json_object(&j, NULL);
    json_str(&j, "program", "bridge");
    json_str(&j, "id", app->settings.id);
    json_array(&j, "streams");
    if (app->reader != NULL) {
        err = sink_sqlite_ledger_json(app->reader, control_param(request, "device"), LEDGER_ROWS, &j);
    }
    json_array_end(&j);
    json_array(&j, "intake");
    bridge_hops_json(app->bridge, &j);
    json_array_end(&j);
    json_object_end(&j);
    return err == OK ? 200 : control_error(body, 503, "the SQLite sink cannot be read now");
}

static bool parse_number(const char *text, int64_t preset, int64_t *ret_value)
{
    char *end = NULL;
    *ret_value = preset;
    if (text == NULL) {
        return true;
    }
    *ret_value = strtoll(text, &end, 10);
    return end != text && *end == '\0';
}

static int answer_tail(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    const char *device = control_param(request, "device");
    int64_t after = 0, limit = 0;
    if (app->reader == NULL) {
        return control_error(body, 404, "no SQLite sink is configured");
    }
    if (device == NULL || !id_valid(slice_str(device)) || !parse_number(control_param(request, "after"), -1, &after) ||
        !parse_number(control_param(request, "limit"), TAIL_ROWS, &limit) || limit < 0) {
        return control_error(body, 400, "needs device=ID; after=ROW and limit=N are numbers");
    }
    if (sink_sqlite_tail_json(app->reader, device, after, (size_t)limit, body) != OK) {
        return control_error(body, 503, "the SQLite sink cannot be read now");
    }
    return 200;
}

static int answer_dead(struct app *app, const struct control_request *request, const char *verb, struct buffer *body)
{
    int64_t id = 0, from = 0, limit = 0;
    struct bridge_dead_request dead = {.verb = verb, .sink = control_param(request, "sink")};
    if (!parse_number(control_param(request, "id"), 0, &id) || !parse_number(control_param(request, "from"), 0, &from) ||
        !parse_number(control_param(request, "limit"), DEAD_ROWS, &limit) || id < 0 || from < 0 || limit < 0 ||
        (dead.sink != NULL && !id_valid(slice_str(dead.sink)))) {
        return control_error(body, 400, "id, from and limit are numbers, sink is a sink's name");
    }
    dead.id = (uint64_t)id;
    dead.from = (uint64_t)from;
    dead.limit = (size_t)min_i64(limit, DEAD_ROWS);
    return bridge_dead_json(app->bridge, &dead, body);
}

static int answer_dead_ls(void *arg, const struct control_request *request, struct buffer *body)
{
    return answer_dead(arg, request, "ls", body);
}

static int answer_dead_show(void *arg, const struct control_request *request, struct buffer *body)
{
    return answer_dead(arg, request, "show", body);
}

static int answer_dead_replay(void *arg, const struct control_request *request, struct buffer *body)
{
    return answer_dead(arg, request, "replay", body);
}

static int answer_dead_drop(void *arg, const struct control_request *request, struct buffer *body)
{
    return answer_dead(arg, request, "drop", body);
}

static const struct control_route routes[] = {
    {"/status", answer_status},        {"/ledger", answer_ledger},          {"/tail", answer_tail},
    {"/dead", answer_dead_ls},         {"/dead/show", answer_dead_show},    {"/dead/replay", answer_dead_replay},
    {"/dead/drop", answer_dead_drop}, {NULL, NULL}};

/* ---- signals ---- */
static void on_stop(void *arg)
{
    struct app *app = arg;
    bridge_stop(app->bridge);
}

static bool stopped(void *arg)
{
    struct app *app = arg;
    return bridge_stopped(app->bridge);
}

static const char *failure(void *arg)
{
    struct app *app = arg;
    return bridge_failure(app->bridge);
}

/* The table depends on which sinks the file names: other sinks are another table. */
static enum err load_again(struct app *app, struct settings *fresh, struct buffer *text)
{
    CLEANUP(settings_plan_deinit) struct settings_plan plan = {.count = 0};
    size_t sets = 0;
    const char *const *set = options_sets(&sets);
    TRY(settings_plan_load(options_path(), set, sets, &plan, text));
    if (!settings_plan_equal(&plan, &app->plan)) {
        buffer_put_str(text, "sinks: sections have come, gone or are of another type: needs a restart\n");
        return ERR_RANGE;
    }
    fresh->plan = &app->plan;
    return options_load(&app->plan.program, options_path(), set, sets, fresh, text);
}

static void on_reload(void *arg, int signo)
{
    struct app *app = arg;
    struct settings fresh = {0};
    BUFFER(text, 64 * 1024);
    (void)signo;
    if (load_again(app, &fresh, &text) != OK) {
        daemon_log_lines(LOG_ERROR, "configuration not taken, the running one stays in force", &text);
        return;
    }
    options_apply_live(&app->plan.program, &app->settings, &fresh, &text);
    options_free(&app->plan.program, &fresh);
    log_setup("weir-bridge", (enum log_level)app->settings.log_level);
    log_info("configuration read again");
    daemon_log_lines(LOG_INFO, "configuration", &text);
}

static const struct daemon_life_ops life_ops = {
    .failure = failure, .stop = on_stop, .stopped = stopped, .reload = on_reload};

/* ---- start ---- */
static enum err make_bridge(struct app *app, struct fault *reterr)
{
    const struct settings *s = &app->settings;
    struct sink sinks[SETTINGS_OPEN_MAX] = {{NULL}};
    const char *path = settings_sqlite_path(s);
    size_t count = 0;
    struct bridge_options options = {.site = s->site,
                                     .bridge = s->id,
                                     .software = WEIR_VERSION,
                                     .aead = app->aead,
                                     .commit_delay_us = s->commit_delay_us,
                                     .commit_entries = (unsigned)s->commit_entries,
                                     .dead_max_bytes = (uint64_t)s->dead_max};
    enum err err = settings_open_sinks(s, WEIR_VERSION, sinks, &count, reterr);
    if (err == OK && path != NULL) {
        err = sink_sqlite_reader_open(path, &app->reader, reterr);
    }
    if (err != OK) {
        for (size_t i = 0; i < count; i++) {
            sinks[i].ops->close(sinks[i].self);
        }
        return err;
    }
    return bridge_new(app->loop, app->link.bus, app->store, sinks, count, &options, &app->bridge, reterr);
}

static enum err open_bridge(struct app *app, struct fault *reterr)
{
    TRY(make_bridge(app, reterr));
    if (app->settings.socket[0] != '\0') {
        TRY(control_server_new(app->loop, app->settings.socket, routes, app, &app->control, reterr));
    }
    app->life = (struct daemon_life){.program = "weir-bridge",
                                     .ops = &life_ops,
                                     .loop = app->loop,
                                     .store = app->store,
                                     .store_path = app->settings.store.path,
                                     .arg = app};
    enum err err = daemon_life_begin(&app->life);
    err = err == OK ? bridge_start(app->bridge) : err;
    return err == OK ? OK : fault_set(reterr, err, "cannot start: %s", err_name(err));
}

static int run(struct app *app)
{
    struct fault fault = {.code = OK};
    char owner[ID_MAX + 16];
    snprintf(owner, sizeof(owner), "bridge %s", app->settings.id);
    if (loop_new(&app->loop) != OK) {
        log_error("cannot start: the event loop cannot be made", KV_STR("reason", strerror(errno)));
        return EXIT_FAILED;
    }
    enum err err = daemon_link_open(app->loop, &app->settings.broker, app->settings.id, &app->link, &fault);
    if (err != OK) {
        log_error("cannot start", KV_STR("reason", fault.text), KV_ERR(err));
        return err == ERR_NOMEM || err == ERR_IO ? EXIT_FAILED : EXIT_CONFIG; /* the machine, or a setting */
    }
    err = daemon_store_open(app->loop, &app->settings.store, BRIDGE_TABLES, BRIDGE_TABLE_COUNT, BRIDGE_TABLE_META,
                            owner, &app->store, &app->aead, NULL, &fault);
    err = err == OK ? open_bridge(app, &fault) : err;
    if (err != OK) {
        log_error("cannot start", KV_STR("reason", fault.text), KV_ERR(err));
        return EXIT_FAILED;
    }
    return daemon_life_run(&app->life) == OK ? EXIT_OK : EXIT_FAILED;
}

static enum options_outcome configure(struct app *app, int argc, char **argv)
{
    BUFFER(problems, 64 * 1024);
    if (settings_plan_main(argc, argv, &app->plan, &problems) != OK) {
        (void)fwrite(problems.ptr ? (const char *)problems.ptr : "out of memory\n", 1, problems.ptr ? problems.len : 14, stderr);
        return OPTIONS_BAD;
    }
    app->settings.plan = &app->plan;
    return options_main(&app->plan.program, argc, argv, &app->settings);
}

int main(int argc, char **argv)
{
    static struct app app; /* settings of all sinks are large for a stack */
    loop_hold_signal(SIGHUP); /* to verify a store takes its time */
    switch (configure(&app, argc, argv)) {
    case OPTIONS_DONE:
        settings_plan_deinit(&app.plan);
        return EXIT_OK;
    case OPTIONS_BAD:
        settings_plan_deinit(&app.plan);
        return EXIT_CONFIG;
    case OPTIONS_RUN:
        break;
    }
    log_setup("weir-bridge", (enum log_level)app.settings.log_level);
    (void)signal(SIGPIPE, SIG_IGN);
    int exit_code = run(&app);
    daemon_life_end(&app.life);
    control_server_free(app.control);
    daemon_link_close(&app.link);
    bridge_free(app.bridge);
    sink_sqlite_reader_free(app.reader);
    store_close(app.store);
    crypt_aead_free(app.aead);
    loop_free(app.loop);
    options_free(&app.plan.program, &app.settings);
    settings_plan_deinit(&app.plan);
    return exit_code;
}
