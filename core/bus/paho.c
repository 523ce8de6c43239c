/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paho - a session by Eclipse Paho MQTTAsync (1.3.12). The only file that includes it, and the only one of the project
 * whose functions run on threads of a library: those are marked "Paho's thread".
 *
 *   Paho's thread: callback -> event appended under the lock -> eventfd (written when the list was empty)
 *   loop:          eventfd readable -> list taken over -> events handled, at most EVENTS_PER_ROUND a round
 *
 * What is built around Paho, and why (read in its source, measured in the field):
 *   - It buffers without a bound and sends the rest after the next connect. Here publications wait in our own queue,
 *     counted against out_limit_bytes; Paho holds a small window of them, and the queue dies with the session.
 *   - Its automatic reconnect knows no jitter below a second. It is off; retries come from the loop.
 *   - Its pings are declared unanswered after one and a half more keep-alives. It is given three fifths of ours, so
 *     that a dead link is noticed within one and a half of ours.
 *   - It reports most failures to connect as one code. Where it does, a connection of our own (dial) finds the reason.
 *   - MQTTAsync_destroy calls back no more once it has returned, calls onFailure of what is open meanwhile, waits for
 *     its threads (up to a second) when it was the last handle, and loses the memory of publications not begun.
 * Lock order: Paho's own locks, then ours. So Paho is never called with our lock held.
 */
#include <MQTTAsync.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/bus/bus_internal.h"
#include "core/bus/dial.h"
#include "core/bus/mqtt.h"
#include "core/crypt/crypt.h"

#define GUARD_US (20 * SECOND_US) /* Paho looks at its 10 s of connect time-out every 3 s */
#define PROBE_US (3 * SECOND_US)
#define FAREWELL_US (200 * MS_US)
enum {
    EVENTS_PER_ROUND = 1024,
    WINDOW = 16,                   /* publications at QoS 0 that Paho has and has not written */
    WINDOW_ACKED = 256,            /* publications that Paho has, PUBACKs included */
    INBOUND_MAX_BYTES = 16 << 20,  /* waiting for the loop */
    IN_FLIGHT_MAX = 65535,
};

enum phase { IDLE, CONNECTING, PROBING, SUBSCRIBING, UP };
enum event_kind { SUBSCRIBED, NOT_SUBSCRIBED, PUBLISHED, ARRIVED };

/* One thing that Paho was asked for, or a message. Comes back as an event. */
struct event {
    struct event *next;
    struct paho *paho;
    enum event_kind kind;
    unsigned epoch;  /* of the session it belongs to */
    char filter[BUS_FILTER_TOLD_MAX]; /* NOT_SUBSCRIBED; cut */
    size_t bytes;    /* PUBLISHED, ARRIVED */
    bool acked;      /* PUBLISHED: at QoS 1 */
    char *topic;     /* ARRIVED: Paho's allocation */
    size_t topic_len;
    MQTTAsync_message *message;
};
struct event_list {
    struct event *first, **end;
};

/* How an attempt ended. Not an event: Paho may tell it twice. */
struct outcome {
    enum outcome_kind { OPEN, CONNECTED, NOT_CONNECTED } kind;
    int code;
    char text[80]; /* Paho's words */
};

/* A publication that waits for its turn. */
struct queued {
    struct queued *next;
    size_t payload_len, bytes;
    uint8_t qos;
    bool retain;
    char data[]; /* topic, NUL, payload */
};

struct paho {
    struct bus bus;
    enum phase phase;
    MQTTAsync handle;        /* NULL: none yet */
    unsigned epoch;          /* sessions begun */
    struct loop_timer retry; /* IDLE: next attempt; otherwise the guard */
    struct loop_task again;
    struct loop_watch *watch; /* owned; of wake_fd */
    int wake_fd;
    struct event_list pending; /* taken over from arrived, not handled yet */
    bool lost;                 /* taken over with pending, handled behind it */
    unsigned subscribing;
    char refused[BUS_FILTER_TOLD_MAX];

    struct queued *first, **end;
    size_t unsent;           /* queued, and in Paho's hands */
    unsigned window, window_acked;

    struct dial probe;       /* finds out why Paho could not connect */
    char failure[160];       /* what Paho said, until the probe knows better */

    sem_t farewell;

    pthread_mutex_t lock; /* guards what follows */
    struct event_list arrived;
    size_t arrived_bytes;
    uint64_t dropped;
    bool arrived_lost;
    struct outcome outcome;
    size_t oversized; /* bytes of a message above packet_limit_bytes */
};

static struct paho *paho_of(struct bus *bus)
{
    return container_of(bus, struct paho, bus);
}

/* ---- events ---- */
static void list_init(struct event_list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void list_append(struct event_list *l, struct event *e)
{
    e->next = NULL;
    *l->end = e;
    l->end = &e->next;
}

static struct event *list_take(struct event_list *l)
{
    struct event *e = l->first;
    if (e != NULL) {
        l->first = e->next;
        if (l->first == NULL) {
            l->end = &l->first;
        }
    }
    return e;
}

static void event_free(struct event *e)
{
    if (e != NULL) {
        if (e->message != NULL) {
            MQTTAsync_freeMessage(&e->message);
            MQTTAsync_free(e->topic);
        }
        free(e);
    }
}

static void list_clear(struct event_list *l)
{
    for (struct event *e; (e = list_take(l)) != NULL;) {
        event_free(e);
    }
}

static struct event *event_new(struct paho *p)
{
    struct event *e = calloc(1, sizeof(*e));
    if (e != NULL) {
        e->paho = p;
        e->epoch = p->epoch;
    }
    return e;
}

/* Paho's thread; the lock is held. */
static void wake(struct paho *p, bool was_empty)
{
    uint64_t one = 1;
    if (was_empty) {
        while (write(p->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
        }
    }
}

/* Paho's thread. */
static void deliver(struct event *e)
{
    struct paho *p = e->paho;
    pthread_mutex_lock(&p->lock);
    bool was_empty = p->arrived.first == NULL;
    p->arrived_bytes += e->kind == ARRIVED ? e->bytes : 0;
    list_append(&p->arrived, e);
    wake(p, was_empty);
    pthread_mutex_unlock(&p->lock);
}

/* ---- Paho's callbacks: all on Paho's threads, or on ours inside MQTTAsync_destroy ---- */
static int on_arrived(void *context, char *topic, int topic_len, MQTTAsync_message *message)
{
    struct paho *p = context;
    size_t len = topic_len > 0 ? (size_t)topic_len : strlen(topic);
    size_t bytes = len + (size_t)message->payloadlen;
    struct event *e = calloc(1, sizeof(*e));
    pthread_mutex_lock(&p->lock);
    bool room = e != NULL && p->arrived_bytes + bytes <= INBOUND_MAX_BYTES && bytes <= p->bus.packet_limit_bytes;
    if (!room) {
        p->dropped++;
    }
    if (bytes > p->bus.packet_limit_bytes) {
        p->oversized = bytes;
        wake(p, true);
    }
    pthread_mutex_unlock(&p->lock);
    if (!room) {
        free(e);
        MQTTAsync_freeMessage(&message);
        MQTTAsync_free(topic);
        return 1; /* 0 would not withhold the PUBACK, only block what follows */
    }
    *e = (struct event){
        .paho = p, .kind = ARRIVED, .topic = topic, .topic_len = len, .message = message, .bytes = bytes};
    deliver(e);
    return 1;
}

static void on_lost(void *context, char *cause)
{
    (void)cause; /* always NULL in 1.3 */
    struct paho *p = context;
    pthread_mutex_lock(&p->lock);
    p->arrived_lost = true;
    wake(p, true);
    pthread_mutex_unlock(&p->lock);
}

static void tell_outcome(struct paho *p, enum outcome_kind kind, const MQTTAsync_failureData *data)
{
    pthread_mutex_lock(&p->lock);
    p->outcome.kind = kind;
    p->outcome.code = data != NULL ? data->code : 0;
    (void)snprintf(p->outcome.text, sizeof(p->outcome.text), "%s",
                   data != NULL && data->message != NULL ? data->message : "no reason given");
    wake(p, true);
    pthread_mutex_unlock(&p->lock);
}

static void on_connected(void *context, MQTTAsync_successData *data)
{
    (void)data;
    tell_outcome(context, CONNECTED, NULL);
}

static void on_not_connected(void *context, MQTTAsync_failureData *data)
{
    tell_outcome(context, NOT_CONNECTED, data);
}

static void on_subscribed(void *context, MQTTAsync_successData *data)
{
    struct event *e = context;
    e->kind = data->alt.qos == MQTT_BAD_SUBSCRIBE ? NOT_SUBSCRIBED : SUBSCRIBED;
    deliver(e);
}

static void on_not_subscribed(void *context, MQTTAsync_failureData *data)
{
    struct event *e = context;
    /* Any other code: the session is over, which is told by itself. */
    e->kind = data->code == MQTT_BAD_SUBSCRIBE ? NOT_SUBSCRIBED : SUBSCRIBED;
    deliver(e);
}

static void on_published(void *context, MQTTAsync_successData *data)
{
    (void)data;
    deliver(context);
}

static void on_not_published(void *context, MQTTAsync_failureData *data)
{
    (void)data;
    deliver(context);
}

static void on_farewell(void *context, MQTTAsync_successData *data)
{
    (void)data;
    struct paho *p = context;
    sem_post(&p->farewell);
}

/* ---- end of a session or attempt ---- */
static void clear_queue(struct paho *p)
{
    while (p->first != NULL) {
        struct queued *q = p->first;
        p->first = q->next;
        free(q);
    }
    p->end = &p->first;
    p->unsent = 0;
    p->window = p->window_acked = 0;
}

static void session_failed(struct paho *p, const char *reason)
{
    dial_cancel(&p->probe);
    clear_queue(p);
    p->phase = IDLE;
    p->epoch++;
    p->subscribing = 0;
    p->refused[0] = '\0';
    loop_timer_in(&p->retry, bus_backoff_us(&p->bus));
    bus_went_down(&p->bus, reason);
}

/* Leaves nothing of Paho behind; what it still tells meanwhile is thrown away. */
static void destroy_handle(struct paho *p)
{
    if (p->handle != NULL) {
        MQTTAsync_destroy(&p->handle);
        p->handle = NULL;
    }
    list_clear(&p->pending);
    pthread_mutex_lock(&p->lock);
    list_clear(&p->arrived);
    p->arrived_bytes = 0;
    p->oversized = 0;
    p->arrived_lost = false;
    p->outcome.kind = OPEN;
    pthread_mutex_unlock(&p->lock);
    p->lost = false;
}

/* ---- out ---- */
static bool window_open(const struct paho *p, const struct queued *q)
{
    return q->qos > 0 ? p->window_acked < WINDOW_ACKED : p->window < WINDOW;
}

/* Hands q to Paho. False: not taken. */
static bool hand_over(struct paho *p, const struct queued *q)
{
    struct event *e = event_new(p);
    if (e == NULL) {
        return false;
    }
    e->kind = PUBLISHED;
    e->bytes = q->bytes;
    e->acked = q->qos > 0;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.onSuccess = on_published;
    response.onFailure = on_not_published;
    response.context = e;
    int rc = MQTTAsync_send(p->handle, q->data, (int)q->payload_len, q->data + strlen(q->data) + 1, q->qos, q->retain,
                            &response);
    if (rc != MQTTASYNC_SUCCESS) {
        free(e);
        return false;
    }
    p->bus.stats.bytes_out += q->bytes;
    p->window += q->qos == 0;
    p->window_acked += q->qos > 0;
    return true;
}

static void pump(struct paho *p, bool everything)
{
    while (p->first != NULL && (everything || window_open(p, p->first))) {
        struct queued *q = p->first;
        if (!hand_over(p, q)) {
            if (MQTTAsync_isConnected(p->handle)) { /* else the loss is on its way and clears the queue */
                p->bus.stats.dropped++;
                p->unsent -= q->bytes;
            } else {
                return;
            }
        }
        p->first = q->next;
        if (p->first == NULL) {
            p->end = &p->first;
        }
        free(q);
    }
}

static enum err paho_publish(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain,
                             const struct bus_extras *extras)
{
    (void)extras;
    struct paho *p = paho_of(bus);
    if (p->unsent > bus->out_limit_bytes) {
        return ERR_AGAIN;
    }
    struct queued *q = malloc(sizeof(*q) + topic.len + 1 + payload.len);
    if (q == NULL) {
        return ERR_NOMEM;
    }
    *q = (struct queued){.payload_len = payload.len, .bytes = topic.len + payload.len, .qos = (uint8_t)qos,
                         .retain = retain};
    memcpy(q->data, topic.ptr, topic.len);
    q->data[topic.len] = '\0';
    if (payload.len > 0) {
        memcpy(q->data + topic.len + 1, payload.ptr, payload.len);
    }
    *p->end = q;
    p->end = &q->next;
    p->unsent += q->bytes;
    pump(p, false);
    return OK;
}

static enum err ask_subscription(struct paho *p, const struct bus_sub *sub)
{
    struct event *e = event_new(p);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    (void)snprintf(e->filter, sizeof(e->filter), "%s", sub->filter);
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.onSuccess = on_subscribed;
    response.onFailure = on_not_subscribed;
    response.context = e;
    if (MQTTAsync_subscribe(p->handle, sub->filter, sub->qos, &response) != MQTTASYNC_SUCCESS) {
        free(e);
        return OK; /* the session is over, which is told by itself; the next one asks again */
    }
    p->subscribing++;
    return OK;
}

static enum err paho_subscribe(struct bus *bus, struct bus_sub *sub)
{
    struct paho *p = paho_of(bus);
    return p->phase == SUBSCRIBING || p->phase == UP ? ask_subscription(p, sub) : OK;
}

/* ---- connecting ---- */
static void session_up(struct paho *p)
{
    loop_timer_in(&p->retry, p->bus.keepalive_us);
    p->phase = UP;
    bus_went_up(&p->bus, p->refused);
}

static bool create_handle(struct paho *p)
{
    char uri[300];
    bool ipv6 = strchr(p->bus.host, ':') != NULL;
    (void)snprintf(uri, sizeof(uri), "%s://%s%s%s:%u", p->bus.tls ? "ssl" : "tcp", ipv6 ? "[" : "", p->bus.host,
                   ipv6 ? "]" : "", p->bus.port);
    if (MQTTAsync_create(&p->handle, uri, p->bus.client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL) != MQTTASYNC_SUCCESS) {
        p->handle = NULL;
        return false;
    }
    return MQTTAsync_setCallbacks(p->handle, p, on_lost, on_arrived, NULL) == MQTTASYNC_SUCCESS;
}

static int connect_handle(struct paho *p)
{
    MQTTAsync_SSLOptions ssl = MQTTAsync_SSLOptions_initializer;
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    struct mqtt_publish last_words;
    int64_t keepalive_s = p->bus.keepalive_us / SECOND_US * 3 / 5;
    options.keepAliveInterval = keepalive_s > 0 ? (int)keepalive_s : 1;
    options.cleansession = 1;
    options.maxInflight = IN_FLIGHT_MAX; /* at its limit Paho sends one window a second */
    options.connectTimeout = BUS_CONNECT_TIMEOUT_US / SECOND_US;
    options.MQTTVersion = MQTTVERSION_3_1_1;
    options.onSuccess = on_connected;
    options.onFailure = on_not_connected;
    options.context = p;
    if (p->bus.tls != NULL) {
        const struct crypt_tls_options *files = crypt_tls_files(p->bus.tls);
        ssl.trustStore = files->ca_path;
        ssl.keyStore = files->cert_path;
        ssl.privateKey = files->key_path;
        ssl.enableServerCertAuth = 1;
        ssl.verify = 1;
        ssl.disableDefaultTrustStore = 1;
        options.ssl = &ssl;
    }
    if (bus_will(&p->bus, &last_words)) { /* copied by MQTTAsync_connect */
        will.topicName = (const char *)last_words.topic.ptr;
        will.payload.data = last_words.payload.ptr;
        will.payload.len = (int)last_words.payload.len;
        will.qos = last_words.qos;
        will.retained = last_words.retain;
        options.will = &will;
    }
    return MQTTAsync_connect(p->handle, &options);
}

static void start_attempt(struct paho *p)
{
    if (p->handle == NULL && !create_handle(p)) {
        session_failed(p, "out of memory");
        return;
    }
    p->phase = CONNECTING;
    loop_timer_in(&p->retry, GUARD_US);
    bus_connecting(&p->bus);
    int rc = connect_handle(p);
    if (rc != MQTTASYNC_SUCCESS) {
        char reason[BUS_REASON_MAX];
        (void)snprintf(reason, sizeof(reason), "the MQTT library refuses to connect: code %d", rc);
        destroy_handle(p);
        session_failed(p, reason);
    }
}

/* ---- the probe: why could Paho not connect ---- */
static void on_probed(void *arg, const struct stream *stream, const char *reason)
{
    struct paho *p = arg;
    bus_enter(&p->bus);
    if (stream != NULL) {
        struct stream connected = *stream;
        stream_close(&connected);
    }
    session_failed(p, stream != NULL ? p->failure : reason);
    bus_leave(&p->bus);
}

static void not_connected(struct paho *p, const struct outcome *o)
{
    if (o->code > 0) {
        char reason[BUS_REASON_MAX];
        uint8_t code = o->code <= UINT8_MAX ? (uint8_t)o->code : UINT8_MAX;
        (void)snprintf(reason, sizeof(reason), "connection refused: %s", mqtt_refusal(code));
        session_failed(p, reason);
        return;
    }
    (void)snprintf(p->failure, sizeof(p->failure), "connection failed: %s", o->text);
    p->phase = PROBING;
    loop_timer_in(&p->retry, PROBE_US);
    dial_start(&p->probe);
}

static void on_retry(void *arg)
{
    struct paho *p = arg;
    bus_enter(&p->bus);
    switch (p->phase) {
    case IDLE:
        start_attempt(p);
        break;
    case PROBING:
        session_failed(p, p->failure);
        break;
    case CONNECTING:
    case SUBSCRIBING:
        destroy_handle(p);
        session_failed(p, "timed out: no answer to CONNECT or SUBSCRIBE");
        break;
    case UP: /* a loss that went untold would be a session that is never repaired */
        if (MQTTAsync_isConnected(p->handle)) {
            loop_timer_in(&p->retry, p->bus.keepalive_us);
        } else {
            destroy_handle(p);
            session_failed(p, "connection lost");
        }
        break;
    }
    bus_leave(&p->bus);
}

/* ---- events, on the loop ---- */
static void connected(struct paho *p)
{
    p->phase = SUBSCRIBING;
    for (const struct bus_sub *sub = p->bus.subs; sub != NULL; sub = sub->next) {
        if (ask_subscription(p, sub) != OK) {
            destroy_handle(p);
            session_failed(p, "out of memory");
            return;
        }
    }
    if (p->subscribing == 0) {
        session_up(p);
    }
}

static void subscribed(struct paho *p, const struct event *e)
{
    p->subscribing--;
    bool refused = e->kind == NOT_SUBSCRIBED;
    if (refused && p->refused[0] == '\0') {
        (void)snprintf(p->refused, sizeof(p->refused), "%s", e->filter);
    }
    if (p->phase == SUBSCRIBING && p->subscribing == 0) {
        session_up(p);
    } else if (p->phase == UP && refused) {
        bus_refused_subscription(&p->bus, e->filter);
    }
}

static void published(struct paho *p, const struct event *e)
{
    p->unsent -= e->bytes;
    p->window -= !e->acked;
    p->window_acked -= e->acked;
    pump(p, false);
    bus_drained(&p->bus, p->unsent);
}

static void handle(struct paho *p, const struct event *e)
{
    bool current = e->epoch == p->epoch;
    switch (e->kind) {
    case SUBSCRIBED:
    case NOT_SUBSCRIBED:
        if (current && p->phase >= SUBSCRIBING) {
            subscribed(p, e);
        }
        break;
    case PUBLISHED:
        if (current && p->phase == UP) {
            published(p, e);
        }
        break;
    case ARRIVED:
        p->bus.stats.bytes_in += e->bytes;
        bus_message(&p->bus, slice_of(e->topic, e->topic_len),
                    slice_of(e->message->payload, (size_t)e->message->payloadlen), e->message->retained != 0);
        break;
    }
}

static void handle_pending(struct paho *p)
{
    for (unsigned i = 0; i < EVENTS_PER_ROUND && p->pending.first != NULL; i++) {
        struct event *e = list_take(&p->pending);
        handle(p, e);
        event_free(e);
        if (p->bus.closing) {
            return;
        }
    }
    if (p->pending.first == NULL && p->lost) {
        p->lost = false;
        if (p->phase >= SUBSCRIBING) {
            session_failed(p, "connection lost: closed by the broker, or no answer to the keep-alive");
        }
    }
}

struct taken {
    struct outcome outcome;
    size_t oversized;
};

/* Takes over what has arrived, once all that was taken over before is handled: so the bound on what arrives holds. */
static struct taken take_over(struct paho *p)
{
    struct taken taken;
    pthread_mutex_lock(&p->lock);
    if (p->pending.first == NULL) {
        if (p->arrived.first != NULL) {
            p->pending = p->arrived;
            list_init(&p->arrived);
            p->arrived_bytes = 0;
        }
        p->lost = p->arrived_lost;
        p->arrived_lost = false;
    }
    taken = (struct taken){.outcome = p->outcome, .oversized = p->oversized};
    p->outcome.kind = OPEN;
    p->oversized = 0;
    p->bus.stats.dropped += p->dropped;
    p->dropped = 0;
    pthread_mutex_unlock(&p->lock);
    return taken;
}

static bool more_to_do(struct paho *p)
{
    pthread_mutex_lock(&p->lock);
    bool more = p->arrived.first != NULL || p->arrived_lost;
    pthread_mutex_unlock(&p->lock);
    return more || p->pending.first != NULL;
}

static void handle_taken(struct paho *p, const struct taken *taken)
{
    if (taken->outcome.kind == CONNECTED && p->phase == CONNECTING) {
        connected(p);
    } else if (taken->outcome.kind == NOT_CONNECTED && p->phase == CONNECTING) {
        not_connected(p, &taken->outcome);
    } else if (taken->oversized > 0) {
        char reason[BUS_REASON_MAX];
        (void)snprintf(reason, sizeof(reason), "message of %zu bytes is above the limit", taken->oversized);
        destroy_handle(p);
        session_failed(p, reason);
    }
}

static void on_again(void *arg)
{
    struct paho *p = arg;
    bus_enter(&p->bus);
    struct taken taken = take_over(p);
    handle_taken(p, &taken);
    if (!p->bus.closing) {
        handle_pending(p);
    }
    if (!p->bus.closing && more_to_do(p)) {
        loop_task_post(&p->again);
    }
    bus_leave(&p->bus);
}

static void on_wake(void *arg, unsigned events)
{
    (void)events;
    struct paho *p = arg;
    uint64_t count;
    (void)!read(p->wake_fd, &count, sizeof(count));
    on_again(p);
}

/* ---- life ---- */
static enum err paho_start(struct bus *bus)
{
    loop_timer_in(&paho_of(bus)->retry, 0);
    return OK;
}

/* What was handed over goes out, if it goes at once. */
static void say_farewell(struct paho *p)
{
    pump(p, true);
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;
    options.onSuccess = on_farewell;
    options.context = p;
    if (MQTTAsync_disconnect(p->handle, &options) == MQTTASYNC_SUCCESS) {
        int64_t until_us = loop_wall_us(p->bus.loop) + FAREWELL_US;
        struct timespec until = {.tv_sec = until_us / SECOND_US, .tv_nsec = until_us % SECOND_US * 1000};
        while (sem_timedwait(&p->farewell, &until) != 0 && errno == EINTR) {
        }
    }
}

static void paho_stop(struct bus *bus)
{
    struct paho *p = paho_of(bus);
    loop_timer_cancel(&p->retry);
    loop_task_cancel(&p->again);
    dial_cancel(&p->probe);
    if (p->phase == UP) {
        say_farewell(p);
    }
    destroy_handle(p);
    loop_watch_free(p->watch);
    p->watch = NULL;
}

static void paho_release(struct bus *bus)
{
    struct paho *p = paho_of(bus);
    clear_queue(p);
    dial_deinit(&p->probe);
    if (p->wake_fd >= 0) {
        close(p->wake_fd);
    }
    sem_destroy(&p->farewell);
    pthread_mutex_destroy(&p->lock);
    bus_deinit(bus);
    free(p);
}

static enum err paho_init(struct paho *p, struct loop *loop)
{
    loop_timer_init(&p->retry, loop, on_retry, p);
    loop_task_init(&p->again, loop, on_again, p);
    p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->wake_fd < 0) {
        return ERR_IO;
    }
    return loop_watch_new(loop, p->wake_fd, LOOP_READ, on_wake, p, &p->watch);
}

enum err paho_new(struct loop *loop, const struct bus_options *options, struct bus **ret_bus)
{
    static const struct bus_ops ops = {
        .start = paho_start,
        .subscribe = paho_subscribe,
        .publish = paho_publish,
        .stop = paho_stop,
        .release = paho_release,
    };
    struct paho *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->wake_fd = -1;
    p->end = &p->first;
    list_init(&p->pending);
    list_init(&p->arrived);
    pthread_mutex_init(&p->lock, NULL);
    sem_init(&p->farewell, 0, 0);
    enum err err = bus_init(&p->bus, &ops, loop, options);
    dial_init(&p->probe, loop, p->bus.host ? p->bus.host : "", p->bus.port, options->tls, on_probed, p);
    err = err == OK ? paho_init(p, loop) : err;
    if (err != OK) {
        paho_release(&p->bus);
        return err;
    }
    *ret_bus = &p->bus;
    return OK;
}
