/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands to devices: a capture has begun, and its rule asks the device to sample faster while it lasts.
 *
 * Nothing is kept and nothing is repeated: the broker holds no copy (not retained), and what is lost comes again with
 * the next record beyond the rule's bound. The device decides, within the bounds of its own settings.
 */
#include "core/log/log.h"
#include "gateway/gatewayd/gatewayd_internal.h"
#include "proto/topic/topic.h"

#include <stdio.h>

void gateway_on_capture(void *arg, const struct filter_capture *capture)
{
    struct gateway *g = arg;
    const struct rule *rule = capture->rule;
    struct wire_command command = {.id = capture->id,
                                   .deadline_us = capture->until_us,
                                   .for_us = (uint64_t)max_i64(rule->after_us, 1),
                                   .factor = rule->faster,
                                   .period_us = rule->faster > 0 ? 0 : (uint64_t)rule->every_us};
    char topic[TOPIC_MAX + 1];
    BUFFER(payload, WIRE_COMMAND_MAX);
    snprintf(command.site, sizeof(command.site), "%s", g->site);
    snprintf(command.gateway, sizeof(command.gateway), "%s", g->gateway);
    snprintf(command.device, sizeof(command.device), "%s", capture->device);
    snprintf(command.rule, sizeof(command.rule), "%s", rule->name);
    topic_format(g->site, g->gateway, capture->device, TOPIC_CMD, topic);
    enum err err = wire_command_encode(&command, &payload);
    err = err == OK ? bus_publish(g->down, slice_str(topic), buffer_slice(&payload), 1, false) : err;
    if (err == OK) {
        g->commands.sent++;
    } else {
        g->commands.unsent++;
        log_debug("a device is not asked to sample faster", KV_STR("device", capture->device), KV_ERR(err));
    }
}
