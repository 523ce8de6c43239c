/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener - the socket file of a daemon.
 *
 * A process that was killed leaves its file behind; such a file refuses connections and is replaced. A file that
 * accepts them belongs to a running daemon and is left alone, as is everything that is no socket. Two daemons that
 * start on the same path in the same instant are kept apart by the lock on their store, not here.
 */
#include "core/control/control.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/control/control_internal.h"

enum { SOCKET_MODE = 0660 };

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static enum err class_of(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
    case EROFS: return ERR_DENIED;
    case ENOMEM: return ERR_NOMEM;
    default: return ERR_IO;
    }
}

enum err control_address(const char *path, struct sockaddr_un *ret_address, struct fault *reterr)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(address.sun_path)) {
        return fault_set(reterr, ERR_RANGE, "the socket's path has %zu characters, allowed are 1..%zu: %s", len,
                         sizeof(address.sun_path) - 1, path);
    }
    memcpy(address.sun_path, path, len + 1);
    *ret_address = address;
    return OK;
}

/* OK when the file at path is the socket of nobody and may go. */
static enum err probe(const struct sockaddr_un *address, struct fault *reterr)
{
    struct stat st;
    const char *path = address->sun_path;
    if (lstat(path, &st) != 0) {
        return errno == ENOENT ? OK : fault_set(reterr, class_of(errno), "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return fault_set(reterr, ERR_CONFLICT, "%s is no socket and is not replaced; remove it or name another path",
                         path);
    }
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fault_set(reterr, ERR_IO, "cannot make a socket: %s", strerror(errno));
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN) {
        return fault_set(reterr, ERR_CONFLICT, "%s is in use by a running daemon", path);
    }
    return errno == ECONNREFUSED || errno == ENOENT
               ? OK
               : fault_set(reterr, class_of(errno), "cannot tell whose socket %s is: %s", path, strerror(errno));
}

enum err control_listen(const char *path, int *ret_fd, struct stat *ret_stat, struct fault *reterr)
{
    struct sockaddr_un address;
    TRY(control_address(path, &address, reterr));
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Linux gives the file the mode of the socket, less the umask: it is never wider than 0660, not even between bind
     * and chmod (unix_bind in net/unix/af_unix.c). */
    if (fd < 0 || fchmod(fd, SOCKET_MODE) != 0) {
        return fault_set(reterr, ERR_IO, "cannot make a socket: %s", strerror(errno));
    }
    TRY(probe(&address, reterr));
    if (unlink(path) != 0 && errno != ENOENT) {
        return fault_set(reterr, class_of(errno), "cannot replace the stale socket %s: %s", path, strerror(errno));
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        enum err err = errno == EADDRINUSE ? ERR_CONFLICT : class_of(errno);
        return fault_set(reterr, err, "cannot make the socket %s: %s", path, strerror(errno));
    }
    struct stat st;
    if (lstat(path, &st) != 0 || chmod(path, SOCKET_MODE) != 0 || listen(fd, CONTROL_BACKLOG) != 0) {
        int error = errno;
        unlink(path);
        return fault_set(reterr, class_of(error), "cannot listen on %s: %s", path, strerror(error));
    }
    *ret_stat = st;
    *ret_fd = fd;
    fd = -1;
    return OK;
}

void control_unlink(const char *path, const struct stat *ours)
{
    struct stat st;
    if (lstat(path, &st) == 0 && st.st_dev == ours->st_dev && st.st_ino == ours->st_ino) {
        unlink(path);
    }
}
