/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value - one written value into one typed field.
 *
 * Comes in: the row and what was written. Goes out: the field, or one sentence without the setting's name that says
 * what is wrong and what is allowed. A field is replaced only when the new value is good, or a number out of its range:
 * whoever checks further then sees what was written.
 */
#include "core/options/options_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN_MAX = 60, WORD_MAX = 64 };

struct unit {
    const char *name;
    double factor;
};
static const struct unit DURATIONS[] = {{"us", 1},   {"ms", 1e3},     {"s", 1e6},       {"min", 60e6},
                                        {"h", 3600e6}, {"d", 86400e6}, {NULL, 0}};
static const struct unit SIZES[] = {{"B", 1},          {"KiB", 1024.0},          {"MiB", 1048576.0},
                                    {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}, {NULL, 0}};

/* The value as it is quoted in a sentence. */
struct shown {
    char text[4 * SHOWN_MAX];
};
static struct shown shown_of(struct slice s)
{
    struct shown shown = {.text = ""};
    BUFFER(b, sizeof(shown.text) - 1);
    buffer_put_u8(&b, '"');
    buffer_put_shown(&b, s, SHOWN_MAX);
    buffer_put_u8(&b, '"');
    if (buffer_err(&b) == OK) {
        memcpy(shown.text, b.ptr, b.len);
    }
    return shown;
}

static enum err out_of_range(const struct option *row, struct slice s, const char *what, struct fault *why)
{
    BUFFER(range, 200);
    option_write_range(row, &range);
    return fault_set(why, ERR_RANGE, "%s%s is outside %.*s", what, shown_of(s).text, (int)range.len,
                     range.ptr ? (const char *)range.ptr : "");
}

static bool within(const struct option *row, double value)
{
    double min, max;
    return (!option_has_min(row, &min) || value >= min) && (!option_has_max(row, &max) || value <= max);
}

static enum err copy_text(struct slice s, const char *before, char **ret_text)
{
    size_t lead = strlen(before);
    char *text = malloc(lead + s.len + 1);
    if (text == NULL) {
        return ERR_NOMEM;
    }
    memcpy(text, before, lead);
    if (s.len > 0) {
        memcpy(text + lead, s.ptr, s.len);
    }
    text[lead + s.len] = '\0';
    *ret_text = text;
    return OK;
}

static enum err check_file(const char *path, struct fault *why)
{
    struct stat st;
    struct slice s = slice_str(path);
    if (stat(path, &st) != 0) {
        return fault_set(why, ERR_RANGE, "cannot read the file %s: %s", shown_of(s).text, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return fault_set(why, ERR_RANGE, "%s is not a file", shown_of(s).text);
    }
    if (access(path, R_OK) != 0) {
        return fault_set(why, ERR_RANGE, "cannot read the file %s: %s", shown_of(s).text, strerror(errno));
    }
    return OK;
}

static enum err parse_text(const struct option *row, struct slice s, const char *folder, char **field,
                           struct fault *why)
{
    if (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL) {
        return fault_set(why, ERR_MALFORMED, "%s has a NUL character in it", shown_of(s).text);
    }
    bool unset = s.len == 0 && row->type != OPTION_STRING;
    if (unset && row->required) {
        return fault_set(why, ERR_RANGE, "must not be empty");
    }
    if (!unset && row->type == OPTION_ID && !id_valid(s)) {
        return fault_set(why, ERR_RANGE, "%s is not an identity: 1..%d of A-Z a-z 0-9 _ -", shown_of(s).text, ID_MAX);
    }
    if (row->type == OPTION_STRING && !within(row, (double)s.len)) {
        return out_of_range(row, s, "the length of ", why);
    }
    if (row->type == OPTION_ID && slice_equal(s, slice_str("CHANGE-ME"))) {
        return fault_set(why, ERR_RANGE, "still says CHANGE-ME, as the sample does");
    }
    bool path = row->type == OPTION_PATH || row->type == OPTION_FILE;
    CLEANUP(charp_freep) char *text = NULL;
    TRY(copy_text(s, path && s.len > 0 && s.ptr[0] != '/' ? folder : "", &text));
    if (row->type == OPTION_FILE && !unset) {
        TRY(check_file(text, why));
    }
    free(*field);
    *field = take(text);
    return OK;
}

static enum err parse_bool(struct slice s, bool *field, struct fault *why)
{
    static const char *const YES[] = {"true", "yes", "on"}, *const NO[] = {"false", "no", "off"};
    for (size_t i = 0; i < COUNT_OF(YES); i++) {
        if (slice_equal(s, slice_str(YES[i])) || slice_equal(s, slice_str(NO[i]))) {
            *field = slice_equal(s, slice_str(YES[i]));
            return OK;
        }
    }
    return fault_set(why, ERR_MALFORMED, "%s is neither true nor false", shown_of(s).text);
}

static enum err parse_int(const struct option *row, struct slice s, int64_t *field, struct fault *why)
{
    char word[WORD_MAX] = "";
    size_t digits = 0;
    for (; digits < s.len && digits < sizeof(word) - 1; digits++) {
        char c = (char)s.ptr[digits];
        if ((c < '0' || c > '9') && !(digits == 0 && (c == '-' || c == '+') && s.len > 1)) {
            break;
        }
        word[digits] = c;
    }
    if (s.len == 0 || digits != s.len) {
        return fault_set(why, ERR_MALFORMED, "%s is not a whole number", shown_of(s).text);
    }
    errno = 0;
    long long value = strtoll(word, NULL, 10);
    *field = value;
    return errno != 0 || !within(row, (double)value) ? out_of_range(row, s, "", why) : OK;
}

static bool plain_decimal(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = (char)s.ptr[i];
        if ((c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-') {
            return false;
        }
    }
    return true;
}

/* A decimal number; .inf as YAML writes it. */
static bool to_double(struct slice s, double *ret_value)
{
    char word[WORD_MAX] = "";
    if (s.len == 0 || s.len >= sizeof(word)) {
        return false;
    }
    memcpy(word, s.ptr, s.len);
    const char *infinite[] = {".inf", "inf", "-.inf", "-inf"};
    for (size_t i = 0; i < COUNT_OF(infinite); i++) {
        if (strcmp(word, infinite[i]) == 0) {
            *ret_value = i < 2 ? HUGE_VAL : -HUGE_VAL;
            return true;
        }
    }
    char *end = NULL;
    double value = strtod(word, &end);
    if (!plain_decimal(s) || end != word + s.len || !isfinite(value)) {
        return false;
    }
    *ret_value = value;
    return true;
}

static enum err parse_number(const struct option *row, struct slice s, double *field, struct fault *why)
{
    double value;
    if (!to_double(s, &value)) {
        return fault_set(why, ERR_MALFORMED, "%s is not a number", shown_of(s).text);
    }
    *field = value;
    return within(row, value) ? OK : out_of_range(row, s, "", why);
}

static enum err bad_unit(const struct unit *units, const char *example, struct slice s, const char *unit,
                         struct fault *why)
{
    char names[60] = "";
    struct options_nearest nearest = {.word = unit};
    for (const struct unit *u = units; u->name != NULL; u++) {
        size_t len = strlen(names);
        snprintf(names + len, sizeof(names) - len, "%s%s", u == units ? "" : ", ", u->name);
        if (strcasecmp(unit, u->name) == 0) {
            nearest = (struct options_nearest){.word = unit, .best = u->name};
        }
        options_nearest_offer(&nearest, u->name);
    }
    if (unit[0] == '\0') {
        return fault_set(why, ERR_MALFORMED, "%s has no unit; write for example %s (units: %s)", shown_of(s).text,
                         example, names);
    }
    return fault_set(why, ERR_MALFORMED, "%s: unknown unit \"%s\"%s%s%s (units: %s)", shown_of(s).text, unit,
                     nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "", nearest.best ? "?" : "",
                     names);
}

/* "1.5h": a decimal number and one of the units; "0" needs none. */
static enum err parse_units(const struct option *row, const struct unit *units, const char *example, struct slice s,
                            int64_t *field, struct fault *why)
{
    size_t split = 0;
    while (split < s.len && ((s.ptr[split] >= '0' && s.ptr[split] <= '9') || s.ptr[split] == '.')) {
        split++;
    }
    double number;
    size_t unit_len = s.len - split;
    if (!to_double(slice_of(s.ptr, split), &number) || unit_len > 16) {
        return fault_set(why, ERR_MALFORMED, "%s is not a %s; write for example %s", shown_of(s).text,
                         units == DURATIONS ? "duration" : "size", example);
    }
    char unit[17] = "";
    for (size_t i = 0, at = 0; i < unit_len; i++) {
        unsigned char c = s.ptr[split + i];
        if (c != ' ' || at > 0) {
            unit[at++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
        }
    }
    const struct unit *found = units;
    while (found->name != NULL && strcmp(found->name, unit) != 0) {
        found++;
    }
    bool seconds = row->plain_seconds && unit[0] == '\0';
    if (found->name == NULL && !seconds && (number != 0 || unit[0] != '\0')) {
        return bad_unit(units, example, s, unit, why);
    }
    double value = number * (seconds ? (double)SECOND_US : found->factor);
    bool good = value <= 9e18 && within(row, value) && (number == 0 || value >= 1);
    /* One out of range is bounded so that sums of a few do not overflow where it is checked further. */
    *field = good ? llround(value) : number > 0 ? llround(fmin(fmax(value, 1), 1e18)) : 0;
    return good ? OK : out_of_range(row, s, "", why);
}

static enum err parse_enum(const struct option *row, struct slice s, int *field, struct fault *why)
{
    char typed[WORD_MAX] = "", word[WORD_MAX], best[WORD_MAX] = "";
    if (s.len < sizeof(typed) && s.len > 0) {
        memcpy(typed, s.ptr, s.len);
    }
    struct options_nearest nearest = {.word = typed};
    int index = 0;
    for (const char *at = row->words; *at != '\0'; index++) {
        size_t len = strcspn(at, "|");
        if (slice_equal(s, slice_of(at, len))) {
            *field = index;
            return OK;
        }
        snprintf(word, sizeof(word), "%.*s", (int)len, at);
        options_nearest_offer(&nearest, word);
        if (nearest.best == word) {
            snprintf(best, sizeof(best), "%s", word);
            nearest.best = best;
        }
        at += len + (at[len] == '|');
    }
    return fault_set(why, ERR_RANGE, "%s is none of %s%s%s%s", shown_of(s).text, row->words,
                     best[0] ? " (did you mean " : "", best, best[0] ? "?)" : "");
}

static void list_clear(struct option_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (struct option_list){.count = 0};
}

static enum err parse_list(const struct option *row, const struct option_text *text, struct option_list *field,
                           struct fault *why)
{
    if (!within(row, (double)text->count)) {
        BUFFER(range, 200);
        option_write_range(row, &range);
        return fault_set(why, ERR_RANGE, "has %zu items, which is outside %.*s", text->count, (int)range.len,
                         range.ptr ? (const char *)range.ptr : "");
    }
    CLEANUP(list_clear) struct option_list list = {.items = calloc(text->count + 1, sizeof(char *))};
    if (list.items == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < text->count; i++) {
        struct slice item = text->items[i];
        if (item.len == 0 || memchr(item.ptr, '\0', item.len) != NULL) {
            return fault_set(why, ERR_MALFORMED, "item %zu is empty or has a NUL character in it", i + 1);
        }
        TRY(copy_text(item, "", &list.items[i]));
        list.count++;
    }
    list_clear(field);
    *field = list;
    list = (struct option_list){.count = 0};
    return OK;
}

enum err option_parse(const struct option *row, const struct option_text *text, const char *folder, void *settings,
                      struct fault *why)
{
    void *field = option_field(row, settings);
    struct slice s = text->scalar;
    if ((text->items != NULL) != (row->type == OPTION_LIST)) {
        return text->items ? fault_set(why, ERR_MALFORMED, "takes one %s, not a list", option_type_word(row))
                           : fault_set(why, ERR_MALFORMED, "takes a list; write [a, b]");
    }
    switch (row->type) {
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_FILE:
    case OPTION_ID: return parse_text(row, s, folder, field, why);
    case OPTION_BOOL: return parse_bool(s, field, why);
    case OPTION_INT: return parse_int(row, s, field, why);
    case OPTION_NUMBER: return parse_number(row, s, field, why);
    case OPTION_DURATION: return parse_units(row, DURATIONS, "5s", s, field, why);
    case OPTION_BYTES: return parse_units(row, SIZES, "64MiB", s, field, why);
    case OPTION_ENUM: return parse_enum(row, s, field, why);
    case OPTION_LIST: return parse_list(row, text, field, why);
    case OPTION_SECTIONS: break; /* the walk through the document opens them one by one */
    }
    return ERR_UNSUPPORTED;
}

void option_clear(const struct option *row, void *settings)
{
    if (option_is_text(row)) {
        char **field = option_field(row, settings);
        free(*field);
        *field = NULL;
    } else if (row->type == OPTION_LIST) {
        list_clear(option_field(row, settings));
    } else if (row->type == OPTION_SECTIONS) {
        sections_clear(row, option_field(row, settings));
    }
}
