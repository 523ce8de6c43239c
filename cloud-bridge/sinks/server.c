/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/sinks/server.h"

#include <stdio.h>

/* ---- settings ---- */
static bool given(const char *text)
{
    return text[0] != '\0';
}

enum err sink_login_check(const struct sink_login *l, struct buffer *problems)
{
    enum err err = OK;
    if (!given(l->ca) && !l->insecure) {
        buffer_printf(problems, "ca: needed for TLS, or insecure: true on a closed test bench\n");
        err = ERR_RANGE;
    }
    if (l->insecure && (given(l->ca) || given(l->cert) || given(l->key))) {
        buffer_printf(problems, "insecure: certificates are given as well; remove one of them\n");
        err = ERR_RANGE;
    }
    if (given(l->cert) != given(l->key)) {
        buffer_printf(problems, "cert: certificate and key belong together\n");
        err = ERR_RANGE;
    }
    if (given(l->user) != given(l->password_file)) {
        buffer_printf(problems, "user: user and password_file belong together\n");
        err = ERR_RANGE;
    }
    return err;
}

enum err sink_secret_read(const char *path, char *ret_text, size_t size)
{
    FILE *in = fopen(path, "re");
    ret_text[0] = '\0';
    if (in == NULL) {
        return ERR_IO;
    }
    size_t len = fread(ret_text, 1, size - 1, in);
    fclose(in);
    ret_text[len] = '\0';
    ret_text[strcspn(ret_text, "\r\n")] = '\0';
    return len > 0 ? OK : ERR_NOT_FOUND;
}

/* ---- who is to blame ---- */
struct search {
    const struct sink_offer *offer;
    const struct sink_batch *batch;
    size_t blamed;
    enum err err; /* other than of the items: the search is off */
};

static void search_items(struct search *s, size_t first, size_t count)
{
    struct fault fault = {.code = OK};
    bool disliked = false;
    if (count == 0 || s->err != OK || s->blamed >= SINK_BLAMED_MAX) {
        return;
    }
    enum err err = s->offer->try_items(s->offer->arg, s->batch, first, count, &disliked, &fault);
    if (err == OK) {
        return;
    }
    if (!disliked) {
        s->err = err;
    } else if (count == 1) {
        sink_refuse(s->batch, first, fault.text);
        s->blamed++;
    } else {
        search_items(s, first, count / 2);
        search_items(s, first + count / 2, count - count / 2);
    }
}

enum err sink_find_guilty(const struct sink_offer *offer, const struct sink_batch *batch, size_t *ret_blamed)
{
    struct search search = {.offer = offer, .batch = batch};
    search_items(&search, 0, batch->count);
    *ret_blamed = search.blamed;
    return search.err;
}
