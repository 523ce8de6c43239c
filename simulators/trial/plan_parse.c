/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of plans. Strict: an unknown word, a number out of its bounds, a name that the world does not have is an
 * error with its line. Nothing is read beyond the text; sizes are bounded before anything is allocated.
 */
#include <stdarg.h>
#include <stdio.h>

#include "simulators/trial/plan_words.h"

enum { WORDS_MAX = 24, WORD_MAX_BYTES = 32, TEXT_MAX_BYTES = 1 << 20 };

struct reader {
    struct plan *plan;
    struct fault *fault;
    unsigned line, version;
    char words[WORDS_MAX][WORD_MAX_BYTES];
    size_t count, at;
};

static enum err PRINTF_LIKE(3, 4) wrong(struct reader *r, enum err err, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return fault_set(r->fault, err, "line %u: %s", r->line, text);
}

/* ---- words ---- */
static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static enum err split(struct reader *r, struct slice line)
{
    r->count = r->at = 0;
    for (size_t i = 0; i < line.len && line.ptr[i] != '#';) {
        if (is_space(line.ptr[i])) {
            i++;
            continue;
        }
        size_t begin = i;
        while (i < line.len && !is_space(line.ptr[i]) && line.ptr[i] != '#') {
            if (line.ptr[i] < 0x21 || line.ptr[i] > 0x7e) {
                return wrong(r, ERR_MALFORMED, "a byte that is no printable character");
            }
            i++;
        }
        if (r->count == WORDS_MAX || i - begin >= WORD_MAX_BYTES) {
            return wrong(r, ERR_MALFORMED, "too many words, or one that is too long");
        }
        memcpy(r->words[r->count], line.ptr + begin, i - begin);
        r->words[r->count++][i - begin] = '\0';
    }
    return OK;
}

/* The next word, "" at the end. */
static const char *next(struct reader *r)
{
    return r->at < r->count ? r->words[r->at++] : "";
}

static bool next_is(struct reader *r, const char *word)
{
    if (r->at < r->count && strcmp(r->words[r->at], word) == 0) {
        r->at++;
        return true;
    }
    return false;
}

/* ---- values ---- */
static bool digits(const char **text, uint64_t *ret)
{
    const char *c = *text;
    uint64_t value = 0;
    if (*c < '0' || *c > '9') {
        return false;
    }
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = 10 * value + digit;
    }
    *text = c;
    *ret = value;
    return true;
}

static enum err number(struct reader *r, const char *name, uint64_t least, uint64_t most, uint64_t *ret)
{
    const char *word = next(r), *text = word;
    uint64_t value = 0;
    if (!digits(&text, &value) || *text != '\0') {
        return wrong(r, ERR_MALFORMED, "%s: \"%s\" is not a whole number", name, word);
    }
    if (value < least || value > most) {
        return wrong(r, ERR_RANGE, "%s is %s; %llu to %llu is possible", name, word, (unsigned long long)least,
                     (unsigned long long)most);
    }
    *ret = value;
    return OK;
}

static enum err number_unsigned(struct reader *r, const char *name, unsigned least, unsigned most, unsigned *ret)
{
    uint64_t value = 0;
    TRY(number(r, name, least, most, &value));
    *ret = (unsigned)value;
    return OK;
}

static enum err duration(struct reader *r, const char *name, int64_t least_us, int64_t most_us, int64_t *ret_us)
{
    const char *word = next(r), *text = word;
    uint64_t value = 0;
    if (digits(&text, &value)) {
        for (const struct plan_unit *u = plan_units; u->unit != NULL; u++) {
            if (strcmp(text, u->unit) != 0) {
                continue;
            }
            if (value > (uint64_t)(most_us / u->us) || (int64_t)value * u->us < least_us) {
                return wrong(r, ERR_RANGE, "%s is %s, which is out of its bounds", name, word);
            }
            *ret_us = (int64_t)value * u->us;
            return OK;
        }
    }
    return wrong(r, ERR_MALFORMED, "%s: \"%s\" is not a duration such as 20ms, 5s or 10min", name, word);
}

static enum err word(struct reader *r, const struct plan_word *words, int64_t *ret)
{
    const char *text = next(r);
    for (const struct plan_word *w = words; w->word != NULL; w++) {
        if (strcmp(text, w->word) == 0) {
            *ret = w->value;
            return OK;
        }
    }
    return wrong(r, ERR_MALFORMED, "\"%s\" is not known here", text);
}

/* ---- settings ---- */
static enum err setting_word(struct reader *r, const char *name)
{
    struct world_options *o = &r->plan->world;
    static const struct plan_word yes_no[] = {{"no", 0}, {"yes", 1}, {NULL, 0}};
    if (strcmp(name, "mistake") == 0) {
        const char *text = next(r);
        return world_mistake_parse(text, &o->mistake) == OK
                   ? OK
                   : wrong(r, ERR_MALFORMED, "there is no mistake \"%s\"", text);
    }
    if (strcmp(name, "site") == 0) {
        int64_t site = 0;
        TRY(word(r, yes_no, &site));
        o->site = site != 0;
        return OK;
    }
    if (r->version > 1 && (strcmp(name, "line-rules") == 0 || strcmp(name, "site-rules") == 0)) {
        int64_t rules = 0;
        TRY(word(r, plan_rules, &rules));
        *(name[0] == 'l' ? &o->line_rules : &o->site_rules) = (enum world_rules)rules;
        return OK;
    }
    return wrong(r, ERR_MALFORMED, "there is no setting \"%s\"", name);
}

static enum err setting(struct reader *r, const char *name)
{
    struct world_options *o = &r->plan->world;
    const struct {
        const char *name;
        unsigned *value, least, most;
    } numbers[] = {{"devices", &o->devices, 1, PLAN_DEVICES_MAX},
                   {"lines", &o->lines, 0, WORLD_LINES_MAX},
                   {"samples", &o->samples, 1, 1024},
                   {"channels", &o->channels, 1, 16}};
    const struct {
        const char *name;
        uint64_t *value, most;
    } sizes[] = {{"seed", &o->seed, UINT64_MAX},
                 {"device-store", &o->device_store_bytes, UINT64_C(1) << 40},
                 {"bulk", &o->bulk_bytes, UINT64_C(1) << 40},
                 {"gateway-store", &o->gateway_store_bytes, UINT64_C(1) << 40},
                 {"bridge-store", &o->bridge_store_bytes, UINT64_C(1) << 40},
                 {"ring", &o->ring_bytes, UINT64_C(1) << 40}};
    const size_t sizes_known = COUNT_OF(sizes) - (r->version < 2);
    const struct {
        const char *name;
        int64_t *value, least, most;
    } durations[] = {{"period", &o->period_us, MS_US, DAY_US},
                     {"flush", &o->flush_us, 1, MINUTE_US},
                     {"device-flush", &o->device_flush_us, 1, MINUTE_US},
                     {"commit-delay", &o->commit_delay_us, 0, MINUTE_US},
                     {"length", &r->plan->length_us, 1, PLAN_LENGTH_MAX_US}};
    if (r->plan->count > 0) {
        return wrong(r, ERR_MALFORMED, "\"%s\": settings stand before the first fault", name);
    }
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return number_unsigned(r, name, numbers[i].least, numbers[i].most, numbers[i].value);
        }
    }
    for (size_t i = 0; i < sizes_known; i++) {
        if (strcmp(name, sizes[i].name) == 0) {
            return number(r, name, 0, sizes[i].most, sizes[i].value);
        }
    }
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        if (strcmp(name, durations[i].name) == 0) {
            return duration(r, name, durations[i].least, durations[i].most, durations[i].value);
        }
    }
    return setting_word(r, name);
}

/* ---- entries ---- */
static enum err messages(struct reader *r, struct bus_faults *f)
{
    *f = world_calm;
    const struct {
        const char *name;
        unsigned *ppm;
    } rates[] = {{"loss", &f->loss_ppm},
                 {"duplicate", &f->duplicate_ppm},
                 {"reorder", &f->reorder_ppm},
                 {"corrupt", &f->corrupt_ppm}};
    for (bool found = true; found;) {
        found = false;
        for (size_t i = 0; i < COUNT_OF(rates); i++) {
            if (next_is(r, rates[i].name)) {
                TRY(number_unsigned(r, rates[i].name, 0, 1000000, rates[i].ppm));
                found = true;
            }
        }
        if (next_is(r, "delay")) {
            TRY(duration(r, "delay", 0, HOUR_US, &f->delay_us));
            found = true;
        } else if (next_is(r, "jitter")) {
            TRY(duration(r, "jitter", 0, HOUR_US, &f->jitter_us));
            found = true;
        }
    }
    return OK;
}

static enum err expect(struct reader *r, const char *text)
{
    return next_is(r, text) ? OK : wrong(r, ERR_MALFORMED, "\"%s\" was expected", text);
}

/* What stands behind the target. */
static enum err parameters(struct reader *r, struct plan_entry *e)
{
    switch (e->kind) {
    case PLAN_LINK:
        TRY(word(r, plan_links, &e->value));
        break;
    case PLAN_DISK:
        TRY(word(r, plan_disks, &e->value));
        break;
    case PLAN_SINK:
        TRY(word(r, plan_sinks, &e->value));
        break;
    case PLAN_CLOCK:
        TRY(expect(r, "to"));
        TRY(duration(r, "clock", 0, 100000 * DAY_US, &e->value));
        break;
    case PLAN_PERIOD:
        TRY(expect(r, "to"));
        TRY(duration(r, "period", MS_US, DAY_US, &e->value));
        break;
    case PLAN_RULES:
        TRY(expect(r, "to"));
        TRY(word(r, plan_rules, &e->value));
        break;
    case PLAN_CRASH:
    case PLAN_MESSAGES:
    case PLAN_BROKER:
    case PLAN_SNAPSHOT:
    case PLAN_RESTORE:
    case PLAN_WIPE:
    case PLAN_ALARM:
    case PLAN_KIND_COUNT:
        break;
    }
    if (plan_lasts(e->kind)) {
        TRY(expect(r, "for"));
        TRY(duration(r, "for", 0, PLAN_LENGTH_MAX_US, &e->for_us));
    }
    if (e->kind == PLAN_MESSAGES) {
        TRY(messages(r, &e->faults));
    }
    if (next_is(r, "step")) {
        TRY(number_unsigned(r, "step", 0, 1000000, &e->step));
    }
    if (e->kind == PLAN_CRASH && next_is(r, "commits")) {
        uint64_t commits = 0;
        TRY(number(r, "commits", 0, 1000, &commits));
        e->value = (int64_t)commits;
    }
    return OK;
}

static enum err entry(struct reader *r)
{
    struct plan_entry e = {.kind = PLAN_KIND_COUNT};
    TRY(duration(r, "at", 0, PLAN_LENGTH_MAX_US, &e.at_us));
    const char *kind = next(r);
    for (int i = 0; i < (r->version > 1 ? PLAN_KIND_COUNT : PLAN_RULES); i++) {
        if (strcmp(kind, plan_kinds[i]) == 0) {
            e.kind = (enum plan_kind)i;
        }
    }
    if (e.kind == PLAN_KIND_COUNT) {
        return wrong(r, ERR_MALFORMED, "there is no fault \"%s\"", kind);
    }
    if (e.kind != PLAN_SINK) {
        const char *target = next(r);
        if (strlen(target) >= sizeof(e.target)) {
            return wrong(r, ERR_RANGE, "the name \"%s\" is too long", target);
        }
        (void)snprintf(e.target, sizeof(e.target), "%.*s", WORLD_NAME_MAX - 1, target);
    }
    TRY(parameters(r, &e));
    if (!plan_has(r->plan, &e)) {
        return wrong(r, ERR_RANGE, "this world has no \"%s\" for %s", e.target, kind);
    }
    enum err err = plan_add(r->plan, &e);
    return err == OK ? OK : wrong(r, err, "more than %d entries", PLAN_ENTRIES_MAX);
}

static enum err one_line(struct reader *r, struct slice line)
{
    TRY(split(r, line));
    if (r->count == 0) {
        return OK;
    }
    const char *first = next(r);
    TRY(strcmp(first, "at") == 0 ? entry(r) : setting(r, first));
    return r->at == r->count ? OK : wrong(r, ERR_MALFORMED, "\"%s\" is too much", r->words[r->at]);
}

static enum err all_lines(struct reader *r, struct slice text)
{
    bool headed = false;
    for (size_t at = 0; at < text.len;) {
        const uint8_t *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - text.ptr) - at : text.len - at;
        struct slice line = slice_of(text.ptr + at, len);
        r->line++;
        if (headed) {
            TRY(one_line(r, line));
        } else if (slice_equal(line, slice_str("weir-plan 1")) || slice_equal(line, slice_str("weir-plan 2"))) {
            r->version = line.ptr[line.len - 1] - (unsigned)'0';
        } else {
            return wrong(r, ERR_MALFORMED, "a plan begins with \"weir-plan 1\" or \"weir-plan 2\"");
        }
        headed = true;
        at += len + 1;
    }
    const struct world_options *o = &r->plan->world;
    if (!headed || (o->site && o->lines == 0)) {
        return wrong(r, ERR_MALFORMED, headed ? "a site needs lines" : "the plan is empty");
    }
    return OK;
}

enum err plan_parse(struct slice text, struct plan *ret_plan, struct fault *reterr)
{
    struct plan plan = {.world = {.seed = 1,
                                  .devices = 1,
                                  .period_us = SECOND_US,
                                  .samples = 10,
                                  .channels = 2,
                                  .flush_us = 2 * MS_US,
                                  .device_flush_us = 2 * MS_US},
                        .length_us = 10 * MINUTE_US};
    *ret_plan = (struct plan){.entries = NULL};
    if (text.len > TEXT_MAX_BYTES) {
        return fault_set(reterr, ERR_RANGE, "a plan has at most %d bytes", TEXT_MAX_BYTES);
    }
    struct reader r = {.plan = &plan, .fault = reterr};
    enum err err = all_lines(&r, text);
    if (err != OK) {
        plan_deinit(&plan);
        return err;
    }
    *ret_plan = plan;
    return OK;
}
