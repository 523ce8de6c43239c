/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - key=value lines on stderr, one line a call:
 *
 *   2026-11-22T07:00:00.123Z info gateway/ingest: refused device=pump-7 reason="sequence 0"
 *
 * log_info("refused", KV_STR("device", id), KV_STR("reason", text)). The module's name is the compile definition
 * LOG_MODULE. Library code (core, proto) logs at debug only; the function that decides logs once. A call site
 * that repeats prints at most LOG_BURST lines in ten seconds, then one line that counts what was left out: with
 * the next call of any site after the ten seconds, or at the program's end. Under systemd (JOURNAL_STREAM set)
 * lines carry the <N> priority prefix and no time. Values are quoted where they need it; control bytes and broken
 * UTF-8 are written \xNN, so a line stays a line whatever a peer sent. May be called from any thread; a line is
 * one write(2) of at most LOG_LINE bytes, a longer one ends in "...". The sink is static, as are the call sites.
 */
#ifndef CORE_LOG_LOG_H
#define CORE_LOG_LOG_H

#include "core/base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum { LOG_BURST = 20, LOG_LINE = 2048 };
#define LOG_WINDOW_US (10 * SECOND_US)

enum log_kind { LOG_KV_END, LOG_KV_STR, LOG_KV_SLICE, LOG_KV_I64, LOG_KV_U64, LOG_KV_HEX, LOG_KV_F64 };
struct log_kv {
    const char *key;
    enum log_kind kind;
    union {
        const char *str;
        struct slice slice;
        int64_t i64;
        uint64_t u64;
        double f64;
    };
};
#define KV_STR(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_STR, .str = (v)})
#define KV_SLICE(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_SLICE, .slice = (v)})
#define KV_I64(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_I64, .i64 = (v)})
#define KV_U64(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_U64, .u64 = (v)})
#define KV_HEX(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_HEX, .u64 = (v)})
#define KV_F64(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_F64, .f64 = (v)})
#define KV_ERR(v) KV_STR("error", err_name(v))

struct log_site { /* one per call site, static, for the rate limit; private */
    int64_t window_start_us;
    unsigned in_window, suppressed;
    enum log_level level;
    const char *module;
    char text[64]; /* the first that was left out: a copy, callers may pass text of their own */
    struct log_site *next; /* list of sites that left something out */
};

/* Program name (borrowed for ever) and lowest level printed; call once, before threads exist. Without: info. */
void log_setup(const char *program, enum log_level lowest);
/* Nothing is printed from now on: for simulators, which make errors on purpose. Call once, before threads exist. */
void log_mute(void);
/* Parses "error|warn|info|debug"; ERR_RANGE otherwise. */
enum err log_level_parse(const char *text, enum log_level *ret_level) MUST_CHECK;
/* What the macros call. site NULL: no limit. */
void log_write(struct log_site *site, enum log_level level, const char *module, const char *text,
               const struct log_kv *kvs, size_t count);

#define LOG_AT(level, text, ...)                                                                                       \
    do {                                                                                                               \
        static struct log_site log_site_;                                                                              \
        const struct log_kv log_kvs_[] = {__VA_ARGS__ __VA_OPT__(, ) {.kind = LOG_KV_END}};                            \
        log_write(&log_site_, (level), LOG_MODULE, (text), log_kvs_, COUNT_OF(log_kvs_) - 1);                          \
    } while (0)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)

#endif
