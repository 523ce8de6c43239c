/* SPDX-License-Identifier: Apache-2.0 */
#include "core/daemon/daemon.h"

#include <limits.h>
#include <stdio.h>

#include "core/log/log.h"

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

enum err daemon_broker_check(const char *prefix, const struct daemon_broker *b, struct buffer *problems)
{
    unsigned files = given(b->ca) + given(b->cert) + given(b->key);
    if (!given(b->host)) {
        buffer_printf(problems, "%s.host: a broker is needed\n", prefix);
        return ERR_RANGE;
    }
    if (files != 0 && files != 3) {
        buffer_printf(problems, "%s.ca, %s.cert, %s.key: all three or none (missing:%s%s%s)\n", prefix, prefix, prefix,
                      given(b->ca) ? "" : " ca", given(b->cert) ? "" : " cert", given(b->key) ? "" : " key");
        return ERR_RANGE;
    }
    if (files == 0 && !b->insecure) {
        buffer_printf(problems,
                      "%s.ca, %s.cert, %s.key: without certificates anybody could be anybody; give all three, or "
                      "%s.insecure: true on a closed test bench\n",
                      prefix, prefix, prefix, prefix);
        return ERR_RANGE;
    }
    if (files == 3 && b->insecure) {
        buffer_printf(problems, "%s.insecure: certificates are given as well; remove one of them\n", prefix);
        return ERR_RANGE;
    }
    return OK;
}

static enum err open_link(struct loop *loop, const struct daemon_broker *b, const char *id, struct daemon_link *link,
                          struct fault *reterr)
{
    if (given(b->cert)) {
        struct crypt_tls_options files = {.ca_path = b->ca, .cert_path = b->cert, .key_path = b->key};
        TRY(crypt_tls_new(&files, &link->tls, reterr));
        const char *name = crypt_tls_identity(link->tls);
        if (strcmp(name, id) != 0) {
            return fault_set(reterr, ERR_DENIED, "%s: the certificate's common name is \"%s\", but id is \"%s\"",
                             b->cert, name, id);
        }
    }
    struct bus_options options = {.host = b->host,
                                  .port = (uint16_t)b->port,
                                  .client_id = id,
                                  .tls = link->tls,
                                  .keepalive_s = (unsigned)(b->keepalive_us / SECOND_US)};
    return bus_new((enum bus_backend)b->backend, loop, &options, &link->bus, reterr);
}

enum err daemon_link_open(struct loop *loop, const struct daemon_broker *broker, const char *id,
                          struct daemon_link *ret_link, struct fault *reterr)
{
    struct daemon_link link = {NULL, NULL};
    enum err err = open_link(loop, broker, id, &link, reterr);
    if (err != OK) {
        daemon_link_close(&link);
        return err;
    }
    *ret_link = link;
    return OK;
}

void daemon_link_close(struct daemon_link *link)
{
    bus_free(link->bus);
    crypt_tls_free(link->tls);
    *link = (struct daemon_link){NULL, NULL};
}

enum err daemon_store_open(struct loop *loop, const struct daemon_store *settings, const char *const *tables,
                           unsigned table_count, struct store **ret_store, struct crypt_aead **ret_aead,
                           char *ret_quarantined, struct fault *reterr)
{
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    char quarantined[PATH_MAX] = "";
    if (given(settings->key)) {
        TRY(crypt_aead_load(settings->key, &aead, reterr));
    }
    struct store_options options = {.path = settings->path,
                                    .tables = tables,
                                    .table_count = table_count,
                                    .size_bytes = (uint64_t)settings->size,
                                    .modelled_flush_us = settings->modelled_flush_us};
    struct fault why = {.code = OK};
    enum err err = store_open(loop, &options, ret_store, quarantined, sizeof(quarantined), &why);
    if (err != OK) {
        return fault_set(reterr, err, "%s", why.text);
    }
    if (quarantined[0] != '\0') {
        log_error("the store was damaged; it was set aside and a new one begun", KV_STR("store", settings->path),
                  KV_STR("copy", quarantined), KV_STR("reason", why.text));
    }
    if (ret_quarantined != NULL) {
        snprintf(ret_quarantined, PATH_MAX, "%s", quarantined);
    }
    *ret_aead = take(aead);
    return OK;
}
