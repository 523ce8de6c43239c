/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server - what sinks have in common whose end is a server of other people: the settings of TLS and login held against
 * one another, a secret in a file, and which records the server dislikes.
 */
#ifndef CLOUD_BRIDGE_SINKS_SERVER_H
#define CLOUD_BRIDGE_SINKS_SERVER_H

#include "cloud-bridge/sinks/module.h"

/* ---- settings: rows ca, cert, key, insecure, user, password_file of a section; "" = not given ---- */
struct sink_login {
    const char *ca, *cert, *key, *user, *password_file;
    bool insecure;
};
/* For sink_module.check: appends what does not fit together, each with its key. ERR_RANGE if anything does not. */
enum err sink_login_check(const struct sink_login *login, struct buffer *problems) MUST_CHECK;

/* The first line of the file at path, without its end, cut to size - 1 bytes. ERR_NOT_FOUND: the file is empty,
 * ret_text is "". ERR_IO: it cannot be opened, errno says why. */
enum err sink_secret_read(const char *path, char *ret_text, size_t size) MUST_CHECK;

/* ---- who is to blame when a server dislikes a batch and does not say why ---- */
enum { SINK_BLAMED_MAX = 16 };
struct sink_offer {
    /* Offers these items of the batch alone; they come again whatever it returns. OK: the server likes them. An error
     * with *ret_disliked set: something in them is what it dislikes, reterr says what. Any other error: the search is
     * off. */
    enum err (*try_items)(void *arg, const struct sink_batch *batch, size_t first, size_t count, bool *ret_disliked,
                          struct fault *reterr);
    void *arg;
};
/* By halves; refuses (sink_refuse) those that are disliked alone, SINK_BLAMED_MAX at the most, and counts them. What
 * try_items returned where that put an end to the search, else OK. */
enum err sink_find_guilty(const struct sink_offer *offer, const struct sink_batch *batch,
                          size_t *ret_blamed) MUST_CHECK;

#endif
