/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gatewayd/settings.h"

#include <stdio.h>

#include "core/window/window.h"
#include "gateway/parents/parents.h"
#include "proto/rules/rules.h"
#include "proto/wire/wire.h"

#define AT(member) offsetof(struct settings, member)
#define IN(member) offsetof(struct settings_model, member)

static const struct option model_rows[] = {
    {.name = "model", .type = OPTION_FILE, .offset = IN(model), .required = true,
     .help = "Description of the model (model.yaml)."},
    {.name = "for", .type = OPTION_LIST, .offset = IN(answers_for), .max = ESCALATE_FOR_MAX, .preset = "*",
     .help = "The device models that it answers for: paths of their descriptions (or patterns of them), ids (16 hexadecimal "
             "digits), or \"*\"."},
    {.name = "classes", .type = OPTION_LIST, .offset = IN(classes), .max = MODEL_CLASSES_MAX,
     .help = "Classes of device models that are ids or \"*\", in their order; without, they are taken to be this model's own."},
    {.name = "engine", .type = OPTION_ENUM, .offset = IN(engine), .words = "own|onnx", .preset = "own",
     .help = "onnx: ONNX Runtime runs the .onnx; where that fails, our own runs the .tflite or .json beside it."},
    {.name = "self_test", .type = OPTION_FILE, .offset = IN(self_test), .preset = "",
     .help = "CSV, a row a line: inputs, then the outputs that the engine must give; else it is refused."},
    {.name = "tolerance", .type = OPTION_NUMBER, .offset = IN(tolerance), .max = 1e6, .preset = "0.001",
     .help = "Of the self-test: how far an output may be off, times the larger of 1 and what is expected."},
    {.name = NULL},
};

static const struct option calibration_rows[] = {
    {.name = "file", .type = OPTION_FILE, .offset = offsetof(struct settings_calibration, file), .required = true,
     .help = "What weir drift calibrate wrote (drift.yaml)."},
    {.name = "devices", .type = OPTION_STRING, .offset = offsetof(struct settings_calibration, devices), .max = ID_MAX, .preset = "",
     .help = "Pattern of names, for devices that run no model of their own; empty: devices that run its model."},
    {.name = NULL},
};

static const struct option parent_rows[] = {
    {.name = "site", .type = OPTION_ID, .offset = offsetof(struct settings_parent, site), .preset = "",
     .help = "Site of this parent; empty for our own."},
    DAEMON_BROKER_ROWS("", struct settings_parent, broker, "", "native"),
    DAEMON_RECONNECT_ROW("", struct settings_parent, broker),
    {.name = NULL},
};

static const struct option table[] = {
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .required = true,
     .help = "The site whose devices this gateway serves; the first level of every topic."},
    {.name = "id", .type = OPTION_ID, .offset = AT(id), .required = true,
     .help = "Identity of this gateway; equal to its certificate's common name."},
    {.name = "log.level", .type = OPTION_ENUM, .offset = AT(log_level), .words = "error|warn|info|debug",
     .preset = "info", .live = true, .help = "The least urgent lines that are printed."},
    {.name = "control.socket", .type = OPTION_PATH, .offset = AT(socket), .preset = "/run/weir/gateway.sock",
     .help = "Local socket for the operator's command; empty for none."},
    DAEMON_BROKER_OPTIONS("broker", struct settings, broker, "localhost", "native"),
    DAEMON_RECONNECT_OPTION("broker", struct settings, broker),
    {.name = "parent.site", .type = OPTION_ID, .offset = AT(parent_site), .preset = "",
     .help = "Site of the parent; empty for our own."},
    {.name = "parent.id", .type = OPTION_ID, .offset = AT(parent_id), .preset = "",
     .help = "Identity of the bridge or gateway above; empty for none: records stay here until the store is full."},
    DAEMON_BROKER_OPTIONS("parent", struct settings, parent, "", "native"),
    DAEMON_RECONNECT_OPTION("parent", struct settings, parent),
    {.name = "parent.failover_after", .type = OPTION_DURATION, .offset = AT(failover_after_us), .min = 1e6,
     .max = 86400e6, .preset = "60s",
     .help = "A parent that is away or acknowledges nothing for so long is left for the next one in parents."},
    {.name = "parent.failback_after", .type = OPTION_DURATION, .offset = AT(failback_after_us), .min = 1e6,
     .max = 86400e6, .preset = "60s",
     .help = "A preferred parent must have answered for so long before it is used again."},
    {.name = "parents", .type = OPTION_SECTIONS, .offset = AT(parents), .max = PARENTS_MAX - 1, .sections = parent_rows,
     .section_size = sizeof(struct settings_parent),
     .help = "Further parents by identity, in order of preference after parent: used when those before are away."},
    DAEMON_STORE_OPTIONS(struct settings, store, "/var/lib/weir/gateway", "1GiB"),
    {.name = "commit.delay", .type = OPTION_DURATION, .offset = AT(commit_delay_us), .max = 1e6, .preset = "4ms",
     .help = "Commits come at least so far apart: a record that comes alone does not wait, a crowd shares a flush."},
    {.name = "commit.entries", .type = OPTION_INT, .offset = AT(commit_entries), .min = 1, .max = 65536,
     .preset = "4096", .help = "Records after which a commit does not wait any longer."},
    {.name = "uplink.frames", .type = OPTION_INT, .offset = AT(uplink_frames), .min = 1, .max = WINDOW_FRAMES_MAX,
     .preset = "32", .help = "Frames under way to the parent without its answer."},
    {.name = "uplink.frame_bytes", .type = OPTION_BYTES, .offset = AT(uplink_frame_bytes), .min = 1024,
     .max = WIRE_FRAME_MAX / 2, .preset = "64KiB", .help = "Size of a frame to the parent that is aimed at."},
    {.name = "uplink.frame_entries", .type = OPTION_INT, .offset = AT(uplink_frame_entries), .min = 1,
     .max = WIRE_RECORDS_MAX, .preset = "256", .help = "Records in a frame to the parent at most."},
    {.name = "uplink.budget", .type = OPTION_BYTES, .offset = AT(uplink_budget), .max = 1099511627776.0, .preset = "0",
     .live = true,
     .help = "What the uplink may cost in any span of uplink.budget_period, both directions, with an estimate of what is "
             "below MQTT; 0 for no bound."},
    {.name = "uplink.budget_period", .type = OPTION_DURATION, .offset = AT(uplink_period_us), .min = 1e6,
     .max = 366 * 86400e6, .preset = "1d", .live = true, .help = "The span that uplink.budget is for."},
    {.name = "uplink.alarm_share", .type = OPTION_INT, .offset = AT(uplink_alarm_pct), .max = 100, .preset = "10",
     .live = true, .help = "Percent of uplink.budget that only alarms may use; they may use the rest as well."},
    {.name = "uplink.when", .type = OPTION_STRING, .offset = AT(uplink_when), .max = 200, .preset = "always", .live = true,
     .help = "When records go up: always, on-request (weir uplink open), or windows of the local day such as "
             "02:00-03:00, 22:30-00:30. Closed, it holds no session unless an alarm waits."},
    {.name = "uplink.alarms", .type = OPTION_ENUM, .offset = AT(uplink_alarms), .words = "always|in-window",
     .preset = "always", .live = true, .help = "Whether alarms go up while the uplink is closed."},
    {.name = "uplink.ttl.alarm", .type = OPTION_DURATION, .offset = AT(uplink_ttl_us[0]), .max = 3650 * 86400e6,
     .preset = "0s", .live = true,
     .help = "Age beyond which an alarm is not sent any more but declared as suppressed (rule ttl); 0 for ever."},
    {.name = "uplink.ttl.live", .type = OPTION_DURATION, .offset = AT(uplink_ttl_us[1]), .max = 3650 * 86400e6,
     .preset = "0s", .live = true, .help = "The same for all other records."},
    {.name = "fleet.offline_after", .type = OPTION_DURATION, .offset = AT(offline_after_us), .min = 1e6, .max = 86400e6,
     .preset = "60s", .live = true, .help = "Silence after which a device counts as offline."},
    {.name = "fleet.max_frames_per_s", .type = OPTION_INT, .offset = AT(max_frames_per_s), .max = 1e6, .preset = "1000",
     .live = true, .help = "Frames a second that one device may send; 0 for no bound."},
    {.name = "rules.file", .type = OPTION_FILE, .offset = AT(rules_file), .preset = "",
     .help = "Rules that shape what goes to the parent; SIGHUP reads the file again. Empty: everything goes as it came."},
    {.name = "rules.key", .type = OPTION_FILE, .offset = AT(rules_key), .preset = "",
     .help = "The plant's key (32 bytes or 64 hexadecimal digits) for pseudonyms: rules with do: hash."},
    {.name = "rules.ring", .type = OPTION_BYTES, .offset = AT(rules_ring), .max = 1099511627776.0, .preset = "0",
     .help = "Raw records kept in the store behind the rules, for captures and weir fetch: at most half of the store; "
             "0: a quarter, at most 64MiB."},
    {.name = "rules.trail", .type = OPTION_INT, .offset = AT(rules_trail), .max = 200, .preset = "20",
     .help = "Newest records of every device of which weir why knows what became of them; 0: none."},
    {.name = "rules.fetch_max", .type = OPTION_DURATION, .offset = AT(rules_fetch_max_us), .min = 1e6, .max = 30 * 86400e6,
     .preset = "1h", .live = true, .help = "Longest span of raw readings that one weir fetch may ask for."},
    {.name = "rules.fetch_unmasked", .type = OPTION_BOOL, .offset = AT(rules_fetch_unmasked), .preset = "false",
     .live = true, .help = "Whether weir fetch may give readings as they came, also those of channels under drop, hash or bucket."},
    {.name = "escalate.models", .type = OPTION_SECTIONS, .offset = AT(models), .max = ESCALATE_MODELS_MAX,
     .sections = model_rows, .section_size = sizeof(struct settings_model), .live = true,
     .help = "Models that answer devices whose own is unsure. SIGHUP opens and tests them anew, then swaps them."},
    {.name = "escalate.onnxruntime", .type = OPTION_PATH, .offset = AT(onnxruntime), .preset = "", .live = true,
     .help = "libonnxruntime.so, for models with engine: onnx; empty for none."},
    {.name = "escalate.batch", .type = OPTION_INT, .offset = AT(ask_batch), .min = 1, .max = ESCALATE_BATCH_MAX,
     .preset = "32", .live = true, .help = "Asks that one run of a model answers at most."},
    {.name = "escalate.wait", .type = OPTION_DURATION, .offset = AT(ask_wait_us), .max = 1e6, .preset = "5ms",
     .live = true, .help = "How long an ask waits for others to share a run; 0 for only while another run lasts."},
    {.name = "escalate.quota", .type = OPTION_INT, .offset = AT(ask_quota), .max = 1e6, .preset = "20", .live = true,
     .help = "Asks a second that one device may make; 0 for no bound."},
    {.name = "escalate.queue", .type = OPTION_INT, .offset = AT(ask_queue), .min = 1, .max = 65536, .preset = "512",
     .live = true, .help = "Asks without an answer yet; more are told that we are busy."},
    {.name = "escalate.labels_per_hour", .type = OPTION_INT, .offset = AT(labels_per_hour), .max = 1e6, .preset = "60",
     .live = true, .help = "Events that ask a person for a label, at most; for what no model up here is sure of."},
    {.name = "escalate.ask_parent", .type = OPTION_BOOL, .offset = AT(ask_parent), .preset = "true", .live = true,
     .help = "Whether the parent is asked about what we are unsure of; a bridge answers no asks."},
    {.name = "health.calibrations", .type = OPTION_SECTIONS, .offset = AT(calibrations), .max = HEALTH_CALIBRATIONS_MAX,
     .sections = calibration_rows, .section_size = sizeof(struct settings_calibration), .live = true,
     .help = "What was normal when models were made. With any, devices' sensors, inputs and answers are watched for drift. "
             "SIGHUP reads them again; what is known of devices whose calibration has not changed stays."},
    {.name = "health.memory", .type = OPTION_BYTES, .offset = AT(health_memory), .min = 65536, .max = 1099511627776.0,
     .preset = "64MiB", .help = "For the states of all devices; those that do not fit are counted."},
    {.name = "health.stale", .type = OPTION_DURATION, .offset = AT(health_stale_us), .min = 1e6, .max = 366 * 86400e6,
     .preset = "1h", .help = "Figures older than this are none."},
    PUBLISH_OPTIONS(struct settings, publish),
    {.name = NULL},
};

static enum err check_parent_id(const struct settings *s, const char *row, const char *id, struct buffer *problems)
{
    if (strcmp(id, s->id) == 0) {
        buffer_printf(problems, "%s: is our own id; records would go round: %s -> %s\n", row, s->id, id);
        return ERR_RANGE;
    }
    return OK;
}

static enum err check_parents(const struct settings *s, struct buffer *problems)
{
    enum err err = OK;
    const struct settings_parent *parents = s->parents.items;
    for (size_t i = 0; i < s->parents.count; i++) {
        char row[ID_MAX + 16];
        snprintf(row, sizeof(row), "parents.%s", s->parents.names[i]);
        if (daemon_broker_check(row, &parents[i].broker, s->id, problems) != OK ||
            check_parent_id(s, row, s->parents.names[i], problems) != OK) {
            err = ERR_RANGE;
        }
        if (strcmp(s->parents.names[i], s->parent_id) == 0) {
            buffer_printf(problems, "%s: is parent.id already\n", row);
            err = ERR_RANGE;
        }
    }
    return err;
}

enum err settings_load_rules(const struct settings *s, const char *path, struct rules **ret_rules,
                             struct buffer *problems)
{
    return s->rules_key[0] != '\0' ? rules_load(path, ret_rules, problems)
                                   : rules_load_keyless(path, ret_rules, problems);
}

/* The rules' own mistakes, each with its place there; lines of their source begin with a blank. */
static enum err check_rules(const struct settings *s, struct buffer *problems)
{
    CLEANUP(rules_freep) struct rules *rules = NULL;
    BUFFER(found, 64 * 1024);
    enum err err = s->rules_file[0] != '\0' ? settings_load_rules(s, s->rules_file, &rules, &found) : OK;
    if (err == OK || err == ERR_NOMEM) {
        return err;
    }
    const char *at = (const char *)found.ptr, *end = at + found.len;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t len = line != NULL ? (size_t)(line - at) : (size_t)(end - at);
        if (len > 0 && *at != ' ') {
            buffer_printf(problems, "rules.file: %.*s\n", (int)len, at);
        }
        at += len + (line != NULL);
    }
    return ERR_RANGE;
}

static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    enum err err = daemon_broker_check("broker", &s->broker, s->id, problems);
    if (daemon_store_check(&s->store, problems) != OK) {
        err = ERR_RANGE;
    }
    if (s->rules_file[0] != '\0' && s->parent_id[0] == '\0' && s->parents.count == 0) {
        buffer_printf(problems, "rules.file: shapes what goes to a parent, and parent.id names none\n");
        err = ERR_RANGE;
    }
    struct budget_rules budget = {.bytes = 0};
    struct fault why = {.code = OK};
    if (budget_when_parse(s->uplink_when, &budget, &why) != OK) {
        buffer_printf(problems, "uplink.when: %s\n", why.text);
        err = ERR_RANGE;
    }
    if (s->rules_ring > s->store.size / 2) {
        buffer_printf(problems, "rules.ring: is more than half of store.size\n");
        err = ERR_RANGE;
    }
    if (publish_check(&s->publish, &s->broker, s->site, s->id, problems) != OK) {
        err = ERR_RANGE;
    }
    if (check_parents(s, problems) != OK) {
        err = ERR_RANGE;
    }
    if (s->parent_id[0] == '\0') {
        if (s->parent.host != NULL && s->parent.host[0] != '\0') {
            buffer_printf(problems, "parent.host: given without parent.id\n");
            err = ERR_RANGE;
        }
        return err;
    }
    if (daemon_broker_check("parent", &s->parent, s->id, problems) != OK) {
        err = ERR_RANGE;
    }
    if (check_parent_id(s, "parent.id", s->parent_id, problems) != OK) {
        err = ERR_RANGE;
    }
    return err;
}

/* Does any parent speak TLS? What it costs is estimated for all of them then. */
static bool over_tls(const struct settings *s)
{
    const struct settings_parent *parents = s->parents.items;
    bool tls = s->parent_id[0] != '\0' && !s->parent.insecure;
    for (size_t i = 0; i < s->parents.count; i++) {
        tls |= !parents[i].broker.insecure;
    }
    return tls;
}

void settings_budget(const struct settings *s, struct budget_rules *ret_rules)
{
    *ret_rules = (struct budget_rules){
        .bytes = (uint64_t)s->uplink_budget,
        .period_us = s->uplink_period_us,
        .alarm_pct = (unsigned)s->uplink_alarm_pct,
        .alarms_wait = s->uplink_alarms == 1,
        .ttl_us = {s->uplink_ttl_us[0], s->uplink_ttl_us[1]},
        .tls = over_tls(s),
    };
    if (budget_when_parse(s->uplink_when, ret_rules, NULL) != OK) {
        ret_rules->when = BUDGET_ALWAYS; /* was checked */
    }
}

/* ---- asks ---- */
static bool is_path(const char *text)
{
    bool id = strlen(text) == 16 && strspn(text, "0123456789abcdefABCDEF") == 16;
    return !id && strcmp(text, "*") != 0;
}

/* As it stands when it is absolute, or there is no configuration file. */
static enum err beside(const char *config, const char *path, struct settings_escalation *e, const char **ret_path)
{
    const char *slash = config != NULL ? strrchr(config, '/') : NULL;
    if (path[0] == '/' || slash == NULL) {
        *ret_path = path;
        return OK;
    }
    size_t folder = (size_t)(slash - config) + 1, len = strlen(path) + 1;
    char *made = malloc(folder + len);
    if (made == NULL) {
        return ERR_NOMEM;
    }
    memcpy(made, config, folder);
    memcpy(made + folder, path, len);
    e->paths[e->path_count++] = made;
    *ret_path = made;
    return OK;
}

static enum err fill_model(const struct settings *s, size_t i, const char *config, struct settings_escalation *e)
{
    const struct settings_model *from = (const struct settings_model *)s->models.items + i;
    struct escalate_model *to = &e->models[i];
    *to = (struct escalate_model){.name = s->models.names[i],
                                  .description = from->model,
                                  .answers_for = e->answers_for[i],
                                  .classes = (const char *const *)from->classes.items,
                                  .class_count = from->classes.count,
                                  .engine = (enum escalate_kind)from->engine,
                                  .self_test = from->self_test,
                                  .tolerance = from->tolerance};
    for (size_t k = 0; k < from->answers_for.count && k < ESCALATE_FOR_MAX; k++) {
        const char *name = from->answers_for.items[k];
        e->answers_for[i][k] = name;
        if (is_path(name)) {
            TRY(beside(config, name, e, &e->answers_for[i][k]));
        }
        to->for_count++;
    }
    return OK;
}

void settings_escalation_free(struct settings_escalation *e)
{
    for (size_t i = 0; e != NULL && i < e->path_count; i++) {
        free(e->paths[i]);
    }
    free(e);
}

enum err settings_escalation_new(const struct settings *s, const char *config,
                                 struct settings_escalation **ret_escalation)
{
    CLEANUP(settings_escalation_freep) struct settings_escalation *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->models.count; i++) {
        TRY(fill_model(s, i, config, e));
    }
    e->settings = (struct escalate_settings){.models = e->models,
                                             .model_count = s->models.count,
                                             .onnxruntime = s->onnxruntime,
                                             .batch = (unsigned)s->ask_batch,
                                             .wait_us = s->ask_wait_us,
                                             .quota = (unsigned)s->ask_quota,
                                             .queue = (unsigned)s->ask_queue,
                                             .labels_per_hour = (unsigned)s->labels_per_hour,
                                             .ask_parent = s->ask_parent};
    *ret_escalation = take(e);
    return OK;
}

static enum err check_all(const void *settings, struct buffer *problems)
{
    enum err err = check(settings, problems), rules = check_rules(settings, problems);
    return err != OK ? err : rules;
}

const struct options_program settings_reload_program = {
    .name = "weir-gateway",
    .table = table,
    .settings_size = sizeof(struct settings),
    .check = check,
};

const struct options_program settings_program = {
    .name = "weir-gateway",
    .summary = "Takes the devices' records durably and passes them on to the bridge or the gateway above.",
    .table = table,
    .settings_size = sizeof(struct settings),
    .check = check_all,
};
