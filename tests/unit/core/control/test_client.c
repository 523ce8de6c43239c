/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a call ends in time with an answer or with the cause, whatever stands behind the socket.
 *
 * What stands there is played by a worker's thread; the call blocks the test's own.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/control/control_internal.h"
#include "tests/support/check.h"

static char folder[] = "/tmp/weir-control-XXXXXX";
static char path[80];
static struct fault fault;
static int status;

struct player {
    int listener;
    const char *says;
    bool stays; /* keeps the connection open afterwards */
    int fd;
};

static void play(void *arg)
{
    struct player *p = arg;
    char request[4096];
    p->fd = accept(p->listener, NULL, NULL);
    (void)!recv(p->fd, request, sizeof(request), 0);
    (void)!send(p->fd, p->says, strlen(p->says), MSG_NOSIGNAL);
    if (!p->stays) {
        close(p->fd);
        p->fd = -1;
    }
}

static void nothing(void *arg)
{
    (void)arg;
}

/* The call's outcome when the other side says this. */
static enum err call_player(const char *says, bool stays, int64_t timeout_us, struct buffer *body)
{
    struct stat st;
    struct player player = {.says = says, .stays = stays, .fd = -1};
    struct loop *loop = NULL;
    struct loop_worker *worker = NULL;
    CHECK_OK(control_listen(path, &player.listener, &st, &fault));
    CHECK_INT(fcntl(player.listener, F_SETFL, 0), 0); /* the player waits in accept */
    CHECK_OK(loop_new(&loop));
    CHECK_OK(loop_worker_new(loop, "player", &worker));
    CHECK_OK(loop_offload(worker, play, nothing, &player));
    buffer_reset(body);
    enum err err = control_call(path, "/status", timeout_us, &status, body, &fault);
    loop_worker_free(worker);
    loop_free(loop);
    if (player.fd >= 0) {
        close(player.fd);
    }
    close(player.listener);
    unlink(path);
    buffer_put_u8(body, 0);
    return err;
}

static void a_whole_answer_is_taken_with_or_without_its_length(void **state)
{
    (void)state;
    BUFFER(body, 1000);
    CHECK_OK(call_player("HTTP/1.1 200 OK\r\ncontent-length:   2\r\n\r\n{}", false, 30 * SECOND_US, &body));
    CHECK_STR((const char *)body.ptr, "{}");
    CHECK_OK(call_player("HTTP/1.0 404 No\n\n{\"a\":1}", false, 30 * SECOND_US, &body));
    CHECK_STR((const char *)body.ptr, "{\"a\":1}");
    CHECK_INT(status, 404);
}

static void a_torn_or_foreign_answer_is_malformed(void **state)
{
    (void)state;
    BUFFER(body, 1000);
    const char *bad[] = {"", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nA: b\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
                         "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
                         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}",
                         "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
                         "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
                         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                         "HTTP/1.1 abc OK\r\n\r\n{}", "HTTP/1.1 099 OK\r\n\r\n{}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(call_player(bad[i], false, 30 * SECOND_US, &body), ERR_MALFORMED);
        CHECK_CONTAINS(fault.text, path);
    }
}

static void an_answer_larger_than_the_callers_room_is_refused(void **state)
{
    (void)state;
    BUFFER(body, 4);
    CHECK_ERR(call_player("HTTP/1.1 200 OK\r\n\r\n12345", false, 30 * SECOND_US, &body), ERR_FULL);
}

static void a_server_that_does_not_answer_is_given_up(void **state)
{
    (void)state;
    BUFFER(body, 1000);
    CHECK_ERR(call_player("", true, 50 * MS_US, &body), ERR_TIMEOUT);
    CHECK_CONTAINS(fault.text, "does not answer in time");
    CHECK_ERR(call_player("HTTP/1.1 200 OK\r\n\r\n{", true, 50 * MS_US, &body), ERR_TIMEOUT);
}

static void a_server_that_does_not_even_accept_is_given_up(void **state)
{
    (void)state;
    BUFFER(body, 1000);
    int listener, waiting[CONTROL_BACKLOG + 1];
    struct stat st;
    struct sockaddr_un address;
    CHECK_OK(control_listen(path, &listener, &st, &fault));
    CHECK_OK(control_address(path, &address, &fault));
    for (size_t i = 0; i < COUNT_OF(waiting); i++) {
        waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_INT(connect(waiting[i], (struct sockaddr *)&address, sizeof(address)), 0);
    }
    CHECK_ERR(control_call(path, "/status", 50 * MS_US, &status, &body, &fault), ERR_TIMEOUT);
    for (size_t i = 0; i < COUNT_OF(waiting); i++) {
        close(waiting[i]);
    }
    close(listener);
    unlink(path);
}

static void no_socket_and_a_dead_one_are_told_apart(void **state)
{
    (void)state;
    BUFFER(body, 1000);
    CHECK_ERR(control_call(path, "/status", SECOND_US, &status, &body, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "there is no socket");
    int listener;
    struct stat st;
    CHECK_OK(control_listen(path, &listener, &st, &fault));
    close(listener);
    CHECK_ERR(control_call(path, "/status", SECOND_US, &status, &body, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "nobody listens on");
    unlink(path);
}

static void a_target_is_one_printable_path(void **state)
{
    (void)state;
    BUFFER(body, 1000);
    const char *bad[] = {"", "status", "/a b", "/a\r\nX: y", "/\xc3\xa4"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(control_call(path, bad[i], SECOND_US, &status, &body, &fault), ERR_MALFORMED);
    }
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/x.sock", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer_is_taken_with_or_without_its_length),
        cmocka_unit_test(a_torn_or_foreign_answer_is_malformed),
        cmocka_unit_test(an_answer_larger_than_the_callers_room_is_refused),
        cmocka_unit_test(a_server_that_does_not_answer_is_given_up),
        cmocka_unit_test(a_server_that_does_not_even_accept_is_given_up),
        cmocka_unit_test(no_socket_and_a_dead_one_are_told_apart),
        cmocka_unit_test(a_target_is_one_printable_path),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
