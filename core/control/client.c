/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - one blocking GET for command-line tools.
 *
 * The deadline is a timer descriptor that is polled together with the socket, so that a server that trickles bytes is
 * bounded as well, and no clock is read here. What comes back is read to its end (every answer closes its connection)
 * and only then taken apart.
 */
#include "core/control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/cursor.h"
#include "core/control/control_internal.h"

enum { TARGET_MAX = 2048, HEAD_MAX = 16 * 1024 };

struct call {
    const char *path;
    int fd, timer;
};

static void call_close(struct call *call)
{
    if (call->fd >= 0) {
        close(call->fd);
    }
    if (call->timer >= 0) {
        close(call->timer);
    }
}

static enum err timed_out(const struct call *call, struct fault *reterr)
{
    return fault_set(reterr, ERR_TIMEOUT, "%s does not answer in time", call->path);
}

static enum err connect_error(const struct call *call, struct fault *reterr)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR: return fault_set(reterr, ERR_NOT_FOUND, "there is no socket %s", call->path);
    case EACCES:
    case EPERM: return fault_set(reterr, ERR_DENIED, "no permission for %s; be in the group of its folder", call->path);
    case EAGAIN: return timed_out(call, reterr); /* the backlog is full */
    case ECONNREFUSED:
        return fault_set(reterr, ERR_IO, "nobody listens on %s: its daemon has ended without removing it", call->path);
    default: return fault_set(reterr, ERR_IO, "%s: %s", call->path, strerror(errno));
    }
}

static enum err call_open(struct call *call, int64_t timeout_us, struct fault *reterr)
{
    struct sockaddr_un address;
    TRY(control_address(call->path, &address, reterr));
    timeout_us = max_i64(timeout_us, 1);
    const struct timeval wait = {.tv_sec = timeout_us / SECOND_US, .tv_usec = timeout_us % SECOND_US};
    const struct itimerspec deadline = {
        .it_value = {.tv_sec = timeout_us / SECOND_US, .tv_nsec = timeout_us % SECOND_US * 1000}};
    call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    call->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (call->fd < 0 || call->timer < 0 || timerfd_settime(call->timer, 0, &deadline, NULL) != 0 ||
        setsockopt(call->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0) {
        return fault_set(reterr, ERR_IO, "cannot make a socket: %s", strerror(errno));
    }
    /* A blocking connect waits, bounded by SO_SNDTIMEO, for room in the backlog; a non-blocking one would not. */
    if (connect(call->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return connect_error(call, reterr);
    }
    return OK;
}

/* Waits until the socket is ready for events. */
static enum err call_wait(const struct call *call, short events, struct fault *reterr)
{
    struct pollfd fds[] = {{.fd = call->fd, .events = events}, {.fd = call->timer, .events = POLLIN}};
    while (poll(fds, COUNT_OF(fds), -1) < 0) {
        if (errno != EINTR) {
            return fault_set(reterr, ERR_IO, "%s: %s", call->path, strerror(errno));
        }
    }
    return fds[1].revents != 0 ? timed_out(call, reterr) : OK;
}

static enum err call_send(const struct call *call, struct slice data, struct fault *reterr)
{
    while (data.len > 0) {
        TRY(call_wait(call, POLLOUT, reterr));
        ssize_t sent = send(call->fd, data.ptr, data.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            return fault_set(reterr, ERR_IO, "%s: %s", call->path, strerror(errno));
        }
        if (sent > 0) {
            data = slice_of(data.ptr + sent, data.len - (size_t)sent);
        }
    }
    return OK;
}

static enum err call_receive(const struct call *call, struct buffer *answer, struct fault *reterr)
{
    uint8_t part[16384];
    for (;;) {
        TRY(call_wait(call, POLLIN, reterr));
        ssize_t got = recv(call->fd, part, sizeof(part), MSG_DONTWAIT);
        if (got == 0) {
            return OK;
        }
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            return fault_set(reterr, ERR_IO, "%s: %s", call->path, strerror(errno));
        }
        if (got > 0) {
            buffer_put(answer, part, (size_t)got);
            if (buffer_err(answer) != OK) {
                return fault_set(reterr, ERR_MALFORMED, "%s: the answer is larger than %d MiB", call->path,
                                 CONTROL_ANSWER_MAX >> 20);
            }
        }
    }
}

/* ---- the answer ---- */
static struct slice next_line(struct cursor *c)
{
    const uint8_t *end = cursor_left(c) > 0 ? memchr(c->at, '\n', cursor_left(c)) : NULL;
    struct slice line = cursor_bytes(c, end ? (uint64_t)(end - c->at) : cursor_left(c) + 1);
    (void)cursor_u8(c);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    return line;
}

static bool digits(struct slice s, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (s.len == 0 || s.len > 12) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    *ret_value = value;
    return true;
}

/* "HTTP/1.1 200 OK" */
static bool status_line(struct slice line, uint64_t *ret_status)
{
    return line.len >= 12 && memcmp(line.ptr, "HTTP/1.", 7) == 0 && line.ptr[8] == ' ' &&
           digits(slice_of(line.ptr + 9, 3), ret_status) && *ret_status >= 100;
}

static bool header_is(struct slice line, const char *name, struct slice *ret_value)
{
    size_t len = strlen(name);
    if (line.len <= len || line.ptr[len] != ':' || strncasecmp((const char *)line.ptr, name, len) != 0) {
        return false;
    }
    const uint8_t *at = line.ptr + len + 1, *end = line.ptr + line.len;
    while (at < end && *at == ' ') {
        at++;
    }
    *ret_value = slice_of(at, (size_t)(end - at));
    return true;
}

/* The body's length when it was said must be what has come: anything else is a torn answer. */
static bool take_apart(struct slice answer, uint64_t *ret_status, struct slice *ret_body)
{
    struct cursor c = cursor_of(answer);
    uint64_t length = 0;
    bool has_length = false;
    if (!status_line(next_line(&c), ret_status)) {
        return false;
    }
    for (;;) {
        struct slice line = next_line(&c), value;
        if (c.failed || cursor_left(&c) + HEAD_MAX < answer.len) {
            return false;
        }
        if (line.len == 0) {
            break;
        }
        if (header_is(line, "Content-Length", &value)) {
            has_length = true;
            if (!digits(value, &length)) {
                return false;
            }
        }
        if (header_is(line, "Transfer-Encoding", &value)) {
            return false; /* never sent by our server */
        }
    }
    *ret_body = slice_of(c.at, cursor_left(&c));
    return !has_length || length == ret_body->len;
}

/* OK for "/ledger?device=pump-1": printable, no spaces, so that a request is one request. */
static enum err check_target(const char *target, struct fault *reterr)
{
    size_t len = strlen(target);
    bool good = len > 0 && len <= TARGET_MAX && target[0] == '/';
    for (size_t i = 0; good && i < len; i++) {
        good = target[i] > ' ' && target[i] < 0x7f;
    }
    return good ? OK : fault_set(reterr, ERR_MALFORMED, "not a path to ask for");
}

enum err control_call(const char *socket_path, const char *target, int64_t timeout_us, int *ret_status,
                      struct buffer *ret_body, struct fault *reterr)
{
    CLEANUP(call_close) struct call call = {.path = socket_path, .fd = -1, .timer = -1};
    BUFFER(request, TARGET_MAX + 256);
    BUFFER(answer, (size_t)CONTROL_ANSWER_MAX + HEAD_MAX);
    TRY(check_target(target, reterr));
    buffer_printf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target);
    TRY(buffer_err(&request));
    TRY(call_open(&call, timeout_us, reterr));
    TRY(call_send(&call, buffer_slice(&request), reterr));
    TRY(call_receive(&call, &answer, reterr));
    uint64_t status = 0;
    struct slice body;
    if (!take_apart(buffer_slice(&answer), &status, &body)) {
        return fault_set(reterr, ERR_MALFORMED, "%s: what answers there does not speak as a Weir daemon does",
                         socket_path);
    }
    buffer_put_slice(ret_body, body);
    if (buffer_err(ret_body) != OK) {
        return fault_set(reterr, buffer_err(ret_body), "%s: the answer is too large", socket_path);
    }
    *ret_status = (int)status;
    return OK;
}
