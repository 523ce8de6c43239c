/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream: found or created, held against what this sink needs of it, and its marks read. Only the stream's leader
 * answers these questions; one that was deposed without knowing it may tell an old state, and what is then published is
 * refused by the sequence that it expects.
 */
#include <stdio.h>

#include "cloud-bridge/sink-nats/sink_nats_internal.h"

/* Our subjects, as a pattern: site and bridge are ours, the rest may be anything. */
static const char *render(struct nats_sink *n, const char *gateway, const char *device)
{
    struct sink_template_values values = {.site = n->site, .bridge = n->bridge, .gateway = gateway, .device = device};
    buffer_reset(&n->text);
    sink_template_render(n->settings->subject, &values, &n->text);
    buffer_put_u8(&n->text, 0);
    return buffer_err(&n->text) == OK ? (const char *)n->text.ptr : NULL;
}

static enum err create_stream(struct nats_sink *n, jsStreamInfo **ret_info, struct fault *reterr)
{
    const struct nats_settings *s = n->settings;
    const char *subject = render(n, NULL, NULL);
    char description[ID_MAX + 64];
    jsStreamConfig config;
    jsErrCode code = (jsErrCode)0;
    if (subject == NULL || jsStreamConfig_Init(&config) != NATS_OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    snprintf(description, sizeof(description), "records of the Weir bridge %s, which alone writes here", n->bridge);
    config.Name = n->stream;
    config.Description = description;
    config.Subjects = &subject;
    config.SubjectsLen = 1;
    config.Retention = js_LimitsPolicy;
    config.Storage = js_FileStorage;
    config.Replicas = s->replicas;
    config.MaxAge = s->max_age_us * 1000;
    config.MaxBytes = s->max_bytes > 0 ? s->max_bytes : -1;
    config.Duplicates = s->duplicates_us * 1000;
    natsStatus status = js_AddStream(ret_info, n->js, &config, NULL, &code);
    if (status != NATS_OK) {
        char step[160];
        snprintf(step, sizeof(step), "stream %s cannot be created (%s)", n->stream, nats_GetLastError(NULL));
        return nats_fault(n, status, step, reterr);
    }
    return OK;
}

static enum err check_config(struct nats_sink *n, const jsStreamConfig *c, struct fault *reterr)
{
    const char *subject = render(n, NULL, NULL);
    bool covered = false;
    if (subject == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    for (int i = 0; i < c->SubjectsLen; i++) {
        covered = covered || nats_subject_covers(c->Subjects[i], subject);
    }
    if (!covered) {
        return fault_set(reterr, ERR_CONFLICT, "stream %s does not take the subjects %s", n->stream, subject);
    }
    if (c->Replicas < n->settings->replicas) {
        return fault_set(reterr, ERR_CONFLICT, "stream %s has %lld replicas, fewer than the %lld configured", n->stream,
                         (long long)c->Replicas, (long long)n->settings->replicas);
    }
    if (c->Retention != js_LimitsPolicy || c->NoAck || c->Sealed || c->Mirror != NULL || c->SourcesLen > 0) {
        return fault_set(reterr, ERR_CONFLICT,
                         "stream %s cannot be used: it must keep messages by limits, acknowledge, and be no mirror and "
                         "no gathering of other streams",
                         n->stream);
    }
    return OK;
}

static enum err stream_info(struct nats_sink *n, jsStreamInfo **ret_info, struct fault *reterr)
{
    jsErrCode code = (jsErrCode)0;
    natsStatus status = js_GetStreamInfo(ret_info, n->js, n->stream, NULL, &code);
    if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr) {
        if (!n->settings->create) {
            return fault_set(reterr, ERR_NOT_FOUND, "there is no stream %s, and create is false", n->stream);
        }
        return create_stream(n, ret_info, reterr);
    }
    return status == NATS_OK ? OK : nats_fault(n, status, "the stream does not tell its state", reterr);
}

static enum err read_mark(struct nats_sink *n, natsMsg *msg, struct fault *reterr)
{
    const char *text = NULL;
    struct nats_mark mark;
    if (natsMsgHeader_Get(msg, "Weir-Spool", &text) != NATS_OK || nats_mark_read(text, &mark) != OK) {
        return fault_set(reterr, ERR_CONFLICT,
                         "stream %s holds messages that no bridge wrote: a bridge needs a stream of its own",
                         n->stream);
    }
    if (strcmp(mark.bridge, n->bridge) != 0) {
        return fault_set(
            reterr, ERR_CONFLICT,
            "stream %s belongs to the bridge %s: each bridge needs a stream of its own (another stream can "
            "gather them)",
            n->stream, mark.bridge);
    }
    n->mark = mark;
    return OK;
}

static enum err read_state(struct nats_sink *n, const jsStreamState *state, struct fault *reterr)
{
    n->last = state->LastSeq;
    n->empty = state->Msgs == 0;
    memset(&n->mark, 0, sizeof(n->mark));
    snprintf(n->mark.bridge, sizeof(n->mark.bridge), "%s", n->bridge);
    if (n->empty) {
        return OK;
    }
    natsMsg *msg = NULL;
    jsErrCode code = (jsErrCode)0;
    natsStatus status = js_GetMsg(&msg, n->js, n->stream, n->last, NULL, &code);
    if (status == NATS_NOT_FOUND) { /* somebody deleted it: the last that is left */
        status = js_GetLastMsg(&msg, n->js, n->stream, ">", NULL, &code);
    }
    if (status != NATS_OK) {
        return nats_fault(n, status, "the stream's last message cannot be read", reterr);
    }
    enum err err = read_mark(n, msg, reterr);
    natsMsg_Destroy(msg);
    return err;
}

enum err nats_recover(struct nats_sink *n, struct fault *reterr)
{
    jsStreamInfo *info = NULL;
    n->known = false;
    nats_devices_clear(&n->devices);
    TRY(nats_connect(n, reterr));
    TRY(stream_info(n, &info, reterr));
    enum err err = check_config(n, info->Config, reterr);
    if (err == OK) {
        err = read_state(n, &info->State, reterr);
    }
    jsStreamInfo_Destroy(info);
    n->known = err == OK;
    return err;
}

/* ERR_NOT_FOUND: no message of these subjects. */
static enum err read_streams(struct nats_sink *n, const char *subject, struct nats_device *d, struct fault *reterr)
{
    natsMsg *msg = NULL;
    jsErrCode code = (jsErrCode)0;
    const char *text = NULL;
    if (subject == NULL) {
        return ERR_NOMEM;
    }
    natsStatus status = js_GetLastMsg(&msg, n->js, n->stream, subject, NULL, &code);
    if (status == NATS_NOT_FOUND) {
        return ERR_NOT_FOUND;
    }
    if (status != NATS_OK) {
        return nats_fault(n, status, "a device's marks cannot be read", reterr);
    }
    enum err err =
        natsMsgHeader_Get(msg, "Weir-Streams", &text) == NATS_OK ? nats_streams_read(text, d) : ERR_MALFORMED;
    natsMsg_Destroy(msg);
    return err == OK ? OK : fault_set(reterr, ERR_CONFLICT, "%s: its last message has no marks", subject);
}

enum err nats_find_device(struct nats_sink *n, const struct wire_forward *f, struct nats_device **ret_device,
                          struct fault *reterr)
{
    bool known = false;
    TRY(nats_devices_get(&n->devices, f->device, ret_device, &known));
    if (known || n->empty) {
        return OK;
    }
    enum err err = read_streams(n, render(n, f->gateway, f->device), *ret_device, reterr);
    if (err == ERR_NOT_FOUND) { /* it may have come through another gateway before */
        err = read_streams(n, render(n, NULL, f->device), *ret_device, reterr);
    }
    return err == ERR_NOT_FOUND ? OK : err;
}
