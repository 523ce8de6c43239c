/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics of the unified namespace: the template, and what a name looks like as a level.
 */
#include <stdio.h>

#include "gateway/publish/publish_internal.h"

static bool is_plain(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* May this character of several bytes stand in a topic? A broker ends the session over one that may not (MQTT 5.0, section
 * 1.5.4; mosquitto takes its SHOULD NOT for a MUST NOT): for what one device calls a channel, the whole plant's. */
static bool is_topic_character(const uint8_t *c, size_t len)
{
    static const uint8_t lead[] = {0, 0, 0x1f, 0x0f, 0x07};
    uint32_t point = c[0] & lead[len];
    for (size_t i = 1; i < len; i++) {
        point = point << 6 | (c[i] & 0x3f);
    }
    bool control = point < 0xa0;
    bool none = (point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) == 0xfffe; /* no character, by Unicode 23.7 */
    return !control && !none;
}

void names_slug(struct slice name, char ret_slug[WIRE_NAME_MAX + 1])
{
    size_t out = 0;
    for (size_t at = 0; at < name.len && out < WIRE_NAME_MAX;) {
        size_t len = utf8_length(slice_of(name.ptr + at, name.len - at));
        if (len > 1 && out + len <= WIRE_NAME_MAX && is_topic_character(name.ptr + at, len)) {
            memcpy(ret_slug + out, name.ptr + at, len);
            out += len;
        } else {
            ret_slug[out++] = len == 1 && is_plain(name.ptr[at]) ? (char)name.ptr[at] : '_';
        }
        at += len > 0 ? len : 1;
    }
    if (out == 0) {
        ret_slug[out++] = '_';
    }
    ret_slug[out] = '\0';
}

static enum err set_level(struct level *level, const char *what, const char *text, struct fault *reterr)
{
    if (text == NULL || text[0] == '\0') {
        return fault_set(reterr, ERR_RANGE, "the template of the topics has {%s}, but no %s is given", what, what);
    }
    char slug[WIRE_NAME_MAX + 1];
    names_slug(slice_str(text), slug);
    level->kind = LEVEL_TEXT;
    snprintf(level->text, sizeof(level->text), "%s", slug);
    return OK;
}

static enum err parse_level(struct level *level, const char *text, const struct publish_options *o,
                            struct fault *reterr)
{
    if (strcmp(text, "{site}") == 0) {
        return set_level(level, "site", o->site, reterr);
    }
    if (strcmp(text, "{area}") == 0) {
        return set_level(level, "area", o->area, reterr);
    }
    if (strcmp(text, "{line}") == 0) {
        return set_level(level, "line", o->line, reterr);
    }
    static const char *const words[] = {
        [LEVEL_GATEWAY] = "{gateway}", [LEVEL_DEVICE] = "{device}", [LEVEL_METRIC] = "{metric}"};
    for (unsigned kind = LEVEL_GATEWAY; kind <= LEVEL_METRIC; kind++) {
        if (strcmp(text, words[kind]) == 0) {
            level->kind = (enum level_kind)kind;
            return OK;
        }
    }
    char slug[WIRE_NAME_MAX + 1];
    names_slug(slice_str(text), slug);
    if (strcmp(slug, text) != 0) {
        return fault_set(reterr, ERR_RANGE,
                         "level \"%.100s\" of the topics is neither {site}, {area}, {line}, {gateway}, {device} or "
                         "{metric} nor a word of letters, digits, _ and -",
                         text);
    }
    level->kind = LEVEL_TEXT;
    snprintf(level->text, sizeof(level->text), "%s", text);
    return OK;
}

static size_t how_often(const struct names *n, enum level_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < n->count; i++) {
        count += n->levels[i].kind == kind;
    }
    return count;
}

enum err names_parse(struct names *n, const struct publish_options *o, struct fault *reterr)
{
    char *rest = strdup(o->topic);
    CLEANUP(charp_freep) char *copy = rest;
    if (copy == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    *n = (struct names){0};
    for (char *level; (level = strsep(&rest, "/")) != NULL;) {
        if (n->count == LEVELS_MAX) {
            return fault_set(reterr, ERR_RANGE, "the template of the topics has more than %d levels", LEVELS_MAX);
        }
        TRY(parse_level(&n->levels[n->count++], level, o, reterr));
    }
    if (how_often(n, LEVEL_DEVICE) != 1 || how_often(n, LEVEL_METRIC) != 1 ||
        n->levels[n->count - 1].kind != LEVEL_METRIC) {
        return fault_set(reterr, ERR_RANGE, "the template \"%.200s\" must have {device} once and end in {metric}", o->topic);
    }
    if (n->levels[0].kind == LEVEL_TEXT && strcmp(n->levels[0].text, "weir") == 0) {
        return fault_set(reterr, ERR_RANGE, "the topics cannot begin with weir/: that is where devices and gateways talk");
    }
    return OK;
}

void names_put(const struct names *n, const char *gateway, const char *device, const char *metric, struct buffer *out)
{
    for (size_t i = 0; i < n->count; i++) {
        if (i > 0) {
            buffer_put_u8(out, '/');
        }
        switch (n->levels[i].kind) {
        case LEVEL_TEXT:
            buffer_put_str(out, n->levels[i].text);
            break;
        case LEVEL_GATEWAY:
            buffer_put_str(out, gateway);
            break;
        case LEVEL_DEVICE:
            buffer_put_str(out, device);
            break;
        case LEVEL_METRIC:
            buffer_put_str(out, metric);
            break;
        }
    }
}
