/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of a rule's settings, what each kind makes of them, and the checks across settings. A setting that has no
 * meaning for a rule's kind is an error: a bound that nobody looks at is worse than none.
 */
#include "proto/rules/rules.h"

#include <math.h>
#include <stdio.h>

struct file {
    struct option_sections rules;
};
struct rules {
    struct file file;
    uint64_t version;
};

#define AT(member) offsetof(struct rule, member)
#define NEVER 1e15 /* us; about 30 years */
#define KIND_WORDS                                                                                                     \
    "range|quality|dedupe|convert|deadband|swinging-door|rate|downsample|on-change|window|spectrum|capture|drop|hash|" \
    "bucket|merge"

static const struct option rule_table[] = {
    {.name = "devices", .type = OPTION_STRING, .offset = AT(devices), .min = 1, .max = 128, .preset = "*",
     .help = "Devices that the rule is for: * any run of characters, ? one."},
    {.name = "channels", .type = OPTION_STRING, .offset = AT(channels), .min = 1, .max = 128, .preset = "*",
     .help = "Channels that the rule is for, likewise."},
    {.name = "do", .type = OPTION_ENUM, .offset = AT(kind), .words = KIND_WORDS, .required = true,
     .help = "What the rule does."},
    {.name = "min", .type = OPTION_NUMBER, .offset = AT(min), .preset = "-inf", .help = "range: least good value."},
    {.name = "max", .type = OPTION_NUMBER, .offset = AT(max), .preset = "inf", .help = "range: greatest good value."},
    {.name = "otherwise", .type = OPTION_ENUM, .offset = AT(otherwise), .words = "drop|flag", .preset = "drop",
     .help = "range: what becomes of values outside; flag keeps them and counts."},
    {.name = "clock", .type = OPTION_ENUM, .offset = AT(clock), .words = "any|gateway|ntp", .preset = "any",
     .help = "quality: the worst clock that readings may have been taken by."},
    {.name = "factor", .type = OPTION_NUMBER, .offset = AT(factor), .preset = "1", .help = "convert: value * factor + offset."},
    {.name = "offset", .type = OPTION_NUMBER, .offset = AT(offset), .preset = "0", .help = "convert: value * factor + offset."},
    {.name = "unit", .type = OPTION_STRING, .offset = AT(unit), .max = 15, .preset = "",
     .help = "convert: the unit afterwards (UCUM); empty = as it was."},
    {.name = "resolution", .type = OPTION_NUMBER, .offset = AT(resolution), .max = 1e12, .preset = "0",
     .help = "convert: the step afterwards; 0 = the sensor's times factor."},
    {.name = "abs", .type = OPTION_NUMBER, .offset = AT(abs), .max = 1e300, .preset = "0",
     .help = "deadband, swinging-door: distance in the channel's unit."},
    {.name = "percent", .type = OPTION_NUMBER, .offset = AT(percent), .max = 100, .preset = "0",
     .help = "deadband: distance in percent of the last kept value."},
    {.name = "heartbeat", .type = OPTION_DURATION, .offset = AT(heartbeat_us), .max = NEVER, .preset = "0s",
     .help = "deadband, swinging-door, on-change: a value is kept at least so often; 0s = only by change."},
    {.name = "rate", .type = OPTION_NUMBER, .offset = AT(rate), .max = 1e6, .preset = "0",
     .help = "rate: values per second and channel at most."},
    {.name = "every", .type = OPTION_DURATION, .offset = AT(every_us), .max = NEVER, .preset = "0s",
     .help = "downsample: one value per so long. window: distance of the windows' starts; 0s = length (tumbling). "
             "capture: distance of the device's samples while it lasts."},
    {.name = "by", .type = OPTION_ENUM, .offset = AT(by), .words = "last|first|mean|min|max", .preset = "last",
     .help = "downsample: which value stands for the others."},
    {.name = "length", .type = OPTION_DURATION, .offset = AT(length_us), .max = NEVER, .preset = "0s",
     .help = "window, merge: length in event time."},
    {.name = "late", .type = OPTION_DURATION, .offset = AT(late_us), .max = NEVER, .preset = "0s",
     .help = "window, merge: how much later than a newer one a value may come and still count."},
    {.name = "quantiles", .type = OPTION_LIST, .offset = AT(quantile_words), .max = RULE_QUANTILES_MAX,
     .help = "window: a quantile sketch goes with the window, and these are shown; numbers 0..1, ascending."},
    {.name = "error", .type = OPTION_NUMBER, .offset = AT(error), .min = 0.001, .max = 0.1, .preset = "0.01",
     .help = "window: relative error of the quantiles."},
    {.name = "raw", .type = OPTION_ENUM, .offset = AT(raw), .words = "drop|keep", .preset = "drop",
     .help = "window, spectrum: whether the values themselves go up as well."},
    {.name = "samples", .type = OPTION_INT, .offset = AT(samples), .max = RULE_SPECTRUM_SAMPLES_MAX, .preset = "0",
     .help = "spectrum: values per transform, a power of two from 16."},
    {.name = "bands", .type = OPTION_LIST, .offset = AT(band_words), .max = RULE_BANDS_MAX,
     .help = "spectrum: bands in Hz, as 10-100."},
    {.name = "above", .type = OPTION_NUMBER, .offset = AT(above), .preset = "inf", .help = "capture: triggers above."},
    {.name = "below", .type = OPTION_NUMBER, .offset = AT(below), .preset = "-inf", .help = "capture: triggers below."},
    {.name = "before", .type = OPTION_DURATION, .offset = AT(before_us), .max = 3600e6, .preset = "0s",
     .help = "capture: how much from before the trigger goes up."},
    {.name = "after", .type = OPTION_DURATION, .offset = AT(after_us), .max = 3600e6, .preset = "0s",
     .help = "capture: how much from after it."},
    {.name = "faster", .type = OPTION_NUMBER, .offset = AT(faster), .max = 10000, .preset = "0",
     .help = "capture: so many times as often the device is asked to sample while it lasts; 0 = as always."},
    {.name = "width", .type = OPTION_NUMBER, .offset = AT(width), .max = 1e300, .preset = "0",
     .help = "bucket: values are rounded down to a multiple of it."},
    {.name = "of", .type = OPTION_STRING, .offset = AT(of), .max = 64, .preset = "",
     .help = "merge: the rule of the gateways below whose windows are merged."},
    {.name = NULL},
};

static enum err check(const void *settings, struct buffer *problems);
static const struct option table[] = {
    {.name = "rules", .type = OPTION_SECTIONS, .offset = offsetof(struct file, rules), .max = RULES_MAX,
     .sections = rule_table, .section_size = sizeof(struct rule), .help = "Rules by name, in the order in which they apply."},
    {.name = NULL},
};
static const struct options_program program = {.name = "rules",
                                               .summary = "What a gateway does with readings before they go on.",
                                               .table = table,
                                               .settings_size = sizeof(struct file),
                                               .check = check,
                                               .checks_all = true};

/* What each kind looks at, besides devices, channels and do. */
static const struct kind {
    const char *name, *settings, *help;
} kinds[RULE_KINDS] = {
    [RULE_RANGE] = {"range", " min max otherwise ", "drops values outside, or counts them"},
    [RULE_QUALITY] = {"quality", " clock ", "drops rows whose clock is worse than stated"},
    [RULE_DEDUPE] = {"dedupe", " ", "drops a row that equals the one before in all channels of the rule"},
    [RULE_CONVERT] = {"convert", " factor offset unit resolution ", "value * factor + offset, another unit"},
    [RULE_DEADBAND] = {"deadband", " abs percent heartbeat ", "drops what is that near to the last kept value"},
    [RULE_SWINGING_DOOR] = {"swinging-door", " abs heartbeat ",
                            "keeps corners; what is dropped is within abs of the line between them"},
    [RULE_RATE] = {"rate", " rate ", "at most so many values a second, evenly"},
    [RULE_DOWNSAMPLE] = {"downsample", " every by ", "one value per so long"},
    [RULE_ON_CHANGE] = {"on-change", " heartbeat ", "drops equal values"},
    [RULE_WINDOW] = {"window", " length every late quantiles error raw ", "statistics over spans of event time"},
    [RULE_SPECTRUM] = {"spectrum", " samples bands raw ", "energy per band, of so many samples at a time"},
    [RULE_CAPTURE] = {"capture", " above below before after faster every ", "raw rows around a trigger, as alarms"},
    [RULE_DROP] = {"drop", " ", "the channel does not leave the plant"},
    [RULE_HASH] = {"hash", " ", "it leaves as a pseudonym, keyed with the gateway's rules.key"},
    [RULE_BUCKET] = {"bucket", " width ", "it leaves rounded down to a multiple of width"},
    [RULE_MERGE] = {"merge", " of length late ", "windows from gateways below become longer ones"},
};
static const char every_kind[] = " devices channels do ";

const char *rule_kind_name(enum rule_kind kind)
{
    return kind < RULE_KINDS ? kinds[kind].name : "unknown";
}

const char *rule_kind_not_for_devices(enum rule_kind kind)
{
    switch (kind) {
    case RULE_QUALITY:
        return "the gateway judges clocks; a device's readings are counted there";
    case RULE_CONVERT:
        return "readings leave a device as its sensor gave them; the gateway converts";
    case RULE_WINDOW:
    case RULE_SPECTRUM:
        return "a device keeps no windows over a restart; the gateway makes them";
    case RULE_CAPTURE:
        return "a device keeps no ring of raw readings; the gateway does";
    case RULE_HASH:
        return "the plant's key is not on devices; the gateway makes pseudonyms";
    case RULE_MERGE:
        return "windows come from gateways below a gateway; a device has none";
    case RULE_RANGE:
    case RULE_DEDUPE:
    case RULE_DEADBAND:
    case RULE_SWINGING_DOOR:
    case RULE_RATE:
    case RULE_DOWNSAMPLE:
    case RULE_ON_CHANGE:
    case RULE_DROP:
    case RULE_BUCKET:
    case RULE_KINDS:
        break;
    }
    return NULL;
}

/* ---- checks ---- */
struct checking {
    struct buffer *problems;
    const char *name; /* of the rule in hand */
    bool failed;
};

static void problem(struct checking *c, const char *setting, const char *text)
{
    buffer_printf(c->problems, "rules.%s.%s: %s\n", c->name, setting, text);
    c->failed = true;
}

static bool parse_number(const char *text, double *ret, const char **ret_end)
{
    char *end;
    *ret = strtod(text, &end);
    *ret_end = end;
    return end != text && isfinite(*ret);
}

static void check_quantiles(struct checking *c, struct rule *r)
{
    r->quantiles = 0;
    for (size_t i = 0; i < r->quantile_words.count; i++) {
        double q;
        const char *end;
        if (i >= RULE_QUANTILES_MAX || !parse_number(r->quantile_words.items[i], &q, &end) || *end != '\0' || q < 0 ||
            q > 1 || (i > 0 && q <= r->quantile[i - 1])) {
            problem(c, "quantiles", "must be at most 8 numbers from 0 to 1, ascending");
            return;
        }
        r->quantile[r->quantiles++] = q;
    }
}

static void check_bands(struct checking *c, struct rule *r)
{
    r->bands = 0;
    for (size_t i = 0; i < r->band_words.count; i++) {
        double *band = r->band[i < RULE_BANDS_MAX ? i : 0];
        const char *end;
        if (i >= RULE_BANDS_MAX || !parse_number(r->band_words.items[i], &band[0], &end) || *end != '-' ||
            !parse_number(end + 1, &band[1], &end) || *end != '\0' || band[0] < 0 || band[1] <= band[0]) {
            problem(c, "bands", "must be at most 16 ranges in Hz, each as 10-100");
            return;
        }
        r->bands++;
    }
}

/* Windows that overlap more often than this cost more than they tell. */
enum { OVERLAP_MAX = 64 };

static void check_window(struct checking *c, const struct rule *r)
{
    if (r->length_us < 1000) {
        problem(c, "length", "a window must be at least 1ms long");
    } else if (r->every_us > r->length_us) {
        problem(c, "every", "is more than the length: values between two windows would count nowhere");
    } else if (r->every_us > 0 && r->length_us / r->every_us > OVERLAP_MAX) {
        problem(c, "every", "a value would count in more than 64 windows; choose it larger");
    } else if (r->every_us > 0 && r->length_us % r->every_us != 0) {
        problem(c, "every", "the length must be a multiple of it, so that windows share their parts");
    } else if ((r->length_us + r->late_us) / (r->every_us > 0 ? r->every_us : r->length_us) > RULE_PANES_MAX - 2) {
        problem(c, "late", "keeps more than 510 parts of windows open, the oldest would close early; make it shorter");
    }
}

static void check_faster(struct checking *c, const struct rule *r)
{
    if (r->faster != 0 && !(r->faster > 1)) {
        problem(c, "faster", "must be above 1, or 0 for as always");
    } else if (r->faster != 0 && r->every_us != 0) {
        problem(c, "every", "says how fast a second time: give faster or every");
    } else if (r->every_us != 0 && r->every_us < 1000) {
        problem(c, "every", "a device samples every 1ms at most");
    } else if ((r->faster != 0 || r->every_us != 0) && r->after_us == 0) {
        problem(c, "after", "must be above 0 where the device is to sample faster: it hears of it afterwards");
    }
}

/* The setting without which a rule of this kind is nothing, or is impossible. */
static void check_needs(struct checking *c, struct rule *r)
{
    switch ((enum rule_kind)r->kind) {
    case RULE_RANGE:
        if (r->min > r->max) {
            problem(c, "min", "is above max: no value would be good");
        } else if (r->min == -INFINITY && r->max == INFINITY) {
            problem(c, "do", "range needs min or max");
        }
        break;
    case RULE_CONVERT:
        if (r->factor == 0 || !isfinite(r->factor) || !isfinite(r->offset)) {
            problem(c, "factor", "must be finite and not 0");
        }
        break;
    case RULE_DEADBAND:
        if ((r->abs > 0) == (r->percent > 0) || r->abs < 0 || r->percent < 0) {
            problem(c, "abs", "deadband needs abs or percent, above 0 and not both");
        }
        break;
    case RULE_SWINGING_DOOR:
        if (!(r->abs > 0)) {
            problem(c, "abs", "swinging-door needs a distance above 0");
        }
        break;
    case RULE_RATE:
        if (!(r->rate > 0)) {
            problem(c, "rate", "must be above 0");
        }
        break;
    case RULE_DOWNSAMPLE:
        if (r->every_us <= 0) {
            problem(c, "every", "downsample needs how long one value stands for");
        }
        break;
    case RULE_WINDOW:
        check_window(c, r);
        check_quantiles(c, r);
        break;
    case RULE_SPECTRUM:
        if (r->samples < 16 || (r->samples & (r->samples - 1)) != 0) {
            problem(c, "samples", "must be a power of two from 16 to 1024");
        }
        if (r->band_words.count == 0) {
            problem(c, "bands", "spectrum needs at least one band");
        }
        check_bands(c, r);
        break;
    case RULE_CAPTURE:
        if (r->above == INFINITY && r->below == -INFINITY) {
            problem(c, "do", "capture needs above or below");
        }
        check_faster(c, r);
        break;
    case RULE_BUCKET:
        if (!(r->width > 0)) {
            problem(c, "width", "must be above 0");
        }
        break;
    case RULE_MERGE:
        if (r->length_us < 1000 || r->of[0] == '\0') {
            problem(c, "of", "merge needs the rule whose windows it takes, and a length");
        } else {
            check_window(c, r);
        }
        break;
    case RULE_QUALITY:
        if (r->clock == RULE_CLOCK_ANY) {
            problem(c, "clock", "quality needs the worst clock that is good enough");
        }
        break;
    case RULE_DEDUPE:
    case RULE_ON_CHANGE:
    case RULE_DROP:
    case RULE_HASH:
    case RULE_KINDS:
        break;
    }
}

/* Whether a setting is other than its default; every word's default is the first, every duration's and count's 0. */
static bool is_given(const struct rule *r, const struct option *row)
{
    const char *at = (const char *)r + row->offset;
    switch (row->type) {
    case OPTION_NUMBER: {
        double preset = strtod(row->preset, NULL), value;
        memcpy(&value, at, sizeof(value));
        return value != preset;
    }
    case OPTION_DURATION:
    case OPTION_INT: {
        int64_t value;
        memcpy(&value, at, sizeof(value));
        return value != 0;
    }
    case OPTION_ENUM: {
        int value;
        memcpy(&value, at, sizeof(value));
        return value != 0;
    }
    case OPTION_STRING: {
        const char *value;
        memcpy(&value, at, sizeof(value));
        return value != NULL && strcmp(value, row->preset) != 0;
    }
    case OPTION_LIST: {
        struct option_list value;
        memcpy(&value, at, sizeof(value));
        return value.count > 0;
    }
    case OPTION_PATH:
    case OPTION_FILE:
    case OPTION_ID:
    case OPTION_BOOL:
    case OPTION_BYTES:
    case OPTION_SECTIONS:
        break; /* the table has none */
    }
    return false;
}

static bool has_word(const char *words, const char *name)
{
    char word[40];
    snprintf(word, sizeof(word), " %s ", name);
    return strstr(words, word) != NULL;
}

/* A setting that is given must be one that the rule's kind looks at. */
static void check_meaning(struct checking *c, const struct rule *r)
{
    for (const struct option *row = rule_table; row->name != NULL; row++) {
        char text[120];
        if (!has_word(every_kind, row->name) && is_given(r, row) && !has_word(kinds[r->kind].settings, row->name)) {
            snprintf(text, sizeof(text), "has no meaning with do: %s", kinds[r->kind].name);
            problem(c, row->name, text);
        }
    }
}

/* merge: a -> b -> a would wait for itself. A name that is not in this file belongs to a gateway below. */
static void check_cycles(struct checking *c, const struct option_sections *rules)
{
    const struct rule *all = rules->items;
    for (size_t i = 0; i < rules->count; i++) {
        size_t at = i;
        for (size_t steps = 0; all[at].kind == RULE_MERGE && steps <= rules->count; steps++) {
            size_t next = 0;
            while (next < rules->count && strcmp(rules->names[next], all[at].of) != 0) {
                next++;
            }
            if (next == i) {
                c->name = rules->names[i];
                problem(c, "of", "leads back to the rule itself");
                break;
            }
            if (next == rules->count) {
                break;
            }
            at = next;
        }
    }
}

/* A dedupe where values are no rows any more. Globs that overlap in part are the user's to know. */
static void check_dedupe(struct checking *c, const struct rule *all, const struct rule *r)
{
    for (const struct rule *before = all; r->kind == RULE_DEDUPE && before < r; before++) {
        bool holds = before->kind == RULE_DOWNSAMPLE || before->kind == RULE_SWINGING_DOOR;
        bool covers = (strcmp(before->devices, "*") == 0 || strcmp(before->devices, r->devices) == 0) &&
                      (strcmp(before->channels, "*") == 0 || strcmp(before->channels, r->channels) == 0);
        if (holds && covers) {
            problem(c, "do", "dedupe must stand in front of downsample and swinging-door: behind them are no rows");
            return;
        }
    }
}

static enum err check(const void *settings, struct buffer *problems)
{
    const struct file *f = settings;
    struct checking c = {.problems = problems};
    for (size_t i = 0; i < f->rules.count; i++) {
        struct rule *r = (struct rule *)f->rules.items + i;
        c.name = f->rules.names[i];
        r->name = f->rules.names[i];
        r->index = (unsigned)i;
        check_meaning(&c, r);
        check_needs(&c, r);
        check_dedupe(&c, f->rules.items, r);
    }
    check_cycles(&c, &f->rules);
    return c.failed ? ERR_RANGE : OK;
}

static enum err check_device(const void *settings, struct buffer *problems)
{
    const struct file *f = settings;
    struct checking c = {.problems = problems};
    enum err err = check(settings, problems);
    for (size_t i = 0; i < f->rules.count; i++) {
        const struct rule *r = (const struct rule *)f->rules.items + i;
        const char *why = rule_kind_not_for_devices((enum rule_kind)r->kind);
        char text[160];
        c.name = f->rules.names[i];
        if (why != NULL) {
            snprintf(text, sizeof(text), "%s is not for a device: %s", kinds[r->kind].name, why);
            problem(&c, "do", text);
        }
    }
    return c.failed ? ERR_RANGE : err;
}

static const struct options_program device_program = {.name = "rules",
                                                      .summary = "What a device leaves out of its records.",
                                                      .table = table,
                                                      .settings_size = sizeof(struct file),
                                                      .check = check_device,
                                                      .checks_all = true};

static enum err check_keyless(const void *settings, struct buffer *problems)
{
    const struct file *f = settings;
    struct checking c = {.problems = problems};
    enum err err = check(settings, problems);
    for (size_t i = 0; i < f->rules.count; i++) {
        const struct rule *r = (const struct rule *)f->rules.items + i;
        c.name = f->rules.names[i];
        if (r->kind == RULE_HASH) {
            problem(&c, "do", "hash needs the plant's key, and the gateway's rules.key names none");
        }
    }
    return c.failed ? ERR_RANGE : err;
}

static const struct options_program keyless_program = {.name = "rules",
                                                       .summary = "What a gateway without a key does with readings.",
                                                       .table = table,
                                                       .settings_size = sizeof(struct file),
                                                       .check = check_keyless,
                                                       .checks_all = true};

/* ---- the public face ---- */
static void hash_text(uint64_t *hash, const char *text)
{
    do {
        *hash = mix_u64(*hash ^ (uint8_t)*text);
    } while (*text++ != '\0');
}

static void hash_setting(void *arg, const char *name, const char *value)
{
    hash_text(arg, name);
    hash_text(arg, value);
}

static enum err load(const struct options_program *as, const char *path, struct rules **ret_rules,
                     struct buffer *problems)
{
    CLEANUP(rules_freep) struct rules *rules = calloc(1, sizeof(*rules));
    if (rules == NULL) {
        return ERR_NOMEM;
    }
    TRY(options_load(as, path, NULL, 0, &rules->file, problems));
    options_each(&program, &rules->file, hash_setting, &rules->version);
    rules->version &= INT64_MAX; /* as the wire and the sinks' columns have it */
    rules->version += rules->version == 0;
    *ret_rules = take(rules);
    return OK;
}

enum err rules_load(const char *path, struct rules **ret_rules, struct buffer *problems)
{
    return load(&program, path, ret_rules, problems);
}

enum err rules_load_device(const char *path, struct rules **ret_rules, struct buffer *problems)
{
    return load(&device_program, path, ret_rules, problems);
}

enum err rules_load_keyless(const char *path, struct rules **ret_rules, struct buffer *problems)
{
    return load(&keyless_program, path, ret_rules, problems);
}

const char *rule_kind_help(enum rule_kind kind)
{
    return kind < RULE_KINDS ? kinds[kind].help : "";
}

const struct option *rule_kind_setting(enum rule_kind kind, size_t index)
{
    const char *words = kind < RULE_KINDS ? kinds[kind].settings : every_kind;
    const struct option *row = rule_table;
    while (row->name != NULL && (!has_word(words, row->name) || index-- > 0)) {
        row++;
    }
    return row->name != NULL ? row : NULL;
}

void rules_free(struct rules *rules)
{
    if (rules != NULL) {
        options_free(&program, &rules->file);
        free(rules);
    }
}

uint64_t rules_version(const struct rules *rules)
{
    return rules->version;
}

size_t rules_count(const struct rules *rules)
{
    return rules->file.rules.count;
}

const struct rule *rules_at(const struct rules *rules, size_t index)
{
    return (const struct rule *)rules->file.rules.items + index;
}
