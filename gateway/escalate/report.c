/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "gateway/escalate/escalate_internal.h"

static void write_latency(struct json *j, const char *name, const struct sketch *latency, double q)
{
    double us = sketch_quantile(latency, q);
    json_f64(j, name, isfinite(us) ? round(us) / (double)MS_US : NAN);
}

/* overdue: a batch should have returned long since. */
static const char *state_of(const struct escalate_slot *s, bool overdue)
{
    return overdue ? "hangs" : s->loaded != NULL ? "answers" : "none";
}

static void write_loaded(struct json *j, const struct escalate_loaded *l)
{
    bool assumed = l->any && l->others.assumed;
    for (unsigned i = 0; i < l->known_count; i++) {
        assumed = assumed || l->known[i].assumed;
    }
    json_hex(j, "model", model_info(l->model)->id);
    json_str(j, "engine", engine_info(l->engine)->name);
    json_str(j, "detail", engine_info(l->engine)->detail);
    json_str(j, "classes", assumed ? "assumed" : "by name");
    json_str(j, "note", l->note[0] != '\0' ? l->note : NULL);
}

static void write_model(struct json *j, const struct escalate *e, const struct escalate_slot *s)
{
    json_object(j, NULL);
    json_str(j, "name", s->name);
    json_str(j, "state", state_of(s, escalate_overdue(e, s)));
    json_str(j, "problem", s->problem[0] != '\0' ? s->problem : NULL);
    if (s->loaded != NULL) {
        write_loaded(j, s->loaded);
        json_str(j, "standby", s->standby != NULL ? engine_info(s->standby->engine)->name : NULL);
    }
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"asks", s->asks}, {"answered", s->given},  {"unsure", s->unsure},
                {"busy", s->busy}, {"bad", s->bad},         {"no_model", s->no_model},
                {"up", s->up},     {"batches", s->batches}, {"failed_batches", s->failed},
                {"failed_rows", s->failed_rows}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        json_u64(j, rows[i].name, rows[i].value);
    }
    json_f64(j, "batch_mean", s->batches > 0 ? (double)s->rows / (double)s->batches : NAN);
    json_f64(j, "batch_ms", s->batch_us / (double)MS_US);
    write_latency(j, "p50_ms", &s->latency, 0.5);
    write_latency(j, "p99_ms", &s->latency, 0.99);
    json_object_end(j);
}

bool escalate_fine(const struct escalate *e, struct json *j)
{
    bool fine = true;
    for (const struct escalate_slot *s = e->slots; s != NULL; s = s->next) {
        char why[ESCALATE_PROBLEM + ID_MAX + 64];
        bool overdue = escalate_overdue(e, s);
        if (!s->configured || (s->problem[0] == '\0' && !overdue)) {
            continue;
        }
        snprintf(why, sizeof(why), "model %s: %s%s%s", s->name,
                 overdue             ? "its engine hangs"
                 : s->loaded != NULL ? "another engine answers: "
                                     : "none answers: ",
                 overdue && s->problem[0] != '\0' ? ": " : "", s->problem);
        fine = false;
        if (j != NULL) {
            json_str(j, NULL, why);
        }
    }
    return fine;
}

void escalate_json(const struct escalate *e, struct json *j)
{
    const struct escalate_stats *s = &e->stats;
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"asks", s->asks},
                {"answered", s->given},
                {"unsure", s->unsure},
                {"busy", s->busy},
                {"no_model", s->no_model},
                {"bad", s->bad},
                {"malformed", s->malformed},
                {"identity", s->identity},
                {"quota", s->quota},
                {"up", s->up},
                {"up_answered", s->up_answered},
                {"up_unanswered", s->up_unanswered},
                {"labels", s->labels},
                {"labels_dropped", s->labels_dropped},
                {"failed_batches", s->failed_batches},
                {"refused_engines", s->refused},
                {"waiting", s->waiting}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        json_u64(j, rows[i].name, rows[i].value);
    }
    json_bool(j, "up_resting", loop_now_us(e->loop) < e->up_rest_until_us);
    json_bool(j, "opening", e->opening != NULL);
    json_array(j, "models");
    for (const struct escalate_slot *slot = e->slots; slot != NULL; slot = slot->next) {
        if (slot->configured) {
            write_model(j, e, slot);
        }
    }
    json_array_end(j);
}
