/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection. libnats does not reconnect by itself here: what it would send again after a reconnect is decided by
 * the mark in the stream.
 */
#include <stdio.h>

#include "cloud-bridge/sink-nats/sink_nats_internal.h"

enum { CONNECT_MS = 3000 };

static enum err class_of(natsStatus status)
{
    switch ((int)status) {
    case NATS_NO_MEMORY:
        return ERR_NOMEM;
    case NATS_TIMEOUT:
        return ERR_TIMEOUT;
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
        return ERR_DENIED;
    default:
        return ERR_IO;
    }
}

enum err nats_fault(struct nats_sink *n, natsStatus status, const char *step, struct fault *reterr)
{
    const char *last = NULL;
    if (n->connection != NULL && natsConnection_GetLastError(n->connection, &last) == NATS_OK) {
        last = NULL;
    }
    const char *text = status == NATS_NO_RESPONDERS
                           ? "nobody answers: no JetStream there, or the stream has no leader now"
                           : natsStatus_GetText(status);
    bool more = last != NULL && last[0] != '\0' && strcmp(last, text) != 0;
    return fault_set(reterr, class_of(status), "%s: %s%s%s", step, text, more ? ": " : "", more ? last : "");
}

static natsStatus set_security(natsOptions *o, const struct nats_sink *n)
{
    const struct nats_settings *s = n->settings;
    natsStatus status = NATS_OK;
    if (!s->insecure) {
        status = natsOptions_SetSecure(o, true);
        if (status == NATS_OK && s->ca[0] != '\0') {
            status = natsOptions_LoadCATrustedCertificates(o, s->ca);
        }
        if (status == NATS_OK && s->cert[0] != '\0') {
            status = natsOptions_LoadCertificatesChain(o, s->cert, s->key);
        }
    }
    if (status == NATS_OK && s->user[0] != '\0') {
        status = natsOptions_SetUserInfo(o, s->user, n->password);
    }
    if (status == NATS_OK && s->creds[0] != '\0') {
        status = natsOptions_SetUserCredentialsFromFiles(o, s->creds, NULL);
    }
    return status;
}

static natsStatus set_options(natsOptions *o, const struct nats_sink *n)
{
    const struct option_list *servers = &n->settings->servers;
    const char **urls = calloc(servers->count, sizeof(*urls));
    for (size_t i = 0; urls != NULL && i < servers->count; i++) {
        urls[i] = servers->items[i];
    }
    natsStatus status = urls != NULL ? natsOptions_SetServers(o, urls, (int)servers->count) : NATS_NO_MEMORY;
    free(urls); /* copied */
    status = status == NATS_OK ? natsOptions_SetTimeout(o, CONNECT_MS) : status;
    status = status == NATS_OK ? natsOptions_SetAllowReconnect(o, false) : status;
    status = status == NATS_OK ? natsOptions_SetName(o, n->bridge) : status;
    status = status == NATS_OK ? natsOptions_SetWriteDeadline(o, n->settings->timeout_us / MS_US) : status;
    return status == NATS_OK ? set_security(o, n) : status;
}

static natsStatus open_context(struct nats_sink *n)
{
    jsOptions js;
    natsStatus status = jsOptions_Init(&js);
    js.Wait = n->settings->timeout_us / MS_US;
    status = status == NATS_OK ? natsConnection_JetStream(&n->js, n->connection, &js) : status;
    status = status == NATS_OK ? natsInbox_Create(&n->inbox) : status;
    if (status == NATS_OK) {
        buffer_reset(&n->text);
        buffer_printf(&n->text, "%s.>", n->inbox);
        buffer_put_u8(&n->text, 0);
        status = buffer_err(&n->text) != OK
                     ? NATS_NO_MEMORY
                     : natsConnection_SubscribeSync(&n->acks, n->connection, (const char *)n->text.ptr);
    }
    return status == NATS_OK ? natsSubscription_SetPendingLimits(n->acks, -1, -1) : status;
}

enum err nats_connect(struct nats_sink *n, struct fault *reterr)
{
    if (n->connection != NULL && !natsConnection_IsClosed(n->connection)) {
        return OK;
    }
    nats_disconnect(n);
    natsOptions *o = NULL;
    natsStatus status = natsOptions_Create(&o);
    status = status == NATS_OK ? set_options(o, n) : status;
    status = status == NATS_OK ? natsConnection_Connect(&n->connection, o) : status;
    natsOptions_Destroy(o);
    status = status == NATS_OK ? open_context(n) : status;
    if (status != NATS_OK) {
        natsStatus told = status;
        const char *why = nats_GetLastError(&told);
        enum err err = nats_fault(n, status, "cannot connect to NATS", reterr);
        if (reterr != NULL && why != NULL && why[0] != '\0') {
            size_t len = strlen(reterr->text);
            snprintf(reterr->text + len, sizeof(reterr->text) - len, " (%s)", why);
        }
        nats_disconnect(n);
        return err;
    }
    return OK;
}

void nats_disconnect(struct nats_sink *n)
{
    n->known = false;
    natsSubscription_Destroy(n->acks);
    n->acks = NULL;
    jsCtx_Destroy(n->js);
    n->js = NULL;
    natsConnection_Destroy(n->connection);
    n->connection = NULL;
    natsInbox_Destroy((natsInbox *)n->inbox);
    n->inbox = NULL;
}
