/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP connection with time limits, and TLS on it where the URL asks for it.
 *
 * Not evhttp: write() of a sink runs on a thread of its own and ends with the answer, and libevent belongs to
 * core/loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cloud-bridge/sink-influx/sink_influx_internal.h"

struct connection {
    int fd;
    int timeout_ms;
    SSL_CTX *context; /* NULL without TLS */
    SSL *ssl;
};

void connection_free(struct connection *c)
{
    if (c == NULL) {
        return;
    }
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    if (c->fd >= 0) {
        close(c->fd);
    }
    free(c);
}
DEFINE_CLEANUP(struct connection, connection_free)

static enum err wait_for(const struct connection *c, short events)
{
    struct pollfd fd = {.fd = c->fd, .events = events};
    int n;
    do {
        n = poll(&fd, 1, c->timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? OK : n == 0 ? ERR_TIMEOUT : ERR_IO;
}

/* One call of OpenSSL's, again and again until it is through. */
static enum err again(const struct connection *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(c, POLLIN);
    case SSL_ERROR_WANT_WRITE:
        return wait_for(c, POLLOUT);
    default:
        return ERR_IO;
    }
}

static enum err tls_fault(struct fault *reterr, const struct connection_options *o, const char *what)
{
    char text[160] = "";
    unsigned long code = ERR_get_error();
    if (code != 0) {
        ERR_error_string_n(code, text, sizeof(text));
    }
    ERR_clear_error();
    return fault_set(reterr, ERR_DENIED, "TLS with %s: %s%s%s", o->host, what, text[0] ? ": " : "", text);
}

static enum err start_tls(struct connection *c, const struct connection_options *o, struct fault *reterr)
{
    c->context = SSL_CTX_new(TLS_client_method());
    if (c->context == NULL || SSL_CTX_set_min_proto_version(c->context, TLS1_2_VERSION) != 1 ||
        (o->ca[0] != '\0' ? SSL_CTX_load_verify_locations(c->context, o->ca, NULL)
                          : SSL_CTX_set_default_verify_paths(c->context)) != 1) {
        return tls_fault(reterr, o, "certificates of the authority cannot be read");
    }
    SSL_CTX_set_verify(c->context, SSL_VERIFY_PEER, NULL);
    c->ssl = SSL_new(c->context);
    if (c->ssl == NULL || SSL_set1_host(c->ssl, o->host) != 1 || SSL_set_tlsext_host_name(c->ssl, o->host) != 1 ||
        SSL_set_fd(c->ssl, c->fd) != 1) {
        return tls_fault(reterr, o, "cannot be set up");
    }
    for (int result; (result = SSL_connect(c->ssl)) != 1;) {
        enum err err = again(c, result);
        if (err == ERR_TIMEOUT) {
            return fault_set(reterr, err, "%s:%s does not answer", o->host, o->port);
        }
        if (err != OK) {
            long verdict = SSL_get_verify_result(c->ssl);
            return tls_fault(reterr, o, verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : "no handshake");
        }
    }
    return OK;
}

static enum err dial(struct connection *c, const struct addrinfo *address)
{
    int yes = 1, error = 0;
    socklen_t size = sizeof(error);
    c->fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
    if (c->fd < 0) {
        return ERR_IO;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    enum err err = connect(c->fd, address->ai_addr, address->ai_addrlen) == 0 ? OK
                   : errno == EINPROGRESS                                     ? wait_for(c, POLLOUT)
                                                                              : ERR_IO;
    if (err == OK && (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)) {
        errno = error;
        err = ERR_IO;
    }
    if (err != OK) {
        int keep = errno;
        close(c->fd);
        c->fd = -1;
        errno = keep;
    }
    return err;
}

static void addresses_free(struct addrinfo **list)
{
    if (*list != NULL) {
        freeaddrinfo(*list);
    }
}

enum err connection_open(const struct connection_options *o, struct connection **ret_connection, struct fault *reterr)
{
    CLEANUP(connection_freep) struct connection *c = calloc(1, sizeof(*c));
    CLEANUP(addresses_free) struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    enum err err = ERR_IO;
    if (c == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    c->fd = -1;
    c->timeout_ms = (int)(o->timeout_us / MS_US);
    int rc = getaddrinfo(o->host, o->port, &hints, &list);
    if (rc != 0) {
        return fault_set(reterr, ERR_IO, "%s cannot be found: %s", o->host, gai_strerror(rc));
    }
    for (const struct addrinfo *a = list; a != NULL && c->fd < 0; a = a->ai_next) {
        err = dial(c, a);
    }
    if (c->fd < 0) {
        return fault_set(reterr, err, "%s:%s: %s", o->host, o->port,
                         err == ERR_TIMEOUT ? "no answer" : strerror(errno));
    }
    if (o->tls) {
        TRY(start_tls(c, o, reterr));
    }
    *ret_connection = take(c);
    return OK;
}

enum err connection_send(struct connection *c, struct slice bytes)
{
    for (size_t done = 0; done < bytes.len;) {
        size_t left = min_u64(bytes.len - done, 1 << 20);
        ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, bytes.ptr + done, (int)left)
                                   : send(c->fd, bytes.ptr + done, left, MSG_NOSIGNAL);
        if (n > 0) {
            done += (size_t)n;
        } else if (c->ssl != NULL) {
            TRY(again(c, (int)n));
        } else if (errno == EAGAIN) {
            TRY(wait_for(c, POLLOUT));
        } else if (errno != EINTR) {
            return ERR_IO;
        }
    }
    return OK;
}

enum err connection_receive(struct connection *c, void *ptr, size_t size, size_t *ret_len)
{
    for (;;) {
        ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, ptr, (int)size) : recv(c->fd, ptr, size, 0);
        if (n > 0 || (c->ssl == NULL && n == 0)) {
            *ret_len = (size_t)n;
            return OK;
        }
        if (c->ssl != NULL && SSL_get_error(c->ssl, (int)n) == SSL_ERROR_ZERO_RETURN) {
            *ret_len = 0;
            return OK;
        }
        if (c->ssl != NULL) {
            TRY(again(c, (int)n));
        } else if (errno == EAGAIN) {
            TRY(wait_for(c, POLLIN));
        } else if (errno != EINTR) {
            return ERR_IO;
        }
    }
}
