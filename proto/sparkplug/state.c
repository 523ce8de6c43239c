/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATE of a host: a small JSON object. Members that we do not know are passed over, the two that we need must have their
 * types; what comes twice counts the first time.
 */
#include "proto/sparkplug/sparkplug.h"

#include <cjson/cJSON.h>
#include <math.h>

#define TIMESTAMP_MAX 9007199254740992.0 /* 2^53: what a JSON number holds exactly */

static void json_freep(cJSON **json)
{
    cJSON_Delete(*json);
}

/* cJSON takes what follows the object for no fault; white space may follow. */
static bool only_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) {
        at++;
    }
    return at == end;
}

enum err sparkplug_state_decode(struct slice payload, struct sparkplug_state *ret_state)
{
    if (payload.len > SPARKPLUG_STATE_MAX) {
        return ERR_RANGE;
    }
    const char *text = (const char *)payload.ptr, *end = NULL;
    CLEANUP(json_freep) cJSON *json = payload.len > 0 ? cJSON_ParseWithLengthOpts(text, payload.len, &end, 0) : NULL;
    if (!cJSON_IsObject(json) || !only_space(end, text + payload.len)) {
        return ERR_MALFORMED;
    }
    const cJSON *online = cJSON_GetObjectItemCaseSensitive(json, "online");
    const cJSON *timestamp = cJSON_GetObjectItemCaseSensitive(json, "timestamp");
    if (!cJSON_IsBool(online) || !cJSON_IsNumber(timestamp)) {
        return ERR_MALFORMED;
    }
    double ms = timestamp->valuedouble;
    if (!(ms >= 0 && ms <= TIMESTAMP_MAX)) {
        return ERR_RANGE;
    }
    *ret_state = (struct sparkplug_state){.online = cJSON_IsTrue(online), .timestamp_ms = (uint64_t)ms};
    return OK;
}
