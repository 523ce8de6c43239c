/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bus/dial.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

static void begin(void *arg);

void dial_init(struct dial *d, struct loop *loop, const char *host, uint16_t port, const struct crypt_tls *tls,
               dial_done *done, void *arg)
{
    *d = (struct dial){.loop = loop, .host = host, .port = port, .tls = tls, .done = done, .arg = arg, .fd = -1};
    d->stream.fd = -1;
    loop_task_init(&d->begin, loop, begin, d);
}

static void close_attempt(struct dial *d)
{
    loop_watch_free(d->watch);
    d->watch = NULL;
    stream_close(&d->stream);
    if (d->fd >= 0) {
        close(d->fd);
        d->fd = -1;
    }
}

static void forget_addresses(struct dial *d)
{
    if (!d->looking_up) { /* else the worker has it */
        free(take(d->found));
    }
}

void dial_cancel(struct dial *d)
{
    d->wanted = false;
    loop_task_cancel(&d->begin);
    close_attempt(d);
    forget_addresses(d);
}

void dial_deinit(struct dial *d)
{
    dial_cancel(d);
    loop_worker_free(d->worker);
    d->worker = NULL;
    free(take(d->found));
}

/* Last act of a dial: the owner may start, cancel or free it from here. */
static void finish(struct dial *d, const struct stream *stream)
{
    d->wanted = false;
    forget_addresses(d);
    d->done(d->arg, stream, d->reason);
}

static void failed(struct dial *d, const char *reason)
{
    (void)snprintf(d->reason, sizeof(d->reason), "%s", reason);
    close_attempt(d);
    finish(d, NULL);
}

/* ---- TLS ---- */
static void shake_hands(struct dial *d)
{
    enum err err = stream_handshake(&d->stream);
    if (err == ERR_AGAIN) {
        unsigned events = LOOP_READ | (d->stream.read_wants_write ? LOOP_WRITE : 0);
        err = loop_watch_set(d->watch, events);
        if (err != OK) {
            failed(d, "out of memory");
        }
    } else if (err != OK) {
        failed(d, d->stream.reason);
    } else {
        struct stream stream = d->stream;
        d->stream = (struct stream){.fd = -1};
        close_attempt(d);
        finish(d, &stream);
    }
}

static void on_ready(void *arg, unsigned events)
{
    (void)events;
    shake_hands(arg);
}

static void start_handshake(struct dial *d)
{
    int fd = d->fd;
    loop_watch_free(d->watch);
    d->watch = NULL;
    d->fd = -1;
    if (stream_open(&d->stream, fd, d->tls, d->host) != OK) {
        failed(d, d->stream.reason);
    } else if (loop_watch_new(d->loop, fd, LOOP_READ, on_ready, d, &d->watch) != OK) {
        failed(d, "out of memory");
    } else {
        shake_hands(d);
    }
}

/* ---- addresses in turn ---- */
static void try_next(struct dial *d);

static void on_connected(void *arg, unsigned events)
{
    (void)events;
    struct dial *d = arg;
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error != 0) {
        (void)snprintf(d->reason, sizeof(d->reason), "cannot connect to %.120s port %u: %s", d->host, d->port,
                       strerror(error));
        close_attempt(d);
        try_next(d);
        return;
    }
    start_handshake(d);
}

/* The port is left to connect(2), which knows the other end: ip(7), IP_BIND_ADDRESS_NO_PORT. */
static bool come_from(const struct dial *d, int family)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    int on = 1;
    (void)setsockopt(d->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (getaddrinfo(d->source, NULL, &hints, &list) != 0) {
        errno = EADDRNOTAVAIL; /* not an address, or of the other family */
        return false;
    }
    bool bound = bind(d->fd, list->ai_addr, list->ai_addrlen) == 0;
    freeaddrinfo(list);
    return bound;
}

static bool try_address(struct dial *d, size_t i)
{
    const struct sockaddr *address = (const struct sockaddr *)&d->found->addresses[i];
    d->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (d->fd < 0) {
        return false;
    }
    int on = 1;
    (void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (d->source != NULL && !come_from(d, address->sa_family)) {
        return false;
    }
    if (connect(d->fd, address, d->found->lengths[i]) != 0 && errno != EINPROGRESS) {
        return false;
    }
    enum err err = loop_watch_new(d->loop, d->fd, LOOP_WRITE, on_connected, d, &d->watch);
    errno = err == OK ? 0 : ENOMEM;
    return err == OK;
}

static void try_next(struct dial *d)
{
    while (d->found->next < d->found->count) {
        if (try_address(d, d->found->next++)) {
            return;
        }
        (void)snprintf(d->reason, sizeof(d->reason), "cannot connect to %.120s port %u: %s", d->host, d->port,
                       strerror(errno));
        close_attempt(d);
    }
    finish(d, NULL);
}

/* ---- names ---- */
static void look_up(struct dial_found *f, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    f->count = f->next = 0;
    f->error = getaddrinfo(f->host, f->service, &hints, &list);
    for (struct addrinfo *a = list; f->error == 0 && a != NULL && f->count < DIAL_ADDRESSES_MAX; a = a->ai_next) {
        memcpy(&f->addresses[f->count], a->ai_addr, a->ai_addrlen);
        f->lengths[f->count++] = a->ai_addrlen;
    }
    if (list != NULL) {
        freeaddrinfo(list);
    }
}

static void look_up_name(void *arg)
{
    struct dial *d = arg;
    look_up(d->found, AI_ADDRCONFIG);
}

static void use_found(struct dial *d)
{
    if (d->found->error != 0) {
        (void)snprintf(d->reason, sizeof(d->reason), "cannot resolve %.120s: %s", d->host,
                       gai_strerror(d->found->error));
        finish(d, NULL);
        return;
    }
    (void)snprintf(d->reason, sizeof(d->reason), "%.120s has no address", d->host);
    try_next(d);
}

static void on_found(void *arg)
{
    struct dial *d = arg;
    d->looking_up = false;
    if (d->wanted) { /* cancelled and started again meanwhile: the answer is as good for the new start */
        use_found(d);
    } else {
        forget_addresses(d);
    }
}

static enum err start_lookup(struct dial *d)
{
    if (d->worker == NULL) {
        TRY(loop_worker_new(d->loop, "resolve", &d->worker));
    }
    TRY(loop_offload(d->worker, look_up_name, on_found, d));
    d->looking_up = true;
    return OK;
}

static bool make_found(struct dial *d)
{
    d->found = calloc(1, sizeof(*d->found));
    if (d->found == NULL) {
        return false;
    }
    (void)snprintf(d->found->host, sizeof(d->found->host), "%s", d->host);
    (void)snprintf(d->found->service, sizeof(d->found->service), "%u", d->port);
    return true;
}

static void begin(void *arg)
{
    struct dial *d = arg;
    if (d->looking_up) {
        return;
    }
    if (d->found == NULL && !make_found(d)) {
        (void)snprintf(d->reason, sizeof(d->reason), "out of memory");
        finish(d, NULL);
        return;
    }
    look_up(d->found, AI_NUMERICHOST); /* no query leaves the process for an address */
    if (d->found->error != EAI_NONAME) {
        use_found(d);
        return;
    }
    enum err err = start_lookup(d);
    if (err != OK) {
        (void)snprintf(d->reason, sizeof(d->reason), "cannot resolve %.120s: %s", d->host, err_name(err));
        finish(d, NULL);
    }
}

void dial_start(struct dial *d)
{
    d->wanted = true;
    d->reason[0] = '\0';
    loop_task_post(&d->begin);
}

const char *dial_waits_for(const struct dial *d)
{
    if (d->looking_up) {
        return "the name to be resolved";
    }
    return d->stream.fd >= 0 ? "the TLS handshake" : "the connection";
}
