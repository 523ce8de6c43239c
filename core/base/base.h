/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base - what every file stands on: error classes, borrowed byte slices, cleanup.
 *
 * Error policy. An `enum err` names a class that the caller can act on, not a place. Out of memory, a failing disk of
 * our own and a broken invariant travel up to the loop, which ends the process with a message; the supervisor restarts
 * it. Whatever a peer can cause is counted, dropped and answered, never fatal. Sentences for people go into an optional
 * `struct fault`, only where a person reads them (configuration, manifests, command line, start-up).
 */
#ifndef CORE_BASE_BASE_H
#define CORE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err {
    OK = 0,
    ERR_NOMEM,
    ERR_MALFORMED,   /* input does not parse, or fails its checksum */
    ERR_RANGE,       /* parses, but a value is outside its allowed range */
    ERR_AGAIN,       /* not now: try again after the event that the function names */
    ERR_FULL,        /* a declared bound is reached */
    ERR_NOT_FOUND,
    ERR_DENIED,      /* identity or permission */
    ERR_TIMEOUT,
    ERR_CONFLICT,    /* somebody else holds it, or versions disagree */
    ERR_IO,
    ERR_UNSUPPORTED,
};
/* Lower-case word for logs and metrics, e.g. "malformed". Never NULL. */
const char *err_name(enum err err);

/* Returns from the enclosing function on failure. Safe because every acquired local is declared with CLEANUP. */
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        enum err try_err_ = (expr);                                                                                    \
        if (try_err_ != OK) {                                                                                          \
            return try_err_;                                                                                           \
        }                                                                                                              \
    } while (0)

/* CLEANUP(spool_freep) struct spool *s = NULL;   the function takes a pointer to the variable. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
/* Defines static inline void fn##p(type **p) for CLEANUP. */
#define DEFINE_CLEANUP(type, fn)                                                                                       \
    __attribute__((unused)) static inline void fn##p(type **p)                                                        \
    {                                                                                                                  \
        fn(*p);                                                                                                        \
    }
/* Hands ownership out of a CLEANUP variable. */
#define take(var)                                                                                                      \
    __extension__({                                                                                                    \
        __typeof__(var) take_tmp_ = (var);                                                                             \
        (var) = NULL;                                                                                                  \
        take_tmp_;                                                                                                     \
    })
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline void charp_freep(char **p)
{
    free(*p);
}

/* Borrowed bytes: valid until the callee returns, or as long as the giving function says. */
struct slice {
    const uint8_t *ptr;
    size_t len;
};
static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){.ptr = (const uint8_t *)ptr, .len = len};
}
static inline struct slice slice_str(const char *text)
{
    return slice_of(text, strlen(text));
}
static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Failure told to a person. text is one sentence: cause first, then the place. */
struct fault {
    enum err code;
    char text[400];
};
/* Writes reterr (if not NULL) and returns code, so that `return fault_set(reterr, ERR_IO, "...")` works. */
enum err fault_set(struct fault *reterr, enum err code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Time is int64_t microseconds everywhere; names end in _us. */
#define MS_US INT64_C(1000)
#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* 64-bit mixer (splitmix64, Steele et al. 2014): deterministic payloads, hash tables, simulators. */
static inline uint64_t mix_u64(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Length of the well-formed UTF-8 sequence at the start of s (RFC 3629 section 4), 0 if there is none. */
size_t utf8_length(struct slice s);

#define ID_MAX 64 /* longest identity (site, gateway, device), without the NUL */
/* An identity is [A-Za-z0-9_-]{1,64}: it is a topic level, a certificate's common name and a part of a store's key. */
bool id_valid(struct slice id);

#endif
