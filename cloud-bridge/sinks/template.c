/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cloud-bridge/sinks/encode.h"

static const char *const placeholders[] = {"site", "bridge", "gateway", "device", "lane", "kind"};

static const char *value_of(const struct sink_template_values *v, size_t index)
{
    const char *const values[] = {v->site, v->bridge, v->gateway, v->device, v->lane, v->kind};
    return values[index] != NULL ? values[index] : "*";
}

/* Index of the placeholder whose name stands at name[0..len), COUNT_OF when none. */
static size_t find_placeholder(const char *name, size_t len)
{
    size_t i = 0;
    while (i < COUNT_OF(placeholders) &&
           (strlen(placeholders[i]) != len || memcmp(placeholders[i], name, len) != 0)) {
        i++;
    }
    return i;
}

/* One level: words and placeholders in turn. */
struct level {
    bool text, odd; /* odd: bytes beyond [A-Za-z0-9_-] */
    unsigned placeholders;
    size_t len;
};

static const char *read_level(const char *at, char separator, struct level *ret, bool *device, const char *key,
                              struct buffer *problems)
{
    *ret = (struct level){.len = 0};
    while (*at != '\0' && *at != separator) {
        if (*at == '{') {
            size_t len = strcspn(at + 1, "}");
            size_t index = find_placeholder(at + 1, len);
            if (at[1 + len] == '\0' || index == COUNT_OF(placeholders)) {
                buffer_printf(
                    problems,
                    "%s: {%.*s%s is no placeholder: known are {site} {bridge} {gateway} {device} {lane} {kind}\n", key,
                    (int)min_u64(len, 40), at + 1, at[1 + len] == '\0' ? "" : "}");
                return NULL;
            }
            *device = *device || strcmp(placeholders[index], "device") == 0;
            ret->placeholders++;
            at += len + 2;
        } else {
            char one = *at++;
            ret->text = true;
            ret->odd = ret->odd || !id_valid(slice_of(&one, 1));
        }
        ret->len++;
    }
    return at;
}

static bool check_level(const struct level *level, enum sink_template_rules rules, const char *key,
                        struct buffer *problems)
{
    if (level->len == 0) {
        buffer_printf(problems, "%s: a level is empty\n", key);
        return false;
    }
    if (rules == SINK_TEMPLATE_SUBJECT &&
        (level->odd || level->placeholders > 1 || (level->placeholders && level->text))) {
        buffer_printf(problems, "%s: each token is one placeholder or a word of A-Z a-z 0-9 _ -\n", key);
        return false;
    }
    return true;
}

static bool check_bytes(const char *text, enum sink_template_rules rules, const char *key, struct buffer *problems)
{
    struct slice rest = slice_str(text);
    if (rules == SINK_TEMPLATE_SUBJECT) {
        return true;
    }
    while (rest.len > 0) {
        size_t len = utf8_length(rest);
        if (len == 0 || rest.ptr[0] < 0x20 || rest.ptr[0] == 0x7f || rest.ptr[0] == '+' || rest.ptr[0] == '#') {
            buffer_printf(problems, "%s: a topic is UTF-8 without + # and control characters\n", key);
            return false;
        }
        rest = slice_of(rest.ptr + len, rest.len - len);
    }
    if (text[0] == '$') {
        buffer_printf(problems, "%s: topics that begin with $ belong to the broker\n", key);
        return false;
    }
    return true;
}

enum err sink_template_check(const char *text, enum sink_template_rules rules, const char *key, struct buffer *problems)
{
    char separator = rules == SINK_TEMPLATE_SUBJECT ? '.' : '/';
    bool device = false;
    const char *at = text;
    if (strlen(text) > SINK_TEMPLATE_MAX) {
        buffer_printf(problems, "%s: longer than %d bytes\n", key, SINK_TEMPLATE_MAX);
        return ERR_RANGE;
    }
    if (!check_bytes(text, rules, key, problems)) {
        return ERR_RANGE;
    }
    for (;;) {
        struct level level;
        at = read_level(at, separator, &level, &device, key, problems);
        if (at == NULL || !check_level(&level, rules, key, problems)) {
            return ERR_RANGE;
        }
        if (*at == '\0') {
            break;
        }
        at++;
    }
    if (!device) {
        buffer_printf(problems, "%s: {device} must be in it, or the order of a device's records is lost\n", key);
        return ERR_RANGE;
    }
    return OK;
}

void sink_template_render(const char *text, const struct sink_template_values *values, struct buffer *out)
{
    for (const char *at = text; *at != '\0';) {
        size_t plain = strcspn(at, "{");
        buffer_put(out, at, plain);
        at += plain;
        if (*at == '{') {
            size_t len = strcspn(at + 1, "}");
            buffer_put_str(out, value_of(values, find_placeholder(at + 1, len)));
            at += len + 2;
        }
    }
}

const char *sink_lane_name(unsigned lane)
{
    return lane == 0 ? "alarm" : "bulk";
}
