/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_internal - the socket file: made, replaced, recognised, removed.
 */
#ifndef CORE_CONTROL_CONTROL_INTERNAL_H
#define CORE_CONTROL_CONTROL_INTERNAL_H

#include <sys/stat.h>
#include <sys/un.h>

#include "core/control/control.h"

enum {
    CONTROL_HEADERS_MAX = 8 * 1024,
    CONTROL_BODY_MAX = 64 * 1024,       /* of a request */
    CONTROL_ANSWER_MAX = 32 << 20,      /* of an answer: a ledger of 200,000 streams */
    CONTROL_CONNECTIONS_MAX = 32,
    CONTROL_BACKLOG = 64,               /* callers that wait in the kernel while 32 are served */
    CONTROL_IDLE_S = 5,                 /* without a byte */
    CONTROL_LIFE_S = 10,                /* of a connection, which is one request */
    CONTROL_PAUSE_S = 1,                /* after a connection could not be accepted */
};

/* ERR_RANGE when the path does not fit into an address. */
enum err control_address(const char *path, struct sockaddr_un *ret_address, struct fault *reterr) MUST_CHECK;
/* A listening, non-blocking socket of mode 0660; *ret_stat identifies the file. */
enum err control_listen(const char *path, int *ret_fd, struct stat *ret_stat, struct fault *reterr) MUST_CHECK;
/* Removes the file if it is still the one of control_listen. */
void control_unlink(const char *path, const struct stat *ours);

/* For tests: connections under way; accepts that failed; a connection's longest life from now on. */
unsigned control_server_connections(const struct control_server *server);
unsigned control_server_failures(const struct control_server *server);
void control_server_set_life(struct control_server *server, int64_t life_us);

#endif
