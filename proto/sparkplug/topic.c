/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sparkplug/sparkplug.h"

#define NAMESPACE "spBv1.0"
enum { LEVELS_MAX = 5 };

static const char *const words[] = {
    [SPARKPLUG_NBIRTH] = "NBIRTH", [SPARKPLUG_NDATA] = "NDATA", [SPARKPLUG_NDEATH] = "NDEATH",
    [SPARKPLUG_NCMD] = "NCMD",     [SPARKPLUG_DBIRTH] = "DBIRTH", [SPARKPLUG_DDATA] = "DDATA",
    [SPARKPLUG_DDEATH] = "DDEATH", [SPARKPLUG_DCMD] = "DCMD",   [SPARKPLUG_STATE] = "STATE",
};

bool sparkplug_id_valid(struct slice id)
{
    if (id.len == 0 || id.len > SPARKPLUG_ID_MAX) {
        return false;
    }
    for (size_t at = 0; at < id.len;) {
        size_t len = utf8_length(slice_of(id.ptr + at, id.len - at));
        if (len == 0 || id.ptr[at] == '\0' || strchr("/+#", id.ptr[at]) != NULL) {
            return false;
        }
        at += len;
    }
    return true;
}

/* Levels of the topic, LEVELS_MAX + 1 when there are more. */
static size_t split(struct slice topic, struct slice levels[LEVELS_MAX])
{
    size_t count = 0;
    for (size_t start = 0, at = 0; at <= topic.len; at++) {
        if (at < topic.len && topic.ptr[at] != '/') {
            continue;
        }
        if (count == LEVELS_MAX) {
            return LEVELS_MAX + 1;
        }
        levels[count++] = slice_of(topic.ptr + start, at - start);
        start = at + 1;
    }
    return count;
}

enum err sparkplug_topic_parse(struct slice topic, struct sparkplug_topic *ret_topic)
{
    struct slice levels[LEVELS_MAX];
    if (topic.len == 0) {
        return ERR_MALFORMED;
    }
    size_t count = split(topic, levels);
    if (count < 3 || count > LEVELS_MAX || !slice_equal(levels[0], slice_str(NAMESPACE))) {
        return ERR_MALFORMED;
    }
    for (size_t i = 1; i < count; i++) {
        if (!sparkplug_id_valid(levels[i])) {
            return ERR_MALFORMED;
        }
    }
    if (count == 3) {
        *ret_topic = (struct sparkplug_topic){.type = SPARKPLUG_STATE, .node = levels[2]};
        return slice_equal(levels[1], slice_str(words[SPARKPLUG_STATE])) ? OK : ERR_MALFORMED;
    }
    for (unsigned type = 0; type < SPARKPLUG_STATE; type++) {
        if (slice_equal(levels[2], slice_str(words[type])) && (type >= SPARKPLUG_DBIRTH) == (count == LEVELS_MAX)) {
            *ret_topic = (struct sparkplug_topic){.type = (enum sparkplug_type)type,
                                                  .group = levels[1],
                                                  .node = levels[3],
                                                  .device = count == LEVELS_MAX ? levels[4] : slice_of(NULL, 0)};
            return OK;
        }
    }
    return ERR_MALFORMED;
}

void sparkplug_topic_put(struct buffer *out, enum sparkplug_type type, const char *group, const char *node,
                         const char *device)
{
    buffer_put_str(out, NAMESPACE "/");
    buffer_put_str(out, group);
    buffer_put_u8(out, '/');
    buffer_put_str(out, words[type]);
    buffer_put_u8(out, '/');
    buffer_put_str(out, node);
    if (device != NULL) {
        buffer_put_u8(out, '/');
        buffer_put_str(out, device);
    }
}

void sparkplug_state_topic_put(struct buffer *out, const char *host)
{
    buffer_put_str(out, NAMESPACE "/STATE/");
    buffer_put_str(out, host);
}
