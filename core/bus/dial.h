/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial - a connection to host:port, TLS handshake included, without blocking the loop.
 *
 * Comes in: a host (address or name) and a port. Goes out: one call of done with a stream that is ready for bytes, or
 * with the reason why there is none. Names are looked up on a worker thread, made at the first name; addresses are
 * tried one after the other until TCP connects. No time limit of its own: the owner cancels.
 */
#ifndef CORE_BUS_DIAL_H
#define CORE_BUS_DIAL_H

#include <sys/socket.h>

#include "core/base/base.h"
#include "core/bus/stream.h"
#include "core/loop/loop.h"

enum { DIAL_ADDRESSES_MAX = 8, DIAL_REASON_MAX = 200 };

/* stream: connected, to be copied by the callee, whose it is from now on; NULL with a reason. Called from the loop,
 * never from dial_start. */
typedef void dial_done(void *arg, const struct stream *stream, const char *reason);

struct dial {
    struct loop *loop;
    const char *host; /* borrowed */
    const char *source; /* borrowed; address of ours to come from; NULL = the system chooses. Set before dial_start */
    uint16_t port;
    const struct crypt_tls *tls; /* borrowed; NULL = plain */
    dial_done *done;
    void *arg;
    struct loop_worker *worker; /* owned; NULL until a name was looked up */
    bool looking_up;            /* the worker has `found` */
    bool wanted;                /* done is owed */
    struct loop_task begin;
    struct loop_watch *watch;   /* owned; while an address is tried */
    int fd;                     /* owned; -1 = none, or the stream has it */
    struct stream stream;       /* owned; while hands are shaken */
    struct dial_found { /* owned; NULL while no dial is under way: a fleet has thousands of these */
        char host[256], service[8];
        int error; /* of getaddrinfo */
        size_t count, next;
        struct sockaddr_storage addresses[DIAL_ADDRESSES_MAX];
        socklen_t lengths[DIAL_ADDRESSES_MAX];
    } *found;
    char reason[DIAL_REASON_MAX];
};

void dial_init(struct dial *d, struct loop *loop, const char *host, uint16_t port, const struct crypt_tls *tls,
               dial_done *done, void *arg);
/* Cancels. Waits for a name that is being looked up at this moment. */
void dial_deinit(struct dial *d);
/* At most one at a time. */
void dial_start(struct dial *d);
/* done is not called. Harmless when idle. */
void dial_cancel(struct dial *d);
/* What a started dial is waiting for, for "timed out waiting for ...". */
const char *dial_waits_for(const struct dial *d);

#endif
