/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of weir-gateway: one row a setting (settings.c).
 */
#ifndef GATEWAY_GATEWAYD_SETTINGS_H
#define GATEWAY_GATEWAYD_SETTINGS_H

#include "core/daemon/daemon.h"
#include "core/options/options.h"
#include "gateway/budget/budget.h"
#include "gateway/escalate/escalate.h"
#include "gateway/health/health.h"
#include "gateway/publish/publish.h"
#include "proto/model/model.h"

/* A further parent: a section of `parents`, whose name is the parent's identity. */
struct settings_parent {
    char *site; /* "" = our own */
    struct daemon_broker broker;
};
/* A model that answers: a section of `escalate.models`. */
struct settings_model {
    char *model, *self_test; /* paths; self_test "" = none */
    struct option_list answers_for, classes;
    int engine; /* enum escalate_kind */
    double tolerance;
};
/* What was normal: a section of `health.calibrations`. */
struct settings_calibration {
    char *file, *devices; /* devices "" = those that run its model */
};
struct settings {
    char *site, *id, *socket;
    int log_level; /* enum log_level */
    struct daemon_broker broker, parent;
    char *parent_site, *parent_id; /* "" = the same site; "" = no parent */
    struct option_sections parents; /* of struct settings_parent; after the one above, in order of preference */
    int64_t failover_after_us, failback_after_us;
    struct daemon_store store;
    int64_t commit_delay_us, commit_entries;
    int64_t uplink_frames, uplink_frame_bytes, uplink_frame_entries;
    int64_t uplink_budget, uplink_period_us, uplink_alarm_pct;
    char *uplink_when;
    int uplink_alarms; /* 1 = in a window only */
    int64_t uplink_ttl_us[BUDGET_LANES];
    int64_t offline_after_us, max_frames_per_s;
    char *rules_file, *rules_key; /* "" = none */
    int64_t rules_ring, rules_trail, rules_fetch_max_us;
    bool rules_fetch_unmasked;
    struct option_sections models; /* of struct settings_model */
    char *onnxruntime;             /* "" = none */
    int64_t ask_batch, ask_wait_us, ask_quota, ask_queue, labels_per_hour;
    bool ask_parent;
    struct option_sections calibrations; /* of struct settings_calibration */
    int64_t health_memory, health_stale_us;
    struct publish_settings publish;
};
extern const struct options_program settings_program;
/* For SIGHUP: without a look into the file of rules, which is judged on its own then. */
extern const struct options_program settings_reload_program;
struct rules;
/* As rules_load; without rules.key, hash rules are mistakes. */
enum err settings_load_rules(const struct settings *settings, const char *path, struct rules **ret_rules,
                             struct buffer *problems) MUST_CHECK;
/* What the checked settings say about the uplink. */
void settings_budget(const struct settings *settings, struct budget_rules *ret_rules);

/* What they say about asks. Paths in `for` count from the configuration's folder. */
struct settings_escalation {
    struct escalate_settings settings;
    struct escalate_model models[ESCALATE_MODELS_MAX];
    const char *answers_for[ESCALATE_MODELS_MAX][ESCALATE_FOR_MAX];
    char *paths[ESCALATE_MODELS_MAX * ESCALATE_FOR_MAX]; /* owned */
    size_t path_count;
};
/* config: path of the configuration file, NULL = none. Borrows the settings' strings. ERR_NOMEM. */
enum err settings_escalation_new(const struct settings *settings, const char *config,
                                 struct settings_escalation **ret_escalation) MUST_CHECK;
void settings_escalation_free(struct settings_escalation *escalation);
DEFINE_CLEANUP(struct settings_escalation, settings_escalation_free)

#endif
