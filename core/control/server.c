/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server - evhttp on a local socket, within bounds.
 *
 * Comes in: one GET per connection. Goes out: what the route writes, or {"error": "..."}; every answer closes its
 * connection.
 *
 * evhttp bounds headers, bodies and idle time when it is told to, but neither the number of connections nor their life
 * (a caller that sends a byte every four seconds would stay for hours). It makes the bufferevent of each connection
 * through a callback of ours: there we take a second reference, and a connection is gone when ours is the last one. At
 * the bound the listener pauses; callers then wait in the kernel's backlog. BEV_OPT_CLOSE_ON_FREE ties the descriptor
 * to the last reference, so its number is not reused while a bufferevent still watches it; evhttp shuts it down when it
 * is done, so the caller sees the end at once.
 *
 * A connection that cannot be accepted (no descriptor is free) stays in the backlog and keeps the socket readable:
 * the listener pauses for a second then, instead of trying as fast as it can.
 */
#include "core/control/control.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/control/control_internal.h"
#include "core/log/log.h"

/* While there are connections, ended ones are looked for so often. */
static const int64_t SWEEP_US = 50 * MS_US;
enum { READ_AHEAD_MAX = 2 * CONTROL_HEADERS_MAX };

struct connection {
    struct bufferevent *bev; /* our reference; NULL = free place */
    int64_t since_us;
};
struct control_server {
    struct loop *loop;
    char *path; /* owned */
    struct stat file;
    const struct control_route *routes; /* borrowed */
    void *arg;
    struct evhttp *http;
    struct evconnlistener *listener; /* of http */
    struct loop_timer sweep_timer;
    struct loop_timer resume_timer; /* pending: accepting failed just now */
    bool full;                      /* the bound of connections is reached */
    bool failing;                   /* said so, and nothing was accepted since */
    unsigned failures;
    struct control_server *next; /* in servers */
    struct connection connections[CONTROL_CONNECTIONS_MAX];
    unsigned connection_count;
    int64_t life_us; /* longest, of a connection */
};
struct control_request {
    const struct evkeyvalq *params;
    struct evhttp_request *http;
};

/* libevent keeps one argument for a listener's two callbacks, and evhttp has taken it for itself: from that the
 * server of a failed accept is found here. Locked, since each thread may have a loop with a server. */
static struct {
    pthread_mutex_t lock;
    struct control_server *first;
} servers = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void servers_add(struct control_server *server)
{
    pthread_mutex_lock(&servers.lock);
    server->next = servers.first;
    servers.first = server;
    pthread_mutex_unlock(&servers.lock);
}

static void servers_remove(struct control_server *server)
{
    pthread_mutex_lock(&servers.lock);
    for (struct control_server **at = &servers.first; *at != NULL; at = &(*at)->next) {
        if (*at == server) {
            *at = server->next;
            break;
        }
    }
    pthread_mutex_unlock(&servers.lock);
}

static struct control_server *servers_find(const struct evconnlistener *listener)
{
    pthread_mutex_lock(&servers.lock);
    struct control_server *server = servers.first;
    while (server != NULL && server->listener != listener) {
        server = server->next;
    }
    pthread_mutex_unlock(&servers.lock);
    return server;
}

/* ---- the listener's pauses ---- */
static void listen_or_pause(struct control_server *server)
{
    if (server->full || loop_timer_pending(&server->resume_timer)) {
        evconnlistener_disable(server->listener);
    } else {
        evconnlistener_enable(server->listener);
    }
}

static void on_resume(void *arg)
{
    listen_or_pause(arg);
}

static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    (void)arg; /* evhttp's */
    int error = errno;
    struct control_server *server = servers_find(listener);
    assert(server != NULL);
    server->failures++;
    if (!server->failing) {
        server->failing = true;
        log_warn("a caller cannot be accepted, will try again every second", KV_STR("socket", server->path),
                 KV_STR("reason", strerror(error)));
    }
    loop_timer_in(&server->resume_timer, CONTROL_PAUSE_S * SECOND_US);
    listen_or_pause(server);
}

/* ---- connections ---- */
static void sweep(struct control_server *server)
{
    int64_t now_us = loop_now_us(server->loop);
    for (struct connection *c = server->connections; c < server->connections + CONTROL_CONNECTIONS_MAX; c++) {
        if (c->bev == NULL) {
            continue;
        }
        if (bufferevent_decref(c->bev)) { /* ours was the last reference */
            c->bev = NULL;
            server->connection_count--;
            continue;
        }
        bufferevent_incref(c->bev);
        if (now_us - c->since_us > server->life_us) {
            shutdown(bufferevent_getfd(c->bev), SHUT_RDWR); /* evhttp sees the end and frees its part */
        }
    }
    if (server->full && server->connection_count < CONTROL_CONNECTIONS_MAX) {
        server->full = false;
        listen_or_pause(server);
    }
}

static void on_sweep(void *arg)
{
    struct control_server *server = arg;
    sweep(server);
    if (server->connection_count > 0) {
        loop_timer_in(&server->sweep_timer, SWEEP_US);
    }
}

/* Called by evhttp for each accepted connection. */
static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    struct control_server *server = arg;
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    struct connection *place = server->connections;
    while (place < server->connections + CONTROL_CONNECTIONS_MAX && place->bev != NULL) {
        place++;
    }
    assert(place < server->connections + CONTROL_CONNECTIONS_MAX); /* the listener pauses at the bound */
    if (bev == NULL) {
        return NULL; /* evhttp then makes its own, or fails as well and closes the connection */
    }
    bufferevent_setwatermark(bev, EV_READ, 0, READ_AHEAD_MAX);
    bufferevent_incref(bev);
    *place = (struct connection){.bev = bev, .since_us = loop_now_us(server->loop)};
    server->connection_count++;
    if (server->failing) {
        server->failing = false;
        log_info("callers are accepted again", KV_STR("socket", server->path));
    }
    if (server->connection_count == CONTROL_CONNECTIONS_MAX) {
        server->full = true;
        listen_or_pause(server);
    }
    if (!loop_timer_pending(&server->sweep_timer)) {
        loop_timer_in(&server->sweep_timer, SWEEP_US);
    }
    return bev;
}

/* ---- requests ---- */
static const char *reason_of(int status)
{
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    default: return "Service Unavailable";
    }
}

int control_error(struct buffer *body, int status, const char *text)
{
    struct json j;
    buffer_reset(body);
    json_init(&j, body);
    json_object(&j, NULL);
    json_str(&j, "error", text);
    json_object_end(&j);
    return status;
}

static void release_body(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    free(arg);
}

/* Hands the body's memory over to evhttp instead of copying it. */
static void reply(struct evhttp_request *request, int status, struct buffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    struct evbuffer *out = evhttp_request_get_output_buffer(request);
    evhttp_add_header(headers, "Content-Type", "application/json");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "Connection", "close");
    if (status == 405) {
        evhttp_add_header(headers, "Allow", "GET");
    }
    buffer_put_u8(body, '\n');
    if (buffer_err(body) == OK && evbuffer_add_reference(out, body->ptr, body->len, release_body, body->ptr) == 0) {
        buffer_init(body, body->max);
    }
    evhttp_send_reply(request, status, reason_of(status), NULL);
}

static int serve(struct control_server *server, struct evhttp_request *request, struct buffer *body)
{
    if (evhttp_request_get_command(request) != EVHTTP_REQ_GET) {
        return control_error(body, 405, "only GET is answered here");
    }
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
    const struct control_route *route = server->routes;
    while (route->path != NULL && (path == NULL || strcmp(route->path, path) != 0)) {
        route++;
    }
    if (route->path == NULL) {
        return control_error(body, 404, "no such path");
    }
    struct evkeyvalq params = {.tqh_first = NULL};
    if (evhttp_parse_query_str(query ? query : "", &params) != 0) {
        return control_error(body, 400, "the query does not parse");
    }
    const struct control_request asked = {.params = &params, .http = request};
    int status = route->handle(server->arg, &asked, body);
    evhttp_clear_headers(&params);
    if (buffer_err(body) != OK) {
        return control_error(body, 503, "the answer is too large; ask for one device");
    }
    return status;
}

static void on_request(struct evhttp_request *request, void *arg)
{
    BUFFER(body, CONTROL_ANSWER_MAX);
    int status = serve(arg, request, &body);
    reply(request, status, &body);
}

const char *control_param(const struct control_request *request, const char *name)
{
    return evhttp_find_header(request->params, name);
}

enum err control_peer(const struct control_request *request, struct control_peer *ret_peer)
{
    struct ucred who;
    socklen_t len = sizeof(who);
    struct evhttp_connection *connection = evhttp_request_get_connection(request->http);
    struct bufferevent *bev = connection != NULL ? evhttp_connection_get_bufferevent(connection) : NULL;
    if (bev == NULL || getsockopt(bufferevent_getfd(bev), SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
        return ERR_IO;
    }
    *ret_peer = (struct control_peer){.uid = who.uid, .gid = who.gid, .pid = who.pid};
    return OK;
}

/* ---- life ---- */
/* A caller that goes away while it is answered must not end the daemon. */
static void ignore_broken_pipes(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
        const struct sigaction ignore = {.sa_handler = SIG_IGN};
        sigaction(SIGPIPE, &ignore, NULL);
    }
}

static enum err start(struct control_server *server, struct event_base *base, struct fault *reterr)
{
    server->http = evhttp_new(base);
    if (server->http == NULL) {
        return ERR_NOMEM;
    }
    evhttp_set_max_headers_size(server->http, CONTROL_HEADERS_MAX);
    evhttp_set_max_body_size(server->http, CONTROL_BODY_MAX);
    evhttp_set_timeout(server->http, CONTROL_IDLE_S);
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                                 EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
                                                 EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH); /* so that we answer 405 */
    evhttp_set_bevcb(server->http, on_connection, server);
    evhttp_set_gencb(server->http, on_request, server);
    int fd = -1;
    TRY(control_listen(server->path, &fd, &server->file, reterr));
    struct evhttp_bound_socket *bound = evhttp_accept_socket_with_handle(server->http, fd);
    if (bound == NULL) {
        close(fd);
        return fault_set(reterr, ERR_IO, "cannot serve %s", server->path);
    }
    server->listener = evhttp_bound_socket_get_listener(bound);
    servers_add(server);
    evconnlistener_set_error_cb(server->listener, on_accept_failed);
    return OK;
}

enum err control_server_new(struct loop *loop, const char *socket_path, const struct control_route *routes, void *arg,
                            struct control_server **ret_server, struct fault *reterr)
{
    struct event_base *base = loop_event_base(loop);
    if (base == NULL) {
        return fault_set(reterr, ERR_UNSUPPORTED, "there are no sockets in virtual time");
    }
    CLEANUP(control_server_freep) struct control_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return ERR_NOMEM;
    }
    server->loop = loop;
    server->routes = routes;
    server->arg = arg;
    server->life_us = CONTROL_LIFE_S * SECOND_US;
    loop_timer_init(&server->sweep_timer, loop, on_sweep, server);
    loop_timer_init(&server->resume_timer, loop, on_resume, server);
    server->path = strdup(socket_path);
    if (server->path == NULL) {
        return ERR_NOMEM;
    }
    ignore_broken_pipes();
    TRY(start(server, base, reterr));
    *ret_server = take(server);
    return OK;
}

void control_server_free(struct control_server *server)
{
    if (server == NULL) {
        return;
    }
    loop_timer_cancel(&server->sweep_timer);
    loop_timer_cancel(&server->resume_timer);
    servers_remove(server);
    if (server->listener != NULL) {
        control_unlink(server->path, &server->file);
    }
    if (server->http != NULL) {
        evhttp_free(server->http);
    }
    for (size_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        if (server->connections[i].bev != NULL) {
            (void)bufferevent_decref(server->connections[i].bev);
        }
    }
    free(server->path);
    free(server);
}

unsigned control_server_connections(const struct control_server *server)
{
    return server->connection_count;
}

unsigned control_server_failures(const struct control_server *server)
{
    return server->failures;
}

void control_server_set_life(struct control_server *server, int64_t life_us)
{
    server->life_us = life_us;
}
