/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - bytes to and from a connected non-blocking socket, plain or through TLS.
 *
 * Comes in: a descriptor. Goes out: bytes; on failure a sentence in reason. The TLS side verifies the certificate chain
 * and that the certificate names the host that was asked for (RFC 6125: name; or IP address where host is one).
 * No loop in here: the owner watches the descriptor and asks stream_wants.
 */
#ifndef CORE_BUS_STREAM_H
#define CORE_BUS_STREAM_H

#include "core/base/base.h"

struct crypt_tls;
struct ssl_st;

struct stream {
    int fd;             /* owned; -1 = closed */
    struct ssl_st *ssl; /* owned; NULL = plain */
    const char *host;   /* borrowed */
    bool read_wants_write, write_wants_read; /* TLS only */
    char reason[200];
};

/* fd is the stream's from now on, also on failure. tls NULL = plain. host: for verification. */
enum err stream_open(struct stream *s, int fd, const struct crypt_tls *tls, const char *host) MUST_CHECK;
/* Harmless when closed. reason stays. */
void stream_close(struct stream *s);
/* Closing it will reset the connection, without a farewell. Harmless when closed. */
void stream_reset(struct stream *s);
/* OK: done (at once on a plain stream); ERR_AGAIN: call again when readable, or writable if read_wants_write;
 * ERR_DENIED: a certificate was refused; ERR_IO. */
enum err stream_handshake(struct stream *s) MUST_CHECK;
/* At least one byte, or ERR_AGAIN, ERR_IO (closed by the peer counts: reason says so). */
enum err stream_read(struct stream *s, uint8_t *ptr, size_t len, size_t *ret_len) MUST_CHECK;
/* As many bytes as go, at least one, or ERR_AGAIN, ERR_IO. */
enum err stream_write(struct stream *s, const uint8_t *ptr, size_t len, size_t *ret_len) MUST_CHECK;
/* Bytes given to the kernel so far, and bytes that the peer's TCP has acknowledged. */
uint64_t stream_sent(const struct stream *s);
uint64_t stream_acknowledged(const struct stream *s);

#endif
