/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dead: the operator's questions and orders about dead letters.
 */
#include "cloud-bridge/bridged/bridged_internal.h"
#include "core/base/json.h"

enum { HTTP_OK = 200, HTTP_NOT_FOUND = 404, HTTP_UNAVAILABLE = 503 };

static int answer(struct buffer *out, enum err err, const char *done)
{
    struct json j;
    buffer_reset(out);
    json_init(&j, out);
    json_object(&j, NULL);
    if (err == OK) {
        json_str(&j, "done", done);
    } else {
        json_str(&j, "error", err == ERR_NOT_FOUND ? "there is no such letter, or its sink is not configured any more"
                              : err == ERR_AGAIN   ? "another letter is under way, try again"
                                                   : err_name(err));
    }
    json_object_end(&j);
    return err == OK ? HTTP_OK : err == ERR_NOT_FOUND ? HTTP_NOT_FOUND : HTTP_UNAVAILABLE;
}

int bridge_dead_json(struct bridge *b, const struct bridge_dead_request *r, struct buffer *out)
{
    struct json j;
    enum err err;
    json_init(&j, out);
    if (b->sinks == NULL) {
        return answer(out, ERR_AGAIN, NULL);
    }
    if (strcmp(r->verb, "replay") == 0) {
        return answer(out, sinks_replay(b->sinks, r->id), "replay");
    }
    if (strcmp(r->verb, "drop") == 0) {
        return answer(out, dead_remove(b->dead, r->id, NULL, NULL), "drop");
    }
    err = strcmp(r->verb, "show") == 0 ? dead_show_json(b->dead, r->id, &j)
                                       : dead_list_json(b->dead, r->sink, r->from, r->limit, &j);
    return err == OK ? HTTP_OK : answer(out, err, NULL);
}
