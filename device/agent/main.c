/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-device - wires an agent to the machine: settings, store, certificates, bus, control socket, signals.
 *
 *   SIGTERM, SIGINT  no more samples; waits until everything is acknowledged, run.drain_wait at most. A second
 *                    one ends at once: nothing is lost, the store keeps it
 *   SIGHUP           reads the configuration again; a bad one leaves the running one in force
 *
 * Exit: 0 ended as asked, 1 failed (the text says what), 2 usage or configuration, 5 ended as asked but the store holds
 * records that nobody has acknowledged.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/timex.h>

#include "core/bus/bus.h"
#include "core/control/control.h"
#include "core/crypt/crypt.h"
#include "core/daemon/daemon.h"
#include "core/log/log.h"
#include "core/loop/loop.h"
#include "core/store/store.h"
#include "device/agent/agent.h"
#include "device/agent/settings.h"
#include "device/agent/trial.h"
#include "device/report/report.h"
#include "device/sense/sense.h"
#include "proto/curate/curate.h"
#include "proto/rules/rules.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_WAITING = 5 };
#define HOUSEKEEPING_US (200 * MS_US)

struct device {
    struct settings settings;
    struct loop *loop;
    struct crypt_aead *aead;
    struct daemon_link link;
    struct store *store;
    struct sense *sense;
    struct agent *agent;
    struct ruling {
        struct rules *rules;   /* owned; NULL = none */
        struct curate *curate; /* owned; of the rules */
    } ruling, next_ruling;     /* next: waits until what the ones in force took is declared */
    bool ruling_waits;
    struct control_server *control;
    struct loop_timer housekeeping, deadline;
    unsigned rounds; /* of housekeeping */
    bool stopping;
    int exit_code;
    char quarantined[PATH_MAX];
};

/* ---- the machine ---- */

static bool file_line(const char *path, char *line, int size)
{
    FILE *f = fopen(path, "re");
    bool got = f != NULL && fgets(line, size, f) != NULL;
    if (f != NULL) {
        (void)fclose(f);
    }
    return got;
}

static uint64_t rss_bytes(void)
{
    char line[128];
    unsigned long long total, resident;
    return file_line("/proc/self/statm", line, sizeof line) && sscanf(line, "%llu %llu", &total, &resident) == 2
               ? resident * 4096
               : 0;
}

/* CLOCK_BOOTTIME begins anew with every boot of the machine, which this names; 0 = unknown. */
static uint64_t machine_boot_id(void)
{
    char line[64];
    uint64_t id = 0;
    if (file_line("/proc/sys/kernel/random/boot_id", line, sizeof line)) {
        for (const char *c = line; *c != '\0' && *c != '\n'; c++) {
            id = mix_u64(id ^ (uint8_t)*c);
        }
    }
    return id;
}

static bool clock_synced(void)
{
    struct timex timex = {0};
    int state = adjtimex(&timex);
    return state >= 0 && state != TIME_ERROR && (timex.status & STA_UNSYNC) == 0;
}

/* ---- control socket ---- */

static int get_status(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)request;
    agent_status_json(((struct device *)arg)->agent, body);
    return 200;
}

static int get_ledger(void *arg, const struct control_request *request, struct buffer *body)
{
    struct device *d = arg;
    const char *wanted = control_param(request, "device");
    if (wanted != NULL && strcmp(wanted, d->settings.id) != 0) {
        buffer_put_str(body, "{\"error\":\"this socket belongs to another device\"}");
        return 404;
    }
    agent_ledger_json(d->agent, body);
    return 200;
}

static const struct control_route routes[] = {{"/status", get_status}, {"/ledger", get_ledger}, {NULL, NULL}};

/* ---- rules ---- */

static void ruling_deinit(struct ruling *r)
{
    curate_free(r->curate);
    rules_free(r->rules);
    *r = (struct ruling){.rules = NULL};
}

/* problems: every mistake with its place. */
static enum err ruling_load(const char *path, struct ruling *ret, struct buffer *problems)
{
    CLEANUP(ruling_deinit) struct ruling r = {.rules = NULL};
    if (path != NULL && path[0] != '\0') {
        TRY(rules_load_device(path, &r.rules, problems));
        TRY(curate_new(r.rules, &(struct curate_options){.stream_bytes = 0}, &r.curate));
    }
    *ret = r;
    r = (struct ruling){.rules = NULL};
    return OK;
}

/* Tried again by housekeeping while the store does not take the account of the old ones. */
static void take_rules(struct device *d)
{
    enum err err = d->ruling_waits ? report_set_curate(agent_report(d->agent), d->next_ruling.curate) : ERR_AGAIN;
    if (err == ERR_AGAIN) {
        return;
    }
    d->ruling_waits = false;
    if (err != OK) {
        log_error("rules not taken, the running ones stay in force", KV_ERR(err));
        ruling_deinit(&d->next_ruling);
        return;
    }
    ruling_deinit(&d->ruling);
    d->ruling = d->next_ruling;
    d->next_ruling = (struct ruling){.rules = NULL};
    log_info("new rules in force", KV_HEX("version", d->ruling.rules ? rules_version(d->ruling.rules) : 0),
             KV_U64("rules", d->ruling.rules ? rules_count(d->ruling.rules) : 0));
}

/* Whether the file is good. */
static bool reload_rules(struct device *d)
{
    BUFFER(problems, 64 * 1024);
    struct ruling fresh = {.rules = NULL};
    if (ruling_load(d->settings.rules.file, &fresh, &problems) != OK) {
        daemon_log_lines(LOG_ERROR, "rules not taken, the running ones stay in force", &problems);
        return false;
    }
    uint64_t now = d->ruling.rules ? rules_version(d->ruling.rules) : 0;
    ruling_deinit(&d->next_ruling);
    d->next_ruling = fresh;
    d->ruling_waits = (fresh.rules ? rules_version(fresh.rules) : 0) != now;
    if (!d->ruling_waits) {
        ruling_deinit(&d->next_ruling);
    }
    take_rules(d);
    return true;
}

/* ---- signals and the end ---- */

static void end(struct device *d, int exit_code)
{
    d->exit_code = exit_code;
    loop_stop(d->loop);
}

static void deadline_over(void *arg)
{
    struct device *d = arg;
    struct report_stats s;
    report_stats(agent_report(d->agent), &s);
    log_warn("ending without all acknowledgements, the store keeps the records",
             KV_U64("waiting", s.lane[0].top - s.lane[0].acked + s.lane[1].top - s.lane[1].acked));
    end(d, EXIT_WAITING);
}

static void on_stop(void *arg, int signo)
{
    struct device *d = arg;
    if (d->stopping) {
        end(d, report_drained(agent_report(d->agent)) ? EXIT_OK : EXIT_WAITING);
        return;
    }
    d->stopping = true;
    log_info("stopping", KV_STR("signal", signo == SIGINT ? "SIGINT" : "SIGTERM"));
    daemon_notify("STOPPING=1");
    agent_stop(d->agent);
    loop_timer_in(&d->deadline, d->settings.run.drain_wait_us);
    loop_timer_in(&d->housekeeping, 0);
}

static void housekeeping(void *arg)
{
    struct device *d = arg;
    if (store_broken(d->store)) {
        log_error("the store is broken, ending", KV_STR("path", d->settings.store.path));
        end(d, EXIT_FAILED);
        return;
    }
    take_rules(d);
    bool may_end = d->stopping || (d->settings.run.exit_when_drained && agent_stopped(d->agent));
    if (may_end && report_drained(agent_report(d->agent))) {
        log_info("everything is acknowledged");
        end(d, EXIT_OK);
        return;
    }
    if (d->rounds++ % (unsigned)(MINUTE_US / HOUSEKEEPING_US) == 0) {
        report_set_synced(agent_report(d->agent), clock_synced());
    }
    loop_timer_in(&d->housekeeping, HOUSEKEEPING_US);
}

static struct agent_limit limit_of(const struct settings *s)
{
    return (struct agent_limit){.channel = s->alarm.channel, .above = s->alarm.above, .below = s->alarm.below};
}

static struct agent_bounds bounds_of(const struct settings *s)
{
    return (struct agent_bounds){.fastest_us = s->sense.fastest_us, .longest_us = s->sense.fast_for_max_us};
}

static void on_reload(void *arg, int signo)
{
    (void)signo;
    struct device *d = arg;
    struct settings fresh = {0};
    BUFFER(lines, 256 * 1024);
    size_t set_count;
    const char *const *sets = options_sets(&set_count);
    if (options_load(&settings_program, options_path(), sets, set_count, &fresh, &lines) != OK) {
        daemon_log_lines(LOG_ERROR, "configuration not taken, the running one stays in force", &lines);
        return;
    }
    struct agent_limit limit = limit_of(&fresh);
    if (agent_set_limit(d->agent, &limit) != OK) {
        log_error("configuration not taken, the running one stays in force: no such channel",
                  KV_STR("alarm.channel", limit.channel));
        options_free(&settings_program, &fresh);
        return;
    }
    options_apply_live(&settings_program, &d->settings, &fresh, &lines);
    options_free(&settings_program, &fresh);
    log_setup(settings_program.name, (enum log_level)d->settings.log_level);
    agent_set_period(d->agent, d->settings.report.period_us);
    struct agent_bounds bounds = bounds_of(&d->settings);
    if (agent_set_bounds(d->agent, &bounds) != OK) {
        log_error("commands of the gateway are ignored: out of memory");
    }
    if (reload_rules(d)) {
        log_info("configuration read again");
    }
    daemon_log_lines(LOG_INFO, "configuration", &lines);
}

/* ---- start ---- */

static enum err open_sense(struct device *d, struct fault *reterr)
{
    const struct sense_options options = trial_sense_options(&d->settings);
    return sense_open(d->loop, &options, &d->sense, reterr);
}

static enum err open_agent(struct device *d, struct fault *reterr)
{
    const struct settings *s = &d->settings;
    char event[PATH_MAX + 80];
    snprintf(event, sizeof event, "the store was damaged and set aside as %s", d->quarantined);
    const struct infer_options infer = trial_infer_options(s);
    const struct agent_options options = {
        .report = {.site = s->site,
                   .gateway = s->gateway,
                   .device = s->id,
                   .software = WEIR_VERSION,
                   .config_hash = settings_hash(s),
                   .samples_per_record = (unsigned)s->report.samples,
                   .max_age_us = s->report.max_age_us,
                   .bulk_bytes = (uint64_t)s->report.bulk_bytes,
                   .boot_id = machine_boot_id(),
                   .window = {.max_frames = (unsigned)s->report.window_frames},
                   .aead = d->aead,
                   .curate = d->ruling.curate,
                   .declare_us = s->rules.declare_us},
        .period_us = s->report.period_us,
        .health_period_us = s->report.health_us,
        .limit = limit_of(s),
        .bounds = bounds_of(s),
        .stop_after_samples = (uint64_t)s->run.samples,
        .start_event = {.id = d->quarantined[0] ? "store-quarantined" : NULL, .text = event},
        .rss_bytes = rss_bytes,
        .infer = s->infer.model != NULL && s->infer.model[0] != '\0' ? &infer : NULL,
        .version = WEIR_VERSION,
    };
    TRY(agent_new(d->loop, d->link.bus, d->store, d->sense, &options, &d->agent, reterr));
    report_set_synced(agent_report(d->agent), clock_synced());
    return OK;
}

static enum err open_control(struct device *d, struct fault *reterr)
{
    if (!(d->settings.control_socket != NULL && d->settings.control_socket[0] != '\0')) {
        return OK;
    }
    return control_server_new(d->loop, d->settings.control_socket, routes, d, &d->control, reterr);
}

static enum err watch_signals(struct device *d)
{
    TRY(loop_on_signal(d->loop, SIGTERM, on_stop, d));
    TRY(loop_on_signal(d->loop, SIGINT, on_stop, d));
    return loop_on_signal(d->loop, SIGHUP, on_reload, d);
}

/* exit_code says what a failure of the step is: a setting that cannot work, or a machine that does not. In this order:
 * the store verifies in a child process and wants no foreign threads yet (a bus has none before it is started). */
static enum err device_open(struct device *d, struct fault *reterr)
{
    d->exit_code = EXIT_FAILED;
    if (loop_new(&d->loop) != OK) {
        return fault_set(reterr, ERR_IO, "the event loop cannot be made: %s", strerror(errno));
    }
    d->exit_code = EXIT_USAGE;
    BUFFER(problems, 64 * 1024);
    if (ruling_load(d->settings.rules.file, &d->ruling, &problems) != OK) { /* the settings' check has told why */
        return fault_set(reterr, ERR_RANGE, "rules.file: %s cannot be used", d->settings.rules.file);
    }
    TRY(open_sense(d, reterr));
    TRY(daemon_link_open(d->loop, &d->settings.broker, d->settings.id, &d->link, reterr));
    d->exit_code = EXIT_FAILED;
    char owner[ID_MAX + 16];
    snprintf(owner, sizeof owner, "device %s", d->settings.id);
    TRY(daemon_store_open(d->loop, &d->settings.store, REPORT_TABLES, REPORT_TABLE_COUNT, REPORT_TABLE_META, owner,
                          &d->store, &d->aead, d->quarantined, reterr));
    d->exit_code = EXIT_USAGE;
    TRY(open_agent(d, reterr));
    d->exit_code = EXIT_FAILED;
    TRY(open_control(d, reterr));
    loop_timer_init(&d->housekeeping, d->loop, housekeeping, d);
    loop_timer_init(&d->deadline, d->loop, deadline_over, d);
    loop_timer_in(&d->housekeeping, HOUSEKEEPING_US);
    if (watch_signals(d) != OK || bus_start(d->link.bus) != OK) {
        return fault_set(reterr, ERR_IO, "signals or the bus cannot be set up");
    }
    d->exit_code = EXIT_OK;
    return OK;
}

static void device_close(struct device *d)
{
    loop_timer_cancel(&d->housekeeping);
    loop_timer_cancel(&d->deadline);
    control_server_free(d->control);
    agent_free(d->agent);
    daemon_link_close(&d->link);
    store_close(d->store);
    sense_close(d->sense);
    crypt_aead_free(d->aead);
    ruling_deinit(&d->ruling);
    ruling_deinit(&d->next_ruling);
    loop_free(d->loop);
    options_free(&settings_program, &d->settings);
}

int main(int argc, char **argv)
{
    static struct device device;
    struct options_program program = settings_program;
    program.trial = trial_run;
    loop_hold_signal(SIGHUP); /* to verify a store takes its time */
    switch (options_main(&program, argc, argv, &device.settings)) {
    case OPTIONS_DONE:
        return EXIT_OK;
    case OPTIONS_BAD:
        return EXIT_USAGE;
    case OPTIONS_RUN:
        break;
    }
    log_setup(settings_program.name, (enum log_level)device.settings.log_level);
    struct fault fault = {0};
    enum err err = device_open(&device, &fault);
    if (err != OK) {
        log_error("cannot start", KV_STR("reason", fault.text), KV_ERR(err));
        int code = err == ERR_NOMEM || err == ERR_IO ? EXIT_FAILED : device.exit_code;
        device_close(&device);
        return code;
    }
    if (device.settings.sense.fastest_us == 0) {
        log_info("commands of the gateway are ignored: sense.fastest is not set");
    }
    log_info("started", KV_STR("device", device.settings.id), KV_STR("driver", sense_driver(device.sense)),
             KV_STR("version", WEIR_VERSION));
    daemon_notify("READY=1");
    if (loop_run(device.loop) != OK) {
        log_error("the event loop failed", KV_STR("reason", strerror(errno)));
        device.exit_code = EXIT_FAILED;
    }
    int code = device.exit_code;
    device_close(&device);
    return code;
}
