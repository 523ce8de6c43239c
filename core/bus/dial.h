/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial - a TCP connection to host:port without blocking the loop.
 *
 * Comes in: a host (address or name) and a port. Goes out: one call of done with a connected, non-blocking descriptor or
 * with the reason why there is none. Names are looked up on a worker thread, made at the first name; addresses are tried
 * one after the other. No time limit of its own: the owner cancels.
 */
#ifndef CORE_BUS_DIAL_H
#define CORE_BUS_DIAL_H

#include <sys/socket.h>

#include "core/base/base.h"
#include "core/loop/loop.h"

enum { DIAL_ADDRESSES_MAX = 8, DIAL_REASON_MAX = 200 };

struct dial {
    struct loop *loop;
    const char *host; /* borrowed */
    uint16_t port;
    /* fd: the callee's from now on; -1 with a reason. Called from the loop, never from dial_start. */
    void (*done)(void *arg, int fd, const char *reason);
    void *arg;
    struct loop_worker *worker; /* owned; NULL until a name was looked up */
    bool looking_up;            /* the worker has `found` */
    bool wanted;                /* done is owed */
    struct loop_task begin;
    struct loop_watch *watch;   /* owned; while an address is tried */
    int fd;                     /* owned; -1 = none */
    struct dial_found {
        char host[256], service[8];
        int error; /* of getaddrinfo */
        size_t count, next;
        struct sockaddr_storage addresses[DIAL_ADDRESSES_MAX];
        socklen_t lengths[DIAL_ADDRESSES_MAX];
    } found;
    char reason[DIAL_REASON_MAX];
};

void dial_init(struct dial *d, struct loop *loop, const char *host, uint16_t port,
               void (*done)(void *arg, int fd, const char *reason), void *arg);
/* Cancels. Waits for a name that is being looked up at this moment. */
void dial_deinit(struct dial *d);
/* At most one at a time. */
void dial_start(struct dial *d);
/* done is not called. Harmless when idle. */
void dial_cancel(struct dial *d);

#endif
