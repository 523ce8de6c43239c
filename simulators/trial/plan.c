/* SPDX-License-Identifier: Apache-2.0 */
#include "simulators/trial/plan.h"

#include <stdio.h>

#include "simulators/trial/plan_words.h"

const char *const plan_kinds[PLAN_KIND_COUNT] = {"crash", "link",   "messages", "broker",  "clock", "disk",
                                                 "sink",  "period", "snapshot", "restore", "wipe",  "alarm",
                                                 "rules"};
const struct plan_word plan_links[] = {{"down", BUS_LINK_DOWN},
                                       {"silent", BUS_LINK_SILENT},
                                       {"deaf", BUS_LINK_DEAF},
                                       {"mute", BUS_LINK_MUTE},
                                       {NULL, 0}};
const struct plan_word plan_disks[] = {{"full", STORE_DISK_FULL}, {"eio", STORE_DISK_EIO}, {NULL, 0}};
const struct plan_word plan_sinks[] = {{"fails", WORLD_SINK_FAILS}, {"deaf", WORLD_SINK_DEAF}, {NULL, 0}};
const struct plan_word plan_rules[] = {{"none", WORLD_RULES_NONE},
                                       {"thin", WORLD_RULES_THIN},
                                       {"windows", WORLD_RULES_WINDOWS},
                                       {"capture", WORLD_RULES_CAPTURE},
                                       {NULL, 0}};
const struct plan_unit plan_units[] = {{"d", DAY_US}, {"h", HOUR_US}, {"min", MINUTE_US}, {"s", SECOND_US},
                                       {"ms", MS_US}, {"us", 1},      {NULL, 0}};

const char *plan_kind_name(enum plan_kind kind)
{
    return plan_kinds[kind];
}

bool plan_lasts(enum plan_kind kind)
{
    return kind <= PLAN_PERIOD || kind == PLAN_RULES;
}

bool plan_knows_rules(const struct plan *plan)
{
    bool rules = plan->world.line_rules != WORLD_RULES_NONE || plan->world.site_rules != WORLD_RULES_NONE;
    for (size_t i = 0; i < plan->count && !rules; i++) {
        rules = plan->entries[i].kind == PLAN_RULES;
    }
    return rules;
}

/* ---- the list ---- */
void plan_deinit(struct plan *plan)
{
    free(plan->entries);
    *plan = (struct plan){.entries = NULL};
}

enum err plan_add(struct plan *plan, const struct plan_entry *entry)
{
    if (plan->count >= PLAN_ENTRIES_MAX) {
        return ERR_FULL;
    }
    if (plan->count == plan->cap) {
        size_t cap = plan->cap > 0 ? 2 * plan->cap : 32;
        struct plan_entry *entries = realloc(plan->entries, cap * sizeof(*entries));
        if (entries == NULL) {
            return ERR_NOMEM;
        }
        plan->entries = entries;
        plan->cap = cap;
    }
    plan->entries[plan->count++] = *entry;
    return OK;
}

enum err plan_copy(const struct plan *plan, struct plan *ret_plan)
{
    struct plan copy = {.world = plan->world, .length_us = plan->length_us};
    for (size_t i = 0; i < plan->count; i++) {
        enum err err = plan_add(&copy, &plan->entries[i]);
        if (err != OK) {
            plan_deinit(&copy);
            return err;
        }
    }
    *ret_plan = copy;
    return OK;
}

/* ---- names ---- */
static bool numbered(const char *name, const char *prefix, unsigned most)
{
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0 || name[len] < '1' || name[len] > '9') {
        return false;
    }
    char *end = NULL;
    unsigned long number = strtoul(name + len, &end, 10);
    return *end == '\0' && number >= 1 && number <= most;
}

bool plan_has(const struct plan *plan, const struct plan_entry *entry)
{
    const struct world_options *o = &plan->world;
    const char *name = entry->target;
    bool device = strcmp(name, "device-*") == 0 || numbered(name, "device-", o->devices);
    bool bridge = strcmp(name, "bridge1") == 0;
    bool gateway = bridge || (o->site && strcmp(name, "site1") == 0) ||
                   (o->lines == 0 ? strcmp(name, "gw1") == 0 : numbered(name, "line-", o->lines));
    switch (entry->kind) {
    case PLAN_SINK:
        return name[0] == '\0';
    case PLAN_MESSAGES:
    case PLAN_BROKER:
        return gateway || strcmp(name, "*") == 0;
    case PLAN_LINK:
        return device || (gateway && !bridge);
    case PLAN_PERIOD:
    case PLAN_ALARM:
        return device;
    case PLAN_CRASH:
        return device || gateway || strcmp(name, "*") == 0;
    case PLAN_CLOCK:
    case PLAN_DISK:
        return device || gateway;
    case PLAN_RULES:
        return gateway && !bridge;
    case PLAN_SNAPSHOT:
    case PLAN_RESTORE:
    case PLAN_WIPE:
        return gateway || numbered(name, "device-", o->devices);
    case PLAN_KIND_COUNT:
        break;
    }
    return false;
}

/* ---- text ---- */
static void print_duration(struct buffer *out, int64_t us)
{
    const struct plan_unit *u = plan_units;
    while (u[1].unit != NULL && (us % u->us != 0 || us == 0)) {
        u++;
    }
    buffer_printf(out, "%lld%s", (long long)(us / u->us), u->unit);
}

static void print_named(struct buffer *out, const char *name, int64_t us)
{
    buffer_printf(out, " %s ", name);
    print_duration(out, us);
}

static const char *word_of(const struct plan_word *words, int64_t value)
{
    while (words->word != NULL && words->value != value) {
        words++;
    }
    return words->word;
}

static void print_entry(const struct plan_entry *e, struct buffer *out)
{
    buffer_put_str(out, "at ");
    print_duration(out, e->at_us);
    buffer_printf(out, " %s", plan_kinds[e->kind]);
    if (e->target[0] != '\0') {
        buffer_printf(out, " %s", e->target);
    }
    const struct plan_word *words = e->kind == PLAN_LINK   ? plan_links
                                    : e->kind == PLAN_DISK ? plan_disks
                                    : e->kind == PLAN_SINK ? plan_sinks
                                                           : NULL;
    if (words != NULL) {
        buffer_printf(out, " %s", word_of(words, e->value));
    }
    if (e->kind == PLAN_CLOCK || e->kind == PLAN_PERIOD) {
        print_named(out, "to", e->value);
    }
    if (e->kind == PLAN_RULES) {
        buffer_printf(out, " to %s", word_of(plan_rules, e->value));
    }
    if (plan_lasts(e->kind)) {
        print_named(out, "for", e->for_us);
    }
    if (e->kind == PLAN_MESSAGES) {
        const struct bus_faults *f = &e->faults;
        buffer_printf(out, " loss %u duplicate %u reorder %u corrupt %u", f->loss_ppm, f->duplicate_ppm, f->reorder_ppm,
                      f->corrupt_ppm);
        print_named(out, "delay", f->delay_us);
        print_named(out, "jitter", f->jitter_us);
    }
    if (e->step > 0) {
        buffer_printf(out, " step %u", e->step);
    }
    if (e->kind == PLAN_CRASH && e->value > 0) {
        buffer_printf(out, " commits %lld", (long long)e->value);
    }
    buffer_put_str(out, "\n");
}

void plan_print(const struct plan *plan, struct buffer *out)
{
    const struct world_options *o = &plan->world;
    buffer_printf(out, "weir-plan %d\nseed %llu\ndevices %u\nlines %u\nsite %s\nsamples %u\nchannels %u\n",
                  plan_knows_rules(plan) ? 2 : 1, (unsigned long long)o->seed, o->devices, o->lines,
                  o->site ? "yes" : "no", o->samples, o->channels);
    buffer_printf(out, "device-store %llu\nbulk %llu\ngateway-store %llu\nbridge-store %llu\nmistake %s",
                  (unsigned long long)o->device_store_bytes, (unsigned long long)o->bulk_bytes,
                  (unsigned long long)o->gateway_store_bytes, (unsigned long long)o->bridge_store_bytes,
                  world_mistake_name(o->mistake));
    if (plan_knows_rules(plan)) {
        buffer_printf(out, "\nline-rules %s\nsite-rules %s\nring %llu", word_of(plan_rules, o->line_rules),
                      word_of(plan_rules, o->site_rules), (unsigned long long)o->ring_bytes);
    }
    const struct plan_word durations[] = {{"period", o->period_us},
                                          {"flush", o->flush_us},
                                          {"device-flush", o->device_flush_us},
                                          {"commit-delay", o->commit_delay_us},
                                          {"length", plan->length_us}};
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        buffer_printf(out, "\n%s ", durations[i].word);
        print_duration(out, durations[i].value);
    }
    buffer_put_str(out, "\n");
    for (size_t i = 0; i < plan->count; i++) {
        print_entry(&plan->entries[i], out);
    }
}
