/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the control server answers what it knows, and no caller, however hostile, takes it away from the others.
 *
 * The server runs on the test's loop; callers run on a worker's thread, as they would in another process.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/control/control_internal.h"
#include "tests/support/check.h"

enum { LARGE = 8 << 20 };
static char folder[] = "/tmp/weir-control-XXXXXX";
static char path[80];
static struct loop *loop;
static struct loop_worker *worker;
static struct control_server *server;
static unsigned handled;

/* ---- the server's routes ---- */
static int on_echo(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)arg;
    struct json j;
    handled++;
    json_init(&j, body);
    json_object(&j, NULL);
    json_str(&j, "device", control_param(request, "device"));
    json_object_end(&j);
    return 200;
}

static int on_large(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)arg;
    (void)request;
    uint8_t *at = buffer_extend(body, LARGE);
    memset(at, 'x', LARGE);
    return 200;
}

static int on_endless(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)arg;
    (void)request;
    (void)buffer_extend(body, body->max);
    (void)buffer_extend(body, 1);
    return 200;
}

static int on_busy(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)arg;
    (void)request;
    buffer_put_str(body, "{}");
    return 503;
}

static int on_who(void *arg, const struct control_request *request, struct buffer *body)
{
    struct control_peer peer;
    (void)arg;
    CHECK_OK(control_peer(request, &peer));
    buffer_printf(body, "{\"uid\":%u,\"gid\":%u,\"pid\":%d}", peer.uid, peer.gid, peer.pid);
    return 403;
}

static const struct control_route ROUTES[] = {
    {"/who", on_who}, {"/echo", on_echo}, {"/large", on_large}, {"/endless", on_endless}, {"/busy", on_busy}, {NULL, NULL}};

/* ---- callers ---- */
struct caller {
    const char *target;
    struct slice raw; /* sent as it is */
    int status;
    enum err err;
    struct fault fault;
    struct buffer answer;
    unsigned connections;
};

static void stop_loop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void run(void (*work)(void *arg), struct caller *caller)
{
    CHECK_OK(loop_offload(worker, work, stop_loop, caller));
    CHECK_OK(loop_run(loop));
}

static void call(void *arg)
{
    struct caller *c = arg;
    c->err = control_call(path, c->target, 30 * SECOND_US, &c->status, &c->answer, &c->fault);
}

static int connect_raw(void)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return control_address(path, &address, NULL) == OK && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0
               ? fd
               : -1;
}

/* Sends what the server takes, then reads until the server ends it. */
static void talk(void *arg)
{
    struct caller *c = arg;
    int fd = connect_raw();
    for (size_t at = 0; at < c->raw.len;) {
        ssize_t sent = send(fd, c->raw.ptr + at, c->raw.len - at, MSG_NOSIGNAL);
        if (sent <= 0) {
            break;
        }
        at += (size_t)sent;
    }
    for (;;) {
        uint8_t part[4096];
        ssize_t got = recv(fd, part, sizeof(part), 0);
        if (got <= 0) {
            break;
        }
        buffer_put(&c->answer, part, (size_t)got);
    }
    close(fd);
}

static const char *answer_of(struct caller *c)
{
    buffer_put_u8(&c->answer, 0);
    return (const char *)c->answer.ptr;
}

#define CALLER(name) CLEANUP(caller_deinit) struct caller name = {.answer = {.max = 64 << 20}}
static void caller_deinit(struct caller *c)
{
    buffer_deinit(&c->answer);
}

static void check_still_serving(void)
{
    CALLER(c);
    c.target = "/echo?device=pump-1";
    run(call, &c);
    CHECK_OK(c.err);
    CHECK_STR(answer_of(&c), "{\"device\":\"pump-1\"}\n");
}

static const char *talk_to_server(struct caller *c, const char *text)
{
    c->raw = slice_str(text);
    run(talk, c);
    return answer_of(c);
}

/* ---- tests ---- */
static void a_known_path_is_answered_with_its_parameters_decoded(void **state)
{
    (void)state;
    CALLER(c);
    c.target = "/echo?x=1&device=a%20b%22";
    run(call, &c);
    CHECK_OK(c.err);
    CHECK_INT(c.status, 200);
    CHECK_STR(answer_of(&c), "{\"device\":\"a b\\\"\"}\n");
    CALLER(d);
    d.target = "/echo";
    run(call, &d);
    CHECK_STR(answer_of(&d), "{\"device\":null}\n");
    CALLER(e);
    e.target = "/busy";
    run(call, &e);
    CHECK_INT(e.status, 503);
}

static void who_asks_is_known_from_the_kernel(void **state)
{
    (void)state;
    char want[100];
    CALLER(c);
    c.target = "/who";
    run(call, &c);
    snprintf(want, sizeof(want), "{\"uid\":%u,\"gid\":%u,\"pid\":%d}\n", getuid(), getgid(), getpid());
    CHECK_INT(c.status, 403);
    CHECK_STR(answer_of(&c), want);
}

static void an_unknown_path_is_404_in_json(void **state)
{
    (void)state;
    CALLER(c);
    c.target = "/etc/passwd";
    run(call, &c);
    CHECK_OK(c.err);
    CHECK_INT(c.status, 404);
    CHECK_STR(answer_of(&c), "{\"error\":\"no such path\"}\n");
}

static void anything_but_get_is_405(void **state)
{
    (void)state;
    const char *methods[] = {"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        char text[200];
        CALLER(c);
        snprintf(text, sizeof(text), "%s /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", methods[i]);
        CHECK_CONTAINS(talk_to_server(&c, text), "HTTP/1.1 405 ");
        CHECK_CONTAINS(answer_of(&c), "Allow: GET\r\n");
    }
    CHECK_INT(handled, 0);
}

static void what_is_no_http_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"hello\r\n\r\n", "GET\r\n\r\n", "BREW /echo HTTP/1.1\r\n\r\n", "GET /echo HTTP/9.x\r\n\r\n",
                         "GET /echo HTTP/1.1\r\nno colon\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CALLER(c);
        const char *answer = talk_to_server(&c, bad[i]);
        CHECK(strstr(answer, "200 OK") == NULL);
        check_still_serving();
    }
}

static void headers_of_a_mebibyte_are_refused(void **state)
{
    (void)state;
    BUFFER(text, 2 << 20);
    buffer_put_str(&text, "GET /echo HTTP/1.1\r\n");
    while (text.len < 1 << 20) {
        buffer_put_str(&text, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    }
    buffer_put_str(&text, "\r\n");
    CALLER(c);
    c.raw = buffer_slice(&text);
    run(talk, &c);
    CHECK(strstr(answer_of(&c), "200 OK") == NULL);
    CHECK_INT(handled, 0);
    check_still_serving();
}

static void one_line_of_a_mebibyte_is_refused(void **state)
{
    (void)state;
    BUFFER(text, 2 << 20);
    buffer_put_str(&text, "GET /echo?device=");
    memset(buffer_extend(&text, 1 << 20), 'a', 1 << 20);
    CALLER(c);
    c.raw = buffer_slice(&text);
    run(talk, &c);
    CHECK(strstr(answer_of(&c), "200 OK") == NULL);
    check_still_serving();
}

static void a_large_body_is_refused(void **state)
{
    (void)state;
    BUFFER(text, 4 << 20);
    buffer_printf(&text, "POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n", 2 << 20);
    memset(buffer_extend(&text, 2 << 20), 'a', 2 << 20);
    CALLER(c);
    c.raw = buffer_slice(&text);
    run(talk, &c);
    CHECK(strstr(answer_of(&c), "200 OK") == NULL);
    check_still_serving();
}

static void a_large_answer_arrives_whole(void **state)
{
    (void)state;
    CALLER(c);
    c.target = "/large";
    run(call, &c);
    CHECK_OK(c.err);
    CHECK_INT(c.answer.len, LARGE + 1);
}

static void an_answer_over_the_bound_is_an_error_in_words(void **state)
{
    (void)state;
    CALLER(c);
    c.target = "/endless";
    run(call, &c);
    CHECK_INT(c.status, 503);
    CHECK_CONTAINS(answer_of(&c), "too large; ask for one device");
}

static void leave_in_the_middle(void *arg)
{
    (void)arg;
    const char *text = "GET /large HTTP/1.1\r\n\r\n";
    char first;
    int fd = connect_raw();
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
    (void)!recv(fd, &first, 1, 0);
    close(fd);
}

static void a_caller_that_leaves_in_the_middle_of_an_answer_does_no_harm(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        run(leave_in_the_middle, NULL);
    }
    check_still_serving();
}

/* Sends a byte whenever the server has not hung up within 5 ms. */
static void trickle(void *arg)
{
    struct caller *c = arg;
    const char *text = "GET /echo HTTP/1.1\r\nX-Slow: ";
    int fd = connect_raw();
    c->err = ERR_TIMEOUT;
    for (size_t i = 0; i < 5000 && c->err != OK; i++) {
        char byte = i < strlen(text) ? text[i] : 'x', end;
        (void)!send(fd, &byte, 1, MSG_NOSIGNAL);
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 5) > 0 && recv(fd, &end, 1, 0) <= 0) {
            c->err = OK; /* the server has ended it */
        }
    }
    close(fd);
}

static void a_slow_caller_is_ended_however_steadily_it_sends(void **state)
{
    (void)state;
    CALLER(c);
    control_server_set_life(server, 200 * MS_US);
    run(trickle, &c);
    CHECK_OK(c.err);
    CHECK_INT(handled, 0);
    control_server_set_life(server, CONTROL_LIFE_S * SECOND_US);
    check_still_serving();
}

/* ---- a hundred callers at once ---- */
enum { CROWD = 100 };
static int crowd[CROWD];
static unsigned seen_most;
static struct loop_timer watch_timer;

static void watch(void *arg)
{
    (void)arg;
    unsigned now = control_server_connections(server);
    seen_most = now > seen_most ? now : seen_most;
    loop_timer_in(&watch_timer, MS_US);
}

/* The kernel holds those that the server does not take yet; connects beyond its backlog block until there is room. */
static void crowd_in(void *arg)
{
    (void)arg;
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX + CONTROL_BACKLOG; i++) {
        crowd[i] = connect_raw();
    }
}

static void crowd_asks(void *arg)
{
    struct caller *c = arg;
    const char *text = "GET /echo HTTP/1.1\r\n\r\n";
    for (int i = 0; i < CROWD; i++) {
        if (crowd[i] < 0) {
            crowd[i] = connect_raw();
        }
        (void)!send(crowd[i], text, strlen(text), MSG_NOSIGNAL);
    }
    for (int i = 0; i < CROWD; i++) {
        char part[1024] = "";
        c->connections += recv(crowd[i], part, sizeof(part) - 1, 0) > 0 && strstr(part, "200 OK") != NULL;
        close(crowd[i]);
    }
}

static void stop_when_full(void *arg)
{
    if (control_server_connections(server) == CONTROL_CONNECTIONS_MAX) {
        loop_stop(loop);
    } else {
        loop_timer_in(arg, MS_US);
    }
}

static void of_a_hundred_callers_32_are_served_at_a_time_and_all_in_the_end(void **state)
{
    (void)state;
    struct loop_timer full_timer;
    CALLER(c);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = -1;
    }
    loop_timer_init(&watch_timer, loop, watch, NULL);
    loop_timer_in(&watch_timer, 0);
    run(crowd_in, NULL);
    loop_timer_init(&full_timer, loop, stop_when_full, &full_timer);
    loop_timer_in(&full_timer, 0);
    CHECK_OK(loop_run(loop));
    run(crowd_asks, &c);
    CHECK_INT(c.connections, CROWD);
    CHECK_INT(handled, CROWD);
    CHECK_INT(seen_most, CONTROL_CONNECTIONS_MAX);
    loop_timer_cancel(&watch_timer);
    check_still_serving();
}

static void stop_when_empty(void *arg)
{
    if (control_server_connections(server) == 0) {
        loop_stop(loop);
    } else {
        loop_timer_in(arg, MS_US);
    }
}

static void crowd_leaves(void *arg)
{
    (void)arg;
    for (int i = 0; i < CROWD; i++) {
        if (crowd[i] >= 0) {
            close(crowd[i]);
        }
        crowd[i] = -1;
    }
}

static void callers_that_say_nothing_and_leave_are_forgotten(void **state)
{
    (void)state;
    struct loop_timer timer;
    run(crowd_in, NULL);
    run(crowd_leaves, NULL);
    loop_timer_init(&timer, loop, stop_when_empty, &timer);
    loop_timer_in(&timer, 0);
    CHECK_OK(loop_run(loop));
    check_still_serving();
}

static void a_server_that_ends_with_callers_inside_takes_its_socket_along(void **state)
{
    (void)state;
    run(crowd_in, NULL);
    control_server_free(server);
    server = NULL;
    crowd_leaves(NULL);
    struct stat st;
    CHECK(lstat(path, &st) != 0);
}

static void a_second_server_on_the_same_socket_is_refused(void **state)
{
    (void)state;
    struct control_server *second = NULL;
    struct fault fault;
    CHECK_ERR(control_server_new(loop, path, ROUTES, NULL, &second, &fault), ERR_CONFLICT);
    CHECK(second == NULL);
    check_still_serving();
}

/* ---- no descriptor is free ---- */
static void ask_and_read(void *arg)
{
    struct caller *c = arg;
    const char *text = "GET /echo HTTP/1.1\r\n\r\n";
    char part[1024] = "";
    (void)!send(crowd[0], text, strlen(text), MSG_NOSIGNAL);
    ssize_t got = recv(crowd[0], part, sizeof(part) - 1, 0);
    buffer_put(&c->answer, part, got > 0 ? (size_t)got : 0);
    close(crowd[0]);
}

/* Without its pause the server fails tens of thousands of times in these 200 ms. */
static void without_a_free_descriptor_the_server_pauses_and_answers_when_there_is_one_again(void **state)
{
    (void)state;
    struct rlimit before;
    struct loop_timer timer;
    CALLER(c);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    crowd[0] = connect_raw(); /* takes the lowest free number: all below are taken, none above may be */
    CHECK(crowd[0] >= 0);
    const struct rlimit none_free = {.rlim_cur = (rlim_t)crowd[0] + 1, .rlim_max = before.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none_free), 0);
    loop_timer_init(&timer, loop, stop_loop, NULL);
    loop_timer_in(&timer, 200 * MS_US);
    enum err err = loop_run(loop);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_OK(err);
    unsigned failures = control_server_failures(server);
    CHECK(failures >= 1 && failures < 50);
    CHECK_INT(control_server_connections(server), 0);
    run(ask_and_read, &c);
    CHECK_CONTAINS(answer_of(&c), "200 OK");
    check_still_serving();
}

static int set_up(void **state)
{
    (void)state;
    struct fault fault;
    handled = 0;
    return loop_new(&loop) == OK && loop_worker_new(loop, "caller", &worker) == OK &&
                   control_server_new(loop, path, ROUTES, NULL, &server, &fault) == OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    control_server_free(server);
    loop_worker_free(worker);
    loop_free(loop);
    return 0;
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
int main(void)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/x.sock", folder);
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_known_path_is_answered_with_its_parameters_decoded),
        WITH_SERVER(who_asks_is_known_from_the_kernel),
        WITH_SERVER(an_unknown_path_is_404_in_json),
        WITH_SERVER(anything_but_get_is_405),
        WITH_SERVER(what_is_no_http_is_refused),
        WITH_SERVER(headers_of_a_mebibyte_are_refused),
        WITH_SERVER(one_line_of_a_mebibyte_is_refused),
        WITH_SERVER(a_large_body_is_refused),
        WITH_SERVER(a_large_answer_arrives_whole),
        WITH_SERVER(an_answer_over_the_bound_is_an_error_in_words),
        WITH_SERVER(a_caller_that_leaves_in_the_middle_of_an_answer_does_no_harm),
        WITH_SERVER(a_slow_caller_is_ended_however_steadily_it_sends),
        WITH_SERVER(of_a_hundred_callers_32_are_served_at_a_time_and_all_in_the_end),
        WITH_SERVER(callers_that_say_nothing_and_leave_are_forgotten),
        WITH_SERVER(a_server_that_ends_with_callers_inside_takes_its_socket_along),
        WITH_SERVER(without_a_free_descriptor_the_server_pauses_and_answers_when_there_is_one_again),
        WITH_SERVER(a_second_server_on_the_same_socket_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
