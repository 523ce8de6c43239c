/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MQTT 5 session of MQTTAsync. Callbacks come on Paho's threads: they change what the lock guards and wake the
 * worker, which waits on an eventfd. MQTTAsync_destroy calls back no more once it has returned, so that the tickets,
 * which Paho holds as contexts, live as long as the session.
 */
#include <MQTTAsync.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cloud-bridge/sink-mqtt/sink_mqtt_internal.h"

enum { RECEIVE_MAXIMUM_DEFAULT = 65535, PACKET_MAX_DEFAULT = 256 << 20, FAREWELL_MS = 200 };

struct ticket { /* of one message under way */
    struct mqtt_session *session;
    size_t item;
    bool aside;
    struct ticket *next; /* free ones */
};
struct mqtt_session {
    MQTTAsync handle;
    int wake_fd;
    unsigned window;
    int timeout_ms;
    size_t packet_max;
    struct ticket *tickets, *free; /* window of them; the free list is guarded by the lock */

    pthread_mutex_t lock; /* guards what follows, and `free` */
    unsigned outstanding;
    unsigned wake_at; /* the worker is woken when no more than so many are outstanding, or something failed */
    bool connected, closed;
    int code; /* of a connection that was refused */
    struct mqtt_outcome outcome;
};

static void wake(const struct mqtt_session *s)
{
    uint64_t one = 1;
    if (write(s->wake_fd, &one, sizeof(one)) < 0) {
        /* full: the worker is woken anyway */
    }
}

/* ---- Paho's threads ---- */
static void fail(struct mqtt_session *s, const char *text)
{
    struct mqtt_outcome *o = &s->outcome;
    if (!o->failed) {
        o->failed = true;
        snprintf(o->text, sizeof(o->text), "%s", text);
    }
}

/* Of this one message, whatever happens; the session goes on. */
static bool is_denial(enum MQTTReasonCodes reason)
{
    return reason == MQTTREASONCODE_NOT_AUTHORIZED || reason == MQTTREASONCODE_TOPIC_NAME_INVALID ||
           reason == MQTTREASONCODE_PAYLOAD_FORMAT_INVALID || reason == MQTTREASONCODE_PACKET_TOO_LARGE;
}

static void deny(struct mqtt_session *s, const struct ticket *t, const char *text)
{
    struct mqtt_outcome *o = &s->outcome;
    if (t->aside) {
        return;
    }
    if (o->denied < COUNT_OF(o->denials)) {
        o->denials[o->denied].item = t->item;
        snprintf(o->denials[o->denied].text, sizeof(o->denials[0].text), "%s", text);
    }
    o->denied++;
}

static void answered(struct ticket *t, bool ok, enum MQTTReasonCodes reason, const char *text)
{
    struct mqtt_session *s = t->session;
    pthread_mutex_lock(&s->lock);
    t->next = s->free;
    s->free = t;
    s->outstanding--;
    s->outcome.acked += ok;
    if (!ok && is_denial(reason)) {
        deny(s, t, text);
    } else if (!ok) {
        fail(s, text);
    }
    bool due = s->outstanding <= s->wake_at || s->outcome.failed;
    pthread_mutex_unlock(&s->lock);
    if (due) {
        wake(s);
    }
}

static void on_puback(void *context, MQTTAsync_successData5 *response)
{
    bool ok = response->reasonCode < MQTTREASONCODE_UNSPECIFIED_ERROR;
    answered(context, ok, response->reasonCode, ok ? "" : MQTTReasonCode_toString(response->reasonCode));
}

static void on_not_published(void *context, MQTTAsync_failureData5 *response)
{
    const char *text = response->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR
                           ? MQTTReasonCode_toString(response->reasonCode)
                           : response->message;
    answered(context, false, response->reasonCode, text != NULL ? text : MQTTAsync_strerror(response->code));
}

static void on_connected(void *context, MQTTAsync_successData5 *response)
{
    struct mqtt_session *s = context;
    int receive = MQTTProperties_getNumericValue(&response->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM);
    int packet = MQTTProperties_getNumericValue(&response->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE);
    int qos = MQTTProperties_getNumericValue(&response->properties, MQTTPROPERTY_CODE_MAXIMUM_QOS);
    pthread_mutex_lock(&s->lock);
    if (receive > 0 && (unsigned)receive < s->window) {
        s->window = (unsigned)receive;
    }
    if (packet > 0) {
        s->packet_max = (size_t)packet;
    }
    if (qos == 0) { /* absent is a negative number */
        s->code = MQTTREASONCODE_QOS_NOT_SUPPORTED;
    } else {
        s->connected = true;
    }
    pthread_mutex_unlock(&s->lock);
    wake(s);
}

static void on_not_connected(void *context, MQTTAsync_failureData5 *response)
{
    struct mqtt_session *s = context;
    const char *text = response->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR
                           ? MQTTReasonCode_toString(response->reasonCode)
                           : response->message;
    pthread_mutex_lock(&s->lock);
    s->code = response->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR ? (int)response->reasonCode : -1;
    fail(s, text != NULL ? text : "the broker cannot be reached");
    pthread_mutex_unlock(&s->lock);
    wake(s);
}

static void close_with(struct mqtt_session *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    fail(s, text);
    pthread_mutex_unlock(&s->lock);
    wake(s);
}

static void on_lost(void *context, char *cause)
{
    (void)cause; /* always NULL */
    close_with(context, "the connection was lost");
}

static void on_disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    (void)properties;
    const char *text = MQTTReasonCode_toString(reason);
    close_with(context, text != NULL ? text : "the broker closed the connection");
}

static int on_message(void *context, char *topic, int len, MQTTAsync_message *message)
{
    (void)context;
    (void)len;
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

/* ---- the worker's thread ---- */
/* False: time is up. Spurious returns are fine. */
static bool await(const struct mqtt_session *s)
{
    struct pollfd p = {.fd = s->wake_fd, .events = POLLIN};
    uint64_t count;
    int n = poll(&p, 1, s->timeout_ms);
    return n != 0 && (n < 0 || read(s->wake_fd, &count, sizeof(count)) >= 0 || true);
}

static void fill_ssl(const struct mqtt_settings *settings, MQTTAsync_SSLOptions *ssl)
{
    ssl->trustStore = settings->ca;
    ssl->keyStore = settings->cert[0] != '\0' ? settings->cert : NULL;
    ssl->privateKey = settings->key[0] != '\0' ? settings->key : NULL;
    ssl->enableServerCertAuth = 1;
    ssl->verify = 1;
    ssl->disableDefaultTrustStore = 1;
}

static int begin_connect(struct mqtt_session *s, const struct mqtt_settings *settings, const struct mqtt_login *login)
{
    MQTTAsync_SSLOptions ssl = MQTTAsync_SSLOptions_initializer;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
    options.cleanstart = 1;
    options.keepAliveInterval = (int)(settings->keepalive_us / SECOND_US);
    options.connectTimeout = (int)max_i64(1, settings->timeout_us / SECOND_US);
    options.maxInflight = RECEIVE_MAXIMUM_DEFAULT; /* the window is ours */
    options.onSuccess5 = on_connected;
    options.onFailure5 = on_not_connected;
    options.context = s;
    if (login->user[0] != '\0') {
        options.username = login->user;
        options.password = login->password;
    }
    if (!settings->insecure) {
        fill_ssl(settings, &ssl);
        options.ssl = &ssl;
    }
    return MQTTAsync_connect(s->handle, &options);
}

static enum err create(struct mqtt_session *s, const struct mqtt_settings *settings, const struct mqtt_login *login,
                       struct fault *reterr)
{
    char uri[300];
    const char *address = strstr(login->server, "://");
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
    snprintf(uri, sizeof(uri), "%s://%s", settings->insecure ? "tcp" : "ssl",
             address != NULL ? address + 3 : login->server);
    options.maxBufferedMessages = (int)s->window + 16;
    int rc =
        MQTTAsync_createWithOptions(&s->handle, uri, login->client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
    if (rc == MQTTASYNC_SUCCESS) {
        rc = MQTTAsync_setCallbacks(s->handle, s, on_lost, on_message, NULL);
    }
    if (rc == MQTTASYNC_SUCCESS) {
        rc = MQTTAsync_setDisconnected(s->handle, s, on_disconnected);
    }
    if (rc == MQTTASYNC_SUCCESS) {
        rc = begin_connect(s, settings, login);
    }
    return rc == MQTTASYNC_SUCCESS ? OK : fault_set(reterr, ERR_IO, "%s: %s", login->server, MQTTAsync_strerror(rc));
}

static enum err await_connection(struct mqtt_session *s, const struct mqtt_login *login, struct fault *reterr)
{
    for (bool in_time = true;;) {
        pthread_mutex_lock(&s->lock);
        bool connected = s->connected, failed = s->outcome.failed || s->code != 0;
        int code = s->code;
        struct mqtt_outcome outcome = s->outcome;
        pthread_mutex_unlock(&s->lock);
        if (failed) {
            const char *text = outcome.failed ? outcome.text : "the broker takes no QoS 1";
            bool denied = code == MQTTREASONCODE_NOT_AUTHORIZED || code == MQTTREASONCODE_BAD_USER_NAME_OR_PASSWORD;
            return fault_set(reterr, denied ? ERR_DENIED : ERR_IO, "%s: %s", login->server, text);
        }
        if (connected) {
            return OK;
        }
        if (!in_time) {
            return fault_set(reterr, ERR_TIMEOUT, "%s: no answer to the connection", login->server);
        }
        in_time = await(s);
    }
}

enum err mqtt_session_open(const struct mqtt_settings *settings, const struct mqtt_login *login,
                           struct mqtt_session **ret_session, struct fault *reterr)
{
    CLEANUP(mqtt_session_freep) struct mqtt_session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    pthread_mutex_init(&s->lock, NULL);
    s->window = (unsigned)settings->window;
    s->packet_max = PACKET_MAX_DEFAULT;
    s->timeout_ms = (int)(settings->timeout_us / MS_US);
    s->tickets = calloc(s->window, sizeof(*s->tickets));
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->tickets == NULL || s->wake_fd < 0) {
        return fault_set(reterr, ERR_NOMEM, "out of memory or descriptors");
    }
    for (unsigned i = 0; i < s->window; i++) {
        s->tickets[i] = (struct ticket){.session = s, .next = s->free};
        s->free = &s->tickets[i];
    }
    TRY(create(s, settings, login, reterr));
    TRY(await_connection(s, login, reterr));
    *ret_session = take(s);
    return OK;
}

void mqtt_session_free(struct mqtt_session *s)
{
    if (s == NULL) {
        return;
    }
    if (s->handle != NULL) {
        if (s->connected && !s->closed) {
            MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
            options.timeout = FAREWELL_MS;
            if (MQTTAsync_disconnect(s->handle, &options) != MQTTASYNC_SUCCESS) {
                /* it was lost meanwhile */
            }
        }
        MQTTAsync_destroy(&s->handle);
    }
    if (s->wake_fd >= 0) {
        close(s->wake_fd);
    }
    pthread_mutex_destroy(&s->lock);
    free(s->tickets);
    free(s);
}

size_t mqtt_session_packet_max(const struct mqtt_session *s)
{
    return s->packet_max;
}

/* Until no more than `most` are outstanding; ret_failed: or something has failed. */
static enum err await_outstanding(struct mqtt_session *s, unsigned most, bool *ret_failed, struct fault *reterr)
{
    for (bool in_time = true;;) {
        pthread_mutex_lock(&s->lock);
        unsigned outstanding = s->outstanding;
        bool failed = s->outcome.failed, closed = s->closed;
        s->wake_at = most;
        pthread_mutex_unlock(&s->lock);
        if (failed && ret_failed != NULL) {
            *ret_failed = true;
            return OK;
        }
        if (outstanding <= most || closed) { /* what was under way when it closed is answered no more */
            return OK;
        }
        if (!in_time) {
            return fault_set(reterr, ERR_TIMEOUT, "%u PUBACKs are missing", outstanding);
        }
        in_time = await(s);
    }
}

static int send_message(struct mqtt_session *s, const struct mqtt_message *m, struct ticket *t)
{
    MQTTAsync_message message = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    MQTTProperty type = {.identifier = MQTTPROPERTY_CODE_CONTENT_TYPE};
    MQTTProperty text = {.identifier = MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, .value.byte = 1};
    union {
        const char *in;
        char *out; /* Paho reads it only */
    } borrow = {.in = m->content_type};
    type.value.data = (MQTTLenString){.data = borrow.out, .len = (int)strlen(m->content_type)};
    int rc = MQTTProperties_add(&message.properties, &type);
    if (rc == 0 && m->text) {
        rc = MQTTProperties_add(&message.properties, &text);
    }
    for (size_t i = 0; rc == 0 && i < m->count; i++) {
        char key[24], value[sizeof(m->properties[i].value)];
        MQTTProperty p = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};
        p.value.data = (MQTTLenString){.data = key, .len = snprintf(key, sizeof(key), "%s", m->properties[i].key)};
        p.value.value =
            (MQTTLenString){.data = value, .len = snprintf(value, sizeof(value), "%s", m->properties[i].value)};
        rc = MQTTProperties_add(&message.properties, &p);
    }
    union {
        const uint8_t *in;
        void *out; /* copied by Paho */
    } payload = {.in = m->payload.ptr};
    message.payload = payload.out;
    message.payloadlen = (int)m->payload.len;
    message.qos = 1;
    options.onSuccess5 = on_puback;
    options.onFailure5 = on_not_published;
    options.context = t;
    rc = rc == 0 ? MQTTAsync_sendMessage(s->handle, m->topic, &message, &options) : MQTTASYNC_FAILURE;
    MQTTProperties_free(&message.properties);
    return rc;
}

enum err mqtt_session_publish(struct mqtt_session *s, const struct mqtt_message *m, struct fault *reterr)
{
    bool failed = false;
    pthread_mutex_lock(&s->lock);
    bool full = s->outstanding >= s->window;
    failed = s->outcome.failed;
    pthread_mutex_unlock(&s->lock);
    if (full && !failed) { /* half of it at once: fewer wake-ups */
        TRY(await_outstanding(s, s->window / 2, &failed, reterr));
    }
    if (failed) {
        return fault_set(reterr, ERR_AGAIN, "an earlier message failed");
    }
    pthread_mutex_lock(&s->lock);
    struct ticket *t = s->free;
    s->free = t->next;
    t->item = m->item;
    t->aside = m->aside;
    s->outstanding++;
    s->wake_at = 0;
    pthread_mutex_unlock(&s->lock);
    int rc = send_message(s, m, t);
    if (rc != MQTTASYNC_SUCCESS) {
        answered(t, false, MQTTREASONCODE_SUCCESS, MQTTAsync_strerror(rc));
        return fault_set(reterr, ERR_IO, "publishing: %s", MQTTAsync_strerror(rc));
    }
    return OK;
}

enum err mqtt_session_settle(struct mqtt_session *s, struct mqtt_outcome *ret_outcome, struct fault *reterr)
{
    struct fault late = {.code = OK};
    enum err err = await_outstanding(s, 0, NULL, &late);
    pthread_mutex_lock(&s->lock);
    *ret_outcome = s->outcome;
    s->outcome.acked = s->outcome.denied = 0;
    pthread_mutex_unlock(&s->lock);
    if (ret_outcome->failed) {
        return fault_set(reterr, ERR_IO, "the broker: %s", ret_outcome->text);
    }
    return err == OK ? OK : fault_set(reterr, err, "%s", late.text);
}
