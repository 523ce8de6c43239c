/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing with a window. libnats has an asynchronous publisher, which reports on threads of its own; here the
 * acknowledgements are read from a subscription by the sink's one thread, and each is held against the sequence that
 * its message must have got.
 */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "cloud-bridge/sink-nats/sink_nats_internal.h"

enum { BATCH_TIMEOUTS = 6 }; /* a batch takes at most so many times the timeout */

struct run {
    struct nats_sink *n;
    const struct sink_batch *batch;
    size_t sent, answered;
    enum err err; /* the first failure */
    struct fault *reterr;
};

static void fail(struct run *r, enum err err, const char *text)
{
    if (r->err == OK) {
        r->err = fault_set(r->reterr, err, "stream %s: %s", r->n->stream, text);
    }
}

/* {"error":{"code":400,"err_code":10071,"description":"..."}} */
static void on_error(struct run *r, size_t index, const cJSON *error)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "description"));
    double code = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(error, "err_code"));
    text = text != NULL ? text : "refused without a word";
    if (code == JSStreamMessageExceedsMaximumErr) {
        sink_refuse(r->batch, r->n->messages[index].item, "larger than a message of the stream may be");
        fail(r, ERR_UNSUPPORTED, text);
    } else {
        fail(r, strstr(text, "maximum") != NULL || strstr(text, "resource") != NULL ? ERR_FULL : ERR_AGAIN, text);
    }
}

static void on_ack(struct run *r, size_t index, const char *data, int len)
{
    cJSON *json = cJSON_ParseWithLength(data, (size_t)len);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    double seq = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, "seq"));
    if (json == NULL) {
        fail(r, ERR_IO, "an acknowledgement is not JSON");
    } else if (error != NULL) {
        on_error(r, index, error);
    } else if (seq != (double)(r->n->last + 1 + index)) { /* also of a duplicate: it must be this one */
        fail(r, ERR_AGAIN, "a record stands elsewhere than expected: the stream is read again");
    }
    cJSON_Delete(json);
}

/* Index of the message that is answered; SIZE_MAX: of an earlier attempt. */
static size_t index_of(const struct run *r, const char *subject)
{
    unsigned attempt;
    size_t index, prefix = strlen(r->n->inbox);
    if (strlen(subject) <= prefix || sscanf(subject + prefix, ".%u.%zu", &attempt, &index) != 2 ||
        attempt != r->n->attempt || index >= r->sent) {
        return SIZE_MAX;
    }
    return index;
}

/* false: nothing came in time. */
static bool await_one(struct run *r, int64_t timeout_ms)
{
    natsMsg *msg = NULL;
    natsStatus status = natsSubscription_NextMsg(&msg, r->n->acks, timeout_ms);
    if (status == NATS_NO_RESPONDERS) {
        r->answered++;
        (void)nats_fault(r->n, status, "publishing", r->err == OK ? r->reterr : NULL);
        r->err = r->err == OK ? ERR_IO : r->err;
        return true;
    }
    if (status != NATS_OK) {
        (void)nats_fault(r->n, status, "no acknowledgement", r->err == OK ? r->reterr : NULL);
        r->err = r->err == OK ? (status == NATS_TIMEOUT ? ERR_TIMEOUT : ERR_IO) : r->err;
        return false;
    }
    size_t index = index_of(r, natsMsg_GetSubject(msg));
    if (index != SIZE_MAX) {
        r->answered++;
        on_ack(r, index, natsMsg_GetData(msg), natsMsg_GetDataLength(msg));
    }
    natsMsg_Destroy(msg);
    return true;
}

static void send_one(struct run *r)
{
    natsStatus status = natsConnection_PublishMsg(r->n->connection, r->n->messages[r->sent].msg);
    if (status != NATS_OK) {
        (void)nats_fault(r->n, status, "publishing", r->reterr);
        r->err = ERR_IO;
        return;
    }
    r->sent++;
}

/* What the server would close the connection for. */
static enum err check_sizes(struct nats_sink *n, const struct sink_batch *batch, struct fault *reterr)
{
    const int64_t headers = 2048 + NATS_STREAMS_BYTES; /* more than ours ever take */
    int64_t most = natsConnection_GetMaxPayload(n->connection);
    enum err err = OK;
    for (size_t i = 0; i < n->count; i++) {
        if (natsMsg_GetDataLength(n->messages[i].msg) + headers > most) {
            char reason[SINK_REASON_MAX];
            snprintf(reason, sizeof(reason), "%d bytes, more than the server's max_payload of %lld allows",
                     natsMsg_GetDataLength(n->messages[i].msg), (long long)most);
            sink_refuse(batch, n->messages[i].item, reason);
            err = fault_set(reterr, ERR_UNSUPPORTED, "%s", reason);
        }
    }
    return err;
}

enum err nats_publish(struct nats_sink *n, const struct sink_batch *batch, struct fault *reterr)
{
    struct run r = {.n = n, .batch = batch, .reterr = reterr};
    int64_t timeout_ms = n->settings->timeout_us / MS_US, end_ms = nats_Now() + BATCH_TIMEOUTS * timeout_ms;
    TRY(check_sizes(n, batch, reterr));
    while (r.answered < n->count && r.err == OK) {
        while (r.sent < n->count && r.sent - r.answered < (size_t)n->settings->window && r.err == OK) {
            send_one(&r);
        }
        if (r.err == OK && await_one(&r, timeout_ms) && nats_Now() > end_ms) {
            fail(&r, ERR_TIMEOUT, "a batch takes too long");
        }
    }
    /* what is still on its way settles before the stream is read again; what comes later is refused by its sequence */
    while (r.err != OK && r.answered < r.sent && nats_Now() < end_ms && await_one(&r, timeout_ms)) {
    }
    return r.err;
}
