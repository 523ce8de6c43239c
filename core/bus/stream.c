/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bus/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/crypt/crypt.h"

static enum err fail(struct stream *s, enum err err, const char *what, const char *why)
{
    (void)snprintf(s->reason, sizeof(s->reason), "%s%s%s", what, why ? ": " : "", why ? why : "");
    return err;
}

/* ---- TLS ---- */
static const char *library_error(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    return text ? text : "unknown error";
}

static bool is_address(const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static bool expect_peer(SSL *ssl, const char *host)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (is_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    char name[256]; /* a copy: the macro below takes the const away */
    (void)snprintf(name, sizeof(name), "%s", host);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static enum err open_tls(struct stream *s, const struct crypt_tls *tls, const char *host)
{
    ERR_clear_error();
    s->ssl = SSL_new(crypt_tls_context(tls));
    if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1 || !expect_peer(s->ssl, host)) {
        return fail(s, ERR_IO, "TLS cannot be set up", library_error());
    }
    SSL_set_connect_state(s->ssl);
    SSL_set_read_ahead(s->ssl, 1); /* one read for several records */
    (void)SSL_set_mode(s->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return OK;
}

static enum err tls_ended(struct stream *s, int error)
{
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && errno == 0)) {
        return fail(s, ERR_IO, "connection closed by the broker", NULL);
    }
    if (error == SSL_ERROR_SYSCALL) {
        return fail(s, ERR_IO, "connection lost", strerror(errno));
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        return fail(s, ERR_IO, "connection closed by the broker", NULL);
    }
    return fail(s, ERR_IO, "TLS failed", library_error());
}

static enum err verify_failed(struct stream *s, long result)
{
    if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        return fail(s, ERR_DENIED, "TLS: the broker's certificate does not name", s->host);
    }
    return fail(s, ERR_DENIED, "TLS: the broker's certificate is refused", X509_verify_cert_error_string(result));
}

enum err stream_handshake(struct stream *s)
{
    if (s->ssl == NULL) {
        return OK;
    }
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(s->ssl);
    s->read_wants_write = false;
    if (rc == 1) {
        return OK;
    }
    int error = SSL_get_error(s->ssl, rc);
    if (error == SSL_ERROR_WANT_READ) {
        return ERR_AGAIN;
    }
    if (error == SSL_ERROR_WANT_WRITE) {
        s->read_wants_write = true;
        return ERR_AGAIN;
    }
    long verify = SSL_get_verify_result(s->ssl);
    return verify != X509_V_OK ? verify_failed(s, verify) : tls_ended(s, error);
}

static enum err tls_read(struct stream *s, uint8_t *ptr, size_t len, size_t *ret_len)
{
    ERR_clear_error();
    errno = 0;
    s->read_wants_write = false;
    int rc = SSL_read_ex(s->ssl, ptr, len, ret_len);
    if (rc == 1) {
        return OK;
    }
    int error = SSL_get_error(s->ssl, rc);
    s->read_wants_write = error == SSL_ERROR_WANT_WRITE;
    return error == SSL_ERROR_WANT_READ || s->read_wants_write ? ERR_AGAIN : tls_ended(s, error);
}

static enum err tls_write(struct stream *s, const uint8_t *ptr, size_t len, size_t *ret_len)
{
    ERR_clear_error();
    errno = 0;
    s->write_wants_read = false;
    int rc = SSL_write_ex(s->ssl, ptr, len, ret_len);
    if (rc == 1) {
        return OK;
    }
    int error = SSL_get_error(s->ssl, rc);
    s->write_wants_read = error == SSL_ERROR_WANT_READ;
    return error == SSL_ERROR_WANT_WRITE || s->write_wants_read ? ERR_AGAIN : tls_ended(s, error);
}

/* ---- both ---- */
enum err stream_open(struct stream *s, int fd, const struct crypt_tls *tls, const char *host)
{
    *s = (struct stream){.fd = fd, .host = host};
    enum err err = tls != NULL ? open_tls(s, tls, host) : OK;
    if (err != OK) {
        stream_close(s);
    }
    return err;
}

void stream_close(struct stream *s)
{
    if (s->ssl != NULL) {
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
}

void stream_reset(struct stream *s)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (s->fd >= 0) {
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    (void)snprintf(s->reason, sizeof(s->reason), "the link was cut");
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

enum err stream_read(struct stream *s, uint8_t *ptr, size_t len, size_t *ret_len)
{
    if (s->ssl != NULL) {
        return tls_read(s, ptr, len, ret_len);
    }
    ssize_t n = recv(s->fd, ptr, len, 0);
    if (n > 0) {
        *ret_len = (size_t)n;
        return OK;
    }
    if (n == 0) {
        return fail(s, ERR_IO, "connection closed by the broker", NULL);
    }
    return would_block() ? ERR_AGAIN : fail(s, ERR_IO, "connection lost", strerror(errno));
}

enum err stream_write(struct stream *s, const uint8_t *ptr, size_t len, size_t *ret_len)
{
    if (s->ssl != NULL) {
        return tls_write(s, ptr, len, ret_len);
    }
    ssize_t n = send(s->fd, ptr, len, MSG_NOSIGNAL);
    if (n >= 0) {
        *ret_len = (size_t)n;
        return OK;
    }
    return would_block() ? ERR_AGAIN : fail(s, ERR_IO, "connection lost", strerror(errno));
}

uint64_t stream_acknowledged(const struct stream *s)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    (void)getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info.tcpi_bytes_acked;
}

uint64_t stream_sent(const struct stream *s)
{
    int queued = 0; /* written, not yet acknowledged: tcp(7) */
    (void)ioctl(s->fd, SIOCOUTQ, &queued);
    return stream_acknowledged(s) + (queued > 0 ? (uint64_t)queued : 0);
}
