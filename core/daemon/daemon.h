/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon - what the main functions of the programs have in common: a broker's settings and the bus made of them, a
 * store opened with all it may have to say, the life of the process until it is told to end, word to the supervisor.
 */
#ifndef CORE_DAEMON_DAEMON_H
#define CORE_DAEMON_DAEMON_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/bus/bus.h"
#include "core/crypt/crypt.h"
#include "core/log/log.h"
#include "core/loop/loop.h"
#include "core/options/options.h"
#include "core/store/store.h"

/* One broker in a program's settings. */
struct daemon_broker {
    char *host, *ca, *cert, *key;
    int64_t port, keepalive_us;
    int64_t reconnect_us; /* longest wait between two attempts; 0 = the bus's preset, which spares a busy broker */
    int backend; /* enum bus_backend */
    bool insecure;
    enum bus_version version; /* no setting of its own: the program chooses */
};
/* Rows for it: DAEMON_BROKER_OPTIONS("broker", struct settings, broker, "localhost", "native"). host NULL = none. */
/* The same with the prefix's dot in it ("broker."), or "" for rows that stand in a section of their own. */
#define DAEMON_BROKER_ROWS(dotted, settings, member, host_preset, backend_preset)                                      \
    {.name = dotted "host", .type = OPTION_STRING, .offset = offsetof(settings, member.host), .max = 255,             \
     .preset = host_preset, .help = "Host name or address of the MQTT broker."},                                       \
    {.name = dotted "port", .type = OPTION_INT, .offset = offsetof(settings, member.port), .min = 1, .max = 65535,    \
     .preset = "8883", .help = "Port of the MQTT broker."},                                                            \
    {.name = dotted "backend", .type = OPTION_ENUM, .offset = offsetof(settings, member.backend),                     \
     .words = "paho|native", .preset = backend_preset, .help = "MQTT client: Eclipse Paho, or the one on the loop."},  \
    {.name = dotted "ca", .type = OPTION_FILE, .offset = offsetof(settings, member.ca),                               \
     .help = "Certificates of the authority that signs the broker's, PEM."},                                           \
    {.name = dotted "cert", .type = OPTION_FILE, .offset = offsetof(settings, member.cert),                           \
     .help = "Our certificate, PEM; its common name is our id."},                                                      \
    {.name = dotted "key", .type = OPTION_FILE, .offset = offsetof(settings, member.key),                             \
     .help = "The key of our certificate, PEM."},                                                                      \
    {.name = dotted "insecure", .type = OPTION_BOOL, .offset = offsetof(settings, member.insecure),                   \
     .preset = "false", .help = "Talk to the broker without TLS; for a closed test bench only."},                      \
    {.name = dotted "keepalive", .type = OPTION_DURATION, .offset = offsetof(settings, member.keepalive_us),          \
     .min = 1e6, .max = 3600e6, .preset = "30s", .help = "Silence after which the link is asked for a sign of life."}
#define DAEMON_BROKER_OPTIONS(prefix, settings, member, host_preset, backend_preset)                                   \
    DAEMON_BROKER_ROWS(prefix ".", settings, member, host_preset, backend_preset)

/* For the few clients that everybody waits for: a gateway, a bridge. */
#define DAEMON_RECONNECT_OPTION(prefix, settings, member) DAEMON_RECONNECT_ROW(prefix ".", settings, member)
#define DAEMON_RECONNECT_ROW(dotted, settings, member)                                                                 \
    {.name = dotted "reconnect", .type = OPTION_DURATION, .offset = offsetof(settings, member.reconnect_us),          \
     .min = 200000, .max = 300e6, .preset = "3s", .help = "Longest wait between two attempts to connect."}

/* Cross-field check for struct options_program: appends sentences, ERR_RANGE if any. Certificates are loaded and held
 * against id. */
enum err daemon_broker_check(const char *prefix, const struct daemon_broker *broker, const char *id,
                             struct buffer *problems) MUST_CHECK;

/* A broker's connection: TLS context (NULL when insecure) and bus. Freed by daemon_link_close, the bus first. */
struct daemon_link {
    struct crypt_tls *tls;
    struct bus *bus;
};
/* id is the client id; with certificates their common name must be the same, else ERR_DENIED with both names. */
enum err daemon_link_open(struct loop *loop, const struct daemon_broker *broker, const char *id,
                          struct daemon_link *ret_link, struct fault *reterr) MUST_CHECK;
void daemon_link_close(struct daemon_link *link);

/* A store's settings and rows: store.path, store.size, store.key, store.modelled_flush. */
struct daemon_store {
    char *path, *key;
    int64_t size, modelled_flush_us;
};
#define DAEMON_STORE_OPTIONS(settings, member, path_preset, size_preset)                                               \
    {.name = "store.path", .type = OPTION_PATH, .offset = offsetof(settings, member.path), .preset = path_preset,      \
     .help = "Directory of the durable store; one process each, on a local file system."},                             \
    {.name = "store.size", .type = OPTION_BYTES, .offset = offsetof(settings, member.size), .min = 1 << 20,            \
     .max = 1099511627776.0, .preset = size_preset, .help = "Preallocated size of the store; 90 % of it are filled."}, \
    {.name = "store.key", .type = OPTION_PATH, .offset = offsetof(settings, member.key), .preset = "",                 \
     .help = "Key file (32 bytes, mode 0600) for AES-256-GCM on every record; empty for none."},                       \
    {.name = "store.modelled_flush", .type = OPTION_DURATION, .offset = offsetof(settings, member.modelled_flush_us),  \
     .max = 1e6, .preset = "0s", .help = "Added to every commit: models a slow disk in benchmarks."}
/* As daemon_broker_check: the key file. */
enum err daemon_store_check(const struct daemon_store *settings, struct buffer *problems) MUST_CHECK;
/* Opens key (if any) and store. owner names program and identity ("gateway gw1"); it is kept in the table meta_table of
 * a new store, and a store of another owner is ERR_CONFLICT: its records would go out under a wrong name. A store that
 * did not verify was set aside: logged with the copy's name, which is also written to ret_quarantined (NULL, or PATH_MAX
 * bytes; empty when there was none). */
enum err daemon_store_open(struct loop *loop, const struct daemon_store *settings, const char *const *tables,
                           unsigned table_count, unsigned meta_table, const char *owner, struct store **ret_store,
                           struct crypt_aead **ret_aead, char *ret_quarantined, struct fault *reterr) MUST_CHECK;

/* Tells, once each, that the store does not take commits and that it takes them again. Call it now and then; *told is
 * the caller's and begins as false. */
void daemon_watch_store(struct loop *loop, const struct store *store, const char *path, bool *told);

/* Logs a text of several lines (problems of a configuration, a reload's report) line by line, without the quoted lines
 * of the file. Consumes lines. */
void daemon_log_lines(enum log_level level, const char *text, struct buffer *lines);

/* ---- the life of a process that has a store ----
 *
 *   begin --> run --SIGTERM, SIGINT--> stop(), then every 5 ms: stopped()? --yes, or after 10 s--> run returns OK
 *              | '--SIGHUP--> reload()
 *              '-- every 250 ms: failure(), or a store that is broken --> run returns ERR_IO; else watch()
 *
 * All on the loop. Zeroed, and filled by the owner up to `arg`. */
struct daemon_life_ops {
    const char *(*failure)(void *arg); /* why the program cannot go on; NULL = it can */
    void (*stop)(void *arg);
    bool (*stopped)(void *arg);
    void (*watch)(void *arg); /* what else cannot be waited for by an event; may be NULL */
    void (*reload)(void *arg, int signo);
};
struct daemon_life {
    const char *program; /* as in its log lines; borrowed, as all of these */
    const struct daemon_life_ops *ops;
    struct loop *loop;
    const struct store *store;
    const char *store_path;
    void *arg; /* of ops */
    struct loop_timer watch;
    int64_t stop_by_us; /* 0 = not stopping */
    bool told_store;    /* that it takes no commits */
    bool failed;
};
/* Takes the signals and begins to watch. ERR_NOMEM, ERR_IO. */
enum err daemon_life_begin(struct daemon_life *life) MUST_CHECK;
/* Tells the supervisor that it is ready, runs the loop to the end. ERR_IO: something failed, and was logged. */
enum err daemon_life_run(struct daemon_life *life) MUST_CHECK;
/* Also of one that was not begun. Before the loop is freed. */
void daemon_life_end(struct daemon_life *life);

/* Tells systemd (sd_notify(3)): "READY=1", "STOPPING=1", "RELOADING=1". Nothing without NOTIFY_SOCKET. */
void daemon_notify(const char *state);

#endif
