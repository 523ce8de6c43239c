/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic - weir/v1/<site>/<gateway>/<device>/<channel>: build and parse.
 *
 * <gateway> is the receiver that owns the subtree, <device> the peer (a device, or a child gateway). Each level is an
 * identity [A-Za-z0-9_-]{1,64}.
 */
#ifndef PROTO_TOPIC_TOPIC_H
#define PROTO_TOPIC_TOPIC_H

#include "core/base/base.h"

enum topic_channel {
    TOPIC_TELE,   /* device -> gateway: Frame of Records */
    TOPIC_UP,     /* gateway -> parent: Frame of Forwards */
    TOPIC_ACK,    /* receiver -> sender */
    TOPIC_ASK,
    TOPIC_ANSWER,
    TOPIC_CMD,
    TOPIC_ROUND,
    TOPIC_BUNDLE,
    TOPIC_HEALTH,
};
enum { TOPIC_MAX = 8 + 3 * (ID_MAX + 1) + 8 };

struct topic {
    char site[ID_MAX + 1], gateway[ID_MAX + 1], device[ID_MAX + 1];
    enum topic_channel channel;
};
/* ERR_MALFORMED: not of this form, bad identity, unknown channel or version. */
enum err topic_parse(struct slice text, struct topic *ret_topic) MUST_CHECK;
/* device may be "+" to make a subscription filter. ret_text is NUL-terminated. */
void topic_format(const char *site, const char *gateway, const char *device, enum topic_channel channel,
                  char ret_text[TOPIC_MAX + 1]);
const char *topic_channel_name(enum topic_channel channel);

#endif
