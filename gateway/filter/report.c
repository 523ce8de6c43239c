/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules did, for people: why was this sent, why was that not; live rules against those on trial. */
#include "core/base/json.h"
#include "gateway/filter/filter_internal.h"

/* One set of rules at work. */
struct at_work {
    const struct rules *rules;
    const struct curate *curate;
    const struct curate_rule_stats *less; /* counted before, or by batches that failed; NULL = nothing */
    const struct filter_tally *tally;
};

static void put_counts(struct json *j, const struct curate_rule_stats *s)
{
    json_u64(j, "seen", s->seen);
    json_u64(j, "dropped", s->dropped);
    json_u64(j, "changed", s->changed);
    json_u64(j, "flagged", s->flagged);
    json_u64(j, "windows", s->windows);
    json_u64(j, "captures", s->captures);
    json_u64(j, "late", s->late);
    json_u64(j, "cut", s->cut);
}

static void put_rule(struct json *j, const struct rule *rule)
{
    json_str(j, "name", rule->name);
    json_str(j, "do", rule_kind_name((enum rule_kind)rule->kind));
    json_str(j, "devices", rule->devices);
    json_str(j, "channels", rule->channels);
}

static struct curate_rule_stats counts_of(const struct at_work *w, size_t rule)
{
    struct curate_rule_stats stats;
    curate_stats(w->curate, rule, &stats);
    return w->less != NULL ? filter_counts_less(&stats, &w->less[rule]) : stats;
}

/* A rule's share of the bytes that did not go up: by the values that it dropped. */
static int64_t saved_by(const struct at_work *w, size_t rule)
{
    uint64_t dropped = 0;
    for (size_t i = 0; i < rules_count(w->rules); i++) {
        dropped += counts_of(w, i).dropped;
    }
    double saved = (double)w->tally->bytes_in - (double)w->tally->bytes_up;
    return dropped > 0 ? (int64_t)(saved * (double)counts_of(w, rule).dropped / (double)dropped) : 0;
}

static void put_rules(struct json *j, const struct at_work *w)
{
    json_hex(j, "version", rules_version(w->rules));
    json_u64(j, "since_us", w->tally->since_us);
    json_array(j, "rules");
    for (size_t i = 0; i < rules_count(w->rules); i++) {
        struct curate_rule_stats stats = counts_of(w, i);
        json_object(j, NULL);
        put_rule(j, rules_at(w->rules, i));
        put_counts(j, &stats);
        json_u64(j, "records", w->tally->whole[i]); /* of which nothing went up, and it took most */
        json_i64(j, "saved", saved_by(w, i));       /* bytes */
        json_object_end(j);
    }
    json_array_end(j);
}

/* Since the tally began. */
static void put_tally(struct json *j, const struct filter_tally *t)
{
    json_u64(j, "records", t->records);
    json_u64(j, "kept", t->kept);
    json_u64(j, "shaped", t->shaped);
    json_u64(j, "dropped", t->dropped);
    json_u64(j, "bytes_in", t->bytes_in);
    json_u64(j, "bytes_up", t->bytes_up);
}

static void put_shadow(struct json *j, const struct filter *f)
{
    struct curate_rule_stats less[RULES_MAX];
    for (size_t i = 0; i < RULES_MAX; i++) {
        less[i] = f->beside_from[i];
        filter_counts_add(&less[i], &f->rule_again[i]);
    }
    const struct at_work tried = {.rules = f->shadow_rules, .curate = f->shadow, .tally = &f->tried};
    const struct at_work beside = {.rules = f->options.rules, .curate = f->curate, .less = less, .tally = &f->beside};
    json_object(j, "shadow");
    put_rules(j, &tried);
    put_tally(j, &f->tried);
    json_object(j, "live");
    put_rules(j, &beside);
    put_tally(j, &f->beside);
    json_object_end(j);
    json_object_end(j);
}

static void put_step(struct json *j, const struct filter *f, const struct filter_step *step)
{
    static const char *const outcomes[] = {
        [CURATE_KEPT] = "kept", [CURATE_SHAPED] = "shaped", [CURATE_DROPPED] = "dropped"};
    json_object(j, NULL);
    json_u64(j, "first", step->first);
    json_u64(j, "last", step->last);
    json_u64(j, "lane", step->lane);
    json_u64(j, "received_us", step->received_us);
    json_u64(j, "until_us", step->until_us);
    json_str(j, "outcome", outcomes[step->outcome]);
    json_str(j, "rule", step->rule >= 0 ? rules_at(f->options.rules, (size_t)step->rule)->name : NULL);
    json_u64(j, "dropped", step->dropped);
    json_u64(j, "changed", step->changed);
    json_u64(j, "windows", step->windows);
    json_u64(j, "late", step->late);
    json_u64(j, "captures", step->captures);
    json_object_end(j);
}

/* The newest first. */
static void put_trail(struct json *j, const struct filter *f, const struct filter_trail *trail)
{
    unsigned places = f->options.trail;
    json_array(j, "rules");
    for (size_t i = 0; i < rules_count(f->options.rules); i++) {
        if (trail->stats[i].seen + trail->stats[i].windows > 0) {
            json_object(j, NULL);
            put_rule(j, rules_at(f->options.rules, i));
            put_counts(j, &trail->stats[i]);
            json_object_end(j);
        }
    }
    json_array_end(j);
    json_array(j, "trail");
    for (unsigned i = 1; i <= trail->count; i++) {
        put_step(j, f, &trail->places[(trail->next + places - i) % places]);
    }
    json_array_end(j);
}

static void put_device(struct json *j, const struct filter *f, const struct filter_stream *s)
{
    json_object(j, NULL);
    json_str(j, "device", s->key.device);
    json_hex(j, "epoch", s->key.epoch);
    json_u64(j, "records", s->counts.records);
    json_u64(j, "kept", s->counts.kept);
    json_u64(j, "shaped", s->counts.shaped);
    json_u64(j, "dropped", s->counts.dropped);
    json_u64(j, "captured", s->counts.captured);
    if (s->trail != NULL) {
        put_trail(j, f, s->trail);
    }
    json_object_end(j);
}

void filter_report_json(struct filter *f, const char *device, struct buffer *out)
{
    const struct at_work live = {
        .rules = f->options.rules, .curate = f->curate, .less = f->rule_again, .tally = &f->live};
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    put_rules(&j, &live);
    json_u64(&j, "records", f->stats.records);
    json_u64(&j, "kept", f->stats.kept);
    json_u64(&j, "shaped", f->stats.shaped);
    json_u64(&j, "dropped", f->stats.dropped);
    json_u64(&j, "captured", f->stats.captured);
    json_u64(&j, "bytes_in", f->stats.bytes_in);
    json_u64(&j, "bytes_out", f->stats.bytes_out);
    json_object(&j, "since"); /* the rules are in force */
    put_tally(&j, &f->live);
    json_object_end(&j);
    json_u64(&j, "trail", f->options.trail);
    if (f->shadow != NULL) {
        put_shadow(&j, f);
    }
    json_array(&j, "devices");
    for (const struct filter_stream *s = f->streams; s != NULL && device != NULL; s = s->hh.next) {
        if (strcmp(s->key.device, device) == 0) {
            put_device(&j, f, s);
        }
    }
    json_array_end(&j);
    json_object_end(&j);
}
