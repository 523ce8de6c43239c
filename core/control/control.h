/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control - the operator's way in: HTTP/1.1 with JSON bodies over a local socket (evhttp on AF_UNIX).
 *
 * The socket is made with mode 0660 in a directory of the daemon's; bodies, headers, connections and times are bounded
 * (64 KiB, 8 KiB, 32, 5 s without a byte and 10 s in all): evhttp bounds nothing by itself. One request a connection;
 * anything but GET is answered 405. A stale socket file is replaced, a live one is ERR_CONFLICT.
 * Making a server sets SIGPIPE to be ignored, unless the program handles it.
 */
#ifndef CORE_CONTROL_CONTROL_H
#define CORE_CONTROL_CONTROL_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/loop/loop.h"

struct control_server;
struct control_request;

struct control_route {
    const char *path; /* "/status" */
    /* Writes a JSON document to body and returns the HTTP status (200, 400, 403, 404, 503). On the loop; bounded
     * work. */
    int (*handle)(void *arg, const struct control_request *request, struct buffer *body);
};

/* routes is borrowed for the life of the server, ends with a NULL path. ERR_CONFLICT, ERR_DENIED, ERR_IO, ERR_RANGE
 * (the path has over 107 characters), ERR_UNSUPPORTED (virtual loop), ERR_NOMEM. */
enum err control_server_new(struct loop *loop, const char *socket_path, const struct control_route *routes, void *arg,
                            struct control_server **ret_server, struct fault *reterr) MUST_CHECK;
void control_server_free(struct control_server *server); /* removes the socket; accepts NULL */
DEFINE_CLEANUP(struct control_server, control_server_free)
/* Decoded query parameter, or NULL. */
const char *control_param(const struct control_request *request, const char *name);

/* For a handler: makes {"error":text} the body, whatever was written to it, and returns status. */
int control_error(struct buffer *body, int status, const char *text);

/* Who asks, as the kernel knows it (SO_PEERCRED: as it was when the caller connected). ERR_IO when it does not say. */
struct control_peer {
    uint32_t uid, gid;
    int32_t pid;
};
enum err control_peer(const struct control_request *request, struct control_peer *ret_peer) MUST_CHECK;

/* Blocking call for command-line tools. target = "/ledger?device=pump-1". Appends the body.
 * ERR_NOT_FOUND no socket there, ERR_DENIED, ERR_TIMEOUT, ERR_IO (nobody listens), ERR_MALFORMED. */
enum err control_call(const char *socket_path, const char *target, int64_t timeout_us, int *ret_status,
                      struct buffer *ret_body, struct fault *reterr) MUST_CHECK;

#endif
