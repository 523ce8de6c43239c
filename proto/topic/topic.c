/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic - in: text of a PUBLISH topic, borrowed; out: identities and channel, copied. Called per message by the loop's
 * thread; allocates nothing. A topic that does not parse is never routed, so an identity that reaches a key or a
 * certificate comparison has passed id_valid.
 */
#include "proto/topic/topic.h"

#include <stdio.h>

#define TOPIC_ROOT "weir/v1/"
enum { TOPIC_ROOT_LEN = sizeof(TOPIC_ROOT) - 1 };

static const char *const channel_names[] = {
    [TOPIC_TELE] = "tele",     [TOPIC_UP] = "up",   [TOPIC_ACK] = "ack",     [TOPIC_ASK] = "ask",
    [TOPIC_ANSWER] = "answer", [TOPIC_CMD] = "cmd", [TOPIC_ROUND] = "round", [TOPIC_BUNDLE] = "bundle",
    [TOPIC_HEALTH] = "health",
};

const char *topic_channel_name(enum topic_channel channel)
{
    return (size_t)channel < COUNT_OF(channel_names) ? channel_names[channel] : "unknown";
}

/* Cuts the level up to the next '/' off *rest. */
static bool take_level(struct slice *rest, struct slice *ret_level)
{
    const uint8_t *slash = rest->len ? memchr(rest->ptr, '/', rest->len) : NULL;
    if (slash == NULL) {
        return false;
    }
    size_t len = (size_t)(slash - rest->ptr);
    *ret_level = slice_of(rest->ptr, len);
    *rest = slice_of(slash + 1, rest->len - len - 1);
    return true;
}

static bool take_identity(struct slice *rest, char ret_identity[ID_MAX + 1])
{
    struct slice level;
    if (!take_level(rest, &level) || !id_valid(level)) {
        return false;
    }
    memcpy(ret_identity, level.ptr, level.len);
    ret_identity[level.len] = '\0';
    return true;
}

enum err topic_parse(struct slice text, struct topic *ret_topic)
{
    if (text.len < TOPIC_ROOT_LEN || memcmp(text.ptr, TOPIC_ROOT, TOPIC_ROOT_LEN) != 0) {
        return ERR_MALFORMED;
    }
    struct slice rest = slice_of(text.ptr + TOPIC_ROOT_LEN, text.len - TOPIC_ROOT_LEN);
    struct topic t;
    if (!take_identity(&rest, t.site) || !take_identity(&rest, t.gateway) || !take_identity(&rest, t.device)) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < COUNT_OF(channel_names); i++) {
        if (slice_equal(rest, slice_str(channel_names[i]))) {
            t.channel = (enum topic_channel)i;
            *ret_topic = t;
            return OK;
        }
    }
    return ERR_MALFORMED;
}

void topic_format(const char *site, const char *gateway, const char *device, enum topic_channel channel,
                  char ret_text[TOPIC_MAX + 1])
{
    /* The precision keeps an identity that nobody checked from running over the buffer. */
    snprintf(ret_text, TOPIC_MAX + 1, TOPIC_ROOT "%.*s/%.*s/%.*s/%s", ID_MAX, site, ID_MAX, gateway, ID_MAX, device,
             topic_channel_name(channel));
}
