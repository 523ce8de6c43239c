/* SPDX-License-Identifier: Apache-2.0 */
#include "core/daemon/daemon.h"

#include <limits.h>
#include <stdio.h>

#include "core/log/log.h"

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static enum err load_certificates(const struct daemon_broker *b, const char *id, struct crypt_tls **ret_tls,
                                  struct fault *reterr)
{
    struct crypt_tls_options files = {.ca_path = b->ca, .cert_path = b->cert, .key_path = b->key};
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = NULL;
    TRY(crypt_tls_new(&files, &tls, reterr));
    const char *name = crypt_tls_identity(tls);
    if (strcmp(name, id) != 0) {
        return fault_set(reterr, ERR_DENIED, "%s: the certificate's common name is \"%s\", but id is \"%s\"", b->cert, name,
                         id);
    }
    *ret_tls = take(tls);
    return OK;
}

enum err daemon_broker_check(const char *prefix, const struct daemon_broker *b, const char *id,
                             struct buffer *problems)
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
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = NULL;
    struct fault fault = {.code = OK};
    if (files == 3 && load_certificates(b, id, &tls, &fault) != OK) {
        buffer_printf(problems, "%s.cert: %s\n", prefix, fault.text);
        return ERR_RANGE;
    }
    return OK;
}

static enum err open_link(struct loop *loop, const struct daemon_broker *b, const char *id, struct daemon_link *link,
                          struct fault *reterr)
{
    if (given(b->cert)) {
        TRY(load_certificates(b, id, &link->tls, reterr));
    }
    struct bus_options options = {.host = b->host,
                                  .port = (uint16_t)b->port,
                                  .client_id = id,
                                  .tls = link->tls,
                                  .keepalive_s = (unsigned)(b->keepalive_us / SECOND_US),
                                  .backoff_max_us = b->reconnect_us,
                                  .version = b->version};
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

enum err daemon_store_check(const struct daemon_store *settings, struct buffer *problems)
{
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    struct fault fault = {.code = OK};
    if (given(settings->key) && crypt_aead_load(settings->key, &aead, &fault) != OK) {
        buffer_printf(problems, "store.key: %s\n", fault.text);
        return ERR_RANGE;
    }
    return OK;
}

static void owner_kept(void *arg, enum err result)
{
    (void)arg;
    if (result != OK) { /* a full or failing disk: tried again at the next start */
        log_warn("the store's owner could not be noted", KV_ERR(result));
    }
}

static enum err hold_against_owner(struct store *store, unsigned meta_table, const char *owner, const char *path,
                                   struct fault *reterr)
{
    BUFFER(known, 1024);
    enum err err = store_get(store, meta_table, slice_str("owner"), &known);
    if (err == OK && slice_equal(buffer_slice(&known), slice_str(owner))) {
        return OK;
    }
    if (err == OK) {
        return fault_set(reterr, ERR_CONFLICT, "%s is the store of %.*s, not of %s", path, (int)known.len,
                         (const char *)known.ptr, owner);
    }
    if (err != ERR_NOT_FOUND) {
        return fault_set(reterr, err, "%s: the owner cannot be read (%s)", path, err_name(err));
    }
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    err = store_batch_new(store, &batch);
    err = err == OK ? store_put(batch, meta_table, slice_str("owner"), slice_str(owner)) : err;
    err = err == OK ? store_commit(store, batch, owner_kept, NULL) : err;
    if (err != OK) {
        return fault_set(reterr, err, "%s: the owner cannot be noted (%s)", path, err_name(err));
    }
    batch = NULL; /* the store's */
    return OK;
}

enum err daemon_store_open(struct loop *loop, const struct daemon_store *settings, const char *const *tables,
                           unsigned table_count, unsigned meta_table, const char *owner, struct store **ret_store,
                           struct crypt_aead **ret_aead, char *ret_quarantined, struct fault *reterr)
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
    CLEANUP(store_closep) struct store *store = NULL;
    enum err err = store_open(loop, &options, &store, quarantined, sizeof(quarantined), &why);
    if (err != OK) {
        return fault_set(reterr, err, "%s", why.text);
    }
    if (quarantined[0] != '\0') {
        log_error("the store was damaged; it was set aside and a new one begun", KV_STR("store", settings->path),
                  KV_STR("copy", quarantined), KV_STR("reason", why.text));
    }
    TRY(hold_against_owner(store, meta_table, owner, settings->path, reterr));
    if (ret_quarantined != NULL) {
        snprintf(ret_quarantined, PATH_MAX, "%s", quarantined);
    }
    *ret_store = take(store);
    *ret_aead = take(aead);
    return OK;
}

void daemon_watch_store(struct loop *loop, const struct store *store, const char *path, bool *told)
{
    struct store_usage usage;
    store_usage(store, &usage);
    if (usage.failing != OK && !*told) {
        log_error("the store takes no commits, senders will try again", KV_STR("store", path), KV_ERR(usage.failing),
                  KV_I64("since_ms", (loop_now_us(loop) - usage.failing_since_us) / MS_US));
    } else if (usage.failing == OK && *told) {
        log_info("the store takes commits again", KV_STR("store", path));
    }
    *told = usage.failing != OK;
}

void daemon_log_lines(enum log_level level, const char *text, struct buffer *lines)
{
    char *save = NULL;
    if (lines->len == 0) {
        return;
    }
    (void)buffer_text(lines); /* more than it holds: as far as it goes */
    for (char *line = strtok_r((char *)lines->ptr, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        if (line[0] != ' ') {
            LOG_AT(level, text, KV_STR("what", line));
        }
    }
}
